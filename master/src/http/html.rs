//! The status as a page. It reloads itself every two seconds, and loads nothing else.
//!
//! Invariant: every text from outside is escaped, and has no control character.

use std::fmt::{self, Display, Write as _};

use crate::http::facts::{Cluster, Facts, MemberFacts, Setting, Status};
use crate::plain::{plain, size};

/// Text within a page.
struct Text<T>(T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        plain(&self.0.to_string()).chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// A value that is not known is shown as such.
fn known(value: Option<impl Display>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

fn verdict(holds: bool, why_not: Option<&str>) -> String {
    match why_not {
        None if holds => "yes".to_owned(),
        why_not => format!("no: {}", why_not.unwrap_or("unknown")),
    }
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"refresh\" content=\"2\"><meta name=\"viewport\" content=\"width=device-width\"><style>\
body{font:15px/1.5 system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em 1em .2em 0;text-align:left;border-bottom:1px solid #ddd}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}a{color:#8bf}}\
</style>";

pub(crate) fn page(facts: &Facts) -> String {
    let mut page = HEAD.to_owned();
    write(&mut page, facts).expect("a string takes what is written");
    page
}

fn write(page: &mut String, facts: &Facts) -> fmt::Result {
    let status = &facts.status;
    let (node, role) = (Text(&status.node), Text(&status.role));
    write!(page, "<title>{node}: {role}</title></head><body><h1>{node}: {role}</h1>")?;
    write!(page, "<p><b>{}</b>, by what this member knows.</p>", Text(status.health.title))?;
    for reason in status.health.reasons.iter().chain(&status.health.notes) {
        write!(page, "<p>{}. {}.</p>", Text(&reason.what), Text(&reason.next))?;
    }
    page.push_str("<table>");
    for (name, value) in rows(facts) {
        write!(page, "<tr><th>{name}</th><td>{}</td></tr>", Text(value))?;
    }
    page.push_str("</table>");
    match &status.cluster {
        Some(cluster) => write_cluster(page, cluster)?,
        None => page.push_str("<p>This node is alone.</p>"),
    }
    page.push_str(
        "<p><a href=\"/status\">status</a> · <a href=\"/metrics\">metrics</a> · <a href=\"/livez\">livez</a> · \
         <a href=\"/readyz\">readyz</a> · <a href=\"/promotable\">promotable</a></p></body></html>\n",
    );
    Ok(())
}

fn rows(facts: &Facts) -> Vec<(&'static str, String)> {
    let Status { position, cluster, .. } = &facts.status;
    let status = &facts.status;
    let mut rows = vec![
        ("version", format!("{}, up {} s", status.version, status.uptime_ms / 1000)),
        ("ready", verdict(status.ready, status.not_ready.as_deref())),
        ("promotable", verdict(status.promotable, status.not_promotable.as_deref())),
        ("position", {
            let Facts { appended, .. } = facts;
            let (applied, committed) = (position.seq, status.committed_seq);
            let shown = if status.committed { "" } else { "; what is shown is not known to be committed" };
            format!("epoch {}, applied {applied}, committed {committed}, appended {appended}{shown}", position.epoch)
        }),
        ("objects", format!("{} ({} unfinished)", status.objects, status.objects_unfinished)),
        ("capacity", {
            let (used, all, retired) =
                (size(status.used_bytes), size(status.capacity_bytes), size(status.retired_bytes));
            format!("{used} of {all} used, {retired} retired in {} pieces", status.retired_extents)
        }),
        ("segments", status.segments.to_string()),
        ("clients", status.clients.to_string()),
        ("tenants", status.tenants.to_string()),
        ("tasks", status.tasks.to_string()),
        ("evicted", status.evicted_total.to_string()),
        ("log tail", {
            let (entries, first) = (status.tail_entries, status.tail_first_seq);
            format!("{entries} entries, {}, from seq {first}", size(status.tail_bytes))
        }),
        ("digest", status.digest.clone()),
        ("settings", settings(&status.settings)),
        ("longest lock", format!("{} µs", status.lock_held_us_max)),
        ("memory", size(status.memory_resident_bytes)),
    ];
    if let Some(Cluster { epoch, primary, tenure_left_ms, .. }) = cluster {
        let tenure = tenure_left_ms.map(|left| format!(", its tenure lasts {left} ms")).unwrap_or_default();
        rows.insert(3, ("cluster", format!("epoch {epoch}, the primary is {primary:?}{tenure}")));
    }
    rows
}

/// The settings with which this member was started and that differ from the cluster's.
fn settings(settings: &[Setting]) -> String {
    let told: Vec<String> = settings.iter().filter_map(Setting::difference).collect();
    match told.is_empty() {
        true => "as this member was started".to_owned(),
        false => format!("the cluster has {}", told.join("; ")),
    }
}

fn write_cluster(page: &mut String, cluster: &Cluster) -> fmt::Result {
    page.push_str(
        "<h2>Members</h2><table><tr><th>name</th><th>address</th><th>role</th><th>in sync</th><th>state</th>\
         <th>received</th><th>applied</th><th>not received</th><th>not received, ms</th><th>not applied</th></tr>",
    );
    for member in &cluster.members {
        write_member(page, member)?;
    }
    let Cluster { takeovers, full_syncs, coordinator_errors, .. } = cluster;
    write!(
        page,
        "</table><p>Since the start: {takeovers} takeovers, {full_syncs} full syncs begun, {coordinator_errors} errors \
         of the coordinator.</p>"
    )
}

fn write_member(page: &mut String, member: &MemberFacts) -> fmt::Result {
    let state = match (member.sync_shards_done, member.sync_shards) {
        (Some(done), Some(shards)) => format!("{}, {done} of {shards} shards", member.state),
        _ => member.state.clone(),
    };
    let in_sync = if member.in_sync { "yes" } else { "no" };
    page.push_str("<tr>");
    for text in [&member.name, &member.address, &member.role, in_sync, &state] {
        write!(page, "<td>{}</td>", Text(text))?;
    }
    write!(page, "<td>{}</td><td>{}</td>", known(member.received), known(member.applied))?;
    let lags = [member.lag_ops, member.lag_ms, member.apply_lag_ops];
    // A primary does not lag.
    let lags = lags.map(|lag| if member.role == "primary" { String::new() } else { known(lag) });
    lags.iter().try_for_each(|lag| write!(page, "<td>{lag}</td>"))?;
    page.write_str("</tr>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_leave_their_place() {
        let text = Text("<b onclick=\"x\" & 'y'>").to_string();
        assert_eq!(text, "&lt;b onclick=&quot;x&quot; &amp; &#39;y&#39;&gt;");
        assert_eq!(Text("a\u{1b}[2J\u{202e}b\0").to_string(), r"a\u{1b}[2J\u{202e}b\u{0}");
    }

    #[test]
    fn page_names_what_is_not_known() {
        let mut facts = crate::metrics::example();
        let page = page(&facts);
        assert!(
            page.contains("<h1>&lt;a&gt; &quot;1&quot;: primary</h1>") && page.contains("<td>unknown</td>"),
            "{page}"
        );
        assert!(page.contains("the primary is &quot;a&quot;, its tenure lasts 400 ms"), "{page}");
        assert!(
            page.contains("full sync, 3 of 64 shards") && !page.contains("src=") && !page.contains("http:"),
            "{page}"
        );
        facts.status.cluster = None;
        assert!(super::page(&facts).contains("This node is alone."));
    }
}
