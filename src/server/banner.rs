//! What runs, and what of this host costs speed: told once at the start, as a banner to a terminal and as lines of the log
//! to everybody else.

use std::io::IsTerminal;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::tune;
use crate::config::units::human;
use crate::config::{Engine, Switch, YesNo, limits};
use crate::shared::Shared;

/// `placed`: the threads and where they run.
pub fn announce(shared: &Shared, placed: &str, took: Duration) {
    let facts = facts(shared, placed);
    let title = format!("kv-cache {} in {} ms", env!("CARGO_PKG_VERSION"), took.as_millis());
    if std::io::stdout().is_terminal() && shared.options.log_file.is_none() {
        println!("{title}");
        facts.iter().for_each(|(name, fact)| println!("  {name:<18} {fact}"));
    } else {
        tracing::info!("{title}");
        facts.iter().for_each(|(name, fact)| tracing::info!("{name} {fact}"));
    }
    warn(shared);
}

fn facts(shared: &Shared, placed: &str) -> Vec<(&'static str, String)> {
    let options = &shared.options;
    let engine = shared.engine.get().expect("set before");
    let mut facts = Vec::new();
    let (http, memcached, protobuf) = match options.tls_other_ports {
        YesNo::No => ("HTTP on", "memcached on", "Protobuf on"),
        YesNo::Yes => ("HTTPS on", "memcached, TLS, on", "Protobuf, TLS, on"),
    };
    for address in &options.bind {
        facts.push(("listening on", std::net::SocketAddr::new(*address, shared.tcp_port).to_string()));
    }
    let doors = [
        ("TLS on", options.tls_port),
        (http, shared.http_port),
        (memcached, shared.memcached_port),
        (protobuf, shared.protobuf_port),
    ];
    for (name, port) in doors.into_iter().filter(|(_, port)| *port != 0) {
        for address in &options.bind {
            facts.push((name, std::net::SocketAddr::new(*address, port).to_string()));
        }
    }
    if let Some(path) = &options.unixsocket {
        facts.push(("listening on", format!("{} (mode {})", path.display(), options.unixsocketperm)));
    }
    facts.push(("threads", placed.to_owned()));
    facts.push(("engine", format!("{}: {}", engine.name, engine.reason)));
    facts.push((
        "registered buffers",
        match engine.registered_buffers {
            0 => format!("none: {}", engine.registered_reason),
            buffers => format!("{buffers} of {} for each core", human(limits::IO_BUFFER_BYTES as u64)),
        },
    ));
    facts.push(("sends", engine.sends.to_owned()));
    let [cap, granted, value] = [
        shared.settings.max_memory_bytes.load(Relaxed),
        shared.granted_bytes,
        shared.settings.largest_value_bytes.load(Relaxed) as u64,
    ]
    .map(human);
    facts.push(("memory cap", format!("{cap} of {granted}; values up to {value}")));
    facts.extend(tune::summary(&tune::check()).map(|text| ("kernel settings", text)));
    facts
}

/// What was asked for and is not to be had.
fn warn(shared: &Shared) {
    let (options, engine) = (&shared.options, shared.engine.get().expect("set before"));
    if engine.name == "epoll" && options.engine != Engine::Epoll {
        tracing::warn!("running on epoll: {}", engine.reason);
    }
    if engine.name != "epoll" && engine.registered_buffers == 0 && options.registered_buffers == Switch::On {
        tracing::warn!("buffers are not registered: {}", engine.registered_reason);
    }
}
