//! Traces are replayed as they stand: each read once, each miss written, the requests of a key in their order.

use super::{
    failure, json, kv_bench, scratch,
    server::{Fault, Server},
};
use std::{fs, path::PathBuf, process};

/// A trace in a file that ends with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> File {
        let path = scratch(name);
        fs::write(&path, text).unwrap();
        File(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn reads_hit_what_was_read_before() {
    let trace = File::new("small.txt", "a 10\nb 20\na 10\nc 0\n");
    let server = Server::start(Fault::None);
    let (report, code) = json(&format!("replay {} -s one={}", trace.0.display(), server.address));
    let replay = &report["traces"][0]["replays"][0];
    assert_eq!((&replay["reads"], &replay["hits"], code), (&4.into(), &1.into(), Some(0)), "{report}");
    assert_eq!((&replay["read_bytes"], &replay["hit_bytes"]), (&40.into(), &10.into()));
    assert_eq!((&replay["object_hit_ratio"], &replay["byte_hit_ratio"]), (&0.25.into(), &0.25.into()));
    assert_eq!((&replay["items"], server.asked("SET"), server.asked("FLUSHALL")), (&3.into(), 3, 1));
    assert_eq!((&report["traces"][0]["keys"], &report["traces"][0]["footprint_bytes"]), (&3.into(), &33.into()));
}

/// With the order kept and nothing evicted, exactly the first request of each key misses.
#[test]
fn the_requests_of_a_key_keep_their_order_over_any_connections() {
    let requests = (0u64..5000).map(|request| format!("{} 5\n", request * request % 97 + request % 3));
    let text: String = requests.collect();
    let mut keys: Vec<&str> = text.lines().collect();
    keys.sort_unstable();
    keys.dedup();
    let trace = File::new("hot.txt", &text);
    for shape in ["-c 1 -p 1", "-c 3 -p 8", "-c 16 -p 64"] {
        let server = Server::start(Fault::None);
        let (report, _) = json(&format!("replay {} -s {} {shape}", trace.0.display(), server.address));
        let replay = &report["traces"][0]["replays"][0];
        assert_eq!(replay["hits"], 5000 - keys.len(), "{shape}");
        assert_eq!((server.asked("GET"), server.asked("SET")), (5000 + 1, keys.len()), "{shape}");
    }
}

#[test]
fn operations_and_times_to_live_are_those_of_the_trace() {
    let lines = "0,k,1,5,1,set,60\n1,k,1,5,1,get,60\n2,k,1,0,1,delete,0\n3,k,1,5,1,get,60\n";
    let trace = File::new("twitter.csv", lines);
    let server = Server::start(Fault::None);
    let (report, _) = json(&format!("replay {} -s {}", trace.0.display(), server.address));
    let replay = &report["traces"][0]["replays"][0];
    assert_eq!((&replay["requests"], &replay["reads"], &replay["hits"]), (&4.into(), &2.into(), &1.into()));
    assert_eq!((server.asked("SET"), server.asked("DEL")), (2, 1));
}

#[test]
fn caps_and_servers_and_traces_each_have_their_row() {
    let traces = [File::new("one.txt", "a 10\na 10\n"), File::new("two.txt", "b 5\n")];
    let servers = [Server::start(Fault::None), Server::start(Fault::None)];
    let page = scratch("replay.html");
    let words = format!(
        "replay {} {} -s one={} two={} --caps 2mb,1mb --html {}",
        traces[0].0.display(),
        traces[1].0.display(),
        servers[0].address,
        servers[1].address,
        page.display()
    );
    let output = kv_bench(&words);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for words in ["one.txt  (2 requests · 1 keys", "two.txt", "50.00%", "1 MiB", "2 MiB", "object hits"] {
        assert!(text.contains(words), "no '{words}' in {text}");
    }
    assert_eq!(servers.map(|server| server.asked("CONFIG")), [4, 4]);
    let html = fs::read_to_string(&page).unwrap();
    fs::remove_file(page).unwrap();
    assert_eq!((html.matches("<svg").count(), html.matches("<section>").count()), (4, 2 + 1));
}

/// Both servers live in this process, so they have equally much resident from the start.
#[test]
fn equal_memory_is_a_matter_of_caps() {
    let trace = File::new("equal.txt", "a 10\na 10\n");
    let servers = [Server::start(Fault::None), Server::start(Fault::None)];
    let pid = process::id();
    let [one, two] = [&servers[0].address, &servers[1].address];
    let words =
        format!("replay {} -s one={one},pid={pid} two={two},pid={pid} --caps 1gb --equal-rss", trace.0.display());
    let (report, code) = json(&words);
    let replays = &report["traces"][0]["replays"];
    assert_eq!((&replays[1]["caution"], code), (&serde_json::Value::Null, Some(0)), "{report}");
    let [one, two] = [0, 1].map(|index| replays[index]["resident_bytes"].as_f64().unwrap());
    assert!((two / one - 1.0).abs() <= 0.02, "{report}");
    assert!(replays[0]["peak_bytes"].as_f64().unwrap() >= one, "{report}");
}

#[test]
fn values_that_a_server_does_not_take_are_counted() {
    let trace = File::new("large.txt", "a 10\nb 2000\nb 2000\n");
    let server = Server::start(Fault::RefusesAbove(1000));
    let (report, code) = json(&format!("replay {} -s {}", trace.0.display(), server.address));
    let replay = &report["traces"][0]["replays"][0];
    assert_eq!((&replay["refused"], &replay["hits"], code), (&2.into(), &0.into(), Some(0)), "{report}");
    assert_eq!(replay["first_refusal"], "ERR too large");
}

#[test]
fn policies_are_simulated_without_a_server() {
    let requests: String = (0..3000).map(|request| format!("{} 100\n", request % 30)).collect();
    let traces = [File::new("loop.txt", &requests), File::new("once.txt", "a 1\nb 1\n")];
    let words = format!("simulate {} --shares 80,100 --policies lru,2q", traces[0].0.display());
    let (report, code) = json(&words);
    let replays = &report["traces"][0]["replays"];
    let ratio = |index: usize| replays[index]["object_hit_ratio"].as_f64().unwrap();
    assert_eq!((replays.as_array().unwrap().len(), code), (4, Some(0)), "{report}");
    assert_eq!((&replays[0]["server"], ratio(0)), (&"lru".into(), 0.0), "a loop is the worst for LRU");
    assert!(ratio(1) > 0.2 && ratio(2) == 0.99 && ratio(3) == 0.99, "{report}");
    let output = kv_bench(&format!("{words} {}", traces[1].0.display()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("objects / bytes") && text.contains("means: objects / bytes"), "{text}");
    let (line, code) = failure(&format!("simulate {} --policies arc", traces[0].0.display()));
    assert!(line.contains("no policy 'arc' (there are fifo, lru"), "{line}");
    assert_eq!(code, Some(1));
}

#[test]
fn what_cannot_be_replayed_is_one_line() {
    let trace = File::new("bad.txt", "a 10\nb\n");
    let server = Server::start(Fault::None);
    for (words, reason) in [
        (format!("{} -s {}", trace.0.display(), server.address), "bad.txt: line 2: no size in 'b'; see --format"),
        (format!("/nowhere.gz -s {}", server.address), "/nowhere.gz: No such file"),
        ("/dev/null -s 127.0.0.1:1".into(), "no server listens on 127.0.0.1:1"),
        (format!("/dev/null -s {}", server.address), "/dev/null: no requests in it"),
        (format!("x -s {} --caps 8mb --equal-rss", server.address), "lacks its pid=PID"),
        (format!("x -s {} --caps 8", server.address), "at least 1mb"),
        (format!("x -s {} --equal-rss", server.address), "--caps"),
    ] {
        let (line, code) = failure(&format!("replay {words}"));
        assert!(line.starts_with("kv-bench: ") && line.contains(reason), "{line}");
        assert!(matches!(code, Some(1 | 2)), "{words}");
    }
}
