//! The order of arrival against a simple model of it, and what it is for.

use super::super::classes::class_of;
use super::super::testing::{NOW, Random, key};
use super::super::{Expiry, NewValue, Policy, Room, SMALL_SET_BYTES, Shard};
use super::*;
use std::collections::{HashMap, VecDeque};

const MIB: u64 = 1024 * 1024;

/// The rows as plain queues of numbers, the oldest at the front.
struct Model {
    rows: [[VecDeque<u64>; QUEUES]; 2],
    arrivals: [[f32; QUEUES]; 2],
    /// How many came to each row, and had when its queues were filled last.
    clocks: [u64; 2],
    since: [[u64; QUEUES]; 2],
    items: HashMap<u64, Item>,
    /// Tested by itself.
    ghosts: Ghosts,
    evicted: u64,
}

#[derive(Clone, Copy)]
struct Item {
    row: usize,
    queue: usize,
    is_used: bool,
}

const SMALL: usize = 0;
const MAIN: usize = 1;

impl Model {
    fn new() -> Model {
        Model {
            rows: std::array::from_fn(|_| std::array::from_fn(|_| VecDeque::new())),
            arrivals: [[0.0; QUEUES]; 2],
            clocks: [0; 2],
            since: [[0; QUEUES]; 2],
            items: HashMap::new(),
            ghosts: Ghosts::new(ITEMS_PER_LINE),
            evicted: 0,
        }
    }

    fn len(&self, row: usize) -> usize {
        self.rows[row].iter().map(VecDeque::len).sum()
    }

    fn bytes(&self, row: usize) -> u64 {
        self.rows[row].iter().enumerate().map(|(at, queue)| queue.len() as u64 * middle(at)).sum()
    }

    fn push(&mut self, number: u64, item: Item) {
        self.items.insert(number, item);
        if self.rows[item.row][item.queue].is_empty() {
            self.since[item.row][item.queue] = self.clocks[item.row];
        }
        self.clocks[item.row] += 1;
        self.rows[item.row][item.queue].push_back(number);
        let most = 2.0 * LATELY_MIN.max(self.len(item.row) as f32);
        let arrivals = &mut self.arrivals[item.row];
        arrivals[item.queue] += 1.0;
        if arrivals.iter().sum::<f32>() > most {
            arrivals.iter_mut().for_each(|count| *count /= 2.0);
        }
    }

    fn remove(&mut self, number: u64) -> Option<Item> {
        let item = self.items.remove(&number)?;
        self.rows[item.row][item.queue].retain(|&other| other != number);
        Some(item)
    }

    fn evict(&mut self) -> u64 {
        loop {
            let is_small_full = self.bytes(SMALL) * SMALL_SHARE >= self.bytes(SMALL) + self.bytes(MAIN);
            let row = if self.len(MAIN) == 0 || self.len(SMALL) > 0 && is_small_full { SMALL } else { MAIN };
            let lately: f32 = self.arrivals[row].iter().sum();
            let rank = |at: usize| {
                let items = self.rows[row][at].len() as f32;
                let age = items * lately / self.arrivals[row][at].max(f32::MIN_POSITIVE);
                let most = (self.clocks[row] - self.since[row][at]) as f32;
                if items == 0.0 { -1.0 } else { age.min(most) * ROOTS[at] }
            };
            let next = (0..QUEUES).rev().max_by(|&one, &other| rank(one).total_cmp(&rank(other))).unwrap();
            let number = self.rows[row][next][0];
            let item = self.items[&number];
            let all = self.items.len();
            self.remove(number);
            if item.is_used {
                self.push(number, Item { row: MAIN, is_used: false, ..item });
                continue;
            }
            if row == SMALL {
                self.ghosts.add(tag(number), all);
            }
            self.evicted += 1;
            return number;
        }
    }
}

fn tag(number: u64) -> u32 {
    key(&number.to_le_bytes()).tag()
}

/// What the model evicts is what the shard has evicted.
fn follow(model: &mut Model, shard: &Shard, step: u64) {
    while model.evicted < shard.stats().evicted {
        let number = model.evict();
        assert!(!shard.has(number), "step {step}: the shard has {number}");
    }
}

/// Every item is in the queue that its shape says, and all are counted.
fn check(shard: &Shard) {
    let order = order(shard);
    let mut items = 0;
    for (row, is_main) in [(&order.small, false), (&order.main, true)] {
        let mut bytes = 0;
        for (at, queued) in row.queues.iter().enumerate() {
            let mut loc = queued.list.newest;
            let mut count = 0;
            while !loc.is_none() {
                let shape = shard.heap.shape(loc);
                assert_eq!((shape.is_main(), queue(shape)), (is_main, at));
                assert!(!order.spares_lasting || shape.expires());
                (count, bytes, loc) = (count + 1, bytes + middle(at), shard.heap.older(loc));
            }
            assert_eq!((count, row.filled >> at & 1), (queued.items, u32::from(count > 0)));
            items += count as u64;
        }
        assert_eq!(row.bytes, bytes);
    }
    assert_eq!(items, order.small.items + order.main.items);
}

fn order(shard: &Shard) -> &S3Fifo {
    shard.order.s3fifo().expect("the policy asks for it")
}

#[test]
fn the_shard_evicts_what_the_model_evicts_whatever_the_sizes() {
    // Values up to 2^n bytes; at 22 the largest lie in extents of several megabytes.
    for (seed, len_bits, keys, limit) in
        [(1, 10, 200_000, 4 * MIB), (2, 15, 20_000, 16 * MIB), (3, 22, 3_000, 64 * MIB)]
    {
        let mut random = Random(seed);
        let mut model = Model::new();
        let mut shard = Shard::new(limit, Policy::AllKeysS3Fifo);
        for step in 0..60_000 {
            let drawn_from = if random.below(2) == 0 { keys } else { keys / 10 };
            let number = random.below(drawn_from);
            let bytes = number.to_le_bytes();
            match random.below(10) {
                0..4 => {
                    let found = shard.get(key(&bytes), NOW).is_some();
                    assert_eq!(found, model.items.contains_key(&number), "step {step}");
                    model.items.entry(number).and_modify(|item| item.is_used = true);
                }
                4 => assert_eq!(shard.delete(key(&bytes), NOW), model.remove(number).is_some()),
                _ => {
                    let bits = random.below(len_bits + 1);
                    let len = random.below(1 << bits) as usize;
                    if len > SMALL_SET_BYTES {
                        while shard.make_room(len + 8, NOW) == Room::Retry {}
                        follow(&mut model, &shard, step);
                    }
                    model.items.entry(number).and_modify(|item| item.is_used = true);
                    let before = shard.find(key(&bytes)).map(|loc| shard.heap.shape(loc));
                    shard.put(number, len, Expiry::Never).unwrap();
                    follow(&mut model, &shard, step);
                    let shape = shard.heap.shape(shard.find(key(&bytes)).unwrap());
                    let is_in_place = before.is_some_and(|before| !before.is_large() && !shape.is_large())
                        && class_of(before.unwrap().cell_bytes()) == class_of(shape.cell_bytes());
                    if !is_in_place {
                        let old = model.remove(number);
                        let is_known = old.is_none() && model.ghosts.take(tag(number));
                        let new = Item { row: if is_known { MAIN } else { SMALL }, queue: 0, is_used: false };
                        model.push(number, Item { queue: queue(shape), ..old.unwrap_or(new) });
                    }
                }
            }
            if step % 1000 == 0 {
                check(&shard);
            }
        }
        assert_eq!(shard.len(), model.items.len());
        assert!(model.evicted > 1_000, "seed {seed}: {}", model.evicted);
        assert!(model.items.keys().all(|&number| shard.has(number)), "seed {seed}");
        assert!(model.items.values().filter(|item| item.row == MAIN).count() > 100);
    }
}

#[test]
fn a_hit_changes_two_bits_once_and_moves_nothing() {
    let mut shard = Shard::new(8 * MIB, Policy::AllKeysS3Fifo);
    (0..100).for_each(|number| shard.put(number, 100, Expiry::Never).unwrap());
    let cells = |shard: &Shard| shard.heap.bytes(Loc(0), 0, 64 * 1024).to_vec();
    for number in [0, 50, 99] {
        // One is of the order, the other tells that the value was read.
        for changes in [2, 0] {
            let before = cells(&shard);
            assert!(shard.get(key(&u64::to_le_bytes(number)), NOW).is_some());
            let after = cells(&shard);
            let bits: u32 = before.iter().zip(&after).map(|(one, other)| (one ^ other).count_ones()).sum();
            assert_eq!(bits, changes);
        }
    }
}

#[test]
fn a_loop_that_is_a_little_too_long_and_a_scan_pass_through() {
    let hits = |policy| {
        let mut shard = Shard::new(8 * MIB, policy);
        let mut hits = 0;
        for number in (0..70_000).cycle().take(700_000) {
            match shard.get(key(&u64::to_le_bytes(number)), NOW) {
                Some(_) => hits += 1,
                None => shard.put(number, 100, Expiry::Never).unwrap(),
            }
        }
        hits
    };
    assert_eq!(hits(Policy::AllKeysLru), 0);
    assert!(hits(Policy::AllKeysS3Fifo) > 250_000, "{}", hits(Policy::AllKeysS3Fifo));
}

#[test]
fn a_large_value_that_is_asked_for_once_does_not_push_out_a_thousand_small_ones() {
    let mut shard = Shard::new(32 * MIB, Policy::AllKeysS3Fifo);
    let mut number = 0;
    while shard.stats().evicted == 0 {
        shard.put(number, 100, Expiry::Never).unwrap();
        number += 1;
    }
    let small: Vec<u64> = (0..number).filter(|&number| shard.has(number)).collect();
    let ask = |shard: &mut Shard, number: &u64| shard.get(key(&number.to_le_bytes()), NOW).is_some();
    small.iter().for_each(|number| assert!(ask(&mut shard, number)));
    for round in 0..200 {
        for number in small.iter().skip(round % 10).step_by(10) {
            ask(&mut shard, number);
        }
        let large = 1_000_000 + round as u64;
        while shard.make_room(MIB as usize, NOW) == Room::Retry {}
        shard.put(large, MIB as usize, Expiry::Never).unwrap();
    }
    let kept = small.iter().filter(|&&number| shard.has(number)).count();
    assert!(kept * 10 > small.len() * 8, "{kept} of {}", small.len());
}

#[test]
fn ghosts_are_counted_and_take_less_than_a_byte_an_item() {
    let mut shard = Shard::new(32 * MIB, Policy::AllKeysS3Fifo);
    for number in 0..1_000_000 {
        shard.put(number, 50, Expiry::Never).unwrap();
        assert!(number % 64 != 0 || shard.used_bytes() <= 32 * MIB + 64 * 1024);
    }
    let held = order(&shard).bytes();
    assert!(held > shard.len() as u64 * 9 / 10 && held <= shard.len() as u64 + 8192, "{held} of {}", shard.len());
    let (used, items) = (shard.used_bytes(), shard.len());
    shard.set_policy(Policy::AllKeysLru);
    while shard.tick(NOW).more {}
    assert_eq!((shard.used_bytes(), shard.len()), (used - held, items), "they are given back");
}

#[test]
fn an_item_changes_its_queue_when_its_size_or_its_expiry_changes() {
    for policy in [Policy::AllKeysS3Fifo, Policy::VolatileS3Fifo] {
        let mut random = Random(9);
        let mut shard = Shard::new(64 * MIB, policy);
        for step in 0..20_000 {
            let number = random.below(300);
            let bytes = number.to_le_bytes();
            match random.below(5) {
                0 => {
                    let bits = random.below(17);
                    let len = random.below(1 << bits) as usize;
                    let expiry = if random.below(2) == 0 { Expiry::Never } else { Expiry::At(NOW + 1_000_000) };
                    let value = vec![7; len];
                    shard.set(key(&bytes), NewValue::Copied(&value), expiry, NOW).unwrap();
                }
                1 => drop(shard.edit(key(&bytes), random.below(400_000) as usize, NOW, |_| ())),
                2 => drop(shard.set_expiry(key(&bytes), None, NOW)),
                3 => drop(shard.set_expiry(key(&bytes), Some(NOW + 1_000_000), NOW)),
                _ => drop(shard.get(key(&bytes), NOW).is_some()),
            }
            if step % 50 == 0 {
                shard.tick(NOW);
                check(&shard);
            }
        }
        let spared = if policy.is_volatile() { shard.len() - shard.expiring() } else { 0 };
        assert_eq!(order(&shard).len() + spared, shard.len());
    }
}

#[test]
fn misses_that_more_memory_would_have_been_hits_are_counted_by_how_much_more() {
    // What comes round again after so many others, beside as many items as there are.
    for (round, expected) in [(1.02, [1.0, 1.0, 1.0]), (1.3, [0.0, 1.0, 1.0]), (1.7, [0.0, 0.0, 1.0]), (3.0, [0.0; 3])]
    {
        let mut shard = Shard::new(16 * MIB, Policy::AllKeysS3Fifo);
        let mut number = 0;
        while shard.stats().evicted < 300_000 {
            shard.put(number, 100, Expiry::Never).unwrap();
            number += 1;
        }
        let back = (shard.len() as f64 * round) as u64;
        let before = shard.stats().ghost_hits;
        let mut still_there = 0;
        for _ in 0..100_000 {
            // Some are taken for ghosts, and stay.
            still_there += u64::from(shard.get(key(&(number - back).to_le_bytes()), NOW).is_some());
            shard.put(number, 100, Expiry::Never).unwrap();
            number += 1;
        }
        let counted = std::array::from_fn::<_, 3, _>(|at| (shard.stats().ghost_hits[at] - before[at]) as f64 / 1e5);
        assert!(still_there < 1_000, "{still_there}");
        let is_near = |at: usize| (counted[at] - expected[at]).abs() < 0.15;
        assert!((0..3).all(is_near), "{round}: {counted:?}, and {expected:?} were expected");
        shard.reset_counts();
        assert_eq!(shard.stats().ghost_hits, [0; 3]);
    }
}
