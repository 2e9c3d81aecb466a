//! A number of bytes that many share: whoever needs some takes them beforehand, or is refused.
//!
//! Invariant: what is taken never exceeds the bound, and comes back when its holder is dropped.
//!
//! Deliberately absent: waiting. A refusal is typed and retryable; a queue would have to be bounded again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Clone, Debug)]
pub(crate) struct Budget {
    taken: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// Bytes of a budget, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget { taken: Arc::new(AtomicUsize::new(0)), bytes_max }
    }

    pub(crate) fn take(&self, bytes: usize) -> Option<Taken> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        self.taken.try_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
        Some(Taken { taken: Arc::clone(&self.taken), bytes })
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_never_exceeded_and_comes_back() {
        let budget = Budget::new(10);
        let six = budget.take(6).expect("there is room");
        assert!(budget.take(5).is_none());
        assert!(budget.take(usize::MAX).is_none());
        let four = budget.take(4).expect("there is room");
        drop(six);
        assert_eq!(budget.taken(), 4);
        drop(four);
        assert_eq!(budget.taken(), 0);
    }
}
