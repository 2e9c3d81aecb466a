//! A client: one call at a time, or a few, by the SDK's own rules for what the end of an attempt
//! means and where the next one goes.

mod work;

use std::time::Duration;

use client::attempts::{Attempt, Attempts, End as AttemptEnd, GivenUp, Next, OnLoss, Way};
use oplog::ClientId;
use proto::status;

use crate::checks::client_epoch;
use crate::cx::Cx;
use crate::member::address;
use crate::net::{Body, End, Letter};
use crate::options::Options;
use crate::requests::{Ask, Reply, Request};
use work::Work;

/// A connection that is silent for so long is broken.
const ATTEMPT_MS_MAX: u64 = 600;
const PAUSE_MS_MAX: u64 = 12;

#[derive(Debug)]
struct OpenCall {
    request: Request,
    attempts: Attempts,
    began: u64,
    /// The attempt that is under way, and its stream.
    attempt: Option<(Attempt, u64)>,
    attempt_until: u64,
    again_at: u64,
}

#[derive(Debug)]
pub(crate) struct Client {
    at: usize,
    id: ClientId,
    way: Way,
    number: u64,
    /// Those that are under way, the oldest first.
    calls: Vec<OpenCall>,
    next_at: u64,
    /// The last call that was answered, by its number.
    answered_last: Option<(u64, Ask)>,
    work: Work,
    /// Since the world last asked.
    pub(crate) answered: u64,
}

impl Client {
    pub(crate) fn new(at: usize, options: &Options) -> Client {
        Client {
            at,
            id: ClientId([at as u8 + 1; 16]),
            way: Way::new((0..options.members).map(address).collect()),
            number: 0,
            calls: Vec::new(),
            next_at: 0,
            answered_last: None,
            work: Work::new(at as u8, options),
            answered: 0,
        }
    }

    /// `goes_on`: begin a new call if there is room for one.
    pub(crate) fn tick(&mut self, cx: &mut Cx, goes_on: bool) {
        for call in std::mem::take(&mut self.calls) {
            let left = self.tick_one(cx, call);
            self.calls.extend(left);
        }
        if goes_on && cx.now >= self.next_at && self.calls.len() < cx.options.calls_at_once {
            self.begin(cx);
        }
    }

    /// Returns what is left of the call.
    fn tick_one(&mut self, cx: &mut Cx, mut call: OpenCall) -> Option<OpenCall> {
        match call.attempt.take() {
            None if cx.now < call.again_at => Some(call),
            None => Some(self.send(cx, call)),
            Some((attempt, _)) if cx.now >= call.began + Options::CALL_WITHIN.as_millis() as u64 => {
                let given_up = call.attempts.on_deadline(&attempt);
                self.on_next(cx, call, Next::GivenUp(given_up), None)
            }
            Some((attempt, _)) if cx.now >= call.attempt_until => {
                let error = status::outcome_unknown("the connection broke");
                self.on_end(cx, call, &attempt, Reply { epoch: 0, answer: Err(error) })
            }
            Some(under_way) => {
                call.attempt = Some(under_way);
                Some(call)
            }
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    fn begin(&mut self, cx: &mut Cx) {
        let (tenant, ask, number) = match self.answered_last.take() {
            Some((number, answered)) if cx.options.foreign > 0 && cx.rng.per_mille(cx.options.foreign) => {
                cx.tally.foreign += 1;
                (0, self.work.foreign(cx, &answered), number)
            }
            _ => {
                let (tenant, (ask, changes)) = self.work.next(cx);
                self.number += u64::from(changes);
                (tenant, ask, if changes { self.number } else { 0 })
            }
        };
        let parts_max = ask.parts_max();
        if parts_max > 1 {
            cx.history.may_have_parts((self.id, number), parts_max);
            cx.tally.large += 1;
        }
        // A number that was answered is sent again: as far as the primary may know, the client does
        // not have the answer.
        let under_way = self.calls.iter().map(|call| call.request.number).filter(|number| *number > 0);
        let answered_below = under_way.chain([number]).min().unwrap_or(number);
        // Two clients on each host.
        let host = self.at as u8 / 2;
        let call = OpenCall {
            request: Request { client: self.id, number, answered_below, asked_at: cx.now, tenant, host, ask },
            attempts: Attempts::new(Options::CALL_WITHIN, OnLoss::SendsAgain, Options::BACKOFF),
            began: cx.now,
            attempt: None,
            attempt_until: 0,
            again_at: cx.now,
        };
        let call = self.send(cx, call);
        self.calls.push(call);
    }

    fn send(&self, cx: &mut Cx, mut call: OpenCall) -> OpenCall {
        let (attempt, stream) = (call.attempts.begin(&self.way), cx.net.new_stream());
        let to = (0..cx.options.members).find(|member| address(*member) == attempt.target.address);
        let to = End::Member(to.expect("only members are named"));
        call.attempt = Some((attempt, stream));
        call.attempt_until = cx.now + ATTEMPT_MS_MAX;
        let body = Body::Request(call.request.clone());
        cx.post(Letter { from: End::Client(self.at), to, stream, body });
        call
    }

    /// `stream`: of the attempt that it answers.
    pub(crate) fn on_reply(&mut self, cx: &mut Cx, stream: u64, reply: Reply) {
        let is_asked = |call: &OpenCall| call.attempt.as_ref().is_some_and(|(_, asked)| *asked == stream);
        let Some(at) = self.calls.iter().position(is_asked) else { return };
        let mut call = self.calls.remove(at);
        let (attempt, _) = call.attempt.take().expect("one is under way");
        if let Some(call) = self.on_end(cx, call, &attempt, reply) {
            self.calls.insert(at, call);
        }
    }

    /// Returns what is left of a call whose attempt has ended.
    fn on_end(&mut self, cx: &mut Cx, mut call: OpenCall, attempt: &Attempt, reply: Reply) -> Option<OpenCall> {
        let (seen, before) = (self.way.epoch_seen(), self.way.clone());
        let end = match &reply.answer {
            Ok(_) => AttemptEnd::Answer(Some(reply.epoch)),
            Err(error) => AttemptEnd::Error(error),
        };
        let elapsed = Duration::from_millis(cx.now - call.began);
        let next = call.attempts.on_end(attempt, end, elapsed, cx.rng.next(), &mut self.way);
        if let Err(error) = &reply.answer {
            self.check_redirect(before, attempt, error, seen);
        }
        if next == Next::Done && reply.answer.is_ok() {
            client_epoch::believed(self.at, reply.epoch, attempt.epoch_floor);
        }
        self.on_next(cx, call, next, Some(reply))
    }

    /// The client went where the error points, and would not have gone there by itself.
    fn check_redirect(&self, mut plain: Way, attempt: &Attempt, error: &proto::v1::CallError, seen: u64) {
        plain.on_failure(attempt.target.turn);
        let (to, by_itself) = (self.way.target().address, plain.target().address);
        if to == error.primary_address && to != by_itself && to != attempt.target.address {
            client_epoch::followed(self.at, &to, error.epoch, seen);
        }
    }

    fn on_next(&mut self, cx: &mut Cx, mut call: OpenCall, next: Next, reply: Option<Reply>) -> Option<OpenCall> {
        match next {
            Next::Again { pause } => {
                cx.tally.retries += 1;
                call.again_at = cx.now + pause.map_or(0, |pause| pause.as_millis() as u64);
                return Some(call);
            }
            Next::GivenUp(GivenUp { .. }) => {
                cx.tally.unknown += 1;
                self.work.on_unknown(&call.request.ask);
            }
            Next::Done => match reply {
                Some(Reply { answer: Ok(told), .. }) => {
                    self.answered += 1;
                    let answered = (call.request.number, call.request.ask.clone());
                    self.answered_last = Some(answered).filter(|(number, _)| *number > 0);
                    self.work.on_told(&call.request, told);
                }
                Some(Reply { answer: Err(_), .. }) | None => self.work.on_unknown(&call.request.ask),
            },
        }
        self.next_at = cx.now + cx.rng.below(PAUSE_MS_MAX);
        None
    }
}
