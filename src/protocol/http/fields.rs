//! The values of headers: entity tags, ranges, lists of words, credentials. It must not know what they are asked for.

use std::ops::Range;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// The entity tag of a value is the XXH3 of its bytes, as DIGEST tells it: 16 digits.
pub type Digest = u64;

/// What If-Match and If-None-Match list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`
    Any,
    /// Those that any value could have, and whether each is weak.
    Listed(Vec<(Digest, bool)>),
}

impl Tags {
    /// Adds what another line of the header has. `None` when it is no list of tags.
    #[must_use]
    pub fn read(known: Option<Tags>, text: &str) -> Option<Tags> {
        if text.trim() == "*" {
            return known.is_none().then_some(Tags::Any);
        }
        let mut listed = match known {
            None => Vec::new(),
            Some(Tags::Listed(listed)) => listed,
            Some(Tags::Any) => return None,
        };
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (is_weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let (tag, after) = quoted.strip_prefix('"')?.split_once('"')?;
            listed.extend(digest(tag).map(|digest| (digest, is_weak)));
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return None,
            };
        }
        Some(Tags::Listed(listed))
    }

    /// Whether one of them is the tag of what there is: `None` if nothing is there, or it is too large for a tag.
    /// `weakly`: as If-None-Match compares.
    pub fn match_one(&self, exists: bool, tag: Option<Digest>, weakly: bool) -> bool {
        match self {
            Tags::Any => exists,
            Tags::Listed(listed) => listed.iter().any(|(digest, weak)| Some(*digest) == tag && (weakly || !weak)),
        }
    }
}

fn digest(tag: &str) -> Option<Digest> {
    let is_ours = tag.len() == 16 && tag.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then(|| u64::from_str_radix(tag, 16).ok()).flatten()
}

/// The one range that a Range header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=2-`, `bytes=2-5`: the last one included.
    From(u64, Option<u64>),
    /// `bytes=-5`
    Last(u64),
}

impl ByteRange {
    /// `None` for what is ignored: other units, several ranges, what is malformed.
    pub fn parse(text: &str) -> Option<ByteRange> {
        let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
        match (number(first), number(last)) {
            (Some(first), Some(last)) => (first <= last).then_some(ByteRange::From(first, Some(last))),
            (Some(first), None) if last.is_empty() => Some(ByteRange::From(first, None)),
            (None, Some(last)) if first.is_empty() => Some(ByteRange::Last(last)),
            _ => None,
        }
    }

    /// The places in a value of this length; `None` when there are none: 416.
    pub fn of(self, length: usize) -> Option<Range<usize>> {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let range = match self {
            ByteRange::From(first, last) => {
                place(first)..last.map_or(length, |last| place(last).saturating_add(1).min(length))
            }
            ByteRange::Last(count) => length.saturating_sub(place(count))..length,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Digits and nothing else, as many as fit.
pub fn number(text: &str) -> Option<u64> {
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

/// The words between commas.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// The seconds that Cache-Control gives a value to live: from 1 on.
pub fn max_age(text: &str) -> Option<i64> {
    let mut ages =
        words(text).filter_map(|word| word.split_once('=')).filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
    let seconds = ages.next()?.1.trim_matches('"');
    number(seconds).and_then(|seconds| i64::try_from(seconds).ok()).filter(|seconds| *seconds > 0)
}

/// The password in an Authorization header, and the name before it, if there is one. `None` for other schemes.
pub fn credentials(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, given) = text.split_once(' ')?;
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((Vec::new(), given.into()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(given).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((decoded[..colon].into(), decoded[colon + 1..].into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tags() {
        let listed = |text| Tags::read(None, text);
        assert_eq!(listed("*"), Some(Tags::Any));
        assert_eq!(
            listed(r#" "0000000000000001" ,W/"00000000000000ff","other,one" "#),
            Some(Tags::Listed(vec![(1, false), (255, true)]))
        );
        for text in ["x", "\"x", "\"a\" \"b\"", "*, \"a\"", "W\"a\""] {
            assert_eq!(listed(text), None, "{text}");
        }
        assert_eq!(Tags::read(Some(Tags::Any), "\"a\""), None);
        let tags = Tags::Listed(vec![(1, false), (2, true)]);
        assert!(tags.match_one(true, Some(1), false) && tags.match_one(true, Some(2), true));
        assert!(!tags.match_one(true, Some(2), false) && !tags.match_one(true, None, true));
        assert!(Tags::Any.match_one(true, None, false) && !Tags::Any.match_one(false, None, true));
    }

    #[test]
    fn ranges() {
        let range = |text, length| ByteRange::parse(text).map(|range| range.of(length));
        for (text, expect) in [
            ("bytes=0-0", Some(Some(0..1))),
            ("bytes=2-", Some(Some(2..10))),
            ("bytes=2-99999999999999999999", None),
            ("bytes=2-18446744073709551615", Some(Some(2..10))),
            ("bytes=-3", Some(Some(7..10))),
            ("bytes=-30", Some(Some(0..10))),
            ("bytes=-0", Some(None)),
            ("bytes=10-", Some(None)),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("bytes=+1-2", None),
            ("bytes=-", None),
            ("bits=0-1", None),
        ] {
            assert_eq!(range(text, 10), expect, "{text}");
        }
        assert_eq!(range("bytes=-5", 0), Some(None));
    }

    #[test]
    fn ages_and_credentials() {
        assert_eq!(max_age("public, Max-Age=60"), Some(60));
        assert_eq!(max_age("max-age=\"5\""), Some(5));
        for text in ["max-age=0", "no-cache", "max-age=-1", "s-maxage=5", "max-age"] {
            assert_eq!(max_age(text), None, "{text}");
        }
        let of = |name: &str, password: &str| Some((name.as_bytes().to_vec(), password.as_bytes().to_vec()));
        assert_eq!(credentials("Bearer secret"), of("", "secret"));
        assert_eq!(credentials("basic ZGVmYXVsdDpzOmU="), of("default", "s:e"));
        for text in ["Basic !", "Basic c2VjcmV0", "Digest x", "secret", ""] {
            assert_eq!(credentials(text), None, "{text}");
        }
    }
}
