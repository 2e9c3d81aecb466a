//! What breaks, and what is kept whole so that a member can go on from it.

use ::member::Occasion;
use election::{ConfigRecord, Incarnation};

use crate::member::SimMember;
use crate::options::Options;
use crate::world::World;

/// An operator has looked, and acts.
const RECOVER_AFTER_MS: u64 = 1_500;

impl World {
    pub(crate) fn break_something(&mut self) {
        let Options { crash, pause, cut_link, hide, coordinator_down, .. } = self.cx.options;
        let Options { transfer, stop, corrupt, break_stream, spoof, change, .. } = self.cx.options;
        let now = self.cx.now;
        let is_fragile = self.is_fragile();
        if self.cx.options.loses_data() && !is_fragile && self.cx.rng.per_100k(self.cx.options.lose_data) {
            self.lose_data();
        }
        if !is_fragile && self.cx.rng.per_100k(coordinator_down) {
            self.cx.coordinator.down_until = now + self.cx.rng.below(2_000);
        }
        if !is_fragile && self.cx.rng.per_100k(pause) {
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
        // It is not drawn if it cannot happen.
        if change > 0 && self.cx.rng.per_100k(change) {
            self.change_settings();
        }
        if spoof > 0 && self.cx.rng.per_100k(spoof) {
            self.spoof();
        }
        if self.cx.rng.per_100k(crash) {
            let at = self.any();
            if self.members[at].up && self.may_lose(at) {
                self.crash(at);
            }
        }
    }

    /// The coordinator lost its data not long ago, and a new member may found a cluster. It must
    /// see the members that hold something, which only their presences can ensure.
    fn is_fragile(&self) -> bool {
        self.cx.options.loses_data() && !self.cx.coordinator.is_settled()
    }

    /// It shows nothing any more, or an older record. A member that saw only what a backup of the
    /// same store shows, and is in the set by it, can't know better: such a backup is not restored.
    fn lose_data(&mut self) {
        let now = self.cx.now;
        let is_stalled = |member: &SimMember| member.up && !member.runs(now);
        // A first record that is lost before any member knows of it was never there.
        if !self.members.iter().any(|member| member.up && member.election().seen().is_some()) {
            return;
        }
        if !self.cx.coordinator.is_calm(now) || self.members.iter().any(is_stalled) {
            return;
        }
        let is_new_store = self.cx.rng.below(2) == 0;
        let backups = self.cx.coordinator.backups();
        let at = self.cx.rng.below(backups.len() as u64 + 1) as usize;
        let backup = backups.get(at).cloned();
        if !is_new_store && backup.as_ref().is_some_and(|known| !self.all_know_better(&known.record)) {
            return;
        }
        self.cx.net.lose_questions();
        let members = self.members.len();
        self.cx.say(|| format!("coordinator: shows {backup:?}, new store: {is_new_store}"));
        self.cx.coordinator.lose(backup, is_new_store, members, &mut self.cx.rng, now);
        self.cx.tally.losses += 1;
    }

    fn all_know_better(&self, backup: &ConfigRecord) -> bool {
        let newest = self.cx.coordinator.record().map(|known| known.record.insync.clone()).unwrap_or_default();
        self.members.iter().filter(|member| member.up && backup.insync.contains(&member.me)).all(|member| {
            let knows = member.election().seen().is_some_and(|seen| seen.version > backup.version);
            knows || newest.contains(&member.me)
        })
    }

    /// If the members cannot help themselves, an operator names one that holds all that counts.
    pub(crate) fn recover(&mut self) {
        let Some(since) = self.cx.coordinator.lost_since() else { return };
        let Some(known) = self.cx.coordinator.record().cloned() else { return };
        if self.cx.now < since + RECOVER_AFTER_MS {
            return;
        }
        let seen = self.members.iter().filter_map(|member| member.election().seen());
        let (epoch, version) = seen.fold((known.record.epoch, known.record.version), |(epoch, version), seen| {
            (epoch.max(seen.epoch), version.max(seen.version))
        });
        let survivor = self.members.iter().find(|member| member.stays() && known.record.insync.contains(&member.me));
        let Some(survivor) = survivor.map(|member| member.me) else { return };
        let first = ConfigRecord::first(known.record.cluster_id, survivor, known.record.level);
        let to = ConfigRecord {
            epoch: epoch + 1,
            version: version + 1,
            born: known.record.born,
            timing: known.record.timing,
            ..first
        };
        self.cx.say(|| format!("an operator: {to:?}"));
        self.cx.checks.births.begins(to.epoch, to.born);
        self.cx.coordinator.recover(to);
        self.cx.tally.recovered += 1;
    }

    /// A member, mostly the primary, is not shown by the coordinator, nor reachable for one of the
    /// others, and mostly lives on.
    fn hide(&mut self) {
        let (any, other, now) = (self.any(), self.any(), self.cx.now);
        let primary = self.members.iter().position(|member| member.election().leads().is_some());
        let at = primary.filter(|_| self.cx.rng.below(4) > 0).unwrap_or(any);
        let until = now + self.cx.rng.below(5_000);
        self.cx.coordinator.hide(at, until);
        if self.cx.rng.below(4) == 0 {
            self.cx.coordinator.cut(at, until);
        }
        self.cx.net.cut(at, other, until);
        self.cx.tally.cuts += 1;
    }

    /// A member that begins anew waits for a primary that may live. That primary does not learn of
    /// it, or the member ends before it leads.
    fn trouble_a_claim(&mut self) {
        let Some(at) = self.members.iter().position(|member| member.up && member.election().claims()) else { return };
        let until = self.cx.now + self.cx.rng.below(3_000);
        for leading in self.members.iter().filter(|member| member.election().leads().is_some()) {
            self.cx.coordinator.cut(leading.at, until);
        }
        if self.cx.rng.below(2) == 0 && self.may_lose(at) {
            self.crash(at);
            self.members[at].restart_at = self.cx.now + self.cx.rng.below(100);
        }
    }

    /// To the primary, as one of the other members or as itself.
    fn spoof(&mut self) {
        let (any, as_one) = (self.any(), self.any());
        let to = self.members.iter().position(|member| member.election().leads().is_some()).unwrap_or(any);
        let posed = self.members[as_one].me;
        self.outsider.knock(&mut self.cx, to, posed);
    }

    fn any(&mut self) -> usize {
        self.cx.rng.below(self.members.len() as u64) as usize
    }

    pub(crate) fn crash(&mut self, at: usize) {
        let restart_at = self.cx.now + self.cx.rng.below(1_000);
        self.members[at].end(&mut self.cx, restart_at);
        self.cx.tally.crashes += 1;
    }

    /// Like a process that is asked to end: a primary hands over to a member of the set, if there
    /// is time, and claims nothing more.
    fn stop(&mut self) {
        let at = self.any();
        if !self.members[at].runs(self.cx.now) || !self.may_lose(at) {
            return;
        }
        let hurries = self.cx.options.hide > 0 && self.cx.rng.below(2) == 0;
        self.members[at].retire(&mut self.cx);
        self.members[at].leaves = !hurries;
        self.members[at].stops_at = Some(self.cx.now + self.cx.rng.below(1_500));
        self.cx.tally.stops += 1;
    }

    /// To a member that could take over, or to any, whatever it lacks. At worst it does not happen.
    fn transfer(&mut self) {
        let Some(at) = (0..self.members.len()).find(|at| self.members[*at].election().leads().is_some()) else {
            return;
        };
        if !self.members[at].runs(self.cx.now) {
            return;
        }
        let to = self.any();
        let to = Some(self.members[to].me).filter(|_| self.cx.rng.below(2) == 0);
        self.members[at].transfer(&mut self.cx, to, Occasion::Asked);
    }

    /// The cluster's settings change, sometimes right before the primary is cut off, so that not
    /// all members know it yet.
    fn change_settings(&mut self) {
        let (kind, of_state, is_cut_off) = (self.cx.rng.below(3), self.cx.rng.below(2) == 0, self.cx.rng.below(2) == 0);
        let (timing, settings) = (self.cx.options.timing(kind), self.cx.options.state_settings(kind));
        let at = self.members.iter().position(|member| member.election().leads().is_some());
        let Some(at) = at.filter(|at| self.members[*at].runs(self.cx.now)) else { return };
        let is_changed = match of_state {
            true => self.members[at].set_settings(&mut self.cx, &settings),
            false => self.members[at].retime(&mut self.cx, timing),
        };
        self.cx.say(|| format!("an operator: kind {kind}, state {of_state}: {is_changed}"));
        self.cx.tally.settings_changed += u64::from(is_changed);
        if is_changed && is_cut_off {
            let until = self.cx.now + self.cx.rng.below(2_000);
            for other in (0..self.members.len()).filter(|other| *other != at) {
                self.cx.net.cut(at, other, until);
                self.cx.net.cut(other, at, until);
            }
        }
    }

    /// Changes one standby's state, while others could go on without it.
    fn corrupt(&mut self) {
        let at = self.any();
        let member = &self.members[at];
        // A pending claim can no longer be prevented.
        let may_turn = member.election().leads().is_none() && !member.election().claims() && !member.tainted;
        if member.runs(self.cx.now) && may_turn && self.others_stay(at) {
            self.members[at].corrupt(&mut self.cx);
        }
    }

    /// Members have only memory: the last one that holds the acknowledged writes must not lose it,
    /// or no member may ever serve again. If all may be lost, none may live on with an unsound
    /// state: it would wait for an operator.
    pub(crate) fn may_lose(&self, at: usize) -> bool {
        let waits = |member: &SimMember| member.at != at && member.up && !member.stays();
        self.others_stay(at) || (self.cx.options.lose_all && !self.members.iter().any(waits))
    }

    /// One member of the set stays up and is not about to end. This includes the sets of swaps on
    /// their way.
    fn others_stay(&self, at: usize) -> bool {
        let Some(known) = self.cx.coordinator.record() else { return false };
        let me = self.members[at].me;
        let stays = |record: &ConfigRecord| record.insync.iter().any(|who| *who != me && self.stays(*who));
        std::iter::once(&known.record).chain(self.cx.net.swaps()).all(stays)
    }

    fn stays(&self, who: Incarnation) -> bool {
        self.members.iter().any(|member| member.me == who && member.stays())
    }

    pub(crate) fn heal(&mut self) {
        self.cx.coordinator.heal();
        self.cx.net.heal(self.cx.now);
        for member in &mut self.members {
            member.paused_until = 0;
            member.slew_no_more(self.cx.now);
            member.restart_at = member.restart_at.min(self.cx.now);
        }
    }
}
