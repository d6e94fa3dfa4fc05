//! What a request does: reads, writes and counts of one key by the commands that Redis has for them, and the pages about
//! the server. Conditions hold under the same lock as the change that they are for.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::answer::{self, Refusal, Status, Writer};
use super::fields::{ByteRange, Digest, Tags};
use super::head::{Framing, Head, Method};
use super::target::Route;
use crate::base::allocator;
use crate::command::server::metrics::{self, Format};
use crate::command::{Call, Command, count_lookup};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::kept::Kept;
use crate::message::reply::Reply;
use crate::shared::Shared;
use crate::store::shard::Value;

/// What is kept of a request whose head has come, beside the words of its command.
#[derive(Default)]
pub struct Request {
    pub method: Method,
    pub route: Route,
    pub keeps_alive: bool,
    /// The connection goes on after this reply although HTTP/1.0 would end it: the reply says so.
    pub is_old: bool,
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    range: Option<ByteRange>,
    if_range: Option<Tags>,
    format: Format,
    /// It is not served, for this.
    pub refusal: Option<Refusal>,
    /// And has a body that is too long to be thrown away.
    pub is_overlong: bool,
}

impl Request {
    pub fn of(head: &mut Head) -> Request {
        Request {
            method: head.method,
            route: head.target.route,
            keeps_alive: head.keeps_alive,
            is_old: head.is_old,
            if_match: head.if_match.take(),
            if_none_match: head.if_none_match.take(),
            range: head.range.filter(|_| head.method == Method::Get),
            // A date is none of our tags: the whole value is sent.
            if_range: head.if_range.map(|text| Tags::read(None, text).unwrap_or(Tags::Listed(Vec::new()))),
            format: Format::accepted(head.accept),
            refusal: head.refusal.or_else(|| misfit(head)),
            is_overlong: false,
        }
    }

    /// What the reply says of the connection.
    pub fn connection(&self) -> &'static str {
        match (self.keeps_alive, self.is_old) {
            (false, _) => "Connection: close\r\n",
            (true, true) => "Connection: keep-alive\r\n",
            (true, false) => "",
        }
    }

    /// It runs no command, and needs no password.
    pub fn is_about_health(&self) -> bool {
        matches!(self.route, Route::Health | Route::Ready)
    }

    fn has_conditions(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some()
    }

    /// For a change: whether it may be made.
    fn permits(&self, call: &mut Call) -> bool {
        if !self.has_conditions() {
            return true;
        }
        let found = call.peek(call.key());
        let (exists, tag) = (found.is_some(), found.and_then(|entry| tag_of(entry.value.as_slice())));
        self.if_match.as_ref().is_none_or(|tags| tags.match_one(exists, tag, false))
            && self.if_none_match.as_ref().is_none_or(|tags| !tags.match_one(exists, tag, true))
    }
}

/// What does not fit together in a head.
fn misfit(head: &Head) -> Option<Refusal> {
    let refuse = |status, text| Some(Refusal::new(status, text));
    let (method, target) = (head.method, &head.target);
    match target.route {
        Route::Nothing => return refuse(Status::NotFound, "there are /kv/KEY, /metrics, /healthz and /readyz"),
        Route::Key if method == Method::Other => return refuse(Status::MethodNotAllowed, "a key has no such method"),
        Route::Key => {}
        _ if !matches!(method, Method::Get | Method::Head) => return refuse(Status::ReadOnly, "it can only be read"),
        _ => {}
    }
    match head.framing {
        Framing::Nothing if method == Method::Put => {
            return refuse(Status::LengthRequired, "a value comes with its length, or in chunks");
        }
        Framing::Length(1..) | Framing::Chunked if method != Method::Put => {
            return refuse(Status::BadRequest, "this method takes no body");
        }
        _ => {}
    }
    if target.ttl.is_some() && method != Method::Put {
        return refuse(Status::BadRequest, "ttl belongs to PUT");
    }
    if target.by.is_some() && method != Method::Post {
        return refuse(Status::BadRequest, "by belongs to POST");
    }
    None
}

/// The words of the command that does what a head asks for; of PUT, those before the value.
pub fn push_words(head: &Head, words: &mut Kept) {
    let (key, mut digits) = (&head.target.key[..], itoa::Buffer::new());
    match (head.target.route, head.method) {
        (Route::Metrics, _) => words.push_argument(b"info"),
        (Route::Key, Method::Put) => match head.target.ttl.or(head.max_age) {
            Some(seconds) => {
                words.push_argument(b"setex");
                words.push_argument(key);
                words.push_argument(digits.format(seconds).as_bytes());
            }
            None => {
                words.push_argument(b"set");
                words.push_argument(key);
            }
        },
        (Route::Key, Method::Delete) => {
            words.push_argument(b"del");
            words.push_argument(key);
        }
        (Route::Key, Method::Post) => {
            words.push_argument(b"incrby");
            words.push_argument(key);
            words.push_argument(digits.format(head.target.by.unwrap_or(1)).as_bytes());
        }
        _ => {
            words.push_argument(b"get");
            words.push_argument(key);
        }
    }
}

/// Answers `/healthz` and `/readyz`: the first while the process answers at all, the second while it is worth asking.
pub fn health(request: &Request, shared: &Shared, reply: &mut Reply, writer: &mut Writer) {
    let is_ready = !shared.draining.load(Relaxed) && !allocator::is_short();
    match request.route {
        Route::Ready if !is_ready => writer.text(reply, Status::Unavailable, "not ready"),
        _ => writer.text(reply, Status::Ok, "ok"),
    }
}

/// Runs what a request asks for in place of its command's function, and answers.
pub fn run(call: &mut Call, row: &Command, request: &Request, writer: &mut Writer) -> Result<(), Stop> {
    match (request.route, request.method) {
        (Route::Metrics, _) => tell_metrics(call, request.format, writer),
        (_, Method::Get | Method::Head) => get(call, request, writer),
        _ if !request.permits(call) => {
            refuse_condition(call, writer);
            Ok(())
        }
        (_, Method::Put) => put(call, row, writer),
        (_, Method::Delete) => delete(call, writer),
        _ => increment(call, row, writer),
    }
}

/// The tag of a value that is not too large to have one.
fn tag_of(value: &[u8]) -> Option<Digest> {
    (value.len() <= limits::HTTP_TAGGED_VALUE_BYTES).then(|| xxh3_64(value))
}

fn refuse_condition(call: &mut Call, writer: &mut Writer) {
    writer.text(call.reply, Status::PreconditionFailed, "If-Match or If-None-Match does not hold");
}

/// What a read comes to.
enum Outcome {
    Failed,
    NotModified,
    Unsatisfiable,
    Whole,
    Part(Range<usize>),
}

/// In the order of RFC 9110, 13.2.2.
fn outcome(request: &Request, length: usize, tag: Option<Digest>) -> Outcome {
    let matches = |tags: &Tags, weakly| tags.match_one(true, tag, weakly);
    if request.if_match.as_ref().is_some_and(|tags| !matches(tags, false)) {
        return Outcome::Failed;
    }
    if request.if_none_match.as_ref().is_some_and(|tags| matches(tags, true)) {
        return Outcome::NotModified;
    }
    match request.range {
        Some(range) if request.if_range.as_ref().is_none_or(|tags| matches(tags, false)) => {
            range.of(length).map_or(Outcome::Unsatisfiable, Outcome::Part)
        }
        _ => Outcome::Whole,
    }
}

fn get(call: &mut Call, request: &Request, writer: &mut Writer) -> Result<(), Stop> {
    let key = call.key();
    let mut found = call.guards.shard(key.hash).get(key, call.now);
    let Some(entry) = &found else {
        count_lookup(call.stats, false);
        writer.text(call.reply, Status::NotFound, "no such key");
        return Ok(());
    };
    let length = entry.value.as_slice().len();
    let tag = tag_of(entry.value.as_slice());
    let outcome = outcome(request, length, tag);
    let (status, part) = match &outcome {
        Outcome::Failed => {
            refuse_condition(call, writer);
            return Ok(());
        }
        Outcome::NotModified => {
            writer.empty(call.reply, Status::NotModified, tag);
            return Ok(());
        }
        Outcome::Unsatisfiable => {
            writer.begin(call.reply, Status::RangeNotSatisfiable);
            call.reply.write(format!("Content-Range: bytes */{length}\r\n").as_bytes());
            writer.length(call.reply, 0, answer::TEXT);
            return Ok(());
        }
        Outcome::Whole => (Status::Ok, 0..length),
        Outcome::Part(part) => (Status::PartialContent, part.clone()),
    };
    if part.len() > limits::UNASKED_REPLY_BYTES && !writer.without_body {
        call.room(part.len())?;
        found = call.guards.shard(key.hash).peek(key, call.now);
    }
    count_lookup(call.stats, true);
    let Some(entry) = found else { return Ok(()) };
    writer.begin(call.reply, status);
    answer::write_tag(call.reply, tag);
    if status == Status::PartialContent {
        let (first, last) = (part.start, part.end - 1);
        call.reply.write(format!("Content-Range: bytes {first}-{last}/{length}\r\n").as_bytes());
    }
    if writer.length(call.reply, part.len(), answer::BYTES) {
        write_part(call.reply, entry.value, part);
    }
    Ok(())
}

/// Copies what is small; the rest is sent from where it lies.
fn write_part(reply: &mut Reply, value: Value, part: Range<usize>) {
    match value {
        Value::Shared(blob) if part.len() >= (blob.len() / limits::SHARED_PART).max(limits::SHARED_REPLY_MIN_BYTES) => {
            reply.share(Bytes::from(blob.clone()).slice(part))
        }
        _ => reply.write(&value.as_slice()[part]),
    }
}

/// Runs the command of RESP, whose reply is not sent.
fn run_silently(call: &mut Call, row: &Command) -> Result<(), Stop> {
    let before = call.reply.mark();
    (row.run)(call)?;
    call.reply.rewind(before);
    Ok(())
}

fn put(call: &mut Call, row: &Command, writer: &mut Writer) -> Result<(), Stop> {
    let existed = call.peek(call.key()).is_some();
    run_silently(call, row)?;
    let tag = tag_of(call.arg(call.args.len() - 1));
    writer.empty(call.reply, if existed { Status::NoContent } else { Status::Created }, tag);
    Ok(())
}

fn delete(call: &mut Call, writer: &mut Writer) -> Result<(), Stop> {
    let key = call.key();
    if call.guards.shard(key.hash).delete(key, call.now) {
        writer.empty(call.reply, Status::NoContent, None);
    } else {
        writer.text(call.reply, Status::NotFound, "no such key");
    }
    Ok(())
}

fn increment(call: &mut Call, row: &Command, writer: &mut Writer) -> Result<(), Stop> {
    run_silently(call, row)?;
    let key = call.key();
    let found = call.guards.shard(key.hash).peek(key, call.now);
    let number = found.as_ref().map_or(&b""[..], |entry| entry.value.as_slice());
    writer.begin(call.reply, Status::Ok);
    answer::write_tag(call.reply, tag_of(number));
    if writer.length(call.reply, number.len(), answer::TEXT) {
        call.reply.write(number);
    }
    Ok(())
}

fn tell_metrics(call: &mut Call, format: Format, writer: &mut Writer) -> Result<(), Stop> {
    let text = metrics::expose(call, format)?;
    writer.begin(call.reply, Status::Ok);
    if writer.length(call.reply, text.len(), format.content_type()) {
        call.reply.write(text.as_bytes());
    }
    Ok(())
}

/// The status that says what an error of a command says.
pub fn status_of(text: &str) -> Status {
    match text {
        error::VALUE_TOO_LARGE => Status::ContentTooLarge,
        error::NOT_AN_INTEGER | error::OVERFLOW => Status::Conflict,
        _ if text.starts_with("OOM ") => Status::InsufficientStorage,
        _ if text.starts_with("BUSY ") => Status::Unavailable,
        _ if text.starts_with("NOPERM ") => Status::Forbidden,
        _ => Status::BadRequest,
    }
}
