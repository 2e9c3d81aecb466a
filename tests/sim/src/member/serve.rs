//! Calls: accepted, run, and answered once what they rest on is committed and the gate is open. And
//! what a primary does by itself.

use std::sync::Arc;

use ::member::{Asked, CallKind, Life};
use election::Service;
use metadata::{CallRefused, Now};
use oplog::{Position, ReplicatedState as _};
use proto::status;
use proto::v1::{CallError, Reason};

use super::SimMember;
use crate::checks::no_overlap::Terms;
use crate::checks::{expiry_only_logged, reads_wait};
use crate::cx::Cx;
use crate::net::{Body, End, Letter};
use crate::requests::{Ran, Reply, Request, Told};

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

impl SimMember {
    pub(super) fn on_call(&mut self, cx: &mut Cx, from: End, stream: u64, request: Request) {
        let run = self.gate.check_open(self.clock(cx.now)).and_then(|epoch| {
            let Some(Life::Leads(state, _)) = &self.life else { return Err(status::not_primary("", epoch)) };
            let ran = request.run(state, self.ttl(cx)).map_err(|refused| error_of(refused, epoch))?;
            Ok((epoch, ran))
        });
        self.wrote(cx);
        if matches!(&run, Ok((_, Ran { told: Told::Known(true), .. }))) {
            cx.checks.heard.heard(self.me, request.client);
        }
        match run {
            Ok((epoch, ran)) => self.pending.push(Pending { from, stream, request, ran, epoch }),
            Err(error) => self.reply(cx, from, stream, Reply { epoch: error.epoch, answer: Err(error) }),
        }
    }

    fn reply(&self, cx: &mut Cx, to: End, stream: u64, reply: Reply) {
        cx.post(Letter { from: End::Member(self.at), to, stream, body: Body::Reply(reply) });
    }

    /// A client might read now, and would be answered. That answer must be right, too.
    fn could_read(&self, cx: &mut Cx) {
        let Some((epoch, tail)) = self.core.reign() else { return };
        if self.gate.check_answer(CallKind::Read, epoch, self.clock(cx.now)).is_ok() {
            self.acts(cx, epoch);
            cx.checks.acknowledged.leads(&cx.history, self.me, tail.last());
            let Some(Life::Leads(state, _)) = &self.life else { return };
            for Pending { request, ran, .. } in self.pending.iter().filter(|one| one.epoch == epoch) {
                reads_wait::check(&cx.history, self.me, (state, tail.last()), request, &ran.told);
            }
        }
    }

    /// So might a client that asks a standby.
    pub(super) fn could_read_as_standby(&mut self, cx: &mut Cx) {
        let (Some(Life::Follows(standby)), Some(known)) = (&self.life, cx.coordinator.record()) else { return };
        let applied = standby.state().applied();
        // While a life that has begun anew exists, a member that knows nothing of it may answer
        // what is lost.
        if self.tainted || known.record.born > applied.epoch {
            return;
        }
        let max_staleness_ms = [None, Some(20), Some(200), Some(1_000)][cx.rng.below(4) as usize];
        let asks_for_newest = cx.rng.below(2) == 0;
        let min_position = Some(cx.checks.acknowledgements.newest()).filter(|_| asks_for_newest).unwrap_or_default();
        let asked = Asked { min_position, max_staleness_ms };
        if self.core.check_read(applied, asked, self.clock(cx.now)).is_ok() {
            cx.checks.acknowledgements.told(&cx.history, self.me, applied, asked, cx.now);
            cx.checks.acknowledged.told_by_standby(&cx.history, self.me, applied);
            cx.tally.standby_reads += 1;
        } else {
            cx.tally.standby_reads_refused += 1;
        }
    }

    fn acts(&self, cx: &mut Cx, epoch: u64) {
        cx.checks.one_primary.acts(self.me, epoch);
        cx.checks.no_late_acknowledgement.acts(self.me, epoch);
    }

    /// Sends all answers that may go out now.
    pub(super) fn answer(&mut self, cx: &mut Cx) {
        self.could_read(cx);
        let clock = self.clock(cx.now);
        for pending in std::mem::take(&mut self.pending) {
            let kind = if pending.request.number > 0 { CallKind::Mutation } else { CallKind::Read };
            match (self.gate.check_answer(kind, pending.epoch, clock), self.core.reign()) {
                (Err(error), _) => {
                    self.reply(cx, pending.from, pending.stream, Reply { epoch: error.epoch, answer: Err(error) });
                }
                (Ok(()), Some((_, tail))) if tail.committed().get() >= pending.ran.wait_seq => {
                    let end = tail.last();
                    self.acknowledge(cx, pending, end);
                }
                (Ok(()), _) => self.pending.push(pending),
            }
        }
    }

    /// The only place where a client is answered.
    fn acknowledge(&self, cx: &mut Cx, pending: Pending, end: Position) {
        let Pending { from, stream, request, ran, epoch } = pending;
        let at = cx.history.epoch_at(end, ran.wait_seq).map(|epoch| Position { epoch, seq: ran.wait_seq });
        let at = at.expect("what it rests on is in the log");
        self.acts(cx, epoch);
        cx.checks.acknowledged.acknowledge(&cx.history, self.me, end, at);
        // While a life that has begun anew exists, the old primary may answer a little longer,
        // until a member leads the new one.
        if let Some(known) = cx.coordinator.record().filter(|known| known.record.born <= epoch) {
            cx.checks.held.acknowledged(&cx.history, &known.record, at);
        }
        cx.checks.acknowledgements.acknowledged(cx.now, at);
        if cx.checks.same_answer.told(self.me, &request, &ran.told) {
            cx.checks.assigned_once.told(&request, &ran.told);
            cx.checks.no_overlap.told(&request, &ran.told, Terms { now: cx.now, write_ms: 400 });
        } else {
            cx.tally.answered_again += 1;
        }
        let is_deletion = matches!(request.ask, crate::requests::Ask::DeleteTenant { .. });
        cx.tally.tenants_deleted += u64::from(is_deletion && ran.told == Told::Done(Ok(())));
        match request.number {
            0 => cx.tally.reads += 1,
            _ => cx.tally.acknowledged += 1,
        }
        cx.say(|| format!("{:?}: answers {:?} in {epoch} at {at}", self.me, request.ask));
        cx.note(at.seq << 8 | epoch);
        self.reply(cx, from, stream, Reply { epoch, answer: Ok(ran.told) });
    }

    pub(super) fn keep_up(&mut self, cx: &mut Cx) {
        let moment = self.moment(cx.now);
        let (clock, service) = (moment.now, self.service().counted_by(&moment));
        self.ttl.tick(moment.slow(), &service);
        cx.checks.heard.lives(self.me, self.core.reign().map(|(epoch, _)| epoch), moment.slow(), &service);
        if clock >= self.upkeep_due {
            self.upkeep_due = clock + UPKEEP_EVERY_MS;
            self.step(cx);
        }
    }

    /// The service as the clock of the TTLs needs it.
    fn service(&self) -> Service {
        self.core.reign().map_or(Service::SHUT, |(_, tail)| Service {
            until_ms: self.gate.serves_until_ms(),
            appended: tail.appended().get(),
            committed: tail.committed().get(),
        })
    }

    fn step(&mut self, cx: &mut Cx) {
        let (clock, slow) = (self.clock(cx.now), self.moment(cx.now).slow());
        let running = self.ttl.running(slow).map(|ttl_ms| Now { ttl_ms, wall_ms: 0 });
        match &self.life {
            Some(Life::Leads(state, _)) => {
                let state = Arc::clone(state);
                while let Some(now) = running
                    && let Ok(steps) = state.step_while(now, || self.gate.may_log(clock))
                {
                    self.wrote(cx);
                    cx.tally.clients_expired += steps.clients_expired;
                    cx.tally.objects_evicted += steps.objects_evicted;
                    cx.tally.puts_discarded += steps.puts_discarded;
                    if !steps.more {
                        break;
                    }
                }
            }
            Some(Life::Follows(standby)) => expiry_only_logged::check(self.me, standby.state(), self.ttl(cx)),
            None => {}
        }
        self.wrote(cx);
    }
}

/// The error that `master` would report.
fn error_of(refused: CallRefused, epoch: u64) -> CallError {
    match refused {
        CallRefused::Invalid { field, what } => panic!("no client asks this: {field}: {what}"),
        CallRefused::Overloaded { what, retry_after_ms, .. } => {
            CallError { retry_after_ms, ..status::call_error(Reason::Overloaded, what) }
        }
        CallRefused::InPart { done, why } => status::outcome_unknown(format_args!("{done} items, and then: {why}")),
        CallRefused::NotPrimary => status::not_primary("", epoch),
        CallRefused::RequestReused { number } => status::request_reused(number),
        CallRefused::Slow => status::invalid("regex", "too slow"),
        CallRefused::RequestExpired { number, kept_from } => status::request_expired(number, kept_from),
    }
}
