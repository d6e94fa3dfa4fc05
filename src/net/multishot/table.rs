//! One core's connections by number, for completions to find them: a slot, and how often it has been used before.

/// Names one connection. A late completion of one that is gone finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub slot: u32,
    /// Below `GENERATIONS`.
    pub generation: u32,
}

impl Key {
    /// So often is a slot used before its keys come again.
    pub const GENERATIONS: u32 = 1 << 24;

    /// In 56 bits.
    pub fn bits(self) -> u64 {
        (self.generation as u64) << 32 | self.slot as u64
    }

    pub fn of(bits: u64) -> Key {
        Key { slot: bits as u32, generation: (bits >> 32) as u32 % Key::GENERATIONS }
    }
}

pub struct Table<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    /// Boxed: slots are reused and never given back, and are to be small.
    entry: Option<Box<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    /// Enters what `make` makes for its key.
    pub fn enter(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, entry: None });
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        let key = Key { slot, generation: place.generation };
        place.entry = Some(Box::new(make(key)));
        key
    }

    #[inline]
    pub fn get(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        slot.entry.as_deref_mut()
    }

    pub fn remove(&mut self, key: Key) {
        if self.get(key).is_some() {
            let slot = &mut self.slots[key.slot as usize];
            slot.entry = None;
            slot.generation = (slot.generation + 1) % Key::GENERATIONS;
            self.free.push(key.slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_one_that_is_gone_finds_nobody() {
        let mut table = Table::default();
        let (one, two) = (table.enter(|_| 1), table.enter(|_| 2));
        table.remove(one);
        table.remove(one);
        assert_eq!(table.get(one), None);
        let three = table.enter(|key| key.generation as i32 + 2);
        assert_eq!(three.slot, one.slot);
        assert_eq!(
            (table.get(one).copied(), table.get(two).copied(), table.get(three).copied()),
            (None, Some(2), Some(3))
        );
        assert_eq!(Key::of(three.bits()), three);
        assert_eq!(table.get(Key { slot: 99, generation: 0 }), None);
    }
}
