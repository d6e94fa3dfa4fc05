//! Sixteen databases: isolated, swapped, emptied, and their items moved.

use crate::harness::{Engine, Server, on_every_driver};

on_every_driver!(
    each_database_has_its_own_keys,
    a_connection_selects_for_itself,
    swapping_is_seen_by_everybody_at_once,
    items_move_with_their_time_unless_the_key_is_taken,
    emptying_one_leaves_the_others,
);

fn each_database_has_its_own_keys(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    for database in 0..16 {
        client.check(&format!("SELECT {database}"), "+OK\r\n");
        for key in 0..20 {
            client.check(&format!("SET key:{key} {database}:{key}"), "+OK\r\n");
        }
    }
    for database in 0..16 {
        client.check(&format!("SELECT {database}"), "+OK\r\n");
        client.check("DBSIZE", ":20\r\n");
        client.check(
            &format!("MGET key:3 key:{}", 20 + database),
            &format!("*2\r\n${}\r\n{database}:3\r\n$-1\r\n", 2 + database.to_string().len()),
        );
    }
    client.check("SELECT 16", "-ERR DB index is out of range\r\n");
    client.check("SELECT -1", "-ERR DB index is out of range\r\n");
    client.check("SELECT x", "-ERR value is not an integer or out of range\r\n");
    // Still the last one that was selected.
    client.check("GET key:1", "$4\r\n15:1\r\n");
    client.check("CONFIG GET databases", "*2\r\n$9\r\ndatabases\r\n$2\r\n16\r\n");
}

fn a_connection_selects_for_itself(engine: Engine) {
    let server = Server::start(engine);
    let (mut one, mut other) = (server.client(), server.client());
    one.check("SELECT 3", "+OK\r\n");
    one.check("SET k three", "+OK\r\n");
    other.check("GET k", "$-1\r\n");
    other.check("SET k zero", "+OK\r\n");
    one.check("GET k", "$5\r\nthree\r\n");
    one.check("RESET", "+RESET\r\n");
    one.check("GET k", "$4\r\nzero\r\n");
    // In a pipeline the selection holds from the next request on.
    one.send("SELECT 3\r\nGET k\r\nSELECT 0\r\nGET k\r\n");
    one.expect("+OK\r\n$5\r\nthree\r\n+OK\r\n$4\r\nzero\r\n");
}

fn swapping_is_seen_by_everybody_at_once(engine: Engine) {
    let server = Server::with(engine, &["--threads=2"]);
    let (mut one, mut other) = (server.client(), server.client());
    one.check("MSET a zero b zero", "+OK\r\n");
    one.check("SELECT 1", "+OK\r\n");
    one.check("SET a one", "+OK\r\n");
    one.check("SWAPDB 0 1", "+OK\r\n");
    one.check("MGET a b", "*2\r\n$4\r\nzero\r\n$4\r\nzero\r\n");
    other.check("MGET a b", "*2\r\n$3\r\none\r\n$-1\r\n");
    other.check("SWAPDB 1 1", "+OK\r\n");
    other.check("SWAPDB 0 x", "-ERR invalid second DB index\r\n");
    other.check("SWAPDB x 0", "-ERR invalid first DB index\r\n");
    other.check("SWAPDB 0 16", "-ERR DB index is out of range\r\n");
    other.check("SWAPDB 16 x", "-ERR invalid second DB index\r\n");
    other.check("SWAPDB 4294967296 0", "-ERR invalid first DB index\r\n");
}

fn items_move_with_their_time_unless_the_key_is_taken(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET k v EX 1000", "+OK\r\n");
    client.check("MOVE k 9", ":1\r\n");
    client.check("MOVE k 9", ":0\r\n");
    client.check("SET k new", "+OK\r\n");
    client.check("MOVE k 9", ":0\r\n");
    client.check("MOVE k 0", "-ERR source and destination objects are the same\r\n");
    client.check("MOVE k 16", "-ERR DB index is out of range\r\n");
    let beyond = "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n";
    client.check("MOVE k 4294967296", beyond);
    client.check("SELECT -4294967296", beyond);
    client.check("MOVE k x", "-ERR value is not an integer or out of range\r\n");
    client.check("SELECT 9", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
    client.check("TTL k", ":1000\r\n");
}

fn emptying_one_leaves_the_others(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    let mut client = server.client();
    for round in 0..40 {
        for database in [0, 1, 2] {
            client.check(&format!("SELECT {database}"), "+OK\r\n");
            client.check(&format!("MSET a {round} b {round} c {round} d {round}"), "+OK\r\n");
        }
        client.check("FLUSHDB", "+OK\r\n");
        client.check("DBSIZE", ":0\r\n");
        client.check("SELECT 1", "+OK\r\n");
        client.check("DBSIZE", ":4\r\n");
    }
    client.check("FLUSHALL", "+OK\r\n");
    for database in 0..16 {
        client.check(&format!("SELECT {database}"), "+OK\r\n");
        client.check("DBSIZE", ":0\r\n");
    }
}
