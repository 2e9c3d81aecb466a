//! The one writer, behind its lock.
//!
//! A thread that changes anything holds the writer lock, so the order of the log is the order of the
//! changes.
//!
//! Invariants: `applied` is the position of the last entry that the state holds; a state that has
//! refused an entry as one that does not fit takes nothing more.
//!
//! Deliberately absent: what is done with it (`entry`), and which shards there are beside the
//! writer's.

use std::ops::{Deref, DerefMut};

use oplog::{Appender, ApplyError, Position};
use parking_lot::{Mutex, MutexGuard};

use crate::accounts::Accounts;
use crate::call::{CallRefused, Now};
use crate::config::Config;
use crate::held::{Held, LockTimes};
use crate::settings::InForce;

/// Last seq that is taken from outside: half of what an [`ItemId`](crate::ItemId) can count, so
/// that a state can always go on.
pub(crate) const SEQ_MAX: u64 = 1 << 51;

/// The writer behind its lock.
#[derive(Debug)]
pub struct Ledger<O> {
    writer: Mutex<Writer<O>>,
    pub times: LockTimes,
}

/// All that only one at a time may touch.
#[derive(Debug)]
pub struct Writer<O> {
    pub(crate) config: Config,
    pub accounts: Accounts,
    /// The domain's.
    pub own: O,
    /// Of the primary; a standby has none, and so cannot write.
    pub(crate) log: Option<Appender>,
    pub(crate) applied: Position,
    /// When this member became the primary: every TTL counts from then at the earliest. `None`: of
    /// an empty state.
    pub grace_from_ms: Option<u64>,
    /// When this primary changed the settings last: what is owed since then counts from there, or
    /// from its promotion.
    pub owed_from_ms: u64,
    /// An entry did not fit and may have been applied in part: nothing more is taken.
    pub(crate) lost: Option<ApplyError>,
    pub(crate) scratch: Vec<u8>,
}

impl<O> Ledger<O> {
    /// At `applied`; a standby until it leads.
    pub fn new(own: O, applied: Position, config: Config) -> Ledger<O> {
        let writer = Writer {
            config,
            accounts: Accounts::new(),
            own,
            log: None,
            applied,
            grace_from_ms: None,
            owed_from_ms: 0,
            lost: None,
            scratch: Vec::new(),
        };
        Ledger { writer: Mutex::new(writer), times: LockTimes::new(config.lock_clock_ns) }
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

    /// A state that has no settings yet goes by those of its member.
    pub fn in_force(&self) -> InForce {
        self.accounts.in_force(self.config.settings)
    }

    /// Refuses with `NotPrimary`.
    pub fn check_primary(&self) -> Result<(), CallRefused> {
        if self.is_primary() { Ok(()) } else { Err(CallRefused::NotPrimary) }
    }

    /// Room for these entries at once; the next ones find it.
    pub fn make_room(&mut self, entries: &[usize]) -> Result<(), CallRefused> {
        Ok(self.log.as_mut().ok_or(CallRefused::NotPrimary)?.make_room(entries)?)
    }
}

/// The writer lock. Field order matters: the time is taken before the lock is given back.
#[derive(Debug)]
pub struct WriterGuard<'a, O> {
    held: Held<'a>,
    pub(crate) guard: MutexGuard<'a, Writer<O>>,
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
    pub(crate) fn lead(&mut self, log: Appender, now: Now) -> Option<InForce> {
        assert_eq!(log.next_seq(), self.applied.seq + 1, "the log must go on where the state stands");
        assert!(log.epoch() >= self.applied.epoch, "epoch {} after {}", log.epoch(), self.applied.epoch);
        if let Some(lost) = &self.lost {
            panic!("a state that is lost cannot lead: {lost}");
        }
        // Where nothing ever was but the start of the first epoch, no client holds anything.
        self.grace_from_ms = (self.applied.seq > 1).then_some(now.ttl_ms);
        self.log = Some(log);
        self.accounts.settings.get().is_none().then(|| InForce::started_with(self.config.settings))
    }

    /// From now on this member only applies.
    pub(crate) fn follow(&mut self) -> Option<Appender> {
        self.log.take()
    }
}
