//! The thin binary: parse the options, run what they ask for, print errors with their remedy.

use std::io::IsTerminal;
use std::process::ExitCode;

use kv_cache::base::allocator::Allocator;
use kv_cache::config::StartError;
use kv_cache::config::{self, LogLevel, Origin, Request, Resolved, Task};
use kv_cache::server::{self, ping, tune};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// jemalloc reads its options here: a pointer to a C string, which is what a slice begins with.
// SAFETY: no other symbol has this name: the prefix is that of the crate's jemalloc.
#[allow(non_upper_case_globals)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static malloc_conf: &[u8] = b"dirty_decay_ms:0,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv-cache: {error}");
            ExitCode::from(error.code)
        }
    }
}

fn start() -> Result<(), StartError> {
    let resolved = match config::resolve(std::env::args_os())? {
        Request::Print(text) => {
            print!("{text}");
            return Ok(());
        }
        Request::Run(resolved) => *resolved,
    };
    if resolved.options.check {
        print_listing(&resolved);
        return resolved.options.password().map(drop);
    }
    match &resolved.options.task {
        Some(Task::Tune(tune)) => tune::run(tune),
        Some(Task::Ping { target }) => ping::run(&resolved.options, target.as_ref()),
        None => {
            log_to_stderr(resolved.options.log_level);
            server::run(resolved)
        }
    }
}

fn print_listing(resolved: &Resolved) {
    for (name, value, origin) in &resolved.listing {
        let origin = match origin {
            Origin::Flag => "flag",
            Origin::Environment => "environment",
            Origin::File => "file",
            Origin::Default => "default",
        };
        println!("{name:<22} {value:<20} {origin}");
    }
}

fn log_to_stderr(level: LogLevel) {
    let level = match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
    };
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).with_ansi(colours);
    log.with_writer(std::io::stderr).init();
}
