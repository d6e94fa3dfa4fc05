//! How long a script may go on: what it does is counted, in instructions of Lua, and every so many of them somebody looks
//! whether it must end. It must not know Lua's values.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use crate::config::limits;

/// Asked now and then while a script runs; an error reply ends the script, whatever it catches.
pub type Pulse = Box<dyn Fn() -> Result<(), Cow<'static, str>>>;

/// The script has been ended: what runs for it returns.
pub struct Ended;

/// The work of one interpreter outside of Lua's own code, and how its script ends before its own end.
pub struct Work {
    pulse: Pulse,
    done: Cell<usize>,
    reason: RefCell<Option<Cow<'static, str>>>,
}

impl Work {
    pub fn new(pulse: Pulse) -> Work {
        Work { pulse, done: Cell::new(0), reason: RefCell::new(None) }
    }

    /// A script begins.
    pub fn begin(&self) {
        self.reason.take();
    }

    /// So many steps are about to be done, each as long as an instruction of Lua takes.
    #[inline]
    pub fn add(&self, steps: usize) -> Result<(), Ended> {
        let done = self.done.get().saturating_add(steps);
        if done < limits::SCRIPT_PULSE_INSTRUCTIONS as usize {
            self.done.set(done);
            return Ok(());
        }
        self.look()
    }

    /// Something of so many bytes is about to be read or copied.
    pub fn add_bytes(&self, bytes: usize) -> Result<(), Ended> {
        self.add(1 + bytes / 16)
    }

    /// Whether the script may go on.
    pub fn look(&self) -> Result<(), Ended> {
        self.done.set(0);
        let mut reason = self.reason.borrow_mut();
        if reason.is_none() {
            let Err(text) = (self.pulse)() else { return Ok(()) };
            *reason = Some(text);
        }
        Err(Ended)
    }

    pub fn is_ended(&self) -> bool {
        self.reason.borrow().is_some()
    }

    /// The error reply with which the script was ended, if it was.
    pub fn take_reason(&self) -> Option<Cow<'static, str>> {
        self.reason.take()
    }
}
