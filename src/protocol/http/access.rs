//! Who may ask: which names a page in a browser may have reached this server by, where it may come from, and the password.

use std::sync::Arc;

use super::answer::{Refusal, Status};
use super::fields;
use super::head::Head;
use super::target::Route;
use crate::acl::log::Event;
use crate::acl::{DEFAULT, User};
use crate::base::clock::UnixMillis;
use crate::command::{ConnectionState, permission};
use crate::observe::stats::CoreStats;
use crate::shared::Shared;

/// Why somebody may not ask this, if so; else the connection is from now on that of the user who asks.
///
/// A page of another site can make a browser send requests here, and a name of its own that leads here makes them its own
/// (DNS rebinding). So without a password, and while protected mode is on, only addresses and `localhost` are names of this
/// server; and what a page of another origin would change is refused in any case.
pub fn refusal(
    head: &Head,
    state: &mut ConnectionState,
    stats: &CoreStats,
    shared: &Shared,
    now: UnixMillis,
) -> Option<Refusal> {
    let host = head.target.host.or(head.host).unwrap_or_default();
    if shared.settings.protects_names() && !host.is_empty() && !is_own_name(host) {
        let text = "protected mode: no password is set, so only addresses and localhost are names of this server";
        return Some(Refusal::new(Status::MisdirectedRequest, text));
    }
    if let Some(origin) = head.origin
        && head.method.changes()
        && origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host))
    {
        return Some(Refusal::new(Status::Forbidden, "a page of another origin may change nothing"));
    }
    let is_open = matches!(head.target.route, Route::Health | Route::Ready);
    if is_open { None } else { identify(head, state, stats, shared, now) }
}

/// An address, or `localhost`, with a port or without.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_address = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_v6 = host.starts_with('[') && name.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
    let local = name.trim_end_matches('.');
    is_v6
        || is_address(name)
        || local.eq_ignore_ascii_case("localhost")
        || local.rsplit_once('.').is_some_and(|(sub, top)| !sub.is_empty() && top.eq_ignore_ascii_case("localhost"))
}

/// Who asks. Where nobody needs a password, whoever names nobody is the default user.
fn identify(
    head: &Head,
    state: &mut ConnectionState,
    stats: &CoreStats,
    shared: &Shared,
    now: UnixMillis,
) -> Option<Refusal> {
    let users = &shared.settings.users;
    let Some(given) = head.authorization else {
        if users.is_open() {
            become_user(state, shared, users.default_user());
            return None;
        }
        return Some(Refusal::new(Status::Unauthorized, "a password is wanted: Authorization, Bearer or Basic"));
    };
    let (name, password) = match fields::credentials(given) {
        Some((name, password)) if name.is_empty() => (DEFAULT.as_bytes().to_vec(), Some(password)),
        Some((name, password)) => (name, Some(password)),
        // Some other scheme: it names nobody.
        None => (DEFAULT.as_bytes().to_vec(), users.is_open().then(Vec::new)),
    };
    if let Some(user) = password.and_then(|password| users.authenticate(&name, &password)) {
        become_user(state, shared, &user);
        return None;
    }
    let event = Event { reason: "auth", context: "toplevel", object: b"Authorization".to_vec(), user: name };
    permission::note_wrong_password(shared, stats, state, now, event, || "over HTTP".to_owned());
    Some(Refusal::new(Status::Unauthorized, "the user name or the password is wrong"))
}

fn become_user(state: &mut ConnectionState, shared: &Shared, user: &Arc<User>) {
    if !Arc::ptr_eq(state.access.user(&shared.settings.users), user) {
        state.log_in(user.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_server() {
        for name in [
            "localhost",
            "LOCALHOST:7172",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]:7172",
            "[::1]",
            "a.localhost:1",
            "10.0.0.7",
        ] {
            assert!(is_own_name(name), "{name}");
        }
        for name in [
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "xlocalhost",
            "cafe:7172",
            "[evil.com]",
            "example.com:127.0.0.1",
            "::1",
            ".localhost",
            "\u{fffd}",
        ] {
            assert!(!is_own_name(name), "{name}");
        }
    }
}
