//! Serves whoever comes to a core while a script keeps it from its loop: hands them to a core that is free or, when
//! there is none, answers what can end the script. It is called from within the script and never waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::listener::Listener;
use super::{Accepted, Admission, WorkerLinks, admit};
use crate::base::clock::{self, Turn};
use crate::config::limits;
use crate::message::output::Output;
use crate::protocol::core::Core;
use crate::protocol::front::{Next, Session};

pub struct BusyAcceptor {
    links: WorkerLinks,
    /// The core's listening sockets, which do not block.
    listeners: RefCell<Vec<Rc<Listener>>>,
    waiting: RefCell<Vec<Box<dyn Session>>>,
    core: RefCell<Core>,
}

impl BusyAcceptor {
    pub(super) fn new(links: WorkerLinks) -> BusyAcceptor {
        let core = RefCell::new(Core::urgent(links.shared.clone(), links.index));
        BusyAcceptor { links, listeners: RefCell::default(), waiting: RefCell::default(), core }
    }

    pub(super) fn watch(&self, listener: Rc<Listener>) {
        self.listeners.borrow_mut().push(listener);
    }

    /// One look at the sockets.
    pub(super) fn attend(&self) {
        for listener in &*self.listeners.borrow() {
            for _ in 0..limits::SCRIPT_ATTEND_ACCEPTS_MAX {
                let Ok((socket, _)) = listener.socket.accept() else { break };
                if let Admission::Here(accepted) = admit(&self.links, socket.into(), listener) {
                    self.enter(accepted);
                }
            }
        }
        self.waiting.borrow_mut().retain_mut(|session| self.converse(&mut **session));
    }

    fn enter(&self, accepted: Accepted) {
        let shared = &self.links.shared;
        self.waiting.borrow_mut().push(accepted.enter(self.links.index, shared, clock::now()));
    }

    /// Answers what has come. False when the connection is over.
    fn converse(&self, session: &mut dyn Session) -> bool {
        let client = session.client().clone();
        let mut input = [0; limits::SCRIPT_ATTEND_BYTES];
        let received = match recv(client.as_raw_fd(), &mut input, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN | Errno::EINTR) => return true,
            Ok(received @ 1..) => received,
            Ok(0) | Err(_) => return self.end(session),
        };
        let mut reply = Output::default();
        let mut core = self.core.borrow_mut();
        let mut next = session.advance(&input[..received], &mut core, Turn::begin(), 0, &mut reply);
        while next == Next::Yield {
            next = session.advance(b"", &mut core, Turn::begin(), 0, &mut reply);
        }
        drop(core);
        let mut pieces = VecDeque::new();
        reply.take(&mut pieces);
        // A connection that has taken no room for such short replies takes none of them.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let all_sent = pieces.iter().all(|piece| send(client.as_raw_fd(), piece, flags) == Ok(piece.len()));
        if all_sent && next == Next::Receive { true } else { self.end(session) }
    }

    fn end(&self, session: &mut dyn Session) -> bool {
        session.end(&self.core.borrow());
        self.links.shared.clients.leave(session.client());
        session.client().kill();
        false
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Those who have come meanwhile, with what they have said so far.
    pub(super) fn take(&self) -> Vec<Box<dyn Session>> {
        self.waiting.take()
    }
}
