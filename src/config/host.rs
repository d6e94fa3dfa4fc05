//! What the host is and grants: cores, memory, descriptors, the kernel's settings. Linux's files
//! only; it must not know the server.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// The cores this process may run on.
pub fn allowed_cores() -> Vec<usize> {
    match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect(),
        Err(_) => vec![0],
    }
}

/// How many threads are worth having: affinity and the cgroup's CPU quota, whichever is less.
pub fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Binds the calling thread to a core; a host that forbids it costs some speed, nothing else.
pub fn pin(core: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    nix::sched::sched_setaffinity(Pid::from_raw(0), &set)
}

/// The memory of the host or of the cgroup, whichever is less, and which of them it was.
pub fn granted_memory() -> (u64, &'static str) {
    let host = meminfo_total().unwrap_or(u64::MAX);
    match cgroup_memory() {
        Some(limit) if limit < host => (limit, "cgroup"),
        _ => (host, "host"),
    }
}

fn meminfo_total() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The least limit on the way from our cgroup to the root, in version 2 or 1.
fn cgroup_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().filter_map(|line| cgroup_line_limit(line, Path::new("/sys/fs/cgroup"))).min()
}

/// One line of `/proc/self/cgroup`: `0::/path` (v2) or `7:memory:/path` (v1).
fn cgroup_line_limit(line: &str, root: &Path) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (base, file) = if controllers.is_empty() {
        (root.to_path_buf(), "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        (root.join("memory"), "memory.limit_in_bytes")
    } else {
        return None;
    };
    // Inside a container the path may name a folder that only the host sees: the root of the mount counts too.
    let mut folder = base.join(path.trim_start_matches('/'));
    let mut least: Option<u64> = None;
    loop {
        let limit = fs::read_to_string(folder.join(file)).ok().and_then(|text| text.trim().parse::<u64>().ok());
        least = match (least, limit) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if folder == base || !folder.pop() {
            return least;
        }
    }
}

/// Raises the soft limit on open files to the hard one and returns it.
pub fn raise_open_files() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard),
        Ok((soft, _)) => soft,
        Err(_) => 1024,
    }
}

pub fn locked_memory_limit() -> u64 {
    getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft)
}

/// Address space that this process may take, if somebody limits it.
pub fn address_space_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// Bytes of this process in memory.
pub fn resident_bytes() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/self/statm") else { return 0 };
    let pages = text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * 4096
}

pub fn os_release() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {} {}", kernel.trim(), std::env::consts::ARCH)
}

/// A number from /proc/sys, if this host has it.
pub fn sysctl(name: &str) -> Option<i64> {
    sysctl_text(name)?.parse().ok()
}

/// What stands in /proc/sys, its parts separated by single spaces.
pub fn sysctl_text(name: &str) -> Option<String> {
    let text = fs::read_to_string(sysctl_path(name)).ok()?;
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

pub fn set_sysctl(name: &str, value: &str) -> std::io::Result<()> {
    // Not `fs::write`, which would try to create a file that is not there.
    fs::OpenOptions::new().write(true).open(sysctl_path(name))?.write_all(value.as_bytes())
}

fn sysctl_path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_up_the_cgroup_tree_holds() {
        let root = std::env::temp_dir().join(format!("kv-cache-cgroup-{}", std::process::id()));
        let leaf = root.join("system.slice/kv-cache.service");
        fs::create_dir_all(&leaf).unwrap();
        fs::write(leaf.join("memory.max"), "max\n").unwrap();
        fs::write(root.join("system.slice/memory.max"), "2147483648\n").unwrap();
        assert_eq!(cgroup_line_limit("0::/system.slice/kv-cache.service", &root), Some(2 << 30));
        assert_eq!(cgroup_line_limit("0::/", &root), None);
        fs::create_dir_all(root.join("memory/docker/x")).unwrap();
        fs::write(root.join("memory/docker/x/memory.limit_in_bytes"), "1073741824\n").unwrap();
        assert_eq!(cgroup_line_limit("9:memory:/docker/x", &root), Some(1 << 30));
        assert_eq!(cgroup_line_limit("3:cpu,cpuacct:/docker/x", &root), None);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn this_host_grants_something() {
        assert!(granted_memory().0 > 1 << 20);
        assert!(!allowed_cores().is_empty());
        assert!(parallelism() >= 1);
        assert!(resident_bytes() > 0);
    }
}
