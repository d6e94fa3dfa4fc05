//! From a key's hash to the cell of its item: a hash table that grows in small steps. It must not know what lies in a
//! cell: whoever calls says which cell is meant, and reads the tags of cells for it.
//!
//! Of the hash the index uses its upper half, the *tag*. The table is one array of buckets, in memory of its own, and
//! grows by linear hashing (Litwin 1980): as entries become more, buckets are added at the end, and each takes its
//! share of the entries of the one bucket whose tags differ from its own in one bit. So no step touches more than a few
//! dozen entries, and the array is never copied. An entry that finds its bucket full goes to the next that is not.
//!
//! A scan walks the tags in the order of their reversed bits: there each bucket is a stretch, and a split halves it.
//! Neither growth nor shrinking can make it miss or repeat what stays.

use super::heap::Loc;
use super::prefetch::prefetch;
use super::space::{BLOCK_BYTES, FIRST_HUGE_BLOCK, LINE_BYTES, Line, Space};

/// A bucket is a cache line: fingerprints (eight bits of the tag, never 0; 0 where there is no entry) in words 0 to 2,
/// then what passed by: the count of entries that found it full (unless it is 0, a search goes on with the next bucket),
/// and one bit for each slot whose entry has passed by another bucket; then where the entries' cells are.
type Bucket = Line;
const PASSED: usize = 3;
const LOCS: usize = 4;
const SLOTS: usize = 12;
const PASSED_BITS: u32 = u32::BITS - SLOTS as u32;
/// The largest count stays as it is: only a hash that puts a million entries into one bucket gets there.
const PASSED_MAX: u32 = (1 << PASSED_BITS) - 1;
/// Stands for a fingerprint where there is no entry.
const NO_ENTRY: u8 = 0;
/// A round of splits, which doubles the table, begins when there are so many entries to a bucket, twice ...
const ROUND_BEGINS: usize = 15;
/// ... and ends when the buckets that are not split yet hold so many, twice. Were it 24, the last ones of a round would all
/// be full, and what they have no room for would pass by hundreds of buckets.
const ROUND_ENDS: usize = 22;
/// Entries to a bucket below which the last one is taken away: less than half of what there are after a round.
const JOIN_ENTRIES: usize = ROUND_ENDS / 8;
/// As many buckets as there can be cells for: see `heap`.
const RESERVED_BYTES: usize = 10 * 1024 * 1024 * 1024;
/// A small table's memory comes in kernel pages, a larger one's in huge ones.
const SMALL_STEP_BYTES: usize = 4096;
/// A forgotten table up to here is wiped at once: one step.
const WIPED_AT_ONCE_BYTES: usize = 64 * 1024;
/// Tries to hit an entry at random before the next one will do. Most tables are a quarter full or more.
const PICK_TRIES: u64 = 64;

/// Where an entry is: valid until the next change.
#[derive(Clone, Copy)]
pub struct Place {
    bucket: u32,
    slot: u8,
}

pub struct Index {
    space: Space,
    /// Buckets in which entries belong; those behind take what passes by the last of them.
    homes: u32,
    /// Bits of a tag that tell the homes apart, for those whose number has all of them; the others have one bit less.
    mask: u32,
    /// Buckets that have memory.
    backed: u32,
    len: usize,
    /// Entries on their way to another bucket: empty between calls.
    moving: Vec<(u32, Loc)>,
    /// As if the kernel had no more memory.
    #[cfg(test)]
    is_refused: bool,
}

impl Index {
    pub fn new() -> Index {
        Index {
            space: Space::empty(),
            homes: 0,
            mask: 0,
            backed: 0,
            len: 0,
            moving: Vec::new(),
            #[cfg(test)]
            is_refused: false,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Memory held.
    pub fn bytes(&self) -> u64 {
        self.backed as u64 * LINE_BYTES as u64
    }

    /// The cell with this tag that is the one meant.
    #[inline]
    pub fn find(&self, tag: u32, is_meant: impl Fn(Loc) -> bool) -> Option<Loc> {
        self.search(tag, is_meant).map(|(loc, _)| loc)
    }

    /// The entry of a cell with this tag.
    pub fn place_of(&self, tag: u32, loc: Loc) -> Option<Place> {
        self.search(tag, |found| found == loc).map(|(_, place)| place)
    }

    /// Takes the addresses for all buckets there can be; false when the process may not have them.
    pub fn reserve(&mut self) -> bool {
        if !self.space.is_reserved() {
            self.space = Space::reserve(RESERVED_BYTES);
        }
        self.space.is_reserved()
    }

    /// Adds an entry. `tag_of` reads the tags of cells whose entries must move. False, and no change, when there is no
    /// memory for it.
    pub fn insert(&mut self, tag: u32, loc: Loc, tag_of: impl Fn(Loc) -> u32) -> bool {
        if self.is_split_due() {
            self.split(tag_of);
        }
        let is_in = self.put(tag, loc);
        self.len += is_in as usize;
        is_in
    }

    /// What so many new entries take at most.
    pub fn growth_bytes(entries: usize) -> u64 {
        (entries.div_ceil(ROUND_BEGINS / 2) * LINE_BYTES) as u64
    }

    /// Puts memory behind buckets for so many new entries; false when there is none.
    pub fn prepare(&mut self, entries: usize) -> bool {
        let wanted = self.homes as usize + entries.div_ceil(ROUND_BEGINS / 2);
        while (self.backed as usize) < wanted {
            if !self.back_more() {
                return false;
            }
        }
        true
    }

    pub fn remove(&mut self, tag: u32, place: Place, tag_of: impl Fn(Loc) -> u32) {
        self.take_out(self.home(tag), place.bucket, place.slot as usize);
        self.len -= 1;
        if self.len < JOIN_ENTRIES * self.homes as usize {
            self.join(tag_of);
        }
    }

    /// The cell of this entry has moved.
    pub fn relocate(&mut self, place: Place, to: Loc) {
        self.bucket_mut(place.bucket)[LOCS + place.slot as usize] = to.0;
    }

    /// Visits what belongs to one bucket, all of it at position `from` or behind, and returns the position from which to
    /// go on; none at the end of the table. A position is a tag with its bits in reverse.
    pub fn scan(&self, from: u32, tag_of: impl Fn(Loc) -> u32, mut visit: impl FnMut(Loc)) -> Option<u32> {
        if self.homes == 0 {
            return None;
        }
        let home = self.home(from.reverse_bits());
        self.each_from(home, |loc| {
            let tag = tag_of(loc);
            if self.home(tag) == home && tag.reverse_bits() >= from {
                visit(loc);
            }
        });
        // A home that has been split, or is the half of one, covers one bit more than the others.
        let half = (self.mask >> 1) + 1;
        let bits = half.ilog2() + u32::from(home >= half || home < self.homes - half);
        let stretch = 1u64 << (u32::BITS - bits);
        u32::try_from((from as u64 / stretch + 1) * stretch).ok()
    }

    /// An entry, each as likely as any other as long as the table is not nearly empty.
    pub fn pick(&self, random: u64) -> Option<Loc> {
        if self.len == 0 {
            return None;
        }
        let slots = self.homes as u64 * SLOTS as u64;
        let draw = |n: u64| (((random ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * slots) >> 32;
        let tries = (0..PICK_TRIES).map(draw);
        let rest = (0..self.backed as u64 * SLOTS as u64).map(|step| draw(0) + step);
        tries.chain(rest).find_map(|number| {
            let bucket = &self.space.lines()[(number / SLOTS as u64) as usize % self.backed as usize];
            let slot = (number % SLOTS as u64) as usize;
            (fingerprint_at(bucket, slot) != NO_ENTRY).then_some(Loc(bucket[LOCS + slot]))
        })
    }

    /// Starts fetching the bucket in which a search for the tag begins.
    #[inline]
    pub fn prefetch(&self, tag: u32) {
        if let Some(bucket) = self.space.lines().get(self.home(tag) as usize) {
            prefetch(bucket);
        }
    }

    /// The cell that a search for the tag most likely ends at.
    #[inline]
    pub fn likely(&self, tag: u32) -> Option<Loc> {
        let bucket = self.space.lines().get(self.home(tag) as usize)?;
        matches(bucket, fingerprint(tag)).next().map(|slot| Loc(bucket[LOCS + slot]))
    }

    /// Forgets all entries. False when the memory is still as it was: then nothing may be added before it is wiped.
    pub fn clear(&mut self) -> bool {
        (self.homes, self.mask, self.len) = (0, 0, 0);
        let is_small = self.backed > 0 && self.bytes() as usize <= WIPED_AT_ONCE_BYTES;
        if is_small { self.wipe_step() } else { self.backed == 0 }
    }

    /// Gives back some of the memory of forgotten entries, from the end. True when it was the last.
    pub fn wipe_step(&mut self) -> bool {
        let left = self.space.discard_last(self.bytes() as usize);
        self.backed = (left / LINE_BYTES) as u32;
        left == 0
    }

    #[inline]
    fn search(&self, tag: u32, is_meant: impl Fn(Loc) -> bool) -> Option<(Loc, Place)> {
        let fingerprint = fingerprint(tag);
        let buckets = self.space.lines();
        let mut at = self.home(tag);
        while let Some(bucket) = buckets.get(at as usize) {
            for slot in matches(bucket, fingerprint) {
                let loc = Loc(bucket[LOCS + slot]);
                if is_meant(loc) {
                    return Some((loc, Place { bucket: at, slot: slot as u8 }));
                }
            }
            if passed(bucket) == 0 {
                return None;
            }
            at += 1;
        }
        None
    }

    /// Where an entry with this tag belongs.
    #[inline]
    fn home(&self, tag: u32) -> u32 {
        let home = tag & self.mask;
        if home < self.homes { home } else { home & self.mask >> 1 }
    }

    fn set_homes(&mut self, homes: u32) {
        self.homes = homes;
        self.mask = (homes + 1).next_power_of_two() - 1;
    }

    /// Splits are spread evenly over the inserts of a round.
    #[inline]
    fn is_split_due(&self) -> bool {
        let begun = (self.mask >> 1) as usize + 1;
        self.homes == 0
            || 2 * self.len > ROUND_BEGINS * begun + (ROUND_ENDS - ROUND_BEGINS) * (self.homes as usize - begun)
    }

    /// Adds a home, with its share of the entries of another one. Nothing happens when there is no memory for it: the
    /// buckets then fill up.
    fn split(&mut self, tag_of: impl Fn(Loc) -> u32) {
        if self.homes == self.backed && !self.back_more() {
            return;
        }
        if self.homes > 0 {
            self.lift(self.homes & self.mask >> 1, tag_of);
        }
        if self.has_slots(self.homes, self.moving.len()) {
            self.set_homes(self.homes + 1);
        }
        self.put_back();
    }

    /// Takes the last home away.
    fn join(&mut self, tag_of: impl Fn(Loc) -> u32) {
        if self.homes > 1 {
            self.lift(self.homes - 1, tag_of);
            self.set_homes(self.homes - 1);
            self.put_back();
        }
        self.give_back();
    }

    /// Takes all entries out that belong to this home.
    fn lift(&mut self, home: u32, tag_of: impl Fn(Loc) -> u32) {
        let mut moving = std::mem::take(&mut self.moving);
        let mut at = home;
        loop {
            let bucket = self.space.lines()[at as usize];
            for slot in slots_of_home(&bucket, at == home) {
                let loc = Loc(bucket[LOCS + slot]);
                let tag = tag_of(loc);
                if self.home(tag) == home {
                    self.take_out(home, at, slot);
                    moving.push((tag, loc));
                }
            }
            // As it was before some of those that had passed by were taken.
            if passed(&bucket) == 0 {
                break;
            }
            at += 1;
        }
        self.moving = moving;
    }

    /// Puts entries back that have been taken out. There are slots for them: at least those in which they were, which
    /// are at their home or behind it, and which it does not matter who takes.
    fn put_back(&mut self) {
        let mut moving = std::mem::take(&mut self.moving);
        moving.drain(..).for_each(|(tag, loc)| assert!(self.put(tag, loc), "no slot for what had one"));
        // Of many equal tags, which a seeded hash does not make, the memory is not kept.
        moving.shrink_to(8 * SLOTS);
        self.moving = moving;
    }

    /// Whether so many entries find a slot from this bucket on; puts memory behind more buckets for that.
    fn has_slots(&mut self, from: u32, count: usize) -> bool {
        let mut free = 0;
        let mut at = from;
        while free < count {
            if at == self.backed && !self.back_more() {
                return false;
            }
            free += matches(self.bucket_mut(at), NO_ENTRY).count();
            at += 1;
        }
        true
    }

    /// False, and no change, when there is no memory for the entry.
    fn put(&mut self, tag: u32, loc: Loc) -> bool {
        let home = self.home(tag);
        let mut at = home;
        loop {
            if at == self.backed && !self.back_more() {
                self.forget_pass(home, at);
                return false;
            }
            let bucket = self.bucket_mut(at);
            if let Some(slot) = matches(bucket, NO_ENTRY).next() {
                set_fingerprint(bucket, slot, fingerprint(tag));
                if at != home {
                    bucket[PASSED] |= passed_bit(slot);
                }
                bucket[LOCS + slot] = loc.0;
                return true;
            }
            bucket[PASSED] += u32::from(passed(bucket) < PASSED_MAX);
            at += 1;
        }
    }

    /// An entry of `home` does not pass by its bucket and those up to `end` any more.
    fn forget_pass(&mut self, home: u32, end: u32) {
        for at in home..end {
            let bucket = self.bucket_mut(at);
            bucket[PASSED] -= u32::from(passed(bucket) < PASSED_MAX);
        }
    }

    fn take_out(&mut self, home: u32, bucket: u32, slot: usize) {
        self.forget_pass(home, bucket);
        let bucket = self.bucket_mut(bucket);
        set_fingerprint(bucket, slot, NO_ENTRY);
        bucket[PASSED] &= !passed_bit(slot);
    }

    fn bucket_mut(&mut self, at: u32) -> &mut Bucket {
        &mut self.space.lines_mut()[at as usize]
    }

    /// Puts memory behind the next buckets. False when there is none.
    fn back_more(&mut self) -> bool {
        #[cfg(test)]
        if self.is_refused {
            return false;
        }
        let bytes = self.bytes() as usize;
        let is_small = bytes < FIRST_HUGE_BLOCK * BLOCK_BYTES;
        let step = if is_small { SMALL_STEP_BYTES } else { BLOCK_BYTES };
        if !self.reserve() || !self.space.open(bytes + step) {
            return false;
        }
        if !is_small {
            self.space.make_huge(bytes / BLOCK_BYTES);
        }
        self.backed += (step / LINE_BYTES) as u32;
        true
    }

    /// Takes the memory of the last buckets away, if the homes end well before them and no entry lies there.
    fn give_back(&mut self) {
        let bytes = self.bytes() as usize;
        let step = if bytes > FIRST_HUGE_BLOCK * BLOCK_BYTES { BLOCK_BYTES } else { SMALL_STEP_BYTES };
        // Half a step more, so that a table that grows again does not ask for it at once.
        if self.homes as usize + (step + step / 2) / LINE_BYTES > self.backed as usize {
            return;
        }
        let start = bytes - step;
        if passed(&self.space.lines()[start / LINE_BYTES - 1]) == 0 && self.space.discard(start..bytes) {
            self.backed = (start / LINE_BYTES) as u32;
        }
    }

    /// Visits the entries of a bucket and of those behind it that may hold more of its own.
    fn each_from(&self, home: u32, mut visit: impl FnMut(Loc)) {
        for (step, bucket) in self.space.lines()[home as usize..].iter().enumerate() {
            slots_of_home(bucket, step == 0).for_each(|slot| visit(Loc(bucket[LOCS + slot])));
            if passed(bucket) == 0 {
                break;
            }
        }
    }
}

/// How many entries found the bucket full.
#[inline]
fn passed(bucket: &Bucket) -> u32 {
    bucket[PASSED] & PASSED_MAX
}

/// Says in `PASSED` that the entry of a slot has passed by another bucket.
#[inline]
fn passed_bit(slot: usize) -> u32 {
    1 << (PASSED_BITS as usize + slot)
}

/// The slots with entries that belong in this bucket; or, if it is not their `home`, may belong in one before it.
fn slots_of_home(bucket: &Bucket, is_home: bool) -> impl Iterator<Item = usize> {
    let has_passed = move |slot| bucket[PASSED] & passed_bit(slot) != 0;
    (0..SLOTS).filter(move |&slot| fingerprint_at(bucket, slot) != NO_ENTRY && has_passed(slot) != is_home)
}

/// The slots with this fingerprint.
#[inline]
fn matches(bucket: &Bucket, fingerprint: u8) -> Matches {
    let first = equal_bytes(bucket[0] as u64 | (bucket[1] as u64) << 32, fingerprint);
    let last = equal_bytes(bucket[2] as u64, fingerprint);
    // There are no slots 12 to 15, although an empty one is asked for.
    Matches(first | (last & u32::MAX as u64) >> 4)
}

fn fingerprint_at(bucket: &Bucket, slot: usize) -> u8 {
    (bucket[slot / 4] >> (slot % 4 * 8)) as u8
}

fn set_fingerprint(bucket: &mut Bucket, slot: usize, fingerprint: u8) {
    let shift = slot % 4 * 8;
    bucket[slot / 4] = bucket[slot / 4] & !(0xff << shift) | (fingerprint as u32) << shift;
}

/// Slots, as bits: slot n of the first eight as bit 8n + 7, of the others as bit 8(n - 8) + 3.
struct Matches(u64);

impl Iterator for Matches {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit / 8 + if bit % 8 == 7 { 0 } else { 8 })
    }
}

/// The bytes of `word` that equal `byte`, as their upper bits.
#[inline]
fn equal_bytes(word: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const LOW_BITS: u64 = ONES * 0x7f;
    // What is equal becomes zero: the only byte whose upper bit is clear, and stays so when 0x7f is added to the other
    // bits. (The shorter trick, with a borrow, also finds a byte after a hit; and an empty slot must not be found, for
    // what it points to may look like the item that once was there.)
    let differing = word ^ (ONES * byte as u64);
    !(((differing & LOW_BITS) + LOW_BITS) | differing | LOW_BITS)
}

/// Of the upper bits: the lower ones are the same within a bucket.
#[inline]
fn fingerprint(tag: u32) -> u8 {
    ((tag >> 24) as u8).max(1)
}

#[cfg(test)]
mod tests;
