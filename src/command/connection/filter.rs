//! Which connections CLIENT LIST shows and CLIENT KILL ends: the filters of Redis, and those that Valkey 9 has beside them.

use crate::clients::Client;
use crate::command::{Call, is_word, parse_integer};
use crate::config::limits;
use crate::message::error::{self, Stop};
use crate::store::shard::DATABASES;

/// What a connection must meet, all of it.
#[derive(Default)]
pub struct Filter {
    terms: Vec<Term>,
    max_age_s: Option<u64>,
    min_idle_s: Option<u64>,
    /// Whoever asks is not meant.
    spares_caller: bool,
}

/// One field, and the values of which it has one, or none.
struct Term {
    field: Field,
    values: Vec<String>,
    is_negated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Type,
    User,
    Addr,
    Laddr,
    Ip,
    Name,
    Flags,
    LibName,
    LibVer,
    Db,
    Capa,
}

const FIELDS: [(&str, Field); 12] = [
    ("ID", Field::Id),
    ("TYPE", Field::Type),
    ("USER", Field::User),
    ("ADDR", Field::Addr),
    ("LADDR", Field::Laddr),
    ("IP", Field::Ip),
    ("NAME", Field::Name),
    ("FLAGS", Field::Flags),
    ("LIB-NAME", Field::LibName),
    ("LIB-VER", Field::LibVer),
    ("DB", Field::Db),
    ("CAPA", Field::Capa),
];

const TYPES: [&str; 6] = ["normal", "master", "primary", "replica", "slave", "pubsub"];

/// The letters that CLIENT LIST knows in Redis; ours are among them.
const FLAG_LETTERS: &str = "NSMPxbtRBuAcidUreTIO";

impl Filter {
    /// The old form of CLIENT KILL: everybody at this address.
    pub fn of_address(address: &[u8]) -> Filter {
        let term = Term { field: Field::Addr, values: vec![error::echo(address)], is_negated: false };
        Filter { terms: vec![term], ..Filter::default() }
    }

    /// From the arguments after the subcommand. `bad_id` is the error for what is no client's number.
    pub fn parse(call: &Call, spares_caller: bool, bad_id: &'static str) -> Result<Filter, Stop> {
        let mut filter = Filter { spares_caller, ..Filter::default() };
        if call.args.len() > limits::CLIENT_FILTER_WORDS_MAX {
            let most = limits::CLIENT_FILTER_WORDS_MAX;
            return Err(format!("ERR a filter may have {most} words; ask more than once").into());
        }
        let mut at = 2;
        while at < call.args.len() {
            let name = call.arg(at);
            if at + 1 == call.args.len() {
                return Err(error::SYNTAX.into());
            }
            let value = call.arg(at + 1);
            at += 2;
            if is_word(name, "MAXAGE") {
                filter.max_age_s = Some(seconds(value, "maxage")?);
            } else if is_word(name, "IDLE") {
                filter.min_idle_s = Some(seconds(value, "idle")?);
            } else if is_word(name, "SKIPME") && (is_word(value, "YES") || is_word(value, "NO")) {
                filter.spares_caller = is_word(value, "YES");
            } else {
                let bare = name.get(..4).filter(|start| is_word(start, "NOT-")).map(|_| &name[4..]);
                let is_word_of = |(word, _): &&(&str, Field)| is_word(bare.unwrap_or(name), word);
                let (_, field) = *FIELDS.iter().find(is_word_of).ok_or(error::SYNTAX)?;
                let mut values = vec![checked(call, field, value, bad_id)?];
                // Several numbers may follow.
                while field == Field::Id && at < call.args.len() && parse_integer(call.arg(at)).is_some() {
                    values.push(checked(call, field, call.arg(at), bad_id)?);
                    at += 1;
                }
                filter.terms.push(Term { field, values, is_negated: bare.is_some() });
            }
        }
        Ok(filter)
    }

    pub fn meets(&self, call: &Call, client: &Client) -> bool {
        let age = call.now.saturating_sub(client.created) / 1000;
        let idle = call.now.saturating_sub(client.last_active.load(std::sync::atomic::Ordering::Relaxed)) / 1000;
        let is_spared = client.is_killed() || self.spares_caller && client.id == call.state.client.id;
        !is_spared
            && self.max_age_s.is_none_or(|least| age >= least)
            && self.min_idle_s.is_none_or(|least| idle >= least)
            && self.terms.iter().all(|term| {
                let has = term.values.iter().any(|value| has(call, client, term.field, value));
                has != term.is_negated
            })
    }
}

/// A value that the field can have.
fn checked(call: &Call, field: Field, value: &[u8], bad_id: &'static str) -> Result<String, Stop> {
    let text = error::echo(value);
    match field {
        Field::Id if parse_integer(value).is_none_or(|id| id <= 0) => Err(bad_id.into()),
        Field::Type if !TYPES.iter().any(|known| is_word(value, known)) => {
            Err(format!("ERR Unknown client type '{text}'").into())
        }
        Field::User if call.shared.settings.users.find(value).is_none() => {
            Err(format!("ERR No such user '{text}'").into())
        }
        Field::Flags if !text.chars().all(|letter| FLAG_LETTERS.contains(letter)) || text.is_empty() => {
            Err(format!("ERR Unknown flags found in the provided filter: {text}").into())
        }
        Field::Db if parse_integer(value).is_none_or(|db| !(0..DATABASES as i64).contains(&db)) => {
            Err(format!("ERR DB number should be between 0 and {}", DATABASES - 1).into())
        }
        // The one that there is.
        Field::Capa if text != "r" => Err(format!("ERR Unknown capability in the provided filter: {text}").into()),
        _ => Ok(text),
    }
}

fn has(call: &Call, client: &Client, field: Field, value: &str) -> bool {
    let (addr, laddr) = client.addresses(&call.shared.unix_path());
    match field {
        Field::Id => value.parse() == Ok(client.id),
        Field::Type => {
            let own = if client.is_subscribed() { "pubsub" } else { "normal" };
            value.eq_ignore_ascii_case(own)
        }
        Field::User => client.labels().user() == value,
        Field::Addr => addr == value,
        Field::Laddr => laddr == value,
        Field::Ip => addr.rsplit_once(':').is_some_and(|(ip, _)| ip.trim_matches(['[', ']']) == value),
        Field::Name => client.labels().name == value,
        Field::LibName => client.labels().lib_name == value,
        Field::LibVer => client.labels().lib_ver == value,
        Field::Flags => value.chars().all(|letter| client.flags().contains(letter)),
        Field::Capa => client.capabilities() == value,
        Field::Db => value.parse() == Ok(client.database.load(std::sync::atomic::Ordering::Relaxed)),
    }
}

fn seconds(value: &[u8], what: &str) -> Result<u64, Stop> {
    let number = parse_integer(value).ok_or_else(|| format!("ERR {what} is not an integer or out of range"))?;
    let number = u64::try_from(number).ok().filter(|&number| number > 0);
    number.ok_or_else(|| format!("ERR {what} should be greater than 0").into())
}
