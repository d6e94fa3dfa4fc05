//! What to evict at the memory cap, under Redis's names.

/// Which items go when the cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    AllKeysLru,
    NoEviction,
    /// The least recently used of the items that expire.
    VolatileLru,
    AllKeysRandom,
    /// Of the items that expire, one of those that do so soonest.
    VolatileTtl,
}

/// The eviction policies under Redis's names.
pub const POLICIES: [(&str, Policy); 5] = [
    ("allkeys-lru", Policy::AllKeysLru),
    ("noeviction", Policy::NoEviction),
    ("volatile-lru", Policy::VolatileLru),
    ("allkeys-random", Policy::AllKeysRandom),
    ("volatile-ttl", Policy::VolatileTtl),
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
