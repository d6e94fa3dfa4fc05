//! Hosts that forbid io_uring, or give it too little: the server says so, with the remedy, and runs.

use std::process::{Command, Stdio};

use kv_cache::config::limits;

use crate::client::{bulk, patterned, request};
use crate::harness::{self, Engine, Server, injected, run_to_end, skip, temporary, wait_until};

/// Enough to see that it serves.
fn serves(server: &Server) {
    let mut client = server.client();
    let value = patterned(200_000, 1);
    client.send([request(&[b"SET".as_slice(), b"k", &value]), request(&["GET", "k"])].concat());
    client.expect("+OK\r\n");
    client.expect(bulk(&value));
    let mut many: Vec<_> = (0..50).map(|_| server.client()).collect();
    many.iter_mut().for_each(|client| client.check("STRLEN k", ":200000\r\n"));
}

#[test]
fn without_a_ring_it_runs_on_epoll_and_says_why() {
    for (errno, remedy) in [
        ("EPERM", ""),
        ("EACCES", ""),
        ("ENOSYS", "Linux 5.11"),
        ("ENOMEM", "locked memory"),
        ("EINVAL", "too old"),
        ("EMFILE", "ulimit -n"),
    ] {
        let fault = format!("inject=io_uring_setup:error={errno}");
        let Some(command) = injected("without_a_ring", "-f", &[&fault], &[]) else { return };
        let server = Server::spawn(command);
        assert_eq!(server.info("engine"), "epoll", "{errno}");
        let reason = server.info("engine_reason");
        assert!(reason.contains("io_uring") && reason.contains(remedy), "{errno}: {reason}");
        wait_until("the warning", || server.stderr().contains("running on epoll"));
        assert!(server.stderr().contains(&reason), "{errno}: {}", server.stderr());
        assert!(server.stderr().contains(&format!("engine epoll: {reason}")));
        serves(&server);
    }
}

#[test]
fn asked_for_the_ring_alone_it_refuses_to_start() {
    let fault = "inject=io_uring_setup:error=EPERM";
    let Some(command) = injected("asked_for_the_ring_alone", "-f", &[fault], &["--engine=uring"]) else { return };
    let (code, stdout, stderr) = run_to_end(command);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("io_uring") && stderr.contains("--engine epoll"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

/// The first rungs of the ladder are refused as an older kernel does it. Only the main thread, which probes, is traced.
#[test]
fn an_older_kernel_gets_an_older_ring() {
    for (refused, reason) in [("1", "(COOP_TASKRUN, SINGLE_ISSUER)"), ("1..2", "SINGLE_ISSUER needs Linux 6.0")] {
        let fault = format!("inject=io_uring_setup:error=EINVAL:when={refused}");
        let Some(command) = injected("an_older_kernel", "-qq", &[&fault], &[]) else { return };
        let server = Server::spawn(command);
        assert_eq!(server.info("engine"), "io_uring");
        let said = server.info("engine_reason");
        assert!(said.contains(reason) && said.contains("need Linux 6.1"), "{said}");
        serves(&server);
    }
}

/// The probe, in the main thread, is refused its first ring and gets one the older way; each core is refused its only
/// one.
const AFTER_THE_PROBE: &str = "inject=io_uring_setup:error=EPERM:when=1";

#[test]
fn a_core_whose_ring_fails_after_the_probe_takes_all_to_epoll() {
    let Some(command) = injected("a_core_whose_ring_fails", "-f", &[AFTER_THE_PROBE], &[]) else { return };
    let server = Server::spawn(command);
    assert_eq!(server.info("engine"), "epoll");
    let reason = server.info("engine_reason");
    assert!(reason.contains("a core's ring failed: ") && reason.contains("seccomp"), "{reason}");
    wait_until("the warning", || server.stderr().contains(&format!("running on epoll: {reason}")));
    assert_eq!(server.info("registered_buffers_per_core"), "0");
    serves(&server);
    assert_eq!(server.info_number("registered_receives"), 0);
}

/// The probe has its rings in the end; the second of the core's two is refused.
#[test]
fn a_core_whose_own_ring_fails_goes_on_on_epoll() {
    let fault = "inject=io_uring_setup:error=EPERM:when=2";
    let Some(command) = injected("a_core_whose_own_ring_fails", "-f", &[fault], &["--threads=1"]) else { return };
    let server = Server::spawn(command);
    assert_eq!(server.info("engine"), "epoll");
    let reason = server.info("engine_reason");
    assert!(reason.contains("a core's ring failed: ") && reason.contains("seccomp"), "{reason}");
    serves(&server);
}

#[test]
fn a_core_whose_ring_fails_ends_a_server_that_was_told_to_use_it() {
    let flags = ["--engine=uring"];
    let Some(command) = injected("a_core_whose_ring_fails_ends", "-f", &[AFTER_THE_PROBE], &flags) else { return };
    let (code, stdout, stderr) = run_to_end(command);
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("a core's ring failed") && stderr.contains("--engine epoll"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn buffers_that_cannot_be_registered_are_done_without() {
    let fault = "inject=io_uring_register:error=ENOMEM";
    let bytes = limits::registered_buffers(512 << 20, 2) * limits::IO_BUFFER_BYTES;
    for (engine, reason) in [
        (Engine::Multishot, "locked memory ran out".to_owned()),
        (Engine::Uring, format!("{bytes} bytes of locked memory are needed")),
    ] {
        let Some(command) = injected("buffers_that_cannot_be_registered", "-f", &[fault], &[engine.flag()]) else {
            return;
        };
        let server = Server::spawn(command);
        assert_eq!(server.info("engine"), engine.name());
        assert_eq!(server.info("registered_buffers_per_core"), "0");
        let said = server.info("registered_buffers_reason");
        assert!(said.contains(&reason), "{said}");
        wait_until("the warning", || server.stderr().contains("buffers are not registered"));
        assert!(server.stderr().contains("registered buffers none: "));
        serves(&server);
        assert_eq!(server.info_number("registered_receives"), 0);
    }
}

#[test]
fn interrupted_and_refused_calls_are_made_again() {
    for fault in [
        "inject=io_uring_enter:error=EINTR:when=3+7",
        "inject=io_uring_enter:error=EBUSY:when=20+9",
        "inject=io_uring_enter:error=EAGAIN:when=20+9",
    ] {
        for engine in [Engine::Multishot, Engine::Uring] {
            let flags = ["--threads=1", engine.flag()];
            let Some(command) = injected("interrupted_and_refused_calls", "-f", &[fault], &flags) else { return };
            let server = Server::spawn(command);
            serves(&server);
            assert_eq!(server.info("engine"), engine.name(), "{fault}");
        }
    }
}

/// Root never meets the limit on locked memory: an ordinary user with 64 KiB of it.
#[test]
fn little_locked_memory_is_enough_to_run() {
    // Where the tree lies, an ordinary user may have no access.
    let binary = temporary("kv-cache");
    std::fs::copy(env!("CARGO_BIN_EXE_kv-cache"), &binary).unwrap();
    let wrapper = [
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "--inh-caps=-all",
        "--bounding-set=-all",
        "prlimit",
        "--memlock=65536:65536",
    ];
    let allowed = Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return skip("little_locked_memory", "setpriv may not drop privileges here; run the tests as root");
    }
    let server = Server::spawn(harness::wrapped(&wrapper, binary.to_str().unwrap(), &[]));
    assert_eq!(server.info("engine"), "multishot");
    assert!(server.info("engine_reason").contains("for want of locked memory"), "{}", server.info("engine_reason"));
    serves(&server);
    drop(server);

    let server = Server::spawn(harness::wrapped(&wrapper, binary.to_str().unwrap(), &["--engine=uring"]));
    assert_eq!(server.info("engine"), "io_uring");
    assert_eq!(server.info("registered_buffers_per_core"), "0");
    let reason = server.info("registered_buffers_reason");
    let bytes = limits::registered_buffers(512 << 20, 2) * limits::IO_BUFFER_BYTES;
    assert!(reason.contains(&format!("{bytes} bytes of locked memory")) && reason.contains("64.00 KiB"), "{reason}");
    assert!(reason.contains("ulimit -l"), "{reason}");
    serves(&server);
}

#[test]
fn registered_buffers_are_used() {
    let server = Server::spawn(harness::command(&["--engine=uring"]));
    if server.info("registered_buffers_per_core") == "0" {
        return skip("registered_buffers_are_used", &server.info("registered_buffers_reason"));
    }
    let mut client = server.client();
    (0..100).for_each(|_| client.check("PING", "+PONG\r\n"));
    assert!(client.info_number("registered_receives") >= 100);
    assert_eq!(client.info_number("unregistered_receives"), 0);
}

#[test]
fn registered_buffers_can_be_switched_off() {
    let server = Server::spawn(harness::command(&["--engine=uring", "--registered-buffers=off"]));
    assert_eq!(server.info("registered_buffers_reason"), "switched off");
    serves(&server);
    assert_eq!(server.info_number("registered_receives"), 0);
    assert!(server.info_number("unregistered_receives") > 0);
    assert!(!server.stderr().contains("not registered"), "asked for, so nothing to warn of");
}
