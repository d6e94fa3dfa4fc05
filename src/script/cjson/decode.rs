//! JSON text as Lua values. It must not know who asks for it.

use mlua::{Lua, Value};

use super::{DEPTH_MAX, Settings, VALUE_STEPS};
use crate::script::fault::Fault;
use crate::script::work::Work;

pub fn decode(lua: &Lua, json: &[u8], settings: &Settings, work: &Work) -> Result<Value, Fault> {
    if matches!(json, [0, _, ..] | [_, 0, ..]) {
        return Err(Fault::text("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut reader = Reader { lua, json, at: 0, token_at: 0, depth: 0, settings, work };
    let token = reader.next();
    let value = reader.value(token)?;
    match reader.next() {
        Token::End => Ok(value),
        other => Err(reader.expected("the end", &other)),
    }
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    /// As errors call it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(what) => what,
        }
    }
}

struct Reader<'j> {
    lua: &'j Lua,
    json: &'j [u8],
    at: usize,
    /// Where the last token begins, or where it went wrong.
    token_at: usize,
    depth: i64,
    settings: &'j Settings,
    work: &'j Work,
}

impl Reader<'_> {
    fn expected(&self, what: &str, found: &Token) -> Fault {
        Fault::text(format!("Expected {what} but found {} at character {}", found.name(), self.token_at + 1))
    }

    fn value(&mut self, token: Token) -> Result<Value, Fault> {
        self.work.add(VALUE_STEPS)?;
        Ok(match token {
            Token::String(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => Value::NULL,
            Token::ObjectBegin => self.object()?,
            Token::ArrayBegin => self.array()?,
            other => return Err(self.expected("value", &other)),
        })
    }

    fn descend(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > self.settings.decode_max_depth.min(DEPTH_MAX) {
            let (depth, at) = (self.depth, self.at);
            return Err(Fault::text(format!("Found too many nested data structures ({depth}) at character {at}")));
        }
        Ok(())
    }

    fn object(&mut self) -> Result<Value, Fault> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if !matches!(token, Token::ObjectEnd) {
            loop {
                let Token::String(key) = token else { return Err(self.expected("object key string", &token)) };
                let colon = self.next();
                if !matches!(colon, Token::Colon) {
                    return Err(self.expected("colon", &colon));
                }
                let value = self.next();
                table.raw_set(self.lua.create_string(key)?, self.value(value)?)?;
                match self.next() {
                    Token::ObjectEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.expected("comma or object end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self) -> Result<Value, Fault> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if !matches!(token, Token::ArrayEnd) {
            for index in 1.. {
                table.raw_seti(index, self.value(token)?)?;
                match self.next() {
                    Token::ArrayEnd => break,
                    Token::Comma => token = self.next(),
                    other => return Err(self.expected("comma or array end", &other)),
                }
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    /// The byte at an offset from here; 0 beyond the end, which ends JSON text as well.
    fn byte(&self, offset: usize) -> u8 {
        self.json.get(self.at + offset).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Token {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        self.token_at = self.at;
        let simple = match self.byte(0) {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            0 => return Token::End,
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' if self.settings.decode_invalid || !self.is_invalid_number() => return self.number(),
            b'-' | b'0'..=b'9' => return Token::Error("invalid number"),
            _ => return self.word(),
        };
        self.at += 1;
        simple
    }

    fn word(&mut self) -> Token {
        let rest = &self.json[self.at..];
        for (word, token) in [("true", Token::Boolean(true)), ("false", Token::Boolean(false)), ("null", Token::Null)] {
            if rest.starts_with(word.as_bytes()) {
                self.at += word.len();
                return token;
            }
        }
        let may_be_number = matches!(rest[0], b'i' | b'I' | b'n' | b'N' | b'+');
        if may_be_number && self.settings.decode_invalid && self.is_invalid_number() {
            return self.number();
        }
        Token::Error("invalid token")
    }

    /// What a C library reads as a number but JSON does not have: a plus, a leading zero, hexadecimal, inf, nan.
    fn is_invalid_number(&self) -> bool {
        let sign = usize::from(self.byte(0) == b'-');
        match self.byte(sign) {
            b'+' => sign == 0,
            b'0' => matches!(self.byte(sign + 1), b'x' | b'X' | b'0'..=b'9'),
            byte if byte <= b'9' => false,
            _ => self.has_word(sign, b"inf") || self.has_word(sign, b"nan"),
        }
    }

    fn has_word(&self, offset: usize, word: &[u8]) -> bool {
        let rest = &self.json[(self.at + offset).min(self.json.len())..];
        rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word)
    }

    fn number(&mut self) -> Token {
        let sign = usize::from(matches!(self.byte(0), b'-' | b'+'));
        let digits_from = |reader: &Self, mut offset: usize, is_digit: fn(&u8) -> bool| {
            while is_digit(&reader.byte(offset)) {
                offset += 1;
            }
            offset
        };
        let negative = self.byte(0) == b'-';
        let signed = |number: f64| Token::Number(if negative { -number } else { number });
        for (word, number) in [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)] {
            if self.has_word(sign, word.as_bytes()) {
                self.at += sign + word.len();
                return signed(number);
            }
        }
        if self.byte(sign) == b'0' && self.byte(sign + 1) | 0x20 == b'x' && self.byte(sign + 2).is_ascii_hexdigit() {
            let end = digits_from(self, sign + 2, u8::is_ascii_hexdigit);
            let digits = &self.json[self.at + sign + 2..self.at + end];
            self.at += end;
            let digit = |byte: &u8| char::from(*byte).to_digit(16).map_or(0.0, f64::from);
            return signed(digits.iter().fold(0.0, |number, byte| number * 16.0 + digit(byte)));
        }
        let mut end = digits_from(self, sign, u8::is_ascii_digit);
        let whole_digits = end - sign;
        if self.byte(end) == b'.' {
            let fraction_end = digits_from(self, end + 1, u8::is_ascii_digit);
            if whole_digits + (fraction_end - end - 1) == 0 {
                return Token::Error("invalid number");
            }
            end = fraction_end;
        } else if whole_digits == 0 {
            return Token::Error("invalid number");
        }
        if self.byte(end) | 0x20 == b'e' {
            let exponent = end + 1 + usize::from(matches!(self.byte(end + 1), b'-' | b'+'));
            if self.byte(exponent).is_ascii_digit() {
                end = digits_from(self, exponent, u8::is_ascii_digit);
            }
        }
        let text = std::str::from_utf8(&self.json[self.at..self.at + end]).unwrap_or_default();
        self.at += end;
        text.parse().map_or(Token::Error("invalid number"), Token::Number)
    }

    fn string(&mut self) -> Token {
        self.at += 1;
        let mut text = Vec::new();
        loop {
            match self.byte(0) {
                b'"' => {
                    self.at += 1;
                    return Token::String(text);
                }
                0 => return self.error("unexpected end of string"),
                b'\\' => {
                    let plain = match self.byte(1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => 0x08,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 0x0c,
                        b'r' => b'\r',
                        b'u' => match self.unicode() {
                            Some((character, length)) => {
                                self.at += length;
                                append_utf8(character, &mut text);
                                continue;
                            }
                            None => return self.error("invalid unicode escape code"),
                        },
                        _ => return self.error("invalid escape code"),
                    };
                    text.push(plain);
                    self.at += 2;
                }
                byte => {
                    text.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn error(&mut self, what: &'static str) -> Token {
        self.token_at = self.at;
        Token::Error(what)
    }

    /// The character of a `\u` escape, or of a pair of them, and how long the escape is.
    fn unicode(&self) -> Option<(u32, usize)> {
        let first = self.four_hex_digits(2)?;
        if first & 0xF800 != 0xD800 {
            return Some((first, 6));
        }
        let is_high = first & 0x400 == 0;
        if !is_high || self.byte(6) != b'\\' || self.byte(7) != b'u' {
            return None;
        }
        let second = self.four_hex_digits(8)?;
        (second & 0xFC00 == 0xDC00).then_some((((first & 0x3FF) << 10 | second & 0x3FF) + 0x1_0000, 12))
    }

    fn four_hex_digits(&self, offset: usize) -> Option<u32> {
        (offset..offset + 4).try_fold(0, |value, at| Some(value << 4 | char::from(self.byte(at)).to_digit(16)?))
    }
}

fn append_utf8(character: u32, text: &mut Vec<u8>) {
    // Surrogates were put together before: every other value is a character.
    let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}
