//! CONFIG: the settings that can be read and changed while the server runs, under Redis's names.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::glob;
use crate::command::locks::lock_all;
use crate::command::{Call, Command, Flags, Group, is_word, reply_help};
use crate::config::limits;
use crate::config::units::Size;
use crate::config::{POLICIES, parse_policy, policy_name};
use crate::message::error::{self, Stop};
use crate::observe::stats;
use crate::shared::Shared;
use crate::store::guards::AllShards;
use crate::store::shard::DATABASES;

pub const COMMANDS: &[Command] = &[Command::container("config", Group::Server, CONFIG).doc(
    "2.0.0",
    "",
    "A container for server configuration commands.",
)];

const CONFIG: &[Command] = &[
    row("get", -3, Flags::ADMIN, config_get).doc(
        "2.0.0",
        "parameter [parameter ...]",
        "Returns the effective values of configuration parameters.",
    ),
    row("set", -4, Flags::ADMIN.union(Flags::WHOLE), config_set).doc(
        "2.0.0",
        "parameter value [parameter value ...]",
        "Sets configuration parameters in-flight.",
    ),
    row("resetstat", 2, Flags::ADMIN, config_resetstat).doc("2.0.0", "", "Resets the server's statistics."),
    row("rewrite", 2, Flags::ADMIN, config_rewrite).doc(
        "2.8.0",
        "",
        "Refused: the options of the next start are the command line's, the environment's and --config's.",
    ),
    row("help", 2, Flags::empty(), config_help).doc(
        "5.0.0",
        "",
        "Returns helpful text about the different subcommands.",
    ),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(flags.union(Flags::NO_SCRIPT))
}

/// One CONFIG parameter under Redis's name.
struct Parameter {
    name: &'static str,
    get: fn(&Shared) -> String,
    /// `None` if it cannot change while the server runs.
    set: Option<Setter>,
}

type Setter = fn(&Shared, &mut AllShards, &str) -> Result<(), String>;

static PARAMETERS: &[Parameter] = &[
    changeable("maxmemory", |s| s.settings.max_memory_bytes.load(Relaxed).to_string(), set_maxmemory),
    changeable("maxmemory-policy", |s| policy_name(*s.settings.policy.lock()).to_owned(), set_policy),
    changeable(
        "maxclients",
        |s| s.clients.max.load(Relaxed).to_string(),
        |s, _, text| number(text, 1, s.descriptors).map(|n| s.clients.max.store(n, Relaxed)),
    ),
    changeable(
        "timeout",
        |s| s.settings.timeout_s.load(Relaxed).to_string(),
        |s, _, text| number(text, 0, i32::MAX as u32).map(|n| s.settings.timeout_s.store(n, Relaxed)),
    ),
    changeable(
        "tcp-keepalive",
        |s| s.settings.tcp_keepalive_s.load(Relaxed).to_string(),
        |s, _, text| number(text, 0, 32_767).map(|n| s.settings.tcp_keepalive_s.store(n, Relaxed)),
    ),
    changeable("busy-reply-threshold", busy_reply_threshold, set_busy_reply_threshold),
    changeable("lua-time-limit", busy_reply_threshold, set_busy_reply_threshold),
    changeable(
        "script-undeclared-keys",
        |s| if s.settings.script_lock_all.load(Relaxed) { "lock-all" } else { "refuse" }.to_owned(),
        |s, _, text| match text {
            "lock-all" | "refuse" => {
                s.settings.script_lock_all.store(text == "lock-all", Relaxed);
                Ok(())
            }
            _ => Err("argument must be 'refuse' or 'lock-all'".to_owned()),
        },
    ),
    changeable(
        "requirepass",
        |s| s.settings.password(),
        |s, _, text| {
            s.settings.set_password(text);
            Ok(())
        },
    ),
    changeable(
        "proto-max-bulk-len",
        |s| s.settings.largest_value_bytes.load(Relaxed).to_string(),
        |s, _, text| size(text, 1 << 20, limits::VALUE_MAX_BYTES as u64).map(|n| s.set_max_value(n as usize)),
    ),
    changeable(
        "client-query-buffer-limit",
        |s| s.settings.query_limit_bytes.load(Relaxed).to_string(),
        |s, _, text| {
            size(text, 1 << 20, limits::QUERY_LIMIT_BYTES as u64)
                .map(|n| s.settings.query_limit_bytes.store(n as usize, Relaxed))
        },
    ),
    changeable(
        "slowlog-log-slower-than",
        |s| s.slowlog.slower_than_micros().to_string(),
        |s, _, text| number(text, -1, i64::MAX).map(|micros| s.slowlog.set_slower_than(micros)),
    ),
    changeable(
        "slowlog-max-len",
        |s| s.slowlog.max_len().to_string(),
        |s, _, text| number(text, 0, limits::SLOWLOG_LEN_MAX).map(|entries| s.slowlog.set_max_len(entries)),
    ),
    changeable(
        "latency-monitor-threshold",
        |s| s.latency.threshold_millis().to_string(),
        |s, _, text| number(text, 0, i64::MAX as u64).map(|millis| s.latency.set_threshold(millis)),
    ),
    changeable(
        "latency-tracking",
        |s| yes_no(s.latency.is_tracking()).to_owned(),
        |s, _, text| {
            let on = switch(text)?;
            s.latency.set_tracking(on);
            // What is not up to date is not shown.
            s.stats.iter().flat_map(|core| &core.calls).for_each(|calls| calls.reset_times());
            Ok(())
        },
    ),
    changeable(
        "latency-tracking-info-percentiles",
        |s| s.latency.percentiles().iter().map(f64::to_string).collect::<Vec<_>>().join(" "),
        set_percentiles,
    ),
    changeable(
        "notify-keyspace-events",
        |_| String::new(),
        |_, _, text| match text {
            "" => Ok(()),
            _ => Err("there is no pub/sub to notify".to_owned()),
        },
    ),
    fixed("port", |s| s.tcp_port.to_string()),
    fixed("bind", |s| s.options.bind.iter().map(|address| address.to_string()).collect::<Vec<_>>().join(" ")),
    fixed("unixsocket", Shared::unix_path),
    fixed("unixsocketperm", |s| s.options.unixsocketperm.to_string()),
    fixed("tcp-backlog", |s| s.options.tcp_backlog.to_string()),
    fixed("io-threads", |s| s.cores.to_string()),
    fixed("databases", |_| DATABASES.to_string()),
    fixed("cluster-enabled", |_| "no".to_owned()),
    fixed("enable-debug-command", |s| format!("{:?}", s.options.enable_debug_command).to_lowercase()),
    // Values are always freed outside of the command that removes them.
    fixed("lazyfree-lazy-eviction", |_| "yes".to_owned()),
    fixed("lazyfree-lazy-expire", |_| "yes".to_owned()),
    fixed("lazyfree-lazy-server-del", |_| "yes".to_owned()),
    fixed("lazyfree-lazy-user-del", |_| "yes".to_owned()),
    fixed("lazyfree-lazy-user-flush", |_| "yes".to_owned()),
    fixed("save", |_| String::new()),
    fixed("appendonly", |_| "no".to_owned()),
    fixed("slave-read-only", |_| "yes".to_owned()),
    fixed("replica-read-only", |_| "yes".to_owned()),
];

const fn changeable(name: &'static str, get: fn(&Shared) -> String, set: Setter) -> Parameter {
    Parameter { name, get, set: Some(set) }
}

const fn fixed(name: &'static str, get: fn(&Shared) -> String) -> Parameter {
    Parameter { name, get, set: None }
}

fn number<N: FromStr + PartialOrd + Display>(text: &str, least: N, most: N) -> Result<N, String> {
    match text.parse::<N>() {
        Ok(number) if (&least..=&most).contains(&&number) => Ok(number),
        // Out of the type's range is out of ours.
        Err(_) if text.parse::<i128>().is_err() => Err("argument couldn't be parsed into an integer".to_owned()),
        _ => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}

const fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

fn set_percentiles(shared: &Shared, _: &mut AllShards, text: &str) -> Result<(), String> {
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    let numbers = numbers.map_err(|_| "Invalid latency-tracking-info-percentiles parameters".to_owned())?;
    if !numbers.iter().all(|percent| (0.0..=100.0).contains(percent)) {
        return Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]".to_owned());
    }
    shared.latency.set_percentiles(numbers);
    Ok(())
}

fn set_policy(shared: &Shared, shards: &mut AllShards, text: &str) -> Result<(), String> {
    let policy = parse_policy(text).map_err(|_| {
        let names: Vec<_> = POLICIES.iter().map(|(name, _)| *name).collect();
        format!("argument(s) must be one of the following: {}", names.join(", "))
    })?;
    shared.set_policy(shards, policy);
    Ok(())
}

fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    match text.parse::<Size>() {
        Ok(Size(bytes)) if (least..=most).contains(&bytes) => Ok(bytes),
        Ok(_) => Err(format!("argument must be between {least} and {most} inclusive")),
        Err(_) => Err("argument must be a memory value".to_owned()),
    }
}

fn set_maxmemory(shared: &Shared, shards: &mut AllShards, text: &str) -> Result<(), String> {
    let least = shared.least_memory_bytes() as u64;
    let bytes = size(text, 0, u64::MAX)?;
    if bytes < least {
        return Err(format!(
            "argument must be at least {least}: this cache has no unlimited mode, and buffers need room"
        ));
    }
    if bytes > shared.granted_bytes {
        return Err(format!("argument must be at most {}, which is what the host grants", shared.granted_bytes));
    }
    shared.set_max_memory(shards, bytes as usize);
    Ok(())
}

/// What CONFIG SET does, for whoever else may change a setting; `None` if it cannot change while the server runs.
pub fn configure(shared: &Shared, name: &str, value: &str) -> Option<Result<(), String>> {
    let set = PARAMETERS.iter().find(|parameter| parameter.name == name)?.set?;
    let mut guards = shared.keyspace.guards();
    let shards = guards.lock_all();
    Some(
        shards
            .map_err(|_| "a script runs; try again when it has ended".to_owned())
            .and_then(|mut shards| set(shared, &mut shards, value)),
    )
}

fn config_get(call: &mut Call) -> Result<(), Stop> {
    let wanted = |parameter: &&Parameter| {
        call.args.iter().skip(2).any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), parameter.name.as_bytes()))
    };
    let found: Vec<_> = PARAMETERS.iter().filter(wanted).collect();
    call.reply.map(found.len());
    for parameter in found {
        call.reply.bulk(parameter.name.as_bytes());
        call.reply.bulk((parameter.get)(call.shared).as_bytes());
    }
    Ok(())
}

/// All or nothing: a parameter that is refused puts back those before it.
fn config_set(call: &mut Call) -> Result<(), Stop> {
    if !call.args.len().is_multiple_of(2) {
        return Err(error::SYNTAX.into());
    }
    let names: Vec<_> = call.args.iter().skip(2).step_by(2).collect();
    if let Some(twice) =
        names.iter().enumerate().find(|(at, name)| names[..*at].iter().any(|n| n.eq_ignore_ascii_case(name)))
    {
        let shown = error::echo(twice.1);
        return Err(
            format!("ERR CONFIG SET failed (possibly related to argument '{shown}') - duplicate parameter").into()
        );
    }
    let Call { args, guards, shared, now, .. } = call;
    let mut shards = lock_all(guards, shared, *now)?;
    let mut undo = Vec::new();
    for index in (2..args.len()).step_by(2) {
        let failure = match set_parameter(shared, &mut shards, args.get(index), args.get(index + 1)) {
            Ok(change) => {
                undo.extend(change);
                continue;
            }
            Err(failure) => failure,
        };
        for (set, before) in undo.into_iter().rev() {
            // It was the value a moment ago.
            let _ = set(shared, &mut shards, &before);
        }
        return Err(failure.into());
    }
    drop(shards);
    call.reply.ok();
    Ok(())
}

/// What puts back the value of before, if it has changed. What cannot change may be set to what it is: scripts that switch
/// persistence off need not know that there is none.
fn set_parameter(
    shared: &Shared,
    shards: &mut AllShards,
    name: &[u8],
    value: &[u8],
) -> Result<Option<(Setter, String)>, String> {
    let shown = error::echo(name);
    let Some(parameter) = PARAMETERS.iter().find(|parameter| is_word(name, parameter.name)) else {
        return Err(format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"));
    };
    let before = (parameter.get)(shared);
    let result = match (parameter.set, std::str::from_utf8(value)) {
        (Some(set), Ok(value)) => set(shared, shards, value).map(|()| Some((set, before))),
        (Some(_), Err(_)) => Err("argument is no text".to_owned()),
        (None, Ok(value)) if value == before => Ok(None),
        (None, _) => Err("can't set immutable config".to_owned()),
    };
    result.map_err(|reason| format!("ERR CONFIG SET failed (possibly related to argument '{shown}') - {reason}"))
}

fn busy_reply_threshold(shared: &Shared) -> String {
    shared.settings.busy_reply_threshold_ms.load(Relaxed).to_string()
}

fn set_busy_reply_threshold(shared: &Shared, _: &mut AllShards, text: &str) -> Result<(), String> {
    number(text, 0, i64::MAX as u64).map(|millis| shared.settings.busy_reply_threshold_ms.store(millis, Relaxed))
}

fn config_resetstat(call: &mut Call) -> Result<(), Stop> {
    call.shared.stats.iter().for_each(stats::CoreStats::reset);
    call.shared.scripts.reset_evicted();
    call.reply.ok();
    Ok(())
}

fn config_rewrite(_: &mut Call) -> Result<(), Stop> {
    Err("ERR The server is running without a config file".into())
}

fn config_help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "config", CONFIG);
    Ok(())
}
