//! The gate of this node: `member`'s, with the time, and with the tasks that wait for it to change.
//!
//! *Invariant:* a watcher of the standing sees the newest one last, since it is read when it is
//! announced.
//!
//! Deliberately absent: what the gate says. `member` decides that, and alone opens and closes it.

use std::sync::Arc;

pub(crate) use member::deposed;
pub use member::{CallKind, Standing};
use proto::v1::CallError;
use tokio::sync::watch;

use crate::clock::now_ms;

#[derive(Debug)]
pub struct Gate {
    core: Arc<member::Gate>,
    standing: watch::Sender<Standing>,
}

impl Gate {
    /// Open, for a member that no other one can depose.
    pub fn serving(epoch: u64) -> Gate {
        Gate::around(member::Gate::serving(epoch))
    }

    /// The gate of a member that has no role yet.
    pub(crate) fn closed() -> Gate {
        Gate::around(member::Gate::closed())
    }

    fn around(core: member::Gate) -> Gate {
        let (standing, _) = watch::channel(core.standing());
        Gate { core: Arc::new(core), standing }
    }

    /// The part that the member opens and closes.
    pub(crate) fn core(&self) -> Arc<member::Gate> {
        Arc::clone(&self.core)
    }

    /// Wakes the watchers.
    pub(crate) fn standing_changed(&self) {
        self.standing.send_modify(|standing| *standing = self.core.standing());
    }

    pub fn set(&self, standing: Standing) {
        self.core.set(standing);
        self.standing_changed();
    }

    pub fn standing(&self) -> Standing {
        self.core.standing()
    }

    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// The newest epoch that is known here, whichever member leads in it. 0: none is known yet.
    pub(crate) fn known_epoch(&self) -> u64 {
        self.core.known_epoch()
    }

    /// The epoch in which answers go out.
    pub fn epoch(&self) -> u64 {
        self.core.epoch()
    }

    /// Whether this node may log something of its own accord now.
    pub(crate) fn may_log(&self) -> bool {
        self.core.may_log(now_ms())
    }

    /// Calls are accepted and answered before this moment of `clock::now_ms`, as far as is known.
    /// 0: they are not.
    pub(crate) fn serves_until_ms(&self) -> u64 {
        self.core.serves_until_ms()
    }

    /// May a new call be accepted? Returns the epoch in which its answer may go out.
    pub fn check_open(&self) -> Result<u64, CallError> {
        self.core.check_open(now_ms())
    }

    /// May the answer to a call that ran in `epoch` go out?
    pub fn check_answer(&self, kind: CallKind, epoch: u64) -> Result<(), CallError> {
        self.core.check_answer(kind, epoch, now_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn watcher_of_the_gate_sees_what_its_member_does_to_it() {
        let gate = Gate::closed();
        let mut standings = gate.watch();
        assert!(gate.core().lead(3));
        assert!(!standings.has_changed().expect("the gate is there"), "the watchers were not told yet");
        gate.standing_changed();
        assert_eq!(*standings.borrow_and_update(), Standing::Serving);
        gate.set(Standing::Stopping);
        assert_eq!(*standings.borrow_and_update(), Standing::Stopping);
        assert_eq!(gate.standing(), Standing::Stopping);
    }
}
