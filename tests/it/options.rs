//! Options: where a value comes from, what `--check` says, and that a bad one is one clear line and exit code 2.

use std::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::harness::{self, Engine, Server, command, on_both_engines, run_to_end, temporary};

on_both_engines!(a_port_in_use_is_refused, listens_where_it_is_told, the_banner_says_what_runs);

fn check(flags: &[&str]) -> String {
    let mut all = flags.to_vec();
    all.push("--check");
    let (code, stdout, stderr) = run_to_end(command(&all));
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

/// The line of `--check` for an option, as value and origin.
fn line<'a>(listing: &'a str, name: &str) -> (&'a str, &'a str) {
    let mut found = listing.lines().filter(|line| line.split_whitespace().next() == Some(name));
    let line = found.next().unwrap_or_else(|| panic!("no {name} in {listing}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    (words[1], words[words.len() - 1])
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
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let path = temporary("precedence.toml");
    std::fs::write(&path, "timeout = 1\nmaxclients = 1\ntcp-keepalive = 1\nmaxmemory_policy = \"noeviction\"\n")
        .unwrap();
    let mut command = command(&["--check", "--timeout=3", "--config", path.to_str().unwrap()]);
    command.env("KV_CACHE_TIMEOUT", "2").env("KV_CACHE_MAXCLIENTS", "2");
    let (code, listing, stderr) = run_to_end(command);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(line(&listing, "timeout"), ("3", "flag"));
    assert_eq!(line(&listing, "maxclients"), ("2", "environment"));
    assert_eq!(line(&listing, "tcp-keepalive"), ("1", "file"));
    assert_eq!(line(&listing, "maxmemory-policy"), ("noeviction", "file"));
    assert_eq!(line(&listing, "tcp-backlog").1, "default");
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
    assert_eq!((code, line(&listing, "timeout")), (Some(0), ("44", "file")));
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
        (vec!["--port=70000"], "--port"),
        (vec!["--port=x"], "--port"),
        (vec!["--prot=1"], "--port"),
        (vec!["--bind=nowhere"], "--bind"),
        (vec!["--threads=0"], "--threads"),
        (vec!["--threads=257"], "--threads"),
        (vec!["--engine=kqueue"], "auto, uring, epoll"),
        (vec!["--registered-buffers=maybe"], "on, off"),
        (vec!["--maxmemory=lots"], "1400mb, 1.4gb or 70%"),
        (vec!["--maxmemory=0%"], "%"),
        (vec!["--maxmemory=1mb"], "must be at least"),
        (vec!["--maxmemory-policy=allkeys-lfu"], "allkeys-lru"),
        (vec!["--maxclients=0"], "--maxclients"),
        (vec!["--timeout=-1"], "--timeout"),
        (vec!["--unixsocketperm=999"], "octal"),
        (vec!["--max-arguments=1"], "--max-arguments"),
        (vec!["--requirepass=a", "--requirepass-file=b"], "cannot be used with"),
        (vec!["--requirepass-file=/nonexistent"], "cannot read the password file"),
        (vec!["--config=/nonexistent"], "cannot read the configuration file"),
        (vec!["--log-level=loud"], "error, warn, info, debug"),
        (vec!["extra"], "extra"),
    ] {
        let message = refused(&flags, 2);
        assert!(message.contains(expect), "{flags:?}: {message}");
    }
}

#[test]
fn a_bad_configuration_file_is_named_with_its_line() {
    let path = temporary("bad.toml");
    let flag = format!("--config={}", path.display());
    for (text, expect) in [
        ("timeout = \n", "line 1"),
        ("timeout = 1\nport = [[\n", "line 2"),
        ("what = 1\n", "'what' is no option"),
        ("check = true\n", "'check' is no option"),
        ("timeout = { a = 1 }\n", "'timeout' must be text, a number or a list of those"),
        ("timeout = \"soon\"\n", "soon"),
        ("[server]\ntimeout = 1\n", "'server' is no option"),
    ] {
        std::fs::write(&path, text).unwrap();
        let message = refused(&[&flag], 2);
        assert!(message.contains(expect), "{text:?}: {message}");
    }
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
    assert!(refused(&[&flag], 2).contains("has an empty first line"));
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

fn the_banner_says_what_runs(engine: Engine) {
    let server = Server::start(engine);
    let banner = server.stdout();
    assert!(banner.starts_with(&format!("kv-cache {} in ", env!("CARGO_PKG_VERSION"))), "{banner}");
    for line in [
        format!("listening on       127.0.0.1:{}", server.port()),
        "cores              2, pinned to ".to_owned(),
        format!("engine             {}: ", engine.name()),
        "registered buffers ".to_owned(),
        "memory cap         512.00 MiB of ".to_owned(),
    ] {
        assert!(banner.contains(&line), "no {line:?} in {banner}");
    }
}
