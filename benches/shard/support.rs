//! Keys, random numbers, memory and times, for the tables.

use hdrhistogram::Histogram;
use kv_cache::config::Policy;
use kv_cache::store::shard::{Expiry, Key, NewValue, Shard};
use nix::time::ClockId;
use std::time::Duration;

pub const MIB: u64 = 1024 * 1024;
/// Some time after 2023, in milliseconds: the benchmarks pass time as they please.
pub const START: u64 = 1_700_000_000_000;
pub const KEY_BYTES: usize = 16;
pub const VALUE_BYTES: usize = 64;
/// The number of items that the aims are stated for.
pub const ITEMS: u64 = 5_000_000;

/// SplitMix64, as a function of its state: also the hash of numbered keys.
pub fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

pub fn key_bytes(number: u64) -> [u8; KEY_BYTES] {
    let mut key = *b"key:\0\0\0\0\0\0\0\0:key";
    key[4..12].copy_from_slice(&number.to_le_bytes());
    key[12..].copy_from_slice(b"....");
    key
}

pub fn key(bytes: &[u8; KEY_BYTES], number: u64) -> Key<'_> {
    Key { bytes, hash: mix(number), db: 0 }
}

pub fn set(shard: &mut Shard, number: u64, value: &[u8], expiry: Expiry, now: u64) {
    let set = shard.set(key(&key_bytes(number), number), NewValue::Copied(value), expiry, now);
    set.expect("the policy evicts");
}

/// A shard without pressure, with numbered items.
pub fn filled(items: u64) -> Shard {
    let mut shard = Shard::new(64 * 1024 * MIB, Policy::AllKeysLru);
    for number in 0..items {
        set(&mut shard, number, &[7; VALUE_BYTES], Expiry::Never, START);
    }
    shard
}

/// Resident memory of this process, from the kernel.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line VmRSS");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits")
}

/// Records the processor time of this thread: work and page faults, but not the time in which other processes run. Reading
/// it takes a system call, about 0.3 us, which is in every figure.
pub fn timed<T>(histogram: &mut Histogram<u64>, work: impl FnOnce() -> T) -> T {
    let start = processor_time();
    let result = work();
    histogram.record((processor_time() - start).as_nanos() as u64).expect("a duration");
    result
}

pub fn processor_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock that every kernel has").into()
}

/// One line: percentiles in microseconds.
pub fn report(what: &str, histogram: &Histogram<u64>) {
    let micros = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    println!(
        "{what:<44} p50 {:>8.2}  p99 {:>8.2}  p99.9 {:>8.2}  p99.99 {:>8.2}  max {:>9.2} us",
        micros(0.5),
        micros(0.99),
        micros(0.999),
        micros(0.9999),
        histogram.max() as f64 / 1e3
    );
}

pub fn nanos_each(elapsed: Duration, count: u64) -> f64 {
    elapsed.as_nanos() as f64 / count as f64
}
