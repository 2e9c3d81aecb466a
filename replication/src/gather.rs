//! Whether what was appended goes to a peer at once, or may gather for a moment.
//!
//! A message and its receipt cost the primary tens of µs, mostly in system calls, whatever is in them. Where calls wait for their commits,
//! that is the price of an early answer. Where none does (`ack` local), only the peer's lag comes of it.
//!
//! Invariants: nothing gathers within `CALM_AFTER_MS` of a moment at which somebody waited for a commit, nor for longer than
//! `wait_ms`, nor once there is enough for a message.

/// Long enough that clients that write one call after the other are never taken for calm between two of them.
const CALM_AFTER_MS: u64 = 10;

#[derive(Debug)]
pub struct Gather {
    wait_ms: u64,
    /// Entries that fill a message.
    enough: u64,
    /// The highest seq whose commit was waited for when this was looked at last.
    awaited: u64,
    calm_from_ms: u64,
    /// Of what gathers now.
    until_ms: Option<u64>,
}

impl Gather {
    pub fn new(wait_ms: u64, enough: u64) -> Gather {
        Gather { wait_ms, enough, awaited: 0, calm_from_ms: 0, until_ms: None }
    }

    /// `entries` are there to be sent; for `awaited` see `oplog::Tail::awaited`. `Some`: they may gather until then, or until
    /// [`Gather::hurries_at`] is waited for. `None`: what is there goes now.
    pub fn until_ms(&mut self, entries: u64, awaited: u64, now_ms: u64) -> Option<u64> {
        if awaited > self.awaited {
            self.awaited = awaited;
            self.calm_from_ms = now_ms + CALM_AFTER_MS;
        }
        if entries == 0 {
            self.until_ms = None;
            return None;
        }
        let until_ms = *self.until_ms.get_or_insert(now_ms + self.wait_ms);
        let gathers = now_ms < until_ms && now_ms >= self.calm_from_ms && entries < self.enough;
        if !gathers {
            self.until_ms = None;
        }
        gathers.then_some(until_ms)
    }

    pub fn hurries_at(&self) -> u64 {
        self.awaited + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_gathers_for_a_moment_from_its_first_entry_on() {
        let mut gather = Gather::new(2, 100);
        assert_eq!(gather.until_ms(0, 0, 1000), None, "there is nothing");
        assert_eq!(gather.until_ms(1, 0, 1001), Some(1003));
        assert_eq!(gather.until_ms(9, 0, 1002), Some(1003), "more does not put it off");
        assert_eq!(gather.until_ms(9, 0, 1003), None);
        assert_eq!(gather.until_ms(1, 0, 1004), Some(1006), "the next ones");
        assert_eq!(gather.until_ms(100, 0, 1005), None, "enough for a message");
    }

    #[test]
    fn what_somebody_waits_for_goes_at_once_and_so_does_what_follows_soon() {
        let mut gather = Gather::new(2, 100);
        assert_eq!(gather.until_ms(1, 0, 1000), Some(1002));
        assert_eq!(gather.hurries_at(), 1);
        assert_eq!(gather.until_ms(1, 7, 1001), None);
        assert_eq!(gather.hurries_at(), 8);
        assert_eq!(gather.until_ms(1, 7, 1010), None);
        assert_eq!(gather.until_ms(1, 7, 1011), Some(1013), "it is calm again");
    }

    #[test]
    fn without_a_wait_nothing_gathers() {
        assert_eq!(Gather::new(0, 100).until_ms(1, 0, 1000), None);
    }
}
