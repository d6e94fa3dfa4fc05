//! What the shard costs and how long it holds its core. Each argument names a table to print; without one, all are.
//!
//! `cargo bench --bench shard -- cost growth lookups storm expiry sizes clear`

mod cost;
mod expiry;
mod growth;
mod lookups;
mod sizes;
mod storm;
mod support;

use std::env;

/// As in the server, and with its options.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

// SAFETY: no other symbol has this name: the prefix is that of the crate's jemalloc.
#[allow(non_upper_case_globals)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static malloc_conf: &[u8] = b"dirty_decay_ms:0,muzzy_decay_ms:0\0";

const TABLES: [(&str, fn()); 7] = [
    ("cost", cost::run),
    ("growth", growth::run),
    ("lookups", lookups::run),
    ("storm", storm::run),
    ("expiry", expiry::run),
    ("sizes", sizes::run),
    ("clear", storm::run_clear),
];

fn main() {
    // Cargo adds --bench.
    let wanted: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (name, run) in TABLES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            println!("\n== {name}");
            run();
        }
    }
}
