//! Tells without any server what orders of eviction would hit on traces: each policy with each cap, in bytes.

use crate::{
    engine::Hits,
    evidence::Evidence,
    options::Simulation,
    policy::{self, Row},
    progress::Progress,
    report,
    results::replay::{ReplayResult, TraceResult},
    trace::{Operation, Trace},
    units,
};
use std::time::Instant;

/// Progress is told after so many requests.
const TELL_EVERY: usize = 1 << 18;

/// Simulates everything and reports each trace as soon as it is done.
pub fn simulate(options: &Simulation) -> Result<bool, String> {
    report::check_writable(&[&options.outputs.json, &options.outputs.html])?;
    let mut progress = Progress::new(options.outputs.quiet);
    let policies = chosen(&options.policies)?;
    let mut evidence = Evidence::collect();
    for row in &policies {
        evidence.add(row.name, row.about.into());
    }
    let mut results = vec![];
    for path in &options.traces {
        let trace = Trace::read(path, options.format, options.requests)?;
        let mut result = TraceResult::of(&trace);
        for cap in caps(options, &result) {
            for row in &policies {
                let name = format!("{}: {}, {}", trace.name, row.name, units::bytes(cap));
                let mut shown = progress.count(&name, trace.requests.len() as u64);
                result.replays.push(run(&trace, row, cap, options.item_bytes, &mut shown));
            }
        }
        progress.finish();
        report::print_unless_json(&options.outputs, || report::table::matrix(&result));
        results.push(result);
    }
    if results.len() > 1 {
        report::print_unless_json(&options.outputs, || report::table::means(&results));
    }
    report::replays(&results, &evidence, &options.outputs)?;
    Ok(true)
}

fn chosen(names: &[String]) -> Result<Vec<Row>, String> {
    let all = policy::all();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|row| row.name != name.as_str())) {
        return Err(format!("no policy '{unknown}' (there are {})", policy::names().join(", ")));
    }
    Ok(all.into_iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)).collect())
}

/// The caps that were asked for, or shares of what the whole trace takes.
fn caps(options: &Simulation, result: &TraceResult) -> Vec<u64> {
    if !options.caps.is_empty() {
        return options.caps.clone();
    }
    let whole = result.footprint_bytes + result.keys * options.item_bytes;
    options.shares.iter().map(|share| (whole as f64 * share / 100.0) as u64).collect()
}

fn run(trace: &Trace, row: &Row, cap: u64, item_bytes: u64, progress: &mut dyn FnMut(u64, &str)) -> ReplayResult {
    let mut policy = (row.make)(trace.keys(), cap);
    let mut hits = Hits::default();
    let start = Instant::now();
    for stretch in trace.requests.chunks(TELL_EVERY) {
        for request in stretch {
            let bytes = u64::from(request.size_bytes) + trace.key(request.key).len() as u64 + item_bytes;
            match request.operation {
                Operation::Read => hits.read(request.size_bytes, policy.read(request.key, bytes)),
                Operation::Write => drop(policy.read(request.key, bytes)),
                Operation::Delete => policy.remove(request.key),
            }
        }
        hits.requests += stretch.len() as u64;
        progress(hits.requests, "");
    }
    ReplayResult {
        server: row.name.into(),
        cap_bytes: Some(cap),
        maxmemory_bytes: None,
        object_hit_ratio: hits.object_ratio(),
        byte_hit_ratio: hits.byte_ratio(),
        hits,
        items: policy.items(),
        resident_bytes: None,
        peak_bytes: None,
        seconds: start.elapsed().as_secs_f64(),
        caution: None,
    }
}
