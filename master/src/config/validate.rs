//! Rules between settings. Each refusal has the name of the setting and both values.

use proto::limits::{MESSAGE_BYTES_MAX, REQUEST_SPAN_MAX, VERIFY_RECORDS_MAX};

use super::address::{check_host_port, check_no_user, check_url};
use super::{
    AdminHttp, Cluster, Config, ConfigError, Serving, StateSettings, TailSettings, UncleanStart, Upkeep, Verification,
};
use crate::logging::check_level;

/// HTTP/2 has no larger window.
const WINDOW_BYTES_MAX: u64 = (1 << 31) - 1;
const WINDOW_BYTES_MIN: u64 = 65_535;
/// A deleted leader key is written again after three seconds.
const COLD_AFTER_MS_MIN: u64 = 5000;
/// The largest message with its prefix.
const FRAMED_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 5;
/// With its stream, and with headers as long as HTTP/2 accepts here.
const REQUEST_BYTES_MAX: usize = FRAMED_BYTES_MAX + (4 << 10) + (16 << 10);
/// A stop takes at most 5 s in all.
const STOP_MS_MAX: u64 = 4500;
/// Names stand in keys of the coordinator, in logs, labels and commands.
const NAME_BYTES_MAX: usize = 128;
/// With a smaller share of a CPU bulk work would never end.
const CPU_RATIO_MIN: f64 = 0.01;
/// One shard of 1,024.
const SAMPLE_RATIO_MIN: f64 = 0.001;

/// The least and the most value of a member's own settings, whatever the others are.
const BOUNDS: [(&str, u64, u64); 29] = [
    ("worker_threads", 0, 1024),
    ("long_calls_max", 1, u64::MAX),
    ("connections_max", 1, u64::MAX),
    ("connections_per_address_max", 1, u64::MAX),
    ("first_bytes_ms_max", 1, u64::MAX),
    ("connection_streams_max", 1, u64::MAX),
    ("stream_window_bytes", WINDOW_BYTES_MIN, WINDOW_BYTES_MAX),
    ("connection_window_bytes", WINDOW_BYTES_MIN, WINDOW_BYTES_MAX),
    ("request_bytes_max", REQUEST_BYTES_MAX as u64, u64::MAX),
    ("connection_request_bytes_max", REQUEST_BYTES_MAX as u64, u64::MAX),
    ("request_ms_max", 1, u64::MAX),
    ("unread_bytes_max", FRAMED_BYTES_MAX as u64, u64::MAX),
    ("connection_unread_bytes_max", FRAMED_BYTES_MAX as u64, u64::MAX),
    ("unread_ms_max", 1, u64::MAX),
    ("pattern_ms_max", 1, u64::MAX),
    ("session_answers_max", 1, u64::MAX),
    ("session_answer_bytes_max", 1, u64::MAX),
    ("keepalive_interval_ms", 1, u64::MAX),
    ("keepalive_timeout_ms", 1, u64::MAX),
    ("stop_timeout_ms", 0, STOP_MS_MAX),
    ("coordinator_timeout_ms", 1, u64::MAX),
    ("etcd_lease_ttl_s", 1, u64::MAX),
    ("ask_again_ms", 1, u64::MAX),
    ("batch_entries", 1, u64::MAX),
    ("batch_bytes", 1, u64::MAX),
    ("window_entries", 1, u64::MAX),
    ("window_bytes", 1, u64::MAX),
    ("upkeep_interval_ms", 1, u64::MAX),
    ("entries_per_shard", 1, VERIFY_RECORDS_MAX as u64),
];

/// The rules between a member's own settings, in words. Those of the cluster are defined with its
/// settings.
const RULES: [&str; 13] = [
    "stream_window_bytes ≤ connection_window_bytes",
    "stop_linger_ms < stop_timeout_ms",
    "admin_listen ≠ listen",
    "window_entries + join_lag_ops < tail_entries, where a coordinator is set",
    "upkeep_interval_ms + stall_ms < client_ttl_ms",
    "finished_tasks_max < tasks_max",
    "etcd_cert_file and etcd_key_file are set together",
    "etcd_password and etcd_password_file are not both set",
    "guarded needs a coordinator",
    "cold_after_ms needs `unclean = cold` and a coordinator in etcd, and is at least 5000 and 2 × etcd_lease_ttl_s",
    "safety_window_ms + 1.5 × etcd_lease_ttl_s < cold_after_ms, where that is set",
    "4 × (ask_again_ms + 2 × coordinator_timeout_ms) < cold_after_ms, where that is set",
    "look_every_ms + ask_again_ms + 2 × coordinator_timeout_ms < etcd_lease_ttl_s, where cold_after_ms is set",
];

/// For the pages: the bounds of a setting, whatever the others are. `None`: there are none.
pub(super) fn bounds(name: &str) -> Option<String> {
    let between = |(min, max): (u64, u64)| match max {
        u64::MAX => format!("at least {min}"),
        max => format!("{min} to {max}"),
    };
    let own = BOUNDS.iter().find(|(known, ..)| *known == name).map(|(_, min, max)| between((*min, *max)));
    own.or_else(|| election::Timing::bounds(name).map(between)).or_else(|| metadata::Settings::bounds(name)).or_else(
        || match name {
            "background_cpu_ratio" => Some(format!("{CPU_RATIO_MIN} to 1")),
            "sample_ratio" => Some(format!("0, or {SAMPLE_RATIO_MIN} to 1")),
            "client_answers_max" => Some(format!("at least {REQUEST_SPAN_MAX}")),
            "node_name" => Some(format!("up to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.'")),
            "cluster_name" => Some("letters, digits, '-', '_' and '.'".to_owned()),
            _ => None,
        },
    )
}

/// For the pages: the rules between settings.
pub(super) fn rules() -> impl Iterator<Item = &'static str> {
    election::Timing::rules().into_iter().chain(metadata::Settings::RULES).chain(RULES)
}

type Checked = Result<(), ConfigError>;

fn rule(holds: bool, field: &'static str, rule: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(ConfigError::Rule { field, rule: rule() }) }
}

/// As in [`BOUNDS`].
fn within(field: &'static str, value: u64) -> Checked {
    let (_, min, max) = BOUNDS.iter().find(|(known, ..)| *known == field).expect("it has bounds");
    rule((*min..=*max).contains(&value), field, || match *max {
        u64::MAX => format!("{value}, must be at least {min}"),
        max => format!("{value}, must be {min} to {max}"),
    })
}

/// Whether this can be the name of a member.
pub fn check_name(field: &'static str, name: &str) -> Checked {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    rule(name.len() <= NAME_BYTES_MAX, field, || format!("{} bytes, the limit is {NAME_BYTES_MAX}", name.len()))?;
    rule(!name.is_empty() && name.chars().all(is_letter), field, || {
        format!("{name:?}, must be letters, digits, '-', '_' and '.'")
    })
}

fn rule_of(field: &'static str, checked: Result<(), String>) -> Checked {
    checked.map_err(|rule| ConfigError::Rule { field, rule })
}

impl Config {
    pub fn validate(&self) -> Checked {
        self.serving.validate()?;
        self.admin.validate(&self.serving)?;
        self.cluster.validate(&self.tail)?;
        self.tail.to_oplog().validate().map_err(|error| {
            let field = match error {
                oplog::TailConfigError::BytesBelowOneEntry { .. } => "tail_bytes",
                oplog::TailConfigError::NoEntries => "tail_entries",
                oplog::TailConfigError::NoWaiters => "tail_waiters",
            };
            ConfigError::Rule { field, rule: error.to_string() }
        })?;
        self.upkeep.validate(&self.state)?;
        self.verification.validate()?;
        rule_of("log_level", check_level(&self.logging.log_level))?;
        self.state.validate()
    }
}

impl Verification {
    fn validate(&self) -> Checked {
        let ratio = self.sample_ratio;
        rule(ratio == 0.0 || (SAMPLE_RATIO_MIN..=1.0).contains(&ratio), "sample_ratio", || {
            format!("{ratio}, must be 0, or {SAMPLE_RATIO_MIN} to 1")
        })?;
        within("entries_per_shard", self.entries_per_shard as u64)
    }
}

impl Serving {
    fn validate(&self) -> Checked {
        if !self.node_name.is_empty() {
            check_name("node_name", &self.node_name)?;
        }
        for (field, value) in [
            ("worker_threads", self.worker_threads as u64),
            ("long_calls_max", self.long_calls_max as u64),
            ("connections_max", self.connections_max as u64),
            ("connections_per_address_max", self.connections_per_address_max as u64),
            ("first_bytes_ms_max", self.first_bytes_ms_max),
            ("request_ms_max", self.request_ms_max),
            ("unread_ms_max", self.unread_ms_max),
            ("pattern_ms_max", self.pattern_ms_max),
            ("connection_streams_max", self.connection_streams_max.into()),
            ("session_answers_max", self.session_answers_max as u64),
            ("session_answer_bytes_max", self.session_answer_bytes_max as u64),
            ("stream_window_bytes", self.stream_window_bytes.into()),
            ("connection_window_bytes", self.connection_window_bytes.into()),
            ("keepalive_interval_ms", self.keepalive_interval_ms),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms),
            ("stop_timeout_ms", self.stop_timeout_ms),
        ] {
            within(field, value)?;
        }
        rule(self.stream_window_bytes <= self.connection_window_bytes, "stream_window_bytes", || {
            let Serving { stream_window_bytes, connection_window_bytes, .. } = self;
            format!("{stream_window_bytes} must not exceed connection_window_bytes, which is {connection_window_bytes}")
        })?;
        let bytes = [
            ("connection_request_bytes_max", self.connection_request_bytes_max, "request", REQUEST_BYTES_MAX),
            ("request_bytes_max", self.request_bytes_max, "request", REQUEST_BYTES_MAX),
            ("connection_unread_bytes_max", self.connection_unread_bytes_max, "answer", FRAMED_BYTES_MAX),
            ("unread_bytes_max", self.unread_bytes_max, "answer", FRAMED_BYTES_MAX),
        ];
        for (field, have, what, least) in bytes {
            rule(have >= least, field, || format!("{have} must hold the largest {what}, {least}"))?;
        }
        rule(self.stop_linger_ms < self.stop_timeout_ms, "stop_linger_ms", || {
            format!("{} must be below stop_timeout_ms, which is {}", self.stop_linger_ms, self.stop_timeout_ms)
        })
    }
}

impl AdminHttp {
    fn validate(&self, serving: &Serving) -> Checked {
        let Some(address) = self.address() else {
            return rule(self.admin_listen.is_empty(), "admin_listen", || {
                format!("{:?}, must be ADDRESS:PORT, as 127.0.0.1:7480, or empty", self.admin_listen)
            });
        };
        rule(address != serving.listen || address.port() == 0, "admin_listen", || {
            format!("{address} must not be the same as listen: clients are served there")
        })
    }
}

impl Cluster {
    fn validate(&self, tail: &TailSettings) -> Checked {
        let ahead = self.window_entries.saturating_add(self.join_lag_ops);
        rule(!self.is_on() || ahead < tail.tail_entries as u64, "tail_entries", || {
            let have = tail.tail_entries;
            format!("{have} must be above window_entries + join_lag_ops, which is {ahead}: a standby holds that much")
        })?;
        let is_path = |rest: &str| !rest.is_empty();
        let known = match self.coordinator.split_once(':') {
            Some(("file", rest)) => is_path(rest),
            Some(("etcd", rest)) => {
                rest.split(',').try_for_each(|url| rule_of("coordinator", check_url(url)))?;
                true
            }
            _ => {
                rule_of("coordinator", check_no_user(&self.coordinator))?;
                self.coordinator.is_empty()
            }
        };
        rule(known, "coordinator", || {
            format!("{:?}, must be file:DIR, etcd:http://HOST:PORT[,...] or empty", self.coordinator)
        })?;
        check_name("cluster_name", &self.cluster_name)?;
        let key_and_cert = self.etcd_cert_file.is_empty() == self.etcd_key_file.is_empty();
        rule(key_and_cert, "etcd_cert_file", || "must be set together with etcd_key_file".to_owned())?;
        let one_password = self.etcd_password.is_empty() || self.etcd_password_file.is_empty();
        rule(one_password, "etcd_password", || "must not be set together with etcd_password_file".to_owned())?;
        for (field, value) in [
            ("coordinator_timeout_ms", self.coordinator_timeout_ms),
            ("etcd_lease_ttl_s", self.etcd_lease_ttl_s),
            ("ask_again_ms", self.ask_again_ms),
            ("batch_entries", self.batch_entries as u64),
            ("batch_bytes", self.batch_bytes as u64),
            ("window_entries", self.window_entries),
            ("window_bytes", self.window_bytes as u64),
        ] {
            within(field, value)?;
        }
        rule(!self.guarded || self.is_on(), "guarded", || {
            "needs other members to report to: set coordinator".to_owned()
        })?;
        for (field, address) in [("advertise", &self.advertise), ("peer_advertise", &self.peer_advertise)] {
            rule_of(field, if address.is_empty() { Ok(()) } else { check_host_port(address) })?;
        }
        self.validate_cold_after()?;
        // The settings have the same names there.
        self.timing().validate().map_err(|error| ConfigError::Rule { field: error.name(), rule: error.to_string() })
    }
}

impl Cluster {
    fn validate_cold_after(&self) -> Checked {
        let (after_ms, confirm_ms) = (self.cold_after_ms, self.etcd_lease_ttl_s.saturating_mul(1000));
        if after_ms == 0 {
            return Ok(());
        }
        rule(self.unclean == UncleanStart::Cold, "cold_after_ms", || "is for `unclean = cold`".to_owned())?;
        rule(self.coordinator.starts_with("etcd:"), "cold_after_ms", || {
            "is for `coordinator = etcd:...`: on one host the end of a process is always proven".to_owned()
        })?;
        let least_ms = confirm_ms.saturating_mul(2).max(COLD_AFTER_MS_MIN);
        rule(after_ms >= least_ms, "cold_after_ms", || {
            format!("{after_ms} must be at least {least_ms}: {COLD_AFTER_MS_MIN}, and twice etcd_lease_ttl_s")
        })?;
        // A new primary announces itself when it serves. Before that it must not be taken for
        // missing.
        let unannounced_ms = self.safety_window_ms.saturating_add(confirm_ms.saturating_mul(3) / 2);
        rule(unannounced_ms < after_ms, "safety_window_ms", || {
            format!(
                "with 1.5 × etcd_lease_ttl_s it is {unannounced_ms} ms, not below cold_after_ms, {after_ms}: others would begin anew meanwhile"
            )
        })?;
        // One look may fail. Otherwise a primary would never be seen as missing for long.
        let unseen_ms = self.ask_again_ms.saturating_add(self.coordinator_timeout_ms.saturating_mul(2));
        rule(unseen_ms < after_ms / 4, "cold_after_ms", || {
            format!(
                "{after_ms} must be above four times ask_again_ms + 2 × coordinator_timeout_ms, which is {unseen_ms}"
            )
        })?;
        // One request may fail without a pause.
        let late_ms = self.look_every_ms.saturating_add(unseen_ms);
        rule(late_ms < confirm_ms, "etcd_lease_ttl_s", || {
            format!(
                "{confirm_ms} ms must be above look_every_ms + ask_again_ms + 2 × coordinator_timeout_ms, which is {late_ms}, where cold_after_ms is set"
            )
        })
    }
}

impl Upkeep {
    fn validate(&self, state: &StateSettings) -> Checked {
        within("upkeep_interval_ms", self.upkeep_interval_ms)?;
        let ratio = self.background_cpu_ratio;
        rule((CPU_RATIO_MIN..=1.0).contains(&ratio), "background_cpu_ratio", || {
            format!("{ratio}, must be {CPU_RATIO_MIN} to 1")
        })?;
        let step_ms = self.upkeep_interval_ms.saturating_add(self.stall_ms);
        rule(step_ms < state.client_ttl_ms, "stall_ms", || {
            let ttl_ms = state.client_ttl_ms;
            format!("upkeep_interval_ms + stall_ms is {step_ms} and must be below client_ttl_ms, which is {ttl_ms}")
        })
    }
}

impl StateSettings {
    fn validate(&self) -> Checked {
        rule(self.client_answers_max as u64 >= REQUEST_SPAN_MAX, "client_answers_max", || {
            let have = self.client_answers_max;
            format!("{have} must be at least {REQUEST_SPAN_MAX}, the requests that a client may have under way")
        })?;
        self.to_metadata().validate().map_err(|refused| match refused {
            metadata::CallRefused::Invalid { field, what } => ConfigError::Rule { field: known(&field), rule: what },
            other => ConfigError::Rule { field: "state", rule: other.to_string() },
        })
    }
}

/// Settings with rules of the state have the same names here as there.
fn known(field: &str) -> &'static str {
    let fields = StateSettings::section().fields;
    fields.iter().find(|known| known.name == field).map_or("state", |known| known.name)
}
