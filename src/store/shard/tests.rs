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

/// Copies of items with the versions they were made at, beside random commands of every kind: as long as a version stands,
/// the item is what was copied.
#[test]
fn a_copy_is_right_as_long_as_its_version_stands() {
    let all = |shard: &Shard, number: u64, db: u8, now: u64| {
        let entry = shard.peek(Key { db, ..key(&number.to_le_bytes()) }, now)?;
        Some((entry.value.as_slice().to_vec(), entry.expires_at))
    };
    let mut random = Random(5);
    let mut shard = Shard::new(2 << 20, Policy::AllKeysS3Fifo);
    let (mut now, mut stood) = (NOW, 0);
    let mut copies = std::collections::HashMap::new();
    for step in 0..60_000u64 {
        let (number, db) = (random.below(50), random.below(2) as u8);
        let bytes = number.to_le_bytes();
        let own = Key { db, ..key(&bytes) };
        let most = if random.below(20) == 0 { 40_000 } else { 200 };
        let value = vec![step as u8; 1 + random.below(most) as usize];
        let at = if random.below(2) == 0 { Expiry::At(now + 1 + random.below(500)) } else { Expiry::Never };
        match random.below(400) {
            0..80 => drop(shard.set(own, NewValue::Copied(&value), at, now)),
            80..110 => drop(shard.delete(own, now)),
            110..140 => drop(shard.set_expiry(own, Some(now + random.below(300)), now)),
            140..150 => drop(shard.set_expiry(own, None, now)),
            150..180 => drop(shard.edit(own, 0, now, |value| value[0] ^= 1)),
            180..200 => drop(shard.update(own, now, |_| Ok::<_, ()>(NewValue::Copied(&value[..1])))),
            200..220 => drop(shard.move_to(own, 1 - db, now)),
            220..223 => shard.clear_database(db),
            223..226 => shard.swap_databases(0, 1),
            226 => shard.clear(),
            227 => shard.set_policy([Policy::AllKeysLru, Policy::AllKeysLfu, Policy::AllKeysS3Fifo][step as usize % 3]),
            228..240 => drop(shard.tick(now)),
            // Others, for which these are evicted.
            240..260 => drop(shard.put(100 + step, 20_000, Expiry::Never)),
            260..300 => shard.note_uses(own, random.below(9) as u32, now),
            300..310 => now += random.below(50),
            310..340 => drop(shard.get(own, now)),
            _ => {
                if let Some(copy) = all(&shard, number, db, now) {
                    copies.insert((number, db), (copy, shard.versions().lend(own.tag())));
                }
            }
        }
        copies.retain(|(number, _), (_, version)| {
            shard.versions().is_current(key(&number.to_le_bytes()).tag(), *version)
        });
        for ((number, db), (copy, _)) in &copies {
            let is_due = copy.1.is_some_and(|at| at <= now);
            assert!(is_due || all(&shard, *number, *db, now).as_ref() == Some(copy), "{number} after step {step}");
            stood += 1;
        }
    }
    assert!(stood > 50_000 && shard.stats().evicted > 500, "{stood}, {:?}", shard.stats());
}
