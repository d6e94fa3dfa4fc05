//! Key to shard: the only code that knows there is more than one shard. Multi-key commands, flush and totals are
//! made atomic here, by taking the shards' locks in order. It must not know commands or protocol.

use std::sync::{Mutex, MutexGuard};

use crate::clock::UnixMillis;
use crate::shard::{Key, Policy, Shard, ShardStats};

/// One shard per core, each on cache lines of its own.
#[repr(align(128))]
struct Slot(Mutex<Shard>);

pub struct Keyspace {
    shards: Box<[Slot]>,
    /// Seeded per process: nobody outside can choose keys that collide.
    hasher: ahash::RandomState,
}

impl Keyspace {
    /// `data_bytes`: what all shards together may hold.
    pub fn new(shards: usize, data_bytes: usize, policy: Policy) -> Keyspace {
        let share = (data_bytes / shards) as u64;
        Keyspace {
            shards: (0..shards).map(|_| Slot(Mutex::new(Shard::new(share, policy)))).collect(),
            hasher: ahash::RandomState::new(),
        }
    }

    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Which shard a hash belongs to, by its lower half: the shard's index uses the upper one.
    pub fn shard_of(&self, hash: u64) -> usize {
        ((hash as u32 as u64 * self.shards.len() as u64) >> 32) as usize
    }

    /// Access for one turn. Nothing may be awaited while it lives.
    pub fn hold(&self) -> Held<'_> {
        Held { keyspace: self, guard: None }
    }

    /// Empties every shard at one moment; the memory is given back by `tick`.
    pub fn clear(&self) {
        self.lock_all().iter_mut().for_each(|shard| shard.clear());
    }

    /// One bounded step of a shard's background work. True if there is more to do right now.
    pub fn tick(&self, shard: usize, now: UnixMillis) -> bool {
        let mut guard = self.lock(shard);
        // Freed once the shard is released: it can take the kernel milliseconds.
        let garbage = guard.take_garbage();
        let more = guard.tick(now).more;
        drop(guard);
        drop(garbage);
        more
    }

    pub fn set_limit(&self, data_bytes: usize) {
        let share = (data_bytes / self.shards.len()) as u64;
        (0..self.shards.len()).for_each(|shard| self.lock(shard).set_limit(share));
    }

    pub fn set_policy(&self, policy: Policy) {
        (0..self.shards.len()).for_each(|shard| self.lock(shard).set_policy(policy));
    }

    /// The totals over all shards.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for shard in 0..self.shards.len() {
            let shard = self.lock(shard);
            totals.items += shard.len();
            totals.expiring += shard.expiring();
            totals.used_bytes += shard.used_bytes();
            let ShardStats { evicted, expired, .. } = shard.stats();
            totals.evicted += evicted;
            totals.expired += expired;
        }
        totals
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        self.shards[shard].0.lock().expect("a panicking core ends the process")
    }

    fn lock_all(&self) -> Vec<MutexGuard<'_, Shard>> {
        (0..self.shards.len()).map(|shard| self.lock(shard)).collect()
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub items: usize,
    pub expiring: usize,
    pub used_bytes: u64,
    pub evicted: u64,
    pub expired: u64,
}

/// The keyspace during one turn: the lock of the last shard used is kept, for the run of commands on it.
pub struct Held<'k> {
    keyspace: &'k Keyspace,
    guard: Option<(usize, MutexGuard<'k, Shard>)>,
}

impl<'k> Held<'k> {
    pub fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: self.keyspace.hash(bytes) }
    }

    /// The shard of `hash`, locked.
    pub fn shard(&mut self, hash: u64) -> &mut Shard {
        let wanted = self.keyspace.shard_of(hash);
        if self.guard.as_ref().is_none_or(|(held, _)| *held != wanted) {
            // Released before the next one is taken: two turns never wait for each other.
            self.guard = None;
            self.guard = Some((wanted, self.keyspace.lock(wanted)));
        }
        &mut self.guard.as_mut().expect("locked above").1
    }

    /// The shards of all these hashes, locked together, lowest first.
    pub fn shards(&mut self, hashes: impl Iterator<Item = u64> + Clone) -> Several<'_, 'k> {
        let first = hashes.clone().next().unwrap_or(0);
        if hashes.clone().all(|hash| self.keyspace.shard_of(hash) == self.keyspace.shard_of(first)) {
            self.shard(first);
            return Several::One(&mut self.guard.as_mut().expect("locked above").1);
        }
        self.release();
        let mut wanted = vec![false; self.keyspace.shards.len()];
        hashes.for_each(|hash| wanted[self.keyspace.shard_of(hash)] = true);
        let guards = wanted.iter().enumerate().map(|(shard, wanted)| wanted.then(|| self.keyspace.lock(shard)));
        Several::Many(self.keyspace, guards.collect())
    }

    /// Lets other cores have the shard.
    pub fn release(&mut self) {
        self.guard = None;
    }
}

/// Several shards locked together: what is done between is one step for everybody else.
pub enum Several<'h, 'k> {
    One(&'h mut Shard),
    Many(&'k Keyspace, Vec<Option<MutexGuard<'k, Shard>>>),
}

impl Several<'_, '_> {
    /// The shard of one of the hashes that were asked for.
    pub fn shard(&mut self, hash: u64) -> &mut Shard {
        match self {
            Several::One(shard) => shard,
            Several::Many(keyspace, guards) => guards[keyspace.shard_of(hash)].as_mut().expect("asked for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::{Expiry, NewValue};

    #[test]
    fn several_shards_are_locked_together() {
        let keyspace = Keyspace::new(4, 64 << 20, Policy::AllKeysLru);
        let mut held = keyspace.hold();
        let keys: Vec<_> = (0..32).map(|n| format!("key:{n}")).collect();
        let hashes: Vec<_> = keys.iter().map(|key| keyspace.hash(key.as_bytes())).collect();
        let mut several = held.shards(hashes.iter().copied());
        for (key, &hash) in keys.iter().zip(&hashes) {
            let key = Key { bytes: key.as_bytes(), hash };
            several.shard(hash).set(key, NewValue::Copied(b"v"), Expiry::Never, 0).unwrap();
        }
        drop(several);
        drop(held);
        assert_eq!(keyspace.totals().items, 32);
        let spread: std::collections::HashSet<_> = hashes.iter().map(|&hash| keyspace.shard_of(hash)).collect();
        assert_eq!(spread.len(), 4, "32 keys meet all 4 shards");
        keyspace.clear();
        assert_eq!(keyspace.totals().items, 0);
    }
}
