//! What the options come to on this host, before anything is started: a start takes it from here, and `--check` shows it.

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;

use super::placement::{Grant, Placement};
use crate::acl::Rules;
use crate::command::{Table, users};
use crate::config::units::{Size, human};
use crate::config::{Options, Origin, Resolved, StartError, YesNo, host, limits};
use crate::net::{self, Choice, listener};
use crate::observe::log;
use crate::protocol::front::Protocol;
use crate::shared::Plan;

/// Everything but what needs sockets: threads, engine, memory, descriptors.
pub struct Start {
    pub placement: Placement,
    pub choice: Choice,
    /// Why this engine.
    pub engine_reason: String,
    pub memory: Memory,
    pub maxclients: usize,
    /// File descriptors that clients may take.
    pub descriptors: usize,
    pub password: Option<String>,
    /// Those of the users file.
    pub users: Option<BTreeMap<String, Rules>>,
    pub tls: Option<Arc<ServerConfig>>,
    /// What was made to fit, or is open to everybody: one line each.
    pub warnings: Vec<String>,
}

pub struct Memory {
    pub cap_bytes: usize,
    /// What the host or the cgroup grants.
    pub granted_bytes: u64,
}

impl Start {
    /// # Errors
    /// Whatever a start would be refused for, sockets that others have excepted.
    pub fn plan(resolved: &Resolved) -> Result<Start, StartError> {
        let start = check_ports(resolved).and_then(|()| Start::of(&resolved.options));
        let mut start = start.map_err(|error| resolved.located(error))?;
        start.warnings.iter_mut().for_each(|warning| *warning = resolved.locate(warning));
        Ok(start)
    }

    fn of(options: &Options) -> Result<Start, StartError> {
        let password = options.password()?;
        // Before anybody looks one up.
        Table::disable(&options.disable_command).map_err(|name| {
            StartError::option(format!(
                "--disable-command: there is no command '{name}'; write flushall, config|set or a category such as \
                 @dangerous"
            ))
        })?;
        let read = |path: &Path| {
            users::read(path).map_err(|error| StartError::option(format!("--aclfile {}: {error}", path.display())))
        };
        let users = options.aclfile.as_deref().map(read).transpose()?;
        let tls = options.speaks_tls().then(|| options.tls().load()).transpose().map_err(StartError::option)?;
        let placement = Placement::decide(options, &Grant::of_host())?;
        let mut warnings = Vec::new();
        let memory = memory(options, &mut warnings)?;
        check_address_space(placement.threads)?;
        let (choice, engine_reason) = net::choose(options.engine, placement.threads)?;
        let (maxclients, descriptors) = descriptors(options, placement.threads, &mut warnings);
        if let Some(path) = &options.unixsocket {
            check_socket_path(path)?;
        }
        warnings.extend(exposure(options, password.is_some()));
        Ok(Start { placement, choice, engine_reason, memory, maxclients, descriptors, password, users, tls, warnings })
    }

    /// With the ports that were bound.
    pub fn into_plan(self, resolved: &Resolved, port_of: impl Fn(Protocol) -> u16) -> Plan {
        let options = resolved.options.clone();
        let (cores, cap) = (self.placement.threads, self.memory.cap_bytes);
        Plan {
            registered_buffers: net::wanted_buffers(&self.choice, options.registered_buffers, cap, cores),
            password: self.password,
            users: self.users,
            options,
            settings: resolved.settings.clone(),
            cores,
            max_memory_bytes: cap,
            granted_bytes: self.memory.granted_bytes,
            maxclients: self.maxclients,
            descriptors: self.descriptors,
            tcp_port: port_of(Protocol::Resp),
            http_port: port_of(Protocol::Http),
            memcached_port: port_of(Protocol::Memcached),
            protobuf_port: port_of(Protocol::Protobuf),
            tls: self.tls,
        }
    }

    /// What an option comes to, where that is not what was written.
    fn comes_to(&self, name: &str) -> Option<String> {
        match name {
            "threads" => Some(self.placement.reason.clone()),
            "maxmemory" => Some(human(self.memory.cap_bytes as u64)),
            "maxclients" => Some(self.maxclients.to_string()),
            "engine" => Some(match self.choice {
                Choice::Epoll => "epoll".to_owned(),
                Choice::Multishot(_) => "multishot".to_owned(),
                Choice::Uring(_) => "io_uring".to_owned(),
            }),
            _ => None,
        }
    }
}

/// `--check`: every option, what it comes to, and where it was written.
///
/// # Errors
/// What a start would be refused for, with the exit code of a wrong option.
pub fn check(resolved: &Resolved) -> Result<String, StartError> {
    let refused = |error: StartError| StartError::option(error.message);
    let start = Start::plan(resolved).map_err(refused)?;
    listener::try_addresses(&resolved.options.bind).map_err(refused)?;
    log::try_file(resolved.options.log_file.as_deref()).map_err(|error| resolved.located(error))?;
    let mut listing = String::new();
    for setting in &resolved.settings {
        let written = &setting.text;
        let size = || written.parse::<Size>().ok().filter(|size| size.0 >= 1024).map(|size| human(size.0));
        let comes_to = start.comes_to(&setting.name).or_else(|| {
            ["client-output-limit", "client-query-limit", "max-value"].contains(&setting.name.as_str()).then(size)?
        });
        let written = if written.is_empty() { "-" } else { written };
        let value = match comes_to.filter(|value| value != written) {
            Some(value) => format!("{written} = {value}"),
            None => written.to_owned(),
        };
        listing.push_str(&format!("{:<22} {value:<40} {}\n", setting.name, setting.origin));
    }
    for warning in resolved.notes.iter().chain(&start.warnings) {
        listing.push_str(&format!("# {warning}\n"));
    }
    Ok(listing)
}

fn memory(options: &Options, warnings: &mut Vec<String>) -> Result<Memory, StartError> {
    let (granted_bytes, grantor) = host::granted_memory();
    let mut cap_bytes = options.maxmemory.resolve(granted_bytes) as usize;
    if cap_bytes < limits::MEMORY_CAP_MIN_BYTES {
        return Err(StartError::option(format!(
            "--maxmemory {} is {} and must be at least {}",
            options.maxmemory,
            human(cap_bytes as u64),
            Size(limits::MEMORY_CAP_MIN_BYTES as u64)
        )));
    }
    if (cap_bytes.saturating_add(limits::PROCESS_MEMORY_BYTES)) as u64 > granted_bytes {
        let lowered = granted_bytes as usize / 10 * 7;
        warnings.push(format!(
            "--maxmemory {} does not fit the {grantor}'s {}: lowered to 70% of it, {}",
            options.maxmemory,
            human(granted_bytes),
            human(lowered as u64)
        ));
        cap_bytes = lowered;
    }
    Ok(Memory { cap_bytes, granted_bytes })
}

/// What binding would only call "address in use". One port may be RESP's and encrypted; and HTTP's, where nobody has asked for
/// it, gives way to whatever has its port.
fn check_ports(resolved: &Resolved) -> Result<(), StartError> {
    let options = &resolved.options;
    let is_asked_for =
        resolved.settings.iter().any(|setting| setting.name == "http-port" && setting.origin != Origin::Default);
    let doors = [
        ("port", options.port),
        ("tls-port", options.tls_port),
        ("memcached-port", options.memcached_port),
        ("protobuf-port", options.protobuf_port),
        ("http-port", if is_asked_for { options.http_port } else { 0 }),
    ];
    for (index, (name, port)) in doors.into_iter().enumerate().filter(|(_, (_, port))| *port != 0) {
        if let Some((other, _)) = doors[..index].iter().find(|before| before.1 == port && name != "tls-port") {
            let instead = if name == "http-port" { "choose another, or 0 for none" } else { "choose another" };
            return Err(StartError::option(format!("--{name} {port}: that is the {other} too; {instead}")));
        }
    }
    Ok(())
}

/// Without this a reservation or an allocation would fail at any time, without a reason that anybody sees.
fn check_address_space(cores: usize) -> Result<(), StartError> {
    let needed = (cores * limits::ADDRESS_SPACE_PER_CORE_BYTES) as u64;
    match host::address_space_limit() {
        Some(limit) if limit < needed => Err(StartError::host(format!(
            "the address space is limited to {} and {cores} cores reserve up to {}, most of which is never memory: take \
             the limit away (ulimit -v unlimited, LimitAS=infinity); --maxmemory is what bounds memory",
            human(limit),
            human(needed)
        ))),
        _ => Ok(()),
    }
}

/// Connections that there may be, and the descriptors for them.
fn descriptors(options: &Options, cores: usize, warnings: &mut Vec<String>) -> (usize, usize) {
    let open_files = host::raise_open_files() as usize;
    let descriptors = open_files.saturating_sub(limits::DESCRIPTORS_RESERVED + 8 * cores).max(1);
    let maxclients = options.maxclients as usize;
    if maxclients > descriptors {
        warnings.push(format!(
            "--maxclients {maxclients} lowered to {descriptors}: the limit on open files is {open_files}; \
             raise it (ulimit -n, LimitNOFILE)"
        ));
    }
    (maxclients.min(descriptors), descriptors)
}

/// What binding would only call "address in use", or would put a socket beside.
fn check_socket_path(path: &Path) -> Result<(), StartError> {
    let refuse = |why: &str| Err(StartError::option(format!("--unixsocket {}: {why}", path.display())));
    if path.as_os_str().is_empty() {
        return refuse("the path is empty");
    }
    match std::fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => refuse("this is a directory; name a file in it, such as kv-cache.sock"),
        Ok(data) if !data.file_type().is_socket() => {
            refuse("cannot listen on a file that is no socket; it is left alone")
        }
        _ => match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) if !folder.is_dir() => refuse("its directory does not exist"),
            _ => Ok(()),
        },
    }
}

/// Whoever can reach an address that is not of this host alone.
fn exposure(options: &Options, has_password: bool) -> Option<String> {
    let open = options.bind.iter().find(|address| !address.is_loopback())?;
    if has_password {
        return None;
    }
    let others = [options.http_port, options.memcached_port, options.protobuf_port, options.tls_port]
        .into_iter()
        .filter(|port| ![0, options.port].contains(port));
    let ports = std::iter::once(options.port).chain(others).map(|port| port.to_string()).collect::<Vec<_>>();
    let ports = match &ports[..] {
        [port] => format!("port {port}"),
        [all @ .., last] => format!("ports {} and {last}", all.join(", ")),
        [] => unreachable!("there is one for RESP"),
    };
    Some(match options.protected_mode {
        YesNo::Yes => format!(
            "--bind {open} without a password: clients of other hosts are refused (protected mode). Give a password \
             (--requirepass-file), or --protected-mode no where only friends can reach {ports}"
        ),
        YesNo::No => format!(
            "--bind {open} without a password: whoever reaches {ports} can read and delete everything. Give a password \
             (--requirepass-file) unless a firewall keeps strangers away"
        ),
    })
}
