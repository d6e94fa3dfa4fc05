//! A connection as CLIENT LIST shows it, in Redis's fields and letters.

use std::fmt::Write;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::Relaxed;

use super::{Client, Encryption, Peer};
use crate::base::clock::UnixMillis;

impl Client {
    /// The address of the peer, and ours: `address:port`; for a Unix socket its path, and a port of 0.
    pub fn addresses(&self, unix_path: &str) -> (String, String) {
        match self.peer {
            Peer::Tcp { peer, local } => (peer.to_string(), local.to_string()),
            Peer::Unix => (format!("{unix_path}:0"), format!("{unix_path}:0")),
        }
    }

    /// In Redis's letters.
    pub fn flags(&self) -> String {
        let set = [
            (self.is_monitor(), 'O'),
            (self.is_subscribed(), 'P'),
            (self.queued.load(Relaxed) > 0, 'x'),
            (self.paused.load(Relaxed), 'b'),
            (self.tracks(), 't'),
            (self.has_broken_redirection(), 'R'),
            (self.tracks_prefixes(), 'B'),
            (self.peer == Peer::Unix, 'U'),
            (self.no_evict.load(Relaxed), 'e'),
            (self.no_touch.load(Relaxed), 'T'),
        ];
        let flags: String = set.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }

    /// What CLIENT CAPA has said, in Valkey's letters.
    pub fn capabilities(&self) -> &'static str {
        if self.redirects.load(Relaxed) { "r" } else { "" }
    }

    /// One line of CLIENT LIST, in Redis's fields; those that have no meaning here are 0. `omem` is what others have
    /// pushed, `obl` are the replies; `tot-mem` is charged for both and for requests in arrival.
    pub fn describe(&self, now: UnixMillis, unix_path: &str, command_name: impl Fn(usize) -> &'static str) -> String {
        let labels = self.labels().clone();
        let (addr, laddr) = self.addresses(unix_path);
        let command = match self.last_command.load(Relaxed) {
            0 => "NULL",
            place => command_name(place as usize - 1),
        };
        let mut line = String::with_capacity(384);
        write!(
            line,
            "id={} addr={addr} laddr={laddr} fd={} name={} age={} idle={} flags={} db={} sub={} psub=0 ssub=0 multi={} \
             watch={} qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs=0 rbp=0 obl={} oll=0 omem={} tot-mem={} events=r \
             cmd={command} user={} redir={} resp={} lib-name={} lib-ver={} capa={} \
             tot-net-in={} tot-net-out={} tot-cmds={} tls={} core={}",
            self.id,
            self.socket.as_raw_fd(),
            labels.name,
            now.saturating_sub(self.created) / 1000,
            now.saturating_sub(self.last_active.load(Relaxed)) / 1000,
            self.flags(),
            self.database.load(Relaxed),
            self.is_subscribed() as u8,
            self.queued.load(Relaxed) as isize - 1,
            self.watched.load(Relaxed),
            self.arrived_bytes.load(Relaxed),
            self.spare_bytes.load(Relaxed),
            self.queued_bytes.load(Relaxed),
            self.waiting_bytes.load(Relaxed),
            self.inbox.bytes(),
            self.held_bytes.load(Relaxed) + self.inbox.bytes(),
            labels.user(),
            self.redirection(),
            self.version.load(Relaxed),
            labels.lib_name,
            labels.lib_ver,
            self.capabilities(),
            self.input_bytes.get(),
            self.output_bytes.get(),
            self.commands.get(),
            Encryption::NAMES[self.encryption.load(Relaxed) as usize],
            self.core,
        )
        .expect("writing to a string");
        line
    }
}
