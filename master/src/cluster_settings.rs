//! The settings that belong to the cluster: in force on all members, shown and changed by name.
//!
//! Settings of the election stand in the config record and are changed by a swap. The others are
//! part of the state and are changed by an entry of the log. An operator sees one list.
//!
//! Invariant: if a name is not in the list, or a value breaks a rule, nothing is changed.
//!
//! Deliberately absent: what a change must not shorten. `election` and `metadata` ensure that.

use std::collections::BTreeSet;
use std::time::Duration;

use election::{Timing, TimingError};
use metadata::{InForce, Settings};
use proto::status;
use proto::v1::{CallError, NewSetting, Setting};
use tokio::time::{Instant, timeout_at};

use crate::node::Node;
use crate::pair::{Pair, Seat};

/// A change of the in-sync set goes first, and the coordinator may need several attempts. It is
/// below the time-out of callers.
const RETIMED_WITHIN: Duration = Duration::from_secs(3);

/// The changes, by where the settings stand.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) timing: Vec<(String, u64)>,
    /// By name.
    pub(crate) state: Vec<(String, String)>,
}

/// Whether this is a setting of the cluster. All others belong to a member.
pub(crate) fn is_named(name: &str) -> bool {
    names().any(|known| known == name)
}

fn names() -> impl Iterator<Item = &'static str> {
    let timing = Timing::default().named().map(|(name, _)| name);
    timing.into_iter().chain(Settings::names().iter().copied())
}

/// In the order of the pages: those of the election first, if this member takes part in one. Values
/// that it does not know are empty.
pub(crate) fn all(node: &Node) -> Vec<Setting> {
    let mut list = Vec::new();
    if let Some(pair) = node.pair() {
        let own = node.config.cluster.timing();
        let timing = pair.timing();
        for (name, started_with) in own.named() {
            let value = timing.named().into_iter().find(|(known, _)| *known == name && pair.has_seen_a_record());
            list.push(Setting {
                name: name.to_owned(),
                value: value.map(|(_, value)| value.to_string()).unwrap_or_default(),
                started_with: started_with.to_string(),
                owed: String::new(),
            });
        }
    }
    let InForce { settings, owed, changed_seq } = node.state().settings();
    let own = node.config.state.to_metadata().settings;
    let of = |settings: &Settings, name: &str| settings.get(name).unwrap_or_default();
    list.extend(Settings::names().iter().map(|name| {
        let value = if changed_seq > 0 { of(&settings, name) } else { String::new() };
        let owed = owed.as_ref().map(|owed| of(owed, name)).filter(|owed| *owed != value);
        Setting { name: (*name).to_owned(), value, started_with: of(&own, name), owed: owed.unwrap_or_default() }
    }));
    list
}

/// Formats the differences for the log.
pub(crate) fn told(differences: &[(&'static str, String, String)]) -> String {
    let told = |(name, from, to): &(&'static str, String, String)| format!("{name} {to}, not {from}");
    differences.iter().map(told).collect::<Vec<_>>().join("; ")
}

/// The whole change, or the first reason why not.
pub(crate) fn change(node: &Node, wanted: &[NewSetting]) -> Result<Change, CallError> {
    if wanted.is_empty() {
        return Err(status::invalid("settings", "none is named"));
    }
    let mut change = Change::default();
    let mut named = BTreeSet::new();
    let mut timing = node.pair().map_or_else(Timing::default, |pair| pair.timing());
    for NewSetting { name, value } in wanted {
        if !named.insert(name) {
            return Err(status::invalid(name, "given twice"));
        }
        if !is_named(name) {
            let names: Vec<&str> = names().collect();
            let what = format!("{name:?} is no setting of the cluster; these are: {}", names.join(", "));
            return Err(status::invalid("name", what));
        }
        if timing.with(name, 0).is_none() {
            change.state.push((name.clone(), value.clone()));
            continue;
        }
        if node.pair().is_none() {
            return Err(status::invalid(name, "this node is alone: it was started without a coordinator"));
        }
        let number = value.parse().map_err(|_| status::invalid(name, format!("{value:?} is not a whole number")))?;
        timing = timing.with(name, number).unwrap_or(timing);
        change.timing.push((name.clone(), number));
    }
    match timing.validate() {
        Err(rule) => Err(status::invalid(rule.name(), rule)),
        Ok(()) => Ok(change),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotRetimed {
    #[error("this member is not the primary")]
    NotPrimary { epoch: u64 },
    #[error(transparent)]
    Rule(#[from] TimingError),
    #[error("the coordinator has not confirmed the change, which may still happen: check with `understudy config get`")]
    Unknown,
}

impl From<member::NotRetimed> for NotRetimed {
    fn from(why: member::NotRetimed) -> NotRetimed {
        match why {
            member::NotRetimed::NotPrimary { epoch } => NotRetimed::NotPrimary { epoch },
            member::NotRetimed::Rule(rule) => NotRetimed::Rule(rule),
        }
    }
}

impl Pair {
    pub(crate) fn has_seen_a_record(&self) -> bool {
        self.seat.look(|member, _| member.election().seen().is_some())
    }

    pub(crate) fn timing(&self) -> Timing {
        self.seat.look(|member, _| *member.election().timing())
    }

    /// Returns the version of the record with the change.
    pub(crate) async fn retime(&self, changes: &[(String, u64)]) -> Result<u64, NotRetimed> {
        let until = Instant::now() + RETIMED_WITHIN;
        let mut seen = self.seat.seen();
        self.seat.with(|member, now| member.retime(changes, now))?;
        loop {
            match version_of(&self.seat, changes) {
                Some(Ok(version)) => return Ok(version),
                Some(Err(why)) => return Err(why),
                None => {}
            }
            // A changed record has a later version.
            if timeout_at(until, seen.changed()).await.is_err() {
                return Err(NotRetimed::Unknown);
            }
        }
    }
}

/// `None`: not changed yet.
fn version_of(seat: &Seat, changes: &[(String, u64)]) -> Option<Result<u64, NotRetimed>> {
    let is_so = |timing: Timing| changes.iter().all(|(name, value)| timing.with(name, *value) == Some(timing));
    seat.look(|member, _| match member.election().record() {
        None => Some(Err(NotRetimed::Unknown)),
        Some(known) if known.record.timing.is_some_and(is_so) => Some(Ok(known.record.version)),
        Some(_) => None,
    })
}
