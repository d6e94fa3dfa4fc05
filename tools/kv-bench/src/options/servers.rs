//! The options of a server, the same for all commands.

use crate::{
    protocol::{Credentials, Dialect},
    target::{Target, endpoint},
    tls::Trust,
    units::parse_duration,
};
use clap::Args;
use std::{path::PathBuf, time::Duration};

/// The options that every command shares: how to talk to a server.
#[derive(Args, Clone)]
#[command(next_help_heading = "Servers")]
pub struct ServerOptions {
    /// The protocol
    #[arg(long, value_enum, default_value = "resp2")]
    protocol: Dialect,
    /// User to log in as
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// Password to log in with
    #[arg(long, env = "KV_BENCH_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Speak TLS
    #[arg(long)]
    tls: bool,
    /// Trust the authorities in this file, of PEM
    #[arg(long, value_name = "PATH", requires = "tls")]
    cacert: Option<PathBuf>,
    /// Trust any certificate
    #[arg(long, requires = "tls", conflicts_with = "cacert")]
    insecure: bool,
    /// Give up on a server that is silent for so long
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    pub timeout: Duration,
}

impl ServerOptions {
    /// A target with everything but its address, which each address then completes.
    pub fn target(&self) -> Result<Target, String> {
        let credentials =
            self.password.as_ref().map(|password| Credentials { user: self.user.clone(), password: password.clone() });
        if self.tls && self.cacert.is_none() && !self.insecure {
            return Err("--tls needs --cacert PATH, or --insecure".into());
        }
        let tls = self.tls.then(|| Trust::of(self.cacert.as_deref())).transpose()?;
        let endpoint = endpoint("127.0.0.1:7171")?;
        Ok(Target { name: String::new(), endpoint, dialect: self.protocol, credentials, tls, pid: None })
    }

    /// Servers that reports can tell apart: no two of them have the same name.
    pub fn targets(&self, servers: &[String]) -> Result<Vec<Target>, String> {
        let defaults = self.target()?;
        let servers: Vec<Target> =
            servers.iter().map(|server| Target::parse(server, &defaults)).collect::<Result<_, _>>()?;
        for (index, server) in servers.iter().enumerate() {
            if servers[..index].iter().any(|earlier| earlier.name == server.name) {
                return Err(format!("two servers are called '{}'; name them NAME=ADDRESS", server.name));
            }
        }
        Ok(servers)
    }
}
