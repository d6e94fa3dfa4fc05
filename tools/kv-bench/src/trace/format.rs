//! The forms in which traces are published, and how their lines and records are read.
//!
//! `text` is a key and a size a line. `csv` is libCacheSim's: time, key, size, more; a heading names the columns if they
//! stand otherwise. `oracle` is libCacheSim's oracleGeneral: records of 24 bytes, little-endian (u32 time, u64 key, u32
//! size, i64 next access; `traceReader/customizedReader/oracle/oracleGeneralBin.h` there). `twitter` is the form of
//! Twitter's cache traces (Yang et al., OSDI 2020): time, key, key size, value size, client, operation, TTL.

use super::Operation;
use clap::ValueEnum;
use std::{
    io::{BufRead, Read},
    path::Path,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// What the name and the first line look like.
    Auto,
    /// A key and a size a line.
    Text,
    /// libCacheSim's: time, key, size, and more; or columns with a heading.
    Csv,
    /// libCacheSim's oracleGeneral, binary.
    Oracle,
    /// Twitter's: time, key, key size, value size, client, operation, TTL.
    Twitter,
}

/// One request as it stands in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub key: &'a [u8],
    pub size_bytes: u64,
    pub ttl_seconds: u32,
    pub operation: Operation,
}

/// Reads one record after the other.
pub struct Reader {
    input: Box<dyn BufRead>,
    layout: Layout,
    line: String,
    /// The first line is read to see the layout; whether it is yet to be taken for a record.
    pending: bool,
    /// Lines or records so far.
    count: u64,
    key: Vec<u8>,
}

/// Where in a line or record everything stands.
enum Layout {
    Binary,
    Columns { split: fn(char) -> bool, key: usize, size: usize, ttl: Option<usize>, operation: Option<usize> },
}

const TEXT: Layout = Layout::Columns { split: char::is_whitespace, key: 0, size: 1, ttl: None, operation: None };
const TWITTER: Layout = Layout::Columns { split: is_comma, key: 1, size: 3, ttl: Some(6), operation: Some(5) };

fn is_comma(letter: char) -> bool {
    letter == ','
}

impl Reader {
    /// A record of oracleGeneral, in bytes.
    const RECORD_BYTES: usize = 24;
    /// No line is longer, in bytes.
    const LINE_BYTES: u64 = 64 << 10;

    /// Looks at the first line, and at the file's name, if the format is to be found out.
    pub fn new(input: Box<dyn BufRead>, format: Format, path: &Path) -> Result<Reader, String> {
        let mut reader = Reader { input, layout: TEXT, line: String::new(), pending: false, count: 0, key: vec![] };
        let binary = path.file_name().is_some_and(|name| name.to_string_lossy().contains("oracleGeneral"));
        if format == Format::Oracle || (format == Format::Auto && binary) {
            reader.layout = Layout::Binary;
        } else if reader.read_line()? {
            (reader.layout, reader.pending) = layout(&reader.line, format)?;
        }
        Ok(reader)
    }

    /// The next record; `None` at the end. An error says at which line or record.
    pub fn next(&mut self) -> Result<Option<Record<'_>>, String> {
        match self.layout {
            Layout::Binary => self.next_binary(),
            Layout::Columns { .. } => self.next_line(),
        }
    }

    fn next_binary(&mut self) -> Result<Option<Record<'_>>, String> {
        if self.input.fill_buf().map_err(|why| why.to_string())?.is_empty() {
            return Ok(None);
        }
        self.count += 1;
        let mut record = [0; Reader::RECORD_BYTES];
        self.input.read_exact(&mut record).map_err(|why| format!("record {}: {why}", self.count))?;
        let key = u64::from_le_bytes(record[4..12].try_into().expect("eight bytes"));
        let size = u32::from_le_bytes(record[12..16].try_into().expect("four bytes"));
        self.key = key.to_string().into_bytes();
        Ok(Some(Record { key: &self.key, size_bytes: size.into(), ttl_seconds: 0, operation: Operation::Read }))
    }

    fn next_line(&mut self) -> Result<Option<Record<'_>>, String> {
        if !std::mem::take(&mut self.pending) && !self.read_line()? {
            return Ok(None);
        }
        let Reader { layout, line, key, count, .. } = self;
        let wrong = |what: &str| format!("line {count}: no {what} in '{}'; see --format", line.trim_end());
        let Layout::Columns { split, key: of_key, size, ttl, operation } = layout else { unreachable!("it has lines") };
        let fields: Vec<&str> = fields(line, *split);
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let name = fields.get(*of_key).filter(|name| !name.is_empty()).ok_or_else(|| wrong("key"))?;
        key.clear();
        spell(name, key);
        let operation = operation.and_then(|at| fields.get(at).copied());
        Ok(Some(Record {
            key,
            size_bytes: number(*size).ok_or_else(|| wrong("size"))?,
            ttl_seconds: ttl.and_then(number).map_or(0, |ttl| u32::try_from(ttl).unwrap_or(u32::MAX)),
            operation: operation.map_or(Some(Operation::Read), named).ok_or_else(|| wrong("operation"))?,
        }))
    }

    /// Reads the next line that is not empty; whether there is one.
    fn read_line(&mut self) -> Result<bool, String> {
        loop {
            self.line.clear();
            self.count += 1;
            let read = (&mut self.input).take(Reader::LINE_BYTES).read_line(&mut self.line);
            if read.map_err(|why| format!("line {}: {why}", self.count))? == 0 {
                return Ok(false);
            }
            if !self.line.trim().is_empty() {
                return Ok(true);
            }
        }
    }
}

fn fields(line: &str, split: fn(char) -> bool) -> Vec<&str> {
    let fields = line.trim_end().split(split).map(str::trim);
    match split(' ') {
        true => fields.filter(|field| !field.is_empty()).collect(),
        false => fields.collect(),
    }
}

/// What a line has where, and whether the first line is a record already.
fn layout(first: &str, format: Format) -> Result<(Layout, bool), String> {
    let by_comma = fields(first, is_comma);
    let twitter = by_comma.len() >= 7 && named(by_comma[5]).is_some();
    match format {
        Format::Text => Ok((TEXT, true)),
        Format::Twitter => Ok((TWITTER, true)),
        Format::Auto if twitter => Ok((TWITTER, true)),
        Format::Auto if by_comma.len() < 2 => Ok((TEXT, true)),
        _ => {
            let heading: Vec<String> =
                by_comma.iter().map(|name| name.trim_start_matches('#').trim().to_lowercase()).collect();
            let column = |names: &[&str]| heading.iter().position(|name| names.contains(&name.as_str()));
            let key = column(&["key", "id", "obj_id", "object_id", "object"]);
            let size = column(&["size", "obj_size", "object_size", "value_size"]);
            let (ttl, operation) = (column(&["ttl"]), column(&["op", "operation"]));
            match (key, size, by_comma.len()) {
                (Some(key), Some(size), _) => {
                    Ok((Layout::Columns { split: is_comma, key, size, ttl, operation }, false))
                }
                (None, None, 2) => {
                    Ok((Layout::Columns { split: is_comma, key: 0, size: 1, ttl: None, operation: None }, true))
                }
                (None, None, _) => {
                    Ok((Layout::Columns { split: is_comma, key: 1, size: 2, ttl: None, operation: None }, true))
                }
                _ => Err(format!("line 1: a heading without a key or a size: '{}'", first.trim_end())),
            }
        }
    }
}

/// memcached's commands, as Twitter's traces have them, and plain words.
fn named(operation: &str) -> Option<Operation> {
    Some(match operation {
        "get" | "gets" | "read" => Operation::Read,
        "set" | "add" | "replace" | "cas" | "append" | "prepend" | "incr" | "decr" | "write" => Operation::Write,
        "delete" => Operation::Delete,
        _ => return None,
    })
}

/// The key as every server takes it: as it stands, or as a digest where it is too long or not of plain letters.
fn spell(name: &str, key: &mut Vec<u8>) {
    const LONGEST_KEY_BYTES: usize = 250;
    if name.len() <= LONGEST_KEY_BYTES && name.bytes().all(|letter| letter.is_ascii_graphic()) {
        key.extend_from_slice(name.as_bytes());
    } else {
        let digest = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, letter| {
            (hash ^ u64::from(letter)).wrapping_mul(0x0100_0000_01b3) // FNV-1a
        });
        key.extend_from_slice(format!("{digest:016x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(bytes: &[u8], format: Format, name: &str) -> Result<Vec<(String, u64, u32, Operation)>, String> {
        let mut reader = Reader::new(Box::new(Cursor::new(bytes.to_vec())), format, Path::new(name))?;
        let mut all = vec![];
        while let Some(Record { key, size_bytes, ttl_seconds, operation }) = reader.next()? {
            all.push((String::from_utf8(key.to_vec()).unwrap(), size_bytes, ttl_seconds, operation));
        }
        Ok(all)
    }

    fn plain(all: &[(&str, u64)]) -> Result<Vec<(String, u64, u32, Operation)>, String> {
        Ok(all.iter().map(|(key, size)| (key.to_string(), *size, 0, Operation::Read)).collect())
    }

    #[test]
    fn every_form_is_found_out() {
        assert_eq!(read(b"7 100\n-3\t5\n\n7 100", Format::Auto, "a.txt"), plain(&[("7", 100), ("-3", 5), ("7", 100)]));
        assert_eq!(read(b"7,100\n8,5\n", Format::Auto, "a"), plain(&[("7", 100), ("8", 5)]));
        assert_eq!(read(b"0, 7, 100, 2\n1, 8, 5, 9\n", Format::Auto, "a.csv"), plain(&[("7", 100), ("8", 5)]));
        let heading = b"# obj_size,time,obj_id\r\n100,1,7\r\n";
        assert_eq!(read(heading, Format::Auto, "a.csv"), plain(&[("7", 100)]));
        let twitter = b"0,zzF:l,7,220,1,get,0\n1,zzF:l,7,220,1,set,86400\n2,zzF:l,7,0,1,delete,0\n";
        let all = read(twitter, Format::Auto, "cluster.sort").unwrap();
        let expected = [(220, 0, Operation::Read), (220, 86_400, Operation::Write), (0, 0, Operation::Delete)];
        assert_eq!(all, expected.map(|(size, ttl, operation)| ("zzF:l".to_string(), size, ttl, operation)));
    }

    #[test]
    fn binary_records_are_read_whole() {
        let record = |key: u64, size: u32| {
            [&1u32.to_le_bytes()[..], &key.to_le_bytes(), &size.to_le_bytes(), &(-1i64).to_le_bytes()].concat()
        };
        let bytes = [record(7, 100), record(u64::MAX, 5)].concat();
        let expected = plain(&[("7", 100), ("18446744073709551615", 5)]);
        assert_eq!(read(&bytes, Format::Auto, "w.oracleGeneral.zst"), expected);
        assert_eq!(read(&bytes, Format::Oracle, "w"), expected);
        assert!(read(&bytes[..40], Format::Oracle, "w").unwrap_err().starts_with("record 2: "));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (bytes, format, reason) in [
            (&b"7 100\n8\n"[..], Format::Auto, "line 2: no size in '8'"),
            (b"7 many\n", Format::Text, "line 1: no size"),
            (b"0,k,1,2,3,fetch,0\n", Format::Twitter, "line 1: no operation"),
            (b"key,colour\n1,2\n", Format::Csv, "line 1: a heading without a key or a size"),
            (b"\xff\xfe 3\n", Format::Auto, "line 1: "),
        ] {
            let why = read(bytes, format, "a").unwrap_err();
            assert!(why.starts_with(reason), "{why}");
        }
    }

    #[test]
    fn keys_that_no_server_takes_become_digests() {
        let all = read("schlüssel 1\n".as_bytes(), Format::Text, "a").unwrap();
        assert_eq!((all[0].0.len(), all[0].1), (16, 1));
        let long = format!("{} 1\n", "k".repeat(300));
        assert_eq!(read(long.as_bytes(), Format::Text, "a").unwrap()[0].0.len(), 16);
    }
}
