//! Receiving and sending by system calls that never wait, for the drivers and moments that need no ring.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, recvmsg, send};
use socket2::SockRef;

use super::connection::{Connection, Conversation, Offered, Sink};
use crate::clients::Client;
use crate::config::limits;

/// Pieces that one system call sends at most: a large value has three.
const PIECES_MAX: usize = 16;

const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// What has been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// To where it will lie.
    pub placed: usize,
    /// To the buffer.
    pub buffered: usize,
}

impl Received {
    pub const NOTHING: Received = Received { placed: 0, buffered: 0 };
}

/// Receives what is there, that of something large to where it will lie and the rest to `buffer`; `WouldBlock` when nothing
/// is there, and `NOTHING` when nothing will come.
pub fn receive<C: Conversation>(
    connection: &mut Connection<C>,
    client: &Client,
    buffer: &mut [u8],
) -> io::Result<Received> {
    let socket = client.as_raw_fd();
    // Memory is charged for what has come, not for what was promised.
    if connection.wants_place()
        && let waiting = rustix::io::ioctl_fionread(client)? as usize
        && waiting >= limits::PLACED_MIN_BYTES
        && let Some(place) = connection.place(waiting)
    {
        let room = place.len();
        let mut slices = [IoSliceMut::new(place), IoSliceMut::new(buffer)];
        let received = recvmsg::<()>(socket, &mut slices, None, MsgFlags::MSG_DONTWAIT)?.bytes;
        let placed = received.min(room);
        connection.placed(placed);
        return Ok(Received { placed, buffered: received - placed });
    }
    Ok(Received { placed: 0, buffered: recv(socket, buffer, MsgFlags::MSG_DONTWAIT)? })
}

/// The peer has said that it sends no more, or is gone.
pub fn has_hung_up(client: &Client) -> bool {
    let hung_up = PollFlags::from_bits_retain(libc::POLLRDHUP) | PollFlags::POLLHUP | PollFlags::POLLERR;
    let mut polled = [PollFd::new(client.as_fd(), hung_up)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Sends replies from where they were written, as far as the socket takes them.
pub struct Direct<'c>(pub &'c Client);

impl Sink for Direct<'_> {
    fn offer(&mut self, bytes: &[u8]) -> io::Result<Offered> {
        match send(self.0.as_raw_fd(), bytes, FLAGS) {
            Ok(sent) => Ok(Offered::Sent(sent)),
            Err(error) => passing(error.into()).map(Offered::Sent),
        }
    }
}

/// How an attempt to send what waits has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    All,
    /// The socket takes no more for now, or it is broken: `step` tells.
    Full,
    /// This turn's share has left; more could.
    Share,
}

/// Sends what waits, up to a turn's share.
pub fn send_waiting<C: Conversation>(connection: &mut Connection<C>, client: &Client) -> Left {
    let mut share = limits::SEND_MAX_BYTES;
    while !connection.outgoing().is_empty() {
        if share == 0 {
            return Left::Share;
        }
        let mut room = share;
        let mut slices = [IoSlice::new(b""); PIECES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(connection.outgoing().pieces()) {
            let step = piece.len().min(room);
            *slice = IoSlice::new(&piece[..step]);
            room -= step;
            count += 1;
            if room == 0 {
                break;
            }
        }
        let sent = SockRef::from(client).send_vectored_with_flags(&slices[..count], FLAGS.bits());
        match sent.or_else(passing) {
            Ok(0) => return Left::Full,
            Ok(sent) => {
                connection.sent(sent);
                share -= sent;
            }
            Err(_) => {
                connection.failed();
                return Left::Full;
            }
        }
    }
    Left::All
}

/// Nothing was sent, and nothing is wrong.
fn passing(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(0),
        _ => Err(error),
    }
}
