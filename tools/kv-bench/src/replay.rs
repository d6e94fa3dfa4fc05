//! Replays traces against caches and tells what they hit: with one cap after the other, or with caps that make servers
//! comparable because they have equally much resident.

use crate::{
    engine::{self, Hits},
    evidence::Evidence,
    memory,
    options::Replay,
    progress::Progress,
    report,
    results::replay::{ReplayResult, TraceResult},
    target::Target,
    trace::Trace,
    traffic::values::Pool,
    units,
};
use std::time::Instant;

/// Resident memory is equal when it differs by no more than this share.
const EQUAL: f64 = 0.02;
/// So often a server is replayed at most to find the cap that makes it so.
const TRIES: usize = 10;
/// Where what is resident does not depend on the cap, the next one is so much larger or smaller.
const FLAT_STEP: f64 = 1.2;
/// No server is told to use less.
const LEAST_CAP_BYTES: f64 = (1 << 20) as f64;
/// The search begins with this share of the cap: memcached never gives back what it once took, so from below.
const BEGINNING: f64 = 0.6;

/// Replays everything and reports each trace as soon as it is done; whether all of it went well.
pub fn replay(options: &Replay) -> Result<bool, String> {
    report::check_writable(&[&options.outputs.json, &options.outputs.html])?;
    let mut progress = Progress::new(options.outputs.quiet);
    let mut evidence = Evidence::collect();
    for server in &options.servers {
        let version = engine::probe(server, options.timeout);
        evidence.add(&server.name, version.map_err(|why| format!("{}: {why}", server.name))?);
    }
    let mut results = vec![];
    for path in &options.traces {
        let trace = Trace::read(path, options.format, options.requests)?;
        let result = over_caps(options, &trace, &mut progress)?;
        progress.finish();
        report::print_unless_json(&options.outputs, || report::table::trace(&result));
        results.push(result);
    }
    report::replays(&results, &evidence, &options.outputs)?;
    let all = results.iter().flat_map(|result| result.replays.iter().map(move |replay| (result, replay)));
    let mut clean = true;
    for (result, replay) in all {
        if let Some(words) = &replay.caution {
            eprintln!("kv-bench: not clean: {}: {}: {words}", result.name, replay.server);
            clean = false;
        }
    }
    Ok(clean)
}

fn over_caps(options: &Replay, trace: &Trace, progress: &mut Progress) -> Result<TraceResult, String> {
    let mut arena = Arena { options, trace, pool: Pool::new(trace.largest() as usize, 1), progress };
    let caps: Vec<Option<u64>> = match options.caps[..] {
        [] => vec![None],
        _ => options.caps.iter().copied().map(Some).collect(),
    };
    let mut replays: Vec<ReplayResult> = vec![];
    for cap in caps {
        let mut mark = None;
        for server in &options.servers {
            let named = |why: String| format!("{}: {why}", server.name);
            let result = match (mark, cap) {
                (Some(mark), Some(cap)) => arena.equal(server, cap, mark).map_err(named)?,
                _ => arena.replay(server, cap, cap).map_err(named)?,
            };
            mark = mark.or(result.resident_bytes.filter(|_| options.equal_rss));
            replays.push(result);
        }
    }
    Ok(TraceResult { replays, ..TraceResult::of(trace) })
}

/// What all replays of a trace share.
struct Arena<'a> {
    options: &'a Replay,
    trace: &'a Trace,
    pool: Pool,
    progress: &'a mut Progress,
}

impl Arena<'_> {
    /// One replay, for the row of `cap`, with what the server may use.
    fn replay(&mut self, server: &Target, cap: Option<u64>, maxmemory: Option<u64>) -> Result<ReplayResult, String> {
        let Replay { connections, pipeline, timeout, .. } = *self.options;
        let mut replay = engine::Replay::open(self.trace, server, &self.pool, connections, pipeline, timeout)?;
        replay.prepare(maxmemory)?;
        let bound = maxmemory.map_or(String::new(), |bytes| format!(", {}", units::bytes(bytes)));
        let name = format!("{}: {}{bound}", self.trace.name, server.name);
        let mut shown = self.progress.count(&name, self.trace.requests.len() as u64);
        let start = Instant::now();
        let (hits, peak_bytes) = replay.run(&mut |hits: &Hits| {
            shown(hits.requests, &format!("{} of the reads hit", units::percent(hits.object_ratio())));
        })?;
        Ok(ReplayResult {
            server: server.name.clone(),
            cap_bytes: cap,
            maxmemory_bytes: maxmemory,
            object_hit_ratio: hits.object_ratio(),
            byte_hit_ratio: hits.byte_ratio(),
            hits,
            seconds: start.elapsed().as_secs_f64(),
            resident_bytes: server.pid.and_then(memory::resident),
            peak_bytes,
            items: replay.items()?,
            caution: None,
        })
    }

    /// The replay with which the server ends up with `mark` bytes resident, as nearly as it can be found.
    fn equal(&mut self, server: &Target, cap: u64, mark: u64) -> Result<ReplayResult, String> {
        let mut search = EqualSearch::new(cap as f64, mark as f64);
        let mut nearest: Option<(f64, ReplayResult)> = None;
        while let Some(maxmemory) = search.next() {
            let result = match self.replay(server, Some(cap), Some(maxmemory as u64)) {
                Ok(result) => result,
                // A cap that it does not take ends the search, once there is something to show.
                Err(why) if nearest.is_none() => return Err(why),
                Err(_) => break,
            };
            let resident = result.resident_bytes.ok_or("its process has ended")? as f64;
            search.add(maxmemory, resident);
            let off = (resident / mark as f64 - 1.0).abs();
            if nearest.as_ref().is_none_or(|(least, _)| off < *least) {
                nearest = Some((off, result));
            }
        }
        let (off, mut result) = nearest.ok_or("nothing was replayed")?;
        result.caution = (off > EQUAL).then(|| {
            let has = units::bytes(result.resident_bytes.unwrap_or(0));
            format!("CAUTION: no cap made it have {} resident; nearest were {has}", units::bytes(mark))
        });
        Ok(result)
    }
}

/// Finds the cap with which something ends up at a mark: each next one on the line through the last two points.
struct EqualSearch {
    mark: f64,
    cap: f64,
    /// Caps and where they ended up.
    points: Vec<(f64, f64)>,
}

impl EqualSearch {
    fn new(cap: f64, mark: f64) -> EqualSearch {
        EqualSearch { mark, cap, points: vec![] }
    }

    fn add(&mut self, cap: f64, resident: f64) {
        self.points.push((cap, resident));
    }

    /// The next cap to try; `None` when the mark is met, cannot be, or was missed often enough.
    fn next(&self) -> Option<f64> {
        let Some((cap, resident)) = self.points.last().copied() else { return Some((self.cap * BEGINNING).round()) };
        if (resident / self.mark - 1.0).abs() <= EQUAL || self.points.len() == TRIES {
            return None;
        }
        // From below, and a little short of the mark: what overshoots it may not come back.
        let aim = self.mark * (1.0 - EQUAL / 2.0);
        let next = match self.points.iter().rev().nth(1) {
            // Nothing is known yet of what a byte of the cap makes resident: not quite the difference is a safe step.
            None => cap + (aim - resident) * 0.75,
            // It does not depend on the cap: all there is fits, what is there is not given back, or the cap is below what
            // the server takes anyway.
            Some((_, had)) if (resident - had).abs() < self.mark * 0.001 => {
                let next = if resident < self.mark { cap * FLAT_STEP } else { cap / FLAT_STEP };
                return Some(next.round()).filter(|next| *next >= LEAST_CAP_BYTES);
            }
            Some((before, had)) => cap + (aim - resident) * (cap - before) / (resident - had),
        };
        let next = next.clamp((cap / 4.0).max(LEAST_CAP_BYTES), cap * 4.0).round();
        (next != cap).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches against a server that has so much resident at a cap.
    fn search(cap: f64, mark: f64, resident: impl Fn(f64) -> f64) -> (usize, f64) {
        let mut search = EqualSearch::new(cap, mark);
        while let Some(cap) = search.next() {
            search.add(cap, resident(cap));
        }
        (search.points.len(), search.points.last().unwrap().1 / mark)
    }

    #[test]
    fn the_mark_is_met_in_few_tries() {
        let mib = f64::from(1 << 20);
        for (base, slope) in [(4.0, 1.1), (20.0, 0.9), (2.0, 1.6), (30.0, 1.0)] {
            for mark in [40.0, 80.0, 300.0] {
                let (tries, ratio) = search(32.0 * mib, mark * mib, |cap| base * mib + slope * cap);
                assert!((ratio - 1.0).abs() <= EQUAL && tries <= 5, "{base} {slope} {mark}: {tries} tries, {ratio}");
            }
        }
    }

    #[test]
    fn a_mark_that_cannot_be_met_ends_the_search() {
        let mib = f64::from(1 << 20);
        let (tries, _) = search(32.0 * mib, 100.0 * mib, |_| 50.0 * mib);
        assert!(tries <= TRIES, "{tries}");
        let (tries, _) = search(32.0 * mib, 10.0 * mib, |cap| 20.0 * mib + cap);
        assert!(tries <= TRIES, "{tries}");
    }
}
