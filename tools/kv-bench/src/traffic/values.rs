//! What stands in a value: random bytes, or with `--verify` bytes from which run, key and version can be told. Knows
//! nothing of sockets.

use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Random bytes from which values are cut, so that making a value costs no more than copying it.
pub struct Pool {
    bytes: Vec<u8>,
}

impl Pool {
    /// So many different beginnings do the values have.
    const OFFSETS: usize = 4096;

    /// A pool for values of up to `longest` bytes.
    pub fn new(longest: usize, seed: u64) -> Pool {
        let mut bytes = vec![0; longest + Pool::OFFSETS];
        SmallRng::seed_from_u64(seed).fill(&mut bytes[..]);
        Pool { bytes }
    }

    /// A value of this key.
    pub fn value(&self, key: u64, size: usize) -> &[u8] {
        let start = key as usize % Pool::OFFSETS;
        &self.bytes[start..start + size]
    }
}

/// What a verified value says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Drawn anew by each run, so that what an earlier run left behind is recognized.
    pub run: u32,
    pub version: u32,
    pub key: u64,
}

impl Mark {
    pub const BYTES: usize = 16;

    fn to_bytes(self) -> [u8; Mark::BYTES] {
        let mut bytes = [0; Mark::BYTES];
        bytes[..4].copy_from_slice(&self.run.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.version.to_le_bytes());
        bytes[8..].copy_from_slice(&self.key.to_le_bytes());
        bytes
    }

    /// Appends a value of `size` bytes: the mark, then a stream that follows from it.
    pub fn write(self, size: usize, out: &mut Vec<u8>) {
        let end = out.len() + size;
        out.extend_from_slice(&self.to_bytes());
        let mut stream = self.stream();
        while out.len() < end {
            out.extend_from_slice(&stream.next_word().to_le_bytes());
        }
        out.truncate(end);
    }

    /// Reads the mark of a value and checks every byte behind it; `None` if the value is torn or was never ours.
    pub fn read(value: &[u8]) -> Option<Mark> {
        let (head, body) = value.split_at_checked(Mark::BYTES)?;
        let mark = Mark {
            run: u32::from_le_bytes(head[..4].try_into().ok()?),
            version: u32::from_le_bytes(head[4..8].try_into().ok()?),
            key: u64::from_le_bytes(head[8..].try_into().ok()?),
        };
        let mut stream = mark.stream();
        let whole = body.chunks(8).all(|chunk| stream.next_word().to_le_bytes().starts_with(chunk));
        whole.then_some(mark)
    }

    fn stream(self) -> Stream {
        let seed = self.key.rotate_left(32) ^ u64::from(self.run) << 32 ^ u64::from(self.version);
        Stream { word: seed | 1 }
    }
}

/// A multiplicative generator: its words need not be random, only hard to get right by accident.
struct Stream {
    word: u64,
}

impl Stream {
    fn next_word(&mut self) -> u64 {
        self.word = self.word.wrapping_mul(0x5851_F42D_4C95_7F2D).rotate_left(23);
        self.word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { run: 7, version: 3, key: 123_456_789_012 };

    #[test]
    fn a_value_tells_its_mark_at_every_size() {
        for size in Mark::BYTES..200 {
            let mut value = Vec::new();
            MARK.write(size, &mut value);
            assert_eq!(value.len(), size);
            assert_eq!(Mark::read(&value), Some(MARK));
        }
    }

    #[test]
    fn a_changed_byte_is_noticed_wherever_it_is() {
        let mut value = Vec::new();
        MARK.write(100, &mut value);
        for at in 0..value.len() {
            value[at] ^= 1;
            assert_ne!(Mark::read(&value), Some(MARK), "byte {at}");
            value[at] ^= 1;
        }
        assert_eq!(Mark::read(&value[..10]), None);
        assert_eq!(Mark::read(b"a value that nobody here ever wrote"), None);
    }

    #[test]
    fn pool_values_have_their_size_and_repeat() {
        let pool = Pool::new(100, 1);
        assert_eq!(pool.value(5000, 100).len(), 100);
        assert_eq!(pool.value(9, 64), pool.value(9, 64));
        assert_ne!(pool.value(9, 64), pool.value(10, 64));
    }
}
