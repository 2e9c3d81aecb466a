//! All attacks as a page.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure::Measured;

/// docs/reports/attack.md.
pub fn page(all: &[Measured], lasts: Duration, profile: &str) -> String {
    let mut out = String::from("# Attacks\n\nMade by `./x attack`. ");
    let _ = writeln!(
        out,
        "One member with default settings and 4,000 keys of 4 KiB ({profile}); each attack for {} s over loopback, while a\n\
         polite client makes one call after the other. Memory is that of the member's process.\n",
        lasts.as_secs()
    );
    out += "| attack | memory before, MiB | at most, MiB | calls | failed | p99, ms | longest gap, ms |\n|---|--:|--:|--:|--:|--:|--:|\n";
    for row in all {
        let mib = |bytes: u64| bytes >> 20;
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let (calls, failed) = (row.calls, row.failed.len());
        let _ = writeln!(
            out,
            "| {} | {} | {} | {calls} | {failed} | {:.1} | {:.0} |",
            row.attack.name(),
            mib(row.rest_bytes),
            mib(row.peak_bytes),
            ms(row.p99),
            ms(row.gap_max)
        );
    }
    let mut reasons: Vec<&String> = all.iter().flat_map(|row| &row.failed).collect();
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
