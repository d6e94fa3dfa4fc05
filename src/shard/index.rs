//! From a key's hash to the cell of its item: a hash table that grows in small steps. It must not know what lies in a
//! cell: whoever calls says which cell is meant, and reads the tags of cells for it.
//!
//! Of the hash the index uses its upper half, the *tag*. Read as a fraction of 2^32, a tag says where in the table its
//! entry belongs, so the whole table is in the order of the tags. Equal stretches of that order are segments of their
//! own. The table grows by splitting one segment after another, in order (linear hashing, Litwin 1980), and no step
//! touches more than the few hundred entries of a segment. A scan walks the tags: neither growth nor shrinking can
//! make it miss or repeat what stays.

use super::heap::Loc;
use super::prefetch::prefetch;
use std::iter;

/// Entries to a segment, on average, before the next one is split. Just before its split a segment holds twice this;
/// with more, a split takes longer than the 100 us that an insert may take.
const TARGET_ENTRIES: usize = 192;
/// Below half of that, segments are joined.
const JOIN_ENTRIES: usize = TARGET_ENTRIES / 2;
/// Entries to a bucket: what fits into a cache line beside their fingerprints.
const BUCKET_ENTRIES: usize = 12;
/// A segment is rebuilt a third larger when it is fuller than 5/6 (10 entries to a bucket): beyond, too many buckets
/// overflow.
const FULL_ENTRIES: usize = 10;

/// A cache line of entries. Those that find their bucket full go to the next one that is not.
#[derive(Clone)]
#[repr(align(64))]
struct Bucket {
    /// Eight bits of the tag, never 0; 0 where there is no entry.
    fingerprints: [u8; BUCKET_ENTRIES],
    /// Entries that passed by this bucket because it was full: unless it is 0, a search goes on with the next bucket.
    passed: u32,
    locs: [u32; BUCKET_ENTRIES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

const EMPTY_BUCKET: Bucket = Bucket { fingerprints: [0; BUCKET_ENTRIES], passed: 0, locs: [0; BUCKET_ENTRIES] };

/// A stretch of the order of tags.
#[derive(Default)]
pub struct Segment {
    buckets: Box<[Bucket]>,
    len: u32,
}

/// Where an entry is: valid until the next change.
#[derive(Clone, Copy)]
pub struct Place {
    loc: Loc,
    bucket: u32,
    slot: u8,
}

impl Place {
    pub fn loc(&self) -> Loc {
        self.loc
    }
}

pub struct Index {
    /// Segments `0..split.len() / 2` of `whole` have been split into these, two for each.
    split: Vec<Segment>,
    /// 2^depth segments; those already split are empty.
    whole: Vec<Segment>,
    depth: u32,
    len: usize,
    segment_bytes: u64,
}

impl Index {
    pub fn new() -> Index {
        Index { split: Vec::new(), whole: vec![Segment::default()], depth: 0, len: 0, segment_bytes: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Memory held.
    pub fn bytes(&self) -> u64 {
        self.segment_bytes + ((self.split.capacity() + self.whole.capacity()) * size_of::<Segment>()) as u64
    }

    /// The entry with this tag whose cell is the one meant.
    #[inline]
    pub fn find(&self, tag: u32, is_meant: impl Fn(Loc) -> bool) -> Option<Place> {
        let (segment, depth) = self.segment(tag);
        segment.find(home(tag, depth, segment.buckets.len()), fingerprint(tag), is_meant)
    }

    /// Adds an entry. `tag_of` reads the tags of cells whose entries must move.
    pub fn insert(&mut self, tag: u32, loc: Loc, tag_of: impl Fn(Loc) -> u32) {
        if self.len >= TARGET_ENTRIES * self.segment_count() {
            self.split_next(&tag_of);
        }
        let (segment, depth) = self.segment_mut(tag);
        let before = segment.bytes();
        if segment.len as usize >= segment.buckets.len() * FULL_ENTRIES {
            let entries: Vec<(u32, Loc)> = segment.locs().map(|loc| (tag_of(loc), loc)).collect();
            *segment = Segment::build(entries.len() + entries.len() / 3, depth, entries.into_iter());
        }
        segment.insert(home(tag, depth, segment.buckets.len()), fingerprint(tag), loc);
        let after = segment.bytes();
        self.segment_bytes = self.segment_bytes - before + after;
        self.len += 1;
    }

    pub fn remove(&mut self, tag: u32, place: Place, tag_of: impl Fn(Loc) -> u32) {
        let (segment, depth) = self.segment_mut(tag);
        segment.remove(home(tag, depth, segment.buckets.len()), place);
        self.len -= 1;
        if self.len < JOIN_ENTRIES * self.segment_count() {
            self.join_last(&tag_of);
        }
    }

    /// The cell of this entry has moved.
    pub fn relocate(&mut self, tag: u32, place: Place, to: Loc) {
        let (segment, _) = self.segment_mut(tag);
        segment.buckets[place.bucket as usize].locs[place.slot as usize] = to.0;
    }

    /// Visits what belongs to one bucket, all of it with tags of at least `from`, and returns the tag from which to go
    /// on; none at the end of the table.
    pub fn scan(&self, from: u32, tag_of: impl Fn(Loc) -> u32, mut visit: impl FnMut(Loc)) -> Option<u32> {
        let (segment, depth) = self.segment(from);
        let buckets = segment.buckets.len();
        if buckets == 0 {
            return after_segment(from, depth);
        }
        let target = home(from, depth, buckets);
        for at in iter::once(target).chain((1..buckets).map(|step| (target + step) % buckets)) {
            let bucket = &segment.buckets[at];
            for loc in bucket.entries() {
                let tag = tag_of(loc);
                if tag >= from && home(tag, depth, buckets) == target {
                    visit(loc);
                }
            }
            if bucket.passed == 0 {
                break;
            }
        }
        if target + 1 == buckets {
            return after_segment(from, depth);
        }
        // The least tag whose place is in the next bucket: see `home`.
        let fraction = (((target + 1) as u64) << 32).div_ceil(buckets as u64);
        let base = from & !(u32::MAX.checked_shr(depth).unwrap_or(0));
        Some(base + fraction.div_ceil(1 << depth) as u32)
    }

    /// The first entry found from a random tag on.
    pub fn pick(&self, random: u64) -> Option<Loc> {
        if self.len == 0 {
            return None;
        }
        let mut segment = self.segment((random >> 32) as u32).0;
        let mut at = (random >> 32) as usize;
        while segment.len == 0 {
            at += 1;
            let count = self.whole.len() + self.split.len();
            let number = at % count;
            segment = self.whole.get(number).unwrap_or_else(|| &self.split[number - self.whole.len()]);
        }
        let buckets = segment.buckets.len();
        let start = ((random as u32 as u64 * buckets as u64) >> 32) as usize;
        let bucket =
            (start..buckets).chain(0..start).map(|at| &segment.buckets[at]).find(|b| b.entries().next().is_some())?;
        let choice = random as usize % bucket.entries().count();
        bucket.entries().nth(choice)
    }

    /// Starts fetching the bucket in which a search for the tag begins.
    #[inline]
    pub fn prefetch(&self, tag: u32) {
        let (segment, depth) = self.segment(tag);
        if let Some(bucket) = segment.buckets.get(home(tag, depth, segment.buckets.len())) {
            prefetch(bucket);
        }
    }

    /// The cell that a search for the tag most likely ends at.
    #[inline]
    pub fn likely(&self, tag: u32) -> Option<Loc> {
        let (segment, depth) = self.segment(tag);
        let bucket = segment.buckets.get(home(tag, depth, segment.buckets.len()))?;
        bucket.matches(fingerprint(tag)).next().map(|slot| Loc(bucket.locs[slot]))
    }

    /// The memory alone, for giving it back piece by piece once nothing in it matters.
    pub fn into_segments(self) -> [Vec<Segment>; 2] {
        [self.split, self.whole]
    }

    fn segment_count(&self) -> usize {
        self.whole.len() + self.split.len() / 2
    }

    #[inline]
    fn segment(&self, tag: u32) -> (&Segment, u32) {
        let fine = prefix(tag, self.depth + 1);
        match self.split.get(fine) {
            Some(segment) => (segment, self.depth + 1),
            None => (&self.whole[fine / 2], self.depth),
        }
    }

    #[inline]
    fn segment_mut(&mut self, tag: u32) -> (&mut Segment, u32) {
        let fine = prefix(tag, self.depth + 1);
        match self.split.get_mut(fine) {
            Some(segment) => (segment, self.depth + 1),
            None => (&mut self.whole[fine / 2], self.depth),
        }
    }

    fn split_next(&mut self, tag_of: &impl Fn(Loc) -> u32) {
        // Beyond, a segment's tags would no longer tell its buckets apart.
        if self.depth >= 20 {
            return;
        }
        if self.split.capacity() == 0 {
            // All at once, but nothing is copied, now or later; the memory is touched as the segments are.
            self.split.reserve_exact(2 * self.whole.len());
        }
        let next = self.split.len() / 2;
        let segment = std::mem::take(&mut self.whole[next]);
        let depth = self.depth + 1;
        let entries: Vec<(u32, Loc)> = segment.locs().map(|loc| (tag_of(loc), loc)).collect();
        self.segment_bytes -= segment.bytes();
        for half in [2 * next, 2 * next + 1] {
            let own = entries.iter().copied().filter(|&(tag, _)| prefix(tag, depth) == half);
            let built = Segment::build(own.clone().count(), depth, own);
            self.segment_bytes += built.bytes();
            self.split.push(built);
        }
        if self.split.len() == 2 * self.whole.len() {
            self.whole = std::mem::take(&mut self.split);
            self.depth += 1;
        }
    }

    fn join_last(&mut self, tag_of: &impl Fn(Loc) -> u32) {
        if self.split.is_empty() {
            if self.depth == 0 {
                return;
            }
            self.depth -= 1;
            let halves = self.whole.len() / 2;
            self.split = std::mem::take(&mut self.whole);
            self.whole.resize_with(halves, Segment::default);
        }
        let (second, first) = (self.split.pop(), self.split.pop());
        let entries: Vec<(u32, Loc)> = [first, second]
            .iter()
            .flatten()
            .inspect(|half| self.segment_bytes -= half.bytes())
            .flat_map(|half| half.locs().map(|loc| (tag_of(loc), loc)))
            .collect();
        let joined = Segment::build(entries.len(), self.depth, entries.into_iter());
        self.segment_bytes += joined.bytes();
        self.whole[self.split.len() / 2] = joined;
        if self.split.is_empty() {
            self.split = Vec::new();
        }
    }
}

impl Segment {
    /// A segment with room for `capacity` entries, and some of them in it.
    fn build(capacity: usize, depth: u32, entries: impl Iterator<Item = (u32, Loc)>) -> Segment {
        let buckets = capacity / FULL_ENTRIES + 1;
        let mut segment = Segment { buckets: vec![EMPTY_BUCKET; buckets].into(), len: 0 };
        for (tag, loc) in entries {
            segment.insert(home(tag, depth, buckets), fingerprint(tag), loc);
        }
        segment
    }

    /// Memory held, with what the allocator loses to rounding and to holes between segments of many sizes: half as much
    /// again, by the kernel's count of a process with millions of items (mimalloc; `cargo bench --bench shard -- cost`).
    pub fn bytes(&self) -> u64 {
        (self.buckets.len() * size_of::<Bucket>() * 3 / 2) as u64
    }

    fn locs(&self) -> impl Iterator<Item = Loc> {
        self.buckets.iter().flat_map(Bucket::entries)
    }

    #[inline]
    fn find(&self, home: usize, fingerprint: u8, is_meant: impl Fn(Loc) -> bool) -> Option<Place> {
        let mut at = home;
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            for slot in bucket.matches(fingerprint) {
                let loc = Loc(bucket.locs[slot]);
                if is_meant(loc) {
                    return Some(Place { loc, bucket: at as u32, slot: slot as u8 });
                }
            }
            if bucket.passed == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// There is room: see `FULL_ENTRIES`.
    fn insert(&mut self, home: usize, fingerprint: u8, loc: Loc) {
        let mut at = home;
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(slot) = bucket.fingerprints.iter().position(|&f| f == 0) {
                bucket.fingerprints[slot] = fingerprint;
                bucket.locs[slot] = loc.0;
                self.len += 1;
                return;
            }
            bucket.passed += 1;
            at = self.after(at);
        }
    }

    fn remove(&mut self, home: usize, place: Place) {
        let mut at = home;
        while at != place.bucket as usize {
            self.buckets[at].passed -= 1;
            at = self.after(at);
        }
        self.buckets[at].fingerprints[place.slot as usize] = 0;
        self.len -= 1;
    }

    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }
}

impl Bucket {
    fn entries(&self) -> impl Iterator<Item = Loc> {
        iter::zip(self.fingerprints, self.locs).filter(|&(fingerprint, _)| fingerprint != 0).map(|(_, loc)| Loc(loc))
    }

    /// The slots with this fingerprint.
    #[inline]
    fn matches(&self, fingerprint: u8) -> Matches {
        let first = self.fingerprints.first_chunk::<8>().expect("eight of twelve");
        let last = self.fingerprints.last_chunk::<4>().expect("four of twelve");
        let first = equal_bytes(u64::from_le_bytes(*first), fingerprint);
        let last = equal_bytes(u32::from_le_bytes(*last) as u64, fingerprint);
        Matches(first | last >> 4)
    }
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

/// The bytes of `word` that equal `byte`, which is not 0, as their upper bits.
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

/// The first `depth` bits of a tag.
fn prefix(tag: u32, depth: u32) -> usize {
    (tag as u64 >> (32 - depth)) as usize
}

/// The bucket in which a tag belongs: its fraction of the segment's stretch, so buckets are in the order of tags too.
fn home(tag: u32, depth: u32, buckets: usize) -> usize {
    let fraction = tag.checked_shl(depth).unwrap_or(0) as u64;
    ((fraction * buckets as u64) >> 32) as usize
}

/// Of the lower bits, because the upper ones are much the same within a bucket.
fn fingerprint(tag: u32) -> u8 {
    (tag as u8).max(1)
}

/// The first tag after the segment that `tag` lies in.
fn after_segment(tag: u32, depth: u32) -> Option<u32> {
    let next = (prefix(tag, depth) as u64 + 1) << (32 - depth);
    u32::try_from(next).ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;
    use std::collections::HashMap;

    /// Locations are numbers here, and their tags a function of them, of which `mask` keeps some bits.
    fn tag_of(mask: u32) -> impl Fn(Loc) -> u32 + Copy {
        move |loc| (Random(loc.0 as u64).next() as u32) & mask
    }

    #[test]
    fn holds_what_a_map_holds_while_it_grows_and_shrinks_even_if_tags_collide() {
        for (seed, mask) in [(1, u32::MAX), (2, 0xffff_0000), (3, 0xff), (4, 0xe000_0000)] {
            let (mut random, tag_of) = (Random(seed), tag_of(mask));
            let (mut index, mut map) = (Index::new(), HashMap::new());
            for step in 0..60_000 {
                let loc = Loc(random.below(if step < 30_000 { 10_000 } else { 1_000 }) as u32);
                let tag = tag_of(loc);
                let found = index.find(tag, |found| found == loc);
                assert_eq!(found.is_some(), map.contains_key(&loc.0));
                match found {
                    None if step < 30_000 || random.below(3) == 0 => {
                        index.insert(tag, loc, tag_of);
                        map.insert(loc.0, ());
                    }
                    Some(place) if step >= 30_000 || random.below(3) == 0 => {
                        index.remove(tag, place, tag_of);
                        map.remove(&loc.0);
                    }
                    _ => (),
                }
                assert_eq!(index.len(), map.len());
            }
            for &number in map.keys() {
                assert!(index.find(tag_of(Loc(number)), |found| found.0 == number).is_some());
            }
        }
    }

    #[test]
    fn an_emptied_index_holds_next_to_no_memory() {
        let tag_of = tag_of(u32::MAX);
        let mut index = Index::new();
        for number in 0..100_000 {
            index.insert(tag_of(Loc(number)), Loc(number), tag_of);
        }
        assert!(index.bytes() < 100_000 * 13);
        for number in 0..100_000 {
            let place = index.find(tag_of(Loc(number)), |found| found.0 == number).unwrap();
            index.remove(tag_of(Loc(number)), place, tag_of);
        }
        assert!(index.bytes() < 16 * 1024, "{}", index.bytes());
    }

    #[test]
    fn a_fingerprint_matches_its_slots_alone() {
        let mut bucket = EMPTY_BUCKET;
        for (slot, fingerprint) in [(0, 1), (1, 2), (7, 1), (8, 0x81), (11, 1)] {
            bucket.fingerprints[slot] = fingerprint;
        }
        for fingerprint in 1..=u8::MAX {
            let mut matches: Vec<usize> = bucket.matches(fingerprint).collect();
            matches.sort_unstable();
            let expected = (0..BUCKET_ENTRIES).filter(|&slot| bucket.fingerprints[slot] == fingerprint);
            assert_eq!(matches, expected.collect::<Vec<_>>());
        }
    }
}
