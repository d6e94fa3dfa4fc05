//! Requests parsed ahead of their execution, so that the memory which they will touch can be fetched meanwhile. It must
//! not know what they do.

use super::parser::{Bounds, Parsed, Parser, ProtocolError};
use crate::command::{Flags, Found, Table};
use crate::config::limits;
use crate::message::request::Args;
use crate::store::guards::ShardGuards;
use crate::store::hot::Seen;

#[derive(Default)]
pub struct Batch {
    pub args: Args,
    pub requests: Vec<Request>,
    /// Hashes of keys whose memory is fetched ahead.
    ahead: Vec<u64>,
    /// All of the input has been parsed; what is left of it is the beginning of a request.
    pub exhausted: bool,
    /// The first error in the bytes, after all the requests.
    pub error: Option<ProtocolError>,
}

#[derive(Clone, Copy)]
pub struct Request {
    /// The request's arguments, as positions in `Batch::args`.
    pub from: usize,
    pub to: usize,
    /// Where it starts and ends in the input.
    pub start: usize,
    pub end: usize,
    pub found: Option<Found>,
    /// Of its first key; 0 without one.
    pub hash: u64,
    /// How that stands with the core's copies; cold if the request is none that they answer.
    pub seen: Seen,
}

impl Batch {
    /// Parses requests of `input` from `done` on: as many as make a batch, or only the `first`. `kept` gives the arguments
    /// of a request that has come in part before, or waits; and takes those of an incomplete one.
    pub fn parse(
        &mut self,
        input: &[u8],
        done: usize,
        parser: &mut Parser,
        bounds: &Bounds,
        kept: &mut Args,
        first: bool,
    ) {
        self.requests.clear();
        self.exhausted = false;
        self.args.clear();
        if !kept.is_empty() {
            self.args = std::mem::take(kept);
        }
        let mut start = done;
        // One request is parsed in any case: what has come of it may already be more arguments than a batch has.
        while self.requests.is_empty() || self.has_room() && !first {
            let from = self.requests.last().map_or(0, |request| request.to);
            match parser.next(input, bounds, &mut self.args) {
                Ok(Parsed::Request) => {
                    let (to, end) = (self.args.len(), parser.pos());
                    self.requests.push(Request { from, to, start, end, found: None, hash: 0, seen: Seen::Cold });
                    start = end;
                }
                Ok(Parsed::Incomplete) => {
                    self.exhausted = true;
                    *kept = self.args.take(from, self.args.len(), start);
                    return;
                }
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.requests.len() < limits::BATCH_REQUESTS_MAX && self.args.len() < limits::BATCH_ARGUMENTS_MAX
    }

    /// Looks up each request's row and hashes its first key, then starts fetching the memory that the look-ups will
    /// touch.
    pub fn look_ahead(&mut self, input: &[u8], db: u8, guards: &mut ShardGuards) {
        let table = Table::get();
        self.ahead.clear();
        let mut last = None;
        for request in &mut self.requests {
            let args = self.args.view(input, request.from, request.to);
            if args.is_empty() {
                continue;
            }
            request.found = table.lookup_next(args, &mut last);
            if let Some((_, row)) = request.found
                && row.keys.first > 0
                && args.len() > row.keys.first as usize
            {
                request.hash = guards.keyspace().hash(args.get(row.keys.first as usize));
                if row.flags.intersects(Flags::HOT) {
                    request.seen = guards.see(request.hash, db);
                }
                if request.seen != Seen::Kept {
                    self.ahead.push(request.hash);
                }
            }
        }
        if self.requests.len() > 1 {
            guards.prefetch(db, self.ahead.iter().copied());
        }
    }

    /// What the requests have in bytes, and a little more.
    pub fn bytes(&self) -> usize {
        let inline = match (self.requests.first(), self.requests.last()) {
            (Some(first), Some(last)) => last.end - first.start,
            _ => 0,
        };
        inline + self.args.aside_bytes()
    }

    /// Request `at` is timed by itself.
    pub fn is_slow(&self, at: usize) -> bool {
        let request = &self.requests[at];
        request.found.is_some_and(|(_, row)| !row.is_quick(request.to - request.from))
    }

    /// The requests have run, or will be parsed again.
    pub fn clear(&mut self) {
        self.args.clear();
        self.args.shrink();
    }
}
