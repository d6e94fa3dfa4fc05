//! LATENCY: when commands were slow, and how the times of each are spread.

use crate::command::{Call, Command, Flags, Group, Table, reply_help};
use crate::message::error::{self, Stop};
use crate::observe::latency::Event;
use crate::observe::stats;

pub const COMMANDS: &[Command] = &[Command::container("latency", Group::Server, LATENCY).doc(
    "2.8.13",
    "",
    "A container for latency diagnostics commands.",
)];

const LATENCY: &[Command] = &[
    row("latest", 2, latest).doc("2.8.13", "", "Returns the latest latency samples for all events."),
    row("history", 3, history).doc("2.8.13", "event", "Returns timestamp-latency samples for an event."),
    row("reset", -2, reset).doc("2.8.13", "[event [event ...]]", "Resets the latency data for one or more events."),
    row("graph", 3, graph).doc("2.8.13", "event", "Draws the latency samples of an event."),
    row("doctor", 2, doctor).doc("2.8.13", "", "Returns a human-readable latency analysis report."),
    row("histogram", -2, histogram).doc(
        "7.0.0",
        "[command [command ...]]",
        "Returns the cumulative distribution of latencies of a subset or all commands.",
    ),
    row("help", 2, help).flags(Flags::empty()).doc(
        "2.8.13",
        "",
        "Returns helpful text about the different subcommands.",
    ),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(Flags::ADMIN.union(Flags::NO_SCRIPT))
}

fn latest(call: &mut Call) -> Result<(), Stop> {
    let events = call.shared.latency.events();
    call.reply.array(events.len());
    for (name, Event { samples, worst }) in events {
        let (second, millis) = samples.back().expect("an event has a sample");
        call.reply.array(4);
        call.reply.bulk(name.as_bytes());
        [*second, *millis, worst].iter().for_each(|number| call.reply.integer(*number as i64));
    }
    Ok(())
}

fn event(call: &Call) -> Option<(&'static str, Event)> {
    let wanted = call.arg(2);
    call.shared.latency.events().into_iter().find(|(name, _)| crate::command::is_word(wanted, name))
}

fn history(call: &mut Call) -> Result<(), Stop> {
    let samples = event(call).map_or_else(Default::default, |(_, event)| event.samples);
    call.reply.array(samples.len());
    for (second, millis) in samples {
        call.reply.array(2);
        call.reply.integer(second as i64);
        call.reply.integer(millis as i64);
    }
    Ok(())
}

fn reset(call: &mut Call) -> Result<(), Stop> {
    let latency = &call.shared.latency;
    let count = match call.args.len() {
        2 => latency.reset(None),
        _ => call.args.iter().skip(2).map(|name| latency.reset(Some(name))).sum(),
    };
    call.reply.integer(count as i64);
    Ok(())
}

/// Rows of the drawing.
const HEIGHT: u64 = 4;

fn graph(call: &mut Call) -> Result<(), Stop> {
    let Some((name, Event { samples, worst })) = event(call) else {
        return Err(format!("ERR No samples available for event '{}'", error::echo(call.arg(2))).into());
    };
    let (high, low) = samples.iter().fold((0, u64::MAX), |(high, low), (_, ms)| (high.max(*ms), low.min(*ms)));
    let mut text = format!("{name} - high {high} ms, low {low} ms (all time high {worst} ms)\n{}\n", "-".repeat(80));
    for line in (1..=HEIGHT).rev() {
        for (_, millis) in samples.iter().rev().take(80).rev() {
            let height = 1 + (millis - low) * (HEIGHT - 1) / (high - low).max(1);
            text.push(match height.cmp(&line) {
                std::cmp::Ordering::Less => ' ',
                std::cmp::Ordering::Equal => '#',
                std::cmp::Ordering::Greater => '|',
            });
        }
        text.push('\n');
    }
    let (first, last) = (samples.front().expect("it has a sample").0, samples.back().expect("it has a sample").0);
    let ago = |second: u64| (call.now / 1000).saturating_sub(second);
    text.push_str(&format!(
        "from {} to {} seconds ago, one column for each second with a sample\n",
        ago(first),
        ago(last)
    ));
    call.reply.text(&text);
    Ok(())
}

fn doctor(call: &mut Call) -> Result<(), Stop> {
    let latency = &call.shared.latency;
    let mut text = String::new();
    if latency.threshold_millis() == 0 {
        text.push_str(
            "Latency monitoring is off: CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n\
             INFO latencystats and LATENCY HISTOGRAM tell how the times of commands are spread.\n",
        );
    }
    let events = latency.events();
    if events.is_empty() && text.is_empty() {
        text.push_str("No command has taken longer than the threshold.\n");
    }
    for (name, Event { samples, worst }) in events {
        let mean = samples.iter().map(|(_, millis)| millis).sum::<u64>() / samples.len().max(1) as u64;
        text.push_str(&format!(
            "{name}: slow in {} of the seconds observed; {mean} ms on the mean of these, {worst} ms at worst.\n",
            samples.len()
        ));
        text.push_str(match name {
            "command" => "  SLOWLOG GET names the commands; what visits many keys at once takes its time.\n",
            _ => "  Quick commands wait only when the core does: look for stolen time, swapping, other processes.\n",
        });
    }
    call.reply.text(&text);
    Ok(())
}

fn histogram(call: &mut Call) -> Result<(), Stop> {
    let table = Table::get();
    let asked = |name: &str| {
        let container = name.split('|').next().unwrap_or_default();
        call.args.len() == 2
            || call
                .args
                .iter()
                .skip(2)
                .any(|word| crate::command::is_word(word, name) || crate::command::is_word(word, container))
    };
    let names = table.names().iter().enumerate().filter(|(_, name)| asked(name));
    let found: Vec<_> = names
        .map(|(place, name)| (name, stats::times(&call.shared.stats, place)))
        .filter(|(_, times)| times.count() > 0)
        .collect();
    let reply = &mut *call.reply;
    reply.map(found.len());
    for (name, times) in found {
        reply.bulk(name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(times.count() as i64);
        reply.bulk(b"histogram_usec");
        let doublings = times.doublings();
        reply.map(doublings.len());
        for (micros, below) in doublings {
            reply.integer(micros as i64);
            reply.integer(below as i64);
        }
    }
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "latency", LATENCY);
    Ok(())
}
