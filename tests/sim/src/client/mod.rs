//! A client: one call at a time, by the SDK's own rules for what an attempt's end means and where the next one goes.

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
use crate::requests::{Reply, Request};
use work::Work;

/// A connection over which nothing comes for so long is broken.
const ATTEMPT_MS_MAX: u64 = 600;
const PAUSE_MS_MAX: u64 = 12;

#[derive(Debug)]
struct Call {
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
    call: Option<Call>,
    next_at: u64,
    work: Work,
    /// Since somebody last looked.
    pub(crate) answered: u64,
}

impl Client {
    pub(crate) fn new(at: usize, options: &Options) -> Client {
        Client {
            at,
            id: ClientId([at as u8 + 1; 16]),
            way: Way::new((0..options.members).map(address).collect()),
            number: 0,
            call: None,
            next_at: 0,
            work: Work::new(at as u8, options),
            answered: 0,
        }
    }

    /// `goes_on`: a new call is begun when there is none.
    pub(crate) fn tick(&mut self, cx: &mut Cx, goes_on: bool) {
        match &mut self.call {
            None if goes_on && cx.now >= self.next_at => self.begin(cx),
            None => {}
            Some(call) if call.attempt.is_none() && cx.now < call.again_at => {}
            Some(call) if call.attempt.is_none() => self.send(cx),
            Some(call) if cx.now >= call.began + Options::CALL_WITHIN.as_millis() as u64 => {
                let (attempt, _) = call.attempt.take().expect("one is under way");
                let given_up = call.attempts.on_deadline(&attempt);
                self.on_next(cx, Next::GivenUp(given_up), None);
            }
            Some(call) if cx.now >= call.attempt_until => {
                let error = status::outcome_unknown("the connection broke");
                self.on_reply(cx, None, Reply { epoch: 0, answer: Err(error) });
            }
            Some(_) => {}
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.call.is_none()
    }

    fn begin(&mut self, cx: &mut Cx) {
        let (ask, changes) = self.work.next(cx);
        self.number += u64::from(changes);
        let number = if changes { self.number } else { 0 };
        self.call = Some(Call {
            request: Request { client: self.id, number, asked_at: cx.now, ask },
            attempts: Attempts::new(Options::CALL_WITHIN, OnLoss::SendsAgain, Options::BACKOFF),
            began: cx.now,
            attempt: None,
            attempt_until: 0,
            again_at: cx.now,
        });
        self.send(cx);
    }

    fn send(&mut self, cx: &mut Cx) {
        let Some(call) = &mut self.call else { return };
        let (attempt, stream) = (call.attempts.begin(&self.way), cx.net.new_stream());
        let to = (0..cx.options.members).find(|member| address(*member) == attempt.target.address);
        let to = End::Member(to.expect("only members are named"));
        call.attempt = Some((attempt, stream));
        call.attempt_until = cx.now + ATTEMPT_MS_MAX;
        let body = Body::Call(call.request.clone());
        cx.post(Letter { from: End::Client(self.at), to, stream, body });
    }

    /// `stream`: of the attempt that it answers; `None`: of the one that is under way.
    pub(crate) fn on_reply(&mut self, cx: &mut Cx, stream: Option<u64>, reply: Reply) {
        let Some(call) = &mut self.call else { return };
        if stream.is_some() && call.attempt.as_ref().map(|(_, asked)| *asked) != stream {
            return;
        }
        let Some((attempt, _)) = call.attempt.take() else { return };
        let (seen, before) = (self.way.epoch_seen(), self.way.clone());
        let end = match &reply.answer {
            Ok(_) => AttemptEnd::Answer(Some(reply.epoch)),
            Err(error) => AttemptEnd::Error(error),
        };
        let elapsed = Duration::from_millis(cx.now - call.began);
        let next = call.attempts.on_end(&attempt, end, elapsed, cx.rng.next(), &mut self.way);
        if let Err(error) = &reply.answer {
            self.check_redirect(before, &attempt, error, seen);
        }
        if next == Next::Done && reply.answer.is_ok() {
            client_epoch::believed(self.at, reply.epoch, attempt.epoch_floor);
        }
        self.on_next(cx, next, Some(reply));
    }

    /// It went where the error points, and would not have by itself.
    fn check_redirect(&self, mut plain: Way, attempt: &Attempt, error: &proto::v1::CallError, seen: u64) {
        plain.on_failure(attempt.target.turn);
        let (to, by_itself) = (self.way.target().address, plain.target().address);
        if to == error.primary_address && to != by_itself && to != attempt.target.address {
            client_epoch::followed(self.at, &to, error.epoch, seen);
        }
    }

    fn on_next(&mut self, cx: &mut Cx, next: Next, reply: Option<Reply>) {
        let Some(call) = &mut self.call else { return };
        match next {
            Next::Again { pause } => {
                cx.tally.retries += 1;
                call.again_at = cx.now + pause.map_or(0, |pause| pause.as_millis() as u64);
                return;
            }
            Next::GivenUp(GivenUp { .. }) => {
                cx.tally.unknown += 1;
                self.work.on_unknown(&call.request.ask);
            }
            Next::Done => {
                if let Some(Reply { answer: Ok(told), .. }) = reply {
                    self.answered += 1;
                    self.work.on_told(&call.request.ask, told);
                } else {
                    self.work.on_unknown(&call.request.ask);
                }
            }
        }
        self.call = None;
        self.next_at = cx.now + cx.rng.below(PAUSE_MS_MAX);
    }
}
