//! Orders of eviction, simulated: which items a cache of so many bytes would hold. Knows nothing of servers.
//!
//! Each policy is a file here and a row in `all`. What a policy costs a server stands beside it: how many bytes an item,
//! and what a hit writes.

mod gdsf;
mod lru;
mod queue;
mod s3fifo;
mod sieve;
mod sketch;
mod tinylfu;
mod two_queue;

/// A cache that holds keys, no values. Keys are numbers below the count that it was made for.
pub trait Policy {
    /// Whether the key is there. If not, it is put there with so many bytes (key, value, and what an item costs), and
    /// others make room; one that is larger than the whole cache is not.
    fn read(&mut self, key: u32, bytes: u64) -> bool;

    /// Takes the key away, if it is there.
    fn remove(&mut self, key: u32);

    /// How many keys are there.
    fn items(&self) -> u64;
}

/// A policy by name.
pub struct Row {
    pub name: &'static str,
    /// What it is, and what it costs.
    pub about: &'static str,
    /// Makes it for so many different keys and so many bytes.
    pub make: fn(usize, u64) -> Box<dyn Policy>,
}

/// What they are called.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|row| row.name).collect()
}

/// All policies, the simple ones first.
pub fn all() -> Vec<Row> {
    use s3fifo::{Rules, S3Fifo};
    let row = |name, about, make| Row { name, about, make };
    vec![
        row("fifo", "first in, first out: the floor", |keys, cap| Box::new(lru::Lru::new(keys, cap, false))),
        row("lru", "true LRU: a hit moves links", |keys, cap| Box::new(lru::Lru::new(keys, cap, true))),
        row("2q", "2Q (Johnson and Shasha 1994): a hit in the main queue moves links", |keys, cap| {
            Box::new(two_queue::TwoQueue::new(keys, cap))
        }),
        row("sieve", "SIEVE (Zhang et al., NSDI 2024): a hit sets a bit, no ghosts", |keys, cap| {
            Box::new(sieve::Sieve::new(keys, cap))
        }),
        row("lru-tinylfu", "LRU behind TinyLFU's admission; what is not admitted is not kept", |keys, cap| {
            Box::new(tinylfu::TinyLfu::new(keys, cap, tinylfu::Window::None))
        }),
        row("w-tinylfu", "W-TinyLFU with an adaptive window (Einziger et al. 2018)", |keys, cap| {
            Box::new(tinylfu::TinyLfu::new(keys, cap, tinylfu::Window::Adaptive))
        }),
        row("s3fifo", "S3-FIFO (Yang et al., SOSP 2023): two bits an item, as many ghosts as items", |keys, cap| {
            Box::new(S3Fifo::new(keys, cap, Rules::PUBLISHED))
        }),
        row("s3fifo-1bit", "the same with one bit an item", |keys, cap| {
            Box::new(S3Fifo::new(keys, cap, Rules { bits: 1, ..Rules::PUBLISHED }))
        }),
        row("s3fifo-half", "one bit, half as many ghosts as items", |keys, cap| {
            Box::new(S3Fifo::new(keys, cap, Rules { bits: 1, ghosts: 0.5, ..Rules::PUBLISHED }))
        }),
        row("s3fifo-quarter", "one bit, a quarter as many ghosts as items", |keys, cap| {
            Box::new(S3Fifo::new(keys, cap, Rules { bits: 1, ghosts: 0.25, ..Rules::PUBLISHED }))
        }),
        row("s3fifo-root-half", "one bit, half the ghosts; leaves by age times the root of the size", |keys, cap| {
            Box::new(S3Fifo::new(keys, cap, Rules { bits: 1, ghosts: 0.5, size: 0.5, ..Rules::PUBLISHED }))
        }),
        row("s3fifo-root-quarter", "the same with a quarter of the ghosts", |keys, cap| {
            Box::new(S3Fifo::new(keys, cap, Rules { bits: 1, ghosts: 0.25, size: 0.5, ..Rules::PUBLISHED }))
        }),
        row("s3fifo-size-half", "one bit, half the ghosts; leaves by age times size", |keys, cap| {
            Box::new(S3Fifo::new(keys, cap, Rules { bits: 1, ghosts: 0.5, size: 1.0, ..Rules::PUBLISHED }))
        }),
        row("s3fifo-size-quarter", "the same with a quarter of the ghosts", |keys, cap| {
            Box::new(S3Fifo::new(keys, cap, Rules { bits: 1, ghosts: 0.25, size: 1.0, ..Rules::PUBLISHED }))
        }),
        row("gdsf", "greedy dual size frequency, a heap of all items: what size-awareness can reach", |keys, cap| {
            Box::new(gdsf::Gdsf::new(keys, cap))
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream in which few keys get most of the requests; sizes between 1 and 1000 follow from the key.
    fn requests() -> impl Iterator<Item = (u32, u64)> {
        let mut state = 7u64;
        (0..200_000).map(move |_| {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            let share = (state >> 33) as f64 / (1u64 << 31) as f64;
            let key = (share.powi(4) * 10_000.0) as u32;
            (key, u64::from(key) * 7919 % 1000 + 1)
        })
    }

    #[test]
    fn every_policy_keeps_its_cap_and_its_promise() {
        for row in all() {
            let cap = 100_000;
            let mut policy = (row.make)(10_000, cap);
            let mut held = std::collections::HashMap::new();
            let mut hits = 0;
            for (request, (key, bytes)) in requests().enumerate() {
                let hit = policy.read(key, bytes);
                hits += u64::from(hit);
                assert!(!hit || held.contains_key(&key), "{}: a hit of what was never put", row.name);
                held.insert(key, bytes);
                if request % 1000 == 999 {
                    policy.remove(key);
                    assert!(!policy.read(key, bytes), "{}: a hit of what was removed", row.name);
                }
            }
            assert!(policy.items() > 100 && policy.items() < cap, "{}: {}", row.name, policy.items());
            assert!(hits > 30_000, "{}: {hits} hits", row.name);
        }
    }

    #[test]
    fn what_fits_is_kept_and_what_is_larger_than_all_is_not() {
        for row in all() {
            let mut policy = (row.make)(100, 100_000);
            for key in 0..100 {
                policy.read(key, 900);
            }
            assert!((0..100).all(|key| policy.read(key, 900)), "{}", row.name);
            assert!(!policy.read(7, 900) || policy.items() == 100, "{}", row.name);
            let mut policy = (row.make)(100, 1000);
            assert!(!policy.read(1, 2000) && !policy.read(1, 2000), "{}", row.name);
        }
    }

    /// A loop that is a little longer than the cache: LRU finds nothing, what resists scans finds most of it.
    #[test]
    fn loops_tell_the_policies_apart() {
        let hits = |name: &str| {
            let row = all().into_iter().find(|row| row.name == name).unwrap();
            let mut policy = (row.make)(120, 10_000);
            (0..120 * 50).filter(|request| policy.read(request % 120, 100)).count()
        };
        assert_eq!(hits("lru"), 0);
        assert!(hits("2q") > 2000 && hits("w-tinylfu") > 3000, "{} {}", hits("2q"), hits("w-tinylfu"));
    }
}
