//! The memory cap: it holds whatever is written, what is used stays, and what to do at the cap is a policy.

use kv_cache::config::limits::PROCESS_MEMORY_BYTES;
use kv_cache::config::{POLICIES, Policy};

use crate::client::{Client, patterned, request};
use crate::harness::{Engine, Server, on_every_driver, peak_resident_bytes, wait_until};
use crate::wire::Value;

on_every_driver!(
    the_cap_holds_when_sizes_shift,
    the_peak_is_bounded_too,
    what_is_used_stays,
    large_values_find_their_room,
    without_eviction_writes_are_refused,
    several_are_written_or_none,
    volatile_keys_go_first,
    the_policy_changes_while_the_cap_holds,
    the_cap_can_be_lowered,
    what_connections_do_not_use_is_for_items,
    a_thousand_that_half_send_large_values_stay_within_the_cap,
);

/// Sets `count` keys to values of `length` bytes, pipelined, and expects each to be taken.
fn fill(client: &mut Client, prefix: &str, count: usize, length: usize) {
    let value = patterned(length, 7);
    let per_round = (1 << 18) / (length + 60) + 1;
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(per_round) {
        let input: Vec<u8> = numbers
            .iter()
            .flat_map(|n| request(&[b"SET".as_slice(), format!("{prefix}:{n}").as_bytes(), &value]))
            .collect();
        client.send(input);
        client.expect("+OK\r\n".repeat(numbers.len()));
    }
}

/// Four times the cap in small values, then in larger and larger ones, then in small ones again.
fn the_cap_holds_when_sizes_shift(engine: Engine) {
    for policy in ["allkeys-lru", "allkeys-s3fifo"] {
        the_cap_holds_under(engine, policy);
    }
}

fn the_cap_holds_under(engine: Engine, policy: &str) {
    const CAP: usize = 64 << 20;
    let server = Server::with(engine, &["--maxmemory=64mb", &format!("--maxmemory-policy={policy}")]);
    let mut client = server.client();
    for (round, length) in [100, 1000, 10_000, 100_000, 1_000_000, 50, 20_000].into_iter().enumerate() {
        let count = (4 * CAP / (length + 60)).min(400_000);
        fill(&mut client, &format!("r{round}"), count, length);
        let last = format!("r{round}:{}", count - 1);
        assert_eq!(client.call(&["STRLEN", &last]), Value::Integer(length as i64), "the last one written is there");
        let used = client.info_number("used_memory") as usize;
        assert!(used <= CAP, "{used} bytes used after values of {length}");
        wait_until("what was freed to go back", || server.resident_bytes() <= CAP + PROCESS_MEMORY_BYTES);
        let peak = peak_resident_bytes(&server);
        assert!(peak <= CAP + PROCESS_MEMORY_BYTES, "{peak} bytes in memory with values of {length}");
    }
    assert!(client.info_number("evicted_keys") > 0);
}

/// From values of 100 KB to such of 1 MB: at no moment is more in memory than the cap and the process's own.
fn the_peak_is_bounded_too(engine: Engine) {
    const CAP: usize = 64 << 20;
    let server = Server::with(engine, &["--maxmemory=64mb"]);
    let mut client = server.client();
    fill(&mut client, "a", 1000, 100_000);
    fill(&mut client, "b", 256, 1_000_000);
    let peak = peak_resident_bytes(&server);
    assert!(peak <= CAP + PROCESS_MEMORY_BYTES, "{peak} bytes in memory");
}

fn what_is_used_stays(engine: Engine) {
    for policy in ["allkeys-lru", "allkeys-s3fifo", "allkeys-lfu"] {
        let server = Server::with(engine, &["--maxmemory=64mb", &format!("--maxmemory-policy={policy}")]);
        let mut client = server.client();
        fill(&mut client, "dear", 100, 1000);
        for round in 0..40 {
            fill(&mut client, &format!("r{round}"), 4000, 1000);
            for n in 0..100 {
                assert_eq!(client.call(&["TOUCH", &format!("dear:{n}")]), Value::Integer(1), "{policy}, round {round}");
            }
        }
        let first: Vec<String> = (0..4000).map(|n| format!("r0:{n}")).collect();
        let first = std::iter::once("EXISTS".to_owned()).chain(first).collect::<Vec<_>>();
        let Value::Integer(left) = client.call(&first) else { panic!("a number") };
        assert!(left <= if policy == "allkeys-lfu" { 2000 } else { 0 }, "{policy}: {left} that were not used");
        // Most of those of a later round went lately: with twice the memory they would be there.
        (0..4000).for_each(|n| drop(client.call(&["GET", &format!("r20:{n}")])));
        let ghosts = ["110", "150", "200"].map(|more| client.info_number(&format!("ghost_hits_{more}_percent")));
        assert!(ghosts.is_sorted() && (ghosts[2] > 0) == (policy == "allkeys-s3fifo"), "{policy}: {ghosts:?}");
        client.check("CONFIG RESETSTAT", "+OK\r\n");
        assert_eq!(client.info_number("ghost_hits_200_percent"), 0);
    }
}

/// A cache full of small items makes room for large ones, bit by bit, while others are served.
fn large_values_find_their_room(engine: Engine) {
    for policy in ["allkeys-lru", "allkeys-s3fifo"] {
        large_values_find_their_room_under(engine, policy);
    }
}

fn large_values_find_their_room_under(engine: Engine, policy: &str) {
    let server = Server::with(engine, &["--maxmemory=64mb", "--threads=1", &format!("--maxmemory-policy={policy}")]);
    let mut client = server.client();
    let mut other = server.client();
    fill(&mut client, "small", 400_000, 200);
    assert!(client.info_number("evicted_keys") > 0, "the cache is full");
    let largest = client.info_number("largest_value") as usize;
    for n in 0..10 {
        let value = patterned(largest, n);
        let key = format!("large:{n}");
        client.send(request(&[b"SET".as_slice(), key.as_bytes(), &value]));
        client.send(request(&["GET", &key]));
        for _ in 0..5 {
            other.check("SET x y", "+OK\r\n");
            other.check("GET x", "$1\r\ny\r\n");
        }
        client.expect("+OK\r\n");
        assert_eq!(client.value(), Value::bulk(&value));
        fill(&mut other, &format!("r{n}"), 2000, 200);
    }
    // Several at once that need room of their own, with what follows in the pipeline.
    let piece = patterned(largest / 4, 1);
    let words = [b"MSET".as_slice(), b"a", &piece, b"b", &piece, b"c", &piece];
    client.send([request(&words), request(&["STRLEN", "c"]), request(&["INCR", "n"])].concat());
    client.expect(format!("+OK\r\n:{}\r\n:1\r\n", largest / 4));
    let used = client.info_number("used_memory");
    assert!(used <= 64 << 20, "{used}");
}

fn without_eviction_writes_are_refused(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=32mb", "--maxmemory-policy=noeviction"]);
    let mut client = server.client();
    let oom = Value::Error("OOM command not allowed when used memory > 'maxmemory'.".into());
    let value = "v".repeat(1000);
    let mut written = 0;
    let refusal = loop {
        match client.call(&["SET", &format!("key:{written}"), &value]) {
            Value::Simple(_) => written += 1,
            other => break other,
        }
    };
    assert_eq!(refusal, oom);
    assert!(written > 10_000, "{written}");
    client.check("DBSIZE", &format!(":{written}\r\n"));
    assert_eq!(client.call(&["GET", "key:0"]), Value::bulk(&value), "reading goes on");
    assert_eq!(client.info_number("evicted_keys"), 0);
    client.check("FLUSHALL", "+OK\r\n");
    wait_until("room", || client.call(&["SET", "k", &value]) == Value::Simple("OK".into()));
}

/// Near the cap without eviction, a request that sets many keys sets all of them or none.
fn several_are_written_or_none(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=64mb", "--maxmemory-policy=noeviction"]);
    let mut client = server.client();
    let value = "v".repeat(1000);
    let mut keys = 0;
    while client.call(&["SET", &format!("key:{keys}"), &value]) == Value::Simple("OK".into()) {
        keys += 1;
    }
    let oom = Value::Error("OOM command not allowed when used memory > 'maxmemory'.".into());
    let (mut refused, mut done) = (0, 0);
    // One key in so many goes, so that at first nothing has room, and in the end everything has.
    for step in [100, 10, 3, 2, 1] {
        let gone = (0..keys).step_by(step).map(|n| format!("key:{n}"));
        client.call(&std::iter::once("UNLINK".to_owned()).chain(gone).collect::<Vec<_>>());
        for (count, length) in [(2000, 10), (2000, 1100), (500, 4000), (100, 20_000), (8, 400_000)] {
            let names: Vec<String> = (0..count).map(|n| format!("{length}:{n}")).collect();
            let value = patterned(length, 3);
            let pairs = || names.iter().flat_map(|name| [name.as_bytes(), &value]);
            let number = count.to_string();
            let heads = [
                (vec![b"MSET".as_slice()], vec![]),
                (vec![b"MSETNX".as_slice()], vec![]),
                (vec![b"MSETEX".as_slice(), number.as_bytes()], vec![b"EX".as_slice(), b"1000"]),
            ];
            for (head, tail) in heads {
                let words: Vec<&[u8]> = head.iter().copied().chain(pairs()).chain(tail).collect();
                let reply = client.call(&words);
                let there =
                    client.call(&[&["EXISTS"], &names.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
                if reply == oom {
                    refused += 1;
                    assert_eq!(there, Value::Integer(0), "{count} of {length} bytes");
                } else {
                    done += 1;
                    assert!(matches!(reply, Value::Simple(_) | Value::Integer(1)), "{reply:?}");
                    assert_eq!(there, Value::Integer(count), "{count} of {length} bytes");
                }
                client.call(&[&["UNLINK"], &names.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
            }
        }
    }
    assert!(refused > 5 && done > 5, "{refused} refused, {done} done");
}

/// Keys without a time of expiry are never given up under a volatile policy.
fn volatile_keys_go_first(engine: Engine) {
    for (policy, _) in POLICIES.iter().filter(|(_, policy)| policy.is_volatile()) {
        let server = Server::with(engine, &["--maxmemory=32mb", &format!("--maxmemory-policy={policy}")]);
        let mut client = server.client();
        fill(&mut client, "dear", 2000, 1000);
        let value = "v".repeat(1000);
        for n in 0..40_000 {
            client.send(request(&["SET", &format!("key:{n}"), &value, "EX", "1000"]));
            if n % 100 == 99 {
                client.expect("+OK\r\n".repeat(100));
            }
        }
        assert!(client.info_number("evicted_keys") > 0);
        let dear: Vec<String> =
            std::iter::once("EXISTS".to_owned()).chain((0..2000).map(|n| format!("dear:{n}"))).collect();
        assert_eq!(client.call(&dear), Value::Integer(2000), "{policy}");
    }
}

/// From each policy to another, with the cache full and being written to: the cap holds, and what is written is there.
fn the_policy_changes_while_the_cap_holds(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=32mb"]);
    let mut client = server.client();
    fill(&mut client, "key", 40_000, 1000);
    for round in 0..2 {
        for (policy, _) in POLICIES.iter().filter(|(_, policy)| *policy != Policy::NoEviction) {
            client.check(&format!("CONFIG SET maxmemory-policy {policy}"), "+OK\r\n");
            let value = "v".repeat(300 + 700 * round);
            for n in 0..4_000 {
                let key = format!("{policy}:{n}");
                let set = request(&["SET", &key, &value, "EX", "1000"]);
                if n % 100 == 99 {
                    client.expect("+OK\r\n".repeat(99));
                    // Together: between two requests any item may go, as the policies say that draw at random.
                    client.send([request(&["MULTI"]), set, request(&["STRLEN", &key]), request(&["EXEC"])].concat());
                    client.expect(format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:{}\r\n", value.len()));
                } else {
                    client.send(set);
                }
            }
            assert!(client.info_number("used_memory") <= 32 << 20, "{policy}");
        }
    }
    assert_eq!(client.call(&["CONFIG", "GET", "maxmemory-policy"]).field("maxmemory-policy").text(), "volatile-ttl");
}

fn the_cap_can_be_lowered(engine: Engine) {
    let server = Server::with(engine, &["--maxmemory=256mb", "--registered-buffers=off"]);
    let mut client = server.client();
    fill(&mut client, "key", 150_000, 1000);
    assert!(client.info_number("used_memory") > 128 << 20);
    client.check("CONFIG SET maxmemory 64mb", "+OK\r\n");
    wait_until("the shards to shrink", || client.info_number("used_memory") <= 64 << 20);
    wait_until("the memory to go back", || server.resident_bytes() <= (64 << 20) + PROCESS_MEMORY_BYTES);
    client.check("SET k v", "+OK\r\n");
    client.check("GET k", "$1\r\nv\r\n");
    client.check("GET key:0", "$-1\r\n");
    assert_eq!(client.call(&["STRLEN", "key:149999"]), Value::Integer(1000));
}

/// While connections are quiet nearly all of the cap is data; what they need comes back, and goes to data again.
fn what_connections_do_not_use_is_for_items(engine: Engine) {
    for (cap, percent) in [(256, 97), (64, 90)] {
        let server = Server::with(engine, &[&format!("--maxmemory={cap}mb")]);
        let mut client = server.client();
        let used = |client: &mut Client| client.info_number("used_memory_data") as usize * 100 / (cap << 20);
        let mut round = 0;
        wait_until("data to fill what nobody uses", || {
            round += 1;
            fill(&mut client, &format!("r{round}"), (cap << 20) / 1000, 1000);
            used(&mut client) >= percent
        });
        // Replies that somebody leaves unread take it back: more of them than sockets keep.
        let limit = client.info_number("client_memory_limit") as usize;
        let value = patterned(limit / 8, 1);
        assert_eq!(client.call(&[b"SET".as_slice(), b"large", &value]), Value::Simple("OK".into()));
        let mut reader = server.client();
        reader.send(request(&["GET", "large"]).repeat(40));
        wait_until("replies to have their room", || client.info_number("client_memory_lent") as usize <= limit / 2);
        let peak = peak_resident_bytes(&server);
        assert!(peak <= (cap << 20) + PROCESS_MEMORY_BYTES, "{peak} bytes in memory of {cap} MiB");
        (0..40).for_each(|_| assert!(reader.value() == Value::Bulk(value.clone())));
        client.check("GET r1:0", "$-1\r\n");
    }
}

fn a_thousand_that_half_send_large_values_stay_within_the_cap(engine: Engine) {
    const CAP: usize = 256 << 20;
    let server = Server::with(engine, &["--maxmemory=256mb"]);
    let mut client = server.client();
    (0..3).for_each(|round| fill(&mut client, &format!("r{round}"), 250_000, 1000));
    let mut senders: Vec<Client> = (0..1000).map(|_| server.client()).collect();
    let half = [b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n".as_slice(), &patterned(500_000, 3)].concat();
    // As much as the kernel takes: who is held back, or closed for the others, takes no more.
    for sender in &mut senders {
        sender.stream().set_nonblocking(true).unwrap();
        let _ = sender.try_send(&half);
    }
    for n in 0..200 {
        assert_eq!(client.call(&["SET", "mine", &n.to_string()]), Value::Simple("OK".into()));
        assert_eq!(client.call(&["GET", "mine"]), Value::Bulk(n.to_string().into()));
    }
    // A reply that needs some room has it, whoever stops amid a request.
    assert!(client.info_number("used_memory") as usize <= CAP);
    let peak = peak_resident_bytes(&server);
    assert!(peak <= CAP + PROCESS_MEMORY_BYTES, "{} KiB beyond the cap", (peak - CAP) >> 10);
}
