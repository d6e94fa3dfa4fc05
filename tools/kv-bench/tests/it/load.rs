//! What was asked for is what the server gets.

use super::{
    json, kv_bench,
    server::{Fault, Server},
};

#[test]
fn all_keys_are_filled_once_and_the_requests_counted() {
    let server = Server::start(Fault::None);
    let (report, code) = json(&format!("{} -w get --keys 1000 -n 3000 --warmup 0 --threads 2 -p 4", server.address));
    assert_eq!(code, Some(0));
    assert_eq!((server.asked("SET"), server.keys()), (1000, 1000));
    assert_eq!(server.asked("GET"), 3000 + 1, "one more to see whether there is a server");
    assert_eq!((&report["requests"], &report["counts"]["hits"]), (&3000.into(), &3000.into()));
}

#[test]
fn every_share_of_the_mix_arrives() {
    let server = Server::start(Fault::None);
    let words = "--keys 100 -n 4000 --ratio 1:1 --del 25 --incr 25 --no-fill --warmup 0";
    json(&format!("{} {words}", server.address));
    for command in ["GET", "SET", "DEL", "INCR"] {
        let asked = server.asked(command);
        assert!((800..1200).contains(&asked), "{command}: {asked}");
    }
    json(&format!("{} -w get --mget 7 -n 50 --keys 100 --no-fill --warmup 0", server.address));
    assert_eq!(server.asked("MGET"), 50);
}

#[test]
fn churn_opens_a_connection_per_request() {
    let server = Server::start(Fault::None);
    let (report, code) = json(&format!("{} -w churn --no-fill -n 200 --connections 3 --warmup 0", server.address));
    assert_eq!((&report["requests"], code), (&200.into(), Some(0)), "{}", report["counts"]);
    assert!(server.connections() >= 200, "{}", server.connections());
}

#[test]
fn resp3_greets_each_connection() {
    let server = Server::start(Fault::None);
    let words = "--protocol resp3 --connections 4 --no-fill -n 100 --warmup 0";
    let (_, code) = json(&format!("{} {words}", server.address));
    assert_eq!((server.asked("HELLO"), code), (4 + 1, Some(0)));
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    let server = Server::start(Fault::None);
    for arrivals in ["fixed", "poisson"] {
        let words = format!("--rate 1000 --arrivals {arrivals} -d 1s --no-fill --warmup 0");
        let (report, code) = json(&format!("{} {words}", server.address));
        let requests = report["requests"].as_u64().unwrap();
        assert!((850..=1150).contains(&requests) && code == Some(0), "{arrivals}: {requests}");
    }
}

#[test]
fn the_same_seed_sends_the_same() {
    let asked = || {
        let server = Server::start(Fault::None);
        let words = "--connections 1 --keys 1000 -n 500 --ratio 1:3 --no-fill --warmup 0 --seed 7";
        kv_bench(&format!("{} {words}", server.address));
        (server.asked("GET"), server.asked("SET"), server.keys())
    };
    assert_eq!(asked(), asked());
}

#[test]
fn a_client_with_a_large_value_stands_beside_the_load() {
    let server = Server::start(Fault::None);
    let words = "-w get --keys 100 --connections 2 -d 300ms --warmup 0 --no-fill --neighbour 1MiB";
    let (report, code) = json(&format!("{} {words}", server.address));
    let beside = report["neighbour_requests"].as_u64().unwrap();
    assert!(beside >= 2 && code == Some(0), "{report}");
    assert_eq!((server.asked("SET") as u64, server.keys()), (beside / 2, 1));
    assert_eq!(report["counts"]["misses"], report["requests"], "its own reads are not counted");
}
