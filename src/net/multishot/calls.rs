//! Calls to connections of one core, from any thread: whoever pushes to a connection, or wakes it, leaves its key here and
//! wakes the core if it sleeps in its ring.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Wake, Waker};

use nix::sys::eventfd::{EfdFlags, EventFd};
use parking_lot::Mutex;

use super::table::Key;

/// Invariant: when keys are there, the core is awake or the event has been written since it went to sleep.
pub struct Calls {
    keys: Mutex<Vec<Key>>,
    has_keys: AtomicBool,
    /// The core looks here before it waits: no need to wake it.
    is_awake: AtomicBool,
    event: EventFd,
}

/// The call of one connection.
struct Call {
    key: Key,
    calls: Arc<Calls>,
}

impl Wake for Call {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.calls.keys.lock().push(self.key);
        self.calls.has_keys.store(true, SeqCst);
        self.calls.nudge();
    }
}

impl Calls {
    /// Fails when no descriptors are left.
    pub fn new() -> io::Result<Calls> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Calls { keys: Mutex::default(), has_keys: AtomicBool::new(false), is_awake: AtomicBool::new(true), event })
    }

    pub fn event(&self) -> &EventFd {
        &self.event
    }

    /// What calls the connection of this key.
    pub fn waker(self: &Arc<Self>, key: Key) -> Waker {
        Arc::new(Call { key, calls: self.clone() }).into()
    }

    /// Wakes the core if it sleeps.
    pub fn nudge(&self) {
        if !self.is_awake.swap(true, SeqCst) {
            // Its count is never read and never full: each write is a wake-up, and that is all it is for.
            let _ = self.event.write(1);
        }
    }

    /// Before the core waits: false when it must not, because there are calls.
    pub fn may_wait(&self) -> bool {
        self.is_awake.store(false, SeqCst);
        if self.has_keys.load(SeqCst) {
            self.set_awake();
            return false;
        }
        true
    }

    /// After it has waited.
    pub fn set_awake(&self) {
        self.is_awake.store(true, SeqCst);
    }

    /// Moves the keys of those who were called into `into`.
    pub fn take(&self, into: &mut Vec<Key>) {
        if self.has_keys.load(SeqCst) {
            self.has_keys.store(false, SeqCst);
            into.append(&mut self.keys.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_core_is_woken_once_and_one_that_is_awake_never() {
        let calls = Arc::new(Calls::new().unwrap());
        let key = Key { slot: 1, generation: 2 };
        let waker = calls.waker(key);
        waker.wake_by_ref();
        assert!(calls.event.read().is_err(), "it is awake");
        assert!(!calls.may_wait());
        let mut keys = Vec::new();
        calls.take(&mut keys);
        assert_eq!(keys, [key]);
        assert!(calls.may_wait());
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(calls.event.read(), Ok(1));
        calls.set_awake();
        calls.take(&mut keys);
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn no_call_is_slept_through() {
        const EACH: usize = if cfg!(miri) { 20 } else { 20_000 };
        let calls = Arc::new(Calls::new().unwrap());
        std::thread::scope(|scope| {
            for slot in 0..2 {
                let waker = calls.waker(Key { slot, generation: 0 });
                scope.spawn(move || (0..EACH).for_each(|_| waker.wake_by_ref()));
            }
            let mut keys = Vec::new();
            while keys.len() < 2 * EACH {
                if calls.may_wait() {
                    // A core would sleep here until the event is written.
                    while calls.event.read().is_err() {
                        std::thread::yield_now();
                    }
                }
                calls.set_awake();
                calls.take(&mut keys);
            }
        });
    }
}
