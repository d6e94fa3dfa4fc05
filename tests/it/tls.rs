//! TLS at every door: handshakes cut, slow, wrong and resumed; certificates of servers and clients, and new ones while the
//! server runs; what is large, pipelined, pushed or not read.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion};

use crate::client::{bulk, patterned, request};
use crate::harness::{
    DEADLINE, Engine, Server, Temporary, on_every_driver, peak_resident_bytes, temporary, wait_until,
};
use crate::wire::Value;

on_every_driver!(
    both_versions_and_no_others,
    a_handshake_cut_at_every_byte,
    pipelines_and_large_values,
    who_does_not_read_is_bounded,
    what_is_pushed_comes_encrypted,
    clients_show_certificates,
    sessions_are_resumed,
    another_certificate_while_it_runs,
    strangers_are_told_of_once,
    half_a_handshake_holds_little,
    a_drain_says_goodbye,
    https_and_the_rest,
);

/// A certificate authority, and its certificate in a file.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub file: Temporary,
}

/// A certificate and its key, in files.
struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
    cert_file: Temporary,
    key_file: Temporary,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", free_port().port()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let file = temporary("ca.pem");
        std::fs::write(&file, certificate.pem()).unwrap();
        Authority { certificate: certificate.der().clone(), issuer: Issuer::new(params, key), file }
    }

    /// For `localhost`.
    fn identity(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
            cert_file: temporary("cert.pem"),
            key_file: temporary("key.pem"),
        };
        std::fs::write(&identity.cert_file, certificate.pem()).unwrap();
        std::fs::write(&identity.key_file, key.serialize_pem()).unwrap();
        identity
    }

    /// What trusts it.
    fn client(&self, versions: &[&'static SupportedProtocolVersion], own: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let key = PrivateKeyDer::try_from(own.key.clone()).unwrap();
                builder.with_client_auth_cert(vec![own.certificate.clone()], key).unwrap()
            }
        })
    }
}

const ALL: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// A server with a port for TLS.
pub struct Secured {
    server: Server,
    pub address: SocketAddr,
    pub authority: Authority,
    identity: Identity,
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn path(file: &Temporary) -> &str {
    file.to_str().unwrap()
}

pub fn start(engine: Engine, flags: &[&str]) -> Secured {
    let (authority, address) = (Authority::new(), free_port());
    let identity = authority.identity();
    let port = format!("--tls-port={}", address.port());
    let files = ["--tls-cert-file", path(&identity.cert_file), "--tls-key-file", path(&identity.key_file)];
    let server = Server::with(engine, &[&[&port[..]], &files[..], flags].concat());
    Secured { server, address, authority, identity }
}

impl Secured {
    fn client(&self) -> Tls {
        Tls::new(self.address, self.authority.client(&ALL, None))
    }
}

/// A client, whose handshake is done at its first use.
struct Tls {
    connection: ClientConnection,
    socket: TcpStream,
}

impl Tls {
    fn new(address: SocketAddr, config: Arc<ClientConfig>) -> Tls {
        let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let socket = TcpStream::connect(address).expect("the server accepts");
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Tls { connection, socket }
    }

    fn stream(&mut self) -> rustls::Stream<'_, ClientConnection, TcpStream> {
        rustls::Stream::new(&mut self.connection, &mut self.socket)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream().write_all(bytes).expect("the server takes what it is sent");
    }

    fn try_ask(&mut self, input: &str, length: usize) -> io::Result<String> {
        let mut reply = vec![0; length];
        let mut stream = self.stream();
        stream.write_all(input.as_bytes())?;
        stream.read_exact(&mut reply)?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    }

    fn expect(&mut self, expect: impl AsRef<[u8]>) {
        let expect = expect.as_ref();
        let mut reply = vec![0; expect.len()];
        self.stream().read_exact(&mut reply).expect("a reply in time");
        assert!(reply == expect, "{}", String::from_utf8_lossy(&reply[..reply.len().min(200)]));
    }

    fn check(&mut self, command: &str, expect: &str) {
        self.send(format!("{command}\r\n").as_bytes());
        self.expect(expect);
    }

    /// Ended with a close_notify: nothing was cut off.
    fn expect_closed(&mut self) {
        let mut rest = Vec::new();
        self.stream().read_to_end(&mut rest).expect("it is told of the end");
        assert!(rest.is_empty(), "{}", rest.escape_ascii());
    }
}

fn both_versions_and_no_others(engine: Engine) {
    let secured = start(engine, &[]);
    let mut plain = secured.server.client();
    for (version, name) in [(&rustls::version::TLS12, "1.2"), (&rustls::version::TLS13, "1.3")] {
        let mut client = Tls::new(secured.address, secured.authority.client(&[version], None));
        client.check(&format!("SET k {name}"), "+OK\r\n");
        plain.check("GET k", &format!("$3\r\n{name}\r\n"));
        let listed = plain.call(&["CLIENT", "LIST"]).text();
        assert!(listed.lines().any(|line| line.contains(&format!(" tls={name}"))), "{listed}");
        assert!(listed.lines().any(|line| line.contains(" tls=no")), "{listed}");
    }
    assert_eq!((plain.info_number("tls_handshakes"), plain.info_number("tls_resumptions")), (2, 0));
    assert_eq!(plain.info_number("tls_port"), secured.address.port() as u64);
    // A name that the certificate has not, and an authority that has not signed it.
    let mut stranger = Tls::new(secured.address, Authority::new().client(&ALL, None));
    let error = stranger.try_ask("PING\r\n", 7).unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    // The first bytes of TLS 1.1's handshake: an alert that says that the version is refused, and the end.
    let mut old = TcpStream::connect(secured.address).unwrap();
    old.set_read_timeout(Some(DEADLINE)).unwrap();
    let hello = [b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x02".as_slice(), &[7; 32], b"\x00\x00\x02\x00\x2f\x01\x00"];
    old.write_all(&hello.concat()).unwrap();
    let mut told = Vec::new();
    old.read_to_end(&mut told).unwrap();
    assert!(told.starts_with(b"\x15\x03") && told.len() == 7 && told[5] == 2, "{}", told.escape_ascii());
    let one = start(engine, &["--tls-protocols=TLSv1.3"]);
    let mut refused = Tls::new(one.address, one.authority.client(&[&rustls::version::TLS12], None));
    assert!(refused.try_ask("PING\r\n", 7).is_err());
    one.client().check("PING", "+PONG\r\n");
}

/// Every flight of the client is cut at every byte, and once at all of them.
fn a_handshake_cut_at_every_byte(engine: Engine) {
    let secured = start(engine, &[]);
    for version in ALL {
        let config = secured.authority.client(&[version], None);
        // As it is not resumed, every handshake is as long.
        let fresh = || {
            let mut config = (*config).clone();
            config.resumption = rustls::client::Resumption::disabled();
            Tls::new(secured.address, Arc::new(config))
        };
        for cut in 0..300 {
            let mut client = fresh();
            converse(&mut client, |bytes| vec![&bytes[..cut % bytes.len()], &bytes[cut % bytes.len()..]]);
        }
        converse(&mut fresh(), |bytes| bytes.chunks(1).collect());
    }
}

/// A handshake and a request, in flights that `cut` takes apart.
fn converse(client: &mut Tls, cut: impl Fn(&[u8]) -> Vec<&[u8]>) {
    client.connection.writer().write_all(b"SET k v\r\nGET k\r\n").unwrap();
    let (mut reply, expect) = (Vec::new(), b"+OK\r\n$1\r\nv\r\n");
    while reply.len() < expect.len() {
        let mut flight = Vec::new();
        while client.connection.wants_write() {
            client.connection.write_tls(&mut flight).unwrap();
        }
        if !flight.is_empty() {
            cut(&flight).into_iter().for_each(|piece| client.socket.write_all(piece).unwrap());
        }
        assert!(client.connection.read_tls(&mut client.socket).expect("an answer in time") > 0, "closed");
        client.connection.process_new_packets().unwrap();
        let mut buffer = [0; 100];
        match client.connection.reader().read(&mut buffer) {
            Ok(read) => reply.extend_from_slice(&buffer[..read]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
    assert_eq!(reply, expect);
}

fn pipelines_and_large_values(engine: Engine) {
    let secured = start(engine, &[]);
    let mut client = secured.client();
    let input: Vec<u8> = (0..20_000).flat_map(|n| request(&["SET", &format!("k{}", n % 100), "v"])).collect();
    client.send(&input);
    client.expect("+OK\r\n".repeat(20_000));
    for (n, length) in [16_383, 16_384, 65_536, 1 << 20, 20 << 20].into_iter().enumerate() {
        let value = patterned(length, n);
        let key = format!("v{n}");
        client.send(&request(&[b"SET".as_slice(), key.as_bytes(), &value]));
        client.expect("+OK\r\n");
        client.send(&[request(&["GET", &key]), request(&["PING"]), request(&["GET", &key])].concat());
        client.expect([&bulk(&value)[..], b"+PONG\r\n", &bulk(&value)].concat());
        let mut plain = secured.server.client();
        plain.send(request(&["GET", &key]));
        plain.expect(bulk(&value));
    }
    secured.server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

/// Hundreds of megabytes of replies are asked for and not taken; then they are.
fn who_does_not_read_is_bounded(engine: Engine) {
    const REQUESTS: usize = 4_000;
    let secured = start(engine, &[]);
    let (server, value) = (&secured.server, patterned(100_000, 1));
    let mut other = secured.client();
    other.send(&request(&[b"SET".as_slice(), b"k", &value]));
    other.expect("+OK\r\n");
    let before = server.resident_bytes();
    let mut client = secured.client();
    client.check("PING", "+PONG\r\n");
    // The bytes are made before, and sent while nobody reads.
    let mut sealed = Vec::new();
    client.connection.set_buffer_limit(None);
    client.connection.writer().write_all(&request(&["GET", "k"]).repeat(REQUESTS)).unwrap();
    while client.connection.wants_write() {
        client.connection.write_tls(&mut sealed).unwrap();
    }
    let mut writer = client.socket.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.write_all(&sealed).unwrap());
    server.wait_for_info("used_memory_clients", |bytes| bytes > 1 << 20);
    for _ in 0..200 {
        other.check("GET none", "$-1\r\n");
    }
    let limit = server.info_number("client_memory_limit");
    for _ in 0..REQUESTS {
        client.expect(bulk(&value));
    }
    writing.join().unwrap();
    let peak = peak_resident_bytes(server);
    assert!(peak <= before + 2 * limit as usize, "{before} bytes before, {peak} at the peak");
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

fn what_is_pushed_comes_encrypted(engine: Engine) {
    let secured = start(engine, &[]);
    let (mut client, mut plain) = (secured.client(), secured.server.client());
    client.check("HELLO 3 SETNAME x\r\nCLIENT TRACKING ON BCAST", "%");
    let mut monitor = secured.client();
    monitor.check("MONITOR", "+OK\r\n");
    plain.check("SET pushed v", "+OK\r\n");
    let mut heard = Vec::new();
    while !heard.ends_with(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$6\r\npushed\r\n") {
        let mut byte = [0];
        client.stream().read_exact(&mut byte).expect("a message in time");
        heard.push(byte[0]);
    }
    let mut line = Vec::new();
    while !line.ends_with(b"\"SET\" \"pushed\" \"v\"\r\n") {
        let mut byte = [0];
        monitor.stream().read_exact(&mut byte).expect("a line in time");
        line.push(byte[0]);
    }
}

fn clients_show_certificates(engine: Engine) {
    let ca = Authority::new();
    let secured = start(engine, &["--tls-ca-cert-file", path(&ca.file)]);
    let (known, unknown) = (ca.identity(), Authority::new().identity());
    let ask = |own: Option<&Identity>| {
        let mut client = Tls::new(secured.address, secured.authority.client(&ALL, own));
        client.try_ask("PING\r\n", 7)
    };
    assert_eq!(ask(Some(&known)).unwrap(), "+PONG\r\n");
    assert!(ask(None).is_err() && ask(Some(&unknown)).is_err());
    let mut plain = secured.server.client();
    plain.check("CONFIG SET tls-auth-clients optional", "+OK\r\n");
    assert_eq!(ask(None).unwrap(), "+PONG\r\n");
    assert!(ask(Some(&unknown)).is_err());
    plain.check("CONFIG SET tls-auth-clients no", "+OK\r\n");
    assert_eq!(ask(None).unwrap(), "+PONG\r\n");
    assert_eq!(plain.info_number("tls_failures"), 3);
}

fn sessions_are_resumed(engine: Engine) {
    let secured = start(engine, &[]);
    for version in ALL {
        let config = secured.authority.client(&[version], None);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut client = Tls::new(secured.address, config.clone());
            client.check("PING", "+PONG\r\n");
            assert_eq!(client.connection.handshake_kind(), Some(kind));
        }
    }
    assert_eq!(secured.server.info_number("tls_resumptions"), 2);
}

fn another_certificate_while_it_runs(engine: Engine) {
    let secured = start(engine, &[]);
    let (server, files) = (&secured.server, &secured.identity);
    let mut old = secured.client();
    old.check("PING", "+PONG\r\n");
    let other = Authority::new();
    let next = other.identity();
    let speaks =
        |authority: &Authority| Tls::new(secured.address, authority.client(&ALL, None)).try_ask("PING\r\n", 7).is_ok();
    // Half of the pair: nothing changes, and the log says why.
    std::fs::copy(&next.cert_file, &files.cert_file).unwrap();
    server.signal(Signal::SIGHUP);
    wait_until("the refusal", || server.stderr().contains("the certificate is not reloaded"));
    assert!(speaks(&secured.authority) && !speaks(&other));
    std::fs::copy(&next.key_file, &files.key_file).unwrap();
    server.signal(Signal::SIGHUP);
    wait_until("the other certificate", || speaks(&other));
    assert!(!speaks(&secured.authority));
    // Who is in stays in.
    old.check("PING", "+PONG\r\n");
    // By CONFIG SET, both at once or none.
    let mut plain = server.client();
    let third = other.identity();
    let refused = plain.call(&["CONFIG", "SET", "tls-cert-file", path(&third.cert_file)]);
    assert!(matches!(&refused, Value::Error(text) if text.contains("tls-cert-file")), "{refused:?}");
    assert!(speaks(&other));
    let [cert, key] = [path(&third.cert_file), path(&third.key_file)];
    let set = ["CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key];
    assert_eq!(plain.call(&set), Value::Simple("OK".into()));
    assert!(speaks(&other));
    let refused = plain.call(&["CONFIG", "SET", "tls-protocols", "TLSv1.1"]);
    assert!(matches!(&refused, Value::Error(text) if text.contains("there are TLSv1.2 and TLSv1.3")), "{refused:?}");
}

fn strangers_are_told_of_once(engine: Engine) {
    let secured = start(engine, &[]);
    for garbage in [
        b"PING\r\nPING\r\n".as_slice(),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\xff\xffaaaa",
        b"\x17\x03\x03\x00\x05aaaaa",
        b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff",
        &[0; 40],
    ] {
        let mut stranger = TcpStream::connect(secured.address).unwrap();
        stranger.set_read_timeout(Some(DEADLINE)).unwrap();
        stranger.write_all(garbage).unwrap();
        let mut told = Vec::new();
        let _ = stranger.read_to_end(&mut told);
        assert!(told.is_empty() || told[0] == 0x15, "an alert: {}", told.escape_ascii());
    }
    // After the handshake, too: a record that was tampered with.
    let mut client = secured.client();
    client.check("PING", "+PONG\r\n");
    client.socket.write_all(b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap();
    assert!(client.stream().read_to_end(&mut Vec::new()).is_err());
    assert_eq!(secured.server.info_number("tls_failures"), 7);
    wait_until("a line in the log", || secured.server.stderr().contains(": TLS: "));
    let log = secured.server.stderr();
    // And who comes with TLS to the plain port.
    let mut lost = Tls::new(secured.server.address(), secured.authority.client(&ALL, None));
    assert!(lost.try_ask("PING\r\n", 7).is_err());
    wait_until("its line", || secured.server.stderr().matches("TLS").count() > log.matches("TLS").count());
}

/// Who begins a handshake and goes on with nothing is charged for it, and disturbs nobody.
fn half_a_handshake_holds_little(engine: Engine) {
    let secured = start(engine, &[]);
    let server = &secured.server;
    let mut hello = Vec::new();
    secured.client().connection.write_tls(&mut hello).unwrap();
    let before = server.resident_bytes();
    let halves: Vec<TcpStream> = (0..500)
        .map(|n| {
            let mut half = TcpStream::connect(secured.address).unwrap();
            // Some have sent all of it, and have been answered.
            half.write_all(if n % 2 == 0 { &hello } else { &hello[..hello.len() - 1] }).unwrap();
            half
        })
        .collect();
    server.wait_for_info("used_memory_clients", |bytes| bytes > 500 * 8_000);
    let each = server.resident_bytes().saturating_sub(before) / halves.len();
    assert!(each < 40_000, "{each} bytes each");
    secured.client().check("PING", "+PONG\r\n");
    drop(halves);
    server.wait_for_info("used_memory_clients", |bytes| bytes < 1 << 20);
}

fn a_drain_says_goodbye(engine: Engine) {
    let mut secured = start(engine, &[]);
    let mut client = secured.client();
    client.check("PING", "+PONG\r\n");
    client.send(b"QUIT\r\n");
    client.expect("+OK\r\n");
    client.expect_closed();
    // Who says goodbye first is answered before.
    let mut client = secured.client();
    client.check("PING", "+PONG\r\n");
    client.connection.writer().write_all(b"PING\r\n").unwrap();
    client.connection.send_close_notify();
    client.expect("+PONG\r\n");
    client.expect_closed();
    secured.server.signal(Signal::SIGTERM);
    assert_eq!(secured.server.wait().code(), Some(0));
}

fn https_and_the_rest(engine: Engine) {
    let (http, protobuf) = (free_port(), free_port());
    let flags = [format!("--http-port={}", http.port()), format!("--protobuf-port={}", protobuf.port())];
    let secured = start(engine, &[&flags[0], &flags[1], "--tls-other-ports=yes", "--maxclients=3"]);
    let config = secured.authority.client(&ALL, None);
    let mut client = Tls::new(http, config.clone());
    client.send(b"PUT /kv/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nv");
    client.expect("HTTP/1.1 201 Created\r\n");
    let mut client = Tls::new(protobuf, config);
    client.send(b"\x05\x12\x03\x0a\x01k");
    client.expect(b"\x05\x1a\x03\x0a\x01v");
    secured.server.client().check("GET k", "$1\r\nv\r\n");
}

#[test]
fn what_does_not_fit_together_is_said_at_the_start() {
    let (ca, port) = (Authority::new(), format!("--tls-port={}", free_port().port()));
    let (one, other) = (ca.identity(), ca.identity());
    let [cert, key, wrong] = [path(&one.cert_file), path(&one.key_file), path(&other.key_file)];
    let cases: [(&[&str], &str); 5] = [
        (&[], "TLS needs --tls-cert-file and --tls-key-file"),
        (&["--tls-cert-file", cert, "--tls-key-file", wrong], "do not fit together"),
        (&["--tls-cert-file", cert, "--tls-key-file", "/nonexistent"], "--tls-key-file /nonexistent: "),
        (&["--tls-cert-file", cert, "--tls-key-file", key, "--tls-protocols=TLSv1.1"], "TLSv1.2 and TLSv1.3"),
        (&["--tls-cert-file", cert, "--tls-key-file", key, "--tls-auth-clients=yes"], "needs --tls-ca-cert-file"),
    ];
    for (flags, expect) in cases {
        for check in [&["--check"][..], &[]] {
            let command = crate::harness::command(&[&[&port[..]], flags, check].concat());
            let (code, _, stderr) = crate::harness::run_to_end(command);
            assert!(code == Some(2) && stderr.contains(expect), "{code:?} {stderr}");
        }
    }
}
