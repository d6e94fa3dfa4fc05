//! What nobody uses of the client memory is lent to whoever has a use for it, and comes back when connections need it. It
//! must not know who borrows.
//!
//! Replies find their room before they are made: they wait in line until what is lent has come back. Requests are charged as
//! they arrive, up to the limit; while they hold what is lent, connections that are amid one receive no more (`is_recalled`).

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use super::memory::ClientMemory;
use crate::config::limits;

#[derive(Debug, Default)]
pub(super) struct Loans {
    lent: AtomicUsize,
    /// What connections have used at most of late.
    peak: AtomicUsize,
    /// What scripts have of the memory, most of it for the time that they run, and the most that they have had.
    by_scripts: AtomicUsize,
    scripts_peak: AtomicUsize,
}

impl ClientMemory {
    /// What is lent, or has not come back yet.
    pub fn lent_bytes(&self) -> usize {
        self.loans.lent.load(SeqCst)
    }

    /// What is lent and connections must wait for. What scripts are granted they seldom use, and a shard that a script has
    /// gives nothing back until it ends: that may be lent at the same time, until the shards have made room for it.
    pub(super) fn withheld_bytes(&self) -> usize {
        self.lent_bytes().saturating_sub(self.loans.by_scripts.load(SeqCst))
    }

    /// How much may be lent: a little stays free beyond what was used at most of late, and from the first script on what
    /// scripts may have.
    pub fn lendable_bytes(&self) -> usize {
        let peak = self.loans.peak.load(SeqCst).max(self.used_by_connections());
        let free = (self.limit_bytes() / limits::CLIENT_MEMORY_FREE_SHARE).max(limits::CLIENT_MEMORY_FREE_MIN_BYTES);
        self.limit_bytes().saturating_sub(free + peak + peak / 4 + self.loans.scripts_peak.load(SeqCst))
    }

    /// More is lent than may be: it is on its way back.
    pub fn is_owed(&self) -> bool {
        let lent = self.lent_bytes();
        lent > 0 && lent > self.lendable_bytes()
    }

    /// Lends so much more; false, and nothing, when it is used or waited for.
    pub fn lend(&self, bytes: usize) -> bool {
        if self.is_waited_for() {
            return false;
        }
        // Whoever charges adds first and looks then, as this does: one of the two sees the other.
        let lent = self.loans.lent.fetch_add(bytes, SeqCst) + bytes;
        let is_free = self.used_bytes() + lent <= self.limit_bytes();
        if !is_free {
            self.loans.lent.fetch_sub(bytes, SeqCst);
        }
        is_free
    }

    /// So much has come back: it is for those who wait.
    pub fn take_back(&self, bytes: usize) {
        if bytes > 0 {
            self.loans.lent.fetch_sub(bytes, SeqCst);
            self.serve_line();
        }
    }

    /// More is used than there is beside what is lent.
    pub fn is_recalled(&self) -> bool {
        let withheld = self.withheld_bytes();
        withheld > 0 && self.used_bytes() + withheld > self.limit_bytes()
    }

    /// Connections have charged something that may have been lent.
    pub(super) fn note_use(&self) {
        self.loans.peak.fetch_max(self.used_by_connections(), SeqCst);
    }

    /// Scripts have so much more of the memory, or less.
    pub(super) fn note_scripts(&self, bytes: isize) {
        let before = self.loans.by_scripts.fetch_add(bytes as usize, SeqCst);
        self.loans.scripts_peak.fetch_max(before.wrapping_add(bytes as usize), SeqCst);
    }

    /// Twice a second: what was used at most is forgotten slowly, by half in ten seconds.
    pub fn forget_use(&self) {
        let peak = self.loans.peak.load(SeqCst);
        self.loans.peak.store(self.used_by_connections().max(peak - peak / 32), SeqCst);
    }

    fn used_by_connections(&self) -> usize {
        self.used_bytes().saturating_sub(self.loans.by_scripts.load(SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::enter;
    use super::super::{Clients, MemoryQuota};
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_nobody_uses_is_lent_and_comes_back_when_it_is_used() {
        let clients = Clients::new(1, 10, 32 * MIB);
        let memory = &clients.memory;
        let free = 32 * MIB / limits::CLIENT_MEMORY_FREE_SHARE;
        assert_eq!(memory.lendable_bytes(), 32 * MIB - free);
        assert!(memory.lend(memory.lendable_bytes()) && !memory.lend(free + 1) && !memory.is_recalled());
        let mut quota = MemoryQuota::new(enter(&clients));
        assert!(quota.resize(&clients, 8 * MIB) && memory.is_recalled() && memory.is_owed());
        assert_eq!(memory.lendable_bytes(), 22 * MIB - free);
        memory.take_back(8 * MIB);
        assert!(!memory.is_recalled() && memory.is_owed());
        memory.take_back(2 * MIB);
        assert!(!memory.is_owed());
        quota.resize(&clients, 0);
        // Not at once, but in the end.
        assert_eq!(memory.lendable_bytes(), 22 * MIB - free);
        (0..500).for_each(|_| memory.forget_use());
        assert!(memory.lendable_bytes() > 31 * MIB - free);
    }

    #[test]
    fn what_scripts_may_have_is_not_lent_and_keeps_nobody_waiting_meanwhile() {
        let memory = ClientMemory::new(32 * MIB);
        let free = 32 * MIB / limits::CLIENT_MEMORY_FREE_SHARE;
        assert!(memory.lend(32 * MIB - free));
        let granted = memory.take(12 * MIB, MIB).unwrap();
        assert!(!memory.is_recalled() && memory.is_owed());
        memory.change(-(granted as isize));
        assert_eq!(memory.lendable_bytes(), 32 * MIB - free - granted);
    }
}
