//! What may go wrong in a run. Drawn from the seed, so that some runs know only one kind of trouble, and some all.

use std::time::Duration;

use election::{Timing, Unclean};
use metadata::Config;
use oplog::TailConfig;
use replication::BatchLimits;

use crate::rng::Rng;

/// Chances are per hundred thousand and millisecond, or per mille and message.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) members: usize,
    pub(crate) clients: usize,
    /// Messages take from 1 to this many milliseconds.
    pub(crate) delay_ms_max: u64,
    /// A message takes up to half a second longer: it was lost, and sent again by the transport.
    pub(crate) late_message: u64,
    /// A client's request is lost, or comes twice, the second time much later.
    pub(crate) lose_request: u64,
    pub(crate) repeat_request: u64,
    pub(crate) crash: u64,
    /// How often whoever looks finds proof that a process which has ended has ended. After the chaos: always, if ever.
    pub(crate) proofs: u64,
    /// Also the last one who holds what was acknowledged may crash: then somebody begins with nothing. Needs proofs, or
    pub(crate) lose_all: bool,
    /// that members begin with nothing, too, where nobody has led for long, whatever is true of those who held something.
    pub(crate) cold_after: bool,
    /// How each member is bound as the primary then. `None`: it is not, and begins anew on proof only.
    pub(crate) bounds: Vec<Option<u64>>,
    /// A member that lives is not seen for longer than that; and one that has claimed, and may wait, ends.
    pub(crate) hide: u64,
    /// A primary is asked to leave its place to another member.
    pub(crate) transfer: u64,
    pub(crate) pause: u64,
    /// A link, in one direction, goes silent.
    pub(crate) cut_link: u64,
    /// A member is asked to stop, and ends some time later.
    pub(crate) stop: u64,
    /// A standby's state is changed without an entry.
    pub(crate) corrupt: u64,
    /// A stream breaks, whatever is true of its ends.
    pub(crate) break_stream: u64,
    /// The coordinator takes from 1 to this many milliseconds, each way.
    pub(crate) coordinator_ms_max: u64,
    pub(crate) coordinator_down: u64,
    /// The coordinator's answer is lost, before or after the swap has happened; or it comes late.
    pub(crate) coordinator_unsure: u64,
    /// Clocks run up to this many per mille faster or slower. The protocol allows for 25 each way.
    pub(crate) clock_rate: u64,
    /// How long the task that has log and state may take to hear of a role.
    pub(crate) role_ms_max: u64,
    pub(crate) lag_ops_max: u64,
    /// Of the log in memory. Small: peers that were away find their place gone.
    pub(crate) tail_entries: usize,
    pub(crate) window_entries: u64,
    pub(crate) window_bytes: usize,
    pub(crate) batch_entries: usize,
    /// A standby applies at most so many entries in a millisecond.
    pub(crate) apply_entries: usize,
    /// Messages that a stream takes in a millisecond.
    pub(crate) sends: usize,
    pub(crate) digest_every_ms: u64,
    pub(crate) repair_max: usize,
    pub(crate) client_ttl_ms: u64,
    pub(crate) object_lease_ms: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) chaos_ms: u64,
}

impl Options {
    pub(crate) fn draw(rng: &mut Rng) -> Options {
        // Never, now and then, or often.
        let mut sometimes = |chance: u64| [0, chance / 5, chance][rng.below(3) as usize];
        let proofs = sometimes(700);
        let lose_all = proofs > 0 && sometimes(5) > 0;
        let late_message = sometimes(10);
        let (lose_request, repeat_request) = (sometimes(50), sometimes(100));
        let (crash, pause, cut_link, stop) = (sometimes(100), sometimes(200), sometimes(200), sometimes(100));
        let (transfer, corrupt, break_stream) = (sometimes(100), sometimes(150), sometimes(400));
        let (coordinator_down, coordinator_unsure, clock_rate) = (sometimes(100), sometimes(200), sometimes(24));
        let mut of = |few: [u64; 2]| few[rng.below(2) as usize];
        let tail_entries = [of([40, 150]), 100_000][of([0, 1]) as usize] as usize;
        // Below what the log holds, or so far above that it is full first.
        let (lag_ops_max, window_entries) = (tail_entries as u64 * 2 / of([3, 1]), of([8, 8192]));
        let role_ms_max = of([6, 60]);
        let (window_bytes, batch_entries) = (of([4 << 10, 4 << 20]) as usize, of([3, 512]) as usize);
        let (apply_entries, sends) = (of([1, 64]) as usize, of([25, 400]) as usize);
        let (client_ttl_ms, segment_bytes) = (of([700, 3_000]), of([6 << 10, 24 << 10]));
        let (digest_every_ms, repair_max) = (of([60, 300]), of([2, 50]) as usize);
        let coordinator_ms_max = of([20, 180]);
        // Over before a takeover, or not.
        let object_lease_ms = of([200, 1200]);
        let (members, clients, delay_ms_max) =
            (2 + rng.below(3) as usize, 1 + rng.below(4) as usize, 1 + rng.below(40));
        let chaos_ms = 3_000 + rng.below(5_000);
        // Aside, so that runs without it are what they were before there was such a thing.
        let mut aside = rng.clone();
        let cold_after = aside.below(4) == 0;
        let lose_all = lose_all || (cold_after && aside.below(2) == 0);
        let hide = if cold_after { 200 } else { 0 };
        // Nobody begins anew over a primary that is not bound: then proof is needed.
        let mut bound = || match aside.below(4) {
            0 if proofs > 0 => None,
            1 => Some(1400),
            _ => Some(700),
        };
        let bounds = (0..members).map(|_| bound()).collect();
        Options {
            members,
            clients,
            delay_ms_max,
            late_message,
            lose_request,
            repeat_request,
            crash,
            proofs,
            lose_all,
            cold_after,
            bounds,
            hide,
            transfer,
            pause,
            cut_link,
            stop,
            corrupt,
            break_stream,
            coordinator_ms_max,
            coordinator_down,
            coordinator_unsure,
            clock_rate,
            role_ms_max,
            lag_ops_max,
            tail_entries,
            window_entries,
            window_bytes,
            batch_entries,
            apply_entries,
            sends,
            digest_every_ms,
            repair_max,
            client_ttl_ms,
            object_lease_ms,
            segment_bytes,
            chaos_ms,
        }
    }

    /// Short enough to happen in a run, and to meet primaries that live.
    pub(crate) fn unclean(&self, member: usize) -> Unclean {
        match self.bounds[member] {
            Some(confirm_within_ms) if self.cold_after => Unclean::ColdAfter { after_ms: 1500, confirm_within_ms },
            Some(_) | None => Unclean::Cold,
        }
    }

    pub(crate) fn timing(&self) -> Timing {
        let lag_ops_max = self.lag_ops_max;
        // Often enough for a bound primary.
        let look_every_ms = if self.cold_after { 200 } else { Timing::default().look_every_ms };
        Timing { lag_ops_max, join_lag_ops: lag_ops_max / 4, look_every_ms, ..Timing::default() }
    }

    pub(crate) fn tail(&self) -> TailConfig {
        TailConfig { entries_max: self.tail_entries, ..TailConfig::default() }
    }

    pub(crate) fn batch(&self) -> BatchLimits {
        BatchLimits { entries: self.batch_entries, bytes: 64 << 10 }
    }

    /// Time-outs short enough to run out within a run.
    pub(crate) fn metadata(&self, seed: u64) -> Config {
        Config {
            client_ttl_ms: self.client_ttl_ms,
            object_lease_ms: self.object_lease_ms,
            soft_pin_ttl_ms: 500,
            put_start_timeout_ms: 400,
            put_release_timeout_ms: 600,
            // A task that is assigned stays so: then each is somebody's once.
            task_timeout_ms: 1 << 40,
            eviction_high_watermark: 0.7,
            eviction_ratio: 0.2,
            answers_max: 8,
            seed,
            ..Config::default()
        }
    }

    /// Of a client's call, and the pauses between its attempts.
    pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(4);
    pub(crate) const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
}
