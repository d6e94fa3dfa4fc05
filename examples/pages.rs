//! Writes manual pages and completions of both programs into a folder, from their declared options: for packages.

use std::io;
use std::path::PathBuf;

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: pages FOLDER"));
    std::fs::create_dir_all(&folder)?;
    for mut command in [kv_cache::config::command(), kv_bench::command()] {
        let name = command.get_name().to_owned();
        clap_mangen::generate_to(command.clone(), &folder)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command, &name, &folder)?;
        }
    }
    Ok(())
}
