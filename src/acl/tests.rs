//! Rules against a small table of commands: what they say of themselves makes the same rules again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// `get`, `set`, `client` with two subcommands, `select`.
struct Small;

const NAMES: [(&str, &str); 6] = [
    ("get", "read"),
    ("set", "write"),
    ("client", "connection"),
    ("client|id", "connection"),
    ("client|kill", "admin"),
    ("select", "connection"),
];

impl Catalogue for Small {
    fn count(&self) -> usize {
        NAMES.len()
    }

    fn named(&self, name: &[u8]) -> Option<Vec<usize>> {
        let name = std::str::from_utf8(name).ok()?;
        let at = NAMES.iter().position(|(known, _)| *known == name)?;
        Some(if name == "client" { vec![2, 3, 4] } else { vec![at] })
    }

    fn category(&self, name: &[u8]) -> Option<Vec<usize>> {
        let found: Vec<_> = (0..NAMES.len()).filter(|at| NAMES[*at].1.as_bytes() == name).collect();
        (!found.is_empty()).then_some(found)
    }

    fn is_container(&self, name: &[u8]) -> bool {
        name == b"client"
    }
}

fn rules(text: &str) -> Rules {
    let mut rules = Rules::nothing(Small.count());
    for word in join_selectors(text.split_whitespace().map(str::as_bytes)).unwrap() {
        rules.apply(&word, &Small).unwrap_or_else(|refused| panic!("{text}: {refused}"));
    }
    rules
}

fn may(rules: &Rules, command: &str, key: &str, need: Need) -> bool {
    let at = NAMES.iter().position(|(known, _)| *known == command).unwrap();
    rules.check(Some((at, Some(key.as_bytes()))), [(key.as_bytes(), need)].into_iter(), &[]).is_ok()
}

const READ: Need = Need { read: true, write: false };
const WRITE: Need = Need { read: false, write: true };

#[test]
fn what_rules_allow() {
    for (text, command, key, need, expect) in [
        ("+get ~a*", "get", "ab", READ, true),
        ("+get ~a*", "get", "b", READ, false),
        ("+get ~a*", "set", "ab", WRITE, false),
        ("+@all allkeys", "client|kill", "x", READ, true),
        ("+@all -client|kill allkeys", "client|kill", "x", READ, false),
        ("+@all -client +client|id allkeys", "client|id", "x", READ, true),
        ("+@all -client +client|id allkeys", "client|kill", "x", READ, false),
        ("+@connection allkeys", "client|id", "x", READ, true),
        ("+@connection allkeys", "client|kill", "x", READ, false),
        ("+select|0 allkeys", "select", "0", READ, true),
        ("+select|0 allkeys", "select", "1", READ, false),
        ("+select|0 -select allkeys", "select", "0", READ, false),
        ("+@all %R~a", "get", "a", READ, true),
        ("+@all %R~a", "set", "a", WRITE, false),
        ("+@all %R~a %W~a", "set", "a", WRITE, true),
        ("+get ~a (+set ~b)", "set", "a", WRITE, false),
        ("+get ~a (+set ~b)", "set", "b", WRITE, true),
        ("+get (+@all allkeys allchannels)", "set", "b", WRITE, true),
    ] {
        assert_eq!(may(&rules(text), command, key, need), expect, "{text}: {command} {key}");
    }
    assert!(rules("+@all ~* &*").is_unlimited() && rules("(+@all ~* &*)").is_unlimited());
    assert!(!rules("+@all ~* &* -get").is_unlimited() && !rules("+@all ~*").is_unlimited());
}

#[test]
fn one_user_is_bounded() {
    let fill = |rule: &dyn Fn(usize) -> String| {
        let mut rules = Rules::nothing(Small.count());
        (0..100_000).find_map(|number| rules.apply(rule(number).as_bytes(), &Small).err())
    };
    for rule in [
        &(|number| format!(">{number}")) as &dyn Fn(usize) -> String,
        &|number| format!("~{number}"),
        &|number| format!("&{number}"),
        &|number| format!("+select|{number}"),
        &|_| "(+get ~a)".to_owned(),
        &|_| format!("~{}", "x".repeat(limits::ACL_PATTERN_MAX_BYTES + 1)),
    ] {
        assert_eq!(fill(rule), Some(Refused::TooMuch), "{}", rule(0));
    }
    // The same again is no more.
    assert_eq!(fill(&|number| format!("~{}", number % 10)), None);
    assert_eq!(fill(&|number| format!("{}get", if number % 2 == 0 { '+' } else { '-' })), None);
}

#[test]
fn whoever_has_a_deleted_user_may_do_nothing() {
    let users = Users::new(Small.count(), None);
    users.set("u", rules("on nopass +@all ~* &*")).unwrap();
    let mut access = Access::of(users.authenticate(b"u", b"").unwrap());
    assert!(!access.passes(&users) && access.restrictions(&users).is_none() && access.passes(&users));
    assert!(users.delete(b"u") && !users.delete(b"u"));
    assert!(!access.passes(&users));
    assert!(!may(access.restrictions(&users).unwrap(), "get", "a", READ));
    // Another of the same name is another.
    users.set("u", rules("on nopass +@all ~* &*")).unwrap();
    assert!(access.restrictions(&users).is_some());
}

#[test]
fn a_new_set_of_users_names_those_who_change() {
    let users = Users::new(Small.count(), Some("secret"));
    for name in ["same", "other", "gone"] {
        users.set(name, rules("on nopass +get")).unwrap();
    }
    let wanted = [("same", "on nopass +get"), ("other", "on nopass +set"), ("new", "on")];
    let wanted = wanted.map(|(name, text)| (name.to_owned(), rules(text)));
    let changed = users.replace(BTreeMap::from(wanted), Small.count());
    assert_eq!(changed, ["gone", "other"]);
    assert_eq!(
        users.all().iter().map(|user| user.name.as_str()).collect::<Vec<_>>(),
        ["default", "new", "other", "same"]
    );
    // A file that says nothing of the default user does not open the door.
    assert!(!users.is_open() && users.authenticate(b"default", b"secret").is_some());
}

proptest! {
    #[test]
    fn what_is_described_is_the_same_again(words in proptest::collection::vec(prop_oneof![
        Just("on"), Just("off"), Just("nopass"), Just(">a"), Just(">b"), Just("resetpass"), Just("+get"), Just("-get"),
        Just("+client"), Just("-client|kill"), Just("+client|id"), Just("+@connection"), Just("-@read"), Just("+@all"),
        Just("-@all"), Just("+select|0"), Just("+select|1"), Just("resetkeys"), Just("resetchannels"), Just("~a*"),
        Just("%R~b"), Just("%W~b"), Just("&c"), Just("allkeys"), Just("allchannels"), Just("(+get ~x %R~y)"),
        Just("(-@all +client &z)"), Just("clearselectors"), Just("skip-sanitize-payload"),
    ], 0..20)) {
        let mut made = Rules::nothing(Small.count());
        for word in words {
            // Some do not fit behind others, and change nothing.
            let before = made.clone();
            if made.apply(word.as_bytes(), &Small).is_err() {
                made = before;
            }
        }
        let text = String::from_utf8(made.describe("u")).unwrap();
        prop_assert_eq!(rules(text.strip_prefix("user u ").unwrap()), made, "{}", text);
    }

    #[test]
    fn no_rule_is_too_strange(rule in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut made = Rules::nothing(Small.count());
        let _ = made.apply(&rule, &Small);
        let _ = join_selectors(rule.split(|byte| *byte == b' '));
    }
}
