//! The index: random keys in and out, growth and scans.

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
                Some(loc) if step >= 30_000 || random.below(3) == 0 => {
                    index.remove(tag, index.place_of(tag, loc).unwrap(), tag_of);
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
fn without_more_memory_it_takes_in_what_fits_refuses_the_rest_and_loses_nothing() {
    let mut random = Random(5);
    for mask in [u32::MAX, 0xff, 0xffff_0000] {
        let tag_of = tag_of(mask);
        let (mut index, mut numbers) = (Index::new(), Vec::new());
        for number in 0..40_000 {
            // Refused for a while, now and then, wherever the table is in a round of splits.
            if number % 256 == 0 {
                index.is_refused = index.backed > 0 && random.below(3) > 0;
            }
            let before = index.len();
            if index.insert(tag_of(Loc(number)), Loc(number), tag_of) {
                numbers.push(number);
            }
            assert_eq!(index.len(), before + numbers.ends_with(&[number]) as usize);
            if random.below(5) == 0 {
                let gone = numbers.swap_remove(random.below(numbers.len() as u64) as usize);
                let place = index.place_of(tag_of(Loc(gone)), Loc(gone)).unwrap();
                index.remove(tag_of(Loc(gone)), place, tag_of);
            }
            if number % 1000 == 0 {
                let has = |&number: &u32| index.place_of(tag_of(Loc(number)), Loc(number)).is_some();
                assert!(numbers.iter().all(has));
            }
        }
        index.is_refused = false;
        assert!(index.insert(7, Loc(50_000), tag_of) && numbers.len() > 1000);
    }
}

#[test]
fn an_emptied_index_holds_next_to_no_memory() {
    let tag_of = tag_of(u32::MAX);
    let mut index = Index::new();
    for number in 0..100_000 {
        index.insert(tag_of(Loc(number)), Loc(number), tag_of);
    }
    assert!(index.bytes() < 100_000 * 11);
    for number in 0..100_000 {
        let place = index.place_of(tag_of(Loc(number)), Loc(number)).unwrap();
        index.remove(tag_of(Loc(number)), place, tag_of);
    }
    assert!(index.bytes() < 16 * 1024, "{}", index.bytes());
}

#[test]
fn a_fingerprint_matches_its_slots_alone() {
    let mut bucket = [0; 16];
    for (slot, fingerprint) in [(0, 1), (1, 2), (7, 1), (8, 0x81), (11, 1)] {
        set_fingerprint(&mut bucket, slot, fingerprint);
    }
    for fingerprint in 0..=u8::MAX {
        let mut matches: Vec<usize> = matches(&bucket, fingerprint).collect();
        matches.sort_unstable();
        let expected = (0..SLOTS).filter(|&slot| fingerprint_at(&bucket, slot) == fingerprint);
        assert_eq!(matches, expected.collect::<Vec<_>>());
    }
}
