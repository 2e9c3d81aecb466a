//! What may go wrong in a run. Drawn from the seed, so that some runs have only one kind of
//! trouble, and some have all.

use std::time::Duration;

use election::{Founding, Incarnation, Pace, Start, Timing, Unclean};
use member::Settings;
use metadata::{Config, SHARD_BUCKETS};
use oplog::TailConfig;
use replication::BatchLimits;

use crate::coordinator::LEASE_MS;
use crate::rng::Rng;

/// Chances are per hundred thousand and millisecond, or per mille and message.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) members: usize,
    pub(crate) clients: usize,
    /// Calls that a client has under way.
    pub(crate) calls_at_once: usize,
    /// Messages take from 1 to this many milliseconds.
    pub(crate) delay_ms_max: u64,
    /// A message takes up to half a second longer, as if it was lost and sent again by the
    /// transport.
    pub(crate) late_message: u64,
    /// A client's request is lost, or comes twice, the second time much later.
    pub(crate) lose_request: u64,
    pub(crate) repeat_request: u64,
    pub(crate) crash: u64,
    /// How often proof of death of an ended process is found. After the chaos: always, if ever.
    pub(crate) proofs: u64,
    /// Even the last member that holds what was acknowledged may crash: then another one begins
    /// with nothing. Needs proofs, or
    pub(crate) lose_all: bool,
    /// that members begin with nothing without proof once none has led for long, whatever is true
    /// of those that held something.
    pub(crate) cold_after: bool,
    /// How each member is bound as the primary then. `None`: it is not bound, and begins anew on
    /// proof only.
    pub(crate) bounds: Vec<Option<u64>>,
    /// A living member is not shown for longer than that; and a member that has claimed, and may
    /// wait, ends.
    pub(crate) hide: u64,
    /// A client sends another request with a number that was answered.
    pub(crate) foreign: u64,
    /// All requests have the same hash.
    pub(crate) colliding: bool,
    /// Which cluster settings each member was started with: default, shorter, or longer.
    pub(crate) kinds: Vec<u64>,
    /// An operator changes the cluster's settings to one of these.
    pub(crate) change: u64,
    lag_ops_max: u64,
    /// A primary is asked to hand over.
    pub(crate) transfer: u64,
    pub(crate) transfer_pause_ms: u64,
    pub(crate) pause: u64,
    /// A link goes silent in one direction.
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
    /// The coordinator loses its data, or is restored from a backup.
    pub(crate) lose_data: u64,
    /// Members that are started anew found no cluster, as with `found = never`. Otherwise any may.
    pub(crate) found_never: bool,
    /// The coordinator's answer is lost, before or after the swap has happened, or it comes late.
    pub(crate) coordinator_unsure: u64,
    /// A process that is no member connects, with the numbers of a member or with its own, and
    /// answers in place of a member that has ended.
    pub(crate) spoof: u64,
    /// Clocks run up to this many per mille faster or slower. The protocol allows for 25 each way.
    pub(crate) clock_rate: u64,
    /// How each member's first clock runs, per mille of its second one: slewed beyond what the
    /// protocol allows for, and further than any kernel slews it, so that few runs show what
    /// follows.
    pub(crate) slews: Vec<u64>,
    /// A member that stands still is a host that is suspended.
    pub(crate) suspends: bool,
    /// How long the task that has log and state may take to learn of a role.
    pub(crate) role_ms_max: u64,
    /// Entries of the log in memory. With few, peers that were away find theirs gone.
    pub(crate) tail_entries: usize,
    pub(crate) window_entries: u64,
    pub(crate) window_bytes: usize,
    pub(crate) batch_entries: usize,
    /// A standby applies at most this many entries in a millisecond.
    pub(crate) apply_entries: usize,
    /// Messages that a stream accepts in a millisecond.
    pub(crate) sends: usize,
    pub(crate) digest_every_ms: u64,
    repair_max: usize,
    client_ttl_ms: u64,
    object_lease_ms: u64,
    pub(crate) segment_bytes: u64,
    /// Clients also put into tenants of their own.
    pub(crate) tenants: bool,
    pub(crate) chaos_ms: u64,
}

impl Options {
    pub(crate) fn draw(rng: &mut Rng) -> Options {
        // It happens never, now and then, or often.
        let mut sometimes = |chance: u64| [0, chance / 5, chance][rng.below(3) as usize];
        let proofs = sometimes(700);
        let lose_all = proofs > 0 && sometimes(5) > 0;
        let late_message = sometimes(10);
        let (lose_request, repeat_request) = (sometimes(50), sometimes(100));
        let (crash, pause, cut_link, stop) = (sometimes(100), sometimes(200), sometimes(200), sometimes(100));
        let (transfer, corrupt, break_stream) = (sometimes(300), sometimes(150), sometimes(400));
        let (coordinator_down, coordinator_unsure, clock_rate) = (sometimes(100), sometimes(200), sometimes(24));
        let mut of = |few: [u64; 2]| few[rng.below(2) as usize];
        let tail_entries = [of([40, 150]), 100_000][of([0, 1]) as usize] as usize;
        // Below what the log holds, or so far above it that the log is full first.
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
        // Drawn aside, so that runs without it are what they were before this option existed.
        let mut aside = rng.clone();
        let cold_after = aside.below(4) == 0;
        let lose_all = lose_all || (cold_after && aside.below(2) == 0);
        let hide = if cold_after { 200 } else { 0 };
        // No member begins anew over a primary that is not bound: then proof is needed.
        let mut bound = || match aside.below(4) {
            0 if proofs > 0 => None,
            1 => Some(1400),
            _ => Some(700),
        };
        let bounds = (0..members).map(|_| bound()).collect();
        // If all may be lost, and then the record, a cluster would rightly be founded again.
        let lose_data = if lose_all || cold_after { 0 } else { [0, 0, 30, 100][aside.below(4) as usize] };
        let found_never = aside.below(2) == 0;
        let spoof = [0, 100, 100, 800][aside.below(4) as usize];
        // A peer that catches up must be faster than the clients.
        let is_slow = window_entries == 8 || apply_entries == 1;
        let calls_at_once = if is_slow { 1 } else { [1, 3][aside.below(2) as usize] };
        let (foreign, colliding) = ([0, 0, 200][aside.below(3) as usize], aside.below(2) == 0);
        let differ = aside.below(2) == 0;
        let kinds = (0..members).map(|_| if differ { aside.below(3) } else { 0 }).collect();
        let change = if differ { [0, 30, 200][aside.below(3) as usize] } else { 0 };
        // Drawn aside once more, for the same reason.
        let mut aside = aside.clone();
        let slewed = aside.below(3) == 0;
        let mut slew = || if slewed { [1000, 250, 2200, 2200][aside.below(4) as usize] } else { 1000 };
        let slews = (0..members).map(|_| slew()).collect();
        // One of the two clocks is right.
        let suspends = !slewed && aside.below(4) == 0;
        let transfer_pause_ms = [0, 0, 500][aside.below(3) as usize];
        // And once more.
        let tenants = aside.clone().below(2) == 0;
        Options {
            members,
            clients,
            calls_at_once,
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
            kinds,
            change,
            lag_ops_max,
            transfer,
            transfer_pause_ms,
            pause,
            cut_link,
            stop,
            corrupt,
            break_stream,
            coordinator_ms_max,
            coordinator_down,
            lose_data,
            found_never,
            coordinator_unsure,
            spoof,
            clock_rate,
            slews,
            suspends,
            role_ms_max,
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
            tenants,
            chaos_ms,
            foreign,
            colliding,
        }
    }

    pub(crate) fn loses_data(&self) -> bool {
        self.lose_data > 0
    }

    fn founding(&self, began: bool) -> Founding {
        Founding { allowed: !(self.found_never && began), after_ms: LEASE_MS }
    }

    /// Short enough to happen in a run, and to meet living primaries.
    pub(crate) fn unclean(&self, member: usize) -> Unclean {
        match self.bounds[member] {
            Some(confirm_within_ms) if self.cold_after => Unclean::ColdAfter { after_ms: 1500, confirm_within_ms },
            Some(_) | None => Unclean::Cold,
        }
    }

    /// `began`: there has been a cluster.
    pub(crate) fn start(&self, member: usize, began: bool) -> Start {
        let before = Pace::default();
        // Often enough for a bound primary.
        let look_every_ms = if self.cold_after { 200 } else { before.look_every_ms };
        let pace = Pace { look_every_ms, ..before };
        Start {
            timing: self.timing(self.kinds[member]),
            pace,
            unclean: self.unclean(member),
            founding: self.founding(began),
        }
    }

    /// The timing of one kind of member, as in [`Options::kinds`].
    pub(crate) fn timing(&self, kind: u64) -> Timing {
        let [tenure_ms, drop_after_ms, silence_ms, beacon_ms] = match kind {
            0 => [500, 300, 200, 50],
            1 => [240, 150, 130, 30],
            _ => [1_400, 900, 600, 150],
        };
        let (lag_ops_max, join_lag_ops) = (self.lag_ops_max, self.lag_ops_max / 4);
        Timing { tenure_ms, drop_after_ms, silence_ms, beacon_ms, lag_ops_max, join_lag_ops, ..Timing::default() }
    }

    pub(crate) fn state_settings(&self, kind: u64) -> metadata::Settings {
        // More tombstones than clients: what is forgotten may run again.
        let (client_ttl_ms, object_lease_ms, tombstones_max) = match kind {
            0 => (self.client_ttl_ms, self.object_lease_ms, 65_536),
            1 => (700, 200, 8),
            _ => (3_000, 2_400, 9),
        };
        metadata::Settings {
            client_ttl_ms,
            object_lease_ms,
            soft_pin_ttl_ms: 500,
            put_start_timeout_ms: 400,
            put_release_timeout_ms: object_lease_ms.max(600),
            // An assigned task stays assigned, so that each is assigned once.
            task_timeout_ms: 3_600_000,
            eviction_high_watermark: 0.7,
            eviction_ratio: 0.2,
            tombstones_max,
        }
    }

    /// Samples are frequent enough to find something within a run.
    pub(crate) fn member(&self, shards: u32) -> Settings {
        Settings {
            ask_again_ms: Pace::default().ask_again_ms,
            transfer_pause_ms: self.transfer_pause_ms,
            window_entries: self.window_entries,
            window_bytes: self.window_bytes,
            batch: BatchLimits { entries: self.batch_entries, bytes: 64 << 10 },
            full_sync_bytes_per_s: 0,
            digest_interval_ms: self.digest_every_ms,
            verify_interval_ms: 250,
            sample_ratio: 0.004,
            sample_records: 100,
            repair_records_max: self.repair_max,
            seq_gap_max: 1000,
            shards,
            buckets: SHARD_BUCKETS as u32,
        }
    }

    pub(crate) fn tail(&self) -> TailConfig {
        TailConfig { entries_max: self.tail_entries, ..TailConfig::default() }
    }

    /// Time-outs are short enough to end within a run.
    pub(crate) fn metadata(&self, me: Incarnation) -> Config {
        let seed = me.member.0 << 8 | me.number;
        Config {
            settings: self.state_settings(self.kinds[me.member.0 as usize]),
            answers_max: 8,
            // As many as call from one host, and the default tenant with two more.
            clients_per_address_max: 2,
            tenants_max: 3,
            tenants_per_address_max: 2,
            seed,
            ..Config::default()
        }
    }

    /// For a client's call, and the pauses between its attempts.
    pub(crate) const CALL_WITHIN: Duration = Duration::from_secs(4);
    pub(crate) const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
}
