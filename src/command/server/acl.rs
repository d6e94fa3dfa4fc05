//! ACL: the users, what each may do, and what they were refused.

use crate::acl::log::Event;
use crate::acl::{DEFAULT, Rules, Selector, Unchanged, join_selectors};
use crate::command::server::introspection::{CATEGORIES, categories};
use crate::command::server::users;
use crate::command::{Call, Command, Flags, Group, Table, is_word, permission, reply_help};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::message::reply::Reply;

pub const COMMANDS: &[Command] =
    &[Command::container("acl", Group::Server, ACL).doc("6.0.0", "", "A container for Access List Control commands.")];

const ACL: &[Command] = &[
    row("whoami", 2, Flags::empty(), whoami).doc("6.0.0", "", "Returns the authenticated username."),
    row("users", 2, Flags::ADMIN, list_names).doc("6.0.0", "", "Lists all ACL users."),
    row("list", 2, Flags::ADMIN, list).doc("6.0.0", "", "Dumps the effective rules in ACL file format."),
    row("getuser", 3, Flags::ADMIN, getuser).doc("6.0.0", "username", "Lists the ACL rules of a user."),
    row("cat", -2, Flags::empty(), cat).doc(
        "6.0.0",
        "[category]",
        "Lists the ACL categories, or the commands inside a category.",
    ),
    row("genpass", -2, Flags::empty(), genpass).doc("6.0.0", "[bits]", "Generates a pseudorandom password."),
    row("dryrun", -4, Flags::ADMIN, dryrun)
        .doc("7.0.0", "username command [arg [arg ...]]", "Tells whether a user may run a command, without running it.")
        .secret(|args, at| {
            let inner = args.skip(3.min(args.len()));
            let found = (at > 3).then(|| Table::get().lookup(inner)).flatten();
            found.is_some_and(|(_, row)| (row.is_secret)(inner, at - 3))
        }),
    row("log", -2, Flags::ADMIN, log).doc("6.0.0", "[count | RESET]", "Lists recent refusals."),
    row("setuser", -3, Flags::ADMIN, setuser)
        .doc("6.0.0", "username [rule [rule ...]]", "Makes a user, or changes what a user may do.")
        .secret(|_, at| at > 2),
    row("deluser", -3, Flags::ADMIN, deluser).doc(
        "6.0.0",
        "username [username ...]",
        "Deletes users, and closes their connections.",
    ),
    row("load", 2, Flags::ADMIN, load).doc("6.0.0", "", "Takes the users from the file of --aclfile."),
    row("save", 2, Flags::ADMIN, save).doc("6.0.0", "", "Writes the users into the file of --aclfile."),
    row("help", 2, Flags::empty(), help).doc("6.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(flags.union(Flags::NO_SCRIPT))
}

fn whoami(call: &mut Call) -> Result<(), Stop> {
    let name = &call.state.access.user(&call.shared.settings.users).name;
    call.reply.bulk(name.as_bytes());
    Ok(())
}

fn list_names(call: &mut Call) -> Result<(), Stop> {
    let users = call.shared.settings.users.all();
    call.reply.array(users.len());
    users.iter().for_each(|user| call.reply.bulk(user.name.as_bytes()));
    Ok(())
}

fn list(call: &mut Call) -> Result<(), Stop> {
    let users = call.shared.settings.users.all();
    call.room(users.iter().map(|user| user.rules().held_bytes()).sum())?;
    call.reply.array(users.len());
    users.iter().for_each(|user| call.reply.bulk(&user.rules().describe(&user.name)));
    Ok(())
}

fn getuser(call: &mut Call) -> Result<(), Stop> {
    let Some(user) = call.shared.settings.users.find(call.arg(2)) else {
        call.reply.null();
        return Ok(());
    };
    let rules = user.rules();
    let (flags, passwords) = (rules.flags(), rules.passwords());
    let reply = &mut *call.reply;
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(passwords.len());
    passwords.for_each(|password| reply.bulk(password.as_bytes()));
    reply_selector(reply, rules.root());
    reply.bulk(b"selectors");
    reply.array(rules.selectors().len());
    for selector in rules.selectors() {
        reply.map(3);
        reply_selector(reply, selector);
    }
    Ok(())
}

fn reply_selector(reply: &mut Reply, selector: &Selector) {
    reply.bulk(b"commands");
    reply.bulk(selector.describe_commands().as_bytes());
    reply.bulk(b"keys");
    reply.bulk(&selector.describe_keys());
    reply.bulk(b"channels");
    reply.bulk(&selector.describe_channels());
}

fn cat(call: &mut Call) -> Result<(), Stop> {
    let table = Table::get();
    let names: Vec<&str> = match call.args.len() {
        2 => CATEGORIES.to_vec(),
        3 => {
            let wanted = call.arg(2);
            if !CATEGORIES.iter().any(|name| is_word(wanted, name)) {
                return Err(format!("ERR Unknown category '{}'", error::echo(wanted)).into());
            }
            let is_in = |(_, row): &(usize, &Command)| categories(row).iter().any(|name| is_word(wanted, name));
            table.listed().filter(is_in).map(|(place, _)| table.names()[place].as_str()).collect()
        }
        _ => return Err(crate::command::wrong_form(call.args)),
    };
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name.as_bytes()));
    Ok(())
}

fn genpass(call: &mut Call) -> Result<(), Stop> {
    let bits = match call.args.len() {
        2 => 256,
        3 => call.integer(2)?,
        _ => return Err(crate::command::wrong_form(call.args)),
    };
    if !(1..=4096).contains(&bits) {
        let text =
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096";
        return Err(text.into());
    }
    let digits = (bits as usize).div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut random).map_err(|error| format!("ERR the host gives no random bytes: {error}"))?;
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    call.reply.bulk(&password.as_bytes()[..digits]);
    Ok(())
}

fn dryrun(call: &mut Call) -> Result<(), Stop> {
    let Some(user) = call.shared.settings.users.find(call.arg(2)) else {
        return Err(format!("ERR User '{}' not found", error::echo(call.arg(2))).into());
    };
    let request = call.args.skip(3);
    let Some(found) = Table::get().lookup(request) else {
        return Err(format!("ERR Command '{}' not found", error::echo(request.get(0))).into());
    };
    let name = &Table::get().names()[found.0];
    if !found.1.accepts(request.len()) {
        return Err(crate::command::wrong_arity(name));
    }
    match permission::check(&user.rules(), found, request) {
        Ok(()) => call.reply.ok(),
        Err(denied) => call.reply.bulk(permission::reason(&denied, &user.name, name, true).as_bytes()),
    }
    Ok(())
}

fn log(call: &mut Call) -> Result<(), Stop> {
    let log = &call.shared.settings.users.log;
    let count = match call.args.len() {
        2 => 10,
        3 if is_word(call.arg(2), "RESET") => {
            log.clear();
            call.reply.ok();
            return Ok(());
        }
        3 => usize::try_from(call.integer(2)?).unwrap_or(0),
        _ => return Err(crate::command::wrong_form(call.args)),
    };
    let entries = log.latest(count);
    call.room(entries.len() * (limits::ACL_LOG_TEXT_MAX_BYTES * 4 + limits::ACL_LOG_CLIENT_MAX_BYTES))?;
    let reply = &mut *call.reply;
    reply.array(entries.len());
    for entry in entries {
        let Event { reason, context, object, user } = &entry.event;
        reply.map(10);
        reply.bulk(b"count");
        reply.integer(entry.count as i64);
        let texts =
            [("reason", reason.as_bytes()), ("context", context.as_bytes()), ("object", object), ("username", user)];
        for (name, text) in texts {
            reply.bulk(name.as_bytes());
            reply.bulk(text);
        }
        reply.bulk(b"age-seconds");
        reply.double(&format!("{:.3}", call.now.saturating_sub(entry.created_ms) as f64 / 1000.0));
        reply.bulk(b"client-info");
        reply.bulk(entry.client.as_bytes());
        let numbers = [
            ("entry-id", entry.id),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.updated_ms),
        ];
        for (name, number) in numbers {
            reply.bulk(name.as_bytes());
            reply.integer(number as i64);
        }
    }
    Ok(())
}

/// All of the rules, or none.
fn setuser(call: &mut Call) -> Result<(), Stop> {
    let users = &call.shared.settings.users;
    let name = users::checked_name(call.arg(2)).map_err(|text| format!("ERR {text}"))?;
    let words = join_selectors(call.args.iter().skip(3)).map_err(|unclosed| {
        format!("ERR Unmatched parenthesis in acl selector starting at '{}'.", error::echo(&unclosed))
    })?;
    let table = Table::get();
    let mut rules =
        users.find(call.arg(2)).map_or_else(|| Rules::nothing(table.names().len()), |user| (*user.rules()).clone());
    for word in &words {
        rules
            .apply(word, table)
            .map_err(|refused| format!("ERR Error in ACL SETUSER modifier '{}': {refused}", users::shown(word)))?;
    }
    let memory = &call.shared.clients.memory;
    if memory.used_bytes() + rules.held_bytes() > memory.limit_bytes() {
        return Err("OOM users, requests and replies in flight hold an eighth of maxmemory; raise maxmemory".into());
    }
    users.set(name, rules.clone()).map_err(|Unchanged::Full| {
        format!("ERR there may be {} users; ACL DELUSER makes room", limits::ACL_USERS_MAX)
    })?;
    call.shared.charge_users();
    call.state.closing |= users::close_subscribers(call.shared, name, &rules, Some(call.state.client.id));
    call.reply.ok();
    Ok(())
}

fn deluser(call: &mut Call) -> Result<(), Stop> {
    if call.args.iter().skip(2).any(|name| name == DEFAULT.as_bytes()) {
        return Err("ERR The 'default' user cannot be removed".into());
    }
    let mut deleted = Vec::new();
    for name in call.args.iter().skip(2) {
        if call.shared.settings.users.delete(name) {
            deleted.push(error::echo(name));
        }
    }
    call.shared.charge_users();
    // Whoever asks is told before.
    call.state.closing |= users::close_connections(call.shared, &deleted, Some(call.state.client.id));
    call.reply.integer(deleted.len() as i64);
    Ok(())
}

const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the \
                       ACL SETUSER command; --aclfile PATH names the file to take them from and to save them to.";

fn load(call: &mut Call) -> Result<(), Stop> {
    let path = call.shared.options.aclfile.as_deref().ok_or(NO_FILE)?;
    let loaded = users::read(path).map_err(|error| {
        format!("ERR {error} WARNING: ACL errors detected, no change to the previously active ACL rules was performed")
    })?;
    call.state.closing |= users::replace_all(call.shared, loaded, Some(call.state.client.id));
    call.reply.ok();
    Ok(())
}

fn save(call: &mut Call) -> Result<(), Stop> {
    let path = call.shared.options.aclfile.as_deref().ok_or(NO_FILE)?;
    users::write(path, &call.shared.settings.users).map_err(|error| {
        tracing::warn!("ACL SAVE: {}: {error}", path.display());
        "ERR There was an error trying to save the ACLs. Please check the server logs for more information"
    })?;
    call.reply.ok();
    Ok(())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "acl", ACL);
    Ok(())
}
