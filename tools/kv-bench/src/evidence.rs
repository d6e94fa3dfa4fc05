//! Under which circumstances something was measured: when, where, by which command, against which versions. Without them
//! a figure is hearsay.

use std::{fs, thread, time::SystemTime};

/// The circumstances of a measurement.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Evidence {
    /// When the program began, in UTC (RFC 3339).
    pub date: String,
    pub host: String,
    pub kernel: String,
    pub cpu: String,
    /// kv-bench's own version.
    pub generator: String,
    /// As it could be typed again; passwords are left out.
    pub command: String,
    pub servers: Vec<Server>,
}

/// A server that was measured, and what it says of itself.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Server {
    pub name: String,
    pub version: String,
}

impl Evidence {
    /// Of this process, on this machine, now; the servers are added as they answer.
    pub fn collect() -> Evidence {
        let first_line = |path| fs::read_to_string(path).unwrap_or_default().trim().to_string();
        Evidence {
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            host: first_line("/proc/sys/kernel/hostname"),
            kernel: format!("Linux {}", first_line("/proc/sys/kernel/osrelease")),
            cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            generator: format!("kv-bench {}", env!("CARGO_PKG_VERSION")),
            command: command(std::env::args()),
            servers: vec![],
        }
    }

    pub fn add(&mut self, name: &str, version: String) {
        self.servers.push(Server { name: name.into(), version });
    }

    /// What there is to know beside the servers: a name and a value each.
    pub fn facts(&self) -> [(&'static str, &str); 5] {
        let Evidence { date, host, kernel, cpu, generator, .. } = self;
        [("date", date), ("host", host), ("kernel", kernel), ("CPU", cpu), ("generator", generator)]
    }
}

/// The processor's name where the kernel tells it (x86), else the architecture; and how many cores this process may use.
fn cpu(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, {cores} core{}",
        model.map_or(std::env::consts::ARCH, |model| model.1),
        if cores == 1 { "" } else { "s" }
    )
}

/// The words of a command line, quoted where a shell needs it, with `***` for each password.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut secret = false;
    let words: Vec<String> = words
        .map(|word| {
            let hidden = std::mem::replace(&mut secret, word == "--password");
            if hidden { "***".into() } else { without_password(&word) }
        })
        .collect();
    shlex::try_join(words.iter().map(String::as_str)).expect("arguments of a process have no NUL")
}

/// `--password=...`, and `NAME=ADDRESS,password=...`, without what is secret.
fn without_password(word: &str) -> String {
    let parts = word.split(',').map(|part| match part.split_once("password=") {
        Some((before, _)) if before.is_empty() || before == "--" => format!("{before}password=***"),
        _ => part.to_string(),
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again_and_tells_no_password() {
        let line = |words: &[&str]| command(words.iter().map(|word| word.to_string()));
        assert_eq!(line(&["kv-bench", "-w", "two words"]), "kv-bench -w 'two words'");
        let told = line(&["kv-bench", "--password", "s3cret", "--password=s3cret", "a=h:1,password=s3cret,pid=2"]);
        assert!(!told.contains("s3cret") && told.contains(",pid=2"), "{told}");
    }

    #[test]
    fn a_processor_has_a_name() {
        assert!(cpu("x: 1\nmodel name\t: AMD EPYC\n").starts_with("AMD EPYC, "));
        assert!(cpu("CPU part: 0xd0c\n").starts_with(std::env::consts::ARCH));
    }
}
