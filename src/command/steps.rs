//! Commands that take long work in steps and give way: what is left of one is kept with its connection, and goes on in the
//! connection's next turn as if the request had come then.

use bytes::Bytes;

use super::Call;
use crate::base::clock;
use crate::config::limits;
use crate::message::error::Stop;
use crate::store::shard::Key;

/// What is left of a command: called again and again until it is done. Each step takes a tenth of a millisecond or so, owns
/// what it works on, and locks what it needs of the keyspace by itself: between steps nothing is locked.
pub struct Work {
    step: Step,
    /// What of its reply it holds already.
    bytes: usize,
}

type Step = Box<dyn FnMut(&mut Call<'_, '_>) -> Result<Progress, Stop>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more to do; so many bytes are held for the reply.
    More(usize),
    /// The reply is written.
    Done,
}

impl Work {
    pub fn new(step: impl FnMut(&mut Call<'_, '_>) -> Result<Progress, Stop> + 'static) -> Work {
        Work { step: Box::new(step), bytes: 0 }
    }

    pub fn held_bytes(&self) -> usize {
        self.bytes
    }
}

impl Call<'_, '_> {
    /// Does a part of the work, and keeps what is left of it for the next turn. Within a transaction or a script, which is
    /// one step for everybody else, it is done at once.
    pub fn work(&mut self, mut work: Work) -> Result<(), Stop> {
        let gives_way = self.state.room.may_wait && !self.is_within_script();
        let begun = clock::tick();
        loop {
            let stop = match (work.step)(self) {
                Ok(Progress::Done) => return Ok(()),
                Ok(Progress::More(bytes)) => {
                    work.bytes = bytes;
                    if !gives_way || begun.elapsed() < limits::TURN_TIME {
                        continue;
                    }
                    Stop::Retry
                }
                Err(stop @ (Stop::Retry | Stop::Busy | Stop::Full)) => stop,
                Err(stop) => return Err(stop),
            };
            self.state.unfinished = Some(work);
            return Err(stop);
        }
    }

    /// A value as it is now, to work on or to compare with.
    pub fn handle(&mut self, key: Key) -> Option<Bytes> {
        self.peek(key).map(|entry| entry.value.to_bytes())
    }

    /// Whether a value is what it was when `before` was its handle. A large one that nobody has changed lies where it was, as
    /// long as the handle is kept; a small one is compared.
    pub fn is_unchanged(&mut self, key: Key, before: &Option<Bytes>) -> bool {
        match (self.peek(key).map(|entry| entry.value.as_slice()), before.as_deref()) {
            (Some(now), Some(before)) if before.len() >= limits::STREAMED_ARGUMENT_MIN_BYTES => {
                std::ptr::eq(now, before)
            }
            (now, before) => now == before,
        }
    }
}
