//! The options: the only place where one is declared, with its flag, environment variable, default and help.
//! Resolves flags > `KV_CACHE_*` > `--config FILE` > default. It must not know what the options do.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::StartError;
use super::limits;
use super::policy::{Policy, parse_policy};
use super::units::{Memory, Size};

/// A Linux-native, io_uring, in-memory key-value cache that every Redis client can use.
#[derive(Parser, Clone, Debug)]
#[command(name = "kv-cache", version, max_term_width = 110)]
pub struct Options {
    /// TCP port; 0 takes a free one and says which
    #[arg(long, env = "KV_CACHE_PORT", default_value_t = 7171)]
    pub port: u16,

    /// Addresses to listen on, separated by commas
    #[arg(long, env = "KV_CACHE_BIND", value_delimiter = ',', default_value = "127.0.0.1")]
    pub bind: Vec<IpAddr>,

    /// Also listen on a Unix socket at this path
    #[arg(long, env = "KV_CACHE_UNIXSOCKET", value_name = "PATH")]
    pub unixsocket: Option<PathBuf>,

    /// Permissions of the Unix socket, octal
    #[arg(long, env = "KV_CACHE_UNIXSOCKETPERM", value_name = "MODE", default_value = "700", value_parser = parse_mode)]
    pub unixsocketperm: Mode,

    /// Threads, each with its core and shard [default: the cores that affinity and the cgroup grant]
    #[arg(long, env = "KV_CACHE_THREADS", value_parser = clap::value_parser!(u16).range(1..=limits::THREADS_MAX as i64))]
    pub threads: Option<u16>,

    /// How bytes reach the sessions; auto takes io_uring where the host allows it
    #[arg(long, env = "KV_CACHE_ENGINE", value_enum, default_value_t = Engine::Auto)]
    pub engine: Engine,

    /// Receive and send through buffers registered with the ring
    #[arg(long, env = "KV_CACHE_REGISTERED_BUFFERS", value_enum, default_value_t = Switch::On)]
    pub registered_buffers: Switch,

    /// Memory cap: 1400mb, 1.4gb, or a share of what the host or cgroup grants
    #[arg(long, env = "KV_CACHE_MAXMEMORY", value_name = "SIZE", default_value = "70%")]
    pub maxmemory: Memory,

    /// What to evict when the cap is reached
    #[arg(long, env = "KV_CACHE_MAXMEMORY_POLICY", value_name = "POLICY", default_value = "allkeys-lru", value_parser = parse_policy)]
    pub maxmemory_policy: Policy,

    /// Connections at a time
    #[arg(long, env = "KV_CACHE_MAXCLIENTS", value_name = "N", default_value_t = limits::CLIENTS_MAX as u32, value_parser = clap::value_parser!(u32).range(1..))]
    pub maxclients: u32,

    /// Close a connection that has been idle for so many seconds; 0 never does
    #[arg(long, env = "KV_CACHE_TIMEOUT", value_name = "SECONDS", default_value_t = 0)]
    pub timeout: u32,

    /// Seconds between TCP keep-alive probes to a silent peer; 0 sends none
    #[arg(long, env = "KV_CACHE_TCP_KEEPALIVE", value_name = "SECONDS", default_value_t = 300)]
    pub tcp_keepalive: u32,

    /// Connections that may wait to be accepted, per core
    #[arg(long, env = "KV_CACHE_TCP_BACKLOG", value_name = "N", default_value_t = limits::BACKLOG, value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub tcp_backlog: u32,

    /// Password that clients must give by AUTH or HELLO; visible in the process list, so prefer --requirepass-file
    #[arg(long, env = "KV_CACHE_REQUIREPASS", hide_env_values = true, value_name = "PASSWORD")]
    pub requirepass: Option<String>,

    /// Read the password from this file (its first line)
    #[arg(long, env = "KV_CACHE_REQUIREPASS_FILE", value_name = "PATH", conflicts_with = "requirepass")]
    pub requirepass_file: Option<PathBuf>,

    /// Replies that may wait for one client before its next requests do
    #[arg(long, env = "KV_CACHE_CLIENT_OUTPUT_LIMIT", value_name = "SIZE", default_value_t = Size(limits::OUTPUT_LIMIT_BYTES as u64))]
    pub client_output_limit: Size,

    /// The largest request, all its arguments together
    #[arg(long, env = "KV_CACHE_CLIENT_QUERY_LIMIT", value_name = "SIZE", default_value_t = Size(limits::QUERY_LIMIT_BYTES as u64))]
    pub client_query_limit: Size,

    /// The most arguments in a request
    #[arg(long, env = "KV_CACHE_MAX_ARGUMENTS", value_name = "N", default_value_t = limits::ARGUMENTS_MAX as u32, value_parser = clap::value_parser!(u32).range(16..=1_048_576))]
    pub max_arguments: u32,

    /// The largest value; an eighth of maxmemory and half a shard bound it too
    #[arg(long, env = "KV_CACHE_MAX_VALUE", value_name = "SIZE", default_value_t = Size(limits::VALUE_MAX_BYTES as u64))]
    pub max_value: Size,

    /// Milliseconds from which on a script is busy: what needs its keys is answered with BUSY; 0 waits for it
    #[arg(long, alias = "lua-time-limit", env = "KV_CACHE_BUSY_REPLY_THRESHOLD", value_name = "MS", default_value_t = limits::BUSY_REPLY_THRESHOLD_MS)]
    pub busy_reply_threshold: u64,

    /// A script that uses keys it was not given: refuse it, or lock all shards for every script whose first line has no flags
    #[arg(long, env = "KV_CACHE_SCRIPT_UNDECLARED_KEYS", value_enum, default_value_t = UndeclaredKeys::Refuse)]
    pub script_undeclared_keys: UndeclaredKeys,

    /// Seconds for answering what was accepted after SIGTERM or SIGINT
    #[arg(long, env = "KV_CACHE_SHUTDOWN_TIMEOUT", value_name = "SECONDS", default_value_t = limits::SHUTDOWN_TIMEOUT_S)]
    pub shutdown_timeout: u64,

    /// Allow DEBUG, which can hold the server up: from anywhere (yes), or from this host (local)
    #[arg(long, env = "KV_CACHE_ENABLE_DEBUG_COMMAND", value_enum, default_value_t = DebugCommand::No)]
    pub enable_debug_command: DebugCommand,

    /// What to log, to standard error
    #[arg(long, env = "KV_CACHE_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,

    /// Read options from this TOML file: long names as keys, e.g. maxmemory = "1.4gb"
    #[arg(long, env = "KV_CACHE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Kernel settings that cost speed: tell of them at the start, or first set those that may be set
    #[arg(long, env = "KV_CACHE_TUNE", value_enum, default_value_t = AtStart::Check)]
    pub tune: AtStart,

    /// Print every option with its value and where that comes from, then exit
    #[arg(long)]
    pub check: bool,

    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What else the program does than serve.
#[derive(Subcommand, Clone, Debug)]
pub enum Task {
    /// Hold the kernel's settings against those that a cache wants, or apply them
    Tune(Tune),

    /// Ask a running server whether it answers; exit code 1 if not
    Ping {
        /// IP address and port, or the path of a Unix socket [default: where these options make a server listen]
        #[arg(value_parser = parse_target)]
        target: Option<Target>,
    },
}

#[derive(Args, Clone, Debug)]
#[group(multiple = false, required = true)]
pub struct Tune {
    /// Print a table of all settings; exit code 1 if any differ
    #[arg(long)]
    pub check: bool,

    /// Set those that differ; where that is not allowed, say so
    #[arg(long)]
    pub apply: bool,

    /// Print the file for /etc/sysctl.d, the one for /etc/security/limits.d, or Docker's profile with io_uring
    #[arg(long, value_name = "FILE", value_enum, num_args = 0..=1, default_missing_value = "sysctl")]
    pub print: Option<TuneFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TuneFile {
    Sysctl,
    Limits,
    Seccomp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AtStart {
    Check,
    Apply,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Tcp(address) => write!(f, "{address}"),
            Target::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn parse_target(text: &str) -> Result<Target, String> {
    if text.contains('/') {
        return Ok(Target::Unix(text.into()));
    }
    text.parse().map(Target::Tcp).map_err(|_| "write it as 127.0.0.1:7171, [::1]:7171 or /path/of/socket".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    Auto,
    Uring,
    Epoll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UndeclaredKeys {
    Refuse,
    LockAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DebugCommand {
    No,
    Yes,
    Local,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// File permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:o}", self.0)
    }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(Mode(mode)),
        _ => Err("write it as three octal digits, e.g. 770".into()),
    }
}

/// Where an option's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

/// The options, and for each its name, its value as text and its origin.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub options: Options,
    pub listing: Vec<(String, String, Origin)>,
}

/// What the command line asks for.
pub enum Request {
    Run(Box<Resolved>),
    /// `--help`, `--version`: print this and exit 0.
    Print(String),
}

/// Resolves the options from a command line (program name first) and the environment.
pub fn resolve(args: impl IntoIterator<Item = OsString>) -> Result<Request, StartError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let matches = match parse(&args) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            let text = error.render();
            let is_terminal = std::io::stdout().is_terminal();
            return Ok(Request::Print(if is_terminal { text.ansi().to_string() } else { text.to_string() }));
        }
        Err(error) => return Err(option_error(&error)),
    };
    let file = match matches.get_one::<PathBuf>("config") {
        Some(path) => read_file(path, &matches)?,
        None => Vec::new(),
    };
    let mut all: Vec<OsString> = args.iter().take(1).cloned().collect();
    all.extend(file.iter().map(|(name, value)| format!("--{name}={value}").into()));
    all.extend(args.into_iter().skip(1));
    let merged = parse(&all).map_err(|error| option_error(&error))?;
    let options = Options::from_arg_matches(&merged).map_err(|error| option_error(&error))?;
    let listing = listing(&merged, &matches, &file);
    Ok(Request::Run(Box::new(Resolved { options, listing })))
}

fn parse(args: &[OsString]) -> Result<ArgMatches, clap::Error> {
    // What stands last on the command line wins, as in every Unix tool.
    command().args_override_self(true).try_get_matches_from(args)
}

pub fn command() -> Command {
    Options::command()
}

/// One line, without the usage text around it.
fn option_error(error: &clap::Error) -> StartError {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let kept = lines.iter().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let line = kept.copied().collect::<Vec<_>>().join(" ");
    StartError::option(line.trim_start_matches("error: ").to_owned())
}

/// The file's options that neither a flag nor the environment overrides, as flags.
fn read_file(path: &Path, matches: &ArgMatches) -> Result<Vec<(String, String)>, StartError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| StartError::option(format!("cannot read the configuration file {shown}: {error}")))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
        StartError::option(format!("{shown}, line {line}: {}", error.message()))
    })?;
    let command = command();
    let mut found = Vec::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(&name) && is_setting(arg)) else {
            return Err(StartError::option(format!("{shown}: '{key}' is no option; kv-cache --help lists them")));
        };
        let value = toml_text(&value)
            .ok_or_else(|| StartError::option(format!("{shown}: '{key}' must be text, a number or a list of those")))?;
        let overridden =
            |id: &str| matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        // The two ways to give the password are one setting.
        let password = name.starts_with("requirepass") && (overridden("requirepass") || overridden("requirepass_file"));
        if !overridden(arg.get_id().as_str()) && !password {
            found.push((name, value));
        }
    }
    Ok(found)
}

fn is_setting(arg: &clap::Arg) -> bool {
    !matches!(arg.get_id().as_str(), "config" | "check" | "help" | "version")
}

fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(if *on { "on" } else { "off" }.to_owned()),
        toml::Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(toml_text).collect();
            Some(items?.join(","))
        }
        _ => None,
    }
}

fn listing(merged: &ArgMatches, given: &ArgMatches, file: &[(String, String)]) -> Vec<(String, String, Origin)> {
    let command = command();
    let settings = command.get_arguments().filter(|arg| is_setting(arg));
    settings
        .map(|arg| {
            let id = arg.get_id().as_str();
            let name = arg.get_long().unwrap_or(id).to_owned();
            let raw = merged
                .get_raw(id)
                .map(|values| values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(","));
            let origin = match given.value_source(id) {
                Some(ValueSource::CommandLine) => Origin::Flag,
                Some(ValueSource::EnvVariable) => Origin::Environment,
                _ if file.iter().any(|(key, _)| *key == name) => Origin::File,
                _ => Origin::Default,
            };
            let value = match raw {
                Some(_) if name == "requirepass" => "(hidden)".to_owned(),
                Some(text) => text,
                None => String::new(),
            };
            (name, value, origin)
        })
        .collect()
}

impl Options {
    /// The password, from wherever it was given.
    pub fn password(&self) -> Result<Option<String>, StartError> {
        let Some(path) = &self.requirepass_file else {
            return Ok(self.requirepass.clone().filter(|password| !password.is_empty()));
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            StartError::option(format!("cannot read the password file {}: {error}", path.display()))
        })?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Some(line.to_owned())),
            _ => Err(StartError::option(format!("the password file {} has an empty first line", path.display()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Resolved, String> {
        let args = std::iter::once("kv-cache").chain(args.iter().copied()).map(OsString::from);
        match resolve(args) {
            Ok(Request::Run(resolved)) => Ok(*resolved),
            Ok(Request::Print(text)) => Err(text),
            Err(error) => Err(error.message),
        }
    }

    fn origin(resolved: &Resolved, name: &str) -> (String, Origin) {
        let found = resolved.listing.iter().find(|(option, ..)| option == name).expect(name);
        (found.1.clone(), found.2)
    }

    #[test]
    fn the_declaration_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_beats_the_default() {
        let path = std::env::temp_dir().join(format!("kv-cache-config-{}.toml", std::process::id()));
        std::fs::write(&path, "port = 7000\nmaxmemory = \"1.4gb\"\nbind = [\"127.0.0.1\", \"::1\"]\n").unwrap();
        let file = format!("--config={}", path.display());
        let resolved = options(&[&file, "--port", "7001"]).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(resolved.options.port, 7001);
        assert_eq!(resolved.options.bind.len(), 2);
        assert_eq!(origin(&resolved, "port"), ("7001".into(), Origin::Flag));
        assert_eq!(origin(&resolved, "maxmemory"), ("1.4gb".into(), Origin::File));
        assert_eq!(origin(&resolved, "timeout"), ("0".into(), Origin::Default));
    }

    #[test]
    fn a_bad_value_is_one_line_that_names_the_option() {
        for (args, expect) in [
            (vec!["--port", "70000"], "--port"),
            (vec!["--maxmemory", "lots"], "1400mb, 1.4gb or 70%"),
            (vec!["--maxmemory-policy", "allkeys-lfu"], "allkeys-lru"),
            (vec!["--engine", "kqueue"], "possible values: auto, uring, epoll"),
            (vec!["--prot", "1"], "--port"),
            (vec!["--unixsocketperm", "999"], "octal"),
            (vec!["--config", "/nonexistent/file"], "cannot read the configuration file"),
        ] {
            let message = options(&args).unwrap_err();
            assert!(message.contains(expect), "{args:?}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn a_password_is_never_listed() {
        let resolved = options(&["--requirepass", "secret"]).unwrap();
        assert_eq!(origin(&resolved, "requirepass").0, "(hidden)");
        assert_eq!(resolved.options.password().unwrap().as_deref(), Some("secret"));
    }
}
