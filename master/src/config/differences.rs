//! The settings in which two configurations differ, by their names.
//!
//! Invariant: the value of a secret is not shown.

use serde_json::Value;

use super::Config;

pub(super) const SECRETS: [&str; 1] = ["etcd_password"];

/// Values as in JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    pub(crate) from: String,
    pub(crate) to: String,
}

impl Config {
    /// From this configuration to the other, in the order of the pages.
    pub(crate) fn differences(&self, to: &Config) -> Vec<Difference> {
        let (ours, theirs) = (self.values(), to.values());
        let pairs = ours.into_iter().zip(theirs).filter(|((_, from), (_, to))| from != to);
        let differs = |((name, from), (_, to)): ((&'static str, Value), (&'static str, Value))| {
            let shown = |value: Value| match SECRETS.contains(&name) {
                true => "(not shown)".to_owned(),
                false => value.to_string(),
            };
            Difference { name, from: shown(from), to: shown(to) }
        };
        pairs.map(differs).collect()
    }

    /// All settings by name.
    fn values(&self) -> Vec<(&'static str, Value)> {
        let Config { serving, admin, cluster, logging, tail, state, upkeep, verification } = self;
        let sections = [
            serde_json::to_value(serving),
            serde_json::to_value(admin),
            serde_json::to_value(cluster),
            serde_json::to_value(state),
            serde_json::to_value(tail),
            serde_json::to_value(upkeep),
            serde_json::to_value(verification),
            serde_json::to_value(logging),
        ];
        let sections = sections.map(|section| section.expect("settings are plain values"));
        let fields = super::pages::sections().into_iter().flat_map(|section| section.fields);
        let value = |name: &str| sections.iter().find_map(|section| section.get(name)).cloned();
        fields.map(|field| (field.name, value(field.name).expect("each setting is in one section"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_differ_are_named_with_both_values() {
        let mut other = Config::default();
        assert_eq!(Config::default().differences(&other), []);
        other.logging.log_level = "debug".to_owned();
        other.cluster.etcd_password = "hush".to_owned();
        let differences = Config::default().differences(&other);
        let names: Vec<_> = differences.iter().map(|difference| difference.name).collect();
        assert_eq!(names, ["etcd_password", "log_level"]);
        assert_eq!((differences[1].from.as_str(), differences[1].to.as_str()), ("\"info\"", "\"debug\""));
        assert!(!format!("{differences:?}").contains("hush"));
    }
}
