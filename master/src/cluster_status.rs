//! The cluster as this member knows it. What it does not know, or not recently, is left out, and
//! never 0.
//!
//! Deliberately absent: asking other members. Only the primary knows how far its peers are.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use coordinator::MemberInfo;
use election::{Incarnation, Millis, Versioned};
use member::{Member, Peer};
use proto::v1::{ClusterStatus, MemberStatus};
use standby::SyncProgress;

use crate::config::UncleanStart;
use crate::pair::Pair;

impl Pair {
    pub(crate) fn status(&self) -> ClusterStatus {
        let known = self.seat.known();
        let name_of = |who: Incarnation| self.members().into_iter().find(|info| info.who == who).map(|info| info.name);
        let (promotable, why) = self.promotable();
        let counts = &self.seat.counts;
        ClusterStatus {
            cluster_id: known
                .as_ref()
                .map_or_else(Bytes::new, |known| Bytes::copy_from_slice(&known.record.cluster_id.to_be_bytes())),
            epoch: known.as_ref().map_or(0, |known| known.record.epoch),
            primary: known.as_ref().and_then(|known| name_of(known.record.primary)).unwrap_or_default(),
            revision: known.as_ref().map_or(0, |known| known.revision),
            tenure_left_ms: self.tenure_left_ms(),
            promotable,
            not_promotable: why,
            members: self.member_statuses(known.as_ref()),
            takeovers: counts.takeovers.load(Ordering::Relaxed),
            full_syncs: counts.full_syncs.load(Ordering::Relaxed),
            coordinator_errors: counts.coordinator_errors.load(Ordering::Relaxed),
            lost_data: self.seat.look(|member, _| member.lost_data()).map(|lost| lost.to_string()).unwrap_or_default(),
            version: self.seat.look(|member, _| member.election().seen()).map_or(0, |seen| seen.version),
            coordinator_trouble: counts.coordinator_trouble.lock().clone().unwrap_or_default(),
            has_primary: self.has_primary(),
            born: self.seat.look(|member, _| member.born()),
        }
    }

    /// As the primary: how long it may still answer, in milliseconds, as far as it knows. `None`:
    /// no end.
    fn tenure_left_ms(&self) -> Option<u64> {
        self.seat.look(|member, now| match (member.leads(), member.election().tenure_until()) {
            (None, _) | (Some(_), u64::MAX) => None,
            (Some(_), until_ms) => Some(until_ms.saturating_sub(now)),
        })
    }

    /// It leads and may answer at this moment, or it has heard from the primary recently.
    fn has_primary(&self) -> bool {
        self.seat.look(|member, now| match member.leads() {
            Some(epoch) => member.may_answer(epoch, now),
            None => heard(member, now).is_some(),
        })
    }

    /// Whether this member would serve with a complete state if it were promoted now, or why not.
    pub(crate) fn promotable(&self) -> (bool, String) {
        let lost = self.seat.look(|member, _| member.lost_data().filter(|_| member.leads().is_none()));
        if let Some(lost) = lost {
            return (false, format!("LOST DATA: {lost}"));
        }
        if self.seat.known().is_none() {
            return (false, "no config record was seen yet".to_owned());
        }
        if self.seat.leads().is_some() {
            return (true, String::new());
        }
        if !self.seat.look(|member, _| member.is_sound()) {
            return (false, self.node.condition().1);
        }
        let (sync, last, in_sync) = self.standing();
        match (sync, last, in_sync) {
            (Some(sync), _, _) => {
                (false, format!("a full sync is under way: {} of {} shards", sync.shards_done, sync.shards))
            }
            (None, None, _) => (false, self.silence()),
            (None, Some(_), false) => (false, "it is not in the in-sync set".to_owned()),
            (None, Some(_), true) => (true, String::new()),
        }
    }

    /// As a standby: its full sync, what it last heard to be committed, and whether it is in the
    /// set.
    fn standing(&self) -> (Option<SyncProgress>, Option<u64>, bool) {
        self.seat.look(|member, now| (member.syncing(), heard(member, now), member.is_in_sync()))
    }

    /// Nothing was heard of the primary recently: what this means for this member, and what an
    /// operator can do.
    fn silence(&self) -> String {
        let known = self.seat.known();
        let insync = known.as_ref().map(|known| &known.record.insync);
        if insync.is_none_or(|insync| insync.contains(&self.seat.me)) {
            if known.as_ref().is_some_and(|known| known.record.primary == self.seat.me) {
                return "it was the primary, and no member is seen to have led since".to_owned();
            }
            // It may have been removed from the set since then.
            return "nothing was heard of the primary recently".to_owned();
        }
        let is_bound = known.as_ref().is_some_and(|known| known.record.confirm_within_ms.is_some());
        let begin = match self.settings.unclean {
            UncleanStart::Cold if self.settings.cold_after_ms > 0 && is_bound => {
                "a member begins anew with nothing once no member has led for `cold_after_ms`, or once an operator has \
                 declared them dead with `understudy recover`"
            }
            UncleanStart::Cold => {
                "an operator declares them dead with `understudy recover`, and a member begins anew with nothing"
            }
            UncleanStart::Wait => {
                "an operator declares them dead with `understudy recover`; then a member that is started with \
                 `--unclean cold` begins anew with nothing"
            }
        };
        format!(
            "nothing was heard of the primary recently, and this member is not in the in-sync set: only the {} in it may lead. If \
             they are gone for good: {begin}",
            insync.map_or(0, BTreeSet::len)
        )
    }

    fn member_statuses(&self, known: Option<&Versioned>) -> Vec<MemberStatus> {
        let (leads, open) = self.seat.look(|member, now| {
            let lag_ms = |peer: &Peer| member.election().peer_lag_ms(peer.who, now);
            let is_heard =
                |peer: &Peer| peer.heard_ms.is_some_and(|at| now < at + member.election().timing().tenure_ms);
            let known = |peer: &Peer| (peer.clone(), is_heard(peer), lag_ms(peer));
            (member.leads().is_some(), member.peers().map(known).collect::<Vec<_>>())
        });
        let status = |info: MemberInfo| {
            let is_primary = known.is_some_and(|known| known.record.primary == info.who);
            let status = MemberStatus {
                role: if is_primary { "primary" } else { "standby" }.to_owned(),
                in_sync: known.is_some_and(|known| known.record.insync.contains(&info.who)),
                name: info.name,
                address: info.address,
                ..MemberStatus::default()
            };
            match open.iter().find(|(peer, ..)| peer.who == info.who) {
                _ if info.who == self.seat.me => self.myself(status),
                Some((peer, is_heard, lag_ms)) if leads => self.peer_status(peer, (*is_heard, *lag_ms), status),
                _ if leads => MemberStatus { state: "not connected".to_owned(), ..status },
                _ => MemberStatus { state: "unknown".to_owned(), ..status },
            }
        };
        self.members().into_iter().map(status).collect()
    }

    /// What was said long ago, or during a full sync, does not count any more.
    fn peer_status(&self, peer: &Peer, (is_heard, lag_ms): (bool, Option<u64>), status: MemberStatus) -> MemberStatus {
        let appended = self.node.tail().appended().get();
        let fresh = is_heard && peer.syncing.is_none();
        let state = match (peer.syncing, status.in_sync) {
            (Some(_), _) => "full sync",
            (None, true) => "in sync",
            (None, false) => "catching up",
        };
        let (sync_shards_done, sync_shards) = peer.syncing.unwrap_or_default();
        MemberStatus {
            state: state.to_owned(),
            received: fresh.then_some(peer.received),
            applied: fresh.then_some(peer.applied),
            lag_ops: fresh.then(|| appended.saturating_sub(peer.received)),
            lag_ms: lag_ms.filter(|_| fresh),
            sync_shards_done,
            sync_shards,
            verified: Some(peer.verified).filter(|seq| *seq > 0),
            unsound: !peer.sound,
            ..status
        }
    }

    fn myself(&self, status: MemberStatus) -> MemberStatus {
        let (tail, state) = (self.node.tail(), self.node.state());
        let applied = Some(state.position().seq);
        let received = Some(tail.appended().get());
        if self.seat.leads().is_some() {
            return MemberStatus { state: "in sync".to_owned(), received, applied, ..status };
        }
        let (sync, last, in_sync) = self.standing();
        let state = match (&sync, last) {
            (Some(_), _) => "full sync",
            (None, None) => "not connected",
            (None, Some(_)) if in_sync => "in sync",
            (None, Some(_)) => "catching up",
        };
        MemberStatus {
            state: state.to_owned(),
            lag_ops: last.map(|committed| committed.saturating_sub(tail.appended().get())),
            received,
            applied,
            in_sync,
            sync_shards_done: sync.map_or(0, |sync| sync.shards_done),
            sync_shards: sync.map_or(0, |sync| sync.shards),
            verified: Some(self.node.verified().seq).filter(|seq| *seq > 0),
            unsound: !self.seat.look(|member, _| member.is_sound()),
            ..status
        }
    }
}

/// What the primary recently said is committed.
fn heard(member: &Member, now: Millis) -> Option<u64> {
    let last = member.last_heard(now).filter(|(_, age_ms)| *age_ms < member.election().timing().tenure_ms);
    last.map(|(committed, _)| committed)
}
