//! What of the state's behaviour can be set, with the bounds of everything that could grow.

use crate::types::CallRefused;

/// How the segments of a put are chosen, after those that the caller prefers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    #[default]
    Random,
    /// Of a few at random, the emptiest.
    FreeRatioFirst,
}

/// Used by the primary only, but for the two sizes that bound what an image may hold.
#[derive(Clone, Debug)]
pub struct Config {
    pub strategy: Strategy,
    /// A client that is silent for this long is expired.
    pub client_ttl_ms: u64,
    /// What a lookup or an existence check grants.
    pub object_lease_ms: u64,
    /// A soft pin without a TTL of its own.
    pub soft_pin_ttl_ms: u32,
    /// A put or a transfer that has not ended by then is discarded.
    pub put_start_timeout_ms: u64,
    /// The space of a discarded put is reused this long after the discard: its writer may still be writing.
    pub put_release_timeout_ms: u64,
    /// An assigned task goes back to waiting after this.
    pub task_timeout_ms: u64,
    /// Share of the memory at which eviction starts.
    pub eviction_high_watermark: f64,
    /// Share of the memory that it makes free below the watermark.
    pub eviction_ratio: f64,
    /// The answers kept for retries, for one client: as many, and as many bytes.
    pub answers_max: usize,
    pub answer_bytes_max: usize,
    /// The bytes of all clients' answers together.
    pub answer_bytes_total_max: usize,
    pub objects_max: u64,
    pub clients_max: usize,
    pub segments_max: usize,
    pub tenants_max: usize,
    pub tasks_max: usize,
    /// Finished tasks that can still be listed.
    pub finished_tasks_max: usize,
    /// Clients that are gone, of which the last request number is kept.
    pub tombstones_max: usize,
    /// Seed of the random placement and of the sampling.
    pub seed: u64,
    /// Nanoseconds on a monotonic clock, to measure how long locks are held; the state knows no clock of its own.
    pub lock_clock_ns: fn() -> u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            strategy: Strategy::Random,
            client_ttl_ms: 10_000,
            object_lease_ms: 10_000,
            soft_pin_ttl_ms: 30 * 60_000,
            put_start_timeout_ms: 30_000,
            put_release_timeout_ms: 10 * 60_000,
            task_timeout_ms: 5 * 60_000,
            eviction_high_watermark: 0.90,
            eviction_ratio: 0.05,
            answers_max: 1024,
            answer_bytes_max: 4 << 20,
            answer_bytes_total_max: 256 << 20,
            objects_max: 100_000_000,
            clients_max: 65_536,
            segments_max: 65_536,
            tenants_max: 4096,
            tasks_max: 100_000,
            finished_tasks_max: 10_000,
            tombstones_max: 65_536,
            seed: 0x5eed,
            lock_clock_ns: || 0,
        }
    }
}

/// A client's answers, and one more beyond the bound, go through a decoder at once.
const ANSWER_BYTES_LIMIT: usize = 64 << 20;
/// Half of the largest image that a member takes.
const ANSWER_BYTES_TOTAL_LIMIT: usize = 512 << 20;

impl Config {
    /// Names the rule that is broken.
    pub fn validate(&self) -> Result<(), CallRefused> {
        let rules = [
            (self.client_ttl_ms > 0, "client_ttl_ms", "must be above 0"),
            (self.object_lease_ms > 0, "object_lease_ms", "must be above 0"),
            (self.put_start_timeout_ms > 0, "put_start_timeout_ms", "must be above 0"),
            (
                self.put_release_timeout_ms >= self.object_lease_ms,
                "put_release_timeout_ms",
                "must not be below object_lease_ms",
            ),
            (
                self.eviction_high_watermark > 0.0 && self.eviction_high_watermark <= 1.0,
                "eviction_high_watermark",
                "must be above 0 and at most 1",
            ),
            (
                self.eviction_ratio >= 0.0 && self.eviction_ratio < self.eviction_high_watermark,
                "eviction_ratio",
                "must be at least 0 and below eviction_high_watermark",
            ),
            (self.answers_max >= 1, "answers_max", "must be at least 1"),
            (self.answer_bytes_max <= ANSWER_BYTES_LIMIT, "answer_bytes_max", "must be at most 64 MiB"),
            (
                self.answer_bytes_total_max >= self.answer_bytes_max,
                "answer_bytes_total_max",
                "must not be below the bytes that one client may have",
            ),
            (
                self.answer_bytes_total_max <= ANSWER_BYTES_TOTAL_LIMIT,
                "answer_bytes_total_max",
                "must be at most 512 MiB: all of them travel in one image",
            ),
            (self.finished_tasks_max < self.tasks_max, "finished_tasks_max", "must be below tasks_max"),
            (self.tenants_max >= 1, "tenants_max", "must be at least 1, the default tenant"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, rule)) => Err(CallRefused::invalid(field, rule)),
            None => Ok(()),
        }
    }
}
