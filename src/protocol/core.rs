//! What one core's sessions work with, whatever they speak.

use std::sync::Arc;
use std::time::Instant;

use super::resp::batch::Batch;
use crate::base::clock;
use crate::command;
use crate::observe::stats::CoreStats;
use crate::script::runner::Runner;
use crate::shared::Shared;

/// The shared state, and scratch space that no session keeps.
pub struct Core {
    pub shared: Arc<Shared>,
    pub index: usize,
    pub(super) batch: Batch,
    pub(super) scripts: Option<Runner>,
    /// When the turn began, or its last batch ended.
    pub(super) begun: Instant,
    /// A script keeps the core busy: whatever cannot help that is refused.
    pub(super) only_urgent: bool,
}

impl Core {
    pub fn new(shared: Arc<Shared>, index: usize) -> Core {
        Core::attended(shared, index, Box::new(|| {}))
    }

    /// `attend` is called now and then while a script runs that keeps this core from everything else.
    pub fn attended(shared: Arc<Shared>, index: usize, attend: Box<dyn Fn()>) -> Core {
        let scripts = Some(command::scripting::runner(shared.clone(), index, attend));
        Core { shared, index, batch: Batch::default(), scripts, begun: clock::tick(), only_urgent: false }
    }

    /// For those who come while a script keeps the core busy.
    pub fn urgent(shared: Arc<Shared>, index: usize) -> Core {
        Core { shared, index, batch: Batch::default(), scripts: None, begun: clock::tick(), only_urgent: true }
    }

    /// Now and then, between turns: lets go of scripts that are known no more.
    pub fn tend_scripts(&mut self) {
        if let Some(scripts) = &mut self.scripts {
            command::scripting::tend(scripts, &self.shared, self.index);
        }
    }

    pub fn stats(&self) -> &CoreStats {
        &self.shared.stats[self.index]
    }
}
