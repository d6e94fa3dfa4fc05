//! How long one insert takes while a shard grows from nothing: no table may be rebuilt at once.
//!
//! Where the host of a virtual machine has taken free memory back, whoever touches it first waits for that host, 5 ms for
//! a huge page. So there are two runs, with memory as it comes and with memory that was in use a moment ago; and beside
//! them what the same clock says of a few instructions: interrupts, which no program can avoid.

use crate::support::*;
use kv_cache::config::Policy;
use kv_cache::store::shard::{Expiry, Shard};

const GROWN_ITEMS: u64 = 10_000_000;
/// About as long as ten million inserts.
const NOTHINGS: u64 = 20_000_000;
/// More than ten million items take.
const WARM_BYTES: u64 = 1400 * MIB;
/// Inserts that take less than a huge page.
const INSERTS_PER_HUGE_PAGE: u64 = 15_000;
const HUGE_PAGE_BYTES: u64 = 2 * MIB;

pub fn run() {
    let mut nothing = histogram();
    for number in 0..NOTHINGS {
        timed(&mut nothing, || std::hint::black_box(mix(number)));
    }
    report("a few instructions", &nothing);
    println!("memory as the system gives it");
    grow(&mut Shard::new(0, Policy::AllKeysLru));
    println!("memory that has just been in use");
    let mut other = Shard::new(WARM_BYTES, Policy::AllKeysLru);
    for number in 0..WARM_BYTES / 15_000 {
        set(&mut other, number, &[7; 15_000], Expiry::Never, START);
    }
    grow(&mut other);
}

/// The other shard gives memory back as this one grows.
fn grow(other: &mut Shard) {
    let mut shard = Shard::new(64 * 1024 * MIB, Policy::AllKeysLru);
    let mut inserts = histogram();
    for number in 0..GROWN_ITEMS {
        if number.is_multiple_of(INSERTS_PER_HUGE_PAGE) {
            other.set_limit(other.used_bytes().saturating_sub(HUGE_PAGE_BYTES));
            while other.tick(START).more {}
        }
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
