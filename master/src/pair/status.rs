//! The cluster as this member knows it. What is not known, or not freshly, is left out: never 0.
//!
//! Deliberately absent: asking others. Only the primary knows how far its peers are.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use coordinator::MemberInfo;
use election::{Incarnation, Versioned};
use proto::v1::{ClusterStatus, MemberStatus};

use crate::clock::boot_ms;
use crate::config::UncleanStart;
use crate::pair::Pair;
use crate::pair::peers::Peer;

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
            tenure_left_ms: self.seat.leads().and_then(|_| self.seat.tenure_left_ms()),
            promotable,
            not_promotable: why,
            members: self.member_statuses(known.as_ref()),
            takeovers: counts.takeovers.load(Ordering::Relaxed),
            full_syncs: counts.full_syncs.load(Ordering::Relaxed),
            coordinator_errors: counts.coordinator_errors.load(Ordering::Relaxed),
        }
    }

    /// Promoted now, it would come up whole; or why not.
    pub(crate) fn promotable(&self) -> (bool, String) {
        if self.seat.known().is_none() {
            return (false, "no record of roles was seen yet".to_owned());
        }
        if self.seat.leads().is_some() {
            return (true, String::new());
        }
        if !self.node.verify.is_sound() {
            return (false, self.node.verify.condition().1);
        }
        if let Some(sync) = self.notes.sync() {
            let what = format!("a full sync is under way: {} of {} shards", sync.shards_done, sync.shards);
            return (false, what);
        }
        let fresh = self.notes.last(boot_ms()).is_some_and(|(_, age_ms)| age_ms < self.settings.tenure_ms);
        match (fresh, self.notes.is_in_sync()) {
            (false, _) => (false, self.silence()),
            (true, false) => (false, "it is not in the in-sync set".to_owned()),
            (true, true) => (true, String::new()),
        }
    }

    /// Nothing fresh was heard of the primary: what that means for this member, and what a person can do.
    fn silence(&self) -> String {
        let known = self.seat.known();
        let insync = known.as_ref().map(|known| &known.record.insync);
        if insync.is_none_or(|insync| insync.contains(&self.seat.me)) {
            if known.as_ref().is_some_and(|known| known.record.primary == self.seat.me) {
                return "it was the primary, and nobody is seen to have led since".to_owned();
            }
            // Since then it may have been taken out of the set.
            return "nothing fresh was heard of the primary".to_owned();
        }
        let is_bound = known.as_ref().is_some_and(|known| known.record.confirm_within_ms.is_some());
        let begin = match self.settings.unclean {
            UncleanStart::Cold if self.settings.cold_after_ms > 0 && is_bound => {
                "a member begins anew with nothing once nobody has led for `cold_after_ms`, or when a person says so, with \
                 `understudy recover`"
            }
            UncleanStart::Cold => "with `understudy recover` a person says so, and a member begins anew with nothing",
            UncleanStart::Wait => {
                "with `understudy recover` a person says so; then a member that is started with `--unclean cold` begins \
                 anew with nothing"
            }
        };
        format!(
            "nothing fresh was heard of the primary, and this member is not in the in-sync set: only the {} in it may lead. If \
             they are gone for good: {begin}",
            insync.map_or(0, BTreeSet::len)
        )
    }

    fn member_statuses(&self, known: Option<&Versioned>) -> Vec<MemberStatus> {
        let open = self.peers.list();
        let leads = self.seat.leads().is_some();
        let status = |info: MemberInfo| {
            let is_primary = known.is_some_and(|known| known.record.primary == info.who);
            let status = MemberStatus {
                role: if is_primary { "primary" } else { "standby" }.to_owned(),
                in_sync: known.is_some_and(|known| known.record.insync.contains(&info.who)),
                name: info.name,
                address: info.address,
                ..MemberStatus::default()
            };
            match open.iter().find(|peer| peer.who == info.who) {
                _ if info.who == self.seat.me => self.myself(status),
                Some(peer) if leads => self.peer_status(peer, status),
                _ if leads => MemberStatus { state: "not connected".to_owned(), ..status },
                _ => MemberStatus { state: "unknown".to_owned(), ..status },
            }
        };
        self.members().into_iter().map(status).collect()
    }

    fn peer_status(&self, peer: &Peer, status: MemberStatus) -> MemberStatus {
        let appended = self.node.tail().appended().get();
        let (received, applied) = (peer.received.load(Ordering::Relaxed), peer.applied.load(Ordering::Relaxed));
        let (done, shards) = (peer.shards_sent.load(Ordering::Relaxed), peer.shards.load(Ordering::Relaxed));
        let heard_ms = peer.heard_ms.load(Ordering::Relaxed);
        let fresh = heard_ms > 0 && boot_ms() < heard_ms + self.settings.tenure_ms && shards == 0;
        let state = match (shards > 0, status.in_sync) {
            (true, _) => "full sync",
            (false, true) => "in sync",
            (false, false) => "catching up",
        };
        MemberStatus {
            state: state.to_owned(),
            received: fresh.then_some(received),
            applied: fresh.then_some(applied),
            lag_ops: fresh.then(|| appended.saturating_sub(received)),
            lag_ms: self.seat.lag_ms(peer.who).filter(|_| fresh),
            sync_shards_done: done as u32,
            sync_shards: shards as u32,
            verified: Some(peer.verified.load(Ordering::Relaxed)).filter(|seq| *seq > 0),
            unsound: !peer.is_sound(),
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
        let sync = self.notes.sync();
        let last = self.notes.last(boot_ms()).filter(|(_, age_ms)| *age_ms < self.settings.tenure_ms);
        let in_sync = self.notes.is_in_sync();
        let state = match (&sync, last) {
            (Some(_), _) => "full sync",
            (None, None) => "not connected",
            (None, Some(_)) if in_sync => "in sync",
            (None, Some(_)) => "catching up",
        };
        MemberStatus {
            state: state.to_owned(),
            lag_ops: last.map(|(committed, _)| committed.saturating_sub(tail.appended().get())),
            received,
            applied,
            in_sync,
            sync_shards_done: sync.map_or(0, |sync| sync.shards_done),
            sync_shards: sync.map_or(0, |sync| sync.shards),
            verified: Some(self.node.verify.verified().seq).filter(|seq| *seq > 0),
            unsound: !self.node.verify.is_sound(),
            ..status
        }
    }
}
