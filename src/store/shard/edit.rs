//! Changing a large value where it lies: only what changes is touched, however long the value is. It must not know what is
//! changed.

use super::item::Shape;
use super::large::LargeItems;
use super::{Key, Shard, UnixMillis};

impl Shard {
    /// How long a value is that can be changed where it lies: a large one that nobody is reading any more. The item counts
    /// as just used, so that making room does not take it.
    pub fn editable(&mut self, key: Key, now: UnixMillis) -> Option<usize> {
        let loc = self.find_live(key, now)?;
        if !self.heap.shape(loc).is_large() {
            return None;
        }
        self.touch(loc, now);
        let value = self.large.edit(self.heap.large_id(loc), 0)?;
        Some(value.len())
    }

    /// Up to which length such a value can be changed without being copied; 0 of any other.
    pub fn room_in_place(&mut self, key: Key, now: UnixMillis) -> usize {
        let large = self.find_live(key, now).filter(|&loc| self.heap.shape(loc).is_large());
        large.map_or(0, |loc| self.large.get(self.heap.large_id(loc)).value.room())
    }

    /// Has `change` change such a value where it lies, of which at least `least` bytes are there then: zeroes behind what
    /// there was. Its time of expiry and its flags stay. For much that is added, call `make_room` first. The value's new length; none,
    /// and no change, when it cannot be done.
    pub fn edit(&mut self, key: Key, least: usize, now: UnixMillis, change: impl FnOnce(&mut [u8])) -> Option<usize> {
        let old_len = self.editable(key, now)?;
        let loc = self.find(key)?;
        let value = self.large.edit(self.heap.large_id(loc), least)?;
        change(value);
        let (key_len, len) = (key.bytes.len(), value.len());
        let old = self.heap.shape(loc);
        self.set_shape(loc, Shape::large(LargeItems::cost(key_len, len), old.fields()).marked_as(old));
        self.forget_version(loc);
        self.dataset_bytes += (len - old_len) as u64;
        self.note_change(loc);
        // Beyond the limit for a moment rather than refused: the next command pays.
        let _ = self.settle(now);
        Some(len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, key};
    use super::super::{Expiry, Policy};
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn shard(len: usize) -> Shard {
        let mut shard = Shard::new(64 * MIB as u64, Policy::AllKeysLru);
        shard.put(1, len, Expiry::At(NOW + 5000)).unwrap();
        shard
    }

    #[test]
    fn a_large_value_changes_and_grows_where_it_lies_and_is_counted() {
        let mut shard = shard(2 * MIB);
        let bytes = 1u64.to_le_bytes();
        let mut expected = vec![1; 2 * MIB];
        let before = shard.used_bytes();
        for step in 0..2000 {
            let least = if step % 2 == 0 { 0 } else { 2 * MIB + step * 100 };
            expected.resize(expected.len().max(least), 0);
            expected[step * 1000] = step as u8;
            let len = shard.edit(key(&bytes), least, NOW, |value| value[step * 1000] = step as u8);
            assert_eq!(len, Some(expected.len()));
        }
        let entry = shard.peek(key(&bytes), NOW).unwrap();
        assert!(entry.value.as_slice() == expected && entry.expires_at == Some(NOW + 5000));
        assert_eq!(shard.stats().dataset_bytes, expected.len() as u64 + 8);
        let grown = shard.used_bytes() - before;
        // What it grew out of is idle now, and is reused or given back.
        assert!(grown < 3 * MIB as u64, "{grown}");
        while shard.tick(NOW).more {}
        assert!(shard.used_bytes() - before < MIB as u64 + 300 * 1024);
        assert!(shard.delete(key(&bytes), NOW));
        while shard.tick(NOW).more {}
        assert!(shard.used_bytes() < 3 * MIB as u64, "{}", shard.used_bytes());
    }

    #[test]
    fn what_somebody_reads_and_what_is_small_is_not_changed() {
        let bytes = 1u64.to_le_bytes();
        let mut small = shard(100);
        assert_eq!(small.edit(key(&bytes), 0, NOW, |_| panic!("small")), None);
        let mut shard = shard(MIB);
        let reader = shard.peek(key(&bytes), NOW).unwrap().value.to_bytes();
        assert_eq!(shard.edit(key(&bytes), 0, NOW, |_| panic!("read")), None);
        drop(reader);
        assert_eq!(shard.edit(key(&bytes), 0, NOW, |value| value.fill(9)), Some(MIB));
        assert_eq!(shard.editable(key(&2u64.to_le_bytes()), NOW), None);
    }
}
