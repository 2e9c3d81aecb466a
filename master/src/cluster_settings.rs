//! The settings that belong to the cluster: in force on all members, shown and changed by name.
//!
//! Those of the election stand in the record of roles and are changed by a swap; the others are part of the state and are changed
//! by an entry of the log. To an operator they are one list.
//!
//! Invariant: where a name is not in the list, or a value breaks a rule, nothing is changed.
//!
//! Deliberately absent: what a change must not shorten. `election` and `metadata` see to that.

use std::collections::BTreeSet;

use election::Timing;
use metadata::{InForce, Settings};
use proto::status;
use proto::v1::{CallError, NewSetting, Setting};

use crate::node::Node;

/// What is to be changed, by where it stands.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) timing: Vec<(String, u64)>,
    /// By name.
    pub(crate) state: Vec<(String, String)>,
}

/// Of these names; others are a member's own.
pub(crate) fn is_named(name: &str) -> bool {
    names().any(|known| known == name)
}

fn names() -> impl Iterator<Item = &'static str> {
    let timing = Timing::default().named().map(|(name, _)| name);
    timing.into_iter().chain(Settings::names().iter().copied())
}

/// In the order of the pages: those of the election first, where this member takes part in one. Values that it does not know are empty.
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

/// For the log.
pub(crate) fn told(differences: &[(&'static str, String, String)]) -> String {
    let told = |(name, from, to): &(&'static str, String, String)| format!("{name} {to}, not {from}");
    differences.iter().map(told).collect::<Vec<_>>().join("; ")
}

/// All of it, or the first reason why not.
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
