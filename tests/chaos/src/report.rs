//! The report of a run, as a page of Markdown with a picture.
//!
//! Deliberately absent: opinions. It has the numbers, their origin, and the command that reproduces
//! them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::options::{Coordinator, Options};
use crate::picture;
use crate::plan::{Kind, Who};
use crate::story::{Story, plural};

/// Writes `chaos.md` and `chaos.svg`, and prints a summary.
pub fn write(options: &Options, story: &Story) -> Result<()> {
    let dir = &options.report;
    std::fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    for (name, text) in [("chaos.md", page(options, story)), ("chaos.svg", picture::draw(story))] {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    println!("\n{}\n{}", story.summary(), verdict(story));
    println!("report: {}", dir.join("chaos.md").display());
    Ok(())
}

fn verdict(story: &Story) -> String {
    match story.violations().len() {
        0 => "no violation".to_owned(),
        some => format!("VIOLATIONS: {some}"),
    }
}

fn page(options: &Options, story: &Story) -> String {
    let mut page = String::from("# Chaos\n\n");
    page += "Real members under random faults and continuous load; everything that clients were told is checked, round by round.\n\n";
    let _ = writeln!(page, "**{}.** {}.\n", verdict(story), story.summary());
    if story.was_stopped {
        page += "It was told to end before its time.\n\n";
    }
    page += &about(options, story);
    page += "\n![throughput and latency over time, with the faults](chaos.svg)\n";
    page += &verdicts(story);
    page += &outages(story);
    page += &faults(story);
    page += &troubles(story);
    page
}

fn about(options: &Options, story: &Story) -> String {
    let at = if options.coordinator() == Coordinator::Etcd { "--etcd" } else { "--file" };
    let command =
        format!("./x chaos --minutes {} --seed {} {at} --members {}", options.minutes, story.seed, options.members);
    let settings =
        if options.settings.is_empty() { String::new() } else { format!(" -- {}", options.settings.join(" ")) };
    let command = command + &settings;
    let rows = [
        ("commit", story.commit.clone()),
        ("command", format!("`{command}`")),
        ("machine", machine()),
        ("build", if cfg!(debug_assertions) { "with debug assertions".to_owned() } else { "release".to_owned() }),
    ];
    let row = |(what, is): &(&str, String)| format!("| {what} | {is} |\n");
    format!("| | |\n|---|---|\n{}", rows.iter().map(row).collect::<String>())
}

/// The commit of the sources. Must be asked when a run begins.
pub(crate) fn commit() -> String {
    let git = |words: &[&str]| {
        let ran = Command::new("git").args(words).output().ok().filter(|ran| ran.status.success());
        ran.map(|ran| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    // The reports themselves are written later.
    let changed =
        git(&["status", "--porcelain", "--", ".", ":!docs/reports"]).is_none_or(|changed| !changed.is_empty());
    if changed { format!("{head}, with changes that are not committed") } else { head }
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field(&cpu, "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let kib: u64 = field(&memory, "MemTotal").and_then(|kib| kib.split(' ').next()?.parse().ok()).unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} × {model}, {} GiB, Linux {}; members, etcd and clients share it", kib >> 20, kernel.trim())
}

fn verdicts(story: &Story) -> String {
    let checked = story.checked;
    let rows = [
        ("every key is linearizable", format!("{} keys", checked.keys)),
        (
            "nothing acknowledged is missing, nothing is there that no client put",
            format!("{} keys, up to three times", checked.keys),
        ),
        ("one primary: epochs, positions, who answered", format!("{} operations", checked.ops)),
        ("no byte belonged to two objects", format!("{} buffers", checked.buffers)),
        ("tasks were made and assigned exactly once", format!("{} creations and assignments", checked.tasks)),
        ("pins are as acknowledged", format!("{} objects", checked.pins)),
        ("all members in sync within 30 s of the end of a round's faults", plural(story.healed.len() as u64, "round")),
        (
            "no ERROR in any log but that etcd has lost its data, so no divergence found by verification",
            "all logs".to_owned(),
        ),
    ];
    let mut text = String::from("\n## Checked\n\n| promise | on |\n|---|---|\n");
    for (promise, on) in &rows {
        let _ = writeln!(text, "| {promise} | {on} |");
    }
    if story.is_clean() {
        text += "\nAll of it held.\n";
    } else {
        text += "\n**Violations:**\n\n";
        for fault in story.violations() {
            let _ = writeln!(text, "```text\n{fault}\n```");
        }
    }
    text
}

/// p50, p99 and the longest. Nothing if there is none.
fn spread(times: &mut [Duration]) -> Option<[Duration; 3]> {
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
    Some([at(0.5)?, at(0.99)?, at(1.0)?])
}

fn cells(times: Option<[Duration; 3]>) -> String {
    times
        .map_or("| – | – | – ".to_owned(), |times| times.iter().map(|time| format!("| {} ", ms(*time))).collect())
}

fn ms(time: Duration) -> String {
    match time.as_secs_f64() * 1e3 {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}

fn outages(story: &Story) -> String {
    let mut text = String::from(
        "\n## Takeovers\n\nFrom the fault to the first change that was acknowledged in a later epoch (RTO). *Alone*: no other fault \
         was under way when it came.\n\n| the primary was | takeovers | p50 | p99 | longest | of them alone | p50 | p99 | longest \
         |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let found = story.outages();
    for kind in Kind::ALL {
        let of_kind = found.iter().filter(|(fault, _)| fault.kind == kind);
        let mut all: Vec<_> = of_kind.clone().map(|(_, outage)| *outage).collect();
        let mut alone: Vec<_> = of_kind.filter(|(fault, _)| fault.alone).map(|(_, outage)| *outage).collect();
        if !all.is_empty() {
            let (count, count_alone) = (all.len(), alone.len());
            let (all, alone) = (cells(spread(&mut all)), cells(spread(&mut alone)));
            let _ = writeln!(text, "| {kind} | {count} {all}| {count_alone} {alone}|");
        }
    }
    let lost = if story.is_clean() { "0" } else { "see the violations" };
    let _ = writeln!(text, "\nAcknowledged changes that were lost (RPO): {lost}.");
    let _ = writeln!(text, "Longest time without an acknowledged change: {}.", ms(story.series.longest_pause()));
    if let Some([p50, _, longest]) = spread(&mut story.healed.clone()) {
        let _ = writeln!(
            text,
            "From the end of a round's faults until all were in sync: p50 {}, longest {}.",
            ms(p50),
            ms(longest)
        );
    }
    let quantile = |share| story.series.quantile(share).map_or("–".to_owned(), ms);
    let _ = writeln!(
        text,
        "Latency of all acknowledged calls, faults included: p50 {}, p99 {}.",
        quantile(0.5),
        quantile(0.99)
    );
    text
}

fn faults(story: &Story) -> String {
    let mut counts = BTreeMap::<Kind, (u64, u64)>::new();
    for fault in &story.faults {
        let (primary, standby) = counts.entry(fault.kind).or_default();
        *(if fault.who == Who::Primary { primary } else { standby }) += 1;
    }
    let mut text = String::from("\n## Faults\n\n| fault | of the primary | of a standby |\n|---|---|---|\n");
    for (kind, (primary, standby)) in &counts {
        let _ = writeln!(text, "| {kind} | {primary} | {standby} |");
    }
    let _ = writeln!(
        text,
        "\n{} more were drawn and not done: no member was there for them, two were under way already, or they would have taken the \
         last member that holds everything.",
        story.skipped
    );
    text
}

fn troubles(story: &Story) -> String {
    let mut text = String::from(
        "\n## What clients heard\n\nRefusals by what was there (an object that exists, a put under way) are part of the load: workers share \
         keys on purpose.\n\n| answer | times |\n|---|---|\n",
    );
    for (what, times) in &story.troubles {
        let _ = writeln!(text, "| {what} | {times} |");
    }
    text
}
