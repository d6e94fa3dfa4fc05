//! What all cores share: keyspace, connections, counters, and the settings that CONFIG SET can change while they run.
//! It must not know engines or commands.

mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;

use crate::acl::{Rules, Users};
use crate::base::clock::{self, UnixMillis};
use crate::clients::Clients;
use crate::config::limits;
use crate::config::{ClusterMode, HotMemory, LfuRules, Options, Policy, Setting, UndeclaredKeys, YesNo};
use crate::observe::latency::Latency;
use crate::observe::rates::{Rates, Sample};
use crate::observe::slowlog::CommandLogs;
use crate::observe::stats::{self, CoreStats};
use crate::script::library::Library;
use crate::store::guards::AllShards;
use crate::store::keyspace::Keyspace;

pub use tls::Tls;

pub struct Shared {
    pub keyspace: Keyspace,
    pub clients: Clients,
    pub stats: Box<[CoreStats]>,
    pub settings: Settings,
    pub command_logs: CommandLogs,
    pub latency: Latency,
    pub rates: Rates,
    pub started: UnixMillis,
    /// 40 hex digits, new at each start: clients tell a restart by it.
    pub run_id: String,
    pub tcp_port: u16,
    /// 0 when HTTP is not served.
    pub http_port: u16,
    /// 0 when memcached's protocol is not served.
    pub memcached_port: u16,
    /// When memcached's clients want the cache to be emptied; 0 for never.
    pub flush_at: AtomicU64,
    /// 0 when Protobuf is not.
    pub protobuf_port: u16,
    pub cores: usize,
    /// What the host or the cgroup grants.
    pub granted_bytes: u64,
    /// File descriptors that clients may take.
    pub descriptors: usize,
    /// As they were at the start.
    pub options: Options,
    /// The scripts that are known, and those that run.
    pub scripts: Library,
    /// Set once the engine has been chosen.
    pub engine: OnceLock<EngineReport>,
    /// One for each core, which counts it up twice a second: one that stands still is stuck.
    pub heartbeats: Box<[AtomicU64]>,
    /// True from SIGTERM on: no new connections, what was accepted is answered.
    pub draining: AtomicBool,
    /// SHUTDOWN was called.
    pub shutdown_asked: AtomicBool,
    /// Each option as it was written, and where, at the start.
    pub settings_at_start: Vec<Setting>,
}

/// Which engine runs, and why, for the banner and INFO.
#[derive(Clone, Debug)]
pub struct EngineReport {
    pub name: &'static str,
    pub reason: String,
    /// Registered buffers for each core; 0 when the engine runs without.
    pub registered_buffers: usize,
    pub registered_reason: String,
    /// The kernel's interface that it stands on.
    pub api: &'static str,
    /// What replies are sent by.
    pub sends: &'static str,
}

pub struct Settings {
    pub max_memory_bytes: AtomicU64,
    pub policy: Mutex<Policy>,
    pub lfu: Mutex<LfuRules>,
    pub timeout_s: AtomicU32,
    pub tcp_keepalive_s: AtomicU32,
    /// Clients of other hosts are refused while there is no password.
    pub protected_mode: AtomicBool,
    pub output_limit_bytes: AtomicUsize,
    pub query_limit_bytes: AtomicUsize,
    pub max_arguments: AtomicUsize,
    /// As the option says; `largest_value_bytes` is what holds.
    pub max_value_bytes: AtomicUsize,
    pub largest_value_bytes: AtomicUsize,
    /// Key and value together, through memcached's protocol.
    pub memcached_item_bytes: usize,
    pub registered_bytes: usize,
    pub hot: Mutex<HotMemory>,
    /// 0 for never.
    pub busy_reply_threshold_ms: AtomicU64,
    /// Scripts that say nothing about themselves run with all shards locked.
    pub script_lock_all: AtomicBool,
    /// Who may do what; the default user's password is that of `requirepass`.
    pub users: Users,
    pub tls: Tls,
    /// What CONFIG SET, or a reload, has changed since the start.
    changed: Mutex<BTreeSet<&'static str>>,
}

/// What the options come to on this host.
pub struct Plan {
    pub options: Options,
    /// The same as they were written.
    pub settings: Vec<Setting>,
    pub password: Option<String>,
    /// What the users file says.
    pub users: Option<BTreeMap<String, Rules>>,
    /// When it is spoken anywhere.
    pub tls: Option<Arc<ServerConfig>>,
    pub cores: usize,
    pub max_memory_bytes: usize,
    /// What the host or the cgroup grants.
    pub granted_bytes: u64,
    pub maxclients: usize,
    /// File descriptors that clients may take.
    pub descriptors: usize,
    /// Registered buffers for each core, if the engine gets them.
    pub registered_buffers: usize,
    pub tcp_port: u16,
    pub http_port: u16,
    pub memcached_port: u16,
    pub protobuf_port: u16,
}

impl Shared {
    pub fn new(plan: Plan, commands: usize) -> Shared {
        let Plan { options, cores, .. } = plan;
        let registered_bytes = plan.registered_buffers * limits::IO_BUFFER_BYTES * cores;
        let data = limits::data_bytes(plan.max_memory_bytes, registered_bytes);
        let lfu = LfuRules { log_factor: options.lfu_log_factor, decay_minutes: options.lfu_decay_time };
        let shared = Shared {
            keyspace: Keyspace::new(cores, data, options.maxmemory_policy),
            clients: Clients::new(cores, plan.maxclients, 0),
            stats: (0..cores).map(|_| CoreStats::new(commands)).collect(),
            settings: Settings {
                max_memory_bytes: AtomicU64::new(0),
                policy: Mutex::new(options.maxmemory_policy),
                lfu: Mutex::new(lfu),
                timeout_s: AtomicU32::new(options.timeout),
                tcp_keepalive_s: AtomicU32::new(options.tcp_keepalive),
                protected_mode: AtomicBool::new(options.protected_mode == YesNo::Yes),
                output_limit_bytes: AtomicUsize::new(options.client_output_limit.0 as usize),
                query_limit_bytes: AtomicUsize::new(
                    (options.client_query_limit.0 as usize).min(limits::QUERY_LIMIT_BYTES),
                ),
                max_arguments: AtomicUsize::new(options.max_arguments as usize),
                max_value_bytes: AtomicUsize::new(options.max_value.0 as usize),
                largest_value_bytes: AtomicUsize::new(0),
                memcached_item_bytes: options.memcached_max_item_size.0 as usize,
                registered_bytes,
                hot: Mutex::new(options.hot_cache),
                busy_reply_threshold_ms: AtomicU64::new(options.busy_reply_threshold),
                script_lock_all: AtomicBool::new(options.script_undeclared_keys == UndeclaredKeys::LockAll),
                users: Users::new(commands, plan.password.as_deref()),
                tls: Tls::new(options.tls(), plan.tls),
                changed: Mutex::default(),
            },
            command_logs: CommandLogs::default(),
            latency: Latency::default(),
            rates: Rates::default(),
            started: clock::now(),
            run_id: run_id(),
            tcp_port: plan.tcp_port,
            http_port: plan.http_port,
            memcached_port: plan.memcached_port,
            flush_at: AtomicU64::new(0),
            protobuf_port: plan.protobuf_port,
            granted_bytes: plan.granted_bytes,
            descriptors: plan.descriptors,
            cores,
            scripts: Library::new(cores),
            engine: OnceLock::new(),
            heartbeats: (0..cores).map(|_| AtomicU64::new(0)).collect(),
            draining: AtomicBool::new(false),
            shutdown_asked: AtomicBool::new(false),
            settings_at_start: plan.settings,
            options,
        };
        let mut guards = shared.keyspace.guards();
        let mut shards = guards.lock_all().expect("no script runs yet");
        shared.set_max_memory(&mut shards, plan.max_memory_bytes);
        shared.set_lfu(&mut shards, lfu);
        drop(shards);
        drop(guards);
        if let Some(users) = plan.users {
            shared.settings.users.replace(users, commands);
        }
        shared.charge_users();
        shared
    }

    /// The lowest memory cap: it leaves data as much room as the buffers.
    pub fn least_memory_bytes(&self) -> usize {
        limits::MEMORY_CAP_MIN_BYTES.max(4 * self.settings.registered_bytes)
    }

    /// Divides a memory cap among data, clients and buffers. The shards shrink to a lower one step by step.
    pub fn set_max_memory(&self, shards: &mut AllShards, bytes: usize) {
        self.settings.max_memory_bytes.store(bytes as u64, Relaxed);
        self.keyspace.hot().set_limit(self.hot_bytes());
        shards.set_limit(self.data_bytes());
        self.clients.memory.set_limit(bytes / limits::CLIENT_MEMORY_SHARE);
        self.scripts.set_limit(limits::scripts_bytes(bytes));
        self.bound_values();
    }

    /// What the cores may keep of copies of hot values, out of the data's share.
    pub fn set_hot(&self, shards: &mut AllShards, memory: HotMemory) {
        *self.settings.hot.lock() = memory;
        self.set_max_memory(shards, self.settings.max_memory_bytes.load(Relaxed) as usize);
    }

    fn hot_bytes(&self) -> usize {
        self.settings.hot.lock().resolve(self.settings.max_memory_bytes.load(Relaxed) as usize, self.cores)
    }

    /// What the shards may hold together.
    fn data_bytes(&self) -> usize {
        let cap = self.settings.max_memory_bytes.load(Relaxed) as usize;
        limits::data_bytes(cap, self.settings.registered_bytes) - self.hot_bytes()
    }

    pub fn set_max_value(&self, bytes: usize) {
        self.settings.max_value_bytes.store(bytes, Relaxed);
        self.bound_values();
    }

    pub fn set_policy(&self, shards: &mut AllShards, policy: Policy) {
        *self.settings.policy.lock() = policy;
        shards.set_policy(policy);
    }

    pub fn set_lfu(&self, shards: &mut AllShards, rules: LfuRules) {
        *self.settings.lfu.lock() = rules;
        shards.each(|shard| shard.set_lfu(rules));
    }

    /// What counts against the memory cap, given what the shards use.
    pub fn used_bytes(&self, shards: u64) -> u64 {
        let hot = self.keyspace.hot().held_bytes();
        shards + hot + self.clients.memory.used_bytes() as u64 + self.settings.registered_bytes as u64
    }

    /// Of the memory of connections, what requests and replies in flight hold: the rest is of scripts and users.
    pub fn client_bytes(&self) -> usize {
        let others = self.scripts.held().bytes() + self.settings.users.held_bytes();
        self.clients.memory.used_bytes().saturating_sub(others)
    }

    /// One bounded step of a shard's upkeep, with its part of what connections leave unused: whether there is more to do right
    /// now, and for how long the shard was locked.
    pub fn tend_shard(&self, number: usize, now: UnixMillis) -> (bool, Duration) {
        let memory = &self.clients.memory;
        self.keyspace.tend(number, |shard| {
            let before = shard.lent_bytes() as usize;
            let wanted = if shard.gives_back() { memory.lendable_bytes() / self.cores } else { 0 };
            let loan = if wanted <= before || memory.lend(wanted - before) { wanted } else { before };
            let tick = shard.tick_on_loan(loan as u64, now);
            memory.take_back(before.max(loan) - shard.lent_bytes() as usize);
            tick
        })
    }

    /// Takes back some of what is lent, beginning with one's own shard: for who needs it. True while more is to come back.
    pub fn recall(&self, core: usize, now: UnixMillis) -> bool {
        let memory = &self.clients.memory;
        let until = clock::tick() + limits::RECALL_TIME;
        for number in (0..self.cores).cycle().skip(core) {
            if !memory.is_owed() || clock::tick() >= until {
                break;
            }
            self.tend_shard(number, now);
        }
        memory.is_owed()
    }

    /// Twice a second, by one core.
    pub fn sample(&self, now: UnixMillis) {
        self.clients.memory.forget_use();
        self.rates.add(Sample {
            at: now,
            commands: stats::total(&self.stats, |core| &core.commands),
            input_bytes: stats::total(&self.stats, |core| &core.net_input_bytes),
            output_bytes: stats::total(&self.stats, |core| &core.net_output_bytes),
        });
        // While a script has a shard, its core cannot tell.
        if let Ok(shards) = self.keyspace.used_bytes() {
            self.rates.peak(self.used_bytes(shards));
        }
    }

    /// Charges what the users' rules hold to the memory of connections.
    pub fn charge_users(&self) {
        let change = self.settings.users.take_change();
        if change != 0 {
            self.clients.memory.keep(change);
        }
    }

    /// As INFO and HELLO call it.
    pub fn mode(&self) -> &'static str {
        match self.options.cluster_mode {
            ClusterMode::Off => "standalone",
            ClusterMode::Emulated => "cluster",
        }
    }

    /// Where Unix clients come from, as CLIENT LIST shows it.
    pub fn unix_path(&self) -> String {
        self.options.unixsocket.as_ref().map_or(String::new(), |path| path.display().to_string())
    }

    /// The most that one reply may hold beside shared values.
    pub fn copied_reply_bytes(&self) -> usize {
        self.settings.output_limit_bytes.load(Relaxed).min(self.clients.memory.limit_bytes())
    }

    fn bound_values(&self) {
        let cap = self.settings.max_memory_bytes.load(Relaxed) as usize;
        let shard = self.data_bytes() / self.cores;
        let largest = limits::largest_value_bytes(cap, shard).min(self.settings.max_value_bytes.load(Relaxed));
        self.settings.largest_value_bytes.store(largest, Relaxed);
    }
}

impl Settings {
    /// By CONFIG's name of a parameter.
    pub fn note_change(&self, parameter: &'static str) {
        self.changed.lock().insert(parameter);
    }

    pub fn is_changed(&self, parameter: &str) -> bool {
        self.changed.lock().contains(parameter)
    }

    /// Whoever connects must say who they are: the default user has a password, or is off.
    pub fn needs_password(&self) -> bool {
        !self.users.is_open()
    }

    /// What `requirepass` was set to.
    pub fn password(&self) -> String {
        self.users.password()
    }

    pub fn set_password(&self, password: &str) {
        self.users.set_password(password);
    }

    /// What reaches this host by a name of somebody else's, through a browser, say, is not served either.
    pub fn protects_names(&self) -> bool {
        self.protected_mode.load(Relaxed) && !self.needs_password()
    }

    /// Whether somebody from there is refused: from another host, and nobody has set a password.
    pub fn protects_from(&self, peer: IpAddr) -> bool {
        !peer.to_canonical().is_loopback() && self.protects_names()
    }
}

fn run_id() -> String {
    let mut random = [0; 20];
    // A kernel that gives no random bytes is older than any that runs this.
    getrandom::fill(&mut random).expect("the kernel has random bytes");
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}
