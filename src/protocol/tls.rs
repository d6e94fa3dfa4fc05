//! TLS between the bytes of a connection and the session of any protocol, sans-IO: what is received is decrypted and handed
//! on, what is replied is encrypted a little ahead of the socket. It must not know what is said.
//!
//! Invariant: `partial` holds the beginning of a record and nothing that was looked at; `waiting` holds replies, in order,
//! that are not encrypted, and while there are any, the driver is asked to send (`Next::Drain`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Buf, Bytes};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{HandshakeKind, ProtocolVersion, ServerConfig};

use super::core::Core;
use super::front::{self, Next, Session as _};
use super::turn;
use crate::base::clock::Turn;
use crate::clients::{Client, Encryption};
use crate::config::limits;
use crate::message::output::Output;

pub struct Session {
    inner: Box<dyn front::Session>,
    tls: UnbufferedServerConnection,
    partial: Vec<u8>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// What the session said last.
    next: Next,
    is_open: bool,
    /// The peer has said that it sends no more.
    has_ended: bool,
}

/// Scratch space that no session keeps.
pub struct Scratch {
    records: Vec<u8>,
    plain: Vec<u8>,
    reply: Output,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch { records: Vec::new(), plain: Vec::new(), reply: Output::unbuffered() }
    }
}

/// Why the connection cannot go on.
type Fault = String;

/// The content of a record, and what is around it.
const RECORD_BYTES: usize = 16 * 1024;
const RECORD_OVERHEAD_BYTES: usize = 64;

impl Session {
    /// Panics when the configuration cannot be used: it was tried when it was loaded.
    pub fn new(inner: Box<dyn front::Session>, config: Arc<ServerConfig>) -> Session {
        let session = Session {
            inner,
            tls: UnbufferedServerConnection::new(config).expect("the configuration was tried"),
            partial: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            next: Next::Receive,
            is_open: false,
            has_ended: false,
        };
        session.note(Encryption::Handshake);
        session
    }
}

impl front::Session for Session {
    fn client(&self) -> &Arc<Client> {
        self.inner.client()
    }

    fn advance(&mut self, input: &[u8], core: &mut Core, turn: Turn, queued: usize, output: &mut Output) -> Next {
        let mut scratch = std::mem::take(&mut core.tls);
        let next = self
            .take_turn(input, core, turn, queued, &mut scratch, output)
            .unwrap_or_else(|fault| self.refuse(&fault, core, output));
        // What came large once is not kept.
        scratch.records.clear();
        scratch.plain.clear();
        scratch.reply.clear();
        scratch.records.shrink_to(limits::TLS_SCRATCH_BYTES);
        scratch.plain.shrink_to(limits::TLS_SCRATCH_BYTES);
        core.tls = scratch;
        next
    }

    fn sent(&mut self, core: &Core, queued: usize) {
        self.inner.sent(core, queued + self.waiting_bytes);
    }

    fn wrap(&mut self, pushed: Bytes) -> Bytes {
        let pushed = self.inner.wrap(pushed);
        self.waiting_bytes += pushed.len();
        self.waiting.push_back(pushed);
        if self.waiting.len() > 1 {
            // It comes after the replies before it.
            return Bytes::new();
        }
        let mut sealed = Output::unbuffered();
        // What cannot be encrypted has nobody to go to: the next turn says so.
        let _ = self.seal_waiting(limits::TLS_AHEAD_BYTES, &mut sealed);
        sealed.into_bytes()
    }

    fn end(&mut self, core: &Core) {
        self.inner.end(core);
        self.partial = Vec::new();
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
    }
}

impl Session {
    fn take_turn(
        &mut self,
        input: &[u8],
        core: &mut Core,
        turn: Turn,
        queued: usize,
        scratch: &mut Scratch,
        output: &mut Output,
    ) -> Result<Next, Fault> {
        let Scratch { records, plain, reply } = scratch;
        if !input.is_empty() {
            self.open_records(input, records, plain, output)?;
            self.note_progress(core);
            core.stats().net_input_bytes.add(input.len().saturating_sub(plain.len()) as u64);
        }
        let ahead = |output: &Output| limits::TLS_AHEAD_BYTES.saturating_sub(queued + output.len());
        self.seal_waiting(ahead(output), output)?;
        if self.next != Next::Close && (!input.is_empty() || self.waiting.is_empty()) {
            // What is held here is charged by its turn.
            self.next = self.inner.advance(plain, core, turn, queued + self.waiting_bytes, reply);
            match reply.as_contiguous() {
                Some(bytes) if self.waiting.is_empty() && bytes.len() <= ahead(output) && self.is_open => {
                    self.seal(bytes, output)?;
                    reply.clear();
                }
                _ => {
                    self.waiting_bytes += reply.len();
                    reply.take(&mut self.waiting);
                    self.seal_waiting(ahead(output), output)?;
                }
            }
        }
        if !self.waiting.is_empty() && self.is_open {
            return Ok(Next::Drain);
        }
        if self.next == Next::Close || self.has_ended && self.next == Next::Receive {
            self.say_goodbye(output);
            return Ok(Next::Close);
        }
        Ok(self.next)
    }

    /// Takes received bytes apart: what peers say is appended to `plain`, what TLS answers to `output`.
    fn open_records(
        &mut self,
        input: &[u8],
        records: &mut Vec<u8>,
        plain: &mut Vec<u8>,
        output: &mut Output,
    ) -> Result<(), Fault> {
        records.append(&mut self.partial);
        records.try_reserve(input.len()).map_err(|error| error.to_string())?;
        records.extend_from_slice(input);
        let (opened, used) = self.process(records, plain, output);
        // What rustls has begun to look at it wants to find again, whatever it said.
        self.partial = records[used..].to_vec();
        opened
    }

    /// Takes records from the front of `records`, and says how many bytes of them are done with.
    fn process(&mut self, records: &mut [u8], plain: &mut Vec<u8>, output: &mut Output) -> (Result<(), Fault>, usize) {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut records[used..]);
            let mut discarded = discard;
            let outcome = match state {
                Err(error) => Err(error.to_string()),
                Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                    match traffic.next_record() {
                        Some(Ok(record)) => {
                            discarded += record.discard;
                            plain.extend_from_slice(record.payload);
                        }
                        Some(Err(error)) => break Err(error.to_string()),
                        None => break Ok(true),
                    }
                },
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, output).map(|()| true),
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    Ok(true)
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.has_ended = true;
                    Ok(true)
                }
                // Nothing more is to be had of these bytes.
                Ok(_) => Ok(false),
            };
            used += discarded;
            match outcome {
                Ok(true) => {}
                Ok(false) => return (Ok(()), used),
                Err(fault) => return (Err(fault), used),
            }
        }
    }

    /// After input: counts a handshake that has come to its end, and charges what is held.
    fn note_progress(&mut self, core: &Core) {
        if !self.is_open && !self.tls.is_handshaking() {
            self.is_open = true;
            core.stats().tls_handshakes.add(1);
            let is_resumed = self.tls.handshake_kind() == Some(HandshakeKind::Resumed);
            core.stats().tls_resumptions.add(is_resumed as u64);
        }
        self.note(match self.tls.protocol_version() {
            _ if !self.is_open => Encryption::Handshake,
            Some(ProtocolVersion::TLSv1_2) => Encryption::Tls12,
            _ => Encryption::Tls13,
        });
    }

    fn note(&self, encryption: Encryption) {
        let more = if self.is_open { 0 } else { limits::TLS_HANDSHAKE_BYTES };
        let held = limits::TLS_CONNECTION_BYTES + more + self.partial.capacity();
        self.client().encryption.store(encryption as u8, Relaxed);
        self.client().encryption_bytes.store(held, Relaxed);
    }

    /// Encrypts up to so many bytes of replies that wait.
    fn seal_waiting(&mut self, mut most: usize, output: &mut Output) -> Result<(), Fault> {
        while most > 0
            && self.is_open
            && let Some(mut front) = self.waiting.pop_front()
        {
            let piece = front.split_to(front.len().min(most).min(limits::TLS_AHEAD_BYTES));
            most -= piece.len();
            self.waiting_bytes -= piece.len();
            if front.has_remaining() {
                self.waiting.push_front(front);
            }
            self.seal(&piece, output)?;
        }
        Ok(())
    }

    fn seal(&mut self, plain: &[u8], output: &mut Output) -> Result<(), Fault> {
        for record in plain.chunks(RECORD_BYTES) {
            self.with_traffic(output, |traffic, buffer| traffic.encrypt(record, buffer), record.len())?;
            output.cut();
        }
        Ok(())
    }

    /// Writes a record, of which `bytes` bytes are content.
    fn with_traffic(
        &mut self,
        output: &mut Output,
        mut write: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
        bytes: usize,
    ) -> Result<(), Fault> {
        loop {
            match self.tls.process_tls_records(&mut self.partial).state.map_err(|error| error.to_string())? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    return in_place(output, bytes + RECORD_OVERHEAD_BYTES, |buffer| {
                        match write(&mut traffic, buffer) {
                            Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
                            result => result.map_err(|_| None),
                        }
                    });
                }
                ConnectionState::EncodeTlsData(mut data) => encode(&mut data, output)?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => return Err("the connection takes no more".to_owned()),
            }
        }
    }

    /// The last thing that the peer hears: nothing was cut off.
    fn say_goodbye(&mut self, output: &mut Output) {
        if self.is_open {
            // Whoever cannot be told finds the connection closed.
            let _ = self.with_traffic(output, |traffic, buffer| traffic.queue_close_notify(buffer), 0);
        }
    }

    /// Ends a connection that does not speak TLS, or not as it has to.
    fn refuse(&mut self, fault: &Fault, core: &Core, output: &mut Output) -> Next {
        core.stats().tls_failures.add(1);
        turn::note_foreign(self.client(), core.stats(), &core.shared, &format_args!("TLS: {fault}"));
        // The alert that says why: rustls must not be asked for more.
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = self.tls.process_tls_records(&mut self.partial).state {
            // Without it the connection is closed all the same.
            let _ = encode(&mut data, output);
        }
        self.end(core);
        Next::Close
    }
}

/// Writes what TLS has to say for itself.
fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, output: &mut Output) -> Result<(), Fault> {
    in_place(output, RECORD_BYTES, |buffer| match data.encode(buffer) {
        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
        result => result.map_err(|_| None),
    })
}

/// Has `write` write to the end of the output, where there is room for so many bytes. It says how many it has written, or
/// how many it needs, or that it cannot.
fn in_place(
    output: &mut Output,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Fault> {
    loop {
        let needed = match output.write_in_place(room, &mut write) {
            Ok(()) => return Ok(()),
            Err(needed) => needed,
        };
        match needed {
            Some(needed) if needed > room => room = needed,
            _ => return Err("a record could not be written".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
