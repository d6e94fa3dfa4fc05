//! What one core's sessions work with, whatever they speak.

use std::sync::Arc;
use std::time::Instant;

use super::http::answer::Date;
use super::memcached;
use super::resp::batch::Batch;
use super::tls;
use crate::base::clock::{self, UnixMillis};
use crate::command;
use crate::config::limits;
use crate::observe::stats::CoreStats;
use crate::script::runner::Runner;
use crate::shared::Shared;
use crate::store::hot::HotCache;

/// The shared state, and scratch space that no session keeps.
pub struct Core {
    pub shared: Arc<Shared>,
    pub index: usize,
    pub(super) batch: Batch,
    pub(super) memcached: memcached::batch::Batch,
    pub(super) date: Date,
    pub(super) tls: tls::Scratch,
    pub(super) scripts: Option<Runner>,
    /// Copies of what is read the most; one core alone keeps none.
    pub(super) hot: Option<HotCache>,
    /// When the turn began, and when its last batch ended.
    pub(super) turn_begun: Instant,
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
        let now = clock::tick();
        let hot = (shared.cores > 1).then(|| HotCache::new(index));
        Core {
            shared,
            index,
            batch: Batch::default(),
            memcached: Default::default(),
            date: Date::default(),
            tls: tls::Scratch::default(),
            scripts,
            hot,
            turn_begun: now,
            begun: now,
            only_urgent: false,
        }
    }

    /// For those who come while a script keeps the core busy.
    pub fn urgent(shared: Arc<Shared>, index: usize) -> Core {
        let now = clock::tick();
        Core {
            shared,
            index,
            batch: Batch::default(),
            memcached: Default::default(),
            date: Date::default(),
            tls: tls::Scratch::default(),
            scripts: None,
            hot: None,
            turn_begun: now,
            begun: now,
            only_urgent: true,
        }
    }

    /// The turn has taken as long as one may.
    pub(super) fn is_turn_over(&self) -> bool {
        self.begun.duration_since(self.turn_begun) >= limits::TURN_TIME
    }

    /// Now and then, between turns: lets go of scripts that are known no more.
    pub fn tend_scripts(&mut self) {
        if let Some(scripts) = &mut self.scripts {
            command::scripting::tend(scripts, &self.shared, self.index);
        }
    }

    /// Now and then, between turns: tells the shards what was used without them.
    pub fn tend_hot(&mut self, now: UnixMillis) {
        if let Some(hot) = &mut self.hot {
            hot.tend(&self.shared.keyspace, now);
        }
    }

    pub fn stats(&self) -> &CoreStats {
        &self.shared.stats[self.index]
    }
}
