//! The scripts that are known, for all cores, and which of them run. It must not know how they are run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};

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
    /// It names a command that reads or writes the keyspace as a whole.
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
                    // They permit what is never forbidden here.
                    "allow-oom" | "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                    _ => return Err(format!("ERR Unexpected flag in script shebang: {flag}")),
                }
            }
        }
        Ok(Traits { is_declared: true, code_at: end, ..traits })
    }
}

pub struct Script {
    pub sha: Sha,
    /// The same for people.
    pub name: String,
    pub source: Box<[u8]>,
    pub traits: Traits,
    /// SCRIPT LOAD brought it: it stays until SCRIPT FLUSH.
    is_loaded: AtomicBool,
    last_used: AtomicU64,
    /// It is known no more; cores that have compiled it forget it.
    gone: AtomicBool,
}

impl Script {
    pub fn new(sha: Sha, source: &[u8], traits: Traits) -> Script {
        Script {
            sha,
            name: show_sha(&sha),
            source: source.into(),
            traits,
            is_loaded: AtomicBool::new(false),
            last_used: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        }
    }

    pub fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Memory held.
    fn bytes(&self) -> usize {
        self.source.len() + self.name.capacity() + size_of::<Script>() + size_of::<(Sha, Arc<Script>)>()
    }
}

pub struct Library {
    shelf: Mutex<Shelf>,
    uses: AtomicU64,
    evicted: AtomicU64,
    /// Raised by SCRIPT FLUSH: interpreters of another generation are thrown away.
    generation: AtomicU64,
    /// One for each core.
    pub running: Box<[Running]>,
}

#[derive(Default)]
struct Shelf {
    scripts: HashMap<Sha, Arc<Script>>,
    bytes: usize,
    /// Scripts that EVAL brought.
    evaluated: usize,
}

/// What one core runs just now.
#[derive(Default)]
#[repr(align(128))]
pub struct Running {
    /// Milliseconds since the epoch; 0 while no script runs.
    since: AtomicU64,
    wrote: AtomicBool,
    killed: AtomicBool,
    /// ShardGuards by the core's interpreter.
    pub interpreter_bytes: AtomicUsize,
}

impl Running {
    pub fn start(&self, now: u64) {
        self.wrote.store(false, Relaxed);
        self.killed.store(false, Relaxed);
        self.since.store(now, Relaxed);
    }

    pub fn stop(&self) {
        self.since.store(0, Relaxed);
    }

    /// For how long a script has been running.
    pub fn elapsed(&self, now: u64) -> Option<u64> {
        match self.since.load(Relaxed) {
            0 => None,
            since => Some(now.saturating_sub(since)),
        }
    }

    pub fn write(&self) {
        self.wrote.store(true, Relaxed);
    }

    pub fn has_written(&self) -> bool {
        self.wrote.load(Relaxed)
    }

    pub fn kill(&self) {
        self.killed.store(true, Relaxed);
    }

    pub fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }
}

impl Library {
    pub fn new(cores: usize) -> Library {
        Library {
            shelf: Mutex::default(),
            uses: AtomicU64::new(1),
            evicted: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            running: (0..cores).map(|_| Running::default()).collect(),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock()
    }

    pub fn find(&self, sha: &Sha) -> Option<Arc<Script>> {
        self.shelf().scripts.get(sha).cloned()
    }

    /// Makes it the last one to be forgotten.
    pub fn touch(&self, script: &Script) {
        // The one in use all the time costs no write.
        if !script.is_loaded.load(Relaxed) && script.last_used.load(Relaxed) + 1 != self.uses.load(Relaxed) {
            script.last_used.store(self.uses.fetch_add(1, Relaxed), Relaxed);
        }
    }

    /// Keeps what EVAL has brought, if there is room; others of its kind make way.
    pub fn keep(&self, script: Script) -> Arc<Script> {
        let mut shelf = self.shelf();
        if let Some(known) = shelf.scripts.get(&script.sha) {
            return known.clone();
        }
        script.last_used.store(self.uses.fetch_add(1, Relaxed), Relaxed);
        let script = Arc::new(script);
        while shelf.evaluated >= limits::SCRIPTS_EVALUATED_MAX
            || shelf.bytes + script.bytes() > limits::SCRIPTS_MAX_BYTES
        {
            let evaluated = shelf.scripts.values().filter(|script| !script.is_loaded.load(Relaxed));
            let Some(oldest) = evaluated.min_by_key(|script| script.last_used.load(Relaxed)).cloned() else {
                // It is run this once.
                script.gone.store(true, Relaxed);
                return script;
            };
            shelf.remove(&oldest);
            self.evicted.fetch_add(1, Relaxed);
        }
        shelf.evaluated += 1;
        shelf.add(script.clone());
        script
    }

    /// SCRIPT LOAD.
    pub fn load(&self, script: Script) -> Result<(), String> {
        let mut shelf = self.shelf();
        if let Some(known) = shelf.scripts.get(&script.sha).cloned() {
            if !known.is_loaded.swap(true, Relaxed) {
                shelf.evaluated -= 1;
            }
            return Ok(());
        }
        if shelf.bytes + script.bytes() > limits::SCRIPTS_MAX_BYTES {
            return Err(format!(
                "OOM the scripts that are kept have {} bytes together, which is all they may have; SCRIPT FLUSH forgets them",
                shelf.bytes
            ));
        }
        script.is_loaded.store(true, Relaxed);
        shelf.add(Arc::new(script));
        Ok(())
    }

    pub fn flush(&self) {
        let mut shelf = self.shelf();
        shelf.scripts.values().for_each(|script| script.gone.store(true, Relaxed));
        *shelf = Shelf::default();
        self.generation.fetch_add(1, Relaxed);
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// How many scripts are kept, and in how many bytes.
    pub fn totals(&self) -> (usize, usize) {
        let shelf = self.shelf();
        (shelf.scripts.len(), shelf.bytes)
    }

    /// Scripts that had to make way.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    pub fn reset_evicted(&self) {
        self.evicted.store(0, Relaxed);
    }

    /// ShardGuards by all interpreters.
    pub fn interpreter_bytes(&self) -> usize {
        self.running.iter().map(|core| core.interpreter_bytes.load(Relaxed)).sum()
    }
}

impl Shelf {
    fn add(&mut self, script: Arc<Script>) {
        self.bytes += script.bytes();
        self.scripts.insert(script.sha, script);
    }

    fn remove(&mut self, script: &Script) {
        self.bytes -= script.bytes();
        self.evaluated -= 1;
        script.gone.store(true, Relaxed);
        self.scripts.remove(&script.sha);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(source: &str) -> Script {
        Script::new(sha_of(source.as_bytes()), source.as_bytes(), Traits::default())
    }

    #[test]
    fn names() {
        let sha = sha_of(b"return 1");
        assert_eq!(show_sha(&sha), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(parse_sha(b"E0E1F9fabfc9d4800c877a703b823ac0578ff8db"), Some(sha));
        assert_eq!(parse_sha(b"e0e1"), None);
        assert_eq!(parse_sha(&[b'x'; 40]), None);
    }

    #[test]
    fn first_lines() {
        let declared = |flags| Traits::of(format!("#!lua flags={flags}\nreturn 1").as_bytes());
        assert_eq!(Traits::of(b"return 1"), Ok(Traits::default()));
        assert!(declared("no-writes,allow-stale").unwrap().no_writes);
        assert!(!declared("allow-oom").unwrap().no_writes);
        assert!(declared("").unwrap().is_declared);
        assert_eq!(declared("x"), Err("ERR Unexpected flag in script shebang: x".into()));
        assert_eq!(Traits::of(b"#!lua x=y\n"), Err("ERR Unknown lua shebang option: x=y".into()));
        assert_eq!(Traits::of(b"#!js\n"), Err("ERR Unexpected engine in script shebang: #!js".into()));
        assert_eq!(Traits::of(b"#!lua"), Err("ERR Invalid script shebang".into()));
    }

    #[test]
    fn what_eval_brings_is_forgotten_in_the_order_of_use_and_what_was_loaded_stays() {
        let library = Library::new(1);
        library.load(script("loaded")).unwrap();
        let kept: Vec<_> =
            (0..limits::SCRIPTS_EVALUATED_MAX).map(|n| library.keep(script(&format!("return {n}")))).collect();
        library.touch(&kept[0]);
        library.keep(script("one more"));
        assert!(library.find(&kept[0].sha).is_some() && library.find(&kept[1].sha).is_none());
        assert!(kept[1].is_gone() && library.evicted() == 1);
        assert!(library.find(&sha_of(b"loaded")).is_some());
        // Loaded after it was evaluated: it makes room for another.
        library.load(script("return 2")).unwrap();
        library.keep(script("yet one more"));
        assert_eq!((library.totals().0, library.evicted()), (limits::SCRIPTS_EVALUATED_MAX + 2, 1));
        library.flush();
        assert_eq!((library.totals(), kept[0].is_gone()), ((0, 0), true));
    }

    #[test]
    fn sources_are_bounded() {
        let library = Library::new(1);
        let large = |n: u8| Script::new([n; 20], &vec![n; limits::SCRIPTS_MAX_BYTES / 3], Traits::default());
        library.keep(large(1));
        library.keep(large(2));
        library.keep(large(3));
        assert_eq!((library.totals().0, library.evicted()), (2, 1));
        assert!(library.load(large(4)).unwrap_err().starts_with("OOM"));
        let too_large = Script::new([9; 20], &vec![9; limits::SCRIPTS_MAX_BYTES], Traits::default());
        assert!(library.keep(too_large).is_gone());
    }
}
