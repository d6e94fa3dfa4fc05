//! INCR and its kin.

use crate::harness::{Engine, Server, on_both_engines};

on_both_engines!(counting, limits_of_64_bits, only_integers_count, no_increment_is_lost);

fn counting(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("INCR n", ":1\r\n");
    client.check("INCR n", ":2\r\n");
    client.check("DECR n", ":1\r\n");
    client.check("INCRBY n 10", ":11\r\n");
    client.check("DECRBY n 20", ":-9\r\n");
    client.check("INCRBY n -1", ":-10\r\n");
    client.check("DECRBY n -20", ":10\r\n");
    client.check("GET n", "$2\r\n10\r\n");
    client.check("DECR fresh", ":-1\r\n");
    client.check("EXPIRE n 100", ":1\r\n");
    client.check("INCR n", ":11\r\n");
    assert!(client.call(&["TTL", "n"]).integer() > 0, "INCR keeps the time of expiry");
    client.check_error("INCR", "ERR wrong number of arguments for 'incr' command");
    client.check_error("INCRBY n", "ERR wrong number of arguments for 'incrby' command");
}

fn limits_of_64_bits(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("SET n 9223372036854775806", "+OK\r\n");
    client.check("INCR n", ":9223372036854775807\r\n");
    client.check("INCR n", "-ERR increment or decrement would overflow\r\n");
    client.check("GET n", "$19\r\n9223372036854775807\r\n");
    client.check("INCRBY n -9223372036854775808", ":-1\r\n");
    client.check("SET n -9223372036854775808", "+OK\r\n");
    client.check("DECR n", "-ERR increment or decrement would overflow\r\n");
    client.check("DECRBY n -9223372036854775808", "-ERR decrement would overflow\r\n");
    client.check("INCRBY n 9223372036854775808", "-ERR value is not an integer or out of range\r\n");
    client.check("INCRBY n 9223372036854775807", ":-1\r\n");
}

fn only_integers_count(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    for text in ["x", "1.5", "+1", "01", "-0", "0x1", "1e3", "9223372036854775808", "123456789012345678901234567890"] {
        client.check(&format!("SET n {text}"), "+OK\r\n");
        client.check("INCR n", "-ERR value is not an integer or out of range\r\n");
        client.check(&format!("INCRBY m {text}"), "-ERR value is not an integer or out of range\r\n");
        assert_eq!(client.call(&["GET", "n"]).text(), text);
    }
    client.check("EXISTS m", ":0\r\n");
    for padded in [" 1", "1 ", "", "1\r\n", "1\0"] {
        client.call(&["SET", "n", padded]);
        client.check("INCR n", "-ERR value is not an integer or out of range\r\n");
    }
}

/// Eight connections on four cores count on the same keys at the same time.
fn no_increment_is_lost(engine: Engine) {
    let server = Server::with(engine, &["--threads=4"]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                for n in 0..500 {
                    client.call(&["INCR", &format!("n{}", n % 5)]);
                }
            });
        }
    });
    let mut client = server.client();
    for n in 0..5 {
        client.check(&format!("GET n{n}"), "$3\r\n800\r\n");
    }
}
