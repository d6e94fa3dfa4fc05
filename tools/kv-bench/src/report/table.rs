//! Results as text for a terminal. Knows nothing of how they came about.

use crate::{
    engine::Outcome,
    plan::{Extent, Pace, Plan},
    results::{
        comparison::{ServerResult, WorkloadResult},
        replay::{ReplayResult, TraceResult},
        search::{RateSearch, RateStep},
    },
    units::{bytes, grouped, latency, percent, three_digits},
};
use hdrhistogram::Histogram;
use std::fmt::Write;

/// The quantiles that every report shows.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// One run.
pub fn run(plan: &Plan, outcome: &Outcome) -> String {
    let table = aligned(&run_rows(outcome));
    let mut head = vec![title(plan), conditions(plan)];
    head.extend(cautions(plan, outcome));
    format!("{}\n\n{table}\n{}", head.join("\n"), notes(plan, outcome).join("\n"))
}

/// A heading, a row for each kind of request, one for all of them.
pub fn run_rows(outcome: &Outcome) -> Vec<Vec<String>> {
    let seconds = outcome.elapsed.as_secs_f64();
    let mut rows = vec![heading(&["", "requests", "requests/s", "mean", "p50", "p90", "p99", "p99.9", "max"])];
    for (name, answered, latencies) in outcome.tally.kinds() {
        rows.push(row(name, answered, latencies, seconds));
    }
    if rows.len() != 2 {
        rows.push(row("all", outcome.requests(), &outcome.tally.all(), seconds));
    }
    rows
}

/// What was loaded with what.
pub fn title(plan: &Plan) -> String {
    let target = &plan.target;
    format!("kv-bench {} → {} ({})", plan.label, target.name, target.dialect)
}

/// Under which conditions, in one line.
pub fn conditions(plan: &Plan) -> String {
    let traffic = &plan.traffic;
    let mut parts = vec![
        counted(plan.connections, "connection"),
        format!("pipeline {}", plan.pipeline),
        counted(plan.threads, "thread"),
        match plan.extent {
            Extent::Time(duration) => format!("{duration:?} after {:?} of warm-up", plan.warmup),
            Extent::Requests(requests) => format!("{} requests", grouped(requests)),
        },
        format!("{} keys, {}", grouped(traffic.keys), traffic.key_choice),
        format!("keys of {}, values of {}", traffic.key_size, traffic.value_size),
    ];
    if let Pace::Open { rate, arrivals } = plan.pace {
        parts.push(format!("open loop at {}/s, {arrivals:?} arrivals", grouped(rate as u64)).to_lowercase());
    }
    if let Some(ttl) = traffic.ttl {
        parts.push(format!("TTL {ttl:?}"));
    }
    if traffic.churn {
        parts.push("a connection per batch".into());
    }
    if let Some(size) = traffic.neighbour_bytes {
        parts.push(format!("beside a client that writes and reads {}", bytes(size as u64)));
    }
    if plan.verify {
        parts.push("verified".into());
    }
    parts.join(" · ")
}

fn row(name: &str, count: u64, latencies: &Histogram<u64>, seconds: f64) -> Vec<String> {
    let mut row = vec![name.to_string(), grouped(count), grouped((count as f64 / seconds).round() as u64)];
    row.push(latency(latencies.mean() as u64));
    row.extend(QUANTILES.iter().map(|(_, quantile)| latency(latencies.value_at_quantile(*quantile))));
    row.push(latency(latencies.max()));
    row
}

/// What makes the figures doubtful or incomplete: it stands above them, one sentence a line.
pub fn cautions(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let unsent = outcome.tally.counts.unsent;
    let rate = || format!("the rate was not held: {} requests were due and never sent", grouped(unsent));
    let early = outcome.failure.as_ref().map(|why| format!("the run ended early: {why}"));
    let lines = [early, outcome.caution(plan.pace), (unsent > 0).then(rate)];
    lines.into_iter().flatten().collect()
}

/// What else there is to say about a run, one sentence a line.
pub fn notes(plan: &Plan, outcome: &Outcome) -> Vec<String> {
    let (tally, counts, seconds) = (&outcome.tally, &outcome.tally.counts, outcome.elapsed.as_secs_f64());
    let mut lines = vec![];
    if counts.hits + counts.misses > 0 {
        let share = counts.hits as f64 / (counts.hits + counts.misses) as f64 * 100.0;
        lines.push(format!("hits {share:.2}% ({} misses)", grouped(counts.misses)));
    }
    lines.push(counts.trouble());
    lines.extend(tally.first_error.as_ref().map(|words| format!("first error: {words}")));
    lines.extend(tally.first_wrong.as_ref().map(|words| format!("first wrong reply: {words}")));
    let per_second = |count: u64| bytes((count as f64 / seconds) as u64);
    lines.push(format!("sent {}/s, received {}/s", per_second(counts.bytes_sent), per_second(counts.bytes_received)));
    if let (Some(cpu), Some(pid)) = (outcome.cpu_per_request(), plan.target.pid) {
        lines.push(format!("server: {} of CPU per request (process {pid})", cpu_time(cpu)));
    }
    if let Some(requests) = outcome.neighbour_requests {
        lines.push(format!("the client beside it made {} requests of its large value", grouped(requests)));
    }
    if outcome.caution(plan.pace).is_none() {
        lines.push(outcome.self_check(plan.pace));
    }
    lines
}

/// One workload of a comparison.
pub fn workload(workload: &WorkloadResult) -> String {
    let mut text = format!("{}  ({})\n", workload.plan.label, conditions(&workload.plan));
    for remark in workload.servers.iter().flat_map(ServerResult::remarks) {
        writeln!(text, "{remark}").expect("a String takes everything");
    }
    text + &aligned(&workload_rows(workload))
}

/// A heading and a row for each server; the ratios are to the first one.
pub fn workload_rows(workload: &WorkloadResult) -> Vec<Vec<String>> {
    let head =
        ["server", "requests/s", "ratio", "spread", "p50", "p99", "p99.9", "max", "CPU/request", "ratio", "spread"];
    let rows = workload.servers.iter().map(|server| server_row(server, &workload.servers[0]));
    std::iter::once(heading(&head)).chain(rows).collect()
}

/// The search for the highest rate.
pub fn search(plan: &Plan, search: &RateSearch) -> String {
    let table = aligned(&search_rows(search));
    let bound = latency(search.bound.as_nanos() as u64);
    let answer = match search.highest() {
        Some(rate) => format!("{} requests/s with p99 within {bound}", grouped(rate as u64)),
        None => format!("no rate kept p99 within {bound}; give a larger --p99"),
    };
    let mut head = vec![title(plan), conditions(plan)];
    head.extend(search_caution(search));
    format!("{}\n\n{table}\n{answer}", head.join("\n"))
}

/// Where the generator itself was late for the slowest rate that did not hold, the server may hold more.
pub fn search_caution(search: &RateSearch) -> Option<String> {
    let failed = search.steps.iter().filter(|step| !step.held).min_by(|a, b| a.rate.total_cmp(&b.rate))?;
    let words = "CAUTION: the generator itself was late at the rate that was not held, the server may hold more; try more --threads";
    generator_was_late(failed, search).then(|| words.into())
}

/// A heading and a row for each step.
pub fn search_rows(search: &RateSearch) -> Vec<Vec<String>> {
    let rows = search.steps.iter().map(|step| {
        let [p50, p99, max, late] =
            [step.p50_nanoseconds, step.p99_nanoseconds, step.max_nanoseconds, step.late_nanoseconds].map(latency);
        let cpu = step.cpu_nanoseconds_per_request.map_or("–".into(), cpu_time);
        let [rate, reached] = [step.rate, step.reached].map(|rate| grouped(rate as u64));
        vec![rate, reached, p50, p99, max, late, cpu, verdict(step, search).into()]
    });
    std::iter::once(heading(&["rate/s", "reached/s", "p50", "p99", "max", "sent late", "CPU/request", ""]))
        .chain(rows)
        .collect()
}

fn verdict(step: &RateStep, search: &RateSearch) -> &'static str {
    match step.held {
        true => "held",
        false if generator_was_late(step, search) => "not held (the generator was late itself)",
        false => "not held",
    }
}

fn generator_was_late(step: &RateStep, search: &RateSearch) -> bool {
    u128::from(step.late_nanoseconds) > search.bound.as_nanos() / 2
}

/// The replays of one trace.
pub fn trace(trace: &TraceResult) -> String {
    let mut text = format!("{}\n", about_trace(trace));
    for remark in trace.remarks() {
        writeln!(text, "{remark}").expect("a String takes everything");
    }
    text + &aligned(&trace_rows(trace))
}

/// The hit ratios of one trace, objects and bytes: a row for each policy, a column for each cap.
pub fn matrix(trace: &TraceResult) -> String {
    let caps = trace.caps();
    let head = std::iter::once("objects / bytes".to_string()).chain(caps.iter().map(|cap| bytes(*cap)));
    let row = |name: &&str| {
        let own = trace.replays.iter().filter(|replay| replay.server == *name);
        let cell = |replay: &ReplayResult| {
            format!("{} / {}", percent(replay.object_hit_ratio), percent(replay.byte_hit_ratio))
        };
        std::iter::once(name.to_string()).chain(own.map(cell)).collect()
    };
    let rows: Vec<Vec<String>> = std::iter::once(head.collect()).chain(trace.servers().iter().map(row)).collect();
    format!("{}\n{}", about_trace(trace), aligned(&rows))
}

/// The same over several traces: for each policy the means over the caps of each trace, and over all of them.
pub fn means(traces: &[TraceResult]) -> String {
    let names = traces.iter().map(|trace| trace.name.split('.').next().unwrap_or_default().to_string());
    let head = ["means: objects / bytes".to_string()].into_iter().chain(names).chain(["all".to_string()]);
    let policies = traces.first().map_or(vec![], TraceResult::servers);
    let row = |policy: &&str| {
        let means: Vec<[f64; 2]> = traces.iter().filter_map(|trace| trace.mean_ratios(policy)).collect();
        let all = [0, 1].map(|which| means.iter().map(|mean| mean[which]).sum::<f64>() / means.len() as f64);
        let cell = |[objects, bytes]: &[f64; 2]| format!("{} / {}", percent(*objects), percent(*bytes));
        std::iter::once(policy.to_string()).chain(means.iter().chain([&all]).map(cell)).collect()
    };
    let rows: Vec<Vec<String>> = std::iter::once(head.collect()).chain(policies.iter().map(row)).collect();
    aligned(&rows)
}

/// What a trace is, in one line.
pub fn about_trace(trace: &TraceResult) -> String {
    format!("{}  ({})", trace.name, trace_size(trace))
}

/// How large it is.
pub fn trace_size(trace: &TraceResult) -> String {
    let TraceResult { requests, keys, footprint_bytes, .. } = trace;
    let (requests, keys, footprint) = (grouped(*requests), grouped(*keys), bytes(*footprint_bytes));
    format!("{requests} requests · {keys} keys · {footprint} of keys and values")
}

/// A heading and a row for each replay.
pub fn trace_rows(trace: &TraceResult) -> Vec<Vec<String>> {
    let head = [
        "cap",
        "server",
        "object hits",
        "byte hits",
        "items",
        "resident",
        "peak",
        "maxmemory",
        "refused",
        "requests/s",
    ];
    let amount = |count: Option<u64>| count.map_or("–".into(), bytes);
    let rows = trace.replays.iter().map(|replay| {
        vec![
            amount(replay.cap_bytes),
            replay.server.clone(),
            percent(replay.object_hit_ratio),
            percent(replay.byte_hit_ratio),
            grouped(replay.items),
            amount(replay.resident_bytes),
            amount(replay.peak_bytes),
            amount(replay.maxmemory_bytes),
            grouped(replay.hits.refused),
            grouped((replay.hits.requests as f64 / replay.seconds.max(1e-9)) as u64),
        ]
    });
    std::iter::once(heading(&head)).chain(rows).collect()
}

fn server_row(server: &ServerResult, first: &ServerResult) -> Vec<String> {
    let latencies = &server.latencies;
    let mut row = vec![server.name.clone(), grouped(server.throughput(first).round() as u64)];
    row.extend(server.throughput_ratio(first).map_or([String::new(), String::new()], |ratio| ratio.cells()));
    row.extend([0.5, 0.99, 0.999].map(|quantile| latency(latencies.value_at_quantile(quantile))));
    row.push(latency(latencies.max()));
    row.push(server.cpu_per_request(first).map_or("–".into(), cpu_time));
    row.extend(server.cpu_ratio(first).map_or([String::new(), String::new()], |ratio| ratio.cells()));
    row
}

/// CPU time per request: `231 ns`, `6.21 µs`, `1.52 ms`.
pub fn cpu_time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{} µs", three_digits(ns / 1e3)),
        ns => format!("{} ms", three_digits(ns / 1e6)),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn heading(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}

/// Rows as columns: the first to the left, numbers to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            match column {
                0 => write!(line, "{cell:<width$}", width = widths[0]),
                _ => write!(line, "  {cell:>width$}", width = widths[column]),
            }
            .expect("a String takes everything");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
