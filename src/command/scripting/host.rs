//! The server as a script sees it: which commands it may call, on which keys.

use std::borrow::Cow;
use std::collections::TryReserveError;
use std::ops::Range;

use super::needs_all_shards;
use crate::base::clock::UnixMillis;
use crate::command::{Call, Command, ConnectionState, Flags, Found, Table, absent, permission};
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;
use crate::message::request::Arguments;
use crate::observe::stats::CoreStats;
use crate::script::Host;
use crate::script::library::Running;
use crate::shared::Shared;
use crate::store::guards::ShardGuards;
use crate::store::hot::Seen;

pub const KILLED: &str = "ERR Script killed by user with SCRIPT KILL...";

/// How a script gets at keys that it was not given.
const LOCK_ALL: &str = "begin the script with the line '#!lua flags=allow-cross-slot-keys', which locks all shards \
                        (for scripts that cannot be changed: CONFIG SET script-undeclared-keys lock-all)";

/// One running script's server.
pub struct Server<'s, 'k> {
    pub declared: Declared<'s>,
    pub running: &'s Running,
    pub read_only: bool,
    pub now: UnixMillis,
    pub guards: &'s mut ShardGuards<'k>,
    pub state: &'s mut ConnectionState,
    pub shared: &'s Shared,
    pub stats: &'s CoreStats,
    /// An error stands in the script's reply.
    pub replied_errors: bool,
}

/// The keys that a script was given.
pub struct Declared<'s> {
    args: Arguments<'s>,
    keys: Range<usize>,
    /// Where they are, in the order of their bytes; of few keys it is not made.
    sorted: Vec<u32>,
    everything: bool,
}

/// So many keys are looked through one by one.
const LOOKED_THROUGH_MAX: usize = 16;

impl<'s> Declared<'s> {
    /// An error when the process may have no more memory.
    pub fn new(args: Arguments<'s>, keys: Range<usize>, everything: bool) -> Result<Declared<'s>, TryReserveError> {
        let mut sorted = Vec::new();
        if keys.len() > LOOKED_THROUGH_MAX && !everything {
            sorted.try_reserve_exact(keys.len())?;
            sorted.extend(keys.clone().map(|index| index as u32));
            sorted.sort_unstable_by_key(|index| args.get(*index as usize));
        }
        Ok(Declared { args, keys, sorted, everything })
    }

    fn has(&self, key: &[u8]) -> bool {
        if self.keys.len() > LOOKED_THROUGH_MAX {
            return self.sorted.binary_search_by_key(&key, |index| self.args.get(*index as usize)).is_ok();
        }
        self.keys.clone().any(|index| self.args.get(index) == key)
    }

    /// Refuses what was not locked beforehand.
    fn check(&self, row: &Command, arguments: Arguments) -> Result<(), String> {
        if self.everything {
            return Ok(());
        }
        if needs_all_shards(row) {
            return Err(format!(
                "ERR Script calls {0} by a name that is put together; write '{0}' so that all shards are locked for it, or {LOCK_ALL}",
                row.name
            ));
        }
        match row.keys.positions(arguments).find(|position| !self.has(arguments.get(*position))) {
            None => Ok(()),
            Some(position) => Err(format!(
                "ERR Script uses the key '{}' without declaring it; pass it in KEYS, so that it is locked while the script runs, or {LOCK_ALL}",
                error::echo(arguments.get(position))
            )),
        }
    }
}

impl Server<'_, '_> {
    /// Whether a script may call it at all.
    fn check_row(&self, row: &Command, arguments: Arguments) -> Result<(), Cow<'static, str>> {
        if !row.accepts(arguments.len()) {
            return Err("ERR Wrong number of args calling Redis command from script".into());
        }
        if row.flags.intersects(Flags::NO_SCRIPT) {
            return Err("ERR This Redis command is not allowed from script".into());
        }
        Ok(())
    }

    /// Whether this one may: the same for every user.
    fn check(&self, row: &Command, arguments: Arguments) -> Result<(), Cow<'static, str>> {
        if self.read_only && row.flags.intersects(Flags::WRITE) {
            return Err("ERR Write commands are not allowed from read-only scripts.".into());
        }
        self.declared.check(row, arguments).map_err(Cow::Owned)
    }

    /// Whether the user may. It runs as a part of a script, whose locks are there.
    fn permit(&mut self, arguments: Arguments, found: Found, reply: &mut Reply) -> Result<(), Cow<'static, str>> {
        match self.with_call(arguments, reply, |call| call.permit(found)) {
            Err(Stop::Error(text)) => Err(text),
            _ => Ok(()),
        }
    }

    /// Does something as a command that the script calls.
    fn with_call<T>(&mut self, args: Arguments, reply: &mut Reply, act: impl FnOnce(&mut Call) -> T) -> T {
        let Server { now, guards, state, shared, stats, .. } = self;
        act(&mut Call {
            args,
            hash: 0,
            seen: Seen::Cold,
            now: *now,
            guards,
            reply,
            state,
            shared,
            stats,
            scripts: &mut None,
        })
    }

    fn reject(&self, place: usize, text: &str, reply: &mut Reply) {
        self.stats.calls[place].rejected.add(1);
        self.refuse(text, reply);
    }

    fn refuse(&self, text: &str, reply: &mut Reply) {
        self.stats.note_error(text);
        reply.error(text);
    }
}

impl Host for Server<'_, '_> {
    fn call(&mut self, arguments: Arguments, reply: &mut Reply) {
        let Some(found) = Table::get().lookup(arguments) else {
            let reason = absent::reason(arguments.get(0)).map_or(String::new(), |reason| format!(" ({reason})"));
            return self.refuse(&format!("ERR Unknown Redis command called from script{reason}"), reply);
        };
        let (place, row) = found;
        if let Err(text) = self.check_row(row, arguments) {
            return self.reject(place, &text, reply);
        }
        if let Err(text) = self.permit(arguments, found, reply) {
            return self.refuse(&text, reply);
        }
        if let Err(text) = self.check(row, arguments) {
            return self.reject(place, &text, reply);
        }
        if row.flags.intersects(Flags::WRITE) && !self.running.write() {
            return self.refuse(KILLED, reply);
        }
        self.with_call(arguments, reply, |call| call.run_nested(arguments, found));
    }

    fn allows(&self, arguments: Arguments) -> Option<bool> {
        let found = Table::get().lookup(arguments)?;
        let rules = self.state.access.user(&self.shared.settings.users).rules();
        Some(permission::check(&rules, found, arguments).is_ok())
    }

    fn replied_error(&mut self, text: &str, is_counted: bool) {
        self.replied_errors = true;
        if !is_counted {
            self.stats.note_error(text);
        }
    }
}
