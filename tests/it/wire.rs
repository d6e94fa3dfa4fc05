//! Replies as clients read them: RESP2 and RESP3, told apart by their first byte.

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Double(f64),
    Bulk(Vec<u8>),
    /// `$-1`, `*-1` or `_`.
    Null,
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Set(Vec<Value>),
    /// A verbatim string without its format.
    Verbatim(String),
}

impl Value {
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Value {
        Value::Bulk(bytes.as_ref().to_vec())
    }

    /// A string of any kind.
    pub fn text(&self) -> String {
        match self {
            Value::Simple(text) | Value::Error(text) | Value::Verbatim(text) => text.clone(),
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?} is no string"),
        }
    }

    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(value) => *value,
            other => panic!("{other:?} is no integer"),
        }
    }

    /// The elements of an array or a set.
    pub fn elements(&self) -> &[Value] {
        match self {
            Value::Array(elements) | Value::Set(elements) => elements,
            other => panic!("{other:?} is no array"),
        }
    }

    /// The pairs of a map, or of the flat array that RESP2 has instead.
    pub fn pairs(&self) -> Vec<(Value, Value)> {
        match self {
            Value::Map(pairs) => pairs.clone(),
            Value::Array(flat) => flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
            other => panic!("{other:?} is no map"),
        }
    }

    /// The value under a key of a map.
    pub fn field(&self, name: &str) -> Value {
        let found = self.pairs().into_iter().find(|(key, _)| key.text() == name);
        found.unwrap_or_else(|| panic!("no {name} in {self:?}")).1
    }
}

/// The length of the first reply in `bytes`, once it is there whole.
pub fn reply_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    let mut missing = 1usize;
    while missing > 0 {
        let (kind, line, next) = line(bytes, at)?;
        at = next;
        missing -= 1;
        match kind {
            b'$' | b'=' if line != "-1" => {
                at += count(line) + 2;
                if bytes.len() < at {
                    return None;
                }
            }
            b'*' | b'~' | b'>' if line != "-1" => missing += count(line),
            b'%' => missing += 2 * count(line),
            b'+' | b'-' | b':' | b',' | b'$' | b'*' | b'_' => {}
            other => panic!("{:?} begins no reply: {}", other as char, bytes[..bytes.len().min(200)].escape_ascii()),
        }
    }
    Some(at)
}

/// Parses one whole reply.
pub fn parse(bytes: &[u8]) -> Value {
    let (value, end) = value(bytes, 0);
    assert_eq!(end, bytes.len(), "one reply");
    value
}

fn value(bytes: &[u8], at: usize) -> (Value, usize) {
    let (kind, text, next) = line(bytes, at).expect("a whole reply");
    let elements = |count: usize| {
        let mut end = next;
        let mut parse_one = || {
            let (element, after) = value(bytes, end);
            end = after;
            element
        };
        let elements: Vec<Value> = (0..count).map(|_| parse_one()).collect();
        (elements, end)
    };
    match kind {
        b'+' => (Value::Simple(text.to_owned()), next),
        b'-' => (Value::Error(text.to_owned()), next),
        b':' => (Value::Integer(text.parse().expect("an integer")), next),
        b',' => (Value::Double(text.parse().expect("a number")), next),
        b'_' => (Value::Null, next),
        b'$' | b'*' if text == "-1" => (Value::Null, next),
        b'$' => (Value::Bulk(body(bytes, next, text)), next + count(text) + 2),
        b'=' => {
            let body = String::from_utf8(body(bytes, next, text)).expect("text");
            (Value::Verbatim(body.strip_prefix("txt:").expect("a format").to_owned()), next + count(text) + 2)
        }
        b'%' => {
            let (flat, end) = elements(2 * count(text));
            (Value::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()), end)
        }
        b'~' => {
            let (elements, end) = elements(count(text));
            (Value::Set(elements), end)
        }
        _ => {
            let (elements, end) = elements(count(text));
            (Value::Array(elements), end)
        }
    }
}

fn body(bytes: &[u8], start: usize, length: &str) -> Vec<u8> {
    let end = start + count(length);
    assert_eq!(&bytes[end..end + 2], b"\r\n", "a string ends where its length says");
    bytes[start..end].to_vec()
}

/// The first byte, the rest of the line, and where the next one starts.
fn line(bytes: &[u8], at: usize) -> Option<(u8, &str, usize)> {
    let length = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let text = std::str::from_utf8(&bytes[at + 1..at + length]).expect("lines of replies are text");
    Some((bytes[at], text, at + length + 2))
}

fn count(text: &str) -> usize {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no length"))
}
