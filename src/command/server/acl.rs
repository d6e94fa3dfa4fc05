//! ACL, as far as one user, `default`, goes.

use crate::command::server::introspection::{CATEGORIES, categories};
use crate::command::{Call, Command, Flags, Group, Table, is_word, reply_help};
use crate::message::error::{self, Stop};

pub const COMMANDS: &[Command] =
    &[Command::container("acl", Group::Server, ACL).doc("6.0.0", "", "A container for Access List Control commands.")];

const ACL: &[Command] = &[
    row("whoami", 2, Flags::empty(), whoami).doc("6.0.0", "", "Returns the authenticated username."),
    row("users", 2, Flags::ADMIN, users).doc("6.0.0", "", "Lists all ACL users: default."),
    row("list", 2, Flags::ADMIN, list).doc("6.0.0", "", "Dumps the effective rules in ACL file format."),
    row("getuser", 3, Flags::ADMIN, getuser).doc("6.0.0", "username", "Lists the ACL rules of a user."),
    row("cat", -2, Flags::empty(), cat).doc(
        "6.0.0",
        "[category]",
        "Lists the ACL categories, or the commands inside a category.",
    ),
    row("genpass", -2, Flags::empty(), genpass).doc("6.0.0", "[bits]", "Generates a pseudorandom password."),
    row("dryrun", -4, Flags::ADMIN, dryrun)
        .doc(
            "7.0.0",
            "username command [arg [arg ...]]",
            "Simulates the execution of a command by a user: the one there is may run all.",
        )
        .secret(|args, at| {
            let inner = args.skip(3.min(args.len()));
            let found = (at > 3).then(|| Table::get().lookup(inner)).flatten();
            found.is_some_and(|(_, row)| (row.is_secret)(inner, at - 3))
        }),
    row("log", -2, Flags::ADMIN, log).doc("6.0.0", "[count | RESET]", "Lists recent security events: none are kept."),
    row("setuser", -3, Flags::ADMIN, refuse)
        .doc("6.0.0", "username", "Refused: there is one user.")
        .secret(|_, at| at > 2),
    row("deluser", -3, Flags::ADMIN, refuse).doc("6.0.0", "username", "Refused: there is one user."),
    row("load", 2, Flags::ADMIN, refuse).doc("6.0.0", "", "Refused: there is one user."),
    row("save", 2, Flags::ADMIN, refuse).doc("6.0.0", "", "Refused: there is one user."),
    row("help", 2, Flags::empty(), help).doc("6.0.0", "", "Returns helpful text about the different subcommands."),
];

const fn row(name: &'static str, arity: i32, flags: Flags, run: crate::command::Run) -> Command {
    Command::new(name, arity, Group::Server, run).flags(flags.union(Flags::NO_SCRIPT))
}

fn whoami(call: &mut Call) -> Result<(), Stop> {
    call.reply.bulk(b"default");
    Ok(())
}

fn users(call: &mut Call) -> Result<(), Stop> {
    call.reply.array(1);
    call.reply.bulk(b"default");
    Ok(())
}

/// What describes the user beside its rights. Redis shows a hash of the password; here nothing of it is shown.
fn flags(call: &Call) -> &'static [&'static str] {
    if call.shared.settings.needs_password() {
        &["on", "sanitize-payload"]
    } else {
        &["on", "nopass", "sanitize-payload"]
    }
}

fn list(call: &mut Call) -> Result<(), Stop> {
    let line = format!("user default {} ~* &* +@all", flags(call).join(" "));
    call.reply.array(1);
    call.reply.bulk(line.as_bytes());
    Ok(())
}

fn getuser(call: &mut Call) -> Result<(), Stop> {
    if call.arg(2) != b"default" {
        call.reply.null();
        return Ok(());
    }
    let flags = flags(call);
    let reply = &mut *call.reply;
    reply.map(6);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.simple(flag));
    reply.bulk(b"passwords");
    reply.array(0);
    for (name, rule) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        reply.bulk(name.as_bytes());
        reply.bulk(rule.as_bytes());
    }
    reply.bulk(b"selectors");
    reply.array(0);
    Ok(())
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
            let is_in = |place: &usize| categories(table.row(*place)).iter().any(|name| is_word(wanted, name));
            (0..table.names().len()).filter(is_in).map(|place| table.names()[place].as_str()).collect()
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
    if call.arg(2) != b"default" {
        return Err(format!("ERR User '{}' not found", error::echo(call.arg(2))).into());
    }
    let request = call.args.skip(3);
    let Some((place, row)) = Table::get().lookup(request) else {
        return Err(format!("ERR Command '{}' not found", error::echo(request.get(0))).into());
    };
    if !row.accepts(request.len()) {
        return Err(crate::command::wrong_arity(&Table::get().names()[place]));
    }
    call.reply.ok();
    Ok(())
}

fn log(call: &mut Call) -> Result<(), Stop> {
    match call.args.len() {
        3 if is_word(call.arg(2), "RESET") => call.reply.ok(),
        2 => call.reply.array(0),
        3 => {
            call.integer(2)?;
            call.reply.array(0);
        }
        _ => return Err(crate::command::wrong_form(call.args)),
    }
    Ok(())
}

fn refuse(_: &mut Call) -> Result<(), Stop> {
    Err("ERR kv-cache has one user, 'default'; CONFIG SET requirepass sets its password".into())
}

fn help(call: &mut Call) -> Result<(), Stop> {
    reply_help(call.reply, "acl", ACL);
    Ok(())
}
