//! Histories by hand, and random ones compared with a search of every order.

use proptest::prelude::*;

use super::*;
use crate::history::testing::{end, found, op, removed, start, unknown};
use crate::history::{Answer, Buffer, IfExists, OpKind};

fn verdict(ops: &[Op]) -> Linear {
    linearizable(&ops.iter().collect::<Vec<_>>())
}

#[track_caller]
fn fits(ops: &[Op]) {
    assert_eq!(verdict(ops), Linear::Fits);
}

#[track_caller]
fn broken(ops: &[Op]) {
    assert!(matches!(verdict(ops), Linear::Broken(_)), "{:?}", verdict(ops));
}

#[test]
fn reads_show_what_was_put_and_not_removed() {
    let put = [start(1, (0, 1)), end(1, (2, 3))];
    fits(&[&put[..], &[found(Some(1), (4, 5)), removed((6, 7)), found(None, (8, 9))]].concat());
    broken(&[&put[..], &[found(None, (4, 5))]].concat());
    broken(&[&put[..], &[found(Some(2), (4, 5))]].concat());
    broken(&[&put[..], &[removed((4, 5)), found(Some(1), (6, 7))]].concat());
}

#[test]
fn reads_beside_a_change_see_either_and_never_go_back() {
    let put = [start(1, (0, 1)), end(1, (2, 9))];
    fits(&[&put[..], &[found(None, (3, 4)), found(Some(1), (5, 6))]].concat());
    broken(&[&put[..], &[found(Some(1), (3, 4)), found(None, (5, 6))]].concat());
}

#[test]
fn unknown_change_may_come_late_or_never_but_not_go_back() {
    let put = [start(1, (0, 1)), unknown(OpKind::End { version: 1 }, (2, 3))];
    fits(&[&put[..], &[found(None, (4, 5))]].concat());
    fits(&[&put[..], &[found(None, (4, 5)), found(Some(1), (900, 901))]].concat());
    broken(&[&put[..], &[found(Some(1), (4, 5)), found(None, (6, 7))]].concat());
    broken(&[&put[..], &[found(Some(1), (0, 1))]].concat());
}

#[test]
fn refusals_tell_of_the_state() {
    let put = [start(1, (0, 1)), end(1, (2, 3))];
    let refused =
        |why, times| op(OpKind::Start { version: 2, if_exists: IfExists::Fail }, times, Outcome::Refused(why));
    fits(&[&put[..], &[refused(Why::AlreadyExists, (4, 5))]].concat());
    broken(&[&put[..], &[removed((4, 5)), refused(Why::AlreadyExists, (6, 7))]].concat());
    fits(&[start(1, (0, 1)), refused(Why::InProgress, (2, 3))]);
    broken(&[&put[..], &[refused(Why::InProgress, (4, 5))]].concat());
    fits(&[&put[..], &[refused(Why::DidNotRun, (4, 5))]].concat());
    let replaced = OpKind::Start { version: 2, if_exists: IfExists::Replace };
    let beside = [op(replaced, (4, 5), Outcome::Acknowledged(Answer::Done)), found(Some(1), (6, 7)), end(2, (8, 9))];
    fits(&[&put[..], &beside, &[found(Some(2), (10, 11))]].concat());
    broken(&[&put[..], &beside, &[found(Some(1), (10, 11))]].concat());
}

#[test]
fn replacement_in_place_hides_the_key_until_it_ends() {
    let given = |version, from, times| {
        let buffer = Buffer { segment: [1; 16], start: from, end: from + 100 };
        let start = OpKind::Start { version, if_exists: IfExists::Replace };
        op(start, times, Outcome::Acknowledged(Answer::Started(vec![buffer])))
    };
    let put = [given(1, 0, (0, 1)), end(1, (2, 3))];
    let (in_place, beside) = (given(2, 0, (4, 5)), given(2, 100, (4, 5)));
    fits(&[&put[..], &[in_place.clone(), found(None, (6, 7)), end(2, (8, 9)), found(Some(2), (10, 11))]].concat());
    broken(&[&put[..], &[in_place.clone(), found(Some(1), (6, 7))]].concat());
    broken(&[&put[..], &[beside, found(None, (6, 7))]].concat());
    let revoked = op(OpKind::Revoke { version: 2 }, (6, 7), Outcome::Acknowledged(Answer::Done));
    fits(&[&put[..], &[in_place.clone(), revoked.clone(), found(None, (8, 9))]].concat());
    broken(&[&put[..], &[in_place, revoked, found(Some(1), (8, 9))]].concat());
    let lost = unknown(OpKind::Start { version: 2, if_exists: IfExists::Replace }, (4, 5));
    fits(&[&put[..], &[lost.clone(), found(Some(1), (6, 7)), found(None, (8, 9))]].concat());
    broken(&[&put[..], &[lost.clone(), found(None, (6, 7)), found(Some(1), (8, 9))]].concat());
    broken(&[&put[..], &[lost, found(Some(2), (6, 7))]].concat());
}

#[test]
fn bound_is_said_and_not_guessed_over() {
    let many: Vec<Op> =
        (0..65).map(|version| unknown(OpKind::End { version: version + 1 }, (version, version))).collect();
    assert!(matches!(verdict(&many), Linear::Undecided(_)));
}

/// Tries every order of every choice of operations: those of unknown outcome may be left out.
fn by_every_order(ops: &[&Op], state: Register) -> bool {
    let must_be_in = |op: &&Op| op.outcome != Outcome::Unknown;
    if !ops.iter().any(must_be_in) {
        return true;
    }
    (0..ops.len()).any(|at| {
        // No remaining operation has returned before it was invoked.
        let next = ops[at];
        let is_first = ops.iter().all(|other| other.effect_upto() >= next.invoked);
        let rest: Vec<&Op> = ops.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, op)| *op).collect();
        let mut after = [state.after(next), state.in_place_after(next)].into_iter().flatten();
        is_first && after.any(|state| by_every_order(&rest, state))
            || next.outcome == Outcome::Unknown && by_every_order(&rest, state)
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    let call = prop_oneof![
        (1..3_u64, prop_oneof![Just(IfExists::Fail), Just(IfExists::Replace)])
            .prop_map(|(version, if_exists)| OpKind::Start { version, if_exists }),
        (1..3_u64).prop_map(|version| OpKind::End { version }),
        (1..3_u64).prop_map(|version| OpKind::Revoke { version }),
        Just(OpKind::Remove),
        Just(OpKind::Get),
    ];
    (call, 0..12_u64, 0..6_u64, 0..8_u32, 0..3_u64).prop_map(|(call, from, lasts, how, version)| {
        let refused = [Why::AlreadyExists, Why::NotFound, Why::InProgress, Why::NotWriting];
        let outcome = match (how, call) {
            (0..=4, OpKind::Get) => Outcome::Acknowledged(Answer::Found(Some(version).filter(|version| *version > 0))),
            (0..=4, _) => Outcome::Acknowledged(Answer::Done),
            (5, _) => Outcome::Unknown,
            (_, OpKind::Get) => Outcome::Unknown,
            (_, _) => Outcome::Refused(refused[version as usize + usize::from(how == 7)]),
        };
        op(call, (from, from + lasts), outcome)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn verdict_is_that_of_a_search_of_every_order(ops in proptest::collection::vec(any_op(), 1..7)) {
        let ops: Vec<&Op> = ops.iter().filter(|op| matters(op)).collect();
        let expected = by_every_order(&ops, Register::default());
        prop_assert_eq!(linearizable(&ops) == Linear::Fits, expected, "{:#?}", ops);
    }

    /// A real register: each call has its effect at a random moment.
    #[test]
    fn history_of_a_real_register_fits(calls in proptest::collection::vec(any_op(), 1..60)) {
        let mut state = Register::default();
        let mut ops = Vec::new();
        for (effect, call) in (0..).step_by(3).zip(calls) {
            let lost = call.outcome == Outcome::Unknown;
            let (told, next) = state.run(&call.call);
            state = next;
            let reach = call.invoked.as_millis() as u64;
            let times = (u64::saturating_sub(effect, reach), effect + reach);
            ops.push(op(call.call, times, if lost { Outcome::Unknown } else { told }));
        }
        prop_assert_eq!(verdict(&ops), Linear::Fits);
    }
}

impl Register {
    /// Runs the operation as a server would.
    fn run(self, call: &OpKind) -> (Outcome, Register) {
        let is_it = |outcome: Outcome| Some((outcome.clone(), self.after(&op(*call, (0, 0), outcome))?));
        let versions = (0..3).map(|version| Answer::Found(Some(version).filter(|version| *version > 0)));
        let answers = versions.chain([Answer::Done]).map(Outcome::Acknowledged);
        let refusals = [Why::AlreadyExists, Why::NotFound, Why::InProgress, Why::NotWriting].map(Outcome::Refused);
        answers.chain(refusals).find_map(is_it).expect("a register answers everything")
    }
}
