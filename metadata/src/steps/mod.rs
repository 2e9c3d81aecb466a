//! What the primary does of its own accord: the end of what is owed, expiry, unmounts, discards, releases, eviction. Each call of
//! [`Metadata::step`] does one small step of every kind that is due, so nobody waits long behind it, and costs what it
//! changes, not what there is.
//!
//! Only the primary takes steps, and each one is an op: a standby has no clock that could expire anything.

use ledger::{CallRefused, InForce, Now};

mod evict;
mod expire;
pub(crate) mod round;
mod settings;
mod space;

use crate::state::{Metadata, WriterGuard};

/// Objects that one step touches at most: what others wait for, since nothing goes on beside it.
pub(crate) const STEP_OBJECTS_MAX: usize = 64;

/// What one step did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Steps {
    pub clients_expired: u64,
    pub segments_gone: u64,
    pub replicas_dropped: u64,
    pub puts_discarded: u64,
    pub extents_released: u64,
    pub objects_evicted: u64,
    pub tasks_updated: u64,
    /// There is more to do: step again soon.
    pub more: bool,
    /// A put found no space that an eviction frees: step again at once.
    pub urgent: bool,
}

/// The writer, for the length of one step.
pub(crate) struct Stepping<'a, 'w> {
    pub(crate) state: &'a Metadata,
    pub(crate) writer: &'w mut WriterGuard<'a>,
    pub(crate) now: Now,
    pub(crate) done: Steps,
}

type Kind = fn(&mut Stepping<'_, '_>) -> Result<(), CallRefused>;

impl Stepping<'_, '_> {
    pub(crate) fn in_force(&self) -> InForce {
        self.writer.accounts.in_force(self.state.config.settings)
    }

    /// A thing that began at `since_ms` is over after `duration_ms`, but never within that time of a promotion.
    pub(crate) fn is_over(&self, since_ms: u64, duration_ms: u64) -> bool {
        is_over(self.now, self.writer.grace_from_ms, since_ms, duration_ms)
    }
}

fn is_over(now: Now, grace_from_ms: Option<u64>, since_ms: u64, duration_ms: u64) -> bool {
    now.ttl_ms.saturating_sub(since_ms.max(grace_from_ms.unwrap_or(0))) >= duration_ms
}

impl Metadata {
    /// Refuses on a standby, and when the log is full: nothing is lost by trying again.
    pub fn step(&self, now: Now) -> Result<Steps, CallRefused> {
        self.step_while(now, || true)
    }

    /// `may_log` is asked under the lock, before anything of each kind is decided: it may have
    /// taken long to get there.
    pub fn step_while(&self, now: Now, may_log: impl Fn() -> bool) -> Result<Steps, CallRefused> {
        let kinds: [Kind; 8] = [
            |step| step.settle(),
            |step| step.expire_clients(),
            |step| step.clean_up_after_clients(),
            |step| step.discard_unfinished(),
            |step| step.release(),
            |step| step.unmount(),
            |step| step.update_tasks(),
            |step| step.evict(),
        ];
        let mut sum = Steps::default();
        for kind in kinds {
            let mut writer = self.write();
            if !writer.is_primary() || !may_log() {
                return Err(CallRefused::NotPrimary);
            }
            let mut step = Stepping { state: self, writer: &mut writer, now, done: sum };
            kind(&mut step)?;
            sum = step.done;
            // Steps follow each other: without that those who wait would hardly get the lock in between.
            writer.hand_over();
        }
        Ok(sum)
    }
}
