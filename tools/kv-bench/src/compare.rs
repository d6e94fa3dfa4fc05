//! Measures servers side by side, in rounds that alternate, A B C A B C, so that what drifts on the machine meets all of
//! them alike.

use crate::{
    engine::{self, Session},
    evidence::Evidence,
    options::Comparison,
    plan::Plan,
    progress::Progress,
    report,
    results::comparison::{ServerResult, WorkloadResult},
};

/// Carries out the whole comparison and reports each workload as soon as it is measured; whether all of it went well.
pub fn compare(comparison: &Comparison) -> Result<bool, String> {
    report::check_writable(&[&comparison.outputs.json, &comparison.outputs.html])?;
    let mut progress = Progress::new(comparison.outputs.quiet);
    let mut evidence = Evidence::collect();
    for server in &comparison.servers {
        let version = engine::probe(server, comparison.workloads[0].timeout);
        evidence.add(&server.name, version.map_err(|why| format!("{}: {why}", server.name))?);
    }
    let mut workloads = Vec::new();
    for plan in &comparison.workloads {
        let workload = workload(comparison, plan, &mut progress)?;
        progress.finish();
        report::print_unless_json(&comparison.outputs, || report::table::workload(&workload));
        workloads.push(workload);
    }
    report::comparison(&workloads, &evidence, &comparison.outputs)?;
    let faults = faults(&workloads);
    for fault in &faults {
        eprintln!("kv-bench: not clean: {fault}");
    }
    Ok(faults.is_empty())
}

/// Why the comparison is not clean: each server that went wrong, under which workload, in which way.
fn faults(workloads: &[WorkloadResult]) -> Vec<String> {
    let all = workloads.iter().flat_map(|workload| workload.servers.iter().map(move |server| (workload, server)));
    all.filter_map(|(workload, server)| Some(format!("{}: {}: {}", workload.plan.label, server.name, server.fault()?)))
        .collect()
}

fn workload(comparison: &Comparison, plan: &Plan, progress: &mut Progress) -> Result<WorkloadResult, String> {
    let plans: Vec<Plan> =
        comparison.servers.iter().map(|server| Plan { target: server.clone(), ..plan.clone() }).collect();
    let sessions: Vec<Session> = plans.iter().map(Session::new).collect();
    let mut servers: Vec<ServerResult> =
        comparison.servers.iter().map(|server| ServerResult::new(&server.name)).collect();
    for (session, server) in sessions.iter().zip(&servers).filter(|_| plan.fill) {
        let name = format!("{}: filling {}", plan.label, server.name);
        session.fill(&mut progress.phase(&name, None)).map_err(|why| format!("{}: {why}", server.name))?;
    }
    for round in 1..=comparison.rounds {
        for (session, server) in sessions.iter().zip(&mut servers) {
            let name = format!("{} {round}/{}: {}", plan.label, comparison.rounds, server.name);
            let outcome = session.load(&mut progress.phase(&name, plan.length()));
            server.add(plan, outcome.map_err(|why| format!("{}: {why}", server.name))?);
        }
    }
    Ok(WorkloadResult { plan: plan.clone(), servers })
}
