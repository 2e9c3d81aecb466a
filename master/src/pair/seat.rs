//! The seat of a member: the machine behind a lock, and what follows at once from what it says.
//!
//! Rule of the shell: what the machine says is carried out under its lock, in its order, before
//! anything else happens to it. What takes longer than a moment is handed on to a task: questions
//! to the coordinator, changes of role, digests that are to be logged.
//!
//! *Invariant:* a task that holds a look at one of these channels asks the seat for nothing
//! meanwhile: the two could wait for each other.
//!
//! Deliberately absent: decisions. They are in `member`, and in `election`. What people are told of
//! them (`cluster_news`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use election::{ConfigRecord, Event, Incarnation, Millis, Seen, Versioned};
use member::{Action, Member, NotTransferred, Occasion, Reach, Role, Transferred};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::{moment, now_ms};
use crate::cluster_news;
use crate::gate::Gate;
use crate::pair::presence::Roll;
use crate::verify::Verify;

/// What the coordinator is to be asked.
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
    verify: Arc<Verify>,
    /// Names, for people.
    roll: Arc<Roll>,
    asks: mpsc::Sender<Ask>,
    roles: watch::Sender<Role>,
    /// What this member knows of its cluster, for its presence.
    seen: watch::Sender<Option<Seen>>,
    /// Wakes reads that wait for this member to come further, and streams that wait for the next
    /// beacon.
    moves: watch::Sender<()>,
    digests: Notify,
    /// Told the end of the transfer that is under way.
    gives: Mutex<Option<oneshot::Sender<Given>>>,
    pub(crate) counts: Counts,
}

/// Since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) takeovers: AtomicU64,
    pub(crate) coordinator_errors: AtomicU64,
    pub(crate) lost_data: AtomicU64,
    pub(crate) full_syncs: AtomicU64,
    /// For people: why the coordinator could not be used when it was asked last.
    pub(crate) coordinator_trouble: Mutex<Option<String>>,
}

/// One question at a time; a place more for one whose answer is not waited for any more.
const ASKS_MAX: usize = 4;

impl Seat {
    pub(crate) fn new(
        member: Member,
        gate: Arc<Gate>,
        verify: Arc<Verify>,
        roll: Arc<Roll>,
    ) -> (Arc<Seat>, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let seat = Seat {
            me: member.me(),
            member: Mutex::new(member),
            gate,
            verify,
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

    /// Something happens to the member. Whatever takes its time is done before or after this.
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

    /// Nothing happens to it.
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
                    // Where its caller does not wait any more, it was given up.
                    let _ = gives.send(end);
                }
            }
            Action::Doubt(doubt) => self.verify.on_doubt(&doubt, member.verified()),
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

    /// What became of the last question to the coordinator.
    pub(crate) fn note_coordinator(&self, error: Option<&coordinator::Error>) {
        self.counts.coordinator_errors.fetch_add(u64::from(error.is_some()), Ordering::Relaxed);
        *self.counts.coordinator_trouble.lock() = error.map(ToString::to_string);
    }

    fn ask(&self, ask: Ask) {
        // The member asks one thing at a time, so there is room unless the asking task is gone, and
        // with it the pair.
        if let Err(error) = self.asks.try_send(ask) {
            tracing::debug!("nobody asks the coordinator any more: {error}");
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
