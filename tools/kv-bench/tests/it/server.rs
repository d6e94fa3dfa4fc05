//! A small RESP server on a free port that misbehaves on demand. Knows nothing of kv-bench.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// What is wrong with the server.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    None,
    /// Accepts and never answers.
    Silent,
    /// Accepts and closes.
    Closes,
    /// Answers in another language.
    Garbage,
    /// Wants this password first.
    Password(&'static str),
    /// Is all right for so many requests, then closes each connection that asks more.
    ClosesAfter(usize),
    /// Is all right for so many requests, then answers none.
    SilentAfter(usize),
    /// Is all right for so many requests, then sends garbage.
    GarbageAfter(usize),
    /// Once, at this request, answers nobody for so long.
    StallsAt(usize, Duration),
    /// Refuses every tenth request.
    Refuses,
    /// Every hundredth read returns what was written to another key.
    Mixes,
    /// Keeps the first value of each key for ever.
    Stale,
    /// Loses one byte of each value.
    Tears,
    /// Takes no value of more bytes.
    RefusesAbove(usize),
}

/// Everything that a connection's thread needs.
struct Shared {
    fault: Fault,
    data: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    requests: AtomicUsize,
    stalled: AtomicBool,
    commands: Mutex<HashMap<String, usize>>,
    connections: AtomicUsize,
}

pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Listens on a free port until the test process ends.
    pub fn start(fault: Fault) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it was bound");
        let shared = Arc::new(Shared {
            fault,
            data: Mutex::default(),
            requests: AtomicUsize::new(0),
            stalled: AtomicBool::new(false),
            commands: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let server = Server { address, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&shared);
                // A client that leaves ends its thread with an error, which is no news.
                thread::spawn(move || shared.serve(&stream).map_err(drop));
            }
        });
        server
    }

    /// How often each command was asked for.
    pub fn asked(&self, command: &str) -> usize {
        self.shared.commands.lock().unwrap().get(command).copied().unwrap_or(0)
    }

    pub fn keys(&self) -> usize {
        self.shared.data.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut input = BufReader::new(stream);
        let mut known = !matches!(self.fault, Fault::Password(_));
        if self.fault == Fault::Closes {
            return Ok(());
        }
        loop {
            let words = request(&mut input)?;
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            let command = String::from_utf8_lossy(&words[0]).into_owned();
            *self.commands.lock().unwrap().entry(command.clone()).or_default() += 1;
            let reply = match self.fault {
                Fault::ClosesAfter(count) if number >= count => return Ok(()),
                Fault::SilentAfter(count) if number >= count => continue,
                Fault::Silent => continue,
                Fault::GarbageAfter(count) if number >= count => b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
                Fault::Garbage => b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
                Fault::Refuses if number % 10 == 9 => b"-ERR not today\r\n".to_vec(),
                Fault::Password(password) if command == "AUTH" => {
                    known = words.last().is_some_and(|word| word == password.as_bytes());
                    if known { b"+OK\r\n".to_vec() } else { b"-WRONGPASS invalid password\r\n".to_vec() }
                }
                _ if !known => b"-NOAUTH Authentication required.\r\n".to_vec(),
                _ => self.answer(&command, &words, number),
            };
            if let Fault::StallsAt(at, length) = self.fault
                && number >= at
                && !self.stalled.swap(true, Ordering::SeqCst)
            {
                // Whoever holds the data holds up everybody: that is what a stall is.
                let _data = self.data.lock().unwrap();
                thread::sleep(length);
            }
            (&*stream).write_all(&reply)?;
        }
    }

    fn answer(&self, command: &str, words: &[Vec<u8>], number: usize) -> Vec<u8> {
        let mut data = self.data.lock().unwrap();
        match command {
            "GET" if self.fault == Fault::Mixes && number % 100 == 99 => {
                bulk(data.iter().find(|(key, _)| **key != words[1]).map(|(_, value)| &value[..]))
            }
            "GET" => bulk(data.get(&words[1]).map(|value| &value[..])),
            "MGET" => {
                let values = words[1..].iter().map(|key| bulk(data.get(key).map(|value| &value[..])));
                [format!("*{}\r\n", words.len() - 1).into_bytes(), values.collect::<Vec<_>>().concat()].concat()
            }
            "SET" => {
                match self.fault {
                    Fault::RefusesAbove(most) if words[2].len() > most => return b"-ERR too large\r\n".to_vec(),
                    Fault::Stale => drop(data.entry(words[1].clone()).or_insert_with(|| words[2].clone())),
                    Fault::Tears => drop(data.insert(words[1].clone(), words[2][1..].to_vec())),
                    _ => drop(data.insert(words[1].clone(), words[2].clone())),
                }
                b"+OK\r\n".to_vec()
            }
            "DEL" => format!(":{}\r\n", usize::from(data.remove(&words[1]).is_some())).into_bytes(),
            "INCR" => {
                let counter = data.entry(words[1].clone()).or_insert_with(|| b"0".to_vec());
                let next = String::from_utf8_lossy(counter).parse::<u64>().unwrap_or(0) + 1;
                *counter = next.to_string().into_bytes();
                format!(":{next}\r\n").into_bytes()
            }
            "FLUSHALL" => {
                data.clear();
                b"+OK\r\n".to_vec()
            }
            "CONFIG" => b"+OK\r\n".to_vec(),
            "DBSIZE" => format!(":{}\r\n", data.len()).into_bytes(),
            "HELLO" => b"%1\r\n+proto\r\n:3\r\n".to_vec(),
            _ => b"-ERR unknown command\r\n".to_vec(),
        }
    }
}

fn bulk(value: Option<&[u8]>) -> Vec<u8> {
    match value {
        None => b"$-1\r\n".to_vec(),
        Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
    }
}

/// One request: an array of bulk strings.
fn request(input: &mut impl BufRead) -> std::io::Result<Vec<Vec<u8>>> {
    let count = header(input)?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; header(input)? + 2];
            input.read_exact(&mut word)?;
            word.truncate(word.len() - 2);
            Ok(word)
        })
        .collect()
}

fn header(input: &mut impl BufRead) -> std::io::Result<usize> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    line.get(1..).and_then(|number| number.trim().parse().ok()).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}
