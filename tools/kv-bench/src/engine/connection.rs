//! One connection: its socket, the bytes under way in both directions, the requests that wait for replies. Knows
//! nothing of when and what to send.

use super::{
    judge::{Judge, Pending},
    socket::Socket,
};
use crate::{
    protocol::{Kind, Protocol},
    target::Endpoint,
    traffic::Asked,
};
use mio::{Interest, Registry, Token};
use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
};

/// Why a connection ended.
#[derive(Debug)]
pub enum Broken {
    /// The server closed it, or the network did.
    Closed(io::Error),
    /// The server sent what is no reply.
    Garbled(&'static str),
}

impl From<io::Error> for Broken {
    fn from(why: io::Error) -> Broken {
        Broken::Closed(why)
    }
}

#[derive(Default)]
pub struct Connection {
    socket: Option<Socket>,
    established: bool,
    /// Requests not yet taken by the kernel: `out[written..]`.
    pub out: Vec<u8>,
    written: usize,
    /// The beginning of a reply whose end has not arrived.
    partial: Vec<u8>,
    pub pending: VecDeque<Pending>,
}

impl Connection {
    /// Begins to connect and queues the greeting. Whatever was under way is forgotten; the caller has counted it.
    pub fn open(
        &mut self,
        endpoint: &Endpoint,
        protocol: &dyn Protocol,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        self.close();
        let mut socket = Socket::connect(endpoint)?;
        // Edge-triggered, both directions at once: no further system call to change the interest, ever.
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.socket = Some(socket);
        for _ in 0..protocol.greet(&mut self.out) {
            let asked = Asked { kind: Kind::Greeting, key: 0, version: 0, all: None };
            self.pending.push_back(Pending { asked, due: 0 });
        }
        Ok(())
    }

    pub fn close(&mut self) {
        self.socket = None;
        self.established = false;
        self.out.clear();
        self.written = 0;
        self.partial.clear();
        self.pending.clear();
    }

    pub fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Connected, greeted, and nothing under way.
    pub fn is_idle(&self) -> bool {
        self.established && self.pending.is_empty()
    }

    /// Something happened to the socket: finishes connecting, then writes what had to wait. Returns whether it is
    /// connected now.
    pub fn progress(&mut self) -> Result<(bool, usize), Broken> {
        let Some(socket) = &self.socket else { return Ok((false, 0)) };
        self.established = self.established || socket.established()?;
        let sent = if self.established { self.flush()? } else { 0 };
        Ok((self.established, sent))
    }

    /// Writes as much as the kernel takes; returns the bytes.
    pub fn flush(&mut self) -> Result<usize, Broken> {
        let start = self.written;
        while self.written < self.out.len() && self.established {
            let Some(socket) = &mut self.socket else { break };
            match socket.write(&self.out[self.written..]) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(count) => self.written += count,
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(why.into()),
            }
        }
        // What is encrypted and did not leave goes first when there is room.
        if let Some(socket) = &mut self.socket
            && self.established
        {
            match socket.flush() {
                Err(why) if why.kind() != ErrorKind::WouldBlock => return Err(why.into()),
                _ => {}
            }
        }
        let sent = self.written - start;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(sent)
    }

    /// Reads what has arrived and hands it to the judge. Returns how many requests were settled, and the bytes.
    ///
    /// With `to_the_end` it reads until the server's close is seen. Otherwise a short read ends it: on an
    /// edge-triggered stream that means the socket is drained (epoll(7)), which saves a read that only says so.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        judge: &mut Judge,
        to_the_end: bool,
        clock: impl Fn() -> u64,
    ) -> Result<(usize, usize), Broken> {
        let (before, mut received) = (self.pending.len(), 0);
        while let Some(socket) = &mut self.socket {
            let count = match socket.read(scratch) {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(count) => count,
                Err(why) if why.kind() == ErrorKind::WouldBlock => break,
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                Err(why) => return Err(why.into()),
            };
            received += count;
            self.settle(&scratch[..count], judge, clock())?;
            if count < scratch.len() && !to_the_end && self.socket.as_ref().is_none_or(Socket::tells_when_drained) {
                break;
            }
        }
        Ok((before - self.pending.len(), received))
    }

    /// Judges straight from the read buffer; only the beginning of an unfinished reply is kept.
    fn settle(&mut self, arrived: &[u8], judge: &mut Judge, now: u64) -> Result<(), Broken> {
        if self.partial.is_empty() {
            let used = judge.settle(&mut self.pending, arrived, now).map_err(Broken::Garbled)?;
            self.partial.extend_from_slice(&arrived[used..]);
        } else {
            self.partial.extend_from_slice(arrived);
            let used = judge.settle(&mut self.pending, &self.partial, now).map_err(Broken::Garbled)?;
            self.partial.drain(..used);
        }
        Ok(())
    }
}
