//! The shard beside a simple model of it, an `lru::LruCache`: every command goes to both, and both must say the same
//! and evict the same keys in the same order. Shared by the seeded test and the fuzz target; it knows neither.

use ahash::RandomState;
use kv_cache::config::Policy;
use kv_cache::store::shard::{DATABASES, Expiry, Key, NewValue, Room, SMALL_SET_BYTES, Shard};
use lru::LruCache;

/// The shard collects within this grain of time; the model's clock moves in whole grains.
pub const GRAIN_MILLIS: u64 = 128;

pub type KeyNumber = u16;

#[derive(Clone, Copy, Debug)]
pub enum Command {
    Get(KeyNumber),
    Peek(KeyNumber),
    Set(KeyNumber, u32, Time),
    Delete(KeyNumber),
    SetExpiry(KeyNumber, Option<u16>),
    /// Time passes, in grains, and nothing collects yet.
    Pass(u8),
    Tick,
    Limit(u64),
    Scan(u16),
    Clear,
    /// The commands that follow are about this database.
    Select(u8),
    /// To another database.
    Move(KeyNumber, u8),
    Swap(u8, u8),
    ClearDatabase(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum Time {
    Never,
    /// In so many grains.
    In(u16),
    Keep,
}

struct Item {
    value: Vec<u8>,
    expires_at: Option<u64>,
}

/// A key in its database.
type Name = (u8, Vec<u8>);

struct Hasher {
    state: RandomState,
    /// Bits of the hash that are kept: with few of them keys collide.
    mask: u64,
}

impl Hasher {
    fn key<'a>(&self, name: &'a Name) -> Key<'a> {
        Key { bytes: &name.1, hash: self.state.hash_one(&name.1) & self.mask, db: name.0 }
    }
}

pub struct Pair {
    shard: Shard,
    model: LruCache<Name, Item>,
    hasher: Hasher,
    database: u8,
    limit: u64,
    now: u64,
    commands: u64,
    pub evicted: u64,
    pub expired: u64,
}

impl Pair {
    pub fn new(limit: u64, hash_mask: u64) -> Pair {
        Pair {
            shard: Shard::new(limit, Policy::AllKeysLru),
            model: LruCache::unbounded(),
            hasher: Hasher { state: RandomState::with_seeds(1, 2, 3, 4), mask: hash_mask },
            database: 0,
            limit,
            now: 1_700_000_000 * 1000 / GRAIN_MILLIS * GRAIN_MILLIS,
            commands: 0,
            evicted: 0,
            expired: 0,
        }
    }

    pub fn run(&mut self, command: Command) {
        self.commands += 1;
        match command {
            Command::Get(number) => self.get(number),
            Command::Peek(number) => self.peek(number),
            Command::Set(number, len, time) => self.set(number, len as usize, time),
            Command::Delete(number) => self.delete(number),
            Command::SetExpiry(number, grains) => self.set_expiry(number, grains),
            Command::Pass(grains) => self.now += grains as u64 * GRAIN_MILLIS,
            Command::Tick => self.tick(),
            Command::Limit(limit) => {
                self.limit = limit;
                self.shard.set_limit(limit);
            }
            Command::Scan(count) => self.scan(count as usize),
            Command::Clear => {
                self.shard.clear();
                self.model.clear();
            }
            Command::Select(database) => self.database = database,
            Command::Move(number, to) => self.move_to(number, to),
            Command::Swap(one, other) => {
                self.shard.swap_databases(one, other);
                self.rename(|database, _| match database {
                    _ if database == one => Some(other),
                    _ if database == other => Some(one),
                    _ => Some(database),
                });
            }
            Command::ClearDatabase(cleared) => {
                self.shard.clear_database(cleared);
                self.rename(|database, _| (database != cleared).then_some(database));
            }
        }
        self.compare();
    }

    /// Looks every item up in both.
    pub fn compare_all(&mut self) {
        let keys: Vec<Name> = self.model.iter().map(|(key, _)| key.clone()).collect();
        for key in keys {
            let item = self.model.peek(&key).filter(|item| item.expires_at.is_none_or(|at| at > self.now));
            let entry = self.shard.peek(self.hasher.key(&key), self.now);
            assert_eq!(entry.map(|e| e.value.as_slice()), item.map(|i| &i.value[..]));
        }
    }

    fn get(&mut self, number: KeyNumber) {
        let key = self.name(number);
        self.expire_in_model(&key);
        let entry = self.shard.get(self.hasher.key(&key), self.now);
        let item = self.model.get(&key);
        assert_eq!(entry.map(|e| (e.value.as_slice(), e.expires_at)), item.map(|i| (&i.value[..], i.expires_at)));
    }

    fn peek(&mut self, number: KeyNumber) {
        let key = self.name(number);
        let hashed = self.hasher.key(&key);
        let entry = self.shard.peek(hashed, self.now);
        let item = self.model.peek(&key).filter(|item| item.expires_at.is_none_or(|at| at > self.now));
        assert_eq!(entry.map(|e| (e.value.as_slice(), e.expires_at)), item.map(|i| (&i.value[..], i.expires_at)));
        assert_eq!(self.shard.memory_usage(hashed, self.now).is_some(), item.is_some());
    }

    fn set(&mut self, number: KeyNumber, len: usize, time: Time) {
        let key = self.name(number);
        // Room for large ones first, as the server does it; what that evicts, it evicts before the set.
        if len > SMALL_SET_BYTES && !self.make_room(key.1.len() + len) {
            return;
        }
        self.expire_in_model(&key);
        let value: Vec<u8> = (0..len).map(|at| (at as u64 ^ self.commands) as u8).collect();
        let expiry = match time {
            Time::Never => Expiry::Never,
            Time::In(grains) => Expiry::At(self.now + grains as u64 * GRAIN_MILLIS),
            Time::Keep => Expiry::Keep,
        };
        let expires_at = match expiry {
            Expiry::Never => None,
            Expiry::At(at) => Some(at),
            Expiry::Keep => self.model.peek(&key).and_then(|item| item.expires_at),
        };
        let new_value = if len.is_multiple_of(2) {
            NewValue::Copied(&value)
        } else {
            NewValue::Shared(self.shard.extents().copy(&value).unwrap())
        };
        let name = self.hasher.key(&key);
        let result = if matches!(expiry, Expiry::Keep) && len <= SMALL_SET_BYTES {
            let expected = self.model.peek(&key).map(|item| item.value.as_slice());
            let changed = self.shard.update(name, self.now, |old| {
                assert_eq!(old, expected);
                Ok::<_, ()>(new_value)
            });
            changed.expect("the change is no error")
        } else {
            self.shard.set(name, new_value, expiry, self.now)
        };
        if expires_at.is_some_and(|at| at <= self.now) {
            self.model.pop(&key);
        } else if result.is_ok() {
            self.model.put(key, Item { value, expires_at });
        } else {
            // Refused, after what could be evicted was; an item that was there counts as used.
            self.model.promote(&key);
        }
    }

    /// Asks again until the answer is not to come back; true if there is room.
    fn make_room(&mut self, bytes: usize) -> bool {
        loop {
            let room = self.shard.make_room(bytes, self.now);
            self.compare();
            match room {
                Room::Ready => return true,
                Room::Retry => continue,
                Room::Refused(_) => return false,
            }
        }
    }

    fn delete(&mut self, number: KeyNumber) {
        let key = self.name(number);
        self.expire_in_model(&key);
        let deleted = self.shard.delete(self.hasher.key(&key), self.now);
        assert_eq!(deleted, self.model.pop(&key).is_some());
    }

    fn set_expiry(&mut self, number: KeyNumber, grains: Option<u16>) {
        let key = self.name(number);
        self.expire_in_model(&key);
        let at = grains.map(|grains| self.now + grains as u64 * GRAIN_MILLIS);
        let found = self.shard.set_expiry(self.hasher.key(&key), at, self.now);
        assert_eq!(found, self.model.contains(&key));
        if at.is_some_and(|at| at <= self.now) {
            self.model.pop(&key);
        } else if let Some(item) = self.model.peek_mut(&key) {
            item.expires_at = at;
        }
    }

    fn move_to(&mut self, number: KeyNumber, to: u8) {
        let (key, target) = (self.name(number), (to, key_bytes(number)));
        self.expire_in_model(&target);
        let is_free = !self.model.contains(&target);
        if is_free {
            self.expire_in_model(&key);
        }
        let moves = is_free && self.model.contains(&key);
        assert_eq!(self.shard.move_to(self.hasher.key(&key), to, self.now), Ok(moves));
        if moves {
            self.rename(|database, bytes| Some(if (database, bytes) == (key.0, &key.1) { to } else { database }));
        }
    }

    /// Puts items into other databases, or drops them; the order of use stays.
    fn rename(&mut self, database_of: impl Fn(u8, &[u8]) -> Option<u8>) {
        let mut renamed = LruCache::unbounded();
        while let Some(((database, bytes), item)) = self.model.pop_lru() {
            if let Some(database) = database_of(database, &bytes) {
                renamed.put((database, bytes), item);
            }
        }
        self.model = renamed;
    }

    fn name(&self, number: KeyNumber) -> Name {
        (self.database, key_bytes(number))
    }

    fn tick(&mut self) {
        while self.shard.tick(self.now).more {}
        let expired: Vec<Name> = self
            .model
            .iter()
            .filter(|(_, item)| item.expires_at.is_some_and(|at| at <= self.now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in expired {
            self.model.pop(&key);
            self.expired += 1;
        }
        self.compare();
        assert!(self.shard.used_bytes() <= self.limit, "{} of {}", self.shard.used_bytes(), self.limit);
    }

    fn scan(&mut self, count: usize) {
        let mut seen = Vec::new();
        let mut cursor = 0;
        loop {
            cursor = self.shard.scan(self.database, cursor, count, self.now, |key, entry| {
                seen.push((key.to_vec(), entry.value.as_slice().len()))
            });
            if cursor == 0 {
                break;
            }
        }
        let live = self.model.iter().filter(|(_, item)| item.expires_at.is_none_or(|at| at > self.now));
        let own = live.filter(|(name, _)| name.0 == self.database);
        let mut expected: Vec<_> = own.map(|(name, item)| (name.1.clone(), item.value.len())).collect();
        seen.sort();
        expected.sort();
        assert_eq!(seen, expected);
    }

    /// What the shard no longer has must be past its time, or, if nothing that it has is, what was used least recently.
    fn compare(&mut self) {
        if self.shard.stats().expired > self.expired {
            self.drop_collected();
        }
        // Without what was in a database that has been emptied and is not removed yet.
        let len: usize = (0..DATABASES as u8).map(|database| self.shard.len_of(database).0).sum();
        while self.model.len() > len {
            let (key, item) = self.model.pop_lru().unwrap();
            assert!(!self.lies_there(&key));
            assert!(item.expires_at.is_none_or(|at| at > self.now), "what had expired lay there, and live items went");
            self.evicted += 1;
        }
        let stats = self.shard.stats();
        assert_eq!(self.model.len(), len);
        assert_eq!((stats.evicted, stats.expired), (self.evicted, self.expired));
    }

    /// What has expired, and the shard has collected of it.
    fn drop_collected(&mut self) {
        let is_past = |item: &Item| item.expires_at.is_some_and(|at| at <= self.now);
        let past: Vec<Name> = self.model.iter().filter(|(_, item)| is_past(item)).map(|(key, _)| key.clone()).collect();
        for key in past.into_iter().filter(|key| !self.lies_there(key)).collect::<Vec<_>>() {
            self.model.pop(&key);
            self.expired += 1;
        }
    }

    /// Whether a key is in the shard, past its time or not.
    fn lies_there(&self, key: &Name) -> bool {
        self.shard.peek(self.hasher.key(key), 0).is_some()
    }

    fn expire_in_model(&mut self, key: &Name) {
        if self.model.peek(key).and_then(|item| item.expires_at).is_some_and(|at| at <= self.now) {
            self.model.pop(key);
            self.expired += 1;
        }
    }
}

/// Keys of many lengths: most are short, a few are as long as values.
fn key_bytes(number: KeyNumber) -> Vec<u8> {
    let len = if number % 1000 == 7 { 20_000 } else { 2 + number as usize % 40 };
    let mut key = number.to_le_bytes().to_vec();
    key.resize(len, b'k');
    key
}
