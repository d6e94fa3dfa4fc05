//! One core's interpreter and the scripts it has compiled. It must not know commands.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::functions::{FunctionLibrary, Registered};
use super::library::{Library, Script, Sha, Traits};
use super::{Compiled, Host, Interpreter, Pulse};
use crate::message::reply::Reply;

pub struct Runner {
    pulse: Rc<Pulse>,
    /// Made when the first script comes.
    interpreter: Option<Interpreter>,
    compiled: HashMap<Sha, (Arc<Script>, Compiled)>,
    /// By name.
    functions: HashMap<String, (Arc<Script>, Compiled)>,
    /// Of the library when the interpreter was made.
    generation: u64,
    /// Of the library when `compiled` was looked through.
    departures: u64,
    memory_limit_bytes: usize,
    /// What the next script may hold: `memory_limit_bytes`, or less when there is no room for that.
    pub granted_bytes: usize,
}

impl Runner {
    pub fn new(memory_limit_bytes: usize, pulse: Pulse) -> Runner {
        Runner {
            pulse: Rc::new(pulse),
            interpreter: None,
            compiled: HashMap::new(),
            functions: HashMap::new(),
            generation: 0,
            departures: 0,
            memory_limit_bytes,
            granted_bytes: 0,
        }
    }

    pub fn memory_limit_bytes(&self) -> usize {
        self.memory_limit_bytes
    }

    /// Held by the interpreter.
    pub fn used_bytes(&self) -> usize {
        self.interpreter.as_ref().map_or(0, Interpreter::used_bytes)
    }

    /// Something was forgotten of which this core may hold something.
    pub fn is_outdated(&self, library: &Library) -> bool {
        library.departures() != self.departures
    }

    /// Throws away what SCRIPT FLUSH has ended, what is known no more, and what the last script has worn out.
    pub fn tidy(&mut self, library: &Library) {
        let generation = library.generation();
        let is_full = |interpreter: &Interpreter| interpreter.settled_bytes() > self.memory_limit_bytes / 2;
        if generation != self.generation
            || self.interpreter.as_ref().is_some_and(|interpreter| interpreter.is_poisoned() || is_full(interpreter))
        {
            self.start_anew();
            self.generation = generation;
        }
        let departures = library.departures();
        if departures != self.departures {
            self.compiled.retain(|_, (script, _)| !script.is_gone());
            self.functions.retain(|_, (script, _)| !script.is_gone());
            self.departures = departures;
        }
    }

    /// Lets go of the interpreter and of all that it has compiled: the next script makes another.
    pub fn start_anew(&mut self) {
        self.compiled.clear();
        self.functions.clear();
        self.interpreter = None;
    }

    fn interpreter(&mut self) -> Result<&mut Interpreter, Cow<'static, str>> {
        if self.interpreter.is_none() {
            let pulse = self.pulse.clone();
            let made = Interpreter::new(Box::new(move || pulse()));
            self.interpreter = Some(made.map_err(|error| format!("ERR Lua cannot start: {error}"))?);
        }
        let interpreter = self.interpreter.as_mut().expect("made above");
        interpreter.memory_limit_bytes = self.granted_bytes;
        Ok(interpreter)
    }

    /// A script that this core has compiled before, and is still known.
    pub fn known(&self, sha: &Sha) -> Option<(Arc<Script>, Compiled)> {
        self.compiled.get(sha).filter(|(script, _)| !script.is_gone()).cloned()
    }

    /// Compiles a source.
    pub fn compile(&mut self, source: &[u8], traits: &Traits) -> Result<Compiled, Cow<'static, str>> {
        let code = &source[traits.code_at..];
        let mut compiled = self.interpreter()?.compile(code);
        if compiled.as_ref().is_err_and(|text| text.ends_with(super::NOT_ENOUGH_MEMORY)) && !self.compiled.is_empty() {
            // What other scripts have left takes its room.
            self.start_anew();
            compiled = self.interpreter()?.compile(code);
        }
        compiled.map_err(|error| format!("ERR Error compiling script (new function): {error}").into())
    }

    /// Runs the code of a library, and tells what functions it has registered.
    ///
    /// # Errors
    /// It is none, or has failed.
    pub fn try_library(&mut self, code: &[u8]) -> Result<Vec<(Registered, Compiled)>, String> {
        self.interpreter()?.load_library(code)
    }

    /// A function of a library, whose code runs on this core when the first one is called.
    ///
    /// # Errors
    /// The library fails here: for want of memory, above all.
    pub fn function(&mut self, library: &FunctionLibrary, wanted: &Arc<Script>) -> Result<Compiled, String> {
        let is_wanted =
            |(script, compiled): &(Arc<Script>, Compiled)| Arc::ptr_eq(script, wanted).then(|| compiled.clone());
        if let Some(compiled) = self.functions.get(&wanted.name).and_then(is_wanted) {
            return Ok(compiled);
        }
        for (registered, compiled) in self.try_library(&library.source[library.code_at..])? {
            if let Some(declared) = library.functions.iter().find(|one| one.script.name == registered.name) {
                self.functions.insert(registered.name, (declared.script.clone(), compiled));
            }
        }
        let found = self.functions.get(&wanted.name).and_then(is_wanted);
        found.ok_or_else(|| "ERR the library has not registered this function again".to_owned())
    }

    /// Keeps what `compile` has made of a script.
    pub fn remember(&mut self, script: Arc<Script>, compiled: Compiled) {
        if !script.is_gone() {
            self.compiled.insert(script.sha, (script, compiled));
        }
    }

    /// Runs what `compile` or `known` has returned just before.
    pub fn run<'a>(
        &mut self,
        (script, compiled): (&Script, &Compiled),
        keys: impl Iterator<Item = &'a [u8]>,
        arguments: impl Iterator<Item = &'a [u8]>,
        host: &mut dyn Host,
        reply: &mut Reply,
    ) {
        let granted = self.granted_bytes;
        let interpreter = self.interpreter.as_mut().expect("the script was compiled by it");
        interpreter.memory_limit_bytes = granted;
        interpreter.run(compiled, &script.name, keys, arguments, host, reply);
    }
}
