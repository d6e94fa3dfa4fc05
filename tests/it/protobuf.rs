//! The door for Protobuf: the same keys as through RESP's, bounded and guarded alike, spoken to by another implementation of
//! `proto/kv_cache.proto`. What a conversation answers in detail is tested where it is written.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::Signal;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use crate::client::patterned;
use crate::harness::{DEADLINE, Engine, Server, on_every_driver, peak_resident_bytes, wait_until};
use crate::wire::Value;

on_every_driver!(
    one_keyspace_behind_both_doors,
    commands_that_nobody_may_run,
    a_conversation_cut_at_every_byte,
    large_values_come_and_go,
    who_does_not_read_is_bounded,
    who_leaves_in_the_middle_leaves_nothing,
    strangers_and_one_too_many,
    a_drain_answers_and_closes,
);

fn start(engine: Engine, flags: &[&str]) -> (Server, SocketAddr) {
    // Should somebody be quicker, the server does not start, and the test says so.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = format!("--protobuf-port={}", free.port());
    (Server::with(engine, &[flags, &[&port]].concat()), free)
}

struct Client {
    stream: TcpStream,
    request: MessageDescriptor,
    response: MessageDescriptor,
}

impl Client {
    fn new(address: SocketAddr) -> Client {
        let files = protox::compile(["kv_cache.proto"], [concat!(env!("CARGO_MANIFEST_DIR"), "/proto")]).unwrap();
        let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
        let message = |name| pool.get_message_by_name(name).unwrap();
        let stream = TcpStream::connect(address).expect("the server accepts");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, request: message("kv_cache.v1.Request"), response: message("kv_cache.v1.Response") }
    }

    /// The message that a text stands for, behind its length.
    fn frame(&self, text: &str) -> Vec<u8> {
        let message = DynamicMessage::parse_text_format(self.request.clone(), text).unwrap();
        message.encode_length_delimited_to_vec()
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes what it is sent");
    }

    fn message(&mut self) -> DynamicMessage {
        let (mut length, mut byte) = (0, [0x80]);
        for at in 0.. {
            self.stream.read_exact(&mut byte).expect("a response in time");
            length |= usize::from(byte[0] & 0x7f) << (7 * at);
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("a whole response");
        DynamicMessage::decode(self.response.clone(), &bytes[..]).unwrap()
    }

    fn reply(&mut self) -> String {
        self.message().to_text_format()
    }

    fn ask(&mut self, text: &str) -> String {
        let frame = self.frame(text);
        self.send(&frame);
        self.reply()
    }

    /// The value that the next response has.
    fn value(&mut self) -> Vec<u8> {
        let message = self.message();
        let value = message.get_field_by_name("value").unwrap();
        let data = value.as_message().unwrap().get_field_by_name("data").unwrap();
        data.as_bytes().unwrap().to_vec()
    }

    /// A set of bytes that are no text.
    fn set(&self, key: &str, value: &[u8]) -> Vec<u8> {
        let mut message = DynamicMessage::parse_text_format(self.request.clone(), "set {}").unwrap();
        let set = message.get_field_by_name_mut("set").unwrap();
        let prost_reflect::Value::Message(set) = set else { panic!("it is one") };
        set.set_field_by_name("key", prost_reflect::Value::Bytes(key.to_owned().into()));
        set.set_field_by_name("value", prost_reflect::Value::Bytes(value.to_vec().into()));
        message.encode_length_delimited_to_vec()
    }

    fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
    }
}

fn one_keyspace_behind_both_doors(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut client) = (server.client(), Client::new(address));
    let mut caching = server.resp3_client();
    caching.check("CLIENT TRACKING ON", "+OK\r\n");
    caching.check("GET k", "_\r\n");
    let mut monitor = server.client();
    monitor.check("MONITOR", "+OK\r\n");
    assert_eq!(client.ask(r#"id: 9 set { key: "k" value: "\r\n\000" ttl_ms: 100000 }"#), "id:9,done:true");
    caching.expect(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
    let line = String::from_utf8(monitor.raw_reply()).unwrap();
    assert!(line.ends_with("\"set\" \"k\" \"\\r\\n\\x00\" \"px\" \"100000\"\r\n"), "{line}");
    drop(monitor);
    assert_eq!(resp.call(&["GET", "k"]), Value::Bulk(b"\r\n\0".into()));
    assert!(matches!(resp.call(&["TTL", "k"]), Value::Integer(1..=100)));
    resp.check("SET n 5", "+OK\r\n");
    assert_eq!(client.ask(r#"increment { key: "n" by: -7 }"#), "number:-2");
    resp.check("GET n", "$2\r\n-2\r\n");
    assert_eq!(client.ask(r#"multi_get { keys: "n" keys: "?" }"#), r#"values{values:[{data:"-2"},{}]}"#);
    // Writes wait for the end of a pause, reads do not.
    resp.check("CLIENT PAUSE 1000000 WRITE", "+OK\r\n");
    let batch = client.frame(r#"batch { requests { id: 1 delete { key: "n" } } requests { id: 2 get { key: "n" } } }"#);
    client.send(&batch);
    assert_eq!(Client::new(address).ask(r#"get { key: "n" }"#), r#"value{data:"-2"}"#);
    server.wait_for_info("blocked_clients", |count| count == 1);
    resp.check("CLIENT UNPAUSE", "+OK\r\n");
    assert_eq!((client.reply(), client.reply()), ("id:1,done:true".into(), "id:2,value{}".into()));
    for (field, expect) in [
        ("protobuf_port", address.port() as u64),
        ("protobuf_connections_received", 2),
        ("protobuf_requests_processed", 6),
    ] {
        assert_eq!(resp.info_number(field), expect, "{field}");
    }
}

fn commands_that_nobody_may_run(engine: Engine) {
    let requests = [
        ("get", "get {key: 'k'}"),
        ("set", "set {key: 'k' value: 'v'}"),
        ("del", "delete {key: 'k'}"),
        ("incrby", "increment {key: 'n'}"),
        ("persist", "touch {key: 'k'}"),
        ("pexpire", "touch {key: 'k' ttl_ms: 1000}"),
        ("mget", "multi_get {keys: 'k'}"),
        ("ping", "ping {}"),
        ("auth", "auth {password: 'p'}"),
    ];
    let names = requests.map(|(name, _)| name).join(",");
    let (_server, address) = start(engine, &[&format!("--disable-command={names}")]);
    let mut client = Client::new(address);
    for (name, request) in requests {
        let reply = client.ask(&format!("id: 1 {request}"));
        assert_eq!(reply, "id:1,error:\"ERR --disable-command takes away the command that does this\"", "{name}");
    }
}

fn a_conversation_cut_at_every_byte(engine: Engine) {
    let (_server, address) = start(engine, &[]);
    let mut client = Client::new(address);
    let texts = [
        r#"id: 1 set { key: "k" value: "abc" }"#,
        r#"id: 300 batch { requests { id: 2 get { key: "k" } } requests { id: 3 ping {} } }"#,
        r#"id: 4 multi_get { keys: "k" keys: "none" }"#,
    ];
    let input = texts.map(|text| client.frame(text)).concat();
    let expect =
        ["id:1,done:true", r#"id:2,value{data:"abc"}"#, "id:3,done:true", r#"id:4,values{values:[{data:"abc"},{}]}"#];
    for cut in 0..input.len() {
        client.send(&input[..cut]);
        client.send(&input[cut..]);
        expect.iter().for_each(|expect| assert_eq!(client.reply(), *expect, "{cut}"));
    }
    input.iter().for_each(|byte| client.send(&[*byte]));
    expect.iter().for_each(|expect| assert_eq!(client.reply(), *expect));
}

fn large_values_come_and_go(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let (mut resp, mut client) = (server.client(), Client::new(address));
    for (n, length) in [16_370, 16_383, 16_384, 65_536, 1 << 20, 20 << 20].into_iter().enumerate() {
        let value = patterned(length, n);
        let key = format!("v{n}");
        // What comes behind a large message is run after it.
        let input = [client.set(&key, &value), client.frame(&format!("get {{ key: \"{key}\" }}"))].concat();
        let mut writer = client.stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || writer.write_all(&input).unwrap());
        assert_eq!(client.reply(), "done:true");
        assert!(client.value() == value, "{length}");
        writing.join().unwrap();
        assert_eq!(resp.call(&["STRLEN", &key]), Value::Integer(length as i64));
    }
    assert!(server.info_number("total_net_placed_bytes") > 10 << 20);
    // Two of them in one response.
    let frame = client.frame(r#"multi_get { keys: "v4" keys: "v3" }"#);
    client.send(&frame);
    let values = client.message();
    assert_eq!(values.encoded_len(), (1 << 20) + 65_536 + 20);
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

/// Hundreds of megabytes of replies are asked for and not taken; then they are.
fn who_does_not_read_is_bounded(engine: Engine) {
    const REQUESTS: usize = 4_000;
    let (server, address) = start(engine, &[]);
    let (mut other, value) = (Client::new(address), patterned(100_000, 1));
    let set = other.set("k", &value);
    other.send(&set);
    assert_eq!(other.reply(), "done:true");
    let before = server.resident_bytes();
    let mut client = Client::new(address);
    let mut writer = client.stream.try_clone().unwrap();
    let input = client.frame(r#"get { key: "k" }"#).repeat(REQUESTS);
    let writing = std::thread::spawn(move || writer.write_all(&input).unwrap());
    server.wait_for_info("client_output_waits", |waits| waits > 0);
    for _ in 0..200 {
        assert_eq!(other.ask(r#"get { key: "none" }"#), "value{}");
    }
    let (held, limit) = (server.info_number("used_memory_clients"), server.info_number("client_memory_limit"));
    assert!((1..=limit).contains(&held), "{held} of {limit} bytes wait for clients");
    for n in 0..REQUESTS {
        assert!(client.value() == value, "{n}");
    }
    writing.join().unwrap();
    let peak = peak_resident_bytes(&server);
    assert!(peak <= before + 2 * limit as usize, "{before} bytes before, {peak} at the peak");
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

fn who_leaves_in_the_middle_leaves_nothing(engine: Engine) {
    let (server, address) = start(engine, &[]);
    let others = server.info_number("connected_clients");
    let mut client = Client::new(address);
    let message = client.set("k", &patterned(20 << 20, 1));
    client.send(&message[..8 << 20]);
    server.wait_for_info("used_memory_clients", |bytes| bytes >= 7 << 20);
    drop(client);
    server.wait_for_info("connected_clients", |count| count == others);
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
    server.client().check("EXISTS k", ":0\r\n");
}

fn strangers_and_one_too_many(engine: Engine) {
    let (server, address) = start(engine, &["--maxclients=2", "--requirepass=secret"]);
    let mut resp = server.client();
    resp.check("AUTH secret", "+OK\r\n");
    let mut stranger = Client::new(address);
    stranger.send(b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n");
    let told = stranger.reply();
    assert!(told.starts_with(r#"error:"ERR this is no message of kv_cache.proto"#), "{told}");
    stranger.expect_closed();
    wait_until("a line in the log", || server.stderr().contains("this is no message of kv_cache.proto"));
    wait_until("the stranger's place", || resp.info_number("connected_clients") == 1);
    let mut client = Client::new(address);
    assert!(client.ask("get {}").contains("NOAUTH"));
    assert!(client.ask(r#"auth { password: "wrong" }"#).contains("WRONGPASS"));
    assert_eq!(client.ask(r#"auth { password: "secret" user: "default" }"#), "done:true");
    assert_eq!(client.ask("id: 5 ping {}"), "id:5,done:true");
    let mut other = Client::new(address);
    assert_eq!(other.reply(), r#"error:"ERR max number of clients reached""#);
    other.expect_closed();
}

fn a_drain_answers_and_closes(engine: Engine) {
    let (mut server, address) = start(engine, &[]);
    let mut idle = Client::new(address);
    assert_eq!(idle.ask("ping {}"), "done:true");
    server.signal(Signal::SIGTERM);
    idle.expect_closed();
    assert_eq!(server.wait().code(), Some(0));
}
