//! Endpoints and their listening sockets, built by hand: backlog, SO_REUSEPORT and the Unix socket's permissions are
//! ours to decide.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::config::StartError;
use crate::protocol::front::Protocol;

/// Where clients come in, and what is spoken there.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub address: Address,
    pub protocol: Protocol,
    /// By TLS.
    pub is_encrypted: bool,
    /// Where somebody else listens there, the server goes on without.
    pub is_optional: bool,
}

impl Endpoint {
    /// The option that says where it is.
    fn option(&self) -> &'static str {
        match self.protocol {
            Protocol::Resp if self.is_encrypted => "--tls-port",
            protocol => protocol.port_option(),
        }
    }

    /// Says a last word to somebody who is not let in; over TLS there was no time for words.
    pub fn tell(&self, socket: &SockRef, word: &[u8]) {
        if !self.is_encrypted {
            let _ = socket.send(word);
        }
    }
}

#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    /// A socket in the file system, with its permissions.
    Unix {
        path: PathBuf,
        mode: u32,
    },
}

/// One core's listening socket of an endpoint. It does not block.
pub struct Listener {
    pub socket: Socket,
    pub endpoint: Endpoint,
}

/// Binds every endpoint: a TCP address once for each core, a Unix socket on the first core alone. Returns one list per
/// core. A port of 0 leaves it to the kernel: which it gives is entered into the endpoint, and is that of the protocol's
/// other addresses, too. Where one of an optional protocol's cannot be had, a warning says so, and all of that protocol are
/// taken out.
pub fn bind(endpoints: &mut Vec<Endpoint>, cores: usize, backlog: u32) -> Result<Vec<Vec<Listener>>, StartError> {
    let mut lists: Vec<Vec<Listener>> = (0..cores).map(|_| Vec::new()).collect();
    let mut given = None;
    let mut without = Vec::new();
    for endpoint in endpoints.iter_mut() {
        match bind_one(endpoint, cores, backlog, &mut given) {
            Ok(sockets) => {
                for (list, socket) in lists.iter_mut().zip(sockets) {
                    list.push(Listener { socket, endpoint: endpoint.clone() });
                }
            }
            Err(error) if endpoint.is_optional => {
                if !without.contains(&endpoint.protocol) {
                    tracing::warn!("{}; the server goes on without {}", error.message, endpoint.protocol.name());
                    without.push(endpoint.protocol);
                }
            }
            Err(error) => return Err(error),
        }
    }
    endpoints.retain(|endpoint| !without.contains(&endpoint.protocol));
    lists.iter_mut().for_each(|list| list.retain(|listener| !without.contains(&listener.endpoint.protocol)));
    Ok(lists)
}

/// The sockets of one endpoint, for the first cores. `given`: the port that the kernel chose for a protocol.
fn bind_one(
    endpoint: &mut Endpoint,
    cores: usize,
    backlog: u32,
    given: &mut Option<(Protocol, u16)>,
) -> Result<Vec<Socket>, StartError> {
    let (protocol, option) = (endpoint.protocol, endpoint.option());
    let address = match &mut endpoint.address {
        Address::Tcp(address) => address,
        Address::Unix { path, mode } => return Ok(vec![bind_unix(path, *mode, backlog)?]),
    };
    if let Some((_, port)) = given.filter(|(of, _)| *of == protocol && address.port() == 0) {
        address.set_port(port);
    }
    let refuse = |address, error: io::Error| refusal(address, option, &error);
    let mut sockets = Vec::new();
    for core in 0..cores {
        let socket = listen(*address, backlog, core == 0).map_err(|error| refuse(*address, error))?;
        if address.port() == 0 {
            let bound = socket.local_addr().map_err(|error| refuse(*address, error))?;
            address.set_port(bound.as_socket().map_or(0, |bound| bound.port()));
            *given = Some((protocol, address.port()));
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Whether this host has the addresses, on any port.
pub fn try_addresses(addresses: &[IpAddr]) -> Result<(), StartError> {
    for &address in addresses {
        let any_port = SocketAddr::new(address, 0);
        bound(any_port, false).map_err(|error| refusal(any_port, Protocol::Resp.port_option(), &error))?;
    }
    Ok(())
}

fn refusal(address: SocketAddr, option: &str, error: &io::Error) -> StartError {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another process listens there (ss -ltnp 'sport = :{}' names it); stop it or choose another {option}",
            address.port()
        ),
        io::ErrorKind::AddrNotAvailable => "this host has no such address; see ip addr, and --bind".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need CAP_NET_BIND_SERVICE; choose another {option}")
        }
        _ => format!("see --bind and {option}"),
    };
    StartError::host(format!("cannot listen on {address}: {error}: {remedy}"))
}

/// With SO_REUSEPORT a second server could share the port without a word. So the first socket of an address listens
/// without it, which the kernel refuses while anybody else listens there, and only then lets the other cores' join. Nobody
/// who comes meanwhile is turned away: what waits there, its core accepts.
fn listen(address: SocketAddr, backlog: u32, is_first: bool) -> io::Result<Socket> {
    let socket = bound(address, !is_first)?;
    socket.listen(backlog as i32)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bound(address: SocketAddr, shares_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
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
fn bind_unix(path: &Path, mode: u32, backlog: u32) -> Result<Socket, StartError> {
    let shown = path.display();
    if UnixStream::connect(path).is_ok() {
        return Err(StartError::host(format!("cannot listen on {shown}: another process does; see --unixsocket")));
    }
    let is_stale_socket = std::fs::symlink_metadata(path).is_ok_and(|data| {
        use std::os::unix::fs::FileTypeExt;
        data.file_type().is_socket()
    });
    let bound = || -> io::Result<Socket> {
        if is_stale_socket {
            std::fs::remove_file(path)?;
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&socket2::SockAddr::unix(path)?)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        socket.listen(backlog as i32)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    bound().map_err(|error| StartError::host(format!("cannot listen on {shown}: {error}; see --unixsocket")))
}
