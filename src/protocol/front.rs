//! What a protocol must offer, and which protocols there are. Drivers know a conversation by this and nothing else.
//!
//! A protocol is a folder beside this file, an implementation of `Session`, and a line in `Protocol`.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::clock::Turn;
use crate::clients::Client;
use crate::message::output::Output;
use crate::message::reply::Reply;
use crate::observe::stats::{CoreStats, Counter};
use crate::protocol::core::Core;
use crate::protocol::{http, memcached, protobuf, resp, tls};
use crate::shared::Shared;

/// What is spoken at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// That of Redis's clients, in its versions 2 and 3.
    Resp,
    /// HTTP/1.1: keys as resources, health, metrics.
    Http,
    /// memcached's, classic and meta.
    Memcached,
    /// Length-delimited messages of `proto/kv_cache.proto`.
    Protobuf,
}

impl Protocol {
    /// A conversation from its beginning, encrypted by TLS if asked for.
    pub fn session_over(self, is_encrypted: bool, client: Arc<Client>, shared: &Shared) -> Box<dyn Session> {
        let session = self.session(client, shared);
        if is_encrypted { Box::new(tls::Session::new(session, shared.settings.tls.config())) } else { session }
    }

    /// The same as it is.
    pub fn session(self, client: Arc<Client>, shared: &Shared) -> Box<dyn Session> {
        match self {
            Protocol::Resp => Box::new(resp::session::Session::new(client, shared)),
            Protocol::Http => Box::new(http::session::Session::new(client, shared)),
            Protocol::Memcached => Box::new(memcached::session::Session::new(client, shared)),
            Protocol::Protobuf => Box::new(protobuf::session::Session::new(client, shared)),
        }
    }

    /// As messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Resp => "RESP",
            Protocol::Http => "HTTP",
            Protocol::Memcached => "memcached",
            Protocol::Protobuf => "Protobuf",
        }
    }

    /// The option that says where it is spoken.
    pub fn port_option(self) -> &'static str {
        match self {
            Protocol::Resp => "--port",
            Protocol::Http => "--http-port",
            Protocol::Memcached => "--memcached-port",
            Protocol::Protobuf => "--protobuf-port",
        }
    }

    /// The counter of its connections.
    pub fn connections(self, stats: &CoreStats) -> &Counter {
        match self {
            Protocol::Resp => &stats.resp_connections,
            Protocol::Http => &stats.http_connections,
            Protocol::Memcached => &stats.memcached_connections,
            Protocol::Protobuf => &stats.protobuf_connections,
        }
    }

    /// What somebody is told who finds no place, before the connection is closed.
    pub fn refusal(self) -> Bytes {
        match self {
            Protocol::Resp => {
                let mut reply = Reply::default();
                reply.error("ERR max number of clients reached");
                reply.into_bytes()
            }
            Protocol::Http => http::answer::FULL.into(),
            Protocol::Memcached => memcached::answer::FULL.into(),
            Protocol::Protobuf => Bytes::from_static(protobuf::answer::FULL),
        }
    }

    /// What clients of other hosts are told while there is no password. In RESP in Redis's first words: clients know them.
    pub fn protection(self) -> &'static [u8] {
        match self {
            Protocol::Resp => {
                b"-DENIED kv-cache is running in protected mode because no password is set: in this mode connections are \
                  only accepted from the loopback interface. From the same host, CONFIG SET requirepass sets a password; \
                  --requirepass-file does so for every start, and --protected-mode no lets everybody in.\r\n"
            }
            Protocol::Http => http::answer::PROTECTED,
            Protocol::Memcached => memcached::answer::PROTECTED,
            Protocol::Protobuf => protobuf::answer::PROTECTED,
        }
    }
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Receive more.
    Receive,
    /// Let other connections have their turn, then call `advance` again without input.
    Yield,
    /// The same, and rest for a moment before: what is needed is held for long.
    Rest,
    /// Send until less is queued, then call `advance` again without input.
    Drain,
    /// Wait until the client is woken, then call `advance` again without input.
    Pause,
    /// Send what is queued, then close.
    Close,
}

/// One connection's conversation, sans-IO: bytes in, replies out.
pub trait Session {
    fn client(&self) -> &Arc<Client>;

    /// Takes what was received (nothing, when called again after anything but `Receive`), runs what is complete, and
    /// appends the replies. Input may come whatever the last answer was; after `Close` it is not called again. `queued`
    /// is how many bytes of replies the driver still has to send from before.
    fn advance(&mut self, input: &[u8], core: &mut Core, turn: Turn, queued: usize, output: &mut Output) -> Next;

    /// Bytes of something large that are still to come: who has much to come is better asked for a `place`.
    fn missing_bytes(&self) -> usize {
        0
    }

    /// Where the next bytes of something large may be received straight to, at most `bytes` of them, for which there is
    /// room in the client memory; `None` when they should go to `advance` as usual. What has been received there is told by
    /// `placed`, and then `advance` is called.
    fn place(&mut self, _core: &Core, _bytes: usize) -> Option<&mut [u8]> {
        None
    }

    /// So many bytes have been received where `place` said.
    fn placed(&mut self, _core: &Core, _bytes: usize) {}

    /// What others have pushed, as it goes out behind the replies so far: nothing, if `advance` will bring it.
    fn wrap(&mut self, pushed: Bytes) -> Bytes {
        pushed
    }

    /// Called when replies have left: `queued` bytes of them still wait.
    fn sent(&mut self, core: &Core, queued: usize);

    /// Called once when the connection is over, however it ended.
    fn end(&mut self, core: &Core);
}
