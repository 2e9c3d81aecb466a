//! The settings of the cluster: an operator reads and changes them, and the first primary sets them.

use ledger::{Answer, CallRefused, InForce, LedgerOp, Now, SettingsOp};

use crate::state::{Metadata, WriterGuard};
use crate::view::View;

impl Metadata {
    /// The settings as this member has applied them.
    pub fn settings(&self) -> InForce {
        self.settings_in(&self.view())
    }

    pub(crate) fn settings_in(&self, view: &View) -> InForce {
        view.in_force().unwrap_or_else(|| InForce::started_with(self.config.settings))
    }

    /// Changes some settings of the cluster, by name. What they shorten stays owed to what was promised before. Where all
    /// of them have these values already, nothing is logged.
    pub fn set_settings(&self, changes: &[(&str, &str)], now: Now) -> Result<Answer<InForce>, CallRefused> {
        let mut writer = self.write();
        if !writer.is_primary() {
            return Err(CallRefused::NotPrimary);
        }
        let before = writer.accounts.in_force(self.config.settings);
        let settings = before.settings.with_all(changes)?;
        if settings != before.settings || writer.accounts.settings.get().is_none() {
            writer.commit_settings(before.change_to(settings), now)?;
        }
        Ok(Answer { results: writer.accounts.in_force(self.config.settings), position: writer.applied() })
    }
}

impl WriterGuard<'_> {
    /// What is owed is owed in full from here on.
    pub(crate) fn commit_settings(&mut self, op: SettingsOp, now: Now) -> Result<(), CallRefused> {
        self.commit_op(LedgerOp::Settings, &op, now)?;
        self.owed_from_ms = now.ttl_ms;
        Ok(())
    }
}
