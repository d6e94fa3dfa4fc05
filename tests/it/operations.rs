//! What an operator and a service manager do: tune, ping, reload by SIGHUP, systemd's notify protocol and watchdog.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::harness::{Engine, Server, Temporary, command, on_every_driver, run_to_end, temporary, wait_until};

on_every_driver!(the_service_manager_hears_of_everything, a_core_that_is_stuck_starves_the_watchdog);

/// One of the program's other tasks.
fn task(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kv-cache"));
    command.args(words);
    run_to_end(command)
}

#[test]
fn tune_prints_the_files_of_the_tree() {
    let file = |name: &str| std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert_eq!(task(&["tune", "--print"]), (Some(0), file("sysctl/60-kv-cache.conf"), String::new()));
    assert_eq!(task(&["tune", "--print", "limits"]).1, file("sysctl/limits.conf"));
    assert_eq!(task(&["tune", "--print", "seccomp"]).1, file("docker/seccomp.json"));
    let (code, _, stderr) = task(&["tune"]);
    assert!(code == Some(2) && stderr.contains("--apply"), "{stderr}");
}

#[test]
fn tune_says_what_of_this_host_differs() {
    let (code, table, stderr) = task(&["tune", "--check"]);
    let differing = table.lines().filter(|line| line.starts_with("differs")).count();
    assert!(table.lines().count() > 10, "{table}");
    match differing {
        0 => assert_eq!(code, Some(0), "{stderr}"),
        _ => assert!(code == Some(1) && stderr.contains(&format!("{differing} settings differ")), "{stderr}"),
    }
    let server = Server::with(Engine::Epoll, &[]);
    let told = format!("kernel settings {differing} of {} cost speed (", table.lines().count() - 1);
    wait_until("one line for them all", || differing == 0 || server.stderr().contains(&told));
    assert!(server.stderr().contains("; kv-cache tune --check has them all") || differing == 0);
}

#[test]
fn ping_finds_the_server_by_its_options() {
    let socket = temporary("ping.sock");
    let path = socket.to_str().unwrap();
    let server = Server::with(Engine::Epoll, &["--requirepass=hush", "--unixsocket", path]);
    let (address, port) = (server.address().to_string(), format!("--port={}", server.port()));
    let cases: [(&[&str], &str); 9] = [
        (&[&port, "--requirepass=hush", "ping"], "answers, in "),
        (&["--requirepass=hush", "ping", path], "answers, in "),
        (&["ping", &address], "lives, but says: NOAUTH"),
        (&["--requirepass=wrong", "ping", &address], "lives, but the password is wrong: WRONGPASS"),
        (&["ping", "--requirepass=hush", &port], "answers, in "),
        (&["ping", &format!("redis://:hush@localhost:{}/0", server.port())], "answers, in "),
        (&["ping", &format!("redis://default:hush@127.0.0.1:{}", server.port())], "answers, in "),
        (&["ping", &format!("unix://{path}"), "--requirepass=hush"], "answers, in "),
        (&["ping", "localhost", &port, "--requirepass=hush"], "answers, in "),
    ];
    for (words, expect) in cases {
        let (code, stdout, stderr) = task(words);
        assert!(code == Some(0) && stdout.contains(expect), "{words:?}: {stdout}{stderr}");
    }
    drop(server);
    let (code, _, stderr) = task(&["ping", &address]);
    assert!(code == Some(1) && stderr.contains("does not answer"), "{stderr}");
    assert!(task(&["ping", "redis://[::1"]).2.contains("127.0.0.1:7171"));
    assert!(task(&["ping", "rediss://somewhere"]).2.contains("ping speaks no TLS"));
    assert!(task(&["ping", "http://somewhere"]).2.contains("'http://' is not Redis's; take redis:// or unix://"));
}

#[test]
fn ping_calls_a_server_that_is_not_ours_dead() {
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap().to_string();
    let answer = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut peer, _) = web.accept().unwrap();
        let _ = peer.read(&mut [0; 100]);
        let _ = peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let (code, _, stderr) = task(&["ping", &address]);
    assert!(code == Some(1) && stderr.contains("answers, but not in RESP: HTTP/1.1 400"), "{stderr}");
    answer.join().unwrap();
}

/// It must not be restarted for that.
#[test]
fn ping_calls_a_server_that_is_full_alive() {
    let server = Server::with(Engine::Epoll, &["--maxclients=1"]);
    let mut only = server.client();
    only.check("PING", "+PONG\r\n");
    let (code, stdout, stderr) = task(&["ping", &server.address().to_string()]);
    assert!(code == Some(0) && stdout.contains("lives, but says: ERR max number of clients"), "{stdout}{stderr}");
}

#[test]
fn ping_gives_up_on_a_server_that_says_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, _, stderr) = task(&["ping", &silent.local_addr().unwrap().to_string()]);
    assert!(code == Some(1) && stderr.contains("no reply within"), "{stderr}");
}

#[test]
fn sighup_applies_what_can_change_and_says_what_cannot() {
    let path = temporary("reload.toml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write("timeout = 11\nmaxmemory = \"300mb\"\nmax-value = \"100mb\"\ntcp-backlog = 100\n");
    // What stands last wins, so that the file's maxmemory counts: the harness gives a flag.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kv-cache"));
    command.args(["--port=0", "--threads=2", "--config", path.to_str().unwrap()]);
    let server = Server::spawn(command);
    let setting = |name: &str| server.client().call(&["CONFIG", "GET", name]).elements()[1].text();
    assert_eq!((setting("timeout"), setting("maxmemory")), ("11".into(), (300 << 20).to_string()));
    server.client().call(&["CONFIG", "SET", "tcp-keepalive", "77"]);

    write(
        "timeout = 12\nmaxmemory = \"400mb\"\nmaxmemory-policy = \"noeviction\"\nmax-value = \"20mb\"\n\
         maxclients = 99\nclient-query-limit = \"50mb\"\ntcp-backlog = 101\n",
    );
    server.signal(Signal::SIGHUP);
    wait_until("the last of the changes", || server.stderr().contains("tcp-backlog stays 100; 101 takes a restart"));
    for (name, value) in [
        ("timeout", "12"),
        ("maxmemory", "419430400"),
        ("maxmemory-policy", "noeviction"),
        ("proto-max-bulk-len", "20971520"),
        ("maxclients", "99"),
        ("client-query-buffer-limit", "52428800"),
        ("tcp-keepalive", "77"),
    ] {
        assert_eq!(setting(name), value, "{name}: {}", server.stderr());
    }

    // What could not change is told of again, by what runs.
    server.signal(Signal::SIGHUP);
    wait_until("the same again", || server.stderr().matches("tcp-backlog stays 100; 101 takes a restart").count() == 2);

    // A mistake in the file changes nothing, wherever it stands and whether or not it is one by itself.
    write("timeout = 13\nmaxmemory = \"lots\"\n");
    server.signal(Signal::SIGHUP);
    wait_until("the refusal", || server.stderr().contains("nothing reloaded: "));
    assert_eq!(setting("timeout"), "12");
    let refused = format!("nothing reloaded: maxmemory 900000gb ({}:2): argument must be at most", path.display());
    write("timeout = 13\nmaxmemory = \"900000gb\"\nrequirepass = \"hush\"\n");
    server.signal(Signal::SIGHUP);
    wait_until("the other refusal", || server.stderr().contains(&refused));
    assert_eq!(setting("timeout"), "12");
    write("timeout = 13\nmaxmemory = \"400mb\"\nrequirepass = \"hush\"\n");
    server.signal(Signal::SIGHUP);
    wait_until("the password", || server.stderr().contains("reloaded: the password"));
    assert!(!server.stderr().contains("hush"));
    let mut client = server.client();
    client.check("PING", "-NOAUTH Authentication required.\r\n");
    client.call(&["AUTH", "hush"]);
    assert_eq!(client.call(&["CONFIG", "GET", "timeout"]).elements()[1].text(), "13");
}

/// What CONFIG SET has changed stands in the file, beside what was there; a start from it comes to the same.
#[test]
fn config_rewrite_keeps_the_file_and_adds_to_it() {
    let path = temporary("rewrite.toml");
    std::fs::write(&path, "# ours\ntimeout = 11 # seconds\nmax_value = \"100mb\"\n").unwrap();
    let start = |flags: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kv-cache"));
        command.args(["--port=0", "--threads=2", "--config", path.to_str().unwrap()]).args(flags);
        Server::spawn(command)
    };
    let server = start(&["--maxmemory=300mb"]);
    let mut client = server.client();
    client.check("CONFIG SET timeout 12 maxmemory 400mb", "+OK\r\n");
    client.check("CONFIG SET maxmemory-policy noeviction proto-max-bulk-len 20mb", "+OK\r\n");
    client.check(
        "CONFIG SET loglevel warning loglevel notice",
        "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - duplicate parameter\r\n",
    );
    client.check("CONFIG SET requirepass hush", "+OK\r\n");
    client.check("CONFIG REWRITE", "+OK\r\n");
    assert!(server.stderr().contains("maxmemory is in the file now, but at the next start flag beats it"));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# ours\ntimeout = 12 # seconds\nmax_value = \"20mb\"\n"), "{text}");
    let again = start(&[]);
    let mut client = again.client();
    client.check("AUTH hush", "+OK\r\n");
    for (name, value) in [
        ("timeout", "12"),
        ("maxmemory", "419430400"),
        ("maxmemory-policy", "noeviction"),
        ("proto-max-bulk-len", "20971520"),
    ] {
        assert_eq!(client.call(&["CONFIG", "GET", name]).field(name).text(), value, "{name}: {text}");
    }
    let without = Server::with(Engine::Epoll, &[]);
    without.client().check("CONFIG REWRITE", "-ERR The server is running without a config file\r\n");
}

/// A service manager with a socket of its own.
struct Manager {
    socket: UnixDatagram,
    path: Temporary,
}

impl Manager {
    fn new() -> Manager {
        let path = temporary("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        Manager { socket, path }
    }

    fn start(&self, engine: Engine, watchdog_usec: &str) -> Server {
        let mut command = command(&[engine.flag()]);
        command.env("NOTIFY_SOCKET", &*self.path).env("WATCHDOG_USEC", watchdog_usec);
        Server::spawn(command)
    }

    /// The next message, if there is one.
    fn message(&self) -> Option<String> {
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn wait_for(&self, text: &str) {
        wait_until(text, || self.message().is_some_and(|message| message.contains(text)));
    }
}

fn the_service_manager_hears_of_everything(engine: Engine) {
    let manager = Manager::new();
    let mut server = manager.start(engine, "2000000");
    manager.wait_for("READY=1");
    manager.wait_for("WATCHDOG=1");
    server.signal(Signal::SIGHUP);
    manager.wait_for("RELOADING=1\nMONOTONIC_USEC=");
    manager.wait_for("READY=1\nSTATUS=serving on port ");
    manager.wait_for("WATCHDOG=1");
    server.signal(Signal::SIGTERM);
    manager.wait_for("STOPPING=1");
    assert_eq!(server.wait().code(), Some(0));
}

fn a_core_that_is_stuck_starves_the_watchdog(engine: Engine) {
    let manager = Manager::new();
    let server = manager.start(engine, "2000000");
    manager.wait_for("WATCHDOG=1");
    // One thread stands still, the others run: only a debugger can do that from outside.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let is_core_1 = |path: &std::path::Path| std::fs::read_to_string(path.join("comm")).unwrap().trim() == "core-1";
    let thread = tasks.map(|entry| entry.unwrap().path()).find(|path| is_core_1(path)).unwrap();
    let thread = Pid::from_raw(thread.file_name().unwrap().to_str().unwrap().parse().unwrap());
    ptrace::seize(thread, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(thread).unwrap();
    wait_until("the error", || server.stderr().contains("core 1 has stood still"));
    // What was fed before it stood still is read; then it moves again, and only now there is more.
    while manager.message().is_some() {}
    nix::sys::wait::waitpid(thread, Some(nix::sys::wait::WaitPidFlag::__WALL)).unwrap();
    ptrace::detach(thread, None).unwrap();
    manager.wait_for("WATCHDOG=1");
}
