//! Asks a running server whether it answers, for health checks and probes. A client like any other: it must not know
//! the server from inside.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::config::target::{Place, Target};
use crate::config::{Options, StartError, limits};

/// Prints what the server says. Any reply in RESP is a sign of life: a server that is full or wants another password must
/// not be restarted for it.
///
/// # Errors
/// It says nothing, or what it says is not RESP.
pub fn run(options: &Options, target: Option<&Target>) -> Result<(), StartError> {
    let place = place(options, target);
    // A password file that only the server may read is no reason to call the server dead.
    let given = target.and_then(|target| target.password.clone());
    let password = given.or_else(|| options.password().unwrap_or_default());
    let user = target.and_then(|target| target.user.as_deref());
    let begun = Instant::now();
    let reply = ask(&place, user, password.as_deref())
        .map_err(|error| StartError::host(format!("{place} does not answer: {error}")))?;
    let took_ms = begun.elapsed().as_secs_f64() * 1e3;
    let lines: Vec<&str> = reply.lines().collect();
    if let Some(line) = lines.iter().find(|line| !line.starts_with(['+', '-'])) {
        let shown = line.escape_debug().take(limits::ERROR_ECHO_MAX_BYTES).collect::<String>();
        return Err(StartError::host(format!("{place} answers, but not in RESP: {shown}")));
    }
    let refused = lines.iter().find(|line| line.starts_with("-WRONGPASS"));
    match (refused, lines.last()) {
        (Some(_), _) => println!("{place} lives, but the password is wrong: {}", reply_text(refused)),
        (None, Some(&"+PONG")) => println!("{place} answers, in {took_ms:.1} ms"),
        (None, last) => println!("{place} lives, but says: {}", reply_text(last)),
    }
    Ok(())
}

fn reply_text<'l>(line: Option<&&'l str>) -> &'l str {
    line.map_or("", |line| line.trim_start_matches('-'))
}

/// What was named, completed by where a server with these options listens, as seen from its own host.
fn place(options: &Options, target: Option<&Target>) -> Place {
    match target.map(|target| target.place.clone()) {
        Some(Place::Tcp { host, port }) => Place::Tcp { host, port: port.or(Some(options.port)) },
        Some(unix) => unix,
        None => {
            let address = match options.bind.first() {
                Some(IpAddr::V4(address)) if !address.is_unspecified() => IpAddr::V4(*address),
                Some(IpAddr::V6(address)) if !address.is_unspecified() => IpAddr::V6(*address),
                Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::LOCALHOST),
                _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
            };
            Place::Tcp { host: address.to_string(), port: Some(options.port) }
        }
    }
}

fn ask(place: &Place, user: Option<&str>, password: Option<&str>) -> io::Result<String> {
    let timeout = Duration::from_millis(limits::PING_TIMEOUT_MS);
    match place {
        Place::Tcp { host, port } => {
            let mut failure = io::Error::other("the name has no address");
            for address in (host.as_str(), port.unwrap_or_default()).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, timeout) {
                    Ok(socket) => {
                        socket.set_read_timeout(Some(timeout))?;
                        return converse(socket, user, password);
                    }
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        }
        Place::Unix(path) => {
            let socket = UnixStream::connect(path)?;
            socket.set_read_timeout(Some(timeout))?;
            converse(socket, user, password)
        }
    }
}

/// Sends AUTH, if there is a password, and PING; returns the lines of what comes back.
fn converse(mut socket: impl Read + Write, user: Option<&str>, password: Option<&str>) -> io::Result<String> {
    let mut request = Vec::new();
    if let Some(password) = password {
        let words: Vec<&str> = ["AUTH"].into_iter().chain(user).chain([password]).collect();
        write!(request, "*{}\r\n", words.len())?;
        words.iter().try_for_each(|word| write!(request, "${}\r\n{word}\r\n", word.len()))?;
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
    if reply.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection without a word"));
    }
    Ok(String::from_utf8_lossy(&reply).into_owned())
}
