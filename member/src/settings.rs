//! What a member is told when it starts, and the bounds that are the same in every member.

use election::Millis;
use replication::BatchLimits;
use verification::Limits;

/// What was committed is told to a peer at the latest after this, where nothing else is to be sent.
pub(crate) const COMMITTED_WITHIN_MS: Millis = 5;
/// A peer that answers nothing for so long has lost its way.
pub const SILENT_MS_MAX: Millis = 5000;
/// Peers at the same time.
pub const PEERS_MAX: usize = 16;
/// Shards that are repaired one by one; a thousandth of all objects each.
pub(crate) const REPAIR_SHARDS_MAX: usize = 16;
pub(crate) const REPAIR_TRIES_MAX: u32 = 5;
/// For all of a repair: meanwhile nothing else is applied.
pub(crate) const REPAIR_WITHIN_MS: Millis = 10_000;
/// After a repair that came to nothing.
pub(crate) const REPAIR_AGAIN_MS: Millis = 200;
/// After a full sync that could not end: the next one would not either, at once.
pub(crate) const SYNC_PAUSE_MS: Millis = 5000;
/// Entries that are applied before others get their turn.
pub(crate) const APPLY_ENTRIES: usize = 256;
/// For what was taken to be committed, before a place is given away.
pub const DRAIN_WITHIN_MS: Millis = 1000;
/// For the heir to compare itself, and to be repaired if it differs in little.
pub const COMPARED_WITHIN_MS: Millis = 500;
/// Of both. In the first round something may still have been under way; nothing new is begun.
pub(crate) const TRANSFER_ROUNDS_MAX: u32 = 3;
/// For the heir to take over.
pub const TAKEN_WITHIN_MS: Millis = 3000;

#[derive(Clone, Debug)]
pub struct Settings {
    pub ask_again_ms: Millis,
    /// Before another transfer, where one is asked for. 0: none.
    pub transfer_pause_ms: Millis,
    pub window_entries: u64,
    pub window_bytes: usize,
    pub batch: BatchLimits,
    /// Of all images of a full sync. 0: as fast as it goes.
    pub full_sync_bytes_per_s: u64,
    /// Between two entries of digests. 0: there are none but those that a transfer asks for.
    pub digest_interval_ms: Millis,
    /// Between two rounds of samples. 0: there are none.
    pub verify_interval_ms: Millis,
    /// Of the shards, in one round.
    pub sample_ratio: f64,
    /// Of one sample.
    pub sample_records: usize,
    /// That one repair puts right, and of which the answer to a sample tells.
    pub repair_records_max: usize,
    /// By which a sample may be older than the state that it is compared with.
    pub seq_gap_max: u64,
    /// Of the state, with the one that has no parts.
    pub shards: u32,
    /// Of a shard.
    pub buckets: u32,
}

impl Settings {
    pub(crate) fn doubts(&self) -> Limits {
        Limits { shards_max: REPAIR_SHARDS_MAX, tries_max: REPAIR_TRIES_MAX, whole_shard: self.shards - 1 }
    }
}
