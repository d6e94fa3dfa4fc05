//! From a request's name to its row: one look-up in a table of all commands, as every request needs it. It must not know
//! what the rows do.

use std::sync::{LazyLock, OnceLock};

use super::server::introspection::categories;
use super::{Command, FAMILIES, is_word};
use crate::message::request::Arguments;

/// All rows in one sequence, and where each name is. A row's place in it stands for the command in the counters.
pub struct Table {
    /// The commands, then the subcommands of each container in turn.
    rows: Vec<&'static Command>,
    /// `get`, `client|id`.
    names: Vec<String>,
    /// How many are commands.
    commands: usize,
    /// For each command, the place of its first subcommand.
    subcommands: Vec<u16>,
    /// Those that nobody may run: no look-up finds them.
    disabled: Vec<bool>,
    /// Open addressing on the folded name; at most a quarter full.
    places: Vec<Option<(u128, u16)>>,
}

/// A row and its place.
pub type Found = (usize, &'static Command);

/// The full names of the commands that nobody may run; set before the table is used, or never.
static DISABLED: OnceLock<Vec<String>> = OnceLock::new();

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut rows: Vec<_> = FAMILIES.iter().flat_map(|family| family.iter()).collect();
    let mut names: Vec<_> = rows.iter().map(|row| row.name.to_owned()).collect();
    let commands = rows.len();
    let mut places = vec![None; (commands * 4).next_power_of_two()];
    let mut subcommands = Vec::new();
    for index in 0..commands {
        let row = rows[index];
        let folded = fold(row.name.as_bytes()).expect("command names are short");
        if !is_disabled(row.name) {
            let mut place = first_place(folded, places.len());
            while places[place].is_some() {
                place = (place + 1) % places.len();
            }
            places[place] = Some((folded, index as u16));
        }
        subcommands.push(rows.len() as u16);
        rows.extend(row.subcommands);
        names.extend(row.subcommands.iter().map(|sub| format!("{}|{}", row.name, sub.name)));
    }
    let disabled = names.iter().map(|name| is_disabled(name)).collect();
    Table { rows, names, commands, subcommands, disabled, places }
});

/// Every command and subcommand, `client|id`.
fn full_names() -> impl Iterator<Item = (String, &'static Command)> {
    FAMILIES.iter().flat_map(|family| family.iter()).flat_map(|row| {
        let subcommands = row.subcommands.iter().map(|sub| (format!("{}|{}", row.name, sub.name), sub));
        std::iter::once((row.name.to_owned(), row)).chain(subcommands)
    })
}

fn is_disabled(name: &str) -> bool {
    let is_part =
        |wide: &String| name.strip_prefix(wide.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'));
    DISABLED.get().is_some_and(|names| names.iter().any(is_part))
}

impl Table {
    pub fn get() -> &'static Table {
        &TABLE
    }

    /// Makes commands unknown in this process: `flushall`, `config|set`, `@dangerous`. To be called once, before the table
    /// is used.
    ///
    /// # Errors
    /// The name that is none.
    pub fn disable(names: &[String]) -> Result<(), &str> {
        let mut disabled = Vec::new();
        for name in names {
            let before = disabled.len();
            for (full, row) in full_names() {
                let is_meant = match name.trim().strip_prefix('@') {
                    Some(wanted) => categories(row).iter().any(|category| is_word(wanted.as_bytes(), category)),
                    None => is_word(name.trim().as_bytes(), &full),
                };
                disabled.extend(is_meant.then_some(full));
            }
            if disabled.len() == before {
                return Err(name);
            }
        }
        // A second call comes from a second server of the same process, which has the same options.
        let _ = DISABLED.set(disabled);
        Ok(())
    }

    /// Everything that is served, with its place, subcommands included.
    pub fn listed(&self) -> impl Iterator<Item = Found> {
        (0..self.rows.len()).filter(|place| !self.disabled[*place]).map(|place| (place, self.rows[place]))
    }

    /// The commands that are served.
    pub fn listed_commands(&self) -> impl Iterator<Item = Found> {
        self.listed().take_while(|(place, _)| *place < self.commands)
    }

    /// The subcommands of a container that are served.
    pub fn subcommands(&self, (place, row): Found) -> impl Iterator<Item = Found> {
        let first = self.subcommands.get(place).map_or(0, |first| *first as usize);
        (first..first + row.subcommands.len())
            .filter(|place| !self.disabled[*place])
            .map(|place| (place, self.rows[place]))
    }

    /// A command by its full name, whether anybody may run it or not: for protocols that have words of their own for what it
    /// does.
    ///
    /// # Panics
    /// There is no such command.
    pub fn known(&self, name: &str) -> Found {
        let place = self.names.iter().position(|known| known == name).expect("the caller names a command");
        (place, self.rows[place])
    }

    /// The command at this place has not been taken away.
    #[inline]
    pub fn is_served(&self, place: usize) -> bool {
        !self.disabled[place]
    }

    /// It is known, and nobody may run it.
    pub fn is_disabled(&self, name: &[u8]) -> bool {
        self.names.iter().position(|known| is_word(name, known)).is_some_and(|place| self.disabled[place])
    }

    /// The commands, without subcommands, those that nobody may run included.
    pub fn rows(&self) -> &[&'static Command] {
        &self.rows[..self.commands]
    }

    /// Every place, subcommands included, with its full name.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn row(&self, place: usize) -> &'static Command {
        self.rows[place]
    }

    /// The command, or the subcommand when the name is a container's. `None` for what `unknown` has the error for.
    pub fn lookup(&self, args: Arguments) -> Option<Found> {
        let found = self.find(args.get(0))?;
        if found.1.subcommands.is_empty() || args.len() == 1 {
            return Some(found);
        }
        self.subcommand(found, args.get(1))
    }

    /// The same after what was found last, and under which name: a request often follows its like.
    #[inline]
    pub fn lookup_next<'a>(&self, args: Arguments<'a>, last: &mut Option<(&'a [u8], Found)>) -> Option<Found> {
        let name = args.get(0);
        if let Some((_, found)) = last.filter(|(before, _)| *before == name) {
            return Some(found);
        }
        let found = self.lookup(args);
        *last = found
            .filter(|(place, row)| *place < self.commands && row.subcommands.is_empty())
            .map(|found| (name, found));
        found
    }

    pub fn subcommand(&self, (place, row): Found, name: &[u8]) -> Option<Found> {
        let index = row.subcommands.iter().position(|sub| is_word(name, sub.name))?;
        let found = self.subcommands[place] as usize + index;
        (!self.disabled[found]).then_some((found, &row.subcommands[index]))
    }

    pub fn find(&self, name: &[u8]) -> Option<Found> {
        let folded = fold(name)?;
        let mut place = first_place(folded, self.places.len());
        while let Some((known, index)) = self.places[place] {
            if known == folded {
                let row = self.rows[index as usize];
                // Folding is exact for letters; padding and other characters are told apart here.
                let same =
                    row.name.len() == name.len() && (row.is_letters || row.name.as_bytes().eq_ignore_ascii_case(name));
                return same.then_some((index as usize, row));
            }
            place = (place + 1) % self.places.len();
        }
        None
    }
}

/// A name of at most 16 bytes as one number, letters in lower case.
fn fold(name: &[u8]) -> Option<u128> {
    let whole = match name.len() {
        len @ 8..=16 => {
            let (first, last) = (*name.first_chunk()?, *name.last_chunk()?);
            u64::from_le_bytes(first) as u128 | (u64::from_le_bytes(last) as u128) << (8 * (len - 8))
        }
        len @ 4..=7 => {
            let (first, last) = (*name.first_chunk()?, *name.last_chunk()?);
            u32::from_le_bytes(first) as u128 | (u32::from_le_bytes(last) as u128) << (8 * (len - 4))
        }
        len @ 2..=3 => {
            let (first, last) = (*name.first_chunk()?, *name.last_chunk()?);
            (u16::from_le_bytes(first) as u32 | (u16::from_le_bytes(last) as u32) << (8 * (len - 2))) as u128
        }
        0..=1 => name.first().map_or(0, |byte| *byte as u128),
        _ => return None,
    };
    Some(whole | u128::from_le_bytes([0x20; 16]))
}

fn first_place(folded: u128, places: usize) -> usize {
    // Fibonacci hashing: the multiplier is 2^64 divided by the golden ratio.
    let mixed = (folded as u64 ^ (folded >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 32) as usize & (places - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::request::Args;

    #[test]
    fn what_follows_its_like_is_found_as_well() {
        let table = Table::get();
        let input = b"GETgetSETCLIENTIDCLIENTGETNAMECLIENTnoneGET";
        let mut args = Args::default();
        let mut at = 0;
        for len in [3, 3, 3, 6, 2, 6, 7, 6, 4, 3] {
            args.push(at, len).unwrap();
            at += len;
        }
        let mut last = None;
        for (from, to) in [(0, 1), (0, 1), (1, 2), (2, 3), (3, 5), (5, 7), (7, 8), (7, 9), (8, 9), (9, 10)] {
            let args = args.view(input, from, to);
            let place = |found: Option<Found>| found.map(|(place, _)| place);
            assert_eq!(place(table.lookup_next(args, &mut last)), place(table.lookup(args)), "{from}");
        }
    }

    #[test]
    fn every_row_is_found_in_any_case() {
        let table = Table::get();
        for (index, row) in table.rows().iter().enumerate() {
            assert_eq!(table.find(row.name.as_bytes()).unwrap().0, index, "{}", row.name);
            assert_eq!(table.find(row.name.to_ascii_uppercase().as_bytes()).unwrap().0, index);
            assert!(row.name.len() <= 16 && row.arity != 0 && !row.summary.is_empty(), "{}", row.name);
            for (at, sub) in row.subcommands.iter().enumerate() {
                let (place, found) = table.subcommand((index, row), sub.name.as_bytes()).unwrap();
                assert_eq!(found.name, row.subcommands[at].name);
                assert_eq!(table.names()[place], format!("{}|{}", row.name, sub.name));
            }
        }
        for name in [
            "",
            "ge",
            "gett",
            "get\0",
            "get ",
            "pexpireat\0",
            "PEXPIREAT ",
            "a command that is not in any table",
            "g\u{0}t",
            "GET ",
        ] {
            assert!(table.find(name.as_bytes()).is_none(), "{name:?}");
        }
    }
}
