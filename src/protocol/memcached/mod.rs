//! memcached's protocol, classic and meta, after its `doc/protocol.txt`: keys of database 0 with flags, versions (CAS) and
//! times to live in seconds.
//!
//! From bytes to answers: `line` reads one line, `flags` the flags of a meta command, `batch` as many requests as there are,
//! keys of a `get` one by one; `arriving` holds a large value on its way; `session` is the conversation. What a request does
//! is in `text` (the classic commands), `meta` and `store` (what both write), `stats`; `answer` has the words.
//! `binary` tells clients of the other protocol that they are wrong here.

pub mod answer;
mod arriving;
pub mod batch;
mod binary;
mod flags;
mod line;
mod meta;
pub mod session;
mod stats;
mod store;
mod text;
