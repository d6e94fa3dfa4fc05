//! Whatever comes, in whatever pieces and whatever is in its way, is answered as if it had come at once: random
//! conversations, well-formed and damaged, beside the same ones undisturbed.

use proptest::prelude::*;
use prost::Message;

use super::super::message::*;
use super::UNAUTHENTICATED_TOO_LONG;
use crate::config::limits;
use crate::protocol::front::{Next, Protocol};
use crate::protocol::testing::{Conversation, Obstacle, fuzz, in_turn, obstacle};

fn converse(input: &[u8]) -> Vec<u8> {
    Conversation::with_empty_cache(Protocol::Protobuf).run(input, || (usize::MAX, Obstacle::None))
}

fn frame(command: Command) -> Vec<u8> {
    Request { id: 7, command: Some(command) }.encode_length_delimited_to_vec()
}

fn get(key: &str) -> Command {
    Command::Get(Get { key: key.to_owned().into() })
}

fn set(key: &str, value: Vec<u8>, condition: Condition) -> Command {
    Command::Set(Set { key: key.to_owned().into(), value: value.into(), condition: condition as i32, ..Set::default() })
}

/// Field 1 again and again.
fn parts(parts: &[Vec<u8>]) -> bytes::Bytes {
    #[derive(Message)]
    struct Parts {
        #[prost(bytes = "vec", repeated, tag = "1")]
        parts: Vec<Vec<u8>>,
    }
    Parts { parts: parts.to_vec() }.encode_to_vec().into()
}

fn batch(commands: Vec<Command>) -> Command {
    let requests = commands.into_iter().map(|command| Request { id: 8, command: Some(command) }.encode_to_vec());
    Command::Batch(parts(&requests.collect::<Vec<_>>()))
}

/// The replies, each behind its length.
fn split(mut replies: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some((length, prefix)) = length(replies).unwrap() {
        let (reply, rest) = replies[prefix..].split_at(length as usize);
        found.push(reply.to_vec());
        replies = rest;
    }
    assert!(replies.is_empty(), "a reply is not whole");
    found
}

/// The text of the last reply, an error of no request.
fn last_error(input: &[u8]) -> String {
    let replies = split(&converse(input));
    let text = replies.last().expect("a reply").strip_prefix(b"\x12").expect("an error");
    let (_, prefix) = length(text).unwrap().expect("its length");
    String::from_utf8(text[prefix..].into()).unwrap()
}

#[test]
fn each_request_does_what_it_says() {
    let touch = |ttl_ms| Command::Touch(Touch { key: "n".into(), ttl_ms });
    let add = |by| Command::Increment(Increment { key: "n".into(), by });
    let conditional = Command::Set(Set {
        key: "n".into(),
        value: "x".into(),
        condition: Condition::IfEqual as i32,
        expected: "5".into(),
        ..Set::default()
    });
    let both = Command::Set(Set { key: "n".into(), ttl_ms: 5, keep_ttl: true, ..Set::default() });
    let unknown = Command::Set(Set { key: "n".into(), condition: 9, ..Set::default() });
    let cases: Vec<(Command, &[u8])> = vec![
        (get("n"), b"\x1a\x00"),
        (set("n", b"3".into(), Condition::IfPresent), b"\x20\x00"),
        (set("n", b"3".into(), Condition::IfAbsent), b"\x20\x01"),
        (set("n", b"4".into(), Condition::IfAbsent), b"\x20\x00"),
        (add(None), b"\x28\x08"),
        (add(Some(-5)), b"\x28\x01"),
        (touch(0), b"\x20\x00"),
        (touch(100_000), b"\x20\x01"),
        (touch(0), b"\x20\x01"),
        (get("n"), b"\x1a\x04\x0a\x02-1"),
        (conditional.clone(), b"\x20\x00"),
        (set("n", b"5".into(), Condition::Always), b"\x20\x01"),
        (conditional, b"\x20\x01"),
        (add(None), b"\x12\x2fERR value is not an integer or out of range"),
        (both, b"\x12\x10ERR syntax error"),
        (unknown, b"\x12\x26ERR this condition is not known here"),
        (Command::MultiGet(parts(&[b"n".into(), b"?".into()])), b"\x32\x07\x0a\x03\x0a\x01x\x0a\x00"),
        (Command::MultiGet(parts(&[])), b"\x12\x33ERR wrong number of arguments for 'mget' command"),
        (Command::Delete(Delete { key: "n".into() }), b"\x20\x01"),
        (Command::Delete(Delete { key: "n".into() }), b"\x20\x00"),
        (Command::Ping(Ping {}), b"\x20\x01"),
    ];
    let input: Vec<u8> = cases.iter().flat_map(|(command, _)| frame(command.clone())).collect();
    let replies = split(&converse(&input));
    assert_eq!(replies.len(), cases.len());
    for ((command, expect), reply) in cases.iter().zip(&replies) {
        // The length in an error is looked at by `split` and by the other implementation.
        let (id, result) = reply.split_at(2);
        let is_same = if expect[0] == 0x12 { result[2..] == expect[2..] } else { &result == expect };
        assert!(id == b"\x08\x07" && is_same, "{command:?}: {}", reply.escape_ascii());
    }
}

#[test]
fn a_batch_is_answered_one_by_one() {
    let commands = vec![set("a", b"1".into(), Condition::Always), get("a"), batch(vec![get("a")]), get("b")];
    let input = [frame(batch(commands)), frame(Command::Batch(parts(&[]))), frame(get("a"))].concat();
    let replies = split(&converse(&input));
    let expect: [&[u8]; 5] = [
        b"\x08\x08\x20\x01",
        b"\x08\x08\x1a\x03\x0a\x011",
        b"\x08\x08\x12\x1aERR a batch holds no batches",
        b"\x08\x08\x1a\x00",
        b"\x08\x07\x1a\x03\x0a\x011",
    ];
    assert_eq!(replies.len(), expect.len());
    for (reply, expect) in replies.iter().zip(expect) {
        assert!(reply.len() == expect.len() && reply[..3] == expect[..3] && reply[4..] == expect[4..], "{reply:?}");
    }
}

#[test]
fn what_is_no_message_is_told_so_and_closed() {
    for input in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".as_slice(),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: somebody with a long name, so that 71 bytes come\r\n\r\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x03\x12\x05\x0a",
        b"\x04\x12\x02\x0a\x05",
        b"\x02\x0b\x08",
        // A batch, whose first request is whole.
        b"\x0a\x52\x08\x0a\x02\x42\x00\x0a\x02\x42\x05",
    ] {
        let mut conversation = Conversation::with_empty_cache(Protocol::Protobuf);
        assert_eq!(conversation.advance(input, 0), Next::Close, "{}", input.escape_ascii());
        assert!(last_error(input).starts_with("ERR this is no message"), "{}", input.escape_ascii());
    }
    let endless = b"\xff\xff\xff\xff\xff\xff\xff\x7f";
    assert!(last_error(endless).contains("client-query-limit"));
}

#[test]
fn what_takes_long_to_look_through_is_refused() {
    const MOST: usize = limits::PROTOBUF_FIELDS_MAX;
    let bytes = |message: Vec<u8>| [prefix(message.len()), message].concat();
    let field = |number: u8, content: Vec<u8>| [vec![number << 3 | 2], prefix(content.len()), content].concat();
    let refused = |message: Vec<u8>| {
        let told = last_error(&[bytes(message), frame(get("a"))].concat());
        assert!(told.contains("has more than 65536 fields or keys"), "{told}");
    };
    let keys = |count: usize| [10, 0].repeat(count);
    // The multi_get itself is a field, too.
    assert_eq!(split(&converse(&bytes(field(7, keys(MOST - 1))))).len(), 1);
    refused(field(7, keys(MOST)));
    refused(field(2, [16, 1].repeat(MOST)));
    refused([0x78, 1].repeat(MOST + 1));
    refused([field(7, keys(MOST / 2)), field(7, keys(MOST / 2))].concat());
    refused([vec![0x7b], [0x78, 1].repeat(MOST), vec![0x7c]].concat());
    refused(field(10, [[0x78, 1].repeat(MOST), keys(1)].concat()));
    refused(field(10, field(1, field(7, keys(MOST)))));
    // Of a batch each request is counted by itself.
    assert_eq!(split(&converse(&bytes(field(10, field(1, field(8, vec![])).repeat(MOST + 1))))).len(), MOST + 1);
}

fn prefix(length: usize) -> Vec<u8> {
    let mut prefix = Vec::new();
    prost::encoding::encode_varint(length as u64, &mut prefix);
    prefix
}

#[test]
fn without_a_password_little_may_come() {
    let auth = |password: &str| Command::Auth(Auth { password: password.into(), user: String::new() });
    let told = |input: &[u8]| {
        let conversation = {
            let shared = crate::protocol::testing::server();
            shared.settings.set_password("secret");
            Conversation::with(shared, Protocol::Protobuf)
        };
        split(&conversation.run(input, || (usize::MAX, Obstacle::None)))
    };
    let replies = told(&[frame(get("a")), frame(auth("wrong")), frame(auth("secret")), frame(get("a"))].concat());
    assert!(replies[0].ends_with(b"NOAUTH Authentication required."), "{replies:?}");
    assert!(replies[1][4..].starts_with(b"WRONGPASS"), "{replies:?}");
    assert_eq!(replies[2..], [b"\x08\x07\x20\x01".to_vec(), b"\x08\x07\x1a\x00".to_vec()]);
    let replies = told(&frame(set("a", vec![b'v'; limits::UNAUTHENTICATED_ARGUMENT_BYTES], Condition::Always)));
    assert!(replies[0].ends_with(UNAUTHENTICATED_TOO_LONG.as_bytes()));
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("n".to_owned())]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    const LARGE: usize = limits::STREAMED_ARGUMENT_MIN_BYTES;
    let length = prop_oneof![4 => 0..200usize, 1 => LARGE - 20..LARGE + 20, 1 => 33_000..200_000usize];
    length.prop_map(|length| (0..length).map(|at| (at * 7 + at / 251) as u8).collect())
}

fn single() -> impl Strategy<Value = Command> {
    prop_oneof![
        key().prop_map(|key| get(&key)),
        (key(), value()).prop_map(|(key, value)| set(&key, value, Condition::Always)),
        (key(), value()).prop_map(|(key, value)| set(&key, value, Condition::IfAbsent)),
        key().prop_map(|key| Command::Delete(Delete { key: key.into() })),
        any::<i8>().prop_map(|by| Command::Increment(Increment { key: "n".into(), by: Some(by.into()) })),
        Just(Command::MultiGet(parts(&[b"a".into(), b"b".into(), b"a".into()]))),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![4 => single(), 1 => prop::collection::vec(single(), 0..5).prop_map(batch)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn cuts_and_obstacles_change_nothing(
        commands in prop::collection::vec(command(), 1..12),
        plan in prop::collection::vec((1..40_000usize, obstacle()), 1..30),
    ) {
        let input: Vec<u8> = commands.into_iter().flat_map(frame).collect();
        let expect = converse(&input);
        let replies = Conversation::with_empty_cache(Protocol::Protobuf).run(&input, in_turn(&plan));
        prop_assert!(replies == expect);
        // Where room has to be made first, the same is answered.
        let replies = Conversation::begin(Protocol::Protobuf).run(&input, in_turn(&plan));
        prop_assert_eq!(split(&replies).len(), split(&expect).len());
    }

    #[test]
    fn damaged_messages_end_in_an_error_and_nothing_else(
        commands in prop::collection::vec(command(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
        plan in prop::collection::vec((1..3_000usize, obstacle()), 1..30),
    ) {
        let mut input: Vec<u8> = commands.into_iter().flat_map(frame).collect();
        damage.iter().for_each(|(at, byte)| *at.get_mut(&mut input) = *byte);
        let expect = converse(&input);
        let replies = Conversation::with_empty_cache(Protocol::Protobuf).run(&input, in_turn(&plan));
        prop_assert!(replies == expect);
        split(&replies);
    }
}

#[test]
fn arbitrary_bytes_end_nothing_but_their_connection() {
    let increment = Command::Increment(Increment { key: "a".into(), by: Some(5) });
    let touch = Command::Touch(Touch { key: "a".into(), ttl_ms: 500 });
    let commands =
        [get("a"), set("a", b"1".to_vec(), Condition::IfAbsent), increment, touch, batch(vec![get("a"), get("b")])];
    let frames = commands.map(frame);
    let mut words: Vec<&[u8]> = vec![
        // Lengths, and numbers.
        b"\x00",
        b"\x01",
        b"\x03",
        b"\x07",
        b"\x7f",
        b"\x80",
        b"\xff\xff\xff\xff\x0f",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        // Fields, of every command and of some types.
        b"\x08",
        b"\x0a",
        b"\x10",
        b"\x12",
        b"\x18",
        b"\x1a",
        b"\x20",
        b"\x22",
        b"\x2a",
        b"\x32",
        b"\x3a",
        b"\x42",
        b"\x4a",
        b"\x52",
        b"\x0b",
        b"\x0d",
        // What may be in them.
        b"\x0a\x01a",
        b"\x05\x12\x03\x0a\x01a",
        b"a",
    ];
    // More of what is well-formed: behind what is not nothing is read.
    (0..8).for_each(|_| words.extend(frames.iter().map(|frame| frame.as_slice())));
    fuzz(Protocol::Protobuf, &words, split);
}
