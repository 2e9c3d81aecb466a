//! The time limits of a pair, and the relations between them that safety rests on.
//!
//! All times are milliseconds of one member's own clock (one that goes on while the machine sleeps). They are never
//! compared between members; what compares is how long two of them say the same stretch lasted, and for that the
//! waits below leave room.

/// A moment on one member's clock.
pub type Millis = u64;

/// How long one waits who must be sure that another's stretch of `ms` is over: a rate error of five per cent, and what rounding
/// and scheduling take.
pub(crate) fn outlasts_ms(ms: Millis) -> Millis {
    ms.saturating_add(ms.div_ceil(20)).saturating_add(20)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// The primary may answer until this long after the send time of the newest beacon that each in-sync peer answered.
    pub tenure_ms: u64,
    /// How often a primary sends at least.
    pub beacon_ms: u64,
    /// A peer whose newest answer is older than this is to leave the set. Below the tenure, so that a swap that goes
    /// through at once costs nobody a pause.
    pub drop_after_ms: u64,
    /// A peer whose stream broke has this long to open another one: mostly it is gone, and whoever waits for it waits in vain.
    pub reconnect_within_ms: u64,
    /// A standby that has heard nothing for this long suspects its primary.
    pub silence_ms: u64,
    /// A peer that lags by no more than this may join.
    pub join_lag_ops: u64,
    /// A peer of the set that lags by more than this many entries leaves it,
    pub lag_ops_max: u64,
    /// or one that lacks an entry for longer than this,
    pub lag_ms_max: u64,
    /// and then it is not let in again for this long.
    pub slow_pause_ms: u64,
    /// Between two questions to a coordinator that has not helped.
    pub ask_again_ms: u64,
    /// How often a primary looks whether the record is still the one that it leads under.
    pub look_every_ms: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            tenure_ms: 500,
            beacon_ms: 50,
            drop_after_ms: 300,
            reconnect_within_ms: 100,
            silence_ms: 200,
            join_lag_ops: 1000,
            lag_ops_max: 100_000,
            lag_ms_max: 1000,
            slow_pause_ms: 2000,
            ask_again_ms: 50,
            look_every_ms: 1000,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{rule} must hold: {left} and {right}")]
pub struct TimingError {
    rule: &'static str,
    left: u64,
    right: u64,
}

impl Timing {
    /// How long a standby that answers no more waits until no primary can count on its last answer.
    pub fn takeover_wait_ms(&self) -> u64 {
        outlasts_ms(self.tenure_ms)
    }

    pub fn validate(&self) -> Result<(), TimingError> {
        let rules = [
            ("3 × beacon_ms < drop_after_ms", 3 * self.beacon_ms, self.drop_after_ms),
            ("reconnect_within_ms < drop_after_ms", self.reconnect_within_ms, self.drop_after_ms),
            ("drop_after_ms < tenure_ms", self.drop_after_ms, self.tenure_ms),
            ("3 × beacon_ms < silence_ms", 3 * self.beacon_ms, self.silence_ms),
            ("0 < ask_again_ms", 0, self.ask_again_ms),
            ("join_lag_ops < lag_ops_max", self.join_lag_ops, self.lag_ops_max),
            ("beacon_ms < lag_ms_max", self.beacon_ms, self.lag_ms_max),
        ];
        match rules.into_iter().find(|(_, left, right)| left >= right) {
            Some((rule, left, right)) => Err(TimingError { rule, left, right }),
            None => Ok(()),
        }
    }
}
