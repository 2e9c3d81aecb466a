//! A pattern over many keys: what it may cost, and who may end it.
//!
//! Invariant: between two questions to the [`Pace`] no more than some 4 KiB of keys are matched, or one key. With the slowest
//! patterns that takes tens of milliseconds, by which a call may end later than it should.
//!
//! Deliberately absent: a clock. How long is too long, and whether the caller still waits, is for the shell to say.

use ledger::{CallRefused, check_text};
use regex::bytes::{Regex, RegexBuilder};

/// Bounds of a compiled pattern; the engine is linear in the key.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// The pace is asked after so many bytes of keys.
const ASK_EVERY_BYTES: usize = 4 << 10;
/// What a key counts beyond its bytes.
const KEY_BYTES: usize = 64;

/// Whether a call may go on with matching keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Going {
    On,
    /// It has matched for long enough.
    TimeIsUp,
    /// Its caller does not wait for the answer any more.
    CallerIsGone,
}

/// Is asked between keys.
pub trait Pace {
    /// From here on keys are matched; what was before is not the pattern's time.
    fn begin(&mut self);
    fn going(&mut self) -> Going;
    /// Between two pieces of the work, without any lock: whoever calls may wait here, so that others get their turn.
    fn pause(&mut self);
}

/// For callers that wait for as long as it takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unhurried;

impl Pace for Unhurried {
    fn begin(&mut self) {}

    fn going(&mut self) -> Going {
        Going::On
    }

    fn pause(&mut self) {}
}

pub(crate) fn pattern(field: &str, text: &str) -> Result<Regex, CallRefused> {
    check_text(field, text)?;
    RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES_MAX)
        .dfa_size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| CallRefused::invalid(field, error.to_string()))
}

/// The keys of one shard, one after the other.
pub(crate) struct Matching<'a> {
    pace: &'a mut dyn Pace,
    bytes: usize,
}

impl<'a> Matching<'a> {
    pub(crate) fn begin(pace: &'a mut dyn Pace) -> Matching<'a> {
        pace.begin();
        Matching { pace, bytes: 0 }
    }

    /// Before a key is matched.
    pub(crate) fn next(&mut self, key: &[u8]) -> Going {
        self.bytes += key.len() + KEY_BYTES;
        if self.bytes < ASK_EVERY_BYTES {
            return Going::On;
        }
        self.bytes = 0;
        self.pace.going()
    }

    /// After the last one.
    pub(crate) fn end(self) -> Going {
        self.pace.going()
    }
}

/// For a call whose caller has gone.
pub(crate) fn caller_is_gone() -> CallRefused {
    CallRefused::Overloaded { what: "the caller has gone".to_owned(), at: None, retry_after_ms: 0 }
}
