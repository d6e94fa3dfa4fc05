//! Listening sockets, built by hand: backlog, SO_REUSEPORT and the Unix socket's permissions are ours to decide.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::config::StartError;

/// Binds every address once per core. Returns one list per core, and the port, which 0 leaves to the kernel.
pub fn bind_tcp(
    addresses: &[IpAddr],
    port: u16,
    cores: usize,
    backlog: u32,
) -> Result<(Vec<Vec<TcpListener>>, u16), StartError> {
    let mut port = port;
    let mut lists: Vec<Vec<TcpListener>> = (0..cores).map(|_| Vec::new()).collect();
    for &address in addresses {
        if port != 0 {
            probe(SocketAddr::new(address, port))?;
        }
        for list in &mut lists {
            let wanted = SocketAddr::new(address, port);
            let listener = listen(wanted, backlog).map_err(|error| refusal(wanted, &error))?;
            if port == 0 {
                port = listener.local_addr().map_err(|error| refusal(wanted, &error))?.port();
            }
            list.push(listener);
        }
    }
    Ok((lists, port))
}

/// SO_REUSEPORT would let a second server share the port without a word: bind once without it.
fn probe(address: SocketAddr) -> Result<(), StartError> {
    let bound = Socket::new(Domain::for_address(address), Type::STREAM, None).and_then(|socket| {
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        // Two sockets may both be bound with SO_REUSEADDR; only one may listen.
        socket.listen(1)
    });
    bound.map_err(|error| refusal(address, &error))
}

fn refusal(address: SocketAddr, error: &io::Error) -> StartError {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process listens there (ss -ltnp 'sport = :{}' names it); stop it or choose another --port",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => "this host has no such address; see ip addr, and --bind".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose another --port".to_owned()
        }
        _ => "see --bind and --port".to_owned(),
    };
    StartError::host(format!("cannot listen on {address}: {error}: {remedy}"))
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog as i32)?;
    Ok(socket.into())
}

/// Sets what an accepted connection needs. It fails only when the peer is gone already.
pub fn prepare(socket: &SockRef, keepalive_s: u32) {
    let _ = socket.set_tcp_nodelay(true);
    if keepalive_s > 0 {
        let time = Duration::from_secs(keepalive_s as u64);
        // As Redis: three probes, a third of the time apart.
        let probes =
            TcpKeepalive::new().with_time(time).with_interval(time / 3 + Duration::from_secs(1)).with_retries(3);
        let _ = socket.set_tcp_keepalive(&probes);
    }
}

/// Binds the Unix socket. Its permissions are set before it listens: there is no moment in which they are wider.
pub fn bind_unix(path: &Path, mode: u32, backlog: u32) -> Result<UnixListener, StartError> {
    let shown = path.display();
    if UnixStream::connect(path).is_ok() {
        return Err(StartError::host(format!("cannot listen on {shown}: another process does; see --unixsocket")));
    }
    let is_stale_socket = std::fs::symlink_metadata(path).is_ok_and(|data| {
        use std::os::unix::fs::FileTypeExt;
        data.file_type().is_socket()
    });
    let bound = || -> io::Result<UnixListener> {
        if is_stale_socket {
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        socket.listen(backlog as i32)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bound().map_err(|error| StartError::host(format!("cannot listen on {shown}: {error}; see --unixsocket")))
}
