//! Strings in Redis's serialization (RDB), as DUMP and FUNCTION DUMP write them and their RESTOREs read them. It must not
//! know commands.
//!
//! ```text
//! type       1 byte, 0 for a string, 245 for a library of functions
//! string     a length and so many bytes; or a number; or lengths and bytes compressed by LZF
//! version    2 bytes, little endian
//! checksum   8 bytes, little endian: CRC-64 of all before
//! ```
//!
//! Libraries are each a type and a string, one after the other.

use crc::{CRC_64_REDIS, Crc, Digest, Table};

use crate::command::parse_integer;

/// Strings have not changed since Redis 2.6: the oldest version that servers of our time write is read by all of them.
const VERSION: u16 = 10;
/// The newest version known to keep strings so, that of Valkey 9.
const VERSION_MAX: u16 = 80;
pub const FOOTER_BYTES: usize = 10;
pub const STRING: u8 = 0;
/// The source of a library.
pub const FUNCTION: u8 = 245;
/// The same before Redis 7.0 was done.
pub const EARLY_FUNCTION: u8 = 246;
/// The longest text of a number that is written as one.
const NUMBER_MAX_BYTES: usize = 11;
/// The most bytes that LZF makes of one: 264 out of three.
const LZF_FACTOR: usize = 88;

static CHECKSUM: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// What comes before the bytes of a string of this length.
pub fn head(kind: u8, length: usize) -> Vec<u8> {
    let mut head = vec![kind];
    match length {
        0..0x40 => head.push(length as u8),
        0x40..0x4000 => head.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        _ => {
            head.push(0x80);
            head.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    head
}

/// A number of at most 32 bits, type and all; none if the value is another text.
pub fn number(value: &[u8]) -> Option<Vec<u8>> {
    let number = parse_integer(value).filter(|_| value.len() <= NUMBER_MAX_BYTES)?;
    let mut bytes = vec![STRING];
    if let Ok(number) = i8::try_from(number) {
        bytes.push(0xc0);
        bytes.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        bytes.push(0xc1);
        bytes.extend_from_slice(&number.to_le_bytes());
    } else {
        bytes.push(0xc2);
        bytes.extend_from_slice(&i32::try_from(number).ok()?.to_le_bytes());
    }
    Some(bytes)
}

/// A checksum of bytes that come one after the other.
pub struct Checksum(Digest<'static, u64, Table<16>>);

impl Checksum {
    pub fn of(bytes: &[u8]) -> Checksum {
        let mut checksum = Checksum(CHECKSUM.digest());
        checksum.add(bytes);
        checksum
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What comes after head and string, of which it is.
    pub fn footer(mut self) -> [u8; FOOTER_BYTES] {
        let version = VERSION.to_le_bytes();
        self.add(&version);
        let mut footer = [0; FOOTER_BYTES];
        footer[..2].copy_from_slice(&version);
        footer[2..].copy_from_slice(&self.0.finalize().to_le_bytes());
        footer
    }

    /// It is the one that is written.
    pub fn is(self, written: [u8; 8]) -> bool {
        self.0.finalize().to_le_bytes() == written
    }
}

/// A payload whose version is known: its content, what the checksum is of, and the checksum as it is written.
pub fn open(payload: &[u8]) -> Option<(&[u8], &[u8], [u8; 8])> {
    let (rest, checksum) = payload.split_last_chunk::<8>()?;
    let (content, version) = rest.split_last_chunk::<2>()?;
    (u16::from_le_bytes(*version) <= VERSION_MAX).then_some((content, rest, *checksum))
}

/// A string as it lies in a payload.
pub enum Encoded<'p> {
    Plain(&'p [u8]),
    Number(i64),
    Compressed { bytes: &'p [u8], length: usize },
}

impl<'p> Encoded<'p> {
    /// None if it is no string, or not whole.
    pub fn read(content: &'p [u8]) -> Option<Encoded<'p>> {
        let (&kind, mut rest) = content.split_first()?;
        if kind == STRING { Encoded::take(&mut rest) } else { None }
    }

    /// A string without its type, off the beginning of `rest`; none if it is not whole.
    pub fn take(rest: &mut &'p [u8]) -> Option<Encoded<'p>> {
        let first = *rest.first()?;
        if matches!(first, 0xc0..0xc4) {
            *rest = &rest[1..];
        }
        Some(match first {
            0xc0 => Encoded::Number(i8::from_le_bytes(*take(rest)?) as i64),
            0xc1 => Encoded::Number(i16::from_le_bytes(*take(rest)?) as i64),
            0xc2 => Encoded::Number(i32::from_le_bytes(*take(rest)?) as i64),
            0xc3 => {
                let compressed = read_length(rest)?;
                let length = read_length(rest)?;
                let bytes = rest.split_off(..compressed)?;
                // A length that cannot be: nothing is reserved for it.
                if length > bytes.len().saturating_mul(LZF_FACTOR) {
                    return None;
                }
                Encoded::Compressed { bytes, length }
            }
            _ => {
                let length = read_length(rest)?;
                Encoded::Plain(rest.split_off(..length)?)
            }
        })
    }

    /// The value's length, or a little more.
    pub fn len(&self) -> usize {
        match self {
            Encoded::Plain(bytes) => bytes.len(),
            Encoded::Number(_) => NUMBER_MAX_BYTES,
            Encoded::Compressed { length, .. } => *length,
        }
    }

    pub fn decode(self) -> Option<Vec<u8>> {
        match self {
            Encoded::Plain(bytes) => Some(bytes.to_vec()),
            Encoded::Number(number) => Some(number.to_string().into_bytes()),
            Encoded::Compressed { bytes, length } => decompress(bytes, length),
        }
    }
}

fn take<'p, const N: usize>(rest: &mut &'p [u8]) -> Option<&'p [u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(bytes)
}

fn read_length(rest: &mut &[u8]) -> Option<usize> {
    let (&first, after) = rest.split_first()?;
    let (length, after) = match first {
        0x00..0x40 => (first as usize, after),
        0x40..0x80 => {
            let (&second, after) = after.split_first()?;
            ((first as usize & 0x3f) << 8 | second as usize, after)
        }
        0x80 => {
            let (length, after) = after.split_first_chunk::<4>()?;
            (u32::from_be_bytes(*length) as usize, after)
        }
        0x81 => {
            let (length, after) = after.split_first_chunk::<8>()?;
            (usize::try_from(u64::from_be_bytes(*length)).ok()?, after)
        }
        _ => return None,
    };
    *rest = after;
    Some(length)
}

/// LZF: runs of up to 32 bytes as they are, and copies of up to 264 bytes from up to 8 KiB before. None unless exactly
/// `length` bytes come out.
fn decompress(mut input: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    output.try_reserve_exact(length).ok()?;
    while let Some((&control, after)) = input.split_first() {
        let (count, distance);
        (count, distance, input) = match control {
            0..32 => {
                let (run, after) = after.split_at_checked(control as usize + 1)?;
                if output.len() + run.len() > length {
                    return None;
                }
                output.extend_from_slice(run);
                input = after;
                continue;
            }
            // Seven says that the length goes on in a byte of its own.
            224.. => {
                let (&[more, low], after) = after.split_first_chunk()?;
                (7 + more as usize + 2, (control as usize & 31) << 8 | low as usize, after)
            }
            _ => {
                let (&low, after) = after.split_first()?;
                ((control >> 5) as usize + 2, (control as usize & 31) << 8 | low as usize, after)
            }
        };
        let start = output.len().checked_sub(distance + 1)?;
        if output.len() + count > length {
            return None;
        }
        // One by one: a copy may reach into what it writes.
        (start..start + count).for_each(|from| output.push(output[from]));
    }
    (output.len() == length).then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer(head: &[u8], string: &[u8]) -> [u8; FOOTER_BYTES] {
        let mut checksum = Checksum::of(head);
        checksum.add(string);
        checksum.footer()
    }

    fn opened(payload: &[u8]) -> Option<&[u8]> {
        let (content, checked, checksum) = open(payload)?;
        Checksum::of(checked).is(checksum).then_some(content)
    }

    fn round_trip(value: &[u8]) -> Vec<u8> {
        let (head, string) = match number(value) {
            Some(head) => (head, &[][..]),
            None => (head(STRING, value.len()), value),
        };
        let payload = [&head[..], string, &footer(&head, string)].concat();
        Encoded::read(opened(&payload).unwrap()).unwrap().decode().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 63, 64, 16_383, 16_384, 100_000] {
            let value = vec![b'x'; length];
            assert_eq!(round_trip(&value), value);
        }
        for value in ["0", "-1", "127", "128", "-32768", "32768", "-2147483648", "2147483648", "01", "-0", "1.5"] {
            assert_eq!(round_trip(value.as_bytes()), value.as_bytes());
        }
    }

    #[test]
    fn several_are_taken_one_after_the_other() {
        let content = b"\x03abc\xc0\x07\xc1\x00\x01\xc2\x00\x00\x01\x00\xc3\x02\x01\x00x\x40\x02ab";
        let mut rest = &content[..];
        for value in ["abc", "7", "256", "65536", "x", "ab"] {
            assert_eq!(Encoded::take(&mut rest).unwrap().decode().unwrap(), value.as_bytes());
        }
        assert!(rest.is_empty() && Encoded::take(&mut rest).is_none());
    }

    #[test]
    fn compressed_strings() {
        // "a" and 99 copies of it: a run of one, and a copy of the byte before.
        let all = [0, b'a', 0xe0, 90, 0];
        assert_eq!(decompress(&all, 100).unwrap(), vec![b'a'; 100]);
        assert_eq!(decompress(&[2, b'a', b'b', b'c', 0x20, 2], 6).unwrap(), b"abcabc");
        for (broken, length) in [(&all[..], 99), (&all, 101), (&all[..4], 100), (&[0x20, 0], 3), (&[5, b'a'], 6)] {
            assert!(decompress(broken, length).is_none(), "{broken:?}");
        }
    }

    #[test]
    fn broken_payloads_are_refused() {
        let head = head(STRING, 5);
        let payload = [&head[..], b"value", &footer(&head, b"value")].concat();
        for at in 0..payload.len() {
            assert!(opened(&payload[..at]).is_none());
            let mut changed = payload.clone();
            changed[at] ^= 1;
            assert!(opened(&changed).is_none());
        }
        for content in
            [&b""[..], b"\x01\x00", b"\x00", b"\x00\x05abcd", b"\x00\xc1\x00", b"\x00\xc3\x01\xff\xff", b"\x00\x83"]
        {
            assert!(Encoded::read(content).is_none(), "{content:?}");
        }
    }
}
