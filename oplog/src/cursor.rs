//! How far a node is in the log, under five names, and the order in which they must stand:
//!
//! ```text
//! purged <= snapshot <= applied <= received
//!                     committed <= received
//! ```
//!
//! Invariants: no cursor ever goes back, and after every accepted `advance` the order above holds.
//!
//! Absent on purpose: who moves which cursor when. Applied and committed have no order between them: a primary applies
//! before it may commit, a standby commits before it applies.

use std::fmt;

/// One name for how far a node is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cursor {
    /// Gone from the log, up to here.
    Purged,
    /// Held by a whole snapshot.
    Snapshot,
    /// In the state.
    Applied,
    /// In the log of this node.
    Received,
    /// Known to be held by every member of the in-sync set.
    Committed,
}

const COUNT: usize = 5;

/// Left is never ahead of right.
const ORDER: [(Cursor, Cursor); 4] = [
    (Cursor::Purged, Cursor::Snapshot),
    (Cursor::Snapshot, Cursor::Applied),
    (Cursor::Applied, Cursor::Received),
    (Cursor::Committed, Cursor::Received),
];

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cursor::Purged => "purged",
            Cursor::Snapshot => "snapshot",
            Cursor::Applied => "applied",
            Cursor::Received => "received",
            Cursor::Committed => "committed",
        })
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursors {
    at: [u64; COUNT],
}

impl Cursors {
    /// All at one seq: 0 for an empty log, a snapshot's seq after it has been loaded.
    pub fn starting_at(seq: u64) -> Cursors {
        Cursors { at: [seq; COUNT] }
    }

    /// From what was kept elsewhere; `validate` before use.
    pub fn from_parts(value_of: impl Fn(Cursor) -> u64) -> Cursors {
        use Cursor::{Applied, Committed, Purged, Received, Snapshot};
        Cursors { at: [Purged, Snapshot, Applied, Received, Committed].map(value_of) }
    }

    pub fn get(&self, cursor: Cursor) -> u64 {
        self.at[cursor as usize]
    }

    /// Refuses to go back and to break the order; nothing has moved then. Standing still is fine.
    pub fn advance(&mut self, cursor: Cursor, to: u64) -> Result<(), CursorError> {
        let from = self.get(cursor);
        if to < from {
            return Err(CursorError::Back { cursor, from, to });
        }
        self.at[cursor as usize] = to;
        self.validate().inspect_err(|_| self.at[cursor as usize] = from)
    }

    /// The first relation that does not hold, with both values.
    pub fn validate(&self) -> Result<(), CursorError> {
        for (low, high) in ORDER {
            let (low_seq, high_seq) = (self.get(low), self.get(high));
            if low_seq > high_seq {
                return Err(CursorError::Order { low, low_seq, high, high_seq });
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CursorError {
    #[error("{cursor} cannot go back: at {from}, {to} offered")]
    Back { cursor: Cursor, from: u64, to: u64 },
    #[error("{low} <= {high} does not hold: {low} is {low_seq}, {high} is {high_seq}")]
    Order { low: Cursor, low_seq: u64, high: Cursor, high_seq: u64 },
}

#[cfg(test)]
#[path = "cursor_test.rs"]
mod tests;
