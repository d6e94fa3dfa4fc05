//! What is asked: the mix of commands over keys and values, drawn request by request. Knows nothing of sockets and
//! time.

pub mod keys;
pub mod ledger;
pub mod presets;
pub mod sizes;
pub mod values;

use crate::protocol::{Keys, Kind, Protocol, Request};
use keys::{Chooser, KeyChoice, Speller};
use ledger::Ledger;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use sizes::Sizes;
use std::{ops::Range, sync::Arc, time::Duration};
use values::Pool;

/// A workload. The four shares need not add up to anything: they are weights.
#[derive(Clone, Debug)]
pub struct Traffic {
    pub reads: f64,
    pub writes: f64,
    pub deletes: f64,
    pub increments: f64,
    /// Keys per read; above 1, reads are MGET.
    pub keys_per_read: usize,
    /// So many different keys, and as many counters if any are incremented.
    pub keys: u64,
    pub key_choice: KeyChoice,
    pub key_size: Sizes,
    pub value_size: Sizes,
    pub ttl: Option<Duration>,
    /// Each connection carries one batch, then is closed and opened anew.
    pub churn: bool,
    /// Beside it a client writes and reads one value of so many bytes without a pause; it is not measured.
    pub neighbour_bytes: Option<usize>,
}

/// What the load threads share while a run lasts: the values to cut from and, with `--verify`, what may come back.
pub struct Stock {
    pub traffic: Traffic,
    pub pool: Pool,
    pub ledger: Option<Ledger>,
}

/// What has to be remembered of a request until its reply comes.
pub struct Asked {
    pub kind: Kind,
    /// The key, or the first of them.
    pub key: u64,
    /// With `--verify`: the version written, or the oldest that may be read.
    pub version: u32,
    /// With `--verify`, for a multi-key read: each key with the oldest version that may be read.
    pub all: Option<Box<[(u64, u32)]>>,
}

/// What a load thread draws its requests from.
enum Order {
    /// The mix, as long as anyone asks.
    Mix(Chooser),
    /// Each item of a part of the keys once: values, then counters.
    Fill { values: Range<u64>, counters: Range<u64> },
}

/// One load thread's stream of requests.
pub struct Source {
    stock: Arc<Stock>,
    order: Order,
    random: SmallRng,
    speller: Speller,
    key: Vec<u8>,
    value: Vec<u8>,
    keys: Keys,
}

impl Source {
    /// The stream of `part` of `parts` threads for the workload itself.
    pub fn mix(stock: Arc<Stock>, seed: u64, part: usize, parts: usize) -> Source {
        let traffic = &stock.traffic;
        let chooser = Chooser::new(&traffic.key_choice, traffic.keys, part, parts);
        Source::new(stock, Order::Mix(chooser), seed ^ (part as u64) << 48)
    }

    /// The stream that writes this thread's part of all keys once, and their number.
    pub fn fill(stock: Arc<Stock>, part: usize, parts: usize) -> (Source, u64) {
        let keys = stock.traffic.keys;
        let edge = |part: usize| (u128::from(keys) * part as u128 / parts as u128) as u64;
        let values = edge(part)..edge(part + 1);
        let counters = if stock.traffic.increments > 0.0 { values.clone() } else { 0..0 };
        let count = (values.end - values.start) + (counters.end - counters.start);
        (Source::new(stock, Order::Fill { values, counters }, 0), count)
    }

    fn new(stock: Arc<Stock>, order: Order, seed: u64) -> Source {
        let speller = Speller::new(&stock.traffic.key_size, stock.traffic.keys);
        let random = SmallRng::seed_from_u64(seed);
        Source { stock, order, random, speller, key: vec![], value: vec![], keys: Keys::default() }
    }

    /// Appends the next request of `connection` (of `connections`).
    pub fn ask(&mut self, connection: usize, connections: usize, protocol: &dyn Protocol, out: &mut Vec<u8>) -> Asked {
        let (kind, key) = self.draw();
        match kind {
            Kind::Get => self.get(key, protocol, out),
            Kind::MultiGet => self.multi_get(key, protocol, out),
            _ => {
                let key = match (&self.stock.ledger, &self.order) {
                    (Some(ledger), Order::Mix(_)) => ledger.own(key, connection, connections),
                    _ => key,
                };
                self.write(kind, key, protocol, out)
            }
        }
    }

    fn draw(&mut self) -> (Kind, u64) {
        let traffic = &self.stock.traffic;
        match &mut self.order {
            Order::Fill { values, counters } => match values.next() {
                Some(key) => (Kind::Set, key),
                None => (Kind::Zero, counters.next().unwrap_or(0)),
            },
            Order::Mix(chooser) => {
                let total = traffic.reads + traffic.writes + traffic.deletes + traffic.increments;
                let point = self.random.random::<f64>() * total;
                let kind = match point - traffic.reads {
                    below if below < 0.0 && traffic.keys_per_read > 1 => Kind::MultiGet,
                    below if below < 0.0 => Kind::Get,
                    beyond if beyond < traffic.writes => Kind::Set,
                    beyond if beyond < traffic.writes + traffic.deletes => Kind::Delete,
                    _ => Kind::Increment,
                };
                (kind, chooser.choose(&mut self.random))
            }
        }
    }

    fn get(&mut self, key: u64, protocol: &dyn Protocol, out: &mut Vec<u8>) -> Asked {
        self.key.clear();
        self.speller.spell(b'k', key, &mut self.key);
        protocol.encode(&Request::Get { key: &self.key }, out);
        let version = self.stock.ledger.as_ref().map_or(0, |ledger| ledger.floor(key));
        Asked { kind: Kind::Get, key, version, all: None }
    }

    fn multi_get(&mut self, first: u64, protocol: &dyn Protocol, out: &mut Vec<u8>) -> Asked {
        let mut chosen = vec![first];
        if let Order::Mix(chooser) = &mut self.order {
            chosen.extend((1..self.stock.traffic.keys_per_read).map(|_| chooser.choose(&mut self.random)));
        }
        self.keys.clear();
        for key in &chosen {
            self.speller.spell(b'k', *key, &mut self.keys.bytes);
            self.keys.ends.push(self.keys.bytes.len());
        }
        protocol.encode(&Request::MultiGet { keys: &self.keys }, out);
        let floors = |ledger: &Ledger| chosen.iter().map(|key| (*key, ledger.floor(*key))).collect();
        Asked { kind: Kind::MultiGet, key: first, version: 0, all: self.stock.ledger.as_ref().map(floors) }
    }

    fn write(&mut self, kind: Kind, key: u64, protocol: &dyn Protocol, out: &mut Vec<u8>) -> Asked {
        let Stock { traffic, pool, ledger } = &*self.stock;
        let counter = matches!(kind, Kind::Increment | Kind::Zero);
        self.key.clear();
        self.speller.spell(if counter { b'c' } else { b'k' }, key, &mut self.key);
        let mark = match (ledger, kind) {
            (Some(ledger), Kind::Set | Kind::Delete) => Some(ledger.issue(key)),
            _ => None,
        };
        let request = match (kind, mark) {
            (Kind::Delete, _) => Request::Delete { key: &self.key },
            (Kind::Increment, _) => Request::Increment { counter: &self.key },
            (Kind::Zero, _) => Request::Set { key: &self.key, value: b"0", ttl: None },
            (_, None) => {
                let value = pool.value(key, traffic.value_size.of(key));
                Request::Set { key: &self.key, value, ttl: traffic.ttl }
            }
            (_, Some(mark)) => {
                self.value.clear();
                mark.write(traffic.value_size.of(key).max(values::Mark::BYTES), &mut self.value);
                Request::Set { key: &self.key, value: &self.value, ttl: traffic.ttl }
            }
        };
        protocol.encode(&request, out);
        Asked { kind, key, version: mark.map_or(0, |mark| mark.version), all: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Dialect;

    fn source(change: impl FnOnce(&mut Traffic)) -> Source {
        let mut traffic = presets::find("mixed").unwrap().traffic;
        traffic.keys = 100;
        change(&mut traffic);
        let pool = Pool::new(traffic.value_size.longest(), 1);
        Source::mix(Arc::new(Stock { traffic, pool, ledger: None }), 1, 0, 1)
    }

    fn share_of(source: &mut Source, kind: Kind) -> f64 {
        let protocol = Dialect::Resp2.protocol(None);
        let asked = (0..20_000).map(|_| source.ask(0, 1, &*protocol, &mut Vec::new()).kind);
        asked.filter(|asked| *asked == kind).count() as f64 / 20_000.0
    }

    #[test]
    fn the_mix_keeps_its_shares() {
        let change = |traffic: &mut Traffic| {
            (traffic.reads, traffic.writes, traffic.deletes, traffic.increments) = (60.0, 20.0, 15.0, 5.0);
        };
        for (kind, share) in [(Kind::Get, 0.6), (Kind::Set, 0.2), (Kind::Delete, 0.15), (Kind::Increment, 0.05)] {
            assert!((share_of(&mut source(change), kind) - share).abs() < 0.02, "{kind:?}");
        }
        let only_reads =
            |traffic: &mut Traffic| (traffic.reads, traffic.writes, traffic.keys_per_read) = (1.0, 0.0, 10);
        assert_eq!(share_of(&mut source(only_reads), Kind::MultiGet), 1.0);
    }

    #[test]
    fn the_parts_of_a_fill_cover_each_key_once() {
        let protocol = Dialect::Resp2.protocol(None);
        let stock = source(|traffic| traffic.increments = 1.0).stock;
        let mut seen = vec![];
        for part in 0..3 {
            let (mut source, count) = Source::fill(Arc::clone(&stock), part, 3);
            for _ in 0..count {
                let asked = source.ask(0, 1, &*protocol, &mut Vec::new());
                seen.push((asked.kind == Kind::Zero, asked.key));
            }
        }
        seen.sort_unstable();
        let expected: Vec<_> =
            [false, true].into_iter().flat_map(|zero| (0..100).map(move |key| (zero, key))).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_same_seed_asks_the_same() {
        let asked = || {
            let mut out = Vec::new();
            let mut source = source(|_| ());
            (0..1000).for_each(|_| drop(source.ask(0, 1, &*Dialect::Memcached.protocol(None), &mut out)));
            out
        };
        assert_eq!(asked(), asked());
    }
}
