//! INCR and its kin.

use crate::harness::{Engine, Server, on_every_driver};

on_every_driver!(
    counting,
    limits_of_64_bits,
    only_integers_count,
    counting_in_decimals,
    counting_within_bounds,
    no_increment_is_lost,
);

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

fn counting_in_decimals(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("INCRBYFLOAT n 10.50", "$4\r\n10.5\r\n");
    client.check("INCRBYFLOAT n 0.1", "$4\r\n10.6\r\n");
    client.check("INCRBYFLOAT n -5", "$3\r\n5.6\r\n");
    client.check("INCRBYFLOAT n 5.0e3", "$22\r\n5005.60000000000000009\r\n");
    client.check("SET n 5005.5 EX 100", "+OK\r\n");
    client.check("INCRBYFLOAT n 0.5", "$4\r\n5006\r\n");
    client.check("INCR n", ":5007\r\n");
    client.check("TTL n", ":100\r\n");
    client.check("INCRBYFLOAT m 0.1", "$3\r\n0.1\r\n");
    client.check("INCRBYFLOAT m 0.2", "$3\r\n0.3\r\n");
    client.check("INCRBYFLOAT m -0.3", "$1\r\n0\r\n");
    for text in ["x", "1.2.3", "nan", "1e5000"] {
        client.check(&format!("INCRBYFLOAT m {text}"), "-ERR value is not a valid float\r\n");
        client.check(&format!("SET text {text}"), "+OK\r\n");
        client.check("INCRBYFLOAT text 1", "-ERR value is not a valid float\r\n");
    }
    client.check("INCRBYFLOAT m -inf", "-ERR increment would produce NaN or Infinity\r\n");
    server.resp3_client().check("INCRBYFLOAT m 1.5", "$3\r\n1.5\r\n");
}

fn counting_within_bounds(engine: Engine) {
    let server = Server::start(engine);
    let mut client = server.client();
    client.check("INCREX n", "*2\r\n:1\r\n:1\r\n");
    client.check("INCREX n BYINT 9 EX 100 ENX", "*2\r\n:10\r\n:9\r\n");
    client.check("TTL n", ":100\r\n");
    client.check("INCREX n EX 500 ENX", "*2\r\n:11\r\n:1\r\n");
    client.check("TTL n", ":100\r\n");
    client.check("INCREX n BYINT 5 UBOUND 12 EX 500", "*2\r\n:11\r\n:0\r\n");
    client.check("TTL n", ":100\r\n");
    client.check("INCREX n BYINT 5 UBOUND 12 SATURATE EX 500", "*2\r\n:12\r\n:1\r\n");
    client.check("TTL n", ":500\r\n");
    client.check("INCREX n BYINT -20 LBOUND 0 SATURATE PERSIST", "*2\r\n:0\r\n:-12\r\n");
    client.check("TTL n", ":-1\r\n");
    client.check("INCREX fresh UBOUND 0", "*2\r\n:0\r\n:0\r\n");
    client.check("EXISTS fresh", ":0\r\n");
    client.check("INCREX n BYINT 9223372036854775807", "*2\r\n:9223372036854775807\r\n:9223372036854775807\r\n");
    client.check("INCREX n", "*2\r\n:9223372036854775807\r\n:0\r\n");
    client.check("INCREX n UBOUND -9 SATURATE", "-ERR increment or decrement would overflow\r\n");
    client.check("INCREX f BYFLOAT 1.25", "*2\r\n$4\r\n1.25\r\n$4\r\n1.25\r\n");
    client.check("INCREX f BYFLOAT 10 UBOUND 3.5 SATURATE", "*2\r\n$3\r\n3.5\r\n$4\r\n2.25\r\n");
    client.check("INCREX f", "-ERR value is not an integer or out of range\r\n");
    server.resp3_client().check("INCREX f BYFLOAT 0.5", "*2\r\n,4\r\n,0.5\r\n");
    client.check("INCREX f BYFLOAT inf", "-ERR BYFLOAT increment cannot be Infinity\r\n");
    client.check("INCREX f BYFLOAT 1 LBOUND -inf UBOUND +inf", "*2\r\n$1\r\n5\r\n$1\r\n1\r\n");
    client.check("SET infinite -inf", "+OK\r\n");
    client.check("INCREX infinite BYFLOAT 1", "-ERR value cannot be Infinity\r\n");
    client.check("INCREX n LBOUND 2 UBOUND 1", "-ERR LBOUND can't be greater than UBOUND\r\n");
    client.check("INCREX n ENX", "-ERR ENX flag requires an expiration\r\n");
    client.check("INCREX n BYINT x", "-ERR Increment is not an integer or out of range\r\n");
    client.check("INCREX f BYFLOAT x", "-ERR Increment is not a valid float\r\n");
    client.check("INCREX n LBOUND x", "-ERR LBOUND is not an integer or out of range\r\n");
    client.check("INCREX f BYFLOAT 1 UBOUND x", "-ERR UBOUND is not a valid float\r\n");
    for options in ["SATURATE SATURATE", "ENX EX 1 ENX"] {
        client.check(&format!("INCREX n {options}"), "-ERR syntax error\r\n");
    }
    for options in ["BYINT 1 BYFLOAT 1", "BYINT", "EX 1 PERSIST", "PERSIST ENX", "UBOUND 1 UBOUND 2", "WHAT"] {
        client.check(&format!("INCREX n {options}"), "-ERR syntax error\r\n");
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
