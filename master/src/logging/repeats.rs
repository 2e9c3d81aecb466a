//! Which lines of the log are written, and which are only counted, so that no peer and no client
//! can make the log grow without bound.
//!
//! ```text
//!   lines of one place in the code, in an interval of 1 s, 2 s, … 64 s:
//!     A  B  A  A  …16 texts…  Z   │ end of the interval: Z repeated=4
//!     ▲  ▲                        │ the interval doubles while there is something to count, and is 1 s again
//!     written  counted ──────────►│ after one in which there was nothing
//! ```
//!
//! A line is identified by its place in the code (its callsite) and its text without the time. In
//! one interval each text of a place is written once, and at most [`TEXTS_MAX`] texts. All other
//! lines are counted, and the last of them is written at the end of the interval with the count. An
//! operator who asks for debug and trace lines wants to see each, so these have only the bound of
//! [`DETAILS_MAX`] lines.
//!
//! Invariant: a line that was not written is in the count of one that is.
//!
//! Deliberately absent: a clock, and where lines go.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};

/// Texts of one place that are written in an interval.
pub(super) const TEXTS_MAX: usize = 16;
/// Debug and trace lines of one place that are written in an interval.
pub(super) const DETAILS_MAX: usize = 2000;
/// The first interval, and the longest one.
const INTERVAL_MS: u64 = 1000;
const INTERVAL_MS_MAX: u64 = 64_000;

/// What becomes of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Written,
    Counted,
}

/// Whether each line of a place counts, or each text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Detail {
    Usual,
    AskedFor,
}

/// The last of the lines that were counted in an interval, and their number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Repeated {
    pub(super) text: String,
    pub(super) count: u64,
}

/// `K` identifies places in the code. A program has a bounded number of them.
#[derive(Debug)]
pub(super) struct Repeats<K> {
    places: HashMap<K, Place>,
    hashes: RandomState,
}

#[derive(Debug)]
struct Place {
    ends_ms: u64,
    interval_ms: u64,
    written: usize,
    /// Hashes of the texts that were written.
    texts: Vec<u64>,
    counted: u64,
    last: String,
}

impl Place {
    fn begin(now_ms: u64, interval_ms: u64) -> Place {
        let ends_ms = now_ms + interval_ms;
        Place { ends_ms, interval_ms, written: 0, texts: Vec::new(), counted: 0, last: String::new() }
    }

    fn take(&mut self, text: &str, hash: u64, detail: Detail) -> Fate {
        let is_room = match detail {
            Detail::AskedFor => self.written < DETAILS_MAX,
            Detail::Usual => self.written < TEXTS_MAX && !self.texts.contains(&hash),
        };
        if is_room {
            self.written += 1;
            if detail == Detail::Usual {
                self.texts.push(hash);
            }
            return Fate::Written;
        }
        self.counted += 1;
        self.last.clear();
        self.last.push_str(text);
        Fate::Counted
    }
}

impl<K> Default for Repeats<K> {
    fn default() -> Repeats<K> {
        Repeats { places: HashMap::new(), hashes: RandomState::new() }
    }
}

impl<K: Eq + Hash> Repeats<K> {
    pub(super) fn take(&mut self, place: K, text: &str, detail: Detail, now_ms: u64) -> Fate {
        let hash = self.hashes.hash_one(text);
        let place = self.places.entry(place).or_insert_with(|| Place::begin(now_ms, INTERVAL_MS));
        // There is nothing to count: otherwise `due` reports it first.
        if place.counted == 0 && now_ms >= place.ends_ms {
            *place = Place::begin(now_ms, INTERVAL_MS);
        }
        place.take(text, hash, detail)
    }

    /// True: [`Repeats::due`] will return something.
    pub(super) fn has_counted(&self) -> bool {
        self.places.values().any(|place| place.counted > 0)
    }

    /// What must be written for the intervals that have ended.
    pub(super) fn due(&mut self, now_ms: u64) -> Vec<Repeated> {
        let mut due = Vec::new();
        let hashes = &self.hashes;
        self.places.retain(|_, place| {
            if now_ms < place.ends_ms {
                return true;
            }
            if place.counted == 0 {
                return false;
            }
            let interval_ms = (place.interval_ms * 2).min(INTERVAL_MS_MAX);
            let ended = std::mem::replace(place, Place::begin(now_ms, interval_ms));
            // This line is written now, so it counts in the interval that begins.
            place.written = 1;
            place.texts.push(hashes.hash_one(&ended.last));
            due.push(Repeated { text: ended.last, count: ended.counted });
            true
        });
        due
    }

    /// All counted lines, at the end of the process.
    pub(super) fn all(&mut self) -> Vec<Repeated> {
        let places = self.places.drain().map(|(_, place)| place);
        places
            .filter(|place| place.counted > 0)
            .map(|place| Repeated { text: place.last, count: place.counted })
            .collect()
    }
}

#[cfg(test)]
#[path = "repeats_test.rs"]
mod tests;
