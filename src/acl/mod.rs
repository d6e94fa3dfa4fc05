//! Who may do what: the users, with their passwords and their rules. It knows commands as numbers, which whoever asks gives
//! names to.
//!
//! While nobody but a user without restrictions is there, a request costs one comparison (`Access::passes`): the number of
//! changes so far is what the connection has seen.

pub mod log;
mod rules;
mod selector;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};

use crate::config::limits;
use log::Log;
pub use rules::{Refused, Rules, join_selectors};
pub use selector::{Denied, Need, Selector};

/// The user whose connections have not said who they are.
pub const DEFAULT: &str = "default";

/// The commands, as rules name them. A command is a number, and its subcommands have numbers of their own.
pub trait Catalogue {
    /// How many numbers there are.
    fn count(&self) -> usize;

    /// Those that a name stands for: `get`, `client` with all subcommands, `client|id`.
    fn named(&self, name: &[u8]) -> Option<Vec<usize>>;

    /// Those of a category.
    fn category(&self, name: &[u8]) -> Option<Vec<usize>>;

    /// It has subcommands.
    fn is_container(&self, name: &[u8]) -> bool;
}

/// One user. What connections have of a user that is deleted lets nobody do anything.
#[derive(Debug)]
pub struct User {
    pub name: String,
    rules: RwLock<Arc<Rules>>,
}

impl User {
    fn new(name: &str, rules: Rules) -> Arc<User> {
        Arc::new(User { name: name.to_owned(), rules: RwLock::new(Arc::new(rules)) })
    }

    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().clone()
    }
}

/// Why the users stay as they are.
#[derive(Debug, PartialEq, Eq)]
pub enum Unchanged {
    /// There are as many users as there may be, or their rules hold what they may.
    Full,
}

/// All users.
#[derive(Debug)]
pub struct Users {
    table: RwLock<BTreeMap<String, Arc<User>>>,
    default: Arc<User>,
    /// What `requirepass` was set to: it may be read again.
    password: Mutex<String>,
    /// Nobody needs a password to be the default user.
    is_open: AtomicBool,
    /// Changes so far.
    version: AtomicU64,
    charged_bytes: AtomicUsize,
    pub log: Log,
}

impl Users {
    /// The default user alone, who may do everything.
    pub fn new(commands: usize, password: Option<&str>) -> Users {
        let default = User::new(DEFAULT, Rules::unlimited(commands));
        let users = Users {
            table: RwLock::new(BTreeMap::from([(DEFAULT.to_owned(), default.clone())])),
            default,
            password: Mutex::default(),
            is_open: AtomicBool::new(true),
            version: AtomicU64::new(0),
            charged_bytes: AtomicUsize::new(0),
            log: Log::default(),
        };
        users.set_password(password.unwrap_or_default());
        users
    }

    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Relaxed)
    }

    /// Whoever connects is the default user.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    pub fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    pub fn find(&self, name: &[u8]) -> Option<Arc<User>> {
        std::str::from_utf8(name).ok().and_then(|name| self.table.read().get(name).cloned())
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<User>> {
        self.table.read().values().cloned().collect()
    }

    /// Memory held: a part of the memory of connections. The default user is a part of the process's own.
    pub fn held_bytes(&self) -> usize {
        let table = self.table.read();
        let others = table.values().filter(|user| user.name != DEFAULT);
        others.map(|user| user.name.len() + user.rules().held_bytes()).sum()
    }

    /// By how much it has changed since it was last asked.
    pub fn take_change(&self) -> isize {
        let held = self.held_bytes();
        held as isize - self.charged_bytes.swap(held, Relaxed) as isize
    }

    /// The user of this name who has this password, if there is one who may come in.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        // It takes as long whoever is named.
        let digest = rules::digest(password);
        self.find(name).filter(|user| user.rules().admits(&digest))
    }

    /// What `requirepass` says: the default user's only password, or none.
    pub fn set_password(&self, password: &str) {
        let mut rules = (*self.default.rules()).clone();
        rules.set_only_password(password.as_bytes());
        *self.password.lock() = password.to_owned();
        *self.default.rules.write() = Arc::new(rules);
        self.note_default();
    }

    pub fn password(&self) -> String {
        self.password.lock().clone()
    }

    /// Gives a user these rules, who may be new.
    pub fn set(&self, name: &str, rules: Rules) -> Result<(), Unchanged> {
        let mut table = self.table.write();
        match table.get(name) {
            Some(user) => *user.rules.write() = Arc::new(rules),
            None if table.len() >= limits::ACL_USERS_MAX => return Err(Unchanged::Full),
            None => drop(table.insert(name.to_owned(), User::new(name, rules))),
        }
        drop(table);
        self.changed();
        Ok(())
    }

    /// True if there was one. The default user stays.
    pub fn delete(&self, name: &[u8]) -> bool {
        let removed = std::str::from_utf8(name).ok().and_then(|name| self.table.write().remove(name));
        let Some(user) = removed else { return false };
        user.void();
        self.changed();
        true
    }

    /// Puts these users in place of all others. Returns the names of those who are gone, or may do other things than before.
    pub fn replace(&self, mut wanted: BTreeMap<String, Rules>, commands: usize) -> Vec<String> {
        let mut table = self.table.write();
        let default = wanted.remove(DEFAULT).unwrap_or_else(|| {
            let mut rules = Rules::unlimited(commands);
            rules.set_only_password(self.password.lock().as_bytes());
            rules
        });
        let mut changed = Vec::new();
        table.retain(|name, user| {
            let is_same = match wanted.get(name) {
                _ if name == DEFAULT => *user.rules() == default,
                Some(rules) => *user.rules() == *rules,
                None => false,
            };
            if !is_same {
                changed.push(name.clone());
            }
            is_same || name == DEFAULT || {
                user.void();
                false
            }
        });
        *self.default.rules.write() = Arc::new(default);
        for (name, rules) in wanted {
            table.entry(name).or_insert_with_key(|name| User::new(name, rules));
        }
        drop(table);
        self.changed();
        changed
    }

    fn changed(&self) {
        self.note_default();
        self.version.fetch_add(1, Relaxed);
    }

    fn note_default(&self) {
        self.is_open.store(self.default.rules().is_open(), Relaxed);
    }
}

impl User {
    /// Whoever still has it may do nothing.
    fn void(&self) {
        let nothing = Rules::nothing(self.rules().commands());
        *self.rules.write() = Arc::new(nothing);
    }
}

/// What one connection knows of what its user may do.
#[derive(Default)]
pub struct Access {
    /// `None` for the default user.
    user: Option<Arc<User>>,
    rules: Option<Arc<Rules>>,
    /// The version that the rules are of.
    seen: u64,
    /// While the users have this version everything is allowed. Nothing is restricted in the first one.
    passes_at: u64,
}

/// No version of the users.
const NEVER: u64 = u64::MAX;

impl Access {
    pub fn of(user: Arc<User>) -> Access {
        Access { user: Some(user), rules: None, seen: NEVER, passes_at: NEVER }
    }

    /// Everything is allowed.
    #[inline]
    pub fn passes(&self, users: &Users) -> bool {
        self.passes_at == users.version()
    }

    pub fn user<'a>(&'a self, users: &'a Users) -> &'a Arc<User> {
        self.user.as_ref().unwrap_or(users.default_user())
    }

    /// The rules as they are now; `None` if they allow everything.
    #[cold]
    pub fn restrictions(&mut self, users: &Users) -> Option<&Rules> {
        // Read before the rules: what changes meanwhile is seen next time.
        let version = users.version();
        if self.seen != version || self.rules.is_none() {
            let rules = self.user(users).rules();
            self.passes_at = if rules.is_unlimited() { version } else { NEVER };
            (self.rules, self.seen) = (Some(rules), version);
        }
        self.rules.as_deref().filter(|rules| !rules.is_unlimited())
    }
}
