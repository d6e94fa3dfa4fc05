//! Look-ups of random keys beside the least that could be done: a bare `hashbrown::HashTable` of numbers into an array
//! of items, and the copy of the value.
//!
//! In a tight loop the processor overlaps several look-ups of the bare table. Between two commands of a server lie
//! thousands of instructions, so each command waits for its memory alone: *one by one*, where the number of the next key
//! depends on the last reply.

use crate::support::*;
use hashbrown::HashTable;
use kv_cache::store::shard::{Expiry, Shard};
use std::hint::black_box;

const ROUNDS: usize = 5;
const LOOKUPS: u64 = 2_000_000;
/// Commands in a pipeline.
const BATCH: u64 = 16;

type Item = [u8; KEY_BYTES + VALUE_BYTES];

struct Bare {
    table: HashTable<u32>,
    items: Vec<Item>,
}

pub fn run() {
    let mut bare = Bare::filled();
    let mut shard = filled(ITEMS);
    println!("5 M items, 16 B keys, 64 B values, random keys; ns each, medians of {ROUNDS} alternating rounds");
    let mut figures: [Vec<f64>; 8] = Default::default();
    for round in 0..ROUNDS as u64 {
        let seed = round * LOOKUPS;
        let measured = [
            time(|| bare.get_all(seed)),
            time(|| get_all(&mut shard, seed)),
            time(|| get_batches(&mut shard, seed)),
            time(|| bare.set_all(seed)),
            time(|| set_all(&mut shard, seed)),
            time(|| set_batches(&mut shard, seed)),
            time(|| bare.get_one_by_one(seed)),
            time(|| get_one_by_one(&mut shard, seed)),
        ];
        for (figures, nanos) in figures.iter_mut().zip(measured) {
            figures.push(nanos);
        }
    }
    let medians = figures.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        figures[ROUNDS / 2]
    });
    println!("GET one by one: bare table {:.0}, shard {:.0} ({:.2}x)", medians[6], medians[7], medians[7] / medians[6]);
    for (name, [bare, one, batched]) in [("GET", [0, 1, 2]), ("SET", [3, 4, 5])] {
        println!(
            "{name}: bare table {:.0}, shard {:.0} ({:.2}x), shard in a pipeline of {BATCH} {:.0} ({:.2}x)",
            medians[bare],
            medians[one],
            medians[one] / medians[bare],
            medians[batched],
            medians[batched] / medians[bare]
        );
    }
}

fn time(work: impl FnOnce()) -> f64 {
    let start = processor_time();
    work();
    nanos_each(processor_time() - start, LOOKUPS)
}

fn number(step: u64) -> u64 {
    mix(step ^ 0x5555) % ITEMS
}

impl Bare {
    fn filled() -> Bare {
        let mut items = Vec::with_capacity(ITEMS as usize);
        let mut table = HashTable::with_capacity(ITEMS as usize);
        for number in 0..ITEMS {
            let mut item = [7; KEY_BYTES + VALUE_BYTES];
            item[..KEY_BYTES].copy_from_slice(&key_bytes(number));
            items.push(item);
            table.insert_unique(mix(number), number as u32, |&other| mix(other as u64));
        }
        Bare { table, items }
    }

    fn find(&self, number: u64) -> usize {
        let key = key_bytes(number);
        let found = self.table.find(mix(number), |&at| self.items[at as usize][..KEY_BYTES] == key);
        *found.expect("every key is there") as usize
    }

    fn get_all(&self, seed: u64) {
        let mut reply = [0; VALUE_BYTES];
        for step in seed..seed + LOOKUPS {
            reply.copy_from_slice(&self.items[self.find(number(step))][KEY_BYTES..]);
            black_box(&mut reply);
        }
    }

    fn get_one_by_one(&self, seed: u64) {
        let mut reply = [0; VALUE_BYTES];
        for step in seed..seed + LOOKUPS {
            let found = self.find(number(step ^ (black_box(0) & reply[0]) as u64));
            reply.copy_from_slice(&self.items[found][KEY_BYTES..]);
            black_box(&mut reply);
        }
    }

    fn set_all(&mut self, seed: u64) {
        for step in seed..seed + LOOKUPS {
            let at = self.find(number(step));
            self.items[at][KEY_BYTES..].copy_from_slice(&[step as u8; VALUE_BYTES]);
        }
    }
}

fn get_all(shard: &mut Shard, seed: u64) {
    for step in seed..seed + LOOKUPS {
        get(shard, number(step));
    }
}

fn get_one_by_one(shard: &mut Shard, seed: u64) {
    let mut last = 0;
    for step in seed..seed + LOOKUPS {
        last = get(shard, number(step ^ (black_box(0) & last) as u64));
    }
}

fn get_batches(shard: &mut Shard, seed: u64) {
    for first in (seed..seed + LOOKUPS).step_by(BATCH as usize) {
        prefetch(shard, first);
        for step in first..first + BATCH {
            get(shard, number(step));
        }
    }
}

fn set_all(shard: &mut Shard, seed: u64) {
    for step in seed..seed + LOOKUPS {
        set(shard, number(step), &[step as u8; VALUE_BYTES], Expiry::Never, START);
    }
}

fn set_batches(shard: &mut Shard, seed: u64) {
    for first in (seed..seed + LOOKUPS).step_by(BATCH as usize) {
        prefetch(shard, first);
        for step in first..first + BATCH {
            set(shard, number(step), &[step as u8; VALUE_BYTES], Expiry::Never, START);
        }
    }
}

fn prefetch(shard: &Shard, first: u64) {
    shard.prefetch(0, (first..first + BATCH).map(|step| mix(number(step))));
}

fn get(shard: &mut Shard, number: u64) -> u8 {
    let mut reply = [0; VALUE_BYTES];
    let entry = shard.get(key(&key_bytes(number), number), START).expect("every key is there");
    reply.copy_from_slice(entry.value.as_slice());
    black_box(&mut reply)[0]
}
