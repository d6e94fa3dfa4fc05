//! Libraries of functions, as FUNCTION LOAD brings them, for all cores. It must not know how they are run.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::library::{Script, Traits};
use crate::config::limits;

/// A library whose code has run once: what it is called, and which functions it has registered.
pub struct FunctionLibrary {
    pub name: String,
    pub source: Arc<[u8]>,
    /// Bytes before the code: its first line, whose end is a part of the code.
    pub code_at: usize,
    pub functions: Vec<Declared>,
}

/// A function as its library declares it.
pub struct Declared {
    pub script: Arc<Script>,
    pub description: Option<String>,
    /// In Redis's words.
    pub flags: Vec<&'static str>,
}

/// What `redis.register_function` was given.
pub struct Registered {
    pub name: String,
    pub description: Option<String>,
    pub flags: Vec<String>,
}

/// The words that a function's flags may be.
const FLAGS: [&str; 5] = ["no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys"];

impl Declared {
    /// # Errors
    /// A flag that there is not.
    fn new(registered: Registered, is_wide: bool) -> Result<Declared, String> {
        let known = |flag: &String| FLAGS.into_iter().find(|known| known == flag);
        let flags: Option<Vec<_>> = registered.flags.iter().map(known).collect();
        let flags = flags.ok_or("ERR Error registering functions: unknown flag given")?;
        let traits = Traits {
            is_declared: true,
            no_writes: flags.contains(&"no-writes"),
            is_wide: is_wide || flags.contains(&"allow-cross-slot-keys"),
            code_at: 0,
        };
        let script = Arc::new(Script::function(registered.name, traits));
        Ok(Declared { script, description: registered.description, flags })
    }
}

impl FunctionLibrary {
    /// `is_wide`: the source names a command on the whole keyspace.
    ///
    /// # Errors
    /// It has no functions, or one that is wrong.
    pub fn new(
        (name, code_at): (String, usize),
        source: &[u8],
        functions: Vec<Registered>,
        is_wide: bool,
    ) -> Result<FunctionLibrary, String> {
        if functions.is_empty() {
            return Err("ERR No functions registered".to_owned());
        }
        let functions: Result<_, _> = functions.into_iter().map(|one| Declared::new(one, is_wide)).collect();
        Ok(FunctionLibrary { name, source: source.into(), code_at, functions: functions? })
    }

    /// Memory held.
    pub fn bytes(&self) -> usize {
        let function = |one: &Declared| {
            size_of::<Declared>()
                + size_of::<Script>()
                + one.script.name.len()
                + one.description.as_ref().map_or(0, String::len)
        };
        size_of::<FunctionLibrary>()
            + self.name.len()
            + self.source.len()
            + self.functions.iter().map(function).sum::<usize>()
    }

    fn end(&self) {
        self.functions.iter().for_each(|function| function.script.end());
    }
}

/// Reads `#!lua name=mylib`: the library's name, and where its code begins.
///
/// # Errors
/// Redis's texts.
pub fn header(source: &[u8]) -> Result<(String, usize), String> {
    if !source.starts_with(b"#!") {
        return Err("ERR Missing library metadata".to_owned());
    }
    let end = memchr::memchr(b'\n', source).ok_or("ERR Invalid library metadata")?;
    let line = String::from_utf8_lossy(&source[2..end]);
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(format!("ERR Engine '{}' not found", crate::message::error::echo(engine.as_bytes())));
    }
    let mut name = None;
    for word in words {
        match word.strip_prefix("name=") {
            Some(_) if name.is_some() => {
                return Err("ERR Invalid metadata value, name argument was given multiple times".to_owned());
            }
            Some(given) => name = Some(given),
            None => {
                let shown = crate::message::error::echo(word.as_bytes());
                return Err(format!("ERR Invalid metadata value given: {shown}"));
            }
        }
    }
    let name = name.ok_or("ERR Library name was not given")?;
    if !is_name(name) {
        return Err("ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one \
                    character long"
            .to_owned());
    }
    Ok((name.to_owned(), end))
}

fn is_name(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.len() <= limits::ERROR_ECHO_MAX_BYTES && name.bytes().all(is_fine)
}

/// What becomes of the libraries that are there when others come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// They stay, and none of the others may have the name of one.
    Append,
    /// Those of which another has the name go.
    Replace,
    /// All of them go.
    Flush,
}

/// All libraries.
#[derive(Default)]
pub struct Functions(Mutex<BTreeMap<String, Arc<FunctionLibrary>>>);

impl Functions {
    /// The library that has a function, and the function.
    pub fn find(&self, function: &[u8]) -> Option<(Arc<FunctionLibrary>, Arc<Script>)> {
        self.0.lock().values().find_map(|library| {
            let found = library.functions.iter().find(|one| one.script.name.as_bytes() == function)?;
            Some((library.clone(), found.script.clone()))
        })
    }

    pub fn all(&self) -> Vec<Arc<FunctionLibrary>> {
        self.0.lock().values().cloned().collect()
    }

    pub fn bytes(&self) -> usize {
        self.0.lock().values().map(|library| library.bytes()).sum()
    }

    /// How many libraries there are, and how many functions.
    pub fn count(&self) -> (usize, usize) {
        let libraries = self.0.lock();
        (libraries.len(), libraries.values().map(|library| library.functions.len()).sum())
    }

    /// Takes in all of them, or none.
    ///
    /// # Errors
    /// A name is taken, or there are too many, or they need more than `room` bytes.
    pub(super) fn add(&self, new: Vec<FunctionLibrary>, policy: Policy, room: usize) -> Result<(), String> {
        let mut current = self.0.lock();
        let names: HashSet<_> = new.iter().map(|library| library.name.clone()).collect();
        let stays = |library: &&Arc<FunctionLibrary>| match policy {
            Policy::Append => true,
            Policy::Replace => !names.contains(&library.name),
            Policy::Flush => false,
        };
        let kept = current.values().filter(stays).cloned();
        let all: Vec<_> = kept.chain(new.into_iter().map(Arc::new)).collect();
        let (mut libraries, mut functions, mut bytes) = (BTreeMap::new(), HashSet::new(), 0);
        for library in &all {
            if libraries.insert(library.name.clone(), library.clone()).is_some() {
                return Err(format!("ERR Library '{}' already exists", library.name));
            }
            if let Some(taken) = library.functions.iter().find(|one| !functions.insert(one.script.name.as_str())) {
                return Err(format!("ERR Function {} already exists", taken.script.name));
            }
            bytes += library.bytes();
        }
        if functions.len() > limits::FUNCTIONS_MAX {
            return Err(format!("ERR there may be {} functions", limits::FUNCTIONS_MAX));
        }
        if bytes > room {
            return Err("OOM the scripts and functions that are kept may have a 32nd of maxmemory; SCRIPT FLUSH and \
                        FUNCTION DELETE forget them"
                .to_owned());
        }
        let stays =
            |before: &Arc<FunctionLibrary>| libraries.get(&before.name).is_some_and(|kept| Arc::ptr_eq(kept, before));
        current.values().filter(|before| !stays(before)).for_each(|before| before.end());
        *current = libraries;
        Ok(())
    }

    pub(super) fn delete(&self, name: &[u8]) -> bool {
        let removed = std::str::from_utf8(name).ok().and_then(|name| self.0.lock().remove(name));
        removed.inspect(|library| library.end()).is_some()
    }

    pub(super) fn flush(&self) {
        std::mem::take(&mut *self.0.lock()).values().for_each(|library| library.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        assert_eq!(header(b"#!lua name=mylib\nreturn"), Ok(("mylib".to_owned(), 16)));
        assert_eq!(header(b"#!LUA   name=a_1 \n"), Ok(("a_1".to_owned(), 17)));
        for (source, reason) in [
            ("return 1", "ERR Missing library metadata"),
            ("#!lua name=x", "ERR Invalid library metadata"),
            ("#!js name=x\n", "ERR Engine 'js' not found"),
            ("#!lua\n", "ERR Library name was not given"),
            ("#!lua name=x name=y\n", "ERR Invalid metadata value, name argument was given multiple times"),
            ("#!lua foo=x\n", "ERR Invalid metadata value given: foo=x"),
            ("#!lua name=a-b\n", "ERR Library names can only contain"),
            ("#!lua name=\n", "ERR Library names can only contain"),
        ] {
            assert!(header(source.as_bytes()).unwrap_err().starts_with(reason), "{source}");
        }
    }

    fn library(name: &str, functions: &[&str], source: &[u8]) -> FunctionLibrary {
        let registered = |name: &&str| Registered { name: (*name).to_owned(), description: None, flags: Vec::new() };
        FunctionLibrary::new((name.to_owned(), 0), source, functions.iter().map(registered).collect(), false).unwrap()
    }

    #[test]
    fn names_are_taken_once_and_all_is_bounded() {
        let functions = Functions::default();
        let add = |library, policy| functions.add(vec![library], policy, 100_000);
        add(library("a", &["f", "g"], b""), Policy::Append).unwrap();
        assert!(add(library("a", &["h"], b""), Policy::Append).unwrap_err().contains("Library 'a' already exists"));
        assert!(add(library("b", &["g"], b""), Policy::Append).unwrap_err().contains("Function g already exists"));
        let (_, before) = functions.find(b"f").unwrap();
        add(library("a", &["f", "h"], b""), Policy::Replace).unwrap();
        assert!(before.is_gone() && functions.find(b"g").is_none() && functions.count() == (1, 2));
        assert!(add(library("b", &["g"], &[0; 100_000]), Policy::Append).unwrap_err().starts_with("OOM"));
        let many: Vec<_> = (0..=limits::FUNCTIONS_MAX).map(|number| format!("n{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let many = functions.add(vec![library("b", &many, b"")], Policy::Append, usize::MAX);
        assert!(many.unwrap_err().contains("there may be"));
        assert!(functions.delete(b"a") && !functions.delete(b"a"));
        assert_eq!((functions.count(), functions.bytes()), ((0, 0), 0));
    }
    #[test]
    fn several_come_together_or_not_at_all() {
        let functions = Functions::default();
        let add = |new, policy| functions.add(new, policy, 100_000);
        let both = || vec![library("a", &["f"], b""), library("b", &["g"], b"")];
        add(both(), Policy::Append).unwrap();
        let (a, f) = functions.find(b"f").unwrap();
        add(vec![library("c", &["h"], b""), library("b", &["i"], b"")], Policy::Append).unwrap_err();
        add(vec![library("c", &["h"], b""), library("c", &["i"], b"")], Policy::Replace).unwrap_err();
        add(vec![library("c", &["h"], b""), library("d", &["h"], b"")], Policy::Flush).unwrap_err();
        add(vec![library("c", &["f"], b"")], Policy::Replace).unwrap_err();
        assert!(functions.count() == (2, 2) && !f.is_gone());
        add(vec![library("c", &["h"], b""), library("b", &["i"], b"")], Policy::Replace).unwrap();
        assert!(functions.count() == (3, 3) && functions.find(b"g").is_none() && !f.is_gone());
        assert!(Arc::ptr_eq(&functions.find(b"f").unwrap().0, &a), "who is not replaced goes on");
        add(vec![library("d", &["f"], b"")], Policy::Flush).unwrap();
        assert!(functions.count() == (1, 1) && f.is_gone());
        add(Vec::new(), Policy::Append).unwrap();
        add(Vec::new(), Policy::Flush).unwrap();
        assert_eq!((functions.count(), functions.bytes()), ((0, 0), 0));
    }
}
