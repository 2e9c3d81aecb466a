//! The seat of a member: the machine behind a lock, and what follows at once from its actions.
//!
//! Rule of the shell: the machine's actions are carried out under its lock, in their order, before
//! it is told anything else. What takes longer than a moment goes to a task: questions to the
//! coordinator, changes of role, digests for the log.
//!
//! *Invariant:* a task that holds a borrow of one of these channels does not call the seat
//! meanwhile, since the two could wait for each other.
//!
//! Deliberately absent: decisions (`member` and `election` make them), and their log lines
//! (`cluster_news`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use election::{ConfigRecord, Event, Incarnation, Millis, Seen, Versioned};
use member::{Action, Member, NotTransferred, Occasion, Reach, Role, Transferred};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::{moment, now_ms};
use crate::cluster_news;
use crate::findings::Findings;
use crate::gate::Gate;
use crate::pair::presence::Roll;

/// A question to the coordinator.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and gone as soon as it is answered")]
pub(crate) enum Ask {
    Read,
    Swap { expect: Option<Versioned>, to: ConfigRecord },
}

/// How a transfer ended.
pub(crate) type Given = Result<Transferred, NotTransferred>;

pub(crate) struct Seat {
    pub(crate) me: Incarnation,
    member: Mutex<Member>,
    gate: Arc<Gate>,
    findings: Arc<Findings>,
    /// Names, for display.
    roll: Arc<Roll>,
    asks: mpsc::Sender<Ask>,
    roles: watch::Sender<Role>,
    /// What this member knows of its cluster, for its presence.
    seen: watch::Sender<Option<Seen>>,
    /// Wakes reads that wait until this member has applied more, and streams that wait for the next
    /// beacon.
    moves: watch::Sender<()>,
    digests: Notify,
    /// Gets the result of the current transfer.
    gives: Mutex<Option<oneshot::Sender<Given>>>,
    pub(crate) counts: Counts,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) takeovers: AtomicU64,
    pub(crate) coordinator_errors: AtomicU64,
    pub(crate) lost_data: AtomicU64,
    pub(crate) full_syncs: AtomicU64,
    /// Why the last request to the coordinator failed, for display.
    pub(crate) coordinator_trouble: Mutex<Option<String>>,
}

/// One question at a time, and a place more for one whose answer is no longer awaited.
const ASKS_MAX: usize = 4;

impl Seat {
    pub(crate) fn new(
        member: Member,
        gate: Arc<Gate>,
        findings: Arc<Findings>,
        roll: Arc<Roll>,
    ) -> (Arc<Seat>, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let seat = Seat {
            me: member.me(),
            member: Mutex::new(member),
            gate,
            findings,
            roll,
            asks,
            roles: watch::channel(Role::Starting).0,
            seen: watch::channel(None).0,
            moves: watch::channel(()).0,
            digests: Notify::new(),
            gives: Mutex::default(),
            counts: Counts::default(),
        };
        (Arc::new(seat), asked)
    }

    /// Tells the member something. Work that takes time is done before or after this.
    pub(crate) fn with<R>(&self, happens: impl FnOnce(&mut Member, Millis) -> R) -> R {
        let mut member = self.member.lock();
        let moment = moment();
        member.on_time(moment);
        let answer = happens(&mut member, moment.now);
        for action in member.take_actions() {
            self.act(&member, action);
        }
        let seen = member.election().seen();
        self.seen.send_if_modified(|told| std::mem::replace(told, seen) != seen);
        answer
    }

    /// Only reads the member.
    pub(crate) fn look<R>(&self, looks: impl FnOnce(&Member, Millis) -> R) -> R {
        let member = self.member.lock();
        looks(&member, now_ms())
    }

    pub(crate) fn event(&self, event: Event) {
        self.with(|member, now| {
            let _ = member.on(event, now);
        });
    }

    pub(crate) fn roles(&self) -> watch::Receiver<Role> {
        self.roles.subscribe()
    }

    pub(crate) fn seen(&self) -> watch::Receiver<Option<Seen>> {
        self.seen.subscribe()
    }

    pub(crate) fn moves(&self) -> watch::Receiver<()> {
        self.moves.subscribe()
    }

    /// Something was heard or applied.
    pub(crate) fn moved(&self) {
        self.moves.send_replace(());
    }

    /// The member wants the digests of its state to be logged.
    pub(crate) async fn digests_are_due(&self) {
        self.digests.notified().await;
    }

    pub(crate) fn transfer(
        &self,
        heir: Incarnation,
        occasion: Occasion,
    ) -> Result<oneshot::Receiver<Given>, NotTransferred> {
        let (gives, given) = oneshot::channel();
        self.with(|member, now| {
            member.transfer(heir, occasion, now)?;
            *self.gives.lock() = Some(gives);
            Ok(given)
        })
    }

    pub(crate) fn leads(&self) -> Option<u64> {
        self.look(|member, _| member.leads())
    }

    /// The record as it is known here; see [`Member::known`].
    pub(crate) fn known(&self) -> Option<Versioned> {
        self.look(|member, _| member.known().cloned())
    }

    fn act(&self, member: &Member, action: Action) {
        match action {
            Action::Read => self.ask(Ask::Read),
            Action::Swap { expect, to } => self.ask(Ask::Swap { expect, to }),
            Action::Be(role) => {
                self.roles.send_replace(role);
                self.moved();
            }
            Action::Standing => self.gate.standing_changed(),
            Action::LogDigests => self.digests.notify_one(),
            Action::Transferred(end) => {
                if let Some(gives) = self.gives.lock().take() {
                    // If its caller does not wait any more, it was given up.
                    let _ = gives.send(end);
                }
            }
            Action::Doubt(doubt) => self.findings.on_doubt(&doubt, member.verified()),
            Action::SetChanged { .. }
            | Action::Unconfirmed { .. }
            | Action::WrongClock { .. }
            | Action::LostData { .. }
            | Action::Retimed { .. }
            | Action::Restores { .. } => {
                let is_loss = matches!(action, Action::LostData { .. });
                self.counts.lost_data.fetch_add(u64::from(is_loss), Ordering::Relaxed);
                cluster_news::tell(&action, member, &self.roll);
                // Beacons may be due sooner than they were.
                self.moved();
            }
        }
    }

    /// The result of the last request to the coordinator.
    pub(crate) fn note_coordinator(&self, error: Option<&coordinator::Error>) {
        self.counts.coordinator_errors.fetch_add(u64::from(error.is_some()), Ordering::Relaxed);
        *self.counts.coordinator_trouble.lock() = error.map(ToString::to_string);
    }

    fn ask(&self, ask: Ask) {
        // The member asks one question at a time, so there is room unless the asking task is gone,
        // and the pair with it.
        if let Err(error) = self.asks.try_send(ask) {
            tracing::debug!("the task that asks the coordinator has ended: {error}");
        }
    }
}

impl Reach for &Seat {
    fn tell<R>(&mut self, happens: impl FnOnce(&mut Member, Millis) -> R) -> R {
        self.with(happens)
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seat({:?}, {:?})", self.me, *self.roles.borrow())
    }
}
