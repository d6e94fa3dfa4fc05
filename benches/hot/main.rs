//! Reads of the keyspace by several threads at once, without sockets: with copies of hot values on each core, and without.
//! Both are run in turns, a tenth of a second each, so that what else the machine does meets both alike.
//!
//! `cargo bench --bench hot`; `-- 2 8` runs so many threads, `-- zipf:1.2` one choice of keys, `-- --rounds=20` more rounds.
//!
//! Each thread does what a session does for a pipeline of 64 reads: it looks ahead, fetches what it will touch, and keeps a
//! shard's lock for the run of requests on it. The columns: reads a second in all, and a second of a thread's processor time,
//! with copies; how many times those without that is, by the clock and by the processor; of the reads, how many a copy
//! answered; locks taken, and found taken, for a read, with copies and without.

use std::env;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use kv_cache::config::Policy;
use kv_cache::store::hot::{Copy, HotCache, Seen};
use kv_cache::store::keyspace::Keyspace;
use kv_cache::store::shard::{Expiry, Key, NewValue};
use nix::time::ClockId;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: usize = 100_000;
const VALUE: [u8; 64] = [7; 64];
const PIPELINE: usize = 64;
const ROUND: Duration = Duration::from_millis(100);
/// Draws of keys, gone through in turns.
const DRAWS: usize = 1 << 20;
const NOW: u64 = 1_700_000_000_000;
/// Of hundred requests, how many read.
const MIXES: [u64; 2] = [100, 95];

/// What one thread has done in a round.
#[derive(Clone, Copy, Default)]
struct Done {
    requests: u64,
    reads: u64,
    hits: u64,
    locks: u64,
    processor: Duration,
}

/// Rounds of one kind, summed.
#[derive(Default)]
struct Sum {
    done: Done,
    clock: Duration,
    contended: u64,
}

struct Load {
    keyspace: Keyspace,
    keys: Vec<[u8; 16]>,
    hashes: Vec<u64>,
    /// Numbers of keys as they are asked for.
    draws: Vec<u32>,
    reads_percent: u64,
}

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let rounds =
        words.iter().find_map(|word| word.strip_prefix("--rounds=")).map_or(6, |text| text.parse().expect("a number"));
    let asked: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let choices: Vec<&str> = ["uniform", "zipf:0.99", "zipf:1.2"]
        .into_iter()
        .filter(|name| words.iter().all(|word| !word.contains(':') && word != "uniform" || word == name))
        .collect();
    println!(
        "{:<10}{:>6}{:>8}{:>12}{:>14}{:>8}{:>8}{:>8}{:>18}{:>22}",
        "keys",
        "reads",
        "threads",
        "M reads/s",
        "M reads/cpu s",
        "clock",
        "cpu",
        "hot %",
        "locks/read",
        "contended/1000 reads"
    );
    for choice in choices {
        for reads_percent in MIXES {
            for threads in if asked.is_empty() { vec![1, 2, 4, 8] } else { asked.clone() } {
                run(choice, reads_percent, threads, rounds);
            }
        }
    }
}

fn run(choice: &str, reads_percent: u64, threads: usize, rounds: usize) {
    let load = Arc::new(Load::new(choice, reads_percent, threads));
    let [mut with, mut without] = [Sum::default(), Sum::default()];
    let mut caches: Vec<HotCache> = (0..threads).map(HotCache::new).collect();
    // The first two find out what is hot and are not counted.
    for round in 0..2 * (rounds + 1) {
        let is_with = round % 2 == 0;
        let sum = if is_with { &mut with } else { &mut without };
        let before = load.keyspace.contended();
        let (done, clock) = load.round(&mut caches, is_with, round as u64);
        if round >= 2 {
            sum.add(done, clock, load.keyspace.contended() - before);
        }
    }
    let per_clock = |sum: &Sum| sum.done.reads as f64 / sum.clock.as_secs_f64();
    let per_processor = |sum: &Sum| sum.done.reads as f64 / sum.done.processor.as_secs_f64();
    let per_read = |sum: &Sum, count: u64| count as f64 / sum.done.reads as f64;
    println!(
        "{choice:<10}{reads_percent:>5}%{threads:>8}{:>12.2}{:>14.2}{:>8.2}{:>8.2}{:>8.1}{:>9.3} {:>8.3}{:>12.2} {:>9.2}",
        per_clock(&with) / 1e6,
        per_processor(&with) / 1e6,
        per_clock(&with) / per_clock(&without),
        per_processor(&with) / per_processor(&without),
        100.0 * per_read(&with, with.done.hits),
        per_read(&with, with.done.locks),
        per_read(&without, without.done.locks),
        1000.0 * per_read(&with, with.contended),
        1000.0 * per_read(&without, without.contended),
    );
}

impl Sum {
    fn add(&mut self, done: Vec<Done>, clock: Duration, contended: u64) {
        for done in done {
            self.done.requests += done.requests;
            self.done.reads += done.reads;
            self.done.hits += done.hits;
            self.done.locks += done.locks;
            self.done.processor += done.processor;
        }
        self.clock += clock;
        self.contended += contended;
    }
}

impl Load {
    fn new(choice: &str, reads_percent: u64, threads: usize) -> Load {
        let keyspace = Keyspace::new(threads, 1 << 30, Policy::AllKeysS3Fifo);
        // One thread alone has copies too, here, to see what they cost.
        keyspace.hot().set_limit(threads << 20);
        let keys: Vec<[u8; 16]> =
            (0..KEYS).map(|number| format!("key:{number:012}").into_bytes().try_into().expect("16 bytes")).collect();
        let hashes: Vec<u64> = keys.iter().map(|key| keyspace.hash(key)).collect();
        let load = Load { draws: draws(choice), keyspace, keys, hashes, reads_percent };
        for number in 0..KEYS {
            let key = load.key(number);
            let mut guards = load.keyspace.guards();
            let shard = guards.lock(key.hash).unwrap_or_else(|_| unreachable!("no script runs"));
            shard.set(key, NewValue::Copied(&VALUE), Expiry::Never, NOW).expect("there is room");
        }
        load
    }

    fn key(&self, number: usize) -> Key<'_> {
        Key { bytes: &self.keys[number], hash: self.hashes[number], db: 0 }
    }

    /// All threads at once, for a while.
    fn round(&self, caches: &mut [HotCache], is_with: bool, round: u64) -> (Vec<Done>, Duration) {
        let barrier = Barrier::new(caches.len() + 1);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let threads: Vec<_> = caches
                .iter_mut()
                .enumerate()
                .map(|(number, hot)| {
                    let (barrier, stop) = (&barrier, &stop);
                    scope.spawn(move || {
                        hot.tend(&self.keyspace, NOW + round * 1000);
                        barrier.wait();
                        self.work(hot, is_with, number * DRAWS / 8 + round as usize * 77_777, stop)
                    })
                })
                .collect();
            barrier.wait();
            let begun = Instant::now();
            thread::sleep(ROUND);
            stop.store(true, Relaxed);
            let done = threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect();
            (done, begun.elapsed())
        })
    }

    fn work(&self, hot: &mut HotCache, is_with: bool, start: usize, stop: &AtomicBool) -> Done {
        let mut done = Done::default();
        let mut out = Vec::with_capacity(PIPELINE * VALUE.len());
        let mut at = start;
        let begun = processor_time();
        while !stop.load(Relaxed) {
            let draws = (at..at + PIPELINE).map(|at| self.draws[at % DRAWS] as usize);
            at += PIPELINE;
            self.batch(hot, is_with, draws, &mut done, &mut out);
            out.clear();
        }
        done.processor = processor_time() - begun;
        done
    }

    fn batch(
        &self,
        hot: &mut HotCache,
        is_with: bool,
        draws: impl Iterator<Item = usize> + Clone,
        done: &mut Done,
        out: &mut Vec<u8>,
    ) {
        let mut guards = self.keyspace.guards().with_hot(is_with.then_some(hot));
        let (mut ahead, mut standing) = ([0; PIPELINE], [Seen::Cold; PIPELINE]);
        let mut count = 0;
        for (seen, number) in standing.iter_mut().zip(draws.clone()) {
            *seen = guards.see(self.hashes[number], 0);
            if *seen != Seen::Kept {
                ahead[count] = self.hashes[number];
                count += 1;
            }
        }
        guards.prefetch(0, ahead[..count].iter().copied());
        let mut locked = usize::MAX;
        for (mut seen, number) in standing.into_iter().zip(draws) {
            let key = self.key(number);
            done.requests += 1;
            let shard = self.keyspace.shard_of(key.hash);
            if done.requests % 100 >= self.reads_percent {
                done.locks += u64::from(locked != shard);
                locked = shard;
                let set =
                    guards.lock(key.hash).map(|shard| shard.set(key, NewValue::Copied(&VALUE), Expiry::Never, NOW));
                black_box(set.is_ok());
                continue;
            }
            done.reads += 1;
            if seen == Seen::Kept {
                match guards.read_copy(&key, NOW, true, |value| out.extend_from_slice(value)) {
                    Copy::Right => {
                        done.hits += 1;
                        locked = usize::MAX;
                        continue;
                    }
                    Copy::Stale => {}
                    Copy::None => seen = Seen::Cold,
                }
            }
            done.locks += u64::from(locked != shard);
            locked = shard;
            if let Ok(shard) = guards.lock(key.hash)
                && let Some(entry) = shard.get(key, NOW)
            {
                out.extend_from_slice(entry.value.as_slice());
            }
            if seen != Seen::Cold {
                guards.make_copy(&key, NOW);
            }
        }
        black_box(out);
    }
}

/// Numbers of keys, drawn by a seed: uniformly, or with chances that fall with a power of the rank.
fn draws(choice: &str) -> Vec<u32> {
    let theta: f64 = choice.strip_prefix("zipf:").map_or(0.0, |text| text.parse().expect("a number"));
    let mut sums = Vec::with_capacity(KEYS);
    let mut sum = 0.0;
    for rank in 1..=KEYS {
        sum += (rank as f64).powf(-theta);
        sums.push(sum);
    }
    let mut state = 42u64;
    let draw = |_| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let random = (mixed ^ (mixed >> 31)) as f64 / u64::MAX as f64 * sum;
        // Neighbours in rank are none in the keyspace: keys are hashed.
        sums.partition_point(|sum| *sum < random).min(KEYS - 1) as u32
    };
    (0..DRAWS).map(draw).collect()
}

fn processor_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().expect("a clock that every kernel has").into()
}
