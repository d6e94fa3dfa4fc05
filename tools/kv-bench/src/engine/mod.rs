//! Carries out a plan: starts the load threads, collects what they see, slice by slice. Knows nothing of options and
//! reports.

mod clock;
mod connection;
mod dialogue;
mod judge;
mod neighbour;
mod outcome;
mod probe;
mod replay;
mod schedule;
mod socket;
pub mod tally;
mod timeline;
mod worker;

pub use outcome::{Generator, Outcome};
pub use probe::probe;
pub use replay::{Hits, Replay};
pub use timeline::Moment;

use crate::{
    cpu,
    plan::{Extent, Pace, Plan},
    traffic::{Source, Stock, ledger::Ledger, values::Pool},
};
use clock::Clock;
use judge::Judge;
use neighbour::Neighbour;
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tally::Tally;
use timeline::Timeline;
use worker::{Finished, News, Orders, Window, Worker};

/// A server's data as one or more runs of a plan have left it.
pub struct Session<'a> {
    plan: &'a Plan,
    stock: Arc<Stock>,
}

/// What a session does with the server.
#[derive(Clone, Copy)]
enum Task {
    Fill,
    Load(Pace),
}

impl<'a> Session<'a> {
    pub fn new(plan: &'a Plan) -> Session<'a> {
        let ledger = plan.verify.then(|| Ledger::new(rand::random(), plan.traffic.keys));
        let pool = Pool::new(plan.traffic.value_size.longest(), plan.seed);
        Session { plan, stock: Arc::new(Stock { traffic: plan.traffic.clone(), pool, ledger }) }
    }

    /// Writes every key once. An error is one line for the operator.
    pub fn fill(&self, progress: &mut dyn FnMut(&Moment)) -> Result<(), String> {
        let outcome = self.carry_out(Task::Fill, progress)?;
        let trouble =
            [outcome.failure, outcome.tally.first_error, outcome.tally.first_wrong].into_iter().flatten().next();
        match trouble {
            Some(why) => Err(format!("filling failed: {why}")),
            None if !outcome.tally.counts.clean() => Err("filling failed: connections were closed".into()),
            None => Ok(()),
        }
    }

    /// Loads the server as the plan says. An error means that nothing was measured; trouble on the way is part of the
    /// outcome.
    pub fn load(&self, progress: &mut dyn FnMut(&Moment)) -> Result<Outcome, String> {
        self.load_at(self.plan.pace, progress)
    }

    /// The same at another pace.
    pub fn load_at(&self, pace: Pace, progress: &mut dyn FnMut(&Moment)) -> Result<Outcome, String> {
        self.carry_out(Task::Load(pace), progress)
    }

    fn carry_out(&self, task: Task, progress: &mut dyn FnMut(&Moment)) -> Result<Outcome, String> {
        let plan = self.plan;
        let (sender, news) = mpsc::channel();
        let clock = Clock::start();
        let parts = plan.threads.min(plan.connections);
        let mut gates = Vec::new();
        for part in 0..parts {
            let worker =
                self.worker(task, part, parts, clock, sender.clone()).map_err(|why| format!("epoll: {why}"))?;
            let (gate, go) = mpsc::channel();
            let name = format!("load-{part}");
            thread::Builder::new().name(name).spawn(move || worker.run(go)).map_err(|why| format!("thread: {why}"))?;
            gates.push(gate);
        }
        drop(sender);
        for _ in 0..parts {
            match news.recv() {
                Ok(News::Ready) => {}
                Ok(News::Done(finished)) => return Err(finished.failure.unwrap_or_default()),
                _ => return Err("a load thread ended unexpectedly".into()),
            }
        }
        let neighbour = match (task, plan.traffic.neighbour_bytes) {
            (Task::Load(_), Some(bytes)) => Some(Neighbour::start(&plan.target, bytes, plan.timeout)?),
            _ => None,
        };
        let window = self.window(task, clock);
        for gate in &gates {
            let _ = gate.send(window); // a thread that is gone says so through `news`
        }
        let collector = Collector { plan, clock, window, parts, timeline: Timeline::new(parts, self.slice(task)) };
        let mut outcome = collector.collect(&news, progress);
        match neighbour.map(Neighbour::finish) {
            Some(Ok(requests)) => outcome.neighbour_requests = Some(requests),
            Some(Err(why)) => outcome.failure = outcome.failure.or(Some(why)),
            None => {}
        }
        Ok(outcome)
    }

    fn worker(
        &self,
        task: Task,
        part: usize,
        parts: usize,
        clock: Clock,
        news: mpsc::Sender<News>,
    ) -> io::Result<Worker> {
        let plan = self.plan;
        let stock = Arc::clone(&self.stock);
        let (source, quota) = match (task, plan.extent) {
            (Task::Fill, _) => Source::fill(stock, part, parts),
            (Task::Load(_), extent) => {
                let source = Source::mix(stock, plan.seed, part, parts);
                let quota = match extent {
                    Extent::Time(_) => u64::MAX,
                    Extent::Requests(count) => count / parts as u64 + u64::from((part as u64) < count % parts as u64),
                };
                (source, quota)
            }
        };
        let (fill, pace) = match task {
            Task::Fill => (true, Pace::Closed),
            Task::Load(pace) => (false, pace),
        };
        let orders = Orders {
            target: plan.target.clone(),
            part,
            parts,
            connections: plan.connections,
            pipeline: if fill { 64 } else { plan.pipeline },
            churn: plan.traffic.churn && !fill,
            pace,
            seed: plan.seed,
            quota,
            timeout: plan.timeout,
            slice: self.slice(task),
            clock,
        };
        Worker::new(orders, source, Judge::new(Arc::clone(&self.stock), plan.target.protocol()), news)
    }

    fn window(&self, task: Task, clock: Clock) -> Window {
        let nanos = |duration: Duration| duration.as_nanos() as u64;
        let warmup = if let Task::Load(_) = task { self.plan.warmup } else { Duration::ZERO };
        let from = clock.now() + nanos(warmup);
        let until = match (task, self.plan.extent) {
            (Task::Load(_), Extent::Time(duration)) => from + nanos(duration),
            _ => u64::MAX,
        };
        Window { from, until }
    }

    /// About a hundred slices for a timeline, and enough of them for a progress bar.
    fn slice(&self, task: Task) -> Duration {
        match (task, self.plan.extent) {
            (Task::Load(_), Extent::Time(duration)) => {
                (duration / 100).clamp(Duration::from_millis(100), Duration::from_secs(1))
            }
            _ => Duration::from_millis(200),
        }
    }
}

/// Gathers the news of one run.
struct Collector<'a> {
    plan: &'a Plan,
    clock: Clock,
    window: Window,
    parts: usize,
    timeline: Timeline,
}

impl Collector<'_> {
    fn collect(mut self, news: &mpsc::Receiver<News>, progress: &mut dyn FnMut(&Moment)) -> Outcome {
        let server_cpu = || self.plan.target.pid.and_then(|pid| cpu::of_process(pid).ok());
        let (mut tally, mut ends, mut cpu_before) = (Tally::default(), Vec::<Finished>::new(), None);
        while ends.len() < self.parts {
            let wait = if cpu_before.is_none() { self.clock.until(self.window.from) } else { Duration::MAX };
            if wait.is_zero() {
                cpu_before = Some(server_cpu());
                continue;
            }
            match news.recv_timeout(wait) {
                Ok(News::Slice(index, slice)) => {
                    for moment in self.timeline.add(index, &slice) {
                        progress(&moment);
                    }
                    tally.add(*slice);
                }
                Ok(News::Done(finished)) => ends.push(*finished),
                Ok(News::Ready) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break, // a thread panicked; its message is already out
            }
        }
        let server_cpu = server_cpu().zip(cpu_before.flatten()).map(|(after, before)| after.saturating_sub(before));
        let end = ends.iter().map(|finished| finished.at).max().unwrap_or(self.window.from);
        let since_start = |at: u64| Duration::from_nanos(at.saturating_sub(self.window.from));
        let elapsed = since_start(end);
        let busy = ends.iter().map(|finished| finished.busy_until).min().unwrap_or(end);
        let sent_until = since_start(if self.window.until == u64::MAX { busy } else { self.window.until.min(end) });
        let mut generator = Generator::default();
        let mut failure = (ends.len() < self.parts).then(|| "a load thread ended unexpectedly".to_string());
        for finished in ends {
            let share = |nanoseconds: u64| nanoseconds as f64 / elapsed.as_nanos().max(1) as f64;
            generator.running = generator.running.max(share(finished.cpu.running));
            generator.waiting = generator.waiting.max(share(finished.cpu.waiting));
            failure = failure.or(finished.failure);
            self.timeline.collect(finished.slice, &finished.rest);
            tally.add(finished.rest);
        }
        let timeline = self.timeline.finish(sent_until);
        Outcome { tally, elapsed, timeline, server_cpu, generator, neighbour_requests: None, failure }
    }
}
