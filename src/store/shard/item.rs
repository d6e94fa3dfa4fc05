//! How an item lies in its cell, and nothing about where cells come from or when items go.
//!
//! ```text
//! word 0      newer     the item next to it in the order of eviction, which goes later
//! word 1      older     the one that goes sooner
//! word 2      tag       the upper half of the key's hash: enough to find the item's place in the index again
//! word 3      use       what its order of eviction notes of its uses (26 bits): when it was last used, in
//!                       `ACCESS_GRAIN_MILLIS`, unless the order's file says otherwise; of which generation of orders that
//!                       is (1 bit); and its table (5 bits)
//! word 4      shape     key length, value length, which of the following fields there are, whether it was read, and two
//!                       marks of `s3fifo`
//! 4 words     expiry (8 bytes), neighbours in the timer's list; only in items that expire
//! 1 word      flags     the clients' own; only where they are not 0
//! 3 words     version (8 bytes), marks; only where somebody has asked for it or set one of them
//! then        key and value; or, of a large item, the number under which they are held elsewhere
//! ```

use super::UnixMillis;
use super::classes::{cell_units, class_of};
use super::databases::{TABLE_BITS, Table};
use super::heap::{Heap, Loc, UNIT_BYTES};
use super::types::Extra;

/// Grain of the time of last use: its bits last for 77 days.
pub const ACCESS_GRAIN_MILLIS: u64 = 100;
/// Bits for what an order notes.
pub const NOTE_BITS: u32 = 31 - TABLE_BITS;
const NOTE_MASK: u32 = (1 << NOTE_BITS) - 1;
const GENERATION: u32 = 1 << NOTE_BITS;
const TABLE_SHIFT: u32 = NOTE_BITS + 1;
/// A time of last use so little ahead is in the future, because the clock was set back; one further ahead is long past.
const ACCESS_AHEAD: u32 = (24 * 60 * 60 * 1000 / ACCESS_GRAIN_MILLIS) as u32;

const NEWER: usize = 0;
const OLDER: usize = 1;
const TAG: usize = 2;
const USE: usize = 3;
const SHAPE: usize = 4;
const EXPIRY: usize = 5;
const TIMER_NEXT: usize = 7;
const TIMER_PREV: usize = 8;

const HEADER_BYTES: usize = 20;
const EXPIRY_BYTES: usize = 16;
const FLAGS_BYTES: usize = 4;
const VERSION_BYTES: usize = 12;
const LARGE_ID_BYTES: usize = 4;

/// An item with a longer key is a large one: few have it, and its bits are of use.
const KEY_BITS: u32 = 11;
const KEY_MASK: u32 = (1 << KEY_BITS) - 1;
const VALUE_BITS: u32 = 14;
const VALUE_MASK: u32 = (1 << VALUE_BITS) - 1;
/// Which fields there are: three bits beside each other.
const FIELDS_SHIFT: u32 = KEY_BITS + VALUE_BITS;
const EXPIRES: u32 = 1 << FIELDS_SHIFT;
const FLAGGED: u32 = 1 << (FIELDS_SHIFT + 1);
const VERSIONED: u32 = 1 << (FIELDS_SHIFT + 2);
const READ: u32 = 1 << 28;
const LARGE: u32 = 1 << 29;
/// Marks of `s3fifo`.
const USED: u32 = 1 << 30;
const MAIN: u32 = 1 << 31;

const _: () = assert!(NOTE_MASK & (MAIN | USED) == 0);
// The lengths of whatever fits a cell fit their bits.
const _: () = assert!(super::classes::MAX_CELL_BYTES - HEADER_BYTES <= VALUE_MASK as usize);
const _: () = assert!(VERSIONED < READ);

/// Where key and value begin, by the three bits of the fields.
const BODY_STARTS: [u8; 8] = {
    let mut starts = [0; 8];
    let mut fields = 0;
    while fields < starts.len() {
        let expiry = if fields & 1 != 0 { EXPIRY_BYTES } else { 0 };
        let flags = if fields & 2 != 0 { FLAGS_BYTES } else { 0 };
        let version = if fields & 4 != 0 { VERSION_BYTES } else { 0 };
        starts[fields] = (HEADER_BYTES + expiry + flags + version) as u8;
        fields += 1;
    }
    starts
};
const LONGEST_HEADER_BYTES: usize = BODY_STARTS[7] as usize;

/// Marks beside the version.
const STALE: u32 = 1;
const CLAIMED: u32 = 2;

/// Which fields an item has beside those that all have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fields(u32);

impl Fields {
    pub fn of(expires: bool, extra: &Extra) -> Fields {
        let has_version = extra.version != 0 || extra.is_stale || extra.is_claimed;
        Fields(
            if expires { EXPIRES } else { 0 }
                | if extra.flags != 0 { FLAGGED } else { 0 }
                | if has_version { VERSIONED } else { 0 },
        )
    }

    pub fn with_expiry(self, expires: bool) -> Fields {
        Fields(self.0 & !EXPIRES | if expires { EXPIRES } else { 0 })
    }

    /// Those of both.
    pub fn and(self, other: Fields) -> Fields {
        Fields(self.0 | other.0)
    }
}

/// Which of two orders of eviction an item is in while one takes over from the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Generation(u32);

impl Generation {
    pub const FIRST: Generation = Generation(0);

    pub fn next(self) -> Generation {
        Generation(self.0 ^ GENERATION)
    }
}

/// What an order of eviction knows of an item, beside its place.
#[derive(Clone, Copy)]
pub struct Standing(u32);

/// What decides the layout of an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape(u32);

impl Shape {
    pub fn inline(key_len: usize, value_len: usize, fields: Fields) -> Shape {
        debug_assert!(key_len <= KEY_MASK as usize && value_len <= VALUE_MASK as usize);
        Shape(key_len as u32 | (value_len as u32) << KEY_BITS | fields.0)
    }

    /// Of an item that takes so much memory outside of its cell: the power of two in it stands where a value's length would.
    pub fn large(bytes: u64, fields: Fields) -> Shape {
        Shape(LARGE | bytes.ilog2() << KEY_BITS | fields.0)
    }

    pub fn fields(self) -> Fields {
        Fields(self.0 & (EXPIRES | FLAGGED | VERSIONED))
    }

    pub fn with_fields(self, fields: Fields) -> Shape {
        Shape(self.0 & !(EXPIRES | FLAGGED | VERSIONED) | fields.0)
    }

    /// It was read since it was written.
    pub fn is_read(self) -> bool {
        self.0 & READ != 0
    }

    pub fn read(self) -> Shape {
        Shape(self.0 | READ)
    }

    pub fn is_flagged(self) -> bool {
        self.0 & FLAGGED != 0
    }

    pub fn is_versioned(self) -> bool {
        self.0 & VERSIONED != 0
    }

    /// With these marks: whether the item is in the main row, and whether it has been used there.
    pub fn marked(self, is_main: bool, is_used: bool) -> Shape {
        let marks = if is_main { MAIN } else { 0 } | if is_used { USED } else { 0 };
        Shape(self.0 & !(MAIN | USED) | marks)
    }

    /// With the marks of another.
    pub fn marked_as(self, other: Shape) -> Shape {
        Shape(self.0 & !(MAIN | USED) | other.0 & (MAIN | USED))
    }

    pub fn is_main(self) -> bool {
        self.0 & MAIN != 0
    }

    pub fn is_used(self) -> bool {
        self.0 & USED != 0
    }

    /// The power of two in what the item takes of memory.
    pub fn power(self) -> u32 {
        match self.is_large() {
            true => self.value_len() as u32,
            false => {
                let class = class_of(self.cell_bytes()).expect("inline items fit a cell");
                (cell_units(class) * UNIT_BYTES as u32).ilog2()
            }
        }
    }

    pub fn expires(self) -> bool {
        self.0 & EXPIRES != 0
    }

    pub fn is_large(self) -> bool {
        self.0 & LARGE != 0
    }

    /// True of an inline item with a key of this length.
    #[inline]
    pub fn has_inline_key(self, len: usize) -> bool {
        (self.0 & (LARGE | KEY_MASK)) as usize == len
    }

    pub fn key_len(self) -> usize {
        (self.0 & KEY_MASK) as usize
    }

    pub fn value_len(self) -> usize {
        (self.0 >> KEY_BITS & VALUE_MASK) as usize
    }

    /// Bytes of the cell that the item needs.
    pub fn cell_bytes(self) -> usize {
        self.body_start() + self.body_len()
    }

    pub fn body_start(self) -> usize {
        BODY_STARTS[(self.0 >> FIELDS_SHIFT & 7) as usize] as usize
    }

    /// The word of the flags.
    fn flags_place(self) -> usize {
        (HEADER_BYTES + if self.expires() { EXPIRY_BYTES } else { 0 }) / 4
    }

    pub fn body_len(self) -> usize {
        if self.is_large() { LARGE_ID_BYTES } else { self.key_len() + self.value_len() }
    }
}

/// Whether key and value fit a cell, whatever else the item may come to have.
pub fn fits_inline(key_len: usize, value_len: usize) -> bool {
    key_len <= KEY_MASK as usize && LONGEST_HEADER_BYTES + key_len + value_len <= super::classes::MAX_CELL_BYTES
}

/// An item's fields, by their place in the cell at `loc`.
impl Heap {
    pub fn newer(&self, loc: Loc) -> Loc {
        Loc(self.word(loc, NEWER))
    }
    pub fn set_newer(&mut self, loc: Loc, newer: Loc) {
        self.set_word(loc, NEWER, newer.0);
    }
    pub fn older(&self, loc: Loc) -> Loc {
        Loc(self.word(loc, OLDER))
    }
    pub fn set_older(&mut self, loc: Loc, older: Loc) {
        self.set_word(loc, OLDER, older.0);
    }
    /// Sets both neighbours in the order of use, and returns what they were.
    #[inline]
    pub fn replace_links(&mut self, loc: Loc, newer: Loc, older: Loc) -> (Loc, Loc) {
        let links = self.words_mut::<2>(loc);
        let old = (Loc(u32::from_le_bytes(links[NEWER])), Loc(u32::from_le_bytes(links[OLDER])));
        links[NEWER] = newer.0.to_le_bytes();
        links[OLDER] = older.0.to_le_bytes();
        old
    }
    pub fn tag(&self, loc: Loc) -> u32 {
        self.word(loc, TAG)
    }
    pub fn set_tag(&mut self, loc: Loc, tag: u32) {
        self.set_word(loc, TAG, tag);
    }
    pub fn table(&self, loc: Loc) -> Table {
        Table((self.word(loc, USE) >> TABLE_SHIFT) as u8)
    }
    pub fn set_table(&mut self, loc: Loc, table: Table) {
        let rest = self.word(loc, USE) & (GENERATION | NOTE_MASK);
        self.set_word(loc, USE, (table.0 as u32) << TABLE_SHIFT | rest);
    }
    /// Writes the whole word of a new item: its table, its generation, and nothing noted.
    pub fn begin_use(&mut self, loc: Loc, table: Table, generation: Generation) {
        self.set_word(loc, USE, (table.0 as u32) << TABLE_SHIFT | generation.0);
    }
    pub fn generation(&self, loc: Loc) -> Generation {
        Generation(self.word(loc, USE) & GENERATION)
    }
    pub fn set_generation(&mut self, loc: Loc, generation: Generation) {
        let rest = self.word(loc, USE) & !GENERATION;
        self.set_word(loc, USE, rest | generation.0);
    }
    /// What the item's order has noted of its uses.
    pub fn note(&self, loc: Loc) -> u32 {
        self.word(loc, USE) & NOTE_MASK
    }
    pub fn set_note(&mut self, loc: Loc, note: u32) {
        let rest = self.word(loc, USE) & !NOTE_MASK;
        self.set_word(loc, USE, rest | note & NOTE_MASK);
    }
    /// How an item stands in its order, for the one that replaces it.
    pub fn standing(&self, loc: Loc) -> Standing {
        Standing(self.note(loc) | self.shape(loc).0 & (MAIN | USED))
    }
    pub fn set_standing(&mut self, loc: Loc, standing: Standing) {
        self.set_note(loc, standing.0);
        self.set_shape(loc, self.shape(loc).marked_as(Shape(standing.0)));
    }
    /// Notes the time of use.
    pub fn set_accessed(&mut self, loc: Loc, now: UnixMillis) {
        self.set_note(loc, (now / ACCESS_GRAIN_MILLIS) as u32);
    }
    /// Milliseconds since the time of use that is noted.
    pub fn idle_millis(&self, loc: Loc, now: UnixMillis) -> u64 {
        let grains = ((now / ACCESS_GRAIN_MILLIS) as u32).wrapping_sub(self.note(loc)) & NOTE_MASK;
        if grains > NOTE_MASK - ACCESS_AHEAD { 0 } else { grains as u64 * ACCESS_GRAIN_MILLIS }
    }
    pub fn shape(&self, loc: Loc) -> Shape {
        Shape(self.word(loc, SHAPE))
    }
    pub fn set_shape(&mut self, loc: Loc, shape: Shape) {
        self.set_word(loc, SHAPE, shape.0);
    }
    pub fn expires_at(&self, loc: Loc) -> Option<UnixMillis> {
        self.shape(loc)
            .expires()
            .then(|| u64::from_le_bytes(self.bytes(loc, EXPIRY * 4, 8).try_into().expect("eight bytes")))
    }
    pub fn set_expires_at(&mut self, loc: Loc, at: UnixMillis) {
        self.bytes_mut(loc, EXPIRY * 4, 8).copy_from_slice(&at.to_le_bytes());
    }
    pub fn is_expired(&self, loc: Loc, now: UnixMillis) -> bool {
        self.expires_at(loc).is_some_and(|at| at <= now)
    }
    pub fn timer_next(&self, loc: Loc) -> Loc {
        Loc(self.word(loc, TIMER_NEXT))
    }
    pub fn set_timer_next(&mut self, loc: Loc, next: Loc) {
        self.set_word(loc, TIMER_NEXT, next.0);
    }
    pub fn timer_prev(&self, loc: Loc) -> u32 {
        self.word(loc, TIMER_PREV)
    }
    pub fn set_timer_prev(&mut self, loc: Loc, prev: u32) {
        self.set_word(loc, TIMER_PREV, prev);
    }
    /// Key and value of an inline item.
    pub fn key_and_value(&self, loc: Loc) -> (&[u8], &[u8]) {
        let shape = self.shape(loc);
        debug_assert!(!shape.is_large());
        self.bytes(loc, shape.body_start(), shape.body_len()).split_at(shape.key_len())
    }
    /// The value of an inline item of this shape.
    #[inline]
    pub fn value(&self, loc: Loc, shape: Shape) -> &[u8] {
        self.bytes(loc, shape.body_start() + shape.key_len(), shape.value_len())
    }
    /// Writes key and value of an inline item, whose shape is set.
    pub fn set_key_and_value(&mut self, loc: Loc, key: &[u8], value: &[u8]) {
        let shape = self.shape(loc);
        let body = self.bytes_mut(loc, shape.body_start(), key.len() + value.len());
        body[..key.len()].copy_from_slice(key);
        body[key.len()..].copy_from_slice(value);
    }
    /// Writes the value alone of an inline item, whose shape is set.
    pub fn set_value(&mut self, loc: Loc, shape: Shape, value: &[u8]) {
        self.bytes_mut(loc, shape.body_start() + shape.key_len(), value.len()).copy_from_slice(value);
    }
    /// Copies an item to a cell of another class, with a header of another shape. What is new in it is not set.
    pub fn copy_reshaped(&mut self, from: Loc, to: Loc, shape: Shape) {
        let old = self.shape(from);
        for word in [NEWER, OLDER, TAG, USE] {
            self.set_word(to, word, self.word(from, word));
        }
        self.set_shape(to, shape);
        self.set_extra(to, &self.extra(from));
        let body = self.bytes(from, old.body_start(), old.body_len()).to_vec();
        self.bytes_mut(to, shape.body_start(), body.len()).copy_from_slice(&body);
    }
    /// What the item has beside its value.
    pub fn extra(&self, loc: Loc) -> Extra {
        let shape = self.shape(loc);
        let start = shape.body_start();
        let mut extra = Extra::default();
        if shape.is_flagged() {
            extra.flags = self.word(loc, shape.flags_place());
        }
        if shape.is_versioned() {
            let version = self.bytes(loc, start - VERSION_BYTES, 8);
            extra.version = u64::from_le_bytes(version.try_into().expect("eight bytes"));
            let marks = self.word(loc, start / 4 - 1);
            (extra.is_stale, extra.is_claimed) = (marks & STALE != 0, marks & CLAIMED != 0);
        }
        extra
    }
    /// The flags alone.
    #[inline]
    pub fn flags(&self, loc: Loc, shape: Shape) -> u32 {
        if shape.is_flagged() { self.word(loc, shape.flags_place()) } else { 0 }
    }
    /// Writes as much of it as the shape, which is set, has fields for.
    pub fn set_extra(&mut self, loc: Loc, extra: &Extra) {
        let shape = self.shape(loc);
        let start = shape.body_start();
        if shape.is_flagged() {
            self.set_word(loc, shape.flags_place(), extra.flags);
        }
        if shape.is_versioned() {
            self.bytes_mut(loc, start - VERSION_BYTES, 8).copy_from_slice(&extra.version.to_le_bytes());
            let marks = if extra.is_stale { STALE } else { 0 } | if extra.is_claimed { CLAIMED } else { 0 };
            self.set_word(loc, start / 4 - 1, marks);
        }
    }
    /// The number of a large item.
    pub fn large_id(&self, loc: Loc) -> u32 {
        debug_assert!(self.shape(loc).is_large());
        self.word(loc, self.shape(loc).body_start() / 4)
    }
    pub fn set_large_id(&mut self, loc: Loc, id: u32) {
        self.set_word(loc, self.shape(loc).body_start() / 4, id);
    }
}
