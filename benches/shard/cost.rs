//! Memory per item beyond key and value. Each case runs in a process of its own, so that none lives on what another left.

use crate::support::*;
use kv_cache::config::Policy;
use kv_cache::store::shard::{Expiry, Shard};
use std::env;
use std::process::Command;

const CASE: &str = "KV_CACHE_BENCH_COST_CASE";

pub fn run() {
    if let Ok(case) = env::var(CASE) {
        let (items, expires) = case.split_once(' ').expect("two words");
        return measure(items.parse().expect("a number"), expires == "true");
    }
    println!("16 B keys, 64 B values; bytes per item beyond these, by the kernel's count (and by the shard's)");
    for expires in [false, true] {
        for items in [1_000_000, 2_000_000, 3_000_000, 4_000_000, ITEMS, 7_000_000, 10_000_000] {
            let mut child = Command::new(env::current_exe().expect("this program"));
            let output = child.arg("cost").env(CASE, format!("{items} {expires}")).output().expect("its output");
            let text = String::from_utf8(output.stdout).expect("text");
            println!("{}", text.lines().last().expect("a line"));
        }
    }
}

fn measure(items: u64, expires: bool) {
    let before = resident_bytes();
    let mut shard = Shard::new(64 * 1024 * MIB, Policy::AllKeysLru);
    let expiry = if expires { Expiry::At(START + 3_600_000) } else { Expiry::Never };
    for number in 0..items {
        set(&mut shard, number, &[7; VALUE_BYTES], expiry, START);
    }
    let each = |bytes: u64| bytes as f64 / items as f64 - (KEY_BYTES + VALUE_BYTES) as f64;
    let (resident, counted) = (each(resident_bytes() - before), each(shard.used_bytes()));
    let kind = if expires { "with a time of expiry" } else { "without" };
    println!("{items:>9} items {kind:<22} {resident:>5.1} ({counted:.1})");
}
