//! A run, fully decided: what to load, how, for how long. Made by the options, carried out by the engine.

use crate::{target::Target, traffic::Traffic};
use clap::ValueEnum;
use std::time::Duration;

/// How the gaps between due times are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arrivals {
    /// All gaps are equal.
    Fixed,
    /// Requests come independently of each other, as from many users.
    Poisson,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Each connection sends its next batch when the last one is answered.
    Closed,
    /// So many requests per second, over all connections, whatever the server does.
    Open { rate: f64, arrivals: Arrivals },
}

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Time(Duration),
    Requests(u64),
}

#[derive(Clone, Debug)]
pub struct Plan {
    /// The workload's name as it was given.
    pub label: String,
    pub target: Target,
    pub traffic: Traffic,
    pub connections: usize,
    pub threads: usize,
    /// Requests under way per connection, at most.
    pub pipeline: usize,
    pub pace: Pace,
    pub extent: Extent,
    pub warmup: Duration,
    /// Write all keys once before the warm-up.
    pub fill: bool,
    /// Check every reply.
    pub verify: bool,
    pub seed: u64,
    /// The longest wait for a connection or a reply.
    pub timeout: Duration,
}

impl Plan {
    /// How long the counted part lasts, if time ends it.
    pub fn length(&self) -> Option<Duration> {
        match self.extent {
            Extent::Time(duration) => Some(duration),
            Extent::Requests(_) => None,
        }
    }
}
