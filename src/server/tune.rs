//! The kernel settings that a host of the cache wants: printed, held against this host, applied. The files of `sysctl/`
//! and `docker/seccomp.json` are the one source. It must not know the server.

use std::io::ErrorKind;

use crate::config::StartError;
use crate::config::host;
use crate::config::{Tune, TuneFile};

const SYSCTLS: &str = include_str!("../../sysctl/60-kv-cache.conf");
const LIMITS: &str = include_str!("../../sysctl/limits.conf");
const SECCOMP: &str = include_str!("../../docker/seccomp.json");

/// One line of the file, with the comment above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting {
    name: &'static str,
    wanted: &'static str,
    /// The comment's first line: what it costs to leave the setting.
    why: &'static str,
    more_is_fine: bool,
}

/// A setting beside what this host has.
pub struct Finding {
    setting: Setting,
    /// `None` where the kernel or the network namespace has no such setting.
    now: Option<String>,
    /// What should stand there: where more is fine, nothing is lowered.
    wanted: String,
}

impl Finding {
    fn differs(&self) -> bool {
        self.now.as_ref().is_some_and(|now| *now != self.wanted)
    }
}

/// Holds every setting against this host.
pub fn check() -> Vec<Finding> {
    let compare = |setting: Setting| {
        let now = host::sysctl_text(setting.name);
        let wanted = wanted(&setting, now.as_deref());
        Finding { setting, now, wanted }
    };
    settings(SYSCTLS).map(compare).collect()
}

fn settings(file: &'static str) -> impl Iterator<Item = Setting> {
    let mut comment: Vec<&'static str> = Vec::new();
    file.lines().filter_map(move |line| {
        if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
            return None;
        }
        let comment = std::mem::take(&mut comment);
        let (name, wanted) = line.split_once(" = ")?;
        let why = comment.first()?.trim_end_matches('.');
        Some(Setting { name, wanted, why, more_is_fine: comment.contains(&"More is fine.") })
    })
}

/// What the file says, or, number by number, what the host has where that is more and more is fine.
fn wanted(setting: &Setting, now: Option<&str>) -> String {
    let Some(now) = now.filter(|_| setting.more_is_fine) else { return setting.wanted.to_owned() };
    let (wanted, now) = (setting.wanted.split(' '), now.split(' '));
    let more = wanted.zip(now).map(|(wanted, now)| match (wanted.parse::<u64>(), now.parse::<u64>()) {
        (Ok(least), Ok(number)) if number > least => now,
        _ => wanted,
    });
    more.collect::<Vec<_>>().join(" ")
}

/// `kv-cache tune`. `--check` judges; `--apply` sets what it may, says what it may not, and fails where that is all.
pub fn run(tune: &Tune) -> Result<(), StartError> {
    match (&tune.print, tune.apply) {
        (Some(TuneFile::Sysctl), _) => print!("{SYSCTLS}"),
        (Some(TuneFile::Limits), _) => print!("{LIMITS}"),
        (Some(TuneFile::Seccomp), _) => print!("{SECCOMP}"),
        (None, true) => {
            let (mut set, mut forbidden) = (0, 0);
            apply(|outcome, line| {
                set += (outcome == Outcome::Set) as usize;
                forbidden += (outcome == Outcome::Forbidden) as usize;
                println!("{line}");
            });
            if let Some(command) = remedy(&check()).filter(|_| forbidden > 0) {
                println!("what is left, as root on the host itself: {command}");
            }
            if set == 0 && forbidden > 0 {
                let message = format!("nothing could be set, and {forbidden} settings differ");
                return Err(StartError::host(message));
            }
        }
        (None, false) => {
            let findings = check();
            print!("{}", table(&findings));
            let differing = findings.iter().filter(|finding| finding.differs()).count();
            if differing > 0 {
                let message = format!("{differing} settings differ; kv-cache tune --apply, as root, sets them");
                return Err(StartError::host(message));
            }
        }
    }
    Ok(())
}

/// For the start, in one line: how many settings differ, what the first of them costs, and where to read on.
pub fn summary(findings: &[Finding]) -> Option<String> {
    let differing: Vec<_> = findings.iter().filter(|finding| finding.differs()).collect();
    let first = differing.first()?;
    Some(format!(
        "{} of {} cost speed ({} is {}: {}); kv-cache tune --check has them all, sudo kv-cache tune --apply sets them",
        differing.len(),
        findings.len(),
        first.setting.name,
        first.now.as_deref().unwrap_or_default(),
        first.setting.why
    ))
}

/// The command that sets what differs, for whoever may.
fn remedy(findings: &[Finding]) -> Option<String> {
    let differing = findings.iter().filter(|finding| finding.differs());
    let words: Vec<_> = differing.map(|finding| format!("'{}={}'", finding.setting.name, finding.wanted)).collect();
    (!words.is_empty()).then(|| format!("sysctl -w {}", words.join(" ")))
}

fn table(findings: &[Finding]) -> String {
    let mut rows = vec![["", "setting", "now", "wanted", "why"].map(str::to_owned)];
    for finding in findings {
        let state = match (&finding.now, finding.differs()) {
            (None, _) => "absent",
            (_, true) => "differs",
            (_, false) => "ok",
        };
        let now = finding.now.as_deref().unwrap_or("-");
        rows.push([state, finding.setting.name, now, &finding.wanted, finding.setting.why].map(str::to_owned));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let [state, name, now, wanted] = [0, 1, 2, 3].map(width);
    let line = |row: &[String; 5]| {
        format!("{:state$}  {:name$}  {:now$}  {:wanted$}  {}\n", row[0], row[1], row[2], row[3], row[4])
    };
    rows.iter().map(line).collect()
}

/// What became of a setting that differed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Set,
    /// The kernel, or this network namespace, lacks it.
    LeftOut,
    Forbidden,
}

/// Sets what differs, setting by setting, and tells what became of each.
pub fn apply(mut tell: impl FnMut(Outcome, String)) {
    for finding in check() {
        let (name, wanted) = (finding.setting.name, &finding.wanted);
        let Some(now) = &finding.now else {
            let line = format!("left out {name}: this kernel, or this network namespace, has no such setting");
            tell(Outcome::LeftOut, line);
            continue;
        };
        if !finding.differs() {
            continue;
        }
        match host::set_sysctl(name, wanted) {
            Ok(()) => tell(Outcome::Set, format!("set {name} = {wanted} (was {now})")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                tell(Outcome::LeftOut, format!("left out {name}: this kernel has no {wanted}, nor a module for it"));
            }
            Err(error) => {
                tell(Outcome::Forbidden, format!("not allowed to set {name} = {wanted} (is {now}): {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_reason_and_how_to_see_its_effect() {
        assert!(settings(SYSCTLS).count() > 10);
        for setting in settings(SYSCTLS) {
            assert!(setting.why.len() > 20 && setting.why.len() < 80, "{setting:?}");
            assert!(!setting.why.starts_with("See:"), "{setting:?}");
        }
        let lines = |prefix: &str| SYSCTLS.lines().filter(|line| line.starts_with(prefix)).count();
        assert_eq!(lines("# See: "), settings(SYSCTLS).count());
        assert_eq!(lines("net.") + lines("fs."), settings(SYSCTLS).count(), "a line that is no setting");
    }

    #[test]
    fn what_is_more_already_is_left_alone_where_more_is_fine() {
        let setting = Setting { name: "a.b", wanted: "4096 87380 16777216", why: "", more_is_fine: true };
        assert_eq!(wanted(&setting, Some("4096 131072 6291456")), "4096 131072 16777216");
        assert_eq!(wanted(&setting, None), "4096 87380 16777216");
        let exact = Setting { name: "a.b", wanted: "0", why: "", more_is_fine: false };
        assert_eq!(wanted(&exact, Some("1")), "0");
    }

    #[test]
    fn the_table_says_what_differs() {
        let find = |now: Option<&str>, wanted: &str| Finding {
            setting: settings(SYSCTLS).next().unwrap(),
            now: now.map(str::to_owned),
            wanted: wanted.to_owned(),
        };
        let findings = [find(Some("1"), "0"), find(Some("0"), "0"), find(None, "0")];
        let table = table(&findings);
        let states: Vec<_> = table.lines().skip(1).map(|line| line.split_whitespace().next().unwrap()).collect();
        assert_eq!(states, ["differs", "ok", "absent"]);
        let line = summary(&findings).unwrap();
        assert!(
            line.starts_with("1 of 3 cost speed (net.ipv4.tcp_slow_start_after_idle is 1: After a pause"),
            "{line}"
        );
        assert_eq!(summary(&findings[1..]), None);
    }
}
