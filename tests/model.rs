//! The shard against its model under millions of random commands. A failure prints the seed and the step; run again
//! with `MODEL_SEED=<seed>`. `MODEL_COMMANDS` sets how many commands each case gets.

#[path = "model/reference.rs"]
mod reference;

use reference::{Command, Pair, Time};
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

const MIB: u64 = 1024 * 1024;

/// How a case draws its commands.
#[derive(Clone, Copy)]
struct Mix {
    keys: u64,
    /// Lengths of values: up to 2^n for an n drawn below this.
    len_bits: u64,
    /// Commands in a hundred that give a key a time of expiry.
    expiring: u64,
    limit: u64,
    hash_mask: u64,
}

#[test]
fn small_values_under_pressure() {
    check(Mix { keys: 60_000, len_bits: 10, expiring: 0, limit: 6 * MIB, hash_mask: u64::MAX });
}

#[test]
fn everything_fits() {
    check(Mix { keys: 60_000, len_bits: 8, expiring: 20, limit: 1024 * MIB, hash_mask: u64::MAX });
}

#[test]
fn times_of_expiry_under_pressure() {
    check(Mix { keys: 60_000, len_bits: 10, expiring: 50, limit: 6 * MIB, hash_mask: u64::MAX });
}

#[test]
fn sizes_up_to_large() {
    check(Mix { keys: 5_000, len_bits: 18, expiring: 10, limit: 16 * MIB, hash_mask: u64::MAX });
}

#[test]
fn hashes_that_collide() {
    check(Mix { keys: 3_000, len_bits: 8, expiring: 20, limit: 16 * MIB, hash_mask: 0xfe00_0000_0000_0000 });
}

fn check(mix: Mix) {
    let seed = env::var("MODEL_SEED").map_or_else(|_| random_seed(), |seed| seed.parse().expect("a number"));
    let commands: u64 = env::var("MODEL_COMMANDS").map_or(100_000, |count| count.parse().expect("a number"));
    let mut random = Random(seed);
    let mut pair = Pair::new(mix.limit, mix.hash_mask);
    for step in 0..commands {
        let command = random.command(mix);
        let outcome = catch_unwind(AssertUnwindSafe(|| pair.run(command)));
        if let Err(panic) = outcome {
            eprintln!("MODEL_SEED={seed}, step {step}: {command:?}");
            resume_unwind(panic);
        }
    }
    pair.compare_all();
    println!("MODEL_SEED={seed}: {commands} commands, {} evicted, {} expired", pair.evicted, pair.expired);
}

fn random_seed() -> u64 {
    ahash::RandomState::new().hash_one(0) >> 16
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn command(&mut self, mix: Mix) -> Command {
        // Half of the keys come from a tenth of them.
        let keys = if self.below(2) == 0 { mix.keys } else { mix.keys / 10 };
        let key = self.below(keys) as u16;
        let expires = self.below(100) < mix.expiring;
        match self.below(100_000) {
            0..40_000 => Command::Set(key, self.len(mix), self.time(expires)),
            40_000..70_000 => Command::Get(key),
            70_000..80_000 => Command::Peek(key),
            80_000..88_000 => Command::Delete(key),
            88_000..94_000 if mix.expiring > 0 => Command::SetExpiry(key, expires.then(|| self.grains())),
            94_000..98_000 => Command::Pass(self.below(4) as u8),
            98_000..99_900 => Command::Tick,
            99_900..99_930 => Command::Limit(mix.limit / (1 + self.below(3))),
            99_930..99_940 => Command::Scan(1 + self.below(1000) as u16),
            99_940 => Command::Clear,
            99_941..99_961 => Command::Move(key, self.database()),
            99_961..99_966 => Command::Swap(self.database(), self.database()),
            99_966..99_970 => Command::ClearDatabase(self.database()),
            _ => Command::Select(self.database()),
        }
    }

    /// Most commands are about the first.
    fn database(&mut self) -> u8 {
        self.below(5).saturating_sub(2) as u8
    }

    fn len(&mut self, mix: Mix) -> u32 {
        let bits = self.below(mix.len_bits);
        self.below((1 << bits) + 1) as u32
    }

    fn time(&mut self, expires: bool) -> Time {
        match self.below(4) {
            0 => Time::Keep,
            _ if expires => Time::In(self.grains()),
            _ => Time::Never,
        }
    }

    /// Most times are near, some are levels of the wheel away, some have passed.
    fn grains(&mut self) -> u16 {
        let bits = self.below(15);
        self.below(1 << bits) as u16
    }
}
