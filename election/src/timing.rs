//! The time limits of a pair, and the relations between them that safety rests on.
//!
//! All times are milliseconds on one member's own clock (see `two_clocks`) and are never compared
//! between members. What must agree is how long two members count the same stretch, and the waits
//! below leave room for the difference.

/// A moment on one member's clock.
pub type Millis = u64;

/// How long a member waits to be sure that another member's stretch of `ms` is over. Each clock may
/// be off by 25 per mille, so one may count 1.025 / 0.975 of what the other counts, which is less
/// than 20 / 19. The 20 ms are for rounding and scheduling.
pub(crate) fn outlasts_ms(ms: Millis) -> Millis {
    ms.saturating_add(ms.div_ceil(19)).saturating_add(20)
}

/// The timing of the cluster. It stands in the record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timing {
    /// The primary may answer until this long after the send time of the newest beacon that each
    /// in-sync peer answered.
    pub tenure_ms: u64,
    /// How often a primary sends a message at least.
    pub beacon_ms: u64,
    /// A peer whose newest answer is older than this is due to leave the set. It is below the
    /// tenure, so that a quick swap causes no pause for clients.
    pub drop_after_ms: u64,
    /// A peer whose stream broke has this long to open another one. Mostly such a peer has ended,
    /// and a longer wait is in vain.
    pub reconnect_within_ms: u64,
    /// A standby that has heard nothing for this long suspects its primary.
    pub silence_ms: u64,
    /// A peer that lags by no more than this may join.
    pub join_lag_ops: u64,
    /// A peer of the set that lags by more than this many entries leaves it,
    pub lag_ops_max: u64,
    /// or one that lacks an entry for longer than this,
    pub lag_ms_max: u64,
    /// and is then not let in again for this long.
    pub slow_pause_ms: u64,
}

/// How often a member asks the coordinator. Each member has its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// The pause before the coordinator is asked again.
    pub ask_again_ms: u64,
    /// How often a primary checks whether the record is still the one under which it leads.
    pub look_every_ms: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { ask_again_ms: 50, look_every_ms: 1000 }
    }
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
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimingError {
    #[error("{name} is {value}, must be {min} to {max}")]
    Bounds { name: &'static str, value: u64, min: u64, max: u64 },
    #[error("{rule} must hold: {left} and {right}")]
    Relation { rule: &'static str, left: u64, right: u64 },
}

impl TimingError {
    /// The setting that is to be changed first.
    pub fn name(&self) -> &'static str {
        match self {
            TimingError::Bounds { name, .. } => name,
            // Each rule names that setting last on its left side.
            TimingError::Relation { rule, .. } => {
                let left = rule.split(" < ").next().unwrap_or(rule);
                left.trim_start_matches("3 × ")
            }
        }
    }
}

impl Timing {
    /// Limits the wait after a primary's death, even when the setting is a mistake.
    pub const TENURE_MS_MAX: Millis = 60 * 1000;
    /// With a shorter tenure, a member that is busy for a moment would miss its turn, and most of
    /// the clients' time would not be counted.
    pub const TENURE_MS_MIN: Millis = 50;
    /// No other stretch is longer, so that sums of a few never overflow.
    pub const MS_MAX: Millis = 60 * 60 * 1000;
    /// The most that a lag counts to.
    pub const OPS_MAX: u64 = 1 << 40;

    /// The values, by the names of the settings.
    pub fn named(&self) -> [(&'static str, u64); 9] {
        let mut named = [("", 0); 9];
        let mut copy = *self;
        for (at, (name, value)) in copy.named_mut().into_iter().enumerate() {
            named[at] = (name, *value);
        }
        named
    }

    /// `None`: there is no such setting. The result may break a rule: see [`Timing::validate`].
    pub fn with(mut self, name: &str, value: u64) -> Option<Timing> {
        let field = self.named_mut().into_iter().find(|(known, _)| *known == name)?;
        *field.1 = value;
        Some(self)
    }

    fn named_mut(&mut self) -> [(&'static str, &mut u64); 9] {
        [
            ("tenure_ms", &mut self.tenure_ms),
            ("beacon_ms", &mut self.beacon_ms),
            ("drop_after_ms", &mut self.drop_after_ms),
            ("reconnect_within_ms", &mut self.reconnect_within_ms),
            ("silence_ms", &mut self.silence_ms),
            ("join_lag_ops", &mut self.join_lag_ops),
            ("lag_ops_max", &mut self.lag_ops_max),
            ("lag_ms_max", &mut self.lag_ms_max),
            ("slow_pause_ms", &mut self.slow_pause_ms),
        ]
    }

    /// How long a member waits if it does not know what it has granted: as long as an answer to
    /// this timing would grant.
    pub fn takeover_wait_ms(&self) -> u64 {
        outlasts_ms(self.tenure_ms)
    }

    /// The least and the most value of a setting, whatever the others are. `None`: there is no such
    /// setting.
    pub fn bounds(name: &str) -> Option<(u64, u64)> {
        let bounds = match name {
            "tenure_ms" => (Timing::TENURE_MS_MIN, Timing::TENURE_MS_MAX),
            "beacon_ms" => (1, Timing::TENURE_MS_MAX),
            "drop_after_ms" | "reconnect_within_ms" => (0, Timing::TENURE_MS_MAX),
            "silence_ms" | "lag_ms_max" | "slow_pause_ms" => (0, Timing::MS_MAX),
            "join_lag_ops" | "lag_ops_max" => (0, Timing::OPS_MAX),
            _ => return None,
        };
        Some(bounds)
    }

    /// The relations that must hold: the left value below the right one.
    fn relations(&self) -> [(&'static str, u64, u64); 6] {
        let Timing { beacon_ms, drop_after_ms, silence_ms, .. } = *self;
        let beacons_ms = beacon_ms.saturating_mul(3);
        [
            ("3 × beacon_ms < drop_after_ms", beacons_ms, drop_after_ms),
            ("reconnect_within_ms < drop_after_ms", self.reconnect_within_ms, drop_after_ms),
            ("drop_after_ms < tenure_ms", drop_after_ms, self.tenure_ms),
            ("3 × beacon_ms < silence_ms", beacons_ms, silence_ms),
            ("join_lag_ops < lag_ops_max", self.join_lag_ops, self.lag_ops_max),
            ("beacon_ms < lag_ms_max", beacon_ms, self.lag_ms_max),
        ]
    }

    /// The same relations in words.
    pub fn rules() -> [&'static str; 6] {
        Timing::default().relations().map(|(rule, ..)| rule)
    }

    pub fn validate(&self) -> Result<(), TimingError> {
        for (name, value) in self.named() {
            let (min, max) = Timing::bounds(name).expect("each of them has some");
            if !(min..=max).contains(&value) {
                return Err(TimingError::Bounds { name, value, min, max });
            }
        }
        match self.relations().into_iter().find(|(_, left, right)| left >= right) {
            Some((rule, left, right)) => Err(TimingError::Relation { rule, left, right }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_their_bounds_are_refused_by_name_and_those_at_them_are_not() {
        for (name, _) in Timing::default().named() {
            let (min, max) = Timing::bounds(name).expect("it has some");
            let refused = |value| Timing::default().with(name, value).expect("it is a name").validate().err();
            for value in [min.checked_sub(1), Some(max + 1), Some(u64::MAX)].into_iter().flatten() {
                assert_eq!(refused(value), Some(TimingError::Bounds { name, value, min, max }));
            }
            let is_bounds = |error: &TimingError| matches!(error, TimingError::Bounds { .. });
            assert!(![min, max].into_iter().filter_map(refused).any(|error| is_bounds(&error)), "{name}");
        }
    }

    #[test]
    fn rules_between_settings_are_broken_by_name() {
        let broken = |name, value| {
            let error = Timing::default().with(name, value).expect("it is a name").validate().expect_err("broken");
            (error.name(), error.to_string())
        };
        let says = |name: &'static str, text: &str| (name, text.to_owned());
        let expected = says("drop_after_ms", "drop_after_ms < tenure_ms must hold: 300 and 300");
        assert_eq!(broken("tenure_ms", 300), expected);
        assert_eq!(broken("beacon_ms", 100), says("beacon_ms", "3 × beacon_ms < drop_after_ms must hold: 300 and 300"));
        assert_eq!(broken("join_lag_ops", 100_000).0, "join_lag_ops");
    }

    #[test]
    fn wait_outlasts_a_stretch_by_clocks_that_are_both_as_wrong_as_they_may_be() {
        for ms in [1, 40, 500, 1_000, 15_600, 30_000, 60_000, Timing::MS_MAX] {
            // The member that waits has a fast clock, and the one that answers has a slow one.
            let (waited, lasts) = (outlasts_ms(ms) * 1000 / 1025, ms * 1000 / 975);
            assert!(waited > lasts, "{ms}: waits for {waited} while that lasts {lasts}");
        }
    }
}
