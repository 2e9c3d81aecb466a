//! One member: what follows at once from the election's actions, and what it knows of its peers.
//!
//! Everything that concerns acknowledgements is done in the order of the election's actions:
//! commits, the tenure, the end of a reign. The member has a gate, and the tail of the log that it
//! leads with. Only this code changes either.
//!
//! Invariants: only this code moves a tail's `committed` while its member leads; the gate opens
//! only while the election says that this member leads that epoch, and closes before any further
//! request to the coordinator; see [`Member::validate`].
//!
//! Deliberately absent: decisions about roles. They are in `election`.

use std::sync::Arc;

use election::{ConfigRecord, Event, Incarnation, Lost, Millis, Moment, Seen, Timing, TimingError, Versioned};
use oplog::{CloseReason, Tail};
use verification::{Rounds, Verifier};

use crate::clock_rate::RateError;
use crate::doubts::Doubts;
use crate::gate::Gate;
use crate::news::News;
use crate::peers::Peers;
use crate::ride::Ride;
use crate::settings::Settings;
use crate::transfer::{NotTransferred, Transfer, Transferred};

/// A member's role: what it is to be now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Starting,
    Follow {
        primary: Incarnation,
        epoch: u64,
    },
    Lead {
        epoch: u64,
    },
    /// It led until `by` began, or until it resigned (then `by` is its own epoch).
    Deposed {
        by: u64,
    },
}

/// What the shell of this member is to do.
#[derive(Clone, PartialEq, Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and gone as soon as they are looked at")]
pub enum Action {
    /// Ask the coordinator for the record; see [`election::Look`].
    Read,
    Swap {
        expect: Option<Versioned>,
        to: ConfigRecord,
    },
    /// Log and state must take this role.
    Be(Role),
    /// The gate's standing has changed.
    Standing,
    /// Log the digests of the state, then call [`Member::on_digests_logged`].
    LogDigests,
    Transferred(Result<Transferred, NotTransferred>),
    /// The result of this member's doubts. The election knows it already.
    Doubt(verification::Action),
    /// The in-sync set has changed. The shell logs it.
    SetChanged {
        before: Versioned,
        now: Versioned,
    },
    /// For the log: the timing of the cluster is `to` from here on, as far as this member knows.
    /// `is_first`: `from` is what it was started with.
    Retimed {
        from: Timing,
        to: Timing,
        is_first: bool,
    },
    /// For the log: it stops leading, because the coordinator has not confirmed in time that it
    /// leads.
    Unconfirmed {
        epoch: u64,
    },
    /// For the log. `is_new`: the data was not lost in this way before.
    LostData {
        data: LostData,
        is_new: bool,
    },
    /// For the log: the clock of another member, or this member's own, runs at a rate that the
    /// protocol does not allow.
    WrongClock {
        who: Incarnation,
        error: RateError,
    },
    /// For the log: this primary writes its record again, under a later epoch.
    Restores {
        epoch: u64,
    },
}

/// What the coordinator shows, and what members have seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LostData {
    lost: Lost,
    known: Option<Seen>,
    found: Option<Seen>,
}

impl std::fmt::Display for LostData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |seen: &Seen| format!("epoch {}, version {}", seen.epoch, seen.version);
        let known = self.known.as_ref().map_or_else(|| "another member holds state".to_owned(), of);
        let found = self.found.as_ref().map_or_else(|| "no record".to_owned(), of);
        match self.lost {
            Lost::Gone => write!(f, "the coordinator has no record, and {known} was seen"),
            Lost::RolledBack => write!(f, "the coordinator shows {found}, and {known} was seen"),
            Lost::Copy => write!(f, "the coordinator was made anew from a copy: it shows {found}; known: {known}"),
            Lost::AnotherCluster => write!(f, "the coordinator shows another cluster ({found}); known: {known}"),
        }
    }
}

/// Why a change of the timing is not begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotRetimed {
    #[error("this member is not the primary")]
    NotPrimary { epoch: u64 },
    #[error(transparent)]
    Rule(#[from] TimingError),
}

/// The epoch in which this member leads, and the log that calls use.
#[derive(Debug)]
pub(crate) struct Reign {
    pub(crate) epoch: u64,
    pub(crate) tail: Arc<Tail>,
}

#[derive(Debug)]
pub struct Member {
    pub(crate) me: Incarnation,
    pub(crate) settings: Settings,
    pub(crate) election: election::Election,
    pub(crate) gate: Arc<Gate>,
    pub(crate) role: Role,
    pub(crate) reign: Option<Reign>,
    /// The member that takes over after a resignation.
    pub(crate) heir: Option<Incarnation>,
    /// The newest record that was read: for display, and to recognize this member's cluster.
    last_read: Option<Versioned>,
    lost: Option<LostData>,
    /// It has seen a record, and goes by the timing in it.
    is_timed: bool,
    pub(crate) peers: Peers,
    pub(crate) ride: Option<Ride>,
    pub(crate) ride_due_ms: Millis,
    pub(crate) rides: u64,
    pub(crate) news: News,
    pub(crate) verifier: Verifier,
    pub(crate) doubts: Doubts,
    pub(crate) transfer: Option<Transfer>,
    /// No transfer begins before this, unless this member is about to end.
    pub(crate) transfer_due_ms: Millis,
    /// The last epoch that it began with nothing, and for which its state was emptied.
    emptied: u64,
    /// The last epoch for which the gate was opened.
    opened: u64,
    digests_due_ms: Millis,
    /// From the newest moment that it was told.
    behind_ms: Millis,
    pub(crate) out: Vec<Action>,
    scratch: Vec<election::Action>,
}

impl Member {
    /// A member that holds nothing yet. Its gate is closed.
    pub fn new(me: Incarnation, election: election::Election, settings: Settings, gate: Arc<Gate>) -> Member {
        let verifier = Verifier::new(settings.doubts());
        // The shard without parts is not sampled.
        let doubts = Doubts::new(Rounds::new(settings.shards - 1, settings.buckets));
        Member {
            me,
            settings,
            election,
            gate,
            role: Role::Starting,
            reign: None,
            heir: None,
            last_read: None,
            lost: None,
            is_timed: false,
            peers: Peers::default(),
            ride: None,
            ride_due_ms: 0,
            rides: 0,
            news: News::default(),
            verifier,
            doubts,
            transfer: None,
            transfer_due_ms: 0,
            emptied: 0,
            opened: 0,
            digests_due_ms: 0,
            behind_ms: 0,
            out: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Must be carried out in this order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.out)
    }

    /// An event for the election. True: the message that caused it may be answered.
    pub fn on(&mut self, event: Event, now: Millis) -> bool {
        let reads = match &event {
            Event::Read(look) => look.record.clone(),
            _ => None,
        };
        self.note_read(reads);
        let before = self.election.record().filter(|_| may_change_set(&event)).cloned();
        let timing = *self.election.timing();
        let mut actions = std::mem::take(&mut self.scratch);
        self.election.on_event(event, now, &mut actions);
        let mut answers = false;
        for action in actions.drain(..) {
            answers |= matches!(action, election::Action::Answer { .. });
            self.act(action, now);
        }
        self.scratch = actions;
        self.gate.set_tenure(self.election.tenure_until());
        if let (Some(before), Some(now)) = (before, self.election.record())
            && before.record.insync != now.record.insync
        {
            self.out.push(Action::SetChanged { before, now: now.clone() });
        }
        self.note_timing(timing);
        self.validate();
        answers
    }

    fn note_timing(&mut self, from: Timing) {
        let to = *self.election.timing();
        if from != to {
            self.out.push(Action::Retimed { from, to, is_first: !self.is_timed });
        }
        self.is_timed |= self.election.seen().is_some();
    }

    /// Must be called before anything else of this moment.
    pub fn on_time(&mut self, moment: Moment) {
        let more_ms = moment.behind_ms.saturating_sub(self.behind_ms);
        if more_ms > 0 {
            self.behind_ms = moment.behind_ms;
            self.on(Event::FellBehind(more_ms), moment.now);
        }
    }

    /// Must be called every few milliseconds.
    pub fn on_tick(&mut self, now: Millis) {
        self.on(Event::Tick, now);
        self.release_if_untenured(now);
        if let Some(reign) = &self.reign {
            reign.tail.set_floor(self.election.needed_seq());
        }
        self.go_on_with_transfer(now);
        self.log_digests_if_due(now);
    }

    /// As the primary: the digests of the state go into the log now and then, and every standby
    /// compares its own at that seq.
    fn log_digests_if_due(&mut self, now: Millis) {
        let every_ms = self.settings.digest_interval_ms;
        if every_ms == 0 || now < self.digests_due_ms {
            return;
        }
        self.digests_due_ms = now.saturating_add(every_ms);
        if self.reign.is_some() && self.gate.may_log(now) && !self.peers.is_empty() {
            self.out.push(Action::LogDigests);
        }
    }

    /// Without a tenure, calls that wait for a commit may wait in vain while another member serves.
    /// So they are released.
    fn release_if_untenured(&self, now: Millis) {
        if let Some(reign) = &self.reign
            && now >= self.election.tenure_until()
        {
            reign.tail.committed().release(CloseReason::NoTenure);
        }
    }

    /// Must be called after anything that may have appended to the log that calls use.
    pub fn on_appended(&mut self, tail: &Arc<Tail>, now: Millis) {
        // A call that was still running when this member was deposed has another log. What it did
        // is never committed.
        if self.reign.as_ref().is_some_and(|reign| Arc::ptr_eq(&reign.tail, tail)) {
            self.on(Event::Appended(tail.appended().get()), now);
        }
    }

    /// State and log are complete and in place: calls may come. False: this member does not lead
    /// any more.
    pub fn open(&mut self, epoch: u64, tail: Arc<Tail>, now: Millis) -> bool {
        if self.election.leads() != Some(epoch) {
            return false;
        }
        assert!(epoch > self.opened, "epoch {epoch} was opened already: {}", self.opened);
        self.opened = epoch;
        self.heir = None;
        self.pause_transfers(now);
        let appended = tail.appended().get();
        self.reign = Some(Reign { epoch, tail });
        self.on(Event::Appended(appended), now);
        if self.gate.lead(epoch) {
            self.out.push(Action::Standing);
        }
        self.validate();
        true
    }

    /// Changes these settings of the cluster. Done once [`election::Election::timing`] returns
    /// them. A change of the in-sync set goes first. A pending change that another operator has
    /// asked for is kept.
    pub fn retime(&mut self, changes: &[(String, u64)], now: Millis) -> Result<(), NotRetimed> {
        let change = |timing: Timing, (name, value): &(String, u64)| timing.with(name, *value).unwrap_or(timing);
        let timing = changes.iter().fold(self.election.timing_to_be(), change);
        timing.validate()?;
        if self.leads().is_none() {
            return Err(NotRetimed::NotPrimary { epoch: self.gate.known_epoch() });
        }
        self.on(Event::Retime(timing), now);
        Ok(())
    }

    fn act(&mut self, action: election::Action, now: Millis) {
        match action {
            election::Action::Read => self.out.push(Action::Read),
            election::Action::Swap { expect, to } => self.out.push(Action::Swap { expect, to }),
            election::Action::Answer { .. } => {}
            election::Action::Follow { primary, epoch } => {
                self.shut(epoch);
                self.be(Role::Follow { primary, epoch }, now);
            }
            election::Action::Lead { epoch } => self.be(Role::Lead { epoch }, now),
            election::Action::Commit { upto } => {
                if let Some(reign) = &self.reign {
                    reign.tail.committed().advance(upto);
                }
            }
            election::Action::Depose { by, .. } => {
                self.shut(by);
                if let Some(reign) = self.reign.take() {
                    reign.tail.committed().close(CloseReason::Deposed { epoch: by });
                }
                self.be(Role::Deposed { by }, now);
            }
            election::Action::Unconfirmed { epoch } => self.out.push(Action::Unconfirmed { epoch }),
            election::Action::CoordinatorLostData { lost, known, found } => {
                let data = LostData { lost, known, found };
                let is_new = self.lost.replace(data) != Some(data);
                self.out.push(Action::LostData { data, is_new });
            }
            election::Action::Restores { epoch } => self.out.push(Action::Restores { epoch }),
        }
    }

    fn shut(&mut self, epoch: u64) {
        if self.gate.follow(epoch) {
            self.out.push(Action::Standing);
        }
    }

    fn be(&mut self, role: Role, now: Millis) {
        // What one primary said does not apply to the next one.
        (self.ride, self.ride_due_ms, self.news) = (None, now, News::default());
        self.role = role;
        self.out.push(Action::Be(role));
    }

    /// A record older than one that was read is not this cluster's.
    fn note_read(&mut self, read: Option<Versioned>) {
        let Some(now) = read else { return };
        let follows = |before: &Versioned| {
            now.record.cluster_id == before.record.cluster_id && now.record.version >= before.record.version
        };
        if self.last_read.as_ref().is_none_or(follows) {
            self.last_read = Some(now);
        }
    }

    /// Whether an epoch was begun with nothing since this was last asked.
    pub(crate) fn is_to_be_emptied(&mut self) -> bool {
        let born = self.election.born();
        let is_new = born > self.emptied;
        self.emptied = self.emptied.max(born);
        is_new
    }

    /// Where the clients of this member find the primary. Ignored unless this member follows that
    /// primary.
    pub fn hint(&mut self, address: &str, epoch: u64) {
        if self.election.would_answer(epoch) && self.gate.hint(address, epoch) {
            self.out.push(Action::Standing);
        }
    }

    /// Where clients find the heir, once this member has resigned, even if it is about to end and
    /// follows no member. False: it has not resigned.
    pub fn hint_heir(&mut self, address: &str) -> bool {
        let (Some(_), Role::Deposed { by }) = (self.heir, self.role) else { return false };
        if self.gate.hint(address, by) {
            self.out.push(Action::Standing);
        }
        true
    }

    /// What must hold after every event.
    pub fn validate(&self) {
        if let Some(reign) = &self.reign {
            let (committed, appended) = (reign.tail.committed().get(), reign.tail.appended().get());
            assert!(committed <= appended, "validate: committed {committed} behind the end of the log, {appended}");
            assert_eq!(self.election.leads(), Some(reign.epoch), "validate: calls run in {}", reign.epoch);
        }
        let open = self.gate.epoch();
        let reign = self.reign.as_ref().map_or(0, |reign| reign.epoch);
        assert!(open == 0 || open == reign, "validate: the gate is open for {open}, and calls run in {reign}");
        assert!(
            self.reign.is_none() || self.heir.is_none(),
            "validate: an heir, {:?}, of a member that leads",
            self.heir
        );
        if let Some(record) = self.election.record().map(|known| &known.record) {
            assert!(
                record.insync.contains(&self.me),
                "validate: {:?} leads, and is not in {:?}",
                self.me,
                record.insync
            );
        }
        for peer in self.peers.list() {
            assert!(
                peer.received <= peer.sent,
                "validate: {:?} has {}, and was sent {}",
                peer.who,
                peer.received,
                peer.sent
            );
        }
    }
}

/// Only an answer of the coordinator can change the set.
fn may_change_set(event: &Event) -> bool {
    matches!(event, Event::Swapped(_) | Event::Read(_))
}

/// What the shell asks, and what it displays.
impl Member {
    pub fn me(&self) -> Incarnation {
        self.me
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn leads(&self) -> Option<u64> {
        self.election.leads()
    }

    /// The log that calls use, and the epoch.
    pub fn reign(&self) -> Option<(u64, &Arc<Tail>)> {
        self.reign.as_ref().map(|reign| (reign.epoch, &reign.tail))
    }

    pub fn election(&self) -> &election::Election {
        &self.election
    }

    /// No later epoch can have begun by now.
    pub fn may_answer(&self, epoch: u64, now: Millis) -> bool {
        self.election.leads() == Some(epoch) && self.election.may_answer(now)
    }

    /// The record as it is known here: the one under which this member leads, or the one that was
    /// read last.
    pub fn known(&self) -> Option<&Versioned> {
        self.election.record().or(self.last_read.as_ref())
    }

    /// The epoch in which the cluster began with nothing, also where another member did that. 0:
    /// not known.
    pub fn born(&self) -> u64 {
        self.known().map_or(0, |known| known.record.born)
    }

    /// 0 until a record was seen.
    pub fn cluster_id(&self) -> u128 {
        self.known().map_or(0, |known| known.record.cluster_id)
    }

    /// The coordinator has lost data, by its newest answer.
    pub fn lost_data(&self) -> Option<LostData> {
        self.lost.filter(|_| self.election.lost().is_some())
    }

    /// What the primary last said is committed, and how long ago.
    pub fn last_heard(&self, now: Millis) -> Option<(u64, Millis)> {
        self.news.last(now)
    }

    /// Whether it is in sync, as the primary last said.
    pub fn is_in_sync(&self) -> bool {
        self.news.is_in_sync()
    }

    /// Compared with this member's clock: the clocks of its peers, or of its primary.
    pub fn rate_errors(&self) -> impl Iterator<Item = (Incarnation, RateError)> {
        let of_peers = self.peers.list().filter_map(|peer| Some((peer.who, peer.rate_error()?)));
        of_peers.chain(self.ride.as_ref().and_then(Ride::rate_error))
    }

    /// The progress of this member's full sync, if one is under way.
    pub fn syncing(&self) -> Option<standby::SyncProgress> {
        self.news.sync()
    }
}

#[cfg(test)]
#[path = "member_test.rs"]
mod tests;
