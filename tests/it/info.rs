//! INFO: what its fields say and count.

use crate::harness::{Engine, Server, on_every_driver, wait_until};
use crate::wire::Value;

on_every_driver!(info_sections, info_counts, info_memory, info_rates, info_eviction_age, who_waits_watches_and_tracks);

fn info_sections(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    let text = client.call(&["INFO"]).text();
    for line in
        ["# Server", "# Clients", "# Memory", "# Stats", "# Replication", "# Keyspace", "loading:0", "role:master"]
    {
        assert!(text.contains(&format!("{line}\r\n")), "no {line} in {text}");
    }
    assert!(!text.contains("# Commandstats"));
    let server_section = client.call(&["INFO", "server"]).text();
    assert!(server_section.starts_with("# Server\r\nredis_version:7.4."), "{server_section}");
    assert!(!server_section.contains("# Clients"));
    assert!(client.call(&["INFO", "everything"]).text().contains("cmdstat_info:calls="));
    assert_eq!(client.call(&["INFO", "nope"]).text(), "");
    assert!(client.call(&["INFO", "memory", "cpu"]).text().contains("# CPU"));
    assert_eq!(client.info("engine"), engine.name());
    assert_eq!(client.info("process_id"), server.pid().to_string());
    assert_eq!(client.info("tcp_port"), server.port().to_string());
    assert_eq!(client.info("run_id").len(), 40);
    assert!(matches!(server.resp3_client().call(&["INFO"]), Value::Verbatim(_)));
}

fn who_waits_watches_and_tracks(engine: Engine) {
    let server = Server::start(engine);
    let (mut client, mut other) = (server.client(), server.resp3_client());
    for (field, value) in [
        ("watching_clients", "0"),
        ("total_watched_keys", "0"),
        ("tracking_total_items", "0"),
        ("paused_reason", "none"),
        ("paused_actions", "none"),
        ("paused_timeout_milliseconds", "0"),
        ("expired_keys_active", "0"),
    ] {
        assert_eq!(client.info(field), value, "{field}");
    }
    other.check("WATCH a b", "+OK\r\n");
    other.check("CLIENT TRACKING ON", "+OK\r\n");
    other.call(&["MGET", "x", "y", "z"]);
    client.check("CLIENT PAUSE 600000 WRITE", "+OK\r\n");
    for (field, value) in [
        ("watching_clients", "1"),
        ("total_watched_keys", "2"),
        ("tracking_total_keys", "3"),
        ("tracking_total_items", "3"),
        ("tracking_total_prefixes", "0"),
        ("paused_reason", "client_pause"),
        ("paused_actions", "write"),
    ] {
        assert_eq!(client.info(field), value, "{field}");
    }
    assert!((500_000..=600_000).contains(&client.info_number("paused_timeout_milliseconds")));
    client.check("CLIENT UNPAUSE", "+OK\r\n");
    client.check("SET x 1", "+OK\r\n");
    assert_eq!(client.info("tracking_total_items"), "2");
    other.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n");
    other.check("CLIENT TRACKING OFF", "+OK\r\n");
    other.check("CLIENT TRACKING ON BCAST PREFIX one PREFIX two", "+OK\r\n");
    assert_eq!(client.info("tracking_total_prefixes"), "2");
    // Nobody asks for it any more.
    client.check("SET gone 1 PX 1", "+OK\r\n");
    server.wait_for_info("expired_keys_active", |expired| expired == 1);
    assert!(client.info_number("total_reads_processed") > 10 && client.info_number("total_writes_processed") > 10);
    let stats = client.call(&["MEMORY", "STATS"]);
    assert!(stats.field("peak.allocated").integer() >= stats.field("startup.allocated").integer());
    assert_eq!(stats.field("aof.buffer").integer(), 0);
    client.check("SELECT 3", "+OK\r\n");
    client.check("SET k v", "+OK\r\n");
    let stats = client.call(&["MEMORY", "STATS"]);
    let index = |name: &str| stats.field(name).field("overhead.hashtable.main").integer();
    assert!(index("db.0") > 0 && index("db.3") > 0);
    assert_eq!(stats.field("overhead.db.hashtable.lut").integer(), index("db.0") + index("db.3"));
    assert_eq!(stats.field("allocator-fragmentation.bytes").integer(), stats.field("fragmentation.bytes").integer());
}

fn info_counts(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k v", "+OK\r\n");
    client.check("SET t v EX 100", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
    client.check("GET none", "$-1\r\n");
    client.check("MGET k none other", "*3\r\n$1\r\nv\r\n$-1\r\n$-1\r\n");
    client.check_error("NOPE", "ERR unknown command");
    for (field, value) in
        [("keyspace_hits", 2), ("keyspace_misses", 3), ("total_error_replies", 1), ("connected_clients", 1)]
    {
        assert_eq!(client.info_number(field), value, "{field}");
    }
    let keys = client.info("db0");
    let ttl: u64 = keys.strip_prefix("keys=2,expires=1,avg_ttl=").expect("a mean").parse().unwrap();
    assert!((1..=100_000).contains(&ttl), "{keys}");
    let get = client.info("cmdstat_get");
    assert!(get.starts_with("calls=2,usec=") && get.contains(",usec_per_call="), "{get}");
    assert!(get.ends_with(",rejected_calls=0,failed_calls=0"), "{get}");
    assert_eq!(client.info("errorstat_ERR"), "count=1");
    client.check_error("GET", "ERR wrong number of arguments for 'get' command");
    client.check("SET word v", "+OK\r\n");
    client.check_error("INCR word", "ERR value is not an integer");
    assert!(client.info("cmdstat_get").ends_with(",rejected_calls=1,failed_calls=0"));
    assert!(client.info("cmdstat_incr").ends_with(",rejected_calls=0,failed_calls=1"));
    client.check("CLIENT GETNAME", "$-1\r\n");
    assert!(client.info("cmdstat_client|getname").starts_with("calls=1,"));
    let spread = client.info("latency_percentiles_usec_get");
    assert!(spread.starts_with("p50=") && spread.contains(",p99=") && spread.contains(",p99.9="), "{spread}");
    client.check("MULTI", "+OK\r\n");
    client.check("STRLEN k", "+QUEUED\r\n");
    client.check("EXEC", "*1\r\n:1\r\n");
    assert!(client.info("cmdstat_strlen").starts_with("calls=1,usec="));
    assert!(client.info_number("used_memory") > 0 && client.info_number("used_memory_rss") > 0);
    client.check("SET gone v PX 1", "+OK\r\n");
    server.wait_for_info("expired_keys", |count| count == 1);
    assert!(["longest_turn_command", "longest_hold_command"].iter().all(|field| client.info(field) != "none"));
    for field in ["longest_turn_usec", "longest_hold_usec", "longest_script_hold_usec", "longest_upkeep_usec"] {
        client.info_number(field);
    }
    client.check("CONFIG RESETSTAT", "+OK\r\n");
    assert_eq!((client.info_number("expired_keys"), client.info_number("evicted_keys")), (0, 0));
    assert_eq!(client.info_number("keyspace_hits"), 0);
    let all = client.call(&["INFO", "all"]).text();
    assert!(!all.contains("cmdstat_get") && !all.contains("errorstat_") && !all.contains("percentiles_usec_get"));
}

/// What the parts of the memory are adds up.
fn info_memory(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for n in 0..100 {
        client.call(&["SET", &format!("key:{n:06}"), &"v".repeat(90)]);
    }
    assert_eq!(client.info_number("used_memory_dataset"), 100 * 100);
    client.call(&["FUNCTION", "LOAD", "#!lua name=one\nredis.register_function('one', function() return 1 end)"]);
    client.check("EVAL return(1) 0", ":1\r\n");
    client.check("ACL SETUSER one on >p ~some:* +get", "+OK\r\n");
    let parts = [
        "used_memory_data",
        "hot_bytes",
        "used_memory_clients",
        "used_memory_lua",
        "used_memory_scripts",
        "used_memory_users",
        "used_memory_registered_buffers",
    ];
    let text = client.call(&["INFO", "memory"]).text();
    let field = |name: &str| -> u64 {
        let found = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        found.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    };
    assert_eq!(field("used_memory"), parts.iter().map(|name| field(name)).sum::<u64>());
    assert_eq!(field("used_memory_overhead"), field("used_memory") - field("used_memory_dataset"));
    assert!(field("used_memory_peak") >= field("used_memory"));
    assert!(text.contains("mem_fragmentation_ratio:"));
    assert_eq!((field("used_memory_tracking"), field("used_memory_slowlog")), (0, 0));
    let mut reader = server.resp3_client();
    reader.check("CLIENT TRACKING ON", "+OK\r\n");
    reader.call(&["GET", "key:000001"]);
    client.check("CONFIG SET slowlog-log-slower-than 0", "+OK\r\n");
    client.check("PING", "+PONG\r\n");
    assert!(client.info_number("used_memory_tracking") > 0 && client.info_number("used_memory_slowlog") > 0);
}

/// Rates are sampled while commands come.
fn info_rates(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    wait_until("a rate", || client.info_number("instantaneous_ops_per_sec") > 0);
    wait_until("traffic", || client.info("instantaneous_output_kbps").parse::<f64>().unwrap() > 0.0);
}

/// How long what is evicted had been idle is told.
fn info_eviction_age(engine: Engine) {
    let server = Server::with(engine, &["--threads=1", "--maxmemory=32mb"]);
    let mut client = server.client();
    let value = "v".repeat(10_000);
    assert_eq!(client.info_number("eviction_age_ms"), 0);
    let mut number = 0;
    wait_until("an eviction age", || {
        for _ in 0..100 {
            number += 1;
            client.call(&["SET", &format!("key:{number}"), &value]);
        }
        client.info_number("eviction_age_ms") > 0
    });
    assert!(client.info_number("evicted_keys") > 0);
}
