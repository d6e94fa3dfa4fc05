//! A protocol in one file: each line of input is answered with the length of the value at that key. It shows what
//! `protocol::front` asks for; a real one is a folder of `src/protocol/` and a line in `front::Protocol`.
//!
//! `cargo run --example protocol` holds a conversation with it, without a socket.

use std::sync::Arc;

use clap::Parser;
use kv_cache::base::clock::Turn;
use kv_cache::clients::{Client, Peer};
use kv_cache::command::Table;
use kv_cache::config::Options;
use kv_cache::message::output::Output;
use kv_cache::protocol::core::Core;
use kv_cache::protocol::front::{Next, Session};
use kv_cache::shared::{Plan, Shared};
use kv_cache::store::shard::{Expiry, Key, NewValue};

struct Lengths {
    client: Arc<Client>,
    /// The beginning of a line.
    pending: Vec<u8>,
}

impl Session for Lengths {
    fn client(&self) -> &Arc<Client> {
        &self.client
    }

    fn advance(&mut self, input: &[u8], core: &mut Core, turn: Turn, _: usize, output: &mut Output) -> Next {
        self.pending.extend_from_slice(input);
        let mut guards = core.shared.keyspace.guards_for(self.client.id);
        while let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
            let line = &self.pending[..end];
            let key = Key { bytes: line, hash: core.shared.keyspace.hash(line), db: 0 };
            // A script has the shard: the line stays where it is and is asked again.
            let Ok(shard) = guards.lock(key.hash) else { return Next::Rest };
            let length = shard.get(key, turn.now).map(|entry| entry.value.as_slice().len());
            output.write(format!("{}\n", length.map_or("none".into(), |length| length.to_string())).as_bytes());
            self.pending.drain(..=end);
        }
        Next::Receive
    }

    fn sent(&mut self, _: &Core, _: usize) {}

    fn end(&mut self, _: &Core) {}
}

fn main() {
    let plan = Plan {
        settings: Vec::new(),
        options: Options::parse_from(["kv-cache"]),
        password: None,
        users: None,
        cores: 1,
        max_memory_bytes: 64 << 20,
        granted_bytes: 1 << 30,
        maxclients: 1,
        descriptors: 16,
        registered_buffers: 0,
        tcp_port: 0,
        http_port: 0,
        memcached_port: 0,
        protobuf_port: 0,
        tls: None,
    };
    let shared = Arc::new(Shared::new(plan, Table::get().names().len()));
    let key = Key { bytes: b"greeting", hash: shared.keyspace.hash(b"greeting"), db: 0 };
    let mut guards = shared.keyspace.guards();
    let shard = guards.lock(key.hash).expect("no script runs");
    shard.set(key, NewValue::Copied(b"hello"), Expiry::Never, 0).expect("there is room");
    drop(guards);

    let (socket, _peer) = std::os::unix::net::UnixStream::pair().expect("two descriptors");
    shared.clients.place(0, |_| true).expect("the first client");
    let client = shared.clients.enter(0, socket.into(), Peer::Unix, 0);
    let mut session = Lengths { client, pending: Vec::new() };
    let (mut core, mut output) = (Core::new(shared, 0), Output::default());
    session.advance(b"greeting\nnobo", &mut core, Turn::begin(), 0, &mut output);
    session.advance(b"dy\n", &mut core, Turn::begin(), 0, &mut output);
    assert_eq!(output.as_contiguous(), Some(&b"5\nnone\n"[..]));
    print!("{}", String::from_utf8_lossy(&output.into_bytes()));
}
