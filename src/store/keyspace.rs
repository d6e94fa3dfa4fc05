//! Key to shard: the only code that knows there is more than one shard. Multi-key commands, transactions, flush and
//! totals are made atomic here, by taking the shards' locks in order. It must not know commands or protocol.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::base::clock::UnixMillis;
use crate::config::Policy;
use crate::store::shard::{DATABASES, Key, Shard, ShardStats};

/// One shard per core, each on cache lines of its own.
#[repr(align(128))]
struct Slot {
    shard: Mutex<Shard>,
    /// Since when a script has held it; 0 when none does. A script may hold it for long: others do not wait for that.
    script_since: AtomicU64,
}

/// A script on another core holds a shard.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    pub since: UnixMillis,
}

type Guard<'k> = MutexGuard<'k, Shard>;

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
            shards: (0..shards).map(|_| Slot::new(Shard::new(share, policy))).collect(),
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

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Access for one turn. Nothing may be awaited while it lives.
    pub fn hold(&self) -> ShardGuards<'_> {
        self.hold_for(0)
    }

    /// The same on behalf of a client, whom those who watch keys are told of.
    pub fn hold_for(&self, actor: u64) -> ShardGuards<'_> {
        ShardGuards { keyspace: self, actor, last: None, together: Vec::new(), sealed: false }
    }

    /// One bounded step of a shard's background work. True if there is more to do right now.
    pub fn tick(&self, shard: usize, now: UnixMillis) -> bool {
        let Ok(mut guard) = self.try_lock(shard, 0) else { return false };
        // Freed once the shard is released: it can take the kernel milliseconds.
        let garbage = guard.take_garbage();
        let more = guard.tick(now).more;
        drop(guard);
        drop(garbage);
        more
    }

    /// What the shards hold of memory, asked one after the other: nobody waits for more than one, or for a script.
    pub fn used_bytes(&self) -> Result<u64, Busy> {
        (0..self.shards.len()).map(|shard| Ok(self.try_lock(shard, 0)?.used_bytes())).sum()
    }

    fn lock(&self, shard: usize, actor: u64) -> Guard<'_> {
        let mut guard = self.shards[shard].shard.lock();
        guard.act_for(actor);
        guard
    }

    /// Waits while others pass through, but not for a script that goes on.
    fn try_lock(&self, shard: usize, actor: u64) -> Result<Guard<'_>, Busy> {
        let slot = &self.shards[shard];
        loop {
            let is_with_script = slot.script_since.load(Relaxed) != 0;
            let patience = if is_with_script { PATIENCE_WITH_SCRIPT } else { PATIENCE };
            if let Some(mut guard) = slot.shard.try_lock_for(patience) {
                guard.act_for(actor);
                return Ok(guard);
            }
            match slot.script_since.load(Relaxed) {
                0 => {}
                since => return Err(Busy { since }),
            }
        }
    }
}

/// After so long a core that waits for a shard looks whether a script has it.
const PATIENCE: Duration = Duration::from_millis(1);
/// For so long a core waits for a script: most are done by then.
const PATIENCE_WITH_SCRIPT: Duration = Duration::from_micros(100);

/// Keys of one command whose memory is fetched ahead at a time.
const KEYS_AHEAD: usize = 16;

impl Slot {
    fn new(shard: Shard) -> Slot {
        Slot { shard: Mutex::new(shard), script_since: AtomicU64::new(0) }
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Items and expiring items of each database.
    pub databases: [(usize, usize); DATABASES],
    /// The sums of the expiring items' times.
    pub expiry_sums: [u128; DATABASES],
    pub used_bytes: u64,
    /// Keys and values alone.
    pub dataset_bytes: u64,
    pub evicted: u64,
    pub expired: u64,
    /// How long what was evicted of late had been idle: the shards' figures, each by its part of the evictions.
    pub eviction_age_millis: u64,
}

/// The keyspace during one turn: the only way to a shard. The lock of the last shard used is kept, for the run of
/// commands on it.
///
/// Locks are never taken while another one is held, except several together in the order of the shards: two turns
/// never wait for each other.
pub struct ShardGuards<'k> {
    keyspace: &'k Keyspace,
    actor: u64,
    /// One shard, for the keys that come one by one.
    last: Option<(usize, Guard<'k>)>,
    /// Several shards, by their number; empty unless they are locked together.
    together: Vec<Option<Guard<'k>>>,
    /// What is locked stays so, and nothing is locked beside it.
    sealed: bool,
}

impl<'k> ShardGuards<'k> {
    pub fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    /// The shard of `hash`, locked.
    #[inline]
    pub fn shard(&mut self, hash: u64) -> &mut Shard {
        self.numbered(self.keyspace.shard_of(hash))
    }

    /// The shard of a number, locked: for walks over all of them.
    #[inline]
    pub fn numbered(&mut self, wanted: usize) -> &mut Shard {
        if !matches!(&self.last, Some((guards, _)) if *guards == wanted) {
            if self.together.is_empty() {
                self.change_to(wanted);
            } else {
                return self.together[wanted].as_mut().expect("among those that were asked for");
            }
        }
        &mut self.last.as_mut().expect("locked above").1
    }

    /// Starts fetching what look-ups of these hashes will touch, one shard after the other.
    pub fn prefetch(&mut self, database: u8, hashes: impl Iterator<Item = u64> + Clone) {
        let keyspace = self.keyspace;
        let shards = hashes.clone().map(|hash| keyspace.shard_of(hash));
        for (at, (hash, shard)) in hashes.clone().zip(shards.clone()).enumerate() {
            if shards.clone().take(at).all(|before| before != shard) {
                let own = hashes.clone().filter(|hash| keyspace.shard_of(*hash) == shard);
                // Where a script holds the shard there is nothing to be gained.
                if self.enter(hash).is_ok() {
                    self.shard(hash).prefetch(database, own);
                }
            }
        }
    }

    /// Locks the shard of `hash`, as `shard` does, unless a script has it.
    #[inline]
    pub fn enter(&mut self, hash: u64) -> Result<(), Busy> {
        let wanted = self.keyspace.shard_of(hash);
        if matches!(&self.last, Some((guards, _)) if *guards == wanted) {
            return Ok(());
        }
        self.enter_together([hash].into_iter())
    }

    /// Locks the shards of these hashes, as `shards` does, unless a script has one of them.
    pub fn enter_together(&mut self, hashes: impl Iterator<Item = u64> + Clone) -> Result<(), Busy> {
        let mut shards = hashes.map(|hash| self.keyspace.shard_of(hash));
        let Some(first) = shards.next() else {
            self.release();
            return Ok(());
        };
        if self.has(first) && shards.clone().all(|shard| self.has(shard)) {
            return Ok(());
        }
        assert!(!self.sealed, "what a sealed run may touch has been locked before");
        self.release();
        if shards.clone().all(|shard| shard == first) {
            self.last = Some((first, self.keyspace.try_lock(first, self.actor)?));
            return Ok(());
        }
        let mut wanted = vec![false; self.keyspace.shards.len()];
        wanted[first] = true;
        shards.for_each(|shard| wanted[shard] = true);
        self.lock_wanted(|shard| wanted[shard])
    }

    fn lock_wanted(&mut self, wanted: impl Fn(usize) -> bool) -> Result<(), Busy> {
        let shards = 0..self.keyspace.shards.len();
        let lock = |shard| wanted(shard).then(|| self.keyspace.try_lock(shard, self.actor)).transpose();
        self.together = shards.map(lock).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Whether a script on another core holds any shard.
    pub fn check_scripts(&self) -> Result<(), Busy> {
        for (shard, slot) in self.keyspace.shards.iter().enumerate() {
            let since = slot.script_since.load(Relaxed);
            if since != 0 && !self.has(shard) {
                return Err(Busy { since });
            }
        }
        Ok(())
    }

    /// Tells others that a script runs on what is locked: they do not wait for it.
    pub fn begin_script(&mut self, now: UnixMillis) {
        self.mark(now.max(1));
    }

    pub fn end_script(&mut self) {
        self.mark(0);
    }

    fn mark(&self, since: UnixMillis) {
        let guards = self.keyspace.shards.iter().enumerate().filter(|(shard, _)| self.has(*shard));
        guards.for_each(|(_, slot)| slot.script_since.store(since, Relaxed));
    }

    fn change_to(&mut self, wanted: usize) {
        assert!(!self.sealed, "what a sealed run may touch has been locked before");
        self.last = None;
        self.last = Some((wanted, self.keyspace.lock(wanted, self.actor)));
    }

    /// The shards of all these hashes, locked together.
    pub fn shards(&mut self, hashes: impl Iterator<Item = u64> + Clone) -> Several<'_, 'k> {
        self.lock_together(hashes);
        Several { guards: self }
    }

    /// All shards, locked together.
    pub fn all(&mut self) -> Several<'_, 'k> {
        self.lock_all();
        Several { guards: self }
    }

    /// Locks the shards of these hashes until `unseal`: every command in between must keep to them, and is one step
    /// with the others for everybody else.
    pub fn seal(&mut self, hashes: impl Iterator<Item = u64> + Clone) -> Result<(), Busy> {
        self.enter_together(hashes)?;
        self.sealed = true;
        Ok(())
    }

    /// The same with all shards.
    pub fn seal_all(&mut self) -> Result<(), Busy> {
        if !(0..self.keyspace.shards.len()).all(|shard| self.has(shard)) {
            self.release();
            self.lock_wanted(|_| true)?;
        }
        self.sealed = true;
        Ok(())
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    pub fn unseal(&mut self) {
        self.sealed = false;
        self.together.clear();
    }

    /// Lets other cores have what is locked, unless it is sealed.
    pub fn release(&mut self) {
        if !self.sealed {
            self.last = None;
            self.together.clear();
        }
    }

    /// A key of a database picked at random; none if nothing is there.
    pub fn random_key(&mut self, database: u8, now: UnixMillis) -> Option<Vec<u8>> {
        // The keys of a fresh hasher are the process's randomness.
        let random = ahash::RandomState::new().hash_one(now);
        let mut several = self.all();
        let mut items = Vec::new();
        several.each(|shard| items.push(shard.len_of(database).0 as u64));
        let mut place = random.checked_rem(items.iter().sum())?;
        let chosen = items.iter().position(|&items| {
            let is_here = place < items;
            place = place.saturating_sub(items);
            is_here
        })?;
        // The others come in only if the chosen one has nothing but items past their time.
        (chosen..items.len()).chain(0..chosen).find_map(|number| {
            let key = several.guards.numbered(number).random_key(database, now);
            key.map(<[u8]>::to_vec)
        })
    }

    /// The totals over all shards, of one moment.
    pub fn totals(&mut self) -> Totals {
        let mut totals = Totals::default();
        let mut ages = 0;
        self.all().each(|shard| {
            for (database, (items, expiring)) in totals.databases.iter_mut().enumerate() {
                let own = shard.len_of(database as u8);
                *items += own.0;
                *expiring += own.1;
                totals.expiry_sums[database] += shard.expiry_sum_of(database as u8);
            }
            let ShardStats { evicted, expired, eviction_age_millis, used_bytes, dataset_bytes, .. } = shard.stats();
            totals.used_bytes += used_bytes;
            totals.dataset_bytes += dataset_bytes;
            totals.evicted += evicted;
            totals.expired += expired;
            ages += evicted as u128 * eviction_age_millis as u128;
        });
        totals.eviction_age_millis = ages.checked_div(totals.evicted as u128).unwrap_or(0) as u64;
        totals
    }

    pub fn set_limit(&mut self, data_bytes: usize) {
        let share = (data_bytes / self.keyspace.shards.len()) as u64;
        self.all().each(|shard| shard.set_limit(share));
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.all().each(|shard| shard.set_policy(policy));
    }

    fn lock_together(&mut self, hashes: impl Iterator<Item = u64> + Clone) {
        let shards = hashes.map(|hash| self.keyspace.shard_of(hash));
        if self.sealed {
            assert!(shards.clone().all(|shard| self.has(shard)), "a sealed run keeps to what has been locked");
            return;
        }
        if shards.clone().all(|shard| self.has(shard)) {
            return;
        }
        let first = shards.clone().next().unwrap_or(0);
        if shards.clone().all(|shard| shard == first) {
            if !self.has(first) {
                self.change_to(first);
            }
            return;
        }
        let mut wanted = vec![false; self.keyspace.shards.len()];
        shards.for_each(|shard| wanted[shard] = true);
        self.release();
        let guards =
            wanted.iter().enumerate().map(|(shard, wanted)| wanted.then(|| self.keyspace.lock(shard, self.actor)));
        self.together = guards.collect();
    }

    fn lock_all(&mut self) {
        let shards = 0..self.keyspace.shards.len();
        if self.sealed {
            assert!(shards.clone().all(|shard| self.has(shard)), "a sealed run keeps to what has been locked");
            return;
        }
        self.release();
        self.together = shards.map(|shard| Some(self.keyspace.lock(shard, self.actor))).collect();
    }

    fn has(&self, shard: usize) -> bool {
        matches!(&self.last, Some((guards, _)) if *guards == shard) || matches!(self.together.get(shard), Some(Some(_)))
    }
}

/// Several shards locked together: what is done between is one step for everybody else.
pub struct Several<'h, 'k> {
    guards: &'h mut ShardGuards<'k>,
}

impl Several<'_, '_> {
    /// The shard of one of the hashes that were asked for.
    pub fn shard(&mut self, hash: u64) -> &mut Shard {
        self.guards.shard(hash)
    }

    /// Does something with each item in its key's shard, in order. The memory of some is fetched ahead at a time, so that
    /// their cache misses overlap.
    pub fn with_keys<T, E>(
        &mut self,
        items: Vec<T>,
        key_of: impl Fn(&T) -> Key,
        mut act: impl FnMut(&mut Shard, T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut items = items.into_iter();
        while let Some(first) = items.as_slice().first() {
            let database = key_of(first).db;
            let ahead = items.as_slice().iter().take(KEYS_AHEAD);
            self.guards.prefetch(database, ahead.map(|item| key_of(item).hash));
            for item in items.by_ref().take(KEYS_AHEAD) {
                act(self.guards.shard(key_of(&item).hash), item)?;
            }
        }
        Ok(())
    }

    /// Visits the shards that are locked, in order.
    pub fn each(&mut self, mut visit: impl FnMut(&mut Shard)) {
        self.guards.last.iter_mut().for_each(|(_, shard)| visit(shard));
        self.guards.together.iter_mut().flatten().for_each(|shard| visit(shard));
    }
}

impl Drop for Several<'_, '_> {
    fn drop(&mut self) {
        if !self.guards.sealed {
            self.guards.together.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::shard::{Expiry, NewValue};

    #[test]
    fn several_shards_are_locked_together() {
        let keyspace = Keyspace::new(4, 64 << 20, Policy::AllKeysLru);
        let mut guards = keyspace.hold();
        let keys: Vec<_> = (0..32).map(|n| format!("key:{n}")).collect();
        let hashes: Vec<_> = keys.iter().map(|key| keyspace.hash(key.as_bytes())).collect();
        let mut several = guards.shards(hashes.iter().copied());
        for (key, &hash) in keys.iter().zip(&hashes) {
            let key = Key { bytes: key.as_bytes(), hash, db: 0 };
            several.shard(hash).set(key, NewValue::Copied(b"v"), Expiry::Never, 0).unwrap();
        }
        drop(several);
        drop(guards);
        assert_eq!(keyspace.hold().totals().databases[0].0, 32);
        let spread: std::collections::HashSet<_> = hashes.iter().map(|&hash| keyspace.shard_of(hash)).collect();
        assert_eq!(spread.len(), 4, "32 keys meet all 4 shards");
        keyspace.hold().all().each(Shard::clear);
        assert_eq!(keyspace.hold().totals().databases[0].0, 0);
    }
}
