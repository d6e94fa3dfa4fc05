//! One load thread: an event loop over its connections, in a closed loop (the next batch when the last is answered) or
//! an open one (by the schedule). Knows nothing of reports; what it has seen leaves it through a channel.

use super::{
    clock::Clock,
    connection::{Broken, Connection},
    judge::{Judge, Pending},
    schedule::Schedule,
    tally::Tally,
};
use crate::{cpu, plan::Pace, target::Target, traffic::Source};
use mio::{Events, Poll, Token};
use std::{
    io, mem,
    sync::mpsc::{Receiver, Sender},
    time::Duration,
};

/// A batch under way is cut here, whatever the pipeline's depth, so that large values do not fill the memory.
const BATCH_LIMIT_BYTES: usize = 8 << 20;

/// What one worker is told; the same for all but `part`.
#[derive(Clone)]
pub struct Orders {
    pub target: Target,
    /// This worker is number `part` of `parts`.
    pub part: usize,
    pub parts: usize,
    /// Over all workers.
    pub connections: usize,
    pub pipeline: usize,
    pub churn: bool,
    pub pace: Pace,
    pub seed: u64,
    /// Requests to count, for this worker; `u64::MAX` when only time ends the run.
    pub quota: u64,
    /// This long without a reply is the end of the run.
    pub timeout: Duration,
    /// What was seen is handed over in slices of this length.
    pub slice: Duration,
    pub clock: Clock,
}

/// When requests count: those due from `from` until before `until`, in nanoseconds of the run's clock.
#[derive(Clone, Copy)]
pub struct Window {
    pub from: u64,
    pub until: u64,
}

/// What a worker says to the one that started it.
pub enum News {
    /// All connections stand.
    Ready,
    /// What was seen in the slice with this number.
    Slice(usize, Box<Tally>),
    /// The end; nothing follows.
    Done(Box<Finished>),
}

pub struct Finished {
    pub rest: Tally,
    /// The slice that `rest` is of.
    pub slice: usize,
    /// When the last reply came, or was given up.
    pub at: u64,
    /// When the last request was sent.
    pub busy_until: u64,
    /// Of the window only.
    pub cpu: cpu::Share,
    /// Why the run ended before its time.
    pub failure: Option<String>,
}

pub struct Worker {
    orders: Orders,
    poll: Poll,
    connections: Vec<Connection>,
    source: Source,
    judge: Judge,
    scratch: Vec<u8>,
    schedule: Option<Schedule>,
    /// Open loop: the connection to look at first for the next request.
    turn: usize,
    /// Open loop: the last request that was due found no connection with room, so that being late is the server's
    /// doing.
    blocked: bool,
    /// Open loop: connections with something new to write.
    touched: Vec<usize>,
    window: Window,
    quota: u64,
    /// Requests and greetings without a reply.
    outstanding: usize,
    /// When the last request was sent.
    busy_until: u64,
    /// The last time that a reply came, or that a request ended a pause.
    alive_at: u64,
    /// Every request has its reply: a silence is our own.
    pausing: bool,
    slices: usize,
    cpu_before: cpu::Share,
    trouble: Option<String>,
    news: Sender<News>,
}

impl Worker {
    pub fn new(orders: Orders, source: Source, judge: Judge, news: Sender<News>) -> io::Result<Worker> {
        let own = (orders.part..orders.connections).step_by(orders.parts).count();
        Ok(Worker {
            poll: Poll::new()?,
            connections: (0..own).map(|_| Connection::default()).collect(),
            source,
            judge,
            scratch: vec![0; 256 << 10],
            schedule: None,
            turn: 0,
            blocked: false,
            touched: vec![],
            window: Window { from: u64::MAX, until: 0 }, // over: nothing is sent before it begins
            quota: orders.quota,
            outstanding: 0,
            busy_until: 0,
            alive_at: 0,
            pausing: true,
            slices: 0,
            cpu_before: cpu::Share::default(),
            trouble: None,
            news,
            orders,
        })
    }

    /// Connects, waits for the window, loads the server, hands over what it saw.
    pub fn run(mut self, go: Receiver<Window>) {
        let mut events = Events::with_capacity(1024);
        let mut failure = self.connect(&mut events).err();
        if failure.is_none() {
            // A send fails only when the receiver has given up the run; then nobody waits for this thread either.
            let _ = self.news.send(News::Ready);
            let Ok(window) = go.recv() else { return };
            self.begin(window);
            failure = self.load(&mut events).err();
        }
        self.give_up_what_is_left();
        let finished = Finished {
            at: self.orders.clock.now(),
            cpu: cpu::Share::of_this_thread().since(self.cpu_before),
            failure,
            slice: self.slices.saturating_sub(1),
            busy_until: self.busy_until,
            rest: self.judge.tally,
        };
        let _ = self.news.send(News::Done(Box::new(finished)));
    }

    fn connect(&mut self, events: &mut Events) -> Result<(), String> {
        let deadline = self.orders.clock.now() + self.orders.timeout.as_nanos() as u64;
        for index in 0..self.connections.len() {
            self.open(index).map_err(|why| explain_open(&why))?;
        }
        while !self.connections.iter().all(Connection::is_idle) {
            self.wait(events, Duration::from_millis(10))?;
            if let Some(why) = self.trouble.take() {
                return Err(format!(
                    "{} ended a connection while all were being opened: {why}",
                    self.orders.target.endpoint
                ));
            }
            if self.orders.clock.now() > deadline {
                let open = self.connections.iter().filter(|connection| connection.is_idle()).count();
                let all = self.connections.len();
                return Err(format!(
                    "only {open} of {all} connections were accepted and greeted; use fewer --connections"
                ));
            }
        }
        Ok(())
    }

    fn begin(&mut self, window: Window) {
        let Orders { pace, seed, part, parts, clock, .. } = &self.orders;
        self.window = window;
        self.judge.counts_from = window.from;
        self.judge.tally = Tally::default();
        self.alive_at = clock.now();
        if let Pace::Open { rate, arrivals } = pace {
            self.schedule = Some(Schedule::new(clock.now(), *rate, *arrivals, *seed, *part, *parts));
        }
        for index in 0..self.connections.len() {
            self.next_batch(index);
        }
    }

    fn load(&mut self, events: &mut Events) -> Result<(), String> {
        loop {
            let now = self.orders.clock.now();
            self.hand_over(now);
            if self.is_over(now) && self.outstanding == 0 {
                return Ok(());
            }
            self.check_alive(now)?;
            self.send_due(now);
            self.wait(events, self.pause(now))?;
        }
    }

    /// Nothing more is to be sent.
    fn is_over(&self, now: u64) -> bool {
        let due = self.schedule.as_ref().map_or(now, Schedule::due);
        due >= self.window.until || self.quota == 0
    }

    fn check_alive(&self, now: u64) -> Result<(), String> {
        let timeout = self.orders.timeout;
        let waits = !self.pausing || !self.connections.iter().any(Connection::is_open);
        let drained_by = self.window.until.saturating_add(timeout.as_nanos() as u64);
        if waits && now.saturating_sub(self.alive_at) > timeout.as_nanos() as u64 {
            let why = self.trouble.as_deref().unwrap_or("it stalled");
            return Err(format!("{} has not answered for {timeout:?} ({why})", self.orders.target.endpoint));
        }
        if now > drained_by {
            return Err(format!("{timeout:?} after the end the server still has not caught up; lower the --rate"));
        }
        Ok(())
    }

    /// At the start of each slice: hands over the last one, opens again what was closed.
    fn hand_over(&mut self, now: u64) {
        let next = self.window.from.saturating_add(self.slices as u64 * self.orders.slice.as_nanos() as u64);
        if now < next {
            return;
        }
        let tally = mem::take(&mut self.judge.tally);
        match self.slices {
            0 => self.cpu_before = cpu::Share::of_this_thread(), // the warm-up ends; what it saw does not count
            slices => drop(self.news.send(News::Slice(slices - 1, Box::new(tally)))),
        }
        self.slices += 1;
        for index in 0..self.connections.len() {
            if !self.connections[index].is_open() {
                self.reopen(index);
            }
        }
    }

    /// How long the poll may wait. It wakes only to the millisecond, so close to a due time it does not wait at all.
    fn pause(&self, now: u64) -> Duration {
        let next_slice = self.window.from.saturating_add(self.slices as u64 * self.orders.slice.as_nanos() as u64);
        let until_slice = Duration::from_nanos(next_slice.saturating_sub(now)).min(Duration::from_millis(50));
        match &self.schedule {
            Some(schedule) if !self.is_over(now) => {
                let until_due = Duration::from_nanos(schedule.due().saturating_sub(now));
                until_slice.min(Duration::from_millis((until_due.as_millis() as u64).saturating_sub(1)))
            }
            _ => until_slice + Duration::from_millis(1),
        }
    }

    /// Waits for sockets and serves those that are ready.
    fn wait(&mut self, events: &mut Events, pause: Duration) -> Result<(), String> {
        match self.poll.poll(events, Some(pause)) {
            Err(why) if why.kind() != io::ErrorKind::Interrupted => return Err(format!("epoll failed: {why}")),
            _ => {}
        }
        for event in events.iter() {
            let Token(index) = event.token();
            // Most wake-ups say "readable, and still writable": only a connection with bytes left or not yet up has use
            // for the latter.
            let ended = event.is_read_closed() || event.is_error();
            if let Err(why) = self.serve(index, event.is_writable(), event.is_readable() || ended, ended) {
                self.broken(index, why);
            }
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, writable: bool, readable: bool, ended: bool) -> Result<(), Broken> {
        let Worker { connections, scratch, judge, orders, .. } = self;
        let connection = &mut connections[index];
        if writable {
            let (established, sent) = connection.progress()?;
            judge.tally.counts.bytes_sent += sent as u64;
            if !established {
                return Ok(());
            }
        }
        if readable {
            let (clock, replies_before) = (orders.clock, judge.replies);
            let (settled, received) = connection.receive(scratch, judge, ended, || clock.now())?;
            judge.tally.counts.bytes_received += received as u64;
            self.outstanding -= settled;
            if judge.replies > replies_before {
                self.alive_at = clock.now();
                self.pausing = self.outstanding == 0;
            }
        }
        if self.orders.churn && readable && self.connections[index].is_idle() {
            self.reopen(index);
        }
        self.next_batch(index);
        Ok(())
    }

    /// Closed loop: when a connection has all its replies, it gets its next batch.
    fn next_batch(&mut self, index: usize) {
        if self.schedule.is_some() || !self.may_take_a_batch(index) {
            return;
        }
        let now = self.orders.clock.now();
        if self.is_over(now) {
            return;
        }
        for _ in 0..self.orders.pipeline {
            self.ask(index, now);
            if self.quota == 0 || self.connections[index].out.len() > BATCH_LIMIT_BYTES {
                break;
            }
        }
        self.flush(index);
    }

    fn may_take_a_batch(&self, index: usize) -> bool {
        let connection = &self.connections[index];
        // With churn the connection itself is part of the request: its time starts before the connection stands.
        connection.is_idle() || (self.orders.churn && connection.is_open() && connection.pending.is_empty())
    }

    /// Open loop: sends everything that is due, as far as connections have room.
    fn send_due(&mut self, now: u64) {
        let Some(mut schedule) = self.schedule.take() else { return };
        let count = self.connections.len();
        while schedule.due() <= now && schedule.due() < self.window.until && self.quota > 0 {
            let room = |index: &usize| {
                let connection = &self.connections[*index];
                connection.is_open() && connection.pending.len() < self.orders.pipeline
            };
            let Some(index) = (0..count).map(|step| (self.turn + step) % count).find(room) else {
                self.blocked = true;
                break;
            };
            if schedule.due() >= self.window.from && !self.blocked {
                self.judge.tally.record_lag(now - schedule.due());
            }
            self.ask(index, schedule.due());
            self.touched.push(index);
            schedule.advance();
            self.turn = (index + 1) % count;
        }
        self.blocked &= schedule.due() <= now;
        self.schedule = Some(schedule);
        while let Some(index) = self.touched.pop() {
            self.flush(index);
        }
    }

    fn ask(&mut self, index: usize, due: u64) {
        let Worker { connections, source, judge, orders, .. } = self;
        let connection = &mut connections[index];
        let number = orders.part + index * orders.parts;
        let asked = source.ask(number, orders.connections, judge.protocol(), &mut connection.out);
        connection.pending.push_back(Pending { asked, due });
        if self.pausing {
            self.alive_at = self.orders.clock.now();
            self.pausing = false;
        }
        self.outstanding += 1;
        self.busy_until = self.busy_until.max(due);
        if due >= self.window.from && self.quota != u64::MAX {
            self.quota -= 1;
        }
    }

    fn flush(&mut self, index: usize) {
        match self.connections[index].flush() {
            Ok(sent) => self.judge.tally.counts.bytes_sent += sent as u64,
            Err(why) => self.broken(index, why),
        }
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let connection = &mut self.connections[index];
        connection.open(&self.orders.target.endpoint, self.judge.protocol(), self.poll.registry(), Token(index))?;
        self.outstanding += connection.pending.len();
        Ok(())
    }

    fn reopen(&mut self, index: usize) {
        if let Err(why) = self.open(index) {
            self.broken(index, Broken::Closed(why));
        }
    }

    /// A connection ended: its requests will never be answered. It is opened again with the next slice.
    fn broken(&mut self, index: usize, why: Broken) {
        self.lose(index);
        let words = match why {
            Broken::Closed(why) => explain_open(&why),
            Broken::Garbled(why) => {
                let words = format!("garbled reply: {why}");
                self.judge.tally.error(|| words.clone());
                words
            }
        };
        self.judge.tally.counts.disconnects += 1;
        self.trouble = Some(words);
        self.connections[index].close();
    }

    /// Counts what a connection still waits for as unanswered. In open loop that is no reason to look better: it took
    /// at least so long.
    fn lose(&mut self, index: usize) {
        let now = self.orders.clock.now();
        for pending in mem::take(&mut self.connections[index].pending) {
            self.outstanding -= 1;
            if pending.due >= self.window.from {
                self.judge.tally.counts.unanswered += 1;
                if self.schedule.is_some() {
                    self.judge.tally.record_waiting(pending.asked.kind, now - pending.due);
                }
            }
        }
    }

    /// At the end: what was never answered, and in open loop what was due and never sent.
    fn give_up_what_is_left(&mut self) {
        (0..self.connections.len()).for_each(|index| self.lose(index));
        let Some(mut schedule) = self.schedule.take() else { return };
        let Worker { source, judge, orders, window, .. } = self;
        let (now, mut unused) = (orders.clock.now(), Vec::new());
        while schedule.due() < window.until.min(now) && self.quota > 0 {
            if schedule.due() >= window.from {
                unused.clear();
                let asked = source.ask(orders.part, orders.connections, judge.protocol(), &mut unused);
                judge.tally.record_waiting(asked.kind, now - schedule.due());
                judge.tally.counts.unsent += 1;
                self.quota -= 1;
            }
            schedule.advance();
        }
    }
}

fn explain_open(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed a connection".into(),
        io::ErrorKind::AddrNotAvailable => {
            "no local port is free: closed connections hold theirs for a while; use fewer connections per second".into()
        }
        _ if why.raw_os_error() == Some(24) => {
            "too many open files: raise `ulimit -n` or use fewer --connections".into()
        }
        _ => why.to_string(),
    }
}
