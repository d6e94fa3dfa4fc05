//! Where items lie: cells of a few sizes in pages of anonymous memory, counted to the byte. It must not know what a
//! cell holds, nor which cell to give up: it says when a page could be emptied by moving cells, and the shard moves them.
//!
//! A page holds cells of one class. When sizes shift, the classes that lost items keep holes; once a class has a
//! page's worth of them it is *crowdable*: one page's cells fit into the holes of the others, and the page is free for
//! any class (the idea of memcached's slab rebalancer, with cells moved instead of dropped).

use super::classes::{CLASS_COUNT, cell_units, cells_per_page};
use super::prefetch::prefetch;
use super::space::{BLOCK_BYTES, FIRST_HUGE_BLOCK, LINE_BYTES, Space};

pub const UNIT_BYTES: usize = 4;
/// What moves between classes. Small, because each class in use may hold a page that is nearly empty.
pub const PAGE_BYTES: usize = 64 * 1024;
pub const PAGE_UNITS: u32 = (PAGE_BYTES / UNIT_BYTES) as u32;
const PAGES_PER_BLOCK: u32 = (BLOCK_BYTES / PAGE_BYTES) as u32;
/// A location is 32 bits of 4-byte units: 16 GiB of cells per shard. The last 64 MiB are left out, so that the values
/// above `MAX_LOC` are free for marks.
const RESERVED_BYTES: usize = 255 * 64 * 1024 * 1024;
const MAX_BLOCKS: usize = RESERVED_BYTES / BLOCK_BYTES;
pub const MAX_LOC: u32 = (RESERVED_BYTES / UNIT_BYTES) as u32;
/// Stands in a free cell where an item keeps a link.
const FREE_MARK: u32 = u32::MAX - 1;
/// How many pages are looked at for the emptiest one.
const VICTIM_SAMPLE: usize = 16;

const _: () = assert!(MAX_LOC < u32::MAX - (1 << 16));
// `Block` keeps one bit per page.
const _: () = assert!(PAGES_PER_BLOCK == u32::BITS);

/// Where a cell is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Loc(pub u32);

impl Loc {
    pub const NONE: Loc = Loc(u32::MAX);

    pub fn is_none(self) -> bool {
        self == Loc::NONE
    }
    fn page(self) -> u32 {
        self.0 / PAGE_UNITS
    }
    /// Where the cell starts in the space.
    fn byte(self) -> usize {
        self.0 as usize * UNIT_BYTES
    }
    fn offset(self) -> u16 {
        (self.0 % PAGE_UNITS) as u16
    }
}

const NO_PAGE: u32 = u32::MAX;
const NO_CELL: u16 = u16::MAX;

#[derive(Clone, Copy)]
struct Page {
    /// Neighbours in the ring of the class's pages with room.
    next: u32,
    prev: u32,
    live: u16,
    /// Units from here on have never been handed out.
    carved: u16,
    /// Head of the list of freed cells, as an offset in units.
    free: u16,
    class: u8,
    /// In the ring. Neither a full page is, nor one that is being emptied.
    listed: bool,
}

const UNUSED_PAGE: Page =
    Page { next: NO_PAGE, prev: NO_PAGE, live: 0, carved: 0, free: NO_CELL, class: 0, listed: false };

#[derive(Clone, Copy)]
struct Class {
    /// A page with room, in a ring with the others.
    room: u32,
    /// Cells that can be handed out without another page.
    holes: u32,
}

/// A page that is being emptied.
#[derive(Clone, Copy)]
struct Evacuation {
    page: u32,
    /// Where to look next, in units.
    at: u16,
}

pub struct Heap {
    space: Space,
    pages: Vec<Page>,
    /// Which pages of each block have no memory, as bits.
    vacant: Vec<u32>,
    /// All blocks before this one have no vacant page.
    vacant_from: usize,
    classes: [Class; CLASS_COUNT],
    /// One bit per class that has a page's worth of holes.
    crowdable: u128,
    evacuation: Option<Evacuation>,
    /// Pages of each block that have memory and no class, for the next class that asks; as bits, and how many there are.
    idle: Vec<u32>,
    idle_pages: usize,
    /// All blocks before this one have no idle page.
    idle_from: usize,
    /// Pages that have memory: in classes or idle.
    resident: u32,
    /// What describes the pages of all blocks.
    described_bytes: u64,
    /// Bytes of live cells.
    live_bytes: u64,
}

impl Heap {
    pub fn new() -> Heap {
        Heap {
            // At the start, when the process may still have the addresses. What fails here is tried again.
            space: Space::reserve(RESERVED_BYTES),
            pages: Vec::new(),
            vacant: Vec::new(),
            vacant_from: 0,
            classes: [Class { room: NO_PAGE, holes: 0 }; CLASS_COUNT],
            crowdable: 0,
            evacuation: None,
            idle: Vec::new(),
            idle_pages: 0,
            idle_from: 0,
            resident: 0,
            described_bytes: 0,
            live_bytes: 0,
        }
    }

    /// Memory held: resident pages and their descriptions.
    pub fn resident_bytes(&self) -> u64 {
        self.resident as u64 * PAGE_BYTES as u64 + self.described_bytes
    }

    /// Bytes in holes and idle pages: held, but not by items.
    pub fn hole_bytes(&self) -> u64 {
        self.resident as u64 * PAGE_BYTES as u64 - self.live_bytes
    }

    /// True when a cell of the class, or an idle page, is at hand.
    pub fn has_room(&self, class: u8) -> bool {
        self.classes[class as usize].room != NO_PAGE || self.idle_pages > 0
    }

    /// A cell of the class; none when that takes a page and there is no idle one.
    pub fn alloc(&mut self, class: u8) -> Option<Loc> {
        if self.classes[class as usize].room == NO_PAGE {
            let page = self.take_idle()?;
            self.assign(page, class);
        }
        Some(self.take_cell(class))
    }

    /// Puts memory behind another page, or behind a whole block of them, but behind no more than `bytes`, at least a
    /// page. False when the process may have no more, or the shard's address space is used up.
    pub fn grow(&mut self, bytes: u64) -> bool {
        let full = self.vacant[self.vacant_from..].iter().take_while(|&&vacant| vacant == 0).count();
        self.vacant_from += full;
        let block = self.vacant_from;
        if block == self.vacant.len() && !self.open_block() {
            return false;
        }
        // A block of which a part has memory is filled bit by bit.
        if block >= FIRST_HUGE_BLOCK
            && self.vacant[block] == u32::MAX
            && bytes >= BLOCK_BYTES as u64
            && self.space.make_huge(block)
        {
            self.add_idle(block, u32::MAX);
            self.resident += PAGES_PER_BLOCK;
            self.vacant[block] = 0;
        } else {
            let page = self.vacant[block] & self.vacant[block].wrapping_neg();
            self.add_idle(block, page);
            self.resident += 1;
            self.vacant[block] &= !page;
            if self.vacant[block] == 0 && block >= FIRST_HUGE_BLOCK {
                // All of it is counted: the kernel may put its pieces together, when it finds the time.
                self.space.make_huge(block);
            }
        }
        true
    }

    pub fn free(&mut self, loc: Loc) {
        let id = loc.page();
        let page = *self.page(id);
        let class = page.class;
        self.set_word(loc, 0, FREE_MARK);
        self.set_word(loc, 1, page.free as u32);
        self.live_bytes -= cell_units(class) as u64 * UNIT_BYTES as u64;
        let page = self.page_mut(id);
        page.free = loc.offset();
        page.live -= 1;
        let (empty, listed) = (page.live == 0, page.listed);
        let evacuated = self.evacuation.is_some_and(|evacuation| evacuation.page == id);
        if !evacuated {
            self.classes[class as usize].holes += 1;
            if !listed {
                self.list(id);
            }
        }
        if empty {
            if evacuated {
                self.evacuation = None;
            } else {
                self.unlist(id);
                self.classes[class as usize].holes -= cells_per_page(class);
            }
            self.add_idle((id / PAGES_PER_BLOCK) as usize, 1 << (id % PAGES_PER_BLOCK));
        }
        self.note_holes(class);
    }

    /// Frees all cells at once: every page that has memory is idle.
    pub fn clear(&mut self) {
        for (idle, vacant) in self.idle.iter_mut().zip(&self.vacant) {
            *idle = !vacant;
        }
        (self.idle_pages, self.idle_from) = (self.resident as usize, 0);
        self.classes = [Class { room: NO_PAGE, holes: 0 }; CLASS_COUNT];
        (self.crowdable, self.evacuation, self.live_bytes) = (0, None, 0);
    }

    /// The class of the cell at `loc`.
    pub fn class_at(&self, loc: Loc) -> u8 {
        self.page(loc.page()).class
    }

    /// The size of the cell at `loc`.
    pub fn cell_bytes(&self, loc: Loc) -> u64 {
        cell_units(self.class_at(loc)) as u64 * UNIT_BYTES as u64
    }

    /// True when a cell of the class is at hand without another page.
    pub fn has_hole(&self, class: u8) -> bool {
        self.classes[class as usize].room != NO_PAGE
    }

    /// Cells of the class that are at hand without another page.
    pub fn holes(&self, class: u8) -> u32 {
        self.classes[class as usize].holes
    }

    /// Pages that have memory.
    pub fn resident_pages(&self) -> usize {
        self.resident as usize
    }

    pub fn idle_pages(&self) -> usize {
        self.idle_pages
    }

    /// Gives the memory of the last idle page back to the kernel, or of its whole block if that is huge and idle. False
    /// when there is none, or the kernel refuses.
    pub fn release_idle_pages(&mut self) -> bool {
        let Some(block) = self.idle.iter().rposition(|&idle| idle != 0) else { return false };
        let mut pages = self.idle[block];
        let mut range = block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES;
        if pages != u32::MAX || !self.space.is_huge(block) {
            let page = pages.ilog2();
            pages = 1 << page;
            range.start += page as usize * PAGE_BYTES;
            range.end = range.start + PAGE_BYTES;
        }
        if !self.space.discard(range) {
            return false;
        }
        self.idle[block] &= !pages;
        self.idle_pages -= pages.count_ones() as usize;
        self.vacant[block] |= pages;
        self.vacant_from = self.vacant_from.min(block);
        self.resident -= pages.count_ones();
        true
    }

    /// The next cell to move so that a page becomes free: allocate another of the same class, move, free this one.
    /// None when no class has a page's worth of holes.
    pub fn next_evacuee(&mut self) -> Option<Loc> {
        if self.evacuation.is_none() {
            self.begin_evacuation()?;
        }
        let evacuation = self.evacuation?;
        let page = *self.page(evacuation.page);
        let step = cell_units(page.class) as u16;
        let mut at = evacuation.at;
        // Others took the holes that this page's cells were to move into: the page joins its class again.
        if self.classes[page.class as usize].room == NO_PAGE {
            self.evacuation = None;
            self.classes[page.class as usize].holes += cells_per_page(page.class) - page.live as u32;
            self.list(evacuation.page);
            self.note_holes(page.class);
            return None;
        }
        loop {
            let loc = Loc(evacuation.page * PAGE_UNITS + at as u32);
            at += step;
            // A page that is being emptied has a live cell further on: the last one to go makes it idle.
            if self.word(loc, 0) != FREE_MARK {
                self.evacuation = Some(Evacuation { page: evacuation.page, at });
                return Some(loc);
            }
        }
    }

    #[inline]
    pub fn word(&self, loc: Loc, index: usize) -> u32 {
        u32::from_le_bytes(self.space.as_chunks::<UNIT_BYTES>().0[loc.0 as usize + index])
    }

    #[inline]
    pub fn set_word(&mut self, loc: Loc, index: usize, word: u32) {
        self.space.as_chunks_mut::<UNIT_BYTES>().0[loc.0 as usize + index] = word.to_le_bytes();
    }

    /// The first words of the cell at `loc`, to be changed together.
    #[inline]
    pub fn words_mut<const COUNT: usize>(&mut self, loc: Loc) -> &mut [[u8; UNIT_BYTES]; COUNT] {
        let at = loc.0 as usize;
        let words = &mut self.space.as_chunks_mut::<UNIT_BYTES>().0[at..at + COUNT];
        words.try_into().expect("as many as were asked for")
    }

    #[inline]
    pub fn bytes(&self, loc: Loc, start: usize, len: usize) -> &[u8] {
        let at = loc.byte() + start;
        &self.space[at..at + len]
    }

    #[inline]
    pub fn bytes_mut(&mut self, loc: Loc, start: usize, len: usize) -> &mut [u8] {
        let at = loc.byte() + start;
        &mut self.space[at..at + len]
    }

    /// Starts fetching the first `lines` cache lines of the cell at `loc`, if it is a cell.
    #[inline]
    pub fn prefetch(&self, loc: Loc, lines: usize) {
        for line in 0..lines {
            if let Some(byte) = self.space.get(loc.byte() + line * LINE_BYTES) {
                prefetch(byte);
            }
        }
    }

    /// Copies the whole cell at `from` to `to`, a cell of the same class.
    pub fn copy_cell(&mut self, from: Loc, to: Loc) {
        let bytes = cell_units(self.class_at(from)) as usize * UNIT_BYTES;
        self.space.copy_within(from.byte()..from.byte() + bytes, to.byte());
    }

    fn open_block(&mut self) -> bool {
        if !self.space.is_reserved() {
            self.space = Space::reserve(RESERVED_BYTES);
        }
        let blocks = self.vacant.len() + 1;
        if !self.reserve_descriptions() || !self.space.open(blocks * BLOCK_BYTES) {
            return false;
        }
        self.pages.resize(blocks * PAGES_PER_BLOCK as usize, UNUSED_PAGE);
        self.vacant.push(u32::MAX);
        self.idle.push(0);
        self.described_bytes += (PAGES_PER_BLOCK as usize * size_of::<Page>() + 2 * size_of::<u32>()) as u64;
        true
    }

    /// Memory for the descriptions of all pages there can be, touched as they come into use: growing copies nothing.
    /// False when the process may have no more.
    fn reserve_descriptions(&mut self) -> bool {
        let reserve = |list: &mut Vec<u32>| list.try_reserve_exact(MAX_BLOCKS - list.len()).is_ok();
        let pages = MAX_BLOCKS * PAGES_PER_BLOCK as usize;
        self.pages.try_reserve_exact(pages - self.pages.len()).is_ok()
            && reserve(&mut self.vacant)
            && reserve(&mut self.idle)
    }

    fn add_idle(&mut self, block: usize, pages: u32) {
        self.idle[block] |= pages;
        self.idle_pages += pages.count_ones() as usize;
        self.idle_from = self.idle_from.min(block);
    }

    /// The first idle page.
    fn take_idle(&mut self) -> Option<u32> {
        let block = self.idle_from + self.idle[self.idle_from..].iter().position(|&idle| idle != 0)?;
        let page = self.idle[block].trailing_zeros();
        self.idle[block] &= !(1 << page);
        self.idle_pages -= 1;
        self.idle_from = block;
        Some(block as u32 * PAGES_PER_BLOCK + page)
    }

    fn assign(&mut self, id: u32, class: u8) {
        *self.page_mut(id) = Page { class, ..UNUSED_PAGE };
        self.classes[class as usize].holes += cells_per_page(class);
        self.list(id);
        self.note_holes(class);
    }

    /// A cell of the page at the head of the class's ring.
    fn take_cell(&mut self, class: u8) -> Loc {
        let id = self.classes[class as usize].room;
        let units = cell_units(class);
        let page = self.page_mut(id);
        page.live += 1;
        let full = page.live as u32 == cells_per_page(class);
        let loc = if page.free == NO_CELL {
            page.carved += units as u16;
            Loc(id * PAGE_UNITS + page.carved as u32 - units)
        } else {
            let loc = Loc(id * PAGE_UNITS + page.free as u32);
            let next = self.word(loc, 1) as u16;
            self.page_mut(id).free = next;
            loc
        };
        if full {
            self.unlist(id);
        }
        self.live_bytes += units as u64 * UNIT_BYTES as u64;
        self.classes[class as usize].holes -= 1;
        self.note_holes(class);
        loc
    }

    fn begin_evacuation(&mut self) -> Option<()> {
        if self.crowdable == 0 {
            return None;
        }
        let class = self.crowdable.trailing_zeros() as usize;
        // Pages at the end of the ring have had room for longest.
        let mut page = self.page(self.classes[class].room).prev;
        let mut victim = page;
        // Rather one of a block that is small already than break another huge one.
        let order = |heap: &Heap, id: u32| (heap.space.is_huge((id / PAGES_PER_BLOCK) as usize), heap.page(id).live);
        for _ in 0..VICTIM_SAMPLE {
            if order(self, page) < order(self, victim) {
                victim = page;
            }
            page = self.page(page).prev;
        }
        self.unlist(victim);
        self.classes[class].holes -= cells_per_page(class as u8) - self.page(victim).live as u32;
        self.note_holes(class as u8);
        self.evacuation = Some(Evacuation { page: victim, at: 0 });
        Some(())
    }

    fn note_holes(&mut self, class: u8) {
        let bit = 1 << class;
        if self.classes[class as usize].holes >= cells_per_page(class) {
            self.crowdable |= bit;
        } else {
            self.crowdable &= !bit;
        }
    }

    /// Puts a page at the head of its class's ring.
    fn list(&mut self, id: u32) {
        let class = self.page(id).class as usize;
        let head = self.classes[class].room;
        let (next, prev) = if head == NO_PAGE { (id, id) } else { (head, self.page(head).prev) };
        self.page_mut(prev).next = id;
        self.page_mut(next).prev = id;
        let page = self.page_mut(id);
        (page.next, page.prev, page.listed) = (next, prev, true);
        self.classes[class].room = id;
    }

    fn unlist(&mut self, id: u32) {
        let Page { next, prev, class, .. } = *self.page(id);
        self.page_mut(prev).next = next;
        self.page_mut(next).prev = prev;
        self.page_mut(id).listed = false;
        let room = &mut self.classes[class as usize].room;
        if *room == id {
            *room = if next == id { NO_PAGE } else { next };
        }
    }

    fn page(&self, id: u32) -> &Page {
        &self.pages[id as usize]
    }

    fn page_mut(&mut self, id: u32) -> &mut Page {
        &mut self.pages[id as usize]
    }
}

#[cfg(test)]
mod tests;
