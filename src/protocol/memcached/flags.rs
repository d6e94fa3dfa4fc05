//! The flags of a meta command: one letter each, some with a token behind it. It must not know what they do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer;
use super::line::{self, Line, Verb, Words};
use crate::config::limits;

/// What the flags of a request say, those aside that are only answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    /// One bit for each letter that is there, from `A` on.
    letters: u64,
    /// Behind `M`.
    pub mode: u8,
    /// Behind `T`, `N` and `R`.
    pub ttl: i64,
    pub vivify_ttl: i64,
    pub recache_ttl: i64,
    /// Behind `F`.
    pub client_flags: u32,
    /// Behind `C`, `E`.
    pub compare: u64,
    pub version: u64,
    /// Behind `D`, `J`.
    pub delta: u64,
    pub initial: u64,
}

impl Flags {
    pub fn has(&self, letter: u8) -> bool {
        self.letters >> (letter - b'A') & 1 != 0
    }

    pub fn has_any(&self, letters: &[u8]) -> bool {
        letters.iter().any(|letter| self.has(*letter))
    }
}

/// What memcached knows.
const KNOWN: &[u8] = b"bCcDEeFfhIJkLlMNOPqRSsTtuvx";

const BAD_FLAG: &str = "CLIENT_ERROR invalid flag";
const TWICE: &str = "CLIENT_ERROR duplicate flag";
const BAD_TOKEN: &str = "CLIENT_ERROR bad token in command line format";
const BAD_MODE: &str = "CLIENT_ERROR incorrect length for M token";
const BAD_INITIAL: &str = "CLIENT_ERROR invalid numeric initial value";
const BAD_DELTA: &str = "CLIENT_ERROR invalid numeric delta value";
const BAD_KEY: &str = "CLIENT_ERROR error decoding key";
const LONG_OPAQUE: &str = "CLIENT_ERROR opaque token too long";
const TOO_MANY: &str = "CLIENT_ERROR options flags are too long";

/// The first word that is a flag, of a request with data and of others.
pub fn first(verb: Verb) -> usize {
    if verb == Verb::MetaSet { 3 } else { 2 }
}

/// Reads a meta command. What is wrong with one that has data is told when its data has been thrown away.
pub fn read(input: &[u8], words: &Words, line: Line) -> Line {
    if words.count < 2 {
        return Line::refused(answer::ERROR);
    }
    let key = words.get(input, 1);
    if key.len() > limits::MEMCACHED_KEY_MAX_BYTES {
        return Line::refused(answer::BAD_FORMAT);
    }
    let length = match line.verb {
        Verb::MetaSet => match (words.count > 2).then(|| line::length(words.get(input, 2))).flatten() {
            Some(length) => Some(length),
            None => return Line::refused(answer::BAD_FORMAT),
        },
        _ => None,
    };
    let refuse = |refusal| Line { length, ..Line::refused(refusal) };
    if words.overflows {
        return refuse(TOO_MANY);
    }
    let mut flags = Flags { delta: 1, ..Flags::default() };
    for index in first(line.verb)..words.count {
        if let Err(refusal) = flags.take(words.get(input, index)) {
            return refuse(refusal);
        }
    }
    if flags.has(b'b') && decoded_key(key).is_none() {
        return refuse(BAD_KEY);
    }
    Line { quiet: flags.has(b'q'), length, meta: flags, ..line }
}

/// What a key in base64 stands for.
pub fn decoded_key(key: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(key).ok().filter(|key| !key.is_empty())
}

impl Flags {
    fn take(&mut self, word: &[u8]) -> Result<(), &'static str> {
        let (letter, token) = (word[0], &word[1..]);
        if !KNOWN.contains(&letter) {
            return Err(BAD_FLAG);
        }
        if self.has(letter) {
            return Err(TWICE);
        }
        self.letters |= 1 << (letter - b'A');
        match letter {
            b'T' => self.ttl = line::signed(token).ok_or(BAD_TOKEN)?,
            b'N' => self.vivify_ttl = line::signed(token).ok_or(BAD_TOKEN)?,
            b'R' => self.recache_ttl = line::signed(token).ok_or(BAD_TOKEN)?,
            b'F' => self.client_flags = line::unsigned_32(token).ok_or(BAD_TOKEN)?,
            b'C' => self.compare = line::unsigned(token).ok_or(BAD_TOKEN)?,
            b'E' => self.version = line::unsigned(token).ok_or(BAD_TOKEN)?,
            b'D' => self.delta = line::unsigned(token).ok_or(BAD_DELTA)?,
            b'J' => self.initial = line::unsigned(token).ok_or(BAD_INITIAL)?,
            b'M' if token.len() != 1 => return Err(BAD_MODE),
            b'M' => self.mode = token[0],
            b'O' if word.len() > limits::MEMCACHED_OPAQUE_MAX_BYTES => return Err(LONG_OPAQUE),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Line {
        line::read(text.as_bytes(), &Words::of(text.as_bytes(), 0, text.len()))
    }

    #[test]
    fn flags_are_read_once_each() {
        let line = parsed("ms key 5 T30 F7 C99 E100 MA N60 Oabc k c q I");
        let flags = line.meta;
        assert_eq!((line.length, line.refusal, line.quiet), (Some(5), "", true));
        assert_eq!((flags.ttl, flags.client_flags, flags.compare, flags.version), (30, 7, 99, 100));
        assert_eq!((flags.mode, flags.vivify_ttl), (b'A', 60));
        assert!(flags.has_any(b"Ik") && !flags.has(b'v'));
        for (text, refusal) in [
            ("mg", answer::ERROR),
            ("mg key s s", TWICE),
            ("mg key !", BAD_FLAG),
            ("mg key \u{e9}", BAD_FLAG),
            ("mg key Tx", BAD_TOKEN),
            ("mg key N", BAD_TOKEN),
            ("mg key Oabcdefghijklmnopqrstuvwxyz0123456", LONG_OPAQUE),
            ("mg ==== b", BAD_KEY),
            ("mg Zm9v b v", ""),
            ("ms key", answer::BAD_FORMAT),
            ("ms key x", answer::BAD_FORMAT),
            ("ms key 5 MXX", BAD_MODE),
            ("ma key Jx", BAD_INITIAL),
            ("ma key D-1", BAD_DELTA),
        ] {
            assert_eq!(parsed(text).refusal, refusal, "{text}");
        }
        assert_eq!(parsed(&format!("mg {}", "k".repeat(251))).refusal, answer::BAD_FORMAT);
        assert_eq!(parsed("ms key 5 s s").length, Some(5));
        assert_eq!(parsed(&format!("mg key {}", "Pa ".repeat(30))).refusal, TOO_MANY);
    }
}
