//! The tests at the wire: each starts the real server, speaks to it through a socket and looks at the bytes. All but
//! those about choosing an engine run on both. Where a new test goes:
//!
//! | it is about | file |
//! |---|---|
//! | a command's replies and errors | `strings`, `counters`, `keys`, `expiry` |
//! | client-side caching | `tracking`, `redirection` |
//! | MULTI, EXEC, WATCH | `transactions` |
//! | bits of values | `bits` |
//! | DUMP and RESTORE | `dump` |
//! | EVAL, SCRIPT | `scripting` |
//! | FUNCTION, FCALL | `functions`, `function_dump` |
//! | locks, counters and rate limits as libraries script them | `scripting_recipes` |
//! | what a long script does to others | `long_scripts` |
//! | scripts that mean harm: the collection in `tests/hostile/` | `hostile_scripts` |
//! | SCAN, KEYS, RANDOMKEY | `scan` |
//! | several databases | `databases` |
//! | handshake, authentication, names, end of a connection | `connection` |
//! | CLIENT for operators: LIST, KILL, PAUSE, REPLY | `clients` |
//! | CLUSTER of one node | `cluster` |
//! | INFO | `info` |
//! | users and what each may do, commands that nobody may run | `acl` |
//! | COMMAND, CONFIG, SLOWLOG, LATENCY, DEBUG, TIME | `introspection` |
//! | MONITOR, and messages that no request asked for | `monitor` |
//! | input that comes in pieces | `cut` |
//! | many requests without waiting for replies | `pipelines` |
//! | values that are streamed | `large_values` |
//! | clients that do not take their replies | `backpressure` |
//! | a bound of `limits.rs`, maxclients, timeout | `limits` |
//! | maxmemory and its policies | `memory_cap` |
//! | connections on cores | `balance`, `idle_connections` |
//! | copies of hot values that each core has for itself | `hot` |
//! | what concurrent clients may see | `linearizability`, and for several keys `keys` |
//! | input that is meant to hurt | `malicious` |
//! | signals, SHUTDOWN, the drain | `drain` |
//! | flags, environment, file, banner, ports | `options` |
//! | tune, ping, reload, the service manager | `operations` |
//! | the Unix socket | `unix_socket` |
//! | HTTP | `http` |
//! | memcached's protocol | `memcached` |
//! | Protobuf | `protobuf` |
//! | TLS | `tls`, and redis-cli and openssl at it `tls_clients` |
//! | curl, Python, Node and promtool at the door for HTTP | `http_clients` |
//! | hosts that forbid io_uring or locked memory | `engine_fallback` |
//! | what only the multishot driver meets | `multishot` |
//! | hosts that grant little memory, cores that fail | `host_limits` |
//! | a kernel that refuses memory to a server that runs | `refusals` |
//!
//! `harness` starts servers, `client` speaks to them, `wire` reads replies.

mod client;
mod function_dump;
mod functions;
mod harness;
mod wire;

mod acl;
mod backpressure;
mod balance;
mod bits;
mod clients;
mod cluster;
mod connection;
mod counters;
mod cut;
mod databases;
mod drain;
mod dump;
mod engine_fallback;
mod expiry;
mod host_limits;
mod hot;
mod hostile_scripts;
mod http;
mod http_clients;
mod idle_connections;
mod info;
mod introspection;
mod keys;
mod large_values;
mod limits;
mod linearizability;
mod malicious;
mod memcached;
mod memory_cap;
mod monitor;
mod multishot;
mod operations;
mod options;
mod protobuf;
mod pipelines;
mod redirection;
mod refusals;
mod scripting;
mod scripting_recipes;
mod long_scripts;
mod scan;
mod strings;
mod tls;
mod tls_clients;
mod tracking;
mod transactions;
mod unix_socket;
