//! kv-bench as its users run it: the program itself against a small server that lives in the test and misbehaves on
//! demand.
//!
//! `server.rs` is that server. A new test goes where its question is asked:
//! `truth.rs`: are wrong replies, errors and stalls seen?  `failures.rs`: what if the server is not there, or not one?
//! `load.rs`: is what was asked for sent?  `reports.rs`: do the reports say what was measured?  `replay.rs`: are traces
//! replayed as they stand?

mod failures;
mod load;
mod replay;
mod reports;
mod server;
mod truth;

use serde_json::Value;
use std::{
    path::PathBuf,
    process::{self, Command, Output},
    time::{Duration, Instant},
};

/// A file of its own for a test; the test removes it.
fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kv-bench-{}-{name}", process::id()))
}

/// Runs kv-bench with these words and without progress; one that hangs is ended, with exit code 124.
fn kv_bench(words: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_kv-bench")]);
    command.args(words.split_whitespace()).arg("-q").env_remove("KV_BENCH_PASSWORD");
    command.output().expect("kv-bench starts")
}

/// The same with the report as JSON, and the exit code.
fn json(words: &str) -> (Value, Option<i32>) {
    let output = kv_bench(&format!("{words} --json -"));
    let text = String::from_utf8(output.stdout).expect("the report is UTF-8");
    let report = serde_json::from_str(&text).unwrap_or_else(|why| {
        panic!("{why} in '{text}', beside '{}'", String::from_utf8_lossy(&output.stderr));
    });
    (report, output.status.code())
}

/// The one line with which kv-bench gave up, and its exit code. However bad the server, that comes in bounded time.
fn failure(words: &str) -> (String, Option<i32>) {
    let start = Instant::now();
    let output = kv_bench(words);
    assert!(start.elapsed() < Duration::from_secs(30), "gave up only after {:?}", start.elapsed());
    let line = String::from_utf8(output.stderr).expect("the message is UTF-8");
    assert_eq!(line.lines().count(), 1, "{line}");
    (line, output.status.code())
}
