//! Conversations word for word as memcached has them; and whatever comes, in whatever pieces and whatever is in its way, is
//! answered as if it had come at once: random ones, well-formed and damaged, beside the same ones undisturbed.

use proptest::prelude::*;

use crate::config::limits;
use crate::protocol::front::{Next, Protocol};
use crate::protocol::testing::{Conversation, Obstacle, fuzz, in_turn, obstacle};

fn begin() -> Conversation {
    Conversation::with_empty_cache(Protocol::Memcached)
}

fn converse(input: &[u8]) -> String {
    text(&begin().run(input, || (usize::MAX, Obstacle::None)))
}

fn text(replies: &[u8]) -> String {
    replies.iter().map(|byte| *byte as char).collect()
}

/// Requests and what each is answered, line by line: `|` stands for the end of one.
fn check(dialogue: &[(&str, &str)]) {
    let lines = |text: &str| text.replace('|', "\r\n");
    let mut conversation = begin();
    for (request, expect) in dialogue {
        let before = conversation.replies.len();
        conversation.advance(lines(request).as_bytes(), 0);
        assert_eq!(text(&conversation.replies[before..]), lines(expect), "{request}");
    }
    // The same in one piece.
    let all: String = dialogue.iter().map(|(request, _)| lines(request)).collect();
    let replies: String = dialogue.iter().map(|(_, expect)| lines(expect)).collect();
    assert_eq!(converse(all.as_bytes()), replies);
}

#[test]
fn classic_commands() {
    check(&[
        ("get a|", "END|"),
        ("set a 5 0 3|one|", "STORED|"),
        ("get a|", "VALUE a 5 3|one|END|"),
        ("get a b a|", "VALUE a 5 3|one|VALUE a 5 3|one|END|"),
        ("  get   a  |", "VALUE a 5 3|one|END|"),
        ("get a\n", "VALUE a 5 3|one|END|"),
        ("add a 0 0 1|x|", "NOT_STORED|"),
        ("add b 4294967295 0 0||", "STORED|"),
        ("get b|", "VALUE b 4294967295 0||END|"),
        ("replace a 6 0 3|two|", "STORED|"),
        ("replace c 0 0 1|x|", "NOT_STORED|"),
        ("append a 9 0 1|!|", "STORED|"),
        ("prepend a 9 0 1|?|", "STORED|"),
        ("get a|", "VALUE a 6 5|?two!|END|"),
        ("append c 0 0 1|x|", "NOT_STORED|"),
        ("prepend c 0 0 1|x|", "NOT_STORED|"),
        ("set n 7 0 2|10|", "STORED|"),
        ("incr n 5|", "15|"),
        ("decr n 6|", "9|"),
        ("decr n 100|", "0|"),
        ("incr n 18446744073709551615|", "18446744073709551615|"),
        ("incr n 2|", "1|"),
        ("get n|", "VALUE n 7 1|1|END|"),
        ("incr a 1|", "CLIENT_ERROR cannot increment or decrement non-numeric value|"),
        ("incr none 1|", "NOT_FOUND|"),
        ("decr none 1|", "NOT_FOUND|"),
        ("touch a 100|", "TOUCHED|"),
        ("touch none 100|", "NOT_FOUND|"),
        ("gat 100 a none|", "VALUE a 6 5|?two!|END|"),
        ("gat x a|", "CLIENT_ERROR invalid exptime argument|"),
        ("delete a|", "DELETED|"),
        ("delete a|", "NOT_FOUND|"),
        ("set g 0 -1 1|x|", "STORED|"),
        ("get g|", "END|"),
        ("set g 0 0 1|x|", "STORED|"),
        ("gat -1 g|", "VALUE g 0 1|x|END|"),
        ("get g|", "END|"),
        ("set g 0 2592001 1|x|", "STORED|"),
        ("flush_all|", "OK|"),
        ("get n b g|", "END|"),
        ("version|", "VERSION 1.6.18|"),
        ("verbosity 1|", "OK|"),
        ("mn|", "MN|"),
    ]);
}

#[test]
fn no_reply_means_none() {
    check(&[
        ("set a 0 0 1 noreply|1|", ""),
        ("add a 0 0 1 noreply|x|", ""),
        ("append a 0 0 1 noreply|0|", ""),
        ("incr a 5 noreply|", ""),
        ("get a|", "VALUE a 0 2|15|END|"),
        ("touch a 0 noreply|", ""),
        ("delete a noreply|", ""),
        ("delete a 0 noreply|", ""),
        ("flush_all noreply|", ""),
        ("verbosity 1 noreply|", ""),
        ("get a|", "END|"),
    ]);
}

#[test]
fn what_is_no_request_is_refused_in_memcacheds_words() {
    let long = "k".repeat(251);
    check(&[
        ("|", "ERROR|"),
        ("nothing|", "ERROR|"),
        ("get|", "ERROR|"),
        ("gat 0|", "ERROR|"),
        ("set a 0 0|", "ERROR|"),
        ("set a x 0 1|", "CLIENT_ERROR bad command line format|"),
        ("set a 0 0 -1|", "CLIENT_ERROR bad command line format|"),
        ("set a 0 0 1|12|", "CLIENT_ERROR bad data chunk|ERROR|"),
        ("set a 0 0 4|insert|", "CLIENT_ERROR bad data chunk|ERROR|"),
        (&format!("set {long} 0 0 1|"), "CLIENT_ERROR bad command line format|"),
        (&format!("get a {long} b|"), "CLIENT_ERROR bad command line format|"),
        ("delete a 5|", "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]|"),
        ("shutdown|", "ERROR: shutdown not enabled|"),
        ("set a 0 0 1|1|", "STORED|"),
        // A set that fails leaves nothing stale behind.
        (&format!("set a 0 0 1048576|{}|", "x".repeat(1 << 20)), "SERVER_ERROR object too large for cache|"),
        ("get a|", "END|"),
        ("set a 0 0 1|1|", "STORED|"),
        (&format!("append a 0 0 1048576|{}|", "x".repeat(1 << 20)), "SERVER_ERROR object too large for cache|"),
        (&format!("append a 0 0 1048574|{}|", "x".repeat((1 << 20) - 2)), "STORED|"),
        ("append a 0 0 1|x|", "SERVER_ERROR object too large for cache|"),
        ("mg a s|", "HD s1048575|"),
    ]);
    assert_eq!(converse(b"get a\r\nquit\r\nget a\r\n"), "END\r\n");
    assert_eq!(converse(b"POST / HTTP/1.1\r\nset a 0 0 1\r\n1\r\nget a\r\n"), "");
    let endless = [b"set ".as_slice(), &[b'x'; 3000]].concat();
    assert_eq!(converse(&endless), "CLIENT_ERROR line too long\r\n");
}

/// A request of the binary protocol, and what it is answered.
fn binary(opcode: u8, opaque: u32, body: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let refusal = b"Only memcached's text and meta protocols are spoken here";
    let message = |magic: u8, status: u8, body: &[u8]| {
        let length = (body.len() as u32).to_be_bytes();
        [&[magic, opcode, 0, 0, 0, 0, 0, status], &length[..], &opaque.to_be_bytes(), &[0; 8], body].concat()
    };
    (message(0x80, 0, body), message(0x81, 0x83, refusal))
}

#[test]
fn the_binary_protocol_is_refused_in_its_own_terms() {
    // A get, a set whose value looks like lines, one without a body, one that is larger than any buffer.
    let (requests, answers): (Vec<_>, Vec<_>) = [
        binary(0x00, 7, b"key"),
        binary(0x01, u32::MAX, b"\0\0\0\0\0\0\0\0kset k 0 0 1\r\nv\r\n"),
        binary(0x0a, 0x0d0a_0d0a, b""),
        binary(0x11, 1, &[b'\n'; 300_000]),
    ]
    .into_iter()
    .unzip();
    let (quit, _) = binary(0x07, 3, b"");
    let input = [&requests.concat(), "get k\r\n".as_bytes(), &quit, b"get k\r\n"].concat();
    let expect = [&answers.concat(), "END\r\n".as_bytes()].concat();
    for cut in [1, 23, 24, 25, 1000, usize::MAX] {
        assert!(begin().run(&input, || (cut, Obstacle::None)) == expect, "{cut}");
    }
    assert_eq!(converse(&requests[0][..23]), "");
    // Where a value is expected it is nothing of the kind.
    assert_eq!(converse(b"set k 0 0 2\r\n\x80\x00\r\nget k\r\n"), "STORED\r\nVALUE k 0 2\r\n\u{80}\0\r\nEND\r\n");
    // And TLS.
    assert_eq!(converse(b"\x16\x03\x01\x02\x00\x01\r\nget k\r\n"), "");
}

#[test]
fn versions_are_compared() {
    let mut conversation = begin();
    let mut ask = |request: &str| {
        let before = conversation.replies.len();
        conversation.advance(request.as_bytes(), 0);
        text(&conversation.replies[before..])
    };
    let version = |reply: &str| -> u64 { reply.lines().next().unwrap().rsplit(' ').next().unwrap().parse().unwrap() };
    ask("set a 3 0 1\r\n1\r\n");
    let first = version(&ask("gets a\r\n"));
    assert_eq!(version(&ask("gets a\r\n")), first);
    for (request, expect) in [
        ("cas a 0 0 1 5\r\n2\r\n", "EXISTS\r\n"),
        ("cas a 0 0 1 0\r\n2\r\n", "EXISTS\r\n"),
        ("cas none 0 0 1 5\r\n2\r\n", "NOT_FOUND\r\n"),
        (&format!("cas a 4 0 1 {first}\r\n2\r\n"), "STORED\r\n"),
        (&format!("cas a 5 0 1 {first}\r\n3\r\n"), "EXISTS\r\n"),
    ] {
        assert_eq!(ask(request), expect, "{request}");
    }
    let second = version(&ask("gats 0 a\r\n"));
    assert!(second > first);
    assert_eq!(ask("touch a 0\r\ngets a\r\n"), format!("TOUCHED\r\nVALUE a 4 1 {second}\r\n2\r\nEND\r\n"));
    assert_eq!(ask(&format!("incr a 1\r\ncas a 5 0 1 {second}\r\n3\r\n")), "3\r\nEXISTS\r\n");
}

#[test]
fn meta_get_and_set() {
    check(&[
        ("mg a v|", "EN|"),
        ("mg a v q|mn|", "MN|"),
        ("mg a v k Oabc|", "EN ka Oabc|"),
        ("ms a 3 F5 T100|one|", "HD|"),
        ("mg a|", "HD|"),
        ("mg a v|", "VA 3|one|"),
        ("mg a s v f t k Oxyz|", "VA 3 s3 f5 t100 ka Oxyz|one|"),
        ("mg a t T50 t|", "CLIENT_ERROR duplicate flag|"),
        ("mg a t T50|", "HD t100|"),
        ("mg a T-1 t|", "HD t0|"),
        ("mg a|", "EN|"),
        ("ms a S3|", "CLIENT_ERROR bad command line format|"),
        ("ms a 3 q k|two|", ""),
        ("mg a h l t|", "HD h0 l0 t-1|"),
        ("mg a h u|", "HD h1|"),
        ("ms a 3 ME q k|xxx|", "NS ka|"),
        ("ms a 1 MA|!|ms a 1 MP|?|", "HD|HD|"),
        ("mg a v|", "VA 5|?two!|"),
        ("ms b 1 MA|x|", "NS|"),
        ("ms b 1 MA N0|x|", "HD|"),
        ("ms b 1 MR Oq|y|ms c 1 MR|y|", "HD Oq|NS|"),
        ("ms b 1 MX|y|", "CLIENT_ERROR invalid mode for ms M token|"),
        ("ms b 2 s s|yy|mn|", "CLIENT_ERROR duplicate flag|MN|"),
        ("ms b 2|yyy|", "CLIENT_ERROR bad data chunk|ERROR|"),
        ("ms Zm9v 3 b k|bar|", "HD kZm9v b|"),
        ("mg foo v k|", "VA 3 kfoo|bar|"),
        ("mg Zm9v v k b|", "VA 3 kZm9v b|bar|"),
        ("me none|", "EN|"),
    ]);
}

#[test]
fn meta_versions_and_stampedes() {
    check(&[
        ("ms a 1 E100|1|", "HD|"),
        ("mg a c v|", "VA 1 c100|1|"),
        ("ms a 1 C99|2|", "EX|"),
        ("ms none 1 C99|2|", "NF|"),
        ("ms a 1 C100 E101 c|2|", "HD c101|"),
        ("md a C100|", "EX|"),
        // Stale: the first who asks wins, the others see that somebody has.
        ("md a I T30 E102|", "HD|"),
        ("mg a v c t|", "VA 1 c102 t30 X W|2|"),
        ("mg a v|", "VA 1 Z X|2|"),
        ("ms a 1 C101 I E103|3|", "HD|"),
        ("mg a v c t|", "VA 1 c103 t30 Z X|3|"),
        ("ms a 1 C103|4|", "HD|"),
        ("mg a v t|", "VA 1 t-1|4|"),
        // About to expire.
        ("ms a 1 T20|5|", "HD|"),
        ("mg a R10|", "HD|"),
        ("mg a R30 v|", "VA 1 W|5|"),
        ("mg a R30 v|", "VA 1 Z|5|"),
        // Not there.
        ("mg new N30 v t|", "VA 0 t30 W||"),
        ("mg new N30 v|", "VA 0 Z||"),
        ("ms new 1|x|mg new v|", "HD|VA 1|x|"),
        ("md new q|", ""),
        ("md new|md new q|", "NF|"),
        ("set f 9 0 3|abc|md f x|mg f s v f|", "STORED|HD|VA 0 s0 f0||"),
    ]);
}

#[test]
fn meta_arithmetic() {
    check(&[
        ("ma n|", "NF|"),
        ("ma n q|", ""),
        ("ma n N90 J13 v t|", "VA 2 t90|13|"),
        ("ma n N90 J13 v|", "VA 2|14|"),
        ("ma n D10 MI v|", "VA 2|24|"),
        ("ma n MD D30 v T10 t k|", "VA 1 t10 kn|0|"),
        ("ma n M-|", "HD|"),
        ("ma n MX|", "CLIENT_ERROR invalid mode for ma M token|"),
        ("ma n E50 c|", "HD c50|"),
        ("ma n C49|", "EX|"),
        ("ma n C50 q|mg n v|", "VA 1|2|"),
        ("set s 0 0 1|x|ma s|", "STORED|CLIENT_ERROR cannot increment or decrement non-numeric value|"),
    ]);
}

/// A line about keys is of any length, in bounded memory.
#[test]
fn many_keys_are_answered_as_they_come() {
    let mut conversation = begin();
    conversation.advance(b"set key:0 0 0 1\r\nv\r\n", 0);
    conversation.advance(b"get", 0);
    for round in 0..2_000 {
        let keys: String = (0..20).map(|n| format!(" key:{}", (round + n) % 100)).collect();
        let mut next = conversation.advance(keys.as_bytes(), 0);
        while next == Next::Yield {
            next = conversation.advance(b"", 0);
        }
        assert_eq!(next, Next::Receive);
    }
    conversation.advance(b" key:0\r\nmn\r\n", 0);
    let replies = text(&conversation.replies);
    assert_eq!(replies.matches("VALUE key:0 0 1\r\nv\r\n").count(), 401);
    assert!(replies.ends_with("\r\nEND\r\nMN\r\n") && replies.matches("END").count() == 1, "{}", replies.len());
    // Spaces without end, and a key that is too long behind many.
    let mut conversation = begin();
    for _ in 0..1_000 {
        assert_eq!(conversation.advance(&[b' '; 100], 0), Next::Receive);
        conversation.advance(b"get ", 0);
        conversation.advance(&[b' '; 10_000], 0);
        conversation.advance(b"\r\n", 0);
    }
    assert_eq!(text(&conversation.replies), "ERROR\r\n".repeat(1_000));
    let mut conversation = begin();
    conversation.advance("get ".repeat(1_000).as_bytes(), 0);
    conversation.advance(&[b'k'; 3_000], 0);
    conversation.advance(b" x\r\nmn\r\n", 0);
    assert!(text(&conversation.replies).ends_with("CLIENT_ERROR bad command line format\r\nMN\r\n"));
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let key = prop_oneof!["[abc]", "[abc]", "k{0,252}"];
    let length = prop_oneof![0..40usize, 16_000..17_000usize, 60_000..140_000usize, Just(1 << 20)];
    let storing = prop_oneof![Just("set"), Just("add"), Just("append"), Just("prepend"), Just("cas"), Just("ms")];
    let store =
        (storing, key.clone(), length, any::<bool>(), any::<u8>()).prop_map(|(verb, key, length, quiet, byte)| {
            let mut bytes = match verb {
                "ms" => format!("ms {key} {length} c F{byte} Ox{}\r\n", if quiet { " q" } else { "" }),
                "cas" => format!("cas {key} {byte} 0 {length} 7\r\n"),
                _ => format!("{verb} {key} {byte} 0 {length}{}\r\n", if quiet { " noreply" } else { "" }),
            }
            .into_bytes();
            bytes.resize(bytes.len() + length, b'0' + byte % 10);
            bytes.extend(b"\r\n");
            bytes
        });
    let line = (
        prop_oneof![
            Just("get"),
            Just("gets"),
            Just("gat 0"),
            Just("delete"),
            Just("mg"),
            Just("md"),
            Just("ma"),
            Just("touch"),
            Just("incr"),
            Just("nothing"),
            Just("mn"),
            Just("verbosity"),
            Just("version"),
            Just("me"),
            Just("flush_all"),
        ],
        proptest::collection::vec(key, 0..4),
        prop_oneof![
            Just(""),
            Just(" 500"),
            Just(" v k s c"),
            Just(" N300 v"),
            Just(" I"),
            Just(" noreply"),
            Just(" R5 q")
        ],
    )
        .prop_map(|(verb, keys, rest)| format!("{verb} {}{rest}\r\n", keys.join(" ")).into_bytes());
    let many = (1..400usize).prop_map(|count| format!("get{}\r\n", " a b none".repeat(count)).into_bytes());
    let foreign = (any::<u8>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..300))
        .prop_map(|(opcode, opaque, body)| binary(opcode, opaque, &body).0);
    prop_oneof![8 => store, 12 => line, 2 => many, 1 => foreign]
}

/// Well-formed requests, of which some bytes may be damaged.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (proptest::collection::vec(request(), 1..12), prop_oneof![3 => Just(vec![]), 1 => damage]).prop_map(
        |(requests, damage)| {
            let mut bytes = requests.concat();
            for (place, byte) in damage {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes
        },
    )
}

/// Versions count how often somebody asked, which includes what was asked again; times go on; and an item's size has its share
/// of its shard's index, which is the smaller the more keys the shard has by its hash.
fn comparable(replies: &[u8]) -> String {
    text(replies).lines().map(without_versions).collect()
}

fn without_versions(line: &str) -> String {
    let is_version = |word: &&str| {
        word.trim_start_matches('c').len() >= 10
            && word.trim_start_matches('c').bytes().all(|byte| byte.is_ascii_digit())
    };
    let varies =
        |word: &&str| is_version(word) || ["cas=", "la=", "exp=", "size="].iter().any(|field| word.starts_with(field));
    line.split(' ').filter(|word| !varies(word)).collect::<Vec<_>>().join(" ") + "\n"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cuts_and_obstacles_change_nothing(
        input in conversation(),
        plan in proptest::collection::vec((prop_oneof![1..4usize, 1..100usize, 1_000..40_000usize], obstacle()), 1..10),
    ) {
        let expect = comparable(&begin().run(&input, || (limits::IO_BUFFER_BYTES, Obstacle::None)));
        let found = comparable(&begin().run(&input, in_turn(&plan)));
        prop_assert!(found == expect, "{}", first_difference(&found, &expect));
    }

    #[test]
    fn a_full_cache_serves_as_well(input in conversation(), cut in 1..20_000usize) {
        Conversation::begin(Protocol::Memcached).run(&input, || (cut, Obstacle::None));
    }
}

#[test]
fn arbitrary_bytes_end_nothing_but_their_connection() {
    let words: &[&[u8]] = &[
        b"get ",
        b"gets ",
        b"gat ",
        b"set ",
        b"add ",
        b"replace ",
        b"append ",
        b"prepend ",
        b"cas ",
        b"incr ",
        b"decr ",
        b"touch ",
        b"delete ",
        b"flush_all",
        b"version",
        b"verbosity ",
        b"quit",
        b"mg ",
        b"ms ",
        b"md ",
        b"ma ",
        b"me ",
        b"mn",
        b"a",
        b"b",
        b" ",
        b" ",
        b" ",
        b"0",
        b"1",
        b"5",
        b"-1",
        b"2592001",
        b"4294967296",
        b"18446744073709551615",
        b" noreply",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b" v",
        b" k",
        b" b",
        b" q",
        b" s",
        b" f",
        b" t",
        b" h",
        b" N300",
        b" T500",
        b" C",
        b" I",
        b" MA",
        b" MD",
        b" Oabc",
        b" R5",
        b"YQ==",
        b"\0",
        b"\xff",
        b"set a 0 0 5\r\nhello\r\n",
        b"ms b 5 T100\r\nhello\r\n",
        b"\x80\x00\0\x01\0\0\0\0\0\0\0\x01\0\0\x01\x02\0\0\0\0\0\0\0\0k",
        b"\x80",
        b"\x16\x03",
        b"GET / HTTP/1.1",
    ];
    fuzz(Protocol::Memcached, words, comparable);
}

fn first_difference(found: &str, expect: &str) -> String {
    let place = found.bytes().zip(expect.bytes()).position(|(one, other)| one != other);
    let at = place.unwrap_or(found.len().min(expect.len())).saturating_sub(60);
    let part = |text: &str| text.chars().skip(at).take(200).collect::<String>();
    format!("found {:?}, expected {:?}", part(found), part(expect))
}
