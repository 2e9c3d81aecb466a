//! The suite itself: it passes a domain that keeps the contract, and names the rule that another one
//! breaks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use oplog::Position;

use super::toy::{Fault, OP_ADD, OP_CLEAR, Sums, ToyConfig};
use super::*;

fn told<T: std::fmt::Debug>(answer: Answer<T>) -> Answer<String> {
    Answer { results: format!("{:?}", answer.results), position: answer.position }
}

fn name(call: &Call<'_>, n: u64) -> [u8; 2] {
    [call.client.0[0], n as u8 % 5 + 1]
}

fn add(state: &State<Sums>, call: &Call<'_>, n: u64) -> Result<Answer<String>, CallRefused> {
    let name = name(call, n);
    state.add(call, &[(&name, 3), (&name, -(n as i64 % 5)), (b"shared", 1)]).map(told)
}

fn take(state: &State<Sums>, call: &Call<'_>, n: u64) -> Result<Answer<String>, CallRefused> {
    state.add(call, &[(&name(call, n), -2)]).map(told)
}

fn run_with(fault: Fault) {
    let config = ToyConfig { fault, ..ToyConfig::default() };
    let empty = || State::<Sums>::new(config, Position::default());
    run(&Trial { empty: &empty, acts: &[add, take], ops: &[OP_ADD.number, OP_CLEAR.number] });
}

#[test]
fn a_domain_that_keeps_the_contract_passes() {
    run_with(Fault::None);
}

#[test]
fn every_broken_rule_is_found_and_named() {
    for (fault, words) in [
        (Fault::AppliesOtherwise, "a standby that has applied the log is not what its primary is"),
        (Fault::DigestKeepsWhatGoes, "keeps twice what differs: digest of the domain"),
        (Fault::HoldsNothing, "keeps twice what differs: a sum of no client"),
        (Fault::NeverEmpties, "clients are still there after"),
        (Fault::TenantsCountNothing, "keeps twice what differs: sums of a tenant"),
        (Fault::ImageLeavesOut, "a state that lacks an entry cannot be repaired"),
    ] {
        let done = catch_unwind(AssertUnwindSafe(|| run_with(fault)));
        let panic = done.expect_err("a broken rule must be found");
        let verdict = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(verdict.contains("conformance: "), "{fault:?}: {verdict}");
        assert!(verdict.contains(words), "{fault:?} is found for another reason: {verdict}");
    }
}
