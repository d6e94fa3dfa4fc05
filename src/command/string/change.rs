//! How commands change a part of a value: where it lies, if nobody reads it; else as a copy.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::extents::Blob;
use crate::command::steps::{Progress, Work};
use crate::command::{Call, set_error};
use crate::message::error::{self, Stop};
use crate::store::shard::{Expiry, Key, NewValue};

/// A value of this length is copied ahead of a change, ...
const AHEAD_MIN_BYTES: usize = 1 << 20;
/// ... in pieces of this size: some ten microseconds.
const STEP_BYTES: usize = 1 << 17;
static ZEROS: [u8; STEP_BYTES] = [0; STEP_BYTES];

/// What a value that grows has behind what there was.
#[derive(Clone, Copy)]
pub enum Tail {
    /// As many as it takes.
    Zeros,
    /// The request's argument of this number.
    Argument(usize),
}

/// What is left of a command when a copy has been made; true if the copy is the present value, tail and all.
type Rest = fn(&mut Call, bool) -> Result<(), Stop>;

impl Call<'_, '_> {
    /// Runs the rest of a command that changes the value of the key at argument 1 and needs at least `least` bytes of it. Where
    /// much would first have to be copied, because somebody reads the value or it has to move to grow, or much is added, that
    /// is done piece by piece, while nothing is locked. If the value is then the same still, the copy takes its place, and
    /// what is left to do is quick.
    pub fn change(&mut self, least: usize, tail: Tail, rest: Rest) -> Result<(), Stop> {
        if self.is_quick(least)? { rest(self, false) } else { self.copy_ahead(least, tail, rest) }
    }

    /// Whether the change copies and adds little.
    pub fn is_quick(&mut self, least: usize) -> Result<bool, Stop> {
        let key = self.key();
        let old = self.length_of(key);
        let whole = old.max(least);
        if whole < AHEAD_MIN_BYTES || whole > self.shared.settings.largest_value_bytes.load(Relaxed) {
            return Ok(true);
        }
        let lies_there = self.guards.shard(key.hash).room_in_place(key, self.now) >= whole;
        // Where there can never be room for the copy it is made at once.
        Ok((lies_there && whole - old < AHEAD_MIN_BYTES) || self.is_within_script() || !self.room_to_work(whole)?)
    }

    /// What `change` does where it is not.
    pub fn copy_ahead(&mut self, least: usize, tail: Tail, rest: Rest) -> Result<(), Stop> {
        let before = self.handle(self.key());
        self.guards.release();
        let old = before.as_ref().map_or(0, |value| value.len());
        let whole = old.max(least);
        // Addresses for more, so that what grows by a little at a time is seldom copied.
        let with_room = if whole > old { whole + whole / 4 } else { whole };
        let mut filling = Some(self.shared.keyspace.extents(self.state.client.core).fill());
        let mut copy: Option<Blob> = None;
        self.work(Work::new(move |call| {
            if let Some(mut filled) = filling.take() {
                let from = filled.len();
                let left = match (before.as_deref().unwrap_or_default().get(from..), tail) {
                    (Some(left @ [_, ..]), _) => left,
                    (_, Tail::Zeros) => &ZEROS[..STEP_BYTES.min(whole - from)],
                    (_, Tail::Argument(index)) => &call.arg(index)[from - old..],
                };
                let piece = &left[..left.len().min(STEP_BYTES)];
                filled.push(piece, with_room).map_err(|_| error::OUT_OF_MEMORY)?;
                if filled.len() < whole {
                    filling = Some(filled);
                } else {
                    copy = Some(filled.finish_to_grow(with_room));
                }
                return Ok(Progress::More(whole));
            }
            let key = call.key();
            call.shard(key.hash)?;
            call.reserve(key, whole)?;
            let copy = copy.take().filter(|_| call.is_unchanged(key, &before));
            let is_placed = copy.is_some();
            if let Some(copy) = copy {
                let shard = call.guards.shard(key.hash);
                shard.replace_value(key, NewValue::Shared(copy), Expiry::Keep, call.now).map_err(set_error)?;
            }
            rest(call, is_placed)?;
            Ok(Progress::Done)
        }))
    }

    /// Changes a value in place of which at least `least` bytes must be there: it is created or filled up with zeros.
    /// Its time of expiry stays. The value's new length.
    pub fn rewrite(&mut self, key: Key, least: usize, mut change: impl FnMut(&mut [u8])) -> Result<usize, Stop> {
        if let Some(length) = self.edit(key, least, &mut change)? {
            return Ok(length);
        }
        let old = self.length_of(key);
        self.reserve(key, old.max(least))?;
        let mut value = crate::command::memory_for(old.max(least))?;
        if let Some(entry) = self.peek(key) {
            value.extend_from_slice(entry.value.as_slice());
        }
        let length = value.len().max(least);
        value.resize(length, 0);
        change(&mut value);
        self.store_changed(key, &value, Expiry::Keep)?;
        Ok(length)
    }

    /// The same where the value lies; none if that cannot be done.
    pub fn edit(&mut self, key: Key, least: usize, change: impl FnMut(&mut [u8])) -> Result<Option<usize>, Stop> {
        let Some(old) = self.guards.shard(key.hash).editable(key, self.now) else { return Ok(None) };
        if least > old {
            if least > self.shared.settings.largest_value_bytes.load(Relaxed) {
                return Err(error::VALUE_TOO_LARGE.into());
            }
            self.reserve(key, least - old)?;
        }
        Ok(self.guards.shard(key.hash).edit(key, least, self.now, change))
    }
}
