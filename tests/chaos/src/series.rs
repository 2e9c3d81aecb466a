//! Acknowledged calls over time: how many in each second, and how long they took.
//!
//! Deliberately absent: single calls. A run of hours fits into a few megabytes.

use std::time::Duration;

/// Steps of a quarter of a doubling, from a microsecond on.
const BUCKETS: usize = 128;

#[derive(Clone, Debug)]
struct Second {
    latencies: [u32; BUCKETS],
    acknowledged: u32,
    /// Refused or unknown.
    failed: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    seconds: Vec<Second>,
    last: Option<Duration>,
    longest_pause: Duration,
}

/// The values of some seconds. Latencies: none, if nothing was acknowledged.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Point {
    /// In each second.
    pub(crate) acknowledged: f64,
    pub(crate) failed: u32,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
}

fn bucket_of(took: Duration) -> usize {
    let us = took.as_micros().max(1) as f64;
    ((us.log2() * 4.0) as usize).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn time_of(bucket: usize) -> Duration {
    Duration::from_secs_f64(((bucket as f64 + 0.5) / 4.0).exp2() / 1e6)
}

impl Series {
    fn second(&mut self, at: Duration) -> &mut Second {
        let index = at.as_secs() as usize;
        if self.seconds.len() <= index {
            let empty = Second { latencies: [0; BUCKETS], acknowledged: 0, failed: 0 };
            self.seconds.resize(index + 1, empty);
        }
        &mut self.seconds[index]
    }

    /// `at`: when it was answered. Pauses are counted between changes.
    pub(crate) fn on_acknowledged(&mut self, at: Duration, took: Duration, is_change: bool) {
        let second = self.second(at);
        second.acknowledged += 1;
        second.latencies[bucket_of(took)] += 1;
        if is_change {
            let pause = at.saturating_sub(self.last.unwrap_or(at));
            self.longest_pause = self.longest_pause.max(pause);
            self.last = self.last.max(Some(at));
        }
    }

    pub(crate) fn on_failed(&mut self, at: Duration) {
        self.second(at).failed += 1;
    }

    /// Between two acknowledged changes.
    pub(crate) fn longest_pause(&self) -> Duration {
        self.longest_pause
    }

    /// Each of so many seconds.
    pub(crate) fn points(&self, seconds: usize) -> Vec<Point> {
        let point = |some: &[Second]| {
            let latencies = latencies(some);
            let acknowledged: u32 = some.iter().map(|second| second.acknowledged).sum();
            Point {
                acknowledged: f64::from(acknowledged) / some.len() as f64,
                failed: some.iter().map(|second| second.failed).sum(),
                p50: quantile(&latencies, 0.5),
                p99: quantile(&latencies, 0.99),
            }
        };
        self.seconds.chunks(seconds).map(point).collect()
    }

    /// Over all calls together.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        quantile(&latencies(&self.seconds), share)
    }
}

fn latencies(seconds: &[Second]) -> [u32; BUCKETS] {
    let mut all = [0; BUCKETS];
    for second in seconds {
        all.iter_mut().zip(second.latencies).for_each(|(sum, count)| *sum += count);
    }
    all
}

fn quantile(latencies: &[u32; BUCKETS], share: f64) -> Option<Duration> {
    let count: u32 = latencies.iter().sum();
    let wanted = (f64::from(count) * share).ceil().max(1.0) as u32;
    let mut seen = 0;
    let bucket = latencies.iter().position(|count| {
        seen += count;
        seen >= wanted
    })?;
    Some(time_of(bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_counted_and_pauses_measured() {
        let (ms, mut series) = (Duration::from_millis, Series::default());
        series.on_acknowledged(ms(100), ms(2), true);
        series.on_acknowledged(ms(900), ms(2), true);
        series.on_failed(ms(1500));
        series.on_acknowledged(ms(2000), ms(200), false);
        series.on_acknowledged(ms(2400), ms(2), true);
        let counts = |seconds| -> Vec<_> {
            series.points(seconds).iter().map(|point| (point.acknowledged, point.failed)).collect()
        };
        assert_eq!(counts(1), [(2.0, 0), (0.0, 1), (2.0, 0)]);
        assert_eq!(counts(2), [(1.0, 1), (2.0, 0)]);
        assert_eq!(series.longest_pause(), ms(1500));
        let (p50, p99) = (series.quantile(0.5), series.quantile(0.99));
        assert!(p50.is_some_and(|p50| (ms(1)..ms(3)).contains(&p50)), "{p50:?}");
        assert!(p99.is_some_and(|p99| (ms(150)..ms(260)).contains(&p99)), "{p99:?}");
    }
}
