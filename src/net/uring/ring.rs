//! The operations that are put on the ring, each with the memory and the socket it needs until it is done.
//!
//! Every operation owns its `Client` (and with it the descriptor) and its buffer while the kernel works on them, even
//! if its future is dropped: tokio-uring keeps the stored data until the completion arrives.
#![allow(unsafe_code)] // Three things the kernel's interface asks for, each with its reason.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use tokio_uring::buf::fixed::FixedBuf;
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use super::buffers::Buffer;
use crate::clients::Client;
use crate::config::limits;
use crate::net::listener::Listener;

/// An operation under way; awaiting it gives the result and the data back.
pub type Operation<D> = InFlightOneshot<D, GiveBack<D>>;

/// Hands the result and the stored data to whoever waits.
pub struct GiveBack<D>(std::marker::PhantomData<D>);

impl<D: 'static> OneshotOutputTransform for GiveBack<D> {
    type Output = (io::Result<usize>, D);
    type StoredData = D;

    fn transform_oneshot_output(self, data: D, done: cqueue::Entry) -> Self::Output {
        let result = done.result();
        let result = if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) };
        (result, data)
    }
}

/// What poll waits for: input, or the end of it.
const INPUT: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;

fn submit<D: Unpin + 'static>(data: D, entry: squeue::Entry) -> Operation<D> {
    UnsubmittedOneshot::new(data, GiveBack(std::marker::PhantomData), entry).submit()
}

fn descriptor(client: &Client) -> Fd {
    Fd(client.as_fd().as_raw_fd())
}

pub type Receive = Operation<(Arc<Client>, Buffer)>;

/// Waits for input and receives into `buffer`. `later`: none is expected to be there already, so trying first would be
/// in vain.
pub fn receive(client: Arc<Client>, mut buffer: Buffer, later: bool, has_poll_first: bool) -> Receive {
    let (socket, start, len) = (descriptor(&client), buffer.as_mut_ptr(), buffer.len() as u32);
    let entry = match &buffer {
        Buffer::Registered(fixed) => {
            if later {
                wait_before_next(socket);
            }
            opcode::ReadFixed::new(socket, start, len, fixed.buf_index()).build()
        }
        Buffer::Ordinary(_) if later && has_poll_first => poll_first(opcode::Recv::new(socket, start, len).build()),
        Buffer::Ordinary(_) => opcode::Recv::new(socket, start, len).build(),
    };
    submit((client, buffer), entry)
}

/// Has the operation that is put on the ring next begin when there is input. If this one fails or is called back, the
/// next is called back too; if the queue is handed over between the two, the next waits by itself.
fn wait_before_next(socket: Fd) {
    let entry = opcode::PollAdd::new(socket, INPUT).build().flags(squeue::Flags::IO_LINK);
    // Nobody waits for it: the next one tells.
    drop(submit((), entry));
}

/// Has a receive wait at once instead of trying first. Linux 5.19.
fn poll_first(mut entry: squeue::Entry) -> squeue::Entry {
    const IORING_RECVSEND_POLL_FIRST: u16 = 1;
    // SAFETY: an entry is the kernel's `io_uring_sqe`, which begins with two single bytes, opcode and flags, and then
    // has this field, `ioprio`. The crate has no setter for it on this operation.
    unsafe { (&raw mut entry).cast::<u16>().add(1).write(IORING_RECVSEND_POLL_FIRST) };
    entry
}

/// Waits for input without a buffer.
pub fn readable(client: Arc<Client>) -> Operation<Arc<Client>> {
    let entry = opcode::PollAdd::new(descriptor(&client), INPUT).build();
    submit(client, entry)
}

/// What is being sent.
pub enum Chunk {
    /// The bytes `from..to` of a registered buffer.
    Registered { buffer: FixedBuf, from: usize, to: usize },
    /// A piece that is sent from where it lies.
    Direct(Bytes),
}

impl Chunk {
    pub fn len(&self) -> usize {
        match self {
            Chunk::Registered { from, to, .. } => to - from,
            Chunk::Direct(bytes) => bytes.len(),
        }
    }
}

pub type Send = Operation<(Arc<Client>, Chunk)>;

/// Sends; the socket may take only part of it.
pub fn send(client: Arc<Client>, chunk: Chunk) -> Send {
    let socket = descriptor(&client);
    let entry = match &chunk {
        Chunk::Registered { buffer, from, to } => {
            let (start, len) = (buffer[*from..*to].as_ptr(), (to - from) as u32);
            opcode::WriteFixed::new(socket, start, len, buffer.buf_index()).build()
        }
        Chunk::Direct(bytes) => {
            let len = bytes.len().min(limits::SEND_MAX_BYTES) as u32;
            opcode::Send::new(socket, bytes.as_ptr(), len).flags(libc::MSG_NOSIGNAL).build()
        }
    };
    submit((client, chunk), entry)
}

/// Waits for a connection and accepts it. It is not the ring that accepts: somebody else may take the connection while
/// this core is busy.
pub async fn accept(listener: Rc<Listener>) -> io::Result<OwnedFd> {
    loop {
        match listener.socket.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            accepted => return Ok(accepted?.0.into()),
        }
        let entry = opcode::PollAdd::new(Fd(listener.socket.as_raw_fd()), libc::POLLIN as u32).build();
        submit(listener.clone(), entry).await.0?;
    }
}

/// Asks the kernel to give up the operation that waits on this socket. Linux 5.19; earlier ones refuse, and the
/// operation goes on waiting.
pub fn cancel(client: Arc<Client>) {
    let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(descriptor(&client))).build();
    // Nobody waits for the answer: the cancelled operation itself completes with ECANCELED.
    drop(submit(client, entry));
}

/// Puts one operation on a ring that no runtime owns yet.
pub fn push_nop(ring: &mut IoUring, entry: squeue::Entry) -> io::Result<()> {
    // SAFETY: a no-op refers to no memory.
    unsafe { ring.submission().push(&entry) }.map_err(|_| io::Error::other("the submission queue is full"))
}
