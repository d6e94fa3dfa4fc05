//! One blocking question before any load: is there a server, does it speak the protocol, does it let us in? Everything
//! that an operator can get wrong about a target becomes a clear sentence here. Knows nothing of workloads.

use crate::{
    protocol::{Kind, Protocol, Reply, Request},
    target::{Endpoint, Target},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// Asks for one key, and then what the server is: its name and version, as far as it tells. An error is one line that
/// says what to do. It takes `timeout` at most for connecting and again for answering.
pub fn probe(target: &Target, timeout: Duration) -> Result<String, String> {
    let address = &target.endpoint;
    let connecting = |why: io::Error| match why.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            format!("no server listens on {address}: start one, or give its address")
        }
        ErrorKind::TimedOut => format!("no server answers on {address} within {timeout:?}"),
        _ => format!("cannot connect to {address}: {why}"),
    };
    match address {
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect_timeout(address, timeout).map_err(connecting)?;
            let limit =
                |limit| stream.set_read_timeout(Some(limit)).and_then(|()| stream.set_write_timeout(Some(limit)));
            ask(target, timeout, &stream, limit)
        }
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).map_err(connecting)?;
            let limit =
                |limit| stream.set_read_timeout(Some(limit)).and_then(|()| stream.set_write_timeout(Some(limit)));
            ask(target, timeout, &stream, limit)
        }
    }
}

fn ask(
    target: &Target,
    timeout: Duration,
    stream: impl Read + Write,
    limit: impl Fn(Duration) -> io::Result<()>,
) -> Result<String, String> {
    let protocol = target.protocol();
    let mut question = Vec::new();
    let greetings = protocol.greet(&mut question);
    protocol.encode(&Request::Get { key: b"kv-bench" }, &mut question);
    let mut dialogue = Dialogue { target, timeout, stream, limit, deadline: Instant::now() + timeout, arrived: vec![] };
    dialogue.send(&question)?;
    for kind in std::iter::repeat_n(Kind::Greeting, greetings).chain([Kind::Get]) {
        dialogue.receive(&*protocol, kind, |_| ())?;
    }
    // Whoever serves keys need not say what it is.
    let mut question = Vec::new();
    protocol.encode(&Request::About, &mut question);
    let words = dialogue.send(&question).and_then(|()| dialogue.receive(&*protocol, Kind::About, text));
    Ok(words.ok().and_then(|words| protocol.version(&words)).unwrap_or("of unknown version".into()))
}

fn text(reply: Reply) -> String {
    match reply {
        Reply::Value(words) => String::from_utf8_lossy(words).into_owned(),
        _ => String::new(),
    }
}

/// Questions and answers over one stream, until the deadline.
struct Dialogue<'a, S, L> {
    target: &'a Target,
    timeout: Duration,
    stream: S,
    /// Bounds the next read or write.
    limit: L,
    deadline: Instant,
    arrived: Vec<u8>,
}

impl<S: Read + Write, L: Fn(Duration) -> io::Result<()>> Dialogue<'_, S, L> {
    fn send(&mut self, question: &[u8]) -> Result<(), String> {
        let sent = (self.limit)(self.timeout).and_then(|()| self.stream.write_all(question));
        sent.map_err(|why| self.failed(&why))
    }

    /// Waits for one reply and hands it to `take`; a refusal is an error.
    fn receive<T>(&mut self, protocol: &dyn Protocol, kind: Kind, take: fn(Reply) -> T) -> Result<T, String> {
        loop {
            match protocol.decode(kind, &self.arrived) {
                Ok(Some((Reply::Error(words), _))) => {
                    return Err(refused(self.target, &String::from_utf8_lossy(words)));
                }
                Ok(Some((reply, length))) => {
                    let taken = take(reply);
                    self.arrived.drain(..length);
                    return Ok(taken);
                }
                Ok(None) => {}
                Err(why) => {
                    let Target { endpoint, dialect, .. } = self.target;
                    return Err(format!(
                        "{endpoint} does not speak {dialect}: it sent {why}; choose another --protocol"
                    ));
                }
            }
            self.read().map_err(|why| self.failed(&why))?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        (self.limit)(self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))?;
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            count => {
                self.arrived.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }

    fn failed(&self, why: &io::Error) -> String {
        let (Target { endpoint, dialect, .. }, timeout) = (self.target, self.timeout);
        match why.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
                "{endpoint} accepts connections but does not answer within {timeout:?}: is it a server of {dialect}?"
            ),
            _ => format!("{endpoint} closed the connection without an answer: is it a server of {dialect}?"),
        }
    }
}

fn refused(target: &Target, words: &str) -> String {
    let advice = match words.split(' ').next().unwrap_or_default() {
        "NOAUTH" | "WRONGPASS" | "CLIENT_ERROR" => "; give --password (and --user)",
        "NOPROTO" | "ERROR" => "; choose another --protocol",
        _ => "",
    };
    format!("{} refuses: {words}{advice}", target.endpoint)
}
