//! The only place where an option is declared, checked and turned into plans. Knows nothing of how plans are carried
//! out.

mod load;
mod names;
mod replay;
mod servers;

pub use replay::{Replay, Simulation};

use crate::{
    plan::{Arrivals, Extent, Pace, Plan},
    target::Target,
    traffic::presets,
    units::{parse_count, parse_duration},
};
use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use load::LoadOptions;
use names::Offered;
use std::{path::PathBuf, time::Duration};

/// What the command line asks for.
pub enum Command {
    Run(Run),
    Compare(Comparison),
    Saturate(Search),
    Replay(Replay),
    Simulate(Simulation),
}

/// A workload's name.
const WORKLOAD: Offered = Offered(presets::names);

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
    /// Replay traces against caches and tell what they hit
    ///
    /// Each server is emptied before. Each key of the trace is read, and written with the trace's size and TTL when it is
    /// not there. Requests go over several connections in batches, those of one key always in the order of the trace.
    Replay(replay::ReplayOptions),
    /// Tell without a server what policies of eviction would hit on traces
    ///
    /// Each policy with each cap, objects and bytes. Caps are in bytes; an item takes those of its key, its value and
    /// --item-bytes.
    Simulate(replay::SimulateOptions),
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
    #[arg(long, short, default_value = "mixed", value_parser = WORKLOAD, hide_possible_values = true)]
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
    #[arg(value_parser = WORKLOAD, hide_possible_values = true)]
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
    #[arg(long, short, default_value = "mixed", value_parser = WORKLOAD, hide_possible_values = true)]
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

impl Cli {
    fn resolve(self) -> Result<Command, String> {
        match self.command {
            None => self.run.resolve().map(Command::Run),
            Some(Subcommands::Compare(options)) => options.resolve().map(Command::Compare),
            Some(Subcommands::Saturate(options)) => options.resolve().map(Command::Saturate),
            Some(Subcommands::Replay(options)) => options.resolve().map(Command::Replay),
            Some(Subcommands::Simulate(options)) => options.resolve().map(Command::Simulate),
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
        let target = Target::parse(&self.address, &self.load.servers.target()?)?;
        let plan = self.load.plan(&self.workload, target, extent, pace)?;
        Ok(Run { plan, outputs: self.outputs, files: self.files })
    }
}

impl CompareOptions {
    fn resolve(self) -> Result<Comparison, String> {
        let servers = self.load.servers.targets(&self.servers)?;
        let defaults = self.load.servers.target()?;
        let extent = Extent::Time(self.duration);
        let workloads = self.workloads.iter().map(|spec| self.load.plan_of(spec, defaults.clone(), extent));
        let workloads = workloads.collect::<Result<_, _>>()?;
        Ok(Comparison { servers, workloads, rounds: self.rounds.into(), outputs: self.outputs })
    }
}

impl SaturateOptions {
    fn resolve(self) -> Result<Search, String> {
        let target = Target::parse(&self.address, &self.load.servers.target()?)?;
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
