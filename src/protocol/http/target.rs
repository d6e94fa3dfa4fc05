//! The target of a request: which resource, and what its query asks for. It must not know methods.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::answer::{Refusal, Status};

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Route {
    /// `/kv/KEY`
    Key,
    /// `/metrics`
    Metrics,
    /// `/healthz`: the process answers.
    Health,
    /// `/readyz`: it is not on its way down, and has memory.
    Ready,
    #[default]
    Nothing,
}

/// A target, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Target<'t> {
    pub route: Route,
    pub key: Cow<'t, [u8]>,
    /// The host that a target in absolute form names: it stands in place of the header.
    pub host: Option<&'t str>,
    /// `?ttl=`, in seconds.
    pub ttl: Option<i64>,
    /// `?by=`
    pub by: Option<i64>,
}

const MALFORMED: Refusal = Refusal::new(Status::BadRequest, "the target is malformed");

impl<'t> Target<'t> {
    /// # Errors
    /// The form is neither that of a path nor that of a URL, an escape is malformed, or the query has what is not known.
    pub fn parse(text: &'t str) -> Result<Target<'t>, Refusal> {
        let (host, rest) = match text.strip_prefix("http://") {
            Some(url) => {
                let end = url.find(['/', '?']).unwrap_or(url.len());
                (Some(&url[..end]), &url[end..])
            }
            None if text.starts_with('/') || text == "*" => (None, text),
            None => return Err(MALFORMED),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut target = Target { host, ..Target::default() };
        target.route = match path {
            "/metrics" => Route::Metrics,
            "/healthz" => Route::Health,
            "/readyz" => Route::Ready,
            _ => match path.strip_prefix("/kv/") {
                Some(key) => {
                    target.key = decode(key)?;
                    Route::Key
                }
                None => Route::Nothing,
            },
        };
        if target.route == Route::Key {
            target.read_query(query)?;
        }
        Ok(target)
    }

    fn read_query(&mut self, query: &str) -> Result<(), Refusal> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (place, wrong) = match name {
                "ttl" => (&mut self.ttl, "ttl must be a number of seconds from 1 on"),
                "by" => (&mut self.by, "by must be an integer"),
                _ => return Err(Refusal::new(Status::BadRequest, "the query may have ttl and by, and nothing else")),
            };
            let number = value.parse().ok().filter(|number| name != "ttl" || *number > 0);
            if place.is_some() || number.is_none() {
                return Err(Refusal::new(Status::BadRequest, wrong));
            }
            *place = number;
        }
        Ok(())
    }
}

/// Without its escapes, each of which has two digits.
fn decode(text: &str) -> Result<Cow<'_, [u8]>, Refusal> {
    let mut escapes = text.split('%').skip(1);
    if escapes.any(|after| !matches!(after.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())) {
        return Err(MALFORMED);
    }
    Ok(percent_decode(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<Vec<u8>> {
        let target = Target::parse(text).ok()?;
        assert_eq!(target.route, Route::Key, "{text}");
        Some(target.key.into_owned())
    }

    #[test]
    fn keys_are_whatever_stands_behind_the_prefix() {
        for (text, expect) in [
            ("/kv/a", "a"),
            ("/kv/", ""),
            ("/kv/a/b//../c", "a/b//../c"),
            ("/kv/a%2Fb%25", "a/b%"),
            ("/kv/%00%ff", "\0\u{ff}"),
            ("/kv/a+b;c=d", "a+b;c=d"),
            ("http://host:1/kv/k?ttl=1", "k"),
        ] {
            let expect: Vec<u8> = expect.chars().map(|c| c as u8).collect();
            assert_eq!(key(text), Some(expect), "{text}");
        }
        for text in ["/kv/%", "/kv/%4", "/kv/%zz", "/kv/%%41", "kv/a", "https://h/kv/a", "", "h:80"] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn queries_are_known_or_refused() {
        let target = Target::parse("/kv/k?by=-7&ttl=60").unwrap();
        assert_eq!((target.by, target.ttl), (Some(-7), Some(60)));
        for query in
            ["ttl=0", "ttl=-1", "ttl=1.5", "ttl=", "ttl", "ttl=1&ttl=1", "by=x", "by=9223372036854775808", "x=1"]
        {
            assert!(Target::parse(&format!("/kv/k?{query}")).is_err(), "{query}");
        }
    }

    #[test]
    fn routes() {
        for (text, route) in [
            ("/metrics", Route::Metrics),
            ("/metrics?x=1", Route::Metrics),
            ("/healthz", Route::Health),
            ("/readyz", Route::Ready),
            ("/", Route::Nothing),
            ("*", Route::Nothing),
            ("/kv", Route::Nothing),
            ("/Metrics", Route::Nothing),
            ("http://h", Route::Nothing),
            ("http://h?x", Route::Nothing),
        ] {
            assert_eq!(Target::parse(text).unwrap().route, route, "{text}");
        }
        assert_eq!(Target::parse("http://h:1/metrics").unwrap().host, Some("h:1"));
    }
}
