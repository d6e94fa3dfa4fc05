//! Takes replies for what was asked: counts them, and with `--verify` checks them. Knows nothing of sockets and clocks.

use super::tally::Tally;
use crate::{
    protocol::{Found, Kind, Malformed, Protocol, Reply, Values},
    traffic::{Asked, Stock, keys::number_of, ledger::Ledger},
};
use std::{collections::VecDeque, sync::Arc};

/// A request on its way.
pub struct Pending {
    pub asked: Asked,
    /// From when on its latency counts, in nanoseconds of the run's clock.
    pub due: u64,
}

pub struct Judge {
    stock: Arc<Stock>,
    protocol: Box<dyn Protocol>,
    /// Requests due before this are warm-up.
    pub counts_from: u64,
    pub tally: Tally,
    /// Replies so far, right or wrong, warm-up or not; greetings are none.
    pub replies: u64,
}

impl Judge {
    pub fn new(stock: Arc<Stock>, protocol: Box<dyn Protocol>) -> Judge {
        Judge { stock, protocol, counts_from: u64::MAX, tally: Tally::default(), replies: 0 }
    }

    pub fn protocol(&self) -> &dyn Protocol {
        &*self.protocol
    }

    /// Settles every whole reply at the start of `input`, which arrived at `now`; returns the bytes used.
    pub fn settle(&mut self, pending: &mut VecDeque<Pending>, input: &[u8], now: u64) -> Result<usize, Malformed> {
        let mut used = 0;
        while let Some(front) = pending.front() {
            // Borrowed apart from the tally, which the verdict changes.
            let Judge { stock, protocol, counts_from, tally, replies } = self;
            let Some((reply, length)) = protocol.decode(front.asked.kind, &input[used..])? else { return Ok(used) };
            used += length;
            *replies += u64::from(front.asked.kind != Kind::Greeting);
            verdict(stock, tally, &front.asked, reply, (front.due >= *counts_from).then(|| now - front.due));
            pending.pop_front();
        }
        if used < input.len() { Err("bytes that nobody asked for") } else { Ok(used) }
    }
}

/// Counts one reply; `latency` is `None` during warm-up.
fn verdict(stock: &Stock, tally: &mut Tally, asked: &Asked, reply: Reply, latency: Option<u64>) {
    if let Reply::Error(words) = reply {
        tally.error(|| String::from_utf8_lossy(words).into_owned());
        return;
    }
    let ledger = stock.ledger.as_ref();
    let right = match (asked.kind, reply) {
        (Kind::Greeting, _) => return,
        (Kind::Get, Reply::Value(value)) => {
            tally.counts.hits += 1;
            ledger.map_or(Ok(()), |ledger| ledger.check(asked.key, asked.version, value))
        }
        (Kind::Get | Kind::Increment, Reply::Missing) => {
            tally.counts.misses += 1;
            Ok(())
        }
        (Kind::MultiGet, Reply::Values(values)) => several(stock, tally, asked, values),
        (Kind::Set, Reply::Done) | (Kind::Delete, Reply::Number(_)) => {
            ledger.inspect(|ledger| ledger.acknowledge(asked.key, asked.version));
            Ok(())
        }
        (Kind::Zero, Reply::Done) => {
            ledger.inspect(|ledger| ledger.zeroed(asked.key));
            Ok(())
        }
        (Kind::Increment, Reply::Number(number)) => ledger.map_or(Ok(()), |ledger| ledger.counted(asked.key, number)),
        (kind, reply) => Err(format!("{kind:?} was answered with {}", shape(&reply))),
    };
    if let Err(words) = right {
        tally.wrong(|| words);
    }
    if let Some(latency) = latency {
        tally.record(asked.kind, latency);
    }
}

/// A multi-key read: as many hits and misses as keys were asked for, and with `--verify` each value under its key.
fn several(stock: &Stock, tally: &mut Tally, asked: &Asked, values: Values) -> Result<(), String> {
    let wanted = stock.traffic.keys_per_read;
    let (mut hits, mut places, mut right) = (0, 0, Ok(()));
    for (place, found) in values.enumerate() {
        places += 1;
        hits += usize::from(found.value.is_some());
        if let (Some(ledger), Some(all)) = (&stock.ledger, &asked.all) {
            right = right.and(check(ledger, all, place, &found));
        }
    }
    tally.counts.hits += hits as u64;
    tally.counts.misses += wanted.saturating_sub(hits) as u64;
    if places > wanted {
        return Err(format!("a read of {wanted} keys was answered with {places} values"));
    }
    right
}

fn check(ledger: &Ledger, all: &[(u64, u32)], place: usize, found: &Found) -> Result<(), String> {
    let Some(value) = found.value else { return Ok(()) };
    let asked = match found.key {
        None => all.get(place),
        Some(name) => all.iter().find(|(key, _)| number_of(name) == Some(*key)),
    };
    match asked {
        Some((key, floor)) => ledger.check(*key, *floor, value),
        None => Err("a value for a key that was not asked for".into()),
    }
}

fn shape(reply: &Reply) -> &'static str {
    match reply {
        Reply::Done => "OK",
        Reply::Value(_) => "a value",
        Reply::Missing => "nothing",
        Reply::Number(_) => "a number",
        Reply::Values(_) => "an array",
        Reply::Error(_) => "an error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::Dialect,
        traffic::{presets, values::Pool},
    };

    fn judge() -> Judge {
        let mut traffic = presets::find("mixed").unwrap().traffic;
        (traffic.keys, traffic.keys_per_read) = (10, 2);
        let stock = Stock { traffic, pool: Pool::new(64, 1), ledger: Some(Ledger::new(1, 10)) };
        let mut judge = Judge::new(Arc::new(stock), Dialect::Resp2.protocol(None));
        judge.counts_from = 100;
        judge
    }

    fn pending(kind: Kind, due: u64) -> Pending {
        Pending { asked: Asked { kind, key: 3, version: 0, all: None }, due }
    }

    #[test]
    fn replies_settle_in_order_and_leave_the_rest() {
        let mut judge = judge();
        let mut waiting = VecDeque::from([pending(Kind::Get, 50), pending(Kind::Set, 150), pending(Kind::Get, 160)]);
        let used = judge.settle(&mut waiting, b"$-1\r\n+OK\r\n$3\r\nab", 200);
        assert_eq!((used, waiting.len()), (Ok(10), 1));
        assert_eq!(judge.tally.all().len(), 1, "the first was warm-up");
        assert_eq!(judge.tally.all().max(), 50);
        assert_eq!(judge.tally.counts.misses, 1);
    }

    #[test]
    fn errors_wrong_values_and_wrong_types_are_told_apart() {
        let mut judge = judge();
        let mut waiting: VecDeque<_> = [Kind::Get, Kind::Get, Kind::Get].map(|kind| pending(kind, 150)).into();
        judge.settle(&mut waiting, b"-ERR no\r\n$3\r\nfoo\r\n:1\r\n", 200).unwrap();
        let counts = &judge.tally.counts;
        assert_eq!((counts.errors, counts.wrong, counts.hits), (1, 2, 1));
        assert_eq!(judge.tally.first_error.as_deref(), Some("ERR no"));
    }

    #[test]
    fn unasked_bytes_are_malformed() {
        assert!(judge().settle(&mut VecDeque::new(), b"+OK\r\n", 1).is_err());
        let mut waiting = VecDeque::from([pending(Kind::Get, 1)]);
        assert!(judge().settle(&mut waiting, b"HTTP/1.1", 1).is_err());
    }

    #[test]
    fn a_multi_key_read_checks_each_value_in_its_place() {
        let mut judge = judge();
        let ledger = judge.stock.ledger.as_ref().unwrap();
        let mut value = Vec::new();
        ledger.issue(7).write(20, &mut value);
        let mut reply = b"*2\r\n$-1\r\n$20\r\n".to_vec();
        reply.extend_from_slice(&value);
        reply.extend_from_slice(b"\r\n");
        for (all, wrong) in [([(3, 0), (7, 0)], 0), ([(7, 0), (3, 0)], 1)] {
            let asked = Asked { kind: Kind::MultiGet, key: 3, version: 0, all: Some(all.into()) };
            let mut waiting = VecDeque::from([Pending { asked, due: 150 }]);
            judge.settle(&mut waiting, &reply, 200).unwrap();
            assert_eq!(judge.tally.counts.wrong, wrong);
        }
        assert_eq!((judge.tally.counts.hits, judge.tally.counts.misses), (2, 2));
    }
}
