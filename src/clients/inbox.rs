//! What others have for one connection's peer: whole messages, bounded, and the call that wakes the connection from
//! whatever it waits for. Any thread puts in; the connection's own task takes out. It must not know what is sent.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Waker;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::ClientMemory;
use super::invalidations::{self, Invalidations};
use crate::config::limits;
use crate::message::reply::RespVersion;

#[derive(Debug, Default)]
pub struct Inbox {
    /// There are messages, or a call without one: all that a connection looks at in a turn. It needs no ordering of
    /// its own: who sees it late is woken, and a wake-up orders.
    called: AtomicBool,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    messages: VecDeque<Bytes>,
    /// Come after the messages.
    invalidations: Invalidations,
    /// Of all of it, with what each costs beside its content.
    bytes: usize,
    /// Our part of the client memory.
    charged: usize,
    waker: Option<Waker>,
    /// Nobody will take out any more.
    closed: bool,
}

/// What a message costs beside its content: the handle, twice because queues double, and its allocation's header.
const MESSAGE_BYTES: usize = 2 * size_of::<Bytes>() + 32;

/// There is no room for a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Overflow;

impl Inbox {
    /// The task that `waker` wakes takes out from now on, whatever comes: to be called once, before it first waits.
    pub fn attend(&self, waker: &Waker) {
        self.contents().waker = Some(waker.clone());
    }

    /// Puts in one whole message and wakes the connection.
    pub fn push(&self, message: Bytes, memory: &ClientMemory) -> Result<(), Overflow> {
        let mut contents = self.contents();
        if contents.closed {
            return Ok(());
        }
        let bytes = contents.bytes + message.len() + MESSAGE_BYTES;
        if bytes > limits::INBOX_MAX_BYTES {
            return Err(Overflow);
        }
        contents.charge(bytes, memory)?;
        contents.messages.push_back(message);
        self.call(contents);
        Ok(())
    }

    /// Has the client forget a key, or everything, in the version that `version` names; `None` when it cannot be told. It
    /// is asked under the lock: who has changed it and has taken everything out after that is told in the new one. It never
    /// overflows: what is too much becomes everything.
    pub fn invalidate(&self, key: Option<&[u8]>, version: impl FnOnce() -> Option<RespVersion>, memory: &ClientMemory) {
        let mut contents = self.contents();
        if contents.closed {
            return;
        }
        let Some(version) = version() else { return };
        contents.invalidations.version = version;
        if contents.invalidations.is_everything() {
            return;
        }
        if !key.is_some_and(|key| contents.add_invalidation(key, memory)) {
            let left = contents.bytes - contents.invalidations.bytes();
            contents.invalidations.add_everything();
            contents.charge(left, memory).expect("to give back is never refused");
        }
        self.call(contents);
    }

    /// Tells the client that the connection to which it redirects is gone. It holds nothing, however often it is said.
    pub fn tell_lost(&self, id: u64) {
        let mut contents = self.contents();
        if !contents.closed {
            contents.invalidations.add_lost(id);
            self.call(contents);
        }
    }

    /// Drops what is to be forgotten, as far as it is told in RESP2.
    pub fn forget_invalidations(&self, memory: &ClientMemory) {
        let mut contents = self.contents();
        contents.messages.retain(|message| !invalidations::is_in_resp2(message));
        if contents.invalidations.version == RespVersion::Resp2 {
            contents.invalidations = Invalidations::default();
        }
        let messages: usize = contents.messages.iter().map(|message| message.len() + MESSAGE_BYTES).sum();
        let left = messages + contents.invalidations.bytes();
        contents.charge(left, memory).expect("to give back is never refused");
    }

    /// Wakes the connection without a message.
    pub fn wake(&self) {
        self.call(self.contents());
    }

    /// Somebody has pushed or woken since the last `take` that left nothing.
    pub fn is_called(&self) -> bool {
        self.called.load(Relaxed)
    }

    /// Takes messages out, joined in their order: as many as `room` has place for, and one in any case. Empty when
    /// it was a call without a message.
    pub fn take(&self, room: usize, memory: &ClientMemory) -> Bytes {
        let mut contents = self.contents();
        if contents.messages.is_empty() && !contents.invalidations.is_empty() {
            let before = contents.invalidations.bytes();
            let message = contents.invalidations.take();
            contents.bytes = contents.bytes + message.len() + MESSAGE_BYTES - before;
            contents.messages.push_back(message);
        }
        let (mut count, mut bytes) = (0, 0);
        for message in &contents.messages {
            if count > 0 && bytes + message.len() > room {
                break;
            }
            (count, bytes) = (count + 1, bytes + message.len());
        }
        let left = contents.bytes - bytes - count * MESSAGE_BYTES;
        contents.charge(left, memory).expect("to give back is never refused");
        let joined = if count > 1 {
            let mut joined = Vec::with_capacity(bytes);
            contents.messages.drain(..count).for_each(|message| joined.extend_from_slice(&message));
            Bytes::from(joined)
        } else {
            contents.messages.pop_front().unwrap_or_default()
        };
        if contents.messages.is_empty() {
            contents.messages = VecDeque::new();
            self.called.store(!contents.invalidations.is_empty(), Relaxed);
        }
        joined
    }

    /// Nothing is taken out any more: gives everything back, and wakes the connection a last time.
    pub fn close(&self, memory: &ClientMemory) {
        let mut contents = self.contents();
        contents.closed = true;
        contents.messages = VecDeque::new();
        contents.invalidations = Invalidations::default();
        contents.charge(0, memory).expect("to give back is never refused");
        self.call(contents);
    }

    /// The memory that messages hold.
    pub fn bytes(&self) -> usize {
        self.contents().bytes
    }

    fn call(&self, mut contents: MutexGuard<Contents>) {
        // Whoever has been called and has not looked yet is woken already.
        let waker = if contents.closed {
            contents.waker.take()
        } else if !self.called.load(Relaxed) {
            contents.waker.clone()
        } else {
            None
        };
        self.called.store(true, Relaxed);
        drop(contents);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock()
    }
}

impl Contents {
    /// False, and nothing done, when there is no room for the key.
    fn add_invalidation(&mut self, key: &[u8], memory: &ClientMemory) -> bool {
        let comes_alone = self.invalidations.is_empty() && self.messages.len() < limits::INVALIDATIONS_ALONE_MAX;
        if comes_alone {
            let message = invalidations::of_one(key, self.invalidations.version);
            let fits = self.charge(self.bytes + message.len() + MESSAGE_BYTES, memory).is_ok();
            if fits {
                self.messages.push_back(message);
            }
            return fits;
        }
        let more = invalidations::held_bytes(key);
        let fits = self.invalidations.bytes() + more <= limits::INVALIDATIONS_MAX_BYTES
            && self.charge(self.bytes + more, memory).is_ok();
        if fits {
            self.invalidations.add(key);
        }
        fits
    }

    /// A little is free, as for replies.
    fn charge(&mut self, bytes: usize, memory: &ClientMemory) -> Result<(), Overflow> {
        let needed = if bytes > limits::FREE_REPLY_BYTES { bytes } else { 0 };
        self.charged = memory.adjust(self.charged, needed, memory.output_limit_bytes()).ok_or(Overflow)?;
        self.bytes = bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn attended() -> (Inbox, ClientMemory, Arc<Calls>) {
        let (inbox, calls) = (Inbox::default(), Arc::new(Calls::default()));
        inbox.attend(&calls.clone().into());
        (inbox, ClientMemory::new(64 << 20), calls)
    }

    fn resp3() -> Option<RespVersion> {
        Some(RespVersion::Resp3)
    }

    fn text(bytes: &'static str) -> Bytes {
        Bytes::from_static(bytes.as_bytes())
    }

    #[test]
    fn messages_come_out_whole_and_in_order() {
        let (inbox, memory, calls) = attended();
        for message in ["one ", "two ", "three "] {
            inbox.push(text(message), &memory).unwrap();
        }
        assert_eq!(calls.0.load(Relaxed), 1, "who is called already is not woken again");
        assert_eq!(inbox.take(10, &memory), "one two ");
        assert!(inbox.is_called(), "there is more");
        assert_eq!(inbox.take(0, &memory), "three ", "one in any case");
        assert!(!inbox.is_called());
        inbox.push(text("four"), &memory).unwrap();
        assert_eq!(calls.0.load(Relaxed), 2);
        assert_eq!(inbox.take(10, &memory), "four");
        assert_eq!(inbox.bytes(), 0);
    }

    #[test]
    fn a_call_without_a_message_wakes() {
        let (inbox, memory, calls) = attended();
        inbox.wake();
        assert!(inbox.is_called());
        assert_eq!(calls.0.load(Relaxed), 1);
        assert!(inbox.take(100, &memory).is_empty());
        assert!(!inbox.is_called());
    }

    #[test]
    fn what_was_pushed_before_anybody_attends_is_there() {
        let (inbox, memory) = (Inbox::default(), ClientMemory::new(0));
        inbox.push(text("early"), &memory).unwrap();
        inbox.attend(Waker::noop());
        assert!(inbox.is_called());
        assert_eq!(inbox.take(100, &memory), "early");
    }

    #[test]
    fn it_overflows_at_its_bound_and_at_that_of_the_client_memory() {
        let (inbox, memory, _) = attended();
        let message = Bytes::from(vec![b'm'; 1000]);
        while inbox.push(message.clone(), &memory).is_ok() {}
        let most = limits::INBOX_MAX_BYTES;
        assert!((most - 2000..=most).contains(&inbox.bytes()), "{}", inbox.bytes());
        assert!(memory.used_bytes() >= inbox.bytes());

        let (other, little) = (Inbox::default(), ClientMemory::new(64 << 10));
        while other.push(message.clone(), &little).is_ok() {}
        assert!(little.used_bytes() <= 48 << 10, "{}", little.used_bytes());
        while other.is_called() {
            other.take(limits::IO_BUFFER_BYTES, &little);
        }
        assert_eq!((other.bytes(), little.used_bytes()), (0, 0));
    }

    #[test]
    fn many_keys_come_in_one_message_and_too_many_are_everything() {
        let (inbox, memory, _) = attended();
        let alone = limits::INVALIDATIONS_ALONE_MAX;
        (0..alone + 3).for_each(|n| inbox.invalidate(Some(format!("{n:04}").as_bytes()), resp3, &memory));
        let one = inbox.take(0, &memory);
        assert_eq!(one, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$4\r\n0000\r\n");
        assert_eq!(inbox.take((alone - 1) * one.len(), &memory).len(), (alone - 1) * one.len());
        assert!(inbox.is_called());
        assert!(inbox.take(0, &memory).starts_with(b">2\r\n$10\r\ninvalidate\r\n*3\r\n$4\r\n0064\r\n"));
        assert!(!inbox.is_called() && inbox.bytes() == 0);
        let key = [b'k'; 1000];
        (0..2_000).for_each(|_| inbox.invalidate(Some(&key), resp3, &memory));
        let mut last = Bytes::new();
        while inbox.is_called() {
            last = inbox.take(0, &memory);
        }
        assert_eq!(last, ">2\r\n$10\r\ninvalidate\r\n_\r\n");
        assert_eq!((inbox.bytes(), memory.used_bytes()), (0, 0));
        // Where there is no memory at all, too.
        let (other, none) = (Inbox::default(), ClientMemory::new(0));
        (0..100).for_each(|_| other.invalidate(Some(&key), resp3, &none));
        assert_eq!(other.take(0, &none), ">2\r\n$10\r\ninvalidate\r\n_\r\n");
    }

    #[test]
    fn what_waits_is_told_in_the_last_version_that_was_named() {
        let (inbox, memory, _) = attended();
        let all = |inbox: &Inbox| {
            let mut all = Vec::new();
            while inbox.is_called() {
                all.extend_from_slice(&inbox.take(usize::MAX, &memory));
            }
            String::from_utf8(all).unwrap()
        };
        inbox.invalidate(Some(b"k"), || Some(RespVersion::Resp2), &memory);
        assert_eq!(all(&inbox), "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n");
        inbox.invalidate(Some(b"k"), || None, &memory);
        assert!(!inbox.is_called());
        inbox.invalidate(None, resp3, &memory);
        inbox.invalidate(Some(b"k"), || Some(RespVersion::Resp2), &memory);
        assert_eq!(all(&inbox), "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
        (0..1000).for_each(|_| inbox.tell_lost(7));
        inbox.invalidate(Some(b"k"), resp3, &memory);
        let lost = ">2\r\n$21\r\ntracking-redir-broken\r\n:7\r\n";
        assert_eq!(all(&inbox), format!("{lost}>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"));
        inbox.tell_lost(8);
        assert_eq!(all(&inbox), lost.replace('7', "8"));
        assert_eq!((inbox.bytes(), memory.used_bytes()), (0, 0));
    }

    #[test]
    fn what_nobody_is_to_hear_any_more_is_dropped() {
        let (inbox, memory, _) = attended();
        let key = [b'k'; 1000];
        inbox.push(text("+a monitor's line\r\n"), &memory).unwrap();
        inbox.invalidate(Some(&key), resp3, &memory);
        (0..100).for_each(|_| inbox.invalidate(Some(&key), || Some(RespVersion::Resp2), &memory));
        inbox.forget_invalidations(&memory);
        assert_eq!(inbox.take(0, &memory), "+a monitor's line\r\n");
        assert_eq!(inbox.take(0, &memory), invalidations::of_one(&key, RespVersion::Resp3));
        assert!(!inbox.is_called());
        assert_eq!((inbox.bytes(), memory.used_bytes()), (0, 0));
    }

    #[test]
    fn a_closed_one_wakes_a_last_time_and_takes_no_more() {
        let (inbox, memory, calls) = attended();
        inbox.push(Bytes::from(vec![0; 100_000]), &memory).unwrap();
        inbox.close(&memory);
        assert_eq!(calls.0.load(Relaxed), 2);
        assert_eq!(memory.used_bytes(), 0);
        inbox.push(text("late"), &memory).unwrap();
        assert_eq!(calls.0.load(Relaxed), 2);
        assert!(inbox.take(100, &memory).is_empty());
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let (inbox, memory) = (Inbox::default(), ClientMemory::new(4 << 20));
        const EACH: usize = if cfg!(miri) { 50 } else { 5_000 };
        std::thread::scope(|scope| {
            for letter in [b'a', b'b'] {
                let (inbox, memory) = (&inbox, &memory);
                scope.spawn(move || {
                    for _ in 0..EACH {
                        while inbox.push(Bytes::from(vec![letter; 3]), memory).is_err() {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            // As a connection's task does: it waits to be woken, and looks.
            inbox.attend(&ThisThread(std::thread::current()).into_waker());
            let mut got = Vec::new();
            while got.len() < 6 * EACH {
                while !inbox.is_called() {
                    std::thread::park();
                }
                got.extend_from_slice(&inbox.take(1000, &memory));
            }
            assert!(got.chunks(3).all(|message| message == b"aaa" || message == b"bbb"));
        });
        assert_eq!(memory.used_bytes(), 0);
    }

    struct ThisThread(std::thread::Thread);

    impl ThisThread {
        fn into_waker(self) -> Waker {
            Arc::new(self).into()
        }
    }

    impl Wake for ThisThread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
}
