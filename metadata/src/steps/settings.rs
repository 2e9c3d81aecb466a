//! The settings of the cluster, where it has none yet; and the end of what is owed.

use ledger::{CallRefused, InForce};

use crate::steps::Stepping;

impl Stepping<'_, '_> {
    pub(super) fn settle(&mut self) -> Result<(), CallRefused> {
        let op = match self.writer.accounts.settings.get() {
            // There was no room in the log when this member was promoted.
            None => {
                let own = InForce::started_with(self.state.config.settings);
                own.change_to(own.settings)
            }
            Some(in_force) => {
                let Some(owed) = in_force.owed else { return Ok(()) };
                if !self.is_over(self.writer.owed_from_ms, owed.promised_for_ms()) {
                    return Ok(());
                }
                in_force.settled()
            }
        };
        self.writer.commit_settings(op, self.now)
    }
}
