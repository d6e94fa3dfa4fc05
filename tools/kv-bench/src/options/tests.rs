//! Command lines and what becomes of them.

use super::*;
use crate::{protocol::Dialect, target::Endpoint, traffic::sizes::Sizes};

fn arguments(line: &str) -> Vec<String> {
    std::iter::once("kv-bench").chain(line.split_whitespace()).map(String::from).collect()
}

fn run(line: &str) -> Plan {
    match parse(arguments(line)) {
        Ok(Command::Run(run)) => run.plan,
        Ok(_) => panic!("'{line}' is no run"),
        Err((why, _)) => panic!("'{line}': {why}"),
    }
}

#[test]
fn without_options_it_loads_the_default_port() {
    let plan = run("");
    assert_eq!(plan.target.endpoint, Endpoint::Tcp("127.0.0.1:7171".parse().unwrap()));
    assert_eq!((plan.connections, plan.pipeline, plan.pace), (50, 1, Pace::Closed));
    assert_eq!(plan.extent, Extent::Time(Duration::from_secs(10)));
    assert!(plan.fill && !plan.verify);
}

#[test]
fn options_change_the_preset() {
    let plan = run("-w session --value-size 2KiB --ttl 5s --del 10 --incr 10 --ratio 3:1 --mget 8");
    assert_eq!(plan.traffic.value_size, Sizes::Fixed(2048));
    assert_eq!(plan.traffic.ttl, Some(Duration::from_secs(5)));
    assert_eq!((plan.traffic.reads, plan.traffic.writes), (60.0, 20.0));
    assert_eq!((plan.traffic.deletes, plan.traffic.increments), (10.0, 10.0));
    assert_eq!(plan.traffic.keys_per_read, 8);
}

#[test]
fn open_loop_and_counts() {
    let plan = run("--rate 20k --arrivals poisson -n 1M");
    assert_eq!(plan.pace, Pace::Open { rate: 20_000.0, arrivals: Arrivals::Poisson });
    assert_eq!(plan.extent, Extent::Requests(1_000_000));
}

#[test]
fn a_comparison_names_servers_and_workloads() {
    let line = "compare a=127.0.0.1:1,pid=7 b=127.0.0.1:2,protocol=memcached --rounds 3 \
                --workloads get:p16:c200 set:v1KiB,mixed";
    let Ok(Command::Compare(comparison)) = parse(arguments(line)) else { panic!("no comparison") };
    let names: Vec<_> = comparison.servers.iter().map(|server| (server.name.as_str(), server.dialect)).collect();
    assert_eq!(names, [("a", Dialect::Resp2), ("b", Dialect::Memcached)]);
    assert_eq!(comparison.workloads.len(), 3);
    assert_eq!((comparison.workloads[0].pipeline, comparison.workloads[0].connections), (16, 200));
    assert_eq!(comparison.workloads[1].traffic.value_size, Sizes::Fixed(1024));
    let labels: Vec<_> = comparison.workloads.iter().map(|plan| plan.label.as_str()).collect();
    assert_eq!(labels, ["get:p16:c200", "set:p1:c50:v1KiB", "mixed:p1:c50"]);
    assert_eq!(comparison.rounds, 3);
}

#[test]
fn bad_options_are_one_line_and_exit_code_2() {
    for (line, reason) in [
        ("--frobnicate", "--frobnicate"),
        ("--pipline 3", "similar argument"),
        ("--workload nope", "no workload 'nope' (there are get, set"),
        ("--value-size big", "does not start with a number"),
        ("--ratio 1", "READS:WRITES"),
        ("--connections 0", "at least 1"),
        ("--connections many", "number"),
        ("--rate 0", "--rate 0"),
        ("--duration 5s --requests 10", "cannot be used with"),
        ("--arrivals poisson", "--rate"),
        ("--verify --keys 10", "--keys 50 or more"),
        ("--key-size 3", "6 to 250 bytes"),
        ("--del 60 --incr 60", "at most 100"),
        ("--ttl 0", "at least 1ms"),
        ("nowhere", "HOST:PORT"),
        ("compare", "NAME=ADDRESS"),
        ("compare a=127.0.0.1:1 a=127.0.0.1:2", "two servers are called 'a'"),
        ("compare a=127.0.0.1:1 --workloads get:x9", "none of pN"),
        ("saturate --p99 soon", "number"),
        ("saturate --ceiling 0", "--ceiling 0"),
        ("replay", "<TRACES>"),
        ("replay t --caps lots", "does not start with a number"),
        ("replay t --caps 16mb --equal-rss -s a=127.0.0.1:1", "a lacks its pid=PID"),
        ("replay t -s a=127.0.0.1:1 a=127.0.0.1:2", "two servers are called 'a'"),
        ("simulate t --shares 0", "above 0"),
        ("simulate t --shares 1 --caps 1mb", "cannot be used with"),
    ] {
        let Err((why, code)) = parse(arguments(line)) else { panic!("'{line}' was accepted") };
        assert_eq!(code, 2, "{line}");
        assert!(why.starts_with("kv-bench: ") && !why.contains('\n'), "{line}: {why}");
        assert!(why.contains(reason), "{line}: {why}");
    }
}

#[test]
fn help_is_no_error() {
    let Err((help, 0)) = parse(arguments("--help")) else { panic!("help failed") };
    assert!(help.contains("twitter") && help.contains("--verify"));
    assert!(matches!(parse(arguments("compare --help")), Err((_, 0))));
}

#[test]
fn workloads_and_policies_are_offered() {
    let cli = Cli::command();
    let sub = |name: &str| cli.find_subcommand(name).unwrap();
    for (command, option, name) in [
        (&cli, "workload", "mixed"),
        (sub("compare"), "workloads", "get"),
        (sub("saturate"), "workload", "twitter"),
        (sub("simulate"), "policies", "lru"),
    ] {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(option)).unwrap();
        assert!(arg.get_possible_values().iter().any(|value| value.get_name() == name), "{option}");
    }
}
