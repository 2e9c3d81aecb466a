//! A standby's answer is as fresh as it was asked for.
//!
//! `acknowledged_survives` checks that it answers only what is committed.

use std::collections::VecDeque;

use ::member::Asked;
use election::Incarnation;
use oplog::Position;

use super::violated;
use crate::history::History;

/// No read asks for anything older.
const KEPT_MS: u64 = 4_000;
/// For a clock's rate, in per mille, and for whole milliseconds.
const RATE_SLACK: u64 = 30;
const SLACK_MS: u64 = 2;

/// When something newer than all before was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Acknowledgements {
    by_time: VecDeque<(u64, Position)>,
}

impl Acknowledgements {
    pub(crate) fn acknowledged(&mut self, now: u64, at: Position) {
        if self.newest() < at {
            self.by_time.push_back((now, at));
        }
        // One is kept that is older than every read asks for.
        while self.by_time.get(1).is_some_and(|(when, _)| when + KEPT_MS < now) {
            self.by_time.pop_front();
        }
    }

    pub(crate) fn newest(&self) -> Position {
        self.by_time.back().map_or(Position::default(), |(_, at)| *at)
    }

    /// A standby that has applied this much answers.
    pub(crate) fn told(&self, history: &History, who: Incarnation, applied: Position, asked: Asked, now: u64) {
        if !history.contains(applied, asked.min_position) {
            violated!("{who:?} answers with {applied}, and was asked for {}", asked.min_position);
        }
        let Some(max_ms) = asked.max_staleness_ms else { return };
        let by = now.saturating_sub(max_ms + max_ms * RATE_SLACK / 1000 + SLACK_MS);
        let older = self.by_time.partition_point(|(when, _)| *when < by).checked_sub(1).map(|at| self.by_time[at]);
        if let Some((when, at)) = older.filter(|(_, at)| !history.contains(applied, *at)) {
            violated!("{who:?} answers at {now} as of {max_ms} ms ago with {applied}, without {at} of {when}");
        }
    }
}
