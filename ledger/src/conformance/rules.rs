//! The rules, one function each.

use oplog::{
    DomainId, Entry, OP_DIGEST, OP_EPOCH_START, Part, Position, RepairError, ReplicatedState as _, ScrubCursor,
    ScrubStep, Tail, TailConfig, Verifiable as _,
};

use super::course::{Course, check};
use crate::call::CallRefused;
use crate::domain::Domain;
use crate::ops::{ClientLeftOp, LedgerOp};
use crate::state::State;

/// Entries of the log that a standby lacks, one at a time.
const LACKED: usize = 8;

pub(super) fn known_ops<D: Domain>() -> Vec<(DomainId, u8)> {
    let of_log = [OP_EPOCH_START, OP_DIGEST].map(|op| (DomainId::ENGINE, op));
    let of_ledger = (0..=u8::MAX).filter(|op| LedgerOp::from_number(*op).is_some()).map(|op| (DomainId::ENGINE, op));
    let own = (0..=u8::MAX).filter(|op| D::answers(*op).is_ok()).map(|op| (D::ID, op));
    of_log.into_iter().chain(of_ledger).chain(own).collect()
}

/// A standby that leads gives the answers that its primary gave, and runs nothing again.
pub(super) fn answers_outlive_a_takeover<D: Domain>(course: &Course<'_, D>) {
    let heir = course.replayed(course.log.len());
    let at = heir.applied();
    let (_, log) = Tail::new(TailConfig::default(), Position { epoch: at.epoch + 1, ..at });
    heir.lead(log, course.now(), 1);
    for asked in course.asked.values() {
        let call = course.call(asked.client, asked.number, asked.tenant);
        let again = course.trial.acts[asked.act](&heir, &call, asked.n).map(|answer| answer.results);
        assert_eq!(again.as_ref(), Ok(&asked.answer), "conformance: call {} is answered otherwise by an heir", asked.n);
    }
    assert_eq!(heir.applied().seq, at.seq, "conformance: calls run again after a takeover");
}

/// A standby that lacks an entry is made what its primary is, by the records that differ or with the
/// last shard, and goes on from there.
pub(super) fn differences_are_repaired<D: Domain>(course: &Course<'_, D>) {
    let own = course.log.iter().enumerate().filter(|(_, entry)| entry.domain == D::ID).map(|(at, _)| at);
    let own: Vec<usize> = own.collect();
    for &lacked in own.iter().rev().step_by(own.len().div_ceil(LACKED)) {
        let (giver, patient) = (course.replayed(lacked + 1), course.replayed(lacked));
        let at = course.log[lacked].position();
        patient.ledger().unmeasured().stand_at(at);
        let differ = giver.digests().difference(&patient.digests());
        assert!(!differ.is_empty(), "conformance: the digests do not tell that entry {at} is missing");
        repair(&giver, &patient, &differ.shards, differ.implied);
        check(&patient, "a state that was repaired");
        assert!(giver.digests().difference(&patient.digests()).is_empty(), "conformance: a repair leaves a difference");
        for entry in &course.log[lacked + 1..] {
            if let Err(why) = patient.apply(entry) {
                panic!("conformance: a repaired state refuses the valid entry {}: {why}", entry.position());
            }
        }
        assert_eq!(patient.digest(), course.standby.digest(), "conformance: a repaired state goes on otherwise");
    }
}

fn repair<D: Domain>(giver: &State<D>, patient: &State<D>, shards: &[u32], implied: bool) {
    let last = Part { shard: giver.shards() - 1, bucket: 0 };
    let mut parts = Vec::new();
    for &shard in shards {
        let (right, wrong) = (giver.buckets(shard), patient.buckets(shard));
        let buckets = (0..right.kept.len()).filter(|at| right.kept[*at] != wrong.counted[*at]);
        parts.extend(buckets.map(|bucket| Part { shard, bucket: bucket as u32 }));
    }
    if implied && !parts.contains(&last) {
        parts.push(last);
    }
    let mut done = patient.repair(&giver.capture_parts(&parts), usize::MAX);
    if matches!(done, Err(RepairError::NeedsWhole { .. })) {
        parts.push(last);
        done = patient.repair(&giver.capture_parts(&parts), usize::MAX);
    }
    match done {
        Ok(found) => assert!(!found.is_empty(), "conformance: a repair tells nothing of what differed"),
        Err(why) => panic!("conformance: a state that lacks an entry cannot be repaired: {why}"),
    }
}

/// A client goes when its domain holds nothing of it, and not at once: what it has goes by entries
/// in between.
pub(super) fn nothing_goes_before_it_is_empty<D: Domain>(course: &Course<'_, D>, lived: usize) {
    let state = course.replayed(lived);
    let mut held = 0;
    for entry in &course.log[lived..] {
        if is_of_ledger(entry, LedgerOp::ClientExpire) {
            held += usize::from(D::holds(&state.ledger().write().own, left(entry)));
        }
        state.apply(entry).expect("the standby took it");
        if is_of_ledger(entry, LedgerOp::ClientExpire) {
            let is_expired = state.ledger().write().accounts.clients.expired.contains(&left(entry));
            assert!(is_expired, "conformance: a client goes with the entry that expires it");
        }
        if is_of_ledger(entry, LedgerOp::ClientGone) {
            let holds = D::holds(&state.ledger().write().own, left(entry));
            assert!(!holds, "conformance: something of a client is left that is gone");
        }
    }
    assert!(held > 0, "conformance: no client of the trial has anything when it expires");
}

fn left(entry: &Entry) -> oplog::ClientId {
    let op: ClientLeftOp = oplog::decode_payload(&entry.payload).expect("the standby took it");
    oplog::ClientId(op.client)
}

fn is_of_ledger(entry: &Entry, op: LedgerOp) -> bool {
    entry.domain == DomainId::ENGINE && entry.op_type == op as u8
}

/// The number of a client outlives it.
pub(super) fn forgotten_requests_stay_refused<D: Domain>(course: &Course<'_, D>) {
    let before = course.primary.digest();
    for asked in course.asked.values() {
        let call = course.call(asked.client, asked.number, asked.tenant);
        let again = course.trial.acts[asked.act](&course.primary, &call, asked.n).map(|answer| answer.results);
        let is_refused = matches!(again, Err(CallRefused::RequestExpired { .. }));
        assert!(is_refused, "conformance: call {} of a client that is gone runs again: {again:?}", asked.n);
    }
    assert_eq!(course.primary.digest(), before, "conformance: a call that is refused changes something");
}

/// What an image has of an answer is checked by the same words as what the log has.
pub(super) fn answers_are_what_the_log_says<D: Domain>(course: &Course<'_, D>) {
    for entry in course.log.iter().filter(|entry| entry.domain == D::ID) {
        let at = entry.position();
        let answers = D::answers(entry.op_type).ok().flatten();
        let checked = D::check_answer(entry.op_type, &entry.payload);
        match (answers, &checked) {
            (Some(_), Ok(_)) | (None, Err(_)) => {}
            (Some(_), Err(why)) => panic!("conformance: entry {at} is no answer, though its op may be: {why}"),
            (None, Ok(_)) => panic!("conformance: entry {at} is taken for an answer, and its op is no request"),
        }
        assert!(answers.is_some() || entry.request.is_none(), "conformance: entry {at} is stamped and no request");
    }
}

pub(super) fn all_ops_were_met<D: Domain>(course: &Course<'_, D>) {
    let is_met = |op: &u8| course.log.iter().any(|entry| entry.domain == D::ID && entry.op_type == *op);
    let missing: Vec<u8> = course.trial.ops.iter().copied().filter(|op| !is_met(op)).collect();
    assert!(missing.is_empty(), "conformance: the trial does not come to the ops {missing:?}");
}

/// On the way of every shard from its first record to its last one.
pub(super) fn digests_are_those_of_the_records<D: Domain>(course: &Course<'_, D>) {
    let half = course.replayed(course.log.len() / 2);
    for shard in 0..half.shards() {
        let mut at = ScrubCursor::of(shard);
        loop {
            match half.scrub(at, 3) {
                ScrubStep::More(next) => at = next,
                ScrubStep::Sound => break,
                other => panic!("conformance: the scrub of shard {shard} says {other:?}"),
            }
        }
    }
}
