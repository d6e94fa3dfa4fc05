//! A client that hides nothing: it sends bytes and sees the reply's bytes. It must not know the server's code.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;

use crate::harness::DEADLINE;
use crate::wire::{self, Value};

/// One request as clients send it: an array of bulk strings.
pub fn request<T: AsRef<[u8]>>(args: &[T]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args.iter().map(AsRef::as_ref) {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A bulk string reply.
pub fn bulk(value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

/// A value of `len` bytes in which a byte that is lost, doubled or moved shows.
pub fn patterned(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31).wrapping_add(at >> 8).wrapping_add(seed) % 251) as u8).collect()
}

pub struct Client {
    // TCP or Unix alike: after connecting only the descriptor matters.
    stream: TcpStream,
    received: Vec<u8>,
    /// Bytes of `received` that have been handed out.
    taken: usize,
}

impl Client {
    pub fn new(stream: impl Into<OwnedFd>) -> Client {
        let stream = TcpStream::from(stream.into());
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        // Fails for a Unix socket, which needs it not.
        let _ = stream.set_nodelay(true);
        Client { stream, received: Vec::new(), taken: 0 }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what it is sent");
    }

    /// Sends while the server may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// No more will be sent; replies can still arrive.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with RST instead of FIN: the peer has crashed, as the server sees it.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Sends a request and returns the parsed reply.
    pub fn call<T: AsRef<[u8]>>(&mut self, args: &[T]) -> Value {
        self.send(request(args));
        self.value()
    }

    /// A line of a transcript: the words as a request, and the reply's bytes.
    #[track_caller]
    pub fn check(&mut self, words: &str, reply: &str) {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.send(request(&words));
        let got = self.raw_reply();
        assert_eq!(String::from_utf8_lossy(&got), reply, "{}", words.join(" "));
    }

    /// The same with an error reply of which the beginning is given.
    #[track_caller]
    pub fn check_error(&mut self, words: &str, beginning: &str) {
        let words: Vec<&str> = words.split_whitespace().collect();
        match self.call(&words) {
            Value::Error(text) if text.starts_with(beginning) => {}
            other => panic!("{}: {other:?} instead of the error {beginning:?}", words.join(" ")),
        }
    }

    /// The next reply's bytes are exactly these.
    #[track_caller]
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        while self.received.len() - self.taken < bytes.len() {
            if self.fill().expect("a reply in time") == 0 {
                break;
            }
        }
        let until = self.received.len().min(self.taken + bytes.len());
        let got = &self.received[self.taken..until];
        if got != bytes {
            let at = got.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            let from = at.saturating_sub(40);
            let shown =
                |bytes: &[u8]| bytes[from.min(bytes.len())..bytes.len().min(at + 80)].escape_ascii().to_string();
            panic!("differs at byte {at} of {}: ...{} instead of ...{}", bytes.len(), shown(got), shown(bytes));
        }
        self.take(bytes.len());
    }

    /// The next line, with its end.
    pub fn line(&mut self) -> String {
        loop {
            let received = &self.received[self.taken..];
            if let Some(end) = received.windows(2).position(|bytes| bytes == b"\r\n") {
                let line = received[..end + 2].escape_ascii().to_string();
                self.take(end + 2);
                return line.replace("\\r\\n", "\r\n");
            }
            assert!(self.fill().expect("a reply in time") > 0, "closed within a line");
        }
    }

    /// The server closes, and nothing comes before that.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "{} came before the end", rest.escape_ascii());
    }

    /// Everything until the server closes. A reset counts as the end too: it is what a close with unread input is.
    pub fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("no end in time: {error}"),
            }
        }
        let rest = self.received.split_off(self.taken);
        self.received.clear();
        self.taken = 0;
        rest
    }

    /// One reply as it came.
    pub fn raw_reply(&mut self) -> Vec<u8> {
        loop {
            if let Some(length) = wire::reply_length(&self.received[self.taken..]) {
                let reply = self.received[self.taken..self.taken + length].to_vec();
                self.take(length);
                return reply;
            }
            let got = self.fill().expect("a reply in time");
            assert!(got > 0, "closed after {}", self.received[self.taken..].escape_ascii());
        }
    }

    pub fn value(&mut self) -> Value {
        wire::parse(&self.raw_reply())
    }

    /// One field of INFO.
    pub fn info(&mut self, field: &str) -> String {
        let text = self.call(&["INFO", "everything"]).text();
        let prefix = format!("{field}:");
        let found = text.lines().find_map(|line| line.strip_prefix(&prefix));
        found.unwrap_or_else(|| panic!("INFO has no {field}: {text}")).to_owned()
    }

    pub fn info_number(&mut self, field: &str) -> u64 {
        let text = self.info(field);
        text.parse().unwrap_or_else(|_| panic!("{field} is {text}"))
    }

    fn take(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken == self.received.len() {
            self.received.clear();
            self.taken = 0;
        } else if self.taken > 1 << 20 {
            self.received.drain(..self.taken);
            self.taken = 0;
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 65536];
        let got = self.stream.read(&mut buffer)?;
        self.received.extend_from_slice(&buffer[..got]);
        Ok(got)
    }
}
