//! A request that is put off, for whatever reason and wherever its arguments lie, runs once, later, as it was: random
//! conversations, cut and held up at random, beside the same ones undisturbed.

use proptest::prelude::*;

use crate::config::limits;
use crate::protocol::front::Protocol;
use crate::protocol::testing::{Conversation, Obstacle, in_turn, obstacle};

/// What a value would do if its bytes ran as requests.
const SMUGGLED: &[u8] = b"\r\n*1\r\n$8\r\nFLUSHALL\r\n";

fn begin() -> Conversation {
    Conversation::begin(Protocol::Resp)
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    (0..4).prop_map(|n| format!("key:{n}").into_bytes())
}

/// From nothing to 1 MiB, most often around the sizes where arguments change where they lie.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let around = |size: usize| size - 3..size + 3;
    let size = prop_oneof![
        4 => 0..200usize,
        2 => around(limits::IO_BUFFER_BYTES),
        4 => around(limits::STREAMED_ARGUMENT_MIN_BYTES),
        2 => 33_000..100_000usize,
        1 => 100_000..(1usize << 20),
    ];
    (size, any::<bool>()).prop_map(|(size, smuggles)| {
        if smuggles { SMUGGLED.iter().copied().cycle().take(size).collect() } else { vec![b'v'; size] }
    })
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let word = |text: &str| text.as_bytes().to_vec();
    prop_oneof![
        6 => (key(), value()).prop_map(move |(k, v)| vec![word("SET"), k, v]),
        1 => (key(), value()).prop_map(move |(k, v)| vec![word("GETSET"), k, v]),
        1 => (key(), value()).prop_map(move |(k, v)| vec![word("APPEND"), k, v]),
        1 => (key(), value(), key(), value()).prop_map(move |(a, v, b, w)| vec![word("MSET"), a, v, b, w]),
        1 => (key(), value()).prop_map(move |(k, mut v)| {
            // What a script may hold is what connections leave, which differs with what arrives.
            v.truncate(100_000);
            vec![word("EVAL"), word("return redis.call('SET', KEYS[1], ARGV[1])"), word("1"), k, v]
        }),
        1 => value().prop_map(move |v| vec![word("ECHO"), v]),
        2 => key().prop_map(move |k| vec![word("STRLEN"), k]),
        1 => key().prop_map(move |k| vec![word("DEL"), k]),
        1 => key().prop_map(move |k| vec![word("INCR"), k]),
        1 => Just(vec![word("MULTI")]),
        1 => Just(vec![word("EXEC")]),
        1 => value().prop_map(move |v| vec![v]),
    ]
}

/// The requests as bytes, and after them what shows the whole keyspace.
fn encode(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |arguments: &[&[u8]]| {
        bytes.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
        for argument in arguments {
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(argument);
            bytes.extend_from_slice(b"\r\n");
        }
    };
    for request in requests {
        add(&request.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    add(&[b"DISCARD"]);
    add(&[b"DBSIZE"]);
    for n in 0..4 {
        add(&[b"GET", format!("key:{n}").as_bytes()]);
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn what_is_put_off_runs_once_and_as_it_was(
        requests in prop::collection::vec(request(), 1..12),
        plan in prop::collection::vec((prop_oneof![1..40usize, 1..limits::IO_BUFFER_BYTES], obstacle()), 1..64),
    ) {
        let input = encode(&requests);
        let undisturbed = begin().run(&input, || (usize::MAX, Obstacle::None));
        let disturbed = begin().run(&input, in_turn(&plan));
        prop_assert!(undisturbed == disturbed, "{} and {} bytes of replies", undisturbed.len(), disturbed.len());
    }
}

#[test]
fn a_value_that_waits_for_a_script_is_never_taken_for_requests() {
    for size in [32_767, 32_768, 50_000, 1 << 20] {
        let value: Vec<u8> = SMUGGLED.iter().copied().cycle().take(size).collect();
        let requests = vec![
            vec![b"SET".to_vec(), b"key:0".to_vec(), b"old".to_vec()],
            vec![b"SET".to_vec(), b"key:1".to_vec(), value.clone()],
        ];
        let replies = begin().run(&encode(&requests), || (usize::MAX, Obstacle::Script));
        let start = b"+OK\r\n+OK\r\n-ERR DISCARD without MULTI\r\n:2\r\n$3\r\nold\r\n";
        assert!(replies.starts_with(start), "{size}: {}", replies[..start.len().min(replies.len())].escape_ascii());
    }
}
