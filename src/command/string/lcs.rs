//! LCS: the longest common subsequence of two values.
//!
//! Lengths are kept for one row of the table alone; of the whole table one bit for each place is enough to find the way
//! back.

use bytes::Bytes;

use crate::command::{Call, Command, Flags, Group, Keys, is_word};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::store::shard::Key;

pub const COMMANDS: &[Command] =
    &[Command::new("lcs", -3, Group::String, lcs).flags(Flags::READONLY).keys(Keys { last: 2, ..Keys::ONE }).doc(
        "7.0.0",
        "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
        "Finds the longest common substring.",
    )];

#[derive(Default)]
struct Options {
    length: bool,
    places: bool,
    least_match: usize,
    with_match_length: bool,
}

impl Options {
    fn parse(call: &Call) -> Result<Options, Stop> {
        let mut options = Options::default();
        let mut index = 3;
        while index < call.args.len() {
            let word = call.arg(index);
            match () {
                _ if is_word(word, "LEN") => options.length = true,
                _ if is_word(word, "IDX") => options.places = true,
                _ if is_word(word, "WITHMATCHLEN") => options.with_match_length = true,
                _ if is_word(word, "MINMATCHLEN") && index + 1 < call.args.len() => {
                    index += 1;
                    options.least_match = call.integer(index)?.max(0) as usize;
                }
                _ => return Err(error::SYNTAX.into()),
            }
            index += 1;
        }
        if options.length && options.places {
            return Err("ERR If you want both the length and indexes, please just use IDX.".into());
        }
        Ok(options)
    }
}

fn lcs(call: &mut Call) -> Result<(), Stop> {
    let options = Options::parse(call)?;
    let keys = call.all_keys(1);
    let (one, other) = values(call, keys[0], keys[1]);
    let places = (one.len() as u64 + 1) * (other.len() as u64 + 1);
    if places > limits::LCS_PLACES_MAX {
        return Err("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len".into());
    }
    let table = Table::fill(&one, &other)?;
    if options.length {
        call.reply.integer(table.length as i64);
        return Ok(());
    }
    let matches = table.matches(&one, &other);
    if options.places {
        reply_places(call, &options, &matches, table.length);
        return Ok(());
    }
    let mut common = Vec::with_capacity(table.length);
    matches.iter().rev().for_each(|found| common.extend_from_slice(&one[found.one..found.one + found.length]));
    call.reply.bulk(&common);
    Ok(())
}

/// Both values at one moment; the work is done when nothing is locked.
fn values(call: &mut Call, one: Key, other: Key) -> (Bytes, Bytes) {
    let mut value = |key: Key| {
        let found = call.guards.shard(key.hash).get(key, call.now);
        crate::command::count_lookup(call.stats, found.is_some());
        found.map_or(Bytes::new(), |entry| entry.value.to_bytes())
    };
    let values = (value(one), value(other));
    call.guards.release();
    values
}

fn reply_places(call: &mut Call, options: &Options, matches: &[Match], length: usize) {
    let shown: Vec<&Match> = matches.iter().filter(|found| found.length >= options.least_match).collect();
    call.reply.map(2);
    call.reply.bulk(b"matches");
    call.reply.array(shown.len());
    for found in shown {
        call.reply.array(2 + options.with_match_length as usize);
        for start in [found.one, found.other] {
            call.reply.array(2);
            call.reply.integer(start as i64);
            call.reply.integer((start + found.length - 1) as i64);
        }
        if options.with_match_length {
            call.reply.integer(found.length as i64);
        }
    }
    call.reply.bulk(b"len");
    call.reply.integer(length as i64);
}

/// A run of bytes that both values have.
#[derive(Debug, PartialEq, Eq)]
struct Match {
    one: usize,
    other: usize,
    length: usize,
}

/// For the beginnings of both values, by their lengths, which of them is to be shortened to find the longest common
/// subsequence.
struct Table {
    shortens_one: Vec<u64>,
    width: usize,
    length: usize,
}

impl Table {
    fn fill(one: &[u8], other: &[u8]) -> Result<Table, Stop> {
        let width = other.len() + 1;
        let words = ((one.len() + 1) * width).div_ceil(64);
        let mut shortens_one = Vec::new();
        shortens_one.try_reserve_exact(words).map_err(|_| error::OUT_OF_MEMORY)?;
        shortens_one.resize(words, 0);
        let mut table = Table { shortens_one, width, length: 0 };
        // The row along the shorter one: it is memory as well.
        if other.len() <= one.len() {
            table.length = sweep(one, other, |row, column, above, beside| table.set(row, column, above > beside));
        } else {
            table.length = sweep(other, one, |column, row, beside, above| table.set(row, column, above > beside));
        }
        Ok(table)
    }

    fn set(&mut self, row: usize, column: usize, shortens_one: bool) {
        let place = row * self.width + column;
        self.shortens_one[place / 64] |= (shortens_one as u64) << (place % 64);
    }

    fn get(&self, row: usize, column: usize) -> bool {
        let place = row * self.width + column;
        self.shortens_one[place / 64] >> (place % 64) & 1 == 1
    }

    /// The runs of which the subsequence consists, the last first.
    fn matches(&self, one: &[u8], other: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut row, mut column) = (one.len(), other.len());
        while row > 0 && column > 0 {
            if one[row - 1] != other[column - 1] {
                if self.get(row, column) {
                    row -= 1
                } else {
                    column -= 1
                }
                continue;
            }
            match matches.last_mut() {
                Some(run) if run.one == row && run.other == column => {
                    (run.one, run.other, run.length) = (row - 1, column - 1, run.length + 1);
                }
                _ => matches.push(Match { one: row - 1, other: column - 1, length: 1 }),
            }
            (row, column) = (row - 1, column - 1);
        }
        matches
    }
}

/// Goes through the table row by row, and returns the length of the longest common subsequence. Where the last bytes
/// differ, `visit` gets the lengths above and beside.
fn sweep(rows: &[u8], columns: &[u8], mut visit: impl FnMut(usize, usize, u32, u32)) -> usize {
    let mut lengths = vec![0u32; columns.len() + 1];
    for (row, row_byte) in rows.iter().enumerate() {
        let mut diagonal = 0;
        for (column, column_byte) in columns.iter().enumerate() {
            let (above, beside) = (lengths[column + 1], lengths[column]);
            lengths[column + 1] = if row_byte == column_byte {
                diagonal + 1
            } else {
                visit(row + 1, column + 1, above, beside);
                above.max(beside)
            };
            diagonal = above;
        }
    }
    lengths[columns.len()] as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_from_the_end() {
        let table = Table::fill(b"ohmytext", b"mynewtext").unwrap();
        assert_eq!(table.length, 6);
        let runs = [Match { one: 4, other: 5, length: 4 }, Match { one: 2, other: 0, length: 2 }];
        assert_eq!(table.matches(b"ohmytext", b"mynewtext"), runs);
        for (one, other) in [("", "abc"), ("abc", ""), ("abc", "xyz")] {
            let table = Table::fill(one.as_bytes(), other.as_bytes()).unwrap();
            assert_eq!((table.length, table.matches(one.as_bytes(), other.as_bytes())), (0, vec![]));
        }
    }
}
