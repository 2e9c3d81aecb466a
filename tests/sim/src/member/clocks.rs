//! The two clocks of a member's host, as the world moves them, and the time that the member
//! derives.

use election::{Moment, TwoClocks};

/// How the clocks of one host run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Rate of both, per mille of the world's clock.
    pub(crate) rate: u64,
    /// Rate of the first clock, per mille of the second one, until it is right again.
    pub(crate) slew: u64,
    pub(crate) slewed_until: u64,
    /// Where they began, in milliseconds.
    pub(crate) offset: u64,
    /// For how long the host was suspended: the second clock stood still.
    pub(crate) slept_ms: u64,
}

impl Rates {
    fn first_ns(&self, now: u64) -> u64 {
        let slewed_ms = now.min(self.slewed_until);
        self.offset * 1_000_000 + self.rate * (slewed_ms * self.slew + (now - slewed_ms) * 1_000)
    }

    fn second_ns(&self, now: u64) -> u64 {
        self.offset * 1_000_000 + (now - self.slept_ms) * self.rate * 1_000
    }
}

#[derive(Debug)]
pub(super) struct Clocks {
    pub(super) rates: Rates,
    merged: TwoClocks,
}

impl Clocks {
    /// The clocks of a process that begins.
    pub(super) fn new(rates: Rates, now: u64) -> Clocks {
        Clocks { rates, merged: TwoClocks::new(rates.first_ns(now), rates.second_ns(now)) }
    }

    pub(super) fn moment(&self, now: u64) -> Moment {
        let (first_ns, second_ns) = (self.rates.first_ns(now), self.rates.second_ns(now));
        self.merged.moment(first_ns, second_ns).unwrap_or_else(|| {
            self.merged.follow(first_ns, second_ns);
            self.merged.moment(first_ns, second_ns).expect("it was just followed")
        })
    }
}
