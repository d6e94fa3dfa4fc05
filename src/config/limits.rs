//! Every bound of the server, with its reason and with what happens when it is reached. It knows no other module;
//! what an operator may change is an option in `config.rs` whose default stands here.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// One receive or send buffer. Large enough for a pipeline of 64 small requests or replies; small enough that 1,024
/// of them are 16 MiB of locked memory. It also bounds what one connection can make the core do in one turn.
pub const IO_BUFFER_BYTES: usize = 16 * KIB;

/// What one send hands to the kernel at most: a large value goes out in pieces, and others have their turn between.
pub const SEND_MAX_BYTES: usize = 256 * KIB;

/// What the kernel's registry of one ring holds; tokio-uring drops the excess silently, so we never offer more.
/// Beyond them a connection waits without a buffer (poll first) and is then served from an ordinary one.
pub const REGISTERED_BUFFERS_MAX: usize = 1024;

/// A core that blocks in its ring lets its tasks have their turn after so long, and stops to wake for them when so many
/// such ticks have brought nothing.
pub const RING_TICK_MS: u64 = 1;
pub const RING_QUIET_TICKS: u32 = 20;

/// Of a ring of registered buffers the kernel is offered so many at first, and twice as many each time it runs out.
pub const OFFERED_BUFFERS: u16 = 64;

/// The pool of registered buffers takes at most this share of the memory cap, over all cores.
pub const REGISTERED_SHARE: usize = 64;

/// Ordinary buffers that a core keeps for reuse; more are allocated when needed and freed after.
pub const SPARE_BUFFERS_MAX: usize = 64;

/// A connection that has been silent for so long gives its armed buffer back while buffers are short.
pub const ARMED_IDLE_MS: u64 = 1_000;

/// Items that are drawn at random where the policy goes by that, of which the least used is evicted. Redis documents that
/// ten come close to looking at all.
pub const EVICTION_SAMPLES: usize = 10;

/// The largest `lfu-log-factor` and `lfu-decay-time`, as in Redis.
pub const LFU_RULES_MAX: u32 = i32::MAX as u32;

/// Requests that are parsed ahead, so that their memory can be fetched while the first ones run.
pub const BATCH_REQUESTS_MAX: usize = 64;

/// Requests that one connection runs before the others have their turn; the rest waits in its buffer.
pub const TURN_REQUESTS_MAX: usize = 1024;

/// A turn ends after so long, whatever is left of its requests; a command that takes longer goes on in the next one. With
/// the request that runs at that moment it keeps a core for 2 ms at most.
pub const TURN_TIME: Duration = Duration::from_millis(1);

/// Arguments that are parsed ahead together; a batch ends early rather than hold more.
pub const BATCH_ARGUMENTS_MAX: usize = 1024;

/// Commands with more arguments are timed by themselves, see `timing.rs`.
pub const QUICK_ARGUMENTS_MAX: usize = 16;

/// When commands slower than this are to be noted, each is timed by itself: a batch of quick ones takes about as long.
pub const TIMED_TOGETHER_MIN_NANOS: u64 = 1_000_000;

/// The slow log: entries unless CONFIG SET says otherwise, the most that it may say, and what of a command's arguments
/// an entry keeps. Redis keeps as much of each.
pub const SLOWLOG_MICROS: i64 = 10_000;
pub const SLOWLOG_LEN: usize = 128;
pub const SLOWLOG_LEN_MAX: usize = 1024;
pub const SLOWLOG_ARGUMENTS_MAX: usize = 32;
pub const SLOWLOG_ARGUMENT_MAX_BYTES: usize = 128;
/// ... unless CONFIG SET says otherwise; what all entries of a log hold is bounded too: the oldest go. A part of the
/// process's own memory.
pub const COMMANDLOG_ARGUMENTS_MAX: usize = 1024;
pub const COMMANDLOG_ARGUMENT_MAX_BYTES: usize = 16 * KIB;
pub const COMMANDLOG_MAX_BYTES: usize = 2 * MIB;
/// Requests and replies from this size on are logged as large; as in Valkey.
pub const COMMANDLOG_LARGE_BYTES: i64 = MIB as i64;

/// Users that ACL SETUSER, or a users file, makes: more are an error. ...
pub const ACL_USERS_MAX: usize = 1024;
/// ... and of one user the rules, all of them, their passwords, and the sets of rules beside the first. They are charged to
/// the memory of connections.
pub const ACL_USER_MAX_BYTES: usize = 32 * KIB;
pub const ACL_PASSWORDS_MAX: usize = 64;
pub const ACL_SELECTORS_MAX: usize = 16;
/// Patterns of keys and channels of one user, and the length of one: each key of a request is held against all of them.
pub const ACL_PATTERNS_MAX: usize = 64;
pub const ACL_PATTERN_MAX_BYTES: usize = 256;
/// A users file: a larger one is refused.
pub const ACL_FILE_MAX_BYTES: u64 = 4 * MIB as u64;

/// The log of what users were refused: entries unless CONFIG SET says otherwise, the most that it may say, and what an entry
/// keeps of a key's or a user's name and of the line about the client. A part of the process's own memory.
pub const ACL_LOG_LEN: usize = 128;
pub const ACL_LOG_LEN_MAX: usize = 1024;
pub const ACL_LOG_TEXT_MAX_BYTES: usize = 128;
pub const ACL_LOG_CLIENT_MAX_BYTES: usize = 512;

/// Seconds that the history of one latency event goes back over, those in which nothing happened not counted.
pub const LATENCY_HISTORY_MAX: usize = 160;

/// Lines of the log of one kind that clients can bring about at will (wrong passwords, bytes that are no requests,
/// connections refused), in so many milliseconds; the next line says how many were left out.
pub const LOG_SPARSE_LINES: u64 = 10;
pub const LOG_SPARSE_MS: u64 = 10_000;

/// Codes of errors that are counted apart. Redis has this bound, too.
pub const ERROR_CODES_MAX: usize = 128;

/// Bytes in a request line or an inline command: `too big ... string`, then close. Redis's PROTO_INLINE_MAX_SIZE.
pub const INLINE_MAX_BYTES: usize = 64 * KIB;

/// Arguments of a request: `invalid multibulk length`, then close (option `max-arguments`). As many as Redis takes. Eight
/// bytes for each are charged with the request as it arrives; commands look at them one by one and keep no list of them.
pub const ARGUMENTS_MAX: usize = 1_048_576;

/// Arguments of a command that is about no keys: more are an error. What it makes of them, it makes at once.
pub const KEYLESS_ARGUMENTS_MAX: usize = 4096;

/// Before authentication: `unauthenticated multibulk length` or `unauthenticated bulk length`, then close.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
pub const UNAUTHENTICATED_ARGUMENT_BYTES: usize = 16 * KIB;

/// The head of an HTTP request, its request line and its headers together: 414 or 431, then close. A key has to fit into it,
/// percent-encoded.
pub const HTTP_HEAD_MAX_BYTES: usize = 16 * KIB;

/// Headers of an HTTP request: 431, then close.
pub const HTTP_HEADERS_MAX: usize = 64;

/// What is received and thrown away of the body of an HTTP request that is refused, so that its sender reads why; then the
/// connection is closed.
pub const HTTP_DISCARDED_BYTES: usize = MIB;

/// A key in memcached's protocol: `bad command line format`, as in memcached.
pub const MEMCACHED_KEY_MAX_BYTES: usize = 250;

/// Key and value together, through memcached's protocol: `object too large for cache`, unless an option says otherwise
/// (`memcached-max-item-size`). As in memcached.
pub const MEMCACHED_ITEM_BYTES: usize = MIB;

/// A line without an end in memcached's protocol: `line too long`, then close. The keys of a longer `get` are taken from it as
/// they come.
pub const MEMCACHED_LINE_MAX_BYTES: usize = 2048;

/// Fields of a request over Protobuf, the keys of a multi_get included: an error, then close. Two bytes may be one, and all
/// of a request is looked through in one go, about a millisecond for so many.
pub const PROTOBUF_FIELDS_MAX: usize = 65_536;

/// What a meta command of memcached's protocol has to give back: `opaque token too long`, as in memcached.
pub const MEMCACHED_OPAQUE_MAX_BYTES: usize = 32;

/// Keys that `stats cachedump` of memcached's protocol tells: the rest is left out, as memcached leaves out what does not fit.
pub const MEMCACHED_DUMPED_KEYS_MAX: usize = 1000;

/// Bounds of the histograms of `/metrics`, as powers of two of nanoseconds: every second one from a microsecond to 17 seconds.
pub const METRICS_BUCKET_BITS: std::ops::RangeInclusive<u32> = 10..=34;

/// A value up to here has an ETag, which is a digest of its bytes: some 0.3 ms of reading. A larger one has none.
pub const HTTP_TAGGED_VALUE_BYTES: usize = 4 * MIB;

/// An argument from this size on is received into memory of its own and becomes the value without another copy. As much
/// as a receive takes: what is larger comes in pieces in any case.
pub const STREAMED_ARGUMENT_MIN_BYTES: usize = IO_BUFFER_BYTES;

/// Of a streamed argument of which so much is still to come, what has come is received straight to where it will lie: less
/// is not worth to ask how much has come. ...
pub const PLACED_MIN_BYTES: usize = 16 * KIB;
/// ... In one turn at most so much: some 50 us of copying for the kernel.
pub const PLACED_MAX_BYTES: usize = 256 * KIB;

/// Receives for which a connection is polled after it has filled a buffer: the kernel does not fill the ring's buffers with
/// what is better received in place, and others have their turns.
pub const POLLS_AFTER_MUCH: u8 = 16;

/// Replies over TLS are encrypted so far ahead of the socket, and no further: what waits is the values where they lie.
pub const TLS_AHEAD_BYTES: usize = 256 * KIB;

/// What one core keeps to decrypt into.
pub const TLS_SCRATCH_BYTES: usize = 64 * KIB;

/// What a TLS connection is charged for keys and state, and beside that until its handshake is over.
pub const TLS_CONNECTION_BYTES: usize = 4 * KIB;
pub const TLS_HANDSHAKE_BYTES: usize = 12 * KIB;

/// A value, whatever the options say: Redis's own limit, `string exceeds maximum allowed size`.
pub const VALUE_MAX_BYTES: usize = 512 * MIB;

/// Keys that one connection watches: WATCH of more is an error. To watch or to forget one takes a fifth of a microsecond.
pub const WATCHED_KEYS_MAX: usize = 4096;

/// Prefixes that one connection tracks in BCAST mode: more are an error. Each is held against all others of its connection
/// when it comes, and each takes a place in every shard.
pub const TRACKING_PREFIXES_MAX: usize = 1024;

/// Numbers and words that a filter of CLIENT LIST or CLIENT KILL names: more are an error. Each connection is held against
/// all of them.
pub const CLIENT_FILTER_WORDS_MAX: usize = 1024;

/// A key longer than this is refused with an error: comparing keys, matching them with patterns and telling of them is done
/// while a shard is locked.
pub const KEY_MAX_BYTES: usize = 65_535;

/// A shared value of this size and above is sent from where it lies; a smaller one is copied into the reply.
pub const SHARED_REPLY_MIN_BYTES: usize = 16 * KIB;

/// A part of a shared value is sent from where it lies if it is at least one part in so many of it, and else copied: it
/// keeps the whole value in memory, and only its own bytes are charged.
pub const SHARED_PART: usize = 4;

/// Small replies that wait are kept in pieces of this size.
pub const REPLY_PIECE_BYTES: usize = 64 * KIB;

/// The share of the memory cap that requests being received and replies being sent may hold, all connections
/// together. What nobody uses of it is lent to data, under the policies that can evict whatever is there, ...
pub const CLIENT_MEMORY_SHARE: usize = 8;
/// ... but for one part in so many of it, and at least so much, beside what has been used of late: most of what comes finds room
/// before anything has to be evicted for it.
pub const CLIENT_MEMORY_FREE_SHARE: usize = 32;
pub const CLIENT_MEMORY_FREE_MIN_BYTES: usize = MIB;
/// Who needs what is lent takes it back himself, for so long in each turn.
pub const RECALL_TIME: Duration = Duration::from_micros(200);

/// Of that memory, replies in waiting leave one part in so many to requests in arrival: whoever does not read keeps
/// nobody from sending.
pub const CLIENT_MEMORY_FOR_REQUESTS: usize = 4;

/// Connections charge that memory in steps of this size, so that the shared counter is touched rarely; what holds less
/// than one step is charged in small ones, so that a crowd is charged for what it has sent.
pub const CLIENT_MEMORY_STEP_BYTES: usize = 16 * KIB;
pub const CLIENT_MEMORY_SMALL_STEP_BYTES: usize = 256;

/// What goes beyond the client memory for requests that need little, when others hold all of it: a part of the process's own
/// memory.
pub const CLIENT_MEMORY_RESERVE_BYTES: usize = 4 * MIB;
/// A connection that holds no more of requests needs little: where even the reserve is taken, those that hold the most are
/// closed for it.
pub const LITTLE_REQUEST_BYTES: usize = 64 * KIB;

/// What replies that wait may hold of each connection without being charged: 10 MiB for 10,000 of them, a part of the
/// process's own memory. Room for more is asked for before a reply is made; where there is none the request waits in line.
pub const FREE_REPLY_BYTES: usize = KIB;

/// A read that may reply with more asks for room before. A command that has not asked, cannot be run again and replies with
/// more is done, but its reply is left out when there is no room.
pub const UNASKED_REPLY_BYTES: usize = 64 * KIB;

/// A write of less than this makes its room in the shard by itself; a larger one lets others in between, see
/// `Shard::make_room`.
pub const SMALL_WRITE_BYTES: usize = 16 * KIB;

/// Messages from other connections' turns that wait for one client (MONITOR, for one): whoever takes them more slowly
/// than they come is closed. They are charged to the client memory too.
pub const INBOX_MAX_BYTES: usize = 4 * MIB;

/// Keys that a client which caches is told to forget one message each; what comes while so many wait is packed into one
/// message, and beyond its bound the client is told to forget everything.
pub const INVALIDATIONS_ALONE_MAX: usize = 64;
pub const INVALIDATIONS_MAX_BYTES: usize = 256 * KIB;

/// What MONITOR shows of one argument, and about how much of one command; the rest is counted.
pub const MONITOR_ARGUMENT_MAX_BYTES: usize = 4 * KIB;
pub const MONITOR_LINE_MAX_BYTES: usize = 64 * KIB;
/// Keys that one SCAN looks at, whatever its COUNT says: the reply is short, and the cursor goes on from there.
pub const SCAN_KEYS_MAX: usize = 4096;

/// Keys, and bytes of keys, that SCAN and KEYS look at before they let go of a shard: some ten microseconds.
pub const SCAN_STEP_KEYS: usize = 256;
pub const SCAN_STEP_BYTES: usize = 64 * KIB;

/// Bytes of keys after which a SCAN ends early.
pub const SCAN_REPLY_BYTES: usize = 256 * KIB;

/// The pattern of SCAN or KEYS: matching takes the product of its length and the key's. A longer one is refused.
pub const PATTERN_MAX_BYTES: usize = 1024;

/// Places in the table of LCS, the product of both lengths: a bit each, and about a nanosecond.
pub const LCS_PLACES_MAX: u64 = 1 << 26;

/// Replies queued for one connection before its next requests wait (option `client-output-limit`).
pub const OUTPUT_LIMIT_BYTES: usize = 64 * MIB;

/// One request and the values in it, while it arrives (option `client-query-limit`): `OOM`-error, then close.
pub const QUERY_LIMIT_BYTES: usize = 1024 * MIB;

/// A client that takes none of its waiting replies for so long is closed: sooner where others wait for the
/// room, and soonest where they want little.
pub const OUTPUT_STALL_MS: u64 = 60_000;
pub const OUTPUT_STALL_WAITED_FOR_MS: u64 = 10_000;
pub const OUTPUT_STALL_IN_NEED_MS: u64 = 1_000;

/// A client that has sent a part of a request, and for so long nothing more, is closed where others have waited for room for
/// too long and such as it hold most of it.
pub const REQUEST_STALL_MS: u64 = 1_000;

/// Percentiles that `latency-tracking-info-percentiles` may name.
pub const PERCENTILES_MAX: usize = 32;

/// Connections at a time (option `maxclients`): `max number of clients reached`, then close.
pub const CLIENTS_MAX: usize = 10_000;

/// Descriptors the process needs beside its clients: listeners, rings, event loops, log, files.
pub const DESCRIPTORS_RESERVED: usize = 64;

/// The listen queue (option `tcp-backlog`); the kernel cuts it to net.core.somaxconn.
pub const BACKLOG: u32 = 4096;

/// After a failed accept (no descriptors left, above all) the accept task rests for so long: it never spins.
pub const ACCEPT_BACKOFF_MS: u64 = 100;

/// Connections that a core accepts in a row; then others have their turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// How often a core looks after its idle connections, and how often its shard when nothing is due: less often while nobody
/// asks for anything, or an idle server would wake for nothing.
pub const JANITOR_PERIOD_MS: u64 = 500;
pub const SHARD_TICK_MS: u64 = 50;
pub const SHARD_QUIET_TICK_MS: u64 = 200;

/// What the cores may keep of copies of the hottest values (option `hot-cache`): this share of the memory cap, set aside like
/// the buffers, but no more for each core than what its nearer caches hold; the copy not used for the longest time goes. Who
/// asks for more gets up to the other share.
pub const HOT_SHARE: usize = 256;
pub const HOT_SHARE_MAX: usize = 16;
pub const HOT_CORE_BYTES: usize = MIB;

/// A key and a value that are larger together are not copied: the copy is made under the shard's lock.
pub const HOT_ITEM_MAX_BYTES: usize = 4 * KIB;

/// A value is copied when its key leads by so many of the sampled reads of its cell of the sketch, of which one in 32 is. Fewer
/// would copy what is read now and then; more would find it later.
pub const HOT_SAMPLES: u32 = 4;

/// Keys of whose uses a core tells the shards in one tick; the others follow in the next. Some 50 us.
pub const HOT_TOLD_PER_TICK: usize = 256;

/// A shard's upkeep goes on for so long before the connections have their turn, and rests for so long, while there is more to
/// do: millions of items that expire together take a part of their core until they are gone.
pub const UPKEEP_TIME: Duration = Duration::from_micros(500);
pub const UPKEEP_REST_MS: u64 = 1;

/// How long the drain may take after SIGTERM (option `shutdown-timeout`, seconds). Docker kills after 10.
pub const SHUTDOWN_TIMEOUT_S: u64 = 8;

/// How long `kv-cache ping` waits for a server. Docker's health check and Kubernetes' probes wait a little longer.
pub const PING_TIMEOUT_MS: u64 = 2_000;
/// What `kv-cache ping` reads of a reply: two lines, of which an error may repeat a client's text.
pub const PING_REPLY_MAX_BYTES: usize = 1024;

/// A client's name, and its library's name and version.
pub const CLIENT_NAME_MAX_BYTES: usize = 1024;

/// What of a client's text is repeated in an error message.
pub const ERROR_ECHO_MAX_BYTES: usize = 128;

/// What one core's Lua interpreter may hold: `not enough memory`, and the interpreter starts anew. It is charged to the
/// memory of connections while a script runs; between scripts, what it holds.
pub const SCRIPT_MEMORY_SHARE: usize = 16;
pub const SCRIPT_MEMORY_MIN_BYTES: usize = 4 * MIB;
pub const SCRIPT_MEMORY_MAX_BYTES: usize = 64 * MIB;

/// A script runs with less when the memory of connections has no more, down to this: `-OOM`.
pub const SCRIPT_ROOM_MIN_BYTES: usize = 512 * KIB;

/// What an element of KEYS or ARGV takes in the interpreter beside its bytes.
pub const SCRIPT_ARGUMENT_BYTES: usize = 48;

/// An interpreter that holds more than twice what it held after its last collection, and this, collects its garbage
/// before the next script.
pub const SCRIPT_GARBAGE_BYTES: usize = MIB;

/// What one library call or one reply of a script may build outside of the interpreter: a table that contains itself in
/// many places would otherwise be written out without end.
pub const SCRIPT_BUILT_MAX_BYTES: usize = 16 * MIB;

/// How deep tables in a script's reply may be nested: `reached lua stack limit`.
pub const SCRIPT_REPLY_DEPTH_MAX: usize = 500;

/// The stack of a core's thread, reserved and not used: a script may call 200 functions of Lua's library within each other,
/// and the innermost may match a pattern 3,000 items deep or write JSON 1,000 tables deep.
pub const CORE_STACK_BYTES: usize = 8 * MIB;

/// How many instructions of Lua run between two looks at the clock and at SCRIPT KILL: about 100 microseconds.
pub const SCRIPT_PULSE_INSTRUCTIONS: u32 = 10_000;

/// The same for the commands that it calls, of which some take long.
pub const SCRIPT_PULSE_COMMANDS: usize = 10;

/// So long a request waits in the queue for a shard that a script has; beyond, it is put off and its core goes on with other
/// connections. Longer than the lock takes to let the next in the queue have its turn, which is a millisecond at most.
pub const SCRIPT_WAIT_MS: u64 = 2;

/// A script that has been running for so long is long: SCRIPT KILL ends it.
pub const SCRIPT_LONG_MS: u64 = 10;

/// How long the drain waits for a script.
pub const SCRIPT_DRAIN_MS: u64 = 1_000;

/// How often a core that is busy with a script looks after those who come meanwhile.
pub const SCRIPT_ATTEND_MS: u64 = 10;

/// How many of them it accepts at one look, and how much it takes from each.
pub const SCRIPT_ATTEND_ACCEPTS_MAX: usize = 16;
pub const SCRIPT_ATTEND_BYTES: usize = 4 * KIB;

/// A request that needs what a script holds is tried again after so long.
pub const REST_MS: u64 = 1;

/// From when on requests that need what a script holds are answered with BUSY (option `busy-reply-threshold`).
pub const BUSY_REPLY_THRESHOLD_MS: u64 = 5_000;

/// Scripts that are kept because EVAL brought them, as in Redis: the one not used for the longest time goes.
pub const SCRIPTS_EVALUATED_MAX: usize = 500;

/// Functions of all libraries together: FUNCTION LOAD of more is an error. Their sources count with those of scripts.
pub const FUNCTIONS_MAX: usize = 4096;

/// The sources of all scripts that are kept: a share of the memory cap, of which they are charged as the memory of
/// connections. SCRIPT LOAD beyond that is an error; EVAL makes room or keeps nothing.
pub const SCRIPTS_SHARE: usize = 32;
pub const SCRIPTS_MIN_BYTES: usize = MIB;
pub const SCRIPTS_MAX_BYTES: usize = 32 * MIB;

/// What the process itself may hold outside the cap: code, stacks, rings, tables of connections.
pub const PROCESS_MEMORY_BYTES: usize = 32 * MIB;

/// Address space that a core needs at least: 16 GiB for cells and 10 GiB for the index of each database in use, of which
/// only what is used is memory.
pub const ADDRESS_SPACE_PER_CORE_BYTES: usize = 64 * 1024 * MIB;

/// The least memory cap that leaves room for pools and a useful shard.
pub const MEMORY_CAP_MIN_BYTES: usize = 8 * MIB;

pub const THREADS_MAX: usize = 256;

// A full pipeline batch of small replies fits into one send.
const _: () = assert!(BATCH_REQUESTS_MAX * 256 <= IO_BUFFER_BYTES);
// An argument that fits into the receive buffer is never streamed.
const _: () = assert!(STREAMED_ARGUMENT_MIN_BYTES >= IO_BUFFER_BYTES);
// Before authentication nothing is streamed but what just fits.
const _: () = assert!(UNAUTHENTICATED_ARGUMENT_BYTES <= STREAMED_ARGUMENT_MIN_BYTES);
// Offsets into a request are 32 bits wide.
const _: () = assert!(QUERY_LIMIT_BYTES < u32::MAX as usize);

/// Registered buffers for each core under a memory cap: as many as the registry holds, unless they would take more
/// than their share. Half of them can be armed for receiving while the other half is being sent from.
pub const fn registered_buffers(memory_cap_bytes: usize, cores: usize) -> usize {
    let affordable = memory_cap_bytes / REGISTERED_SHARE / cores / IO_BUFFER_BYTES;
    if affordable < REGISTERED_BUFFERS_MAX { affordable } else { REGISTERED_BUFFERS_MAX }
}

/// What the sources of scripts may have, of a memory cap.
pub fn scripts_bytes(memory_cap_bytes: usize) -> usize {
    (memory_cap_bytes / SCRIPTS_SHARE).clamp(SCRIPTS_MIN_BYTES, SCRIPTS_MAX_BYTES)
}

/// The largest power of two that is no larger; 0 of 0. Rings of buffers have such sizes.
pub const fn power_of_two_within(count: usize) -> usize {
    if count == 0 { 0 } else { 1 << count.ilog2() }
}

/// What one core's interpreter may hold.
pub const fn script_bytes(memory_cap_bytes: usize, cores: usize) -> usize {
    let share = memory_cap_bytes / SCRIPT_MEMORY_SHARE / cores;
    if share < SCRIPT_MEMORY_MIN_BYTES {
        SCRIPT_MEMORY_MIN_BYTES
    } else if share > SCRIPT_MEMORY_MAX_BYTES {
        SCRIPT_MEMORY_MAX_BYTES
    } else {
        share
    }
}

/// What the items and tables of all shards may hold together, once clients and buffer pools have their shares.
pub const fn data_bytes(memory_cap_bytes: usize, registered_bytes: usize) -> usize {
    memory_cap_bytes - memory_cap_bytes / CLIENT_MEMORY_SHARE - registered_bytes
}

/// The largest value: what clients may hold while it arrives (with the rest of its request, and a little for others),
/// half of a shard, and Redis's own limit.
pub const fn largest_value_bytes(memory_cap_bytes: usize, shard_bytes: usize) -> usize {
    let mut largest = VALUE_MAX_BYTES;
    let arriving = memory_cap_bytes / CLIENT_MEMORY_SHARE - 8 * CLIENT_MEMORY_STEP_BYTES;
    if arriving < largest {
        largest = arriving;
    }
    if shard_bytes / 2 < largest {
        largest = shard_bytes / 2;
    }
    largest
}
