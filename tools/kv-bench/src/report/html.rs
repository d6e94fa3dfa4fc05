//! Results as one page that needs nothing else: no script, no font, no image from elsewhere. Knows nothing of files.

use super::{
    bars::{Bar, group},
    chart::{Axis, Bound, Line, between, escaped, legend, linear, lines, logarithmic},
    table,
};
use crate::{
    engine::{Moment, Outcome},
    evidence::Evidence,
    plan::Plan,
    results::{
        comparison::{ServerResult, WorkloadResult},
        replay::{ReplayResult, TraceResult},
        search::{RateSearch, RateStep},
    },
    units::{bytes, grouped, latency, percent, three_digits},
};
use hdrhistogram::Histogram;

pub fn run(plan: &Plan, outcome: &Outcome, evidence: &Evidence) -> String {
    let all = outcome.tally.all();
    let counts = &outcome.tally.counts;
    let trouble = counts.errors + counts.wrong + counts.disconnects + counts.unanswered;
    let at = |quantile| latency(all.value_at_quantile(quantile));
    let tiles = tiles(&[
        (grouped(outcome.requests_per_second().round() as u64), "requests per second"),
        (at(0.5), "p50"),
        (at(0.99), "p99"),
        (at(0.999), "p99.9"),
        (latency(all.max()), "slowest"),
        (grouped(trouble), "errors of any kind"),
    ]);
    let curves = kinds(outcome, &all);
    let mut charts = percentile_curve(&curves);
    charts.push_str(&distribution(&curves[..1]));
    charts.push_str(&throughput_over_time(&outcome.timeline));
    charts.push_str(&latency_over_time(&outcome.timeline));
    let rows = table::run_rows(outcome);
    let body = format!(
        "{}{tiles}<div class=\"charts\">\n{charts}</div>\n{}{}",
        cautions(table::cautions(plan, outcome)),
        html_table(&rows),
        list(&table::notes(plan, outcome))
    );
    page(&table::title(plan), &table::conditions(plan), &body, evidence)
}

pub fn comparison(workloads: &[WorkloadResult], evidence: &Evidence) -> String {
    let sections: Vec<String> = workloads.iter().map(workload).collect();
    let names: Vec<&str> = workloads
        .first()
        .map_or(vec![], |workload| workload.servers.iter().map(|server| server.name.as_str()).collect());
    let rounds = workloads.first().map_or(0, |workload| workload.servers[0].rounds.len());
    let about = format!(
        "{rounds} alternating rounds per workload. Ratios are to {first}: the median of the rounds' ratios, and its spread. \
         Figures are {first}'s median, and for the others that times their ratio.",
        first = names.first().unwrap_or(&"the first")
    );
    page(&names.join(" · "), &about, &sections.concat(), evidence)
}

fn workload(workload: &WorkloadResult) -> String {
    let servers = &workload.servers;
    let first = &servers[0];
    let bars = |title: &str, figure: &dyn Fn(&ServerResult) -> Option<(f64, String)>| {
        let bar = |one: &ServerResult| figure(one).map(|(value, text)| Bar { name: one.name.clone(), value, text });
        let bars: Vec<Bar> = servers.iter().filter_map(bar).collect();
        if bars.is_empty() { String::new() } else { group(title, &bars) }
    };
    let groups = [
        bars("Requests/s (more is better)", &|one| {
            let throughput = one.throughput(first);
            Some((throughput, grouped(throughput.round() as u64)))
        }),
        bars("p99 (less is better)", &|one| {
            let p99 = one.latencies.value_at_quantile(0.99);
            Some((p99 as f64, latency(p99)))
        }),
        bars("CPU/request (less is better)", &|one| {
            let ratio = one.cpu_ratio(first).map_or(String::new(), |ratio| format!(" ({})", ratio.cells()[0]));
            one.cpu_per_request(first).map(|cpu| (cpu, format!("{}{ratio}", table::cpu_time(cpu))))
        }),
    ];
    let curves: Vec<(String, &Histogram<u64>)> = servers.iter().map(|one| (one.name.clone(), &one.latencies)).collect();
    format!(
        "<section><h2>{}</h2>\n<p class=\"about\">{}</p>\n{}<div class=\"groups\">\n{}</div>\n\
         <div class=\"charts\">\n{}</div>\n{}</section>\n",
        escaped(&workload.plan.label),
        escaped(&table::conditions(&workload.plan)),
        cautions(servers.iter().flat_map(ServerResult::remarks)),
        groups.concat(),
        percentile_curve(&curves) + &distribution(&curves),
        html_table(&table::workload_rows(workload)),
    )
}

pub fn search(plan: &Plan, search: &RateSearch, evidence: &Evidence) -> String {
    let mut steps: Vec<_> = search.steps.iter().collect();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let curve = |name: &str, of: &dyn Fn(&RateStep) -> u64| Line {
        name: name.into(),
        points: steps.iter().map(|step| (step.rate, of(step) as f64)).collect(),
        dotted: true,
    };
    let curves = [curve("p50", &|step| step.p50_nanoseconds), curve("p99", &|step| step.p99_nanoseconds)];
    let [lowest, highest] = [steps.first(), steps.last()].map(|step| step.map_or(0.0, |step| step.rate));
    let label = "requests per second";
    // Rates close to each other, or a single one, do not fill the width.
    let lowest = lowest.min(highest * 0.8);
    let x = match highest > lowest * 10.0 {
        true => logarithmic(label, lowest, highest, thousands),
        false => between(label, lowest, highest, thousands),
    };
    let x = Axis { exact: per_second, ..x };
    let bound = search.bound.as_nanos() as f64;
    let bound = Bound { value: bound, text: format!("the bound on p99: {}", mark(bound)) };
    let y = latency_axis("latency", &curves, Some(&bound));
    let chart = figure("Latency by rate", &x, &y, &curves, Some(&bound));
    let answer = search.highest().map_or("none".into(), |rate| grouped(rate as u64));
    let bound = format!("requests per second with p99 within {}", latency(search.bound.as_nanos() as u64));
    let body = format!(
        "{}{}<div class=\"charts\">\n{chart}</div>\n{}",
        cautions(table::search_caution(search)),
        tiles(&[(answer, &bound)]),
        html_table(&table::search_rows(search))
    );
    page(&table::title(plan), &table::conditions(plan), &body, evidence)
}

pub fn replays(traces: &[TraceResult], evidence: &Evidence) -> String {
    let about = "Read-through replays: each key is read, and written with its size when it is not there. The object hit \
                 ratio counts reads, the byte hit ratio weighs each by its size.";
    let sections: String = traces.iter().map(trace).collect();
    page("Hit ratios", about, &sections, evidence)
}

/// One trace: the share that hits by cap, or bars if there is only one cap.
fn trace(trace: &TraceResult) -> String {
    let caps = trace.caps();
    let panel = |title: &str, share: fn(&ReplayResult) -> f64| match (caps.iter().min(), caps.iter().max()) {
        (Some(least), Some(most)) if least < most => hits_by_cap(trace, title, (*least, *most), share),
        _ => {
            let bar = |replay: &ReplayResult| Bar {
                name: replay.server.clone(),
                value: share(replay),
                text: percent(share(replay)),
            };
            group(title, &trace.replays.iter().map(bar).collect::<Vec<_>>())
        }
    };
    format!(
        "<section><h2>{}</h2>\n<p class=\"about\">{}</p>\n{}<div class=\"charts\">\n{}{}</div>\n{}</section>\n",
        escaped(&trace.name),
        escaped(&table::trace_size(trace)),
        cautions(trace.remarks()),
        panel("Object hit ratio", |replay| replay.object_hit_ratio),
        panel("Byte hit ratio", |replay| replay.byte_hit_ratio),
        html_table(&table::trace_rows(trace))
    )
}

fn hits_by_cap(trace: &TraceResult, title: &str, caps: (u64, u64), share: fn(&ReplayResult) -> f64) -> String {
    let curve = |name: &&str| {
        let own = trace.replays.iter().filter(|replay| replay.server == *name);
        let points = own.filter_map(|replay| Some((replay.cap_bytes? as f64, share(replay) * 100.0)));
        Line { name: name.to_string(), points: points.collect(), dotted: true }
    };
    let curves: Vec<Line> = trace.servers().iter().map(curve).collect();
    let marks = trace.caps().into_iter().map(|cap| (cap as f64, bytes(cap))).collect();
    let exact = |cap: f64| bytes(cap as u64);
    let x = Axis { label: "memory", logarithmic: true, from: caps.0 as f64, to: caps.1 as f64, marks, exact };
    let shares = || curves.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (lowest, highest) = (shares().fold(100.0, f64::min), shares().fold(0.0, f64::max));
    let percent = |value: f64| format!("{}%", three_digits(value));
    let y = Axis { exact: percent, ..between("share", lowest, highest, |value| format!("{value}%")) };
    figure(title, &x, &y, &curves, None)
}

/// The curves of a single run: all requests, and each kind if there is more than one.
fn kinds<'a>(outcome: &'a Outcome, all: &'a Histogram<u64>) -> Vec<(String, &'a Histogram<u64>)> {
    let kinds: Vec<_> = outcome.tally.kinds().map(|(name, _, latencies)| (name.to_string(), latencies)).collect();
    if kinds.len() == 1 { kinds } else { std::iter::once(("all".to_string(), all)).chain(kinds).collect() }
}

/// Latency by percentile, drawn over 1/(1-q) so that each further nine takes the same room.
fn percentile_curve(curves: &[(String, &Histogram<u64>)]) -> String {
    let most = curves.iter().map(|(_, latencies)| latencies.len()).max().unwrap_or(0).max(10) as f64;
    let nines = most.log10().floor().clamp(1.0, 5.0);
    let to = 10f64.powf(nines);
    let line = |(name, latencies): &(String, &Histogram<u64>)| {
        // Where fewer requests than 1/(1-q) were made, the curve would only repeat the slowest one.
        let end = (latencies.len().max(2) as f64).min(to).log10();
        let steps = 120;
        let points = (0..=steps).map(|step| {
            let inverse = 10f64.powf(end * f64::from(step) / f64::from(steps));
            (inverse, latencies.value_at_quantile(1.0 - 1.0 / inverse) as f64)
        });
        Line { name: name.clone(), points: points.collect(), dotted: false }
    };
    let curves: Vec<Line> = curves.iter().map(line).collect();
    let marks = ["0%", "90%", "99%", "99.9%", "99.99%", "99.999%"];
    let marks = marks.iter().enumerate().map(|(nine, text)| (10f64.powi(nine as i32), text.to_string()));
    let marks = marks.take(nines as usize + 1).collect();
    let label = "of the requests were at least so fast";
    let x = Axis { label, logarithmic: true, from: 1.0, to, marks, exact: percentile };
    figure("Latency by percentile", &x, &latency_axis("latency", &curves, None), &curves, None)
}

/// How many requests took how long, in logarithmic bins.
fn distribution(curves: &[(String, &Histogram<u64>)]) -> String {
    const BINS: usize = 60;
    let fastest = curves.iter().map(|(_, latencies)| latencies.min()).min().unwrap_or(1).max(1) as f64;
    let slowest = curves.iter().map(|(_, latencies)| latencies.value_at_quantile(0.9999)).max().unwrap_or(1) as f64;
    let width = (slowest.max(fastest * 2.0) / fastest).ln() / BINS as f64;
    let edge = |bin: usize| fastest * (width * bin as f64).exp();
    let line = |(name, latencies): &(String, &Histogram<u64>)| {
        let points = (0..BINS).flat_map(|bin| {
            let (low, high) = (edge(bin), edge(bin + 1));
            let count = latencies.count_between(low as u64, (high as u64).saturating_sub(1));
            let share = count as f64 / latencies.len().max(1) as f64 * 100.0;
            [(low, share), (high, share)]
        });
        Line { name: name.clone(), points: points.collect(), dotted: false }
    };
    let curves: Vec<Line> = curves.iter().map(line).collect();
    let highest = curves.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
    let x = Axis { exact: exact_latency, ..logarithmic("latency", fastest, edge(BINS), mark) };
    let percent = |value: f64| format!("{}%", three_digits(value));
    let y = Axis { exact: percent, ..linear("share", highest, |value| format!("{value}%")) };
    figure("Requests by latency", &x, &y, &curves, None)
}

fn throughput_over_time(moments: &[Moment]) -> String {
    let points: Vec<_> = moments.iter().map(|moment| (moment.at_seconds, moment.requests_per_second)).collect();
    let highest = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let y = Axis { exact: per_second, ..linear("requests per second", highest, thousands) };
    let line = Line { name: "requests".into(), points, dotted: false };
    figure("Requests per second over time", &time_axis(moments), &y, &[line], None)
}

fn latency_over_time(moments: &[Moment]) -> String {
    let line = |name: &str, of: &dyn Fn(&Moment) -> u64| Line {
        name: name.into(),
        points: moments
            .iter()
            .filter(|moment| moment.requests > 0)
            .map(|moment| (moment.at_seconds, of(moment) as f64))
            .collect(),
        dotted: false,
    };
    let curves = [
        line("p50", &|moment| moment.p50_nanoseconds),
        line("p99", &|moment| moment.p99_nanoseconds),
        line("slowest", &|moment| moment.max_nanoseconds),
    ];
    figure("Latency over time", &time_axis(moments), &latency_axis("latency", &curves, None), &curves, None)
}

fn time_axis(moments: &[Moment]) -> Axis {
    let end = moments.last().map_or(1.0, |moment| moment.at_seconds);
    let seconds = |value: f64| format!("{} s", three_digits(value));
    Axis { to: end, exact: seconds, ..linear("seconds", end, |value| format!("{value}")) }.within()
}

/// An axis that holds all the lines and the bound.
fn latency_axis(label: &'static str, curves: &[Line], bound: Option<&Bound>) -> Axis {
    let bound = bound.map(|bound| bound.value);
    let values = || curves.iter().flat_map(|line| &line.points).map(|point| point.1).chain(bound);
    let axis = logarithmic(label, values().fold(f64::MAX, f64::min), values().fold(1.0, f64::max), mark);
    Axis { exact: exact_latency, ..axis }
}

impl Axis {
    /// Without the marks that lie beyond its end.
    fn within(mut self) -> Axis {
        self.marks.retain(|(value, _)| *value <= self.to);
        self
    }
}

/// A latency as a mark on an axis, where all numbers are round.
fn mark(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns >= 1e9 => format!("{} s", ns / 1e9),
        ns if ns >= 1e6 => format!("{} ms", ns / 1e6),
        ns if ns >= 1e3 => format!("{} µs", ns / 1e3),
        ns => format!("{ns} ns"),
    }
}

fn thousands(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", v / 1e6),
        v if v >= 1e3 => format!("{}k", v / 1e3),
        v => format!("{v}"),
    }
}

fn exact_latency(nanoseconds: f64) -> String {
    latency(nanoseconds as u64)
}

fn per_second(rate: f64) -> String {
    format!("{}/s", grouped(rate.round() as u64))
}

/// The percentile that stands at 1/(1-q) on its axis.
fn percentile(inverse: f64) -> String {
    let digits = (inverse.log10().floor() as usize).max(1);
    format!("{:.digits$}%", (1.0 - 1.0 / inverse) * 100.0)
}

fn figure(title: &str, x: &Axis, y: &Axis, curves: &[Line], bound: Option<&Bound>) -> String {
    format!(
        "<figure><figcaption>{}</figcaption>\n{}{}</figure>\n",
        escaped(title),
        legend(curves, bound),
        lines(title, x, y, curves, bound)
    )
}

fn tiles(tiles: &[(String, &str)]) -> String {
    let tile = |(value, name): &(String, &str)| {
        format!("<div class=\"tile\"><b>{}</b><span>{}</span></div>", escaped(value), escaped(name))
    };
    format!("<div class=\"tiles\">{}</div>\n", tiles.iter().map(tile).collect::<String>())
}

fn html_table(rows: &[Vec<String>]) -> String {
    let row = |cells: &[String], tag: &str| {
        let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let Some((head, body)) = rows.split_first() else { return String::new() };
    let body: String = body.iter().map(|cells| row(cells, "td")).collect();
    format!(
        "<p class=\"hint\">The table goes on to the right: scroll it →</p>\n<div class=\"wide\"><table>\n{}{body}</table></div>\n",
        row(head, "th")
    )
}

fn list(sentences: &[String]) -> String {
    if sentences.is_empty() {
        return String::new();
    }
    let items: String = sentences.iter().map(|sentence| format!("<li>{}</li>\n", escaped(sentence))).collect();
    format!("<ul>\n{items}</ul>\n")
}

/// What makes the figures doubtful or wrong stands above them.
fn cautions(sentences: impl IntoIterator<Item = String>) -> String {
    sentences.into_iter().map(|sentence| format!("<p class=\"caution\">{}</p>\n", escaped(&sentence))).collect()
}

fn page(title: &str, about: &str, body: &str, evidence: &Evidence) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<p class=\"about\">{about}</p>\n{body}{}\
         <footer>Latency is counted from when a request was due; percentiles come from HdrHistograms, never from averages.\
         </footer>\n</body>\n</html>\n",
        include_str!("page.css"),
        circumstances(evidence),
        title = escaped(title),
        about = escaped(about),
    )
}

/// When, where and how it was measured.
fn circumstances(evidence: &Evidence) -> String {
    let servers = evidence.servers.iter().map(|server| (server.name.as_str(), server.version.as_str()));
    let row = |(name, value): (&str, &str)| format!("<dt>{}</dt><dd>{}</dd>\n", escaped(name), escaped(value));
    let rows: String = servers.chain(evidence.facts()).map(row).collect();
    let command = escaped(&evidence.command);
    format!(
        "<section><h2>How it was measured</h2>\n<dl>\n{rows}<dt>command</dt><dd><code>{command}</code></dd>\n</dl></section>\n"
    )
}
