//! What a member does with what it reads, hears and is answered. Follows
//! `election/src/election.rs`, rule by rule.
//!
//! When a member suspects its primary, or gives a peer up, does not matter for safety: here it may
//! do so at any time.

use crate::loss::Shown;
use crate::rules::{Mistake, Rules, WAIT};
use crate::state::{Claim, Leading, Message, Record, State, Swap};
use crate::words::{Log, Set, Who};

impl State {
    /// The member sees a record: the current one, which it has just read, or the one that its own
    /// swap has made.
    pub(crate) fn learn(&mut self, slot: usize, record: Record, current: bool, swapped: bool) {
        let me = self.who(slot);
        let member = &mut self.members[slot];
        member.epoch_max = member.epoch_max.max(record.epoch);
        member.version_max = member.version_max.max(record.version);
        if member.claim.is_some_and(|claim| claim.epoch == record.epoch && record.primary == me) {
            return self.lead(slot, &record, current);
        }
        member.claim = member.claim.filter(|claim| claim.current);
        if let Some(leading) = &mut member.leading {
            if leading.epoch == record.epoch {
                let newer = swapped || !leading.current;
                leading.on_known(&record, current, newer);
                leading.advance(me, member.log.len());
            } else {
                member.leading = None;
            }
        }
    }

    fn lead(&mut self, slot: usize, record: &Record, current: bool) {
        let member = &mut self.members[slot];
        member.claim = None;
        // The primary that it last answered does not answer clients any more.
        member.answered_age = WAIT;
        if record.reborn {
            member.log = Log::default();
        }
        member.log_epoch = record.epoch;
        member.leading = Some(Leading::new(record, current, member.log.len()));
    }

    /// The record that the member may propose to take over from the current one, if it may.
    pub(crate) fn takeover(&self, slot: usize, rules: &Rules) -> Option<Record> {
        let (me, member, record) = (self.who(slot), &self.members[slot], &self.record);
        if member.leading.is_some() || member.asked.is_some() || record.epoch == rules.bounds.epochs {
            return None;
        }
        if record.version > rules.bounds.versions || self.judge(slot, rules) == Shown::Lost {
            return None;
        }
        let promoted = record.promoted(me);
        if record.epoch == 0 {
            return self.may_found(slot, rules).then_some(promoted);
        }
        if record.insync.iter().all(|who| self.is_dead(who)) {
            return self.may_begin_anew(slot, rules).then_some(Record { reborn: true, ..promoted });
        }
        let may_claim = record.insync.contains(me) || rules.makes(Mistake::ClaimOutsideSet);
        // Proof, not a guess: that process has ended, or its last message said that it answers no
        // more.
        let vacant = self.is_dead(record.primary) || record.epoch <= self.resigned;
        let wait = if rules.makes(Mistake::WaitTooShort) { WAIT - 1 } else { WAIT };
        (may_claim && (vacant || member.answered_age >= wait)).then_some(promoted)
    }

    pub(crate) fn claim(&mut self, slot: usize, to: Record) {
        let member = &mut self.members[slot];
        member.epoch_max = member.epoch_max.max(self.record.epoch);
        member.version_max = member.version_max.max(self.record.version);
        member.claim = Some(Claim { epoch: to.epoch, current: true });
        member.asked = Some(Swap { to, happened: false, current: true });
    }

    /// A primary proposes another set. From now on it needs every member that this would put into
    /// the set.
    pub(crate) fn propose(&mut self, slot: usize, insync: Set) {
        let me = self.who(slot);
        let member = &mut self.members[slot];
        let Some(leading) = &mut member.leading else { return };
        leading.proposed = leading.proposed.union(insync);
        let (epoch, version) = (leading.epoch, leading.version + 1);
        let to = Record { epoch, version, primary: me, insync, reborn: self.record.reborn && leading.current };
        let is_current = leading.current;
        member.asked = Some(Swap { to, happened: false, current: true });
        if !is_current {
            member.on_refused();
        }
    }

    /// The member is told that its swap has happened.
    pub(crate) fn on_swapped(&mut self, slot: usize) {
        let Some(swap) = self.members[slot].asked.take() else { return };
        self.learn(slot, swap.to, swap.current, true);
    }

    /// No answer came. Nothing relies on the outcome of the swap.
    pub(crate) fn on_no_answer(&mut self, slot: usize, rules: &Rules) {
        let Some(swap) = self.members[slot].asked.take() else { return };
        if !swap.happened {
            self.late.push(swap.to);
        }
        if let Some(leading) = &mut self.members[slot].leading {
            leading.unsure = true;
            if rules.makes(Mistake::UnknownIsFailed) {
                (leading.proposed, leading.joining) = (Set::default(), None);
            }
        }
    }

    pub(crate) fn on_message(&mut self, message: Message, rules: &Rules) {
        match message {
            Message::Beacon { from, to, epoch, version, age, log } => {
                if self.hear(to.slot(), (epoch, version), log, rules) {
                    let received = self.members[to.slot()].log.len();
                    self.messages.push(Message::Answer { from: to, to: from, epoch, version, age, received });
                }
            }
            Message::Answer { from, to, epoch, version, age, received } => {
                self.answered(from, to, epoch, (received, age, version), rules)
            }
        }
    }

    /// Whether the member answers. Each answer lets the primary answer clients for a tenure: none
    /// is given while a claim may still happen, and none to an epoch that is known to be over.
    fn hear(&mut self, slot: usize, (epoch, version): (u8, u8), log: Log, rules: &Rules) -> bool {
        let member = &mut self.members[slot];
        let claims = member.claim.is_some() && !rules.makes(Mistake::AnswerWhileClaiming);
        if epoch < member.epoch_max || claims {
            return false;
        }
        if let Some(leading) = &mut member.leading {
            leading.unsure |= epoch > leading.epoch;
            return false;
        }
        (member.epoch_max, member.answered_age) = (epoch, 0);
        member.version_max = member.version_max.max(version);
        let longer = log.len() > member.log.len();
        if longer || (member.log_epoch != epoch && !rules.makes(Mistake::KeepDivergedTail)) {
            member.log = log;
        }
        member.log_epoch = epoch;
        true
    }

    fn answered(&mut self, from: Who, to: Who, epoch: u8, answer: (u8, u8, u8), rules: &Rules) {
        let member = &mut self.members[to.slot()];
        if let Some(leading) = member.leading.as_mut().filter(|leading| leading.epoch == epoch) {
            let (received, age, version) = answer;
            let age = if rules.makes(Mistake::TenureFromReceipt) { 0 } else { age };
            leading.on_answered(from, (received, age, version));
            leading.advance(to, member.log.len());
        }
    }

    /// A failure: the process ends, and the next one has nothing and another name. While it does
    /// nothing it is as good as down, so there is no other state for that.
    pub(crate) fn fail(&mut self, slot: usize, rules: &Rules) {
        self.on_no_answer(slot, rules);
        self.failures += 1;
        let life = self.members[slot].life + u8::from(!rules.makes(Mistake::SameIncarnation));
        self.members[slot] = crate::state::MemberState::new(life);
    }

    /// The primary stops leading, and says so.
    pub(crate) fn resign(&mut self, slot: usize) {
        let member = &mut self.members[slot];
        let Some(leading) = member.leading.take() else { return };
        member.answered_age = 0;
        self.resigned = self.resigned.max(leading.epoch);
    }
}
