//! The databases: each has an index of its own, and all of them share the cells, both orders and the limit. It must not
//! know what lies in a cell: whoever calls reads the tags of cells for it.
//!
//! An item carries the number of its *table*, not of its database, so databases are swapped and emptied by renumbering:
//! an emptied database gets a fresh table at once, and the items of the old one are removed step by step. When all
//! databases are emptied at once there is nothing to remove: what the old tables hold is wiped out, step by step too.

use super::heap::Loc;
use super::index::{Index, Place};

/// As many as Redis has unless it is told otherwise.
pub const DATABASES: usize = 16;
/// One table for each database, and as many for those whose items are still being removed.
const TABLES: usize = 2 * DATABASES;
/// Bits of a table's number.
pub const TABLE_BITS: u32 = TABLES.ilog2();

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Table(pub u8);

struct Emptying {
    table: Table,
    /// Where to go on in the index.
    next: u32,
}

pub struct Databases {
    tables: Box<[Index]>,
    /// Items that expire, of each table, and the sum of their times.
    expiring: [(usize, u128); TABLES],
    /// The table of each database.
    current: [Table; DATABASES],
    emptying: Vec<Emptying>,
    /// Tables without items whose memory is still as it was.
    wiping: Vec<Table>,
    /// Over all tables.
    len: usize,
    bytes: u64,
}

impl Databases {
    pub fn new() -> Databases {
        let mut tables: Box<[Index]> = (0..TABLES).map(|_| Index::new()).collect();
        // The one that every server needs, at the start, when the process may still have the addresses.
        tables[0].reserve();
        Databases {
            bytes: tables.iter().map(Index::bytes).sum(),
            tables,
            expiring: [(0, 0); TABLES],
            current: std::array::from_fn(|database| Table(database as u8)),
            emptying: Vec::with_capacity(TABLES),
            wiping: Vec::with_capacity(TABLES),
            len: 0,
        }
    }

    /// Entries in all tables, those of emptied databases included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Memory held by all tables.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    #[inline]
    pub fn table(&self, database: u8) -> Table {
        self.current[database as usize % DATABASES]
    }

    /// The database that has this table now.
    pub fn database(&self, table: Table) -> Option<u8> {
        self.current.iter().position(|current| *current == table).map(|database| database as u8)
    }

    #[inline]
    pub fn index(&self, table: Table) -> &Index {
        &self.tables[table.0 as usize % TABLES]
    }

    /// Items of a table that carry a time of expiry.
    pub fn expiring(&self, table: Table) -> usize {
        self.expiring[table.0 as usize].0
    }

    /// The sum of their times.
    pub fn expiry_sum(&self, table: Table) -> u128 {
        self.expiring[table.0 as usize].1
    }

    /// An item of this table expires at this time from now on.
    pub fn count_expiring(&mut self, table: Table, at: u64) {
        let (count, sum) = &mut self.expiring[table.0 as usize];
        *count += 1;
        *sum += at as u128;
    }

    /// It does not any more.
    pub fn discount_expiring(&mut self, table: Table, at: u64) {
        let (count, sum) = &mut self.expiring[table.0 as usize];
        *count -= 1;
        *sum -= at as u128;
    }

    /// Adds an entry. False, and no change, when there is no memory for it.
    pub fn insert(&mut self, table: Table, tag: u32, loc: Loc, tag_of: impl Fn(Loc) -> u32) -> bool {
        let is_in = self.change(table, |index| index.insert(tag, loc, tag_of));
        self.len += is_in as usize;
        is_in
    }

    /// Sees to the memory for so many new entries; false when there is none.
    pub fn prepare(&mut self, table: Table, entries: usize) -> bool {
        self.change(table, |index| index.prepare(entries))
    }

    pub fn remove(&mut self, table: Table, tag: u32, place: Place, tag_of: impl Fn(Loc) -> u32) {
        self.len -= 1;
        self.change(table, |index| index.remove(tag, place, tag_of));
    }

    /// The cell of this entry has moved.
    pub fn relocate(&mut self, table: Table, place: Place, to: Loc) {
        self.tables[table.0 as usize].relocate(place, to);
    }

    pub fn swap(&mut self, one: u8, other: u8) {
        self.current.swap(one as usize, other as usize);
    }

    /// Whether `empty` has an empty table for it.
    pub fn can_empty(&self, database: u8) -> bool {
        self.index(self.table(database)).len() == 0 || self.fresh().is_some()
    }

    /// Gives the database an empty table. False when there is none, because emptied ones still hold items.
    pub fn empty(&mut self, database: u8) -> bool {
        let table = self.table(database);
        if self.index(table).len() == 0 {
            return true;
        }
        let Some(fresh) = self.fresh() else { return false };
        self.current[database as usize] = fresh;
        self.emptying.push(Emptying { table, next: 0 });
        true
    }

    /// Forgets all entries of all tables, and gives every database an empty one.
    pub fn clear(&mut self) {
        self.emptying.clear();
        self.expiring = [(0, 0); TABLES];
        self.len = 0;
        for table in (0..TABLES as u8).map(Table) {
            if !self.wiping.contains(&table) && !self.change(table, Index::clear) {
                self.wiping.push(table);
            }
        }
        for database in 0..DATABASES {
            while self.wiping.contains(&self.current[database]) {
                match self.fresh() {
                    Some(fresh) => self.current[database] = fresh,
                    // All others are being wiped already. Each of them was filled for that.
                    None => drop(self.wipe_step()),
                }
            }
        }
    }

    /// Gives back some of what cleared tables hold. False when there was nothing left to do.
    pub fn wipe_step(&mut self) -> bool {
        let Some(&table) = self.wiping.last() else { return false };
        if self.change(table, Index::wipe_step) {
            self.wiping.pop();
        }
        true
    }

    /// A table that no database has, and nothing is in.
    fn fresh(&self) -> Option<Table> {
        let is_free =
            |table: &Table| !self.current.contains(table) && !self.is_emptying(*table) && !self.wiping.contains(table);
        (0..TABLES as u8).map(Table).find(is_free)
    }

    /// True if every item belongs to this database.
    pub fn is_all(&self, database: u8) -> bool {
        self.index(self.table(database)).len() == self.len
    }

    /// True if the items of this table are those of an emptied database.
    pub fn is_emptying(&self, table: Table) -> bool {
        self.emptying.iter().any(|emptying| emptying.table == table)
    }

    /// Some items of emptied databases, for the caller to remove before it asks again; none when there are no more.
    pub fn doomed(&mut self, tag_of: impl Fn(Loc) -> u32) -> Vec<Loc> {
        let mut found = Vec::new();
        while let Some(Emptying { table, next: at }) = self.emptying.last_mut()
            && found.is_empty()
        {
            let index = &self.tables[table.0 as usize];
            match index.scan(*at, &tag_of, |loc| found.push(loc)) {
                Some(next) => *at = next,
                // The last of its items are removed before anybody can be given this table.
                None => drop(self.emptying.pop()),
            }
        }
        found
    }

    /// All tables, at random but each as likely as it has entries: an entry of one of them.
    pub fn pick(&self, random: u64) -> Option<Loc> {
        let mut place = random.checked_rem(self.len as u64)? as usize;
        let index = self.tables.iter().find(|index| {
            let is_here = place < index.len();
            place = place.saturating_sub(index.len());
            is_here
        });
        index?.pick(random)
    }

    fn change<T>(&mut self, table: Table, change: impl FnOnce(&mut Index) -> T) -> T {
        let index = &mut self.tables[table.0 as usize % TABLES];
        let before = index.bytes();
        let changed = change(index);
        self.bytes = self.bytes - before + index.bytes();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, key};
    use super::super::{Expiry, Key, NewValue, Policy, Shard};
    use super::*;

    fn shard() -> Shard {
        Shard::new(64 << 20, Policy::AllKeysLru)
    }

    fn put(shard: &mut Shard, db: u8, number: u64, value: &[u8]) {
        let bytes = number.to_le_bytes();
        let expiry = if number.is_multiple_of(2) { Expiry::At(NOW + 1000) } else { Expiry::Never };
        shard.set(Key { db, ..key(&bytes) }, NewValue::Copied(value), expiry, NOW).unwrap();
    }

    fn value(shard: &Shard, db: u8, number: u64) -> Option<Vec<u8>> {
        let bytes = number.to_le_bytes();
        shard.peek(Key { db, ..key(&bytes) }, NOW).map(|entry| entry.value.as_slice().to_vec())
    }

    #[test]
    fn the_same_key_is_another_item_in_another_database() {
        let mut shard = shard();
        for db in 0..DATABASES as u8 {
            (0..100).for_each(|number| put(&mut shard, db, number, &[db]));
        }
        assert!((0..DATABASES as u8).all(|db| value(&shard, db, 7) == Some(vec![db]) && shard.len_of(db) == (100, 50)));
        let bytes = 7u64.to_le_bytes();
        assert!(shard.delete(Key { db: 3, ..key(&bytes) }, NOW));
        assert_eq!((value(&shard, 3, 7), value(&shard, 4, 7)), (None, Some(vec![4])));
        let mut seen = 0;
        assert_eq!(shard.scan(3, 0, 1000, NOW, |_, entry| seen += (entry.value.as_slice() == [3]) as u32), 0);
        assert_eq!(seen, 99);
    }

    #[test]
    fn swapped_databases_have_each_others_items() {
        let mut shard = shard();
        put(&mut shard, 0, 1, b"zero");
        put(&mut shard, 1, 1, b"one");
        shard.swap_databases(0, 1);
        assert_eq!((value(&shard, 0, 1), value(&shard, 1, 1)), (Some(b"one".to_vec()), Some(b"zero".to_vec())));
    }

    #[test]
    fn an_item_moves_unless_its_key_is_taken() {
        let mut shard = shard();
        (1..=2).for_each(|number| put(&mut shard, 0, number, b"zero"));
        put(&mut shard, 5, 1, b"five");
        let (one, two, three) = (1u64.to_le_bytes(), 2u64.to_le_bytes(), 3u64.to_le_bytes());
        assert_eq!(shard.move_to(key(&one), 5, NOW), Ok(false));
        assert_eq!(shard.move_to(key(&three), 5, NOW), Ok(false));
        assert_eq!(shard.move_to(key(&two), 5, NOW), Ok(true));
        assert_eq!((value(&shard, 0, 2), value(&shard, 5, 2)), (None, Some(b"zero".to_vec())));
        assert_eq!((shard.len_of(0), shard.len_of(5)), ((1, 0), (2, 1)));
        assert_eq!(shard.peek(Key { db: 5, ..key(&two) }, NOW).unwrap().expires_at, Some(NOW + 1000));
    }

    #[test]
    fn an_emptied_database_is_empty_at_once_and_its_memory_comes_back() {
        let mut shard = shard();
        put(&mut shard, 1, 1, b"stays");
        for round in 0..3 * DATABASES as u64 {
            (0..2000).for_each(|number| put(&mut shard, 0, number, &[round as u8; 100]));
            shard.clear_database(0);
            assert_eq!((shard.len_of(0), value(&shard, 0, 5)), ((0, 0), None));
            put(&mut shard, 0, 5, b"new");
        }
        while shard.tick(NOW).more {}
        assert_eq!(value(&shard, 0, 5), Some(b"new".to_vec()));
        assert_eq!(value(&shard, 1, 1), Some(b"stays".to_vec()));
        assert_eq!((shard.len(), shard.expiring()), (2, 0));
        assert!(shard.used_bytes() < 3 << 20, "{}", shard.used_bytes());
    }

    #[test]
    fn what_was_emptied_makes_room_before_anything_is_evicted() {
        let mut shard = Shard::new(16 << 20, Policy::NoEviction);
        put(&mut shard, 1, 1, b"stays");
        for _ in 0..20 {
            (0..20_000).for_each(|number| put(&mut shard, 0, number, &[1; 400]));
            shard.clear_database(0);
        }
        assert_eq!(value(&shard, 1, 1), Some(b"stays".to_vec()));
    }
}
