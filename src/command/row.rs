//! A command's row: its name and its properties, from which COMMAND, the checks before a call and the documentation are
//! made. It must not know which commands there are.

use bitflags::bitflags;

use super::{Call, parse_integer};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;
use crate::message::request::Arguments;

/// One command, or one subcommand of a container such as CLIENT.
pub struct Command {
    /// Lower case; a subcommand's without its container.
    pub name: &'static str,
    /// Arguments with the name: exactly so many, or at least so many when negative.
    pub arity: i32,
    pub flags: Flags,
    pub keys: Keys,
    pub group: Group,
    pub since: &'static str,
    pub summary: &'static str,
    /// What follows the name, as manuals write it.
    pub syntax: &'static str,
    /// A container's runs when no subcommand is named.
    pub run: Run,
    pub subcommands: &'static [Command],
    /// Whether the argument at a place is a credential, which no log shows.
    pub(super) is_secret: IsSecret,
    /// The name has nothing but letters.
    pub(super) is_letters: bool,
}

pub type IsSecret = fn(Arguments, usize) -> bool;

pub type Run = fn(&mut Call<'_, '_>) -> Result<(), Stop>;

bitflags! {
    /// A command's properties.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u16 {
        const WRITE = 1;
        const READONLY = 2;
        /// May need memory; refused under `noeviction` at the cap.
        const DENYOOM = 4;
        const ADMIN = 8;
        const FAST = 16;
        /// Allowed before authentication.
        const NO_AUTH = 32;
        /// Runs at once in a transaction too.
        const UNQUEUED = 64;
        /// A script may not call it.
        const NO_SCRIPT = 128;
        /// It looks at all shards, though its row has no keys and it neither reads nor writes data.
        const WHOLE = 256;
        /// No part of a transaction.
        const NO_MULTI = 512;
        /// It tells the monitors of itself when it begins, before the commands that it runs.
        const SKIP_MONITOR = 1024;
        /// It only tells: a reply that finds no room can be taken back and made again, as that of a read.
        const TELLS = 2048;
        /// A read of one key and nothing else: may be answered from the core's own copy of the value.
        const HOT = 4096;
        /// Answers by messages as pub/sub has them, to clients that want no replies too.
        const PUBSUB = 8192;
    }
}

impl Flags {
    /// Those that COMMAND INFO tells, under Redis's names.
    const NAMES: [(Flags, &'static str); 10] = [
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_SCRIPT, "noscript"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::PUBSUB, "pubsub"),
    ];

    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Flags::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

/// Which arguments are keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// 0 for none.
    pub first: i32,
    /// Negative counts from the end; of no meaning where the request says how many keys there are.
    pub last: i32,
    pub step: i32,
    /// The argument before the first key says how many they are.
    pub counted: bool,
}

impl Keys {
    pub const NONE: Keys = Keys { first: 0, last: 0, step: 0, counted: false };
    pub const ONE: Keys = Keys { first: 1, last: 1, step: 1, counted: false };
    pub const ALL: Keys = Keys { first: 1, last: -1, step: 1, counted: false };
    pub const PAIRS: Keys = Keys { first: 1, last: -1, step: 2, counted: false };
    /// The one after a subcommand's name.
    pub const SECOND: Keys = Keys { first: 2, last: 2, step: 1, counted: false };

    /// As many as argument `at` says, from the next argument on.
    pub const fn counted(at: i32, step: i32) -> Keys {
        Keys { first: at + 1, last: 0, step, counted: true }
    }

    /// The positions of the keys among a request's arguments; none when it counts more than it has.
    pub fn positions(self, args: Arguments) -> impl Iterator<Item = usize> + Clone {
        let (first, step) = (self.first as usize, self.step.max(1) as usize);
        let end = if self.first == 0 {
            0
        } else if self.counted {
            let count = (first <= args.len()).then(|| parse_integer(args.get(first - 1))).flatten();
            let count = count.and_then(|count| usize::try_from(count).ok());
            let end = count.and_then(|count| count.checked_mul(step)).and_then(|span| span.checked_add(first));
            end.filter(|end| *end <= args.len()).unwrap_or(0)
        } else if self.last < 0 {
            (args.len() + 1).saturating_sub(self.last.unsigned_abs() as usize)
        } else {
            args.len().min(self.last as usize + 1)
        };
        (first..end).step_by(step)
    }
}

/// As in Redis's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    PubSub,
    Scripting,
    Server,
    String,
    Transactions,
}

impl Group {
    pub fn name(self) -> &'static str {
        match self {
            Group::Bitmap => "bitmap",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::PubSub => "pubsub",
            Group::Scripting => "scripting",
            Group::Server => "server",
            Group::String => "string",
            Group::Transactions => "transactions",
        }
    }
}

impl Command {
    /// A row without keys, flags or subcommands; the rest is added by the methods below.
    pub(super) const fn new(name: &'static str, arity: i32, group: Group, run: Run) -> Command {
        Command {
            name,
            arity,
            flags: Flags::empty(),
            keys: Keys::NONE,
            group,
            since: "1.0.0",
            summary: "",
            syntax: "",
            run,
            subcommands: &[],
            is_secret: |_, _| false,
            is_letters: is_letters(name),
        }
    }

    /// A command that is nothing but its subcommands.
    pub(super) const fn container(name: &'static str, group: Group, subcommands: &'static [Command]) -> Command {
        // Its arity refuses the name alone.
        Command { subcommands, ..Command::new(name, -2, group, |_| Err(error::SYNTAX.into())) }
    }

    pub(super) const fn flags(self, flags: Flags) -> Command {
        Command { flags, ..self }
    }

    pub(super) const fn keys(self, keys: Keys) -> Command {
        Command { keys, ..self }
    }

    pub(super) const fn secret(self, is_secret: IsSecret) -> Command {
        Command { is_secret, ..self }
    }

    pub(super) const fn doc(self, since: &'static str, syntax: &'static str, summary: &'static str) -> Command {
        Command { since, syntax, summary, ..self }
    }

    pub(super) const fn subcommands(self, subcommands: &'static [Command]) -> Command {
        Command { subcommands, ..self }
    }

    /// It reads or writes the keyspace as a whole.
    pub(super) fn is_about_all_keys(&self) -> bool {
        let all = Flags::READONLY.union(Flags::WRITE).union(Flags::WHOLE);
        self.keys == Keys::NONE && self.flags.intersects(all) && self.group != Group::Scripting
    }

    /// What it makes of its arguments is not bounded by them.
    pub(super) fn is_short(&self) -> bool {
        self.keys == Keys::NONE && self.group != Group::Scripting
    }

    pub(crate) fn accepts(&self, arguments: usize) -> bool {
        let arguments = arguments as i32;
        if self.arity < 0 { arguments >= -self.arity } else { arguments == self.arity }
    }

    /// Takes microseconds at most, whatever the keyspace holds: it is not worth two clock readings of its own.
    pub fn is_quick(&self, arguments: usize) -> bool {
        let is_one_write = self.flags.intersects(Flags::WRITE) && self.keys.first == 1;
        arguments <= limits::QUICK_ARGUMENTS_MAX && (self.flags.intersects(Flags::FAST) || is_one_write)
    }
}

/// HELP of a container, from its rows.
pub fn reply_help(reply: &mut Reply, container: &str, rows: &[Command]) {
    reply.array(rows.len() * 2 + 1);
    let upper = container.to_ascii_uppercase();
    reply.simple(&format!("{upper} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for row in rows {
        reply.simple(format!("{} {}", row.name.to_ascii_uppercase(), row.syntax).trim_end());
        reply.simple(&format!("    {}", row.summary));
    }
}

const fn is_letters(name: &str) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !name.as_bytes()[at].is_ascii_alphabetic() {
            return false;
        }
        at += 1;
    }
    true
}
