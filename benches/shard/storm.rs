//! The longest that the shard is held: while room is made for the largest value, and while everything is cleared.

use crate::support::*;
use kv_cache::config::Policy;
use kv_cache::store::shard::{Expiry, NewValue, Room, Shard};
use std::time::Instant;

const LIMIT_BYTES: u64 = 1024 * MIB;
const LARGE_BYTES: usize = 64 * MIB as usize;
const CLEARED_ITEMS: u64 = 10_000_000;

/// A 64 MiB value into a full shard of 100 B items, while others go on setting in between.
pub fn run() {
    let mut shard = Shard::new(LIMIT_BYTES, Policy::AllKeysLru);
    let mut number = 0;
    while shard.stats().evicted == 0 {
        set(&mut shard, number, &[7; 100 - KEY_BYTES], Expiry::Never, START);
        number += 1;
    }
    // Use the items in random order, so that the oldest lie everywhere.
    for step in 0..number {
        let some = mix(step) % number;
        shard.get(key(&key_bytes(some), some), START);
    }
    println!(
        "{} items of 100 B fill 1 GiB; then room for 64 MiB, with ten inserts by others between two calls",
        shard.len()
    );
    let value = shard.extents().copy(&vec![1; LARGE_BYTES]).expect("memory");
    let (mut calls, mut inserts) = (histogram(), histogram());
    let (start, evicted) = (Instant::now(), shard.stats().evicted);
    while timed(&mut calls, || shard.make_room(LARGE_BYTES, START)) != Room::Ready {
        for _ in 0..10 {
            number += 1;
            timed(&mut inserts, || set(&mut shard, number, &[7; 100 - KEY_BYTES], Expiry::Never, START));
        }
    }
    let waited = start.elapsed();
    timed(&mut calls, || {
        let set = shard.set(key(&key_bytes(u64::MAX), u64::MAX), NewValue::Shared(value), Expiry::Never, START);
        set.expect("room was made");
    });
    report("one call of make_room, or the set", &calls);
    report("one insert by others meanwhile", &inserts);
    println!("the caller waited {waited:?}; {} items evicted", shard.stats().evicted - evicted);

    let mut removed = histogram();
    timed(&mut removed, || shard.delete(key(&key_bytes(u64::MAX), u64::MAX), START));
    report("its removal", &removed);
}

pub fn run_clear() {
    let mut shard = filled(CLEARED_ITEMS);
    let mut cleared = histogram();
    timed(&mut cleared, || shard.clear());
    report("clear of 10 M items", &cleared);
    give_back("after clear", &mut shard);

    let mut shard = filled(CLEARED_ITEMS);
    shard.set_limit(shard.used_bytes() / 4);
    give_back("after the limit fell to a quarter", &mut shard);
}

fn give_back(what: &str, shard: &mut Shard) {
    let (start, before) = (Instant::now(), resident_bytes());
    let mut ticks = histogram();
    while timed(&mut ticks, || shard.tick(START)).more {}
    report(&format!("one tick {what}"), &ticks);
    println!("{} MiB resident before, {} after {:?}", before / MIB, resident_bytes() / MIB, start.elapsed());
}
