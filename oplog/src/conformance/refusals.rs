//! Rule: what is not the next entry, or is not understood, is refused by its name, and nothing has changed then.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::course::Course;
use crate::entry::{DomainId, Entry, OP_EPOCH_START, OP_TYPE_NEVER};
use crate::state::{ApplyError, ReplicatedState};
use crate::verify::OP_DIGEST;

pub(super) fn check<S: ReplicatedState>(course: &Course<'_, S>) {
    for held in course.points().filter(|held| *held < course.len()) {
        let state = course.state(held);
        check_order(course, &state, held);
        check_understanding(course, &state, held);
        course.follow(&state, held, "a state that has refused entries");
    }
    let late = course.len() - 1;
    check_all_unknown(course, &course.state(late), late);
    for held in first_of_each_op(course.history) {
        check_payloads(course, &course.state(held), held);
    }
}

/// Where an op comes for the first time that the state must look into: the engine need not look into
/// its own.
fn first_of_each_op(history: &[Entry]) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let is_first = |(_, entry): &(usize, &Entry)| {
        let is_the_logs = entry.domain == DomainId::ENGINE && matches!(entry.op_type, OP_EPOCH_START | OP_DIGEST);
        !is_the_logs && !entry.payload.is_empty() && seen.insert((entry.domain, entry.op_type))
    };
    history.iter().enumerate().filter(is_first).map(|(at, _)| at).collect()
}

fn check_order<S: ReplicatedState>(course: &Course<'_, S>, state: &S, held: usize) {
    let next = &course.history[held];
    let not_next = |got| ApplyError::NotNext { expected: next.seq, got };
    let gap = Entry { seq: next.seq + 1, ..next.clone() };
    expect(course, state, held, "an entry after a gap", &gap, &not_next(gap.seq));
    if let Some(last) = held.checked_sub(1) {
        let (last, first) = (&course.history[last], &course.history[0]);
        expect(course, state, held, "a repetition of the last entry", last, &not_next(last.seq));
        expect(course, state, held, "a repetition of the first entry", first, &not_next(first.seq));
    }
    let have = state.applied().epoch;
    if let Some(got) = have.checked_sub(1) {
        let back = Entry { epoch: got, ..next.clone() };
        expect(course, state, held, "an entry of an earlier epoch", &back, &ApplyError::EpochBack { have, got });
    }
}

fn check_understanding<S: ReplicatedState>(course: &Course<'_, S>, state: &S, held: usize) {
    let next = &course.history[held];
    let foreign = Entry { domain: DomainId::NEVER, ..next.clone() };
    expect(course, state, held, "an entry of an unknown domain", &foreign, &ApplyError::UnknownDomain);
    let unknown = Entry { op_type: OP_TYPE_NEVER, ..next.clone() };
    let refusal = ApplyError::UnknownOp { domain: next.domain, op_type: OP_TYPE_NEVER };
    expect(course, state, held, "an entry with an unknown op", &unknown, &refusal);
}

/// Every op of every domain but those that are known, the engine's like any other.
fn check_all_unknown<S: ReplicatedState>(course: &Course<'_, S>, state: &S, held: usize) {
    let (next, at) = (&course.history[held], course.position(held));
    for domain in (0..=u8::MAX).map(DomainId) {
        let knows_domain = course.known.iter().any(|(known, _)| *known == domain);
        for op_type in (0..=u8::MAX).filter(|op_type| !course.known.contains(&(domain, *op_type))) {
            let refusal = match knows_domain {
                true => ApplyError::UnknownOp { domain, op_type },
                false => ApplyError::UnknownDomain,
            };
            let answer = state.apply(&Entry { domain, op_type, ..next.clone() });
            let what = format!("op {op_type} of domain {domain}, which is not known, at {at}");
            assert_eq!(answer, Err(refusal), "conformance: {what}, is not refused by its name");
            assert_eq!(state.applied(), at, "conformance: {what}, moves the state on");
        }
    }
    course.compare(state, held, "a state that has refused all unknown ops and domains");
}

fn check_payloads<S: ReplicatedState>(course: &Course<'_, S>, state: &S, held: usize) {
    let next = &course.history[held];
    let mut other_version = next.payload.to_vec();
    other_version[0] = u8::MAX;
    let mut longer = next.payload.to_vec();
    longer.push(0);
    let cut = next.payload[..next.payload.len() - 1].to_vec();
    for (what, payload) in [
        ("a payload of an unknown version", other_version),
        ("a payload with a byte too many", longer),
        ("a payload that is cut off", cut),
    ] {
        let entry = Entry { payload: Bytes::from(payload), ..next.clone() };
        let refused = state.apply(&entry);
        let at = state.applied();
        assert!(refused.is_err(), "conformance: {what} is taken by op {} at {at}", entry.op_type);
        course.compare(state, held, &format!("a state that has refused {what}"));
    }
}

fn expect<S: ReplicatedState>(
    course: &Course<'_, S>,
    state: &S,
    held: usize,
    what: &str,
    entry: &Entry,
    refusal: &ApplyError,
) {
    let at = course.position(held);
    match state.apply(entry) {
        Ok(()) => panic!("conformance: {what} ({}) is taken at {at}", entry.position()),
        Err(why) => assert_eq!(&why, refusal, "conformance: {what} is refused at {at} for another reason"),
    }
    course.compare(state, held, &format!("a state that has refused {what}"));
}
