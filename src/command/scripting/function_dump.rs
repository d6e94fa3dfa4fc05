//! FUNCTION DUMP and RESTORE: all libraries as a text of bytes that Redis understands, and back: the sources one after the
//! other, each as a string of Redis's serialization, and its footer.

use std::sync::Arc;

use super::functions::read_library;
use super::memory;
use crate::command::key::dump::{STEP_BYTES, WRONG_CHECKSUM};
use crate::command::key::payload::{self, Checksum, Encoded};
use crate::command::steps::{Progress, Work};
use crate::command::{Call, is_word, memory_for, wrong_form};
use crate::message::error::Stop;
use crate::script::functions::{FunctionLibrary, Policy};

pub fn dump(call: &mut Call) -> Result<(), Stop> {
    let sources: Vec<_> = call.shared.scripts.functions.all().iter().map(|library| library.source.clone()).collect();
    let framed = |source: &Arc<[u8]>| payload::head(payload::FUNCTION, source.len()).len() + source.len();
    let bytes = sources.iter().map(framed).sum::<usize>() + payload::FOOTER_BYTES;
    call.room(bytes)?;
    let mut dumped = memory_for(bytes)?;
    let mut sources = sources.into_iter();
    let (mut checksum, mut checked) = (Some(Checksum::of(b"")), 0);
    call.work(Work::new(move |call| {
        if let Some(source) = sources.next() {
            dumped.extend_from_slice(&payload::head(payload::FUNCTION, source.len()));
            dumped.extend_from_slice(&source);
            return Ok(Progress::More(dumped.len()));
        }
        let end = dumped.len().min(checked + STEP_BYTES);
        checksum.iter_mut().for_each(|checksum| checksum.add(&dumped[checked..end]));
        checked = end;
        if checked < dumped.len() {
            return Ok(Progress::More(dumped.len()));
        }
        dumped.extend_from_slice(&checksum.take().expect("the last step comes once").footer());
        call.reply.bulk_shared(&std::mem::take(&mut dumped).into());
        Ok(Progress::Done)
    }))
}

/// What of a payload has been read.
struct Restoring {
    policy: Policy,
    /// The checksum so far, and of how many bytes it is.
    checksum: Option<Checksum>,
    checked: usize,
    /// Where the next library begins.
    at: usize,
    libraries: Vec<FunctionLibrary>,
    bytes: usize,
}

/// All libraries of the payload, or none. What they hold until then is charged as replies in waiting are.
pub fn restore(call: &mut Call) -> Result<(), Stop> {
    let policy = match call.args.len() {
        3 => Policy::Append,
        4 if is_word(call.arg(3), "APPEND") => Policy::Append,
        4 if is_word(call.arg(3), "REPLACE") => Policy::Replace,
        4 if is_word(call.arg(3), "FLUSH") => Policy::Flush,
        4 => return Err("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.".into()),
        _ => return Err(wrong_form(call.args)),
    };
    let checksum = Some(Checksum::of(b""));
    let mut restoring = Restoring { policy, checksum, checked: 0, at: 0, libraries: Vec::new(), bytes: 0 };
    call.work(Work::new(move |call| restoring.step(call)))
}

impl Restoring {
    fn step(&mut self, call: &mut Call) -> Result<Progress, Stop> {
        let (content, checked, written) = payload::open(call.arg(2)).ok_or(WRONG_CHECKSUM)?;
        if let Some(mut checksum) = self.checksum.take() {
            let end = checked.len().min(self.checked + STEP_BYTES);
            checksum.add(&checked[self.checked..end]);
            self.checked = end;
            if end < checked.len() {
                self.checksum = Some(checksum);
            } else if !checksum.is(written) {
                return Err(WRONG_CHECKSUM.into());
            }
            return Ok(Progress::More(0));
        }
        let mut rest = &content[self.at..];
        if !rest.is_empty() {
            let library = memory::granted(call, |call| self.read(call, &mut rest))?;
            self.at = content.len() - rest.len();
            self.bytes += library.bytes();
            self.libraries.push(library);
            return Ok(Progress::More(self.bytes));
        }
        call.shared.scripts.load_functions(std::mem::take(&mut self.libraries), self.policy)?;
        memory::charge_sources(call.shared);
        call.reply.ok();
        Ok(Progress::Done)
    }

    /// The library at the beginning of `rest`.
    fn read(&self, call: &mut Call, rest: &mut &[u8]) -> Result<FunctionLibrary, Stop> {
        match rest[0] {
            payload::FUNCTION => *rest = &rest[1..],
            payload::EARLY_FUNCTION => return Err("ERR Pre-GA function format not supported".into()),
            _ => return Err("ERR given type is not a function".into()),
        }
        const UNREADABLE: &str = "ERR Failed loading library data";
        let source = Encoded::take(rest).ok_or(UNREADABLE)?;
        memory::check_source(call, self.bytes + source.len())?;
        read_library(call, &source.decode().ok_or(UNREADABLE)?)
    }
}
