//! SIGHUP: reads the options again, applies what can change while the server runs, and says what cannot. It must not
//! know how a setting takes effect.

use crate::command;
use crate::config::StartError;
use crate::config::{self, Options, Origin, Request, Resolved};
use crate::shared::Shared;

/// What CONFIG SET calls an option, and its value as CONFIG SET takes it. Most are the same for both.
fn parameter(name: &str, value: &str, options: &Options, shared: &Shared) -> (String, String) {
    match name {
        "maxmemory" => (name.to_owned(), options.maxmemory.resolve(shared.granted_bytes).to_string()),
        "max-value" => ("proto-max-bulk-len".to_owned(), options.max_value.0.to_string()),
        "client-query-limit" => ("client-query-buffer-limit".to_owned(), options.client_query_limit.0.to_string()),
        _ => (name.to_owned(), value.to_owned()),
    }
}

/// The options as they were last applied. What CONFIG SET has changed since stays, unless its option changes too.
pub struct Applied {
    listing: Vec<(String, String, Origin)>,
    password: Option<String>,
}

impl Applied {
    pub fn new(resolved: Resolved, shared: &Shared) -> Applied {
        let password = Some(shared.settings.password()).filter(|password| !password.is_empty());
        Applied { listing: resolved.listing, password }
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
        for (running, (name, value, origin)) in self.listing.iter_mut().zip(resolved.listing) {
            let before = &running.1;
            if *before == value || name.starts_with("requirepass") {
                continue;
            }
            changes += 1;
            let (parameter, text) = parameter(&name, &value, &resolved.options, shared);
            match command::configure(shared, &parameter, &text) {
                Some(Ok(())) => {
                    tracing::info!("reloaded: {name} was {before}, is {value}");
                    *running = (name, value, origin);
                }
                Some(Err(reason)) => tracing::error!("not reloaded: {name} stays {before}: {reason}"),
                None => tracing::warn!("not reloaded: {name} stays {before}; {value} takes a restart"),
            }
        }
        if password != self.password {
            changes += 1;
            shared.settings.set_password(password.as_deref().unwrap_or_default());
            tracing::info!("reloaded: the password; connections that are in stay in");
            self.password = password;
        }
        if changes == 0 {
            tracing::info!("reloaded: nothing has changed");
        }
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
