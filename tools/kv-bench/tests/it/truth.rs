//! Wrong replies, errors and stalls are seen, counted apart, and make the exit code 1.

use super::{
    json,
    server::{Fault, Server},
};
use std::time::Duration;

const VERIFIED: &str = "--verify --keys 200 --connections 8 -n 5000 --ratio 1:1 --warmup 0";

fn run(fault: Fault, words: &str) -> (serde_json::Value, Option<i32>) {
    json(&format!("{} {words}", Server::start(fault).address))
}

#[test]
fn a_right_server_passes_verification() {
    for words in [VERIFIED, &format!("{VERIFIED} --mget 5 -p 8"), &format!("{VERIFIED} --del 20 --incr 20 --threads 2")]
    {
        let (report, code) = run(Fault::None, words);
        assert_eq!((&report["counts"]["wrong"], code), (&0.into(), Some(0)), "{words}: {}", report["first_wrong"]);
        assert_eq!(report["requests"], 5000);
    }
}

#[test]
fn values_of_other_keys_are_wrong() {
    let (report, code) = run(Fault::Mixes, VERIFIED);
    assert!(report["counts"]["wrong"].as_u64() > Some(0) && code == Some(1));
    assert!(report["first_wrong"].as_str().unwrap().contains("the value of key"), "{}", report["first_wrong"]);
}

#[test]
fn stale_values_are_wrong() {
    let (report, code) = run(Fault::Stale, VERIFIED);
    assert!(report["counts"]["wrong"].as_u64() > Some(0) && code == Some(1));
    assert!(report["first_wrong"].as_str().unwrap().contains("acknowledged before"), "{}", report["first_wrong"]);
}

#[test]
fn torn_values_are_wrong() {
    let (report, code) = run(Fault::Tears, VERIFIED);
    assert!(report["counts"]["wrong"].as_u64() > Some(0) && code == Some(1));
    assert!(report["first_wrong"].as_str().unwrap().contains("no whole value"), "{}", report["first_wrong"]);
}

#[test]
fn without_verification_the_same_server_looks_fine() {
    let (report, code) = run(Fault::Tears, "-n 1000 --keys 100 --warmup 0");
    assert_eq!((&report["counts"]["wrong"], code), (&0.into(), Some(0)));
}

#[test]
fn refusals_are_errors_with_the_servers_words() {
    let (report, code) = run(Fault::Refuses, "-n 1000 --no-fill --warmup 0");
    assert!(report["counts"]["errors"].as_u64() > Some(50) && code == Some(1));
    assert_eq!(report["first_error"], "ERR not today");
    assert_eq!(report["counts"]["wrong"], 0);
}

#[test]
fn misses_are_no_errors() {
    let (report, code) = run(Fault::None, "-w get -n 1000 --no-fill --warmup 0");
    assert_eq!((&report["counts"]["misses"], code), (&1000.into(), Some(0)));
}

/// The stall is 400 ms long. In open loop every request that was due meanwhile shows its wait; in a closed loop only
/// the few under way do.
#[test]
fn an_open_loop_shows_a_stall_that_a_closed_loop_hides() {
    let stall = || Fault::StallsAt(500, Duration::from_millis(400));
    let words = "--connections 4 --no-fill --warmup 0 -n 2000";
    let (open, code) = run(stall(), &format!("{words} --rate 2000"));
    assert_eq!(code, Some(0), "{open}");
    assert_eq!(open["requests"], 2000);
    // 800 of 2000 requests were due during the stall; a quarter of all waited at least 150 ms.
    assert!(open["latency"]["p90_nanoseconds"].as_u64() >= Some(150_000_000), "{}", open["latency"]);
    assert!(open["latency"]["max_nanoseconds"].as_u64() >= Some(390_000_000), "{}", open["latency"]);
    let (closed, _) = run(stall(), words);
    assert!(closed["latency"]["max_nanoseconds"].as_u64() >= Some(390_000_000), "{}", closed["latency"]);
    assert!(closed["latency"]["p99_nanoseconds"].as_u64() < open["latency"]["p90_nanoseconds"].as_u64());
}
