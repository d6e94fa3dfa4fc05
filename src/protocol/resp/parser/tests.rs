//! The parser against requests cut anywhere, bytes changed anywhere, and numbers that are none.

use super::*;
use proptest::prelude::*;

const BOUNDS: Bounds = Bounds { arguments: limits::ARGUMENTS_MAX, argument_bytes: 512 << 20, unauthenticated: false };

fn words(args: &Args, input: &[u8]) -> Vec<Vec<u8>> {
    args.view(input, 0, args.len()).iter().map(<[u8]>::to_vec).collect()
}

/// Parses one request that comes in pieces, as the session would.
fn parse_in_pieces(pieces: &[&[u8]]) -> Result<Option<Vec<Vec<u8>>>, ProtocolError> {
    let (mut parser, mut args, mut input) = (Parser::default(), Args::default(), Vec::new());
    for piece in pieces {
        let mut piece = *piece;
        loop {
            let taken = parser.stream(piece).unwrap();
            if !parser.is_streaming() {
                input.extend_from_slice(&piece[taken..]);
                piece = b"";
            }
            if parser.next(&input, &BOUNDS, &mut args)? == Parsed::Request {
                return Ok(Some(words(&args, &input)));
            }
            if !parser.is_streaming() {
                break;
            }
            piece = if piece.is_empty() { &[] } else { &piece[taken..] };
            let rest = input.split_off(parser.pos());
            let taken = parser.stream(&rest).unwrap();
            input.extend_from_slice(&rest[taken..]);
            if rest.is_empty() && piece.is_empty() {
                break;
            }
        }
    }
    Ok(None)
}

fn check(input: &[u8], expect: &[&str]) {
    let got = parse_in_pieces(&[input]).unwrap().expect("a complete request");
    let got: Vec<_> = got.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    assert_eq!(got, expect);
    for cut in 0..=input.len() {
        let (a, b) = input.split_at(cut);
        assert_eq!(parse_in_pieces(&[a, b]).unwrap().map(|words| words.len()), Some(expect.len()), "cut at {cut}");
    }
}

fn refuse(input: &[u8], expect: &str) {
    assert_eq!(parse_in_pieces(&[input]).unwrap_err().to_string(), expect, "{:?}", input.escape_ascii().to_string());
}

#[test]
fn requests() {
    check(b"*1\r\n$4\r\nPING\r\n", &["PING"]);
    check(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n", &["SET", "k", ""]);
    check(b"PING\r\n", &["PING"]);
    check(b"  SET a  b\n", &["SET", "a", "b"]);
    check(b"*0\r\n", &[]);
    check(b"*-1\r\n", &[]);
    check(b"\r\n", &[]);
}

#[test]
fn inline_quotes() {
    check(b"SET k \"a b\\x41\\n\\\"\"\r\n", &["SET", "k", "a bA\n\""]);
    check(b"SET k 'it\\'s \\n'\r\n", &["SET", "k", "it's \\n"]);
    check(b"SET pre\"fix\" ''\r\n", &["SET", "prefix", ""]);
    refuse(b"SET k \"a\r\n", "unbalanced quotes in request");
    refuse(b"SET k \"a\"b\r\n", "unbalanced quotes in request");
}

#[test]
fn odd_numbers_are_refused() {
    for text in ["+5", "05", "-0", " 5", "", "5 ", "0x5", "99999999999999999999", "\0", "--1", "-"] {
        refuse(format!("*{text}\r\n").as_bytes(), "invalid multibulk length");
        refuse(format!("*1\r\n${text}\r\n").as_bytes(), "invalid bulk length");
    }
    let too_many = "invalid multibulk length: a request may have 1048576 arguments (max-arguments)";
    refuse(b"*1048577\r\n", too_many);
    refuse(b"*1\r\n$-1\r\n", "invalid bulk length");
    refuse(b"*1\r\n$536870913\r\n", "invalid bulk length");
}

#[test]
fn wrong_types_and_terminators_are_refused() {
    refuse(b"*1\r\n:1\r\n", "expected '$', got ':'");
    refuse(b"*1\r\n*1\r\n$1\r\nx\r\n", "expected '$', got '*'");
    refuse(b"*1\r\n$4\r\nPINGxx", "expected CRLF after bulk");
    refuse(&[b'x'; limits::INLINE_MAX_BYTES], "too big inline request");
}

#[test]
fn a_large_argument_is_streamed_aside() {
    let value = vec![b'v'; limits::STREAMED_ARGUMENT_MIN_BYTES + 7];
    let mut input = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).into_bytes();
    let header = input.len();
    input.extend_from_slice(&value);
    input.extend_from_slice(b"\r\n");
    for cut in (0..header + 40).chain(input.len() - 40..input.len()) {
        let (a, b) = input.split_at(cut);
        let got = parse_in_pieces(&[a, b]).unwrap().expect("complete");
        assert_eq!(got[2], value, "cut at {cut}");
    }
}

#[test]
fn a_promise_allocates_nothing() {
    let (mut parser, mut args) = (Parser::default(), Args::default());
    let input = b"*65536\r\n$536870912\r\n";
    assert_eq!(parser.next(input, &BOUNDS, &mut args), Ok(Parsed::Incomplete));
    assert_eq!((parser.stream.is_none(), args.capacity_bytes()), (true, 0));
}

proptest! {
    #[test]
    fn any_request_survives_any_cuts(
        request in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut input = format!("*{}\r\n", request.len()).into_bytes();
        for word in &request {
            input.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            input.extend_from_slice(word);
            input.extend_from_slice(b"\r\n");
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut last = 0;
        for cut in cuts {
            pieces.push(&input[last..cut]);
            last = cut;
        }
        pieces.push(&input[last..]);
        prop_assert_eq!(parse_in_pieces(&pieces).unwrap(), Some(request));
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let (mut parser, mut args) = (Parser::default(), Args::default());
        while let Ok(Parsed::Request) = parser.next(&input, &BOUNDS, &mut args) {
            args.clear();
            if parser.pos() == input.len() { break }
        }
    }
}
