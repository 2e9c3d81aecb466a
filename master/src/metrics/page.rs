//! docs/metrics.md, generated from the table of metrics.

use std::fmt::Write as _;

use crate::metrics::requests::{BOUNDS_NS, Method};
use crate::metrics::{METRICS, OK, RoleLabel};

const INTO_STRING: &str = "a string takes what is written";

/// The whole page docs/metrics.md.
pub fn metrics_markdown() -> String {
    let mut page = PAGE_HEAD.to_owned();
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (metric.full_name(), metric.kind());
        let kind = kind.as_str();
        writeln!(page, "| `{name}` | {kind} | {} | {} |", labels.join(", "), metric.help).expect(INTO_STRING);
    }
    let names = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let roles = names(RoleLabel::ALL.iter().map(|role| role.name()).collect());
    let methods = names(Method::ALL.iter().map(|method| method.name()).collect());
    let buckets: Vec<_> = BOUNDS_NS.iter().map(|bound_ns| (*bound_ns as f64 / 1e9).to_string()).collect();
    let bounds = names(buckets.iter().map(String::as_str).collect());
    write!(
        page,
        "\n## Values of labels\n\n\
         - `role`: {roles}.\n\
         - `peer`: the name of a member (`node_name`).\n\
         - `method`: {methods}. `Session` counts sessions that were opened; `unknown` is what could not be read.\n\
         - `result`: `{OK}`, or a reason from [errors.md](errors.md). Items of an `ok` call may have been refused.\n\
         - `le`, of `understudy_request_seconds`: {bounds}, `+Inf`.\n"
    )
    .expect(INTO_STRING);
    page
}

const PAGE_HEAD: &str = "\
<!-- Generated from master/src/metrics.rs. Change it there, then: cargo run -p understudy -- docs -->

# Metrics

`/metrics` is served on `admin_listen` ([configuration.md](configuration.md)), in the text format of Prometheus, or in that of \
OpenMetrics where the request accepts it. A value that is unknown, or not fresh, has no sample: an unknown lag is not 0. Alert on absent samples, too.

Beside it:

| path | answers |
|---|---|
| `/livez` | 200 while the node works, as a standby too; 503 when it stops, or its threads are stuck |
| `/readyz` | 200 from a primary that serves calls, and a standby that is in sync and hears of it; else 503 and why |
| `/promotable` | 200 if it would come up whole, were it promoted now; else 503 and why |
| `/status` | all that `understudy status --json` shows, as JSON |
| `/` | the same for people; loads itself again every 2 seconds |

| metric | kind | labels | meaning |
|---|---|---|---|
";
