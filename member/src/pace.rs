//! The rate limit of a full sync.
//!
//! Deliberately absent: saved bursts. The rate counts from the first image.

use election::Millis;

/// Keeps a full sync within its rate.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    bytes_per_s: u64,
    began_ms: Option<Millis>,
    bytes: u64,
}

impl Pace {
    /// 0: no limit.
    pub(crate) fn new(bytes_per_s: u64) -> Pace {
        Pace { bytes_per_s, began_ms: None, bytes: 0 }
    }

    pub(crate) fn sent(&mut self, bytes: usize, now: Millis) {
        self.began_ms.get_or_insert(now);
        self.bytes += bytes as u64;
    }

    /// When more may be sent. `None`: now.
    pub(crate) fn ready_ms(&self, now: Millis) -> Option<Millis> {
        let took_ms = (self.bytes * 1000).checked_div(self.bytes_per_s)?;
        Some(self.began_ms? + took_ms).filter(|ready_ms| *ready_ms > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_sync_keeps_to_its_rate_and_has_none_where_there_is_no_limit() {
        let mut pace = Pace::new(1_000);
        assert_eq!(pace.ready_ms(70), None, "the first image goes at once");
        pace.sent(500, 70);
        assert_eq!((pace.ready_ms(70), pace.ready_ms(569), pace.ready_ms(570)), (Some(570), Some(570), None));
        let mut unlimited = Pace::new(0);
        unlimited.sent(1 << 40, 70);
        assert_eq!(unlimited.ready_ms(70), None);
    }
}
