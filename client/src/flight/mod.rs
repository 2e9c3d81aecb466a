//! The calls in flight on the session: a slab of slots, the queue of calls to send, and the tasks
//! that wait.
//!
//! A call is submitted with its encoded request and gets a slot. The stream takes queued calls; an
//! answer finds its slot by the id and wakes the caller. When the stream breaks, all calls without
//! an answer are queued again, in the order of their submission, with the same bytes and so with
//! the same request number.
//!
//! ```text
//!   submit ──> Queued ──take──> Sent ──answer──> Idle ──(caller)──> gone
//!                ^                │                │
//!                └─ stream broke, put back         └── again: after a pause ──> Queued
//! ```
//!
//! Invariants: only the newest stream takes calls; a call whose attempt was lost stays marked as
//! "may have run"; table and queue are bounded by the window of calls, which the submitter must
//! keep.
//!
//! Deliberately absent: sockets, what an answer means, when to retry. Deadlines are kept here,
//! since one task for all of them costs less than a timer for each call.

mod table;

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use proto::v1;
use proto::v1::session_response::Answer;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::attempts::{OnLoss, Ran};
use table::{Place, Table};

/// Deadlines are checked no more often than this.
const SWEEP_MIN: std::time::Duration = std::time::Duration::from_millis(2);

/// How an attempt, or the whole call, ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Answer),
    /// This call was refused. The stream is well.
    Failed(v1::CallError),
    /// This version cannot read the answer.
    Unreadable,
    /// An attempt that may have run was lost, and the call must not be sent again.
    Lost,
    /// The deadline has passed.
    Expired,
    /// The task that drives the stream has ended.
    Closed,
}

/// Counts, for display.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) in_flight: usize,
    pub(crate) submitted: u64,
    /// Attempts after the first.
    pub(crate) sent_again: u64,
    /// Streams that were begun.
    pub(crate) streams: u64,
    /// Answers to calls that were given up.
    pub(crate) late_answers: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Flight {
    table: Mutex<Table>,
    /// A deadline earlier than the one that the sweeper waits for.
    sooner: Notify,
}

impl Flight {
    /// Queues the call. None when closed.
    pub(crate) fn submit(&self, request: Bytes, deadline: Instant, on_loss: OnLoss) -> Option<Ticket<'_>> {
        let mut table = self.table.lock();
        if table.closed {
            return None;
        }
        let id = table.insert(request, deadline, on_loss);
        let sooner = table.sweep_at.is_none_or(|at| deadline < at);
        if sooner {
            table.sweep_at = Some(deadline);
        }
        let writer = table.enqueue(id);
        drop(table);
        wake(writer);
        if sooner {
            self.sooner.notify_one();
        }
        Some(Ticket { flight: self, id })
    }

    /// A new stream: the previous one takes no more calls, and this one gets all calls without an
    /// answer.
    pub(crate) fn begin_stream(&self) -> u64 {
        let mut table = self.table.lock();
        let mut wakers = table.requeue(Ran::Maybe);
        // The writer of the previous stream. It ends its stream, and with it the connection, even
        // if the other end keeps it open.
        wakers.extend(table.writer.take());
        table.stream += 1;
        table.draining = false;
        table.counts.streams += 1;
        let stream = table.stream;
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
        stream
    }

    /// The stream is gone. The calls that it had sent are queued for the next one.
    pub(crate) fn end_stream(&self, ran: Ran) {
        let mut table = self.table.lock();
        table.draining = true;
        let mut wakers = table.requeue(ran);
        wakers.extend(table.writer.take());
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The calls to send on the stream of this number. Ready and empty: another stream has begun,
    /// and this one may end.
    pub(crate) fn poll_take(
        &self,
        stream: u64,
        batch: &mut VecDeque<(u64, Bytes)>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut table = self.table.lock();
        if table.stream != stream || table.closed {
            return Poll::Ready(());
        }
        if !table.draining {
            table.take(batch);
        }
        if batch.is_empty() {
            table.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Gives the answer to its caller. Returns how many answers are still to come.
    pub(crate) fn answer(&self, id: u64, outcome: Outcome) -> usize {
        let mut table = self.table.lock();
        let waker = table.settle(id, outcome);
        let unanswered = table.unanswered;
        drop(table);
        wake(waker);
        unanswered
    }

    /// The other end of the stream refuses this call, so the stream gets no more: all of them wait
    /// for the next stream. Returns how many answers are still to come.
    pub(crate) fn put_back(&self, id: u64, ran: Ran) -> usize {
        let mut table = self.table.lock();
        table.draining = true;
        let mut waker = None;
        if let Some(call) = table.sent(id) {
            call.place = Place::Queued;
            waker = call.lose(ran);
            let queued = call.place == Place::Queued;
            table.unanswered -= 1;
            if queued {
                table.queue.push_back(id);
            }
        }
        let unanswered = table.unanswered;
        drop(table);
        wake(waker);
        unanswered
    }

    /// Ends every call and refuses further ones.
    pub(crate) fn close(&self) {
        let mut table = self.table.lock();
        table.closed = true;
        let mut wakers = table.end_calls(|_| true, || Outcome::Closed);
        wakers.extend(table.writer.take());
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn counts(&self) -> Counts {
        let table = self.table.lock();
        Counts { in_flight: table.slots.len() - table.free.len(), ..table.counts }
    }

    /// Ends calls whose deadline has passed, for as long as it is polled.
    pub(crate) async fn sweep(&self) {
        loop {
            let now = Instant::now();
            match self.expire(now) {
                Some(next) => {
                    let _ = timeout_at(next.max(now + SWEEP_MIN), self.sooner.notified()).await;
                }
                None => self.sooner.notified().await,
            }
        }
    }

    /// Returns the next deadline.
    fn expire(&self, now: Instant) -> Option<Instant> {
        let mut table = self.table.lock();
        let wakers = table.end_calls(|call| call.deadline <= now, || Outcome::Expired);
        let calls = table.slots.iter().filter_map(|slot| slot.call.as_ref());
        let next = calls.filter(|call| call.place != Place::Idle).map(|call| call.deadline).min();
        table.sweep_at = next;
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
        next
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A call in flight. To drop it gives the call up.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    flight: &'a Flight,
    id: u64,
}

impl Ticket<'_> {
    /// Waits until the current attempt ends.
    pub(crate) async fn outcome(&mut self) -> Outcome {
        std::future::poll_fn(|context| self.poll_outcome(context)).await
    }

    fn poll_outcome(&mut self, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut table = self.flight.table.lock();
        let call = table.call(self.id).expect("the ticket holds the slot");
        if let Some(outcome) = call.outcome.take() {
            return Poll::Ready(outcome);
        }
        match &mut call.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Another attempt, with the same request. May be called only after an outcome.
    pub(crate) fn again(&mut self, ran: Ran) {
        let mut table = self.flight.table.lock();
        table.counts.sent_again += 1;
        let closed = table.closed;
        let call = table.call(self.id).expect("the ticket holds the slot");
        assert!(call.place == Place::Idle, "an attempt is under way");
        call.ran = call.ran.or(ran);
        if closed {
            call.outcome = Some(Outcome::Closed);
            return;
        }
        // The sweeper may sleep past this deadline, since it ignores calls that pause.
        let writer = table.enqueue(self.id);
        drop(table);
        wake(writer);
        self.flight.sooner.notify_one();
    }

    /// So far.
    pub(crate) fn ran(&self) -> Ran {
        let mut table = self.flight.table.lock();
        table.call(self.id).expect("the ticket holds the slot").ran
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.flight.table.lock().remove(self.id);
    }
}

#[cfg(test)]
#[path = "flight_test.rs"]
mod flight_test;
