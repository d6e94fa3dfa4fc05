//! CPU time of processes and threads, from the kernel's scheduler statistics. Knows nothing of load.

use std::{fs, io};

/// CPU time that a process has used, in nanoseconds, summed over its living threads.
///
/// `schedstat` counts nanoseconds where `stat` counts ticks of 10 ms, so that rounds of a second can be compared.
pub fn of_process(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and the reading.
        total += fs::read_to_string(task?.path().join("schedstat")).map_or(0, |text| field(&text, 0));
    }
    Ok(total)
}

/// What the scheduler gave the calling thread so far, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub running: u64,
    /// Ready to run, but another had the core.
    pub waiting: u64,
}

impl Share {
    pub fn of_this_thread() -> Share {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Share { running: field(&text, 0), waiting: field(&text, 1) }
    }

    pub fn since(self, earlier: Share) -> Share {
        Share { running: self.running - earlier.running, waiting: self.waiting - earlier.waiting }
    }
}

fn field(schedstat: &str, index: usize) -> u64 {
    schedstat.split_whitespace().nth(index).and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_is_read_by_field() {
        assert_eq!(field("123 45 6\n", 0), 123);
        assert_eq!(field("123 45 6\n", 1), 45);
        assert_eq!(field("", 0), 0);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(of_process(u32::MAX).is_err());
        assert!(of_process(std::process::id()).is_ok());
    }
}
