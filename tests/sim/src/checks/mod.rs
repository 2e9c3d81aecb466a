//! What must hold in every run: a file for each invariant, checked when it could first be broken.
//!
//! A violation ends the run with `name of the file: what was seen`. The deliberate bugs in `bites/` are each caught by such a name.

pub(crate) mod acknowledged_survives;
pub(crate) mod applied_in_order;
pub(crate) mod assigned_once;
pub(crate) mod born_with_nothing;
pub(crate) mod client_epoch;
pub(crate) mod cursors;
pub(crate) mod divergence_found;
pub(crate) mod equal_digest;
pub(crate) mod expiry_only_logged;
pub(crate) mod founded_once;
pub(crate) mod healed;
pub(crate) mod heard_before_expiry;
pub(crate) mod insync_lacks_nothing;
pub(crate) mod members_are_listed;
pub(crate) mod monotonic;
pub(crate) mod no_late_acknowledgement;
pub(crate) mod no_overlap;
pub(crate) mod one_primary;
pub(crate) mod peers_of_a_reign;
pub(crate) mod promoted_from_set;
pub(crate) mod reads_wait;
pub(crate) mod same_answer;
pub(crate) mod same_log;
pub(crate) mod sound_leads;
pub(crate) mod standby_reads;

/// Ends the run.
macro_rules! violated {
    ($($what:tt)*) => {{
        let name = module_path!().rsplit("::").next().unwrap_or_default();
        panic!("{name}: {}", format_args!($($what)*))
    }};
}
pub(crate) use violated;

/// Those that remember something.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    pub(crate) one_primary: one_primary::OnePrimary,
    pub(crate) no_late_acknowledgement: no_late_acknowledgement::Latest,
    pub(crate) acknowledged: acknowledged_survives::Acknowledged,
    pub(crate) held: insync_lacks_nothing::Held,
    pub(crate) births: born_with_nothing::Births,
    pub(crate) monotonic: monotonic::Monotonic,
    pub(crate) same_answer: same_answer::Answers,
    pub(crate) assigned_once: assigned_once::Assigned,
    pub(crate) no_overlap: no_overlap::Promises,
    pub(crate) heard: heard_before_expiry::Heard,
    pub(crate) acknowledgements: standby_reads::Acknowledgements,
}

impl Checks {
    /// A member is about to lead `epoch`. True: its life began with nothing, and this is the first that is seen of it. Until now
    /// a primary of the life before may have answered; from here on what it acknowledged counts no more, and what it promised does
    /// `until` then.
    pub(crate) fn begins(&mut self, epoch: u64, until: u64) -> bool {
        let is_new = self.births.is_new_life(epoch);
        if is_new {
            self.reborn(until);
        }
        is_new
    }

    fn reborn(&mut self, until: u64) {
        self.acknowledged = acknowledged_survives::Acknowledged::default();
        self.acknowledgements = standby_reads::Acknowledgements::default();
        self.same_answer = same_answer::Answers::default();
        self.assigned_once = assigned_once::Assigned::default();
        self.no_overlap.begin_anew(until);
    }
}
