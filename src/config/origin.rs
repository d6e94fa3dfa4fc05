//! The options as they were resolved, and where each was written. It must not know how they are read.

use std::fmt;
use std::path::PathBuf;

use super::{Options, StartError};

/// Where an option's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    /// The environment variable of this name.
    Variable(String),
    File {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Variable(name) => f.write_str(name),
            Origin::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

impl Origin {
    /// A value as it was written, with where it was.
    pub fn place(&self, name: &str, text: &str) -> String {
        let shown = if text.is_empty() { "''" } else { text };
        match self {
            Origin::Variable(variable) => format!("{variable}={shown}"),
            Origin::File { path, line, column } => format!("{}:{line}:{column}: {name} = {shown}", path.display()),
            Origin::Flag | Origin::Default => format!("--{name} {shown}"),
        }
    }
}

/// An option as it was resolved.
#[derive(Clone, Debug)]
pub struct Setting {
    pub name: String,
    /// As it was written; passwords are not shown.
    pub text: String,
    pub origin: Origin,
}

#[derive(Clone, Debug)]
pub struct Resolved {
    pub options: Options,
    /// Every option, in the order of the declaration.
    pub settings: Vec<Setting>,
    /// What was ignored, or is probably a mistake: one line each.
    pub notes: Vec<String>,
}

impl Resolved {
    /// What is said of an option as a flag, `--name` or `--name value` and more, with the place where it was written instead.
    pub fn locate(&self, line: &str) -> String {
        let found = self.settings.iter().find_map(|setting| {
            let rest = line.strip_prefix("--")?.strip_prefix(&*setting.name)?;
            rest.starts_with([' ', ':']).then_some((setting, rest))
        });
        match found {
            Some((Setting { name, text, origin: origin @ (Origin::Variable(_) | Origin::File { .. }) }, rest)) => {
                let rest = rest.strip_prefix(&format!(" {text}")).unwrap_or(rest);
                format!("{}{rest}", origin.place(name, text))
            }
            _ => line.to_owned(),
        }
    }

    /// The same of why the server does not start.
    pub fn located(&self, error: StartError) -> StartError {
        StartError { message: self.locate(&error.message), ..error }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn what_is_said_of_an_option_names_its_place() {
        let setting = |name: &str, text: &str, origin| Setting { name: name.to_owned(), text: text.to_owned(), origin };
        let file = Origin::File { path: "kv.toml".into(), line: 3, column: 1 };
        let resolved = Resolved {
            options: Options::parse_from(["kv-cache"]),
            settings: vec![
                setting("maxmemory", "1mb", file),
                setting("maxmemory-policy", "noeviction", Origin::Flag),
                setting("pin", "9", Origin::Variable("KV_CACHE_PIN".to_owned())),
            ],
            notes: Vec::new(),
        };
        for (line, expect) in [
            ("--maxmemory 1mb is too little", "kv.toml:3:1: maxmemory = 1mb is too little"),
            ("--pin names core 9", "KV_CACHE_PIN=9 names core 9"),
            ("--pin: no", "KV_CACHE_PIN=9: no"),
            ("--maxmemory-policy noeviction: no", "--maxmemory-policy noeviction: no"),
            ("--threads 3 is too much", "--threads 3 is too much"),
            ("maxmemory is small", "maxmemory is small"),
        ] {
            assert_eq!(resolved.locate(line), expect);
        }
    }
}
