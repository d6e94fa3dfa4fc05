//! Prefixes of keys, and who watches each: what a key begins with is found in a few look-ups, however many there are. It
//! must not know what a watcher does.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;

use super::watch::Watcher;

#[derive(Default)]
pub struct Prefixes {
    watchers: BTreeMap<Box<[u8]>, Vec<Arc<dyn Watcher>>>,
    /// Watchers, those of one prefix each by itself.
    len: usize,
}

impl Prefixes {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn add(&mut self, prefix: &[u8], watcher: &Arc<dyn Watcher>) {
        self.len += 1;
        match self.watchers.get_mut(prefix) {
            Some(watchers) => watchers.push(watcher.clone()),
            None => drop(self.watchers.insert(prefix.into(), vec![watcher.clone()])),
        }
    }

    /// Forgets those of one prefix's watchers of which `is_gone` says so.
    pub fn remove(&mut self, prefix: &[u8], is_gone: impl Fn(&Arc<dyn Watcher>) -> bool) {
        let Some(watchers) = self.watchers.get_mut(prefix) else { return };
        let before = watchers.len();
        watchers.retain(|watcher| !is_gone(watcher));
        self.len -= before - watchers.len();
        if watchers.is_empty() {
            self.watchers.remove(prefix);
        }
    }

    fn up_to(&self, last: &[u8]) -> Range<'_, Box<[u8]>, Vec<Arc<dyn Watcher>>> {
        self.watchers.range::<[u8], _>((Bound::Unbounded, Bound::Included(last)))
    }

    /// The watchers of every prefix that the key begins with, the longest first.
    pub fn of<'p>(&'p self, key: &'p [u8]) -> impl Iterator<Item = (&'p [u8], &'p [Arc<dyn Watcher>])> {
        // What is not greater than the key and comes last is a prefix of it, or has less in common with it than those before:
        // only what the two have in common can be.
        let mut bound = Some(key);
        std::iter::from_fn(move || {
            while let Some(beginning) = bound {
                let (last, watchers) = self.up_to(beginning).next_back()?;
                let common = last.iter().zip(key).take_while(|(one, other)| one == other).count();
                if common < last.len() {
                    bound = Some(&key[..common]);
                    continue;
                }
                bound = common.checked_sub(1).map(|shorter| &key[..shorter]);
                return Some((&**last, &watchers[..]));
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Nobody;

    impl Watcher for Nobody {
        fn changed(&self, _: &[u8], _: u64) {}
        fn emptied(&self) {}
    }

    fn prefixes_of(prefixes: &Prefixes, key: &[u8]) -> Vec<Vec<u8>> {
        prefixes.of(key).map(|(prefix, _)| prefix.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn all_that_a_key_begins_with_and_nothing_else_is_found(
            all in prop::collection::vec(prop::collection::vec(0..3u8, 0..6), 0..40),
            key in prop::collection::vec(0..3u8, 0..8),
        ) {
            let watcher: Arc<dyn Watcher> = Arc::new(Nobody);
            let mut prefixes = Prefixes::default();
            all.iter().for_each(|prefix| prefixes.add(prefix, &watcher));
            prop_assert_eq!(prefixes.len(), all.len());
            let mut expected: Vec<_> = all.iter().filter(|prefix| key.starts_with(prefix)).cloned().collect();
            expected.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
            expected.dedup();
            prop_assert_eq!(prefixes_of(&prefixes, &key), expected);
            all.iter().for_each(|prefix| prefixes.remove(prefix, |_| true));
            prop_assert!(prefixes.is_empty() && prefixes_of(&prefixes, &key).is_empty());
        }
    }
}
