//! The one writer: what an entry is on its way into the log, or out of it into the state.
//!
//! A thread that changes anything holds the writer lock, so the order of the log is the order of the
//! changes. A place in the log is taken before anything changes; where there is none, nothing has.
//!
//! Invariants: `applied` is the position of the last entry that the state holds; a state that has
//! refused an entry as one that does not fit takes nothing more; a primary that cannot apply what
//! it has decided itself ends.
//!
//! Deliberately absent: what an op of a domain does, and which shards there are beside the
//! writer's.

use std::fmt::Display;
use std::ops::{Deref, DerefMut};

use bincode::Encode;
use bytes::Bytes;
use oplog::{
    Appender, ApplyError, DomainId, Draft, Entry, Frame, OP_DIGEST, OP_EPOCH_START, Position, RequestStamp, Secret,
    Slot,
};
use parking_lot::{Mutex, MutexGuard};

use crate::accounts::Accounts;
use crate::call::{CallRefused, Now, Op, Source};
use crate::clients::Keep;
use crate::domain::{Applying, Domain};
use crate::errors::{Inconsistent, OpError, require};
use crate::held::{Held, LockTimes};
use crate::ops::{self, LedgerOp};
use crate::settings::{InForce, Settings};

/// Last seq that is taken from outside: half of what an [`ItemId`](crate::ItemId) can count, so
/// that a state can always go on.
pub const SEQ_MAX: u64 = 1 << 51;

/// The writer behind its lock.
#[derive(Debug)]
pub struct Ledger<O> {
    writer: Mutex<Writer<O>>,
    pub times: LockTimes,
}

/// All that only one at a time may touch.
#[derive(Debug)]
pub struct Writer<O> {
    pub accounts: Accounts,
    /// The domain's.
    pub own: O,
    /// Of the primary; a standby has none, and so cannot write.
    pub(crate) log: Option<Appender>,
    applied: Position,
    /// When this member became the primary: every TTL counts from then at the earliest. `None`: of
    /// an empty state.
    pub grace_from_ms: Option<u64>,
    /// When this primary changed the settings last: what is owed since then counts from there, or
    /// from its promotion.
    pub owed_from_ms: u64,
    /// An entry did not fit and may have been applied in part: nothing more is taken.
    lost: Option<ApplyError>,
    pub(crate) scratch: Vec<u8>,
}

impl<O> Ledger<O> {
    /// At `applied`; a standby until [`WriterGuard::lead`].
    pub fn new(own: O, applied: Position, clock_ns: fn() -> u64) -> Ledger<O> {
        let writer = Writer {
            accounts: Accounts::new(),
            own,
            log: None,
            applied,
            grace_from_ms: None,
            owed_from_ms: 0,
            lost: None,
            scratch: Vec::new(),
        };
        Ledger { writer: Mutex::new(writer), times: LockTimes::new(clock_ns) }
    }

    #[track_caller]
    pub fn write(&self) -> WriterGuard<'_, O> {
        let guard = self.writer.lock();
        WriterGuard { held: self.times.begin(), guard }
    }

    /// Of faults and checks that tests make.
    pub fn unmeasured(&self) -> MutexGuard<'_, Writer<O>> {
        self.writer.lock()
    }
}

impl<O> Writer<O> {
    pub fn applied(&self) -> Position {
        self.applied
    }

    pub fn is_primary(&self) -> bool {
        self.log.is_some()
    }

    /// What did not fit, if anything.
    pub fn lost(&self) -> Option<&ApplyError> {
        self.lost.as_ref()
    }

    /// Nothing more is taken.
    pub fn lose(&mut self, why: ApplyError) {
        self.lost = Some(why);
    }

    /// The position moves on without an entry: images say where they stand, and tests what they
    /// like.
    pub fn stand_at(&mut self, at: Position) {
        self.applied = at;
    }

    /// Refuses with `NotPrimary`.
    pub fn check_primary(&self) -> Result<(), CallRefused> {
        if self.is_primary() { Ok(()) } else { Err(CallRefused::NotPrimary) }
    }

    /// Room for these entries at once; the next ones find it.
    pub fn make_room(&mut self, entries: &[usize]) -> Result<(), CallRefused> {
        Ok(self.log.as_mut().ok_or(CallRefused::NotPrimary)?.make_room(entries)?)
    }

    /// From the log of a primary.
    pub fn apply_entry<D: Domain<Own = O>>(&mut self, domain: &D, entry: &Entry) -> Result<(), ApplyError> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        check_next(self.applied, entry)?;
        match entry.domain {
            DomainId::ENGINE => self.apply_engine(domain, entry)?,
            id if id == D::ID => self.apply_domain(domain, entry)?,
            _ => return Err(ApplyError::UnknownDomain),
        }
        self.applied = entry.position();
        Ok(())
    }

    fn apply_engine<D: Domain<Own = O>>(&mut self, domain: &D, entry: &Entry) -> Result<(), ApplyError> {
        let is_live = self.accounts.is_live();
        if matches!(entry.op_type, OP_EPOCH_START | OP_DIGEST) {
            if let Some(secret) = Secret::of_entry(entry)?.filter(|_| is_live) {
                self.accounts.secret = secret;
                self.accounts.changed = true;
            }
            return Ok(());
        }
        let unknown = ApplyError::UnknownOp { domain: entry.domain, op_type: entry.op_type };
        let op = LedgerOp::from_number(entry.op_type).ok_or(unknown)?;
        // While it is rebuilt, the image has all of this already.
        if !is_live {
            return Ok(());
        }
        let stamped = || format!("{op:?} is no client's request");
        let done = match require(entry.request.is_none(), stamped) {
            Ok(()) => self.op(domain, op.into(), entry).map(drop),
            Err(error) => Err(error.into()),
        };
        self.fits(entry.seq, done)
    }

    fn op<D: Domain<Own = O>>(&mut self, domain: &D, op: Op, entry: &Entry) -> Result<u64, OpError> {
        let Writer { accounts, own, .. } = self;
        let cx = Applying { accounts, own, seq: entry.seq, source: Source::Logged };
        apply_op(domain, cx, op, &entry.payload)
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

    fn apply_domain<D: Domain<Own = O>>(&mut self, domain: &D, entry: &Entry) -> Result<(), ApplyError> {
        let op = Op { domain: D::ID, number: entry.op_type };
        let unknown = ApplyError::UnknownOp { domain: entry.domain, op_type: entry.op_type };
        let answers = D::answers(op.number).map_err(|_| unknown)?;
        // While it is rebuilt, the image has all answers already.
        let stamp = entry.request.as_ref().filter(|_| self.accounts.is_live());
        let done = self.stamped(domain, op, answers, stamp, entry);
        let done = self.fits(entry.seq, done)?;
        if let Some((stamp, keep)) = stamp.zip(answers) {
            let payload = entry.payload.clone();
            self.accounts.clients.record(stamp, op, keep, payload, done, (entry.seq, 0));
        }
        Ok(())
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
        self.op(domain, op, entry)
    }
}

/// Of the ledger or of the domain; tells how many items of a request it did.
fn apply_op<D: Domain>(domain: &D, cx: Applying<'_, D::Own>, op: Op, payload: &[u8]) -> Result<u64, OpError> {
    match LedgerOp::from_number(op.number).filter(|_| op.domain == DomainId::ENGINE) {
        Some(op) => ops::apply(domain, cx, op, payload).map(|()| 0),
        None => domain.apply(cx, op.number, payload),
    }
}

/// Refuses what does not come next.
pub fn check_next(applied: Position, entry: &Entry) -> Result<(), ApplyError> {
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

/// The writer lock. Field order matters: the time is taken before the lock is given back.
#[derive(Debug)]
pub struct WriterGuard<'a, O> {
    held: Held<'a>,
    guard: MutexGuard<'a, Writer<O>>,
}

impl<O> Deref for WriterGuard<'_, O> {
    type Target = Writer<O>;
    fn deref(&self) -> &Writer<O> {
        &self.guard
    }
}

impl<O> DerefMut for WriterGuard<'_, O> {
    fn deref_mut(&mut self) -> &mut Writer<O> {
        &mut self.guard
    }
}

impl<O> WriterGuard<'_, O> {
    /// Gives the lock to whoever waits for it longest. Dropped, it goes to whoever is quickest, and
    /// that is most often the one who has just had it.
    pub fn hand_over(self) {
        let WriterGuard { held, guard } = self;
        drop(held);
        MutexGuard::unlock_fair(guard);
    }

    /// Lets others in, between two steps of one piece of work.
    pub fn step_aside(&mut self) {
        self.held.pause();
        MutexGuard::unlocked_fair(&mut self.guard, || {});
        self.held.go_on();
    }

    /// From now on this member writes, into `log`. Costs the same however much there is: every TTL
    /// restarts by one number. Tells the settings that are the first thing to log, where the
    /// cluster has none: those that this member was started with.
    pub fn lead(&mut self, log: Appender, now: Now, started_with: Settings) -> Option<InForce> {
        assert_eq!(log.next_seq(), self.applied.seq + 1, "the log must go on where the state stands");
        assert!(log.epoch() >= self.applied.epoch, "epoch {} after {}", log.epoch(), self.applied.epoch);
        if let Some(lost) = &self.lost {
            panic!("a state that is lost cannot lead: {lost}");
        }
        // Where nothing ever was but the start of the first epoch, no client holds anything.
        self.grace_from_ms = (self.applied.seq > 1).then_some(now.ttl_ms);
        self.log = Some(log);
        self.accounts.settings.get().is_none().then(|| InForce::started_with(started_with))
    }

    /// From now on this member only applies.
    pub fn follow(&mut self) -> Option<Appender> {
        self.log.take()
    }

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
        if let Err(error) = apply_op(domain, Applying { accounts, own, seq, source }, op, scratch) {
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
#[path = "writer_test.rs"]
mod tests;
