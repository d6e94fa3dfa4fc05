//! What goes between a protocol and the commands: a request's arguments, and the reply or error to it. It must not know
//! how a request came in, or what it asks for.

pub mod error;
pub mod kept;
pub mod output;
pub mod reply;
pub mod request;
