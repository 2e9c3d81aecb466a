//! Members differ only in their names, so the checker visits only one of the states that differ
//! only in names.
//!
//! That one is found by sorting members by their content. Ties keep their order: then two such
//! states may both be visited, which costs time and hides nothing.

use std::cmp::Ordering;

use crate::state::{Message, Record, State};
use crate::words::{LIVES, SLOTS, Who};

pub(crate) fn representative(mut state: State, members: usize) -> State {
    let mut order: [usize; SLOTS] = std::array::from_fn(|slot| slot);
    order[..members].sort_by(|left, right| compare(&state, *left, *right));
    if order.is_sorted() {
        return state;
    }
    let mut to = [0; SLOTS];
    order.iter().enumerate().for_each(|(new, old)| to[*old] = new);
    rename(&mut state, order, to);
    state
}

fn compare(state: &State, left: usize, right: usize) -> Ordering {
    let key = |slot: usize| {
        let (who, member) = (state.who(slot), &state.members[slot]);
        let is_to = |message: &&Message| message.to().0 == who;
        let leading = member.leading.as_ref().map(|leading| (leading.epoch, leading.committed, leading.unsure));
        (
            (state.record.primary == who, state.record.insync.contains(who), leading),
            (member.life, (member.epoch_max, member.version_max), member.log, member.log_epoch, member.answered_age),
            (member.claim, member.asked.map(|swap| (swap.happened, swap.current, swap.to.epoch))),
            state.messages.iter().filter(is_to).count(),
        )
    };
    let among = |slot: usize| {
        let who = state.who(slot);
        let view = move |member: &crate::state::MemberState| {
            let leading = member.leading.as_ref()?;
            let is_proposed = member.asked.is_some_and(|swap| swap.to.insync.contains(who));
            let sets = (leading.insync.contains(who), leading.proposed.contains(who), leading.joining == Some(who));
            Some((leading.epoch, leading.peers[who.index()], sets, is_proposed))
        };
        let mut views = state.members.each_ref().map(view);
        views.sort_unstable();
        views
    };
    key(left).cmp(&key(right)).then_with(|| among(left).cmp(&among(right)))
}

/// `order[new]` is the old slot, `to[old]` the new one.
fn rename(state: &mut State, order: [usize; SLOTS], to: [usize; SLOTS]) {
    let record = |record: &mut Record| {
        record.primary = record.primary.moved(to);
        record.insync = record.insync.moved(to);
    };
    record(&mut state.record);
    state.late.iter_mut().for_each(record);
    state.lost.iter_mut().chain(&mut state.backup).for_each(record);
    state.late.sort_unstable();
    state.address = state.address.map(|who| who.moved(to));
    state.members = order.map(|slot| state.members[slot].clone());
    for member in &mut state.members {
        member.asked.iter_mut().for_each(|swap| record(&mut swap.to));
        if let Some(leading) = &mut member.leading {
            leading.insync = leading.insync.moved(to);
            leading.proposed = leading.proposed.moved(to);
            leading.joining = leading.joining.map(|who| who.moved(to));
            let peers = leading.peers;
            for (at, slot) in order.iter().enumerate() {
                leading.peers[at * LIVES..][..LIVES].copy_from_slice(&peers[slot * LIVES..][..LIVES]);
            }
        }
    }
    let renamed = |who: &mut Who| *who = who.moved(to);
    for message in &mut state.messages {
        let (Message::Beacon { from, to, .. } | Message::Answer { from, to, .. }) = message;
        renamed(from);
        renamed(to);
    }
    state.messages.sort_unstable();
}
