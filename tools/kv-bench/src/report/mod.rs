//! Shows results. Each form of report is a file of its own and a pure function of what was measured; only this one
//! writes files.

mod bars;
mod chart;
mod csv;
mod hgrm;
mod html;
mod json;
pub mod table;

use crate::{
    engine::Outcome,
    evidence::Evidence,
    options::{Files, Outputs},
    plan::Plan,
    results::{comparison::WorkloadResult, replay::TraceResult, search::RateSearch},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Reports one run wherever the options want it.
pub fn run(
    plan: &Plan,
    outcome: &Outcome,
    evidence: &Evidence,
    outputs: &Outputs,
    files: &Files,
) -> Result<(), String> {
    print_unless_json(outputs, || table::run(plan, outcome));
    write(outputs.json.as_deref(), || pretty(&json::run(plan, outcome, evidence)))?;
    write(outputs.html.as_deref(), || html::run(plan, outcome, evidence))?;
    write(files.hgrm.as_deref(), || hgrm::distribution(&outcome.tally.all()))?;
    write(files.csv.as_deref(), || csv::timeline(&outcome.timeline))
}

/// Reports a whole comparison; its tables were printed as they came.
pub fn comparison(workloads: &[WorkloadResult], evidence: &Evidence, outputs: &Outputs) -> Result<(), String> {
    write(outputs.json.as_deref(), || pretty(&json::comparison(workloads, evidence)))?;
    write(outputs.html.as_deref(), || html::comparison(workloads, evidence))
}

/// Reports the search for the highest rate.
pub fn search(plan: &Plan, search: &RateSearch, evidence: &Evidence, outputs: &Outputs) -> Result<(), String> {
    print_unless_json(outputs, || table::search(plan, search));
    write(outputs.json.as_deref(), || pretty(&json::search(plan, search, evidence)))?;
    write(outputs.html.as_deref(), || html::search(plan, search, evidence))
}

/// Reports the replays of all traces; their tables were printed as they came.
pub fn replays(traces: &[TraceResult], evidence: &Evidence, outputs: &Outputs) -> Result<(), String> {
    write(outputs.json.as_deref(), || pretty(&json::replays(traces, evidence)))?;
    write(outputs.html.as_deref(), || html::replays(traces, evidence))
}

/// Prints a table, unless standard output belongs to the JSON.
pub fn print_unless_json(outputs: &Outputs, table: impl FnOnce() -> String) {
    if outputs.json.as_deref() != Some(Path::new("-")) {
        println!("{}", table());
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Writes to a file, or to standard output for `-`.
fn write(path: Option<&Path>, content: impl FnOnce() -> String) -> Result<(), String> {
    match path {
        None => Ok(()),
        Some(path) if path == Path::new("-") => {
            print!("{}", content());
            Ok(())
        }
        Some(path) => fs::write(path, content()).map_err(|why| format!("cannot write {}: {why}", path.display())),
    }
}

/// Finds out before a run that a file cannot be written, not after it.
pub fn check_writable(paths: &[&Option<PathBuf>]) -> Result<(), String> {
    for path in paths.iter().filter_map(|path| path.as_deref()).filter(|path| *path != Path::new("-")) {
        let opened = fs::OpenOptions::new().append(true).create(true).open(path);
        opened.map_err(|why| format!("cannot write {}: {why}", path.display()))?;
    }
    Ok(())
}
