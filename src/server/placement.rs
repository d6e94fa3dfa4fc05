//! How many threads there are, and which core each is bound to, with the reason. A pure function of the options and of
//! what the host grants.

use crate::config::pin::{Pin, list};
use crate::config::{Options, StartError, host, limits};

/// What the host lets this process have.
pub struct Grant {
    /// The cores of its affinity.
    pub cores: Vec<usize>,
    /// Whole cores' worth of time by the affinity and the cgroup's quota.
    pub parallelism: usize,
}

impl Grant {
    pub fn of_host() -> Grant {
        Grant { cores: host::allowed_cores(), parallelism: host::parallelism() }
    }
}

/// Where the threads run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub threads: usize,
    /// One core for each thread; empty when the scheduler places them.
    pub cores: Vec<usize>,
    /// Why, for the banner.
    pub reason: String,
}

impl Placement {
    /// # Errors
    /// `--pin` names cores that this process may not use, or fewer than there are threads.
    pub fn decide(options: &Options, grant: &Grant) -> Result<Placement, StartError> {
        let available = grant.cores.len();
        let given = options.threads.map(usize::from);
        if let Pin::Cores(wanted) = &options.pin {
            return to_these(wanted, given, &grant.cores);
        }
        let threads = given.unwrap_or(grant.parallelism.min(limits::THREADS_MAX));
        let unpinned =
            |why: String| Ok(Placement { threads, cores: Vec::new(), reason: format!("{threads}, not pinned: {why}") });
        if options.pin == Pin::Off {
            return unpinned("--pin off".to_owned());
        }
        if threads > available {
            return unpinned(format!("there are {}", count(available)));
        }
        if grant.parallelism < available {
            // Whoever has the rest of the time would be given the same cores.
            return unpinned(format!("the cgroup grants {} of {}", grant.parallelism, count(available)));
        }
        if threads < available {
            return unpinned(format!(
                "there are {}, and another process may use the rest; see --pin",
                count(available)
            ));
        }
        let cores = grant.cores.clone();
        Ok(Placement { threads, reason: format!("{threads}, pinned to {}", list(&cores)), cores })
    }
}

fn to_these(wanted: &[usize], given: Option<usize>, allowed: &[usize]) -> Result<Placement, StartError> {
    if let Some(core) = wanted.iter().find(|core| !allowed.contains(core)) {
        let message = format!("--pin names core {core}, and this process may run on {}", list(allowed));
        return Err(StartError::option(message));
    }
    let threads = given.unwrap_or(wanted.len().min(limits::THREADS_MAX));
    if threads > wanted.len() {
        let message = format!("--threads {threads} are more than --pin has cores: {}", list(wanted));
        return Err(StartError::option(message));
    }
    let cores = wanted[..threads].to_vec();
    Ok(Placement { threads, reason: format!("{threads}, pinned to {} by --pin", list(&cores)), cores })
}

fn count(cores: usize) -> String {
    format!("{cores} core{}", if cores == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn decide(flags: &str, cores: &[usize], parallelism: usize) -> Result<(usize, Vec<usize>, String), String> {
        let options = Options::parse_from(std::iter::once("kv-cache").chain(flags.split_whitespace()));
        let grant = Grant { cores: cores.to_vec(), parallelism };
        let placed = Placement::decide(&options, &grant).map_err(|error| error.message)?;
        Ok((placed.threads, placed.cores, placed.reason))
    }

    #[test]
    fn threads_are_pinned_where_each_has_a_core_for_itself() {
        // Flags, what the host grants, then threads, their cores, and how the reason begins.
        type Case<'c> = (&'c str, &'c [usize], usize, usize, &'c [usize], &'c str);
        let cases: [Case; 8] = [
            ("", &[0, 1], 2, 2, &[0, 1], "2, pinned to 0,1"),
            ("", &[3], 1, 1, &[3], "1, pinned to 3"),
            // Two servers in cgroups of one CPU each must not meet on core 0.
            ("", &[0, 1], 1, 1, &[], "1, not pinned: the cgroup grants 1 of 2 cores"),
            ("--threads 2", &[0, 1], 1, 2, &[], "2, not pinned: the cgroup grants 1 of 2 cores"),
            ("--threads 64", &[0, 1], 2, 64, &[], "64, not pinned: there are 2 cores"),
            ("--threads 1", &[0, 1], 2, 1, &[], "1, not pinned: there are 2 cores, and another process may use"),
            ("--pin off", &[0, 1], 2, 2, &[], "2, not pinned: --pin off"),
            ("--pin 1,0", &[0, 1], 1, 2, &[1, 0], "2, pinned to 1,0 by --pin"),
        ];
        for (flags, cores, parallelism, threads, pinned, reason) in cases {
            let got = decide(flags, cores, parallelism).unwrap();
            assert_eq!((got.0, got.1.as_slice()), (threads, pinned), "{flags} on {cores:?}");
            assert!(got.2.starts_with(reason), "{flags} on {cores:?}: {}", got.2);
        }
        assert_eq!(decide("--pin 0-1 --threads 1", &[0, 1], 2).unwrap().1, [0]);
    }

    #[test]
    fn cores_that_are_not_ours_are_refused() {
        assert_eq!(decide("--pin 0,7", &[0, 1], 2), Err("--pin names core 7, and this process may run on 0,1".into()));
        let few = "--threads 3 are more than --pin has cores: 0,1";
        assert_eq!(decide("--pin 0,1 --threads 3", &[0, 1], 2), Err(few.into()));
    }
}
