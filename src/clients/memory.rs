//! The memory that all connections together may hold: for requests in arrival, replies in waiting, messages from other
//! connections, and scripts. Who needs more for a reply than there is waits in line, and is woken with it granted. It must
//! not know what it is held for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use super::loans::Loans;
use super::{Client, Clients};
use crate::base::allocator;
use crate::config::limits;

#[derive(Debug)]
pub struct ClientMemory {
    used: AtomicUsize,
    limit: AtomicUsize,
    /// What stays charged whoever waits: the sources of scripts.
    kept: AtomicUsize,
    pub(super) loans: Loans,
    line: Mutex<Line>,
    /// Somebody waits for room: all that a connection that gives back looks at.
    is_waited_for: AtomicBool,
}

/// Who waits for room, first come first served: those who want little before the others.
#[derive(Debug, Default)]
struct Line {
    little: VecDeque<Waiting>,
    much: VecDeque<Waiting>,
}

impl Line {
    fn len(&self) -> usize {
        self.little.len() + self.much.len()
    }
}

#[derive(Debug)]
struct Waiting {
    client: Arc<Client>,
    bytes: usize,
    /// Visits that have found it at the front.
    visits: u32,
}

impl ClientMemory {
    pub fn new(limit_bytes: usize) -> ClientMemory {
        ClientMemory {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit_bytes),
            kept: AtomicUsize::new(0),
            loans: Loans::default(),
            line: Mutex::default(),
            is_waited_for: AtomicBool::new(false),
        }
    }

    pub fn used_bytes(&self) -> usize {
        self.used.load(SeqCst)
    }

    pub fn limit_bytes(&self) -> usize {
        self.limit.load(SeqCst)
    }

    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, SeqCst);
    }

    /// The most that there can ever be room for.
    pub fn most_bytes(&self) -> usize {
        self.limit_bytes().saturating_sub(self.kept.load(SeqCst))
    }

    /// Whether connections wait for room.
    pub fn is_waited_for(&self) -> bool {
        self.is_waited_for.load(SeqCst)
    }

    /// How long a client may take none of its replies: less where others wait for the room, least where they want little.
    pub fn patience_ms(&self) -> u64 {
        if !self.is_waited_for() {
            limits::OUTPUT_STALL_MS
        } else if self.line.lock().little.is_empty() {
            limits::OUTPUT_STALL_WAITED_FOR_MS
        } else {
            limits::OUTPUT_STALL_IN_NEED_MS
        }
    }

    /// More than half is taken.
    pub fn is_tight(&self) -> bool {
        self.used_bytes() > self.limit_bytes() / 2
    }

    /// How many do.
    pub fn waiting(&self) -> usize {
        self.line.lock().len()
    }

    /// What everything that goes out may hold: it leaves something to the requests of others.
    pub(super) fn output_limit_bytes(&self) -> usize {
        let limit = self.limit_bytes();
        limit - limit / limits::CLIENT_MEMORY_FOR_REQUESTS
    }

    /// Charges up to `wanted` bytes, as many as leave half of the memory free, but at least `least`; `None` if there are not
    /// even so many.
    pub fn take(&self, wanted: usize, least: usize) -> Option<usize> {
        let (half, limit) = (self.limit_bytes() / 2, self.output_limit_bytes());
        let mut granted = 0;
        let taken = self.used.fetch_update(SeqCst, SeqCst, |used| {
            granted = wanted.min(half.saturating_sub(used).max(least));
            (granted == 0 || used + granted <= limit).then_some(used + granted)
        });
        taken.ok()?;
        self.note_scripts(granted as isize);
        Some(granted)
    }

    /// Scripts have more, or give back what was charged, to those who wait for it.
    pub fn change(&self, bytes: isize) {
        self.note_scripts(bytes);
        self.used.fetch_add(bytes as usize, SeqCst);
        if bytes < 0 {
            self.serve_line();
        }
    }

    /// The same of what nobody gives back to those who wait.
    pub fn keep(&self, bytes: isize) {
        self.kept.fetch_add(bytes as usize, SeqCst);
        self.change(bytes);
    }

    /// Up to where the memory may be used when a reply asks for `bytes`. Who wants little may go a little further. The
    /// largest may take all that is there, or one would wait until nobody else holds anything. What is lent must come back
    /// first, unless it is needed `at_once`.
    fn limit_for_reply(&self, bytes: usize, is_little: bool, at_once: bool) -> usize {
        let limit = if is_little {
            self.output_limit_bytes() + (self.limit_bytes() - self.output_limit_bytes()) / 2
        } else if bytes > self.output_limit_bytes() / 2 {
            self.limit_bytes()
        } else {
            self.output_limit_bytes()
        };
        if at_once {
            return limit;
        }
        let beyond = if is_little { self.reserve_bytes() } else { 0 };
        limit.min(self.limit_bytes().saturating_sub(self.withheld_bytes()) + beyond)
    }

    /// The most that there can ever be room for when a reply asks for `bytes`.
    fn most_for_reply(&self, bytes: usize, is_little: bool) -> usize {
        self.limit_for_reply(bytes, is_little, true).saturating_sub(self.kept.load(SeqCst))
    }

    /// The same for requests that come to so many bytes.
    fn limit_for_requests(&self, total: usize) -> usize {
        self.limit_bytes() + if total <= limits::LITTLE_REQUEST_BYTES { self.reserve_bytes() } else { 0 }
    }

    fn reserve_bytes(&self) -> usize {
        limits::CLIENT_MEMORY_RESERVE_BYTES.min(self.limit_bytes() / 8)
    }

    /// Changes a part that is charged to what is needed, rounded up, and returns the new one; `None`, and no change, when
    /// all of the memory is taken or the kernel refuses more. To give back is never refused.
    pub(super) fn adjust(&self, charged: usize, needed: usize, limit: usize) -> Option<usize> {
        let wanted = rounded(needed);
        if wanted < charged {
            self.used.fetch_sub(charged - wanted, SeqCst);
        } else if needed <= charged {
            // What was granted is not a whole number of steps.
            return Some(charged);
        } else if !self.charge(wanted - charged, limit) {
            return None;
        }
        Some(wanted)
    }

    fn charge(&self, more: usize, limit: usize) -> bool {
        // (What a small request holds is there already; to refuse it would free nothing in time.)
        if allocator::is_short() && more > limits::CLIENT_MEMORY_SMALL_STEP_BYTES {
            return false;
        }
        let used = self.used.fetch_add(more, SeqCst) + more;
        if used + self.withheld_bytes() > self.limit_bytes() {
            self.note_use();
        }
        if used > limit {
            self.used.fetch_sub(more, SeqCst);
            return false;
        }
        true
    }

    /// Grants what there is to those who have waited for the longest. Takes the inbox's lock of those it wakes.
    pub(super) fn serve_line(&self) {
        if !self.is_waited_for() {
            return;
        }
        let mut served = Vec::new();
        let mut line = self.line.lock();
        self.serve(&mut line.little, true, &mut served);
        self.serve(&mut line.much, false, &mut served);
        self.is_waited_for.store(line.len() > 0, SeqCst);
        drop(line);
        served.iter().for_each(|client| client.wake());
    }

    fn serve(&self, line: &mut VecDeque<Waiting>, is_little: bool, served: &mut Vec<Arc<Client>>) {
        while let Some(Waiting { client, bytes, .. }) = line.front() {
            // Who will never get it, since the cap was lowered or more is kept, has to hear it.
            let is_vain = client.is_killed() || *bytes > self.most_bytes();
            if !is_vain {
                if !self.charge(*bytes, self.limit_for_reply(*bytes, is_little, false)) {
                    break;
                }
                client.granted_bytes.fetch_add(*bytes, SeqCst);
            }
            client.in_line.store(false, SeqCst);
            served.extend(line.pop_front().map(|waiting| waiting.client));
        }
    }

    fn wait(&self, client: &Arc<Client>, bytes: usize, is_little: bool) {
        let mut line = self.line.lock();
        client.in_line.store(true, SeqCst);
        let line_of = if is_little { &mut line.little } else { &mut line.much };
        line_of.push_back(Waiting { client: client.clone(), bytes, visits: 0 });
        self.is_waited_for.store(true, SeqCst);
        drop(line);
        // What was given back meanwhile.
        self.serve_line();
    }

    /// Somebody has been first in line for too long, by visits each `period_ms`.
    pub(super) fn has_waited_too_long(&self, period_ms: u64) -> bool {
        if !self.is_waited_for() {
            return false;
        }
        let Line { little, much } = &mut *self.line.lock();
        let lines = [(little, limits::OUTPUT_STALL_IN_NEED_MS), (much, limits::OUTPUT_STALL_WAITED_FOR_MS)];
        let mut is_overdue = false;
        for (line, patience_ms) in lines {
            if let Some(first) = line.front_mut() {
                first.visits += 1;
                is_overdue |= u64::from(first.visits) * period_ms > patience_ms;
            }
        }
        is_overdue
    }

    fn leave_line(&self, client: &Client) {
        if client.in_line.swap(false, SeqCst) {
            let mut line = self.line.lock();
            line.little.retain(|waiting| waiting.client.id != client.id);
            line.much.retain(|waiting| waiting.client.id != client.id);
            self.is_waited_for.store(line.len() > 0, SeqCst);
        }
    }
}

/// Small parts are charged almost as they are, or a crowd with a byte each would take all; large ones in steps, so that
/// the shared counter is touched rarely.
fn rounded(bytes: usize) -> usize {
    let step = limits::CLIENT_MEMORY_STEP_BYTES;
    bytes.next_multiple_of(if bytes < step { limits::CLIENT_MEMORY_SMALL_STEP_BYTES } else { step })
}

/// What comes of asking for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    Now,
    /// The client waits in line: it will be woken.
    Later,
    /// There will never be so much.
    Never,
}

/// One connection's part of the client memory. `resize` to nothing gives it back.
#[derive(Debug)]
pub struct MemoryQuota {
    client: Arc<Client>,
    charged: usize,
}

impl MemoryQuota {
    pub fn new(client: Arc<Client>) -> MemoryQuota {
        MemoryQuota { client, charged: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.charged
    }

    /// Adjusts the part to what requests in arrival need, rounded up to the step; false, and no change, when all of the
    /// memory is taken.
    pub fn resize(&mut self, clients: &Clients, needed: usize) -> bool {
        self.adjust(&clients.memory, needed, clients.memory.limit_for_requests(needed))
    }

    /// The same for who needs little when all is taken: whoever holds the most is closed for it, unless this one waits for
    /// room itself.
    pub fn resize_in_place_of_another(&mut self, clients: &Clients, needed: usize) -> bool {
        needed <= limits::LITTLE_REQUEST_BYTES
            && !self.is_in_line()
            && clients.make_room(needed)
            // What was held by those who are closed is about to come back: until then the reserve goes twice.
            && self.adjust(&clients.memory, needed, clients.memory.limit_bytes() + 2 * clients.memory.reserve_bytes())
    }

    /// The same for requests and replies together, which must leave something to requests of others.
    pub fn resize_with_replies(&mut self, clients: &Clients, needed: usize) -> bool {
        self.adjust(&clients.memory, needed, clients.memory.output_limit_bytes())
    }

    /// Adds what replies need before they are made; false, and no change, when there is no room. Who wants much, or has not
    /// taken earlier replies (`has_backlog`), does not overtake those who wait. What is wanted `at_once`, for it cannot wait,
    /// uses what is lent all the same, and that comes back after.
    pub fn extend(&mut self, clients: &Clients, more: usize, has_backlog: bool, at_once: bool) -> bool {
        let (memory, is_little) = (&clients.memory, self.is_little(more, has_backlog));
        if !is_little && memory.is_waited_for() {
            return false;
        }
        self.adjust(memory, self.charged + more, memory.limit_for_reply(more, is_little, at_once))
    }

    /// The same, and waits in line when there is no room; not for what there can never be room for beside the `held` bytes of
    /// the connection's own request, which nobody else can give back.
    pub fn extend_or_wait(&mut self, clients: &Clients, more: usize, has_backlog: bool, held: usize) -> Granted {
        if self.extend(clients, more, has_backlog, false) {
            return Granted::Now;
        }
        let is_little = self.is_little(more, has_backlog);
        let more = rounded(more);
        if held + more > clients.memory.most_for_reply(more, is_little) {
            return Granted::Never;
        }
        if !self.client.in_line.load(SeqCst) {
            clients.memory.wait(&self.client, more, is_little);
        }
        Granted::Later
    }

    fn is_little(&self, more: usize, has_backlog: bool) -> bool {
        self.charged + more <= limits::IO_BUFFER_BYTES && !has_backlog
    }

    /// It waits for room for a reply.
    pub fn is_in_line(&self) -> bool {
        self.client.in_line.load(SeqCst)
    }

    /// Takes what was granted while the connection waited; true while it waits still.
    pub fn is_waiting(&mut self, clients: &Clients) -> bool {
        if self.client.in_line.load(SeqCst) {
            clients.memory.serve_line();
        }
        // In this order: who is out of the line has been granted something before.
        let waits = self.is_in_line();
        self.take_granted();
        waits
    }

    /// Gives everything back, and the place in line.
    pub fn end(&mut self, clients: &Clients) {
        clients.memory.leave_line(&self.client);
        self.take_granted();
        self.resize(clients, 0);
    }

    fn take_granted(&mut self) {
        if self.client.granted_bytes.load(SeqCst) > 0 {
            self.charged += self.client.granted_bytes.swap(0, SeqCst);
            self.client.held_bytes.store(self.charged, SeqCst);
        }
    }

    fn adjust(&mut self, memory: &ClientMemory, needed: usize, limit: usize) -> bool {
        let Some(charged) = memory.adjust(self.charged, needed, limit) else { return false };
        if charged != self.charged {
            let gives_back = charged < self.charged;
            self.charged = charged;
            self.client.held_bytes.store(charged, SeqCst);
            if gives_back {
                memory.serve_line();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests;
