//! What each member may be started with as it likes, of what is the ledger's. Used by the primary
//! only.
//!
//! Deliberately absent: what members must agree on (`settings`).

use crate::call::CallRefused;
use crate::settings::Settings;

#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What this member was started with: the cluster's settings where its state has none yet, that
    /// is, where this member is its first primary. Valid.
    pub settings: Settings,
    /// The answers kept for retries, for one client: as many, and as many bytes.
    pub answers_max: usize,
    pub answer_bytes_max: usize,
    /// The bytes of all clients' answers together.
    pub answer_bytes_total_max: usize,
    pub clients_max: usize,
    /// Of them, those that came from one address, for all that this primary has seen.
    pub clients_per_address_max: usize,
    pub tenants_max: usize,
    /// Of them, those that clients of one address have made and that are not empty.
    pub tenants_per_address_max: usize,
    /// Nanoseconds on a monotonic clock, to measure how long locks are held; the state knows no
    /// clock of its own.
    pub lock_clock_ns: fn() -> u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            settings: Settings::default(),
            answers_max: 1024,
            answer_bytes_max: 4 << 20,
            answer_bytes_total_max: 256 << 20,
            clients_max: 65_536,
            clients_per_address_max: 4096,
            tenants_max: 4096,
            tenants_per_address_max: 1024,
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
        self.settings.validate()?;
        let rules = [
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
            (self.clients_per_address_max >= 1, "clients_per_address_max", "must be at least 1"),
            (self.tenants_per_address_max >= 1, "tenants_per_address_max", "must be at least 1"),
            (self.tenants_max >= 1, "tenants_max", "must be at least 1, the default tenant"),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, field, rule)) => Err(CallRefused::invalid(field, rule)),
            None => Ok(()),
        }
    }
}
