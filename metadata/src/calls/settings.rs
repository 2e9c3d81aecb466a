//! The settings of the cluster, as readers know them.

use ledger::InForce;

use crate::state::Objects;
use crate::view::View;

impl Objects {
    /// The settings as this member has applied them.
    pub fn settings(&self) -> InForce {
        self.settings_in(&self.view())
    }

    pub(crate) fn settings_in(&self, view: &View) -> InForce {
        view.in_force().unwrap_or_else(|| InForce::started_with(self.config.settings))
    }
}
