//! All attacks as a page.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure::Measured;

/// One attack: on this build, and on an earlier one right before.
#[derive(Clone, Debug)]
pub struct Row {
    pub before: Option<Measured>,
    pub after: Measured,
}

const COLUMNS: &str = "memory at first, MiB | at most, MiB | log, KiB | calls | failed | p99, ms | longest gap, ms |";

/// The bounds that a reader of the figures needs to know.
const BOUNDS: &str = "\n\
    Answers that are not read are bounded by `unread_bytes_max` and `connection_unread_bytes_max`, requests that have come in part by\n\
    `request_bytes_max` (512 MiB) and `connection_request_bytes_max`: that is what requests that stay half may hold, since memory is\n\
    claimed as bytes come. A build that claims it as requests announce it holds less there, and 5 KiB of headers lock all batches out.\n";

/// docs/reports/attack.md.
pub fn page(rows: &[Row], lasts: Duration, profile: &str) -> String {
    let mut out = String::from("# Attacks\n\nMade by `./x attack`. ");
    let _ = writeln!(
        out,
        "One member with 4,000 keys of 4 KiB ({profile}); each attack for {} s over loopback, while a\n\
         polite client makes one call after the other. Memory and log are those of the member's process. The row\n\
         *nothing* shows what the host itself stalls.\n",
        lasts.as_secs()
    );
    let both = rows.iter().any(|row| row.before.is_some());
    let build = if both { "| build " } else { "" };
    let _ = writeln!(out, "| attack {build}| {COLUMNS}\n|---{}|{}", if both { "|---" } else { "" }, "--:|".repeat(7));
    for Row { before, after } in rows {
        if let Some(before) = before {
            let _ = writeln!(out, "| {} | earlier | {}", before.attack.name(), figures(before));
        }
        let _ = writeln!(out, "| {} {}| {}", after.attack.name(), if both { "| this " } else { "" }, figures(after));
    }
    out += BOUNDS;
    let mut reasons: Vec<&String> = rows.iter().flat_map(|row| &row.after.failed).collect();
    reasons.sort();
    reasons.dedup();
    if !reasons.is_empty() {
        out += "\nWhat the polite client was told where a call failed:\n\n";
        for reason in reasons.iter().take(10) {
            let _ = writeln!(out, "- {reason}");
        }
    }
    out
}

fn figures(measured: &Measured) -> String {
    let Measured { rest_bytes, peak_bytes, calls, failed, p99, gap_max, log_bytes, .. } = measured;
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    format!(
        "{} | {} | {} | {calls} | {} | {:.1} | {:.0} |",
        rest_bytes >> 20,
        peak_bytes >> 20,
        log_bytes >> 10,
        failed.len(),
        ms(p99),
        ms(gap_max)
    )
}
