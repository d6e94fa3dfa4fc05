//! SIGHUP: reads the options again, applies what can change while the server runs, and says what cannot. It must not
//! know how a setting takes effect.

use crate::command;
use crate::config::{self, Options, Request, Resolved, policy_name};
use crate::error::StartError;
use crate::shared::Shared;

/// An option that can change: its name, CONFIG SET's name for it, and the value as CONFIG SET takes it.
type Changeable = (&'static str, &'static str, fn(&Options, &Shared) -> String);

const CHANGEABLE: [Changeable; 7] = [
    ("maxmemory", "maxmemory", |options, shared| options.maxmemory.resolve(shared.granted_bytes).to_string()),
    ("maxmemory-policy", "maxmemory-policy", |options, _| policy_name(options.maxmemory_policy).to_owned()),
    ("maxclients", "maxclients", |options, _| options.maxclients.to_string()),
    ("timeout", "timeout", |options, _| options.timeout.to_string()),
    ("tcp-keepalive", "tcp-keepalive", |options, _| options.tcp_keepalive.to_string()),
    ("max-value", "proto-max-bulk-len", |options, _| options.max_value.0.to_string()),
    ("client-query-limit", "client-query-buffer-limit", |options, _| options.client_query_limit.0.to_string()),
];

/// The options as they were last applied. What CONFIG SET has changed since stays, unless its option changes too.
pub struct Applied {
    resolved: Resolved,
    password: Option<String>,
}

impl Applied {
    pub fn new(resolved: Resolved, shared: &Shared) -> Applied {
        Applied { resolved, password: Some(shared.settings.password()).filter(|password| !password.is_empty()) }
    }

    /// Reads the same command line, environment and file again. A mistake in the file changes nothing.
    pub fn reload(&mut self, shared: &Shared) {
        match read_again() {
            Ok((resolved, password)) => self.apply(resolved, password, shared),
            Err(error) => tracing::error!("nothing reloaded: {error}"),
        }
    }

    fn apply(&mut self, resolved: Resolved, password: Option<String>, shared: &Shared) {
        let mut changes = 0;
        for (index, (name, value, _)) in resolved.listing.iter().enumerate() {
            let before = &self.resolved.listing[index].1;
            if before == value {
                continue;
            }
            changes += 1;
            let changeable = CHANGEABLE.iter().find(|(option, ..)| option == name);
            match changeable
                .map(|(_, parameter, text)| command::configure(shared, parameter, &text(&resolved.options, shared)))
            {
                Some(Ok(())) => tracing::info!("reloaded: {name} was {before}, is {value}"),
                Some(Err(reason)) => tracing::error!("not reloaded: {name} stays {before}: {reason}"),
                None if name.starts_with("requirepass") => {}
                None => tracing::warn!("not reloaded: {name} stays {before}; {value} takes a restart"),
            }
        }
        if password != self.password {
            changes += 1;
            shared.settings.set_password(password.as_deref().unwrap_or_default());
            tracing::info!("reloaded: the password; connections that are in stay in");
        }
        if changes == 0 {
            tracing::info!("reloaded: nothing has changed");
        }
        (self.resolved, self.password) = (resolved, password);
    }
}

fn read_again() -> Result<(Resolved, Option<String>), StartError> {
    match config::resolve(std::env::args_os())? {
        Request::Run(resolved) => {
            let password = resolved.options.password()?;
            Ok((*resolved, password))
        }
        Request::Print(_) => Err(StartError::option("the command line asks for no server")),
    }
}
