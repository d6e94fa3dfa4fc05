//! Asks a running server whether it answers, for health checks and probes. A client like any other: it must not know
//! the server from inside.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::config::StartError;
use crate::config::limits;
use crate::config::{Options, Target};

/// Prints what the server says; an error if it says nothing. Any reply is a sign of life: a server that is full or
/// wants another password must not be restarted for it.
pub fn run(options: &Options, target: Option<&Target>) -> Result<(), StartError> {
    let target = target.cloned().unwrap_or_else(|| default_target(options));
    // A password file that only the server may read is no reason to call the server dead.
    let password = options.password().unwrap_or_default();
    let begun = Instant::now();
    let reply = ask(&target, password.as_deref())
        .map_err(|error| StartError::host(format!("{target} does not answer: {error}")))?;
    let took_ms = begun.elapsed().as_secs_f64() * 1e3;
    match reply.as_str() {
        "+PONG" => println!("{target} answers, in {took_ms:.1} ms"),
        other => println!("{target} lives, but says: {}", other.trim_start_matches('-')),
    }
    Ok(())
}

/// Where a server with these options listens, as seen from its own host.
fn default_target(options: &Options) -> Target {
    let address = match options.bind.first() {
        Some(IpAddr::V4(address)) if !address.is_unspecified() => IpAddr::V4(*address),
        Some(IpAddr::V6(address)) if !address.is_unspecified() => IpAddr::V6(*address),
        Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Target::Tcp(SocketAddr::new(address, options.port))
}

fn ask(target: &Target, password: Option<&str>) -> io::Result<String> {
    let timeout = Duration::from_millis(limits::PING_TIMEOUT_MS);
    match target {
        Target::Tcp(address) => {
            let socket = TcpStream::connect_timeout(address, timeout)?;
            socket.set_read_timeout(Some(timeout))?;
            converse(socket, password)
        }
        Target::Unix(path) => {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(timeout))?;
            converse(socket, password)
        }
    }
}

/// Sends AUTH, if there is a password, and PING; returns the last line of what comes back.
fn converse(mut socket: impl Read + Write, password: Option<&str>) -> io::Result<String> {
    let mut request = Vec::new();
    if let Some(password) = password {
        write!(request, "*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len())?;
    }
    request.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    let wanted = if password.is_some() { 2 } else { 1 };
    // A server that is full says so and closes at once: what it said counts, not that the request came too late.
    let sent = socket.write_all(&request);
    let mut reply = Vec::new();
    let mut buffer = [0; 512];
    while reply.iter().filter(|byte| **byte == b'\n').count() < wanted && reply.len() < limits::PING_REPLY_MAX_BYTES {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(received) => reply.extend_from_slice(&buffer[..received]),
            Err(_) if !reply.is_empty() => break,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(io::Error::new(error.kind(), format!("no reply within {} ms", limits::PING_TIMEOUT_MS)));
            }
            Err(error) => return Err(error),
        }
    }
    sent.or_else(|error| if reply.is_empty() { Err(error) } else { Ok(()) })?;
    let text = String::from_utf8_lossy(&reply);
    match text.lines().last() {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection without a word")),
    }
}
