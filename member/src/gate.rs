//! May this member accept calls now, and may it answer those that it has accepted?
//!
//! ```text
//!   NotPrimary ◄──► Serving ──► Stopping        accepts nothing new, answers what has run
//!       │  accepts nothing, and answers nothing:    │
//!       │  another member may have decided otherwise│
//!       └───────────────────────────────────────────┘
//! ```
//!
//! The server asks the gate before a call, and again right before the answer goes out. Between the
//! two the member may have been deposed, and may even be the primary again, with another history.
//! So an answer goes out only in the epoch in which its call ran, and only while the tenure lasts.
//!
//! Every call asks the gate, so it consists of atomics beside the [`Member`](crate::Member). Only
//! the member opens and closes it, under its owner's lock.
//!
//! Invariant: a call that has run is never refused with a reason that says it did not run.
//!
//! Deliberately absent: a clock; which tasks a change of the standing wakes.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use proto::status;
use proto::v1::CallError;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    Serving,
    Stopping,
    /// `hint`: the address of the primary, if it is known.
    NotPrimary {
        hint: String,
        epoch: u64,
    },
}

const SERVING: u8 = 0;
const STOPPING: u8 = 1;
const NOT_PRIMARY: u8 = 2;
/// Accepts nothing new for a moment: the primary is about to hand over.
const DRAINING: u8 = 3;

/// What a call does to the state, and so how its answer may fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallKind {
    Read,
    Mutation,
    /// A read on a standby. What it answers is committed, and rests on no tenure.
    StandbyRead,
}

/// No epoch: no call that has run may be answered.
const NO_EPOCH: u64 = 0;
/// Until the tenure is renewed or the member is deposed, which takes about one beacon interval.
const TENURE_RETRY_MS: u32 = 20;
/// A transfer takes a few milliseconds.
const DRAIN_RETRY_MS: u32 = 2;

#[derive(Debug)]
pub struct Gate {
    /// The kind of the standing, for the fast path.
    kind: AtomicU8,
    /// The epoch in which answers may go out.
    epoch: AtomicU64,
    /// On the member's clock. `u64::MAX`: no other member can be promoted.
    tenure_until_ms: AtomicU64,
    /// The newest epoch that this member has heard of, for display.
    known_epoch: AtomicU64,
    standing: Mutex<Standing>,
}

impl Gate {
    /// Open, for a member that no other one can depose.
    pub fn serving(epoch: u64) -> Gate {
        Gate {
            kind: AtomicU8::new(SERVING),
            epoch: AtomicU64::new(epoch),
            tenure_until_ms: AtomicU64::new(u64::MAX),
            known_epoch: AtomicU64::new(epoch),
            standing: Mutex::new(Standing::Serving),
        }
    }

    /// The gate of a member that has no role yet.
    pub fn closed() -> Gate {
        Gate {
            kind: AtomicU8::new(NOT_PRIMARY),
            epoch: AtomicU64::new(NO_EPOCH),
            tenure_until_ms: AtomicU64::new(0),
            known_epoch: AtomicU64::new(NO_EPOCH),
            standing: Mutex::new(Standing::NotPrimary { hint: String::new(), epoch: 0 }),
        }
    }

    /// The newest epoch that is known here, whichever member leads in it. 0: none is known yet.
    pub fn known_epoch(&self) -> u64 {
        self.known_epoch.load(Ordering::Relaxed)
    }

    /// The epoch in which answers go out.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub fn set(&self, standing: Standing) {
        let kind = match standing {
            Standing::Serving => SERVING,
            Standing::Stopping => STOPPING,
            Standing::NotPrimary { .. } => NOT_PRIMARY,
        };
        let mut current = self.standing.lock();
        *current = standing;
        self.kind.store(kind, Ordering::SeqCst);
    }

    /// As the primary of `epoch`. A member that is stopping accepts nothing new any more. True: the
    /// standing has changed.
    pub fn lead(&self, epoch: u64) -> bool {
        self.known_epoch.fetch_max(epoch, Ordering::Relaxed);
        let mut current = self.standing.lock();
        self.epoch.store(epoch, Ordering::SeqCst);
        let opens = *current != Standing::Stopping;
        if opens {
            *current = Standing::Serving;
            self.kind.store(SERVING, Ordering::SeqCst);
        }
        opens
    }

    /// From here on no call that has run, or still runs, is answered. True: the standing has
    /// changed.
    pub fn follow(&self, epoch: u64) -> bool {
        self.known_epoch.fetch_max(epoch, Ordering::Relaxed);
        self.epoch.store(NO_EPOCH, Ordering::SeqCst);
        self.tenure_until_ms.store(0, Ordering::SeqCst);
        let mut current = self.standing.lock();
        let follows = *current != Standing::Stopping;
        if follows {
            *current = Standing::NotPrimary { hint: String::new(), epoch };
            self.kind.store(NOT_PRIMARY, Ordering::SeqCst);
        }
        follows
    }

    /// Where clients find the primary of `epoch`. True: the address has changed.
    pub fn hint(&self, address: &str, epoch: u64) -> bool {
        match &mut *self.standing.lock() {
            Standing::NotPrimary { hint, epoch: known } if *known <= epoch && hint != address => {
                (*hint, *known) = (address.to_owned(), epoch);
                true
            }
            Standing::NotPrimary { .. } | Standing::Serving | Standing::Stopping => false,
        }
    }

    /// No new call is accepted until [`Gate::undrain`], or until this member follows.
    pub fn drain(&self) {
        let _ = self.kind.compare_exchange(SERVING, DRAINING, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The gate opens again, unless this member is no longer the primary.
    pub fn undrain(&self) {
        let _ = self.kind.compare_exchange(DRAINING, SERVING, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether this member may now log something of its own accord. While it hands over or stops,
    /// that would be one more entry that the heir must have, or one that no other member has.
    /// Without a tenure no client is heard, and a client's silence proves nothing.
    pub fn may_log(&self, now_ms: u64) -> bool {
        self.kind.load(Ordering::SeqCst) == SERVING && self.is_tenured(now_ms)
    }

    /// Calls are accepted and answered before this moment, as far as is known. 0: they are not.
    pub fn serves_until_ms(&self) -> u64 {
        match self.kind.load(Ordering::SeqCst) {
            SERVING => self.tenure_until_ms.load(Ordering::SeqCst),
            _ => 0,
        }
    }

    /// Answers may go out before this moment.
    pub fn set_tenure(&self, until_ms: u64) {
        self.tenure_until_ms.store(until_ms, Ordering::SeqCst);
    }

    pub fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// May a new call be accepted? Returns the epoch in which its answer may go out.
    pub fn check_open(&self, now_ms: u64) -> Result<u64, CallError> {
        let epoch = self.epoch();
        if self.kind.load(Ordering::SeqCst) == SERVING {
            // Another member may be the primary by now, and then the client should ask it. If not,
            // that one sends the client back.
            return if self.is_tenured(now_ms) { Ok(epoch) } else { Err(status::not_primary("", epoch)) };
        }
        match &*self.standing.lock() {
            Standing::Serving if self.kind.load(Ordering::SeqCst) == DRAINING => Err(draining()),
            Standing::Serving => Ok(epoch),
            Standing::Stopping => Err(status::shutting_down()),
            Standing::NotPrimary { hint, epoch } => Err(status::not_primary(hint.as_str(), *epoch)),
        }
    }

    /// May the answer to a call that ran in `epoch` go out?
    pub fn check_answer(&self, kind: CallKind, epoch: u64, now_ms: u64) -> Result<(), CallError> {
        if kind == CallKind::StandbyRead {
            return Ok(());
        }
        let fits = self.kind.load(Ordering::SeqCst) != NOT_PRIMARY && self.epoch() == epoch;
        if fits && self.is_tenured(now_ms) {
            return Ok(());
        }
        match (&*self.standing.lock(), kind) {
            (_, CallKind::Read | CallKind::StandbyRead) if fits => Err(no_tenure()),
            (_, CallKind::Mutation) if fits => Err(CallError {
                retry_after_ms: TENURE_RETRY_MS,
                ..status::outcome_unknown(format_args!(
                    "this member has heard too little of the others, or of the coordinator, for a while"
                ))
            }),
            (Standing::NotPrimary { hint, epoch }, CallKind::Read | CallKind::StandbyRead) => {
                Err(status::not_primary(hint.as_str(), *epoch))
            }
            (Standing::NotPrimary { epoch, .. }, CallKind::Mutation) => Err(deposed(*epoch)),
            (Standing::Serving, CallKind::Read | CallKind::StandbyRead) => Err(status::not_primary("", self.epoch())),
            (Standing::Serving, CallKind::Mutation) => Err(deposed(self.epoch())),
            (Standing::Stopping, CallKind::Read | CallKind::StandbyRead) => Err(status::shutting_down()),
            (Standing::Stopping, CallKind::Mutation) => Err(deposed(epoch)),
        }
    }

    fn is_tenured(&self, now_ms: u64) -> bool {
        match self.tenure_until_ms.load(Ordering::SeqCst) {
            u64::MAX => true,
            until_ms => now_ms < until_ms,
        }
    }
}

fn draining() -> CallError {
    status::overloaded_by("the place of the primary is being given to another member", DRAIN_RETRY_MS)
}

fn no_tenure() -> CallError {
    let what = "no member that it needs has answered this primary for tenure_ms, so it may answer no client";
    status::overloaded_by(what, TENURE_RETRY_MS)
}

/// The call ran here, but only the primary of `epoch` knows its outcome.
pub fn deposed(epoch: u64) -> CallError {
    let what = format_args!("this member was deposed by epoch {epoch} before the call could be committed");
    CallError { epoch, ..status::outcome_unknown(what) }
}

#[cfg(test)]
mod tests {
    use proto::v1::Reason;

    use super::*;

    const NOW: u64 = 1_000;

    fn reason<T>(refused: Result<T, CallError>) -> Option<Reason> {
        refused.err().map(|error| error.reason())
    }

    fn open(gate: &Gate) -> Option<Reason> {
        reason(gate.check_open(NOW))
    }

    fn answer(gate: &Gate, kind: CallKind, epoch: u64) -> Option<Reason> {
        reason(gate.check_answer(kind, epoch, NOW))
    }

    #[test]
    fn stopping_gate_takes_nothing_and_answers_what_has_run() {
        let gate = Gate::serving(1);
        assert_eq!(open(&gate), None);
        gate.set(Standing::Stopping);
        assert_eq!(open(&gate), Some(Reason::ShuttingDown));
        assert_eq!(answer(&gate, CallKind::Mutation, 1), None);
    }

    #[test]
    fn deposed_gate_never_says_that_a_mutation_did_not_run() {
        let gate = Gate::serving(1);
        gate.set(Standing::NotPrimary { hint: "b:1".to_owned(), epoch: 2 });
        let refused = gate.check_open(NOW).expect_err("it is closed");
        assert_eq!((refused.reason(), refused.primary_address.as_str(), refused.epoch), (Reason::NotPrimary, "b:1", 2));
        assert_eq!(answer(&gate, CallKind::Mutation, 1), Some(Reason::OutcomeUnknown));
        assert_eq!(answer(&gate, CallKind::Read, 1), Some(Reason::NotPrimary));
        gate.set(Standing::Serving);
        assert_eq!(open(&gate), None);
    }

    #[test]
    fn member_that_is_the_primary_again_answers_nothing_of_before() {
        let gate = Gate::closed();
        assert_eq!(open(&gate), Some(Reason::NotPrimary));
        gate.set_tenure(u64::MAX);
        gate.lead(3);
        assert_eq!(gate.check_open(NOW), Ok(3));
        gate.follow(4);
        gate.set_tenure(u64::MAX);
        gate.lead(5);
        assert_eq!(answer(&gate, CallKind::Mutation, 3), Some(Reason::OutcomeUnknown));
        assert_eq!(answer(&gate, CallKind::Read, 3), Some(Reason::NotPrimary));
        assert_eq!(answer(&gate, CallKind::Mutation, 5), None);
    }

    #[test]
    fn without_a_tenure_nothing_is_taken_and_nothing_answered() {
        let gate = Gate::closed();
        gate.lead(1);
        assert_eq!(open(&gate), Some(Reason::NotPrimary));
        assert_eq!(answer(&gate, CallKind::Read, 1), Some(Reason::Overloaded));
        assert_eq!(answer(&gate, CallKind::Mutation, 1), Some(Reason::OutcomeUnknown));
        gate.set_tenure(NOW + 1);
        assert_eq!(gate.check_open(NOW), Ok(1));
        assert_eq!(answer(&gate, CallKind::Mutation, 1), None);
    }

    #[test]
    fn nothing_is_logged_by_itself_and_no_time_counts_while_no_client_is_heard() {
        let gate = Gate::closed();
        assert_eq!((gate.may_log(NOW), gate.serves_until_ms()), (false, 0));
        gate.lead(1);
        assert_eq!((gate.may_log(NOW), gate.serves_until_ms()), (false, 0), "no tenure yet");
        gate.set_tenure(NOW + 1);
        assert_eq!((gate.may_log(NOW), gate.serves_until_ms()), (true, NOW + 1));
        gate.drain();
        assert_eq!((gate.may_log(NOW), gate.serves_until_ms()), (false, 0));
        gate.undrain();
        gate.set_tenure(NOW);
        assert!(!gate.may_log(NOW), "it is over");
        gate.set_tenure(u64::MAX);
        gate.set(Standing::Stopping);
        assert_eq!((gate.may_log(NOW), gate.serves_until_ms()), (false, 0));
    }

    #[test]
    fn gate_that_drains_takes_nothing_answers_what_it_has_and_opens_again() {
        let gate = Gate::serving(1);
        gate.drain();
        assert!(!gate.may_log(NOW));
        assert_eq!(open(&gate), Some(Reason::Overloaded));
        assert_eq!(answer(&gate, CallKind::Mutation, 1), None);
        gate.undrain();
        assert_eq!(gate.check_open(NOW), Ok(1));
        gate.drain();
        gate.follow(2);
        gate.undrain();
        assert_eq!(open(&gate), Some(Reason::NotPrimary));
    }

    #[test]
    fn deposed_member_that_stops_answers_no_mutation() {
        let gate = Gate::serving(2);
        gate.set(Standing::Stopping);
        gate.follow(3);
        assert_eq!(gate.standing(), Standing::Stopping);
        assert_eq!(answer(&gate, CallKind::Mutation, 2), Some(Reason::OutcomeUnknown));
        gate.lead(4);
        assert_eq!(open(&gate), Some(Reason::ShuttingDown));
    }
}
