//! The shards' locks during one turn: the only way to a shard, and one way to wait for it. It must not know commands.
//!
//! No lock is waited for while another one is held, except several together in the order of the shards: two turns never
//! wait for each other. Nobody waits for a script, which may hold its shards for long: whoever meets one is told `Busy`.

use std::time::{Duration, Instant};

use super::hot::{Copy, HotCache, Seen};
use super::keyspace::{Guard, Keyspace};
use super::shard::{DATABASES, GHOST_MEMORY, Key, Shard, ShardStats};
use crate::base::clock::{self, UnixMillis};
use crate::config::Policy;

/// A script on another core holds a shard.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    pub since: UnixMillis,
}

/// Keys of one command whose memory is fetched ahead at a time.
const KEYS_AHEAD: usize = 16;

/// What one turn has locked: one shard, which is kept for the run of commands on it, or several together.
pub struct ShardGuards<'k> {
    keyspace: &'k Keyspace,
    actor: u64,
    /// One shard, for the keys that come one by one.
    last: Option<(usize, Guard<'k>)>,
    /// Several shards, by their number; empty unless they are locked together.
    together: Vec<Option<Guard<'k>>>,
    /// What is locked stays so, and nothing is locked beside it.
    sealed: bool,
    hold: Hold,
    /// What the core has copies of.
    hot: Option<&'k mut HotCache>,
}

/// For how long something is locked, for who asks.
#[derive(Default)]
struct Hold {
    is_timed: bool,
    since: Option<Instant>,
    longest: Duration,
}

impl Hold {
    #[inline]
    fn begins(&mut self) {
        if self.is_timed {
            self.note_begin();
        }
    }

    #[inline]
    fn ends(&mut self) {
        if self.is_timed {
            self.note_end();
        }
    }

    #[cold]
    fn note_begin(&mut self) {
        self.since = Some(clock::tick());
    }

    #[cold]
    fn note_end(&mut self) {
        if let Some(since) = self.since.take() {
            self.longest = self.longest.max(since.elapsed());
        }
    }
}

impl<'k> ShardGuards<'k> {
    pub(super) fn new(keyspace: &'k Keyspace, actor: u64) -> ShardGuards<'k> {
        ShardGuards {
            keyspace,
            actor,
            last: None,
            together: Vec::new(),
            sealed: false,
            hold: Hold::default(),
            hot: None,
        }
    }

    /// With the core's own copies, if it keeps any.
    pub fn with_hot(self, hot: Option<&'k mut HotCache>) -> ShardGuards<'k> {
        ShardGuards { hot: hot.filter(|hot| hot.is_on()), ..self }
    }

    /// A key is about to be read: how it stands with the core's copies.
    #[inline]
    pub fn see(&mut self, hash: u64, database: u8) -> Seen {
        self.hot.as_mut().map_or(Seen::Cold, |hot| hot.see(hash, database))
    }

    /// Reads a value from the core's copies, without a lock: `answer` gets it if there is one. `counts`: it counts as a use.
    pub fn read_copy(&mut self, key: &Key, now: UnixMillis, counts: bool, answer: impl FnOnce(&[u8])) -> Copy {
        let Some(hot) = &mut self.hot else { return Copy::None };
        let copy = hot.read(self.keyspace.versions(key.hash), key, now, counts, answer);
        if copy == Copy::Right {
            // Nobody waits for what the commands before it have locked.
            self.release();
        }
        copy
    }

    /// Copies a value that has just been read, if its shard is locked still.
    #[cold]
    pub fn make_copy(&mut self, key: &Key, now: UnixMillis) {
        let wanted = self.keyspace.shard_of(key.hash);
        if let (Some(hot), Some((shard, guard))) = (&mut self.hot, &mut self.last)
            && *shard == wanted
        {
            hot.copy(guard, key, now);
        }
    }

    pub fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    /// Locks the shard of `hash`.
    ///
    /// # Panics
    /// Like every method that locks: where `seal` has locked other shards.
    #[inline]
    pub fn lock(&mut self, hash: u64) -> Result<&mut Shard, Busy> {
        self.lock_number(self.keyspace.shard_of(hash))
    }

    /// Locks the shard of a number: for walks over all of them.
    #[inline]
    pub fn lock_number(&mut self, shard: usize) -> Result<&mut Shard, Busy> {
        if !self.has(shard) {
            self.let_go();
            self.last = Some((shard, self.keyspace.lock(shard, self.actor)?));
            self.hold.begins();
        }
        Ok(self.number(shard))
    }

    /// Locks the shards of all these hashes together.
    pub fn lock_keys(&mut self, hashes: impl Iterator<Item = u64> + Clone) -> Result<(), Busy> {
        let mut shards = hashes.map(|hash| self.keyspace.shard_of(hash));
        let Some(first) = shards.next() else {
            self.release();
            return Ok(());
        };
        if self.has(first) && shards.clone().all(|shard| self.has(shard)) {
            return Ok(());
        }
        if shards.clone().all(|shard| shard == first) {
            return self.lock_number(first).map(|_| ());
        }
        let mut wanted = vec![false; self.keyspace.shards()];
        wanted[first] = true;
        shards.for_each(|shard| wanted[shard] = true);
        self.lock_wanted(|shard| wanted[shard])
    }

    /// Locks all shards together.
    pub fn lock_all(&mut self) -> Result<AllShards<'_, 'k>, Busy> {
        if !(0..self.keyspace.shards()).all(|shard| self.has(shard)) {
            self.lock_wanted(|_| true)?;
        }
        Ok(AllShards { guards: self })
    }

    /// Locks as `lock_keys` does, until `unseal`: every command in between must keep to these shards, and is one step with
    /// the others for everybody else.
    pub fn seal(&mut self, hashes: impl Iterator<Item = u64> + Clone) -> Result<(), Busy> {
        self.lock_keys(hashes)?;
        self.sealed = true;
        Ok(())
    }

    /// The same with all shards.
    pub fn seal_all(&mut self) -> Result<(), Busy> {
        self.lock_all()?.keep();
        self.sealed = true;
        Ok(())
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    pub fn unseal(&mut self) {
        self.sealed = false;
        self.hold.ends();
        self.together.clear();
    }

    /// The shard of `hash`, which has been locked: by the command's row, or by `seal`.
    ///
    /// # Panics
    /// If it has not: there is no lock to fall back on that would wait for a script.
    #[inline]
    pub fn shard(&mut self, hash: u64) -> &mut Shard {
        self.number(self.keyspace.shard_of(hash))
    }

    #[inline]
    fn number(&mut self, wanted: usize) -> &mut Shard {
        match &mut self.last {
            Some((shard, guard)) if *shard == wanted => guard,
            _ => self.together.get_mut(wanted).and_then(Option::as_mut).expect("a shard is locked before it is used"),
        }
    }

    /// Does something with each item in its key's shard, in order; the shards have been locked. The memory of some is
    /// fetched ahead at a time, so that their cache misses overlap.
    pub fn with_keys<T, E>(
        &mut self,
        mut items: impl Iterator<Item = T>,
        key_of: impl Fn(&T) -> Key,
        mut act: impl FnMut(&mut Shard, T) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ahead = Vec::with_capacity(KEYS_AHEAD);
        loop {
            ahead.extend(items.by_ref().take(KEYS_AHEAD));
            let Some(first) = ahead.first() else { return Ok(()) };
            self.prefetch(key_of(first).db, ahead.iter().map(|item| key_of(item).hash));
            for item in ahead.drain(..) {
                act(self.shard(key_of(&item).hash), item)?;
            }
        }
    }

    /// Starts fetching what look-ups of these hashes will touch, one shard after the other.
    pub fn prefetch(&mut self, database: u8, hashes: impl Iterator<Item = u64> + Clone) {
        let keyspace = self.keyspace;
        let shards = hashes.clone().map(|hash| keyspace.shard_of(hash));
        for (at, (hash, shard)) in hashes.clone().zip(shards.clone()).enumerate() {
            if shards.clone().take(at).all(|before| before != shard) {
                let own = hashes.clone().filter(|hash| keyspace.shard_of(*hash) == shard);
                // Where a script holds the shard there is nothing to be gained.
                if let Ok(shard) = self.lock(hash) {
                    shard.prefetch(database, own);
                }
            }
        }
    }

    /// Lets other cores have what is locked, unless it is sealed.
    pub fn release(&mut self) {
        if !self.sealed {
            self.hold.ends();
            self.last = None;
            self.together.clear();
        }
    }

    /// Begins to look at how long something is locked: from now on where it is already.
    pub fn time_holds(&mut self) {
        self.hold = Hold { is_timed: true, ..Hold::default() };
        if self.is_locked() {
            self.hold.begins();
        }
    }

    /// Ends that, and lets go; for how long something was locked at most.
    pub fn longest_hold(&mut self) -> Duration {
        self.release();
        std::mem::take(&mut self.hold).longest
    }

    /// Something is locked.
    pub fn is_locked(&self) -> bool {
        self.last.is_some() || !self.together.is_empty()
    }

    /// A command that locked several shards is done; a single one is kept for the next.
    #[inline]
    pub fn release_several(&mut self) {
        if !self.sealed && !self.together.is_empty() {
            self.hold.ends();
            self.together.clear();
        }
    }

    /// Whether a script on another core holds any shard.
    pub fn check_scripts(&self) -> Result<(), Busy> {
        match (0..self.keyspace.shards()).find(|shard| self.keyspace.script_since(*shard) != 0 && !self.has(*shard)) {
            Some(shard) => Err(Busy { since: self.keyspace.script_since(shard) }),
            None => Ok(()),
        }
    }

    /// Tells others that a script runs on what is locked: they do not wait for it.
    pub fn begin_script(&mut self) {
        self.mark(clock::now().max(1));
    }

    pub fn end_script(&mut self) {
        self.mark(0);
    }

    fn mark(&self, since: UnixMillis) {
        let own = (0..self.keyspace.shards()).filter(|shard| self.has(*shard));
        own.for_each(|shard| self.keyspace.mark_script(shard, since));
    }

    fn lock_wanted(&mut self, wanted: impl Fn(usize) -> bool) -> Result<(), Busy> {
        self.let_go();
        let lock = |shard| wanted(shard).then(|| self.keyspace.lock(shard, self.actor)).transpose();
        self.together = (0..self.keyspace.shards()).map(lock).collect::<Result<_, _>>()?;
        self.hold.begins();
        Ok(())
    }

    /// Before something else is locked.
    #[inline]
    fn let_go(&mut self) {
        assert!(!self.sealed, "what a sealed run may touch has been locked before");
        self.hold.ends();
        self.last = None;
        self.together.clear();
    }

    #[inline]
    fn has(&self, shard: usize) -> bool {
        matches!(&self.last, Some((locked, _)) if *locked == shard) || matches!(self.together.get(shard), Some(Some(_)))
    }
}

/// All shards, locked together: what is done between is one step for everybody else.
pub struct AllShards<'g, 'k> {
    guards: &'g mut ShardGuards<'k>,
}

impl AllShards<'_, '_> {
    /// Visits the shards in order.
    pub fn each(&mut self, mut visit: impl FnMut(&mut Shard)) {
        for shard in 0..self.guards.keyspace.shards() {
            visit(self.guards.number(shard));
        }
    }

    /// CONFIG RESETSTAT: what was evicted and what expired is counted from now on.
    pub fn reset_counts(&mut self) {
        self.guards.keyspace.reset_contended();
        self.each(|shard| shard.reset_counts());
    }

    /// The totals over all shards.
    pub fn totals(&mut self) -> Totals {
        let mut totals = Totals::default();
        let mut ages = 0;
        self.each(|shard| {
            for (database, (items, expiring)) in totals.databases.iter_mut().enumerate() {
                let own = shard.len_of(database as u8);
                *items += own.0;
                *expiring += own.1;
                totals.expiry_sums[database] += shard.expiry_sum_of(database as u8);
            }
            let stats = shard.stats();
            let ShardStats { evicted, expired, eviction_age_millis, used_bytes, dataset_bytes, watches_bytes, .. } =
                stats;
            totals.ghost_hits = std::array::from_fn(|at| totals.ghost_hits[at] + stats.ghost_hits[at]);
            totals.watches_bytes += watches_bytes;
            totals.used_bytes += used_bytes;
            totals.dataset_bytes += dataset_bytes;
            totals.evicted += evicted;
            totals.expired += expired;
            totals.expired_unasked += stats.expired_unasked;
            totals.tracked_keys += stats.tracked_keys;
            totals.tracked += stats.tracked;
            // Every shard has them.
            totals.prefixes = totals.prefixes.max(stats.prefixes);
            ages += evicted as u128 * eviction_age_millis as u128;
        });
        totals.eviction_age_millis = ages.checked_div(totals.evicted as u128).unwrap_or(0) as u64;
        totals
    }

    /// A key of a database picked at random; none if nothing is there.
    pub fn random_key(&mut self, database: u8, now: UnixMillis) -> Option<Vec<u8>> {
        // The keys of a fresh hasher are the process's randomness.
        let random = ahash::RandomState::new().hash_one(now);
        let mut items = Vec::new();
        self.each(|shard| items.push(shard.len_of(database).0 as u64));
        let mut place = random.checked_rem(items.iter().sum())?;
        let chosen = items.iter().position(|&items| {
            let is_here = place < items;
            place = place.saturating_sub(items);
            is_here
        })?;
        // The others come in only if the chosen one has nothing but items past their time.
        (chosen..items.len())
            .chain(0..chosen)
            .find_map(|number| self.guards.number(number).random_key(database, now).map(<[u8]>::to_vec))
    }

    /// `data_bytes`: what all shards together may hold from now on.
    pub fn set_limit(&mut self, data_bytes: usize) {
        let share = (data_bytes / self.guards.keyspace.shards()) as u64;
        self.each(|shard| shard.set_limit(share));
    }

    pub fn set_policy(&mut self, policy: Policy) {
        self.each(|shard| shard.set_policy(policy));
    }

    /// Leaves them locked.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for AllShards<'_, '_> {
    fn drop(&mut self) {
        self.guards.release_several();
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
    /// What is kept of keys that are watched or tracked, and of prefixes.
    pub watches_bytes: u64,
    pub evicted: u64,
    pub expired: u64,
    pub expired_unasked: u64,
    pub tracked_keys: u64,
    pub tracked: u64,
    pub prefixes: u64,
    /// See `ShardStats`.
    pub ghost_hits: [u64; GHOST_MEMORY.len()],
    /// How long what was evicted of late had been idle: the shards' figures, each by its part of the evictions.
    pub eviction_age_millis: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::shard::{Expiry, NewValue};

    fn keyspace() -> Keyspace {
        Keyspace::new(4, 64 << 20, Policy::AllKeysLru)
    }

    #[test]
    fn several_shards_are_locked_together() {
        let keyspace = keyspace();
        let mut guards = keyspace.guards();
        let keys: Vec<_> = (0..32).map(|n| format!("key:{n}")).collect();
        let hashes: Vec<_> = keys.iter().map(|key| keyspace.hash(key.as_bytes())).collect();
        guards.lock_keys(hashes.iter().copied()).unwrap();
        for (key, &hash) in keys.iter().zip(&hashes) {
            let key = Key { bytes: key.as_bytes(), hash, db: 0 };
            guards.shard(hash).set(key, NewValue::Copied(b"v"), Expiry::Never, 0).unwrap();
        }
        drop(guards);
        assert_eq!(keyspace.guards().lock_all().unwrap().totals().databases[0].0, 32);
        let spread: std::collections::HashSet<_> = hashes.iter().map(|&hash| keyspace.shard_of(hash)).collect();
        assert_eq!(spread.len(), 4, "32 keys meet all 4 shards");
        keyspace.guards().lock_all().unwrap().each(Shard::clear);
        assert_eq!(keyspace.guards().lock_all().unwrap().totals().databases[0].0, 0);
    }

    #[test]
    fn nobody_waits_for_a_script_whichever_way_it_locks() {
        let keyspace = keyspace();
        let (one, other) = (0, u32::MAX as u64);
        assert_ne!(keyspace.shard_of(one), keyspace.shard_of(other));
        let mut script = keyspace.guards();
        script.seal([one].into_iter()).unwrap();
        script.begin_script();
        let mut guards = keyspace.guards();
        assert!(guards.lock(one).is_err() && guards.lock_number(0).is_err());
        assert!(guards.lock_keys([other, one].into_iter()).is_err() && guards.lock_all().is_err());
        assert!(guards.seal([one].into_iter()).is_err() && guards.seal_all().is_err() && !guards.is_sealed());
        assert!(
            guards.check_scripts().is_err()
                && keyspace.used_bytes().is_err()
                && !keyspace.tend(0, |shard| shard.tick(1)).0
        );
        // What was locked on the way to the one that is busy is free again.
        assert!(keyspace.guards().lock(other).is_ok());
        script.end_script();
        script.unseal();
        drop(script);
        assert!(guards.lock_all().is_ok() && guards.check_scripts().is_ok());
    }

    #[test]
    #[should_panic(expected = "locked before it is used")]
    fn a_lock_that_was_forgotten_is_no_lock_that_waits() {
        keyspace().guards().shard(0);
    }
}
