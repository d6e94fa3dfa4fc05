//! Clocks: a server that was stopped for a while, as a debugger or the host of a virtual machine does it, finds another time
//! when it goes on. (The wall clock that is set back is tested in the shard, whose clock is an argument: `wheel.rs`.)

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Engine, on_every_driver, wait_until};
use crate::siege::{Siege, rounds};

on_every_driver!(a_server_that_was_stopped_goes_on);

fn a_server_that_was_stopped_goes_on(engine: Engine) {
    let siege = Siege::begin(engine, "a server that is stopped and goes on");
    let (mut client, pid) = (siege.server().client(), Pid::from_raw(siege.server().pid() as i32));
    for round in 0..2 * rounds() {
        client.check("SET short v PX 700", "+OK\r\n");
        client.check("SET long v EX 1000", "+OK\r\n");
        let before = client.info_number("expired_keys");
        kill(pid, Signal::SIGSTOP).unwrap();
        let begun = Instant::now();
        wait_until("some time to pass", || begun.elapsed() > Duration::from_secs(1));
        kill(pid, Signal::SIGCONT).unwrap();
        client.check("GET short", "$-1\r\n");
        client.check("GET long", "$1\r\nv\r\n");
        wait_until("it to be counted", || client.info_number("expired_keys") > before);
        client.check(&format!("SET k {round} PX 1"), "+OK\r\n");
        wait_until("expiry to go on", || client.call(&["GET", "k"]) == crate::wire::Value::Null);
    }
    siege.end();
}
