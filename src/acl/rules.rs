//! What one user may do, and how they prove who they are: Redis's rules, one word each, and back again as text.

use std::fmt::{self, Write};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::Catalogue;
use super::selector::{Denied, Need, Selector};
use crate::config::limits;

/// SHA-256 of a password.
pub type Digest = [u8; 32];

pub fn digest(password: &[u8]) -> Digest {
    Sha256::digest(password).into()
}

/// Why a rule is refused: Redis's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Syntax,
    UnknownCommand,
    FirstArgumentOfSubcommand,
    KeysAfterAll,
    ChannelsAfterAll,
    NoSuchPassword,
    NoDigest,
    /// Beyond the bounds of one user.
    TooMuch,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Syntax => "Syntax error",
            Refused::UnknownCommand => "Unknown command or category name in ACL",
            Refused::FirstArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
            Refused::KeysAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
                 Try 'resetkeys' to start with an empty list of patterns"
            }
            Refused::ChannelsAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Refused::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Refused::NoDigest => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Refused::TooMuch => "A user may have so many rules, patterns and passwords, and no more",
        })
    }
}

/// One user's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    is_on: bool,
    needs_no_password: bool,
    /// Payloads of RESTORE are always checked here; the word is kept for those who write it.
    skips_checks: bool,
    passwords: Vec<Digest>,
    root: Selector,
    selectors: Vec<Selector>,
}

impl Rules {
    /// Those of a new user.
    pub fn nothing(commands: usize) -> Rules {
        Rules {
            is_on: false,
            needs_no_password: false,
            skips_checks: false,
            passwords: Vec::new(),
            root: Selector::nothing(commands),
            selectors: Vec::new(),
        }
    }

    /// Everything, for everybody.
    pub fn unlimited(commands: usize) -> Rules {
        Rules { is_on: true, needs_no_password: true, root: Selector::unlimited(commands), ..Rules::nothing(commands) }
    }

    pub fn is_unlimited(&self) -> bool {
        self.root.is_unlimited() || self.selectors.iter().any(Selector::is_unlimited)
    }

    /// Anybody is this user.
    pub fn is_open(&self) -> bool {
        self.is_on && self.needs_no_password
    }

    pub(super) fn commands(&self) -> usize {
        self.root.commands()
    }

    /// The first selector, then the others.
    fn all(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    pub fn root(&self) -> &Selector {
        &self.root
    }

    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    pub fn held_bytes(&self) -> usize {
        size_of::<Rules>()
            + self.passwords.len() * size_of::<Digest>()
            + self.all().map(Selector::held_bytes).sum::<usize>()
    }

    pub fn set_only_password(&mut self, password: &[u8]) {
        self.needs_no_password = password.is_empty();
        self.passwords = if password.is_empty() { Vec::new() } else { vec![digest(password)] };
    }

    /// Whoever has this password is in. It takes as long whichever it is.
    pub(super) fn admits(&self, digest: &Digest) -> bool {
        let knows = self.passwords.iter().fold(Choice::from(0), |known, password| known | password.ct_eq(digest));
        self.is_on && (self.needs_no_password || knows.into())
    }

    /// Whether a request may be run, by what it does to keys and channels.
    ///
    /// # Errors
    /// What is not allowed, by the selector that allows the most.
    pub fn check<'a, K>(
        &self,
        command: Option<(usize, Option<&[u8]>)>,
        keys: K,
        channels: &[(&'a [u8], bool)],
    ) -> Result<(), Denied<'a>>
    where
        K: Iterator<Item = (&'a [u8], Need)> + Clone,
    {
        let mut denied = Denied::Command;
        for selector in self.all() {
            if command.is_some_and(|(command, first)| !selector.allows_command(command, first)) {
                continue;
            }
            let key = keys.clone().find(|(key, need)| !selector.allows_key(key, *need));
            let channel = channels.iter().find(|(channel, is_pattern)| !selector.allows_channel(channel, *is_pattern));
            let found = match (key, channel) {
                (Some((key, _)), _) => Denied::Key(key),
                (None, Some((channel, _))) => Denied::Channel(channel),
                (None, None) => return Ok(()),
            };
            denied = denied.max(found);
        }
        Err(denied)
    }

    /// Takes one rule.
    ///
    /// # Errors
    /// It is none, or there are too many; it may have been taken in part.
    pub fn apply(&mut self, rule: &[u8], catalogue: &dyn Catalogue) -> Result<(), Refused> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => (self.needs_no_password, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.needs_no_password, self.passwords) = (false, Vec::new()),
            b"skip-sanitize-payload" => self.skips_checks = true,
            b"sanitize-payload" => self.skips_checks = false,
            b"clearselectors" => self.selectors = Vec::new(),
            b"reset" => *self = Rules::nothing(catalogue.count()),
            [b'>', ..] => self.add_password(digest(&rule[1..])),
            [b'#', ..] => self.add_password(from_hex(&rule[1..])?),
            [b'<', ..] => self.remove_password(digest(&rule[1..]))?,
            [b'!', ..] => self.remove_password(from_hex(&rule[1..])?)?,
            [b'(', .., b')'] => {
                let mut selector = Selector::nothing(catalogue.count());
                for word in rule[1..rule.len() - 1].split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
                    if !selector.apply(word, catalogue)? {
                        return Err(Refused::Syntax);
                    }
                }
                self.selectors.push(selector);
            }
            _ if !self.root.apply(rule, catalogue)? => return Err(Refused::Syntax),
            _ => {}
        }
        let patterns: usize = self.all().map(Selector::patterns).sum();
        let is_too_much = self.passwords.len() > limits::ACL_PASSWORDS_MAX
            || patterns > limits::ACL_PATTERNS_MAX
            || self.selectors.len() > limits::ACL_SELECTORS_MAX
            || self.held_bytes() > limits::ACL_USER_MAX_BYTES;
        if is_too_much { Err(Refused::TooMuch) } else { Ok(()) }
    }

    fn add_password(&mut self, password: Digest) {
        self.needs_no_password = false;
        if !self.passwords.contains(&password) {
            self.passwords.push(password);
        }
    }

    fn remove_password(&mut self, password: Digest) -> Result<(), Refused> {
        let at = self.passwords.iter().position(|known| *known == password).ok_or(Refused::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// `on`, `nopass` and the like.
    pub fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_on { "on" } else { "off" }];
        if self.needs_no_password {
            flags.push("nopass");
        }
        flags.push(if self.skips_checks { "skip-sanitize-payload" } else { "sanitize-payload" });
        flags
    }

    /// Digests in hexadecimal digits.
    pub fn passwords(&self) -> impl ExactSizeIterator<Item = String> {
        self.passwords.iter().map(|digest| {
            let mut text = String::with_capacity(64);
            digest.iter().for_each(|byte| write!(text, "{byte:02x}").expect("writing to a string"));
            text
        })
    }

    /// The line that a users file has.
    pub fn describe(&self, name: &str) -> Vec<u8> {
        let mut parts = vec![format!("user {name} {}", self.flags().join(" ")).into_bytes()];
        parts.extend(self.passwords().map(|digest| format!("#{digest}").into_bytes()));
        parts.push(self.root.describe());
        parts.extend(self.selectors.iter().map(|selector| [b"(", &selector.describe()[..], b")"].concat()));
        parts.join(&b' ')
    }
}

fn from_hex(text: &[u8]) -> Result<Digest, Refused> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(Refused::NoDigest);
    }
    let value = |digit: u8| if digit <= b'9' { digit - b'0' } else { digit - b'a' + 10 };
    for (byte, digits) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = value(digits[0]) << 4 | value(digits[1]);
    }
    Ok(digest)
}

/// Puts the words of each selector, which stands in parentheses, together into one rule.
///
/// # Errors
/// The beginning of what is not closed.
pub fn join_selectors<'a>(words: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut joined: Vec<Vec<u8>> = Vec::new();
    let mut open = false;
    for word in words {
        match joined.last_mut() {
            Some(selector) if open => {
                selector.push(b' ');
                selector.extend_from_slice(word);
            }
            _ => joined.push(word.to_vec()),
        }
        open = joined.last().is_some_and(|rule| rule.starts_with(b"(") && !rule.ends_with(b")"));
    }
    match joined.pop_if(|_| open) {
        Some(unclosed) => Err(unclosed),
        None => Ok(joined),
    }
}
