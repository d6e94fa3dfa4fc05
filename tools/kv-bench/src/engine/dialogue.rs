//! A blocking conversation with a server over one stream: questions go out, answers are waited for, but never longer than
//! the timeout.

use crate::tls::Encrypted;
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

pub struct Dialogue {
    target: Target,
    protocol: Box<dyn Protocol>,
    timeout: Duration,
    stream: Stream,
    /// What has arrived; up to `used` it is answered for.
    arrived: Vec<u8>,
    used: usize,
    chunk: Vec<u8>,
}

enum Stream {
    Tcp(TcpStream),
    Tls(Encrypted<TcpStream>),
    Unix(UnixStream),
}

impl Dialogue {
    const CHUNK_BYTES: usize = 256 << 10;

    /// Connects and greets. An error is one line that says what to do.
    pub fn open(target: &Target, timeout: Duration) -> Result<Dialogue, String> {
        let stream = connect(&target.endpoint, timeout)?;
        let mut dialogue = Dialogue {
            target: target.clone(),
            protocol: target.protocol(),
            timeout,
            stream,
            arrived: vec![],
            used: 0,
            chunk: vec![0; Dialogue::CHUNK_BYTES],
        };
        dialogue.stream.bound(timeout).map_err(|why| dialogue.failed(&why))?;
        let mut greeting = vec![];
        for _ in 0..dialogue.protocol.greet(&mut greeting) {
            dialogue.send(&greeting)?;
            greeting.clear();
            dialogue.receive(Kind::Greeting, |_| ())?;
        }
        Ok(dialogue)
    }

    pub fn protocol(&self) -> &dyn Protocol {
        &*self.protocol
    }

    /// Sends what was encoded.
    pub fn send(&mut self, questions: &[u8]) -> Result<(), String> {
        let sent = match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(questions),
            Stream::Tls(stream) => stream.write_all(questions),
            Stream::Unix(stream) => stream.write_all(questions),
        };
        sent.map_err(|why| self.failed(&why))
    }

    /// Asks one question and hands the answer to `take`; a refusal is an error.
    pub fn ask<T>(&mut self, kind: Kind, request: &Request, take: impl FnOnce(Reply) -> T) -> Result<T, String> {
        let mut question = vec![];
        self.protocol.encode(request, &mut question);
        self.send(&question)?;
        self.receive(kind, take)
    }

    /// Waits for the next answer and hands it to `take`; a refusal is an error.
    pub fn receive<T>(&mut self, kind: Kind, take: impl FnOnce(Reply) -> T) -> Result<T, String> {
        let taken = self.answer(kind, |reply| match reply {
            Reply::Error(words) => Err(String::from_utf8_lossy(words).into_owned()),
            reply => Ok(take(reply)),
        })?;
        taken.map_err(|words| refused(&self.target, &words))
    }

    /// Waits for the next answer, whatever it is, and hands it to `take`.
    pub fn answer<T>(&mut self, kind: Kind, take: impl FnOnce(Reply) -> T) -> Result<T, String> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.protocol.decode(kind, &self.arrived[self.used..]) {
                Ok(Some((reply, length))) => {
                    let taken = take(reply);
                    self.used += length;
                    return Ok(taken);
                }
                Ok(None) => {}
                Err(why) => {
                    let Target { endpoint, dialect, .. } = &self.target;
                    return Err(format!(
                        "{endpoint} does not speak {dialect}: it sent {why}; choose another --protocol"
                    ));
                }
            }
            let in_time = if Instant::now() < deadline { Ok(()) } else { Err(ErrorKind::TimedOut.into()) };
            in_time.and_then(|()| self.read()).map_err(|why| self.failed(&why))?;
        }
    }

    fn read(&mut self) -> io::Result<()> {
        self.arrived.drain(..self.used);
        self.used = 0;
        let count = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut self.chunk)?,
            Stream::Tls(stream) => stream.read(&mut self.chunk)?,
            Stream::Unix(stream) => stream.read(&mut self.chunk)?,
        };
        self.arrived.extend_from_slice(&self.chunk[..count]);
        if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn failed(&self, why: &io::Error) -> String {
        let (Target { endpoint, dialect, .. }, timeout) = (&self.target, self.timeout);
        match why.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
                "{endpoint} accepts connections but does not answer within {timeout:?}: is it a server of {dialect}?"
            ),
            _ => format!("{endpoint} closed the connection without an answer: is it a server of {dialect}?"),
        }
    }
}

impl Stream {
    /// No read or write takes longer.
    fn bound(&self, timeout: Duration) -> io::Result<()> {
        let tcp = |stream: &TcpStream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(timeout))?;
            stream.set_write_timeout(Some(timeout))
        };
        match self {
            Stream::Tcp(stream) => tcp(stream),
            Stream::Tls(stream) => tcp(&stream.sock),
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_write_timeout(Some(timeout)))
            }
        }
    }
}

fn connect(address: &Endpoint, timeout: Duration) -> Result<Stream, String> {
    let stream = match address {
        Endpoint::Tcp(address) => TcpStream::connect_timeout(address, timeout).map(Stream::Tcp),
        Endpoint::Tls(address, trust) => {
            TcpStream::connect_timeout(address, timeout).and_then(|stream| trust.wrap(address, stream)).map(Stream::Tls)
        }
        Endpoint::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
    };
    stream.map_err(|why| match why.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            format!("no server listens on {address}: start one, or give its address")
        }
        ErrorKind::TimedOut => format!("no server answers on {address} within {timeout:?}"),
        _ => format!("cannot connect to {address}: {why}"),
    })
}

fn refused(target: &Target, words: &str) -> String {
    let advice = match words.split(' ').next().unwrap_or_default() {
        "NOAUTH" | "WRONGPASS" | "CLIENT_ERROR" => "; give --password (and --user)",
        "NOPROTO" | "ERROR" => "; choose another --protocol",
        _ => "",
    };
    format!("{} refuses: {words}{advice}", target.endpoint)
}
