//! Calls: taken, run, and answered once what they rest on is committed and the tenure lasts. And what a primary does by itself.

use std::sync::Arc;

use election::Incarnation;
use metadata::CallRefused;
use oplog::Position;
use proto::status;
use proto::v1::{CallError, Reason};

use super::role::Role;
use super::{Life, Member, TTL_STEP_MS_MAX};
use crate::checks::expiry_only_logged;
use crate::checks::no_overlap::Terms;
use crate::cx::Cx;
use crate::net::{Body, End, Letter};
use crate::requests::{Ran, Reply, Request};

const UPKEEP_EVERY_MS: u64 = 50;

#[derive(Debug)]
pub(super) struct Pending {
    from: End,
    stream: u64,
    request: Request,
    ran: Ran,
    epoch: u64,
}

pub(crate) fn address(member: usize) -> String {
    format!("m{member}:1")
}

impl Member {
    pub(super) fn on_call(&mut self, cx: &mut Cx, from: End, stream: u64, request: Request) {
        let run = self.check_open(cx).and_then(|epoch| {
            let Life::Leads(state, _) = &self.life else { return Err(status::not_primary("", epoch)) };
            let ran = request.run(state, self.ttl()).map_err(|refused| error_of(refused, epoch))?;
            Ok((epoch, ran))
        });
        self.wrote(cx);
        match run {
            Ok((epoch, ran)) => self.pending.push(Pending { from, stream, request, ran, epoch }),
            Err(error) => self.reply(cx, from, stream, Reply { epoch: error.epoch, answer: Err(error) }),
        }
    }

    fn check_open(&self, cx: &Cx) -> Result<u64, CallError> {
        let serves = self.reign.as_ref().filter(|reign| self.core.leads() == Some(reign.epoch));
        match (serves, self.role) {
            (Some(_), _) if self.draining_until.is_some() => Err(status::overloaded_at("transfer", 2)),
            (Some(reign), _) if self.core.may_answer(self.clock(cx.now)) => Ok(reign.epoch),
            (Some(reign), _) => Err(status::not_primary("", reign.epoch)),
            (None, Role::Follow { primary, epoch }) => {
                Err(status::not_primary(address(primary.member.0 as usize), epoch))
            }
            (None, _) => Err(status::not_primary("", 0)),
        }
    }

    fn reply(&self, cx: &mut Cx, to: End, stream: u64, reply: Reply) {
        cx.post(Letter { from: End::Member(self.at), to, stream, body: Body::Reply(reply) });
    }

    /// Somebody might read now, and would be answered: that must be right, too.
    fn could_read(&self, cx: &mut Cx) {
        let Some(reign) = self.reign.as_ref().filter(|reign| self.core.leads() == Some(reign.epoch)) else { return };
        if self.core.may_answer(self.clock(cx.now)) {
            self.acts(cx, reign.epoch);
            cx.checks.acknowledged.leads(&cx.history, self.me, reign.tail.last());
        }
    }

    fn acts(&self, cx: &mut Cx, epoch: u64) {
        cx.checks.one_primary.acts(self.me, epoch);
        cx.checks.no_late_acknowledgement.acts(self.me, epoch);
    }

    /// Whatever may go out now.
    pub(super) fn answer(&mut self, cx: &mut Cx) {
        self.could_read(cx);
        let clock = self.clock(cx.now);
        for pending in std::mem::take(&mut self.pending) {
            let changes = pending.request.number > 0;
            let reign = self
                .reign
                .as_ref()
                .filter(|reign| reign.epoch == pending.epoch && self.core.leads() == Some(reign.epoch));
            let error = match reign {
                Some(_) if !self.core.may_answer(clock) && changes => status::outcome_unknown("no tenure"),
                Some(_) if !self.core.may_answer(clock) => status::not_primary("", 0),
                Some(reign) if reign.tail.committed().get() < pending.ran.wait_seq => {
                    self.pending.push(pending);
                    continue;
                }
                Some(reign) => {
                    let tail = Arc::clone(&reign.tail);
                    self.acknowledge(cx, pending, tail.last());
                    continue;
                }
                None if changes => status::outcome_unknown("deposed"),
                None => status::not_primary("", 0),
            };
            self.reply(cx, pending.from, pending.stream, Reply { epoch: error.epoch, answer: Err(error) });
        }
    }

    /// The one place where a client is told something.
    fn acknowledge(&self, cx: &mut Cx, pending: Pending, end: Position) {
        let Pending { from, stream, request, ran, epoch } = pending;
        let at = cx.history.epoch_at(end, ran.wait_seq).map(|epoch| Position { epoch, seq: ran.wait_seq });
        let at = at.expect("what it rests on is in the log");
        self.acts(cx, epoch);
        cx.checks.acknowledged.acknowledge(&cx.history, self.me, end, at);
        // Beside a life that has begun anew with nothing the old primary may answer a little longer, until somebody leads it.
        if let Some(known) = cx.coordinator.record().filter(|known| known.record.born <= epoch) {
            cx.checks.held.acknowledged(&cx.history, &known.record, at);
        }
        if cx.checks.same_answer.told(self.me, &request, &ran.told) {
            cx.checks.assigned_once.told(&request, &ran.told);
            let terms = Terms { now: cx.now, write_ms: 400, lease_ms: cx.options.object_lease_ms };
            cx.checks.no_overlap.told(&request, &ran.told, terms);
        } else {
            cx.tally.answered_again += 1;
        }
        match request.number {
            0 => cx.tally.reads += 1,
            _ => cx.tally.acknowledged += 1,
        }
        cx.say(|| format!("{:?}: answers {:?} in {epoch} at {at}", self.me, request.ask));
        cx.note(at.seq << 8 | epoch);
        self.reply(cx, from, stream, Reply { epoch, answer: Ok(ran.told) });
    }

    pub(super) fn keep_up(&mut self, cx: &mut Cx) {
        let clock = self.clock(cx.now);
        self.ttl_ms += (clock - self.ttl_seen).min(TTL_STEP_MS_MAX);
        self.ttl_seen = clock;
        self.drain(cx);
        if clock >= self.upkeep_due {
            self.upkeep_due = clock + UPKEEP_EVERY_MS;
            self.step(cx);
        }
        if clock >= self.digest_due {
            self.digest_due = clock + cx.options.digest_every_ms;
            if let (Some(_), Life::Leads(state, _)) = (&self.reign, &self.life)
                && !self.peers.is_empty()
                && !cx.rests
            {
                // Where the log has no room, the next one will do.
                let _ = state.log_digests(self.ttl());
            }
            self.wrote(cx);
        }
    }

    fn step(&mut self, cx: &mut Cx) {
        match &self.life {
            Life::Leads(state, _) => {
                let state = Arc::clone(state);
                while let Ok(steps) = state.step(self.ttl()) {
                    self.wrote(cx);
                    cx.tally.clients_expired += steps.clients_expired;
                    cx.tally.objects_evicted += steps.objects_evicted;
                    cx.tally.puts_discarded += steps.puts_discarded;
                    if !steps.more {
                        break;
                    }
                }
            }
            Life::Follows(standby) => expiry_only_logged::check(self.me, standby.state(), self.ttl()),
            Life::Between => {}
        }
        self.wrote(cx);
    }

    /// The place of the primary is to go to a member of the set, once all that was taken is committed.
    pub(crate) fn begin_transfer(&mut self, cx: &Cx) {
        if self.reign.is_some() {
            self.draining_until = Some(cx.now + 1_000);
        }
    }

    fn drain(&mut self, cx: &mut Cx) {
        let Some(until) = self.draining_until else { return };
        let Some(reign) = self.reign.as_ref().filter(|_| cx.now < until) else {
            self.draining_until = None;
            return;
        };
        if reign.tail.committed().get() == reign.tail.appended().get()
            && let Some(heir) = self.heir_in_set()
        {
            self.draining_until = None;
            self.resign(cx, heir);
        }
    }

    fn heir_in_set(&self) -> Option<Incarnation> {
        let known = self.core.record()?;
        let is_heir = |who: &&Incarnation| self.core.may_succeed(**who) && !self.is_unsound_peer(**who);
        known.record.insync.iter().find(is_heir).copied()
    }
}

/// As the master tells it.
fn error_of(refused: CallRefused, epoch: u64) -> CallError {
    match refused {
        CallRefused::Invalid { field, what } => panic!("no client asks this: {field}: {what}"),
        CallRefused::Overloaded { what, retry_after_ms } => {
            CallError { retry_after_ms, ..status::call_error(Reason::Overloaded, what) }
        }
        CallRefused::InPart { done, why } => status::outcome_unknown(format_args!("{done} items, and then: {why}")),
        CallRefused::NotPrimary => status::not_primary("", epoch),
        CallRefused::RequestReused { number } => status::request_reused(number),
        CallRefused::RequestExpired { number, kept_from } => status::request_expired(number, kept_from),
    }
}
