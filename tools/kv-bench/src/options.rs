//! The only place where an option is declared, checked and turned into plans. Knows nothing of how plans are carried
//! out.

use crate::{
    plan::{Arrivals, Extent, Pace, Plan},
    protocol::{Credentials, Dialect},
    target::{Target, endpoint},
    traffic::{
        Traffic,
        keys::{KeyChoice, Speller},
        presets,
        sizes::Sizes,
    },
    units::{parse_count, parse_duration},
};
use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use std::{path::PathBuf, thread, time::Duration};

/// What the command line asks for.
pub enum Command {
    Run(Run),
    Compare(Comparison),
    Saturate(Search),
}

/// One workload against one server.
pub struct Run {
    pub plan: Plan,
    pub outputs: Outputs,
    pub files: Files,
}

/// Several servers, side by side.
pub struct Comparison {
    pub servers: Vec<Target>,
    /// One plan per workload; its target is replaced by each server in turn.
    pub workloads: Vec<Plan>,
    pub rounds: usize,
    pub outputs: Outputs,
}

/// The search for the highest rate.
pub struct Search {
    /// With an open pace; its rate is where the search begins, 0 if a closed loop shall find it.
    pub plan: Plan,
    pub arrivals: Arrivals,
    pub ceiling: Option<f64>,
    /// The bound on p99.
    pub bound: Duration,
    pub outputs: Outputs,
}

/// The command line as it is declared.
pub fn declaration() -> clap::Command {
    Cli::command()
}

/// Parses the command line. `Err` carries the text to print and the exit code: 0 for help, 2 for bad options.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Command, (String, u8)> {
    let cli = Cli::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => (error.render().to_string(), 0),
        _ => (one_line(&error.render().to_string()), 2),
    })?;
    cli.resolve().map_err(|why| (format!("kv-bench: {why}"), 2))
}

/// clap explains itself in paragraphs; what is wrong stands in the first one, a suggestion under "tip".
fn one_line(paragraphs: &str) -> String {
    let error = paragraphs.split("\n\n").next().unwrap_or_default();
    let error = error.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = paragraphs.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    format!("kv-bench: {error} ({})", tip.unwrap_or("see --help"))
}

/// Loads cache servers and tells what they can do
///
/// Without a subcommand it loads one server for a while and reports throughput and latency. It speaks RESP2, RESP3 and
/// memcached's text protocol, and never knows whose server it is.
#[derive(Parser)]
#[command(name = "kv-bench", version, args_conflicts_with_subcommands = true, after_help = presets_help())]
struct Cli {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Measure servers side by side, in alternating short rounds
    Compare(CompareOptions),
    /// Search for the highest rate at which p99 stays under a bound
    Saturate(SaturateOptions),
}

/// What a result is written to, besides standard output.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct Outputs {
    /// Write all that was measured as JSON ('-': to standard output, instead of the table)
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write one self-contained page with the charts
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

/// Files that only a single run can fill.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct Files {
    /// Write the latencies in HdrHistogram's percentile format, in microseconds
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write the timeline: throughput, p50 and p99, moment by moment
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

#[derive(Args)]
struct RunOptions {
    /// HOST:PORT, unix:PATH, or NAME=ADDRESS[,pid=PID][,protocol=P][,user=U][,password=P]
    #[arg(default_value = "127.0.0.1:7171")]
    address: String,
    /// A preset, see below; the options under Load change it
    #[arg(long, short, default_value = "mixed")]
    workload: String,
    #[command(flatten)]
    load: LoadOptions,
    /// Count for this long [default: 10s]
    #[arg(long, short, value_parser = parse_duration, conflicts_with = "requests")]
    duration: Option<Duration>,
    /// Count so many requests instead
    #[arg(long, short = 'n', value_parser = parse_count)]
    requests: Option<u64>,
    /// Open loop: send so many requests per second, whatever the server does; latency counts from when each was due
    #[arg(long, value_parser = parse_count)]
    rate: Option<u64>,
    /// Open loop: how the requests are spread
    #[arg(long, value_enum, default_value = "fixed", requires = "rate")]
    arrivals: Arrivals,
    #[command(flatten)]
    outputs: Outputs,
    #[command(flatten)]
    files: Files,
}

#[derive(Args)]
struct CompareOptions {
    /// NAME=ADDRESS[,pid=PID][,protocol=P][,user=U][,password=P]; ratios are to the first one
    #[arg(required = true, value_name = "NAME=ADDRESS")]
    servers: Vec<String>,
    /// Workloads: NAME[:pPIPELINE][:cCONNECTIONS][:tTHREADS][:vVALUESIZE][:kKEYS]
    #[arg(long, num_args = 1.., value_delimiter = ',', default_values = ["get:p1", "set:p1", "get:p16", "set:p16"])]
    workloads: Vec<String>,
    /// Rounds per workload and server
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Length of a round
    #[arg(long, short, value_parser = parse_duration, default_value = "1s")]
    duration: Duration,
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Args)]
struct SaturateOptions {
    /// HOST:PORT, unix:PATH, or NAME=ADDRESS[,pid=PID][,protocol=P][,user=U][,password=P]
    #[arg(default_value = "127.0.0.1:7171")]
    address: String,
    /// A preset, see below; the options under Load change it
    #[arg(long, short, default_value = "mixed")]
    workload: String,
    /// The bound on p99
    #[arg(long, value_parser = parse_duration, default_value = "1ms")]
    p99: Duration,
    /// Length of a step
    #[arg(long, short, value_parser = parse_duration, default_value = "2s")]
    duration: Duration,
    /// The highest rate to try, in requests per second [default: what a closed loop reaches]
    #[arg(long, value_parser = parse_count)]
    ceiling: Option<u64>,
    /// How the requests are spread
    #[arg(long, value_enum, default_value = "poisson")]
    arrivals: Arrivals,
    #[command(flatten)]
    load: LoadOptions,
    #[command(flatten)]
    outputs: Outputs,
}

/// The options that every command shares: what is asked, and over which connections.
#[derive(Args, Clone)]
#[command(next_help_heading = "Load")]
struct LoadOptions {
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
    /// Do not write all keys once before
    #[arg(long)]
    no_fill: bool,
    /// Write values that tell their key and version, and check every reply
    #[arg(long)]
    verify: bool,
    /// Load for so long before anything counts
    #[arg(long, value_parser = parse_duration, default_value = "500ms")]
    warmup: Duration,
    /// The protocol
    #[arg(long, value_enum, default_value = "resp2")]
    protocol: Dialect,
    /// User to log in as
    #[arg(long, requires = "password")]
    user: Option<String>,
    /// Password to log in with
    #[arg(long, env = "KV_BENCH_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Give up on a server that is silent for so long
    #[arg(long, value_parser = parse_duration, default_value = "5s")]
    timeout: Duration,
    /// Same seed, same requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Cli {
    fn resolve(self) -> Result<Command, String> {
        match self.command {
            None => self.run.resolve().map(Command::Run),
            Some(Subcommands::Compare(options)) => options.resolve().map(Command::Compare),
            Some(Subcommands::Saturate(options)) => options.resolve().map(Command::Saturate),
        }
    }
}

impl RunOptions {
    fn resolve(self) -> Result<Run, String> {
        let pace = match self.rate {
            None => Pace::Closed,
            Some(0) => return Err("--rate 0 would never send anything; give requests per second".into()),
            Some(rate) => Pace::Open { rate: rate as f64, arrivals: self.arrivals },
        };
        let extent = match (self.requests, self.duration) {
            (Some(0), _) => return Err("--requests 0 would measure nothing".into()),
            (Some(requests), _) => Extent::Requests(requests),
            (None, duration) => Extent::Time(duration.unwrap_or(Duration::from_secs(10))),
        };
        let target = Target::parse(&self.address, &self.load.target()?)?;
        let plan = self.load.plan(&self.workload, target, extent, pace)?;
        Ok(Run { plan, outputs: self.outputs, files: self.files })
    }
}

impl CompareOptions {
    fn resolve(self) -> Result<Comparison, String> {
        let defaults = self.load.target()?;
        let servers: Vec<Target> =
            self.servers.iter().map(|server| Target::parse(server, &defaults)).collect::<Result<_, _>>()?;
        for (index, server) in servers.iter().enumerate() {
            if servers[..index].iter().any(|earlier| earlier.name == server.name) {
                return Err(format!("two servers are called '{}'; name them NAME=ADDRESS", server.name));
            }
        }
        let workloads = self.workloads.iter().map(|spec| {
            let (workload, load) = self.load.with_spec(spec)?;
            load.plan(workload, defaults.clone(), Extent::Time(self.duration), Pace::Closed)
        });
        let workloads = workloads.collect::<Result<_, _>>()?;
        Ok(Comparison { servers, workloads, rounds: self.rounds.into(), outputs: self.outputs })
    }
}

impl SaturateOptions {
    fn resolve(self) -> Result<Search, String> {
        let target = Target::parse(&self.address, &self.load.target()?)?;
        let plan = self.load.plan(&self.workload, target, Extent::Time(self.duration), Pace::Closed)?;
        if self.ceiling == Some(0) {
            return Err("--ceiling 0 leaves nothing to try".into());
        }
        Ok(Search {
            plan,
            arrivals: self.arrivals,
            ceiling: self.ceiling.map(|rate| rate as f64),
            bound: self.p99,
            outputs: self.outputs,
        })
    }
}

impl LoadOptions {
    /// A target with everything but its address, which each address then completes.
    fn target(&self) -> Result<Target, String> {
        let credentials =
            self.password.as_ref().map(|password| Credentials { user: self.user.clone(), password: password.clone() });
        let endpoint = endpoint("127.0.0.1:7171")?;
        Ok(Target { name: String::new(), endpoint, dialect: self.protocol, credentials, pid: None })
    }

    /// The workload's name in something like `get:p16:c200`, and the options with what else it says.
    fn with_spec<'a>(&self, spec: &'a str) -> Result<(&'a str, LoadOptions), String> {
        let mut options = self.clone();
        let mut parts = spec.split(':');
        let workload = parts.next().unwrap_or_default();
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
        }
        Ok((workload, options))
    }

    fn plan(&self, workload: &str, target: Target, extent: Extent, pace: Pace) -> Result<Plan, String> {
        let preset = presets::find(workload).ok_or_else(|| {
            let names: Vec<_> = presets::all().iter().map(|preset| preset.name).collect();
            format!("no workload '{workload}' (there are {})", names.join(", "))
        })?;
        let traffic = self.traffic(preset.traffic)?;
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
        if extent == Extent::Time(Duration::ZERO) || self.timeout.is_zero() {
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
            timeout: self.timeout,
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

fn presets_help() -> String {
    let rows: Vec<_> = presets::all().iter().map(|preset| format!("  {:<10} {}", preset.name, preset.about)).collect();
    format!(
        "Workloads:\n{}\n\nSizes are written like 64, 1KiB, 10MiB; durations like 500us, 20ms, 10s, 5m; \
         counts like 5000, 100k, 2M.\n\
         Exit codes: 0 all replies were right, 1 there were errors, 2 the options were wrong.",
        rows.join("\n")
    )
}

#[cfg(test)]
mod tests;
