//! Workloads by name. One row each; nothing else in the program knows a preset from hand-set options.

use super::{Traffic, keys::KeyChoice, sizes::Sizes};
use std::time::Duration;

/// A workload and how it is usually driven.
pub struct Preset {
    pub name: &'static str,
    pub about: &'static str,
    pub traffic: Traffic,
    /// Whether all keys are written once before anything is counted.
    pub fill: bool,
}

/// The preset of this name.
pub fn find(name: &str) -> Option<Preset> {
    all().into_iter().find(|preset| preset.name == name)
}

/// What they are called.
pub fn names() -> Vec<&'static str> {
    all().iter().map(|preset| preset.name).collect()
}

/// All presets, the simple ones first.
pub fn all() -> Vec<Preset> {
    let preset = |name, about, traffic| Preset { name, about, traffic, fill: true };
    vec![
        preset("get", "reads only", plain(1.0, 0.0)),
        preset("set", "writes only", plain(0.0, 1.0)),
        preset("mget", "reads of 10 keys at once", Traffic { keys_per_read: 10, ..plain(1.0, 0.0) }),
        preset("incr", "increments only", Traffic { increments: 100.0, ..plain(1.0, 0.0) }),
        preset(
            "setex",
            "writes only, expiring after a minute",
            Traffic { ttl: Some(Duration::from_secs(60)), ..plain(0.0, 1.0) },
        ),
        preset("mixed", "9 reads to 1 write", plain(9.0, 1.0)),
        preset(
            "session",
            "a session store: 1 KiB values, TTL of 30 minutes, 90:10",
            Traffic { value_size: Sizes::Fixed(1024), ttl: Some(Duration::from_secs(30 * 60)), ..plain(90.0, 10.0) },
        ),
        preset("twitter", "medians of Twitter's 54 published cache clusters", twitter(36, 224, 85.0, 15.0, 1.2)),
        // The rows of the three clusters: statistics beside the traces that Yang et al. published with "A large scale
        // analysis of hundreds of in-memory cache clusters at Twitter", OSDI 2020. Add and cas count as writes, gets as
        // a read.
        preset(
            "cluster12",
            "Twitter's cluster 12: four writes to a read, expiring after 5 minutes",
            Traffic { ttl: Some(Duration::from_secs(300)), ..twitter(44, 1030, 20.0, 80.0, 0.3048) },
        ),
        preset(
            "cluster37",
            "Twitter's cluster 37: 20 kB values that expire after 20 s",
            Traffic { keys: 20_000, ttl: Some(Duration::from_secs(20)), ..twitter(72, 20_134, 63.0, 37.0, 0.4251) },
        ),
        preset(
            "cluster52",
            "Twitter's cluster 52: small, read mostly, skewed",
            Traffic { ttl: Some(Duration::from_secs(24 * 3600)), ..twitter(20, 273, 93.0, 6.0, 1.2117) },
        ),
        // Update share as Facebook reports it for ETC: a write to 30 reads.
        preset(
            "etc",
            "Facebook's ETC pool: sizes as published, 30 reads to a write",
            Traffic { key_size: Sizes::etc_keys(), value_size: Sizes::etc_values(), ..plain(30.0, 1.0) },
        ),
        preset(
            "large",
            "small reads beside a client that writes and reads 10 MB without a pause",
            Traffic { neighbour_bytes: Some(10_000_000), ..plain(1.0, 0.0) },
        ),
        preset(
            "sizes",
            "small and large values mixed: 10 MB at 1 key in 1000",
            Traffic {
                keys: 10_000,
                value_size: Sizes::Mixture(vec![(Sizes::Fixed(64), 999.0), (Sizes::Fixed(10_000_000), 1.0)]),
                ..plain(99.0, 1.0)
            },
        ),
        preset("churn", "connect, one command, close", Traffic { churn: true, ..plain(9.0, 1.0) }),
        Preset {
            fill: false,
            ..preset(
                "limit",
                "writes far past any memory cap: 100 million keys of 1 KiB, 9 writes to a read",
                Traffic { keys: 100_000_000, value_size: Sizes::Fixed(1024), ..plain(1.0, 9.0) },
            )
        },
    ]
}

fn plain(reads: f64, writes: f64) -> Traffic {
    Traffic {
        reads,
        writes,
        deletes: 0.0,
        increments: 0.0,
        keys_per_read: 1,
        keys: 100_000,
        key_choice: KeyChoice::Uniform,
        key_size: Sizes::Fixed(16),
        value_size: Sizes::Fixed(64),
        ttl: None,
        churn: false,
        neighbour_bytes: None,
    }
}

fn twitter(key: usize, value: usize, reads: f64, writes: f64, theta: f64) -> Traffic {
    Traffic {
        key_choice: KeyChoice::Zipf(theta),
        key_size: Sizes::Fixed(key),
        value_size: Sizes::Fixed(value),
        keys: 1_000_000,
        ..plain(reads, writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_has_its_own_name_and_something_to_do() {
        let presets = all();
        for (index, preset) in presets.iter().enumerate() {
            assert!(presets[..index].iter().all(|earlier| earlier.name != preset.name), "{}", preset.name);
            assert!(preset.traffic.reads + preset.traffic.writes > 0.0);
        }
        assert!(find("twitter").is_some() && find("facebook").is_none());
    }
}
