//! How long after their time expired items are still held, when a million of them expire.

use crate::support::*;
use kv_cache::config::Policy;
use kv_cache::store::shard::{Expiry, Shard};
use std::time::Duration;

const EXPIRING_ITEMS: u64 = 1_000_000;
/// How often the shard's core gets to its background work.
const TICK_MILLIS: u64 = 10;
/// What it spends on it at most, of that.
const TICK_BUDGET: Duration = Duration::from_millis(2);

pub fn run() {
    println!("1 M items, a tick loop every {TICK_MILLIS} ms that goes on for at most {TICK_BUDGET:?}");
    measure("all at the same time", |_| 30_000);
    measure("spread over a minute", |number| 1 + mix(number) % 60_000);
}

fn measure(what: &str, expires_after: impl Fn(u64) -> u64) {
    let mut shard = Shard::new(64 * 1024 * MIB, Policy::AllKeysLru);
    let mut times: Vec<u64> = (0..EXPIRING_ITEMS).map(&expires_after).collect();
    for number in 0..EXPIRING_ITEMS {
        set(&mut shard, number, &[7; VALUE_BYTES], Expiry::At(START + times[number as usize]), START);
    }
    // Items leave in about the order of their times: the n-th to go is the n-th by time.
    times.sort_unstable();
    let (mut lag, mut ticks) = (histogram(), histogram());
    let mut now = START;
    while !shard.is_empty() {
        now += TICK_MILLIS;
        let (start, mut gone) = (processor_time(), EXPIRING_ITEMS as usize - shard.len());
        while timed(&mut ticks, || shard.tick(now)).more && processor_time() - start < TICK_BUDGET {}
        while gone < EXPIRING_ITEMS as usize - shard.len() {
            lag.record((now - START - times[gone]) * 1000).expect("a duration");
            gone += 1;
        }
    }
    report(&format!("{what}: one tick"), &ticks);
    println!(
        "{what}: items went p50 {} ms, p99 {} ms, at most {} ms after their time",
        lag.value_at_quantile(0.5) / 1000,
        lag.value_at_quantile(0.99) / 1000,
        lag.max() / 1000
    );
}
