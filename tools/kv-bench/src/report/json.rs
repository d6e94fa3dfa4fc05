//! Results for programs. Durations carry their unit in the name. Knows nothing of files.

use crate::{
    engine::Outcome,
    evidence::Evidence,
    plan::{Extent, Pace, Plan},
    results::{
        comparison::{ServerResult, WorkloadResult},
        replay::TraceResult,
        search::RateSearch,
    },
};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

pub fn run(plan: &Plan, outcome: &Outcome, evidence: &Evidence) -> Value {
    let tally = &outcome.tally;
    let kinds: Map<String, Value> =
        tally.kinds().map(|(name, _, histogram)| (name.to_lowercase(), latencies(histogram))).collect();
    json!({
        "evidence": evidence,
        "plan": conditions(plan),
        "server": plan.target.name,
        "elapsed_seconds": outcome.elapsed.as_secs_f64(),
        "requests": outcome.requests(),
        "requests_per_second": outcome.requests_per_second(),
        "latency": latencies(&tally.all()),
        "latency_by_kind": kinds,
        "counts": tally.counts,
        "first_error": tally.first_error,
        "first_wrong": tally.first_wrong,
        "server_cpu_nanoseconds_per_request": outcome.cpu_per_request(),
        "generator": { "running": outcome.generator.running, "waiting": outcome.generator.waiting },
        "neighbour_requests": outcome.neighbour_requests,
        "self_check": outcome.self_check(plan.pace),
        "failure": outcome.failure,
        "timeline": outcome.timeline,
    })
}

pub fn comparison(workloads: &[WorkloadResult], evidence: &Evidence) -> Value {
    let workload = |workload: &WorkloadResult| {
        let first = &workload.servers[0];
        let servers: Vec<Value> = workload.servers.iter().map(|one| server(one, first)).collect();
        json!({ "workload": workload.plan.label, "plan": conditions(&workload.plan), "servers": servers })
    };
    json!({ "evidence": evidence, "workloads": workloads.iter().map(workload).collect::<Vec<_>>() })
}

pub fn search(plan: &Plan, search: &RateSearch, evidence: &Evidence) -> Value {
    json!({
        "evidence": evidence,
        "plan": conditions(plan),
        "server": plan.target.name,
        "bound_p99_nanoseconds": search.bound.as_nanos() as u64,
        "highest_rate": search.highest(),
        "steps": search.steps,
    })
}

pub fn replays(traces: &[TraceResult], evidence: &Evidence) -> Value {
    let trace = |trace: &TraceResult| {
        let TraceResult { name, requests, keys, footprint_bytes, replays } = trace;
        json!({
            "name": name, "requests": requests, "keys": keys, "footprint_bytes": footprint_bytes, "replays": replays,
        })
    };
    json!({ "evidence": evidence, "traces": traces.iter().map(trace).collect::<Vec<_>>() })
}

fn server(server: &ServerResult, first: &ServerResult) -> Value {
    json!({
        "name": server.name,
        "requests_per_second": server.throughput(first),
        "requests_per_second_ratio": server.throughput_ratio(first),
        "cpu_nanoseconds_per_request": server.cpu_per_request(first),
        "cpu_ratio": server.cpu_ratio(first),
        "latency": latencies(&server.latencies),
        "counts": server.counts,
        "rounds": server.rounds,
        "fault": server.fault(),
        "caution": server.caution,
    })
}

fn conditions(plan: &Plan) -> Value {
    let traffic = &plan.traffic;
    let (rate, arrivals) = match plan.pace {
        Pace::Closed => (None, None),
        Pace::Open { rate, arrivals } => (Some(rate), Some(format!("{arrivals:?}").to_lowercase())),
    };
    let requests = match plan.extent {
        Extent::Requests(requests) => Some(requests),
        Extent::Time(_) => None,
    };
    json!({
        "workload": plan.label,
        "protocol": plan.target.dialect.to_string(),
        "connections": plan.connections,
        "threads": plan.threads,
        "pipeline": plan.pipeline,
        "rate": rate,
        "arrivals": arrivals,
        "duration_seconds": plan.length().map(|length| length.as_secs_f64()),
        "requests": requests,
        "warmup_seconds": plan.warmup.as_secs_f64(),
        "shares": {
            "reads": traffic.reads, "writes": traffic.writes,
            "deletes": traffic.deletes, "increments": traffic.increments,
        },
        "keys_per_read": traffic.keys_per_read,
        "keys": traffic.keys,
        "key_choice": traffic.key_choice.to_string(),
        "key_bytes_mean": traffic.key_size.mean(),
        "value_bytes_mean": traffic.value_size.mean(),
        "ttl_seconds": traffic.ttl.map(|ttl| ttl.as_secs_f64()),
        "churn": traffic.churn,
        "neighbour_bytes": traffic.neighbour_bytes,
        "filled": plan.fill,
        "verified": plan.verify,
        "seed": plan.seed,
    })
}

fn latencies(histogram: &Histogram<u64>) -> Value {
    let at = |quantile| histogram.value_at_quantile(quantile);
    json!({
        "count": histogram.len(),
        "mean_nanoseconds": histogram.mean(),
        "min_nanoseconds": histogram.min(),
        "p50_nanoseconds": at(0.5),
        "p90_nanoseconds": at(0.9),
        "p99_nanoseconds": at(0.99),
        "p99_9_nanoseconds": at(0.999),
        "p99_99_nanoseconds": at(0.9999),
        "max_nanoseconds": histogram.max(),
    })
}
