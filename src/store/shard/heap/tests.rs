//! The cells: what is allocated, moved and given back adds up.

use super::super::classes::class_of;
use super::super::testing::Random;
use super::*;

#[test]
fn cells_do_not_overlap_and_scattered_holes_become_pages() {
    let (mut heap, mut random) = (Heap::new(), Random(1));
    let class_bytes = [24, 100, 1000, 16 * 1024];
    let mut cells: Vec<(Loc, usize, u8)> = Vec::new();
    for stamp in 0..20_000 {
        let bytes = class_bytes[random.below(4) as usize];
        let class = class_of(bytes).unwrap();
        assert!(heap.has_room(class) || heap.grow(if stamp % 2 == 0 { u64::MAX } else { 0 }));
        let loc = heap.alloc(class).unwrap();
        heap.bytes_mut(loc, 0, bytes).fill(stamp as u8);
        cells.push((loc, bytes, stamp as u8));
    }
    let whole = |heap: &Heap, &(loc, bytes, stamp): &(Loc, usize, u8)| {
        heap.bytes(loc, 0, bytes).iter().all(|&byte| byte == stamp)
    };
    assert!(cells.iter().all(|cell| whole(&heap, cell)));
    let full_bytes = heap.resident_bytes();

    // Three of four go, from everywhere; then what is left is moved together.
    let mut kept: Vec<(Loc, usize, u8)> = Vec::new();
    for cell in cells {
        if random.below(4) == 0 { kept.push(cell) } else { heap.free(cell.0) }
    }
    while let Some(from) = heap.next_evacuee() {
        let to = heap.alloc(heap.class_at(from)).unwrap();
        heap.copy_cell(from, to);
        heap.free(from);
        kept.iter_mut().find(|cell| cell.0 == from).unwrap().0 = to;
    }
    while heap.release_idle_pages() {}
    assert!(kept.iter().all(|cell| whole(&heap, cell)));
    assert!(heap.resident_bytes() < full_bytes / 3, "{} of {full_bytes}", heap.resident_bytes());

    heap.clear();
    while heap.release_idle_pages() {}
    assert_eq!(heap.hole_bytes(), 0);
}
