//! The limit under values whose sizes shift, and what a set costs then.

use crate::support::*;
use kv_cache::config::Policy;
use kv_cache::store::shard::{Expiry, NewValue, Room, SMALL_SET_BYTES, Shard};

const LIMIT_BYTES: u64 = 512 * MIB;
/// Each phase sets twice what the shard holds.
const PHASE_BYTES: u64 = 2 * LIMIT_BYTES;
/// Numbers of keys: more than fit.
const KEYS: u64 = 16_000_000;

pub fn run() {
    println!("a limit of 512 MiB; what the process holds beyond what it held before, at most");
    let before = resident_bytes();
    let mut shard = Shard::new(LIMIT_BYTES, Policy::AllKeysLru);
    let mut step = 0;
    phase("100 B", &mut shard, &mut step, before, |_| 100);
    phase("10 KiB", &mut shard, &mut step, before, |_| 10 * 1024);
    phase("100 B again", &mut shard, &mut step, before, |_| 100);
    phase("mixed up to 1 MiB", &mut shard, &mut step, before, |random| 1 << (random % 21));
    phase("mixed up to 4 KiB", &mut shard, &mut step, before, |random| random % 4096);
    phase("100 B once more", &mut shard, &mut step, before, |_| 100);
}

fn phase(what: &str, shard: &mut Shard, step: &mut u64, before: u64, len_of: impl Fn(u64) -> u64) {
    let (mut sets, mut most_used, mut most_resident, mut set_bytes) = (histogram(), 0, 0, 0);
    while set_bytes < PHASE_BYTES {
        *step += 1;
        let random = mix(*step);
        let len = len_of(random >> 32) as usize;
        let value = vec![*step as u8; len];
        let number = random % KEYS;
        let bytes = key_bytes(number);
        timed(&mut sets, || {
            while len > SMALL_SET_BYTES && shard.make_room(len, START) == Room::Retry {}
            shard.set(key(&bytes, number), NewValue::Copied(&value), Expiry::Never, START)
        })
        .expect("the policy evicts");
        if step.is_multiple_of(100) {
            shard.tick(START);
        }
        set_bytes += len as u64 + KEY_BYTES as u64;
        most_used = most_used.max(shard.used_bytes());
        if step.is_multiple_of(1000) {
            most_resident = most_resident.max(resident_bytes() - before);
        }
    }
    report(what, &sets);
    let stats = shard.stats();
    println!(
        "{:<44} used {} MiB, resident {} MiB; {:.0}% of the limit is keys and values",
        "",
        most_used / MIB,
        most_resident / MIB,
        stats.dataset_bytes as f64 * 100.0 / LIMIT_BYTES as f64
    );
}
