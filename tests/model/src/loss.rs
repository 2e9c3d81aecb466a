//! The coordinator loses its record, or shows an older one: what members do then. Follows
//! `election/src/loss.rs`, and the rules of `election.rs` and `leading.rs` that belong to it.
//!
//! Requests to the coordinator that were not answered are lost with its data, since its connections
//! end.
//!
//! A claim does not depend on what other members say they have seen, since after a loss they may
//! not be present again yet. A founder, and a member that begins anew, have looked for the time of
//! a lease, so they see every living member.
//!
//! Two cases are not covered, as ARCHITECTURE.md says, and so do not happen here: a member that
//! holds something and is cut off from the coordinator, or stopped, for the time of a lease; and a
//! backup that a member cannot distinguish from the newest record (`State::is_covered`).
//!
//! Only the order of versions counts. They are counted from the oldest one that the coordinator may
//! still show; all older ones are 0. Once the record is newer than all that any member has seen,
//! and can be lost no more, versions are not counted.

use crate::model::Action;
use crate::rules::{Mistake, Rules};
use crate::state::{Claim, Leading, MemberState, Message, Record, State, Swap};
use crate::words::{Log, Who};

/// What a read of the coordinator means to a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shown {
    Current,
    /// For a primary: an older version, led by a member that every commit of it has waited for.
    MakesWay,
    Lost,
}

impl Leading {
    fn is_led_by(&self, record: &Record, me: Who) -> bool {
        (record.epoch, record.version, record.insync) == (self.epoch, self.version, self.insync) && record.primary == me
    }

    fn may_restore(&self, me: Who, rules: &Rules) -> bool {
        let has_seen = |who: Who| self.peers[who.index()].has_seen;
        rules.makes(Mistake::RestoreWithoutRight) || self.may_answer(me) && self.required(me).iter().all(has_seen)
    }

    fn restored(&self, me: Who, found: &Record) -> Record {
        let before = Record { epoch: self.epoch.max(found.epoch), version: self.version.max(found.version), ..*found };
        before.promoted(me)
    }
}

impl State {
    /// The newest record that was written, whatever the coordinator shows.
    pub(crate) fn newest(&self) -> &Record {
        self.lost.as_ref().unwrap_or(&self.record)
    }

    pub(crate) fn losses(&self, rules: &Rules, actions: &mut Vec<Action>) {
        let has_seen = self.members.iter().any(|member| member.epoch_max > 0);
        // A first record that is lost before a member knows of it was never there.
        if self.losses == 0 || self.record.epoch == 0 || !has_seen {
            return;
        }
        actions.push(Action::Empty);
        actions.push(match &self.backup {
            None => Action::BackUp,
            Some(backup) if *backup != self.record && (rules.bounds.any_backup || self.is_covered(backup)) => {
                Action::RollBack
            }
            Some(_) => return,
        });
    }

    /// Not covered is a living member that saw only what the backup shows, and is in one of the two
    /// sets. In the backup's set alone it would claim on the backup; in the newest set alone it
    /// would not object to a beginning with nothing.
    fn is_covered(&self, backup: &Record) -> bool {
        let newest = self.newest().insync;
        let is_in_one = |who: &Who| backup.insync.contains(*who) != newest.contains(*who);
        let either = backup.insync.union(newest);
        let alive = either.iter().filter(|who| !self.is_dead(*who)).filter(is_in_one);
        alive.into_iter().all(|who| self.members[who.slot()].version_max > backup.version)
    }

    pub(crate) fn lose(&mut self, shows: Record) {
        let newest = Record { version: 0, ..*self.newest() };
        (self.record, self.lost, self.backup) = (shows, Some(newest), None);
        self.losses -= 1;
        self.late.clear();
        for slot in 0..self.members.len() {
            let (me, member) = (self.who(slot), &mut self.members[slot]);
            if member.asked.is_some() {
                member.on_refused();
            }
            member.claim.iter_mut().for_each(|claim| claim.current = false);
            member.leading.iter_mut().for_each(|leading| leading.current = leading.is_led_by(&shows, me));
        }
    }

    pub(crate) fn judge(&self, slot: usize, rules: &Rules) -> Shown {
        let (me, member, record) = (self.who(slot), &self.members[slot], &self.record);
        if !self.counts {
            return Shown::Current;
        }
        let is_older = record.epoch < member.epoch_max || record.version < member.version_max;
        let is_older = is_older && (record.epoch == 0 || !rules.makes(Mistake::BelieveOlder));
        match &member.leading {
            None if is_older => Shown::Lost,
            None => Shown::Current,
            Some(leading) if !is_older && record.version > leading.version => Shown::Current,
            Some(leading) if record.epoch > leading.epoch && leading.required(me).contains(record.primary) => {
                Shown::MakesWay
            }
            Some(leading) if !is_older && leading.is_led_by(record, me) => Shown::Current,
            Some(_) => Shown::Lost,
        }
    }

    pub(crate) fn read(&mut self, slot: usize, rules: &Rules) {
        match self.judge(slot, rules) {
            Shown::Current if self.record.epoch == 0 => {}
            Shown::Current => self.learn(slot, self.record, true, false),
            Shown::MakesWay => {
                self.members[slot].version_max = 0;
                self.learn(slot, self.record, true, false);
            }
            Shown::Lost => self.restore(slot, rules),
        }
    }

    fn restore(&mut self, slot: usize, rules: &Rules) {
        let (me, member) = (self.who(slot), &mut self.members[slot]);
        let Some(leading) = &mut member.leading else { return };
        leading.unsure = true;
        let to = leading.restored(me, &self.record);
        if member.asked.is_none() && to.epoch <= rules.bounds.epochs && leading.may_restore(me, rules) {
            member.claim = Some(Claim { epoch: to.epoch, current: true });
            member.asked = Some(Swap { to, happened: false, current: true });
        }
    }

    /// No living member has seen anything.
    pub(crate) fn may_found(&self, slot: usize, rules: &Rules) -> bool {
        let is_blind = |other: usize| other != slot && rules.makes(Mistake::FoundBesideSurvivor);
        let has_seen = |other: usize| self.members[other].epoch_max > 0 && !is_blind(other);
        !self.hears_from_the_dead() && !(0..self.members.len()).any(has_seen)
    }

    /// No living member has seen anything newer.
    pub(crate) fn may_begin_anew(&self, slot: usize, rules: &Rules) -> bool {
        let is_blind = |other: usize| other != slot && rules.makes(Mistake::BeginAnewBesideSurvivor);
        let others = (0..self.members.len()).filter(|other| !is_blind(*other)).map(|other| &self.members[other]);
        let is_newer =
            |member: &MemberState| member.epoch_max > self.record.epoch || member.version_max > self.record.version;
        !self.counts || !self.hears_from_the_dead() && !others.into_iter().any(is_newer)
    }

    /// The last message of a member that has ended is under way for less than the lease for which
    /// others look before they begin.
    fn hears_from_the_dead(&self) -> bool {
        let is_last = |message: &Message| matches!(message, Message::Beacon { from, .. } if self.is_dead(*from));
        self.messages.iter().any(is_last)
    }

    /// If no member has seen a record, it is another cluster, in which nothing was acknowledged.
    pub(crate) fn on_founded(&mut self, to: &Record) {
        let is_first = to.epoch == 1;
        if is_first && self.members.iter().any(|member| member.epoch_max > 0) {
            self.is_founded_twice = true;
        } else if is_first {
            (self.acked, self.acked_epoch, self.resigned) = (Log::default(), 0, 0);
            self.messages.clear();
        }
    }

    fn is_settled(&self) -> bool {
        let Record { epoch, version, .. } = self.record;
        let is_behind = |leading: &Leading| leading.current || leading.version < version;
        let is_known = self.messages.iter().all(|message| {
            let (Message::Beacon { epoch: of, version: sent, .. } | Message::Answer { epoch: of, version: sent, .. }) =
                message;
            *of <= epoch && *sent <= version
        });
        self.lost.is_none()
            && is_known
            && self.members.iter().all(|member| {
                let is_older = member.epoch_max <= epoch && member.version_max <= version;
                is_older && member.leading.as_ref().is_none_or(is_behind)
            })
    }

    pub(crate) fn tidy_versions(&mut self) {
        self.counts &= self.losses > 0 || !self.is_settled();
        let below = if self.counts { self.oldest_version() } else { u8::MAX };
        let shift = |version: &mut u8| *version = version.saturating_sub(below);
        let records = [&mut self.record].into_iter().chain(&mut self.backup).chain(&mut self.late);
        records.for_each(|record| shift(&mut record.version));
        for message in &mut self.messages {
            let (Message::Beacon { version, .. } | Message::Answer { version, .. }) = message;
            shift(version);
        }
        for member in &mut self.members {
            shift(&mut member.version_max);
            member.asked.iter_mut().for_each(|swap| shift(&mut swap.to.version));
            let Some(leading) = &mut member.leading else { continue };
            shift(&mut leading.version);
            if !self.counts {
                leading.peers.iter_mut().for_each(|peer| peer.has_seen = false);
            }
        }
    }

    /// All versions below the oldest one that may be shown, or that a primary leads under, are
    /// equivalent.
    fn oldest_version(&self) -> u8 {
        let leading = self.members.iter().filter_map(|member| member.leading.as_ref());
        let leading = leading.filter(|leading| leading.epoch >= self.record.epoch).map(|leading| leading.version);
        let shown = [Some(&self.record), self.backup.as_ref()].into_iter().flatten();
        let shown = shown.filter(|record| record.epoch > 0).map(|record| record.version);
        leading.chain(shown).min().map_or(0, |oldest| oldest.saturating_sub(1))
    }
}
