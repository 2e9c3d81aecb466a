//! The reference page and the sample file, generated from the description of the settings.

use std::fmt::Write as _;

use super::component::{Field, Section};
use super::validate::{bounds, rules};
use super::{AdminHttp, Cluster, Logging, Serving, StateSettings, TailSettings, Upkeep, Verification};
use crate::cluster_settings;

const REGENERATE: &str =
    "Generated from master/src/config/mod.rs. Change it there, then: cargo run -p understudy -- docs";

pub(crate) fn sections() -> Vec<Section> {
    vec![
        Serving::section(),
        AdminHttp::section(),
        Cluster::section(),
        StateSettings::section(),
        TailSettings::section(),
        Upkeep::section(),
        Verification::section(),
        Logging::section(),
    ]
}

/// The whole page docs/configuration.md.
pub fn page_markdown() -> String {
    let mut page = format!("<!-- {REGENERATE} -->\n\n{PAGE_HEAD}");
    for Section { heading, fields } in sections() {
        write!(page, "\n## {heading}\n\n| setting | default | may be | whose | effect |\n|---|---|---|---|---|\n")
            .expect(INTO_STRING);
        for field in fields {
            let doc = text(&field).replace('|', "\\|");
            let whose = if cluster_settings::is_named(field.name) { "cluster" } else { "member" };
            let bounds = bounds(field.name).unwrap_or_default();
            writeln!(page, "| `{}` | `{}` | {bounds} | {whose} | {doc} |", field.name, field.default)
                .expect(INTO_STRING);
        }
    }
    page.push_str(RULES_HEAD);
    for rule in rules() {
        writeln!(page, "- {rule}").expect(INTO_STRING);
    }
    page
}

/// The whole file docs/understudy.toml.
pub fn sample_toml() -> String {
    let mut sample = format!("# {REGENERATE}\n{SAMPLE_HEAD}");
    for Section { heading, fields } in sections() {
        write!(sample, "\n# ---- {heading} ----\n").expect(INTO_STRING);
        for field in fields {
            sample.push('\n');
            for line in field.doc {
                writeln!(sample, "# {}", line.trim()).expect(INTO_STRING);
            }
            if let Some(bounds) = bounds(field.name) {
                writeln!(sample, "# May be: {bounds}.").expect(INTO_STRING);
            }
            if cluster_settings::is_named(field.name) {
                writeln!(
                    sample,
                    "# The cluster's: it counts only where this member begins one; see `understudy config`."
                )
                .expect(INTO_STRING);
            }
            writeln!(sample, "# {} = {}", field.name, field.default).expect(INTO_STRING);
        }
    }
    sample
}

const INTO_STRING: &str = "a string takes what is written";

fn text(field: &Field) -> String {
    field.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

const PAGE_HEAD: &str = "\
# Configuration

A setting has one name everywhere. `tail_entries` stands

- in the file that `--config FILE` or `UNDERSTUDY_CONFIG` names, as `tail_entries = 1000000`,
- in the environment, as `UNDERSTUDY_TAIL_ENTRIES=1000000`,
- on the command line of `understudy serve`, as `--tail-entries 1000000`.

The later one wins. A setting of the *cluster* is different: all members go by one value, which the first member of a new cluster \
takes from its own file, environment and command line. Later `understudy config set tenure_ms=800` changes it for all members at \
once. A member that is started with another value says so in its log and goes by the cluster's; `understudy config diff` lists such \
members. A key of the file that does not exist is an error, and so is a value that does not fit the others: \
the message names the setting and the rule, and the file and the line where it stands in one. [understudy.toml](understudy.toml) has them all with their defaults.
";

const RULES_HEAD: &str = "
## What must hold between settings

A member that is started against one of these, and a `config set` that would come to it, are refused with the names and both values.

";

const SAMPLE_HEAD: &str = "\
# Every setting with its default. Take away the # in front of what is to be changed.
# understudy serve --config understudy.toml
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_has_one_name_of_its_own() {
        let names: Vec<_> = sections().into_iter().flat_map(|section| section.fields).map(|field| field.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn every_setting_is_described_with_a_default_that_toml_takes() {
        for field in sections().into_iter().flat_map(|section| section.fields) {
            assert!(text(&field).ends_with('.'), "{}", field.name);
            assert!(!field.default.is_null() && !field.default.is_object(), "{}", field.name);
        }
    }
}
