//! Reads that are answered from the core's own copies of what is hot, without a lock. It must not know how copies are kept.

use super::{Call, Found, count_lookup};
use crate::message::error::Stop;
use crate::store::hot::{Copy, Seen};

impl Call<'_, '_> {
    /// Runs a read of one key that is hot: from a copy, or as ever, after which there is one.
    #[inline(never)]
    pub(super) fn read_hot(&mut self, found: Found) -> Result<(), Stop> {
        let key = self.key();
        if self.seen == Seen::Kept {
            let (counts, reply) = (!self.state.no_touch(), &mut *self.reply);
            match self.guards.read_copy(&key, self.now, counts, |value| reply.bulk(value)) {
                Copy::Right => {
                    self.stats.hot_hits.add(1);
                    count_lookup(self.stats, true);
                    self.ended(found, &Ok(()));
                    return Ok(());
                }
                Copy::Stale => self.stats.hot_stale.add(1),
                Copy::None => return self.execute_by(found, |call, row| (row.run)(call)),
            }
        }
        let outcome = self.execute_by(found, |call, row| (row.run)(call));
        self.guards.make_copy(&key, self.now);
        outcome
    }
}
