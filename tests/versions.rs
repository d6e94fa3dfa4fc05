//! The versions that copies are checked by, in every order in which threads may see what others have written: a copy that
//! stands is never older than what the reader knows to have happened.

#[path = "../src/store/shard"]
mod shard {
    use loom::sync::atomic;
    mod versions;
    pub use versions::Versions;
}

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use shard::Versions;

const TAG: u32 = 0;

/// What threads share: the value behind its lock, and how far it is known to have come.
struct Shared {
    value: Mutex<u64>,
    versions: Versions<1>,
    /// The last change that was replied to.
    replied: AtomicU64,
}

/// What a writer tells of.
#[derive(Clone, Copy)]
enum Telling {
    One,
    All,
    Nothing,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { value: Mutex::new(0), versions: Versions::default(), replied: AtomicU64::new(0) })
    }

    fn write(&self, tells: Telling) {
        let mut value = self.value.lock().unwrap();
        *value += 1;
        match tells {
            Telling::One => self.versions.change(TAG),
            Telling::All => self.versions.change_all(),
            Telling::Nothing => {}
        }
        let written = *value;
        drop(value);
        self.replied.fetch_max(written, Ordering::Release);
    }

    /// The value and its version, under the lock.
    fn copy(&self) -> (u64, u64) {
        let value = self.value.lock().unwrap();
        (*value, self.versions.lend(TAG))
    }

    /// Reads by the copy as long as that stands, else by another.
    fn read(&self, copy: &mut (u64, u64), compares: bool) {
        let replied = self.replied.load(Ordering::Acquire);
        if compares && !self.versions.is_current(TAG, copy.1) {
            *copy = self.copy();
        }
        assert!(copy.0 >= replied, "an old value was read");
    }
}

fn explore(writers: usize, readers: usize, tells: Telling, compares: bool) {
    // Every order in which threads are interrupted twice at most: without this bound it takes many minutes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let shared = Shared::new();
        let writing = (0..writers).map(|_| {
            let shared = shared.clone();
            thread::spawn(move || shared.write(tells))
        });
        let mut threads: Vec<_> = writing.collect();
        threads.extend((1..readers).map(|_| {
            let shared = shared.clone();
            thread::spawn(move || read_twice(&shared, compares))
        }));
        read_twice(&shared, compares);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn read_twice(shared: &Shared, compares: bool) {
    let mut copy = shared.copy();
    let first = copy.0;
    shared.read(&mut copy, compares);
    shared.read(&mut copy, compares);
    assert!(copy.0 >= first, "time went back");
}

#[test]
fn a_copy_that_stands_is_no_older_than_what_was_replied() {
    explore(2, 1, Telling::One, true);
    explore(1, 2, Telling::One, true);
    explore(1, 1, Telling::All, true);
}

#[test]
#[should_panic(expected = "an old value was read")]
fn without_comparing_versions_it_is_found_out() {
    explore(1, 1, Telling::One, false);
}

#[test]
#[should_panic(expected = "an old value was read")]
fn without_telling_of_changes_it_is_found_out() {
    explore(1, 1, Telling::Nothing, true);
}
