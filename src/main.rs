//! The thin binary: parse the options, run what they ask for, print errors with their remedy.

use std::process::ExitCode;

use kv_cache::base::allocator::Allocator;
use kv_cache::config::{self, Request, StartError, Task};
use kv_cache::observe::log;
use kv_cache::server::{self, ping, plan, tune};

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
    let options = &resolved.options;
    if options.check {
        print!("{}", plan::check(&resolved)?);
        return Ok(());
    }
    match &options.task {
        Some(Task::Tune(tune)) => tune::run(tune),
        Some(Task::Ping { target }) => ping::run(options, target.as_ref()),
        None => {
            log::begin(options.log_level, options.log_format, options.log_file.as_deref())
                .map_err(|error| resolved.located(error))?;
            server::run(resolved)
        }
    }
}
