//! An entry on its way into the log, or out of it into the state.
//!
//! A place in the log is taken before anything changes; where there is none, nothing has.
//!
//! Invariants: nothing is applied but what comes next; a primary that cannot apply what it has
//! decided itself ends.
//!
//! Deliberately absent: what an op of a domain does.

use std::fmt::Display;

use bincode::Encode;
use bytes::Bytes;
use oplog::{
    Appender, ApplyError, DomainId, Draft, Entry, Frame, OP_DIGEST, OP_EPOCH_START, Position, RequestStamp, Secret,
    Slot,
};

use crate::accounts::Applying;
use crate::call::{CallRefused, Now, Op, Source};
use crate::clients::Keep;
use crate::domain::Domain;
use crate::errors::{Inconsistent, OpError, require};
use crate::ops::{self, LedgerOp};
use crate::settings::SettingsOp;
use crate::writer::{SEQ_MAX, Writer, WriterGuard};

impl<O> Writer<O> {
    /// From the log of a primary.
    pub fn apply_entry<D: Domain<Own = O>>(&mut self, domain: &D, entry: &Entry) -> Result<(), ApplyError> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        check_next(self.applied, entry)?;
        match (entry.domain, entry.op_type) {
            (DomainId::ENGINE, OP_EPOCH_START | OP_DIGEST) => self.apply_of_log(entry)?,
            (domain_id, number) => self.apply_op(domain, Op { domain: domain_id, number }, entry)?,
        }
        self.applied = entry.position();
        Ok(())
    }

    fn apply_of_log(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if let Some(secret) = Secret::of_entry(entry)?.filter(|_| self.accounts.is_live()) {
            self.accounts.secret = secret;
            self.accounts.changed = true;
        }
        Ok(())
    }

    fn apply_op<D: Domain<Own = O>>(&mut self, domain: &D, op: Op, entry: &Entry) -> Result<(), ApplyError> {
        let answers = ops::answers::<D>(op)?;
        let is_live = self.accounts.is_live();
        // While it is rebuilt, the image has all of the ledger's already, and all answers.
        if op.domain == DomainId::ENGINE && !is_live {
            return Ok(());
        }
        let stamp = entry.request.as_ref().filter(|_| is_live);
        let done = self.stamped(domain, op, answers, stamp, entry);
        let done = self.fits(entry.seq, done)?;
        if let Some((stamp, keep)) = stamp.zip(answers) {
            let payload = entry.payload.clone();
            self.accounts.clients.record(stamp, op, keep, payload, done, (entry.seq, 0));
        }
        Ok(())
    }

    /// What does not fit may have been applied in part.
    fn fits<T>(&mut self, seq: u64, done: Result<T, OpError>) -> Result<T, ApplyError> {
        done.map_err(|error| {
            let error = error.at(seq);
            if matches!(error, ApplyError::Inconsistent { .. }) {
                self.lost = Some(error.clone());
            }
            error
        })
    }

    /// An op that may be the answer to a request.
    fn stamped<D: Domain<Own = O>>(
        &mut self,
        domain: &D,
        op: Op,
        answers: Option<Keep>,
        stamp: Option<&RequestStamp>,
        entry: &Entry,
    ) -> Result<u64, OpError> {
        if let Some(stamp) = stamp {
            require(answers.is_some(), || format!("op {op} is no client's request"))?;
            self.accounts.clients.check_stamp(stamp, op)?;
        }
        let Writer { accounts, own, .. } = self;
        let cx = Applying { accounts, own, seq: entry.seq, source: Source::Logged };
        ops::apply(domain, cx, op, &entry.payload)
    }
}

/// Refuses what does not come next.
pub(crate) fn check_next(applied: Position, entry: &Entry) -> Result<(), ApplyError> {
    if entry.seq != applied.seq + 1 {
        return Err(ApplyError::NotNext { expected: applied.seq + 1, got: entry.seq });
    }
    if entry.epoch < applied.epoch {
        return Err(ApplyError::EpochBack { have: applied.epoch, got: entry.epoch });
    }
    if entry.seq > SEQ_MAX {
        return Err(ApplyError::Inconsistent { seq: entry.seq, what: format!("seqs end at {SEQ_MAX}") });
    }
    Ok(())
}

impl<O> WriterGuard<'_, O> {
    /// Logs what changes nothing in the state.
    pub fn append<D: Domain<Own = O>>(
        &mut self,
        domain: &D,
        op: Op,
        now: Now,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Position, CallRefused> {
        let Writer { log, scratch, .. } = &mut *self.guard;
        let log = log.as_mut().ok_or(CallRefused::NotPrimary)?;
        scratch.clear();
        encode(scratch);
        let slot = log.reserve(scratch.len())?;
        let frame = slot.append(&draft_of(op, now, None, scratch));
        self.appended(domain, &frame);
        Ok(frame.position())
    }

    /// Logs one op, and applies it as any other member would. Refuses only before anything has
    /// changed: the slot is held from there on until the entry is in it.
    pub fn commit<D: Domain<Own = O>, T: Encode>(
        &mut self,
        domain: &D,
        op: Op,
        value: &T,
        now: Now,
        stamp: Option<(RequestStamp, Keep)>,
        items: u64,
    ) -> Result<(), CallRefused> {
        let Writer { accounts, own, log, scratch, .. } = &mut *self.guard;
        let slot = reserve_for(log, scratch, value)?;
        let seq = slot.seq();
        let source = Source::Decided { now_ms: now.ttl_ms, from: None };
        if let Err(error) = ops::apply(domain, Applying { accounts, own, seq, source }, op, scratch) {
            own_op_failed(op, seq, &error);
        }
        let frame = slot.append(&draft_of(op, now, stamp.map(|(stamp, _)| stamp), scratch));
        self.logged(domain, op, &frame, now, stamp, items);
        Ok(())
    }

    /// As [`WriterGuard::commit`], for an op of which some items may have been promised to readers
    /// since they were chosen: `apply_items` applies them one by one, and leaves out those. It may
    /// make the op smaller, never larger: its room in the log is taken before.
    pub fn commit_items<D: Domain<Own = O>, T: Encode>(
        &mut self,
        domain: &D,
        op: Op,
        mut value: T,
        now: Now,
        stamp: Option<(RequestStamp, Keep)>,
        apply_items: impl FnOnce(&mut T, Applying<'_, O>) -> Result<(), Inconsistent>,
    ) -> Result<T, CallRefused> {
        let Writer { accounts, own, log, scratch, .. } = &mut *self.guard;
        let slot = reserve_for(log, scratch, &value)?;
        let (seq, room) = (slot.seq(), scratch.len());
        let source = Source::Decided { now_ms: now.ttl_ms, from: None };
        if let Err(error) = apply_items(&mut value, Applying { accounts, own, seq, source }) {
            own_op_failed(op, seq, &error);
        }
        scratch.clear();
        oplog::encode_payload(&value, scratch);
        if scratch.len() > room {
            let grown = format_args!("it grew from {room} to {} bytes while it was applied", scratch.len());
            own_op_failed(op, seq, &grown);
        }
        let frame = slot.append(&draft_of(op, now, stamp.map(|(stamp, _)| stamp), scratch));
        self.logged(domain, op, &frame, now, stamp, 0);
        Ok(value)
    }

    /// What is owed is owed in full from here on.
    pub(crate) fn commit_settings<D: Domain<Own = O>>(
        &mut self,
        domain: &D,
        op: SettingsOp,
        now: Now,
    ) -> Result<(), CallRefused> {
        self.commit(domain, LedgerOp::Settings.into(), &op, now, None, 0)?;
        self.owed_from_ms = now.ttl_ms;
        Ok(())
    }

    fn logged<D: Domain<Own = O>>(
        &mut self,
        domain: &D,
        op: Op,
        frame: &Frame,
        now: Now,
        stamp: Option<(RequestStamp, Keep)>,
        items: u64,
    ) {
        let Writer { accounts, scratch, .. } = &mut *self.guard;
        if let Some((stamp, keep)) = stamp {
            let payload = payload_of(frame, scratch.len());
            accounts.clients.record(&stamp, op, keep, payload, items, (frame.position().seq, now.ttl_ms));
        }
        self.appended(domain, frame);
    }

    /// The entry is in the log and in the state.
    pub(crate) fn appended<D: Domain<Own = O>>(&mut self, domain: &D, frame: &Frame) {
        self.guard.applied = frame.position();
        self.tell(domain);
    }

    /// Readers may be told of all that is applied.
    pub fn tell<D: Domain<Own = O>>(&mut self, domain: &D) {
        let Writer { accounts, own, applied, .. } = &mut *self.guard;
        domain.on_applied(accounts, own, applied.seq);
    }
}

/// Encodes the value into the scratch and takes a place for it in the log. Where there is none, or
/// no log, nothing has changed.
fn reserve_for<'l, T: Encode>(
    log: &'l mut Option<Appender>,
    scratch: &mut Vec<u8>,
    value: &T,
) -> Result<Slot<'l>, CallRefused> {
    let log = log.as_mut().ok_or(CallRefused::NotPrimary)?;
    scratch.clear();
    oplog::encode_payload(value, scratch);
    Ok(log.reserve(scratch.len())?)
}

pub(crate) fn draft_of(op: Op, now: Now, request: Option<RequestStamp>, payload: &[u8]) -> Draft<'_> {
    Draft { domain: op.domain, op_type: op.number, timestamp_ms: now.wall_ms, request, key: b"", payload }
}

/// The payload's bytes within a frame: they are its end.
pub(crate) fn payload_of(frame: &Frame, length: usize) -> Bytes {
    let bytes = frame.as_bytes();
    bytes.slice(bytes.len() - length..)
}

/// The primary wrote an op that its own state refuses. Going on would spread it.
#[cold]
pub(crate) fn own_op_failed(op: Op, seq: u64, error: &dyn Display) -> ! {
    panic!("op {op} at seq {seq} does not fit the state that decided it: {error}")
}

#[cfg(test)]
#[path = "entry_test.rs"]
mod tests;
