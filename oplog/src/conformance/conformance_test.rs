//! Tests: the suite passes a state that keeps the contract, and finds each rule that a state
//! breaks.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use proptest::prelude::*;

use super::run;
use super::toy::{Fault, OP_ADD, OP_CLEAR_GROUP, OP_EPOCH_START, OP_REMOVE, Toy};
use crate::codec::encode_payload;
use crate::entry::{DomainId, Entry};

const HISTORY: usize = 300;

/// Turns numbers into valid entries: all ops, three epochs, and few enough keys that they meet
/// again.
fn history(numbers: impl IntoIterator<Item = u32>) -> Vec<Entry> {
    let mut epoch = 1;
    let mut living: BTreeSet<[u8; 2]> = BTreeSet::new();
    let mut out: Vec<Entry> = Vec::new();
    for (number, seq) in numbers.into_iter().zip(1..) {
        let bytes = number.to_le_bytes();
        let key = [b'a' + bytes[0] % 3, bytes[1] % 12];
        let mut payload = Vec::new();
        let (domain, op_type) = match bytes[2] % 16 {
            _ if seq % 101 == 0 => {
                epoch += 2;
                (DomainId::ENGINE, OP_EPOCH_START)
            }
            0 => {
                living.retain(|other| other[0] != key[0]);
                encode_payload(&key[0], &mut payload);
                (if bytes[3] % 2 == 0 { DomainId::METADATA } else { DomainId::ENGINE }, OP_CLEAR_GROUP)
            }
            1..=5 if living.remove(&key) => {
                encode_payload(&(), &mut payload);
                (DomainId::METADATA, OP_REMOVE)
            }
            _ => {
                living.insert(key);
                encode_payload(&(i64::from(number) - i64::from(u32::MAX / 2)), &mut payload);
                (DomainId::METADATA, OP_ADD)
            }
        };
        let (key, payload) = (Bytes::copy_from_slice(&key), Bytes::from(payload));
        out.push(Entry { seq, epoch, timestamp_ms: seq, domain, op_type, request: None, key, payload });
    }
    out
}

/// A fixed stream of well mixed numbers.
fn numbers(count: usize) -> impl Iterator<Item = u32> {
    (0..count as u32).map(|i| (xxhash_rust::xxh3::xxh3_64(&i.to_le_bytes()) >> 20) as u32)
}

const KNOWN: [(DomainId, u8); 5] = [
    (DomainId::ENGINE, OP_EPOCH_START),
    (DomainId::ENGINE, OP_CLEAR_GROUP),
    (DomainId::METADATA, OP_ADD),
    (DomainId::METADATA, OP_REMOVE),
    (DomainId::METADATA, OP_CLEAR_GROUP),
];

fn run_with(fault: Fault, history: &[Entry]) {
    let instances = Arc::new(AtomicU64::new(0));
    run(|| Toy::new(fault, &instances), history, &KNOWN);
}

/// What the suite says about a state with this fault.
fn verdict(fault: Fault) -> String {
    let history = history(numbers(HISTORY));
    let panic = catch_unwind(AssertUnwindSafe(|| run_with(fault, &history))).err();
    let panic = panic.unwrap_or_else(|| panic!("{fault:?} is not noticed"));
    *panic.downcast::<String>().expect("all messages of the suite are formatted")
}

#[test]
fn a_state_that_keeps_the_contract_passes() {
    run_with(Fault::None, &history(numbers(HISTORY)));
}

#[test]
fn the_shortest_history_passes() {
    run_with(Fault::None, &history(numbers(2)));
}

#[test]
#[should_panic(expected = "conformance: a history of 1 entries checks nothing")]
fn a_history_that_checks_nothing_is_refused() {
    run_with(Fault::None, &history(numbers(1)));
}

#[test]
fn every_broken_rule_is_found_and_named() {
    for (fault, words) in [
        (Fault::DigestDiffersByInstance, "two replays of the same entries differ at 0/0"),
        (Fault::DigestLeavesOutDirectory, "the shard digests do not add up to the digest"),
        (Fault::DigestKeepsWhatIsRemoved, "a state from images refuses the image of shard"),
        (Fault::TakesGaps, "an entry after a gap (1/2) is taken at 0/0"),
        (Fault::TakesRepetitions, "a repetition of the last entry"),
        (Fault::TakesEarlierEpochs, "an entry of an earlier epoch"),
        (Fault::TakesUnknownDomains, "an entry of an unknown domain"),
        (Fault::TakesUnknownOpsOfTheEngine, "op 2 of domain 0, which is not known"),
        (Fault::TakesAnyPayloadOfTheEngine, "a payload of an unknown version is taken by op 3"),
        (Fault::RefusedOpMovesOn, "a state that has refused an entry with an unknown op is at the wrong position"),
        (Fault::ChangesBeforeDecoding, "a state that has refused a payload of an unknown version differs"),
        (Fault::RebuildKeepsOldState, "a state from images differs from a plain replay"),
        (Fault::RebuildForgetsWhatImagesHold, "captured while entries were applied"),
        (Fault::RebuildTakesGaps, "the log of a rebuild may begin after a gap"),
        (Fault::InstallTrustsBytes, "with a flipped bit"),
        (Fault::InstallTakesTwice, "shard 0 is installed twice"),
        (Fault::FinishTakesHoles, "a rebuild without shard 0 is finished"),
        (Fault::FinishTakesShortLog, "a rebuild is finished with a log up to"),
        (Fault::AppliedStaysBehindAfterRebuild, "a state from images is at the wrong position"),
    ] {
        let verdict = verdict(fault);
        assert!(verdict.contains("conformance: "), "{fault:?}: {verdict}");
        assert!(verdict.contains(words), "{fault:?} is found for another reason: {verdict}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_valid_history_passes(numbers in proptest::collection::vec(any::<u32>(), 2..160)) {
        let history = history(numbers);
        // A history that only clears what does not exist changes nothing, and is refused for that.
        prop_assume!(history.iter().any(|entry| entry.op_type == OP_ADD && entry.domain == DomainId::METADATA));
        run_with(Fault::None, &history);
    }
}
