//! One request of a conversation: what runs it, and what becomes of its answer.

use std::sync::atomic::Ordering::Relaxed;

use super::Session;
use crate::acl::DEFAULT;
use crate::acl::log::Event;
use crate::base::clock::UnixMillis;
use crate::clients::Paused;
use crate::command::{Call, Flags, Table, permission};
use crate::message::error::Stop;
use crate::message::output::Mark;
use crate::message::reply::Reply;
use crate::message::request::Arguments;
use crate::observe::log;
use crate::observe::stats::CoreStats;
use crate::protocol::front::Next;
use crate::protocol::memcached::batch::Request;
use crate::protocol::memcached::line::{Line, Verb};
use crate::protocol::memcached::{answer, binary, meta, text};
use crate::protocol::turn;
use crate::script::runner::Runner;
use crate::shared::Shared;
use crate::store::guards::ShardGuards;
use crate::store::hot::Seen;

/// What requests run with.
pub(super) struct Run<'r, 'k> {
    pub shared: &'k Shared,
    pub stats: &'r CoreStats,
    pub guards: ShardGuards<'k>,
    pub now: UnixMillis,
    pub reply: &'r mut Reply,
    pub scripts: &'r mut Option<Runner>,
    pub only_urgent: bool,
}

impl Session {
    /// Runs one request. `Ok` when it is answered, with what ends the turn, if anything; `Err` if it must run again, after
    /// this.
    #[inline]
    pub(super) fn run_request(
        &mut self,
        run: &mut Run,
        request: &Request,
        args: Arguments,
    ) -> Result<Option<Next>, Next> {
        let before = run.reply.mark();
        let line = &request.line;
        self.is_line_over &= request.resumes;
        if self.is_line_over {
            return Ok(None);
        }
        if !self.state.authenticated {
            return Ok(self.authenticate(run, line, args));
        }
        let Some(found) = request.found else {
            return self.answer_at_once(run, line, before);
        };
        let row = found.1;
        if let Some(paused) = run.shared.clients.pause.at(run.now)
            && (paused == Paused::All || row.flags.intersects(Flags::WRITE))
            && !run.shared.draining.load(Relaxed)
        {
            self.state.client.paused.store(true, Relaxed);
            return Err(Next::Pause);
        }
        let Run { shared, stats, guards, now, reply, scripts, .. } = run;
        if run.only_urgent {
            answer::line(reply, answer::BUSY);
            self.is_line_over = true;
        } else if !Table::get().is_served(found.0) {
            answer::line(reply, &format!("CLIENT_ERROR {}", turn::TAKEN_AWAY));
            self.is_line_over = true;
        } else {
            let state = &mut self.state;
            let mut call = Call {
                args,
                hash: request.hash,
                seen: Seen::Cold,
                now: *now,
                guards,
                reply,
                state,
                shared,
                stats,
                scripts,
            };
            let outcome = call.execute_by(found, |call, row| match line.verb.is_meta() {
                true => meta::run(call, line),
                false => text::run(call, row, request),
            });
            match outcome {
                Ok(()) | Err(Stop::AlreadyReplied) => {}
                Err(Stop::Error(text)) => {
                    stats.note_error(&text);
                    reply.rewind(before);
                    let refusal = answer::error_of(&text);
                    answer::note_refusal(stats, refusal);
                    answer::line(reply, refusal);
                    // It stands where the end would.
                    self.is_line_over = true;
                }
                Err(wait @ (Stop::Retry | Stop::Busy | Stop::Full)) => {
                    reply.rewind(before);
                    return Err(turn::put_off(&self.state.client, &wait));
                }
            }
        }
        run.stats.commands.add(1);
        self.state.client.commands.add(1);
        // A meta command says itself what it leaves out.
        if line.quiet && !line.verb.is_meta() {
            run.reply.rewind(before);
        }
        let is_read = row.flags.intersects(Flags::READONLY.union(Flags::TELLS));
        self.finish(run, (before, is_read))
    }

    /// What needs no command.
    fn answer_at_once(&mut self, run: &mut Run, line: &Line, before: Mark) -> Result<Option<Next>, Next> {
        match line.verb {
            Verb::Quit => return Ok(Some(Next::Close)),
            Verb::Foreign => {
                turn::note_foreign(&self.state.client, run.stats, run.shared, &"it speaks HTTP");
                return Ok(Some(Next::Close));
            }
            Verb::Binary => self.refuse_binary(run, line),
            Verb::Version => answer::line(run.reply, &format!("VERSION {}", answer::VERSION)),
            Verb::Verbosity => run.reply.write(b"OK\r\n"),
            Verb::MetaNoop => run.reply.write(b"MN\r\n"),
            _ => {
                run.stats.note_error(line.refusal);
                answer::note_refusal(run.stats, line.refusal);
                answer::line(run.reply, line.refusal);
            }
        }
        if line.quiet {
            run.reply.rewind(before);
        }
        self.finish(run, (before, true))
    }

    /// The connection stays: clients wait for the answer to each request, also for one that they sent before they saw this.
    #[cold]
    fn refuse_binary(&mut self, run: &mut Run, line: &Line) {
        if !self.is_binary_noted {
            self.is_binary_noted = true;
            run.stats.protocol_errors.add(1);
            let client = &self.state.client;
            log::PROTOCOL_ERRORS.warn(|| {
                let (from, _) = client.addresses(&run.shared.unix_path());
                format!("{from} speaks memcached's binary protocol and is refused all it asks for: have it speak text")
            });
        }
        binary::refuse(run.reply, line);
    }

    #[inline]
    fn finish(&mut self, run: &mut Run, (before, is_read): (Mark, bool)) -> Result<Option<Next>, Next> {
        if self.state.client.is_killed() {
            return Ok(Some(Next::Close));
        }
        if self.state.room.covers(run.reply.len()) {
            return Ok(None);
        }
        let is_line_over = &mut self.is_line_over;
        turn::find_room(&mut self.state, run.shared, run.stats, run.reply, (before, is_read), |reply| {
            answer::line(reply, answer::NO_ROOM);
            *is_line_over = true;
        })
    }

    /// Before a password was given: memcached takes user and password as the value of a `set`, whatever its key.
    #[cold]
    fn authenticate(&mut self, run: &mut Run, line: &Line, args: Arguments) -> Option<Next> {
        let (shared, stats) = (run.shared, run.stats);
        match line.verb {
            Verb::Set => {}
            Verb::Quit | Verb::Foreign => return Some(Next::Close),
            Verb::Binary => {
                self.refuse_binary(run, line);
                return None;
            }
            _ => {
                answer::line(run.reply, answer::UNAUTHENTICATED);
                // Of what is not looked at nothing is thrown away either.
                return (line.verb == Verb::RefusedValue).then_some(Next::Close);
            }
        }
        stats.memcached_auth_cmds.add(1);
        let value = args.get(args.len() - 1);
        let Some(space) = value.iter().position(|byte| *byte == b' ') else {
            answer::line(run.reply, answer::BAD_TOKEN);
            return None;
        };
        let (name, password) = (&value[..space], &value[space + 1..]);
        let name = if name.is_empty() { DEFAULT.as_bytes() } else { name };
        if let Some(user) = shared.settings.users.authenticate(name, password) {
            self.state.log_in(user);
            run.reply.write(b"STORED\r\n");
            return None;
        }
        stats.memcached_auth_errors.add(1);
        let event = Event { reason: "auth", context: "toplevel", object: b"set".to_vec(), user: name.to_vec() };
        let which = || "over memcached's protocol".to_owned();
        permission::note_wrong_password(shared, stats, &self.state, run.now, event, which);
        answer::line(run.reply, answer::WRONG_PASSWORD);
        None
    }
}
