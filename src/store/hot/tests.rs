//! Copies as cores use them: what they answer is what one simple map would have answered, whatever changes meanwhile.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use super::*;
use crate::base::testing::Random;
use crate::config::Policy;
use crate::store::shard::{Expiry, NewValue};

const NOW: UnixMillis = 1_700_000_000_000;
const CORES: usize = 4;
const KEYS: [&[u8]; 2] = [b"one", b"other"];

fn keyspace(policy: Policy) -> Keyspace {
    let keyspace = Keyspace::new(CORES, 64 << 20, policy);
    keyspace.hot().set_limit(16 << 20);
    keyspace
}

/// A core that copies whatever it reads.
fn eager(keyspace: &Keyspace, core: usize) -> HotCache {
    keyspace.hot().set_threshold(0);
    let mut hot = HotCache::new(core);
    hot.tend(keyspace, NOW);
    hot
}

fn key<'a>(keyspace: &Keyspace, bytes: &'a [u8], db: u8) -> Key<'a> {
    Key { bytes, hash: keyspace.hash(bytes), db }
}

fn set(keyspace: &Keyspace, key: Key, value: &[u8], expiry: Expiry) {
    keyspace.guards().lock(key.hash).unwrap().set(key, NewValue::Copied(value), expiry, NOW).unwrap();
}

/// How a read came by its value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Copy,
    Lock,
    /// The same, and it wanted a copy.
    Warm,
    Stale,
}

/// Reads as a command does.
fn get(keyspace: &Keyspace, hot: &mut HotCache, key: Key, now: UnixMillis) -> (By, Option<Vec<u8>>) {
    let mut guards = keyspace.guards().with_hot(Some(hot));
    let mut found = None;
    let by = match guards.see(key.hash, key.db) {
        Seen::Cold => By::Lock,
        Seen::Warm => By::Warm,
        Seen::Kept => match guards.read_copy(&key, now, true, |value| found = Some(value.to_vec())) {
            Copy::Right => By::Copy,
            Copy::Stale => By::Stale,
            Copy::None => By::Lock,
        },
    };
    assert!(!guards.is_locked());
    if by == By::Copy {
        return (by, found);
    }
    let value = guards.lock(key.hash).unwrap().get(key, now).map(|entry| entry.value.as_slice().to_vec());
    if by != By::Lock {
        guards.make_copy(&key, now);
    }
    (by, value)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operation {
    Get(usize, u8),
    Set(usize, u8, u64),
    SetBoth(u8, u64),
    Delete(usize, u8),
    ExpireAtOnce(usize, u8),
    Rename(u8),
    Move(usize),
    Flush(u8),
    FlushAll,
    Swap,
}

/// What an operation says: of a read the value, of the others whether something was there.
type Done = (Operation, Option<Option<u64>>);

/// Two keys in two databases.
struct Map;

impl Specification for Map {
    type State = [[Option<u64>; 2]; 2];
    type Operation = Done;

    fn init() -> Self::State {
        [[None; 2]; 2]
    }

    fn apply((operation, reply): &Done, state: &Self::State) -> (bool, Self::State) {
        let mut next = *state;
        let expect = match *operation {
            Operation::Get(key, db) => state[db as usize][key],
            Operation::Set(key, db, number) => next[db as usize][key].replace(number).and(None),
            Operation::SetBoth(db, number) => {
                next[db as usize] = [Some(number); 2];
                None
            }
            Operation::Delete(key, db) | Operation::ExpireAtOnce(key, db) => next[db as usize][key].take().and(Some(1)),
            Operation::Rename(db) => {
                let value = next[db as usize][0].take();
                next[db as usize][1] = value.or(next[db as usize][1]);
                value.and(Some(1))
            }
            Operation::Move(key) if state[1][key].is_none() => {
                next[1][key] = next[0][key].take();
                next[1][key].and(Some(1))
            }
            Operation::Move(_) => None,
            Operation::Flush(db) => {
                next[db as usize] = [None; 2];
                None
            }
            Operation::FlushAll => {
                next = [[None; 2]; 2];
                None
            }
            Operation::Swap => {
                next.swap(0, 1);
                None
            }
        };
        (*reply == Some(expect), next)
    }
}

impl Operation {
    /// Every number that is set is set once only.
    fn pick(random: &mut Random, unique: u64) -> Operation {
        let (key, db) = (random.below(2) as usize, random.below(2) as u8);
        match random.below(40) {
            0..24 => Operation::Get(key, db),
            24..28 => Operation::Set(key, db, unique),
            28..30 => Operation::SetBoth(db, unique),
            30 => Operation::Delete(key, db),
            31 => Operation::ExpireAtOnce(key, db),
            32..34 => Operation::Rename(db),
            34..36 => Operation::Move(key),
            36 => Operation::Flush(db),
            37 => Operation::FlushAll,
            _ => Operation::Swap,
        }
    }

    fn run(self, keyspace: &Keyspace, hot: &mut HotCache, hits: &mut u64) -> Option<u64> {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        let mut guards = keyspace.guards();
        let named = |at: usize, db| key(keyspace, KEYS[at], db);
        let had = |had: bool| had.then_some(1);
        match self {
            Operation::Get(at, db) => {
                let (by, value) = get(keyspace, hot, named(at, db), NOW);
                *hits += u64::from(by == By::Copy);
                value.map(|value| number(&value))
            }
            Operation::Set(at, db, unique) => {
                set(keyspace, named(at, db), &unique.to_le_bytes(), Expiry::Never);
                None
            }
            Operation::SetBoth(db, unique) => {
                let both = [named(0, db), named(1, db)];
                guards.lock_keys(both.iter().map(|key| key.hash)).unwrap();
                let value = unique.to_le_bytes();
                for key in both {
                    guards.shard(key.hash).set(key, NewValue::Copied(&value), Expiry::Never, NOW).unwrap();
                }
                None
            }
            Operation::Delete(at, db) => {
                let key = named(at, db);
                had(guards.lock(key.hash).unwrap().delete(key, NOW))
            }
            Operation::ExpireAtOnce(at, db) => {
                let key = named(at, db);
                had(guards.lock(key.hash).unwrap().set_expiry(key, Some(NOW), NOW))
            }
            Operation::Rename(db) => {
                let (from, to) = (named(0, db), named(1, db));
                guards.lock_keys([from.hash, to.hash].into_iter()).unwrap();
                let value = guards.shard(from.hash).peek(from, NOW)?.value.to_bytes();
                guards.shard(to.hash).set(to, NewValue::Copied(&value), Expiry::Never, NOW).unwrap();
                had(guards.shard(from.hash).delete(from, NOW))
            }
            Operation::Move(at) => {
                let key = named(at, 0);
                had(guards.lock(key.hash).unwrap().move_to(key, 1, NOW).unwrap())
            }
            Operation::Flush(db) => {
                guards.lock_all().unwrap().each(|shard| shard.clear_database(db));
                None
            }
            Operation::FlushAll => {
                guards.lock_all().unwrap().each(Shard::clear);
                None
            }
            Operation::Swap => {
                guards.lock_all().unwrap().each(|shard| shard.swap_databases(0, 1));
                None
            }
        }
    }
}

/// What four cores with copies of all that they read have seen of each other; whether there is an order in which one map
/// would have answered the same, and how many reads took no lock.
fn has_an_order(seed: u64, ignores_versions: bool) -> (bool, u64) {
    const OPERATIONS: u64 = 40;
    let keyspace = keyspace(Policy::AllKeysS3Fifo);
    let barrier = Barrier::new(CORES);
    let record = |core: usize| {
        let mut random = Random(seed * CORES as u64 + core as u64);
        let mut hot = eager(&keyspace, core);
        hot.ignores_versions = ignores_versions;
        let mut events = Vec::new();
        let mut hits = 0;
        barrier.wait();
        for round in 0..OPERATIONS {
            let operation = Operation::pick(&mut random, round * CORES as u64 + core as u64 + 1);
            let called = Instant::now();
            let reply = operation.run(&keyspace, &mut hot, &mut hits);
            events.push((called, core, Action::Call((operation, None))));
            events.push((Instant::now(), core, Action::Response((operation, Some(reply)))));

            match random.below(3) {
                0 => thread::yield_now(),
                turns => {
                    (0..turns * 500).for_each(|turn| {
                        black_box(turn);
                    });
                }
            }
        }
        (events, hits)
    };
    let recorded: Vec<_> = thread::scope(|scope| {
        let record = &record;
        let threads: Vec<_> = (0..CORES).map(|core| scope.spawn(move || record(core))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let hits = recorded.iter().map(|(_, hits)| hits).sum();
    let mut events: Vec<_> = recorded.into_iter().flat_map(|(events, _)| events).collect();
    // What has the same time counts as concurrent: calls come first.
    events.sort_by_key(|(at, _, action)| (*at, matches!(action, Action::Response(_))));
    let actions = events.into_iter().map(|(_, core, action)| (core, action)).collect();
    (WGLChecker::<Map>::is_linearizable(History::from_actions(actions)), hits)
}

const HISTORIES: u64 = 150;

#[test]
fn what_cores_with_copies_see_of_each_other_has_an_order() {
    let mut hits = 0;
    for seed in 0..HISTORIES {
        let (is_ordered, without_lock) = has_an_order(seed, false);
        assert!(is_ordered, "history {seed} has no order");
        hits += without_lock;
    }
    assert!(hits > HISTORIES, "only {hits} reads were answered from copies");
}

/// The test finds what it is there to find.
#[test]
fn without_comparing_versions_there_is_none() {
    assert!((0..HISTORIES).any(|seed| !has_an_order(seed, true).0));
}

#[test]
fn a_copy_answers_until_something_changes_or_its_time_has_come() {
    let keyspace = keyspace(Policy::AllKeysLru);
    let (mut one, mut other) = (eager(&keyspace, 0), eager(&keyspace, 1));
    let key = key(&keyspace, b"key", 0);
    set(&keyspace, key, b"first", Expiry::At(NOW + 100));
    for hot in [&mut one, &mut other] {
        assert_eq!(get(&keyspace, hot, key, NOW), (By::Warm, Some(b"first".to_vec())));
        assert_eq!(get(&keyspace, hot, key, NOW + 99), (By::Copy, Some(b"first".to_vec())));
        let elsewhere = Key { db: 1, ..key };
        assert_eq!(get(&keyspace, hot, elsewhere, NOW).1, None);
    }
    set(&keyspace, key, b"second", Expiry::Keep);
    for hot in [&mut one, &mut other] {
        assert_eq!(get(&keyspace, hot, key, NOW), (By::Stale, Some(b"second".to_vec())));
        assert_eq!(get(&keyspace, hot, key, NOW), (By::Copy, Some(b"second".to_vec())));
    }
    for hot in [&mut one, &mut other] {
        assert_eq!(get(&keyspace, hot, key, NOW + 100).1, None);
    }
}

#[test]
fn what_is_too_large_is_not_copied_and_what_does_not_fit_goes() {
    let keyspace = keyspace(Policy::AllKeysLru);
    keyspace.hot().set_limit(CORES * (HotCache::OWN_BYTES + (100 << 10)));
    let mut hot = eager(&keyspace, 0);
    let large = key(&keyspace, b"large", 0);
    set(&keyspace, large, &vec![1; limits::HOT_ITEM_MAX_BYTES], Expiry::Never);
    for _ in 0..3 {
        assert_ne!(get(&keyspace, &mut hot, large, NOW).0, By::Copy);
    }
    let names: Vec<String> = (0..1000).map(|number| format!("key:{number}")).collect();
    for name in &names {
        let key = key(&keyspace, name.as_bytes(), 0);
        set(&keyspace, key, &[7; 500], Expiry::Never);
        assert_eq!(get(&keyspace, &mut hot, key, NOW).1, Some(vec![7; 500]));
        assert!(hot.held_bytes <= 100 << 10);
        let held: usize = hot.copies.iter().map(|(_, copy)| copy.held_bytes()).sum();
        assert_eq!(held, hot.held_bytes);
    }
    assert!(hot.copies.len() > 100);
    hot.tend(&keyspace, NOW + 1000);
    assert_eq!(keyspace.hot().held_bytes(), (HotCache::OWN_BYTES + hot.held_bytes) as u64);
    keyspace.hot().set_limit(0);
    hot.tend(&keyspace, NOW + 2000);
    assert!(hot.copies.is_empty() && !hot.is_on() && keyspace.hot().held_bytes() == 0);
}

#[test]
fn shards_are_told_of_uses_in_bounded_steps() {
    let keyspace = keyspace(Policy::AllKeysLru);
    let mut hot = eager(&keyspace, 0);
    let names: Vec<String> = (0..2 * limits::HOT_TOLD_PER_TICK).map(|number| format!("key:{number}")).collect();
    let keys: Vec<Key> = names.iter().map(|name| key(&keyspace, name.as_bytes(), 0)).collect();
    for key in &keys {
        set(&keyspace, *key, b"value", Expiry::Never);
        get(&keyspace, &mut hot, *key, NOW);
    }
    let idle = |now| {
        let mut guards = keyspace.guards();
        let idle = keys.iter().map(|key| guards.lock(key.hash).unwrap().idle_millis(*key, now).unwrap());
        idle.filter(|idle| *idle > 0).count()
    };
    let later = NOW + 60_000;
    let hits = keys.iter().filter(|key| get(&keyspace, &mut hot, **key, later).0 == By::Copy).count();
    assert!(hits > limits::HOT_TOLD_PER_TICK, "{hits}");
    assert_eq!(idle(later), hits);
    hot.tend(&keyspace, later);
    assert_eq!(idle(later), hits - limits::HOT_TOLD_PER_TICK);
    hot.tend(&keyspace, later);
    assert_eq!(idle(later), hits - limits::HOT_TOLD_PER_TICK, "not twice in a tick");
    hot.tend(&keyspace, later + limits::SHARD_TICK_MS);
    assert_eq!(idle(later), 0);
}

#[test]
fn of_keys_read_alike_none_is_copied_and_of_one_read_often_there_is_soon() {
    let keyspace = keyspace(Policy::AllKeysLru);
    let mut hot = HotCache::new(0);
    hot.tend(&keyspace, NOW);
    let mut random = Random(9);
    let names: Vec<String> = (0..200_000).map(|number| format!("key:{number}")).collect();
    for _ in 0..500_000 {
        let name = names[random.below(names.len() as u64) as usize].as_bytes();
        assert_eq!(get(&keyspace, &mut hot, key(&keyspace, name, 0), NOW).0, By::Lock);
    }
    let favourite = key(&keyspace, b"favourite", 0);
    set(&keyspace, favourite, b"value", Expiry::Never);
    let mut hits = 0;
    for turn in 0..200_000 {
        let name = names[random.below(names.len() as u64) as usize].as_bytes();
        let key = if turn % 100 == 0 { favourite } else { key(&keyspace, name, 0) };
        hits += u64::from(get(&keyspace, &mut hot, key, NOW).0 == By::Copy);
    }
    assert!(hits > 1000, "{hits} of 2000");
}

/// Each of many that are written as often as they are read is worth no copy.
#[test]
fn what_changes_before_it_is_read_again_is_copied_no_more() {
    let keyspace = keyspace(Policy::AllKeysLru);
    let mut hot = HotCache::new(0);
    hot.tend(&keyspace, NOW);
    let key = key(&keyspace, b"counter", 0);
    let mut copied = 0;
    for turn in 0..100_000u64 {
        set(&keyspace, key, &turn.to_le_bytes(), Expiry::Never);
        let (heat, value) = get(&keyspace, &mut hot, key, NOW);
        copied += u64::from(matches!(heat, By::Warm | By::Stale));
        assert_eq!(value.unwrap(), turn.to_le_bytes());
    }
    assert!(copied < 2_000, "{copied}");
}
