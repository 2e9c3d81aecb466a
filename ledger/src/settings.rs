//! Settings on which the members of a cluster must agree: they are part of the state, and an op changes them.
//!
//! ```text
//!   flags of the first primary ──► Settings op ──► in force on every member ──► Settings op of an operator ──► …
//! ```
//!
//! A change never shortens what was promised. While a wait that was in force before a change is longer than the new
//! one, it is *owed*: what protects something that was promised waits for the longer of the two, and only what is
//! promised from now on counts with the new one. The primary's upkeep logs the end of what is owed, once everything that
//! was promised before the change is over by its TTL clock.
//!
//! Invariants: what is in force is valid, whatever an operator or the log says; what is owed is never shorter than
//! what is in force; equal settings have equal bytes.
//!
//! Deliberately absent: when a wait is over (`steps`), and settings of the election, which stand in the coordinator.

use bincode::{Decode, Encode};
use oplog::Digest;

use crate::call::CallRefused;
use crate::errors::{Inconsistent, require, same};
use crate::hash::{RecordHash, table};

/// No wait is longer, so that two of them and a time can be added.
const WAIT_MS_MAX: u64 = 60 * 60 * 1000;
/// Clients that are gone take about 100 bytes each.
pub const TOMBSTONES_LIMIT: usize = 1 << 20;
/// A share that is not 0: a smaller one stands for nothing that an eviction could aim at.
const SHARE_MIN: f64 = 0.001;

/// What the type of a setting must be able to do.
trait Value: Copy + std::fmt::Display + std::str::FromStr {
    const KIND: &'static str;

    /// Equal values have equal bits.
    fn bits(self) -> u64;
}

impl Value for u32 {
    const KIND: &'static str = "a whole number of at most 4294967295";

    fn bits(self) -> u64 {
        u64::from(self)
    }
}

impl Value for u64 {
    const KIND: &'static str = "a whole number";

    fn bits(self) -> u64 {
        self
    }
}

impl Value for usize {
    const KIND: &'static str = "a whole number";

    fn bits(self) -> u64 {
        self as u64
    }
}

impl Value for f64 {
    const KIND: &'static str = "a number";

    fn bits(self) -> u64 {
        self.to_bits()
    }
}

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $default:expr,)*) => {
        /// The order of the fields is the log's format.
        #[derive(Clone, Copy, PartialEq, Debug, Encode, Decode)]
        pub struct Settings {
            $($(#[$doc])* pub $name: $kind,)*
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($name: $default,)* }
            }
        }

        impl Settings {
            /// As the flags of a member are called.
            pub fn names() -> &'static [&'static str] {
                &[$(stringify!($name),)*]
            }

            /// `None`: there is no such setting.
            pub fn get(&self, name: &str) -> Option<String> {
                match name {
                    $(stringify!($name) => Some(self.$name.to_string()),)*
                    _ => None,
                }
            }

            fn set(&mut self, name: &str, value: &str) -> Result<(), CallRefused> {
                match name {
                    $(stringify!($name) => self.$name = parsed(name, value)?,)*
                    _ => return Err(unknown(name)),
                }
                Ok(())
            }

            fn hash(&self, into: &mut RecordHash) {
                $(into.number(self.$name.bits());)*
            }
        }
    };
}

settings! {
    /// A client that is silent for this long is expired.
    client_ttl_ms: u64 = 10_000,
    /// What a lookup or an existence check grants.
    object_lease_ms: u64 = 10_000,
    /// A soft pin without a TTL of its own.
    soft_pin_ttl_ms: u32 = 30 * 60_000,
    /// A put or a transfer that has not ended by then is discarded.
    put_start_timeout_ms: u64 = 30_000,
    /// The space of a discarded put is reused this long after the discard: its writer may still be writing.
    put_release_timeout_ms: u64 = 10 * 60_000,
    /// An assigned task goes back to waiting after this.
    task_timeout_ms: u64 = 5 * 60_000,
    /// Share of the memory at which eviction starts.
    eviction_high_watermark: f64 = 0.90,
    /// Share of the memory that it makes free below the watermark.
    eviction_ratio: f64 = 0.05,
    /// Clients that are gone, of which the last request number is kept.
    tombstones_max: usize = 65_536,
}

fn parsed<T: Value>(name: &str, value: &str) -> Result<T, CallRefused> {
    value.parse().map_err(|_| CallRefused::invalid(name, format!("{value:?} is not {}", T::KIND)))
}

fn unknown(name: &str) -> CallRefused {
    let names = Settings::names().join(", ");
    CallRefused::invalid("name", format!("{name:?} is no setting of the cluster; these are: {names}"))
}

impl Settings {
    /// These settings with another value for one of them.
    pub fn with(self, name: &str, value: &str) -> Result<Settings, CallRefused> {
        self.with_all(&[(name, value)])
    }

    /// These settings with other values for some of them. Only the outcome must keep the rules, so that two settings
    /// that limit each other can be changed together.
    pub fn with_all(mut self, changes: &[(&str, &str)]) -> Result<Settings, CallRefused> {
        for (at, (name, value)) in changes.iter().enumerate() {
            if changes[..at].iter().any(|(other, _)| other == name) {
                return Err(CallRefused::invalid(*name, "given twice"));
            }
            self.set(name, value)?;
        }
        self.validate()?;
        Ok(self)
    }

    /// Where these settings differ from others: the name, the value here and the value there.
    pub fn differences(&self, other: &Settings) -> Vec<(&'static str, String, String)> {
        let values = |name: &&'static str| Some((*name, self.get(name)?, other.get(name)?));
        Settings::names().iter().filter_map(values).filter(|(_, here, there)| here != there).collect()
    }

    /// What one setting may be, whatever the others are, in words. `None`: there is no such setting.
    pub fn bounds(name: &str) -> Option<String> {
        let bounds = match name {
            "client_ttl_ms"
            | "object_lease_ms"
            | "put_start_timeout_ms"
            | "put_release_timeout_ms"
            | "task_timeout_ms" => format!("1 to {WAIT_MS_MAX}"),
            "soft_pin_ttl_ms" => format!("0 to {}", u32::MAX),
            "eviction_high_watermark" => format!("{SHARE_MIN} to 1"),
            "eviction_ratio" => format!("0, or {SHARE_MIN} to 1"),
            "tombstones_max" => format!("1 to {TOMBSTONES_LIMIT}"),
            _ => return None,
        };
        Some(bounds)
    }

    /// What must hold between them, in words.
    pub const RULES: [&str; 2] =
        ["object_lease_ms ≤ put_release_timeout_ms", "eviction_ratio < eviction_high_watermark"];

    /// Names the setting, its value and the rule that is broken.
    pub fn validate(&self) -> Result<(), CallRefused> {
        let is_wait = |wait_ms: u64| (1..=WAIT_MS_MAX).contains(&wait_ms);
        let (lease_ms, watermark, ratio) = (self.object_lease_ms, self.eviction_high_watermark, self.eviction_ratio);
        let is_share = |share: f64| (SHARE_MIN..=1.0).contains(&share);
        // Equal values must have equal bytes: there is one 0.
        let is_none = ratio.to_bits() == 0;
        let within = [
            (is_wait(self.client_ttl_ms), "client_ttl_ms"),
            (is_wait(lease_ms), "object_lease_ms"),
            (is_wait(self.put_start_timeout_ms), "put_start_timeout_ms"),
            (is_wait(self.put_release_timeout_ms), "put_release_timeout_ms"),
            (is_wait(self.task_timeout_ms), "task_timeout_ms"),
            (is_share(watermark), "eviction_high_watermark"),
            (is_none || is_share(ratio), "eviction_ratio"),
            ((1..=TOMBSTONES_LIMIT).contains(&self.tombstones_max), "tombstones_max"),
        ];
        let within = within.map(|(holds, name)| {
            let bounds = Settings::bounds(name).expect("it is one of them");
            (holds, name, format!("must be {bounds}"))
        });
        let between = [
            (
                self.put_release_timeout_ms >= lease_ms,
                "put_release_timeout_ms",
                format!("must not be below object_lease_ms, which is {lease_ms}"),
            ),
            (
                ratio < watermark,
                "eviction_ratio",
                format!("must be below eviction_high_watermark, which is {watermark}"),
            ),
        ];
        match within.into_iter().chain(between).find(|(holds, ..)| !holds) {
            Some((_, name, rule)) => {
                let value = self.get(name).unwrap_or_default();
                Err(CallRefused::invalid(name, format!("{value} {rule}")))
            }
            None => Ok(()),
        }
    }

    /// These settings, but each wait that protects what was promised at least as long as the other one.
    fn waiting_as_long_as(&self, other: &Settings) -> Settings {
        Settings {
            client_ttl_ms: self.client_ttl_ms.max(other.client_ttl_ms),
            object_lease_ms: self.object_lease_ms.max(other.object_lease_ms),
            put_start_timeout_ms: self.put_start_timeout_ms.max(other.put_start_timeout_ms),
            put_release_timeout_ms: self.put_release_timeout_ms.max(other.put_release_timeout_ms),
            task_timeout_ms: self.task_timeout_ms.max(other.task_timeout_ms),
            ..*self
        }
    }

    /// How long anything lives that was promised under these settings. A put may be discarded at the end of its time, and
    /// then its space waits.
    pub fn promised_for_ms(&self) -> u64 {
        let put_ms = self.put_start_timeout_ms + self.put_release_timeout_ms;
        put_ms.max(self.client_ttl_ms).max(self.object_lease_ms).max(self.task_timeout_ms)
    }
}

/// The settings of the cluster, as they are now.
#[derive(Clone, Copy, PartialEq, Debug, Encode, Decode)]
pub struct InForce {
    /// What is promised from now on.
    pub settings: Settings,
    /// The longer waits that are still kept for what was promised before; all else in it is as in `settings`.
    pub owed: Option<Settings>,
    /// The entry that changed the settings last. 0: none did, they are those that this member was started with.
    pub changed_seq: u64,
}

impl InForce {
    pub fn started_with(settings: Settings) -> InForce {
        InForce { settings, owed: None, changed_seq: 0 }
    }

    /// What protects something that was promised waits as long as this says.
    pub fn kept(&self) -> &Settings {
        self.owed.as_ref().unwrap_or(&self.settings)
    }

    pub fn change_to(&self, settings: Settings) -> SettingsOp {
        let owed = settings.waiting_as_long_as(self.kept());
        SettingsOp { settings, owed: (owed != settings).then_some(owed) }
    }

    /// Nothing is owed any more.
    pub fn settled(&self) -> SettingsOp {
        SettingsOp { settings: self.settings, owed: None }
    }

    fn check(&self) -> Result<(), Inconsistent> {
        let invalid = |refused: CallRefused| Inconsistent::Other(format!("settings: {refused}"));
        self.settings.validate().map_err(invalid)?;
        let Some(owed) = &self.owed else { return Ok(()) };
        owed.validate().map_err(invalid)?;
        let fits = *owed == self.settings.waiting_as_long_as(owed) && *owed != self.settings;
        require(fits, || {
            let differences = self.settings.differences(owed);
            let told: Vec<String> =
                differences.iter().map(|(name, now, owed)| format!("{name} {owed} beside {now}")).collect();
            format!("what is owed does not go with the settings: {}", told.join(", "))
        })
    }

    fn digest(&self) -> Digest {
        let mut record = RecordHash::new(table::SETTINGS);
        record.number(self.changed_seq);
        self.settings.hash(&mut record);
        if let Some(owed) = &self.owed {
            owed.hash(&mut record);
        }
        record.finish()
    }
}

/// What an entry says of the settings.
#[derive(Clone, Copy, PartialEq, Debug, Encode, Decode)]
pub struct SettingsOp {
    pub settings: Settings,
    pub owed: Option<Settings>,
}

/// The settings as a part of the state: none before the first entry that has them.
#[derive(Debug, Default)]
pub struct ClusterSettings {
    in_force: Option<InForce>,
    digest: Digest,
}

impl ClusterSettings {
    pub fn get(&self) -> Option<InForce> {
        self.in_force
    }

    /// Without settings the limit of the format: what is kept must not depend on any member's flag.
    pub fn tombstones_max(&self) -> usize {
        self.in_force.map_or(TOMBSTONES_LIMIT, |in_force| in_force.settings.tombstones_max)
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn counted_digest(&self) -> Digest {
        self.in_force.as_ref().map_or_else(Digest::default, InForce::digest)
    }

    /// An entry that ends what is owed, or that changes the settings and owes what they shorten. No other one is believed.
    pub fn apply(&mut self, op: SettingsOp, seq: u64) -> Result<(), Inconsistent> {
        let SettingsOp { settings, owed } = op;
        let before = self.in_force;
        let is_change = before.is_none_or(|before| before.settings != settings);
        let changed_seq = before.filter(|_| !is_change).map_or(seq, |before| before.changed_seq);
        let next = InForce { settings, owed, changed_seq };
        next.check()?;
        let fits = before.is_none_or(|before| before.change_to(settings) == op || before.settled() == op);
        require(fits, || {
            format!(
                "the settings of seq {seq} do not follow on those of seq {}",
                before.map_or(0, |before| before.changed_seq)
            )
        })?;
        self.replace(next);
        Ok(())
    }

    /// From an image that was captured at `at_seq`.
    pub fn install(&mut self, in_force: Option<InForce>, at_seq: u64) -> Result<(), Inconsistent> {
        let Some(in_force) = in_force else { return Ok(()) };
        in_force.check()?;
        let is_past = in_force.changed_seq <= at_seq;
        require(is_past, || format!("settings of seq {}, the image is of {at_seq}", in_force.changed_seq))?;
        self.replace(in_force);
        Ok(())
    }

    fn replace(&mut self, next: InForce) {
        self.in_force = Some(next);
        self.digest = self.counted_digest();
    }

    pub fn check(&self) -> Result<(), String> {
        same("digest of the settings", self.counted_digest(), self.digest)?;
        self.in_force.map_or(Ok(()), |in_force| in_force.check()).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
#[path = "settings_test.rs"]
mod tests;
