//! The thin binary of kv-bench; the library beside it is the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    kv_bench::main()
}
