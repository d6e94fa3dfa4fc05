//! What caches made of traces.

use crate::{engine::Hits, trace::Trace};

/// One trace over all servers and caps.
pub struct TraceResult {
    pub name: String,
    pub requests: u64,
    pub keys: u64,
    /// The bytes of all keys and their first values.
    pub footprint_bytes: u64,
    pub replays: Vec<ReplayResult>,
}

/// One server's replay with one cap.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ReplayResult {
    pub server: String,
    /// Which of the caps this belongs to, in bytes; `None` if the server keeps its own.
    pub cap_bytes: Option<u64>,
    /// What the server was told to use, in bytes: the cap, or what made resident memory equal.
    pub maxmemory_bytes: Option<u64>,
    #[serde(flatten)]
    pub hits: Hits,
    pub object_hit_ratio: f64,
    pub byte_hit_ratio: f64,
    /// At the end.
    pub items: u64,
    pub resident_bytes: Option<u64>,
    /// The most there was meanwhile.
    pub peak_bytes: Option<u64>,
    pub seconds: f64,
    /// What makes the figures doubtful.
    pub caution: Option<String>,
}

impl TraceResult {
    /// A trace of which nothing was replayed yet.
    pub fn of(trace: &Trace) -> TraceResult {
        TraceResult {
            name: trace.name.clone(),
            requests: trace.requests.len() as u64,
            keys: trace.keys() as u64,
            footprint_bytes: trace.footprint_bytes(),
            replays: vec![],
        }
    }

    /// The caps, in their order.
    pub fn caps(&self) -> Vec<u64> {
        let mut caps: Vec<u64> = self.replays.iter().filter_map(|replay| replay.cap_bytes).collect();
        caps.dedup();
        caps
    }

    /// The names of the servers, in their order.
    pub fn servers(&self) -> Vec<&str> {
        let mut names: Vec<&str> = vec![];
        for replay in &self.replays {
            if !names.contains(&replay.server.as_str()) {
                names.push(&replay.server);
            }
        }
        names
    }

    /// The means of a server's object and byte hit ratios over all caps, 0 to 1; `None` if it was not replayed.
    pub fn mean_ratios(&self, server: &str) -> Option<[f64; 2]> {
        let own: Vec<&ReplayResult> = self.replays.iter().filter(|replay| replay.server == server).collect();
        let mean = |ratio: fn(&ReplayResult) -> f64| own.iter().map(|one| ratio(one)).sum::<f64>() / own.len() as f64;
        (!own.is_empty()).then(|| [mean(|one| one.object_hit_ratio), mean(|one| one.byte_hit_ratio)])
    }

    /// What there is to be said beside the figures, a sentence each.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.replays.iter().flat_map(|replay| {
            let refused = (replay.hits.refused > 0).then(|| {
                let words = replay.hits.first_refusal.as_deref().unwrap_or_default();
                format!("{}: {} writes were refused ({words})", replay.server, replay.hits.refused)
            });
            let caution = replay.caution.as_ref().map(|words| format!("{}: {words}", replay.server));
            refused.into_iter().chain(caution)
        })
    }
}
