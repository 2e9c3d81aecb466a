//! May this member answer a read as a standby, and how fresh would its answer be?
//!
//! Invariants: nothing is answered that is not committed. A standby applies only what is committed,
//! but a state that a full sync has just replaced may hold more, until the primary says that this
//! is committed, too. Nothing is answered during a full sync, since the old state may hold what was
//! never committed, nor from a state that differs from the primary's. What is not known is refused,
//! never taken for fresh.
//!
//! Deliberately absent: the reads themselves, and waiting (`grpc`).

use election::Millis;
use oplog::Position;
use standby::SyncProgress;

use crate::member::Member;

/// What a read asks of a standby.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    pub min_position: Position,
    pub max_staleness_ms: Option<u64>,
}

/// Why a read cannot be answered here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unmet {
    #[error("this member follows no primary")]
    NotFollowing,
    #[error("what this member holds was found to differ from its primary's, and is not repaired yet")]
    Unsound,
    #[error("a full sync is under way: {done} of {shards} shards")]
    Syncing { done: u32, shards: u32 },
    #[error("not all that is held here is known to be committed yet: applied {}/{}, committed {committed}", .applied.epoch, .applied.seq)]
    Unproven { applied: Position, committed: u64 },
    #[error("applied {}/{}, asked {}/{}", .applied.epoch, .applied.seq, .asked.epoch, .asked.seq)]
    Behind { applied: Position, asked: Position },
    #[error("age {age_ms} ms, asked {asked_ms} ms")]
    Old { age_ms: u64, asked_ms: u64 },
    #[error("age unknown, asked {asked_ms} ms")]
    AgeUnknown { asked_ms: u64 },
}

impl Unmet {
    /// It may be possible in a moment.
    pub fn passes(self) -> bool {
        matches!(self, Unmet::Behind { .. } | Unmet::Unproven { .. })
    }
}

/// What this member knows that a read rests on.
#[derive(Clone, Copy, Debug)]
struct Known {
    sync: Option<SyncProgress>,
    /// As the primary said. `None`: it has said nothing.
    committed: Option<u64>,
    /// The state's age. `None`: unknown.
    age_ms: Option<u64>,
}

impl Known {
    fn check(self, applied: Position, asked: Asked) -> Result<(), Unmet> {
        if let Some(sync) = self.sync {
            return Err(Unmet::Syncing { done: sync.shards_done, shards: sync.shards });
        }
        let committed = self.committed.ok_or(Unmet::NotFollowing)?;
        if applied.seq > committed {
            return Err(Unmet::Unproven { applied, committed });
        }
        if applied < asked.min_position {
            return Err(Unmet::Behind { applied, asked: asked.min_position });
        }
        match (asked.max_staleness_ms, self.age_ms) {
            (Some(asked_ms), None) => Err(Unmet::AgeUnknown { asked_ms }),
            (Some(asked_ms), Some(age_ms)) if age_ms > asked_ms => Err(Unmet::Old { age_ms, asked_ms }),
            (Some(_), Some(_)) | (None, _) => Ok(()),
        }
    }
}

impl Member {
    /// Whether this member may answer now from a state that has applied this much.
    pub fn check_read(&mut self, applied: Position, asked: Asked, now: Millis) -> Result<(), Unmet> {
        if !self.is_sound() {
            return Err(Unmet::Unsound);
        }
        let committed = self.news.last(now).map(|(committed, _)| committed);
        let age_ms = self.news.fresh_as_of_ms(applied.seq).map(|as_of_ms| now.saturating_sub(as_of_ms));
        Known { sync: self.news.sync(), committed, age_ms }.check(applied, asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Position = Position { epoch: 5, seq: 100 };
    const FRESH: Known = Known { sync: None, committed: Some(100), age_ms: Some(40) };

    fn refused(known: Known, asked: Asked) -> String {
        known.check(AT, asked).expect_err("refused").to_string()
    }

    #[test]
    fn a_fresh_state_answers_what_it_holds() {
        for (epoch, seq) in [(0, 0), (5, 100), (4, 900)] {
            let asked = Asked { min_position: Position { epoch, seq }, max_staleness_ms: Some(40) };
            assert_eq!(FRESH.check(AT, asked), Ok(()));
        }
    }

    #[test]
    fn a_refusal_says_both_sides() {
        let asked = Asked { min_position: Position { epoch: 5, seq: 120 }, max_staleness_ms: None };
        assert_eq!(refused(FRESH, asked), "applied 5/100, asked 5/120");
        let asked = Asked { max_staleness_ms: Some(30), ..Asked::default() };
        assert_eq!(refused(FRESH, asked), "age 40 ms, asked 30 ms");
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_fresh() {
        let any_age = Asked { max_staleness_ms: Some(u64::MAX), ..Asked::default() };
        assert!(refused(Known { age_ms: None, ..FRESH }, any_age).starts_with("age unknown"));
        assert_eq!(Known { age_ms: None, ..FRESH }.check(AT, Asked::default()), Ok(()));
        assert_eq!(Known { committed: None, ..FRESH }.check(AT, Asked::default()), Err(Unmet::NotFollowing));
    }

    #[test]
    fn a_state_fresh_from_a_full_sync_waits_until_all_of_it_is_committed() {
        let ahead = Known { committed: Some(99), ..FRESH };
        let unmet = ahead.check(AT, Asked::default()).expect_err("seq 100 may yet be taken back");
        assert!(unmet.passes());
        assert_eq!(unmet, Unmet::Unproven { applied: AT, committed: 99 });
    }

    #[test]
    fn nothing_is_told_while_a_full_sync_is_under_way() {
        let sync = Some(SyncProgress { shards_done: 3, shards: 1024, records: 7 });
        assert_eq!(refused(Known { sync, ..FRESH }, Asked::default()), "a full sync is under way: 3 of 1024 shards");
    }
}
