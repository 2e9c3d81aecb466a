//! No byte belongs to two objects at the same time.
//!
//! A put holds its buffers from the moment at which its client was told of them, at the latest,
//! until a call is sent that may give them back, at the earliest. Two puts that hold a byte in
//! common at one moment are a fault, in whatever epochs they began.
//!
//! Deliberately absent: what frees space by itself (time-outs, expiry, eviction). The recorder
//! prevents these.

use std::collections::BTreeSet;

use crate::history::{Answer, Buffer, Fault, IfExists, Moment, Op, OpKind, Outcome, by_key};

/// Certainly held from `since` until before `until`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hold {
    pub buffer: Buffer,
    pub since: Moment,
    pub until: Moment,
    pub who: String,
}

/// What the puts of a history have held. Those that still hold it: until [`Moment::MAX`].
pub fn holds(ops: &[Op]) -> Vec<Hold> {
    let mut holds = Vec::new();
    for ops in by_key(ops).values() {
        for op in ops {
            let (OpKind::Start { version, .. }, Outcome::Acknowledged(Answer::Started(buffers))) =
                (op.call, &op.outcome)
            else {
                continue;
            };
            let (since, until) = (op.returned, freed(ops, op.invoked, (version, buffers)));
            let who = format!("{:?} (version {version})", op.key);
            let hold = |buffer: &Buffer| Hold { buffer: buffer.clone(), since, until, who: who.clone() };
            holds.extend(buffers.iter().map(hold));
        }
    }
    holds
}

/// When the first call is sent that may give back what this put was given. A later put of the key
/// in place takes the buffers over: it is given the same ones, or its outcome is not known.
fn freed(ops: &[&Op], started: Moment, (version, given): (u64, &[Buffer])) -> Moment {
    let takes_over = |outcome: &Outcome| match outcome {
        Outcome::Acknowledged(Answer::Started(buffers)) => buffers == given,
        Outcome::Acknowledged(_) | Outcome::Refused(_) => false,
        Outcome::Unknown => true,
    };
    let frees = |op: &&&Op| match op.call {
        OpKind::Remove => true,
        OpKind::Start { version: of, if_exists: IfExists::Replace } => of != version && takes_over(&op.outcome),
        OpKind::Revoke { version: of } => of == version,
        OpKind::End { version: of } => of != version,
        _ => false,
    };
    let later = ops.iter().filter(frees).filter(|op| op.may_have_run() && op.effect_upto() >= started);
    later.map(|op| op.invoked).min().unwrap_or(Moment::MAX)
}

/// Puts that hold a byte in common at one moment.
pub fn held_apart(holds: &[Hold]) -> Vec<Fault> {
    let mut events = Vec::with_capacity(2 * holds.len());
    for (at, hold) in holds.iter().enumerate().filter(|(_, hold)| hold.since < hold.until) {
        // At the same moment, what ends comes first.
        events.extend([(hold.since, true, at), (hold.until, false, at)]);
    }
    events.sort_unstable();
    let (mut held, mut faults) = (BTreeSet::new(), Vec::new());
    for (_, begins, at) in events {
        let buffer = &holds[at].buffer;
        if !begins {
            held.remove(&(buffer.segment, buffer.start, at));
            continue;
        }
        let other = neighbour(&held, holds, buffer);
        faults.extend(other.map(|other| fault(&holds[other], &holds[at])));
        held.insert((buffer.segment, buffer.start, at));
    }
    faults
}

type Occupied = BTreeSet<([u8; 16], u64, usize)>;

/// A buffer that reaches into this one.
fn neighbour(held: &Occupied, holds: &[Hold], buffer: &Buffer) -> Option<usize> {
    let (first, end) = ((buffer.segment, 0, 0), (buffer.segment, buffer.end, 0));
    let (_, _, last) = held.range(first..end).next_back()?;
    (holds[*last].buffer.end > buffer.start).then_some(*last)
}

fn fault(one: &Hold, other: &Hold) -> Fault {
    let show = |hold: &Hold| {
        let Hold { buffer: Buffer { start, end, .. }, since, until, who } = hold;
        let until = if *until == Moment::MAX { "the end".to_owned() } else { format!("{until:.6?}") };
        format!("{who} held {start:#x} to {end:#x} from {since:.6?} to {until}")
    };
    format!("overlap: {}, and {}", show(one), show(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::testing::{end, op, removed, unknown};

    fn given(key: &str, version: u64, start: u64, (invoked, returned): (u64, u64)) -> Op {
        let buffer = Buffer { segment: [1; 16], start, end: start + 100 };
        let told = Outcome::Acknowledged(Answer::Started(vec![buffer]));
        let started = op(OpKind::Start { version, if_exists: IfExists::Fail }, (invoked, returned), told);
        Op { key: key.into(), ..started }
    }

    fn faults(ops: &[Op]) -> Vec<Fault> {
        held_apart(&holds(ops))
    }

    #[test]
    fn buffers_that_touch_or_follow_each_other_are_apart() {
        assert_eq!(faults(&[given("k", 1, 0, (0, 1)), given("l", 2, 100, (0, 1))]), Vec::<Fault>::new());
        assert_eq!(faults(&[given("k", 1, 0, (0, 1)), removed((2, 3)), given("l", 2, 0, (3, 4))]), Vec::<Fault>::new());
        let maybe = [given("k", 1, 0, (0, 1)), unknown(OpKind::Remove, (2, 3)), given("l", 2, 50, (900, 901))];
        assert_eq!(faults(&maybe), Vec::<Fault>::new());
    }

    #[test]
    fn buffers_that_share_a_byte_are_found() {
        assert_eq!(faults(&[given("k", 1, 0, (0, 1)), given("l", 2, 99, (5, 6))]).len(), 1);
        assert_eq!(faults(&[given("k", 1, 50, (0, 1)), end(1, (2, 3)), given("l", 2, 0, (5, 6))]).len(), 1);
        let early = [given("k", 1, 0, (0, 1)), given("l", 2, 50, (2, 3)), removed((4, 5))];
        assert_eq!(faults(&early).len(), 1);
    }

    #[test]
    fn replaced_version_gives_its_space_back_at_the_end_of_the_next() {
        let replaced = [given("k", 1, 0, (0, 1)), given("k", 2, 200, (2, 3)), end(2, (4, 5)), given("l", 3, 0, (6, 7))];
        assert_eq!(faults(&replaced), Vec::<Fault>::new());
        let not_yet = [given("k", 1, 0, (0, 1)), given("k", 2, 200, (2, 3)), given("l", 3, 0, (4, 5)), end(2, (6, 7))];
        assert_eq!(faults(&not_yet).len(), 1);
    }

    #[test]
    fn put_in_place_takes_over_what_the_one_before_it_held() {
        let over = |mut op: Op| {
            op.call = OpKind::Start { version: 2, if_exists: IfExists::Replace };
            op
        };
        let put = [given("k", 1, 0, (0, 1)), end(1, (2, 3))];
        let in_place = over(given("k", 2, 0, (4, 5)));
        assert_eq!(faults(&[&put[..], std::slice::from_ref(&in_place)].concat()), Vec::<Fault>::new());
        assert_eq!(faults(&[&put[..], &[in_place, given("l", 3, 0, (6, 7))]].concat()).len(), 1);
        let half = over(given("k", 2, 50, (4, 5)));
        assert_eq!(faults(&[&put[..], &[half]].concat()).len(), 1, "that is not in place");
        let revoked = [over(unknown(OpKind::Remove, (4, 5))), given("l", 3, 0, (6, 7))];
        assert_eq!(
            faults(&[&put[..], &revoked].concat()),
            Vec::<Fault>::new(),
            "it may have been in place, and dropped"
        );
    }
}
