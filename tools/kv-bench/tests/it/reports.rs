//! The reports say what was measured, each in its own form.

use super::{
    json, kv_bench, scratch,
    server::{Fault, Server},
};
use std::{fs, time::Duration};

#[test]
fn a_run_ends_with_a_table() {
    let output = kv_bench(&format!("{} -n 1000 --keys 100 --warmup 0", Server::start(Fault::None).address));
    let text = String::from_utf8(output.stdout).unwrap();
    for words in ["requests/s", "p99.9", "GET", "SET", "all", "1,000", "errors 0", "generator"] {
        assert!(text.contains(words), "no '{words}' in {text}");
    }
}

#[test]
fn files_hold_the_same_run() {
    let (page, timeline, percentiles) = (scratch("page.html"), scratch("line.csv"), scratch("run.hgrm"));
    let address = Server::start(Fault::None).address;
    let files = format!("--html {} --csv {} --hgrm {}", page.display(), timeline.display(), percentiles.display());
    let (report, code) = json(&format!("{address} -d 500ms --warmup 0 --keys 100 {files}"));
    assert_eq!(code, Some(0));
    let [page, timeline, percentiles] = [page, timeline, percentiles].map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(path).unwrap();
        text
    });
    assert!(page.starts_with("<!doctype html>") && page.matches("<svg").count() == 4);
    assert!(!page.contains("http"), "the page needs nothing from elsewhere");
    for words in ["How it was measured", "Linux ", "of unknown version", "--keys 100", "</title></circle>"] {
        assert!(page.contains(words), "no '{words}'");
    }
    let evidence = &report["evidence"];
    assert!(evidence["date"].as_str().unwrap().ends_with('Z') && evidence["cpu"].as_str().unwrap().contains("core"));
    assert!(evidence["command"].as_str().unwrap().contains("-d 500ms"), "{evidence}");
    assert_eq!(evidence["servers"][0]["version"], "of unknown version");
    let moments = report["timeline"].as_array().unwrap().len();
    assert!(moments >= 4);
    assert_eq!(timeline.lines().count(), moments + 1);
    let total = format!("Total count    = {:>12}]", report["requests"].as_u64().unwrap());
    assert!(percentiles.contains(&total), "no '{total}'");
}

#[test]
fn a_comparison_shows_every_server_and_its_ratio() {
    let page = scratch("compare.html");
    let servers = format!("one={} two={}", Server::start(Fault::None).address, Server::start(Fault::None).address);
    let words = "--workloads get:p1:k100:c2 set:p4:k100:c2 --rounds 2 -d 100ms --warmup 0";
    let output = kv_bench(&format!("compare {servers} {words} --html {}", page.display()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for words in ["get:p1:c2", "set:p4:c2", "one", "two", "×1.00", "1.00–1.00", "CPU/request"] {
        assert!(text.contains(words), "no '{words}' in {text}");
    }
    assert_eq!(fs::read_to_string(&page).unwrap().matches("<section>").count(), 2 + 1);
    fs::remove_file(page).unwrap();
    let (report, _) = json(&format!("compare {servers} {words}"));
    assert_eq!(report["workloads"][1]["servers"][1]["rounds"].as_array().unwrap().len(), 2);
}

#[test]
fn the_search_finds_a_rate() {
    let (address, page) = (Server::start(Fault::None).address, scratch("search.html"));
    let words = "--ceiling 500 --p99 5s -d 100ms --warmup 0 --keys 100 --connections 4";
    let (report, code) = json(&format!("saturate {address} {words} --html {}", page.display()));
    assert_eq!((&report["highest_rate"], code), (&500.0.into(), Some(0)), "{report}");
    assert!(fs::read_to_string(&page).unwrap().contains("the bound on p99: 5 s"));
    fs::remove_file(page).unwrap();
}

/// The generator's own requests run dry while the last replies come: that is no drop of the server's.
#[test]
fn a_timeline_ends_when_the_load_does() {
    let address = Server::start(Fault::StallsAt(500, Duration::from_millis(600))).address;
    let words = "--connections 4 --no-fill --warmup 0 --rate 1000 -d 700ms";
    let (report, _) = json(&format!("{address} {words}"));
    let timeline = report["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), 7, "{timeline:?}");
    assert_eq!(timeline[6]["requests"], 0, "a stall that the server had is seen");
}
