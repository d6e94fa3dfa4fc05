//! The server as it should be, for one request after the other: what each replies, given all that came before it.

use std::collections::HashMap;

use crate::wire::Value;

pub type Request = Vec<Vec<u8>>;

#[derive(Clone)]
struct Item {
    value: Vec<u8>,
    expires_at: Option<u64>,
    /// Of all changes, which one made it so.
    version: u64,
}

#[derive(Default)]
pub struct Model {
    items: HashMap<Vec<u8>, Item>,
    /// The last change of a key that is gone.
    gone: HashMap<Vec<u8>, u64>,
    changes: u64,
}

/// What the model remembers of a connection.
#[derive(Default)]
pub struct Connection {
    queue: Option<Vec<Request>>,
    watched: Vec<(Vec<u8>, u64)>,
}

fn ok() -> Value {
    Value::Simple("OK".into())
}

fn number(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// What is left of a reply for which there was no room: the command has run.
const LEFT_OUT: &str = "ERR done, but there is no room for the reply";

/// There was no room for it, and nothing was done.
fn is_refused(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with("OOM"))
}

impl Model {
    /// The request has run at `now`, and this was its reply: panics unless it is what should come.
    pub fn check(&mut self, connection: &mut Connection, request: &Request, reply: &Value, now: u64) {
        let name = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
        let expected = match (name.as_str(), &mut connection.queue) {
            ("MULTI", Some(_)) => Value::Error("ERR MULTI calls can not be nested".into()),
            ("MULTI", queue) => {
                *queue = Some(Vec::new());
                ok()
            }
            ("WATCH", Some(_)) => Value::Error("ERR WATCH inside MULTI is not allowed".into()),
            ("DISCARD", Some(_)) => {
                *connection = Connection::default();
                ok()
            }
            ("EXEC", Some(_)) => return self.exec(connection, reply, now),
            (_, Some(queue)) => {
                queue.push(request.clone());
                Value::Simple("QUEUED".into())
            }
            ("EXEC" | "DISCARD", None) => Value::Error(format!("ERR {name} without MULTI")),
            ("WATCH", None) => {
                let version = self.version(&request[1], now);
                connection.watched.push((request[1].clone(), version));
                ok()
            }
            ("EVAL", None) if is_refused(reply) => return,
            (_, None) => self.run(request, now),
        };
        // A script cannot know how much it will reply with: it has run.
        if name == "EVAL" && matches!(reply, Value::Error(text) if text == LEFT_OUT) {
            return;
        }
        compare(request, reply, &expected);
    }

    fn exec(&mut self, connection: &mut Connection, reply: &Value, now: u64) {
        let Connection { queue, watched } = std::mem::take(connection);
        if watched.iter().any(|(key, version)| self.version(key, now) != *version) {
            return compare(&vec![b"EXEC".to_vec()], reply, &Value::Null);
        }
        let requests = queue.expect("asked before");
        assert_eq!(reply.elements().len(), requests.len());
        for (request, reply) in requests.iter().zip(reply.elements()) {
            match reply {
                Value::Error(text) if text == LEFT_OUT => drop(self.run(request, now)),
                reply if is_refused(reply) => {}
                reply => compare(request, reply, &self.run(request, now)),
            }
        }
    }

    fn version(&mut self, key: &[u8], now: u64) -> u64 {
        self.expire(key, now);
        self.items.get(key).map_or_else(|| self.gone.get(key).copied().unwrap_or(0), |item| item.version)
    }

    fn expire(&mut self, key: &[u8], now: u64) {
        if self.items.get(key).and_then(|item| item.expires_at).is_some_and(|at| at <= now) {
            self.delete(key);
        }
    }

    fn get(&mut self, key: &[u8], now: u64) -> Option<&Item> {
        self.expire(key, now);
        self.items.get(key)
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        let was_there = self.items.remove(key).is_some();
        if was_there {
            self.changes += 1;
            self.gone.insert(key.to_vec(), self.changes);
        }
        was_there
    }

    fn set(&mut self, key: &[u8], value: Vec<u8>, expires_at: Option<u64>) {
        self.changes += 1;
        self.items.insert(key.to_vec(), Item { value, expires_at, version: self.changes });
    }

    fn bulk(&mut self, key: &[u8], now: u64) -> Value {
        self.get(key, now).map_or(Value::Null, |item| Value::Bulk(item.value.clone()))
    }

    fn run(&mut self, request: &Request, now: u64) -> Value {
        let name = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
        let key = request.get(1).map_or(&[][..], Vec::as_slice);
        match name.as_str() {
            "PING" => Value::Simple("PONG".into()),
            "ECHO" => Value::Bulk(request[1].clone()),
            "GET" => self.bulk(key, now),
            "STRLEN" => Value::Integer(self.get(key, now).map_or(0, |item| item.value.len()) as i64),
            "SET" => {
                let expires_at = (request.len() == 5).then(|| now + number(&request[4]).unwrap() as u64);
                self.set(key, request[2].clone(), expires_at);
                ok()
            }
            "GETSET" => {
                let old = self.bulk(key, now);
                self.set(key, request[2].clone(), None);
                old
            }
            "GETDEL" => {
                let old = self.bulk(key, now);
                self.delete(key);
                old
            }
            "APPEND" => {
                let (mut value, expires_at) =
                    self.get(key, now).map_or((Vec::new(), None), |item| (item.value.clone(), item.expires_at));
                value.extend_from_slice(&request[2]);
                let length = value.len() as i64;
                self.set(key, value, expires_at);
                Value::Integer(length)
            }
            "INCR" => {
                let (value, expires_at) =
                    self.get(key, now).map_or((b"0".to_vec(), None), |item| (item.value.clone(), item.expires_at));
                let Some(number) = number(&value).filter(|_| value.len() < 19) else {
                    return Value::Error("ERR value is not an integer or out of range".into());
                };
                self.set(key, (number + 1).to_string().into_bytes(), expires_at);
                Value::Integer(number + 1)
            }
            "DEL" => {
                let count = request[1..].iter().filter(|key| {
                    self.expire(key, now);
                    self.delete(key)
                });
                Value::Integer(count.count() as i64)
            }
            "PEXPIRE" => {
                let Some(Item { value, .. }) = self.get(key, now).cloned() else { return Value::Integer(0) };
                self.set(key, value, Some(now + number(&request[2]).unwrap() as u64));
                Value::Integer(1)
            }
            "MGET" => Value::Array(request[1..].iter().map(|key| self.bulk(key, now)).collect()),
            "MSET" => {
                request[1..].chunks(2).for_each(|pair| self.set(&pair[0], pair[1].clone(), None));
                ok()
            }
            "EVAL" => {
                // The one script that is asked for: sets a key, and replies with what was there.
                let old = self.bulk(&request[3], now);
                self.set(&request[3], request[4].clone(), None);
                old
            }
            "FLUSHALL" => {
                let keys: Vec<_> = self.items.keys().cloned().collect();
                for key in keys {
                    self.delete(&key);
                }
                ok()
            }
            _ => panic!("{name} is not in the model"),
        }
    }
}

#[track_caller]
fn compare(request: &Request, reply: &Value, expected: &Value) {
    if reply != expected {
        let words: Vec<_> = request.iter().map(|word| word[..word.len().min(40)].escape_ascii().to_string()).collect();
        let short = |value: &Value| format!("{value:?}").chars().take(200).collect::<String>();
        panic!("{words:?}: {} instead of {}", short(reply), short(expected));
    }
}
