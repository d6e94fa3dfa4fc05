//! HTTP/1.1 for `curl`, browsers and monitoring: the value of a key is the resource `/kv/KEY`; beside it `/metrics`,
//! `/healthz` and `/readyz`. Sources: RFC 9110 (semantics), RFC 9112 (messages).
//!
//! | file | what it is |
//! |---|---|
//! | `head` | bytes to a request, and what makes them none |
//! | `target`, `fields` | what stands in a request line and in the values of headers |
//! | `body` | what follows a head: so many bytes, or chunks |
//! | `access` | who may ask: hosts, origins, passwords |
//! | `resource` | what a request does |
//! | `answer` | replies as bytes |
//! | `session` | the conversation |
//!
//! What is not exactly as the RFCs have it is refused, and the connection closed: what two programs read differently is
//! what requests are smuggled with.

mod access;
pub mod answer;
mod body;
mod fields;
mod head;
mod resource;
pub mod session;
mod target;
