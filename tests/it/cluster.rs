//! CLUSTER: disabled by default; with `--cluster-mode emulated` one node that has all slots, as clients of clusters expect.

use crate::client::Client;
use crate::harness::{Engine, Server, on_every_driver};
use crate::wire::Value;

on_every_driver!(one_node_has_all_slots, without_the_option_there_is_none);

fn without_the_option_there_is_none(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for words in ["CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER KEYSLOT k", "READONLY", "READWRITE"] {
        client.check(words, "-ERR This instance has cluster support disabled\r\n");
    }
    assert_eq!((client.info("cluster_enabled"), client.info("redis_mode")), ("0".into(), "standalone".into()));
}

fn one_node_has_all_slots(engine: Engine) {
    let server = Server::with(engine, &["--cluster-mode=emulated"]);
    let mut client = server.client();
    let id = client.info("run_id");
    assert_eq!((client.info("cluster_enabled"), client.info("redis_mode")), ("1".into(), "cluster".into()));
    assert_eq!(client.call(&["CLUSTER", "MYID"]).text(), id);
    let info = client.call(&["CLUSTER", "INFO"]).text();
    assert!(info.contains("cluster_state:ok\r\n") && info.contains("cluster_slots_assigned:16384\r\n"), "{info}");
    let port = server.port().to_string();
    assert_eq!(
        client.call(&["CLUSTER", "NODES"]).text(),
        format!("{id} 127.0.0.1:{port}@{} myself,master - 0 0 1 connected 0-16383\n", server.port() as u32 + 10_000)
    );
    let node = Value::Array(vec![
        Value::bulk("127.0.0.1"),
        Value::Integer(server.port().into()),
        Value::bulk(&id),
        Value::Array(vec![]),
    ]);
    let slots = Value::Array(vec![Value::Array(vec![Value::Integer(0), Value::Integer(16_383), node])]);
    assert_eq!(client.call(&["CLUSTER", "SLOTS"]), slots);
    let shards = client.call(&["CLUSTER", "SHARDS"]);
    let nodes = shards.elements()[0].field("nodes");
    let node = &nodes.elements()[0];
    assert_eq!(
        (node.field("port").integer().to_string(), node.field("endpoint").text()),
        (port, "127.0.0.1".to_owned())
    );
    client.check("READONLY", "+OK\r\n");
    client.check("CLUSTER LINKS", "*0\r\n");
    client.check("CLUSTER KEYSLOT foo", ":12182\r\n");
    keys_of_a_slot(&mut client);
}

fn keys_of_a_slot(client: &mut Client) {
    for n in 0..500 {
        client.call(&["SET", &format!("{{tag}}:{n}"), "v"]);
        client.call(&["SET", &format!("other:{n}"), "v"]);
    }
    let slot = client.call(&["CLUSTER", "KEYSLOT", "tag"]).integer().to_string();
    let others = (0..500)
        .filter(|n| client.call(&["CLUSTER", "KEYSLOT", &format!("other:{n}")]).integer().to_string() == slot)
        .count();
    let all = 500 + others;
    assert_eq!(client.call(&["CLUSTER", "COUNTKEYSINSLOT", &slot]).integer(), all as i64);
    assert_eq!(client.call(&["CLUSTER", "GETKEYSINSLOT", &slot, "7"]).elements().len(), 7);
    assert_eq!(client.call(&["CLUSTER", "GETKEYSINSLOT", &slot, "7000"]).elements().len(), all);
    client.check("CLUSTER COUNTKEYSINSLOT 16384", "-ERR Invalid or out of range slot\r\n");
    client.check("CLUSTER COUNTKEYSINSLOT x", "-ERR Invalid or out of range slot\r\n");
    client.check("CLUSTER GETKEYSINSLOT 1 -1", "-ERR Invalid number of keys\r\n");
}
