//! Starts the real server for one test and ends it with it. Every wait here has a deadline that makes a test fail;
//! none is a pause that makes one pass.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;

/// How long anything that must happen may take, on a slow machine with all tests at once.
pub const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Multishot,
    Uring,
    Epoll,
}

impl Engine {
    pub fn flag(self) -> &'static str {
        match self {
            Engine::Multishot => "--engine=multishot",
            Engine::Uring => "--engine=uring",
            Engine::Epoll => "--engine=epoll",
        }
    }

    /// As INFO and the banner call it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Multishot => "multishot",
            Engine::Uring => "io_uring",
            Engine::Epoll => "epoll",
        }
    }
}

/// Turns functions of an `Engine` into tests on each of them: `multishot::name`, `uring::name` and `epoll::name`.
macro_rules! on_every_driver {
    ($($(#[$attribute:meta])* $name:ident),* $(,)?) => {
        mod multishot {
            $($(#[$attribute])* #[test] fn $name() { super::$name($crate::harness::Engine::Multishot) })*
        }
        mod uring {
            $($(#[$attribute])* #[test] fn $name() { super::$name($crate::harness::Engine::Uring) })*
        }
        mod epoll {
            $($(#[$attribute])* #[test] fn $name() { super::$name($crate::harness::Engine::Epoll) })*
        }
    };
}
pub(crate) use on_every_driver;

/// What the server is started with, unless a test says otherwise: RESP alone, two cores, and a cap that any host grants.
pub const FLAGS: [&str; 4] = ["--port=0", "--http-port=0", "--threads=2", "--maxmemory=512mb"];

/// A running server. Dropping it ends it.
pub struct Server {
    child: Child,
    port: u16,
    stdout: Transcript,
    stderr: Transcript,
}

/// What a process has printed so far.
#[derive(Clone, Default)]
struct Transcript(Arc<Mutex<String>>);

impl Transcript {
    fn follow(stream: impl Read + Send + 'static) -> Transcript {
        let transcript = Transcript::default();
        let text = transcript.0.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut text = text.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        transcript
    }

    fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}

/// The server's command line with the usual flags; what stands last wins.
pub fn command(flags: &[&str]) -> Command {
    wrapped(&[], env!("CARGO_BIN_EXE_kv-cache"), flags)
}

/// The same, run by another program such as strace, which must become the server or leave it our child.
pub fn wrapped(wrapper: &[&str], binary: &str, flags: &[&str]) -> Command {
    let words: Vec<&str> = wrapper.iter().copied().chain([binary]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(FLAGS).args(flags);
    // Options of whoever runs the tests are not the tests'.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KV_CACHE_") {
            command.env_remove(name);
        }
    }
    command
}

/// The server with faults injected into its system calls; `None`, said plainly, where this host forbids tracing.
/// `threads`: `-f` to trace all threads. strace runs as a grandchild (`-D`), so that the server stays our child.
pub fn injected(test: &str, threads: &str, faults: &[&str], flags: &[&str]) -> Option<Command> {
    let works = Command::new("strace").args(["-f", "-D", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        skip(test, "strace is not there or may not trace");
        return None;
    }
    let mut wrapper = vec!["strace", threads, "-D", "-qq", "-o", "/dev/null"];
    for fault in faults {
        wrapper.extend(["-e", fault]);
    }
    Some(wrapped(&wrapper, env!("CARGO_BIN_EXE_kv-cache"), flags))
}

impl Server {
    pub fn start(engine: Engine) -> Server {
        Server::with(engine, &[])
    }

    pub fn with(engine: Engine, flags: &[&str]) -> Server {
        let mut all = vec![engine.flag()];
        all.extend_from_slice(flags);
        Server::spawn(command(&all))
    }

    /// Starts a command line and waits until its log names the port.
    pub fn spawn(mut command: Command) -> Server {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = Transcript::follow(child.stdout.take().unwrap());
        let stderr = Transcript::follow(child.stderr.take().unwrap());
        let mut server = Server { child, port: 0, stdout, stderr };
        wait_until("the server's banner", || {
            let ended = server.child.try_wait().unwrap();
            if server.stderr().contains("memory cap") {
                return true;
            }
            assert!(ended.is_none(), "the server ended with {ended:?}: {}", server.stderr());
            false
        });
        let banner = server.stderr();
        let addresses =
            banner.lines().filter_map(|line| Some(line.split_once("listening on ")?.1.trim_end_matches('"')));
        let mut ports = addresses.filter_map(|text| text.trim().parse().ok()).map(|address: SocketAddr| address.port());
        server.port = ports.next().unwrap_or_else(|| panic!("no address in the banner: {banner}"));
        server
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Client {
        Client::new(TcpStream::connect(self.address()).expect("the server accepts"))
    }

    /// A client that has said HELLO 3.
    pub fn resp3_client(&self) -> Client {
        let mut client = self.client();
        client.call(&["HELLO", "3"]);
        client
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// One field of INFO, asked on a connection of its own.
    pub fn info(&self, field: &str) -> String {
        self.client().info(field)
    }

    pub fn info_number(&self, field: &str) -> u64 {
        self.client().info_number(field)
    }

    pub fn wait_for_info(&self, field: &str, condition: impl Fn(u64) -> bool) {
        let mut client = self.client();
        wait_until(field, || condition(client.info_number(field)));
    }

    /// Bytes of the process in memory, as the kernel counts them.
    pub fn resident_bytes(&self) -> usize {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).expect("the server runs");
        text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("the server runs");
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the end of the server", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        // They fail only when the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server ({ended:?}) had printed:\n{}{}", self.stdout(), self.stderr());
        } else if let Some(status) = ended {
            assert!(status.code().is_some(), "the server crashed ({status}): {}", self.stderr());
        }
    }
}

/// The most bytes that the process has ever had in memory.
pub fn peak_resident_bytes(server: &Server) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() * 1024
}

/// Looks again and again until a condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a command line that is to fail or to print something did: exit code, standard output, standard error.
pub fn run_to_end(mut command: Command) -> (Option<i32>, String, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > DEADLINE {
            let _ = child.kill();
            panic!("{command:?} did not end");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Says that this host does not allow a test. `tests/run` counts these lines; the test harness cannot hide them.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}

/// A path of this test's own for a file or a socket, which goes with it.
pub struct Temporary(std::path::PathBuf);

pub fn temporary(name: &str) -> Temporary {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let unique = NEXT.fetch_add(1, Relaxed);
    Temporary(std::env::temp_dir().join(format!("kv-cache-test-{}-{unique}-{name}", std::process::id())))
}

impl std::ops::Deref for Temporary {
    type Target = std::path::Path;
    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl AsRef<std::path::Path> for Temporary {
    fn as_ref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Numbers that look random and are the same in every run: xorshift64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }
}
