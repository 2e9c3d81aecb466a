//! One moment of the whole cluster: the coordinator's two keys, the members, what is under way,
//! what clients were told.
//!
//! Revisions are not numbers here: for each record that is remembered, the state keeps whether it
//! is still the current one, which is all that compare-and-swap needs. So the set may change
//! without end within a bounded number of states.

use crate::rules::{TENURE, WAIT};
use crate::words::{LIVES, Log, SLOTS, Set, Who};

/// The config record. Epoch 0: there is none yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Record {
    pub(crate) epoch: u8,
    /// Rises with each swap. Counted only if the coordinator may lose data: see [`State::tidy`].
    pub(crate) version: u8,
    pub(crate) primary: Who,
    pub(crate) insync: Set,
    /// The epoch begins with nothing: all members that held anything have ended.
    pub(crate) reborn: bool,
}

impl Record {
    pub(crate) fn promoted(&self, who: Who) -> Record {
        let (epoch, version) = (self.epoch + 1, self.version + 1);
        Record { epoch, version, primary: who, insync: Set::of(who), reborn: false }
    }

    /// The coordinator shows none.
    pub(crate) fn none() -> Record {
        Record { epoch: 0, version: 0, primary: Who::new(0, 0), insync: Set::default(), reborn: false }
    }
}

/// A swap that its member waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Swap {
    pub(crate) to: Record,
    pub(crate) happened: bool,
    /// No other record has followed it. Before it has happened that is so, or it would have been
    /// refused.
    pub(crate) current: bool,
}

/// A claim that was sent, and may still happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Claim {
    pub(crate) epoch: u8,
    /// The record is still the one that it compares with.
    pub(crate) current: bool,
}

/// What a primary knows of another member.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Peer {
    pub(crate) received: u8,
    /// Ticks since the newest beacon that it has answered was sent, up to the tenure.
    pub(crate) age: u8,
    /// It has answered a beacon with the version under which the primary leads.
    pub(crate) has_seen: bool,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Leading {
    pub(crate) epoch: u8,
    pub(crate) version: u8,
    pub(crate) insync: Set,
    /// The record under which it leads is still the coordinator's.
    pub(crate) current: bool,
    /// The record must be read before anything is proposed.
    pub(crate) unsure: bool,
    pub(crate) peers: [Peer; SLOTS * LIVES],
    pub(crate) committed: u8,
    pub(crate) joining: Option<Who>,
    /// All members that would be in the set by a proposal that may have happened, or may yet.
    pub(crate) proposed: Set,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct MemberState {
    pub(crate) life: u8,
    /// The highest epoch and version that it has seen.
    pub(crate) epoch_max: u8,
    pub(crate) version_max: u8,
    pub(crate) log: Log,
    /// The epoch of the primary whose log this one is a part of.
    pub(crate) log_epoch: u8,
    /// Ticks since it last gave a primary a right to answer clients, up to the wait.
    pub(crate) answered_age: u8,
    pub(crate) asked: Option<Swap>,
    pub(crate) claim: Option<Claim>,
    /// `None`: it follows a primary, or looks for one.
    pub(crate) leading: Option<Leading>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// From the primary of an epoch: all that it has. `age`: ticks since it was sent, up to the
    /// tenure.
    Beacon { from: Who, to: Who, epoch: u8, version: u8, age: u8, log: Log },
    /// To the primary: what is held now, and the age of the beacon that this answers.
    Answer { from: Who, to: Who, epoch: u8, version: u8, age: u8, received: u8 },
}

impl Message {
    pub(crate) fn to(&self) -> (Who, u8) {
        match *self {
            Message::Beacon { to, epoch, .. } | Message::Answer { to, epoch, .. } => (to, epoch),
        }
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct State {
    /// What the coordinator shows.
    pub(crate) record: Record,
    /// The newest record, while that is not the one shown.
    pub(crate) lost: Option<Record>,
    /// An operator's backup, made at any time.
    pub(crate) backup: Option<Record>,
    /// How often the coordinator may still lose data.
    pub(crate) losses: u8,
    /// Versions are counted: the coordinator may lose data, or a member has seen more than it
    /// shows.
    pub(crate) counts: bool,
    /// A first record was created although a living member has seen one.
    pub(crate) is_founded_twice: bool,
    /// The member that the coordinator's other key names to clients.
    pub(crate) address: Option<Who>,
    pub(crate) members: [MemberState; SLOTS],
    pub(crate) failures: u8,
    /// In no order: any of them may come next, or never.
    pub(crate) messages: Vec<Message>,
    /// Swaps that their members have stopped waiting for. The record is still the one that they
    /// compare with.
    pub(crate) late: Vec<Record>,
    /// The last epoch whose primary has said that it answers no more.
    pub(crate) resigned: u8,
    /// What clients know to have succeeded, by the answer of a write or of a read.
    pub(crate) acked: Log,
    pub(crate) acked_epoch: u8,
}

impl MemberState {
    pub(crate) fn new(life: u8) -> MemberState {
        MemberState {
            life,
            epoch_max: 0,
            version_max: 0,
            log: Log::default(),
            log_epoch: 0,
            // It has answered no primary. The core waits all the same, since it knows no better.
            answered_age: WAIT,
            asked: None,
            claim: None,
            leading: None,
        }
    }

    /// The record has changed. A swap that has not happened never will: its member is told so at
    /// once, since until then it could only do less.
    fn on_moved_record(&mut self) {
        self.claim.iter_mut().for_each(|claim| claim.current = false);
        self.leading.iter_mut().for_each(|leading| leading.current = false);
        match &mut self.asked {
            Some(swap) if swap.happened => swap.current = false,
            Some(_) => self.on_refused(),
            None => {}
        }
    }

    pub(crate) fn on_refused(&mut self) {
        self.asked = None;
        self.leading.iter_mut().for_each(|leading| leading.unsure = true);
    }

    /// Removes differences that can make no difference any more.
    fn tidy(&mut self, me: Who, record: &Record) {
        let is_won = |claim: &Claim| claim.epoch == record.epoch && record.primary == me;
        if let Some(claim) = self.claim.as_mut().filter(|claim| !claim.current && !is_won(claim)) {
            claim.epoch = 0;
        }
        // Anything that it would propose is refused.
        let deposed = self.leading.as_mut().filter(|leading| leading.epoch < record.epoch);
        deposed.into_iter().for_each(|leading| leading.unsure = true);
    }

    fn tick(&mut self) {
        self.answered_age = (self.answered_age + 1).min(WAIT);
        if let Some(leading) = &mut self.leading {
            leading.peers.iter_mut().for_each(|peer| peer.age = (peer.age + 1).min(TENURE));
        }
    }
}

impl State {
    /// No member has claimed anything yet.
    pub(crate) fn new(losses: u8) -> State {
        State {
            record: Record::none(),
            lost: None,
            backup: None,
            losses,
            counts: losses > 0,
            is_founded_twice: false,
            address: None,
            members: [0; SLOTS].map(MemberState::new),
            failures: 0,
            messages: Vec::new(),
            late: Vec::new(),
            resigned: 0,
            acked: Log::default(),
            acked_epoch: 0,
        }
    }

    pub(crate) fn who(&self, slot: usize) -> Who {
        Who::new(slot, self.members[slot].life)
    }

    pub(crate) fn is_dead(&self, who: Who) -> bool {
        self.members[who.slot()].life != who.life()
    }

    pub(crate) fn tick(&mut self) {
        self.members.iter_mut().for_each(MemberState::tick);
        for message in &mut self.messages {
            let (Message::Beacon { age, .. } | Message::Answer { age, .. }) = message;
            *age = (*age + 1).min(TENURE);
        }
    }

    /// The coordinator carries out a swap that compares with what it has. Every remembered record
    /// is old from here on.
    pub(crate) fn swap(&mut self, to: Record) {
        if self.record.epoch == 0 {
            self.on_founded(&to);
        }
        if to.reborn && to.epoch > self.record.epoch && self.newest().insync.iter().all(|who| self.is_dead(who)) {
            // All members that held what was acknowledged are gone, so it counts no more.
            self.acked = Log::default();
        }
        (self.record, self.lost) = (to, None);
        self.late.clear();
        self.members.iter_mut().for_each(MemberState::on_moved_record);
    }

    /// Drops messages that will not be read, and sorts the rest.
    pub(crate) fn tidy(&mut self) {
        let members = &self.members;
        self.messages.retain(|message| {
            let (to, epoch) = message.to();
            let member = &members[to.slot()];
            let wanted = match message {
                Message::Beacon { .. } => epoch >= member.epoch_max,
                Message::Answer { .. } => member.leading.as_ref().is_some_and(|leading| leading.epoch == epoch),
            };
            member.life == to.life() && wanted
        });
        for (slot, member) in self.members.iter_mut().enumerate() {
            member.tidy(Who::new(slot, member.life), &self.record);
        }
        let lives = self.members.each_ref().map(|member| member.life);
        for leading in self.members.iter_mut().filter_map(|member| member.leading.as_mut()) {
            leading.forget_dead(lives);
        }
        self.tidy_versions();
        self.messages.sort_unstable();
        self.messages.dedup();
        self.late.sort_unstable();
        self.late.dedup();
    }
}
