//! Handshakes, and what follows them, in pieces of any size: whole, they are answered; damaged, they end their connection, and
//! nothing else.

use std::io::{Read, Write};
use std::sync::{Arc, LazyLock};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

use crate::base::testing::Random;
use crate::clients::testing::enter;
use crate::protocol::front::{Next, Protocol};
use crate::protocol::testing::{Conversation, for_seeds, server};

static CONFIGS: LazyLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = LazyLock::new(|| {
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = identity.cert.der().clone();
    let key = PrivateKeyDer::try_from(identity.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(default_provider());
    let servers = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let clients = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    (
        Arc::new(servers.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap()),
        Arc::new(clients.with_root_certificates(roots).with_no_client_auth()),
    )
});

/// Changes, takes away or adds a byte, or cuts the rest off.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.index(bytes.len());
    match random.index(4) {
        0 => bytes[at] ^= 1 << random.index(8),
        1 => drop(bytes.remove(at)),
        2 => bytes.insert(at, random.next() as u8),
        _ => bytes.truncate(at),
    }
}

/// Sends in pieces; true while the connection goes on.
fn send(random: &mut Random, conversation: &mut Conversation, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at((1 + random.index(400)).min(bytes.len()));
        bytes = rest;
        let mut next = conversation.advance(piece, 0);
        while !matches!(next, Next::Receive | Next::Close) {
            next = conversation.advance(b"", 0);
        }
        if next == Next::Close {
            return false;
        }
    }
    true
}

fn converse(random: &mut Random) {
    let (servers, clients) = &*CONFIGS;
    let shared = server();
    let inner = Protocol::Resp.session(enter(&shared.clients), &shared);
    let session = super::Session::new(inner, servers.clone());
    let mut conversation = Conversation::over(Box::new(session), shared);
    let mut client = ClientConnection::new(clients.clone(), ServerName::try_from("localhost").unwrap()).unwrap();
    client.writer().write_all(b"PING\r\n").unwrap();
    let mut is_damaged = false;
    while client.wants_write() {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).unwrap();
        if random.index(3) == 0 {
            is_damaged = true;
            damage(random, &mut flight);
        }
        let goes_on = send(random, &mut conversation, &flight);
        assert!(goes_on || is_damaged);
        let replies = std::mem::take(&mut conversation.replies);
        let mut rest = &replies[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            if client.process_new_packets().is_err() {
                assert!(is_damaged);
                return;
            }
        }
        if !goes_on {
            return;
        }
    }
    let mut answer = Vec::new();
    // What has not come to its end is waited for.
    let _ = client.reader().read_to_end(&mut answer);
    assert!(answer == b"+PONG\r\n" || is_damaged && answer.is_empty(), "{}", answer.escape_ascii());
}

#[test]
fn arbitrary_bytes_end_nothing_but_their_connection() {
    for_seeds("TLS", converse);
}
