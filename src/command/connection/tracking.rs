//! Client-side caching: CLIENT TRACKING has a connection told when a key that it has read changes, or in BCAST mode any
//! key with one of its prefixes. The shards remember who has read what; what is told goes out as RESP3 pushes, or to another
//! connection, of RESP2 too.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use crate::clients::Client;
use crate::command::ConnectionState;
use crate::command::locks::lock_all;
use crate::command::{Call, Command, Flags, Group, Keys, is_word};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;
use crate::shared::Shared;
use crate::store::guards::ShardGuards;
use crate::store::shard::Watcher;

/// What a connection has asked for.
pub struct Tracking {
    tracker: Arc<Tracker>,
    broadcast: bool,
    /// Remember only what is read right after CLIENT CACHING YES.
    opt_in: bool,
    /// Remember all but what is read right after CLIENT CACHING NO.
    opt_out: bool,
    /// What CLIENT CACHING has said about the next command.
    caching: Option<bool>,
    /// In BCAST mode; an empty one stands for every key.
    prefixes: Vec<Box<[u8]>>,
    /// Of the prefixes, here and in every shard.
    held_bytes: usize,
}

/// What the shards know of a connection. It outlives the connection until its keys have changed, and keeps nothing of
/// it open.
struct Tracker {
    client: Weak<Client>,
    id: u64,
    no_loop: AtomicBool,
    /// CLIENT TRACKING OFF: what the shards still remember is told to nobody.
    stopped: AtomicBool,
}

impl Watcher for Tracker {
    fn changed(&self, key: &[u8], actor: u64) {
        if self.stopped.load(Relaxed) || self.no_loop.load(Relaxed) && actor == self.id {
            return;
        }
        if let Some(client) = self.client.upgrade() {
            client.invalidate(Some(key));
        }
    }

    /// Every connection that tracks is told of that at once: see `tell_flushed`.
    fn emptied(&self) {}

    fn is_gone(&self) -> bool {
        self.stopped.load(Relaxed)
    }
}

/// A database was emptied, or two were swapped: whatever was read before is worth nothing.
pub fn tell_flushed(shared: &Shared) {
    for client in shared.clients.tracking() {
        client.invalidate(None);
    }
}

/// Runs a command of a connection that tracks, and remembers what it reads in the same step.
pub fn run(call: &mut Call, row: &Command) -> Result<(), Stop> {
    let tracking = call.state.tracking.as_deref().expect("asked before");
    let wanted = match tracking {
        Tracking { broadcast: true, .. } => false,
        Tracking { opt_in: true, caching, .. } => *caching == Some(true),
        Tracking { caching, .. } => *caching != Some(false),
    };
    let outcome = if wanted && reads_keys(row) {
        let watcher: Arc<dyn Watcher> = tracking.tracker.clone();
        run_and_remember(call, row, &watcher)
    } else {
        call.start_or_go_on(row)
    };
    // What CLIENT CACHING has said holds for one command, or for all of a transaction.
    let goes_on = call.guards.is_sealed() || call.state.transaction.is_some() || is_word(call.arg(0), "client");
    if !goes_on && let Some(tracking) = &mut call.state.tracking {
        tracking.end_caching();
    }
    outcome
}

/// A script reads by the commands that it calls.
fn reads_keys(row: &Command) -> bool {
    row.flags.intersects(Flags::READONLY) && row.keys != Keys::NONE && row.group != Group::Scripting
}

fn run_and_remember(call: &mut Call, row: &Command, watcher: &Arc<dyn Watcher>) -> Result<(), Stop> {
    let keys = row.keys.positions(call.args).map(call.keys());
    let was_sealed = call.guards.is_sealed();
    if !was_sealed {
        call.seal(keys.clone().map(|key| key.hash))?;
    }
    let outcome = call.start_or_go_on(row);
    // It has read already when there is more to do.
    if outcome.is_ok() || call.state.unfinished.is_some() {
        keys.for_each(|key| call.guards.shard(key.hash).track(key, watcher, call.now));
    }
    if !was_sealed {
        call.guards.unseal();
    }
    outcome
}

impl Tracking {
    /// The command that CLIENT CACHING was about has come.
    pub fn end_caching(&mut self) {
        self.caching = None;
    }

    /// Memory held.
    pub fn held_bytes(&self) -> usize {
        size_of::<Tracking>() + self.held_bytes
    }
}

impl ConnectionState {
    pub fn stop_tracking(&mut self, guards: &mut ShardGuards) {
        let Some(tracking) = self.tracking.take() else { return };
        self.client.stop_tracking();
        tracking.tracker.stopped.store(true, Relaxed);
        if tracking.broadcast {
            let watcher: Arc<dyn Watcher> = tracking.tracker;
            // A shard that a script has finds out by itself that the watcher is gone.
            for shard in 0..guards.keyspace().shards() {
                if let Ok(shard) = guards.lock_number(shard) {
                    tracking.prefixes.iter().for_each(|prefix| shard.unwatch_prefix(prefix, &watcher));
                }
            }
        }
    }
}

/// What CLIENT TRACKING's words ask for.
#[derive(Default)]
struct Options<'c> {
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<&'c [u8]>,
    redirect: Option<Arc<Client>>,
}

impl<'c> Options<'c> {
    fn parse(call: &Call<'c, '_>) -> Result<Options<'c>, Stop> {
        let mut options = Options::default();
        let mut index = 3;
        while index < call.args.len() {
            let word = call.arg(index);
            let has_more = index + 1 < call.args.len();
            match word {
                _ if is_word(word, "BCAST") => options.broadcast = true,
                _ if is_word(word, "OPTIN") => options.opt_in = true,
                _ if is_word(word, "OPTOUT") => options.opt_out = true,
                _ if is_word(word, "NOLOOP") => options.no_loop = true,
                _ if is_word(word, "PREFIX") && has_more => {
                    index += 1;
                    if options.prefixes.len() == limits::TRACKING_PREFIXES_MAX {
                        return Err(too_many_prefixes());
                    }
                    options.prefixes.push(call.arg(index));
                }
                _ if is_word(word, "REDIRECT") && has_more => {
                    index += 1;
                    if options.redirect.is_some() {
                        return Err("ERR A client can only redirect to a single other client".into());
                    }
                    let target = u64::try_from(call.integer(index)?).ok();
                    let target = target.and_then(|id| call.shared.clients.find(id));
                    options.redirect = Some(target.ok_or("ERR The client ID you want redirect to does not exist")?);
                }
                _ => return Err(error::SYNTAX.into()),
            }
            index += 1;
        }
        Ok(options)
    }

    fn check(&self, current: Option<&Tracking>) -> Result<(), Stop> {
        if let Some(prefix) = self.prefixes.iter().find(|prefix| prefix.len() > limits::KEY_MAX_BYTES) {
            let (length, most) = (prefix.len(), limits::KEY_MAX_BYTES);
            return Err(format!("ERR the prefix has {length} bytes, the longest key may have {most}").into());
        }
        if !self.prefixes.is_empty() && !self.broadcast {
            return Err("ERR PREFIX option requires BCAST mode to be enabled".into());
        }
        if current.is_some_and(|current| current.broadcast != self.broadcast) {
            return Err("ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then \
                        re-enabling it with a different mode."
                .into());
        }
        if self.broadcast && (self.opt_in || self.opt_out) {
            return Err("ERR OPTIN and OPTOUT are not compatible with BCAST".into());
        }
        if self.opt_in && self.opt_out {
            return Err("ERR You can't specify both OPTIN mode and OPTOUT mode".into());
        }
        if current.is_some_and(|current| self.opt_in && current.opt_out || self.opt_out && current.opt_in) {
            return Err("ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
                        re-enabling it with a different mode."
                .into());
        }
        let existing = current.map_or(&[][..], |current| &current.prefixes);
        if existing.len() + self.prefixes.len() > limits::TRACKING_PREFIXES_MAX {
            return Err(too_many_prefixes());
        }
        for (index, prefix) in self.prefixes.iter().enumerate() {
            let provided = self.prefixes[index + 1..].iter().map(|other| (*other, "another provided"));
            let existing = existing.iter().map(|other| (&**other, "an existing"));
            for (other, which) in provided.chain(existing) {
                if prefix.starts_with(other) || other.starts_with(prefix) {
                    return Err(format!(
                        "ERR Prefix '{}' overlaps with {which} prefix '{}'. Prefixes for a single client must not overlap.",
                        error::echo(prefix),
                        error::echo(other)
                    )
                    .into());
                }
            }
        }
        Ok(())
    }
}

fn too_many_prefixes() -> Stop {
    let most = limits::TRACKING_PREFIXES_MAX;
    format!("ERR a connection can track {most} prefixes; take shorter ones that cover more, or another connection")
        .into()
}

pub fn client_tracking(call: &mut Call) -> Result<(), Stop> {
    let options = Options::parse(call)?;
    if is_word(call.arg(2), "OFF") {
        call.state.stop_tracking(call.guards);
    } else if is_word(call.arg(2), "ON") {
        options.check(call.state.tracking.as_deref())?;
        turn_on(call, options)?;
    } else {
        return Err(error::SYNTAX.into());
    }
    call.reply.ok();
    Ok(())
}

/// What a prefix takes beside its text, in each place where it is kept.
const PREFIX_BYTES: usize = 128;

fn turn_on(call: &mut Call, options: Options) -> Result<(), Stop> {
    let Call { state, guards, shared, now, .. } = call;
    let mut shards = if options.broadcast { Some(lock_all(guards, shared, *now)?) } else { None };
    let client = &state.client;
    client.track(options.broadcast, options.redirect.as_ref());
    let tracking = state.tracking.get_or_insert_with(|| {
        let (no_loop, stopped) = Default::default();
        let tracker = Tracker { client: Arc::downgrade(client), id: client.id, no_loop, stopped };
        Box::new(Tracking {
            tracker: Arc::new(tracker),
            broadcast: options.broadcast,
            opt_in: false,
            opt_out: false,
            caching: None,
            prefixes: Vec::new(),
            held_bytes: 0,
        })
    });
    tracking.tracker.no_loop.store(options.no_loop, Relaxed);
    (tracking.opt_in, tracking.opt_out) = (options.opt_in, options.opt_out);
    let mut prefixes = options.prefixes;
    if options.broadcast && prefixes.is_empty() && tracking.prefixes.is_empty() {
        prefixes.push(b"");
    }
    let watcher: Arc<dyn Watcher> = tracking.tracker.clone();
    for prefix in prefixes {
        tracking.prefixes.push(prefix.into());
        tracking.held_bytes += (prefix.len() + PREFIX_BYTES) * (shared.cores + 1);
        shards.iter_mut().for_each(|shards| shards.each(|shard| shard.watch_prefix(prefix, &watcher)));
    }
    Ok(())
}

pub fn client_caching(call: &mut Call) -> Result<(), Stop> {
    let Some(tracking) = &mut call.state.tracking else {
        return Err(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                    enabled"
                .into(),
        );
    };
    let word = call.args.get(2);
    if is_word(word, "YES") {
        if !tracking.opt_in {
            return Err("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.".into());
        }
        tracking.caching = Some(true);
    } else if is_word(word, "NO") {
        if !tracking.opt_out {
            return Err("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.".into());
        }
        tracking.caching = Some(false);
    } else {
        return Err(error::SYNTAX.into());
    }
    call.reply.ok();
    Ok(())
}

pub fn client_getredir(call: &mut Call) -> Result<(), Stop> {
    call.reply.integer(call.state.client.redirection());
    Ok(())
}

pub fn client_trackinginfo(call: &mut Call) -> Result<(), Stop> {
    let client = &call.state.client;
    let tracking = call.state.tracking.as_deref();
    let mut flags = vec![if tracking.is_some() { "on" } else { "off" }];
    let mut prefixes: &[Box<[u8]>] = &[];
    if let Some(tracking) = tracking {
        let set = [
            (tracking.broadcast, "bcast"),
            (tracking.opt_in, "optin"),
            (tracking.opt_in && tracking.caching == Some(true), "caching-yes"),
            (tracking.opt_out, "optout"),
            (tracking.opt_out && tracking.caching == Some(false), "caching-no"),
            (tracking.tracker.no_loop.load(Relaxed), "noloop"),
            (client.has_broken_redirection(), "broken_redirect"),
        ];
        flags.extend(set.into_iter().filter(|(on, _)| *on).map(|(_, name)| name));
        prefixes = &tracking.prefixes;
    }
    write_info(call.reply, &flags, client.redirection(), prefixes);
    Ok(())
}

fn write_info(reply: &mut Reply, flags: &[&str], redirection: i64, prefixes: &[Box<[u8]>]) {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.integer(redirection);
    reply.bulk(b"prefixes");
    reply.array(prefixes.len());
    prefixes.iter().for_each(|prefix| reply.bulk(prefix));
}
