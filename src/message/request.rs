//! Requests as arguments, wherever their bytes lie: spans of the input, or allocations of their own. It must not know a
//! protocol.

use std::collections::TryReserveError;

use bytes::Bytes;

use crate::base::extents::Blob;
use crate::config::limits;

/// Where an argument lies: in the input, or aside in an allocation of its own.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    /// `ASIDE` marks an argument kept aside; `start` is then its index.
    len: u32,
}

const ASIDE: u32 = u32::MAX;

/// An argument whose bytes do not lie in the input as they are meant.
#[derive(Clone)]
pub(super) enum Aside {
    /// An inline word without its quotes, or what was put together here.
    Word(Bytes),
    /// A streamed value, in its place.
    Value(Blob),
}

impl std::ops::Deref for Aside {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Aside::Word(bytes) => bytes,
            Aside::Value(blob) => blob,
        }
    }
}

/// The arguments of one or more requests, in order. Kept between calls so that parsing allocates nothing.
#[derive(Default)]
pub struct Args {
    spans: Vec<Span>,
    /// Streamed values, and inline words without their quotes: bytes that do not lie in the input as they are meant.
    asides: Vec<Aside>,
}

impl Args {
    pub fn clear(&mut self) {
        self.spans.clear();
        self.asides.clear();
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The arguments number `from` up to `to`, read from the input that they were parsed from.
    pub fn view<'a>(&'a self, input: &'a [u8], from: usize, to: usize) -> Arguments<'a> {
        Arguments { input, spans: &self.spans[from..to], asides: &self.asides }
    }

    /// The arguments number `from` up to `to`, for an input that will begin `offset` bytes later: all of them are taken as
    /// they are where nothing moves, and else copied.
    pub fn take(&mut self, from: usize, to: usize, offset: usize) -> Args {
        if offset == 0 && from == 0 && to == self.len() && to >= limits::BATCH_ARGUMENTS_MAX {
            return std::mem::take(self);
        }
        // No more than they need: a crowd of connections may have begun a request.
        let mut kept = Args::default();
        for span in &self.spans[from..to] {
            if span.len == ASIDE {
                kept.push_aside(self.asides[span.start as usize].clone());
            } else {
                kept.spans.push(Span { start: (span.start as usize - offset) as u32, len: span.len });
            }
        }
        kept
    }

    /// Bytes that do not lie in the input, and the handles of them.
    pub fn aside_bytes(&self) -> usize {
        self.asides.iter().map(|aside| aside.len()).sum::<usize>() + self.asides.capacity() * size_of::<Aside>()
    }

    /// Memory held for the positions of arguments.
    pub fn capacity_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
    }

    /// Gives back what a request of many arguments made this grow to.
    pub fn shrink(&mut self) {
        self.spans.shrink_to(limits::BATCH_ARGUMENTS_MAX);
    }

    /// An argument that lies in the input. An error, and no change, when the process may have no more memory.
    #[inline]
    pub fn push(&mut self, start: usize, len: usize) -> Result<(), TryReserveError> {
        if self.spans.len() == self.spans.capacity() {
            self.reserve(1)?;
        }
        self.spans.push(Span { start: start as u32, len: len as u32 });
        Ok(())
    }

    /// Sees to the room for so many more.
    #[cold]
    pub fn reserve(&mut self, arguments: usize) -> Result<(), TryReserveError> {
        self.spans.try_reserve(arguments)
    }

    pub fn push_word(&mut self, bytes: Bytes) {
        self.push_aside(Aside::Word(bytes));
    }

    pub fn push_value(&mut self, value: Blob) {
        self.push_aside(Aside::Value(value));
    }

    pub(super) fn push_aside(&mut self, bytes: Aside) {
        self.spans.push(Span { start: self.asides.len() as u32, len: ASIDE });
        self.asides.push(bytes);
    }
}

/// One request's arguments, borrowed.
#[derive(Clone, Copy)]
pub struct Arguments<'a> {
    input: &'a [u8],
    spans: &'a [Span],
    asides: &'a [Aside],
}

impl<'a> Arguments<'a> {
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Argument `index`; 0 is the command's name. Panics beyond the last: the arity was checked before.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        let Span { start, len } = self.spans[index];
        if len == ASIDE {
            &self.asides[start as usize]
        } else {
            &self.input[start as usize..start as usize + len as usize]
        }
    }

    /// All but the first `count`: a request inside a request.
    pub fn skip(self, count: usize) -> Arguments<'a> {
        Arguments { spans: &self.spans[count..], ..self }
    }

    /// The handle of an argument that was streamed to its place.
    pub fn value(&self, index: usize) -> Option<&'a Blob> {
        match self.aside(index)? {
            Aside::Value(blob) => Some(blob),
            Aside::Word(_) => None,
        }
    }

    pub(super) fn aside(&self, index: usize) -> Option<&'a Aside> {
        let Span { start, len } = self.spans[index];
        (len == ASIDE).then(|| &self.asides[start as usize])
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let this = *self;
        (0..this.len()).map(move |index| this.get(index))
    }
}
