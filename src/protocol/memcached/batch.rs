//! Requests read ahead of their execution, so that the memory which they will touch can be fetched meanwhile. It must not
//! know what they do. A key of a line about keys is a request of its own, so such a line may be of any length.

use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memchr;

use super::answer;
use super::binary;
use super::flags;
use super::line::{self, Line, Verb, Words, next_word};
use crate::command::{Found, Table};
use crate::config::limits;
use crate::message::request::{Args, Arguments};
use crate::protocol::turn::is_tls;
use crate::store::guards::ShardGuards;

/// What the bytes that come next belong to.
#[derive(Clone, Copy, Default)]
pub enum Within {
    #[default]
    Line,
    /// A line about keys whose first ones have come.
    Keys(Line),
    /// A line that is refused already.
    Junk,
}

/// What comes behind the requests of a batch.
#[derive(Clone, Copy, Default)]
pub enum Behind {
    /// More requests.
    Requests,
    /// The beginning of one.
    #[default]
    Part,
    /// A large value: `Batch::arriving` is its request.
    Value,
    /// So many bytes that are thrown away.
    Discarded(usize),
    /// What is no line: the connection has to be closed.
    LongLine,
    /// The beginning of TLS: the same.
    Tls,
}

#[derive(Clone, Copy, Default)]
pub struct Request {
    pub line: Line,
    /// The words, as positions in `Batch::args`: the verb, the key, the flags of a meta command, the value.
    pub from: usize,
    pub to: usize,
    /// Where it starts and ends in the input.
    pub start: usize,
    pub end: usize,
    /// Of its key; 0 without one.
    pub hash: u64,
    pub found: Option<Found>,
    /// Its line has begun with another one.
    pub resumes: bool,
    /// It is the last one of its line.
    pub ends_line: bool,
}

#[derive(Default)]
pub struct Batch {
    pub args: Args,
    pub requests: Vec<Request>,
    pub behind: Behind,
    pub arriving: Request,
    /// What is before has been read.
    pub end: usize,
}

/// What is read at most.
pub struct Bounds {
    /// Of key and value together.
    pub item_bytes: usize,
    /// One request at a time: what it does may change the bounds.
    pub one: bool,
}

impl Batch {
    /// Reads requests of `input` from `from` on, as many as make a batch.
    pub fn read(&mut self, input: &[u8], from: usize, within: &mut Within, bounds: &Bounds) {
        self.requests.clear();
        self.args.clear();
        self.behind = Behind::Requests;
        self.end = from;
        while self.requests.is_empty() || self.has_room() && !bounds.one {
            let read = match *within {
                Within::Line => self.read_line(input, within, bounds),
                Within::Keys(line) => {
                    let newline = memchr(b'\n', &input[self.end..]).map(|at| self.end + at);
                    self.read_keys(input, line, self.end, newline, within)
                }
                Within::Junk => self.pass_junk(input, within),
            };
            if let Err(behind) = read {
                self.behind = behind;
                return;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.requests.len() < limits::BATCH_REQUESTS_MAX && self.args.len() < limits::BATCH_ARGUMENTS_MAX
    }

    fn pass_junk(&mut self, input: &[u8], within: &mut Within) -> Result<(), Behind> {
        match memchr(b'\n', &input[self.end..]) {
            Some(at) => {
                self.end += at + 1;
                *within = Within::Line;
                Ok(())
            }
            None => {
                self.end = input.len();
                Err(Behind::Part)
            }
        }
    }

    /// A line and its data. An error says what stands where it would be.
    #[inline]
    fn read_line(&mut self, input: &[u8], within: &mut Within, bounds: &Bounds) -> Result<(), Behind> {
        let start = self.end;
        match input.get(start) {
            Some(&binary::MAGIC) => return self.read_binary(input, start),
            Some(_) if is_tls(&input[start..]) => return Err(Behind::Tls),
            _ => {}
        }
        let Some(newline) = memchr(b'\n', &input[start..]).map(|at| start + at) else {
            if input.len() - start <= limits::MEMCACHED_LINE_MAX_BYTES {
                return Err(Behind::Part);
            }
            return match line::about_keys(input, start, input.len()) {
                Some((line, end)) if line.refusal.is_empty() => self.read_keys(input, line, end, None, within),
                _ => Err(Behind::LongLine),
            };
        };
        let to = end_of_line(input, start, newline);
        if let Some((line, end)) = line::about_keys(input, start, to) {
            if line.refusal.is_empty() {
                return self.read_keys(input, line, end, Some(newline), within);
            }
            self.push(Line::refused(line.refusal), self.args.len(), start, newline + 1);
            return Ok(());
        }
        let words = Words::of(input, start, to);
        let line = line::read(input, &words);
        match line.length {
            None => {
                let from = self.args.len();
                self.push_words(input, &words, &line);
                self.push(line, from, start, newline + 1);
                Ok(())
            }
            Some(length) => self.read_data(input, &words, line, (start, newline + 1, length), bounds),
        }
    }

    /// A request of the binary protocol: nothing is done for it, and its body is passed over.
    #[cold]
    fn read_binary(&mut self, input: &[u8], start: usize) -> Result<(), Behind> {
        let (line, body) = binary::read(&input[start..]).ok_or(Behind::Part)?;
        let end = start + binary::HEADER_BYTES + body;
        self.push(line, self.args.len(), start, end.min(input.len()));
        if end > input.len() { Err(Behind::Discarded(end - input.len())) } else { Ok(()) }
    }

    /// A line that has come with the data that belong to it.
    fn read_data(
        &mut self,
        input: &[u8],
        words: &Words,
        line: Line,
        (start, body, length): (usize, usize, usize),
        bounds: &Bounds,
    ) -> Result<(), Behind> {
        let end = body + length + EMPTY_LINE.len();
        let from = self.args.len();
        let is_refused = line.verb == Verb::Refused;
        if is_refused || length + words.get(input, 1).len() > bounds.item_bytes {
            let line = if is_refused { line } else { too_large(line) };
            self.push_words(input, words, &line);
            self.push(line, from, start, end.min(input.len()));
            return if end > input.len() { Err(Behind::Discarded(end - input.len())) } else { Ok(()) };
        }
        if end > input.len() {
            if length < limits::STREAMED_ARGUMENT_MIN_BYTES {
                return Err(Behind::Part);
            }
            self.push_words(input, words, &line);
            self.arriving = Request { line, from, to: self.args.len(), start, end: body, ..Request::default() };
            return Err(Behind::Value);
        }
        if input[end - EMPTY_LINE.len()..end] != *EMPTY_LINE {
            let quiet = line.quiet && line.verb != Verb::MetaSet;
            self.push(Line { quiet, ..Line::refused(answer::BAD_DATA) }, from, start, end);
            return Ok(());
        }
        self.push_words(input, words, &line);
        self.push_span(body, length);
        self.push(line, from, start, end);
        Ok(())
    }

    /// Keys from `at` on, up to the end of their line, if that has come.
    #[inline]
    fn read_keys(
        &mut self,
        input: &[u8],
        line: Line,
        at: usize,
        newline: Option<usize>,
        within: &mut Within,
    ) -> Result<(), Behind> {
        let first = self.requests.len();
        let (mut start, mut resumes) = (self.end, matches!(within, Within::Keys(_)));
        let to = newline.map_or(input.len(), |newline| end_of_line(input, start, newline));
        let line_end = newline.map(|newline| newline + 1);
        let verb = if resumes { None } else { next_word(input, start, to) };
        let mut key = next_word(input, at, to);
        while let Some((key_start, key_end)) = key {
            let next = next_word(input, key_end, to);
            if line_end.is_none() && next.is_none_or(|(_, end)| end == to) && key_end - key_start <= KEY_MAX {
                // Whether it is the last one is not known.
                break;
            }
            if key_end - key_start > KEY_MAX {
                // Of a line that is refused nothing is done, as far as it is known to be one.
                let kept = self.requests.get(first).copied();
                self.requests.truncate(first);
                let (start, resumes) = kept.map_or((start, resumes), |kept| (kept.start, kept.resumes));
                self.push(Line::refused(answer::BAD_FORMAT), self.args.len(), start, line_end.unwrap_or(to));
                self.last().resumes = resumes;
                *within = if line_end.is_some() { Within::Line } else { Within::Junk };
                return Ok(());
            }
            let from = self.args.len();
            match verb {
                Some((start, end)) => self.push_span(start, end - start),
                None => self.args.push_word(Bytes::from_static(b"get")),
            }
            self.push_span(key_start, key_end - key_start);
            let is_last = next.is_none();
            let end = if is_last { line_end.unwrap_or(key_end) } else { key_end };
            self.push(line, from, start, end);
            let request = self.last();
            (request.resumes, request.ends_line) = (resumes, is_last);
            (start, resumes, key) = (end, true, next);
            *within = if is_last { Within::Line } else { Within::Keys(line) };
            if !self.has_room() {
                return Ok(());
            }
        }
        match line_end {
            Some(end) if self.requests.len() == first => {
                self.push(Line::refused(answer::ERROR), self.args.len(), start, end);
                *within = Within::Line;
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                if key.is_none() {
                    // Spaces without end are not kept.
                    (self.end, *within) = (to, Within::Keys(line));
                }
                Err(Behind::Part)
            }
        }
    }

    fn last(&mut self) -> &mut Request {
        self.requests.last_mut().expect("it has been pushed")
    }

    /// A request whose words begin at `from`.
    #[inline]
    fn push(&mut self, line: Line, from: usize, start: usize, end: usize) {
        self.end = end;
        let (hash, found, resumes) = (0, None, false);
        let to = self.args.len();
        self.requests.push(Request { line, from, to, start, end, hash, found, resumes, ends_line: true });
    }

    fn push_span(&mut self, start: usize, length: usize) {
        self.args.push(start, length).expect("few arguments");
    }

    /// The words that a command sees.
    fn push_words(&mut self, input: &[u8], words: &Words, line: &Line) {
        let count = match line.verb {
            Verb::Refused => return,
            Verb::Flush | Verb::MetaNoop => 1,
            Verb::Set | Verb::Add | Verb::Replace | Verb::Append | Verb::Prepend | Verb::Cas => 2,
            Verb::Delete | Verb::RefusedValue => 2,
            _ => words.count,
        };
        for index in 0..count {
            let (start, end) = words.places[index];
            match index {
                1 if line.meta.has(b'b') => {
                    let key = flags::decoded_key(words.get(input, 1)).expect("it was decoded before");
                    self.args.push_word(key.into());
                }
                // Of the value's length nobody speaks any more.
                2 if line.verb == Verb::MetaSet => {}
                _ => self.push_span(start as usize, (end - start) as usize),
            }
        }
    }

    /// Finds each request's row and hashes its key, then starts fetching the memory that the look-ups will touch.
    pub fn look_ahead(&mut self, input: &[u8], guards: &mut ShardGuards) {
        for request in &mut self.requests {
            request.found = row(&request.line);
            if request.line.verb.has_key() {
                request.hash = guards.keyspace().hash(self.args.view(input, request.from, request.to).get(1));
            }
        }
        if self.requests.len() > 1 {
            guards.prefetch(0, self.requests.iter().map(|request| request.hash).filter(|hash| *hash != 0));
        }
    }

    /// The words of request `at`.
    pub fn words<'a>(&'a self, input: &'a [u8], at: usize) -> Arguments<'a> {
        self.args.view(input, self.requests[at].from, self.requests[at].to)
    }

    /// The requests have run, or will be read again.
    pub fn clear(&mut self) {
        self.requests.clear();
        self.args.clear();
    }
}

const KEY_MAX: usize = limits::MEMCACHED_KEY_MAX_BYTES;
const EMPTY_LINE: &[u8] = b"\r\n";

/// Where a line ends that has a line feed at `newline`, with a carriage return before it or without.
fn end_of_line(input: &[u8], start: usize, newline: usize) -> usize {
    if newline > start && input[newline - 1] == b'\r' { newline - 1 } else { newline }
}

/// What becomes of a line whose value is too large. Of a `set` the old one goes: it would be stale.
fn too_large(line: Line) -> Line {
    let replaces = matches!(line.verb, Verb::Set | Verb::MetaSet);
    Line {
        verb: if replaces { Verb::RefusedValue } else { Verb::Refused },
        // A meta command is quiet about success alone.
        quiet: line.quiet && line.verb != Verb::MetaSet,
        refusal: answer::TOO_LARGE,
        ..line
    }
}

/// The commands of RESP that do what lines ask for: their checks hold, their locks are taken and their calls are counted.
struct Rows {
    get: Found,
    getex: Found,
    set: Found,
    append: Found,
    incrby: Found,
    decrby: Found,
    expire: Found,
    del: Found,
    delex: Found,
    ttl: Found,
    flushdb: Found,
    info: Found,
    keys: Found,
    resetstat: Found,
}

static ROWS: LazyLock<Rows> = LazyLock::new(|| {
    let find = |name: &str| Table::get().known(name);
    Rows {
        get: find("get"),
        getex: find("getex"),
        set: find("set"),
        append: find("append"),
        incrby: find("incrby"),
        decrby: find("decrby"),
        expire: find("expire"),
        del: find("del"),
        delex: find("delex"),
        ttl: find("ttl"),
        flushdb: find("flushdb"),
        info: find("info"),
        keys: find("keys"),
        resetstat: find("config|resetstat"),
    }
});

/// The command of RESP that does what a line asks for, if it takes one.
#[inline]
pub fn row(line: &Line) -> Option<Found> {
    let rows = &*ROWS;
    Some(match line.verb {
        Verb::Get | Verb::Gets => rows.get,
        Verb::MetaGet if line.meta.has(b'N') => rows.set,
        Verb::MetaGet if line.meta.has_any(b"TR") => rows.getex,
        Verb::MetaGet => rows.get,
        Verb::Gat | Verb::Gats => rows.getex,
        Verb::Set | Verb::Add | Verb::Replace | Verb::Prepend | Verb::Cas | Verb::MetaSet => rows.set,
        Verb::Append => rows.append,
        Verb::Increment | Verb::MetaArithmetic => rows.incrby,
        Verb::Decrement => rows.decrby,
        Verb::Touch => rows.expire,
        Verb::Delete | Verb::RefusedValue => rows.del,
        Verb::MetaDelete => rows.delex,
        Verb::MetaDebug => rows.ttl,
        Verb::Flush => rows.flushdb,
        Verb::Stats => rows.info,
        Verb::StatsReset => rows.resetstat,
        Verb::StatsKeys => rows.keys,
        Verb::Version
        | Verb::Verbosity
        | Verb::Quit
        | Verb::Foreign
        | Verb::Binary
        | Verb::MetaNoop
        | Verb::Refused => return None,
    })
}
