//! A shard as its callers see it: values of every size, the cap, databases.

use super::testing::{NOW, Random, key};
use super::*;

const MIB: u64 = 1024 * 1024;

#[test]
fn an_item_at_the_edge_of_a_cell_can_be_given_a_time_and_lose_it_again() {
    let mut shard = Shard::new(64 * MIB, Policy::AllKeysLru);
    for len in SMALL_SET_BYTES - 80..SMALL_SET_BYTES + 20 {
        shard.put(1, len, Expiry::Never).unwrap();
        for at in [Some(NOW + 5), None] {
            assert!(shard.set_expiry(key(&1u64.to_le_bytes()), at, NOW));
            let entry = shard.peek(key(&1u64.to_le_bytes()), NOW).unwrap();
            assert_eq!((entry.value.as_slice().len(), entry.expires_at), (len, at));
        }
    }
}

#[test]
fn clear_empties_at_once_and_ticks_give_the_memory_back() {
    let mut shard = Shard::new(256 * MIB, Policy::AllKeysLru);
    for number in 0..100_000 {
        shard.put(number, 100 + (number as usize % 100) * 500, Expiry::Never).ok();
    }
    let before = shard.used_bytes();
    shard.clear();
    assert!(shard.is_empty() && !shard.has(99_999) && shard.stats().dataset_bytes == 0);
    assert!(shard.used_bytes() > before / 2, "memory is held until it is given back");
    while shard.tick(NOW).more {}
    // But for what is kept for those that come.
    assert!(shard.used_bytes() < 2 * MIB + 256 * MIB / 64, "{}", shard.used_bytes());
    shard.put(1, 1, Expiry::Never).unwrap();
    assert!(shard.has(1));
}

#[test]
fn a_shard_that_was_cleared_can_be_filled_before_its_memory_is_back() {
    let mut shard = Shard::new(16 * MIB, Policy::NoEviction);
    for _ in 0..5 {
        for number in 0..10_000 {
            shard.put(number, 1000, Expiry::Never).unwrap();
        }
        shard.clear();
    }
}

#[test]
fn memory_usage_adds_up_to_what_the_shard_holds() {
    let mut shard = Shard::new(1024 * MIB, Policy::AllKeysLru);
    let mut random = Random(7);
    for number in 0..200_000 {
        shard.put(number, random.below(2000) as usize, Expiry::Never).unwrap();
    }
    let usage = |number: u64| shard.memory_usage(key(&number.to_le_bytes()), NOW).unwrap();
    let sum: u64 = (0..200_000).map(usage).sum();
    let used = shard.used_bytes();
    assert!(used.abs_diff(sum) * 50 < used, "{sum} of {used}");
}

#[test]
fn idle_time_counts_from_the_last_use() {
    let mut shard = Shard::new(16 * MIB, Policy::AllKeysLru);
    shard.put(1, 1, Expiry::Never).unwrap();
    let bytes = 1u64.to_le_bytes();
    assert_eq!(shard.idle_millis(key(&bytes), NOW + 5000), Some(5000));
    shard.get(key(&bytes), NOW + 4000);
    assert_eq!(shard.idle_millis(key(&bytes), NOW + 5000), Some(1000));
}
