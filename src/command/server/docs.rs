//! COMMAND DOCS: what the rows say about commands. The structure of the arguments, from which redis-cli makes its
//! hints, is read off the row's syntax.

use crate::command::server::introspection::by_name;
use crate::command::{Call, Command, Found, Table};
use crate::message::error::Stop;
use crate::message::reply::Reply;

pub fn docs(call: &mut Call) -> Result<(), Stop> {
    let found: Vec<Found> = if call.args.len() == 2 {
        Table::get().listed_commands().collect()
    } else {
        call.args.iter().skip(2).filter_map(by_name).collect()
    };
    call.reply.map(found.len());
    found.into_iter().for_each(|found| reply_docs(call.reply, found));
    Ok(())
}

fn reply_docs(reply: &mut Reply, found: Found) {
    let (place, row) = found;
    let arguments = arguments(row);
    reply.bulk(Table::get().names()[place].as_bytes());
    reply.map(4 + !arguments.is_empty() as usize + !row.subcommands.is_empty() as usize);
    let texts =
        [("summary", row.summary), ("since", row.since), ("group", row.group.name()), ("complexity", complexity(row))];
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !arguments.is_empty() {
        reply_arguments(reply, &arguments);
    }
    if !row.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        let subcommands: Vec<_> = Table::get().subcommands(found).collect();
        reply.map(subcommands.len());
        subcommands.into_iter().for_each(|sub| reply_docs(reply, sub));
    }
}

/// How the time that a command takes grows.
fn complexity(row: &Command) -> &'static str {
    match row.name {
        "append" | "setrange" => "O(1) for what fits where the value lies; O(N) with its length where it has to move.",
        "getrange" | "substr" => {
            "O(N) with the length of the part; O(1) for a large one, which is sent from where it lies."
        }
        "lcs" => "O(N*M) with the lengths of both values.",
        "bitcount" | "bitpos" => "O(N) with the bytes that are looked at.",
        "bitop" => "O(N) with the length of the longest value.",
        "bitfield" | "bitfield_ro" => "O(1) for each operation.",
        "dump" | "restore" | "digest" => "O(N) with the length of the value.",
        "copy" => "O(1) for a large value, which is shared; O(N) with the length of a small one.",
        "keys" => "O(N) with the keys of the database.",
        "scan" => "O(1) for each call, O(N) for all keys.",
        "flushall" | "flushdb" | "swapdb" => "O(1); what is removed is freed in the background.",
        "eval" | "evalsha" | "eval_ro" | "evalsha_ro" | "fcall" | "fcall_ro" | "exec" => "As that of what is run.",
        "info" => "O(1), with the number of cores.",
        "list" | "kill" | "unpause" => "O(N) with the connections.",
        "get" | "latest" | "history" | "log" if row.group == crate::command::Group::Server => {
            "O(N) with what is returned."
        }
        "subscribe" | "unsubscribe" => "O(N) with the channels.",
        "command" | "docs" => "O(N) with the commands that are told of.",
        _ if row.keys.counted || row.keys.first != row.keys.last => "O(N) with the keys.",
        _ => "O(1)",
    }
}

/// An argument as manuals describe it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Argument {
    /// Empty for a group.
    name: String,
    token: String,
    optional: bool,
    multiple: bool,
    /// One of the parts, rather than all.
    choice: bool,
    parts: Vec<Argument>,
}

fn arguments(row: &Command) -> Vec<Argument> {
    let spaced = row.syntax.replace('[', " [ ").replace(']', " ] ").replace('<', " < ").replace('>', " > ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    Words { words: &words, at: 0 }.sequence()
}

/// The words and brackets of a syntax.
struct Words<'w> {
    words: &'w [&'w str],
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<&str> {
        self.at += 1;
        self.words.get(self.at - 1).copied()
    }

    /// Arguments that follow each other, up to a bar or the end of a bracket.
    fn sequence(&mut self) -> Vec<Argument> {
        let mut found: Vec<Argument> = Vec::new();
        while let Some(word) = self.words.get(self.at).copied() {
            match word {
                "|" | "]" | ">" => break,
                "[" | "<" => {
                    self.at += 1;
                    let group = self.group(word == "[");
                    found = attach_tokens(found);
                    // `key [key ...]`: what stood before, again and again.
                    if group.multiple && repeats(&found, &group) {
                        merge_repeated(&mut found, group);
                    } else {
                        found.push(group);
                    }
                }
                "..." => {
                    self.at += 1;
                    if let Some(last) = found.last_mut() {
                        last.multiple = true;
                    }
                }
                _ => {
                    self.at += 1;
                    found.push(word_argument(word));
                }
            }
        }
        attach_tokens(found)
    }

    /// What stands in brackets, its end included.
    fn group(&mut self, optional: bool) -> Argument {
        let mut choices = Vec::new();
        loop {
            choices.push(self.sequence());
            if self.next() != Some("|") {
                break;
            }
        }
        let mut parts: Vec<Argument> = choices.into_iter().map(together).collect();
        let mut group = match parts.len() {
            1 => parts.remove(0),
            _ => Argument { choice: true, parts, ..Argument::default() },
        };
        // The dots of `[key value ...]` stand behind its last word and mean all of them.
        if let Some(last) = group.parts.last_mut().filter(|_| !group.choice)
            && std::mem::take(&mut last.multiple)
        {
            group.multiple = true;
        }
        group.optional |= optional;
        group
    }
}

fn word_argument(word: &str) -> Argument {
    if word.bytes().any(|byte| byte.is_ascii_lowercase()) {
        Argument { name: word.to_owned(), ..Argument::default() }
    } else {
        Argument { token: word.to_owned(), ..Argument::default() }
    }
}

/// Several arguments as one.
fn together(mut sequence: Vec<Argument>) -> Argument {
    match sequence.len() {
        1 => sequence.remove(0),
        _ => Argument { parts: sequence, ..Argument::default() },
    }
}

/// A token belongs to what follows it: `EX seconds`.
fn attach_tokens(sequence: Vec<Argument>) -> Vec<Argument> {
    let mut attached: Vec<Argument> = Vec::new();
    for argument in sequence {
        match attached.last_mut() {
            Some(token) if token.is_pure_token() && argument.token.is_empty() && !argument.optional => {
                *token = Argument { token: std::mem::take(&mut token.token), ..argument };
            }
            _ => attached.push(argument),
        }
    }
    attached
}

/// The group names what the end of the sequence does.
fn repeats(before: &[Argument], group: &Argument) -> bool {
    let parts = if group.parts.is_empty() { std::slice::from_ref(group) } else { &group.parts[..] };
    let same = |before: &Argument, part: &Argument| {
        before.name == part.name && (part.token.is_empty() || before.token == part.token)
    };
    before.len() >= parts.len() && before[before.len() - parts.len()..].iter().zip(parts).all(|(a, b)| same(a, b))
}

fn merge_repeated(found: &mut Vec<Argument>, group: Argument) {
    let count = group.parts.len().max(1);
    let once = found.split_off(found.len() - count);
    found.push(Argument { multiple: true, ..together(once) });
}

impl Argument {
    fn is_pure_token(&self) -> bool {
        self.name.is_empty() && self.parts.is_empty()
    }

    fn kind(&self) -> &'static str {
        match self.name.as_str() {
            _ if self.choice => "oneof",
            _ if !self.parts.is_empty() => "block",
            "" => "pure-token",
            "key" | "newkey" | "source" | "destination" | "key1" | "key2" => "key",
            "pattern" => "pattern",
            "increment" | "decrement" | "offset" | "seconds" | "milliseconds" | "count" | "index" | "timeout"
            | "start" | "end" | "numkeys" | "cursor" | "db" | "client-id" | "maxage" => "integer",
            "unix-time-seconds" | "unix-time-milliseconds" => "unix-time",
            _ => "string",
        }
    }
}

fn reply_arguments(reply: &mut Reply, arguments: &[Argument]) {
    reply.bulk(b"arguments");
    reply.array(arguments.len());
    for argument in arguments {
        let kind = argument.kind();
        let name = match (&argument.name, &argument.token) {
            (name, _) if !name.is_empty() => name.clone(),
            (_, token) if !token.is_empty() => token.to_lowercase(),
            _ => kind.to_owned(),
        };
        let flags: Vec<_> = [(argument.optional, "optional"), (argument.multiple, "multiple")].into_iter().collect();
        let flags: Vec<_> = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).collect();
        let (has_token, has_parts) = (!argument.token.is_empty(), !argument.parts.is_empty());
        reply.map(2 + has_token as usize + !flags.is_empty() as usize + has_parts as usize);
        for (field, text) in [("name", name.as_str()), ("type", kind)] {
            reply.bulk(field.as_bytes());
            reply.bulk(text.as_bytes());
        }
        if has_token {
            reply.bulk(b"token");
            reply.bulk(argument.token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            flags.iter().for_each(|flag| reply.simple(flag));
        }
        if has_parts {
            reply_arguments(reply, &argument.parts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments written as a syntax again.
    fn shown(arguments: &[Argument]) -> String {
        let texts = arguments.iter().map(|argument| {
            let parts: Vec<_> = argument.parts.iter().map(|part| shown(std::slice::from_ref(part))).collect();
            let inner = match (argument.choice, parts.is_empty()) {
                (true, _) => format!("<{}>", parts.join(" | ")),
                (_, false) => format!("({})", parts.join(" ")),
                _ => argument.name.clone(),
            };
            let inner =
                format!("{} {inner}", argument.token).trim().to_owned() + if argument.multiple { "..." } else { "" };
            if argument.optional { format!("[{inner}]") } else { inner }
        });
        texts.collect::<Vec<_>>().join(" ")
    }

    fn check(syntax: &'static str, expect: &str) {
        let row = Command { syntax, ..Command::new("test", 1, crate::command::Group::Server, |_| Ok(())) };
        assert_eq!(shown(&arguments(&row)), expect, "{syntax}");
    }

    #[test]
    fn syntaxes_are_taken_apart() {
        check("", "");
        check("key", "key");
        check("key [key ...]", "key...");
        check("key value [key value ...]", "(key value)...");
        check(
            "key value [NX | XX] [GET] [EX seconds | KEEPTTL]",
            "key value [<NX | XX>] [GET] [<EX seconds | KEEPTTL>]",
        );
        check("<ON | OFF> [PREFIX prefix [PREFIX prefix ...]]", "<ON | OFF> [PREFIX prefix...]");
        check("[TYPE <NORMAL | PUBSUB>] [ID client-id [client-id ...]]", "[TYPE <NORMAL | PUBSUB>] [ID client-id...]");
        check("[section [section ...]]", "[section...]");
        check("[protover [AUTH username password]]", "[(protover [(AUTH username password)])]");
        check("numkeys key [key ...] [arg [arg ...]]", "numkeys key... [arg...]");
    }
}
