//! A server that is not there, refuses, closes, stalls or speaks something else: one clear line after a bounded time.

use super::{
    failure, json, kv_bench,
    server::{Fault, Server},
};
use std::net::TcpListener;

#[test]
fn nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (line, code) = failure(&free.to_string());
    assert_eq!(line, format!("kv-bench: no server listens on {free}: start one, or give its address\n"));
    assert_eq!(code, Some(1));
    let (line, _) = failure("unix:/nowhere/at.all");
    assert!(line.contains("no server listens on /nowhere/at.all"), "{line}");
}

#[test]
fn servers_that_are_none() {
    for (fault, reason) in [
        (Fault::Silent, "does not answer within 300ms"),
        (Fault::Closes, "closed the connection without an answer"),
        (Fault::Garbage, "does not speak resp2: it sent bytes that are no RESP reply; choose another --protocol"),
        (Fault::Password("secret"), "NOAUTH Authentication required.; give --password"),
    ] {
        let (line, code) = failure(&format!("{} --timeout 300ms", Server::start(fault).address));
        assert!(line.contains(reason), "{line}");
        assert_eq!(code, Some(1));
    }
}

#[test]
fn passwords_open_the_door() {
    let address = Server::start(Fault::Password("secret")).address;
    let (report, code) = json(&format!("{address} --password secret -n 100 --keys 100 --warmup 0"));
    assert_eq!((&report["requests"], code), (&100.into(), Some(0)));
    let (line, _) = failure(&format!("{address} --password wrong"));
    assert!(line.contains("WRONGPASS"), "{line}");
}

#[test]
fn a_server_that_falls_silent_ends_the_run() {
    let address = Server::start(Fault::SilentAfter(500)).address;
    let (report, code) = json(&format!("{address} --no-fill --warmup 0 --timeout 300ms --connections 5 -n 100000"));
    assert_eq!(code, Some(1));
    assert_eq!(report["counts"]["unanswered"], 5);
    assert!(report["failure"].as_str().unwrap().contains("has not answered for 300ms"), "{}", report["failure"]);
}

#[test]
fn a_server_that_closes_is_counted_and_given_up() {
    let address = Server::start(Fault::ClosesAfter(500)).address;
    let (report, code) = json(&format!("{address} --no-fill --warmup 0 --timeout 300ms --connections 5 -n 100000"));
    assert_eq!(code, Some(1));
    assert!(report["counts"]["disconnects"].as_u64() >= Some(5), "{}", report["counts"]);
    assert!(report["failure"].as_str().unwrap().contains("closed a connection"), "{}", report["failure"]);
}

#[test]
fn garbage_in_the_middle_is_an_error() {
    let address = Server::start(Fault::GarbageAfter(500)).address;
    let (report, code) = json(&format!("{address} --no-fill --warmup 0 --timeout 300ms --connections 5 -n 100000"));
    assert_eq!(code, Some(1));
    assert!(report["first_error"].as_str().unwrap().contains("garbled reply"), "{}", report["first_error"]);
}

#[test]
fn filling_an_unwilling_server_fails_with_its_words() {
    let (line, code) = failure(&format!("{} --keys 1000", Server::start(Fault::Refuses).address));
    assert!(line.contains("filling failed: ERR not today"), "{line}");
    assert_eq!(code, Some(1));
}

#[test]
fn bad_options_have_an_exit_code_of_their_own() {
    for words in ["--pipelin 3", "--workload nope", "--value-size x", "compare"] {
        let (line, code) = failure(words);
        assert!(line.starts_with("kv-bench: "), "{line}");
        assert_eq!(code, Some(2), "{words}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_known_before_the_run() {
    let server = Server::start(Fault::None);
    let (line, code) = failure(&format!("{} --html /nowhere/report.html", server.address));
    assert!(line.contains("cannot write /nowhere/report.html"), "{line}");
    assert_eq!((code, server.connections()), (Some(1), 0));
}

#[test]
fn help_goes_to_standard_output() {
    let output = kv_bench("--help");
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(String::from_utf8_lossy(&output.stdout).contains("--verify"));
}

#[test]
fn a_comparison_says_why_it_is_not_clean() {
    let servers = format!("one={} two={}", Server::start(Fault::None).address, Server::start(Fault::Refuses).address);
    let words = "--workloads get:p1:k100:c2 --rounds 2 -d 100ms --warmup 0 --no-fill";
    let (line, code) = failure(&format!("compare {servers} {words}"));
    assert!(
        line.starts_with("kv-bench: not clean: get:p1:c2:k100: two: errors ") && line.contains("ERR not today"),
        "{line}"
    );
    assert_eq!(code, Some(1));
}
