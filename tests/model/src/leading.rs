//! A primary: what it may acknowledge, until when, and what it proposes. Follows
//! `election/src/leading.rs`.

use crate::rules::TENURE;
use crate::state::{Leading, Peer, Record};
use crate::words::{LIVES, SLOTS, Set, Who};

impl Leading {
    /// The promotion commits all that it holds, since it is alone in the set.
    pub(crate) fn new(record: &Record, current: bool, held: u8) -> Leading {
        Leading {
            epoch: record.epoch,
            version: record.version,
            insync: record.insync,
            current,
            unsure: false,
            peers: [Peer { received: 0, age: TENURE, has_seen: false }; SLOTS * LIVES],
            committed: held,
            joining: None,
            proposed: Set::default(),
        }
    }

    /// The members that may be promoted, besides `me`: those of the record, those of every proposal
    /// that may yet become the record, and the peer that joins.
    pub(crate) fn required(&self, me: Who) -> Set {
        let joining = self.joining.map_or(Set::default(), Set::of);
        self.insync.union(self.proposed).union(joining).without(me)
    }

    /// Checked right before an answer goes out. If it is alone in the set, no other member can be
    /// promoted, and this is always true.
    pub(crate) fn may_answer(&self, me: Who) -> bool {
        self.required(me).iter().all(|who| self.hears(who))
    }

    pub(crate) fn hears(&self, who: Who) -> bool {
        self.peers[who.index()].age < TENURE
    }

    pub(crate) fn advance(&mut self, me: Who, appended: u8) {
        let received = self.required(me).iter().map(|who| self.peers[who.index()].received);
        self.committed = self.committed.max(received.fold(appended, u8::min));
    }

    pub(crate) fn on_answered(&mut self, who: Who, (received, age, version): (u8, u8, u8)) {
        let peer = &mut self.peers[who.index()];
        let has_seen = peer.has_seen || version == self.version;
        *peer = Peer { received: peer.received.max(received), age: peer.age.min(age), has_seen };
    }

    /// A record of this epoch. If it is newer, no proposal on an earlier one can happen any more.
    pub(crate) fn on_known(&mut self, record: &Record, current: bool, newer: bool) {
        self.unsure = false;
        if newer {
            self.version = record.version;
            self.peers.iter_mut().for_each(|peer| peer.has_seen = false);
            (self.insync, self.current, self.proposed) = (record.insync, current, Set::default());
            self.joining = self.joining.filter(|who| !record.insync.contains(*who));
        }
    }

    /// What is known of a life that has ended, and that nothing waits for, is not needed any more.
    pub(crate) fn forget_dead(&mut self, lives: [u8; SLOTS]) {
        let waits_for = self.insync.union(self.proposed).union(self.joining.map_or(Set::default(), Set::of));
        for who in (0..SLOTS).flat_map(|slot| (0..lives[slot]).map(move |life| Who::new(slot, life))) {
            if !waits_for.contains(who) {
                self.peers[who.index()] = Peer { received: 0, age: TENURE, has_seen: false };
            }
        }
    }

    pub(crate) fn may_join(&self, who: Who, holds_enough: bool) -> bool {
        self.joining == Some(who) && self.hears(who) && holds_enough
    }

    /// It stays required while a proposal that may still happen names it.
    pub(crate) fn may_forget(&self, who: Who) -> bool {
        self.joining == Some(who) && !self.proposed.contains(who)
    }
}
