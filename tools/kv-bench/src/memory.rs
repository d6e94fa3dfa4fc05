//! Resident memory of processes, as the kernel counts it. Knows nothing of load.

use std::fs;

/// What a process has in memory now, in bytes; `None` if there is no such process.
pub fn resident(pid: u32) -> Option<u64> {
    field(&status(pid)?, "VmRSS:")
}

/// The most that it had since the last `reset_peak`, in bytes.
pub fn peak(pid: u32) -> Option<u64> {
    field(&status(pid)?, "VmHWM:")
}

/// Begins a new peak (proc(5): `5` into `clear_refs`); whether the kernel allowed it.
pub fn reset_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

fn status(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/status")).ok()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_by_field() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\n";
        assert_eq!((field(status, "VmHWM:"), field(status, "VmRSS:")), (Some(2 << 20), Some(1 << 20)));
        assert_eq!(field("Name:\tx\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_has_memory_and_one_that_is_not_there_has_none() {
        let own = std::process::id();
        // Not compared: other tests' threads take memory and give it back between the two readings.
        assert!(resident(own) > Some(0) && peak(own) > Some(0));
        assert_eq!(resident(u32::MAX), None);
    }
}
