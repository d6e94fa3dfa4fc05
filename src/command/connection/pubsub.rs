//! SUBSCRIBE and UNSUBSCRIBE, for the one channel that there is: what clients that cache redirect to a connection of RESP2.

use crate::clients::INVALIDATIONS;
use crate::command::{Call, Command, Flags, Found, Group, ReplyMode, Table};
use crate::message::error::Stop;
use crate::message::reply::{Reply, RespVersion};

pub const COMMANDS: &[Command] = &[
    row("subscribe", -2, subscribe).doc(
        "2.0.0",
        "channel [channel ...]",
        "Listens for what CLIENT TRACKING of others redirects to the connection: the channel `__redis__:invalidate`, and no \
         other.",
    ),
    row("unsubscribe", -1, unsubscribe).doc("2.0.0", "[channel [channel ...]]", "Stops listening."),
];

const fn row(name: &'static str, arity: i32, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::PubSub, run).flags(Flags::PUBSUB.union(Flags::NO_SCRIPT))
}

/// About what a message has beside the channel.
const MESSAGE_BYTES: usize = 64;

fn subscribe(call: &mut Call) -> Result<(), Stop> {
    if call.args.iter().skip(1).any(|channel| channel != INVALIDATIONS) {
        return Err("ERR kv-cache serves strings only: no pub/sub; the one channel is __redis__:invalidate, for what \
                    CLIENT TRACKING redirects"
            .into());
    }
    call.room((call.args.len() - 1) * (INVALIDATIONS.len() + MESSAGE_BYTES))?;
    call.state.client.set_subscribed(true);
    for channel in call.args.iter().skip(1) {
        answer(call, "subscribe", Some(channel), true);
    }
    Ok(())
}

fn unsubscribe(call: &mut Call) -> Result<(), Stop> {
    call.room(call.args.iter().skip(1).map(|channel| channel.len() + MESSAGE_BYTES).sum())?;
    let was_subscribed = call.state.client.is_subscribed();
    if call.args.len() == 1 {
        leave(call);
        answer(call, "unsubscribe", was_subscribed.then_some(INVALIDATIONS), false);
    }
    let mut is_subscribed = was_subscribed;
    for channel in call.args.iter().skip(1) {
        if is_subscribed && channel == INVALIDATIONS {
            is_subscribed = false;
            leave(call);
        }
        answer(call, "unsubscribe", Some(channel), is_subscribed);
    }
    Ok(())
}

/// Within a transaction it is one of EXEC's replies. A client that wants no replies hears it alone, as what is pushed.
fn answer(call: &mut Call, kind: &str, channel: Option<&[u8]>, is_subscribed: bool) {
    let write = |reply: &mut Reply| {
        reply.push(kind, 3);
        match channel {
            Some(channel) => reply.bulk(channel),
            None => reply.null(),
        }
        reply.integer(is_subscribed.into());
    };
    if call.guards.is_sealed() && call.state.replies != ReplyMode::All {
        let mut message = Reply::new(call.reply.version);
        write(&mut message);
        call.state.client.push(message.into_bytes());
    } else {
        write(call.reply);
    }
}

/// The connection hears nothing any more, after what it was to hear before. Within a transaction that cannot be told: the
/// client does not know yet that it had subscribed, or RESP3 tells it after the replies.
fn leave(call: &mut Call) {
    if !call.state.client.is_subscribed() {
        return;
    }
    call.state.client.set_subscribed(false);
    if !call.guards.is_sealed() {
        deliver(call);
    } else if call.reply.version == RespVersion::Resp2 {
        call.state.client.forget_invalidations();
    }
}

/// Writes what others have pushed here and now, before what changes how they push.
pub fn deliver(call: &mut Call) {
    loop {
        let pushed = call.state.client.take_pushed(usize::MAX);
        if pushed.is_empty() {
            break;
        }
        call.reply.write(&pushed);
        call.reply.cut();
    }
}

/// What a subscriber may ask in RESP2, where replies and messages look alike.
#[cold]
pub fn check(call: &mut Call, (place, row): Found) -> Result<(), Stop> {
    let is_allowed = row.flags.intersects(Flags::PUBSUB) || matches!(row.name, "ping" | "quit" | "reset");
    if is_allowed || call.state.client.version() == RespVersion::Resp3 {
        return Ok(());
    }
    call.stats.calls[place].rejected.add(1);
    let name = &Table::get().names()[place];
    let text = format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
    );
    Err(call.refuse(text.into()))
}
