//! Whether what was appended goes to a peer at once, or may gather for a moment.
//!
//! A message and its receipt cost the primary tens of µs, mostly in system calls, whatever is in them. Where calls wait for their commits,
//! that is the price of an early answer. Where none does (`ack` local), only the peer's lag comes of it.
//!
//! Invariants: nothing gathers that somebody waits for, nor within `CALM_AFTER_MS` of a moment at which somebody did, nor for
//! longer than `wait_ms` after the message before, nor once there is enough for a message. So what comes after a pause goes at
//! once, and so does what did not fit into the message before.

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
    /// From when on the next message may go.
    until_ms: u64,
}

impl Gather {
    pub fn new(wait_ms: u64, enough: u64) -> Gather {
        Gather { wait_ms, enough, awaited: 0, calm_from_ms: 0, until_ms: 0 }
    }

    /// A message with entries goes now; `left`: there are more that it did not take.
    pub fn sent(&mut self, left: bool, now_ms: u64) {
        self.until_ms = if left { now_ms } else { now_ms + self.wait_ms };
    }

    /// The log was sent up to `sent` and ends at `appended`; for `awaited` see `oplog::Tail::awaited`. `Some`: what is there, or
    /// comes, may gather until then, or until [`Gather::hurries_at`] is waited for. `None`: it goes at once.
    pub fn until_ms(&mut self, sent: u64, appended: u64, awaited: u64, now_ms: u64) -> Option<u64> {
        if awaited > self.awaited {
            self.awaited = awaited;
            self.calm_from_ms = now_ms + CALM_AFTER_MS;
        }
        let is_calm = awaited <= sent && now_ms >= self.calm_from_ms;
        let gathers = now_ms < self.until_ms && is_calm && appended.saturating_sub(sent) < self.enough;
        gathers.then_some(self.until_ms)
    }

    pub fn hurries_at(&self) -> u64 {
        self.awaited + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_waits_for_gathers_for_a_moment_from_the_message_before_on() {
        let mut gather = Gather::new(2, 100);
        assert_eq!(gather.until_ms(10, 11, 0, 1000), None, "after a pause");
        gather.sent(false, 1000);
        assert_eq!(gather.until_ms(11, 11, 0, 1000), Some(1002), "nobody needs to say when the next one comes");
        assert_eq!(gather.until_ms(11, 20, 0, 1001), Some(1002), "more does not put it off");
        assert_eq!(gather.until_ms(11, 111, 0, 1001), None, "enough for a message");
        assert_eq!(gather.until_ms(11, 20, 0, 1002), None);
        gather.sent(false, 1002);
        assert_eq!(gather.until_ms(20, 21, 0, 1003), Some(1004), "the next ones");
        assert_eq!(gather.until_ms(20, 20, 0, 1004), None, "there is nothing");
    }

    #[test]
    fn what_did_not_fit_does_not_gather_any_longer() {
        let mut gather = Gather::new(2, 100);
        gather.sent(true, 1000);
        assert_eq!(gather.until_ms(11, 20, 0, 1000), None);
    }

    #[test]
    fn what_somebody_waits_for_goes_at_once_and_so_does_what_follows_soon() {
        let mut gather = Gather::new(50, 100);
        gather.sent(false, 1000);
        assert_eq!(gather.until_ms(5, 6, 0, 1000), Some(1050));
        assert_eq!(gather.hurries_at(), 1);
        assert_eq!(gather.until_ms(5, 7, 7, 1001), None);
        assert_eq!(gather.hurries_at(), 8);
        gather.sent(false, 1001);
        assert_eq!(gather.until_ms(7, 8, 7, 1010), None);
        assert_eq!(gather.until_ms(7, 8, 7, 1011), Some(1051), "it is calm again");
        assert_eq!(gather.until_ms(6, 8, 7, 1011), None, "but for what could not be sent until now");
    }

    #[test]
    fn without_a_wait_nothing_gathers() {
        let mut gather = Gather::new(0, 100);
        gather.sent(false, 1000);
        assert_eq!(gather.until_ms(1, 2, 0, 1000), None);
    }
}
