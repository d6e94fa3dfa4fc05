//! A non-blocking stream to a server, TCP, TLS or unix. Knows nothing of what is sent over it.

use crate::target::Endpoint;
use crate::tls::Encrypted;
use mio::{
    Interest, Registry, Token, event,
    net::{TcpStream, UnixStream},
};
use std::io::{self, Read, Write};

pub enum Socket {
    Tcp(TcpStream),
    Tls(Encrypted<TcpStream>),
    Unix(UnixStream),
}

impl Socket {
    /// Begins to connect; the socket turns writable when that is done, well or badly.
    pub fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
        match endpoint {
            Endpoint::Tcp(address) => TcpStream::connect(*address).map(Socket::Tcp),
            Endpoint::Tls(address, trust) => trust.wrap(address, TcpStream::connect(*address)?).map(Socket::Tls),
            Endpoint::Unix(path) => UnixStream::connect(path).map(Socket::Unix),
        }
    }

    /// Whether the connection now stands; an error says why it never will.
    pub fn established(&self) -> io::Result<bool> {
        let failed = match self {
            Socket::Tcp(stream) => stream.take_error()?,
            Socket::Tls(stream) => stream.sock.take_error()?,
            Socket::Unix(stream) => stream.take_error()?,
        };
        if let Some(why) = failed {
            return Err(why);
        }
        let peer = match self {
            Socket::Tcp(stream) => stream.peer_addr().map(drop),
            Socket::Tls(stream) => stream.sock.peer_addr().map(drop),
            Socket::Unix(stream) => stream.peer_addr().map(drop),
        };
        match peer {
            Ok(()) => {
                match self {
                    Socket::Tcp(stream) => stream.set_nodelay(true)?,
                    Socket::Tls(stream) => stream.sock.set_nodelay(true)?,
                    Socket::Unix(_) => {}
                }
                Ok(true)
            }
            Err(why) if why.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(why) => Err(why),
        }
    }

    /// A short read says that nothing more has come.
    pub fn tells_when_drained(&self) -> bool {
        !matches!(self, Socket::Tls(_))
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Tls(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Tls(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Socket::Tls(stream) => stream.flush(),
            _ => Ok(()),
        }
    }
}

impl event::Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.register(registry, token, interests),
            Socket::Tls(stream) => stream.sock.register(registry, token, interests),
            Socket::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.reregister(registry, token, interests),
            Socket::Tls(stream) => stream.sock.reregister(registry, token, interests),
            Socket::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.deregister(registry),
            Socket::Tls(stream) => stream.sock.deregister(registry),
            Socket::Unix(stream) => stream.deregister(registry),
        }
    }
}
