//! The answers of one session that wait for their commit, in its order.
//!
//! Invariant: each session has at most one waiter, at the lowest seq that it waits for.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use oplog::{SeqWatch, Tail, WaitError, WaitOwned};

use crate::budget;
use crate::gate::CallKind;
use crate::metrics::CallTimer;

/// An encoded answer, so that its size is known.
#[derive(Debug)]
pub(crate) struct ParkedAnswer {
    pub(crate) id: u64,
    pub(crate) kind: CallKind,
    pub(crate) epoch: u64,
    pub(crate) taken: CallTimer,
    pub(crate) framed: Bytes,
    pub(crate) held: budget::Reservation,
}

#[derive(Debug)]
pub(crate) struct Parked {
    committed: Arc<SeqWatch>,
    /// By seq, then by arrival.
    answers: BTreeMap<(u64, u64), ParkedAnswer>,
    arrivals: u64,
    bytes: usize,
    waiting: Option<(u64, WaitOwned)>,
}

impl Parked {
    pub(crate) fn new(committed: Arc<SeqWatch>) -> Parked {
        Parked { committed, answers: BTreeMap::new(), arrivals: 0, bytes: 0, waiting: None }
    }

    pub(crate) fn waits_on(&self, tail: &Tail) -> bool {
        std::ptr::eq(&*self.committed, tail.committed())
    }

    pub(crate) fn len(&self) -> usize {
        self.answers.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn park(&mut self, seq: u64, answer: ParkedAnswer) {
        self.bytes += answer.framed.len();
        self.arrivals += 1;
        self.answers.insert((seq, self.arrivals), answer);
    }

    /// The next answer whose seq is committed, or never will be. `Pending`: the others wait, or
    /// there is none.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(ParkedAnswer, Result<(), WaitError>)> {
        let Some((&(seq, _), _)) = self.answers.first_key_value() else {
            self.waiting = None;
            return Poll::Pending;
        };
        if self.committed.get() >= seq {
            return Poll::Ready((self.take_first(), Ok(())));
        }
        if self.waiting.as_ref().is_none_or(|(waited_for, _)| *waited_for != seq) {
            self.waiting = Some((seq, Arc::clone(&self.committed).wait_owned(seq)));
        }
        let (_, wait) = self.waiting.as_mut().expect("it was just set");
        match Pin::new(wait).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(reached) => {
                self.waiting = None;
                Poll::Ready((self.take_first(), reached))
            }
        }
    }

    fn take_first(&mut self) -> ParkedAnswer {
        let (_, answer) = self.answers.pop_first().expect("it was just looked at");
        self.bytes -= answer.framed.len();
        answer
    }
}

#[cfg(test)]
#[path = "parked_test.rs"]
mod tests;
