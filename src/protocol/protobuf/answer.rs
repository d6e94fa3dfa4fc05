//! Responses as `proto/kv_cache.proto` has them, each behind its length. Values are written from where they lie, or sent
//! from there: prost would copy them first, so what stands around them is written here.

use prost::encoding::{encode_varint, encoded_len_varint};

use crate::config::limits;
use crate::message::output::Output;
use crate::store::shard::Value;

/// The fields of `Response`, and the kinds of fields.
const ID: u8 = 1;
const ERROR: u8 = 2;
const VALUE: u8 = 3;
const DONE: u8 = 4;
const NUMBER: u8 = 5;
const VALUES: u8 = 6;

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

/// In `Value` and `Values`: the only field.
const ONLY: u8 = 1;

const fn key(field: u8, kind: u8) -> u8 {
    field << 3 | kind
}

const FULL_TEXT: &str = "ERR max number of clients reached";
const PROTECTED_TEXT: &str = "DENIED protected mode: no password is set, so only clients of the same host are let in";

/// What somebody is told who finds no place.
pub const FULL: &[u8] = &refusal::<{ FULL_TEXT.len() + 3 }>(FULL_TEXT);

/// What clients of other hosts are told while there is no password.
pub const PROTECTED: &[u8] = &refusal::<{ PROTECTED_TEXT.len() + 3 }>(PROTECTED_TEXT);

/// An error whose lengths are a byte each, so that it can be written before there is anybody to write it.
const fn refusal<const FRAME: usize>(text: &str) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    assert!(FRAME == text.len() + 3 && FRAME < 0x80);
    (frame[0], frame[1], frame[2]) = (text.len() as u8 + 2, key(ERROR, LENGTH_DELIMITED), text.len() as u8);
    let mut at = 0;
    while at < text.len() {
        frame[at + 3] = text.as_bytes()[at];
        at += 1;
    }
    frame
}

/// What stands before the bytes of a field: two varints and keys at most three times.
struct Head {
    bytes: [u8; 48],
    len: usize,
}

impl Head {
    const fn new() -> Head {
        Head { bytes: [0; 48], len: 0 }
    }

    fn varint(&mut self, value: u64) {
        let mut rest = &mut self.bytes[self.len..];
        let before = rest.len();
        encode_varint(value, &mut rest);
        self.len += before - rest.len();
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// The key of a field, and its length.
    fn field(&mut self, number: u8, bytes: usize) {
        self.byte(key(number, LENGTH_DELIMITED));
        self.varint(bytes as u64);
    }

    /// A response with `result_bytes` more to come behind its id.
    fn response(id: u64, result_bytes: usize) -> Head {
        let mut head = Head::new();
        let id_bytes = if id == 0 { 0 } else { 1 + encoded_len_varint(id) };
        head.varint((id_bytes + result_bytes) as u64);
        if id != 0 {
            head.byte(key(ID, VARINT));
            head.varint(id);
        }
        head
    }

    /// A response whose result is a field of so many bytes, which follow.
    fn with_field(id: u64, number: u8, bytes: usize) -> Head {
        let mut head = Head::response(id, field_bytes(bytes));
        head.field(number, bytes);
        head
    }

    fn write(&self, output: &mut Output) {
        output.write(&self.bytes[..self.len]);
    }
}

/// What a field of so many bytes takes.
fn field_bytes(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64) + bytes
}

pub fn error(output: &mut Output, id: u64, text: &str) {
    Head::with_field(id, ERROR, text.len()).write(output);
    output.write(text.as_bytes());
}

pub fn done(output: &mut Output, id: u64, done: bool) {
    let mut head = Head::response(id, 2);
    head.byte(key(DONE, VARINT));
    head.byte(done.into());
    head.write(output);
}

pub fn number(output: &mut Output, id: u64, number: i64) {
    let zigzag = (number << 1 ^ number >> 63) as u64;
    let mut head = Head::response(id, 1 + encoded_len_varint(zigzag));
    head.byte(key(NUMBER, VARINT));
    head.varint(zigzag);
    head.write(output);
}

/// What a key has, or that it is not there.
pub fn value(output: &mut Output, id: u64, found: Option<Value>) {
    let Some(found) = found else { return Head::with_field(id, VALUE, 0).write(output) };
    let length = found.as_slice().len();
    let mut head = Head::with_field(id, VALUE, field_bytes(length));
    head.field(ONLY, length);
    head.write(output);
    write(output, found);
}

/// One of several values: they are written apart, and `values` puts a head before them.
pub fn element(output: &mut Output, found: Option<Value>) {
    let mut head = Head::new();
    let Some(found) = found else {
        head.field(ONLY, 0);
        return head.write(output);
    };
    let length = found.as_slice().len();
    head.field(ONLY, field_bytes(length));
    head.field(ONLY, length);
    head.write(output);
    write(output, found);
}

pub fn values(output: &mut Output, id: u64, elements: Output) {
    Head::with_field(id, VALUES, elements.len()).write(output);
    output.append(elements);
}

/// Copies what is small; the rest is sent from where it lies.
fn write(output: &mut Output, value: Value) {
    match value {
        Value::Shared(blob) if blob.len() >= limits::SHARED_REPLY_MIN_BYTES => output.share(blob.clone().into()),
        _ => output.write(value.as_slice()),
    }
}
