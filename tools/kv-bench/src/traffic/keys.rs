//! Which key a request is about, and how its number is spelled. Knows nothing of values, protocols or connections.

use super::sizes::Sizes;
use rand::{RngExt, rngs::SmallRng};
use rand_distr::{Distribution, Zipf};
use std::{fmt, str::FromStr};

/// How keys are chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyChoice {
    Uniform,
    /// Rank r is asked for in proportion to r^-theta.
    Zipf(f64),
    /// A share of the keys (0 to 1) gets a share of the requests (0 to 1); both parts are uniform within themselves.
    Hot {
        keys: f64,
        requests: f64,
    },
    /// One after the other; each load thread starts at its own part of the keys.
    Sequential,
}

impl FromStr for KeyChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyChoice, String> {
        let bad = || format!("'{text}' is no key choice; use uniform, zipf:THETA, hot:KEYS%:REQUESTS% or sequential");
        match text.split(':').collect::<Vec<_>>()[..] {
            ["uniform"] => Ok(KeyChoice::Uniform),
            ["sequential"] => Ok(KeyChoice::Sequential),
            ["zipf", theta] => match theta.parse() {
                Ok(theta) if theta > 0.0 && theta <= 10.0 => Ok(KeyChoice::Zipf(theta)),
                _ => Err(format!("'{theta}' is no theta for zipf; use a number above 0, at most 10")),
            },
            ["hot", keys, requests] => Ok(KeyChoice::Hot {
                keys: percent(keys).ok_or_else(bad)?,
                requests: percent(requests).ok_or_else(bad)?,
            }),
            _ => Err(bad()),
        }
    }
}

fn percent(text: &str) -> Option<f64> {
    let share = text.trim_end_matches('%').parse::<f64>().ok()? / 100.0;
    (share > 0.0 && share < 1.0).then_some(share)
}

impl fmt::Display for KeyChoice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            KeyChoice::Uniform => write!(f, "uniform"),
            KeyChoice::Zipf(theta) => write!(f, "zipf {theta}"),
            KeyChoice::Hot { keys, requests } => {
                write!(f, "{}% of the keys get {}% of the requests", keys * 100.0, requests * 100.0)
            }
            KeyChoice::Sequential => write!(f, "sequential"),
        }
    }
}

/// Draws key numbers below `count`.
pub struct Chooser {
    count: u64,
    kind: Kind,
}

enum Kind {
    Uniform,
    Zipf { ranks: Zipf<f64>, step: u64 },
    Hot { hot: u64, requests: f64 },
    Sequential { next: u64 },
}

impl Chooser {
    /// `part` of `parts` says where a sequential chooser starts, so that threads do not run in step.
    pub fn new(choice: &KeyChoice, count: u64, part: usize, parts: usize) -> Chooser {
        let kind = match choice {
            KeyChoice::Uniform => Kind::Uniform,
            // Rejection-inversion (Hörmann and Derflinger 1996), which unlike YCSB's method also holds for theta of 1
            // and more.
            KeyChoice::Zipf(theta) => Kind::Zipf {
                ranks: Zipf::new(count as f64, *theta).expect("the options admit only a positive theta and count"),
                step: SCATTER_PRIME % count,
            },
            KeyChoice::Hot { keys, requests } => {
                Kind::Hot { hot: ((count as f64 * keys) as u64).clamp(1, count), requests: *requests }
            }
            KeyChoice::Sequential => Kind::Sequential { next: count / parts as u64 * part as u64 },
        };
        Chooser { count, kind }
    }

    pub fn choose(&mut self, random: &mut SmallRng) -> u64 {
        match &mut self.kind {
            Kind::Uniform => random.random_range(0..self.count),
            Kind::Zipf { ranks, step } => scattered(ranks.sample(random) as u64 - 1, *step, self.count),
            Kind::Hot { hot, requests } => {
                let cold = *hot..self.count;
                if cold.is_empty() || random.random::<f64>() < *requests {
                    random.random_range(0..*hot)
                } else {
                    random.random_range(cold)
                }
            }
            Kind::Sequential { next } => {
                let key = *next;
                *next = if key + 1 == self.count { 0 } else { key + 1 };
                key
            }
        }
    }
}

/// The largest prime below 2^64, hence coprime to every count of keys.
const SCATTER_PRIME: u64 = 0xFFFF_FFFF_FFFF_FFC5;

/// Maps ranks to key numbers one to one, so that popular keys do not stand side by side: a multiplication by a prime
/// modulo `count`.
fn scattered(rank: u64, step: u64, count: u64) -> u64 {
    match rank.checked_mul(step) {
        Some(product) => product % count,
        None => (u128::from(rank) * u128::from(step) % u128::from(count)) as u64,
    }
}

/// Writes keys: a letter and the number, padded with zeros to the key's size (`k000000000000042`).
#[derive(Clone)]
pub struct Speller {
    sizes: Sizes,
    shortest: usize,
}

impl Speller {
    /// The longest key that memcached takes, in bytes.
    pub const LONGEST_KEY_BYTES: usize = 250;

    pub fn new(sizes: &Sizes, count: u64) -> Speller {
        Speller { sizes: sizes.clone(), shortest: Speller::shortest(count) }
    }

    /// No key among `count` can be spelled with fewer bytes.
    pub fn shortest(count: u64) -> usize {
        1 + count.saturating_sub(1).max(1).ilog10() as usize + 1
    }

    /// Appends the key; `letter` tells counters (`c`) from values (`k`).
    pub fn spell(&self, letter: u8, number: u64, out: &mut Vec<u8>) {
        let size = self.sizes.of(number).clamp(self.shortest, Speller::LONGEST_KEY_BYTES);
        let start = out.len();
        out.resize(start + size, b'0');
        out[start] = letter;
        let mut rest = number;
        let mut at = out.len();
        while rest > 0 {
            at -= 1;
            out[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
}

/// The number of a key that a server names; `None` if the name is not one of ours.
pub fn number_of(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name.strip_prefix(b"k")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::HashSet;

    fn frequencies(choice: &KeyChoice, count: u64, draws: usize) -> Vec<usize> {
        let mut chooser = Chooser::new(choice, count, 0, 1);
        let mut random = SmallRng::seed_from_u64(7);
        let mut seen = vec![0; count as usize];
        for _ in 0..draws {
            seen[chooser.choose(&mut random) as usize] += 1;
        }
        seen
    }

    #[test]
    fn zipf_frequencies_follow_the_power_law() {
        for theta in [0.5, 0.99, 1.0, 1.2] {
            let draws = 1_000_000;
            let mut seen = frequencies(&KeyChoice::Zipf(theta), 1000, draws);
            seen.sort_unstable_by(|a, b| b.cmp(a));
            let norm: f64 = (1..=1000).map(|rank| f64::from(rank).powf(-theta)).sum();
            for rank in [1usize, 2, 10, 100] {
                let expected = (rank as f64).powf(-theta) / norm * draws as f64;
                let error = (seen[rank - 1] as f64 - expected).abs() / expected;
                assert!(error < 0.1, "theta {theta} rank {rank}: {} for {expected}", seen[rank - 1]);
            }
        }
    }

    #[test]
    fn scattering_is_one_to_one() {
        for count in [1, 2, 10, 1000, 65_536, 99_991] {
            let keys: HashSet<u64> = (0..count).map(|rank| scattered(rank, SCATTER_PRIME % count, count)).collect();
            assert_eq!(keys.len() as u64, count);
        }
    }

    #[test]
    fn a_hot_set_gets_its_share() {
        let seen = frequencies(&"hot:10%:90%".parse().unwrap(), 1000, 100_000);
        let hot: usize = seen[..100].iter().sum();
        assert!((89_000..91_000).contains(&hot), "{hot}");
    }

    #[test]
    fn sequential_keys_visit_all_in_order_from_their_part() {
        let mut chooser = Chooser::new(&KeyChoice::Sequential, 10, 1, 2);
        let mut random = SmallRng::seed_from_u64(1);
        let keys: Vec<u64> = (0..12).map(|_| chooser.choose(&mut random)).collect();
        assert_eq!(keys, [5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn keys_are_distinct_and_of_the_size_asked_for() {
        let speller = Speller::new(&Sizes::Range(4, 20), 1000);
        let mut keys = HashSet::new();
        for number in 0..1000 {
            let mut key = Vec::new();
            speller.spell(b'k', number, &mut key);
            assert!((4..=20).contains(&key.len()));
            keys.insert(key);
        }
        assert_eq!(keys.len(), 1000);
        let mut key = Vec::new();
        Speller::new(&Sizes::Fixed(16), 100).spell(b'k', 42, &mut key);
        assert_eq!(key, b"k000000000000042");
        assert_eq!(number_of(&key), Some(42));
    }

    #[test]
    fn key_choices_are_read_or_refused() {
        assert_eq!("zipf:1.2".parse(), Ok(KeyChoice::Zipf(1.2)));
        assert_eq!("hot:1%:99%".parse(), Ok(KeyChoice::Hot { keys: 0.01, requests: 0.99 }));
        for bad in ["", "zipf", "zipf:0", "zipf:-1", "zipf:x", "hot:0:5", "hot:10", "hot:101:5", "random"] {
            assert!(bad.parse::<KeyChoice>().is_err(), "{bad}");
        }
    }
}
