//! CONFIG: the settings that can be read and changed while the server runs, under Redis's names.

mod tls;

use std::sync::atomic::Ordering::Relaxed;

use super::values::{
    log_len, number, redis_level, set_lfu, set_log_file, set_log_format, set_log_len, set_log_level, set_percentiles,
    set_threshold, size, switch, threshold, yes_no,
};
use crate::base::glob;
use crate::command::locks::lock_all;
use crate::command::{Call, Command, Flags, Group, is_word, reply_help};
use crate::config::limits;
use crate::config::rewrite::rewrite;
use crate::config::units::Size;
use crate::config::{ClusterMode, Origin, POLICIES, YesNo, parse_policy, policy_name};
use crate::message::error::{self, Stop};
use crate::observe::{log, stats};
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
    row("set", -4, Flags::ADMIN.union(Flags::WHOLE), config_set)
        .doc("2.0.0", "parameter value [parameter value ...]", "Sets configuration parameters in-flight.")
        // Names stand at even places, values behind them.
        .secret(|args, at| at > 2 && at % 2 == 1 && is_word(args.get(at - 1), "requirepass")),
    row("resetstat", 2, Flags::ADMIN.union(Flags::WHOLE), config_resetstat).doc(
        "2.0.0",
        "",
        "Resets the server's statistics.",
    ),
    row("rewrite", 2, Flags::ADMIN, config_rewrite).doc(
        "2.8.0",
        "",
        "Writes what CONFIG SET has changed into the file of --config.",
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
    changeable("hot-cache", |s| s.settings.hot.lock().to_string(), set_hot),
    changeable("maxmemory-policy", |s| policy_name(*s.settings.policy.lock()).to_owned(), set_policy),
    changeable(
        "lfu-log-factor",
        |s| s.settings.lfu.lock().log_factor.to_string(),
        |s, shards, text| set_lfu(s, shards, text, |rules, number| rules.log_factor = number),
    ),
    changeable(
        "lfu-decay-time",
        |s| s.settings.lfu.lock().decay_minutes.to_string(),
        |s, shards, text| set_lfu(s, shards, text, |rules, number| rules.decay_minutes = number),
    ),
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
        |s| threshold(&s.command_logs.slow),
        |s, _, text| set_threshold(&s.command_logs.slow, text),
    ),
    changeable(
        "slowlog-max-len",
        |s| log_len(&s.command_logs.slow),
        |s, _, text| set_log_len(&s.command_logs.slow, text),
    ),
    // Valkey's names, for all three logs.
    changeable(
        "commandlog-execution-slower-than",
        |s| threshold(&s.command_logs.slow),
        |s, _, text| set_threshold(&s.command_logs.slow, text),
    ),
    changeable(
        "commandlog-slow-execution-max-len",
        |s| log_len(&s.command_logs.slow),
        |s, _, text| set_log_len(&s.command_logs.slow, text),
    ),
    changeable(
        "commandlog-request-larger-than",
        |s| threshold(&s.command_logs.large_requests),
        |s, _, text| set_threshold(&s.command_logs.large_requests, text),
    ),
    changeable(
        "commandlog-large-request-max-len",
        |s| log_len(&s.command_logs.large_requests),
        |s, _, text| set_log_len(&s.command_logs.large_requests, text),
    ),
    changeable(
        "commandlog-reply-larger-than",
        |s| threshold(&s.command_logs.large_replies),
        |s, _, text| set_threshold(&s.command_logs.large_replies, text),
    ),
    changeable(
        "commandlog-large-reply-max-len",
        |s| log_len(&s.command_logs.large_replies),
        |s, _, text| set_log_len(&s.command_logs.large_replies, text),
    ),
    changeable(
        "slowlog-entry-max-argc",
        |s| s.command_logs.max_arguments.load(Relaxed).to_string(),
        |s, _, text| {
            number(text, 2, limits::COMMANDLOG_ARGUMENTS_MAX).map(|n| s.command_logs.max_arguments.store(n, Relaxed))
        },
    ),
    changeable(
        "slowlog-entry-max-string-len",
        |s| s.command_logs.max_argument_bytes.load(Relaxed).to_string(),
        |s, _, text| {
            number(text, 1, limits::COMMANDLOG_ARGUMENT_MAX_BYTES)
                .map(|n| s.command_logs.max_argument_bytes.store(n, Relaxed))
        },
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
    changeable(
        "protected-mode",
        |s| yes_no(s.settings.protected_mode.load(Relaxed)).to_owned(),
        |s, _, text| switch(text).map(|on| s.settings.protected_mode.store(on, Relaxed)),
    ),
    changeable("loglevel", |_| redis_level(log::level()).to_owned(), set_log_level),
    changeable("log-format", |_| format!("{:?}", log::format()).to_lowercase(), set_log_format),
    changeable("logfile", |_| log::file().map_or(String::new(), |path| path.display().to_string()), set_log_file),
    changeable(
        "acllog-max-len",
        |s| s.settings.users.log.max_len().to_string(),
        |s, _, text| number(text, 0, limits::ACL_LOG_LEN_MAX).map(|entries| s.settings.users.log.set_max_len(entries)),
    ),
    fixed("aclfile", |s| s.options.aclfile.as_ref().map_or(String::new(), |path| path.display().to_string())),
    fixed("acl-pubsub-default", |_| "resetchannels".to_owned()),
    fixed("disable-command", |s| s.options.disable_command.join(",")),
    fixed("pin", |s| s.options.pin.to_string()),
    fixed("hz", |_| "10".to_owned()),
    fixed("dynamic-hz", |_| "yes".to_owned()),
    fixed("maxmemory-samples", |_| limits::EVICTION_SAMPLES.to_string()),
    fixed("port", |s| s.tcp_port.to_string()),
    fixed("http-port", |s| s.http_port.to_string()),
    fixed("memcached-port", |s| s.memcached_port.to_string()),
    fixed("memcached-max-item-size", |s| s.settings.memcached_item_bytes.to_string()),
    fixed("protobuf-port", |s| s.protobuf_port.to_string()),
    fixed("tls-port", |s| s.options.tls_port.to_string()),
    fixed("tls-other-ports", |s| yes_no(s.options.tls_other_ports == YesNo::Yes).to_owned()),
    changeable("tls-cert-file", |s| tls::get(s, tls::CERT), |s, _, text| tls::set(s, tls::CERT, text)),
    changeable("tls-key-file", |s| tls::get(s, tls::KEY), |s, _, text| tls::set(s, tls::KEY, text)),
    changeable("tls-ca-cert-file", |s| tls::get(s, tls::CA), |s, _, text| tls::set(s, tls::CA, text)),
    changeable("tls-auth-clients", |s| tls::get(s, tls::CLIENTS), |s, _, text| tls::set(s, tls::CLIENTS, text)),
    changeable("tls-protocols", |s| tls::get(s, tls::PROTOCOLS), |s, _, text| tls::set(s, tls::PROTOCOLS, text)),
    fixed("bind", |s| s.options.bind.iter().map(|address| address.to_string()).collect::<Vec<_>>().join(" ")),
    fixed("unixsocket", Shared::unix_path),
    fixed("unixsocketperm", |s| s.options.unixsocketperm.to_string()),
    fixed("tcp-backlog", |s| s.options.tcp_backlog.to_string()),
    fixed("io-threads", |s| s.cores.to_string()),
    fixed("databases", |_| DATABASES.to_string()),
    fixed("cluster-enabled", |s| yes_no(s.options.cluster_mode == ClusterMode::Emulated).to_owned()),
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

fn set_policy(shared: &Shared, shards: &mut AllShards, text: &str) -> Result<(), String> {
    let policy = parse_policy(text).map_err(|_| {
        let names: Vec<_> = POLICIES.iter().map(|(name, _)| *name).collect();
        format!("argument(s) must be one of the following: {}", names.join(", "))
    })?;
    shared.set_policy(shards, policy);
    Ok(())
}

fn set_hot(shared: &Shared, shards: &mut AllShards, text: &str) -> Result<(), String> {
    let memory = text.parse().map_err(|_| "argument must be 'auto', 'off' or a memory value")?;
    shared.set_hot(shards, memory);
    Ok(())
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

/// Options that CONFIG calls otherwise.
const OTHER_NAMES: [(&str, &str); 4] = [
    ("max-value", "proto-max-bulk-len"),
    ("client-query-limit", "client-query-buffer-limit"),
    ("log-level", "loglevel"),
    ("log-file", "logfile"),
];

/// What CONFIG SET calls an option; `None` if it cannot change while the server runs.
pub fn of_option(option: &str) -> Option<&'static str> {
    let name = OTHER_NAMES.iter().find(|(own, _)| *own == option).map_or(option, |(_, name)| name);
    PARAMETERS.iter().find(|parameter| parameter.name == name && parameter.set.is_some()).map(|found| found.name)
}

/// What CONFIG SET does, for whoever else may change settings: all or nothing.
///
/// # Errors
/// Which of the changes is refused, and why.
pub fn configure(shared: &Shared, changes: &[(&str, String)]) -> Result<(), (usize, String)> {
    let changes: Vec<_> = changes.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut guards = shared.keyspace.guards();
    let mut shards = guards.lock_all().map_err(|_| (0, "a script runs; try again when it has ended".to_owned()))?;
    set_all(shared, &mut shards, &changes)
}

/// A parameter that is refused puts back those before it.
fn set_all(shared: &Shared, guards: &mut AllShards, changes: &[(&[u8], &[u8])]) -> Result<(), (usize, String)> {
    let mut undo: Vec<(Setter, String)> = Vec::new();
    for (at, (name, value)) in changes.iter().enumerate() {
        match set_parameter(shared, guards, name, value) {
            Ok(change) => undo.extend(change),
            Err(failure) => {
                undo_all(shared, guards, undo);
                return Err((at, failure));
            }
        }
    }
    if let Some(at) = changes.iter().position(|(name, _)| tls::is_about(name))
        && let Err(failure) = shared.settings.tls.load()
    {
        undo_all(shared, guards, undo);
        return Err((at, failure));
    }
    for (name, _) in changes {
        let parameter = PARAMETERS.iter().find(|parameter| is_word(name, parameter.name));
        parameter.inspect(|parameter| shared.settings.note_change(parameter.name));
    }
    Ok(())
}

fn undo_all(shared: &Shared, guards: &mut AllShards, undo: Vec<(Setter, String)>) {
    for (set, before) in undo.into_iter().rev() {
        // It was the value a moment ago.
        let _ = set(shared, guards, &before);
    }
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
    // Of more than there are, one comes twice or is unknown.
    let most = PARAMETERS.len() + 1;
    let names: Vec<_> = call.args.iter().skip(2).step_by(2).take(most).collect();
    if let Some(twice) =
        names.iter().enumerate().find(|(at, name)| names[..*at].iter().any(|n| n.eq_ignore_ascii_case(name)))
    {
        let shown = error::echo(twice.1);
        return Err(
            format!("ERR CONFIG SET failed (possibly related to argument '{shown}') - duplicate parameter").into()
        );
    }
    let changes: Vec<_> =
        (2..call.args.len()).step_by(2).take(most).map(|at| (call.arg(at), call.arg(at + 1))).collect();
    let Call { guards, shared, now, .. } = call;
    let mut shards = lock_all(guards, shared, *now)?;
    let outcome = set_all(shared, &mut shards, &changes);
    drop(shards);
    outcome.map_err(|(at, reason)| {
        let shown = error::echo(changes[at].0);
        match reason.as_str() {
            UNKNOWN => format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"),
            _ => format!("ERR CONFIG SET failed (possibly related to argument '{shown}') - {reason}"),
        }
    })?;
    call.reply.ok();
    Ok(())
}

const UNKNOWN: &str = "there is no such parameter";

/// What puts back the value of before, if it has changed. What cannot change may be set to what it is: scripts that switch
/// persistence off need not know that there is none.
fn set_parameter(
    shared: &Shared,
    shards: &mut AllShards,
    name: &[u8],
    value: &[u8],
) -> Result<Option<(Setter, String)>, String> {
    let Some(parameter) = PARAMETERS.iter().find(|parameter| is_word(name, parameter.name)) else {
        return Err(UNKNOWN.to_owned());
    };
    let before = (parameter.get)(shared);
    match (parameter.set, std::str::from_utf8(value)) {
        (Some(set), Ok(value)) => set(shared, shards, value).map(|()| Some((set, before))),
        (Some(_), Err(_)) => Err("argument is no text".to_owned()),
        (None, Ok(value)) if value == before => Ok(None),
        (None, _) => Err("can't set immutable config".to_owned()),
    }
}

fn busy_reply_threshold(shared: &Shared) -> String {
    shared.settings.busy_reply_threshold_ms.load(Relaxed).to_string()
}

fn set_busy_reply_threshold(shared: &Shared, _: &mut AllShards, text: &str) -> Result<(), String> {
    number(text, 0, i64::MAX as u64).map(|millis| shared.settings.busy_reply_threshold_ms.store(millis, Relaxed))
}

fn config_resetstat(call: &mut Call) -> Result<(), Stop> {
    call.shared.stats.iter().for_each(stats::CoreStats::reset);
    let Call { guards, shared, now, .. } = call;
    lock_all(guards, shared, *now)?.reset_counts();
    call.shared.scripts.reset_evicted();
    call.reply.ok();
    Ok(())
}

/// Writes what CONFIG SET has changed, as far as there is an option for it.
fn config_rewrite(call: &mut Call) -> Result<(), Stop> {
    let Some(path) = &call.shared.options.config else {
        return Err("ERR The server is running without a config file".into());
    };
    let mut changes = Vec::new();
    for setting in &call.shared.settings_at_start {
        let Some(name) = of_option(&setting.name) else { continue };
        let Some(parameter) = PARAMETERS.iter().find(|parameter| parameter.name == name) else { continue };
        if call.shared.settings.is_changed(name) {
            changes.push((setting.name.as_str(), written(call.shared, parameter)));
            if !matches!(setting.origin, Origin::Default | Origin::File { .. }) {
                let (option, origin) = (&setting.name, &setting.origin);
                tracing::warn!("{option} is in the file now, but at the next start {origin} beats it");
            }
        }
    }
    if changes.iter().any(|(name, _)| *name == "requirepass") {
        // One of the two gives the password.
        changes.push(("requirepass-file", None));
    }
    rewrite(path, &changes).map_err(|error| format!("ERR Rewriting config file: {error}"))?;
    tracing::info!("CONFIG REWRITE: {} options written to {}", changes.len(), path.display());
    call.reply.ok();
    Ok(())
}

/// A parameter's value as its option has it; `None` for one that is left out then.
fn written(shared: &Shared, parameter: &Parameter) -> Option<String> {
    let settings = &shared.settings;
    let text = match parameter.name {
        "maxmemory" => Size(settings.max_memory_bytes.load(Relaxed)).to_string(),
        "proto-max-bulk-len" => Size(settings.max_value_bytes.load(Relaxed) as u64).to_string(),
        "client-query-buffer-limit" => Size(settings.query_limit_bytes.load(Relaxed) as u64).to_string(),
        "loglevel" => format!("{:?}", log::level()).to_lowercase(),
        _ => (parameter.get)(shared),
    };
    (!text.is_empty()).then_some(text)
}

fn config_help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "config", CONFIG);
    Ok(())
}
