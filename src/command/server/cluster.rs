//! CLUSTER: the answers of one node that has all slots, for clients that speak to clusters alone (`--cluster-mode
//! emulated`). Nothing is moved, nothing fails over, and commands may name keys of several slots.
//!
//! The slot of a key is CRC-16/XMODEM of its hash tag, or of all of it, modulo 16,384:
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use crc::{CRC_16_XMODEM, Crc};

use crate::clients::Peer;
use crate::command::key::scan;
use crate::command::{Call, Command, Flags, Group, parse_integer, reply_help};
use crate::config::ClusterMode;
use crate::message::error::Stop;

const SLOTS: u16 = 16_384;

pub const COMMANDS: &[Command] = &[
    Command::container("cluster", Group::Cluster, CLUSTER).doc("3.0.0", "", "A container for Redis Cluster commands."),
    Command::new("readonly", 1, Group::Cluster, acknowledge).flags(Flags::FAST).doc(
        "3.0.0",
        "",
        "Accepted with --cluster-mode emulated: there are no replicas to read from.",
    ),
    Command::new("readwrite", 1, Group::Cluster, acknowledge).flags(Flags::FAST).doc(
        "3.0.0",
        "",
        "Accepted with --cluster-mode emulated: there are no replicas to read from.",
    ),
];

const CLUSTER: &[Command] = &[
    row("info", 2, info).doc("3.0.0", "", "Returns information about the state of the node."),
    row("myid", 2, myid).doc("3.0.0", "", "Returns the ID of the node."),
    row("myshardid", 2, myid).doc("7.2.0", "", "Returns the shard ID of the node."),
    row("slots", 2, slots).doc("3.0.0", "", "Returns the mapping of cluster slots to nodes: all to this one."),
    row("shards", 2, shards).doc("7.0.0", "", "Returns the mapping of cluster slots to shards: all to this one."),
    row("nodes", 2, nodes).doc("3.0.0", "", "Returns the cluster configuration for a node."),
    row("links", 2, links).doc("7.0.0", "", "Returns a list of all TCP links to and from peer nodes: none."),
    row("keyslot", 3, keyslot).doc("3.0.0", "key", "Returns the hash slot for a key."),
    row("countkeysinslot", 3, countkeysinslot).doc("3.0.0", "slot", "Returns the number of keys in a hash slot."),
    row("getkeysinslot", 4, getkeysinslot).doc("3.0.0", "slot count", "Returns the key names in a hash slot."),
    row("reset", -2, reset).doc("3.0.0", "[HARD | SOFT]", "Refused: the slots are this node's for good."),
    row("help", 2, help).doc("5.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Cluster, run).flags(Flags::NO_SCRIPT)
}

fn must_be_emulated(call: &Call) -> Result<(), Stop> {
    match call.shared.options.cluster_mode {
        ClusterMode::Emulated => Ok(()),
        ClusterMode::Off => Err("ERR This instance has cluster support disabled".into()),
    }
}

/// The slot of a key: of what stands between the first `{` and the next `}`, unless that is nothing.
pub fn slot_of(key: &[u8]) -> u16 {
    static CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    CHECKSUM.checksum(tag.unwrap_or(key)) % SLOTS
}

/// Where the client has reached this node, which is where it can reach it again.
fn own_address(call: &Call) -> (String, u16) {
    match call.state.client.peer {
        Peer::Tcp { local, .. } => (local.ip().to_canonical().to_string(), local.port()),
        Peer::Unix => ("127.0.0.1".to_owned(), call.shared.tcp_port),
    }
}

fn acknowledge(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    call.reply.ok();
    Ok(())
}

fn info(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    let fields = [
        ("cluster_state", "ok".to_owned()),
        ("cluster_slots_assigned", SLOTS.to_string()),
        ("cluster_slots_ok", SLOTS.to_string()),
        ("cluster_slots_pfail", "0".to_owned()),
        ("cluster_slots_fail", "0".to_owned()),
        ("cluster_known_nodes", "1".to_owned()),
        ("cluster_size", "1".to_owned()),
        ("cluster_current_epoch", "1".to_owned()),
        ("cluster_my_epoch", "1".to_owned()),
        ("cluster_stats_messages_sent", "0".to_owned()),
        ("cluster_stats_messages_received", "0".to_owned()),
        ("total_cluster_links_buffer_limit_exceeded", "0".to_owned()),
    ];
    let text: String = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
    call.reply.text(&text);
    Ok(())
}

fn myid(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    call.reply.bulk(call.shared.run_id.as_bytes());
    Ok(())
}

fn slots(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    let (ip, port) = own_address(call);
    call.reply.array(1);
    call.reply.array(3);
    call.reply.integer(0);
    call.reply.integer(SLOTS as i64 - 1);
    call.reply.array(4);
    call.reply.bulk(ip.as_bytes());
    call.reply.integer(port.into());
    call.reply.bulk(call.shared.run_id.as_bytes());
    call.reply.array(0);
    Ok(())
}

fn shards(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    let (ip, port) = own_address(call);
    let reply = &mut *call.reply;
    reply.array(1);
    reply.map(2);
    reply.bulk(b"slots");
    reply.array(2);
    reply.integer(0);
    reply.integer(SLOTS as i64 - 1);
    reply.bulk(b"nodes");
    reply.array(1);
    reply.map(7);
    for (name, value) in
        [("id", call.shared.run_id.as_str()), ("ip", &ip), ("endpoint", &ip), ("role", "master"), ("health", "online")]
    {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
    for (name, value) in [("port", i64::from(port)), ("replication-offset", 0)] {
        reply.bulk(name.as_bytes());
        reply.integer(value);
    }
    Ok(())
}

fn nodes(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    let (ip, port) = own_address(call);
    let line = format!(
        "{} {ip}:{port}@{} myself,master - 0 0 1 connected 0-{}\n",
        call.shared.run_id,
        u32::from(port) + 10_000,
        SLOTS - 1
    );
    call.reply.text(&line);
    Ok(())
}

fn links(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    call.reply.array(0);
    Ok(())
}

fn keyslot(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    call.reply.integer(slot_of(call.arg(2)).into());
    Ok(())
}

fn slot(call: &Call) -> Result<u16, Stop> {
    let number = parse_integer(call.arg(2)).and_then(|number| u16::try_from(number).ok());
    number.filter(|slot| *slot < SLOTS).ok_or("ERR Invalid or out of range slot".into())
}

/// There is no index of slots: it goes through all keys, in steps, as KEYS does.
fn countkeysinslot(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    let slot = slot(call)?;
    let (count, _) = scan::find_all(call, 0, &|key| slot_of(key) == slot)?;
    call.reply.integer(count as i64);
    Ok(())
}

fn getkeysinslot(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    let slot = slot(call)?;
    let most = call.integer(3).ok().and_then(|most| usize::try_from(most).ok()).ok_or("ERR Invalid number of keys")?;
    let (count, keys) = scan::find_all(call, most, &|key| slot_of(key) == slot)?;
    call.reply.array(count.min(most));
    call.reply.append(keys.into_output());
    Ok(())
}

fn reset(call: &mut Call) -> Result<(), Stop> {
    must_be_emulated(call)?;
    Err("ERR this node keeps all slots: --cluster-mode emulated is one node, which nothing can join or leave".into())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "cluster", CLUSTER);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        for (key, slot) in [
            ("foo", 12_182),
            ("123456789", 0x31C3),
            ("", 0),
            ("{user1000}.following", slot_of(b"user1000")),
            ("foo{}{bar}", slot_of(b"foo{}{bar}")),
            ("foo{{bar}}zap", slot_of(b"{bar")),
            ("foo{bar}{zap}", slot_of(b"bar")),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_ne!(slot_of(b"foo{}{bar}"), slot_of(b"bar"));
    }
}
