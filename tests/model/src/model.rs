//! What may happen next, in any state, and its result.
//!
//! There is no action for a pause: a member that does nothing while ticks go by stands still, for
//! as long as the checker likes. There is none for a broken link, either: a message that does not
//! come is late or lost.

use stateright::{Model, Property};

use crate::properties::properties;
use crate::rules::{Mistake, Rules};
use crate::state::{Message, State};
use crate::symmetry::representative;
use crate::words::{Set, Who};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Time goes on, equally for all members: clocks are covered by the two limits.
    Tick,
    /// A member's process ends, with all that it had in memory; another one starts.
    Fail {
        slot: usize,
    },
    /// A member reads the record.
    Read {
        slot: usize,
    },
    /// A member has lost its primary, reads the record and proposes to take over.
    Claim {
        slot: usize,
    },
    /// The coordinator carries out a member's swap.
    Swap {
        slot: usize,
    },
    /// A member is told that its swap has happened.
    Swapped {
        slot: usize,
    },
    /// A member stops waiting for the outcome of its swap.
    NoAnswer {
        slot: usize,
    },
    /// A swap that its member has stopped waiting for happens after all,
    LateSwap {
        at: usize,
    },
    /// or never will.
    LateSwapLost {
        at: usize,
    },
    /// An operator makes a backup of the record,
    BackUp,
    /// and the coordinator shows it from here on,
    RollBack,
    /// or none.
    Empty,
    Append {
        slot: usize,
    },
    Beacon {
        slot: usize,
        to: usize,
    },
    /// A primary answers a client, with all that is committed.
    Acknowledge {
        slot: usize,
    },
    StartJoin {
        slot: usize,
        who: Who,
    },
    StopJoin {
        slot: usize,
    },
    /// A primary proposes a set with another member, without one, or the same again to learn the
    /// outcome of a proposal.
    Propose {
        slot: usize,
        insync: Set,
    },
    Resign {
        slot: usize,
    },
    /// A member that believes it leads writes its address for clients to find.
    Publish {
        slot: usize,
    },
    /// The lease of the address is over.
    Unpublish,
    Receive {
        message: Message,
    },
    Lose {
        message: Message,
    },
}

impl Model for Rules {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.bounds.losses)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        for slot in 0..self.bounds.members {
            self.anybody(state, slot, actions);
            self.primary(state, slot, actions);
        }
        for at in 0..state.late.len() {
            actions.extend([Action::LateSwap { at }, Action::LateSwapLost { at }]);
        }
        for message in state.messages.iter().copied() {
            actions.extend([Action::Receive { message }, Action::Lose { message }]);
        }
        actions.extend(state.address.map(|_| Action::Unpublish));
        state.losses(self, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.act(&mut state, action);
        state.tidy();
        if state == *last {
            return None;
        }
        Some(if self.bounds.symmetry { representative(state, self.bounds.members) } else { state })
    }

    fn properties(&self) -> Vec<Property<Rules>> {
        properties(self)
    }
}

impl Rules {
    fn anybody(&self, state: &State, slot: usize, actions: &mut Vec<Action>) {
        let member = &state.members[slot];
        if state.failures < self.bounds.failures {
            actions.push(Action::Fail { slot });
        }
        let Some(swap) = member.asked else {
            let is_shown = state.record.epoch > 0 || member.leading.is_some();
            actions.extend(is_shown.then_some(Action::Read { slot }));
            actions.extend(state.takeover(slot, self).map(|_| Action::Claim { slot }));
            return;
        };
        actions.push(if swap.happened { Action::Swapped { slot } } else { Action::Swap { slot } });
        if swap.happened || state.late.len() < self.bounds.late_swaps {
            actions.push(Action::NoAnswer { slot });
        }
    }

    fn primary(&self, state: &State, slot: usize, actions: &mut Vec<Action>) {
        let (me, member) = (state.who(slot), &state.members[slot]);
        let Some(leading) = &member.leading else { return };
        actions.extend([Action::Resign { slot }]);
        actions.extend((member.log.len() < self.bounds.entries).then_some(Action::Append { slot }));
        actions.extend(self.may_answer(state, slot).then_some(Action::Acknowledge { slot }));
        actions.extend(self.bounds.address.then_some(Action::Publish { slot }));
        let others = (0..self.bounds.members).filter(|other| *other != slot);
        if state.messages.len() < self.bounds.messages {
            actions.extend(others.clone().map(|to| Action::Beacon { slot, to }));
        }
        if member.asked.is_some() || leading.unsure || leading.version > self.bounds.versions {
            return;
        }
        let propose = |insync| Action::Propose { slot, insync };
        actions.extend(leading.insync.without(me).iter().map(|who| propose(leading.insync.without(who))));
        actions.extend((leading.proposed != Set::default()).then_some(propose(leading.insync)));
        let Some(who) = leading.joining else {
            let others = others.map(|other| state.who(other));
            let near = others.filter(|who| !leading.insync.contains(*who) && leading.hears(*who));
            return actions.extend(near.map(|who| Action::StartJoin { slot, who }));
        };
        let enough = leading.peers[who.index()].received >= leading.committed || self.makes(Mistake::JoinBeforeHolding);
        actions.extend(leading.may_join(who, enough).then_some(propose(leading.insync.with(who))));
        actions.extend(leading.may_forget(who).then_some(Action::StopJoin { slot }));
    }

    /// A member answers clients now, whichever member the address names: the address says nothing
    /// about that, except by mistake.
    pub(crate) fn may_answer(&self, state: &State, slot: usize) -> bool {
        let me = state.who(slot);
        let is_named = self.makes(Mistake::ServeByAddress) && state.address == Some(me);
        state.members[slot].leading.as_ref().is_some_and(|leading| is_named || leading.may_answer(me))
    }

    fn act(&self, state: &mut State, action: Action) {
        match action {
            Action::Tick => state.tick(),
            Action::Fail { slot } => state.fail(slot, self),
            Action::Read { slot } => state.read(slot, self),
            Action::Claim { slot } => self.claim(state, slot),
            Action::Swap { slot } => Self::swap(state, slot),
            Action::Swapped { slot } => state.on_swapped(slot),
            Action::NoAnswer { slot } => state.on_no_answer(slot, self),
            Action::LateSwap { at } => state.swap(state.late[at]),
            Action::LateSwapLost { at } => drop(state.late.remove(at)),
            Action::Propose { slot, insync } => self.propose(state, slot, insync),
            Action::Resign { slot } => state.resign(slot),
            Action::Publish { slot } => state.address = Some(state.who(slot)),
            Action::Unpublish => state.address = None,
            Action::Receive { message } => {
                state.messages.retain(|other| *other != message);
                state.on_message(message, self);
            }
            Action::Lose { message } => state.messages.retain(|other| *other != message),
            Action::BackUp => state.backup = Some(state.record),
            Action::RollBack => state.lose(state.backup.unwrap_or(state.record)),
            Action::Empty => state.lose(crate::state::Record::none()),
            Action::Append { slot }
            | Action::Beacon { slot, .. }
            | Action::Acknowledge { slot }
            | Action::StartJoin { slot, .. }
            | Action::StopJoin { slot } => self.lead(state, slot, action),
        }
    }

    fn lead(&self, state: &mut State, slot: usize, action: Action) {
        let (me, whos) = (state.who(slot), [0, 1, 2].map(|slot| state.who(slot)));
        let member = &mut state.members[slot];
        let Some(leading) = &mut member.leading else { return };
        match action {
            Action::Append { .. } => member.log.append(leading.epoch),
            Action::Beacon { to, .. } => {
                let (from, to, epoch, version) = (me, whos[to], leading.epoch, leading.version);
                state.messages.push(Message::Beacon { from, to, epoch, version, age: 0, log: member.log });
            }
            Action::Acknowledge { .. } => {
                (state.acked, state.acked_epoch) = (member.log.prefix(leading.committed), leading.epoch);
            }
            Action::StartJoin { who, .. } => leading.joining = Some(who),
            _ => leading.joining = None,
        }
        leading.advance(me, member.log.len());
    }

    /// The member reads the record before it claims: if an earlier claim has happened, it leads
    /// already.
    fn claim(&self, state: &mut State, slot: usize) {
        state.read(slot, self);
        if let Some(to) = state.takeover(slot, self) {
            state.claim(slot, to);
        }
    }

    fn swap(state: &mut State, slot: usize) {
        let Some(swap) = state.members[slot].asked else { return };
        state.swap(swap.to);
        state.members[slot].asked = Some(crate::state::Swap { happened: true, current: true, ..swap });
    }

    fn propose(&self, state: &mut State, slot: usize, insync: Set) {
        state.propose(slot, insync);
        let (me, member) = (state.who(slot), &mut state.members[slot]);
        if let Some(leading) = member.leading.as_mut().filter(|_| self.makes(Mistake::AcknowledgeBeforeSwap)) {
            (leading.insync, leading.proposed) = (insync, Set::default());
            leading.advance(me, member.log.len());
        }
    }
}
