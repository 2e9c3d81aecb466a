//! The slots and the queue of the calls in flight, and how each event changes them.
//!
//! Invariants: an id is not used again within four billion calls of its slot; a waiting call is
//! either queued or sent; `unanswered` counts those that were sent.
//!
//! Deliberately absent: locking and waking, which the caller does.

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Counts, Outcome};
use crate::attempts::{OnLoss, Ran};

/// The most calls that the stream takes at once, so that the lock is not held for long.
pub(super) const TAKE_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) slots: Vec<Slot>,
    pub(super) free: Vec<u32>,
    pub(super) queue: VecDeque<u64>,
    /// The stream that waits for a call to send.
    pub(super) writer: Option<Waker>,
    /// The stream that may take calls, counted from 1.
    pub(super) stream: u64,
    /// It takes no more calls, but its answers are still awaited.
    pub(super) draining: bool,
    /// Sent on this stream and not answered.
    pub(super) unanswered: usize,
    pub(super) sweep_at: Option<Instant>,
    pub(super) closed: bool,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) call: Option<InFlight>,
}

#[derive(Debug)]
pub(super) struct InFlight {
    /// Rises with each submission.
    pub(super) order: u64,
    pub(super) request: Bytes,
    pub(super) deadline: Instant,
    pub(super) on_loss: OnLoss,
    pub(super) place: Place,
    /// An attempt was lost on its way there or back.
    pub(super) ran: Ran,
    pub(super) outcome: Option<Outcome>,
    pub(super) waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Queued,
    Sent,
    /// At its caller, which has the outcome or will take it.
    Idle,
}

impl Table {
    pub(super) fn insert(&mut self, request: Bytes, deadline: Instant, on_loss: OnLoss) -> u64 {
        self.counts.submitted += 1;
        let call = InFlight {
            order: self.counts.submitted,
            request,
            deadline,
            on_loss,
            place: Place::Idle,
            ran: Ran::No,
            outcome: None,
            waker: None,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("the window is far smaller")
        });
        let slot = &mut self.slots[index as usize];
        // Never 0 together with index 0, since the wire leaves an id of 0 out.
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.call = Some(call);
        u64::from(slot.generation) << 32 | u64::from(index)
    }

    pub(super) fn call(&mut self, id: u64) -> Option<&mut InFlight> {
        let slot = self.slots.get_mut((id & u64::from(u32::MAX)) as usize)?;
        if u64::from(slot.generation) != id >> 32 {
            return None;
        }
        slot.call.as_mut()
    }

    pub(super) fn sent(&mut self, id: u64) -> Option<&mut InFlight> {
        self.call(id).filter(|call| call.place == Place::Sent)
    }

    /// Returns the task to wake.
    pub(super) fn enqueue(&mut self, id: u64) -> Option<Waker> {
        let call = self.call(id).expect("the ticket holds the slot");
        call.place = Place::Queued;
        if self.queue.len() >= 2 * self.slots.len() + TAKE_MAX {
            self.drop_stale();
        }
        self.queue.push_back(id);
        if self.draining { None } else { self.writer.take() }
    }

    /// Ids of abandoned calls stay in the queue until a stream takes them. Without a stream they
    /// must not pile up.
    pub(super) fn drop_stale(&mut self) {
        let mut queue = std::mem::take(&mut self.queue);
        queue.retain(|&id| self.call(id).is_some_and(|call| call.place == Place::Queued));
        self.queue = queue;
    }

    pub(super) fn take(&mut self, batch: &mut VecDeque<(u64, Bytes)>) {
        while batch.len() < TAKE_MAX
            && let Some(id) = self.queue.pop_front()
        {
            // Calls that were given up while they waited are gone from the table.
            if let Some(call) = self.call(id).filter(|call| call.place == Place::Queued) {
                call.place = Place::Sent;
                batch.push_back((id, call.request.clone()));
                self.unanswered += 1;
            }
        }
    }

    /// Returns the task to wake.
    pub(super) fn settle(&mut self, id: u64, outcome: Outcome) -> Option<Waker> {
        let Some(call) = self.sent(id) else {
            self.counts.late_answers += 1;
            return None;
        };
        call.place = Place::Idle;
        call.outcome = Some(outcome);
        let waker = call.waker.take();
        self.unanswered -= 1;
        waker
    }

    /// Queues all waiting calls in the order of their submission. Those that were sent may have
    /// run. Returns the tasks to wake.
    pub(super) fn requeue(&mut self, ran: Ran) -> Vec<Waker> {
        let mut waiting = Vec::with_capacity(self.queue.len() + self.unanswered);
        let mut wakers = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let Some(call) = slot.call.as_mut().filter(|call| call.place != Place::Idle) else { continue };
            if call.place == Place::Sent {
                call.place = Place::Queued;
                wakers.extend(call.lose(ran));
                if call.place == Place::Idle {
                    continue;
                }
                self.counts.sent_again += 1;
            }
            waiting.push((call.order, u64::from(slot.generation) << 32 | index as u64));
        }
        waiting.sort_unstable();
        self.queue = waiting.into_iter().map(|(_, id)| id).collect();
        self.unanswered = 0;
        wakers
    }

    /// Ends the chosen waiting calls. Returns the tasks to wake.
    pub(super) fn end_calls(
        &mut self,
        chosen: impl Fn(&InFlight) -> bool,
        outcome: impl Fn() -> Outcome,
    ) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let waiting = self.slots.iter_mut().filter_map(|slot| slot.call.as_mut());
        for call in waiting.filter(|call| call.place != Place::Idle && chosen(call)) {
            if call.place == Place::Sent {
                call.ran = Ran::Maybe;
                self.unanswered -= 1;
            }
            call.place = Place::Idle;
            call.outcome = Some(outcome());
            wakers.extend(call.waker.take());
        }
        wakers
    }

    pub(super) fn remove(&mut self, id: u64) {
        let index = (id & u64::from(u32::MAX)) as u32;
        let call = self.slots[index as usize].call.take();
        if call.is_some_and(|call| call.place == Place::Sent) {
            self.unanswered -= 1;
        }
        self.free.push(index);
    }
}

impl InFlight {
    /// The attempt that was sent has no answer. Ends the call if it must not be sent again. Returns
    /// the task to wake.
    pub(super) fn lose(&mut self, ran: Ran) -> Option<Waker> {
        self.ran = self.ran.or(ran);
        if ran == Ran::No || self.on_loss == OnLoss::SendsAgain {
            return None;
        }
        self.place = Place::Idle;
        self.outcome = Some(Outcome::Lost);
        self.waker.take()
    }
}
