//! Where a server listens, as people write it: `host:port`, a path, `redis://user:password@host:port`, `unix:/path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub place: Place,
    /// Who asks, if the address says so.
    pub user: Option<String>,
    pub password: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A name or an IP address; the port of the options where none is given.
    Tcp {
        host: String,
        port: Option<u16>,
    },
    Unix(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp { host, port: Some(port) } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Tcp { host, port: Some(port) } => write!(f, "{host}:{port}"),
            Place::Tcp { host, port: None } => f.write_str(host),
            Place::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let bare = |place| Target { place, user: None, password: None };
        if let Some(rest) = text.strip_prefix("redis://").or_else(|| text.strip_prefix("valkey://")) {
            return url(rest);
        }
        if text.starts_with("rediss://") || text.starts_with("valkeys://") {
            return Err("ping speaks no TLS; take a port that is not encrypted, or the Unix socket".to_owned());
        }
        if let Some(path) = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")) {
            return Ok(bare(Place::Unix(path.into())));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!("'{scheme}://' is not Redis's; take redis:// or unix://"));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(bare(tcp(&format!("{LOOPBACK}:{text}"))?));
        }
        if text.contains('/') {
            return Ok(bare(Place::Unix(text.into())));
        }
        Ok(bare(tcp(text)?))
    }
}

/// Where no host is named.
const LOOPBACK: &str = "127.0.0.1";

/// What follows `redis://`. The database, and parameters, are of no meaning to a ping.
fn url(rest: &str) -> Result<Target, String> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (who, host) = authority.rsplit_once('@').map_or((None, authority), |(who, host)| (Some(who), host));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
        Some((user, password)) => (Some(decoded(user)), Some(decoded(password))),
        None => (None, None),
    };
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let host = if host.is_empty() { LOOPBACK } else { host };
    Ok(Target { place: tcp(host)?, user: given(user), password: given(password) })
}

/// `host`, `host:port`, `[::1]`, `[::1]:port`, `::1`.
fn tcp(text: &str) -> Result<Place, String> {
    let wrong = || "write it as 127.0.0.1:7171, [::1]:7171, redis://host:7171 or /path/of/socket".to_owned();
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(rest.is_empty().then_some(""))),
        // More than one colon is an IPv6 address without a port.
        None if text.matches(':').count() == 1 => text.split_once(':').map(|(host, port)| (host, Some(port))).unwrap(),
        None => (text, Some("")),
    };
    let port = match port.ok_or_else(wrong)? {
        "" => None,
        digits => Some(digits.parse().map_err(|_| wrong())?),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || matches!(c, '[' | ']')) {
        return Err(wrong());
    }
    Ok(Place::Tcp { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_it() {
        let tcp = |host: &str, port| Place::Tcp { host: host.to_owned(), port };
        for (text, place) in [
            ("127.0.0.1:7171", tcp("127.0.0.1", Some(7171))),
            ("localhost", tcp("localhost", None)),
            ("7000", tcp("127.0.0.1", Some(7000))),
            ("[::1]:7000", tcp("::1", Some(7000))),
            ("[::1]", tcp("::1", None)),
            ("::1", tcp("::1", None)),
            ("redis://cache.example", tcp("cache.example", None)),
            ("redis://[::1]:7000/0", tcp("::1", Some(7000))),
            ("/run/kv.sock", Place::Unix("/run/kv.sock".into())),
            ("./kv.sock", Place::Unix("./kv.sock".into())),
            ("unix:///run/kv.sock", Place::Unix("/run/kv.sock".into())),
            ("unix:/run/kv.sock", Place::Unix("/run/kv.sock".into())),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().place, place, "{text}");
        }
        let target: Target = "redis://ada:s%40cret@host:1/0".parse().unwrap();
        assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("ada"), Some("s@cret")));
        assert_eq!(target.place.to_string(), "host:1");
        let target: Target = "redis://:hush@host".parse().unwrap();
        assert_eq!((target.user, target.password.as_deref()), (None, Some("hush")));
        for text in [
            "",
            ":7000",
            "host:x",
            "host:70000",
            "[::1]x",
            "a b",
            "70000",
            "rediss://host",
            "http://host",
            "redis://:7000",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
