//! A deterministic simulation: several connections on several cores over one keyspace, in one thread. A seed decides what
//! each asks for, how its bytes are cut, when it reads, when time passes, when a script holds the shards, when there is a
//! pause and who is killed. Each reply is held against a sequential model, and the memory accounts are checked after every
//! step.
//!
//! `cargo test --test sim` runs ten thousand seeds; `SIM_SEEDS=n` another number of them, `SIM_SEED=n` a single one again.

mod model;
// What it needs of the tests at the wire.
#[allow(dead_code)]
#[path = "../it/wire.rs"]
mod wire;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// SplitMix64: the same numbers for a seed on every machine.
pub struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound as u64) as usize
    }

    /// Once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn conversations_are_as_if_one_after_the_other() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(10_000),
    };
    let mut totals = world::Totals::default();
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| world::run(Random(seed)))) {
            Ok(one) => totals.add(&one),
            Err(_) => panic!("to see it again: SIM_SEED={seed} cargo test --test sim"),
        }
    }
    println!("{totals:?}");
    // It has met what it is for.
    assert!(number("SIM_SEED").is_some() || totals.replies > 0 && totals.put_off > 0, "{totals:?}");
}
