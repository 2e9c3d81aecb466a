//! An instance of the model: its bounds, and a deliberate mistake, or none.

use crate::words::{LIVES, SLOTS};

/// How far the checker goes. Within these bounds every order of events is visited.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub members: usize,
    /// How often members lose all that they had in memory, in all.
    pub failures: u8,
    /// Epoch of the last takeover.
    pub epochs: u8,
    /// Entries of a log.
    pub entries: u8,
    /// Messages between members that are under way at the same time.
    pub messages: usize,
    /// Swaps that their member has stopped waiting for, and that may still happen.
    pub late_swaps: usize,
    /// How often the coordinator loses its record, or shows an older one.
    pub losses: u8,
    /// It may show any backup, even one that a member cannot distinguish from the newest record,
    /// which is not covered.
    pub any_backup: bool,
    /// No member proposes or claims on a record that has been swapped more often than this since
    /// the backup was taken.
    pub versions: u8,
    /// The address key of the coordinator is written, and clients use it.
    pub address: bool,
    /// Members that differ only in their names count as the same: this leaves a sixth of the
    /// states, but traces rename members.
    pub symmetry: bool,
}

/// How many ticks the tenure lasts at most, by the slowest clock that a primary may have.
pub(crate) const TENURE: u8 = 1;

/// How many ticks a member waits before it claims, by the fastest clock that it may have. The
/// factor and the margin of `takeover_wait_ms` ensure that this is no less than the tenure.
pub(crate) const WAIT: u8 = 1;

/// What a developer might have built instead. The checker must find what each mistake breaks, or it
/// proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// The tenure counts from when an answer arrives, not from when its beacon was sent.
    TenureFromReceipt,
    /// A claim goes out although its member's last answer may still carry a tenure.
    WaitTooShort,
    /// A member claims that is not in the set.
    ClaimOutsideSet,
    /// Commits stop waiting for a peer once its removal is proposed, not once it has happened.
    AcknowledgeBeforeSwap,
    /// Beacons are answered while a claim is pending.
    AnswerWhileClaiming,
    /// A swap with an unknown outcome is treated as failed.
    UnknownIsFailed,
    /// A peer is proposed for the set before it holds what is committed.
    JoinBeforeHolding,
    /// A member that lost its memory keeps its old name.
    SameIncarnation,
    /// A member that follows another primary keeps entries that this one does not have.
    KeepDivergedTail,
    /// The member that the address key names serves, whatever its gate says.
    ServeByAddress,
    /// A primary writes its record again although its right to answer may be over.
    RestoreWithoutRight,
    /// A member acts on a record that is older than what it has seen.
    BelieveOlder,
    /// A member creates a first record without asking what others have seen.
    FoundBesideSurvivor,
    /// A member begins anew without asking what others have seen.
    BeginAnewBesideSurvivor,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub bounds: Bounds,
    pub mistake: Option<Mistake>,
}

impl Rules {
    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

impl Bounds {
    /// The least in which all that must be reached can be reached.
    pub fn small(members: usize, failures: u8) -> Bounds {
        Bounds {
            members,
            failures,
            epochs: 2,
            entries: 1,
            messages: if members < 3 { 2 } else { 1 },
            late_swaps: usize::from(members < 3),
            losses: 0,
            any_backup: false,
            versions: u8::MAX,
            address: false,
            symmetry: true,
        }
    }

    /// The coordinator loses data once: [`Bounds::small`] with less under way.
    pub fn losing(members: usize, failures: u8) -> Bounds {
        Bounds { losses: 1, versions: 2, messages: 1, late_swaps: 0, ..Bounds::small(members, failures) }
    }

    /// Whether a state has room for these.
    pub fn check(&self) -> Result<(), String> {
        if !(2..=SLOTS).contains(&self.members) {
            return Err(format!("2 to {SLOTS} members, not {}", self.members));
        }
        // With two, a record may count as the newest that was lost before its own primary knew of
        // it.
        if self.losses > 1 {
            return Err(format!("at most one loss, not {}", self.losses));
        }
        if usize::from(self.failures) >= LIVES {
            return Err(format!("at most {} failures, not {}", LIVES - 1, self.failures));
        }
        Ok(())
    }
}
