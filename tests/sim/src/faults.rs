//! What breaks, and what is kept whole enough that somebody can go on from it.

use election::{ConfigRecord, Incarnation};

use crate::member::Member;
use crate::options::Options;
use crate::world::World;

impl World {
    pub(crate) fn break_something(&mut self) {
        let Options { crash, pause, cut_link, hide, coordinator_down, .. } = self.cx.options;
        let Options { transfer, stop, corrupt, break_stream, .. } = self.cx.options;
        let now = self.cx.now;
        if self.cx.rng.per_100k(coordinator_down) {
            self.cx.coordinator.down_until = now + self.cx.rng.below(2_000);
        }
        if self.cx.rng.per_100k(pause) {
            let (at, until) = (self.any(), now + self.cx.rng.below(1_500));
            self.members[at].paused_until = until;
            self.cx.tally.pauses += 1;
        }
        if self.cx.rng.per_100k(cut_link) {
            let (from, to, until) = (self.any(), self.any(), now + self.cx.rng.below(2_000));
            self.cx.net.cut(from, to, until);
            self.cx.tally.cuts += 1;
        }
        if hide > 0 && self.cx.rng.per_100k(hide) {
            self.hide();
        }
        if hide > 0 && self.cx.rng.per_100k(5 * hide) {
            self.trouble_a_claim();
        }
        if self.cx.rng.per_100k(stop) {
            self.stop();
        }
        if self.cx.rng.per_100k(corrupt) {
            self.corrupt();
        }
        if self.cx.rng.per_100k(break_stream) {
            let at = self.any();
            if self.members[at].runs(now) {
                self.members[at].break_a_stream(&mut self.cx);
                self.cx.tally.breaks += 1;
            }
        }
        if self.cx.rng.per_100k(transfer) {
            self.transfer();
        }
        if self.cx.rng.per_100k(crash) {
            let at = self.any();
            if self.members[at].up && self.may_lose(at) {
                self.crash(at);
            }
        }
    }

    /// A member, mostly the primary, is not seen at the coordinator, nor by one of the others, and mostly lives on.
    fn hide(&mut self) {
        let (any, other, now) = (self.any(), self.any(), self.cx.now);
        let primary = self.members.iter().position(|member| member.core.leads().is_some());
        let at = primary.filter(|_| self.cx.rng.below(4) > 0).unwrap_or(any);
        let until = now + self.cx.rng.below(5_000);
        self.cx.coordinator.hide(at, until);
        if self.cx.rng.below(4) == 0 {
            self.cx.coordinator.cut(at, until);
        }
        self.cx.net.cut(at, other, until);
        self.cx.tally.cuts += 1;
    }

    /// Whoever begins anew waits for somebody who may lead: that one does not learn of it, and the other one may end before it leads.
    fn trouble_a_claim(&mut self) {
        let Some(at) = self.members.iter().position(|member| member.up && member.core.claims()) else { return };
        let until = self.cx.now + self.cx.rng.below(3_000);
        for leading in self.members.iter().filter(|member| member.core.leads().is_some()) {
            self.cx.coordinator.cut(leading.at, until);
        }
        if self.cx.rng.below(2) == 0 && self.may_lose(at) {
            self.crash(at);
            self.members[at].restart_at = self.cx.now + self.cx.rng.below(100);
        }
    }

    fn any(&mut self) -> usize {
        self.cx.rng.below(self.members.len() as u64) as usize
    }

    pub(crate) fn crash(&mut self, at: usize) {
        let restart_at = self.cx.now + self.cx.rng.below(1_000);
        self.members[at].end(&mut self.cx, restart_at);
        self.cx.tally.crashes += 1;
    }

    /// As a process that is asked to end does: a primary leaves its place to somebody of the set, if there is time, and claims nothing
    /// more.
    fn stop(&mut self) {
        let at = self.any();
        if !self.members[at].runs(self.cx.now) || !self.may_lose(at) {
            return;
        }
        let insync = self.members[at].core.record().map(|known| known.record.insync.clone()).unwrap_or_default();
        let heir = self.members.iter().find(|heir| heir.at != at && insync.contains(&heir.me) && heir.stays());
        let hurries = self.cx.options.hide > 0 && self.cx.rng.below(2) == 0;
        if let Some(heir) = heir.map(|heir| heir.me).filter(|_| !hurries) {
            self.members[at].resign(&mut self.cx, heir);
        }
        self.members[at].retire(&mut self.cx);
        self.members[at].stops_at = Some(self.cx.now + self.cx.rng.below(1_500));
        self.cx.tally.stops += 1;
    }

    /// Once in the proper way; once at once, to anybody, whatever that one lacks: at worst it does not happen. Not so where the
    /// primary is about to end: it would never lead again, and be the only one who could.
    fn transfer(&mut self) {
        let Some(at) = (0..self.members.len()).find(|at| self.members[*at].core.leads().is_some()) else { return };
        if !self.members[at].runs(self.cx.now) {
            return;
        }
        if self.cx.rng.below(2) == 0 || self.members[at].stops_at.is_some() {
            return self.members[at].begin_transfer(&self.cx);
        }
        let to = self.any();
        let heir = self.members[to].me;
        self.members[at].resign(&mut self.cx, heir);
    }

    /// One standby's state, while others could go on without it.
    fn corrupt(&mut self) {
        let at = self.any();
        let member = &self.members[at];
        // Of a claim that is under way nobody can say any more that it is not to be.
        let may_turn = member.core.leads().is_none() && !member.core.claims() && !member.tainted;
        if member.runs(self.cx.now) && may_turn && self.others_stay(at) {
            self.members[at].corrupt(&mut self.cx);
        }
    }

    /// Memory is all that members have: the last one that holds the acknowledged writes must not lose it, or nobody may
    /// ever serve again. Where all may be lost, none of them may live on with a state that is not sound: that one would wait for
    /// a person.
    pub(crate) fn may_lose(&self, at: usize) -> bool {
        let waits = |member: &Member| member.at != at && member.up && !member.stays();
        self.others_stay(at) || (self.cx.options.lose_all && !self.members.iter().any(waits))
    }

    /// One of the set stays up, and is not about to end, also of a set that a swap on its way may make.
    fn others_stay(&self, at: usize) -> bool {
        let Some(known) = self.cx.coordinator.record() else { return false };
        let me = self.members[at].me;
        let stays = |record: &ConfigRecord| record.insync.iter().any(|who| *who != me && self.stays(*who));
        std::iter::once(&known.record).chain(self.cx.net.swaps()).all(stays)
    }

    fn stays(&self, who: Incarnation) -> bool {
        self.members.iter().any(|member| member.me == who && member.stays())
    }

    pub(crate) fn is_up(&self, who: Incarnation) -> bool {
        self.members.iter().any(|member: &Member| member.up && member.me == who)
    }

    pub(crate) fn heal(&mut self) {
        self.cx.coordinator.heal();
        self.cx.net.heal(self.cx.now);
        for member in &mut self.members {
            member.paused_until = 0;
            member.restart_at = member.restart_at.min(self.cx.now);
        }
    }
}
