//! May this node take calls now, and may it answer those it has taken?
//!
//! ```text
//!   NotPrimary ◄──► Serving ──► Stopping        takes nothing new, answers what it has
//!       │  takes nothing, and answers nothing:      │
//!       │  another member may have decided otherwise│
//!       └───────────────────────────────────────────┘
//! ```
//!
//! The gate is asked before a call, and again right before its answer goes out; no answer rests on what it said before.
//! Between the two the member may have been deposed, and even be the primary again, with another history: so an answer
//! goes out only in the epoch that its call ran in, and only while the tenure lasts.
//!
//! Invariant: a call that has run is never refused with a reason that says it did not run.
//!
//! Deliberately absent: who decides the standing.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use proto::status;
use proto::v1::CallError;
use tokio::sync::watch;

use crate::clock;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    Serving,
    Stopping,
    /// `hint`: the address of the primary, where it is known.
    NotPrimary {
        hint: String,
        epoch: u64,
    },
}

const SERVING: u8 = 0;
const STOPPING: u8 = 1;
const NOT_PRIMARY: u8 = 2;
/// Takes nothing new for a moment: the place of the primary is about to change hands.
const DRAINING: u8 = 3;

/// Whether a call changes anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    Reads,
    Mutates,
    /// As a standby: what was told is committed, and rests on nobody's tenure.
    ReadsStandby,
}

/// No epoch: nothing that has run may be answered.
const NO_EPOCH: u64 = 0;
/// Until the tenure is renewed, or the member deposed: about a beacon's time.
const TENURE_RETRY_MS: u32 = 20;
/// A transfer is over after some milliseconds.
const DRAIN_RETRY_MS: u32 = 2;

#[derive(Debug)]
pub struct Gate {
    /// The kind of the standing, for the fast path.
    kind: AtomicU8,
    /// In which answers may go out.
    epoch: AtomicU64,
    /// On `clock::boot_ms`; `u64::MAX`: nobody else can be promoted.
    tenure_until_ms: AtomicU64,
    /// The newest one that was heard of: for people.
    known_epoch: AtomicU64,
    standing: watch::Sender<Standing>,
}

impl Gate {
    /// Open, for a member that nobody can depose.
    pub fn serving(epoch: u64) -> Gate {
        let (standing, _) = watch::channel(Standing::Serving);
        let tenure_until_ms = AtomicU64::new(u64::MAX);
        let (epoch, known_epoch) = (AtomicU64::new(epoch), AtomicU64::new(epoch));
        Gate { kind: AtomicU8::new(SERVING), epoch, tenure_until_ms, known_epoch, standing }
    }

    /// For a member that is nobody yet.
    pub(crate) fn closed() -> Gate {
        let (standing, _) = watch::channel(Standing::NotPrimary { hint: String::new(), epoch: 0 });
        Gate {
            kind: AtomicU8::new(NOT_PRIMARY),
            epoch: AtomicU64::new(NO_EPOCH),
            tenure_until_ms: AtomicU64::new(0),
            known_epoch: AtomicU64::new(NO_EPOCH),
            standing,
        }
    }

    /// Whoever leads in it. 0: none is known yet.
    pub(crate) fn known_epoch(&self) -> u64 {
        self.known_epoch.load(Ordering::Relaxed)
    }

    /// The epoch that answers are given in.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub fn set(&self, standing: Standing) {
        let kind = match standing {
            Standing::Serving => SERVING,
            Standing::Stopping => STOPPING,
            Standing::NotPrimary { .. } => NOT_PRIMARY,
        };
        self.standing.send_modify(|current| {
            *current = standing;
            self.kind.store(kind, Ordering::SeqCst);
        });
    }

    /// As the primary of `epoch`. A node that stops takes nothing new any more.
    pub(crate) fn lead(&self, epoch: u64) {
        self.known_epoch.fetch_max(epoch, Ordering::Relaxed);
        self.standing.send_if_modified(|current| {
            self.epoch.store(epoch, Ordering::SeqCst);
            let opens = *current != Standing::Stopping;
            if opens {
                *current = Standing::Serving;
                self.kind.store(SERVING, Ordering::SeqCst);
            }
            opens
        });
    }

    /// Nothing that has run, or still runs, is answered from here on.
    pub(crate) fn follow(&self, hint: String, epoch: u64) {
        self.known_epoch.fetch_max(epoch, Ordering::Relaxed);
        self.epoch.store(NO_EPOCH, Ordering::SeqCst);
        self.tenure_until_ms.store(0, Ordering::SeqCst);
        self.standing.send_if_modified(|current| {
            let follows = *current != Standing::Stopping;
            if follows {
                *current = Standing::NotPrimary { hint, epoch };
                self.kind.store(NOT_PRIMARY, Ordering::SeqCst);
            }
            follows
        });
    }

    /// Where the primary of `epoch` is to be found.
    pub(crate) fn hint(&self, address: &str, epoch: u64) {
        self.standing.send_if_modified(|current| match current {
            Standing::NotPrimary { hint, epoch: known } if *known <= epoch && hint != address => {
                *current = Standing::NotPrimary { hint: address.to_owned(), epoch };
                true
            }
            _ => false,
        });
    }

    /// Nothing new is taken until this member follows, or the result is dropped.
    pub(crate) fn drain(&self) -> Draining<'_> {
        let _ = self.kind.compare_exchange(SERVING, DRAINING, Ordering::SeqCst, Ordering::SeqCst);
        Draining(self)
    }

    /// Whether this node may log something of its own accord. While its place is given away, or it stops, that would be an entry more
    /// that the heir must have, or one that nobody else has.
    pub(crate) fn may_log(&self) -> bool {
        self.kind.load(Ordering::SeqCst) == SERVING
    }

    /// Before this moment of `clock::boot_ms` answers may go out.
    pub(crate) fn set_tenure(&self, until_ms: u64) {
        self.tenure_until_ms.store(until_ms, Ordering::SeqCst);
    }

    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// May a new call be taken? Tells the epoch in which its answer may go out.
    pub fn check_open(&self) -> Result<u64, CallError> {
        let epoch = self.epoch();
        if self.kind.load(Ordering::SeqCst) == SERVING {
            // Another member may be the primary by now, and then it is to be asked; if not, it sends the caller back.
            return if self.is_tenured() { Ok(epoch) } else { Err(status::not_primary("", epoch)) };
        }
        match &*self.standing.borrow() {
            Standing::Serving if self.kind.load(Ordering::SeqCst) == DRAINING => Err(draining()),
            Standing::Serving => Ok(epoch),
            Standing::Stopping => Err(status::shutting_down()),
            Standing::NotPrimary { hint, epoch } => Err(status::not_primary(hint.as_str(), *epoch)),
        }
    }

    /// May the answer to a call that ran in `epoch` go out?
    pub fn check_answer(&self, effect: Effect, epoch: u64) -> Result<(), CallError> {
        if effect == Effect::ReadsStandby {
            return Ok(());
        }
        let fits = self.kind.load(Ordering::SeqCst) != NOT_PRIMARY && self.epoch() == epoch;
        if fits && self.is_tenured() {
            return Ok(());
        }
        match (&*self.standing.borrow(), effect) {
            (_, Effect::Reads | Effect::ReadsStandby) if fits => Err(no_tenure()),
            (_, Effect::Mutates) if fits => Err(CallError {
                retry_after_ms: TENURE_RETRY_MS,
                ..status::outcome_unknown(format_args!(
                    "this member has heard too little of the others, or of the coordinator, for a while"
                ))
            }),
            (Standing::NotPrimary { hint, epoch }, Effect::Reads | Effect::ReadsStandby) => {
                Err(status::not_primary(hint.as_str(), *epoch))
            }
            (Standing::NotPrimary { epoch, .. }, Effect::Mutates) => Err(deposed(*epoch)),
            (Standing::Serving, Effect::Reads | Effect::ReadsStandby) => Err(status::not_primary("", self.epoch())),
            (Standing::Serving, Effect::Mutates) => Err(deposed(self.epoch())),
            (Standing::Stopping, Effect::Reads | Effect::ReadsStandby) => Err(status::shutting_down()),
            (Standing::Stopping, Effect::Mutates) => Err(deposed(epoch)),
        }
    }

    fn is_tenured(&self) -> bool {
        match self.tenure_until_ms.load(Ordering::SeqCst) {
            u64::MAX => true,
            until_ms => clock::boot_ms() < until_ms,
        }
    }
}

/// Whoever drains may be given up half-way: then the gate opens again, unless this member is not the primary any more.
#[derive(Debug)]
#[must_use = "dropped, the gate opens again"]
pub(crate) struct Draining<'a>(&'a Gate);

impl Drop for Draining<'_> {
    fn drop(&mut self) {
        let _ = self.0.kind.compare_exchange(DRAINING, SERVING, Ordering::SeqCst, Ordering::SeqCst);
    }
}

fn draining() -> CallError {
    status::overloaded_at("transfer", DRAIN_RETRY_MS)
}

fn no_tenure() -> CallError {
    status::overloaded_at("tenure_ms", TENURE_RETRY_MS)
}

/// It ran here, but what became of it is for the primary of `epoch` to say.
pub(crate) fn deposed(epoch: u64) -> CallError {
    let what = format_args!("this member was deposed by epoch {epoch} before the call could be committed");
    CallError { epoch, ..status::outcome_unknown(what) }
}

#[cfg(test)]
mod tests {
    use proto::v1::Reason;

    use super::*;

    fn reason<T>(refused: Result<T, CallError>) -> Option<Reason> {
        refused.err().map(|error| error.reason())
    }

    #[test]
    fn stopping_gate_takes_nothing_and_answers_what_has_run() {
        let gate = Gate::serving(1);
        assert_eq!(reason(gate.check_open()), None);
        gate.set(Standing::Stopping);
        assert_eq!(reason(gate.check_open()), Some(Reason::ShuttingDown));
        assert_eq!(reason(gate.check_answer(Effect::Mutates, 1)), None);
    }

    #[test]
    fn deposed_gate_never_says_that_a_mutation_did_not_run() {
        let gate = Gate::serving(1);
        gate.set(Standing::NotPrimary { hint: "b:1".to_owned(), epoch: 2 });
        let refused = gate.check_open().expect_err("it is closed");
        assert_eq!((refused.reason(), refused.primary_address.as_str(), refused.epoch), (Reason::NotPrimary, "b:1", 2));
        assert_eq!(reason(gate.check_answer(Effect::Mutates, 1)), Some(Reason::OutcomeUnknown));
        assert_eq!(reason(gate.check_answer(Effect::Reads, 1)), Some(Reason::NotPrimary));
        gate.set(Standing::Serving);
        assert_eq!(reason(gate.check_open()), None);
    }

    #[test]
    fn a_member_that_is_the_primary_again_answers_nothing_of_before() {
        let gate = Gate::closed();
        assert_eq!(reason(gate.check_open()), Some(Reason::NotPrimary));
        gate.set_tenure(u64::MAX);
        gate.lead(3);
        assert_eq!(gate.check_open(), Ok(3));
        gate.follow("b:1".to_owned(), 4);
        gate.set_tenure(u64::MAX);
        gate.lead(5);
        assert_eq!(reason(gate.check_answer(Effect::Mutates, 3)), Some(Reason::OutcomeUnknown));
        assert_eq!(reason(gate.check_answer(Effect::Reads, 3)), Some(Reason::NotPrimary));
        assert_eq!(reason(gate.check_answer(Effect::Mutates, 5)), None);
    }

    #[test]
    fn without_a_tenure_nothing_is_taken_and_nothing_answered() {
        let gate = Gate::closed();
        gate.lead(1);
        assert_eq!(reason(gate.check_open()), Some(Reason::NotPrimary));
        assert_eq!(reason(gate.check_answer(Effect::Reads, 1)), Some(Reason::Overloaded));
        assert_eq!(reason(gate.check_answer(Effect::Mutates, 1)), Some(Reason::OutcomeUnknown));
        gate.set_tenure(clock::boot_ms() + 60_000);
        assert_eq!(gate.check_open(), Ok(1));
        assert_eq!(reason(gate.check_answer(Effect::Mutates, 1)), None);
    }

    #[test]
    fn a_gate_that_drains_takes_nothing_answers_what_it_has_and_opens_again() {
        let gate = Gate::serving(1);
        let draining = gate.drain();
        assert!(!gate.may_log());
        assert_eq!(reason(gate.check_open()), Some(Reason::Overloaded));
        assert_eq!(reason(gate.check_answer(Effect::Mutates, 1)), None);
        drop(draining);
        assert_eq!(gate.check_open(), Ok(1));
        let draining = gate.drain();
        gate.follow(String::new(), 2);
        drop(draining);
        assert_eq!(reason(gate.check_open()), Some(Reason::NotPrimary));
    }

    #[test]
    fn a_deposed_node_that_stops_answers_no_mutation() {
        let gate = Gate::serving(2);
        gate.set(Standing::Stopping);
        gate.follow(String::new(), 3);
        assert_eq!(gate.standing(), Standing::Stopping);
        assert_eq!(reason(gate.check_answer(Effect::Mutates, 2)), Some(Reason::OutcomeUnknown));
        gate.lead(4);
        assert_eq!(reason(gate.check_open()), Some(Reason::ShuttingDown));
    }
}
