//! One question before any load: is there a server, does it speak the protocol, does it let us in? Everything that an
//! operator can get wrong about a target becomes a clear sentence here. Knows nothing of workloads.

use super::dialogue::Dialogue;
use crate::{
    protocol::{Kind, Reply, Request},
    target::Target,
};
use std::time::Duration;

/// Asks for one key, and then what the server is: its name and version, as far as it tells. An error is one line that
/// says what to do. Each answer, and connecting, takes `timeout` at most.
pub fn probe(target: &Target, timeout: Duration) -> Result<String, String> {
    let mut dialogue = Dialogue::open(target, timeout)?;
    dialogue.ask(Kind::Get, &Request::Get { key: b"kv-bench" }, |_| ())?;
    // Whoever serves keys need not say what it is.
    let words = dialogue.ask(Kind::About, &Request::About, |reply| match reply {
        Reply::Value(words) => String::from_utf8_lossy(words).into_owned(),
        _ => String::new(),
    });
    Ok(words.ok().and_then(|words| dialogue.protocol().version(&words)).unwrap_or("of unknown version".into()))
}
