//! One core's interpreter and the scripts it has compiled. It must not know commands.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::library::{Library, Script, Sha, Traits};
use super::{Compiled, Host, Interpreter, Pulse};
use crate::config::limits;
use crate::message::reply::Reply;

pub struct Runner {
    memory_limit_bytes: usize,
    pulse: Rc<Pulse>,
    /// Made when the first script comes.
    interpreter: Option<Interpreter>,
    compiled: HashMap<Sha, (Arc<Script>, Compiled)>,
    /// Of the library when the interpreter was made.
    generation: u64,
}

impl Runner {
    pub fn new(memory_limit_bytes: usize, pulse: Pulse) -> Runner {
        Runner { memory_limit_bytes, pulse: Rc::new(pulse), interpreter: None, compiled: HashMap::new(), generation: 0 }
    }

    /// Throws away what SCRIPT FLUSH has ended and what the last script has worn out.
    fn renew(&mut self, library: &Library) -> Result<&mut Interpreter, Cow<'static, str>> {
        let generation = library.generation();
        if generation != self.generation || self.interpreter.as_ref().is_some_and(Interpreter::is_worn) {
            self.compiled.clear();
            self.interpreter = None;
            self.generation = generation;
        }
        if self.interpreter.is_none() {
            let pulse = self.pulse.clone();
            let made = Interpreter::new(self.memory_limit_bytes, Box::new(move || pulse()));
            self.interpreter = Some(made.map_err(|error| format!("ERR Lua cannot start: {error}"))?);
        }
        Ok(self.interpreter.as_mut().expect("made above"))
    }

    /// A script that this core has compiled before.
    pub fn known(&self, sha: &Sha, library: &Library) -> Option<Arc<Script>> {
        let (script, _) = self.compiled.get(sha)?;
        (!script.is_gone() && self.generation == library.generation()).then(|| script.clone())
    }

    /// Compiles a script, unless this core has done so before.
    pub fn compile(&mut self, script: &Arc<Script>, library: &Library) -> Result<Compiled, Cow<'static, str>> {
        self.renew(library)?;
        if let Some((_, compiled)) = self.compiled.get(&script.sha) {
            return Ok(compiled.clone());
        }
        let compiled = self.try_code(&script.source, &script.traits, library)?;
        if !script.is_gone() {
            if self.compiled.len() > library.totals().0 + limits::SCRIPTS_EVALUATED_MAX {
                self.compiled.retain(|_, (script, _)| !script.is_gone());
            }
            self.compiled.insert(script.sha, (script.clone(), compiled.clone()));
        }
        Ok(compiled)
    }

    /// Compiles a source for the errors in it.
    pub fn try_code(
        &mut self,
        source: &[u8],
        traits: &Traits,
        library: &Library,
    ) -> Result<Compiled, Cow<'static, str>> {
        let compiled = self.renew(library)?.compile(&source[traits.code_at..]);
        compiled.map_err(|error| format!("ERR Error compiling script (new function): {error}").into())
    }

    /// Runs what `compile` has returned just before.
    pub fn run<'a>(
        &mut self,
        (script, compiled): (&Script, &Compiled),
        keys: impl Iterator<Item = &'a [u8]>,
        arguments: impl Iterator<Item = &'a [u8]>,
        host: &mut dyn Host,
        reply: &mut Reply,
    ) {
        let interpreter = self.interpreter.as_mut().expect("the script was compiled by it");
        interpreter.run(compiled, &script.name, keys, arguments, host, reply);
    }

    /// ShardGuards by the interpreter.
    pub fn used_bytes(&self) -> usize {
        self.interpreter.as_ref().map_or(0, Interpreter::used_bytes)
    }
}
