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
//! - A member that claims has waited out the tenure that it gave by its newest answer: a message
//!   says for how long its answer lets the primary answer clients, and a primary that asks for less
//!   counts on no more by an earlier one. So by then the one that led before has none, whatever the
//!   record says. The member answers no other one until its claim is decided.
//! - Claims and changes of the set compare the same revision: exactly one wins.
//! - A swap whose outcome is unknown may still happen, until the record has moved on. Nothing rests
//!   on its failure.
//! - Only a primary that is known to answer nobody any more is not waited for: it said so itself,
//!   in its last message, or the kernel says that its process has ended. Silence and broken streams
//!   prove nothing.
//! - A member whose state is not what its log says claims nothing, and leaves the set.
//! - A primary looks at the record now and then: somebody may have led since, of whom it has heard
//!   nothing. Where the record bounds it by the coordinator and nobody answers in time, it makes
//!   way for the others of the set.
//! - A member that knows of something newer than the coordinator shows claims nothing on that. A
//!   primary that may answer at that moment writes the record again, under a later epoch; it makes
//!   way only for a member that it has waited for with every commit.
//! - A first record is made only where no member that is present holds anything, looked at for as
//!   long as a member that lives may need to be seen again.
//! - Whoever was not in the set begins only with nothing, and only when all who were are known to
//!   have ended; or, where the record bounds its primary by the coordinator, when nobody has led
//!   for long. Such a claim may meet a living primary, so whoever wins it leads only when that
//!   one's last confirmation is too old for any answer.
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
    /// Of the time that `now` has counted, so much more may not have passed
    /// ([`crate::Moment::behind_ms`]). Comes before whatever else happens at that moment.
    FellBehind(Millis),
    /// The coordinator's answer to [`Action::Read`].
    Read(Look),
    /// Somebody who is alive says at the coordinator that it leads this epoch. Comes before the
    /// answer to the read. To be looked for under [`Unclean::ColdAfter`].
    Announced { epoch: u64 },
    /// Nobody says so. Likewise.
    NobodyAnnounced,
    /// [`Action::Swap`] has happened, with this revision.
    Swapped(u64),
    /// The record had another revision: this swap will never happen.
    SwapRefused,
    /// No answer, an error, a time-out. A swap may have happened, or still happen.
    NoAnswer,
    /// As a standby: a message of the primary of `epoch`, which leads under this version of the
    /// record, sent at `sent_ms` of its clock. Answered, it lets that one answer clients until
    /// `tenure_ms` after that.
    Heard { from: Incarnation, epoch: u64, version: u64, sent_ms: Millis, tenure_ms: Millis },
    /// As a standby: the stream from the primary of `epoch` broke. A reason to hurry, no proof of
    /// anything.
    StreamBroken { from: Incarnation, epoch: u64 },
    /// As the primary: a peer of this epoch holds everything up to `received`, of which its state
    /// has what is up to `applied`, and answers what was sent at `echo_ms`. It is not `sound` while
    /// its state is not what the log says: then it must not be in the set.
    Answered { from: Incarnation, epoch: u64, received: u64, applied: u64, echo_ms: Millis, sound: bool },
    /// As the primary: the stream from a peer of this epoch broke, and no other one of it is open.
    PeerGone { who: Incarnation, epoch: u64 },
    /// As the primary: the own log reaches up to here.
    Appended(u64),
    /// As a standby: what is held now, on disk or in memory.
    Held(u64),
    /// Whether this member's own state is what its log says, for all that is known. While it is
    /// not, it claims nothing.
    Sound(bool),
    /// The coordinator says that the record may have changed: a hint, which may come late, for
    /// nothing, or not at all.
    Hint,
    /// Another member, which has proven who it is, knows of a later epoch: a reason to look at the
    /// record, and no more.
    LaterEpoch { from: Incarnation, epoch: u64 },
    /// As the primary: an operator wants all members to go by this. Done when [`Member::timing`]
    /// says so. It is valid.
    Retime(Timing),
    /// As the primary: lead no more. Somebody in the set is told so, and may take over at once.
    Resign,
    /// This process is about to end. It answers no peer and claims nothing from here on, so that it
    /// leaves the set while others can still take it out; a member that leads does so once it stops
    /// leading. It goes on to look who leads. A claim that is under way is decided all the same.
    Retire,
    /// As a standby: the primary of `epoch` said in its last message that it answers nobody any
    /// more, and left it to this member to take over.
    Resigned { from: Incarnation, epoch: u64 },
    /// The process that was this incarnation has ended. Proof, not a guess; taken back when that
    /// incarnation is heard.
    ProvenDead(Incarnation),
}

#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and gone as soon as they are looked at")]
pub enum Action {
    Read,
    /// Compare with the record and its revision (`None`: there is no record), and swap.
    Swap {
        expect: Option<Versioned>,
        to: ConfigRecord,
    },
    /// Be a standby of this primary.
    Follow {
        primary: Incarnation,
        epoch: u64,
    },
    /// Tell the primary that its message has come, and what is held.
    Answer {
        epoch: u64,
        echo_ms: Millis,
    },
    /// Be the primary: all that is held is committed, alone. Apply it, begin the epoch in the log,
    /// serve. What was held before [`Member::born`] is dropped first.
    Lead {
        epoch: u64,
    },
    /// Everything up to here may be acknowledged, while the tenure lasts.
    Commit {
        upto: u64,
    },
    /// Not the primary any more: acknowledge nothing, discard what was never committed.
    Depose {
        epoch: u64,
        by: u64,
    },
    /// For people: it leads no more, since the coordinator has not confirmed in time that it does.
    /// [`Action::Depose`] follows.
    Unconfirmed {
        epoch: u64,
    },
    /// For people: what the coordinator shows is not what was seen. `known`: by this member;
    /// nothing where it has seen nothing and others have.
    CoordinatorLostData {
        lost: Lost,
        known: Option<Seen>,
        found: Option<Seen>,
    },
    /// For people: this member writes its record again, under a later epoch.
    Restores {
        epoch: u64,
    },
}

/// What becomes of a cluster of which every member that held anything acknowledged is known to have
/// ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unclean {
    /// It stays down until one of them is back with its state, or a person decides.
    Wait,
    /// Another member begins with nothing. Never with what it happens to hold: that may be stale.
    Cold,
    /// As [`Unclean::Cold`], and also where nobody knows that they have ended, but nobody has led
    /// for `after_ms`. So that this is safe, a primary must hear from the coordinator every
    /// `confirm_within_ms`, or it stops answering.
    ColdAfter { after_ms: Millis, confirm_within_ms: Millis },
}

impl Unclean {
    /// Whether a member must hear at each look at the record whether somebody leads
    /// ([`Event::Announced`]).
    pub fn asks_who_leads(self) -> bool {
        matches!(self, Unclean::ColdAfter { .. })
    }

    /// How a primary is bound that was started with this.
    fn confirm_within_ms(self) -> Option<Millis> {
        match self {
            Unclean::Wait | Unclean::Cold => None,
            Unclean::ColdAfter { confirm_within_ms, .. } => Some(confirm_within_ms),
        }
    }
}

/// How a member begins where nothing is there that it could follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Founding {
    /// It may make the first record of a cluster. Else it waits until there is one.
    pub allowed: bool,
    /// For so long it looks first, for a record and for members that hold something: after the
    /// coordinator has lost its data, a member that lives may take so long to be seen again. Also
    /// before it begins a later epoch with nothing.
    pub after_ms: Millis,
}

/// What a member is started with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Start {
    /// What it goes by until it has seen a record that says what all go by; the first record of a
    /// cluster says this.
    pub timing: Timing,
    pub pace: Pace,
    pub unclean: Unclean,
    pub founding: Founding,
}

/// What has been asked of the coordinator and not answered yet.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    /// With what was known then. An answer may be older than what was heard since, but not than
    /// that.
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
enum Role {
    Starting,
    Following { primary: Incarnation, epoch: u64 },
    Leading(Box<Leading>),
}

/// A claim that was sent, and may still happen.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Claim {
    expect: Option<Versioned>,
    to: ConfigRecord,
    /// It may have met a primary that goes on to answer for so long.
    wait_ms: Millis,
    /// When it was known to have happened.
    won_at: Option<Millis>,
}

/// Nobody led when the coordinator was asked, again and again, and the record was the same: a
/// change would be a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Vacancy {
    revision: u64,
    since: Millis,
    seen: Millis,
}

/// It was so each time that the coordinator was asked, and it was asked again and again: a member
/// that stood still has not looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stretch {
    since: Millis,
    seen: Millis,
}

impl Stretch {
    /// So it was at `now` again. A first look counts from its answer: the host may have stood still
    /// since the question.
    fn goes_on(before: Option<Stretch>, now: Millis, pause_max: Millis) -> Stretch {
        let since = before.filter(|before| now <= before.seen + pause_max).map_or(now, |before| before.since);
        Stretch { since, seen: now }
    }
}

#[derive(Clone, Debug)]
pub struct Member {
    me: Incarnation,
    cluster_id: u128,
    /// That of the newest record that said one.
    timing: Timing,
    pace: Pace,
    unclean: Unclean,
    founding: Founding,
    role: Role,
    asked: Asked,
    ask_again_at: Millis,
    /// Something about the record is not known for sure: read it before anything is proposed.
    unsure: bool,
    /// The coordinator has lost data, for all that was heard last.
    lost: Option<Lost>,
    /// The store that answered last, and since when each answer was its.
    store: u64,
    store_since: Millis,
    /// There was no record, and no member that held anything.
    emptiness: Option<Stretch>,
    /// This member itself was shown as present.
    presence: Option<Stretch>,
    claim: Option<Claim>,
    heard_ms: Millis,
    /// From here on no primary counts on an answer of this member. At the start: a tenure from now,
    /// for all it knows.
    free_ms: Millis,
    known: Known,
    held: u64,
    /// The last epoch that it began with nothing.
    born: u64,
    /// No primary up to this epoch answers anybody any more, and this member may say so.
    vacant_epoch: u64,
    /// What the coordinator said last of who leads, until the record comes: an epoch, or 0 for
    /// nobody.
    announced: Option<u64>,
    vacancy: Option<Vacancy>,
    /// Those of the last record seen that have ended for good.
    dead: BTreeSet<Incarnation>,
    retired: bool,
    sound: bool,
    /// As the primary: when to look whether the record is still the one that it leads under.
    look_at: Millis,
}

impl Member {
    /// With nothing held yet. `cluster_id` is for the record, should this member create it.
    pub fn new(me: Incarnation, cluster_id: u128, start: Start, now: Millis) -> Member {
        let Start { timing, pace, unclean, founding } = start;
        Member {
            me,
            cluster_id,
            timing,
            pace,
            unclean,
            founding,
            role: Role::Starting,
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
        match &self.role {
            Role::Leading(leading) => Some(leading),
            Role::Starting | Role::Following { .. } => None,
        }
    }

    /// What all members are to go by, once a change that is under way is through.
    pub fn timing_to_be(&self) -> Timing {
        self.leading().and_then(Leading::wanted).unwrap_or(self.timing)
    }

    /// What this member goes by: what the newest record says that it has seen.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The last epoch that this member began with nothing, since everybody who held anything
    /// acknowledged was lost. What it held before may be stale, and is to be dropped before
    /// anything else is done with it: whether it still leads that epoch by then, follows somebody,
    /// or leads a later one. 0: there was none.
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

    /// Before this moment answers may go out, for all that is known now. To be looked at after the
    /// work, right before the answer. 0: never.
    pub fn tenure_until(&self) -> Millis {
        self.leading().map_or(0, |leading| leading.tenure_until(&self.timing))
    }

    /// Whether an answer may go out right now.
    pub fn may_answer(&self, now: Millis) -> bool {
        now < self.tenure_until() || self.tenure_until() == Millis::MAX
    }

    /// The record that this member leads under.
    pub fn record(&self) -> Option<&Versioned> {
        self.leading().map(|leading| &leading.known)
    }

    /// As the primary: what a peer has received, and when the beacon was sent that it answered
    /// last.
    pub fn peer(&self, who: Incarnation) -> Option<(u64, Millis)> {
        self.leading().and_then(|leading| leading.peer(who))
    }

    /// As the primary: whether `who` could take over, should this member resign now. To be asked
    /// right before.
    pub fn may_succeed(&self, who: Incarnation) -> bool {
        self.leading().is_some_and(|leading| leading.may_succeed(who))
    }

    /// As the primary: for how long a peer has lacked something, at most.
    pub fn peer_lag_ms(&self, who: Incarnation, now: Millis) -> Option<Millis> {
        self.leading().and_then(|leading| leading.lag_ms(who, now))
    }

    /// As the primary: from where on its log must be kept for the peers of the set. `None`: nobody
    /// needs any of it.
    pub fn needed_seq(&self) -> Option<u64> {
        self.leading().and_then(Leading::needed_seq)
    }

    /// The newest that this member knows of its cluster: for its presence, so that no other member
    /// founds a second one. `None`: it has seen no record.
    pub fn seen(&self) -> Option<Seen> {
        self.known.seen()
    }

    /// How the coordinator has lost data, for all that it said last.
    pub fn lost(&self) -> Option<Lost> {
        self.lost
    }

    pub fn committed(&self) -> Option<u64> {
        self.leading().map(Leading::committed)
    }

    /// A claim is under way: this member may come to lead yet, also after [`Event::Retire`].
    pub fn claims(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether a message of the primary of `epoch` would be taken and answered. Asked before its
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
                    // The coordinator may be in trouble: somebody who leads could not say so
                    // either.
                    self.vacancy = None;
                }
                self.on_undecided(now + self.pace.ask_again_ms);
            }
            Event::Heard { from, epoch, version, sent_ms, tenure_ms } => {
                self.on_heard(from, (epoch, version), (sent_ms, tenure_ms), now, out);
            }
            Event::StreamBroken { from, epoch } => {
                if self.role == (Role::Following { primary: from, epoch }) {
                    self.heard_ms = self.heard_ms.min(now.saturating_sub(self.timing.silence_ms));
                }
            }
            Event::Answered { from, epoch, received, applied, echo_ms, sound } => {
                self.is_alive(from, epoch);
                if let Role::Leading(leading) = &mut self.role
                    && leading.epoch() == epoch
                    && leading.on_answered(from, Answer { received, applied, echo_ms, sound }, now)
                {
                    out.push(Action::Commit { upto: leading.committed() });
                }
            }
            Event::PeerGone { who, epoch } => {
                if let Role::Leading(leading) = &mut self.role
                    && leading.epoch() == epoch
                {
                    leading.on_gone(who, now);
                }
            }
            Event::Appended(seq) => {
                self.held = seq;
                if let Role::Leading(leading) = &mut self.role
                    && leading.on_appended(seq)
                {
                    out.push(Action::Commit { upto: leading.committed() });
                }
            }
            Event::Held(seq) => self.held = seq,
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
                if let Role::Leading(leading) = &mut self.role {
                    leading.want(timing);
                }
            }
            Event::Resign => self.on_resign(now, out),
            Event::Retire => self.retired = true,
            Event::Resigned { from, epoch } => {
                if self.role == (Role::Following { primary: from, epoch }) {
                    self.on_vacant(epoch, now);
                    // At once: clients wait.
                    self.on_tick(now, out);
                }
            }
            Event::ProvenDead(who) => {
                self.dead.insert(who);
                if let Role::Following { primary, epoch } = self.role
                    && primary == who
                {
                    self.on_vacant(epoch, now);
                }
            }
        }
    }

    /// What must outlast the time of another member began later, for all that is known.
    fn on_fell_behind(&mut self, more_ms: Millis) {
        let later = |since: &mut Millis| *since = since.saturating_add(more_ms);
        later(&mut self.free_ms);
        later(&mut self.store_since);
        self.claim.iter_mut().filter_map(|claim| claim.won_at.as_mut()).for_each(later);
        self.vacancy.iter_mut().for_each(|vacancy| later(&mut vacancy.since));
        self.emptiness.iter_mut().chain(&mut self.presence).for_each(|stretch| later(&mut stretch.since));
    }

    /// Its last answers are out, or never will be. If nobody takes over, it may claim again like
    /// any other member.
    fn on_resign(&mut self, now: Millis, out: &mut Vec<Action>) {
        let Role::Leading(leading) = &self.role else { return };
        let (epoch, primary) = (leading.epoch(), leading.known.record.primary);
        self.role = Role::Following { primary, epoch };
        // Nothing will be heard until somebody else leads: look at the record at once, and again
        // and again.
        self.heard_ms = now.saturating_sub(self.timing.silence_ms);
        self.free_ms = self.free_ms.max(now + self.timing.takeover_wait_ms());
        out.push(Action::Depose { epoch, by: epoch });
    }

    fn on_hint(&mut self, now: Millis) {
        if self.leading().is_some() {
            // Its own swaps tell it nearly all that there is to know, and fail when another member
            // has led since.
            self.look_at = self.look_at.min(now);
            return;
        }
        self.unsure = true;
        self.ask_again_at = self.ask_again_at.min(now);
    }

    /// What proved that it had ended was wrong, or is proven again as soon as somebody looks.
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
        if let Role::Leading(leading) = &self.role
            && leading.is_to_step_aside(now, &self.timing)
            // Nobody could take over; and as long as it says that it leads, nobody takes this for a
            // new cluster.
            && self.lost.is_none()
        {
            out.push(Action::Unconfirmed { epoch: leading.epoch() });
            self.on_resign(now, out);
        }
        if self.asked != Asked::Nothing || now < self.ask_again_at {
            return;
        }
        let silent = now >= self.heard_ms + self.timing.silence_ms;
        match &mut self.role {
            _ if self.unsure => self.read(now, out),
            Role::Starting => self.read(now, out),
            Role::Following { .. } if silent || self.claim.is_some() => self.read(now, out),
            Role::Following { .. } => {}
            Role::Leading(leading) => {
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

    /// Refused or unknown: the record tells, and it alone.
    fn on_undecided(&mut self, ask_again_at: Millis) {
        self.asked = Asked::Nothing;
        // A first record that is refused means that there was one.
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
                    // Commits wait for what was looked for.
                    self.ask_again_at = now;
                }
            }
            Shown::Nothing if look.is_present => self.found(now, out),
            Shown::Nothing => {}
            Shown::Outrun => self.unsure = true,
            Shown::Lost(lost) => self.on_lost(lost, look.record, now, out),
        }
    }

    /// A primary knows the record of its version to the letter. It makes way, whatever the version,
    /// for a member that it has waited for with every commit; to no other one that leads by a
    /// record which does not follow from its own.
    fn as_primary(&mut self, shown: Shown, found: Option<&Versioned>) -> Shown {
        let Role::Leading(leading) = &self.role else { return shown };
        let Some(found) = found.filter(|_| shown != Shown::Lost(Lost::AnotherCluster)) else { return shown };
        let known = &leading.known.record;
        let is_later = found.record.epoch > known.epoch;
        // An epoch has one primary: only a hand at the coordinator can have written another one
        // into it.
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

    /// Nothing is claimed on it. A primary whose right to answer holds now writes its record again:
    /// see [`Leading::may_restore`].
    fn on_lost(&mut self, lost: Lost, found: Option<Versioned>, now: Millis, out: &mut Vec<Action>) {
        (self.lost, self.unsure) = (Some(lost), true);
        let seen = |found: &Versioned| found.record.seen();
        out.push(Action::CoordinatorLostData { lost, known: self.known.seen(), found: found.as_ref().map(seen) });
        let Role::Leading(leading) = &self.role else { return };
        // Of two clusters neither yields: an operator decides. And a store that is another one may
        // have come up beside the old one, which others still see: it must have answered alone for
        // a while.
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

    /// Between two looks of which the second goes on from the first.
    fn look_pause_max(&self) -> Millis {
        (self.founding.after_ms / 4).max(5 * self.pace.ask_again_ms)
    }

    /// There is no record, and no member that is present has seen one.
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

    /// What was said of who leads counts for as long as it is said again and again: this member may
    /// have stood still, too.
    fn note_vacancy(&mut self, found: Option<&Versioned>, now: Millis) {
        let Unclean::ColdAfter { after_ms, .. } = self.unclean else { return };
        // Now and then nobody says anything.
        let Some(announced) = self.announced.take() else { return };
        self.vacancy = found.filter(|known| announced < known.record.epoch).map(|known| {
            let revision = known.revision;
            let goes_on = |before: &Vacancy| before.revision == revision && now <= before.seen + after_ms / 4;
            let since = self.vacancy.filter(goes_on).map_or(now, |before| before.since);
            Vacancy { revision, since, seen: now }
        });
    }

    /// Nobody has led for so long that this member may begin anew: then, how long a primary that
    /// lives all the same may go on to answer.
    fn left_alone(&self, known: &Versioned, now: Millis) -> Option<Millis> {
        let Unclean::ColdAfter { after_ms, .. } = self.unclean else { return None };
        let within = known.record.confirm_within_ms?;
        let vacancy = self.vacancy.filter(|vacancy| (vacancy.revision, vacancy.seen) == (known.revision, now))?;
        // Longer than somebody who has won such a claim waits before it announces itself.
        let after_ms = after_ms.max(within.saturating_mul(2));
        (now >= vacancy.since.saturating_add(after_ms)).then(|| outlasts_ms(within))
    }

    /// `asked_ms`: when the question was asked that this answers.
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
            // The record has moved on: that claim can't happen any more.
            self.claim = None;
        }
        if let Role::Leading(leading) = &mut self.role {
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
        if let Role::Leading(leading) = &mut self.role {
            leading.on_timing((&before, &timing), now);
        }
    }

    /// What a record that somebody else wrote means for this member.
    fn consider(&mut self, known: Versioned, now: Millis, out: &mut Vec<Action>) {
        let silent = now >= self.heard_ms + self.timing.silence_ms;
        let may_claim = known.record.insync.contains(&self.me) && self.sound;
        self.dead.retain(|who| known.record.insync.contains(who));
        let all_lost = known.record.insync.iter().all(|who| self.dead.contains(who));
        let first_look = self.role == Role::Starting;
        if first_look || !matches!(self.role, Role::Following { epoch, .. } if epoch == known.record.epoch) {
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
            // A claim that it would not make again must not happen later either: while it may,
            // nobody is answered.
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
        // Somebody who is waited for may outlive whoever waits: the next one must know for how
        // long.
        let inherited = to.confirm_within_ms.filter(|_| wait_ms > 0);
        let to = to.confirmed_within(self.unclean.confirm_within_ms().max(inherited));
        self.claim = Some(Claim { expect: expect.clone(), to: to.clone(), wait_ms, won_at: None });
        self.swap(expect, to, now, out);
    }

    fn follow(&mut self, record: &ConfigRecord, out: &mut Vec<Action>) {
        self.role = Role::Following { primary: record.primary, epoch: record.epoch };
        out.push(Action::Follow { primary: record.primary, epoch: record.epoch });
    }

    fn lead(&mut self, known: Versioned, confirmed_ms: Millis, now: Millis, out: &mut Vec<Action>) {
        let epoch = known.record.epoch;
        if let Role::Leading(before) = &self.role {
            // It has written its record again: calls that wait are asked for anew in the later
            // epoch.
            out.push(Action::Depose { epoch: before.epoch(), by: epoch });
        }
        self.claim = None;
        self.dead.clear();
        self.vacancy = None;
        // Of a cluster's first epoch there was nothing before, and whoever creates the record has
        // nothing.
        if known.record.begins_anew() {
            self.born = epoch;
            self.held = 0;
            self.sound = true;
        }
        self.role = Role::Leading(Box::new(Leading::new(self.me, (known, confirmed_ms), self.held, now)));
        out.push(Action::Lead { epoch });
    }

    /// Every answer lets the primary answer clients for a tenure. So none goes out while a claim
    /// may still happen, and none to an epoch that is known to be over.
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
        if let Role::Leading(leading) = &self.role {
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
        // A primary that asks for less counts on no more by any answer of before.
        let is_same = self.role == Role::Following { primary: from, epoch };
        self.free_ms = if is_same { granted_ms } else { self.free_ms.max(granted_ms) };
        if self.role != (Role::Following { primary: from, epoch }) {
            self.role = Role::Following { primary: from, epoch };
            out.push(Action::Follow { primary: from, epoch });
        }
        out.push(Action::Answer { epoch, echo_ms: sent_ms });
    }
}

#[cfg(test)]
#[path = "member_test.rs"]
mod tests;
