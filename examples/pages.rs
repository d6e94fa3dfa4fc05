//! Writes manual pages and completions of both programs into a folder, from their declared options: for packages.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// A section of the server's page: its heading, and pairs of a term and what it means.
type Section = (&'static str, &'static [(&'static str, &'static str)]);

const SERVER: [Section; 5] = [
    (
        "EXIT STATUS",
        &[
            ("0", "It has drained after SIGTERM, SIGINT or SHUTDOWN; for tune and ping: all is well."),
            ("1", "The host does not allow it, or a second signal ended it; tune: settings differ; ping: no answer."),
            ("2", "A wrong option: the line says which, and where it was written."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            (
                "KV_CACHE_*",
                "Every option has a variable, named after it: KV_CACHE_MAXMEMORY for --maxmemory. A flag beats it, and it \
              beats the file.",
            ),
            (
                "NOTIFY_SOCKET, WATCHDOG_USEC",
                "Set by systemd, which is told when the server is ready and that every core moves.",
            ),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/kv-cache/kv-cache.toml",
                "The options of the packaged service: long names as keys, each with its default.",
            ),
            ("/etc/default/kv-cache", "The environment of the packaged service."),
            ("/usr/lib/sysctl.d/60-kv-cache.conf", "Kernel settings, each with its reason."),
        ],
    ),
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "Answers what was accepted, within --shutdown-timeout, and ends. A second one ends it at once.",
            ),
            (
                "SIGHUP",
                "Reads the options again and applies what can change, all of it or nothing; opens --log-file anew.",
            ),
        ],
    ),
    (
        "EXAMPLES",
        &[
            (
                "kv-cache --maxmemory 2gb",
                "Serves RESP on 127.0.0.1:7171 and HTTP on 127.0.0.1:7172, with a cap of two gigabytes.",
            ),
            ("curl http://127.0.0.1:7172/metrics", "Asks for what Prometheus would scrape."),
            (
                "kv-cache --config /etc/kv-cache/kv-cache.toml --check",
                "Says what a file comes to, and whether a start would be refused.",
            ),
            (
                "kv-cache --bind 0.0.0.0 --requirepass-file /etc/kv-cache/password",
                "Serves other hosts, with a password.",
            ),
            ("kv-cache ping redis://:secret@cache.example:7171", "Asks a server whether it answers."),
            ("sudo kv-cache tune --apply", "Sets what the kernel's settings cost, until the host's next start."),
        ],
    ),
];

fn main() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: pages FOLDER"));
    std::fs::create_dir_all(&folder)?;
    write_page(kv_cache::config::command(), &SERVER, &folder)?;
    write_page(kv_bench::command(), &[], &folder)?;
    for mut command in [kv_cache::config::command(), kv_bench::command()] {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let path = clap_complete::generate_to(shell, &mut command, &name, &folder)?;
            if shell == Shell::Bash {
                mend_names(&path, &name)?;
            }
        }
    }
    Ok(())
}

/// clap_complete takes the dash in a program's name for the beginning of a subcommand in one place and not in another: behind
/// subcommands bash would be offered nothing.
fn mend_names(path: &Path, name: &str) -> io::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let (wrong, right) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
    std::fs::write(path, text.replace(&wrong, &right))
}

/// The page of a program, with sections of its own, and those of its subcommands.
fn write_page(command: Command, sections: &[Section], folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(command.clone(), folder)?;
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    for (heading, entries) in sections {
        let mut roff = Roff::new();
        roff.control("SH", [*heading]);
        for (term, meaning) in *entries {
            roff.control("TP", []);
            roff.text([bold(*term)]);
            roff.text([roman(*meaning)]);
        }
        roff.to_writer(&mut text)?;
    }
    text.flush()?;
    std::fs::write(folder.join(page.get_filename()), text)
}
