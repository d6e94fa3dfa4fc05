//! Who is told for a connection that caches: it itself, or another to which it redirects. It must not know who has read
//! what.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Client;
use crate::message::reply::RespVersion;

/// What CLIENT TRACKING has said, as far as others have to do with it.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    is_on: AtomicBool,
    is_broadcast: AtomicBool,
    redirection: Mutex<Option<Redirection>>,
    /// There was something to tell, and nobody to tell it to.
    is_broken: AtomicBool,
}

/// Another connection is told, or the same one; nothing of it is kept open.
#[derive(Debug)]
struct Redirection {
    id: u64,
    target: Weak<Client>,
}

impl Tracking {
    fn change(&self, is_on: bool, is_broadcast: bool, redirection: Option<Redirection>) {
        let mut current = self.redirection.lock();
        *current = redirection;
        self.is_broken.store(false, Relaxed);
        self.is_broadcast.store(is_broadcast, Relaxed);
        self.is_on.store(is_on, Relaxed);
    }
}

impl Client {
    /// It tracks from now on, and `target` is told, if there is one.
    pub fn track(&self, is_broadcast: bool, target: Option<&Arc<Client>>) {
        let redirection = target.map(|target| Redirection { id: target.id, target: Arc::downgrade(target) });
        self.tracking.change(true, is_broadcast, redirection);
    }

    pub fn stop_tracking(&self) {
        self.tracking.change(false, false, None);
    }

    /// CLIENT TRACKING is on.
    pub fn tracks(&self) -> bool {
        self.tracking.is_on.load(Relaxed)
    }

    /// The same in BCAST mode.
    pub fn tracks_prefixes(&self) -> bool {
        self.tracking.is_broadcast.load(Relaxed)
    }

    /// The number of the connection that is told, 0 when it is this one, -1 when it does not track.
    pub fn redirection(&self) -> i64 {
        match &*self.tracking.redirection.lock() {
            _ if !self.tracks() => -1,
            Some(redirection) => redirection.id as i64,
            None => 0,
        }
    }

    /// The connection that was to be told is gone, and something was not told.
    pub fn has_broken_redirection(&self) -> bool {
        self.tracking.is_broken.load(Relaxed)
    }

    /// What it has cached of a key, or of all, is worth nothing: tells whoever is to be told, from any core.
    pub fn invalidate(&self, key: Option<&[u8]>) {
        let mut redirection = self.tracking.redirection.lock();
        if !self.tracks() {
            return;
        }
        let Some(Redirection { id, target }) = &mut *redirection else { return self.tell(key, false) };
        if let Some(target) = target.upgrade().filter(|target| !target.is_killed()) {
            return target.tell(key, true);
        }
        *target = Weak::new();
        self.tracking.is_broken.store(true, Relaxed);
        if self.version() == RespVersion::Resp3 {
            self.inbox.tell_lost(*id);
        }
    }

    /// In RESP2 it hears only what others redirect to it, and only while it is subscribed.
    fn tell(&self, key: Option<&[u8]>, is_redirected: bool) {
        let version = || match self.version() {
            RespVersion::Resp2 if !(is_redirected && self.is_subscribed()) => None,
            version => Some(version),
        };
        self.inbox.invalidate(key, version, &self.memory);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Clients;
    use super::super::testing::enter;

    #[test]
    fn whoever_is_to_be_told_is_told_while_it_is_there() {
        let clients = Clients::new(1, 10, 64 << 20);
        let (reader, target) = (enter(&clients), enter(&clients));
        assert_eq!(reader.redirection(), -1);
        reader.track(true, Some(&target));
        assert_eq!(reader.redirection(), target.id as i64);
        reader.invalidate(Some(b"k"));
        assert!(!target.is_called(), "RESP2, and not subscribed");
        target.set_subscribed(true);
        reader.invalidate(Some(b"k"));
        assert!(target.take_pushed(0).starts_with(b"*3\r\n$7\r\nmessage\r\n"));
        target.kill();
        assert!(!reader.has_broken_redirection(), "nothing was lost yet");
        reader.invalidate(None);
        assert!(reader.has_broken_redirection() && !reader.is_called());
        assert_eq!(reader.redirection(), target.id as i64);
        reader.track(false, None);
        assert!(!reader.has_broken_redirection() && reader.redirection() == 0);
        reader.stop_tracking();
        assert_eq!(reader.redirection(), -1);
    }
}
