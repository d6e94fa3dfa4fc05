//! The options of a load: what is asked of a server, over which connections.

use super::servers::ServerOptions;
use crate::{
    plan::{Extent, Pace, Plan},
    target::Target,
    traffic::{
        Traffic,
        keys::{KeyChoice, Speller},
        presets,
        sizes::Sizes,
    },
    units::{parse_count, parse_duration, parse_size},
};
use clap::Args;
use std::{thread, time::Duration};

/// The options of every command that makes up its load: what is asked, and over which connections.
#[derive(Args, Clone)]
#[command(next_help_heading = "Load")]
pub struct LoadOptions {
    /// Connections, over all threads
    #[arg(long, short, default_value = "50", value_parser = parse_count)]
    connections: u64,
    /// Load threads [default: half of the cores]
    #[arg(long, short)]
    threads: Option<usize>,
    /// Requests under way per connection
    #[arg(long, short, default_value = "1", value_parser = parse_count)]
    pipeline: u64,
    /// READS:WRITES
    #[arg(long)]
    ratio: Option<String>,
    /// Percentage of deletions
    #[arg(long, value_name = "PERCENT")]
    del: Option<f64>,
    /// Percentage of increments, on counters of their own
    #[arg(long, value_name = "PERCENT")]
    incr: Option<f64>,
    /// Keys per read: reads become MGET
    #[arg(long, value_name = "WIDTH", value_parser = parse_count)]
    mget: Option<u64>,
    /// Number of different keys
    #[arg(long, short, value_parser = parse_count)]
    keys: Option<u64>,
    /// Bytes per key: N, LOW-HIGH, pareto:L,S,K, gev:L,S,K, or a mixture such as 16@9,100@1
    #[arg(long, value_name = "SIZE")]
    key_size: Option<Sizes>,
    /// Bytes per value, written like --key-size
    #[arg(long, short, value_name = "SIZE")]
    value_size: Option<Sizes>,
    /// uniform, zipf:THETA, hot:KEYS%:REQUESTS% or sequential
    #[arg(long, value_name = "CHOICE")]
    key_choice: Option<KeyChoice>,
    /// Time to live of what is written
    #[arg(long, value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Close each connection after its batch and open it anew
    #[arg(long)]
    churn: bool,
    /// Beside the load, write and read one value of so many bytes without a pause
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    neighbour: Option<usize>,
    /// Do not write all keys once before
    #[arg(long)]
    no_fill: bool,
    /// Write values that tell their key and version, and check every reply
    #[arg(long)]
    verify: bool,
    /// Load for so long before anything counts
    #[arg(long, value_parser = parse_duration, default_value = "500ms")]
    warmup: Duration,
    /// Same seed, same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    pub servers: ServerOptions,
}

impl LoadOptions {
    /// The plan of something like `get:p16:c200:v1KiB`, called by what it says, with the pipeline and the connections that
    /// it has in any case.
    pub fn plan_of(&self, spec: &str, target: Target, extent: Extent) -> Result<Plan, String> {
        let (workload, options, other) = self.with_spec(spec)?;
        let plan = options.plan(workload, target, extent, Pace::Closed)?;
        let label = format!("{workload}:p{}:c{}{other}", plan.pipeline, plan.connections);
        Ok(Plan { label, ..plan })
    }

    /// The workload's name, the options with what else the spec says, and those parts of it that are neither pipeline nor
    /// connections.
    fn with_spec<'a>(&self, spec: &'a str) -> Result<(&'a str, LoadOptions, String), String> {
        let mut options = self.clone();
        let mut parts = spec.split(':');
        let workload = parts.next().unwrap_or_default();
        let mut other = String::new();
        for part in parts {
            let bad = || format!("'{part}' in workload '{spec}' is none of pN, cN, tN, vSIZE, kN");
            let (letter, value) = part.split_at_checked(1).ok_or_else(bad)?;
            match letter {
                "p" => options.pipeline = parse_count(value)?,
                "c" => options.connections = parse_count(value)?,
                "t" => options.threads = Some(parse_count(value)? as usize),
                "v" => options.value_size = Some(value.parse()?),
                "k" => options.keys = Some(parse_count(value)?),
                _ => return Err(bad()),
            }
            if !matches!(letter, "p" | "c") {
                other.push_str(&format!(":{part}"));
            }
        }
        Ok((workload, options, other))
    }

    /// The plan of a workload against a target.
    pub fn plan(&self, workload: &str, target: Target, extent: Extent, pace: Pace) -> Result<Plan, String> {
        let preset = presets::find(workload)
            .ok_or_else(|| format!("no workload '{workload}' (there are {})", presets::names().join(", ")))?;
        let traffic = self.traffic(preset.traffic)?;
        if traffic.keys_per_read > 1 && !target.dialect.has_multi_get() {
            return Err(format!("{} reads one key at a time: leave out --mget", target.dialect));
        }
        let threads =
            self.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)));
        if self.connections == 0 || threads == 0 || self.pipeline == 0 {
            return Err("--connections, --threads and --pipeline must be at least 1".into());
        }
        if self.verify && traffic.keys < self.connections {
            return Err(format!(
                "--verify gives each connection keys of its own: use --keys {} or more, or fewer --connections",
                self.connections
            ));
        }
        if extent == Extent::Time(Duration::ZERO) || self.servers.timeout.is_zero() {
            return Err("--duration and --timeout must be above 0".into());
        }
        Ok(Plan {
            label: workload.into(),
            target,
            traffic,
            connections: self.connections as usize,
            threads,
            pipeline: self.pipeline as usize,
            pace,
            extent,
            warmup: self.warmup,
            fill: preset.fill && !self.no_fill,
            verify: self.verify,
            seed: self.seed,
            timeout: self.servers.timeout,
        })
    }

    /// The preset with what the options change in it.
    fn traffic(&self, mut traffic: Traffic) -> Result<Traffic, String> {
        if let Some(ratio) = &self.ratio {
            (traffic.reads, traffic.writes) = parse_ratio(ratio)?;
        }
        let (del, incr) = (self.del.unwrap_or(traffic.deletes), self.incr.unwrap_or(traffic.increments));
        let others = del + incr;
        if !(0.0..=100.0).contains(&others) || del < 0.0 || incr < 0.0 {
            return Err("--del and --incr are percentages; together at most 100".into());
        }
        // Reads and writes share what the others leave.
        let left = (100.0 - others) / (traffic.reads + traffic.writes);
        traffic.reads *= left;
        traffic.writes *= left;
        (traffic.deletes, traffic.increments) = (del, incr);
        traffic.keys_per_read = self.mget.map_or(traffic.keys_per_read, |width| width as usize);
        if !(1..=10_000).contains(&traffic.keys_per_read) {
            return Err("--mget takes 1 to 10000 keys".into());
        }
        traffic.keys = self.keys.unwrap_or(traffic.keys);
        if traffic.keys == 0 {
            return Err("--keys must be at least 1".into());
        }
        let shortest = Speller::shortest(traffic.keys);
        if let Some(Sizes::Fixed(size)) = self.key_size
            && !(shortest..=Speller::LONGEST_KEY_BYTES).contains(&size)
        {
            let longest = Speller::LONGEST_KEY_BYTES;
            return Err(format!("--key-size {size}: {} keys take {shortest} to {longest} bytes each", traffic.keys));
        }
        traffic.key_size = self.key_size.clone().unwrap_or(traffic.key_size);
        traffic.value_size = self.value_size.clone().unwrap_or(traffic.value_size);
        traffic.key_choice = self.key_choice.clone().unwrap_or(traffic.key_choice);
        traffic.ttl = self.ttl.or(traffic.ttl);
        if traffic.ttl.is_some_and(|ttl| ttl < Duration::from_millis(1)) {
            return Err("--ttl must be at least 1ms".into());
        }
        traffic.churn |= self.churn;
        traffic.neighbour_bytes = self.neighbour.or(traffic.neighbour_bytes);
        Ok(traffic)
    }
}

fn parse_ratio(text: &str) -> Result<(f64, f64), String> {
    let share = |part: &str| part.parse::<f64>().ok().filter(|share| *share >= 0.0 && share.is_finite());
    match text.split_once(':').map(|(reads, writes)| (share(reads), share(writes))) {
        Some((Some(reads), Some(writes))) if reads + writes > 0.0 => Ok((reads, writes)),
        _ => Err(format!("'{text}' is no ratio; write READS:WRITES, such as 9:1")),
    }
}
