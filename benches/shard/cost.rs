//! Memory per item beyond key and value.

use crate::support::*;
use kv_cache::shard::{Expiry, Policy, Shard};

pub fn run() {
    println!("16 B keys, 64 B values; bytes per item beyond these, by the kernel's count (and by the shard's)");
    // The index is fullest and emptiest at different counts.
    for items in [1_000_000, 2_000_000, 3_000_000, 4_000_000, ITEMS, 7_000_000, 10_000_000] {
        let plain = measure(items, Expiry::Never);
        let expiring = measure(items, Expiry::At(START + 3_600_000));
        println!(
            "{items:>9} items: {:>5.1} ({:.1}) without, {:>5.1} ({:.1}) with a time of expiry",
            plain.0, plain.1, expiring.0, expiring.1
        );
    }
}

fn measure(items: u64, expiry: Expiry) -> (f64, f64) {
    let before = resident_bytes();
    let mut shard = Shard::new(64 * 1024 * MIB, Policy::AllKeysLru);
    for number in 0..items {
        set(&mut shard, number, &[7; VALUE_BYTES], expiry, START);
    }
    let payload = (KEY_BYTES + VALUE_BYTES) as f64;
    let each = |bytes: u64| bytes as f64 / items as f64 - payload;
    (each(resident_bytes() - before), each(shard.used_bytes()))
}
