//! The primary's side: which members must have received an entry before it is acknowledged, until
//! when the primary may answer, and which members enter or leave the set.
//!
//! Invariants:
//! - Commits wait for every member that may be promoted: those of the record, and those of every
//!   proposal that may yet become the record. A peer is proposed only once it holds all that is
//!   committed, and commits wait for it from before then.
//! - `committed` never goes back, and includes only what all of those members have received.
//! - If the primary is alone in the record and no proposal is pending, no other member can be
//!   promoted. Then the tenure does not end, unless the record bounds it.
//! - No peer is proposed to leave the set unless the coordinator has answered a read that was sent
//!   after the removal was due. Otherwise, if requests reach the coordinator but its answers are
//!   lost, the record would change unseen, and no member could serve.
//! - A peer that reports an unsound state is in no record that is proposed.
//! - No peer delays commits for longer than the lag limits: it leaves the set, or commits stop
//!   waiting for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{ConfigRecord, Incarnation, Versioned};
use crate::timing::{Millis, Timing};

/// A peer outside the set that is silent for this long is forgotten.
const FORGET_AFTER_MS: Millis = 10_000;

/// What the primary knows of another member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Peer {
    received: u64,
    /// The part of `received` that is in its state. It has to apply the rest before it could serve.
    applied: u64,
    /// The primary's send time of the newest beacon that the peer answered.
    echo_ms: Millis,
    /// Since when beacons are as frequent as now. Earlier ones may have been less frequent.
    timed_ms: Millis,
    /// Where the log ended at some moment, and that moment. It moves on when the peer has received
    /// up to there, so a peer with an old mark lacks an entry that is at least as old.
    mark: (u64, Millis),
    /// It was too slow: it is not let in again before this.
    barred_until: Millis,
    /// Its stream broke, and no message has come since.
    gone_since: Option<Millis>,
    /// When it left the set because of its silence.
    dropped_at: Option<Millis>,
    /// Its state is what its log says.
    sound: bool,
}

/// What a peer says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Answer {
    pub(crate) received: u64,
    pub(crate) applied: u64,
    /// The send time that it echoes.
    pub(crate) echo_ms: Millis,
    pub(crate) sound: bool,
}

/// For how long an answered message lets the primary answer clients. Each message says so, and the
/// peer that answers it waits for that long before it claims. The tenure may have changed between
/// two messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asks {
    /// Messages after this moment ask for today's tenure.
    since_ms: Millis,
    /// No earlier message of this epoch asked for less than this.
    before_ms: Millis,
}

impl Asks {
    fn granted_ms(&self, echo_ms: Millis, timing: &Timing) -> Millis {
        if echo_ms > self.since_ms { timing.tenure_ms } else { timing.tenure_ms.min(self.before_ms) }
    }

    fn changed(&mut self, (from, to): (&Timing, &Timing), now: Millis) {
        if from.tenure_ms != to.tenure_ms {
            *self = Asks { since_ms: now, before_ms: self.before_ms.min(from.tenure_ms) };
        }
    }
}

impl Peer {
    fn new(mark: (u64, Millis)) -> Peer {
        Peer {
            received: 0,
            applied: 0,
            echo_ms: 0,
            timed_ms: 0,
            mark,
            barred_until: 0,
            gone_since: None,
            dropped_at: None,
            sound: true,
        }
    }

    fn is_silent(&self, now: Millis, timing: &Timing) -> bool {
        now >= self.echo_ms.max(self.timed_ms) + timing.drop_after_ms
            || self.gone_since.is_some_and(|gone| now >= gone + timing.reconnect_within_ms)
    }

    fn lags(&self, appended: u64, now: Millis, timing: &Timing) -> bool {
        appended > self.received + timing.lag_ops_max
            || (self.received < self.mark.0 && now > self.mark.1 + timing.lag_ms_max)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leading {
    pub(crate) known: Versioned,
    me: Incarnation,
    peers: BTreeMap<Incarnation, Peer>,
    appended: u64,
    committed: u64,
    /// Send time of the newest read whose answer showed that the record is still of this epoch.
    confirmed_ms: Millis,
    /// Since when some peer has been due to leave the set.
    drop_due_ms: Option<Millis>,
    /// Messages after this moment carry the version of `known`.
    known_ms: Millis,
    /// What the answer to an earlier message grants; see [`Asks`].
    asks: Asks,
    /// Settings that an operator wants, until the record has them.
    wanted: Option<Timing>,
    /// Commits wait for this peer. It is proposed as soon as it holds everything committed.
    joining: Option<Incarnation>,
    /// Proposals on top of `known` that are not known to have failed for good.
    proposed: Vec<ConfigRecord>,
    /// The peers whose receipts an acknowledgement needs, and whose answers the tenure needs.
    /// Derived from the three fields above.
    required: Vec<Incarnation>,
}

impl Leading {
    /// The promotion commits everything that this member holds, since it is alone in the set.
    pub(crate) fn new(
        me: Incarnation,
        (known, confirmed_ms): (Versioned, Millis),
        appended: u64,
        now: Millis,
    ) -> Leading {
        let mut leading = Leading {
            known,
            me,
            peers: BTreeMap::new(),
            appended,
            committed: appended,
            confirmed_ms,
            drop_due_ms: None,
            known_ms: now,
            asks: Asks { since_ms: 0, before_ms: Millis::MAX },
            wanted: None,
            joining: None,
            proposed: Vec::new(),
            required: Vec::new(),
        };
        leading.require();
        leading
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.known.record.epoch
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    fn require(&mut self) {
        let mut required: BTreeSet<Incarnation> = self.sets().flatten().copied().collect();
        required.extend(self.joining);
        required.remove(&self.me);
        self.required = required.into_iter().collect();
    }

    /// Until when answers may go out, as far as is known. `Millis::MAX`: no other member can be
    /// promoted.
    pub(crate) fn tenure_until(&self, timing: &Timing) -> Millis {
        let granted = |peer: &Peer| peer.echo_ms + self.asks.granted_ms(peer.echo_ms, timing);
        let until = |peer| self.peers.get(peer).map_or(0, granted);
        self.required.iter().map(until).chain(self.confirmed_until()).min().unwrap_or(Millis::MAX)
    }

    fn confirmed_until(&self) -> Option<Millis> {
        self.known.record.confirm_within_ms.map(|within| self.confirmed_ms.saturating_add(within))
    }

    /// This primary may not answer because the coordinator does not confirm it, while another
    /// member of the set may reach the coordinator. It first waits a moment for the peers to
    /// receive what it has accepted: what they lacked would cost it a full sync later.
    pub(crate) fn is_to_step_aside(&self, now: Millis, timing: &Timing) -> bool {
        let grace_ms = if self.committed == self.appended { 0 } else { timing.tenure_ms };
        let is_over = self.confirmed_until().is_some_and(|until| now >= until.saturating_add(grace_ms));
        is_over && self.sets().any(|insync| insync.len() > 1)
    }

    /// This primary may answer now, and each member that its right rests on has answered a message
    /// with the version of the record. So no other member can have begun a later epoch yet, and
    /// none will claim on an older record.
    pub(crate) fn may_restore(&self, now: Millis, timing: &Timing) -> bool {
        let has_seen = |who| self.peers.get(who).is_some_and(|peer| peer.echo_ms > self.known_ms);
        now < self.tenure_until(timing) && self.required.iter().all(has_seen)
    }

    /// `who` holds everything that this primary has acknowledged.
    pub(crate) fn waits_for(&self, who: Incarnation) -> bool {
        self.required.contains(&who)
    }

    /// The sets of the record and of every proposal that may be the record by now.
    fn sets(&self) -> impl Iterator<Item = &BTreeSet<Incarnation>> {
        [&self.known.record].into_iter().chain(&self.proposed).map(|record| &record.insync)
    }

    pub(crate) fn on_appended(&mut self, seq: u64) -> bool {
        self.appended = self.appended.max(seq);
        // A receipt may arrive before this event. Then all peers may have received the entry
        // already.
        self.advance()
    }

    pub(crate) fn on_answered(&mut self, who: Incarnation, answer: Answer, now: Millis) -> bool {
        let Answer { received, applied, echo_ms, sound } = answer;
        let mark = (self.appended, now);
        let peer = self.peers.entry(who).or_insert(Peer::new(mark));
        peer.received = peer.received.max(received);
        // `applied` goes back when the peer's state is replaced by a full sync.
        peer.applied = applied.min(peer.received);
        peer.echo_ms = peer.echo_ms.max(echo_ms);
        (peer.gone_since, peer.sound) = (None, sound);
        if peer.received >= peer.mark.0 {
            peer.mark = mark;
        }
        self.advance()
    }

    pub(crate) fn on_gone(&mut self, who: Incarnation, now: Millis) {
        if let Some(peer) = self.peers.get_mut(&who) {
            peer.gone_since.get_or_insert(now);
        }
    }

    fn advance(&mut self) -> bool {
        let received = |peer: &Incarnation| self.peers.get(peer).map_or(0, |peer| peer.received);
        let all = self.required.iter().map(received).fold(self.appended, u64::min);
        let moved = all > self.committed;
        self.committed = self.committed.max(all);
        moved
    }

    /// What a peer has received, and the send time of the newest beacon that it answered.
    pub(crate) fn peer(&self, who: Incarnation) -> Option<(u64, Millis)> {
        self.peers.get(&who).map(|peer| (peer.received, peer.echo_ms))
    }

    /// It is sound, and it is in the set of the record and of every proposal that may be the record
    /// by now.
    pub(crate) fn may_succeed(&self, who: Incarnation) -> bool {
        who != self.me
            && self.sets().all(|insync| insync.contains(&who))
            && self.peers.get(&who).is_some_and(|peer| peer.sound)
    }

    /// The lowest seq that a peer of the set, or of a proposed set that may be the record by now,
    /// still lacks. The log keeps it, and writes wait for room if need be, until the lag limits
    /// have removed that peer from the set. Peers that catch up or join delay nothing before that:
    /// they find as much of the log as its bounds allow, and get a full sync if that was not
    /// enough.
    pub(crate) fn needed_seq(&self) -> Option<u64> {
        let peers = self.sets().flatten().filter(|who| **who != self.me);
        peers.map(|who| self.peers.get(who).map_or(0, |peer| peer.received) + 1).min()
    }

    /// For how long at most a peer has lacked an entry. `None`: it has not been heard from.
    pub(crate) fn lag_ms(&self, who: Incarnation, now: Millis) -> Option<Millis> {
        let peer = self.peers.get(&who)?;
        Some(if peer.received >= self.appended { 0 } else { now.saturating_sub(peer.mark.1) })
    }

    /// The swap that is due, if any. There is one at a time. A proposal that may still happen, or
    /// has happened unseen, is settled by a swap of the record with itself: it raises the revision,
    /// or is refused, which shows that the revision has changed.
    pub(crate) fn wanted_change(&mut self, now: Millis, timing: &Timing) -> Option<ConfigRecord> {
        let unsettled = !self.proposed.is_empty();
        let changed = self.changed_set(now, timing).or_else(|| self.changed_timing(timing));
        changed.or_else(|| unsettled.then(|| self.known.record.renewed()))
    }

    /// `timing`: what this member goes by, if the record does not say.
    fn changed_timing(&self, timing: &Timing) -> Option<ConfigRecord> {
        let said = self.known.record.timing;
        let wanted = self.wanted.filter(|wanted| said != Some(*wanted)).or(said.is_none().then_some(*timing));
        wanted.map(|timing| self.known.record.renewed().timed(timing))
    }

    pub(crate) fn want(&mut self, timing: Timing) {
        self.wanted = Some(timing);
    }

    pub(crate) fn wanted(&self) -> Option<Timing> {
        self.wanted
    }

    /// The timing of the cluster has changed, as far as this member knows.
    pub(crate) fn on_timing(&mut self, change: (&Timing, &Timing), now: Millis) {
        self.asks.changed(change, now);
        self.peers.values_mut().for_each(|peer| peer.timed_ms = now);
    }

    /// A peer is due to leave the set, and the coordinator has not answered a read since then.
    pub(crate) fn is_to_look_first(&self) -> bool {
        self.drop_due_ms.is_some_and(|due_ms| self.confirmed_ms < due_ms)
    }

    fn changed_set(&mut self, now: Millis, timing: &Timing) -> Option<ConfigRecord> {
        let record = &self.known.record;
        let (appended, peers) = (self.appended, &self.peers);
        let is_gone = |who: &&Incarnation| {
            let peer = peers.get(who);
            let is_bad = |peer: &Peer| peer.is_silent(now, timing) || peer.lags(appended, now, timing) || !peer.sound;
            **who != self.me && peer.is_none_or(is_bad)
        };
        if let Some(&who) = record.insync.iter().find(is_gone) {
            if self.confirmed_ms < *self.drop_due_ms.get_or_insert(now) {
                return None;
            }
            let without = record.without(who);
            self.bar(who, now, timing);
            return Some(without);
        }
        self.drop_due_ms = None;
        if let Some(who) = self.joining {
            return self.joined(who, now, timing);
        }
        self.forget_silent(now, timing);
        let near = |peer: &Peer| {
            let is_there = !peer.is_silent(now, timing) && now >= peer.barred_until && peer.sound;
            // A peer that joins must be able to serve within an instant, so it must not have
            // seconds of log left to apply.
            let is_near = peer.received + timing.join_lag_ops >= appended;
            is_there && is_near && peer.applied + timing.join_lag_ops >= peer.received
        };
        let next = self.peers.iter().find(|(who, peer)| !self.known.record.insync.contains(who) && near(peer));
        self.joining = next.map(|(who, _)| *who);
        if self.joining.is_some() {
            // From now on it has the same time as any peer to receive what is there.
            let mark = (appended, now);
            self.joining.and_then(|who| self.peers.get_mut(&who)).expect("it was just found").mark = mark;
            self.require();
        }
        None
    }

    /// The record that includes the peer that joins, once that peer holds everything committed.
    fn joined(&mut self, who: Incarnation, now: Millis, timing: &Timing) -> Option<ConfigRecord> {
        let peer = self.peers.get(&who).filter(|peer| !peer.is_silent(now, timing) && peer.sound);
        if let Some(peer) = peer
            && peer.received >= self.committed
        {
            return Some(self.known.record.with(who));
        }
        // Commits may stop waiting for it only while no proposal that can still happen names it.
        let waits_for_nothing = peer.is_none_or(|peer| peer.lags(self.appended, now, timing));
        if waits_for_nothing && !self.proposed.iter().any(|record| record.insync.contains(&who)) {
            self.bar(who, now, timing);
            self.joining = None;
            self.require();
        }
        None
    }

    fn bar(&mut self, who: Incarnation, now: Millis, timing: &Timing) {
        if let Some(peer) = self.peers.get_mut(&who) {
            // A peer that was silent and speaks again may come back at once. A peer that was too
            // slow may not; neither may one that falls silent again and again, which is how a link
            // looks that is too slow for its answers.
            let is_silent = peer.is_silent(now, timing);
            if !peer.sound {
                // It reports by itself when it is sound again.
                return;
            }
            let before = peer.dropped_at.filter(|_| is_silent);
            let is_first = is_silent && before.is_none_or(|at| now > at + 5 * timing.slow_pause_ms);
            peer.dropped_at = if is_silent { Some(now) } else { peer.dropped_at };
            peer.barred_until = now + if is_first { 0 } else { timing.slow_pause_ms };
        }
    }

    fn forget_silent(&mut self, now: Millis, timing: &Timing) {
        let forget_after_ms = FORGET_AFTER_MS.max(2 * timing.drop_after_ms);
        let required = &self.required;
        self.peers.retain(|who, peer| required.contains(who) || now < peer.echo_ms + forget_after_ms);
    }

    pub(crate) fn on_proposed(&mut self, record: ConfigRecord) {
        if !self.proposed.contains(&record) {
            self.proposed.push(record);
            self.require();
        }
    }

    /// The record of this epoch, from the answer to a read or swap that was sent at `asked_ms`. If
    /// its version is later, no proposal on an earlier version can happen any more. The store may
    /// have given the same version another revision.
    pub(crate) fn on_known(&mut self, known: Versioned, asked_ms: Millis, now: Millis) -> bool {
        self.confirmed_ms = self.confirmed_ms.max(asked_ms);
        if known.record.version > self.known.record.version {
            (self.known, self.known_ms) = (known, now);
            self.proposed.clear();
            self.wanted = self.wanted.filter(|wanted| self.known.record.timing != Some(*wanted));
            if self.joining.is_some_and(|who| self.known.record.insync.contains(&who)) {
                self.joining = None;
            }
            self.require();
        } else if known.record == self.known.record {
            self.known.revision = known.revision;
        }
        self.advance()
    }
}
