//! Key to shard: one shard for each core, each behind its lock. Multi-key commands, transactions, flush and totals are made
//! atomic by `guards`, which takes these locks in order. It must not know commands or protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::guards::{Busy, ShardGuards};
use super::hot::HotShare;
use super::shard::{Shard, Tick, Versions};
use crate::base::clock::{self, UnixMillis};
use crate::base::extents::Extents;
use crate::config::{Policy, limits};

/// One shard per core, each on cache lines of its own.
#[repr(align(128))]
struct Slot {
    shard: Mutex<Shard>,
    /// Since when a script has held it; 0 when none does. A script may hold it for long: others do not wait for that.
    script_since: AtomicU64,
    /// How often somebody found the lock taken.
    contended: AtomicU64,
}

pub(super) type Guard<'k> = MutexGuard<'k, Shard>;

pub struct Keyspace {
    shards: Box<[Slot]>,
    /// Each shard's, for who reads without its lock: away from the lock, which others write to.
    versions: Box<[Arc<Versions>]>,
    hot: HotShare,
    /// Each shard's, for the values that arrive on its core.
    extents: Box<[Extents]>,
    /// Seeded per process: nobody outside can choose keys that collide.
    hasher: ahash::RandomState,
}

impl Keyspace {
    /// `data_bytes`: what all shards together may hold.
    pub fn new(shards: usize, data_bytes: usize, policy: Policy) -> Keyspace {
        let share = (data_bytes / shards) as u64;
        let extents = Extents::for_cores(shards);
        let shard = |extents: &Extents| Slot::new(Shard::with_extents(share, policy, extents.clone()));
        let shards: Box<[Slot]> = extents.iter().map(shard).collect();
        Keyspace {
            versions: shards.iter().map(|slot| slot.shard.lock().versions().clone()).collect(),
            hot: HotShare::new(shards.len()),
            shards,
            extents: extents.into(),
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

    /// What the cores keep of what is hot.
    pub fn hot(&self) -> &HotShare {
        &self.hot
    }

    /// By which copies of values of this hash are known to be right.
    #[inline]
    pub(super) fn versions(&self, hash: u64) -> &Versions {
        &self.versions[self.shard_of(hash)]
    }

    /// How often somebody found a shard's lock taken, since the start or `reset_contended`.
    pub fn contended(&self) -> u64 {
        self.shards.iter().map(|slot| slot.contended.load(Relaxed)).sum()
    }

    pub(super) fn reset_contended(&self) {
        self.shards.iter().for_each(|slot| slot.contended.store(0, Relaxed));
    }

    /// Where values lie that arrive on a core, whatever their shard.
    pub fn extents(&self, core: usize) -> Extents {
        self.extents[core % self.extents.len()].clone()
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Access for one turn. Nothing may be awaited while it lives.
    pub fn guards(&self) -> ShardGuards<'_> {
        self.guards_for(0)
    }

    /// The same on behalf of a client, whom those who watch keys are told of.
    pub fn guards_for(&self, actor: u64) -> ShardGuards<'_> {
        ShardGuards::new(self, actor)
    }

    /// One bounded step of a shard's background work: whether there is more to do right now, as `step` says, and for how long
    /// the shard was locked. Nothing is done while a script has it.
    pub fn tend(&self, shard: usize, step: impl FnOnce(&mut Shard) -> Tick) -> (bool, Duration) {
        let Ok(mut guard) = self.lock(shard, 0) else { return (false, Duration::ZERO) };
        let begun = clock::tick();
        (step(&mut guard).more, begun.elapsed())
    }

    /// What the shards hold of memory, asked one after the other: nobody waits for more than one, or for a script.
    pub fn used_bytes(&self) -> Result<u64, Busy> {
        (0..self.shards.len()).map(|shard| Ok(self.lock(shard, 0)?.used_bytes())).sum()
    }

    /// Since when a script has held the shard; 0 when none does.
    pub(super) fn script_since(&self, shard: usize) -> UnixMillis {
        self.shards[shard].script_since.load(Relaxed)
    }

    pub(super) fn mark_script(&self, shard: usize, since: UnixMillis) {
        self.shards[shard].script_since.store(since, Relaxed);
    }

    /// Waits while others pass through, and for scripts as long as each is short; not for one that goes on.
    #[inline]
    pub(super) fn lock(&self, shard: usize, actor: u64) -> Result<Guard<'_>, Busy> {
        let mut guard = match self.shards[shard].shard.try_lock() {
            Some(guard) => guard,
            None => self.wait(shard)?,
        };
        guard.act_for(actor);
        Ok(guard)
    }

    /// In the lock's queue, whose turns are fair within half a millisecond: scripts that follow each other closely, each of
    /// them short, do not keep others out.
    #[cold]
    fn wait(&self, shard: usize) -> Result<Guard<'_>, Busy> {
        let slot = &self.shards[shard];
        slot.contended.fetch_add(1, Relaxed);
        let mut seen = 0;
        loop {
            let since = slot.script_since.load(Relaxed);
            let is_long = clock::now().saturating_sub(since) >= limits::SCRIPT_WAIT_MS;
            // Where the clock was set back no script is ever long, but it is the same at the second look.
            if since != 0 && (is_long || since == seen) {
                return Err(Busy { since });
            }
            seen = since;
            if let Some(guard) = slot.shard.try_lock_for(Duration::from_millis(limits::SCRIPT_WAIT_MS)) {
                return Ok(guard);
            }
        }
    }
}

impl Slot {
    fn new(shard: Shard) -> Slot {
        Slot { shard: Mutex::new(shard), script_since: AtomicU64::new(0), contended: AtomicU64::new(0) }
    }
}
