//! One primary: by epochs, by positions, and by the answering member.
//!
//! | rule | breaks it |
//! |---|---|
//! | in one epoch one member answers | two primaries of one epoch |
//! | no call is answered in an epoch if it began after a later epoch's first answer | a deposed primary that goes on |
//! | a change that began after an answer has a later position, by epoch and by seq | a takeover without an acknowledged entry |
//! | a change has a position of its own | two entries at one position |
//!
//! A change that was sent again may be told a later position than its own, which other answers
//! share. It counts for the other rules. A read has its epoch, and the seq of the newest change to
//! what it found: only its epoch follows time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::history::{Fault, Op, Position};

pub fn one_writer(ops: &[Op]) -> Vec<Fault> {
    let mut told: Vec<(&Op, Position)> = ops.iter().filter_map(|op| Some((op, op.at?))).collect();
    told.sort_by_key(|(op, _)| op.returned);
    let mut faults = one_member_per_epoch(&told);
    faults.extend(positions_are_unique(&told));
    faults.extend(positions_follow_time(&told));
    faults
}

fn one_member_per_epoch(told: &[(&Op, Position)]) -> Vec<Fault> {
    let (mut members, mut faults) = (BTreeMap::<u64, &Arc<str>>::new(), Vec::new());
    for (op, at) in told {
        let Some(member) = &op.member else { continue };
        let first = members.entry(at.epoch).or_insert(member);
        if *first != member {
            faults.push(format!("two primaries of epoch {}: {first} has answered, and {op}", at.epoch));
        }
    }
    faults
}

fn positions_are_unique(told: &[(&Op, Position)]) -> Vec<Fault> {
    let (mut taken, mut faults) = (BTreeMap::<Position, &Op>::new(), Vec::new());
    for (op, at) in told.iter().filter(|(op, _)| !op.call.is_read() && !op.sent_again) {
        if let Some(other) = taken.insert(*at, op) {
            faults.push(format!("position {at} was acknowledged twice: {other}, and {op}"));
        }
    }
    faults
}

fn positions_follow_time(told: &[(&Op, Position)]) -> Vec<Fault> {
    let mut by_begin: Vec<_> = told.iter().collect();
    by_begin.sort_by_key(|(op, _)| op.invoked);
    let mut ended = told.iter().peekable();
    let (mut highest, mut highest_seq, mut faults) = (Position::default(), 0, Vec::new());
    for (op, at) in by_begin {
        while let Some((_, before)) = ended.next_if(|(other, _)| other.returned < op.invoked) {
            highest = highest.max(*before);
            highest_seq = highest_seq.max(before.seq);
        }
        let follows = if op.call.is_read() { at.epoch >= highest.epoch } else { *at > highest && at.seq > highest_seq };
        if !follows {
            faults.push(format!("{op}: it began after {highest} was answered (highest seq {highest_seq})"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testing::{at, end, found};

    fn by(op: Op, member: &str) -> Op {
        Op { member: Some(member.into()), ..op }
    }

    fn fault(ops: &[Op]) -> String {
        one_writer(ops).join("\n")
    }

    #[test]
    fn epochs_one_after_the_other_fit() {
        let first = by(at(end(1, (0, 1)), 1, 5), "a");
        let beside = by(at(end(3, (2, 9)), 1, 6), "a");
        let next = by(at(end(2, (3, 4)), 2, 8), "b");
        assert_eq!(fault(&[first, beside, next, at(found(Some(2), (10, 11)), 2, 1)]), "");
    }

    #[test]
    fn two_members_of_one_epoch_are_found() {
        let ops = [by(at(end(1, (0, 1)), 1, 5), "a"), by(at(end(2, (2, 3)), 1, 6), "b")];
        assert!(fault(&ops).starts_with("two primaries of epoch 1"));
    }

    #[test]
    fn answer_of_an_old_epoch_to_a_later_call_is_found() {
        assert!(fault(&[at(end(1, (0, 1)), 2, 5), at(end(2, (2, 3)), 1, 9)]).contains("began after 2/5"));
        assert!(fault(&[at(end(1, (0, 1)), 2, 5), at(found(None, (2, 3)), 1, 9)]).contains("began after 2/5"));
        assert!(fault(&[at(end(1, (0, 1)), 1, 5), at(end(2, (2, 3)), 2, 4)]).contains("began after 1/5"));
    }

    #[test]
    fn position_of_two_changes_is_found_but_for_retries() {
        let (one, other) = (at(end(1, (0, 5)), 1, 5), at(end(2, (1, 6)), 1, 5));
        assert!(fault(&[one.clone(), other.clone()]).starts_with("position 1/5 was acknowledged twice"));
        assert_eq!(fault(&[one, Op { sent_again: true, ..other }]), "");
    }
}
