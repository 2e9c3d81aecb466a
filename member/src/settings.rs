//! What a member is given when it starts, and the bounds that are the same in every member.

use election::Millis;
use replication::BatchLimits;
use verification::Limits;

/// A peer learns within this time what was committed, even if there is nothing else to send.
pub(crate) const COMMITTED_WITHIN_MS: Millis = 5;
/// A peer that answers nothing for so long is not working.
pub const SILENT_MS_MAX: Millis = 5000;
/// The most peers at the same time.
pub const PEERS_MAX: usize = 16;
/// The most shards that are repaired one by one. Each has a thousandth of all objects.
pub(crate) const REPAIR_SHARDS_MAX: usize = 16;
pub(crate) const REPAIR_TRIES_MAX: u32 = 5;
/// The time limit of a whole repair. Meanwhile nothing else is applied.
pub(crate) const REPAIR_WITHIN_MS: Millis = 10_000;
/// The pause after a repair that failed.
pub(crate) const REPAIR_AGAIN_MS: Millis = 200;
/// The pause after a full sync that failed at its end: the next one would fail, too, if it began at
/// once.
pub(crate) const SYNC_PAUSE_MS: Millis = 5000;
/// Entries that are applied before other tasks get their turn.
pub(crate) const APPLY_ENTRIES: usize = 256;
/// The time for accepted calls to be committed before a transfer.
pub const DRAIN_WITHIN_MS: Millis = 1000;
/// The time for the heir to compare itself, and to be repaired if it differs in little.
pub const COMPARED_WITHIN_MS: Millis = 500;
/// Rounds of commit and comparison. In the first one a call may still have been running; after that
/// none begins.
pub(crate) const TRANSFER_ROUNDS_MAX: u32 = 3;
/// The time for the heir to take over.
pub const TAKEN_WITHIN_MS: Millis = 3000;

#[derive(Clone, Debug)]
pub struct Settings {
    pub ask_again_ms: Millis,
    /// The pause before another requested transfer. 0: none.
    pub transfer_pause_ms: Millis,
    pub window_entries: u64,
    pub window_bytes: usize,
    pub batch: BatchLimits,
    /// All images of a full sync together. 0: no limit.
    pub full_sync_bytes_per_s: u64,
    /// Between two entries of digests. 0: only those that a transfer asks for.
    pub digest_interval_ms: Millis,
    /// Between two rounds of samples. 0: no samples.
    pub verify_interval_ms: Millis,
    /// The share of the shards in one round.
    pub sample_ratio: f64,
    /// The records of one sample.
    pub sample_records: usize,
    /// The most records that one repair replaces, and that the answer to a sample tells of.
    pub repair_records_max: usize,
    /// The most seqs by which a sample may be older than the state that it is compared with.
    pub seq_gap_max: u64,
    /// The shards of the state, counting the one that has no parts.
    pub shards: u32,
    /// The buckets of a shard.
    pub buckets: u32,
}

impl Settings {
    pub(crate) fn doubts(&self) -> Limits {
        Limits { shards_max: REPAIR_SHARDS_MAX, tries_max: REPAIR_TRIES_MAX, whole_shard: self.shards - 1 }
    }
}
