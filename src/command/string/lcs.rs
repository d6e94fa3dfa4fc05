//! LCS: the longest common subsequence of two values.
//!
//! Lengths are kept for one row of the table alone; of the whole table one bit for each place is enough to find the way
//! back.

use bytes::Bytes;

use crate::command::steps::{Progress, Work};
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
    let (one, other) = values(call, call.key_at(1), call.key_at(2));
    let places = (one.len() as u64 + 1) * (other.len() as u64 + 1);
    if places > limits::LCS_PLACES_MAX {
        return Err("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len".into());
    }
    call.room(Comparison::bytes_for(&one, &other))?;
    let mut comparison = Comparison::of(one, other)?;
    call.work(Work::new(move |call| {
        if !comparison.go_on(options.length) {
            return Ok(Progress::More(Comparison::bytes_for(&comparison.one, &comparison.other)));
        }
        reply(call, &options, &comparison)?;
        Ok(Progress::Done)
    }))
}

fn reply(call: &mut Call, options: &Options, comparison: &Comparison) -> Result<(), Stop> {
    let Comparison { one, matches, length, .. } = comparison;
    if options.length {
        call.reply.integer(*length as i64);
        return Ok(());
    }
    call.room(if options.places { matches.len() * MATCH_REPLY_BYTES } else { *length })?;
    if options.places {
        reply_places(call, options, matches, *length);
        return Ok(());
    }
    let mut common = Vec::with_capacity(*length);
    matches.iter().rev().for_each(|found| common.extend_from_slice(&one[found.one..found.one + found.length]));
    call.reply.bulk(&common);
    Ok(())
}

/// About what IDX says of one match.
const MATCH_REPLY_BYTES: usize = 64;

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

/// LCS on its way: first row by row through the table, then the way back.
struct Comparison {
    one: Bytes,
    other: Bytes,
    table: Table,
    /// Of the row that was swept last, along the shorter of the two: it is memory as well.
    lengths: Vec<u32>,
    /// Rows that are swept.
    swept: usize,
    /// Where the way back is.
    row: usize,
    column: usize,
    /// The runs of which the subsequence consists, the last first.
    matches: Vec<Match>,
    length: usize,
}

impl Comparison {
    fn of(one: Bytes, other: Bytes) -> Result<Comparison, Stop> {
        let (row, column) = (one.len(), other.len());
        let table = Table::new(row + 1, column + 1)?;
        let lengths = vec![0; row.min(column) + 1];
        Ok(Comparison { one, other, table, lengths, swept: 0, row, column, matches: Vec::new(), length: 0 })
    }

    /// The memory that it takes.
    fn bytes_for(one: &[u8], other: &[u8]) -> usize {
        (one.len() + 1) * (other.len() + 1) / 8 + one.len().min(other.len()) * size_of::<u32>()
    }

    /// Goes a step further; true at the end. The length alone needs no way back.
    fn go_on(&mut self, length_only: bool) -> bool {
        let rows = self.one.len().max(self.other.len());
        let mut left = PLACES_PER_STEP;
        while self.swept < rows && left > 0 {
            self.sweep_row();
            left = left.saturating_sub(self.lengths.len());
        }
        self.length = self.lengths[self.lengths.len() - 1] as usize;
        if self.swept < rows {
            return false;
        }
        length_only || self.walk_back(left)
    }

    /// Where the last bytes differ, the lengths above and beside say which of the two is to be shortened.
    fn sweep_row(&mut self) {
        let Comparison { one, other, table, lengths, swept: row, .. } = self;
        let is_turned = other.len() > one.len();
        let (rows, columns) = if is_turned { (other, one) } else { (one, other) };
        let row_byte = rows[*row];
        let mut diagonal = 0;
        for (column, column_byte) in columns.iter().enumerate() {
            let (above, beside) = (lengths[column + 1], lengths[column]);
            lengths[column + 1] = if row_byte == *column_byte {
                diagonal + 1
            } else {
                if is_turned {
                    table.set(column + 1, *row + 1, beside > above);
                } else {
                    table.set(*row + 1, column + 1, above > beside);
                }
                above.max(beside)
            };
            diagonal = above;
        }
        *row += 1;
    }

    /// Finds the runs, from the end; true when all are found.
    fn walk_back(&mut self, most: usize) -> bool {
        let Comparison { one, other, table, row, column, matches, .. } = self;
        for _ in 0..most {
            if *row == 0 || *column == 0 {
                return true;
            }
            if one[*row - 1] != other[*column - 1] {
                if table.get(*row, *column) {
                    *row -= 1
                } else {
                    *column -= 1
                }
                continue;
            }
            match matches.last_mut() {
                Some(run) if run.one == *row && run.other == *column => {
                    (run.one, run.other, run.length) = (*row - 1, *column - 1, run.length + 1);
                }
                _ => matches.push(Match { one: *row - 1, other: *column - 1, length: 1 }),
            }
            (*row, *column) = (*row - 1, *column - 1);
        }
        false
    }
}

/// About a tenth of a millisecond.
const PLACES_PER_STEP: usize = 1 << 16;

/// For the beginnings of both values, by their lengths, which of them is to be shortened to find the longest common
/// subsequence.
struct Table {
    shortens_one: Vec<u64>,
    width: usize,
}

impl Table {
    fn new(rows: usize, width: usize) -> Result<Table, Stop> {
        let words = (rows * width).div_ceil(64);
        let mut shortens_one = Vec::new();
        shortens_one.try_reserve_exact(words).map_err(|_| error::OUT_OF_MEMORY)?;
        shortens_one.resize(words, 0);
        Ok(Table { shortens_one, width })
    }

    fn set(&mut self, row: usize, column: usize, shortens_one: bool) {
        let place = row * self.width + column;
        self.shortens_one[place / 64] |= (shortens_one as u64) << (place % 64);
    }

    fn get(&self, row: usize, column: usize) -> bool {
        let place = row * self.width + column;
        self.shortens_one[place / 64] >> (place % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(one: &'static str, other: &'static str) -> (usize, Vec<Match>) {
        let mut comparison = Comparison::of(one.as_bytes().into(), other.as_bytes().into()).unwrap();
        while !comparison.go_on(false) {}
        (comparison.length, comparison.matches)
    }

    #[test]
    fn runs_are_found_from_the_end() {
        let runs = vec![Match { one: 4, other: 5, length: 4 }, Match { one: 2, other: 0, length: 2 }];
        assert_eq!(compared("ohmytext", "mynewtext"), (6, runs));
        let turned = vec![Match { one: 5, other: 4, length: 4 }, Match { one: 0, other: 2, length: 2 }];
        assert_eq!(compared("mynewtext", "ohmytext"), (6, turned));
        for (one, other) in [("", "abc"), ("abc", ""), ("abc", "xyz")] {
            assert_eq!(compared(one, other), (0, vec![]));
        }
    }

    #[test]
    fn many_steps_find_what_one_does() {
        let (one, other) = (vec![b'a'; 3_000], [vec![b'b'; 500], vec![b'a'; 2_000]].concat());
        let mut comparison = Comparison::of(one.into(), other.into()).unwrap();
        let steps = (0..).take_while(|_| !comparison.go_on(false)).count();
        assert!(steps > 50 && comparison.length == 2_000, "{steps} steps, {}", comparison.length);
        assert_eq!(comparison.matches.iter().map(|run| run.length).sum::<usize>(), 2_000);
    }
}
