//! Lua values as JSON text. It must not know who asks for it.

use mlua::{Table, Value};

use super::{DEPTH_MAX, Invalid, Settings, VALUE_STEPS};
use crate::script::fault::{Fault, check_built, type_name};
use crate::script::number;
use crate::script::work::Work;

pub fn encode(value: &Value, settings: &Settings, work: &Work) -> Result<Vec<u8>, Fault> {
    let mut json = Vec::new();
    append(value, 0, &Terms { settings, work }, &mut json)?;
    Ok(json)
}

/// What holds for all of a value.
struct Terms<'t> {
    settings: &'t Settings,
    work: &'t Work,
}

fn append(value: &Value, depth: i64, terms: &Terms, json: &mut Vec<u8>) -> Result<(), Fault> {
    terms.work.add(VALUE_STEPS)?;
    match value {
        Value::Nil => json.extend_from_slice(b"null"),
        value if value.is_null() => json.extend_from_slice(b"null"),
        Value::Boolean(true) => json.extend_from_slice(b"true"),
        Value::Boolean(false) => json.extend_from_slice(b"false"),
        Value::Integer(number) => append_number(*number as f64, terms, json)?,
        Value::Number(number) => append_number(*number, terms, json)?,
        Value::String(text) => append_string(&text.as_bytes(), terms.work, json)?,
        Value::Table(table) => append_table(table, depth + 1, terms, json)?,
        other => return Err(refusal(other, "type not supported")),
    }
    Ok(())
}

fn refusal(value: &Value, reason: &str) -> Fault {
    Fault::text(format!("Cannot serialise {}: {reason}", type_name(value)))
}

fn append_number(number: f64, terms: &Terms, json: &mut Vec<u8>) -> Result<(), Fault> {
    if !number.is_finite() {
        match terms.settings.encode_invalid {
            Invalid::Refused => return Err(refusal(&Value::Number(number), "must not be NaN or Inf")),
            Invalid::Null => {
                json.extend_from_slice(b"null");
                return Ok(());
            }
            Invalid::Written if number.is_nan() => {
                json.extend_from_slice(b"nan");
                return Ok(());
            }
            Invalid::Written => {}
        }
    }
    if number.fract() == 0.0 && number.abs() < 1e9 && !(number == 0.0 && number.is_sign_negative()) {
        // Most numbers, and every precision from 9 digits on writes them in full.
        if terms.settings.precision >= 9 {
            json.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
            return Ok(());
        }
    }
    json.extend_from_slice(number::general(number, terms.settings.precision as usize).as_bytes());
    Ok(())
}

fn append_string(text: &[u8], work: &Work, json: &mut Vec<u8>) -> Result<(), Fault> {
    check_built(json.len() + text.len())?;
    work.add_bytes(text.len())?;
    json.reserve(text.len() + 2);
    json.push(b'"');
    for &byte in text {
        match byte {
            b'"' => json.extend_from_slice(b"\\\""),
            b'\\' => json.extend_from_slice(b"\\\\"),
            b'/' => json.extend_from_slice(b"\\/"),
            0x08 => json.extend_from_slice(b"\\b"),
            b'\t' => json.extend_from_slice(b"\\t"),
            b'\n' => json.extend_from_slice(b"\\n"),
            0x0c => json.extend_from_slice(b"\\f"),
            b'\r' => json.extend_from_slice(b"\\r"),
            0..=0x1f | 0x7f => json.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => json.push(byte),
        }
    }
    json.push(b'"');
    Ok(())
}

fn append_table(table: &Table, depth: i64, terms: &Terms, json: &mut Vec<u8>) -> Result<(), Fault> {
    if depth > terms.settings.encode_max_depth.min(DEPTH_MAX) {
        return Err(Fault::text(format!("Cannot serialise, excessive nesting ({depth})")));
    }
    check_built(json.len())?;
    match array_length(table, terms)? {
        Some(length) if length > 0 => {
            json.push(b'[');
            for index in 1..=length {
                if index > 1 {
                    json.push(b',');
                }
                append(&table.raw_get::<Value>(index)?, depth, terms, json)?;
            }
            json.push(b']');
        }
        _ => append_object(table, depth, terms, json)?,
    }
    Ok(())
}

/// The largest index, if all keys are positive integers and not too few of them.
fn array_length(table: &Table, terms: &Terms) -> Result<Option<i64>, Fault> {
    let (mut largest, mut items) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        terms.work.add(VALUE_STEPS)?;
        match pair?.0 {
            Value::Integer(index) if index >= 1 => {
                largest = largest.max(index);
                items += 1;
            }
            _ => return Ok(None),
        }
    }
    let Settings { sparse_ratio, sparse_safe, .. } = *terms.settings;
    if sparse_ratio > 0 && largest > sparse_ratio.saturating_mul(items) && largest > sparse_safe {
        if !terms.settings.sparse_convert {
            return Err(Fault::text("Cannot serialise table: excessively sparse array"));
        }
        return Ok(None);
    }
    Ok(Some(largest))
}

fn append_object(table: &Table, depth: i64, terms: &Terms, json: &mut Vec<u8>) -> Result<(), Fault> {
    json.push(b'{');
    let mut is_first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        if !is_first {
            json.push(b',');
        }
        is_first = false;
        match &key {
            Value::String(text) => append_string(&text.as_bytes(), terms.work, json)?,
            Value::Integer(_) | Value::Number(_) => {
                json.push(b'"');
                append(&key, depth, terms, json)?;
                json.push(b'"');
            }
            other => {
                let reason = "table key must be a number or string";
                return Err(refusal(other, reason));
            }
        }
        json.push(b':');
        append(&value, depth, terms, json)?;
    }
    json.push(b'}');
    Ok(())
}
