//! The sizes in which cells come: a table computed at compile time. It must not know what a cell holds.
//!
//! Sizes are counted in units of `UNIT_BYTES`. Small classes are one unit apart, so that the common small item wastes
//! at most three bytes; from there on eight classes share each doubling. Every larger class is stretched to the
//! largest size of which a page holds the same number, so that no page has an unused tail.

use super::heap::{PAGE_UNITS, UNIT_BYTES};

/// The largest cell. A quarter of a page: larger cells would waste too much of one, and a copy of 16 KiB under the
/// shard's lock (about 1 us) is still cheaper than a reference count and a separate allocation.
pub const MAX_CELL_BYTES: usize = 16 * 1024;
const MAX_UNITS: usize = MAX_CELL_BYTES / UNIT_BYTES;
/// The smallest cell: a header without key or value.
const MIN_UNITS: usize = 5;
/// Up to here (160 bytes) classes are one unit apart: a step of 1/40 is finer than eight per doubling.
const FINE_UNITS: usize = 40;
const CLASSES_PER_DOUBLING: usize = 8;

pub const CLASS_COUNT: usize = build_sizes().1;
const SIZES: [u16; MAX_UNITS] = build_sizes().0;
const CLASS_OF: [u8; MAX_UNITS + 1] = build_lookup();

// `Heap` keeps one bit per class in a u128.
const _: () = assert!(CLASS_COUNT <= 128);

/// The class whose cells hold `bytes`; none when no cell is that large.
pub fn class_of(bytes: usize) -> Option<u8> {
    CLASS_OF.get(bytes.div_ceil(UNIT_BYTES)).copied()
}

/// The size of a class's cells.
pub fn cell_units(class: u8) -> u32 {
    SIZES[class as usize] as u32
}

/// How many cells of a class a page holds.
pub fn cells_per_page(class: u8) -> u32 {
    PAGE_UNITS / cell_units(class)
}

const fn build_sizes() -> ([u16; MAX_UNITS], usize) {
    let mut sizes = [0; MAX_UNITS];
    let mut count = 0;
    let mut size = MIN_UNITS;
    while size <= MAX_UNITS {
        let stretched = if size > FINE_UNITS { PAGE_UNITS as usize / (PAGE_UNITS as usize / size) } else { size };
        sizes[count] = stretched as u16;
        count += 1;
        let mut power = 1;
        while power * 2 <= stretched {
            power *= 2;
        }
        size = stretched + if stretched < FINE_UNITS { 1 } else { power / CLASSES_PER_DOUBLING };
        if size > MAX_UNITS && stretched < MAX_UNITS {
            size = MAX_UNITS;
        }
    }
    (sizes, count)
}

const fn build_lookup() -> [u8; MAX_UNITS + 1] {
    let mut lookup = [0; MAX_UNITS + 1];
    let mut class = 0;
    let mut units = 0;
    while units <= MAX_UNITS {
        if units > SIZES[class] as usize {
            class += 1;
        }
        lookup[units] = class as u8;
        units += 1;
    }
    lookup
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_fits_its_class_and_not_the_one_below() {
        for bytes in 1..=MAX_CELL_BYTES {
            let class = class_of(bytes).unwrap();
            assert!(cell_units(class) as usize * UNIT_BYTES >= bytes);
            assert!(class == 0 || (cell_units(class - 1) as usize * UNIT_BYTES) < bytes);
        }
        assert_eq!(class_of(MAX_CELL_BYTES + 1), None);
    }

    #[test]
    fn small_cells_waste_three_bytes_and_none_more_than_a_fifth() {
        for bytes in 20..=MAX_CELL_BYTES {
            let cell_bytes = cell_units(class_of(bytes).unwrap()) as usize * UNIT_BYTES;
            let waste = cell_bytes - bytes;
            assert!(waste < UNIT_BYTES || (waste - UNIT_BYTES) * 5 <= cell_bytes, "{bytes} bytes waste {waste}");
        }
    }
}
