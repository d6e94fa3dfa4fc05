//! The scripts that are known, for all cores, and which of them run. It must not know how they are run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};

use super::functions::{FunctionLibrary, Functions, Policy};
use crate::config::limits;

/// SHA-1 of a script's source: its name.
pub type Sha = [u8; 20];

pub fn sha_of(source: &[u8]) -> Sha {
    sha1_smol::Sha1::from(source).digest().bytes()
}

/// 40 hexadecimal digits in either case.
pub fn parse_sha(text: &[u8]) -> Option<Sha> {
    if text.len() != 40 {
        return None;
    }
    let digit = |byte: u8| Some(char::from(byte).to_digit(16)? as u8);
    let mut sha = [0; 20];
    for (byte, pair) in sha.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(sha)
}

pub fn show_sha(sha: &Sha) -> String {
    sha.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a script says of itself in its first line, `#!lua flags=...`, and what its source shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// It has such a line.
    pub is_declared: bool,
    pub no_writes: bool,
    /// It names a command that reads or writes the keyspace as a whole, or says that it reaches for keys that it was not
    /// given.
    pub is_wide: bool,
    /// Bytes before the code: the line is not part of it, its end is.
    pub code_at: usize,
}

impl Traits {
    /// Reads the first line.
    pub fn of(source: &[u8]) -> Result<Traits, String> {
        let mut traits = Traits::default();
        if !source.starts_with(b"#!") {
            return Ok(traits);
        }
        let Some(end) = memchr::memchr(b'\n', source) else { return Err("ERR Invalid script shebang".to_owned()) };
        let line = String::from_utf8_lossy(&source[..end]);
        let mut words = line.split_ascii_whitespace();
        let engine = words.next().unwrap_or_default();
        if engine != "#!lua" {
            return Err(format!("ERR Unexpected engine in script shebang: {engine}"));
        }
        for word in words {
            let Some(flags) = word.strip_prefix("flags=") else {
                return Err(format!("ERR Unknown lua shebang option: {word}"));
            };
            for flag in flags.split(',').filter(|flag| !flag.is_empty()) {
                match flag {
                    "no-writes" => traits.no_writes = true,
                    "allow-cross-slot-keys" => traits.is_wide = true,
                    // They permit what is never forbidden here.
                    "allow-oom" | "allow-stale" | "no-cluster" => {}
                    _ => return Err(format!("ERR Unexpected flag in script shebang: {flag}")),
                }
            }
        }
        Ok(Traits { is_declared: true, code_at: end, ..traits })
    }
}

/// A script without its source, which only the library keeps: what a core has compiled holds no more than this.
pub struct Script {
    pub sha: Sha,
    /// The same for people.
    pub name: String,
    pub traits: Traits,
    /// SCRIPT LOAD brought it: it stays until SCRIPT FLUSH.
    is_loaded: AtomicBool,
    last_used: AtomicU64,
    /// It is known no more; cores that have compiled it forget it.
    gone: AtomicBool,
}

impl Script {
    pub fn new(sha: Sha, traits: Traits) -> Script {
        Script {
            sha,
            name: show_sha(&sha),
            traits,
            is_loaded: AtomicBool::new(false),
            last_used: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        }
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// It is known no more.
    pub(super) fn end(&self) {
        self.gone.store(true, Relaxed);
    }

    /// A function of a library: it stays until it is ended, and nobody counts its uses.
    pub(super) fn function(name: String, traits: Traits) -> Script {
        Script { name, is_loaded: AtomicBool::new(true), ..Script::new(Sha::default(), traits) }
    }
}

/// A script as the library keeps it.
struct Kept {
    script: Arc<Script>,
    source: Arc<[u8]>,
}

impl Kept {
    fn new(script: Script, source: &[u8]) -> Kept {
        Kept { script: Arc::new(script), source: source.into() }
    }

    /// Memory held.
    fn bytes(&self) -> usize {
        self.source.len() + self.script.name.capacity() + size_of::<Script>() + size_of::<(Sha, Kept)>()
    }
}

/// What scripts and functions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How many scripts are kept, and in how many bytes.
    pub scripts: usize,
    pub script_bytes: usize,
    /// Of the libraries of functions.
    pub function_bytes: usize,
    /// Charged for the interpreters, each of which runs both.
    pub interpreter_bytes: usize,
}

impl Held {
    pub fn source_bytes(&self) -> usize {
        self.script_bytes + self.function_bytes
    }

    pub fn bytes(&self) -> usize {
        self.source_bytes() + self.interpreter_bytes
    }
}

pub struct Library {
    shelf: Mutex<Shelf>,
    pub functions: Functions,
    /// What all sources together may have.
    limit_bytes: AtomicUsize,
    uses: AtomicU64,
    evicted: AtomicU64,
    /// Raised by SCRIPT FLUSH: interpreters of another generation are thrown away.
    generation: AtomicU64,
    has_changed: AtomicBool,
    /// Raised by whatever forgets a script: cores forget what they have compiled of it.
    departures: AtomicU64,
    /// One for each core.
    pub running: Box<[Running]>,
}

#[derive(Default)]
struct Shelf {
    scripts: HashMap<Sha, Kept>,
    bytes: usize,
    /// Of them, what `take_change` has told.
    told_bytes: usize,
    /// Scripts that EVAL brought.
    evaluated: usize,
}

/// What one core runs just now.
#[derive(Default)]
#[repr(align(128))]
pub struct Running {
    /// Milliseconds since the epoch, and in the two lowest bits what has become of the script; 0 while none runs. One word,
    /// so that of its first write and SCRIPT KILL only one comes about.
    state: AtomicU64,
    /// The function that it is, if it is one.
    pub function: Mutex<Option<Arc<Script>>>,
    /// Charged for the core's interpreter; while a script runs, for all that it may hold.
    pub charged_bytes: AtomicUsize,
}

const WROTE: u64 = 1;
const KILLED: u64 = 2;
const FLAGS: u64 = WROTE | KILLED;

impl Running {
    pub fn start(&self, now: u64) {
        self.state.store(now << 2, Relaxed);
    }

    pub fn stop(&self) {
        self.state.store(0, Relaxed);
    }

    /// For how long a script has been running.
    pub fn elapsed(&self, now: u64) -> Option<u64> {
        match self.state.load(Relaxed) >> 2 {
            0 => None,
            since => Some(now.saturating_sub(since)),
        }
    }

    /// The script is about to write; false if it has been killed before it could.
    pub fn write(&self) -> bool {
        let state = self.state.load(Relaxed);
        state & WROTE != 0 || self.settle(state, WROTE)
    }

    /// Ends the script that has been running since before `since`; false if there is none, or it has written.
    pub fn kill(&self, now: u64, longer_than: u64) -> bool {
        let state = self.state.load(Relaxed);
        state & KILLED != 0 || (now.saturating_sub(state >> 2) >= longer_than && self.settle(state, KILLED))
    }

    /// The first of the two that comes decides.
    fn settle(&self, state: u64, flag: u64) -> bool {
        let open = state & FLAGS == 0 && state != 0;
        open && self.state.compare_exchange(state, state | flag, Ordering::AcqRel, Relaxed).is_ok()
    }

    pub fn has_written(&self) -> bool {
        self.state.load(Relaxed) & WROTE != 0
    }

    pub fn is_killed(&self) -> bool {
        self.state.load(Relaxed) & KILLED != 0
    }
}

impl Library {
    pub fn new(cores: usize) -> Library {
        Library {
            shelf: Mutex::default(),
            functions: Functions::default(),
            limit_bytes: AtomicUsize::new(limits::SCRIPTS_MIN_BYTES),
            uses: AtomicU64::new(1),
            evicted: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            departures: AtomicU64::new(0),
            has_changed: AtomicBool::new(false),
            running: (0..cores).map(|_| Running::default()).collect(),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }

    pub fn set_limit(&self, bytes: usize) {
        self.limit_bytes.store(bytes, Relaxed);
    }

    pub fn find(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.shelf().scripts.get(sha).map(|kept| kept.script.clone())
    }

    pub fn source(&self, sha: &Sha) -> Option<Arc<[u8]>> {
        self.shelf().scripts.get(sha).map(|kept| kept.source.clone())
    }

    /// Makes it the last one to be forgotten.
    pub fn touch(&self, script: &Script) {
        // The one in use all the time costs no write.
        if !script.is_loaded.load(Relaxed) && script.last_used.load(Relaxed) + 1 != self.uses.load(Relaxed) {
            script.last_used.store(self.uses.fetch_add(1, Relaxed), Relaxed);
        }
    }

    /// Keeps what EVAL has brought, if there is room; others of its kind make way.
    pub fn keep(&self, script: Script, source: &[u8]) -> Arc<Script> {
        let mut shelf = self.shelf();
        if let Some(known) = shelf.scripts.get(&script.sha) {
            return known.script.clone();
        }
        script.last_used.store(self.uses.fetch_add(1, Relaxed), Relaxed);
        let kept = Kept::new(script, source);
        let functions = self.functions.bytes();
        let script = kept.script.clone();
        while shelf.evaluated >= limits::SCRIPTS_EVALUATED_MAX
            || shelf.bytes + kept.bytes() + functions > self.limit_bytes.load(Relaxed)
        {
            let evaluated = shelf.scripts.values().filter(|kept| !kept.script.is_loaded.load(Relaxed));
            let Some(oldest) = evaluated.min_by_key(|kept| kept.script.last_used.load(Relaxed)) else {
                // It is run this once.
                script.gone.store(true, Relaxed);
                return script;
            };
            let oldest = oldest.script.sha;
            shelf.remove(&oldest);
            self.departures.fetch_add(1, Relaxed);
            self.evicted.fetch_add(1, Relaxed);
        }
        shelf.evaluated += 1;
        shelf.add(kept);
        self.has_changed.store(true, Relaxed);
        script
    }

    /// SCRIPT LOAD.
    pub fn load(&self, script: Script, source: &[u8]) -> Result<(), String> {
        let mut shelf = self.shelf();
        if let Some(known) = shelf.scripts.get(&script.sha).map(|kept| kept.script.clone()) {
            if !known.is_loaded.swap(true, Relaxed) {
                shelf.evaluated -= 1;
            }
            return Ok(());
        }
        let kept = Kept::new(script, source);
        let functions = self.functions.bytes();
        if shelf.bytes + kept.bytes() + functions > self.limit_bytes.load(Relaxed) {
            return Err(format!(
                "OOM the scripts that are kept have {} bytes together, and may have a 32nd of maxmemory; SCRIPT FLUSH forgets them",
                shelf.bytes
            ));
        }
        kept.script.is_loaded.store(true, Relaxed);
        shelf.add(kept);
        self.has_changed.store(true, Relaxed);
        Ok(())
    }

    /// FUNCTION LOAD and RESTORE: all of them, or none.
    ///
    /// # Errors
    /// A name is taken, or there is no room.
    pub fn load_functions(&self, libraries: Vec<FunctionLibrary>, policy: Policy) -> Result<(), String> {
        let room = self.limit_bytes.load(Relaxed).saturating_sub(self.shelf().bytes);
        self.functions.add(libraries, policy, room)?;
        self.note_departure();
        Ok(())
    }

    /// FUNCTION DELETE; false if there is no such library.
    pub fn delete_functions(&self, library: &[u8]) -> bool {
        let was_there = self.functions.delete(library);
        self.note_departure();
        was_there
    }

    /// FUNCTION FLUSH.
    pub fn flush_functions(&self) {
        self.functions.flush();
        self.note_departure();
    }

    fn note_departure(&self) {
        self.has_changed.store(true, Relaxed);
        self.departures.fetch_add(1, Relaxed);
    }

    pub fn flush(&self) {
        let mut shelf = self.shelf();
        shelf.scripts.values().for_each(|kept| kept.script.gone.store(true, Relaxed));
        *shelf = Shelf { told_bytes: shelf.told_bytes, ..Shelf::default() };
        self.has_changed.store(true, Relaxed);
        self.generation.fetch_add(1, Relaxed);
        self.departures.fetch_add(1, Relaxed);
    }

    /// Whether `take_change` has something to tell, as far as is known without waiting.
    pub fn has_changed(&self) -> bool {
        self.has_changed.load(Relaxed)
    }

    /// How many bytes more, or less, the sources take than when it was asked last.
    pub fn take_change(&self) -> isize {
        let mut shelf = self.shelf();
        self.has_changed.store(false, Relaxed);
        let held = shelf.bytes + self.functions.bytes();
        let change = held as isize - shelf.told_bytes as isize;
        shelf.told_bytes = held;
        change
    }

    /// How often a script was forgotten.
    pub fn departures(&self) -> u64 {
        self.departures.load(Relaxed)
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    pub fn held(&self) -> Held {
        let shelf = self.shelf();
        Held {
            scripts: shelf.scripts.len(),
            script_bytes: shelf.bytes,
            function_bytes: self.functions.bytes(),
            interpreter_bytes: self.running.iter().map(|core| core.charged_bytes.load(Relaxed)).sum(),
        }
    }

    /// Scripts that had to make way.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    pub fn reset_evicted(&self) {
        self.evicted.store(0, Relaxed);
    }
}

impl Shelf {
    fn add(&mut self, kept: Kept) {
        self.bytes += kept.bytes();
        self.scripts.insert(kept.script.sha, kept);
    }

    fn remove(&mut self, sha: &Sha) {
        let kept = self.scripts.remove(sha).expect("found before");
        self.bytes -= kept.bytes();
        self.evaluated -= 1;
        kept.script.gone.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests;
