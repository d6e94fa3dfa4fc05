//! Options: where a value comes from, what `--check` says, and that a bad one is one clear line and exit code 2.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::client::Client;
use crate::harness::{self, Engine, Server, command, on_every_driver, run_to_end, temporary};

on_every_driver!(
    a_port_in_use_is_refused,
    listens_where_it_is_told,
    nobody_who_comes_while_it_starts_is_reset,
    the_log_says_what_runs,
);

fn check(flags: &[&str]) -> String {
    let mut all = flags.to_vec();
    all.push("--check");
    let (code, stdout, stderr) = run_to_end(command(&all));
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

/// The line of `--check` for an option: what it comes to, and where that is from.
fn line<'a>(listing: &'a str, name: &str) -> (&'a str, &'a str) {
    let mut found = listing.lines().filter(|line| line.split_whitespace().next() == Some(name));
    let line = found.next().unwrap_or_else(|| panic!("no {name} in {listing}"));
    let (value, origin) = line[name.len()..].trim().rsplit_once(' ').unwrap();
    (value.trim_end(), origin)
}

#[test]
fn check_lists_every_option_with_its_origin() {
    let listing = check(&["--timeout=5"]);
    assert_eq!(line(&listing, "timeout"), ("5", "flag"));
    assert_eq!(line(&listing, "maxclients"), ("10000", "default"));
    assert_eq!(line(&listing, "unixsocketperm"), ("700", "default"));
    for option in kv_cache::config::command().get_arguments() {
        let name = option.get_long().unwrap();
        let asked_only = ["config", "check", "help", "version"].contains(&name);
        let listed = listing.lines().any(|line| line.split_whitespace().next() == Some(name));
        assert!(listed != asked_only, "{name} in {listing}");
    }
}

#[test]
fn check_shows_what_things_come_to() {
    let listing = check(&["--maxmemory=1gb", "--threads=1", "--pin=0", "--max-value=10mb"]);
    assert_eq!(line(&listing, "threads"), ("1 = 1, pinned to 0 by --pin", "flag"));
    assert_eq!(line(&listing, "maxmemory"), ("1gb = 1.00 GiB", "flag"));
    assert_eq!(line(&listing, "max-value"), ("10mb = 10.00 MiB", "flag"));
    assert_eq!(line(&listing, "client-output-limit"), ("64mb = 64.00 MiB", "default"));
    let listing = check(&["--bind=0.0.0.0"]);
    assert!(listing.contains("\n# --bind 0.0.0.0 without a password: clients of other hosts are refused"), "{listing}");
}

#[test]
fn check_refuses_what_a_start_would_refuse() {
    for (flags, expect) in [
        (vec!["--maxmemory=1mb"], "--maxmemory 1mb is 1.00 MiB and must be at least 8mb"),
        (vec!["--requirepass-file=/nonexistent"], "--requirepass-file /nonexistent: cannot read it: "),
        (vec!["--pin=9999"], "--pin names core 9999, and this process may run on "),
        (vec!["--unixsocket=/tmp"], "--unixsocket /tmp: this is a directory; name a file in it"),
        (vec!["--unixsocket=/nonexistent/socket"], "its directory does not exist"),
        (vec!["--bind=192.0.2.1"], "this host has no such address"),
        (vec!["--log-file=/nonexistent/log"], "--log-file /nonexistent/log: No such file or directory"),
        (vec!["--log-file=/tmp"], "--log-file /tmp: Is a directory"),
        (
            vec!["--port=7171", "--http-port=7171"],
            "--http-port 7171: that is the port too; choose another, or 0 for none",
        ),
        (vec!["--protobuf-port=7999", "--memcached-port=7999"], "--protobuf-port 7999: that is the memcached-port too"),
        (vec!["--disable-command=get,nosuch"], "--disable-command: there is no command 'nosuch'"),
        (vec!["--aclfile=/nonexistent"], "--aclfile /nonexistent: Error loading ACLs"),
    ] {
        let all: Vec<&str> = flags.iter().copied().chain(["--check"]).collect();
        let message = refused(&all, 2);
        assert!(message.contains(expect), "{flags:?}: {message}");
    }
}

/// A second server on 7172 needs no other option: it goes on without HTTP, and says so.
#[test]
fn http_gives_way_where_nobody_has_asked_for_it() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kv-cache"));
    command.env_remove("KV_CACHE_HTTP_PORT").args(["--port=7172", "--check"]);
    let (code, listing, stderr) = run_to_end(command);
    assert_eq!((code, line(&listing, "http-port")), (Some(0), ("7172", "default")), "{stderr}");
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let path = temporary("precedence.toml");
    std::fs::write(&path, "timeout = 1\nmaxclients = 1\ntcp-keepalive = 1\nmaxmemory_policy = \"noeviction\"\n")
        .unwrap();
    let mut command = command(&["--check", "--timeout=3", "--config", path.to_str().unwrap()]);
    command.env("KV_CACHE_TIMEOUT", "2").env("KV_CACHE_MAXCLIENTS", "2");
    let (code, listing, stderr) = run_to_end(command);
    assert_eq!(code, Some(0), "{stderr}");
    let in_file = |line| format!("{}:{line}", path.display());
    assert_eq!(line(&listing, "timeout"), ("3", "flag"));
    assert_eq!(line(&listing, "maxclients"), ("2", "KV_CACHE_MAXCLIENTS"));
    assert_eq!(line(&listing, "tcp-keepalive"), ("1", in_file(3).as_str()));
    assert_eq!(line(&listing, "maxmemory-policy"), ("noeviction", in_file(4).as_str()));
    assert_eq!(line(&listing, "tcp-backlog").1, "default");
}

#[test]
fn variables_that_are_no_options_are_told_of() {
    let mut command = command(&["--check"]);
    command.env("KV_CACHE_PORT", "tcp://10.96.0.17:7171").env("KV_CACHE_SERVICE_HOST", "10.96.0.17");
    command.env("KV_CACHE_MAX_MEMORY", "1gb");
    let (code, listing, stderr) = run_to_end(command);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        listing.contains("KV_CACHE_PORT, KV_CACHE_SERVICE_HOST are what Kubernetes tells of a Service"),
        "{listing}"
    );
    assert!(listing.contains("KV_CACHE_MAX_MEMORY is no option's variable: ignored; did you mean"), "{listing}");
}

#[test]
fn what_was_resolved_is_what_runs() {
    let path = temporary("runs.toml");
    std::fs::write(&path, "timeout = 11\nmaxmemory = \"300mb\"\nrequirepass = \"secret\"\n").unwrap();
    let mut command = command(&["--config", path.to_str().unwrap()]);
    command.env("KV_CACHE_MAXCLIENTS", "22");
    // The usual flags set another cap, and flags win.
    let server = Server::spawn(command);
    let mut client = server.client();
    client.check("AUTH secret", "+OK\r\n");
    let got = client.call(&["CONFIG", "GET", "timeout", "maxclients", "maxmemory"]);
    assert_eq!(got.field("timeout").text(), "11");
    assert_eq!(got.field("maxclients").text(), "22");
    assert_eq!(got.field("maxmemory").text(), (512 << 20).to_string());
}

#[test]
fn the_configuration_file_may_be_named_by_the_environment() {
    let path = temporary("named.toml");
    std::fs::write(&path, "timeout = 44\n").unwrap();
    let mut command = command(&["--check"]);
    command.env("KV_CACHE_CONFIG", &*path);
    let (code, listing, _) = run_to_end(command);
    assert_eq!((code, line(&listing, "timeout")), (Some(0), ("44", format!("{}:1", path.display()).as_str())));
}

/// What a wrong start prints, which is one line on standard error and nothing on standard output.
fn refused(flags: &[&str], code: i32) -> String {
    let (got, stdout, stderr) = run_to_end(command(flags));
    assert_eq!(got, Some(code), "{flags:?}: {stderr}");
    assert_eq!(stdout, "", "{flags:?}");
    assert_eq!(stderr.lines().count(), 1, "{flags:?}: {stderr}");
    assert!(stderr.starts_with("kv-cache: "), "{flags:?}: {stderr}");
    stderr
}

#[test]
fn a_bad_option_is_one_line_and_exit_code_2() {
    for (flags, expect) in [
        (vec!["--port=70000"], "--port 70000: 70000 is not in 0..=65535"),
        (vec!["--port", "-1"], "--port -1: -1 is not in 0..=65535"),
        (vec!["--port=x"], "--port x: not a whole number"),
        (vec!["--prot=1"], "--port"),
        (vec!["--bind=nowhere"], "--bind nowhere: names are not looked up"),
        (vec!["--bind=localhost"], "this one is 127.0.0.1"),
        (vec!["--pin=all"], "write it as auto, off or a list of cores"),
        (vec!["--threads=3", "--pin=0"], "--threads 3 are more than --pin has cores: 0"),
        (vec!["--requirepass="], "an empty password would let everybody in"),
        (vec!["--unixsocket=/tmp"], "--unixsocket /tmp: this is a directory"),
        (vec!["redis.conf"], "by --config redis.conf, and is in TOML"),
        (vec!["--log-file=/nonexistent/log"], "--log-file /nonexistent/log: "),
        (vec!["--threads=0"], "--threads"),
        (vec!["--threads=257"], "--threads"),
        (vec!["--engine=kqueue"], "auto, multishot, uring, epoll"),
        (vec!["--registered-buffers=maybe"], "on, off"),
        (vec!["--maxmemory=lots"], "1400mb, 1.4gb or 70%"),
        (vec!["--maxmemory=0%"], "%"),
        (vec!["--maxmemory=1mb"], "must be at least"),
        (vec!["--maxmemory-policy=allkeys-fifo"], "allkeys-lru"),
        (vec!["--maxclients=0"], "--maxclients"),
        (vec!["--timeout=-1"], "--timeout"),
        (vec!["--unixsocketperm=999"], "octal"),
        (vec!["--max-arguments=1"], "--max-arguments"),
        (vec!["--requirepass=a", "--requirepass-file=b"], "cannot be used with"),
        (vec!["--requirepass-file=/nonexistent"], "--requirepass-file /nonexistent: cannot read it: "),
        (vec!["--config=/nonexistent"], "cannot read the configuration file"),
        (vec!["--log-level=loud"], "error, warn, info, debug"),
        (vec!["extra"], "extra"),
    ] {
        let message = refused(&flags, 2);
        assert!(message.contains(expect), "{flags:?}: {message}");
    }
}

#[test]
fn a_bad_variable_is_named() {
    let mut command = command(&["--check"]);
    command.env("KV_CACHE_MAXCLIENTS", "many");
    let (code, _, stderr) = run_to_end(command);
    assert_eq!((code, stderr.as_str()), (Some(2), "kv-cache: KV_CACHE_MAXCLIENTS=many: not a whole number\n"));
}

/// Without the flags that tests usually give.
fn bare(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-cache"));
    command.args(flags);
    command
}

/// What only shows once all is resolved is told with its place too.
#[test]
fn what_does_not_do_on_this_host_is_named_by_its_place() {
    let path = temporary("place.toml");
    let flag = format!("--config={}", path.display());
    for (name, value, expect) in [
        ("maxmemory", "3kb", "maxmemory = 3kb is 3.00 KiB and must be at least 8mb"),
        ("pin", "9999", "pin = 9999 names core 9999, and this process may run on "),
        ("unixsocket", "/tmp", "unixsocket = /tmp: this is a directory"),
        ("requirepass-file", "/nonexistent", "requirepass-file = /nonexistent: cannot read it"),
        ("requirepass", "", "requirepass = '': an empty password would let everybody in"),
        ("log-file", "/nonexistent/log", "log-file = /nonexistent/log: No such file"),
        ("disable-command", "nosuch", "disable-command = nosuch: there is no command 'nosuch'"),
        ("http-port", "7171", "http-port = 7171: that is the port too"),
    ] {
        std::fs::write(&path, format!("\n{name} = \"{value}\"\n")).unwrap();
        let (code, _, stderr) = run_to_end(bare(&["--check", &flag]));
        let place = format!("kv-cache: {}:2:1: {expect}", path.display());
        assert!(code == Some(2) && stderr.starts_with(&place), "{name}: {stderr}");
        let mut command = bare(&["--check"]);
        let variable = format!("KV_CACHE_{}", name.replace('-', "_").to_uppercase());
        command.env(&variable, value);
        let (code, _, stderr) = run_to_end(command);
        let expect = expect.replacen(&format!("{name} = "), &format!("{variable}="), 1);
        assert!(code == Some(2) && stderr.contains(&expect), "{name}: {stderr}");
    }
    std::fs::write(&path, "maxmemory = \"90000gb\"\nbind = \"0.0.0.0\"\n").unwrap();
    let (_, listing, _) = run_to_end(bare(&["--check", &flag]));
    for expect in ["1:1: maxmemory = 90000gb does not fit the ", "2:1: bind = 0.0.0.0 without a password: "] {
        assert!(listing.contains(&format!("\n# {}:{expect}", path.display())), "{listing}");
    }
}

#[test]
fn a_bad_configuration_file_is_named_with_line_and_column() {
    let path = temporary("bad.toml");
    let flag = format!("--config={}", path.display());
    for (text, expect) in [
        ("timeout = \n", ":1:11: "),
        ("timeout = 1\nport = [[\n", ":2:"),
        ("what = 1\n", ":1:1: 'what' is no option; kv-cache --help lists them"),
        ("# one\n  maxmemroy = 1\n", ":2:3: 'maxmemroy' is no option; did you mean maxmemory?"),
        ("check = true\n", "'check' is no option"),
        ("timeout = { a = 1 }\n", "'timeout' must be text, a number or a list of those"),
        ("\ntimeout = \"soon\"\n", ":2:1: timeout = soon: not a whole number"),
        ("engine = true\n", ":1:1: engine = true: possible values: auto, multishot, uring, epoll"),
        ("[server]\ntimeout = 1\n", "'server' is no option"),
        ("max-value = 1\nmax_value = 2\n", ":2:1: 'max_value' stands there twice"),
    ] {
        std::fs::write(&path, text).unwrap();
        let message = refused(&[&flag], 2);
        assert!(message.contains(expect), "{text:?}: {message}");
        assert!(message.contains(path.to_str().unwrap()), "{text:?}: {message}");
    }
    // TOML's own words for on and off are understood where there is one.
    std::fs::write(&path, "registered-buffers = false\nprotected-mode = true\n").unwrap();
    let listing = check(&[&flag]);
    assert_eq!(line(&listing, "registered-buffers").0, "false");
}

#[test]
fn the_password_may_come_from_a_file_and_is_never_shown() {
    let path = temporary("password");
    std::fs::write(&path, "from the file\nsecond line\n").unwrap();
    let flag = format!("--requirepass-file={}", path.display());
    let server = Server::spawn(command(&[&flag]));
    let mut client = server.client();
    client.check("PING", "-NOAUTH Authentication required.\r\n");
    assert_eq!(client.call(&["AUTH", "from the file"]).text(), "OK");
    std::fs::write(&path, "\n").unwrap();
    assert!(refused(&[&flag], 2).contains("its first line, the password, is empty"));
    let listing = check(&["--requirepass=hush"]);
    assert!(listing.contains("(hidden)") && !listing.contains("hush"), "{listing}");
    let mut command = command(&["--help"]);
    command.env("KV_CACHE_REQUIREPASS", "hush");
    assert!(!run_to_end(command).1.contains("hush"));
}

#[test]
fn help_and_version() {
    let (code, help, stderr) = run_to_end(command(&["--help"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for option in kv_cache::config::command().get_arguments() {
        assert!(help.contains(&format!("--{}", option.get_long().unwrap())), "{help}");
    }
    let (code, version, _) = run_to_end(command(&["--version"]));
    assert_eq!((code, version), (Some(0), format!("kv-cache {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn what_stands_last_wins() {
    assert_eq!(line(&check(&["--timeout=1", "--timeout=2"]), "timeout"), ("2", "flag"));
}

#[test]
fn more_memory_than_the_host_grants_is_lowered_with_a_warning() {
    let server = Server::spawn(command(&["--maxmemory=900000gb"]));
    harness::wait_until("the warning", || server.stderr().contains("does not fit"));
    assert!(server.info_number("maxmemory") < server.info_number("total_system_memory"));
}

#[test]
fn an_address_that_is_not_ours_is_refused() {
    // 192.0.2.0/24 is for documentation: no host has it.
    let message = refused(&["--bind=192.0.2.1"], 1);
    assert!(message.contains("cannot listen on 192.0.2.1") && message.contains("this host has no such address"));
}

#[test]
fn the_log_has_no_colours_for_a_file() {
    let server = Server::spawn(command(&["--maxmemory=900000gb"]));
    harness::wait_until("the warning", || server.stderr().contains("does not fit"));
    assert!(!server.stderr().contains('\u{1b}'), "{}", server.stderr().escape_debug());
}

/// SO_REUSEPORT would let the second one share the port without a word.
fn a_port_in_use_is_refused(engine: Engine) {
    let server = Server::start(engine);
    let port = format!("--port={}", server.port());
    let message = refused(&[engine.flag(), &port], 1);
    assert!(message.contains(&format!("cannot listen on 127.0.0.1:{}", server.port())), "{message}");
    assert!(message.contains("another process listens there"), "{message}");
    server.client().check("PING", "+PONG\r\n");

    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--port={}", foreign.local_addr().unwrap().port());
    assert!(refused(&[engine.flag(), &port], 1).contains("another process listens there"));
}

fn listens_where_it_is_told(engine: Engine) {
    let server = Server::with(engine, &["--bind=127.0.0.2,127.0.0.3"]);
    for host in ["127.0.0.2", "127.0.0.3"] {
        Client::new(TcpStream::connect((host, server.port())).unwrap()).check("PING", "+PONG\r\n");
    }
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
    let Ok(_) = TcpListener::bind("[::1]:0") else {
        return harness::skip("listens_where_it_is_told", "this host has no IPv6");
    };
    let server = Server::with(engine, &["--bind=127.0.0.1,::1"]);
    for host in ["127.0.0.1", "::1"] {
        Client::new(TcpStream::connect((host, server.port())).unwrap()).check("PING", "+PONG\r\n");
    }
}

/// What comes between two starts is refused by the kernel, or answered; it is never accepted and then cut off.
fn nobody_who_comes_while_it_starts_is_reset(engine: Engine) {
    use std::io::{ErrorKind, Read, Write};
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let come = move || {
        let mut answered = 0;
        let begun = std::time::Instant::now();
        while answered < 20 && begun.elapsed() < harness::DEADLINE {
            let mut peer = match TcpStream::connect(("127.0.0.1", port)) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                other => other.unwrap(),
            };
            let mut reply = [0; 7];
            peer.write_all(b"PING\r\n").and_then(|()| peer.read_exact(&mut reply)).expect("an answer");
            answered += 1;
        }
        answered
    };
    let clients: Vec<_> = (0..4).map(|_| std::thread::spawn(come)).collect();
    let server = Server::with(engine, &[&format!("--port={port}")]);
    assert!(clients.into_iter().map(|client| client.join().unwrap()).all(|answered| answered == 20));
    drop(server);
}

fn the_log_says_what_runs(engine: Engine) {
    let server = Server::start(engine);
    let log = server.stderr();
    for line in [
        format!("INFO kv-cache {} in ", env!("CARGO_PKG_VERSION")),
        format!("INFO listening on 127.0.0.1:{}", server.port()),
        "INFO threads 2, ".to_owned(),
        format!("INFO engine {}: ", engine.name()),
        "INFO registered buffers ".to_owned(),
        "INFO memory cap 512.00 MiB of ".to_owned(),
    ] {
        assert!(log.contains(&line), "no {line:?} in {log}");
    }
    assert_eq!(server.stdout(), "", "what is not for a terminal goes through the log");
}

#[test]
fn the_log_has_three_forms_and_goes_where_it_is_told() {
    let (one, other) = (temporary("one.log"), temporary("other.log"));
    let server = Server::with(Engine::Epoll, &["--log-format=logfmt"]);
    assert!(server.stderr().contains(" level=info msg=\"kv-cache "), "{}", server.stderr());
    let mut client = server.client();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    client.call(&["CONFIG", "SET", "logfile", one.to_str().unwrap(), "log-format", "json"]).text();
    client.call(&["AUTH", "nobody\nforged", "x"]);
    harness::wait_until("a line", || read(&one).contains("wrong user name or password"));
    assert!(read(&one).starts_with("{\"time\":\"") && read(&one).contains("\"level\":\"warn\""), "{}", read(&one));
    assert_eq!(read(&one).lines().count(), 1);
    client.check("CONFIG GET loglevel", "*2\r\n$8\r\nloglevel\r\n$6\r\nnotice\r\n");
    // Whoever rotates renames the file and asks for a new one.
    std::fs::rename(&one, &other).unwrap();
    server.signal(nix::sys::signal::Signal::SIGHUP);
    harness::wait_until("the new file", || read(&one).contains("reloaded"));
    client.check("CONFIG SET loglevel nothing", "+OK\r\n");
    client.call(&["AUTH", "nobody", "x"]);
    client.check("CONFIG SET loglevel warning", "+OK\r\n");
    client.call(&["AUTH", "third", "x"]);
    harness::wait_until("what is loud enough", || read(&one).contains("user third"));
    assert_eq!(read(&one).matches("wrong user name").count(), 1, "{}", read(&one));
    client.check("CONFIG SET logfile /nonexistent/x", "-ERR CONFIG SET failed (possibly related to argument 'logfile') - Can't open the log file: No such file or directory (os error 2)\r\n");
}

#[test]
fn what_clients_can_bring_about_is_logged_at_a_bounded_rate() {
    let server = Server::with(Engine::Epoll, &["--requirepass=right"]);
    let mut client = server.client();
    for _ in 0..200 {
        client.check("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    }
    let lines = || server.stderr().matches("wrong user name or password from 127.0.0.1:").count();
    harness::wait_until("the first lines", || lines() >= 10);
    // Ten at once; a slow machine may see a second while begin.
    assert!(lines() <= 30, "{}", server.stderr());
    assert!(!server.stderr().contains("wrong\n"));
}

/// An address of this host that is not the loopback's.
fn outside_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only says from where it would.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[test]
fn clients_of_other_hosts_are_refused_while_there_is_no_password() {
    let Some(outside) = outside_address() else {
        return harness::skip("protected mode", "this host has no address but the loopback's");
    };
    let server = Server::with(Engine::Epoll, &["--bind=0.0.0.0"]);
    assert!(server.stderr().contains("--bind 0.0.0.0 without a password: clients of other hosts are refused"));
    let from_outside = || Client::new(TcpStream::connect((outside, server.port())).unwrap());
    let denied = String::from_utf8(from_outside().rest()).unwrap();
    assert!(denied.starts_with("-DENIED ") && denied.contains("--protected-mode no"), "{denied}");
    let mut client = server.client();
    client.check("PING", "+PONG\r\n");
    client.check("CONFIG SET protected-mode no", "+OK\r\n");
    from_outside().check("PING", "+PONG\r\n");
    client.check("CONFIG SET protected-mode yes requirepass hush", "+OK\r\n");
    from_outside().check("PING", "-NOAUTH Authentication required.\r\n");
    let open = Server::with(Engine::Epoll, &["--bind=0.0.0.0", "--protected-mode=no"]);
    assert!(open.stderr().contains("can read and delete everything"));
}
