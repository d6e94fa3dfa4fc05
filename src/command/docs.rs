//! COMMAND DOCS: what the rows say about commands.

use super::introspection::by_name;
use super::{Call, Found, Table};
use crate::error::Stop;
use crate::resp::reply::Reply;

pub fn docs(call: &mut Call) -> Result<(), Stop> {
    let found: Vec<Found> = if call.args.len() == 2 {
        Table::get().rows().iter().copied().enumerate().collect()
    } else {
        call.args.iter().skip(2).filter_map(by_name).collect()
    };
    call.reply.map(found.len());
    found.into_iter().for_each(|found| reply_docs(call.reply, found));
    Ok(())
}

fn reply_docs(reply: &mut Reply, found: Found) {
    let (place, row) = found;
    reply.bulk(Table::get().names()[place].as_bytes());
    reply.map(3 + !row.subcommands.is_empty() as usize);
    for (name, text) in [("summary", row.summary), ("since", row.since), ("group", row.group.name())] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !row.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(row.subcommands.len());
        row.subcommands.iter().for_each(|sub| {
            let sub = Table::get().subcommand(found, sub.name.as_bytes()).expect("it is among its container's");
            reply_docs(reply, sub);
        });
    }
}
