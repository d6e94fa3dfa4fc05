//! A set of commands and the keys and channels that they may be used on. A user has one, and may have more of them, each of
//! which is enough.

use std::collections::BTreeSet;

use super::Catalogue;
use super::rules::Refused;
use crate::base::glob;
use crate::config::limits;

/// What must be allowed of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Need {
    pub read: bool,
    pub write: bool,
}

impl Need {
    const BOTH: Need = Need { read: true, write: true };

    fn is_met_by(self, other: Need) -> bool {
        (!self.read || other.read) && (!self.write || other.write)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    allows: Need,
    glob: Vec<u8>,
}

/// One set of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// A bit for each command.
    commands: Vec<u64>,
    /// Commands that come with a later version are allowed too: `+@all` came last.
    allows_future: bool,
    /// `+select|0`: commands that are allowed with this first argument.
    first_arguments: BTreeSet<(usize, Vec<u8>)>,
    /// What was said of commands since, in lower case: `+get`, `-@dangerous`.
    rules: Vec<String>,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Vec<u8>>,
}

/// Why a selector does not allow a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied<'a> {
    Command,
    Key(&'a [u8]),
    Channel(&'a [u8]),
}

impl Selector {
    pub fn nothing(commands: usize) -> Selector {
        Selector {
            commands: vec![0; commands.div_ceil(64)],
            allows_future: false,
            first_arguments: BTreeSet::new(),
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels: false,
            channels: Vec::new(),
        }
    }

    pub fn unlimited(commands: usize) -> Selector {
        let mut selector = Selector::nothing(commands);
        selector.allow_all(true);
        (selector.all_keys, selector.all_channels) = (true, true);
        selector
    }

    pub fn is_unlimited(&self) -> bool {
        self.allows_future && self.rules.is_empty() && self.all_keys && self.all_channels
    }

    /// How many bits there are, some of them for no command.
    pub fn commands(&self) -> usize {
        self.commands.len() * 64
    }

    pub fn held_bytes(&self) -> usize {
        let rules: usize = self.rules.iter().map(|rule| rule.len() + size_of::<String>()).sum();
        let keys: usize = self.keys.iter().map(|key| key.glob.len() + size_of::<KeyPattern>()).sum();
        let channels: usize = self.channels.iter().map(|channel| channel.len() + size_of::<Vec<u8>>()).sum();
        let first: usize = self.first_arguments.iter().map(|(_, argument)| argument.len() + 32).sum();
        size_of::<Selector>() + self.commands.len() * 8 + rules + keys + channels + first
    }

    /// How many patterns a request may be held against.
    pub fn patterns(&self) -> usize {
        self.keys.len() + self.channels.len() + self.first_arguments.len()
    }

    /// Whether a command may be run at all, given its first argument.
    pub fn allows_command(&self, command: usize, first: Option<&[u8]>) -> bool {
        self.commands[command / 64] >> (command % 64) & 1 == 1
            || self.first_arguments.iter().any(|(allowed, argument)| {
                *allowed == command && first.is_some_and(|first| first.eq_ignore_ascii_case(argument))
            })
    }

    pub fn allows_key(&self, key: &[u8], need: Need) -> bool {
        self.all_keys
            || self.keys.iter().any(|pattern| need.is_met_by(pattern.allows) && glob::matches(&pattern.glob, key))
    }

    /// `is_pattern`: it stands for many, and is allowed as it is written.
    pub fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|allowed| match is_pattern {
                true => allowed == channel,
                false => glob::matches(allowed, channel),
            })
    }

    /// Takes one rule about commands, keys or channels; false for what is none.
    ///
    /// # Errors
    /// It is one, and wrong.
    pub fn apply(&mut self, rule: &[u8], catalogue: &dyn Catalogue) -> Result<bool, Refused> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allcommands" | b"+@all" => self.allow_all(true),
            b"nocommands" | b"-@all" => self.allow_all(false),
            lower @ ([b'+', ..] | [b'-', ..]) => {
                let (sign, name) = lower.split_at(1);
                match name.strip_prefix(b"@") {
                    Some(category) => self.change_category(sign == b"+", category, catalogue)?,
                    None => self.change_command(sign == b"+", name, catalogue)?,
                }
            }
            [b'~', ..] => self.add_keys(Need::BOTH, &rule[1..])?,
            [b'%', ..] => {
                let tilde = rule.iter().position(|byte| *byte == b'~').ok_or(Refused::Syntax)?;
                let mut allows = Need::default();
                for letter in &rule[1..tilde] {
                    match letter.to_ascii_lowercase() {
                        b'r' if !allows.read => allows.read = true,
                        b'w' if !allows.write => allows.write = true,
                        _ => return Err(Refused::Syntax),
                    }
                }
                if allows == Need::default() {
                    return Err(Refused::Syntax);
                }
                self.add_keys(allows, &rule[tilde + 1..])?;
            }
            [b'&', ..] => self.add_channel(&rule[1..])?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn allow_all(&mut self, allow: bool) {
        self.commands.fill(if allow { u64::MAX } else { 0 });
        self.allows_future = allow;
        self.rules = Vec::new();
        self.first_arguments = BTreeSet::new();
    }

    fn change_category(&mut self, allow: bool, name: &[u8], catalogue: &dyn Catalogue) -> Result<(), Refused> {
        let commands = catalogue.category(name).ok_or(Refused::UnknownCommand)?;
        self.change(allow, &commands);
        self.note(allow, &format!("@{}", String::from_utf8_lossy(name)));
        Ok(())
    }

    fn change_command(&mut self, allow: bool, name: &[u8], catalogue: &dyn Catalogue) -> Result<(), Refused> {
        if let Some(commands) = catalogue.named(name) {
            self.change(allow, &commands);
            self.note(allow, &String::from_utf8_lossy(name));
            return Ok(());
        }
        // A command without subcommands may be allowed with one first argument.
        let (command, argument) = split(name).ok_or(Refused::UnknownCommand)?;
        if catalogue.is_container(command) {
            let is_known =
                split(argument).is_some_and(|(sub, _)| catalogue.named(&[command, b"|", sub].concat()).is_some());
            return Err(if allow && is_known { Refused::FirstArgumentOfSubcommand } else { Refused::UnknownCommand });
        }
        let found = catalogue.named(command).filter(|_| allow && !argument.is_empty() && !argument.contains(&b'|'));
        let [command] = found.ok_or(Refused::UnknownCommand)?[..] else { return Err(Refused::UnknownCommand) };
        self.first_arguments.insert((command, argument.to_vec()));
        self.note(allow, &String::from_utf8_lossy(name));
        Ok(())
    }

    fn change(&mut self, allow: bool, commands: &[usize]) {
        for &command in commands {
            let (word, bit) = (&mut self.commands[command / 64], 1 << (command % 64));
            *word = if allow { *word | bit } else { *word & !bit };
        }
        self.first_arguments.retain(|(command, _)| !commands.contains(command));
    }

    /// Keeps a rule in place of those that it makes void.
    fn note(&mut self, allow: bool, name: &str) {
        self.rules.retain(|rule| {
            let rest = rule[1..].strip_prefix(name);
            rest.is_none_or(|rest| !rest.is_empty() && !rest.starts_with('|'))
        });
        self.rules.push(format!("{}{name}", if allow { '+' } else { '-' }));
    }

    fn add_keys(&mut self, allows: Need, glob: &[u8]) -> Result<(), Refused> {
        if self.all_keys {
            return Err(Refused::KeysAfterAll);
        }
        check_pattern(glob)?;
        if glob == b"*" && allows == Need::BOTH {
            (self.all_keys, self.keys) = (true, Vec::new());
            return Ok(());
        }
        match self.keys.iter_mut().find(|pattern| pattern.glob == glob) {
            Some(known) => {
                known.allows.read |= allows.read;
                known.allows.write |= allows.write;
            }
            None => self.keys.push(KeyPattern { allows, glob: glob.to_vec() }),
        }
        Ok(())
    }

    fn add_channel(&mut self, glob: &[u8]) -> Result<(), Refused> {
        if self.all_channels {
            return Err(Refused::ChannelsAfterAll);
        }
        check_pattern(glob)?;
        if !self.channels.iter().any(|known| known == glob) {
            self.channels.push(glob.to_vec());
        }
        Ok(())
    }

    /// `+@all -flushall`.
    pub fn describe_commands(&self) -> String {
        let mut text = if self.allows_future { "+@all" } else { "-@all" }.to_owned();
        for rule in &self.rules {
            text.push(' ');
            text.push_str(rule);
        }
        text
    }

    /// `~cache:* %R~config:*`, byte for byte.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let prefix = |allows| match allows {
            Need::BOTH => &b"~"[..],
            Need { read: true, .. } => b"%R~",
            _ => b"%W~",
        };
        let patterns: Vec<_> = self.keys.iter().map(|key| [prefix(key.allows), &key.glob].concat()).collect();
        patterns.join(&b' ')
    }

    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let patterns: Vec<_> = self.channels.iter().map(|channel| [b"&", &channel[..]].concat()).collect();
        patterns.join(&b' ')
    }

    /// As it stands in a users file.
    pub fn describe(&self) -> Vec<u8> {
        let mut parts = vec![self.describe_keys()];
        if self.all_channels {
            parts.push(b"&*".to_vec());
        } else {
            parts.extend([b"resetchannels".to_vec(), self.describe_channels()]);
        }
        parts.push(self.describe_commands().into_bytes());
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let bar = name.iter().position(|byte| *byte == b'|')?;
    Some((&name[..bar], &name[bar + 1..]))
}

fn check_pattern(glob: &[u8]) -> Result<(), Refused> {
    match glob {
        _ if glob.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0) => Err(Refused::Syntax),
        _ if glob.len() > limits::ACL_PATTERN_MAX_BYTES => Err(Refused::TooMuch),
        _ => Ok(()),
    }
}
