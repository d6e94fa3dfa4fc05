//! One blocking question before any load: is there a server, does it speak the protocol, does it let us in? Everything
//! that an operator can get wrong about a target becomes a clear sentence here. Knows nothing of workloads.

use crate::{
    protocol::{Kind, Reply, Request},
    target::{Endpoint, Target},
};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// Asks for one key; an error is one line that says what to do. It takes `timeout` at most for connecting and again for
/// answering.
pub fn probe(target: &Target, timeout: Duration) -> Result<(), String> {
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
    mut stream: impl Read + Write,
    limit: impl Fn(Duration) -> io::Result<()>,
) -> Result<(), String> {
    let (address, protocol) = (&target.endpoint, target.protocol());
    let failed = |why: io::Error| match why.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!(
                "{address} accepts connections but does not answer within {timeout:?}: is it a server of {}?",
                target.dialect
            )
        }
        _ => format!("{address} closed the connection without an answer: is it a server of {}?", target.dialect),
    };
    let mut question = Vec::new();
    let greetings = protocol.greet(&mut question);
    protocol.encode(&Request::Get { key: b"kv-bench" }, &mut question);
    limit(timeout).map_err(failed)?;
    stream.write_all(&question).map_err(failed)?;

    let deadline = Instant::now() + timeout;
    let mut answers = Vec::new();
    for kind in std::iter::repeat_n(Kind::Greeting, greetings).chain([Kind::Get]) {
        let used = loop {
            match protocol.decode(kind, &answers) {
                Ok(Some((Reply::Error(words), _))) => return Err(refused(target, &String::from_utf8_lossy(words))),
                Ok(Some((_, length))) => break length,
                Ok(None) => {}
                Err(why) => {
                    return Err(format!(
                        "{address} does not speak {}: it sent {why}; choose another --protocol",
                        target.dialect
                    ));
                }
            }
            limit(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))).map_err(failed)?;
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk).map_err(failed)? {
                0 => return Err(failed(ErrorKind::UnexpectedEof.into())),
                count => answers.extend_from_slice(&chunk[..count]),
            }
        };
        answers.drain(..used);
    }
    Ok(())
}

fn refused(target: &Target, words: &str) -> String {
    let advice = match words.split(' ').next().unwrap_or_default() {
        "NOAUTH" | "WRONGPASS" | "CLIENT_ERROR" => "; give --password (and --user)",
        "NOPROTO" | "ERROR" => "; choose another --protocol",
        _ => "",
    };
    format!("{} refuses: {words}{advice}", target.endpoint)
}
