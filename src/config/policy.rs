//! What to evict at the memory cap, under Redis's names.

/// Which items go when the cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    AllKeysLru,
    /// What was used neither when new nor lately, the larger the sooner.
    AllKeysS3Fifo,
    AllKeysLfu,
    AllKeysRandom,
    /// The least recently used of the items that expire.
    VolatileLru,
    VolatileS3Fifo,
    /// The least frequently used of them.
    VolatileLfu,
    VolatileRandom,
    /// Of the items that expire, one of those that do so soonest.
    VolatileTtl,
    NoEviction,
}

/// The orders of eviction in which a shard can keep its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderKind {
    Lru,
    Lfu,
    S3Fifo,
}

/// How the counters of the LFU policies grow and shrink: `lfu-log-factor` and `lfu-decay-time`, as Redis has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LfuRules {
    /// The larger, the more uses it takes to be counted to the end.
    pub log_factor: u32,
    /// A counter loses one in so many minutes without a use; 0 never does.
    pub decay_minutes: u32,
}

impl Default for LfuRules {
    fn default() -> LfuRules {
        LfuRules { log_factor: 10, decay_minutes: 1 }
    }
}

impl Policy {
    /// Whether it spares what never expires.
    pub fn is_volatile(self) -> bool {
        use Policy::*;
        matches!(self, VolatileLru | VolatileS3Fifo | VolatileLfu | VolatileRandom | VolatileTtl)
    }

    /// The order in which a shard keeps its items. Policies that ask for none have that of use: it is what most change to.
    pub fn order(self) -> OrderKind {
        match self {
            Policy::AllKeysLfu | Policy::VolatileLfu => OrderKind::Lfu,
            Policy::AllKeysS3Fifo | Policy::VolatileS3Fifo => OrderKind::S3Fifo,
            _ => OrderKind::Lru,
        }
    }
}

/// The eviction policies under Redis's names.
pub const POLICIES: [(&str, Policy); 10] = [
    ("allkeys-lru", Policy::AllKeysLru),
    ("allkeys-s3fifo", Policy::AllKeysS3Fifo),
    ("allkeys-lfu", Policy::AllKeysLfu),
    ("allkeys-random", Policy::AllKeysRandom),
    ("volatile-lru", Policy::VolatileLru),
    ("volatile-s3fifo", Policy::VolatileS3Fifo),
    ("volatile-lfu", Policy::VolatileLfu),
    ("volatile-random", Policy::VolatileRandom),
    ("volatile-ttl", Policy::VolatileTtl),
    ("noeviction", Policy::NoEviction),
];

pub fn parse_policy(text: &str) -> Result<Policy, String> {
    let found = POLICIES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, policy)| *policy).ok_or_else(|| {
        let names: Vec<_> = POLICIES.iter().map(|(name, _)| *name).collect();
        format!("possible values: {}", names.join(", "))
    })
}

pub fn policy_name(policy: Policy) -> &'static str {
    POLICIES.iter().find(|(_, known)| *known == policy).map_or("unknown", |(name, _)| name)
}
