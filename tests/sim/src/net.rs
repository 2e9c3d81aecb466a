//! What is on its way: between members over streams, between clients and members in single letters,
//! and to and from the coordinator.
//!
//! A stream behaves like TCP: nothing is lost or overtaken, anything may be late, and it may break,
//! which an end may notice much later or never. A link that is cut holds back what is sent over it.

use std::collections::BTreeMap;

use election::Incarnation;
use proto::v1;
use proto::v1::verify_response::Answer;

use crate::coordinator;
use crate::requests::{Reply, Request};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum End {
    Member(usize),
    Client(usize),
    /// A process that is no member, and claims to be one.
    Outsider,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    Hello(v1::Hello),
    Proof(v1::Proof),
    /// The hello is refused.
    Refused,
    Down(v1::FromPrimary),
    Receipt(v1::Receipt),
    /// The other end, or the transport, has ended the stream.
    Closed,
    Ask(v1::VerifyRequest),
    Told(Option<Answer>),
    Request(Request),
    Reply(Reply),
}

#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) from: End,
    pub(crate) to: End,
    /// For a call, this is the attempt.
    pub(crate) stream: u64,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Delivery {
    Letter(Letter),
    ToCoordinator { from: usize, asker: Incarnation, request: coordinator::Request, lose_answer: bool },
    FromCoordinator { to: usize, asker: Incarnation, answer: Option<coordinator::Answer> },
}

#[derive(Debug, Default)]
pub(crate) struct Net {
    /// By time, then by the order of sending.
    under_way: BTreeMap<(u64, u64), Delivery>,
    sent: u64,
    streams: u64,
    /// When the newest letter of a stream arrives, by stream and sender.
    lanes: BTreeMap<(u64, End), u64>,
    cut_until: BTreeMap<(usize, usize), u64>,
}

impl Net {
    pub(crate) fn new_stream(&mut self) -> u64 {
        self.streams += 1;
        self.streams
    }

    pub(crate) fn put(&mut self, at: u64, delivery: Delivery) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), delivery);
    }

    /// After everything that was sent over the same stream.
    pub(crate) fn put_in_order(&mut self, mut at: u64, letter: Letter) {
        if let (End::Member(from), End::Member(to)) = (letter.from, letter.to)
            && let Some(until) = self.cut_until.get(&(from, to))
        {
            at = at.max(*until);
        }
        let lane = self.lanes.entry((letter.stream, letter.from)).or_default();
        *lane = at.max(*lane);
        let at = *lane;
        self.put(at, Delivery::Letter(letter));
    }

    pub(crate) fn next(&mut self, now: u64) -> Option<Delivery> {
        let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize, until: u64) {
        self.cut_until.insert((from, to), until);
    }

    /// Links are whole. What was held back comes soon.
    pub(crate) fn heal(&mut self, now: u64) {
        self.cut_until.clear();
        self.lanes.clear();
        let held: Vec<Delivery> = std::mem::take(&mut self.under_way).into_values().collect();
        held.into_iter().for_each(|delivery| self.put(now + 1, delivery));
    }

    /// The coordinator is started anew: requests on their way to it are lost with its connections.
    pub(crate) fn lose_questions(&mut self) {
        for delivery in self.under_way.values_mut() {
            if let Delivery::ToCoordinator { from, asker, .. } = *delivery {
                *delivery = Delivery::FromCoordinator { to: from, asker, answer: None };
            }
        }
    }

    /// Swaps that may yet happen.
    pub(crate) fn swaps(&self) -> impl Iterator<Item = &election::ConfigRecord> {
        self.under_way.values().filter_map(|delivery| match delivery {
            Delivery::ToCoordinator { request: coordinator::Request::Swap { to, .. }, .. } => Some(to),
            _ => None,
        })
    }
}
