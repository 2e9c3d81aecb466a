//! What must hold in every state, and what must be reached in some: a model in which nothing
//! happens keeps every promise.

use stateright::Property;

use crate::rules::Rules;
use crate::state::{Leading, MemberState, State};

const NO_SECOND: &str = "no first record is made beside a member that has seen one";

pub(crate) fn properties(rules: &Rules) -> Vec<Property<Rules>> {
    let mut all = vec![
        Property::always("at most one member may answer", one_answers),
        Property::always("who may answer is the record's primary", primary_answers),
        Property::always("no member may answer after a later epoch has", no_epoch_goes_back),
        Property::always("who may answer has committed all that was acknowledged", reads_miss_nothing),
        Property::always("the primary holds all that was acknowledged", primary_holds_acked),
        Property::always("members of the set hold all that was acknowledged", set_holds_acked),
        Property::sometimes("an acknowledgement needs a peer", |_, state: &State| {
            state.acked.len() > 0 && state.record.insync.iter().count() > 1
        }),
        Property::sometimes("a takeover happens", |_, state: &State| leads_later(state)),
        Property::sometimes("a takeover keeps what was acknowledged before", |_, state: &State| {
            state.record.epoch > 1 && !state.record.reborn && state.acked.len() > 0 && leads_later(state)
        }),
        Property::sometimes("an acknowledgement happens after a takeover", |_, state: &State| {
            state.acked_epoch > 1 && state.acked.len() > 0
        }),
        Property::sometimes("a member is in the set again after a takeover", |_, state: &State| {
            state.record.epoch > 1 && state.record.insync.iter().count() > 1
        }),
        Property::sometimes("two members believe to lead", |_, state: &State| {
            state.members.iter().filter(|member| member.leading.is_some()).count() > 1
        }),
        Property::sometimes("a proposal has happened, and its primary does not know", |_, state: &State| {
            state.members.iter().any(|member| happened_unseen(state, member))
        }),
    ];
    if rules.bounds.losses > 0 {
        all.extend([
            Property::always(NO_SECOND, |_, state: &State| !state.is_founded_twice),
            Property::sometimes("a primary has written its record again", |_, state: &State| {
                let has_restored = |member: &MemberState| member.leading.is_some() && member.claim.is_some();
                state
                    .members
                    .iter()
                    .any(|member| has_restored(member) && member.asked.is_some_and(|swap| swap.happened))
            }),
            Property::sometimes("data is lost, and no primary can write it again", |_, state: &State| {
                let is_known = state.members.iter().any(|member| member.epoch_max > 0);
                state.lost.is_some() && is_known && state.members.iter().all(|member| member.leading.is_none())
            }),
        ]);
    }
    if rules.bounds.failures > 0 {
        all.push(Property::sometimes("a member that lost its memory is in the set", |_, state: &State| {
            state.record.insync.iter().any(|who| who.life() > 0 && who != state.record.primary)
        }));
    }
    if rules.bounds.failures as usize >= 2 {
        all.push(Property::sometimes("an epoch begins with nothing", |_, state: &State| state.record.reborn));
    }
    if rules.bounds.address {
        all.push(Property::sometimes("the address names a member that is not the primary", |_, state: &State| {
            state.address.is_some_and(|who| who != state.record.primary)
        }));
    }
    all
}

fn answering<'a>(rules: &'a Rules, state: &'a State) -> impl Iterator<Item = (usize, &'a MemberState, &'a Leading)> {
    let slots = (0..rules.bounds.members).filter(|slot| rules.may_answer(state, *slot));
    slots.filter_map(|slot| Some((slot, &state.members[slot], state.members[slot].leading.as_ref()?)))
}

fn one_answers(rules: &Rules, state: &State) -> bool {
    answering(rules, state).count() <= 1
}

/// Stronger than the previous one: from the moment in which the record names another member, its
/// old primary answers no more, even while the new one does not know yet that it leads. A primary
/// that has written its record again answers in the epoch before until it knows that it has.
fn primary_answers(rules: &Rules, state: &State) -> bool {
    answering(rules, state).all(|(slot, member, leading)| {
        let newest = state.newest();
        let has_restored = member.claim.is_some() && newest.epoch > leading.epoch;
        newest.primary == state.who(slot) && (newest.epoch == leading.epoch || has_restored)
    })
}

fn no_epoch_goes_back(rules: &Rules, state: &State) -> bool {
    answering(rules, state).all(|(_, _, leading)| leading.epoch >= state.acked_epoch)
}

/// A read sees every write that was acknowledged, and nothing that was read before is taken back.
fn reads_miss_nothing(rules: &Rules, state: &State) -> bool {
    answering(rules, state).all(|(_, member, leading)| member.log.prefix(leading.committed).starts_with(state.acked))
}

fn primary_holds_acked(_: &Rules, state: &State) -> bool {
    let leads =
        |member: &&MemberState| member.leading.as_ref().is_some_and(|leading| leading.epoch == state.newest().epoch);
    state.members.iter().filter(leads).all(|member| member.log.starts_with(state.acked))
}

/// Every member that may be promoted, now or by a pending claim.
fn set_holds_acked(_: &Rules, state: &State) -> bool {
    let alive = state.newest().insync.iter().filter(|who| !state.is_dead(*who));
    alive.into_iter().all(|who| state.members[who.slot()].log.starts_with(state.acked))
}

fn leads_later(state: &State) -> bool {
    state.members.iter().filter_map(|member| member.leading.as_ref()).any(|leading| leading.epoch > 1)
}

fn happened_unseen(state: &State, member: &MemberState) -> bool {
    let is_behind = |leading: &Leading| leading.epoch == state.record.epoch && !leading.current;
    member.asked.is_none() && member.leading.as_ref().is_some_and(is_behind)
}
