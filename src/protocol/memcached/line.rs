//! One line of memcached's protocol as a request. It must not know what the request does, nor whether its data has come.
//!
//! The format is that of memcached's `doc/protocol.txt`; what is no request is refused in the words of memcached 1.6.

use memchr::memchr;

use super::answer;
use super::flags::Flags;
use crate::base::clock::UnixMillis;
use crate::config::limits;
use crate::store::shard::Expiry;

/// What a line asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    Get,
    Gets,
    Gat,
    Gats,
    Set,
    Add,
    Replace,
    Append,
    Prepend,
    Cas,
    Increment,
    Decrement,
    Touch,
    Delete,
    Flush,
    Stats,
    /// `stats reset`, and `stats cachedump`: they take more than to be told figures.
    StatsReset,
    StatsKeys,
    Version,
    Verbosity,
    Quit,
    /// Somebody speaks HTTP.
    Foreign,
    /// Somebody speaks memcached's binary protocol; `flags` are what names the request, `number` what it is.
    Binary,
    MetaGet,
    MetaSet,
    MetaDelete,
    MetaArithmetic,
    MetaNoop,
    MetaDebug,
    /// Nothing: it is answered with what is wrong.
    #[default]
    Refused,
    /// The same, and the value that it meant to replace goes: it would be stale.
    RefusedValue,
}

impl Verb {
    fn of(word: &[u8]) -> Option<Verb> {
        Some(match word {
            b"get" | b"bget" => Verb::Get,
            b"set" => Verb::Set,
            b"mg" => Verb::MetaGet,
            b"ms" => Verb::MetaSet,
            b"gets" => Verb::Gets,
            b"gat" => Verb::Gat,
            b"gats" => Verb::Gats,
            b"add" => Verb::Add,
            b"replace" => Verb::Replace,
            b"append" => Verb::Append,
            b"prepend" => Verb::Prepend,
            b"cas" => Verb::Cas,
            b"incr" => Verb::Increment,
            b"decr" => Verb::Decrement,
            b"touch" => Verb::Touch,
            b"delete" => Verb::Delete,
            b"md" => Verb::MetaDelete,
            b"ma" => Verb::MetaArithmetic,
            b"mn" => Verb::MetaNoop,
            b"me" => Verb::MetaDebug,
            b"flush_all" => Verb::Flush,
            b"stats" => Verb::Stats,
            b"version" => Verb::Version,
            b"verbosity" => Verb::Verbosity,
            b"quit" => Verb::Quit,
            _ => return None,
        })
    }

    /// It is about any number of keys, each of which is answered by itself.
    pub fn is_about_keys(self) -> bool {
        matches!(self, Verb::Get | Verb::Gets | Verb::Gat | Verb::Gats)
    }

    pub fn is_meta(self) -> bool {
        use Verb::*;
        matches!(self, MetaGet | MetaSet | MetaDelete | MetaArithmetic | MetaDebug)
    }

    /// It is about one key, which is its second word.
    pub fn has_key(self) -> bool {
        !matches!(
            self,
            Verb::Flush
                | Verb::Stats
                | Verb::StatsReset
                | Verb::StatsKeys
                | Verb::Version
                | Verb::Verbosity
                | Verb::Quit
                | Verb::Foreign
                | Verb::Binary
                | Verb::MetaNoop
                | Verb::Refused
        )
    }
}

/// What a line says, beside its words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    pub verb: Verb,
    /// `noreply`, or `q`.
    pub quiet: bool,
    /// The clients' own.
    pub flags: u32,
    /// As it is written.
    pub exptime: i64,
    /// The version to compare with, or what is added.
    pub number: u64,
    /// Of a line with data: how long it is.
    pub length: Option<usize>,
    /// Of a meta command.
    pub meta: Flags,
    /// Why it is refused.
    pub refusal: &'static str,
}

impl Line {
    pub fn refused(refusal: &'static str) -> Line {
        Line { refusal, ..Line::default() }
    }
}

/// Words of a line: as many as any command has, and more than are looked at.
pub const WORDS_MAX: usize = 24;

/// The words of a line, as places in the bytes that it lies in.
#[derive(Clone, Copy)]
pub struct Words {
    pub places: [(u32, u32); WORDS_MAX],
    pub count: usize,
    /// There are more.
    pub overflows: bool,
}

impl Words {
    /// Of the line from `from` to `to`.
    #[inline]
    pub fn of(input: &[u8], from: usize, to: usize) -> Words {
        let mut words = Words { places: [(0, 0); WORDS_MAX], count: 0, overflows: false };
        let mut at = from;
        while let Some((start, end)) = next_word(input, at, to) {
            if words.count == WORDS_MAX {
                words.overflows = true;
                break;
            }
            words.places[words.count] = (start as u32, end as u32);
            words.count += 1;
            at = end;
        }
        words
    }

    #[inline]
    pub fn get<'a>(&self, input: &'a [u8], index: usize) -> &'a [u8] {
        let (start, end) = self.places[index];
        &input[start as usize..end as usize]
    }
}

/// The next word from `at` on, before `to`.
#[inline]
pub fn next_word(input: &[u8], at: usize, to: usize) -> Option<(usize, usize)> {
    let line = &input[..to];
    let mut start = at;
    while *line.get(start)? == b' ' {
        start += 1;
    }
    let end = memchr(b' ', &line[start..]).map_or(to, |length| start + length);
    Some((start, end))
}

/// A number without a sign.
pub fn unsigned(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 20 {
        return None;
    }
    word.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { number.checked_mul(10)?.checked_add(digit.into()) }
    })
}

/// One that may have a sign.
pub fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(unsigned(digits)?),
        None => i64::try_from(unsigned(word)?).ok(),
    }
}

pub fn unsigned_32(word: &[u8]) -> Option<u32> {
    u32::try_from(unsigned(word)?).ok()
}

const LONGEST_RELATIVE_SECONDS: i64 = 30 * 24 * 60 * 60;

/// What a time of expiry comes to: never, seconds from now or, of more than thirty days, a Unix time. A negative one has
/// passed.
pub fn expiry(exptime: i64, now: UnixMillis) -> Expiry {
    match exptime {
        0 => Expiry::Never,
        i64::MIN..=-1 => Expiry::At(0),
        1..=LONGEST_RELATIVE_SECONDS => Expiry::At(now + exptime as u64 * 1000),
        _ => Expiry::At((exptime as u64).saturating_mul(1000).min(i64::MAX as u64)),
    }
}

/// A line that is not about keys, whose words these are.
pub fn read(input: &[u8], words: &Words) -> Line {
    let word = |index: usize| words.get(input, index);
    let Some(verb) = (words.count > 0).then(|| Verb::of(word(0))).flatten() else {
        return match words.count {
            0 => Line::refused(answer::ERROR),
            _ if word(0) == b"shutdown" => Line::refused(answer::NO_SHUTDOWN),
            // A request of HTTP, from a page in somebody's browser, say: what follows it must not be read as commands.
            count if word(count - 1).starts_with(b"HTTP/") => Line { verb: Verb::Foreign, ..Line::default() },
            _ => Line::refused(answer::ERROR),
        };
    };
    let line = Line { verb, ..Line::default() };
    match verb {
        Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend => storing(input, words, line, 5),
        Verb::Cas => storing(input, words, line, 6),
        Verb::Increment | Verb::Decrement | Verb::Touch => one_number(input, words, line),
        Verb::Delete => delete(input, words, line),
        Verb::Flush => flush(input, words, line),
        Verb::Verbosity => verbosity(input, words, line),
        Verb::MetaNoop => line,
        Verb::Stats if words.count > 1 && word(1) == b"reset" => Line { verb: Verb::StatsReset, ..line },
        Verb::Stats if words.count > 1 && word(1) == b"cachedump" => Line { verb: Verb::StatsKeys, ..line },
        Verb::MetaGet | Verb::MetaSet | Verb::MetaDelete | Verb::MetaArithmetic | Verb::MetaDebug => {
            super::flags::read(input, words, line)
        }
        _ => line,
    }
}

/// The last word asks for no reply.
fn has_noreply(input: &[u8], words: &Words) -> bool {
    words.get(input, words.count - 1) == b"noreply"
}

fn is_bad_key(key: &[u8]) -> bool {
    key.len() > limits::MEMCACHED_KEY_MAX_BYTES
}

/// VERB KEY FLAGS EXPTIME BYTES [VERSION] [noreply], of `least` words.
fn storing(input: &[u8], words: &Words, line: Line, least: usize) -> Line {
    if words.overflows || !(least..=least + 1).contains(&words.count) {
        return Line::refused(answer::ERROR);
    }
    let quiet = words.count > least && has_noreply(input, words);
    let word = |index: usize| words.get(input, index);
    let bad = Line { quiet, ..Line::refused(answer::BAD_FORMAT) };
    if is_bad_key(word(1)) {
        return bad;
    }
    let (Some(flags), Some(exptime), Some(length)) = (unsigned_32(word(2)), signed(word(3)), length(word(4))) else {
        return bad;
    };
    let number = if line.verb == Verb::Cas { unsigned(word(5)) } else { Some(0) };
    let Some(number) = number else { return bad };
    Line { quiet, flags, exptime, length: Some(length), number, ..line }
}

/// How much data follows; as much as memcached can think of.
pub fn length(word: &[u8]) -> Option<usize> {
    unsigned(word).filter(|length| *length <= i32::MAX as u64 - 2).map(|length| length as usize)
}

/// VERB KEY NUMBER [noreply]
fn one_number(input: &[u8], words: &Words, line: Line) -> Line {
    if words.overflows || !(3..=4).contains(&words.count) {
        return Line::refused(answer::ERROR);
    }
    let quiet = words.count > 3 && has_noreply(input, words);
    let refuse = |text| Line { quiet, ..Line::refused(text) };
    if is_bad_key(words.get(input, 1)) {
        return refuse(answer::BAD_FORMAT);
    }
    let word = words.get(input, 2);
    if line.verb == Verb::Touch {
        let Some(exptime) = signed(word) else { return refuse(answer::BAD_EXPTIME) };
        return Line { quiet, exptime, ..line };
    }
    let Some(number) = unsigned(word) else { return refuse(answer::BAD_DELTA) };
    Line { quiet, number, ..line }
}

/// delete KEY [0] [noreply]: once there was a time to hold the key for.
fn delete(input: &[u8], words: &Words, line: Line) -> Line {
    if words.overflows || !(2..=4).contains(&words.count) {
        return Line::refused(answer::ERROR);
    }
    let quiet = words.count > 2 && has_noreply(input, words);
    let numbers = 2..words.count - usize::from(quiet);
    if numbers.len() > 1 || numbers.into_iter().any(|index| words.get(input, index) != b"0") {
        return Line { quiet, ..Line::refused(answer::BAD_DELETE) };
    }
    if is_bad_key(words.get(input, 1)) {
        return Line { quiet, ..Line::refused(answer::BAD_FORMAT) };
    }
    Line { quiet, ..line }
}

/// verbosity LEVEL [noreply], which changes nothing.
fn verbosity(input: &[u8], words: &Words, line: Line) -> Line {
    if !(2..=3).contains(&words.count) {
        return Line::refused(answer::ERROR);
    }
    let quiet = has_noreply(input, words);
    match unsigned_32(words.get(input, 1)) {
        Some(_) => Line { quiet, ..line },
        None => Line { quiet, ..Line::refused(answer::BAD_FORMAT) },
    }
}

/// flush_all [DELAY] [noreply]
fn flush(input: &[u8], words: &Words, line: Line) -> Line {
    if words.count > 3 {
        return Line::refused(answer::ERROR);
    }
    let quiet = words.count > 1 && has_noreply(input, words);
    let delay = if words.count - usize::from(quiet) > 1 { signed(words.get(input, 1)) } else { Some(0) };
    match delay {
        Some(exptime) => Line { quiet, exptime, ..line },
        None => Line { quiet, ..Line::refused(answer::BAD_EXPTIME) },
    }
}

/// The words of a line about keys before its first one, if it is such a line: what it asks for, and where they end.
#[inline]
pub fn about_keys(input: &[u8], from: usize, to: usize) -> Option<(Line, usize)> {
    let (start, end) = next_word(input, from, to)?;
    let verb = Verb::of(&input[start..end]).filter(|verb| verb.is_about_keys())?;
    let mut line = Line { verb, ..Line::default() };
    if matches!(verb, Verb::Get | Verb::Gets) {
        return Some((line, end));
    }
    let Some((start, end)) = next_word(input, end, to) else { return Some((line, end)) };
    match signed(&input[start..end]) {
        Some(exptime) => line.exptime = exptime,
        None => line.refusal = answer::BAD_EXPTIME,
    }
    Some((line, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Line {
        read(text.as_bytes(), &Words::of(text.as_bytes(), 0, text.len()))
    }

    #[test]
    fn lines_are_read_or_refused_as_memcached_does() {
        let long = "k".repeat(251);
        for (text, refusal) in [
            ("set k 0 0 5", ""),
            ("  set  k  4294967295  -1  0  noreply", ""),
            ("set k 0 0", answer::ERROR),
            ("set k 0 0 5 noreply x", answer::ERROR),
            ("set k -1 0 5", answer::BAD_FORMAT),
            ("set k 4294967296 0 5", answer::BAD_FORMAT),
            ("set k 0 x 5", answer::BAD_FORMAT),
            ("set k 0 0 -1", answer::BAD_FORMAT),
            ("set k 0 0 2147483647", answer::BAD_FORMAT),
            (&format!("set {long} 0 0 5"), answer::BAD_FORMAT),
            (&format!("set {} 0 0 5", &long[1..]), ""),
            ("cas k 0 0 5 18446744073709551615", ""),
            ("cas k 0 0 5", answer::ERROR),
            ("cas k 0 0 5 x", answer::BAD_FORMAT),
            ("incr k 1", ""),
            ("incr k -1", answer::BAD_DELTA),
            ("incr k 18446744073709551616", answer::BAD_DELTA),
            ("incr k", answer::ERROR),
            ("touch k x", answer::BAD_EXPTIME),
            ("delete k", ""),
            ("delete k 0 noreply", ""),
            ("delete k 5", answer::BAD_DELETE),
            ("delete k noreply 0", answer::BAD_DELETE),
            ("flush_all", ""),
            ("flush_all 10 noreply", ""),
            ("flush_all x", answer::BAD_EXPTIME),
            ("verbosity", answer::ERROR),
            ("shutdown", answer::NO_SHUTDOWN),
            ("verbosity 1", ""),
            ("verbosity 1 2 3", answer::ERROR),
            ("verbosity x", answer::BAD_FORMAT),
            ("SET k 0 0 5", answer::ERROR),
            ("", answer::ERROR),
            ("nothing", answer::ERROR),
        ] {
            let line = parsed(text);
            assert_eq!(line.refusal, refusal, "{text:?}");
            assert_eq!(line.verb == Verb::Refused, !refusal.is_empty(), "{text:?}");
            assert_eq!(
                line.quiet,
                text.contains("noreply") && refusal != answer::ERROR && !text.ends_with('0'),
                "{text:?}"
            );
        }
    }

    #[test]
    fn times_of_expiry() {
        let now = 1_700_000_000_000;
        for (exptime, expect) in [
            (0, Expiry::Never),
            (-1, Expiry::At(0)),
            (1, Expiry::At(now + 1000)),
            (LONGEST_RELATIVE_SECONDS, Expiry::At(now + 2_592_000_000)),
            (LONGEST_RELATIVE_SECONDS + 1, Expiry::At(2_592_001_000)),
            (1_800_000_000, Expiry::At(1_800_000_000_000)),
            (i64::MAX, Expiry::At(i64::MAX as u64)),
        ] {
            assert_eq!(expiry(exptime, now), expect);
        }
    }
}
