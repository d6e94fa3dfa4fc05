//! What an item may have beside its value: flags, a version, marks. It must not know what clients make of them.
//!
//! A version is given when somebody asks for it and goes with the value that it was given for, so what nobody asks for costs
//! nothing, and no two values of a key ever have the same one: a shard gives each number once, beginning with the time in
//! microseconds, so that no number of an earlier process comes again.

use super::heap::Loc;
use super::item::Fields;
use super::{Expiry, Extra, Found, Key, NewValue, SetError, Shard, UnixMillis};

impl Shard {
    /// As `get`, with what the item has beside its value.
    #[inline]
    pub fn get_with_extra(&mut self, key: Key, now: UnixMillis) -> Option<Found<'_>> {
        let Some(loc) = self.find_live(key, now) else {
            self.order.missed(key.tag());
            return None;
        };
        let was_read = self.heap.shape(loc).is_read();
        self.touch(loc, now);
        self.note_read(loc);
        Some(Found { was_read, ..self.found(loc) })
    }

    /// As `peek`, with what the item has beside its value.
    pub fn peek_with_extra(&self, key: Key, now: UnixMillis) -> Option<Found<'_>> {
        Some(self.found(self.peek_live(key, now)?))
    }

    fn found(&self, loc: Loc) -> Found<'_> {
        Found { entry: self.entry(loc), extra: self.heap.extra(loc), was_read: self.heap.shape(loc).is_read() }
    }

    /// The version of a value, which is given now if it has none; none if it is not there.
    pub fn version(&mut self, key: Key, now: UnixMillis) -> Option<u64> {
        let loc = self.find_live(key, now)?;
        let extra = self.heap.extra(loc);
        if extra.version != 0 {
            return Some(extra.version);
        }
        let version = self.next_version(now);
        self.put_extra(loc, &Extra { version, ..extra }, now).map(|_| version)
    }

    /// A version that no value has had.
    pub fn next_version(&mut self, now: UnixMillis) -> u64 {
        self.version = if self.version == 0 { (now * 1000).max(1) } else { self.version + 1 };
        self.version
    }

    /// Whether a version may have been given: of those that clients think of themselves nobody knows.
    pub fn has_given(&self, version: u64) -> bool {
        version <= self.version
    }

    /// As `set`, with what the item has beside its value.
    pub fn set_with_extra(
        &mut self,
        key: Key,
        value: NewValue<'_>,
        expiry: Expiry,
        extra: Extra,
        now: UnixMillis,
    ) -> Result<(), SetError> {
        let old = self.find_live(key, now);
        self.write::<false>(old, key, value, (expiry, extra), now)
    }

    /// As `set`, with a value that was made of the present one: its flags stay.
    pub fn replace_value(
        &mut self,
        key: Key,
        value: NewValue<'_>,
        expiry: Expiry,
        now: UnixMillis,
    ) -> Result<(), SetError> {
        let old = self.find_live(key, now);
        let extra = self.kept_extra(old);
        self.write::<false>(old, key, value, (expiry, extra), now)
    }

    /// Changes what an item has beside its value; false if it is not there.
    pub fn change_extra(&mut self, key: Key, now: UnixMillis, change: impl FnOnce(&mut Extra)) -> bool {
        let Some(loc) = self.find_live(key, now) else { return false };
        let mut extra = self.heap.extra(loc);
        change(&mut extra);
        self.put_extra(loc, &extra, now);
        true
    }

    /// What stays when the value changes.
    #[inline]
    pub(super) fn kept_extra(&self, old: Option<Loc>) -> Extra {
        let flags = old.map_or(0, |loc| self.heap.flags(loc, self.heap.shape(loc)));
        Extra { flags, ..Extra::NONE }
    }

    /// The value has been changed where it lies.
    pub(super) fn forget_version(&mut self, loc: Loc) {
        if self.heap.shape(loc).is_versioned() {
            self.heap.set_extra(loc, &self.kept_extra(Some(loc)));
        }
    }

    #[inline]
    pub(super) fn note_read(&mut self, loc: Loc) {
        let shape = self.heap.shape(loc);
        if !shape.is_read() {
            self.heap.set_shape(loc, shape.read());
        }
    }

    /// Where the item lies then. None when no memory is to be had for more than it had: then the item is gone.
    fn put_extra(&mut self, mut loc: Loc, extra: &Extra, now: UnixMillis) -> Option<Loc> {
        let shape = self.heap.shape(loc);
        let fields = shape.fields().and(Fields::of(shape.expires(), extra));
        if fields != shape.fields() {
            let expires_at = self.heap.expires_at(loc);
            loc = self.reshape(loc, fields)?;
            if let Some(at) = expires_at {
                self.start_timer(loc, at, now);
            }
        }
        self.heap.set_extra(loc, extra);
        // Beyond the limit for a moment rather than refused: the next command that writes pays, or the next tick.
        Some(loc)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Policy;
    use super::super::testing::{NOW, key};
    use super::*;

    const BYTES: [u8; 8] = 1u64.to_le_bytes();
    const FULL: Extra = Extra { flags: u32::MAX, version: 7, is_stale: true, is_claimed: true };

    fn shard() -> Shard {
        Shard::new(64 << 20, Policy::AllKeysS3Fifo)
    }

    fn extra(shard: &Shard) -> Extra {
        shard.peek_with_extra(key(&BYTES), NOW).unwrap().extra
    }

    #[test]
    fn what_is_given_is_kept_by_items_of_every_shape() {
        for length in [0, 1, 100, 5_000, 16_300, 16_384, 100_000] {
            for expiry in [Expiry::Never, Expiry::At(NOW + 1000)] {
                for given in [Extra::NONE, Extra { flags: 1, ..Extra::NONE }, Extra { version: 1, ..Extra::NONE }, FULL]
                {
                    let (mut shard, value) = (shard(), vec![7; length]);
                    shard.set_with_extra(key(&BYTES), NewValue::Copied(&value), expiry, given, NOW).unwrap();
                    assert_eq!(extra(&shard), given);
                    shard.set_expiry(key(&BYTES), None, NOW);
                    shard.set_expiry(key(&BYTES), Some(NOW + 5000), NOW);
                    assert!(shard.change_extra(key(&BYTES), NOW, |extra| *extra = FULL));
                    let found = shard.peek_with_extra(key(&BYTES), NOW).unwrap();
                    assert!(found.entry.value.as_slice() == value && found.extra == FULL);
                    assert_eq!(found.entry.expires_at, Some(NOW + 5000));
                    shard.change_extra(key(&BYTES), NOW, |extra| *extra = given);
                    assert_eq!(extra(&shard), given);
                    shard.put(1, length, expiry).unwrap();
                    assert_eq!(extra(&shard), Extra::NONE);
                }
            }
        }
    }

    #[test]
    fn a_version_is_of_one_value() {
        let mut shard = shard();
        assert_eq!(shard.version(key(&BYTES), NOW), None);
        let mut seen = Vec::new();
        for length in [5, 5, 3, 100_000, 100_000, 5] {
            shard.put(1, length, Expiry::Never).unwrap();
            let version = shard.version(key(&BYTES), NOW).unwrap();
            assert_eq!(shard.version(key(&BYTES), NOW), Some(version));
            assert!(seen.iter().all(|before| *before < version));
            shard.set_expiry(key(&BYTES), Some(NOW + 1000), NOW);
            assert_eq!(extra(&shard).version, version);
            seen.push(version);
            shard.change_extra(key(&BYTES), NOW, |extra| extra.flags = 3);
            shard.replace_value(key(&BYTES), NewValue::Copied(&vec![1; length]), Expiry::Keep, NOW).unwrap();
            assert_eq!(extra(&shard), Extra { flags: 3, ..Extra::NONE });
            shard.version(key(&BYTES), NOW);
            let updated = shard.update(key(&BYTES), NOW, |_| Ok::<_, ()>(NewValue::Copied(b"12")));
            assert_eq!(updated, Ok(Ok(())));
            assert_eq!(extra(&shard), Extra { flags: 3, ..Extra::NONE });
        }
        shard.put(1, 100_000, Expiry::Never).unwrap();
        let version = shard.version(key(&BYTES), NOW).unwrap();
        shard.edit(key(&BYTES), 0, NOW, |value| value[0] = 9).unwrap();
        assert!(shard.version(key(&BYTES), NOW).unwrap() > version);
    }

    #[test]
    fn it_is_known_whether_a_value_was_read() {
        let mut shard = shard();
        for length in [5, 5, 100_000] {
            shard.put(1, length, Expiry::Never).unwrap();
            assert!(!shard.peek_with_extra(key(&BYTES), NOW).unwrap().was_read);
            assert!(!shard.get_with_extra(key(&BYTES), NOW).unwrap().was_read);
            shard.version(key(&BYTES), NOW);
            assert!(shard.get_with_extra(key(&BYTES), NOW).unwrap().was_read);
        }
    }

    #[test]
    fn it_costs_what_it_takes_and_others_nothing() {
        let cost = |given: Extra| {
            let mut shard = shard();
            shard.set_with_extra(key(&BYTES), NewValue::Copied(&[1; 16]), Expiry::Never, given, NOW).unwrap();
            shard.memory_usage(key(&BYTES), NOW).unwrap()
        };
        let plain = cost(Extra::NONE);
        assert_eq!(cost(Extra { flags: 1, ..Extra::NONE }), plain + 4);
        assert_eq!(cost(Extra { version: 1, ..Extra::NONE }), plain + 12);
        assert_eq!(cost(FULL), plain + 16);
    }

    #[test]
    fn long_keys_and_short_values() {
        let mut shard = shard();
        for length in [2_047, 2_048, 4_000, 20_000] {
            let bytes = vec![b'k'; length];
            let key = Key { bytes: &bytes, hash: 1 << 40, db: 0 };
            for value in [&b""[..], b"1", b"12345"] {
                shard.set_with_extra(key, NewValue::Copied(value), Expiry::Never, FULL, NOW).unwrap();
                assert_eq!(shard.get(key, NOW).unwrap().value.as_slice(), value);
            }
            assert!(shard.delete(key, NOW));
        }
        assert_eq!(shard.stats().dataset_bytes, 0);
    }
}
