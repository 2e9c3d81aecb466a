//! What of the state's behaviour can be set on each member, with the bounds of everything that could grow.
//!
//! Deliberately absent: what members must agree on (`settings`).

use ledger::{CallRefused, ENTRY_ITEMS_MAX, Settings};

/// How the segments of a put are chosen, after those that the caller prefers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strategy {
    #[default]
    Random,
    /// Of a few at random, the emptiest.
    FreeRatioFirst,
}

/// What each member may be started with as it likes. Used by the primary only.
#[derive(Clone, Debug)]
pub struct Config {
    pub strategy: Strategy,
    /// What this member was started with: the cluster's settings where its state has none yet, that is, where this member
    /// is its first primary. Valid.
    pub settings: Settings,
    /// The answers kept for retries, for one client: as many, and as many bytes.
    pub answers_max: usize,
    pub answer_bytes_max: usize,
    /// The bytes of all clients' answers together.
    pub answer_bytes_total_max: usize,
    pub objects_max: u64,
    /// Space that was dropped and that waits to be handed out again. At the bound no put and no transfer begins: only they bring
    /// something that can be dropped.
    pub retired_extents_max: u64,
    /// Replicas that clients of one address may be writing, and what is retired of those that they gave up.
    pub extents_per_address_max: u64,
    pub clients_max: usize,
    /// Of them, those that came from one address, for all that this primary has seen.
    pub clients_per_address_max: usize,
    /// Puts and transfers of one client that are under way.
    pub client_puts_max: usize,
    pub segments_max: usize,
    /// Of them, those that were mounted from one address.
    pub segments_per_address_max: usize,
    pub client_segments_max: usize,
    pub client_segment_bytes_max: u64,
    pub tenants_max: usize,
    /// Of them, those that clients of one address have made and that are not empty.
    pub tenants_per_address_max: usize,
    pub tasks_max: usize,
    /// Finished tasks that can still be listed.
    pub finished_tasks_max: usize,
    /// Seed of the random placement and of the sampling.
    pub seed: u64,
    /// Nanoseconds on a monotonic clock, to measure how long locks are held; the state knows no clock of its own.
    pub lock_clock_ns: fn() -> u64,
}

impl Default for Config {
    fn default() -> Config {
        let ledger::Config {
            settings,
            answers_max,
            answer_bytes_max,
            answer_bytes_total_max,
            clients_max,
            clients_per_address_max,
            tenants_max,
            tenants_per_address_max,
            lock_clock_ns,
        } = ledger::Config::default();
        Config {
            strategy: Strategy::Random,
            settings,
            answers_max,
            answer_bytes_max,
            answer_bytes_total_max,
            objects_max: 100_000_000,
            retired_extents_max: 4_000_000,
            extents_per_address_max: 2_000_000,
            clients_max,
            clients_per_address_max,
            client_puts_max: 100_000,
            segments_max: 65_536,
            segments_per_address_max: 16_384,
            client_segments_max: 1024,
            client_segment_bytes_max: 1 << 50,
            tenants_max,
            tenants_per_address_max,
            tasks_max: 100_000,
            finished_tasks_max: 10_000,
            seed: 0x5eed,
            lock_clock_ns,
        }
    }
}

/// All of them travel in one image, at some 25 bytes each.
const RETIRED_EXTENTS_LIMIT: u64 = 16_000_000;

impl Config {
    /// What of it is the ledger's.
    pub(crate) fn ledger(&self) -> ledger::Config {
        ledger::Config {
            settings: self.settings,
            answers_max: self.answers_max,
            answer_bytes_max: self.answer_bytes_max,
            answer_bytes_total_max: self.answer_bytes_total_max,
            clients_max: self.clients_max,
            clients_per_address_max: self.clients_per_address_max,
            tenants_max: self.tenants_max,
            tenants_per_address_max: self.tenants_per_address_max,
            lock_clock_ns: self.lock_clock_ns,
        }
    }

    /// Names the rule that is broken.
    pub fn validate(&self) -> Result<(), CallRefused> {
        self.ledger().validate()?;
        let rules = [
            (self.finished_tasks_max < self.tasks_max, "finished_tasks_max", "must be below tasks_max"),
            (
                (1..=RETIRED_EXTENTS_LIMIT).contains(&self.retired_extents_max),
                "retired_extents_max",
                "must be at least 1 and at most 16,000,000: all of them travel in one image",
            ),
            (
                self.client_puts_max >= ENTRY_ITEMS_MAX,
                "client_puts_max",
                "must be at least 256, since so many begin at once",
            ),
            (self.extents_per_address_max >= 1, "extents_per_address_max", "must be at least 1"),
            (self.segments_per_address_max >= 1, "segments_per_address_max", "must be at least 1"),
            (self.client_segments_max >= 1, "client_segments_max", "must be at least 1"),
            (self.client_segment_bytes_max >= 1, "client_segment_bytes_max", "must be at least 1"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, rule)) => Err(CallRefused::invalid(field, rule)),
            None => Ok(()),
        }
    }
}
