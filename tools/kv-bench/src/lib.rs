//! kv-bench: loads cache servers and tells what they can do.
//!
//! Imports go only downwards, in the order of the list below (`tests/tidy.rs` checks it): the commands are made of runs;
//! `options` makes a `plan`; the `engine` carries it out, drawing requests from `traffic` and speaking through `protocol`
//! to a `target`; what was measured is plain data in `results`, which `report` shows. Architecture invariant: nothing
//! here knows the code of any server, kv-cache included.

// The commands, which do not know each other.
mod compare;
mod replay;
mod saturate;
mod simulate;
// What they show, and are told.
mod progress;
mod report;
mod options;
// What was measured, and how.
mod results;
mod engine;
mod plan;
// What is asked, of whom, in which language.
mod traffic;
mod target;
mod policy;
mod trace;
mod protocol;
mod tls;
mod cpu;
mod memory;
mod evidence;
mod units;

use engine::Session;
use evidence::Evidence;
use options::Command;
use progress::Progress;
use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    let command = match options::parse(std::env::args()) {
        Ok(command) => command,
        Err((text, 0)) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Err((text, code)) => {
            eprintln!("{text}");
            return ExitCode::from(code);
        }
    };
    let clean = match command {
        Command::Run(run) => single(&run),
        Command::Compare(comparison) => compare::compare(&comparison),
        Command::Saturate(search) => saturate::saturate(&search),
        Command::Replay(options) => replay::replay(&options),
        Command::Simulate(options) => simulate::simulate(&options),
    };
    match clean {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("kv-bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The declaration of all options, for manual pages and completions.
pub fn command() -> clap::Command {
    options::declaration()
}

/// Runs one plan and reports; whether everything went well.
fn single(run: &options::Run) -> Result<bool, String> {
    let plan = &run.plan;
    let (outputs, files) = (&run.outputs, &run.files);
    report::check_writable(&[&outputs.json, &outputs.html, &files.hgrm, &files.csv])?;
    let mut progress = Progress::new(outputs.quiet);
    let mut evidence = Evidence::collect();
    evidence.add(&plan.target.name, engine::probe(&plan.target, plan.timeout)?);
    let session = Session::new(plan);
    if plan.fill {
        session.fill(&mut progress.phase("filling", None))?;
    }
    let outcome = session.load(&mut progress.phase(&plan.label, plan.length()))?;
    progress.finish();
    report::run(plan, &outcome, &evidence, outputs, files)?;
    Ok(outcome.clean())
}
