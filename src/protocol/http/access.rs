//! Who may ask: which names a page in a browser may have reached this server by, where it may come from, and the password.

use super::answer::{Refusal, Status};
use super::fields;
use super::head::Head;
use super::target::Route;
use crate::clients::Client;
use crate::observe::log;
use crate::observe::stats::CoreStats;
use crate::shared::Shared;

/// Why somebody may not ask this, if so.
///
/// A page of another site can make a browser send requests here, and a name of its own that leads here makes them its own
/// (DNS rebinding). So without a password, and while protected mode is on, only addresses and `localhost` are names of this
/// server; and what a page of another origin would change is refused in any case.
pub fn refusal(head: &Head, client: &Client, stats: &CoreStats, shared: &Shared) -> Option<Refusal> {
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
    (!is_open && shared.settings.needs_password()).then(|| password(head, client, stats, shared)).flatten()
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

fn password(head: &Head, client: &Client, stats: &CoreStats, shared: &Shared) -> Option<Refusal> {
    let Some(given) = head.authorization else {
        return Some(Refusal::new(Status::Unauthorized, "a password is wanted: Authorization, Bearer or Basic"));
    };
    let matches = fields::credentials(given).is_some_and(|(user, password)| {
        let is_known = user.is_empty() || user == b"default";
        shared.settings.password_matches(&password) && is_known
    });
    if matches {
        return None;
    }
    stats.auth_failures.add(1);
    log::WRONG_PASSWORDS.warn(|| {
        let address = client.addresses(&shared.unix_path()).0;
        format!("wrong user name or password from {address}, over HTTP")
    });
    Some(Refusal::new(Status::Unauthorized, "the user name or the password is wrong"))
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
