//! The one seat of a member in the election: the pure core behind a lock, and what follows at once from what it says.
//!
//! Whatever touches acknowledgements is done under the lock, in the core's order: commits, the tenure, the end of a
//! reign. All else is handed on: questions to `ask`, changes of role to `supervise`.
//!
//! Invariants: `committed` of a tail is moved here and nowhere else while its member leads; the gate opens only while the
//! core leads that epoch, and closes before the core has been asked anything further.
//!
//! Deliberately absent: decisions. They are in `election`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use election::{Action, ConfigRecord, Event, Incarnation, Member, Versioned};
use oplog::{CloseReason, Tail};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::clock::boot_ms;
use crate::gate::Gate;

/// What the coordinator is to be asked.
#[derive(Debug)]
pub(crate) enum Ask {
    Read,
    Swap { expect: Option<u64>, to: ConfigRecord },
}

/// What this member is to be now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Starting,
    Follow {
        primary: Incarnation,
        epoch: u64,
    },
    Lead {
        epoch: u64,
    },
    /// It led until `by` began, or until it resigned in `by`.
    Deposed {
        by: u64,
    },
}

/// What became of a resignation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resigned {
    Done,
    ReignIsOver,
    /// The heir has left the set, or may have by now: it could not take over. Nothing has changed.
    HeirLeaves,
}

pub(crate) struct Seat {
    pub(crate) me: Incarnation,
    gate: Arc<Gate>,
    core: Mutex<Core>,
    asks: mpsc::Sender<Ask>,
    roles: watch::Sender<Role>,
    /// The newest record that was read: for people, and to know one's own cluster.
    last_read: Mutex<Option<Versioned>>,
    pub(crate) counts: Counts,
}

struct Core {
    member: Member,
    /// Of the log that this member leads with.
    leads_on: Option<Arc<Tail>>,
    /// Who is to take over after a resignation.
    heir: Option<Incarnation>,
    actions: Vec<Action>,
}

/// Since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) takeovers: AtomicU64,
    pub(crate) coordinator_errors: AtomicU64,
    pub(crate) lost_data: AtomicU64,
    pub(crate) full_syncs: AtomicU64,
}

/// One question at a time; a place more for one whose answer nobody waits for any more.
const ASKS_MAX: usize = 4;

impl Seat {
    pub(crate) fn new(member: Member, me: Incarnation, gate: Arc<Gate>) -> (Arc<Seat>, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let (roles, _) = watch::channel(Role::Starting);
        let core = Core { member, leads_on: None, heir: None, actions: Vec::new() };
        let (core, last_read) = (Mutex::new(core), Mutex::new(None));
        let seat = Seat { me, gate, core, asks, roles, last_read, counts: Counts::default() };
        (Arc::new(seat), asked)
    }

    pub(crate) fn roles(&self) -> watch::Receiver<Role> {
        self.roles.subscribe()
    }

    /// False: it is the record of another cluster than before.
    pub(crate) fn note_read(&self, record: Option<&Versioned>) -> bool {
        let mut last = self.last_read.lock();
        let same = |before: &Versioned| record.is_none_or(|now| now.record.cluster_id == before.record.cluster_id);
        let fits = last.as_ref().is_none_or(same);
        if fits && record.is_some() {
            *last = record.cloned();
        }
        fits
    }

    /// The record as it is known here: that under which this member leads, or the one that was read last.
    pub(crate) fn known(&self) -> Option<Versioned> {
        self.record().or_else(|| self.last_read.lock().clone())
    }

    pub(crate) fn event(&self, event: Event) {
        let mut core = self.core.lock();
        // Only what the coordinator says can change the set.
        let from_coordinator = matches!(event, Event::Swapped(_) | Event::Read(_));
        let before = core.member.record().filter(|_| from_coordinator).cloned();
        self.happen(&mut core, event);
        if let (Some(before), Some(now)) = (before, core.member.record())
            && before.record.insync != now.record.insync
        {
            let (set, revision) = (&now.record.insync, now.revision);
            tracing::info!(?set, revision, "the in-sync set has changed: it was {:?}", before.record.insync);
        }
    }

    /// A message of the primary has come, and what it brought is held. True: it may be answered.
    pub(crate) fn heard(&self, from: Incarnation, epoch: u64, sent_ms: u64, held: u64) -> bool {
        let mut core = self.core.lock();
        self.happen(&mut core, Event::Held(held));
        self.happen(&mut core, Event::Heard { from, epoch, sent_ms })
    }

    pub(crate) fn would_answer(&self, epoch: u64) -> bool {
        self.core.lock().member.would_answer(epoch)
    }

    pub(crate) fn leads(&self) -> Option<u64> {
        self.core.lock().member.leads()
    }

    /// No later epoch can have begun by now.
    pub(crate) fn may_answer(&self, epoch: u64) -> bool {
        let core = self.core.lock();
        core.member.leads() == Some(epoch) && boot_ms() < core.member.tenure_until()
    }

    /// The record that this member leads under.
    pub(crate) fn record(&self) -> Option<Versioned> {
        self.core.lock().member.record().cloned()
    }

    /// As the primary: what a peer has received, and when the message was sent that it answered last.
    pub(crate) fn peer(&self, who: Incarnation) -> Option<(u64, u64)> {
        self.core.lock().member.peer(who)
    }

    /// See [`Member::born`].
    pub(crate) fn born(&self) -> u64 {
        self.core.lock().member.born()
    }

    pub(crate) fn needed_seq(&self) -> Option<u64> {
        self.core.lock().member.needed_seq()
    }

    pub(crate) fn lag_ms(&self, who: Incarnation) -> Option<u64> {
        self.core.lock().member.peer_lag_ms(who, boot_ms())
    }

    pub(crate) fn is_in_sync(&self, who: Incarnation) -> bool {
        self.core.lock().member.record().is_some_and(|known| known.record.insync.contains(&who))
    }

    /// Milliseconds for which this member may answer, for all that it knows now. `None`: without end.
    pub(crate) fn tenure_left_ms(&self) -> Option<u64> {
        match self.core.lock().member.tenure_until() {
            u64::MAX => None,
            until_ms => Some(until_ms.saturating_sub(boot_ms())),
        }
    }

    /// After whatever may have appended to the log that calls run on.
    pub(crate) fn on_appended(&self, tail: &Arc<Tail>) {
        let mut core = self.core.lock();
        // A call that was under way when this member was deposed: nobody commits what it did.
        if core.leads_on.as_ref().is_some_and(|leads_on| Arc::ptr_eq(leads_on, tail)) {
            let appended = tail.appended().get();
            self.happen(&mut core, Event::Appended(appended));
        }
    }

    /// State and log are whole and in place: calls may come. False: this member leads no more.
    pub(crate) fn open(&self, epoch: u64, tail: Arc<Tail>) -> bool {
        let mut core = self.core.lock();
        if core.member.leads() != Some(epoch) {
            return false;
        }
        core.heir = None;
        let appended = tail.appended().get();
        core.leads_on = Some(tail);
        self.happen(&mut core, Event::Appended(appended));
        self.gate.lead(epoch);
        self.counts.takeovers.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Ends this member's reign of `epoch`; `heir` is told to take over at once.
    pub(crate) fn resign(&self, epoch: u64, heir: Incarnation) -> Resigned {
        let mut core = self.core.lock();
        if core.member.leads() != Some(epoch) {
            return Resigned::ReignIsOver;
        }
        if !core.member.may_succeed(heir) {
            return Resigned::HeirLeaves;
        }
        core.heir = Some(heir);
        self.happen(&mut core, Event::Resign);
        Resigned::Done
    }

    /// As the primary: whether `who` could take over right now.
    pub(crate) fn may_succeed(&self, who: Incarnation) -> bool {
        self.core.lock().member.may_succeed(who)
    }

    /// A claim of this member may still come to be.
    pub(crate) fn claims(&self) -> bool {
        self.core.lock().member.claims()
    }

    pub(crate) fn heir(&self) -> Option<Incarnation> {
        self.core.lock().heir
    }

    /// Whoever waits for a commit on a member without a tenure may wait in vain, while another one serves.
    pub(crate) fn release_if_untenured(&self) {
        let core = self.core.lock();
        if let Some(tail) = &core.leads_on
            && boot_ms() >= core.member.tenure_until()
        {
            tail.committed().release(CloseReason::NoTenure);
        }
    }

    /// True: the message that this is about may be answered.
    fn happen(&self, core: &mut Core, event: Event) -> bool {
        let mut actions = std::mem::take(&mut core.actions);
        core.member.on_event(event, boot_ms(), &mut actions);
        let mut answers = false;
        for action in actions.drain(..) {
            answers |= matches!(action, Action::Answer { .. });
            self.act(core, action);
        }
        core.actions = actions;
        self.gate.set_tenure(core.member.tenure_until());
        answers
    }

    fn act(&self, core: &mut Core, action: Action) {
        match action {
            Action::Read => self.ask(Ask::Read),
            Action::Swap { expect, to } => self.ask(Ask::Swap { expect, to }),
            Action::Answer { .. } => {}
            Action::Follow { primary, epoch } => {
                self.gate.follow(String::new(), epoch);
                self.roles.send_replace(Role::Follow { primary, epoch });
            }
            Action::Lead { epoch } => drop(self.roles.send_replace(Role::Lead { epoch })),
            Action::Commit { upto } => {
                if let Some(tail) = &core.leads_on {
                    tail.committed().advance(upto);
                }
            }
            Action::Depose { by, .. } => {
                self.gate.follow(String::new(), by);
                if let Some(tail) = core.leads_on.take() {
                    tail.committed().close(CloseReason::Deposed { epoch: by });
                }
                self.roles.send_replace(Role::Deposed { by });
            }
            Action::Unconfirmed { epoch } => tracing::warn!(
                epoch,
                "the coordinator has not confirmed for too long that this member leads: it makes way for the others of its set"
            ),
            Action::CoordinatorLostData { held, found } => self.on_lost_data(held, found),
        }
    }

    fn ask(&self, ask: Ask) {
        // The core asks one thing at a time, so there is room unless the asking task is gone, and with it the pair.
        if let Err(error) = self.asks.try_send(ask) {
            tracing::debug!("nobody asks the coordinator any more: {error}");
        }
    }

    fn on_lost_data(&self, held: u64, found: u64) {
        let before = self.counts.lost_data.fetch_add(1, Ordering::Relaxed);
        if before.is_power_of_two() || before == 0 {
            tracing::error!(
                held,
                found,
                "the coordinator knows an older epoch than this member: it has lost data. Nothing is done until a person has looked"
            );
        }
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seat({:?}, {:?})", self.me, *self.roles.borrow())
    }
}
