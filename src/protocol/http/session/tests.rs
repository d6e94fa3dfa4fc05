//! Whatever comes, in whatever pieces and whatever is in its way, is answered as if it had come at once: random
//! conversations, well-formed and damaged, beside the same ones undisturbed.

use proptest::prelude::*;

use crate::config::limits;
use crate::protocol::front::Protocol;
use crate::protocol::testing::{Conversation, Obstacle, fuzz, in_turn, obstacle};

fn begin() -> Conversation {
    Conversation::begin(Protocol::Http)
}

fn begin_empty() -> Conversation {
    Conversation::with_empty_cache(Protocol::Http)
}

fn converse(input: &[u8]) -> String {
    comparable(&begin_empty().run(input, || (usize::MAX, Obstacle::None)))
}

/// Replies without what may differ: the time, and whether a client is told to go on that has sent its body already.
fn comparable(replies: &[u8]) -> String {
    let text: String = replies.iter().map(|byte| *byte as char).collect();
    let text = text.replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    let mut parts = text.split("Date: ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.get("Thu, 01 Jan 1970 00:16:40 GMT\r\n".len()..).unwrap_or(part))
}

/// The status lines of the replies, without texts.
fn statuses(input: &[u8]) -> Vec<u16> {
    let replies = converse(input);
    replies.split("HTTP/1.1 ").skip(1).map(|reply| reply[..3].parse().unwrap()).collect()
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

fn put(path: &str, value: &str) -> String {
    request("PUT", path, &format!("Content-Length: {}\r\n", value.len()), value)
}

#[test]
fn a_value_is_put_read_counted_and_deleted() {
    let input = [
        put("/kv/a%2fb", "41"),
        request("GET", "/kv/a/b", "", ""),
        request("POST", "/kv/a/b", "", ""),
        request("HEAD", "/kv/a/b", "", ""),
        put("/kv/a/b?ttl=100", "x"),
        request("DELETE", "/kv/a/b", "", ""),
        request("DELETE", "/kv/a/b", "", ""),
        request("GET", "/kv/a/b", "Connection: close\r\n", ""),
    ];
    let replies = converse(input.concat().as_bytes());
    let bytes = "Content-Type: application/octet-stream\r\nX-Content-Type-Options: nosniff\r\n\
                 Cross-Origin-Resource-Policy: same-origin\r\n";
    let text = bytes.replace("application/octet-stream", "text/plain; charset=utf-8");
    let expect = [
        "HTTP/1.1 201 Created\r\nETag: \"TAG\"\r\nContent-Length: 0\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\nETag: \"TAG\"\r\n{bytes}Content-Length: 2\r\n\r\n41"),
        &format!("HTTP/1.1 200 OK\r\nETag: \"TAG\"\r\n{text}Content-Length: 2\r\n\r\n42"),
        &format!("HTTP/1.1 200 OK\r\nETag: \"TAG\"\r\n{bytes}Content-Length: 2\r\n\r\n"),
        "HTTP/1.1 204 No Content\r\nETag: \"TAG\"\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        &format!("HTTP/1.1 404 Not Found\r\n{text}Content-Length: 12\r\n\r\nno such key\n"),
        &format!("HTTP/1.1 404 Not Found\r\nConnection: close\r\n{text}Content-Length: 12\r\n\r\nno such key\n"),
    ];
    let mut tagless = String::new();
    let mut parts = replies.split("ETag: \"");
    tagless.push_str(parts.next().unwrap());
    parts.for_each(|part| tagless.push_str(&format!("ETag: \"TAG{}", &part[16..])));
    assert_eq!(tagless, expect.concat());
}

#[test]
fn conditions_and_ranges() {
    // The XXH3 of "hello".
    let tag = "\"9555e8555c62dcfd\"";
    for (method, headers, status) in [
        ("GET", format!("If-None-Match: {tag}\r\n"), 304),
        ("GET", format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        ("GET", "If-None-Match: *\r\n".into(), 304),
        ("GET", "If-None-Match: \"0000000000000000\"\r\n".into(), 200),
        ("GET", format!("If-Match: {tag}\r\n"), 200),
        ("GET", format!("If-Match: W/{tag}\r\n"), 412),
        ("GET", "Range: bytes=1-2\r\n".into(), 206),
        ("HEAD", "Range: bytes=1-2\r\n".into(), 200),
        ("GET", "Range: bytes=5-\r\n".into(), 416),
        ("GET", "Range: bytes=0-1,3-4\r\n".into(), 200),
        ("GET", format!("Range: bytes=1-2\r\nIf-Range: {tag}\r\n"), 206),
        ("GET", "Range: bytes=1-2\r\nIf-Range: \"0000000000000000\"\r\n".into(), 200),
        ("GET", "Range: bytes=1-2\r\nIf-Range: Wed, 21 Oct 2015 07:28:00 GMT\r\n".into(), 200),
        ("DELETE", "If-Match: \"0000000000000000\"\r\n".into(), 412),
        ("DELETE", format!("If-Match: {tag}\r\n"), 204),
        ("PUT", "Content-Length: 0\r\nIf-None-Match: *\r\n".into(), 412),
        ("PUT", format!("Content-Length: 0\r\nIf-Match: {tag}\r\n"), 204),
        ("POST", format!("If-None-Match: {tag}\r\n"), 412),
        ("POST", "".into(), 409),
        ("GET", "If-Match: x\r\n".into(), 400),
    ] {
        let input = put("/kv/k", "hello") + &request(method, "/kv/k", &headers, "");
        assert_eq!(statuses(input.as_bytes()), [201, status], "{method} {headers:?}");
    }
    let input = put("/kv/k", "hello") + &request("GET", "/kv/k", "Range: bytes=1-2\r\n", "");
    let replies = converse(input.as_bytes());
    assert!(replies.contains("\r\nContent-Range: bytes 1-2/5\r\n") && replies.ends_with("\r\n\r\nel"), "{replies}");
    // On what is not there.
    for (method, headers, status) in [
        ("GET", "If-Match: *\r\n", 404),
        ("DELETE", "If-Match: *\r\n", 412),
        ("PUT", "Content-Length: 0\r\nIf-Match: *\r\n", 412),
        ("PUT", "Content-Length: 0\r\nIf-None-Match: *\r\n", 201),
        ("POST", "If-None-Match: *\r\n", 200),
    ] {
        assert_eq!(statuses(request(method, "/kv/none", headers, "").as_bytes()), [status], "{method} {headers:?}");
    }
}

#[test]
fn what_is_not_served_says_why_and_the_connection_goes_on() {
    let get = request("GET", "/healthz", "", "");
    for (input, status) in [
        (request("GET", "/", "", ""), 404),
        (request("PUT", "/kv/k", "", ""), 411),
        (request("PATCH", "/kv/k", "", ""), 405),
        (request("OPTIONS", "/kv/k", "Origin: http://evil\r\n", ""), 405),
        (request("BREW", "/kv/k", "", ""), 501),
        (request("POST", "/metrics", "", ""), 405),
        (request("GET", "/kv/%zz", "", ""), 400),
        (request("GET", "/kv/k?ttl=1", "", ""), 400),
        (request("PUT", "/kv/k?tll=1", "Content-Length: 1\r\n", "x"), 400),
        (request("POST", "/kv/k", "Content-Length: 1\r\n", "x"), 400),
        (request("GET", "/kv/k", "Content-Length: 3\r\n", "GET"), 400),
        (request("DELETE", "/kv/k", "Transfer-Encoding: chunked\r\n", "3\r\nGET\r\n0\r\n\r\n"), 400),
        (request("PUT", "/kv/k", "Content-Length: 1\r\nContent-Range: bytes 0-0/2\r\n", "x"), 400),
        (request("PUT", "/kv/k", "Content-Length: 1\r\nOrigin: http://evil\r\n", "x"), 403),
        (request("PUT", "/kv/k", "Content-Length: 1\r\nOrigin: null\r\n", "x"), 403),
        (request("PUT", "/kv/k", "Content-Length: 1\r\nOrigin: http://localhost\r\n", "x"), 201),
        (request("GET", "/kv/k", "Expect: a miracle\r\n", ""), 417),
        (get.replace("localhost", "evil.example"), 421),
    ] {
        assert_eq!(statuses((input.clone() + &get).as_bytes()), [status, 200], "{input:?}");
    }
}

#[test]
fn what_is_malformed_ends_the_connection() {
    let get = request("GET", "/healthz", "", "");
    for input in [
        request("PUT", "/kv/k", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        request("PUT", "/kv/k", "Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
        request("PUT", "/kv/k", "Content-Length: 5, 5\r\n", "hello"),
        request("PUT", "/kv/k", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        request("PUT", "/kv/k", "Transfer-Encoding: chunked\r\n", "5;x\r\nhello\r\n0\r\n\r\n"),
        request("PUT", "/kv/k", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX: y\r\n\r\n"),
        request("GET", "/kv/k", "X: y\r\n z\r\n", ""),
        get.replace("\r\n", "\n"),
        "*1\r\n$4\r\nPING\r\n".into(),
        "\x16\x03\x01\x02\0".into(),
        " GET / HTTP/1.1\r\n".into(),
    ] {
        let found = statuses((input.clone() + &get).as_bytes());
        assert_eq!(found, [400], "{input:?}");
        let reply = converse((input + &get).as_bytes());
        assert!(reply.contains("\r\nConnection: close\r\n"));
    }
}

#[test]
fn who_waits_for_100_is_told() {
    let input = request("PUT", "/kv/k", "Content-Length: 1\r\nExpect: 100-continue\r\n", "");
    let mut conversation = begin();
    conversation.advance(input.as_bytes(), 0);
    assert_eq!(conversation.replies, b"HTTP/1.1 100 Continue\r\n\r\n");
    conversation.advance(b"x", 0);
    assert!(conversation.replies[25..].starts_with(b"HTTP/1.1 201 "));
    // Whoever is refused is not.
    let input = input.replace("Content-Length: 1", "Content-Length: 999999999999");
    let replies = converse(input.as_bytes());
    assert!(replies.starts_with("HTTP/1.1 413 ") && replies.contains("\r\nConnection: close\r\n"), "{replies}");
}

#[test]
fn a_body_that_is_not_taken_is_read_to_its_end_or_for_a_while() {
    let get = request("GET", "/healthz", "", "");
    let small = request("PUT", "/nothing", "Content-Length: 100000\r\n", &"x".repeat(100_000)) + &get;
    assert_eq!(statuses(small.as_bytes()), [404, 200]);
    let large = request("PUT", "/kv/k", "Content-Length: 999999999999\r\n", &get.repeat(100));
    assert_eq!(statuses(large.as_bytes()), [413]);
    let chunks = format!("ffff\r\n{}\r\n", "x".repeat(0xffff)).repeat(20) + "0\r\n\r\n";
    let chunked = request("PUT", "/nothing", "Transfer-Encoding: chunked\r\n", &chunks) + &get;
    assert_eq!(statuses(chunked.as_bytes()), [404]);
}

#[test]
fn old_clients() {
    let old = |headers: &str| format!("GET /healthz HTTP/1.0\r\n{headers}\r\n");
    assert_eq!(statuses(old("").repeat(2).as_bytes()), [200]);
    let kept = old("Connection: keep-alive\r\n").repeat(2);
    assert_eq!(statuses(kept.as_bytes()), [200, 200]);
    assert!(converse(kept.as_bytes()).contains("Connection: keep-alive\r\n"));
    // Some send an empty line behind a body.
    let input = put("/kv/k", "v") + "\r\n" + &request("GET", "/kv/k", "", "");
    assert_eq!(statuses(input.as_bytes()), [201, 200]);
}

#[test]
fn metrics_in_both_formats() {
    let page = converse(request("GET", "/metrics", "", "").as_bytes());
    assert!(page.contains(
        "\n# TYPE kv_cache_http_requests_processed_total counter\nkv_cache_http_requests_processed_total 1\n"
    ));
    assert!(!page.contains("# EOF"));
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let page = converse(request("GET", "/metrics", accept, "").as_bytes());
    assert!(
        page.contains("\n# TYPE kv_cache_http_requests_processed counter\nkv_cache_http_requests_processed_total 1\n")
    );
    assert!(page.ends_with("\n# EOF\n") && page.contains("Content-Type: application/openmetrics-text; version=1.0.0"));
}

fn key() -> impl Strategy<Value = String> {
    (0..4).prop_map(|n| format!("/kv/key:{n}"))
}

/// From nothing to 200 KB, most often around the sizes where a body changes where it lies.
fn value() -> impl Strategy<Value = String> {
    let around = |size: usize| size - 3..size + 3;
    let size =
        prop_oneof![4 => 0..200usize, 3 => around(limits::STREAMED_ARGUMENT_MIN_BYTES), 1 => 33_000..200_000usize];
    (size, any::<bool>()).prop_map(|(size, smuggles)| match smuggles {
        true => "\r\n0\r\n\r\nDELETE /kv/key:1 HTTP/1.1\r\nHost: h\r\n\r\n".chars().cycle().take(size).collect(),
        false => "1".repeat(size),
    })
}

fn chunked(value: &str, size: usize) -> String {
    let chunks = value.as_bytes().chunks(size);
    let chunks = chunks.map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()));
    chunks.collect::<String>() + "0\r\n\r\n"
}

fn any_request() -> impl Strategy<Value = String> {
    let headers = prop_oneof![
        8 => Just(""),
        1 => Just("If-None-Match: *\r\n"),
        1 => Just("If-Match: *\r\n"),
        1 => Just("Range: bytes=3-17000\r\n"),
        1 => Just("Expect: 100-continue\r\n"),
        1 => Just("Origin: http://evil\r\n"),
    ];
    let method =
        prop_oneof![4 => Just("GET"), 1 => Just("HEAD"), 1 => Just("DELETE"), 1 => Just("POST"), 1 => Just("TRACE")];
    let path = prop_oneof![8 => key(), 1 => Just("/none".to_owned()), 1 => Just("/kv/key:1?ttl=50".to_owned())];
    prop_oneof![
        3 => (key(), headers.clone(), value()).prop_map(|(path, headers, value)| {
            request("PUT", &path, &format!("{headers}Content-Length: {}\r\n", value.len()), &value)
        }),
        2 => (path.clone(), headers.clone(), value(), 1..40_000usize).prop_map(|(path, headers, value, size)| {
            request("PUT", &path, &format!("{headers}Transfer-Encoding: chunked\r\n"), &chunked(&value, size))
        }),
        4 => (method, path, headers).prop_map(|(method, path, headers)| request(method, &path, headers, "")),
    ]
}

/// What damages a conversation: bytes of this kind, put in or in place of others, somewhere.
fn damage() -> impl Strategy<Value = (prop::sample::Index, usize, &'static str)> {
    let pieces = [
        "\r",
        "\n",
        "\r\n",
        "\r\n\r\n",
        ":",
        " ",
        "\0",
        "0",
        "f",
        ";",
        "%",
        "Content-Length: 3\r\n",
        "HTTP/1.1",
        "Transfer-Encoding: chunked\r\n",
        "Connection: close\r\n",
        "\u{e9}",
        "Host: x\r\n",
        "",
    ];
    (any::<prop::sample::Index>(), 0..3usize, prop::sample::select(pieces.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn pieces_and_obstacles_change_no_reply(
        requests in prop::collection::vec(any_request(), 1..10),
        damages in prop_oneof![prop::collection::vec(damage(), 0..1), prop::collection::vec(damage(), 0..4)],
        plan in prop::collection::vec((prop_oneof![1..40usize, 1..limits::IO_BUFFER_BYTES], obstacle()), 1..64),
    ) {
        let mut input = requests.concat().into_bytes();
        for (place, taken, piece) in damages {
            let at = place.index(input.len());
            let end = (at + taken).min(input.len());
            input.splice(at..end, piece.bytes());
        }
        (0..4).for_each(|n| input.extend(request("GET", &format!("/kv/key:{n}"), "", "").bytes()));
        let undisturbed = comparable(&begin().run(&input, || (usize::MAX, Obstacle::None)));
        let disturbed = begin().run(&input, in_turn(&plan));
        prop_assert_eq!(undisturbed, comparable(&disturbed));
    }
}

#[test]
fn arbitrary_bytes_end_nothing_but_their_connection() {
    let words: &[&[u8]] = &[
        b"GET ",
        b"PUT ",
        b"POST ",
        b"/kv/a",
        b"/metrics",
        b" HTTP/1.1\r\n",
        b"Host: localhost\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"Content-Length: ",
        b"5",
        b"0",
        b"Transfer-Encoding: chunked\r\n",
        b"a\r\n",
        b"%",
        b"?ttl=",
        b"If-Match: ",
        b"\"",
        b"W/",
        b"Range: bytes=",
        b"-",
        b",",
        b"Authorization: Basic ",
        b"=",
        b"Expect: 100-continue\r\n",
        b"\0",
        b"\xff",
        b"Connection: close\r\n",
        b"Origin: http://",
        b"[::1]",
        b":",
        b" ",
        b"\t",
        b"ffffffffffffffff",
    ];
    fuzz(Protocol::Http, words, comparable);
}
