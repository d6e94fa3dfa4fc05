//! The options of replays and simulations: which traces, against which servers or policies, with how much memory.

use super::{Outputs, names::Offered, servers::ServerOptions};
use crate::{
    policy,
    target::Target,
    trace::Format,
    units::{parse_count, parse_memory},
};
use clap::Args;
use std::{path::PathBuf, time::Duration};

/// Traces against servers.
pub struct Replay {
    pub traces: Vec<PathBuf>,
    pub format: Format,
    /// Requests of each trace, at most.
    pub requests: u64,
    pub servers: Vec<Target>,
    /// Bytes of memory that a server may use, one replay each; the server's own cap if there is none.
    pub caps: Vec<u64>,
    /// Whether the servers get caps with which they have equally much resident.
    pub equal_rss: bool,
    pub connections: usize,
    pub pipeline: usize,
    pub timeout: Duration,
    pub outputs: Outputs,
}

/// Traces against simulated caches.
pub struct Simulation {
    pub traces: Vec<PathBuf>,
    pub format: Format,
    /// Requests of each trace, at most.
    pub requests: u64,
    /// Names; all policies if there is none.
    pub policies: Vec<String>,
    /// In bytes.
    pub caps: Vec<u64>,
    /// Where no caps are given: percentages of what the whole trace takes.
    pub shares: Vec<f64>,
    /// What an item costs beside key and value.
    pub item_bytes: u64,
    pub outputs: Outputs,
}

#[derive(Args)]
pub struct ReplayOptions {
    /// Trace files: plain, gzip, xz or zstd
    #[arg(required = true)]
    traces: Vec<PathBuf>,
    /// NAME=ADDRESS[,pid=PID][,protocol=P][,user=U][,password=P]; with its process, its resident memory is told
    #[arg(long, short, num_args = 1.., default_value = "127.0.0.1:7171", value_name = "NAME=ADDRESS")]
    servers: Vec<String>,
    /// Memory caps to set, smallest first, as Redis reads them: 16mb,32mb,1gb [default: what the server has]
    #[arg(long, value_delimiter = ',', value_parser = parse_memory)]
    caps: Vec<u64>,
    /// Give the first server each cap, and the others such that they have equally much resident at the end, within 2%
    #[arg(long, requires = "caps")]
    equal_rss: bool,
    /// The form of the traces
    #[arg(long, value_enum, default_value = "auto")]
    format: Format,
    /// Replay only so many requests of each trace
    #[arg(long, short = 'n', value_parser = parse_count)]
    requests: Option<u64>,
    /// Connections to each server
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Requests under way per connection
    #[arg(long, short, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pipeline: u16,
    #[command(flatten)]
    how: ServerOptions,
    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Args)]
pub struct SimulateOptions {
    /// Trace files: plain, gzip, xz or zstd
    #[arg(required = true)]
    traces: Vec<PathBuf>,
    /// Policies, by the names in the table [default: all]
    #[arg(long, value_delimiter = ',', value_parser = Offered(policy::names), hide_possible_values = true)]
    policies: Vec<String>,
    /// Memory caps, as Redis reads them: 16mb,32mb,1gb
    #[arg(long, value_delimiter = ',', value_parser = parse_memory)]
    caps: Vec<u64>,
    /// Instead of caps: percentages of what the whole trace takes
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 3.0, 10.0, 30.0], conflicts_with = "caps")]
    shares: Vec<f64>,
    /// What an item costs beside its key and value, in bytes
    #[arg(long, default_value_t = 32)]
    item_bytes: u64,
    /// The form of the traces
    #[arg(long, value_enum, default_value = "auto")]
    format: Format,
    /// Use only so many requests of each trace
    #[arg(long, short = 'n', value_parser = parse_count)]
    requests: Option<u64>,
    #[command(flatten)]
    outputs: Outputs,
}

impl SimulateOptions {
    pub fn resolve(self) -> Result<Simulation, String> {
        if self.shares.iter().any(|share| !(*share > 0.0 && *share <= 100.0)) {
            return Err("--shares are percentages above 0, at most 100".into());
        }
        let mut caps = self.caps;
        caps.sort_unstable();
        Ok(Simulation {
            traces: self.traces,
            format: self.format,
            requests: self.requests.unwrap_or(u64::MAX),
            policies: self.policies,
            caps,
            shares: self.shares,
            item_bytes: self.item_bytes,
            outputs: self.outputs,
        })
    }
}

impl ReplayOptions {
    pub fn resolve(self) -> Result<Replay, String> {
        let servers = self.how.targets(&self.servers)?;
        if let Some(server) = servers.iter().find(|server| self.equal_rss && server.pid.is_none()) {
            return Err(format!("--equal-rss reads the memory of each process: {} lacks its pid=PID", server.name));
        }
        if self.caps.iter().any(|cap| *cap < 1 << 20) {
            return Err("--caps must be at least 1mb each".into());
        }
        let mut caps = self.caps;
        caps.sort_unstable();
        Ok(Replay {
            traces: self.traces,
            format: self.format,
            requests: self.requests.unwrap_or(u64::MAX),
            servers,
            caps,
            equal_rss: self.equal_rss,
            connections: self.connections.into(),
            pipeline: self.pipeline.into(),
            timeout: self.how.timeout,
            outputs: self.outputs,
        })
    }
}
