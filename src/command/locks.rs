//! The locks of a command: what its row names is locked before it runs, and what it asks for besides goes this way too.
//! Where a script has a shard, the command ends with `Stop::Busy` and runs again later, or is answered with BUSY.

use std::sync::atomic::Ordering::Relaxed;

use super::{Call, Command, Group, Keys};
use crate::base::clock::UnixMillis;
use crate::message::error::{self, Stop};
use crate::shared::Shared;
use crate::store::guards::{AllShards, Busy, ShardGuards};
use crate::store::shard::Shard;

impl<'k> Call<'_, 'k> {
    /// Locks what the row says that the command touches, or sees that no script has it.
    #[inline]
    pub(super) fn enter(&mut self, row: &Command) -> Result<(), Stop> {
        if self.guards.is_sealed() {
            return Ok(());
        }
        let entered = match row.keys {
            _ if row.group == Group::Scripting => return Ok(()),
            Keys::NONE if row.is_about_all_keys() => self.guards.check_scripts(),
            Keys::NONE => return Ok(()),
            Keys { first, last, .. } if first == last => self.guards.lock(self.hash).map(|_| ()),
            keys => {
                let keyspace = self.guards.keyspace();
                self.guards.lock_keys(keys.positions(self.args).map(|key| keyspace.hash(self.args.get(key))))
            }
        };
        entered.map_err(|busy| stop(self.shared, self.now, busy))
    }

    /// Locks the shard of `hash`: for a command whose row does not name the key.
    pub(super) fn shard(&mut self, hash: u64) -> Result<&mut Shard, Stop> {
        self.guards.lock(hash).map_err(|busy| stop(self.shared, self.now, busy))
    }

    /// Locks the shard of a number: for walks over all of them.
    pub(super) fn shard_number(&mut self, number: usize) -> Result<&mut Shard, Stop> {
        self.guards.lock_number(number).map_err(|busy| stop(self.shared, self.now, busy))
    }

    /// Locks all shards together, until what is returned is dropped.
    pub(super) fn all(&mut self) -> Result<AllShards<'_, 'k>, Stop> {
        lock_all(self.guards, self.shared, self.now)
    }

    /// Locks the shards of these hashes until `guards.unseal`.
    pub(super) fn seal(&mut self, hashes: impl Iterator<Item = u64> + Clone) -> Result<(), Stop> {
        self.guards.seal(hashes).map_err(|busy| stop(self.shared, self.now, busy))
    }

    /// The same with all shards.
    pub(super) fn seal_all(&mut self) -> Result<(), Stop> {
        self.guards.seal_all().map_err(|busy| stop(self.shared, self.now, busy))
    }

    /// A script calls it: the locks are taken, and nothing is there to run another.
    pub(super) fn is_within_script(&self) -> bool {
        self.scripts.is_none() && self.guards.is_sealed()
    }
}

/// As `Call::all`, for who needs the rest of the call meanwhile.
pub(super) fn lock_all<'g, 'k>(
    guards: &'g mut ShardGuards<'k>,
    shared: &Shared,
    now: UnixMillis,
) -> Result<AllShards<'g, 'k>, Stop> {
    guards.lock_all().map_err(|busy| stop(shared, now, busy))
}

/// What becomes of a request that would have to wait for a script.
#[cold]
fn stop(shared: &Shared, now: UnixMillis, busy: Busy) -> Stop {
    let threshold = shared.settings.busy_reply_threshold_ms.load(Relaxed);
    if threshold != 0 && now.saturating_sub(busy.since) >= threshold { error::BUSY.into() } else { Stop::Busy }
}
