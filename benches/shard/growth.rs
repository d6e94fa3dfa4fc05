//! How long one insert takes while a shard grows from nothing: no table may be rebuilt at once.

use crate::support::*;
use kv_cache::shard::{Expiry, Policy, Shard};

const GROWN_ITEMS: u64 = 10_000_000;

pub fn run() {
    let mut shard = Shard::new(64 * 1024 * MIB, Policy::AllKeysLru);
    let mut inserts = histogram();
    for number in 0..GROWN_ITEMS {
        timed(&mut inserts, || set(&mut shard, number, &[7; VALUE_BYTES], Expiry::Never, START));
    }
    report("one insert, from 0 to 10 M items", &inserts);

    let mut deletes = histogram();
    for number in 0..GROWN_ITEMS {
        let bytes = key_bytes(number);
        timed(&mut deletes, || shard.delete(key(&bytes, number), START));
    }
    report("one delete, from 10 M items to 0", &deletes);
}
