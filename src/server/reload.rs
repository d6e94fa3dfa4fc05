//! SIGHUP: reads the options again, applies what can change while the server runs, all of it or nothing, and says what takes
//! a restart. It must not know how a setting takes effect.

use std::collections::BTreeMap;

use crate::acl::Rules;
use crate::command::{settings, users};
use crate::config::{self, Options, Request, Resolved, Setting, StartError};
use crate::observe::log;
use crate::shared::Shared;

/// The value of an option as CONFIG SET takes it; most are as they were written.
fn value(setting: &Setting, options: &Options, shared: &Shared) -> String {
    match setting.name.as_str() {
        "maxmemory" => options.maxmemory.resolve(shared.granted_bytes).to_string(),
        "max-value" => options.max_value.0.to_string(),
        "client-query-limit" => options.client_query_limit.0.to_string(),
        _ => setting.text.clone(),
    }
}

/// The options as they were last applied. What CONFIG SET has changed since stays, unless its option changes too.
pub struct Applied {
    settings: Vec<Setting>,
    password: Option<String>,
}

impl Applied {
    pub fn new(resolved: Resolved, shared: &Shared) -> Applied {
        let password = Some(shared.settings.password()).filter(|password| !password.is_empty());
        Applied { settings: resolved.settings, password }
    }

    /// Reads the same command line, environment and file again. A mistake changes nothing.
    pub fn reload(&mut self, shared: &Shared) {
        if let Err(error) = log::reopen() {
            tracing::error!("the log file cannot be opened anew, and the old one is written on: {error}");
        }
        if let Err(error) = read_again().and_then(|read| self.apply(read, shared)) {
            tracing::error!("nothing reloaded: {error}");
        } else if let Err(reason) = shared.settings.tls.load() {
            tracing::error!("the certificate is not reloaded, and the one of before stays: {reason}");
        }
    }

    fn apply(&mut self, (resolved, password, users): Read, shared: &Shared) -> Result<(), StartError> {
        let pairs = self.settings.iter().zip(&resolved.settings).enumerate();
        let changed =
            pairs.filter(|(_, (before, now))| before.text != now.text && !now.name.starts_with("requirepass"));
        let (changes, restarts): (Vec<_>, Vec<_>) =
            changed.map(|(at, _)| at).partition(|at| settings::of_option(&self.settings[*at].name).is_some());
        let wanted = changes.iter().map(|at| {
            let now = &resolved.settings[*at];
            let name = settings::of_option(&now.name).expect("it was found before");
            (name, value(now, &resolved.options, shared))
        });
        settings::configure(shared, &wanted.collect::<Vec<_>>()).map_err(|(at, reason)| {
            let now = &resolved.settings[changes[at]];
            StartError::option(format!("{} {} ({}): {reason}", now.name, now.text, now.origin))
        })?;
        for &at in &changes {
            let (before, now) = (&self.settings[at], &resolved.settings[at]);
            tracing::info!("reloaded: {} was {}, is {}", now.name, before.text, now.text);
        }
        for &at in &restarts {
            let (before, now) = (&self.settings[at], &resolved.settings[at]);
            tracing::warn!("not reloaded: {} stays {}; {} takes a restart", now.name, before.text, now.text);
        }
        let has_other_password = password != self.password;
        if has_other_password {
            shared.settings.set_password(password.as_deref().unwrap_or_default());
            tracing::info!("reloaded: the password; connections that are in stay in");
            self.password = password;
        }
        if let Some(users) = users {
            users::replace_all(shared, users, None);
            tracing::info!("reloaded: the users");
        }
        if changes.is_empty() && restarts.is_empty() && !has_other_password {
            tracing::info!("reloaded: nothing has changed");
        }
        changes.into_iter().for_each(|at| self.settings[at] = resolved.settings[at].clone());
        Ok(())
    }
}

/// The options, the password and the users of --aclfile.
type Read = (Resolved, Option<String>, Option<BTreeMap<String, Rules>>);

fn read_again() -> Result<Read, StartError> {
    match config::resolve(std::env::args_os())? {
        Request::Run(resolved) => {
            resolved.notes.iter().for_each(|note| tracing::warn!("{note}"));
            let password = resolved.options.password()?;
            let users = resolved.options.aclfile.as_deref().map(users::read).transpose().map_err(StartError::option)?;
            Ok((*resolved, password, users))
        }
        Request::Print(_) => Err(StartError::option("the command line asks for no server")),
    }
}
