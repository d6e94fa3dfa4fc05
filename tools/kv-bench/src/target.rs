//! A server under load: where it listens, what it speaks, who we are to it. Knows nothing of workloads.

use crate::protocol::{Credentials, Dialect, Protocol};
use crate::tls::Trust;
use clap::ValueEnum;
use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Tcp(SocketAddr),
    Tls(SocketAddr, Trust),
    Unix(PathBuf),
}

/// A server and how to talk to it.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the reports call it.
    pub name: String,
    pub endpoint: Endpoint,
    pub dialect: Dialect,
    pub credentials: Option<Credentials>,
    /// TLS is spoken, with servers that are trusted by this.
    pub tls: Option<Trust>,
    /// The server's process, to measure its CPU time; only on this machine.
    pub pid: Option<u32>,
}

impl Target {
    pub fn protocol(&self) -> Box<dyn Protocol> {
        self.dialect.protocol(self.credentials.clone())
    }

    /// Parses `[NAME=]ADDRESS[,pid=PID][,protocol=P][,user=U][,password=P][,tls=yes|no]`; what is not given is taken from
    /// `defaults`.
    pub fn parse(text: &str, defaults: &Target) -> Result<Target, String> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, address) = match first.split_once('=') {
            Some((name, address)) => (name, address),
            None => (first, first),
        };
        let mut target = Target { name: name.into(), endpoint: endpoint(address)?, ..defaults.clone() };
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("'{part}' in '{text}' lacks its '='"))?;
            target.set(key, value).map_err(|why| format!("{why} in '{text}'"))?;
        }
        if let (Endpoint::Tcp(address), Some(trust)) = (&target.endpoint, &target.tls) {
            target.endpoint = Endpoint::Tls(*address, trust.clone());
        }
        Ok(target)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "pid" => self.pid = Some(value.parse().map_err(|_| format!("'{value}' is no process id"))?),
            "protocol" => {
                self.dialect = Dialect::from_str(value, true).map_err(|_| format!("no protocol '{value}'"))?
            }
            "user" => self.credentials.get_or_insert_default().user = Some(value.into()),
            "password" => self.credentials.get_or_insert_default().password = value.into(),
            "tls" => match value {
                "no" => self.tls = None,
                // Whom it trusts is said by --cacert, or it trusts anybody.
                "yes" if self.tls.is_none() => self.tls = Some(Trust::of(None)?),
                "yes" => {}
                _ => return Err("tls is yes or no".into()),
            },
            _ => return Err(format!("no '{key}' (there are pid, protocol, user, password, tls)")),
        }
        Ok(())
    }
}

/// Parses `HOST:PORT`, `unix:PATH` or a path that starts with a slash.
pub fn endpoint(text: &str) -> Result<Endpoint, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Endpoint::Unix(path.into()));
    }
    if text.starts_with('/') {
        return Ok(Endpoint::Unix(text.into()));
    }
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|why| format!("'{text}' is no address ({why}); write HOST:PORT, or unix:PATH for a unix socket"))?;
    addresses.next().map(Endpoint::Tcp).ok_or_else(|| format!("'{text}' has no address"))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) | Endpoint::Tls(address, _) => write!(f, "{address}"),
            Endpoint::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, String> {
        let endpoint = Endpoint::Unix("/default".into());
        let defaults = Target {
            name: "default".into(),
            endpoint,
            dialect: Dialect::Resp2,
            credentials: None,
            tls: None,
            pid: None,
        };
        Target::parse(text, &defaults)
    }

    #[test]
    fn targets_carry_name_address_and_process() {
        let target = parse("redis=127.0.0.1:6379,pid=42").unwrap();
        assert_eq!((target.name.as_str(), target.pid), ("redis", Some(42)));
        assert_eq!(target.endpoint, Endpoint::Tcp("127.0.0.1:6379".parse().unwrap()));
        let target = parse("mc=unix:/run/m.sock,protocol=memcached,user=u,password=p=q").unwrap();
        assert_eq!(target.dialect, Dialect::Memcached);
        assert_eq!(target.credentials, Some(Credentials { user: Some("u".into()), password: "p=q".into() }));
        assert_eq!(parse("127.0.0.1:1").unwrap().name, "127.0.0.1:1");
    }

    #[test]
    fn bad_targets_are_refused_with_the_reason() {
        for (bad, reason) in [
            ("localhost", "HOST:PORT"),
            ("a=127.0.0.1:1,pid=x", "process id"),
            ("a=127.0.0.1:1,protocol=gopher", "no protocol"),
            ("a=127.0.0.1:1,colour=red", "there are pid"),
            ("a=127.0.0.1:1,pid", "lacks its '='"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
