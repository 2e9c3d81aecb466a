//! One member's part in the election: from events to actions, without a clock, a socket or a random
//! number.
//!
//! ```text
//!             ┌── no record ─────────────────────────────► claim ──swap won──► Leading
//!   Starting ─┤                                            ▲   │                  │
//!             └── a record ──► Following ──silence, waited─┘   │ swap lost        │ a later epoch
//!                                  ▲ └─────────────────────────┘                  │
//!                                  └──────────────────────────────────────────────┘
//! ```
//!
//! Rules that keep it safe (docs: ARCHITECTURE.md):
//! - A member claims only after the tenure that its newest answer granted has ended. Each message
//!   says for how long its answer lets the primary answer clients; a primary that asks for less
//!   relies on no more from earlier answers. So the previous primary has no tenure left, whatever
//!   the record says. The member answers no primary until its claim is decided.
//! - Claims and changes of the set compare the same revision: exactly one wins.
//! - A swap with an unknown outcome may still happen until the record has changed. No decision
//!   relies on its failure.
//! - The wait is left out only if the primary is known to answer no more: it said so in its last
//!   message, or there is proof of death. Silence and broken streams prove nothing.
//! - A member that is not sound claims nothing, and leaves the set.
//! - A primary reads the record now and then, since another member may lead without its knowledge.
//!   If the record bounds the primary's tenure by the coordinator, and the coordinator does not
//!   answer in time, the primary resigns so that another member of the set can take over.
//! - A member that knows of something newer than the coordinator shows claims nothing on that
//!   record. A primary that may answer at that moment writes its record again, under a later epoch.
//!   It yields only to a member that every one of its commits has waited for.
//! - A member founds a cluster only if no present member holds anything. It looks for as long as a
//!   living member may need to be shown as present again.
//! - A member outside the set begins only with nothing, and only once all members of the set are
//!   known to have ended, or, if the record bounds its primary by the coordinator, once no member
//!   has led for a long time. Then a primary may still live, so the winner leads only when that
//!   primary's last confirmation is too old for any answer.
//!
//! Deliberately absent: the log itself, connections, what a client sees.

use std::collections::BTreeSet;

use crate::leading::{Answer, Leading};
use crate::loss::{Known, Look, Lost, Shown};
use crate::record::{ConfigRecord, Incarnation, Seen, Versioned};
use crate::timing::{Millis, Pace, Timing, outlasts_ms};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Comes at least every few milliseconds.
    Tick,
    /// This much more of the time that `now` has counted may not have passed
    /// ([`crate::Moment::behind_ms`]). Comes before any other event of that moment.
    FellBehind(Millis),
    /// The coordinator's answer to [`Action::Read`].
    Read(Look),
    /// The coordinator shows that a living member announces itself as the primary of this epoch.
    /// Comes before the answer to the read. Needed for [`Unclean::ColdAfter`].
    Announced { epoch: u64 },
    /// The coordinator shows no such announcement. Comes before the answer to the read, too.
    NobodyAnnounced,
    /// [`Action::Swap`] has happened, and gave the record this revision.
    Swapped(u64),
    /// The record had another revision: this swap will never happen.
    SwapRefused,
    /// No answer, an error, or a time-out. A swap may have happened, or may still happen.
    NoAnswer,
    /// As a standby: a message of the primary of `epoch`, which leads under this version of the
    /// record, sent at `sent_ms` on its clock. If this member answers it, that primary may answer
    /// clients until `tenure_ms` after `sent_ms`.
    Heard { from: Incarnation, epoch: u64, version: u64, sent_ms: Millis, tenure_ms: Millis },
    /// As a standby: the stream from the primary of `epoch` broke. This is a reason to hurry, and
    /// no proof.
    StreamBroken { from: Incarnation, epoch: u64 },
    /// As the primary: a peer of this epoch has received the log up to `received`, has applied it
    /// up to `applied`, and answers the message sent at `echo_ms`. While it is not `sound` it must
    /// not be in the set.
    Answered { from: Incarnation, epoch: u64, received: u64, applied: u64, echo_ms: Millis, sound: bool },
    /// As the primary: the stream from a peer of this epoch broke, and no other stream of it is
    /// open.
    PeerGone { who: Incarnation, epoch: u64 },
    /// As the primary: its own log reaches up to here.
    Appended(u64),
    /// The log of this standby reaches up to here.
    Received(u64),
    /// Whether this member is sound, as far as it knows. While it is not, it claims nothing.
    Sound(bool),
    /// The coordinator says that the record may have changed. This is only a hint: it may come
    /// late, without a change, or not at all.
    Hint,
    /// Another member, which has proven who it is, knows of a later epoch. This is only a reason to
    /// read the record.
    LaterEpoch { from: Incarnation, epoch: u64 },
    /// As the primary: an operator wants this timing for the cluster. It is valid. Done when
    /// [`Election::timing`] returns it.
    Retime(Timing),
    /// As the primary: stop leading. A member of the set is told, and may take over at once.
    Resign,
    /// This process is about to end. From now on this member answers no primary and claims nothing,
    /// so that it leaves the set while the primary can still remove it; a member that leads does so
    /// once it stops leading. It goes on to look who leads. A pending claim is decided all the
    /// same.
    Retire,
    /// As a standby: the primary of `epoch` said in its last message that it answers no more, and
    /// that this member takes over.
    Resigned { from: Incarnation, epoch: u64 },
    /// The process of this incarnation has ended. This is proof, not a guess. It is withdrawn when
    /// that incarnation is heard from.
    ProvenDead(Incarnation),
}

#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and gone as soon as they are looked at")]
pub enum Action {
    Read,
    /// Compare the record and its revision (`None`: there is no record), and swap.
    Swap {
        expect: Option<Versioned>,
        to: ConfigRecord,
    },
    /// Be a standby of this primary.
    Follow {
        primary: Incarnation,
        epoch: u64,
    },
    /// Confirm the message to the primary, and say what this member has received.
    Answer {
        epoch: u64,
        echo_ms: Millis,
    },
    /// Be the primary. Everything that this member has received is committed, since it is alone in
    /// the set: apply it, begin the epoch in the log, serve. What it held before [`Election::born`]
    /// is dropped first.
    Lead {
        epoch: u64,
    },
    /// Entries up to here may be acknowledged, while the tenure lasts.
    Commit {
        upto: u64,
    },
    /// Not the primary any more: acknowledge nothing, discard what was never committed.
    Depose {
        epoch: u64,
        by: u64,
    },
    /// For the log: this member stops leading, because the coordinator has not confirmed in time
    /// that it leads. [`Action::Depose`] follows.
    Unconfirmed {
        epoch: u64,
    },
    /// For the log: the coordinator shows less than members have seen. `known`: what this member
    /// has seen; `None` if only others have seen more.
    CoordinatorLostData {
        lost: Lost,
        known: Option<Seen>,
        found: Option<Seen>,
    },
    /// For the log: this member writes its record again, under a later epoch.
    Restores {
        epoch: u64,
    },
}

/// What happens to a cluster once every member that holds anything acknowledged is known to have
/// ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unclean {
    /// The cluster stays down until one of them is back with its state, or an operator decides.
    Wait,
    /// Another member begins with nothing. It never uses what it happens to hold, which may be
    /// stale.
    Cold,
    /// As [`Unclean::Cold`], and also without proof of death if no member has led for `after_ms`.
    /// To make this safe, a primary must hear from the coordinator every `confirm_within_ms`, or it
    /// stops answering.
    ColdAfter { after_ms: Millis, confirm_within_ms: Millis },
}

impl Unclean {
    /// Whether a member must hear with each read of the record whether another member leads
    /// ([`Event::Announced`]).
    pub fn asks_who_leads(self) -> bool {
        matches!(self, Unclean::ColdAfter { .. })
    }

    /// How a primary that was started with this is bound.
    fn confirm_within_ms(self) -> Option<Millis> {
        match self {
            Unclean::Wait | Unclean::Cold => None,
            Unclean::ColdAfter { confirm_within_ms, .. } => Some(confirm_within_ms),
        }
    }
}

/// How a member begins if there is nothing to follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Founding {
    /// It may make the first record of a cluster. Otherwise it waits until there is one.
    pub allowed: bool,
    /// For so long it first looks for a record and for members that hold something: after the
    /// coordinator has lost its data, a living member may take so long to be shown as present
    /// again. It waits the same before it begins a later epoch with nothing.
    pub after_ms: Millis,
}

/// What a member is started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// What it goes by until it has seen a record with a timing. A member that founds a cluster
    /// writes this into the first record.
    pub timing: Timing,
    pub pace: Pace,
    pub unclean: Unclean,
    pub founding: Founding,
}

/// The request to the coordinator that is not answered yet.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    /// With what was known at that time. The answer may be older than what was heard since, but not
    /// older than that.
    Read {
        known: Known,
        at: Millis,
    },
    Swap {
        to: ConfigRecord,
        at: Millis,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    Starting,
    Following { primary: Incarnation, epoch: u64 },
    Leading(Box<Leading>),
}

/// A claim that was sent, and may still happen.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Claim {
    expect: Option<Versioned>,
    to: ConfigRecord,
    /// A living primary may go on to answer for so long after this claim.
    wait_ms: Millis,
    /// When this member learned that the claim has happened.
    won_at: Option<Millis>,
}

/// Each of several reads showed that no member leads, and the same record: a changed record would
/// be a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Vacancy {
    revision: u64,
    since: Millis,
    seen: Millis,
}

/// Each of several reads showed this, without a long pause between them: a member that stood still
/// has not looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stretch {
    since: Millis,
    seen: Millis,
}

impl Stretch {
    /// It is still so at `now`. A first read counts from its answer, since the host may have stood
    /// still after it was sent.
    fn goes_on(before: Option<Stretch>, now: Millis, pause_max: Millis) -> Stretch {
        let since = before.filter(|before| now <= before.seen + pause_max).map_or(now, |before| before.since);
        Stretch { since, seen: now }
    }
}

#[derive(Clone, Debug)]
pub struct Election {
    me: Incarnation,
    cluster_id: u128,
    /// The timing in the newest record that has one.
    timing: Timing,
    pace: Pace,
    unclean: Unclean,
    founding: Founding,
    phase: Phase,
    asked: Asked,
    ask_again_at: Millis,
    /// The record is not known for sure: it must be read before anything is proposed.
    unsure: bool,
    /// The coordinator has lost data, by its newest answer.
    lost: Option<Lost>,
    /// The store that answered last, and since when every answer came from it.
    store: u64,
    store_since: Millis,
    /// Since when there was no record, and no present member held anything.
    emptiness: Option<Stretch>,
    /// Since when this member itself was shown as present.
    presence: Option<Stretch>,
    claim: Option<Claim>,
    heard_ms: Millis,
    /// After this moment no primary relies on an answer of this member. At the start, one tenure
    /// from now: it may have answered before it was started.
    free_ms: Millis,
    known: Known,
    held: u64,
    /// The last epoch that this member began with nothing.
    born: u64,
    /// No primary up to this epoch answers any more, so this member need not wait for one.
    vacant_epoch: u64,
    /// What the coordinator last announced about who leads, until the record comes: an epoch, or 0
    /// if no member leads.
    announced: Option<u64>,
    vacancy: Option<Vacancy>,
    /// The members of the newest record that have ended for good.
    dead: BTreeSet<Incarnation>,
    retired: bool,
    sound: bool,
    /// As the primary: when to check whether the record is still the one under which it leads.
    look_at: Millis,
}

impl Election {
    /// A member that holds nothing yet. `cluster_id` is for the record, if this member creates it.
    pub fn new(me: Incarnation, cluster_id: u128, start: Start, now: Millis) -> Election {
        let Start { timing, pace, unclean, founding } = start;
        Election {
            me,
            cluster_id,
            timing,
            pace,
            unclean,
            founding,
            phase: Phase::Starting,
            asked: Asked::Nothing,
            ask_again_at: now,
            unsure: true,
            lost: None,
            store: 0,
            store_since: now,
            emptiness: None,
            presence: None,
            claim: None,
            heard_ms: now,
            free_ms: now + timing.takeover_wait_ms(),
            known: Known::default(),
            held: 0,
            born: 0,
            vacant_epoch: 0,
            announced: None,
            vacancy: None,
            dead: BTreeSet::new(),
            retired: false,
            sound: true,
            look_at: now,
        }
    }

    fn leading(&self) -> Option<&Leading> {
        match &self.phase {
            Phase::Leading(leading) => Some(leading),
            Phase::Starting | Phase::Following { .. } => None,
        }
    }

    /// The timing of the cluster, once a pending change is through.
    pub fn timing_to_be(&self) -> Timing {
        self.leading().and_then(Leading::wanted).unwrap_or(self.timing)
    }

    /// The timing that this member goes by: from the newest record that it has seen.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The last epoch that this member began with nothing, because every member that held anything
    /// acknowledged was lost. What it held before may be stale, and must be dropped before anything
    /// else is done with it, whether this member still leads that epoch by then, follows, or leads
    /// a later one. 0: there was none.
    pub fn born(&self) -> u64 {
        self.born
    }

    pub fn unclean(&self) -> Unclean {
        self.unclean
    }

    /// The epoch in which this member leads.
    pub fn leads(&self) -> Option<u64> {
        self.leading().map(Leading::epoch)
    }

    /// Answers may go out before this moment, as far as is known. Checked after the work, right
    /// before the answer goes out. 0: never.
    pub fn tenure_until(&self) -> Millis {
        self.leading().map_or(0, |leading| leading.tenure_until(&self.timing))
    }

    /// Whether an answer may go out right now.
    pub fn may_answer(&self, now: Millis) -> bool {
        now < self.tenure_until() || self.tenure_until() == Millis::MAX
    }

    /// The record under which this member leads.
    pub fn record(&self) -> Option<&Versioned> {
        self.leading().map(|leading| &leading.known)
    }

    /// As the primary: what a peer has received, and the send time of the newest beacon that it
    /// answered.
    pub fn peer(&self, who: Incarnation) -> Option<(u64, Millis)> {
        self.leading().and_then(|leading| leading.peer(who))
    }

    /// As the primary: whether `who` could take over if this member resigned now. Ask right before
    /// the resignation.
    pub fn may_succeed(&self, who: Incarnation) -> bool {
        self.leading().is_some_and(|leading| leading.may_succeed(who))
    }

    /// As the primary: for how long at most a peer has lacked an entry.
    pub fn peer_lag_ms(&self, who: Incarnation, now: Millis) -> Option<Millis> {
        self.leading().and_then(|leading| leading.lag_ms(who, now))
    }

    /// As the primary: the log must be kept from here on for the peers of the set. `None`: no peer
    /// needs any of it.
    pub fn needed_seq(&self) -> Option<u64> {
        self.leading().and_then(Leading::needed_seq)
    }

    /// The newest that this member knows of its cluster. It goes into its presence, so that no
    /// other member founds a second cluster. `None`: it has seen no record.
    pub fn seen(&self) -> Option<Seen> {
        self.known.seen()
    }

    /// How the coordinator has lost data, by its newest answer.
    pub fn lost(&self) -> Option<Lost> {
        self.lost
    }

    pub fn committed(&self) -> Option<u64> {
        self.leading().map(Leading::committed)
    }

    /// A claim is pending: this member may still come to lead, even after [`Event::Retire`].
    pub fn claims(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether a message of the primary of `epoch` would be accepted and answered. Asked before its
    /// entries are touched.
    pub fn would_answer(&self, epoch: u64) -> bool {
        epoch >= self.known.epoch && self.claim.is_none() && self.leading().is_none() && !self.retired
    }

    pub fn on_event(&mut self, event: Event, now: Millis, out: &mut Vec<Action>) {
        match event {
            Event::Tick => self.on_tick(now, out),
            Event::FellBehind(more_ms) => self.on_fell_behind(more_ms),
            Event::Read(look) => self.on_read(look, now, out),
            Event::Swapped(revision) => self.on_swapped(revision, now, out),
            Event::SwapRefused => self.on_undecided(now),
            Event::NoAnswer => {
                if matches!(self.asked, Asked::Swap { .. }) {
                    // The coordinator may be in trouble. Then a primary could not announce itself,
                    // either.
                    self.vacancy = None;
                }
                self.on_undecided(now + self.pace.ask_again_ms);
            }
            Event::Heard { from, epoch, version, sent_ms, tenure_ms } => {
                self.on_heard(from, (epoch, version), (sent_ms, tenure_ms), now, out);
            }
            Event::StreamBroken { from, epoch } => {
                if self.phase == (Phase::Following { primary: from, epoch }) {
                    self.heard_ms = self.heard_ms.min(now.saturating_sub(self.timing.silence_ms));
                }
            }
            Event::Answered { from, epoch, received, applied, echo_ms, sound } => {
                self.is_alive(from, epoch);
                if let Phase::Leading(leading) = &mut self.phase
                    && leading.epoch() == epoch
                    && leading.on_answered(from, Answer { received, applied, echo_ms, sound }, now)
                {
                    out.push(Action::Commit { upto: leading.committed() });
                }
            }
            Event::PeerGone { who, epoch } => {
                if let Phase::Leading(leading) = &mut self.phase
                    && leading.epoch() == epoch
                {
                    leading.on_gone(who, now);
                }
            }
            Event::Appended(seq) => {
                self.held = seq;
                if let Phase::Leading(leading) = &mut self.phase
                    && leading.on_appended(seq)
                {
                    out.push(Action::Commit { upto: leading.committed() });
                }
            }
            Event::Received(seq) => self.held = seq,
            Event::Hint => self.on_hint(now),
            Event::LaterEpoch { epoch, .. } if epoch > self.known.epoch => self.on_hint(now),
            Event::LaterEpoch { .. } => {}
            Event::Announced { .. } | Event::NobodyAnnounced if self.leading().is_some() => {}
            Event::Announced { epoch } => {
                self.known.hear(epoch, 0);
                self.announced = Some(epoch);
            }
            Event::NobodyAnnounced => self.announced = Some(0),
            Event::Sound(sound) => self.sound = sound,
            Event::Retime(timing) => {
                if let Phase::Leading(leading) = &mut self.phase {
                    leading.want(timing);
                }
            }
            Event::Resign => self.on_resign(now, out),
            Event::Retire => self.retired = true,
            Event::Resigned { from, epoch } => {
                if self.phase == (Phase::Following { primary: from, epoch }) {
                    self.on_vacant(epoch, now);
                    // This runs at once, since clients wait.
                    self.on_tick(now, out);
                }
            }
            Event::ProvenDead(who) => {
                self.dead.insert(who);
                if let Phase::Following { primary, epoch } = self.phase
                    && primary == who
                {
                    self.on_vacant(epoch, now);
                }
            }
        }
    }

    /// Waits that must outlast another member's time may have begun later than counted, so they are
    /// extended.
    fn on_fell_behind(&mut self, more_ms: Millis) {
        let later = |since: &mut Millis| *since = since.saturating_add(more_ms);
        later(&mut self.free_ms);
        later(&mut self.store_since);
        self.claim.iter_mut().filter_map(|claim| claim.won_at.as_mut()).for_each(later);
        self.vacancy.iter_mut().for_each(|vacancy| later(&mut vacancy.since));
        self.emptiness.iter_mut().chain(&mut self.presence).for_each(|stretch| later(&mut stretch.since));
    }

    /// Its last answers are out, or never go out. If no other member takes over, it may claim again
    /// like any member.
    fn on_resign(&mut self, now: Millis, out: &mut Vec<Action>) {
        let Phase::Leading(leading) = &self.phase else { return };
        let (epoch, primary) = (leading.epoch(), leading.known.record.primary);
        self.phase = Phase::Following { primary, epoch };
        // No message will come until another member leads: read the record at once, and again and
        // again.
        self.heard_ms = now.saturating_sub(self.timing.silence_ms);
        self.free_ms = self.free_ms.max(now + self.timing.takeover_wait_ms());
        out.push(Action::Depose { epoch, by: epoch });
    }

    fn on_hint(&mut self, now: Millis) {
        if self.leading().is_some() {
            // Its own swaps tell the primary nearly everything, and fail if another member has led
            // since.
            self.look_at = self.look_at.min(now);
            return;
        }
        self.unsure = true;
        self.ask_again_at = self.ask_again_at.min(now);
    }

    /// The proof of death was wrong, or will be found again soon.
    fn is_alive(&mut self, who: Incarnation, epoch: u64) {
        if self.dead.remove(&who) {
            self.vacant_epoch = self.vacant_epoch.min(epoch.saturating_sub(1));
        }
    }

    fn on_vacant(&mut self, epoch: u64, now: Millis) {
        self.vacant_epoch = self.vacant_epoch.max(epoch);
        self.heard_ms = self.heard_ms.min(now.saturating_sub(self.timing.silence_ms));
        self.ask_again_at = self.ask_again_at.min(now);
    }

    fn on_tick(&mut self, now: Millis, out: &mut Vec<Action>) {
        if let Phase::Leading(leading) = &self.phase
            && leading.is_to_step_aside(now, &self.timing)
            // With lost data no member could take over. And while this one announces that it leads,
            // no member takes this for a new cluster.
            && self.lost.is_none()
        {
            out.push(Action::Unconfirmed { epoch: leading.epoch() });
            self.on_resign(now, out);
        }
        if self.asked != Asked::Nothing || now < self.ask_again_at {
            return;
        }
        let silent = now >= self.heard_ms + self.timing.silence_ms;
        match &mut self.phase {
            _ if self.unsure => self.read(now, out),
            Phase::Starting => self.read(now, out),
            Phase::Following { .. } if silent || self.claim.is_some() => self.read(now, out),
            Phase::Following { .. } => {}
            Phase::Leading(leading) => {
                if let Some(to) = leading.wanted_change(now, &self.timing) {
                    leading.on_proposed(to.clone());
                    let expect = Some(leading.known.clone());
                    self.swap(expect, to, now, out);
                } else if now >= self.look_at || leading.is_to_look_first() {
                    self.read(now, out);
                }
            }
        }
    }

    fn read(&mut self, now: Millis, out: &mut Vec<Action>) {
        self.look_at = now + self.pace.look_every_ms;
        self.asked = Asked::Read { known: self.known, at: now };
        out.push(Action::Read);
    }

    fn swap(&mut self, expect: Option<Versioned>, to: ConfigRecord, now: Millis, out: &mut Vec<Action>) {
        let to = to.in_store(self.store);
        self.asked = Asked::Swap { to: to.clone(), at: now };
        out.push(Action::Swap { expect, to });
    }

    /// The swap was refused, or its outcome is unknown: only the record can tell.
    fn on_undecided(&mut self, ask_again_at: Millis) {
        self.asked = Asked::Nothing;
        // A refused first record means that there is a record.
        self.emptiness = None;
        self.unsure = true;
        self.ask_again_at = ask_again_at;
    }

    fn on_swapped(&mut self, revision: u64, now: Millis, out: &mut Vec<Action>) {
        let Asked::Swap { to: record, at } = std::mem::replace(&mut self.asked, Asked::Nothing) else { return };
        self.learn(Versioned { record, revision }, at, now, out);
    }

    fn on_read(&mut self, look: Look, now: Millis, out: &mut Vec<Action>) {
        let Asked::Read { known: then, at } = std::mem::replace(&mut self.asked, Asked::Nothing) else { return };
        self.ask_again_at = now + self.pace.ask_again_ms;
        if self.store != look.store {
            (self.store, self.store_since) = (look.store, now);
        }
        let goes_on = |before| Stretch::goes_on(before, now, self.look_pause_max());
        self.presence = look.is_present.then(|| goes_on(self.presence));
        self.note_vacancy(look.record.as_ref(), now);
        let shown = self.known.judge(&look, then);
        if shown != Shown::Nothing || !look.is_present {
            self.emptiness = None;
        }
        match self.as_primary(shown, look.record.as_ref()) {
            Shown::Current(known) => {
                let was_due = self.leading().is_some_and(Leading::is_to_look_first);
                self.learn(known, at, now, out);
                if was_due && !self.leading().is_some_and(Leading::is_to_look_first) {
                    // Commits wait for the change that waited for this read.
                    self.ask_again_at = now;
                }
            }
            Shown::Nothing if look.is_present => self.found(now, out),
            Shown::Nothing => {}
            Shown::Outrun => self.unsure = true,
            Shown::Lost(lost) => self.on_lost(lost, look.record, now, out),
        }
    }

    /// A primary knows the record of its own version exactly. It yields, whatever the version, to a
    /// member that all of its commits have waited for. It does not yield to another member that
    /// leads by a record which does not follow from its own.
    fn as_primary(&mut self, shown: Shown, found: Option<&Versioned>) -> Shown {
        let Phase::Leading(leading) = &self.phase else { return shown };
        let Some(found) = found.filter(|_| shown != Shown::Lost(Lost::AnotherCluster)) else { return shown };
        let known = &leading.known.record;
        let is_later = found.record.epoch > known.epoch;
        // An epoch has one primary. Only an edit of the coordinator's data can have written another
        // one into it.
        if !is_later && found.record.primary != self.me {
            return Shown::Lost(Lost::RolledBack);
        }
        if found.record.version > known.version && !matches!(shown, Shown::Lost(_)) {
            return shown;
        }
        if is_later && leading.waits_for(found.record.primary) {
            self.known = Known { cluster_id: Some(found.record.cluster_id), ..Known::default() };
            return Shown::Current(found.clone());
        }
        match shown {
            Shown::Current(found) if found.record != *known => Shown::Lost(Lost::RolledBack),
            shown => shown,
        }
    }

    /// Nothing is claimed on lost data. A primary that may answer now writes its record again: see
    /// [`Leading::may_restore`].
    fn on_lost(&mut self, lost: Lost, found: Option<Versioned>, now: Millis, out: &mut Vec<Action>) {
        (self.lost, self.unsure) = (Some(lost), true);
        let seen = |found: &Versioned| found.record.seen();
        out.push(Action::CoordinatorLostData { lost, known: self.known.seen(), found: found.as_ref().map(seen) });
        let Phase::Leading(leading) = &self.phase else { return };
        // If there are two clusters, neither yields: an operator decides. If the store is a new
        // one, it may run beside the old one, which other members may still see. So it must have
        // answered alone for a while.
        let is_same_store = leading.known.record.store == self.store;
        let has_settled = now >= self.store_since.saturating_add(self.founding.after_ms);
        let may_restore = (is_same_store || has_settled) && leading.may_restore(now, &self.timing);
        if lost == Lost::AnotherCluster || self.retired || !may_restore {
            return;
        }
        let to = leading.known.record.restored(found.as_ref().map(|found| &found.record));
        out.push(Action::Restores { epoch: to.epoch });
        self.claim(found, to, 0, now, out);
    }

    /// The longest pause between two reads of one stretch.
    fn look_pause_max(&self) -> Millis {
        (self.founding.after_ms / 4).max(5 * self.pace.ask_again_ms)
    }

    /// There is no record, and no present member has seen one.
    fn found(&mut self, now: Millis, out: &mut Vec<Action>) {
        let Founding { allowed, after_ms } = self.founding;
        if !allowed || self.retired {
            return;
        }
        let stretch = Stretch::goes_on(self.emptiness, now, self.look_pause_max());
        self.emptiness = Some(stretch);
        if now >= stretch.since.saturating_add(after_ms) {
            let to = ConfigRecord::first(self.cluster_id, self.me, 1).timed(self.timing);
            self.claim(None, to, 0, now, out);
        }
    }

    /// An announcement counts for as long as it is repeated: this member itself may have stood
    /// still.
    fn note_vacancy(&mut self, found: Option<&Versioned>, now: Millis) {
        let Unclean::ColdAfter { after_ms, .. } = self.unclean else { return };
        // Some reads come without an announcement.
        let Some(announced) = self.announced.take() else { return };
        self.vacancy = found.filter(|known| announced < known.record.epoch).map(|known| {
            let revision = known.revision;
            let goes_on = |before: &Vacancy| before.revision == revision && now <= before.seen + after_ms / 4;
            let since = self.vacancy.filter(goes_on).map_or(now, |before| before.since);
            Vacancy { revision, since, seen: now }
        });
    }

    /// No member has led for so long that this one may begin anew. Returns for how long a primary
    /// that still lives may go on to answer.
    fn left_alone(&self, known: &Versioned, now: Millis) -> Option<Millis> {
        let Unclean::ColdAfter { after_ms, .. } = self.unclean else { return None };
        let within = known.record.confirm_within_ms?;
        let vacancy = self.vacancy.filter(|vacancy| (vacancy.revision, vacancy.seen) == (known.revision, now))?;
        // Longer than the winner of such a claim waits before it announces itself.
        let after_ms = after_ms.max(within.saturating_mul(2));
        (now >= vacancy.since.saturating_add(after_ms)).then(|| outlasts_ms(within))
    }

    /// `asked_ms`: when the request was sent that this answers.
    fn learn(&mut self, known: Versioned, asked_ms: Millis, now: Millis, out: &mut Vec<Action>) {
        let epoch = known.record.epoch;
        self.known.learn(&known.record);
        (self.unsure, self.lost) = (false, None);
        self.go_by(known.record.timing, now);
        if let Some(claim) =
            self.claim.as_mut().filter(|claim| claim.to.epoch == epoch && known.record.primary == self.me)
        {
            let won_at = *claim.won_at.get_or_insert(now);
            if now >= won_at.saturating_add(claim.wait_ms) {
                self.lead(known, asked_ms, now, out);
            }
            return;
        }
        if self.claim.as_ref().is_some_and(|claim| claim.expect.as_ref() != Some(&known)) {
            // The record has changed: that claim can't happen any more.
            self.claim = None;
        }
        if let Phase::Leading(leading) = &mut self.phase {
            if epoch == leading.epoch() {
                if leading.on_known(known, asked_ms, now) {
                    out.push(Action::Commit { upto: leading.committed() });
                }
                return;
            }
            out.push(Action::Depose { epoch: leading.epoch(), by: epoch });
            self.heard_ms = now;
            self.follow(&known.record, out);
            return;
        }
        self.consider(known, now, out);
    }

    fn go_by(&mut self, said: Option<Timing>, now: Millis) {
        let Some(timing) = said.filter(|said| *said != self.timing) else { return };
        let before = std::mem::replace(&mut self.timing, timing);
        if let Phase::Leading(leading) = &mut self.phase {
            leading.on_timing((&before, &timing), now);
        }
    }

    /// What a record that another member wrote means for this member.
    fn consider(&mut self, known: Versioned, now: Millis, out: &mut Vec<Action>) {
        let silent = now >= self.heard_ms + self.timing.silence_ms;
        let may_claim = known.record.insync.contains(&self.me) && self.sound;
        self.dead.retain(|who| known.record.insync.contains(who));
        let all_lost = known.record.insync.iter().all(|who| self.dead.contains(who));
        let first_look = self.phase == Phase::Starting;
        if first_look || !matches!(self.phase, Phase::Following { epoch, .. } if epoch == known.record.epoch) {
            self.follow(&known.record, out);
        }
        let begins_anew_after = match self.unclean {
            _ if self.retired => None,
            Unclean::Wait => None,
            Unclean::Cold | Unclean::ColdAfter { .. } if all_lost => Some(known.record.outlasts_last_ms()),
            Unclean::Cold => None,
            Unclean::ColdAfter { .. } => self.left_alone(&known, now).filter(|_| !may_claim),
        };
        if let Some(wait_ms) = begins_anew_after {
            let since = self.presence.map_or(now, |presence| presence.since);
            if now < since.saturating_add(self.founding.after_ms) {
                self.unsure = true;
                return;
            }
            let to = known.record.reborn(self.me);
            return self.claim(Some(known), to, wait_ms, now, out);
        }
        if self.retired || !may_claim {
            // An abandoned claim must be cancelled: while it may still happen, no primary is
            // answered.
            if self.claim.is_some() {
                let to = known.record.renewed();
                self.swap(Some(known), to, now, out);
            }
            return;
        }
        if !silent && self.claim.is_none() {
            return;
        }
        let vacant = known.record.epoch <= self.vacant_epoch || self.dead.contains(&known.record.primary);
        if now < self.free_ms && !vacant {
            self.ask_again_at = self.free_ms.min(self.ask_again_at);
            self.unsure = true;
            return;
        }
        let to = known.record.promoted(self.me);
        self.claim(Some(known), to, 0, now, out);
    }

    fn claim(
        &mut self,
        expect: Option<Versioned>,
        to: ConfigRecord,
        wait_ms: Millis,
        now: Millis,
        out: &mut Vec<Action>,
    ) {
        // The primary that this claim waits for may outlive this member. So the record says for how
        // long the next member must wait.
        let inherited = to.confirm_within_ms.filter(|_| wait_ms > 0);
        let to = to.confirmed_within(self.unclean.confirm_within_ms().max(inherited));
        self.claim = Some(Claim { expect: expect.clone(), to: to.clone(), wait_ms, won_at: None });
        self.swap(expect, to, now, out);
    }

    fn follow(&mut self, record: &ConfigRecord, out: &mut Vec<Action>) {
        self.phase = Phase::Following { primary: record.primary, epoch: record.epoch };
        out.push(Action::Follow { primary: record.primary, epoch: record.epoch });
    }

    fn lead(&mut self, known: Versioned, confirmed_ms: Millis, now: Millis, out: &mut Vec<Action>) {
        let epoch = known.record.epoch;
        if let Phase::Leading(before) = &self.phase {
            // It has written its record again: pending calls are decided anew in the later epoch.
            out.push(Action::Depose { epoch: before.epoch(), by: epoch });
        }
        self.claim = None;
        self.dead.clear();
        self.vacancy = None;
        // In a cluster's first epoch there was nothing before, and the member that creates the
        // record holds nothing.
        if known.record.begins_anew() {
            self.born = epoch;
            self.held = 0;
            self.sound = true;
        }
        self.phase = Phase::Leading(Box::new(Leading::new(self.me, (known, confirmed_ms), self.held, now)));
        out.push(Action::Lead { epoch });
    }

    /// Every answer lets the primary answer clients for a tenure. So this member answers neither
    /// while its claim may still happen, nor a primary whose epoch is known to be over.
    fn on_heard(
        &mut self,
        from: Incarnation,
        (epoch, version): (u64, u64),
        (sent_ms, tenure_ms): (Millis, Millis),
        now: Millis,
        out: &mut Vec<Action>,
    ) {
        self.is_alive(from, epoch);
        if epoch < self.known.epoch || self.claim.is_some() {
            return;
        }
        if let Phase::Leading(leading) = &self.phase {
            if epoch > leading.epoch() {
                self.unsure = true;
                self.ask_again_at = now;
            }
            return;
        }
        if self.retired || !(1..=Timing::TENURE_MS_MAX).contains(&tenure_ms) {
            return;
        }
        self.known.hear(epoch, version);
        self.vacancy = None;
        self.heard_ms = now;
        let granted_ms = now + outlasts_ms(tenure_ms);
        // A primary that asks for less relies on no more from earlier answers.
        let is_same = self.phase == Phase::Following { primary: from, epoch };
        self.free_ms = if is_same { granted_ms } else { self.free_ms.max(granted_ms) };
        if self.phase != (Phase::Following { primary: from, epoch }) {
            self.phase = Phase::Following { primary: from, epoch };
            out.push(Action::Follow { primary: from, epoch });
        }
        out.push(Action::Answer { epoch, echo_ms: sent_ms });
    }
}

#[cfg(test)]
#[path = "election_test.rs"]
mod tests;
