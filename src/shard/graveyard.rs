//! Memory of what has been cleared, until it is given back in small steps. It must not know live items.

use super::extent::Extent;
use super::garbage::Garbage;
use super::heap::{EXTENT_BYTES, Heap};
use super::index::{Index, Segment};
use super::large::LargeItems;

/// Given back to the kernel in one step: it costs about 4 us.
const DISCARD_BYTES: usize = 64 * 1024;
/// Segments of the index dropped in one step.
const SEGMENTS_PER_STEP: usize = 16;

#[derive(Default)]
pub struct Graveyard {
    extents: Vec<Extent>,
    /// Of the last extent, what is not given back yet.
    extent_left_bytes: usize,
    segments: Vec<Vec<Segment>>,
    large: Vec<LargeItems>,
    heap_bytes: u64,
    index_bytes: u64,
}

impl Graveyard {
    pub fn bury(&mut self, heap: Heap, indexes: impl Iterator<Item = Index>, large: LargeItems) {
        self.heap_bytes += heap.resident_bytes();
        if self.extents.is_empty() {
            self.extent_left_bytes = EXTENT_BYTES;
        }
        // In front of an extent that is being given back.
        self.extents.splice(0..0, heap.into_extents());
        for index in indexes {
            self.index_bytes += index.bytes();
            self.segments.extend(index.into_segments());
        }
        self.large.push(large);
    }

    pub fn bytes(&self) -> u64 {
        self.heap_bytes + self.index_bytes + self.large.iter().map(LargeItems::bytes).sum::<u64>()
    }

    /// One bounded step. False when there was nothing left to do.
    pub fn step(&mut self, garbage: &mut Garbage) -> bool {
        self.drop_large(garbage) || self.drop_segments() || self.discard_extent()
    }

    fn drop_large(&mut self, garbage: &mut Garbage) -> bool {
        let Some(items) = self.large.last_mut() else { return false };
        match items.pop() {
            Some(large) => garbage.add(large.value),
            None => drop(self.large.pop()),
        }
        true
    }

    fn drop_segments(&mut self) -> bool {
        let Some(segments) = self.segments.last_mut() else { return false };
        let keep = segments.len().saturating_sub(SEGMENTS_PER_STEP);
        let freed: u64 = segments.drain(keep..).map(|segment| segment.bytes()).sum();
        self.index_bytes -= freed;
        if segments.is_empty() {
            self.segments.pop();
        }
        if self.segments.is_empty() {
            self.index_bytes = 0;
        }
        true
    }

    fn discard_extent(&mut self) -> bool {
        let Some(extent) = self.extents.last_mut() else { return false };
        self.extent_left_bytes -= DISCARD_BYTES;
        extent.discard(self.extent_left_bytes..self.extent_left_bytes + DISCARD_BYTES);
        self.heap_bytes = self.heap_bytes.saturating_sub(DISCARD_BYTES as u64);
        if self.extent_left_bytes == 0 {
            self.extents.pop();
            self.extent_left_bytes = EXTENT_BYTES;
        }
        if self.extents.is_empty() {
            self.heap_bytes = 0;
        }
        true
    }
}
