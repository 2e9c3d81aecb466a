//! One member's part in the election: from events to actions, without a clock, a socket or a random number.
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
//! - A member that claims has answered nobody for `takeover_wait_ms`. Whoever led before counts on its answers, so by
//!   then that one has no tenure. It answers nobody until its claim is decided.
//! - Claims and changes of the set compare the same revision: exactly one wins.
//! - A swap whose outcome is unknown may still happen, until the record has moved on. Nothing rests on its failure.
//! - Only a primary that is known to answer nobody any more is not waited for: it said so itself, in its last message, or
//!   the kernel says that its process has ended. Silence and broken streams prove nothing.
//! - A member whose state is not what its log says claims nothing, and leaves the set.
//! - A primary looks at the record now and then: somebody may have led since, of whom it has heard nothing. Where the record bounds it
//!   by the coordinator and nobody answers in time, it makes way for the others of the set.
//! - Whoever was not in the set begins only with nothing, and only when all who were are known to have ended; or, where the
//!   record bounds its primary by the coordinator, when nobody has led for long. Such a claim may meet a living primary, so
//!   whoever wins it leads only when that one's last confirmation is too old for any answer.
//!
//! Deliberately absent: the log itself, connections, what a client sees.

use std::collections::BTreeSet;

use crate::leading::Leading;
use crate::record::{ConfigRecord, Incarnation, Versioned};
use crate::timing::{Millis, Timing, outlasts_ms};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Comes at least every few milliseconds.
    Tick,
    /// The coordinator's answer to [`Action::Read`].
    Read(Option<Versioned>),
    /// Somebody who is alive says at the coordinator that it leads this epoch. Comes before the answer to the read. To be looked
    /// for where there is no record, and under [`Unclean::ColdAfter`] always.
    Announced { epoch: u64 },
    /// Nobody says so. Likewise.
    NobodyAnnounced,
    /// [`Action::Swap`] has happened, with this revision.
    Swapped(u64),
    /// The record had another revision: this swap will never happen.
    SwapRefused,
    /// No answer, an error, a time-out. A swap may have happened, or still happen.
    NoAnswer,
    /// As a standby: a message of the primary of `epoch`, sent at `sent_ms` of its clock.
    Heard { from: Incarnation, epoch: u64, sent_ms: Millis },
    /// As a standby: the stream from the primary broke. A reason to hurry, no proof of anything.
    StreamBroken,
    /// As the primary: a peer of this epoch holds everything up to `received`, and answers what was sent at `echo_ms`. It is
    /// not `sound` while its state is not what the log says: then it must not be in the set.
    Answered { from: Incarnation, epoch: u64, received: u64, echo_ms: Millis, sound: bool },
    /// As the primary: the stream from a peer of this epoch broke, and no other one of it is open.
    PeerGone { who: Incarnation, epoch: u64 },
    /// As the primary: the own log reaches up to here.
    Appended(u64),
    /// As a standby: what is held now, on disk or in memory.
    Held(u64),
    /// Whether this member's own state is what its log says, for all that is known. While it is not, it claims nothing.
    Sound(bool),
    /// The record may have changed: a hint, which may come late, for nothing, or not at all.
    Hint,
    /// As the primary: lead no more. Somebody in the set is told so, and may take over at once.
    Resign,
    /// This process is about to end. It answers nobody and claims nothing from here on, so that it leaves the set while others can
    /// still take it out; where it leads: from the moment on at which it does no more. It goes on to look who leads. A claim that is
    /// under way is decided all the same.
    Retire,
    /// As a standby: the primary of `epoch` said in its last message that it answers nobody any more, and left it to this
    /// member to take over.
    Resigned { epoch: u64 },
    /// The process that was this incarnation has ended. Proof, not a guess.
    ProvenDead(Incarnation),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Read,
    /// Compare with the revision (`None`: there is no record), and swap.
    Swap {
        expect: Option<u64>,
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
    /// Be the primary: all that is held is committed, alone. Apply it, begin the epoch in the log, serve. What was held before
    /// [`Member::born`] is dropped first.
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
    /// For people: it leads no more, since the coordinator has not confirmed in time that it does. [`Action::Depose`] follows.
    Unconfirmed {
        epoch: u64,
    },
    /// Its record is older than what this member has seen. Nothing is done; a person must look.
    CoordinatorLostData {
        held: u64,
        found: u64,
    },
}

/// What becomes of a cluster of which every member that held anything acknowledged is known to have ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unclean {
    /// It stays down until one of them is back with its state, or a person decides.
    Wait,
    /// Another member begins with nothing. Never with what it happens to hold: that may be stale.
    Cold,
    /// As [`Unclean::Cold`], and also where nobody knows that they have ended, but nobody has led for `after_ms`. So that this is
    /// safe, a primary must hear from the coordinator every `confirm_within_ms`, or it stops answering.
    ColdAfter { after_ms: Millis, confirm_within_ms: Millis },
}

impl Unclean {
    /// Whether a member must hear at each look at the record whether somebody leads ([`Event::Announced`]).
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

/// What has been asked of the coordinator and not answered yet.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    /// With the epoch that was known then. An answer may be older than what was heard since, but not than that.
    Read {
        epoch: u64,
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
    expect: Option<u64>,
    to: ConfigRecord,
    /// It may have met a primary that goes on to answer for so long.
    wait_ms: Millis,
    /// When it was known to have happened.
    won_at: Option<Millis>,
}

/// Nobody led when the coordinator was asked, again and again, and the record was the same: a change would be a sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Vacancy {
    revision: u64,
    since: Millis,
    seen: Millis,
}

#[derive(Clone, Debug)]
pub struct Member {
    me: Incarnation,
    cluster_id: u128,
    timing: Timing,
    unclean: Unclean,
    role: Role,
    asked: Asked,
    ask_again_at: Millis,
    /// Something about the record is not known for sure: read it before anything is proposed.
    unsure: bool,
    /// The coordinator showed an older record than was known before: it has lost data, for all that was heard last.
    lost: bool,
    claim: Option<Claim>,
    heard_ms: Millis,
    /// When this member last gave somebody a right to answer clients. At the start: now, for all it knows.
    last_answer_ms: Millis,
    epoch_max: u64,
    held: u64,
    /// The last epoch that it began with nothing.
    born: u64,
    /// No primary up to this epoch answers anybody any more, and this member may say so.
    vacant_epoch: u64,
    /// What the coordinator said last of who leads, until the record comes: an epoch, or 0 for nobody.
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
    pub fn new(me: Incarnation, cluster_id: u128, timing: Timing, unclean: Unclean, now: Millis) -> Member {
        Member {
            me,
            cluster_id,
            timing,
            unclean,
            role: Role::Starting,
            asked: Asked::Nothing,
            ask_again_at: now,
            unsure: true,
            lost: false,
            claim: None,
            heard_ms: now,
            last_answer_ms: now,
            epoch_max: 0,
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

    /// The last epoch that this member began with nothing, since everybody who held anything acknowledged was lost. What it held
    /// before may be stale, and is to be dropped before anything else is done with it: whether it still leads that epoch by then,
    /// follows somebody, or leads a later one. 0: there was none.
    pub fn born(&self) -> u64 {
        self.born
    }

    /// The epoch in which this member leads.
    pub fn leads(&self) -> Option<u64> {
        self.leading().map(Leading::epoch)
    }

    /// Before this moment answers may go out, for all that is known now. To be looked at after the work, right before the
    /// answer. 0: never.
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

    /// As the primary: what a peer has received, and when the beacon was sent that it answered last.
    pub fn peer(&self, who: Incarnation) -> Option<(u64, Millis)> {
        self.leading().and_then(|leading| leading.peer(who))
    }

    /// As the primary: whether `who` could take over, should this member resign now. To be asked right before.
    pub fn may_succeed(&self, who: Incarnation) -> bool {
        self.leading().is_some_and(|leading| leading.may_succeed(who))
    }

    /// As the primary: for how long a peer has lacked something, at most.
    pub fn peer_lag_ms(&self, who: Incarnation, now: Millis) -> Option<Millis> {
        self.leading().and_then(|leading| leading.lag_ms(who, now))
    }

    /// As the primary: from where on its log must be kept for the peers of the set. `None`: nobody needs any of it.
    pub fn needed_seq(&self) -> Option<u64> {
        self.leading().and_then(Leading::needed_seq)
    }

    pub fn committed(&self) -> Option<u64> {
        self.leading().map(Leading::committed)
    }

    /// A claim is under way: this member may come to lead yet, also after [`Event::Retire`].
    pub fn claims(&self) -> bool {
        self.claim.is_some()
    }

    /// Whether a message of the primary of `epoch` would be taken and answered. Asked before its entries are touched.
    pub fn would_answer(&self, epoch: u64) -> bool {
        epoch >= self.epoch_max && self.claim.is_none() && self.leading().is_none() && !self.retired
    }

    pub fn on_event(&mut self, event: Event, now: Millis, out: &mut Vec<Action>) {
        match event {
            Event::Tick => self.on_tick(now, out),
            Event::Read(record) => self.on_read(record, now, out),
            Event::Swapped(revision) => self.on_swapped(revision, now, out),
            Event::SwapRefused => self.on_undecided(now),
            Event::NoAnswer => {
                if matches!(self.asked, Asked::Swap { .. }) {
                    // The coordinator may be in trouble: somebody who leads could not say so either.
                    self.vacancy = None;
                }
                self.on_undecided(now + self.timing.ask_again_ms);
            }
            Event::Heard { from, epoch, sent_ms } => self.on_heard(from, epoch, sent_ms, now, out),
            Event::StreamBroken => {
                self.heard_ms = self.heard_ms.min(now.saturating_sub(self.timing.silence_ms));
            }
            Event::Answered { from, epoch, received, echo_ms, sound } => {
                if let Role::Leading(leading) = &mut self.role
                    && leading.epoch() == epoch
                    && leading.on_answered(from, (received, echo_ms, sound), now)
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
            Event::Hint if self.leading().is_none() => {
                self.unsure = true;
                self.ask_again_at = self.ask_again_at.min(now);
            }
            // Its own swaps tell it nearly all that there is to know, and fail when somebody else has led since.
            Event::Hint => self.look_at = self.look_at.min(now),
            Event::Announced { .. } | Event::NobodyAnnounced if self.leading().is_some() => {}
            Event::Announced { epoch } => {
                self.epoch_max = self.epoch_max.max(epoch);
                self.announced = Some(epoch);
            }
            Event::NobodyAnnounced => self.announced = Some(0),
            Event::Sound(sound) => self.sound = sound,
            Event::Resign => self.on_resign(now, out),
            Event::Retire => self.retired = true,
            Event::Resigned { epoch } => self.on_vacant(epoch, now),
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

    /// Its last answers are out, or never will be. If nobody takes over, it may claim again like any other member.
    fn on_resign(&mut self, now: Millis, out: &mut Vec<Action>) {
        let Role::Leading(leading) = &self.role else { return };
        let (epoch, primary) = (leading.epoch(), leading.known.record.primary);
        self.role = Role::Following { primary, epoch };
        // Nothing will be heard until somebody else leads: look at the record at once, and again and again.
        (self.heard_ms, self.last_answer_ms) = (now.saturating_sub(self.timing.silence_ms), now);
        out.push(Action::Depose { epoch, by: epoch });
    }

    fn on_vacant(&mut self, epoch: u64, now: Millis) {
        self.vacant_epoch = self.vacant_epoch.max(epoch);
        self.heard_ms = self.heard_ms.min(now.saturating_sub(self.timing.silence_ms));
        self.ask_again_at = self.ask_again_at.min(now);
    }

    fn on_tick(&mut self, now: Millis, out: &mut Vec<Action>) {
        if let Role::Leading(leading) = &self.role
            && leading.is_to_step_aside(now, &self.timing)
            // Nobody could take over; and as long as it says that it leads, nobody takes this for a new cluster.
            && !self.lost
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
                    let expect = Some(leading.known.revision);
                    self.swap(expect, to, now, out);
                } else if now >= self.look_at {
                    self.read(now, out);
                }
            }
        }
    }

    fn read(&mut self, now: Millis, out: &mut Vec<Action>) {
        self.look_at = now + self.timing.look_every_ms;
        self.asked = Asked::Read { epoch: self.epoch_max, at: now };
        out.push(Action::Read);
    }

    fn swap(&mut self, expect: Option<u64>, to: ConfigRecord, now: Millis, out: &mut Vec<Action>) {
        self.asked = Asked::Swap { to: to.clone(), at: now };
        out.push(Action::Swap { expect, to });
    }

    /// Refused or unknown: the record tells, and it alone.
    fn on_undecided(&mut self, ask_again_at: Millis) {
        self.asked = Asked::Nothing;
        self.unsure = true;
        self.ask_again_at = ask_again_at;
    }

    fn on_swapped(&mut self, revision: u64, now: Millis, out: &mut Vec<Action>) {
        let Asked::Swap { to: record, at } = std::mem::replace(&mut self.asked, Asked::Nothing) else { return };
        self.learn(Versioned { record, revision }, at, now, out);
    }

    fn on_read(&mut self, found: Option<Versioned>, now: Millis, out: &mut Vec<Action>) {
        let Asked::Read { epoch: held, at } = std::mem::replace(&mut self.asked, Asked::Nothing) else { return };
        self.ask_again_at = now + self.timing.ask_again_ms;
        let epoch = found.as_ref().map_or(0, |known| known.record.epoch);
        self.note_vacancy(found.as_ref(), now);
        if epoch < held {
            self.lost = true;
            out.push(Action::CoordinatorLostData { held, found: epoch });
        } else if epoch < self.epoch_max {
            // A later epoch was heard of since the question.
            self.unsure = true;
        } else if let Some(known) = found {
            self.learn(known, at, now, out);
        } else if !self.retired {
            let to = ConfigRecord::first(self.cluster_id, self.me, 1);
            self.claim(None, to, 0, now, out);
        }
    }

    /// What was said of who leads counts for as long as it is said again and again: this member may have stood still, too.
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

    /// Nobody has led for so long that this member may begin anew: then, how long a primary that lives all the same may go on to
    /// answer.
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
        self.epoch_max = self.epoch_max.max(epoch);
        (self.unsure, self.lost) = (false, false);
        if let Role::Leading(leading) = &mut self.role {
            if epoch == leading.epoch() {
                if leading.on_known(known, asked_ms) {
                    out.push(Action::Commit { upto: leading.committed() });
                }
                return;
            }
            out.push(Action::Depose { epoch: leading.epoch(), by: epoch });
            self.heard_ms = now;
            self.follow(&known.record, out);
            return;
        }
        if let Some(claim) =
            self.claim.as_mut().filter(|claim| claim.to.epoch == epoch && known.record.primary == self.me)
        {
            let won_at = *claim.won_at.get_or_insert(now);
            if now >= won_at.saturating_add(claim.wait_ms) {
                self.lead(known, asked_ms, out);
            }
            return;
        }
        if self.claim.as_ref().is_some_and(|claim| claim.expect != Some(known.revision)) {
            // The record has moved on: that claim can't happen any more.
            self.claim = None;
        }
        self.consider(known, now, out);
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
            let to = known.record.reborn(self.me);
            return self.claim(Some(known.revision), to, wait_ms, now, out);
        }
        if self.retired || !may_claim {
            // A claim that it would not make again must not happen later either: while it may, nobody is answered.
            if self.claim.is_some() {
                self.swap(Some(known.revision), known.record, now, out);
            }
            return;
        }
        if !silent && self.claim.is_none() {
            return;
        }
        let vacant = known.record.epoch <= self.vacant_epoch || self.dead.contains(&known.record.primary);
        let claim_at = self.last_answer_ms + self.timing.takeover_wait_ms();
        if now < claim_at && !vacant {
            self.ask_again_at = claim_at.min(self.ask_again_at);
            self.unsure = true;
            return;
        }
        let to = known.record.promoted(self.me);
        self.claim(Some(known.revision), to, 0, now, out);
    }

    fn claim(&mut self, expect: Option<u64>, to: ConfigRecord, wait_ms: Millis, now: Millis, out: &mut Vec<Action>) {
        // Somebody who is waited for may outlive whoever waits: the next one must know for how long.
        let inherited = to.confirm_within_ms.filter(|_| wait_ms > 0);
        let to = to.confirmed_within(self.unclean.confirm_within_ms().max(inherited));
        self.claim = Some(Claim { expect, to: to.clone(), wait_ms, won_at: None });
        self.swap(expect, to, now, out);
    }

    fn follow(&mut self, record: &ConfigRecord, out: &mut Vec<Action>) {
        self.role = Role::Following { primary: record.primary, epoch: record.epoch };
        out.push(Action::Follow { primary: record.primary, epoch: record.epoch });
    }

    fn lead(&mut self, known: Versioned, confirmed_ms: Millis, out: &mut Vec<Action>) {
        let epoch = known.record.epoch;
        self.claim = None;
        self.dead.clear();
        self.vacancy = None;
        // Of a cluster's first epoch there was nothing before, and whoever creates the record has nothing.
        if known.record.begins_anew() {
            self.born = epoch;
            self.held = 0;
            self.sound = true;
        }
        self.role = Role::Leading(Box::new(Leading::new(self.me, (known, confirmed_ms), self.held)));
        out.push(Action::Lead { epoch });
    }

    /// Every answer lets the primary answer clients for a tenure. So none goes out while a claim may still happen, and
    /// none to an epoch that is known to be over.
    fn on_heard(&mut self, from: Incarnation, epoch: u64, sent_ms: Millis, now: Millis, out: &mut Vec<Action>) {
        if epoch < self.epoch_max || self.claim.is_some() {
            return;
        }
        if let Role::Leading(leading) = &self.role {
            if epoch > leading.epoch() {
                self.unsure = true;
                self.ask_again_at = now;
            }
            return;
        }
        if self.retired {
            return;
        }
        self.epoch_max = epoch;
        self.vacancy = None;
        self.heard_ms = now;
        self.last_answer_ms = now;
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
