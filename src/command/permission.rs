//! Whether the user of a connection may run a request, and who hears of it when not. It must not know how users are made.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::server::introspection::{categories, key_specs};
use super::{Call, Command, Found, Keys, Table, absent, is_word};
use crate::acl::log::Event;
use crate::acl::{Catalogue, Denied, Need, Rules};
use crate::base::clock::UnixMillis;
use crate::command::{ConnectionState, Flags};
use crate::message::error::Stop;
use crate::message::request::Arguments;
use crate::observe::log;
use crate::observe::stats::CoreStats;
use crate::shared::Shared;

impl Catalogue for Table {
    fn count(&self) -> usize {
        self.names().len()
    }

    fn named(&self, name: &[u8]) -> Option<Vec<usize>> {
        let is_part = |known: &String| {
            let rest = known.as_bytes().strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"|"))
        };
        let found: Vec<_> = (0..self.names().len()).filter(|place| is_part(&self.names()[*place])).collect();
        let is_whole = found.first().is_some_and(|place| self.names()[*place].len() == name.len());
        // Rules that were written for a Redis may name what is not served here: they say nothing then.
        let is_absent = || absent::reason(name.split(|byte| *byte == b'|').next().unwrap_or_default()).is_some();
        (is_whole || is_absent()).then_some(found)
    }

    fn category(&self, name: &[u8]) -> Option<Vec<usize>> {
        let is_in = |place: &usize| categories(self.row(*place)).iter().any(|known| is_word(name, known));
        let found: Vec<_> = (0..self.names().len()).filter(is_in).collect();
        let is_known = super::server::introspection::CATEGORIES.iter().any(|known| is_word(name, known));
        is_known.then_some(found)
    }

    fn is_container(&self, name: &[u8]) -> bool {
        self.find(name).is_some_and(|(_, row)| !row.subcommands.is_empty())
    }
}

/// For each place of the table, where its keys are and what it does to them.
static KEY_USES: LazyLock<Vec<Vec<(Keys, Need)>>> = LazyLock::new(|| {
    let table = Table::get();
    let uses = |row| key_specs(row).into_iter().map(|(keys, words)| (keys, need(words))).collect();
    (0..table.names().len()).map(|place| uses(table.row(place))).collect()
});

/// What Redis's words for the use of a key ask for: to look whether it is there asks for nothing.
fn need(words: &str) -> Need {
    let has = |wanted: &[&str]| words.split(' ').any(|word| wanted.contains(&word));
    Need { read: has(&["access"]), write: has(&["insert", "update", "delete"]) }
}

/// The same for a request whose arguments decide it.
fn need_of(row: &Command, args: Arguments, need: Need) -> Need {
    let has = |word| args.iter().skip(2).any(|arg| is_word(arg, word));
    match row.name {
        "set" => Need { read: args.iter().skip(3).any(|arg| is_word(arg, "GET")), write: true },
        "bitfield" => Need { read: true, write: has("SET") || has("INCRBY") },
        _ => need,
    }
}

/// Holds a request against a user's rules.
pub fn check<'a>(rules: &Rules, (place, row): Found, args: Arguments<'a>) -> Result<(), Denied<'a>> {
    let first = (args.len() > 1).then(|| args.get(1));
    // Whoever may not say who they are could never become another.
    let command = (!row.flags.intersects(Flags::NO_AUTH)).then_some((place, first));
    let keys = KEY_USES[place].iter().flat_map(|(keys, need)| {
        let need = need_of(row, args, *need);
        keys.positions(args).map(move |at| (args.get(at), need))
    });
    let channels: Vec<_> = match row.name {
        "subscribe" => args.iter().skip(1).map(|channel| (channel, false)).collect(),
        _ => Vec::new(),
    };
    rules.check(command, keys, &channels)
}

/// What is said of a refusal; `shows_key` where the one who asks may know the key's name.
pub fn reason(denied: &Denied, user: &str, name: &str, shows_key: bool) -> String {
    let shown = |bytes| crate::message::error::echo(bytes);
    match denied {
        Denied::Command => format!("User {user} has no permissions to run the '{name}' command"),
        Denied::Key(key) if shows_key => format!("User {user} has no permissions to access the '{}' key", shown(key)),
        Denied::Key(_) => "No permissions to access a key".to_owned(),
        Denied::Channel(channel) if shows_key => {
            format!("User {user} has no permissions to access the '{}' channel", shown(channel))
        }
        Denied::Channel(_) => "No permissions to access a channel".to_owned(),
    }
}

impl Call<'_, '_> {
    /// Lets a request pass that the user may run.
    #[inline]
    pub(super) fn permit(&mut self, found: Found) -> Result<(), Stop> {
        if self.state.access.passes(&self.shared.settings.users) {
            return Ok(());
        }
        self.check_permission(found)
    }

    #[cold]
    fn check_permission(&mut self, found: Found) -> Result<(), Stop> {
        let users = &self.shared.settings.users;
        let Some(rules) = self.state.access.restrictions(users) else { return Ok(()) };
        let Err(denied) = check(rules, found, self.args) else { return Ok(()) };
        let name = &Table::get().names()[found.0];
        self.stats.calls[found.0].rejected.add(1);
        let (kind, counter, object): (_, _, &[u8]) = match denied {
            Denied::Command => ("command", &self.stats.acl_denied_commands, name.as_bytes()),
            Denied::Key(key) => ("key", &self.stats.acl_denied_keys, key),
            Denied::Channel(channel) => ("channel", &self.stats.acl_denied_channels, channel),
        };
        counter.add(1);
        let context = match () {
            () if self.is_within_script() => "lua",
            () if self.state.transaction.is_some() || !self.state.room.may_wait => "multi",
            () => "toplevel",
        };
        let user = &self.state.access.user(users).name;
        note(
            self.shared,
            self.now,
            self.state,
            Event { reason: kind, context, object: object.into(), user: user.clone().into() },
        );
        let text = reason(&denied, user, name, false);
        let within = if context == "lua" { "ACL failure in script: " } else { "" };
        Err(self.refuse(Cow::<str>::Owned(format!("NOPERM {within}{text}")).into()))
    }
}

/// Somebody gave a wrong name or password: counted, entered into the log of refusals, and told to the operator at a bounded
/// rate, in a line that `which` ends.
pub fn note_wrong_password(
    shared: &Shared,
    stats: &CoreStats,
    state: &ConnectionState,
    now: UnixMillis,
    event: Event,
    which: impl FnOnce() -> String,
) {
    stats.auth_failures.add(1);
    note(shared, now, state, event);
    log::WRONG_PASSWORDS.warn(|| {
        let address = state.client.addresses(&shared.unix_path()).0;
        format!("wrong user name or password from {address}, {}", which())
    });
}

/// Enters a refusal into the log.
pub fn note(shared: &Shared, now: UnixMillis, state: &ConnectionState, event: Event) {
    let line = super::connection::client::line(shared, now, &state.client);
    shared.settings.users.log.note(event, line, now);
}
