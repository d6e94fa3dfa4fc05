//! The options: the only place where one is declared, with its flag, environment variable, default and help. It must not
//! know what the options do, nor where their values come from.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Args, Command, CommandFactory, Parser, Subcommand, ValueEnum};

use super::StartError;
use super::hot::HotMemory;
use super::limits;
use super::pin::Pin;
use super::policy::{LfuRules, POLICIES, Policy, parse_policy};
use super::target::Target;
use super::tls::TlsOptions;
use super::units::{Memory, Size};

/// A Linux-native, io_uring, in-memory key-value cache that every Redis client can use.
#[derive(Parser, Clone, Debug)]
#[command(name = "kv-cache", version, max_term_width = 110)]
pub struct Options {
    /// TCP port; 0 takes a free one and says which
    #[arg(long, env = "KV_CACHE_PORT", default_value_t = 7171, global = true)]
    pub port: u16,

    /// TCP port for HTTP, on the same addresses; 0 for none. When it is taken the server starts without
    #[arg(long, env = "KV_CACHE_HTTP_PORT", value_name = "PORT", default_value_t = 7172)]
    pub http_port: u16,

    /// TCP port for memcached's protocol, on the same addresses (11211 by custom); 0 for none
    #[arg(long, env = "KV_CACHE_MEMCACHED_PORT", value_name = "PORT", default_value_t = 0)]
    pub memcached_port: u16,

    /// The largest item through memcached's protocol, key and value together; --max-value bounds it too
    #[arg(long, env = "KV_CACHE_MEMCACHED_MAX_ITEM_SIZE", value_name = "SIZE", default_value_t = Size(limits::MEMCACHED_ITEM_BYTES as u64))]
    pub memcached_max_item_size: Size,
    /// TCP port for Protobuf (proto/kv_cache.proto), on the same addresses; 0 for none
    #[arg(long, env = "KV_CACHE_PROTOBUF_PORT", value_name = "PORT", default_value_t = 0)]
    pub protobuf_port: u16,

    /// TCP port for RESP over TLS, on the same addresses; 0 for none. The same as --port: TLS alone is spoken there
    #[arg(long, env = "KV_CACHE_TLS_PORT", value_name = "PORT", default_value_t = 0)]
    pub tls_port: u16,

    /// Speak TLS at the ports of the other protocols, too: HTTPS on --http-port
    #[arg(long, env = "KV_CACHE_TLS_OTHER_PORTS", value_enum, default_value_t = YesNo::No)]
    pub tls_other_ports: YesNo,

    /// The server's certificate, and those between it and the authority: PEM. SIGHUP reads it again
    #[arg(long, env = "KV_CACHE_TLS_CERT_FILE", value_name = "PATH")]
    pub tls_cert_file: Option<PathBuf>,

    /// The key of the certificate: PEM, without a passphrase
    #[arg(long, env = "KV_CACHE_TLS_KEY_FILE", value_name = "PATH")]
    pub tls_key_file: Option<PathBuf>,

    /// The authorities that sign clients' certificates: PEM
    #[arg(long, env = "KV_CACHE_TLS_CA_CERT_FILE", value_name = "PATH")]
    pub tls_ca_cert_file: Option<PathBuf>,

    /// Whether TLS clients need a certificate: yes, no, or optional [default: yes with --tls-ca-cert-file, else no]
    #[arg(long, env = "KV_CACHE_TLS_AUTH_CLIENTS", value_name = "WHETHER")]
    pub tls_auth_clients: Option<String>,

    /// The versions of TLS, separated by spaces [default: TLSv1.2 TLSv1.3, which is all there are]
    #[arg(long, env = "KV_CACHE_TLS_PROTOCOLS", value_name = "VERSIONS")]
    pub tls_protocols: Option<String>,

    /// Addresses to listen on, separated by commas
    #[arg(long, env = "KV_CACHE_BIND", value_name = "IP", value_delimiter = ',', default_value = "127.0.0.1", value_parser = parse_address)]
    pub bind: Vec<IpAddr>,

    /// Refuse clients of other hosts while there is no password
    #[arg(long, env = "KV_CACHE_PROTECTED_MODE", value_enum, default_value_t = YesNo::Yes)]
    pub protected_mode: YesNo,

    /// Also listen on a Unix socket at this path
    #[arg(long, env = "KV_CACHE_UNIXSOCKET", value_name = "PATH")]
    pub unixsocket: Option<PathBuf>,

    /// Permissions of the Unix socket, octal
    #[arg(long, env = "KV_CACHE_UNIXSOCKETPERM", value_name = "MODE", default_value = "700", value_parser = parse_mode)]
    pub unixsocketperm: Mode,

    /// Threads, each with its core and shard [default: the cores that affinity and the cgroup grant]
    #[arg(long, env = "KV_CACHE_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=limits::THREADS_MAX as i64))]
    pub threads: Option<u16>,

    /// Bind each thread to a core: where each has one for itself (auto), never (off), or to these, e.g. 0,2,4-7
    #[arg(long, env = "KV_CACHE_PIN", value_name = "CORES", default_value = "auto")]
    pub pin: Pin,

    /// How bytes reach the sessions; auto takes multishot io_uring on Linux 6.1 and later, uring on 5.11, and epoll where
    /// rings are forbidden
    #[arg(long, env = "KV_CACHE_ENGINE", value_enum, default_value_t = Engine::Auto)]
    pub engine: Engine,

    /// Receive and send through buffers registered with the ring
    #[arg(long, env = "KV_CACHE_REGISTERED_BUFFERS", value_enum, default_value_t = Switch::On)]
    pub registered_buffers: Switch,

    /// Memory cap: 1400mb, 1.4gb, or a share of what the host or cgroup grants
    #[arg(long, env = "KV_CACHE_MAXMEMORY", value_name = "SIZE", default_value = "70%")]
    pub maxmemory: Memory,

    /// What of maxmemory the cores may use for copies of the hottest values, which each of them reads from its own without a
    /// lock: a 256th, and 1mb a core at most (auto), nothing (off), or so much, up to a 16th. One core alone needs none
    #[arg(long, env = "KV_CACHE_HOT_CACHE", value_name = "SIZE", default_value = "auto")]
    pub hot_cache: HotMemory,

    /// What to evict when the cap is reached: of all keys, or (volatile) of those that expire, what was used neither when new
    /// nor lately, the larger the sooner (s3fifo), what was not used for the longest time (lru), what is used least often
    /// (lfu), anything (random) or what expires first (ttl); or nothing, and refuse writes (noeviction)
    #[arg(long, env = "KV_CACHE_MAXMEMORY_POLICY", value_name = "POLICY", default_value = "allkeys-s3fifo", ignore_case = true, value_parser = policy_parser())]
    pub maxmemory_policy: Policy,

    /// How many uses it takes to be counted to the end under the LFU policies: 10 takes a million, 100 ten million
    #[arg(long, env = "KV_CACHE_LFU_LOG_FACTOR", value_name = "N", default_value_t = LfuRules::default().log_factor, value_parser = clap::value_parser!(u32).range(..=limits::LFU_RULES_MAX as i64))]
    pub lfu_log_factor: u32,

    /// Minutes without a use after which a key's count under the LFU policies loses one; 0 never does
    #[arg(long, env = "KV_CACHE_LFU_DECAY_TIME", value_name = "MINUTES", default_value_t = LfuRules::default().decay_minutes, value_parser = clap::value_parser!(u32).range(..=limits::LFU_RULES_MAX as i64))]
    pub lfu_decay_time: u32,

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
    #[arg(long, env = "KV_CACHE_REQUIREPASS", hide_env_values = true, value_name = "PASSWORD", global = true, value_parser = parse_password)]
    pub requirepass: Option<String>,

    /// Read the password from this file (its first line)
    #[arg(long, env = "KV_CACHE_REQUIREPASS_FILE", value_name = "PATH", global = true, conflicts_with = "requirepass")]
    pub requirepass_file: Option<PathBuf>,

    /// Users and what each may do, a line each as ACL LIST shows them; ACL LOAD and SIGHUP read it again, ACL SAVE writes it
    #[arg(long, env = "KV_CACHE_ACLFILE", value_name = "PATH")]
    pub aclfile: Option<PathBuf>,

    /// Commands, subcommands (config|set) and categories (@dangerous) that nobody may run, separated by commas: they are
    /// unknown, as if there were none. RESP's names; what does the same through other doors is refused with them
    #[arg(long, env = "KV_CACHE_DISABLE_COMMAND", value_name = "NAME", value_delimiter = ',')]
    pub disable_command: Vec<String>,

    /// Replies that may wait for one client before its next requests do
    #[arg(long, env = "KV_CACHE_CLIENT_OUTPUT_LIMIT", value_name = "SIZE", default_value_t = Size(limits::OUTPUT_LIMIT_BYTES as u64))]
    pub client_output_limit: Size,

    /// The largest request, all its arguments together
    #[arg(long, env = "KV_CACHE_CLIENT_QUERY_LIMIT", value_name = "SIZE", default_value_t = Size(limits::QUERY_LIMIT_BYTES as u64))]
    pub client_query_limit: Size,

    /// The most arguments in a request
    #[arg(long, env = "KV_CACHE_MAX_ARGUMENTS", value_name = "N", default_value_t = limits::ARGUMENTS_MAX as u32, value_parser = clap::value_parser!(u32).range(16..=limits::ARGUMENTS_MAX as i64))]
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

    /// Answer CLUSTER as one node that has all slots (emulated), for clients that speak to clusters alone
    #[arg(long, env = "KV_CACHE_CLUSTER_MODE", value_enum, default_value_t = ClusterMode::Off)]
    pub cluster_mode: ClusterMode,

    /// Allow DEBUG, which can hold the server up: from anywhere (yes), or from this host (local)
    #[arg(long, env = "KV_CACHE_ENABLE_DEBUG_COMMAND", value_enum, default_value_t = DebugCommand::No)]
    pub enable_debug_command: DebugCommand,

    /// What to log
    #[arg(long, env = "KV_CACHE_LOG_LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,

    /// How a line of the log is written
    #[arg(long, env = "KV_CACHE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// Append the log to this file instead of standard error; SIGHUP opens it anew, for who rotates it
    #[arg(long, env = "KV_CACHE_LOG_FILE", value_name = "PATH")]
    pub log_file: Option<PathBuf>,

    /// Read options from this TOML file: long names as keys, e.g. maxmemory = "1.4gb"
    #[arg(long, env = "KV_CACHE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Kernel settings that cost speed: tell of them at the start, or first set those that may be set
    #[arg(long, env = "KV_CACHE_TUNE", value_enum, default_value_t = AtStart::Check)]
    pub tune: AtStart,

    /// Resolve every option as a start would, print what each comes to and where that comes from, and exit: 2 if a start
    /// would be refused
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
        /// host:port, a Unix socket's path, redis://user:password@host:port or unix:/path [default: where these options
        /// make a server listen]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    Auto,
    Multishot,
    Uring,
    Epoll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    #[value(alias = "yes", alias = "true")]
    On,
    #[value(alias = "no", alias = "false")]
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UndeclaredKeys {
    Refuse,
    LockAll,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum YesNo {
    #[value(alias = "on", alias = "true")]
    Yes,
    #[value(alias = "off", alias = "false")]
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ClusterMode {
    #[value(alias = "no", alias = "false")]
    Off,
    Emulated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DebugCommand {
    #[value(alias = "off", alias = "false")]
    No,
    #[value(alias = "on", alias = "true")]
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Logfmt,
    Json,
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

fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.trim().parse().map_err(|_| match text {
        "*" => "write 0.0.0.0 for all addresses of IPv4, and ::".to_owned(),
        "localhost" => "names are not looked up; this one is 127.0.0.1".to_owned(),
        _ => "names are not looked up; write an IP address such as 127.0.0.1, or 0.0.0.0 for all".to_owned(),
    })
}

/// The names are told to completions and manual pages; the values are those of `parse_policy`.
fn policy_parser() -> impl TypedValueParser<Value = Policy> {
    let names = POLICIES.iter().map(|(name, _)| PossibleValue::new(*name));
    clap::builder::PossibleValuesParser::new(names.collect::<Vec<_>>()).try_map(|name| parse_policy(&name))
}

fn parse_password(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("an empty password would let everybody in; leave the option out for none".to_owned());
    }
    Ok(text.to_owned())
}

pub fn command() -> Command {
    Options::command()
}

impl Options {
    /// TLS is spoken somewhere.
    pub fn speaks_tls(&self) -> bool {
        self.tls_port != 0 || self.tls_other_ports == YesNo::Yes
    }

    /// What its options ask for.
    pub fn tls(&self) -> TlsOptions {
        let path = |path: &Option<PathBuf>| path.as_ref().map_or(String::new(), |path| path.display().to_string());
        TlsOptions {
            cert_file: path(&self.tls_cert_file),
            key_file: path(&self.tls_key_file),
            ca_cert_file: path(&self.tls_ca_cert_file),
            auth_clients: self.tls_auth_clients.clone().unwrap_or_default(),
            protocols: self.tls_protocols.clone().unwrap_or_default(),
        }
    }

    /// The password, from wherever it was given.
    pub fn password(&self) -> Result<Option<String>, StartError> {
        let Some(path) = &self.requirepass_file else {
            return Ok(self.requirepass.clone());
        };
        let refuse = |why: String| StartError::option(format!("--requirepass-file {}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot read it: {error}")))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Some(line.to_owned())),
            _ => Err(refuse("its first line, the password, is empty".to_owned())),
        }
    }
}
