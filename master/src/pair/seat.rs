//! The seat of a member: the machine behind a lock, and what follows at once from what it says.
//!
//! Rule of the shell: what the machine says is carried out under its lock, in its order, before
//! anything else happens to it. What takes longer than a moment is handed on to a task: questions to
//! the coordinator, changes of role, digests that are to be logged.
//!
//! *Invariant:* a task that holds a look at one of these channels asks the seat for nothing
//! meanwhile: the two could wait for each other.
//!
//! Deliberately absent: decisions. They are in `member`, and in `election`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use election::{ConfigRecord, Event, Incarnation, Millis, Seen, Timing, Versioned};
use http::HeaderValue;
use member::{Action, LostData, Member, NotTransferred, Occasion, Reach, Role, Transferred};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::clock::{moment, now_ms};
use crate::cluster_settings;
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
    /// The id of that cluster, as answers carry it.
    cluster: RwLock<Option<HeaderValue>>,
    /// Wakes reads that wait for this member to come further, and streams that wait for the next beacon.
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
            cluster: RwLock::default(),
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
        let is_new = self.seen.send_if_modified(|told| std::mem::replace(told, seen) != seen);
        if is_new {
            *self.cluster.write() = seen.map(|seen| in_header(seen.cluster_id));
        }
        answer
    }

    /// What answers say of the cluster that this member is of.
    pub(crate) fn cluster(&self) -> Option<HeaderValue> {
        self.cluster.read().clone()
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
            Action::SetChanged { before, now } => self.tell_set(member, &before.record, &now.record),
            Action::Retimed { from, to, is_first } => {
                tell_timing(&from, &to, is_first);
                self.moved();
            }
            Action::Unconfirmed { epoch } => tracing::warn!(
                epoch,
                "the coordinator has not confirmed for too long that this member leads: it makes way for the others of its set"
            ),
            Action::WrongClock { who, error } => tracing::warn!(
                peer = self.roll.named(who),
                ppm = error.ppm,
                "the clocks of this host and of another member's run at rates that differ by more than the protocol allows (25 per \
                 mille each way). Look at NTP (slewing) on both hosts, and for a virtual machine that was stopped or moved; see \
                 Clocks in ARCHITECTURE.md for what is covered"
            ),
            Action::LostData { data, is_new } => self.on_lost_data(&data, is_new),
            Action::Restores { epoch } => {
                tracing::warn!(epoch, "this primary writes its record again, in place of what the coordinator shows");
            }
        }
    }

    /// The primary warns where a failure more may cost what is acknowledged; its standbys say the same as news.
    fn tell_set(&self, member: &Member, before: &ConfigRecord, now: &ConfigRecord) {
        let holders = format!("held by {}", self.names(now.insync.iter()));
        let gone = self.names(before.insync.difference(&now.insync));
        let come = self.names(now.insync.difference(&before.insync));
        if !come.is_empty() {
            tracing::info!(epoch = now.epoch, "{come}: in the in-sync set now. Acknowledged writes are {holders}");
        }
        if gone.is_empty() {
            return;
        }
        let whys = before.insync.difference(&now.insync).map(|who| self.why_gone(member, *who));
        let whys = whys.collect::<Vec<_>>().join("; ");
        let leads = now.primary == self.me;
        match (leads, now.insync.len()) {
            (true, 1) => tracing::warn!(
                epoch = now.epoch,
                "{gone}: no longer in the in-sync set ({whys}). This member alone holds what is acknowledged from now on, until \
                 another one joins: start the one that is down, or look at its log"
            ),
            (true, _) => tracing::warn!(
                epoch = now.epoch,
                "{gone}: no longer in the in-sync set ({whys}). Acknowledged writes are {holders}. It joins again by itself: \
                 start it if it is down, or look at its log"
            ),
            (false, _) => {
                tracing::info!(
                    epoch = now.epoch,
                    "{gone}: no longer in the in-sync set. Acknowledged writes are {holders}"
                );
            }
        }
    }

    fn names<'a>(&self, set: impl Iterator<Item = &'a Incarnation>) -> String {
        let mut names: Vec<String> = set.map(|who| self.roll.named(*who)).collect();
        names.sort();
        names.join(", ")
    }

    /// For all that this member knows of it as the primary.
    fn why_gone(&self, member: &Member, who: Incarnation) -> String {
        let Some(peer) = member.peers().find(|peer| peer.who == who) else { return "it is not connected".to_owned() };
        let behind = peer.sent.saturating_sub(peer.received);
        match peer.heard_ms.map(|at| now_ms().saturating_sub(at)) {
            _ if !peer.sound => "it differs from this member, and is repaired".to_owned(),
            None => "it has answered nothing yet".to_owned(),
            Some(silent_ms) if silent_ms >= member.election().timing().drop_after_ms => {
                format!("it has answered nothing for {silent_ms} ms")
            }
            Some(_) => format!("it was too slow: {behind} entries are on their way to it"),
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

    /// Said once for each way in which it was lost.
    fn on_lost_data(&self, data: &LostData, is_new: bool) {
        self.counts.lost_data.fetch_add(1, Ordering::Relaxed);
        if is_new {
            tracing::error!(
                "LOST DATA: {data}. No member claims or founds anything on that; a primary that may answer writes its record \
                 again, else see `understudy recover`"
            );
        }
    }
}

fn in_header(cluster_id: u128) -> HeaderValue {
    HeaderValue::try_from(format!("{cluster_id:032x}")).expect("hexadecimal digits")
}

fn tell_timing(from: &Timing, to: &Timing, is_first: bool) {
    let pairs = from.named().into_iter().zip(to.named()).filter(|(from, to)| from != to);
    let changes: Vec<_> = pairs.map(|((name, from), (_, to))| (name, from.to_string(), to.to_string())).collect();
    let changes = cluster_settings::told(&changes);
    match is_first {
        true => tracing::warn!("the cluster goes by other values than this member was started with: {changes}"),
        false => tracing::info!("the cluster goes by other values from now on: {changes}"),
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
