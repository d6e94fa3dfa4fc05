//! Hosts that grant little memory, and cores that fail: the server keeps within what it was given, or says plainly why it
//! cannot run.

use std::path::PathBuf;

use crate::client::{patterned, request};
use crate::harness::{self, Engine, Server, on_every_driver, run_to_end, skip};

on_every_driver!(a_core_that_panics_ends_the_process);

/// The event loop's own wait fails as it never should: a core panics.
fn a_core_that_panics_ends_the_process(engine: Engine) {
    let test = "a_core_that_panics_ends_the_process";
    let fault = "inject=epoll_wait:error=EBADF:when=20";
    let Some(command) = harness::injected(test, "-f", &[fault], &[engine.flag()]) else { return };
    let (code, _, stderr) = run_to_end(command);
    assert_eq!(code, None, "it aborts: {stderr}");
    assert!(stderr.contains("a thread panicked; the process ends"), "{stderr}");
    assert!(stderr.contains("panicked at"), "{stderr}");
}

#[test]
fn too_little_address_space_is_refused_in_one_line() {
    let limited = |bytes: &str| {
        let limit = format!("--as={bytes}");
        harness::wrapped(&["prlimit", &limit], env!("CARGO_BIN_EXE_kv-cache"), &[])
    };
    for bytes in ["60000000", "1200000000"] {
        let (code, _, stderr) = run_to_end(limited(bytes));
        assert_eq!(code, Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.contains("address space") && stderr.contains("ulimit -v"), "{stderr}");
        assert!(stderr.contains("--maxmemory"), "{stderr}");
    }
}

/// A memory cgroup of our own below this process's, in version 1 or 2.
struct Cgroup(PathBuf);

impl Cgroup {
    fn with(bytes: u64) -> Option<Cgroup> {
        let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let found = text.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            match (fields.next()?, fields.next()?) {
                ("memory", path) => Some((format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes")),
                ("", path) if !text.contains(":memory:") => Some((format!("/sys/fs/cgroup{path}"), "memory.max")),
                _ => None,
            }
        });
        let (parent, limit) = found?;
        let own = PathBuf::from(parent).join(format!("kv-cache-test-{}", std::process::id()));
        std::fs::create_dir(&own).ok()?;
        let cgroup = Cgroup(own);
        // Version 2 has the file only where the parent hands the controller down.
        let file = cgroup.0.join(limit);
        (file.exists() && std::fs::write(file, bytes.to_string()).is_ok()).then_some(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process may take a moment to leave.
        harness::wait_until("the end of the cgroup", || std::fs::remove_dir(&self.0).is_ok());
    }
}

/// A real one: the kernel kills whoever goes beyond it.
#[test]
fn it_lives_in_a_small_memory_cgroup() {
    const LIMIT: u64 = 160 << 20;
    let Some(cgroup) = Cgroup::with(LIMIT) else {
        return skip("it_lives_in_a_small_memory_cgroup", "this host lets nobody make a memory cgroup here");
    };
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", cgroup.0.display());
    let command = harness::wrapped(&["sh", "-c", &enter], env!("CARGO_BIN_EXE_kv-cache"), &[]);
    let server = Server::spawn(command);
    assert!(server.stderr().contains("does not fit the cgroup's 160.00 MiB: lowered to 70%"), "{}", server.stderr());
    assert_eq!(server.info_number("maxmemory"), LIMIT / 10 * 7);
    fill(&server, 400 << 20);
    assert!(server.info_number("evicted_keys") > 0);
}

/// Writes so many bytes, in values of all sizes.
fn fill(server: &Server, bytes: usize) {
    let mut client = server.client();
    let (mut written, mut number) = (0, 0);
    while written < bytes {
        for size in [100, 3_000, 40_000, 700_000] {
            let value = patterned(size, number);
            let key = format!("key:{number}");
            client.send(request(&[b"SET".as_slice(), key.as_bytes(), &value]));
            client.expect("+OK\r\n");
            (written, number) = (written + size, number + 1);
        }
    }
    client.check("PING", "+PONG\r\n");
}
