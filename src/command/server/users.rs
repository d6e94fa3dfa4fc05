//! The users file: one line for each user, as ACL LIST shows them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use crate::acl::{Rules, Users, join_selectors};
use crate::clients::{Client, INVALIDATIONS};
use crate::command::Table;
use crate::config::limits;
use crate::config::rewrite::replace;
use crate::message::error;
use crate::shared::Shared;

/// A name that can stand in the file, and in a line of CLIENT LIST.
///
/// # Errors
/// Why not.
pub fn checked_name(name: &[u8]) -> Result<&str, &'static str> {
    match std::str::from_utf8(name) {
        Ok(text) if name.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("Usernames can't contain spaces or null characters")
        }
        Ok(text) if text.len() <= limits::ERROR_ECHO_MAX_BYTES => Ok(text),
        Ok(_) => Err("Usernames are no longer than 128 bytes"),
        Err(_) => Err("Usernames are UTF-8"),
    }
}

/// The users of a file.
///
/// # Errors
/// All that is wrong with it, each with its line.
pub fn read(path: &Path) -> Result<BTreeMap<String, Rules>, String> {
    let mut text = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(limits::ACL_FILE_MAX_BYTES + 1).read_to_end(&mut text));
    read.map_err(|error| format!("Error loading ACLs, opening file '{}': {error}.", path.display()))?;
    if text.len() as u64 > limits::ACL_FILE_MAX_BYTES {
        return Err(format!("{}: it is larger than {} bytes.", path.display(), limits::ACL_FILE_MAX_BYTES));
    }
    let mut users = BTreeMap::new();
    let mut wrong = String::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if let Err(reason) = add(line, &mut users)
            && wrong.len() < limits::ERROR_ECHO_MAX_BYTES * 8
        {
            wrong.push_str(&format!("{}:{}: {reason}. ", path.display(), at + 1));
        }
    }
    if wrong.is_empty() { Ok(users) } else { Err(wrong.trim_end().to_owned()) }
}

/// Puts users that were read in place of all others, and closes the connections of those who are gone or may do other things
/// than before. True if `spared`, who is not closed, is one of them.
pub fn replace_all(shared: &Shared, users: BTreeMap<String, Rules>, spared: Option<u64>) -> bool {
    let changed = shared.settings.users.replace(users, Table::get().names().len());
    shared.charge_users();
    close_connections(shared, &changed, spared)
}

/// The same for users by their names.
pub fn close_connections(shared: &Shared, names: &[String], spared: Option<u64>) -> bool {
    close(shared, spared, |client| names.iter().any(|name| client.labels().user() == name))
}

/// The same for those of a user who hear a channel that the user may no longer hear.
pub fn close_subscribers(shared: &Shared, name: &str, rules: &Rules, spared: Option<u64>) -> bool {
    let may_hear = rules.check(None, std::iter::empty(), &[(INVALIDATIONS, false)]).is_ok();
    !may_hear && close(shared, spared, |client| client.is_subscribed() && client.labels().user() == name)
}

fn close(shared: &Shared, spared: Option<u64>, is_meant: impl Fn(&Client) -> bool) -> bool {
    let mut is_spared_one = false;
    for client in shared.clients.all() {
        match is_meant(&client) {
            true if Some(client.id) == spared => is_spared_one = true,
            true => client.kill(),
            false => {}
        }
    }
    is_spared_one
}

/// One line; those that are empty or begin with `#` say nothing.
fn add(line: &[u8], users: &mut BTreeMap<String, Rules>) -> Result<(), String> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    match words.next() {
        None => return Ok(()),
        Some([b'#', ..]) => return Ok(()),
        Some(b"user") => {}
        Some(_) => return Err("line should start with user keyword".to_owned()),
    }
    let name = checked_name(words.next().ok_or("a user has a name")?)?;
    if users.contains_key(name) {
        return Err(format!("Duplicate user '{name}' found. A user can only be defined once in config files"));
    }
    if users.len() >= limits::ACL_USERS_MAX {
        return Err(format!("there may be {} users", limits::ACL_USERS_MAX));
    }
    let rules = join_selectors(words);
    let rules = rules.map_err(|_| "Unmatched parenthesis in selector definition.".to_owned())?;
    let table = Table::get();
    let mut user = Rules::nothing(table.names().len());
    for rule in rules {
        user.apply(&rule, table).map_err(|refused| format!("{} ({refused})", shown(&rule)))?;
    }
    users.insert(name.to_owned(), user);
    Ok(())
}

/// A rule as an error may repeat it.
pub fn shown(rule: &[u8]) -> String {
    if rule.starts_with(b">") || rule.starts_with(b"<") { "(a password)".to_owned() } else { error::echo(rule) }
}

/// Writes all users, in place of what the file had.
pub fn write(path: &Path, users: &Users) -> io::Result<()> {
    let mut text = Vec::new();
    for user in users.all() {
        text.extend(user.rules().describe(&user.name));
        text.push(b'\n');
    }
    replace(path, &text)
}
