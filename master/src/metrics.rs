//! Every metric of this crate: its name, its labels and their values, its meaning, and its source.
//!
//! One table, [`METRICS`], from which the text for Prometheus (`text`) and docs/metrics.md (`page`)
//! are generated. All values come in one piece, as [`Facts`]; the registry lives as long as one
//! answer, and the counters of calls (`requests`) belong to the node, so nodes of one process share
//! nothing.
//!
//! Invariants: a value that is not known, or not recently, has no sample, and never 0 in its place;
//! names are unique.
//!
//! Deliberately absent: numbers of its own.

mod page;
mod requests;
mod text;

use std::fmt;

use prometheus_client::metrics::MetricType;

use crate::gate::Standing;
use crate::health::Verdict;
use crate::http::Facts;
pub use page::metrics_markdown;
pub(crate) use requests::{CallTimer, Counted, Method, Requests};
pub(crate) use text::Format;
#[cfg(test)]
use text::render;
use text::{Samples, flag, seconds};

/// Every name begins with this.
const PREFIX: &str = "understudy";
/// The result of a call that was not refused as a whole. Otherwise it is the name of the reason.
const OK: &str = "ok";

/// The value of the label `role`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RoleLabel {
    Primary,
    Standby,
    Stopping,
}

impl RoleLabel {
    const ALL: [RoleLabel; 3] = [RoleLabel::Primary, RoleLabel::Standby, RoleLabel::Stopping];

    pub(crate) fn of(standing: &Standing) -> RoleLabel {
        match standing {
            Standing::Serving => RoleLabel::Primary,
            Standing::NotPrimary { .. } => RoleLabel::Standby,
            Standing::Stopping => RoleLabel::Stopping,
        }
    }

    fn name(self) -> &'static str {
        match self {
            RoleLabel::Primary => "primary",
            RoleLabel::Standby => "standby",
            RoleLabel::Stopping => "stopping",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Info,
    Gauge,
    Counter,
    Histogram,
}

struct Metric {
    /// Without the prefix, and without the suffix of its kind.
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    read: Read,
}

type Read = fn(&Facts, &mut Samples<'_>) -> fmt::Result;

const fn metric(
    kind: Kind,
    labels: &'static [&'static str],
    name: &'static str,
    help: &'static str,
    read: Read,
) -> Metric {
    Metric { name, kind, labels, help, read }
}

const fn gauge(name: &'static str, help: &'static str, read: Read) -> Metric {
    metric(Kind::Gauge, &[], name, help, read)
}

const fn of_peer(name: &'static str, help: &'static str, read: Read) -> Metric {
    metric(Kind::Gauge, &["peer"], name, help, read)
}

const fn counter(name: &'static str, help: &'static str, read: Read) -> Metric {
    metric(Kind::Counter, &[], name, help, read)
}

static METRICS: &[Metric] = &[
    metric(
        Kind::Info,
        &["node", "version"],
        "node",
        "The name of this node and the version of its program.",
        |facts, out| out.info(&[("node", &facts.status.node), ("version", &facts.status.version)]),
    ),
    gauge("uptime_seconds", "Since this node was started.", |facts, out| out.one(seconds(facts.status.uptime_ms))),
    metric(Kind::Gauge, &["role"], "role", "1 for what this node is, 0 for what it is not.", |facts, out| {
        RoleLabel::ALL.iter().try_for_each(|role| out.of(&[("role", role.name())], flag(*role == facts.role)))
    }),
    gauge(
        "ready",
        "1: it serves calls, or is in sync with a primary that it hears of; as /readyz says.",
        |facts, out| out.one(flag(facts.status.ready)),
    ),
    metric(
        Kind::Gauge,
        &["verdict"],
        "health",
        "1 for the verdict on the cluster by what this node alone knows, 0 for the others; `understudy health` asks all.",
        |facts, out| {
            let holds = |verdict: Verdict| flag(verdict.name() == facts.status.health.verdict);
            Verdict::ALL.iter().try_for_each(|verdict| out.of(&[("verdict", verdict.name())], holds(*verdict)))
        },
    ),
    gauge("promotable", "1: promoted now, it would come up whole; as /promotable says.", |facts, out| {
        out.one(flag(facts.status.promotable))
    }),
    gauge("epoch", "The newest epoch that this node knows of.", |facts, out| {
        let known = facts.status.cluster.as_ref().map_or(0, |cluster| cluster.epoch);
        out.one(known.max(facts.status.position.epoch))
    }),
    gauge("seq_appended", "Seq of the newest entry in this node's log.", |facts, out| out.one(facts.appended)),
    gauge("seq_committed", "Seq up to which entries are committed, for all that this node knows.", |facts, out| {
        out.one(facts.status.committed_seq)
    }),
    gauge("seq_applied", "Seq up to which entries are in this node's state.", |facts, out| {
        out.one(facts.status.position.seq)
    }),
    gauge("tail_entries", "Entries of the log that are kept in memory.", |facts, out| {
        out.one(facts.status.tail_entries)
    }),
    gauge("tail_entries_max", "The bound of tail_entries.", |facts, out| out.one(facts.limits.tail_entries_max)),
    gauge("tail_bytes", "Bytes that they take.", |facts, out| out.one(facts.status.tail_bytes)),
    gauge("tail_bytes_max", "The bound of tail_bytes.", |facts, out| out.one(facts.limits.tail_bytes_max)),
    gauge("tail_seq_first", "Seq of the oldest of them.", |facts, out| out.one(facts.status.tail_first_seq)),
    gauge(
        "tenure_left_seconds",
        "How long this primary may answer, for all that it knows now. Absent: without end, or it is not the primary.",
        |facts, out| out.some(facts.status.cluster.as_ref().and_then(|cluster| cluster.tenure_left_ms).map(seconds)),
    ),
    gauge(
        "lag_ops",
        "Entries that this standby's primary has committed and it has not received. Absent: nothing fresh is known.",
        |facts, out| out.some(facts.mine.as_ref().and_then(|mine| mine.lag_ops)),
    ),
    gauge(
        "full_sync_shards_done",
        "Shards of the full sync that this standby receives. Absent: none is under way.",
        |facts, out| out.some(facts.mine.as_ref().and_then(|mine| mine.sync).map(|(done, _)| done)),
    ),
    gauge("full_sync_shards", "All shards of that full sync.", |facts, out| {
        out.some(facts.mine.as_ref().and_then(|mine| mine.sync).map(|(_, shards)| shards))
    }),
    gauge(
        "insync_members",
        "Members of the in-sync set, the primary counted in. From the primary only.",
        |facts, out| out.some(facts.reign.as_ref().map(|reign| reign.insync)),
    ),
    of_peer(
        "peer_in_sync",
        "1: this peer is in the in-sync set. This and all of peers: from the primary only.",
        |facts, out| out.peers(facts, |peer| Some(flag(peer.in_sync))),
    ),
    of_peer(
        "peer_seq_received",
        "Seq up to which this peer has received the log. Absent: nothing fresh is known.",
        |facts, out| out.peers(facts, |peer| peer.received),
    ),
    of_peer("peer_seq_applied", "Seq up to which it has applied it. Absent: nothing fresh is known.", |facts, out| {
        out.peers(facts, |peer| peer.applied)
    }),
    of_peer(
        "peer_lag_ops",
        "Entries that this peer has not received. Absent: nothing fresh is known.",
        |facts, out| out.peers(facts, |peer| peer.lag_ops),
    ),
    of_peer(
        "peer_apply_lag_ops",
        "Entries that this peer has received and not applied yet. Absent: nothing fresh is known.",
        |facts, out| out.peers(facts, |peer| peer.apply_lag_ops),
    ),
    of_peer(
        "peer_lag_seconds",
        "For how long it has lacked the oldest of them. Absent: nothing fresh is known.",
        |facts, out| out.peers(facts, |peer| peer.lag_ms.map(seconds)),
    ),
    of_peer("peer_window_entries", "Entries on their way to this peer. Absent: it is not connected.", |facts, out| {
        let windows = facts.reign.iter().flat_map(|reign| &reign.windows);
        windows.into_iter().try_for_each(|window| out.of(&[("peer", &window.peer)], window.entries))
    }),
    gauge("peer_window_entries_max", "The bound of peer_window_entries.", |facts, out| {
        out.some(facts.reign.as_ref().map(|_| facts.limits.window_entries_max))
    }),
    of_peer("peer_window_bytes", "Bytes on their way to this peer. Absent: it is not connected.", |facts, out| {
        let windows = facts.reign.iter().flat_map(|reign| &reign.windows);
        windows.into_iter().try_for_each(|window| out.of(&[("peer", &window.peer)], window.bytes))
    }),
    gauge("peer_window_bytes_max", "The bound of peer_window_bytes, but for one message.", |facts, out| {
        out.some(facts.reign.as_ref().map(|_| facts.limits.window_bytes_max))
    }),
    of_peer(
        "peer_full_sync_shards_done",
        "Shards that were sent of a full sync to this peer. Absent: none is under way.",
        |facts, out| out.peers(facts, |peer| peer.sync_shards_done),
    ),
    of_peer("peer_full_sync_shards", "All shards of that full sync.", |facts, out| {
        out.peers(facts, |peer| peer.sync_shards)
    }),
    of_peer(
        "clock_rate_error_ppm",
        "How much faster this member's clock ran than this node's, in millionths, over the last 30 s; 25,000 each way are allowed for. \
         A primary measures its peers, a standby its primary. Absent: not known yet.",
        |facts, out| {
            let mut errors = facts.rate_errors.iter();
            errors.try_for_each(|(peer, ppm)| out.of(&[("peer", peer)], *ppm as f64))
        },
    ),
    gauge(
        "cluster_born_epoch",
        "The epoch in which this cluster began with no objects. Above 1: every member of its set had ended, or counted as gone, and all objects were lost.",
        |facts, out| out.some(facts.status.cluster.as_ref().map(|cluster| cluster.born).filter(|born| *born > 0)),
    ),
    counter("takeovers", "Times that this node became the primary of its cluster.", |facts, out| {
        out.some(facts.status.cluster.as_ref().map(|cluster| cluster.takeovers))
    }),
    counter("full_syncs", "Full syncs to other members that were begun.", |facts, out| {
        out.some(facts.status.cluster.as_ref().map(|cluster| cluster.full_syncs))
    }),
    counter("coordinator_errors", "Questions to the coordinator that it did not answer.", |facts, out| {
        out.some(facts.status.cluster.as_ref().map(|cluster| cluster.coordinator_errors))
    }),
    gauge(
        "coordinator_reachable",
        "1: the coordinator answered this node's last question. 0: it did not, and until it does no role changes here.",
        |facts, out| out.some(facts.status.cluster.as_ref().map(|cluster| flag(cluster.coordinator_trouble.is_none()))),
    ),
    gauge(
        "settings_differ",
        "Settings of the cluster that this node was started with other values of; it goes by the cluster's. `understudy config \
         diff` names them.",
        |facts, out| out.one(facts.status.settings.iter().filter(|setting| setting.differs()).count() as u64),
    ),
    counter("coordinator_lost_data", "Looks at the coordinator that found it to have lost data.", |facts, out| {
        out.some(facts.mine.as_ref().map(|mine| mine.lost_data))
    }),
    gauge(
        "sound",
        "1: this member is what its log says, for all that is known; 0: it is being repaired.",
        |facts, out| out.one(flag(facts.status.verification.condition == "sound")),
    ),
    gauge(
        "verified_seq",
        "The newest seq at which this standby was the same as its primary. Absent: none is known.",
        |facts, out| out.some(facts.status.verification.verified),
    ),
    counter(
        "verify_comparisons",
        "Comparisons of the whole state with the primary's, at the same seq.",
        |facts, out| out.one(facts.status.verification.compared),
    ),
    counter("verify_differences", "Comparisons that found a difference.", |facts, out| {
        out.one(facts.status.verification.differed)
    }),
    counter("verify_samples", "Samples of records that were compared with the primary's.", |facts, out| {
        out.one(facts.status.verification.samples)
    }),
    metric(
        Kind::Counter,
        &["kind"],
        "verify_mismatches",
        "Records that were found to differ from the primary's.",
        |facts, out| {
            let found = &facts.status.verification;
            out.of(&[("kind", "checksum_mismatch")], found.checksum_mismatches)?;
            out.of(&[("kind", "key_not_found")], found.keys_not_found)?;
            out.of(&[("kind", "extra_key")], found.extra_keys)
        },
    ),
    counter("verify_repaired", "Records that were repaired from the primary.", |facts, out| {
        out.one(facts.status.verification.repaired)
    }),
    counter("verify_resyncs", "Full syncs that were needed since a repair was not enough.", |facts, out| {
        out.one(facts.status.verification.full_syncs)
    }),
    counter(
        "scrub_rotten",
        "Shards whose records had changed without an entry. An operator must look.",
        |facts, out| out.one(facts.status.verification.rotten),
    ),
    counter("verify_alarms", "Times that the primary was the suspect. An operator must look.", |facts, out| {
        out.one(facts.status.verification.alarms)
    }),
    counter("scrub_cycles", "Times that this member has looked at all of its records.", |facts, out| {
        out.one(facts.status.verification.scrub_cycles)
    }),
    counter("scrub_shards", "Shards whose records were looked at and are what is kept of them.", |facts, out| {
        out.one(facts.status.verification.scrubbed_shards)
    }),
    counter("scrub_skipped", "Shards that changed too fast to be looked at.", |facts, out| {
        out.one(facts.status.verification.scrub_skipped)
    }),
    of_peer(
        "peer_verified_seq",
        "The newest seq at which this peer was the same as this primary. Absent: none is known.",
        |facts, out| out.peers(facts, |peer| peer.verified),
    ),
    of_peer("peer_sound", "0: this peer was found to differ, and is not repaired yet.", |facts, out| {
        out.peers(facts, |peer| Some(flag(peer.sound)))
    }),
    gauge("objects", "Objects, those that are being written counted in.", |facts, out| out.one(facts.status.objects)),
    gauge("objects_unfinished", "Objects with a put or a transfer under way.", |facts, out| {
        out.one(facts.status.objects_unfinished)
    }),
    gauge("segments", "Mounted segments.", |facts, out| out.one(facts.status.segments)),
    gauge("clients", "Clients that are known, expired ones that still hold something counted in.", |facts, out| {
        out.one(facts.status.clients)
    }),
    gauge("tenants", "Tenants, the default one counted in.", |facts, out| out.one(facts.status.tenants)),
    gauge("tasks", "Tasks, finished ones that can still be listed counted in.", |facts, out| {
        out.one(facts.status.tasks)
    }),
    gauge("capacity_bytes", "Memory of all segments.", |facts, out| out.one(facts.status.capacity_bytes)),
    gauge("used_bytes", "Memory of all segments that is in use.", |facts, out| out.one(facts.status.used_bytes)),
    gauge(
        "retired_bytes",
        "Memory neither in use nor free: given up, and kept until no client can read or write there any more.",
        |facts, out| out.one(facts.status.retired_bytes),
    ),
    gauge("retired_extents", "Pieces of that memory; at `retired_extents_max` no put begins.", |facts, out| {
        out.one(facts.status.retired_extents)
    }),
    counter("evicted", "Objects that were evicted.", |facts, out| out.one(facts.status.evicted_total)),
    gauge(
        "lock_held_max_seconds",
        "The longest time that a lock of the state was held since the start.",
        |facts, out| out.one(facts.status.lock_held_us_max as f64 / 1e6),
    ),
    gauge("memory_resident_bytes", "Memory of this process.", |facts, out| out.one(facts.status.memory_resident_bytes)),
    gauge("long_calls", "Calls that have a thread of their own now.", |facts, out| out.one(facts.limits.long_calls)),
    gauge("long_calls_max", "The bound of long_calls.", |facts, out| out.one(facts.limits.long_calls_max)),
    gauge(
        "request_bytes",
        "Bytes of requests that have arrived in part, or are large and being worked on.",
        |facts, out| out.one(facts.limits.request_bytes),
    ),
    gauge("request_bytes_max", "The bound of request_bytes.", |facts, out| out.one(facts.limits.request_bytes_max)),
    gauge("unread_bytes", "Bytes of answers that their clients have not read yet.", |facts, out| {
        out.one(facts.limits.unread_bytes)
    }),
    gauge("unread_bytes_max", "The bound of unread_bytes.", |facts, out| out.one(facts.limits.unread_bytes_max)),
    metric(
        Kind::Gauge,
        &["port"],
        "connections",
        "Open connections: of clients, of other members (peer), of the admin HTTP.",
        |facts, out| facts.limits.ports.iter().try_for_each(|counts| out.of(&[("port", counts.port)], counts.open)),
    ),
    metric(Kind::Gauge, &["port"], "connections_max", "The bound of connections.", |facts, out| {
        facts.limits.ports.iter().try_for_each(|counts| out.of(&[("port", counts.port)], counts.connections_max))
    }),
    metric(
        Kind::Counter,
        &["port", "reason"],
        "connections_refused",
        "Connections that were not let in (full, full_of_address), or were cut off: for a new one (made_room), since they said \
         nothing (silent) or read nothing (unread), or since they held the most bytes when there was no room for more (held_most).",
        |facts, out| {
            facts.limits.ports.iter().try_for_each(|counts| {
                let mut ended = counts.ended.iter();
                ended.try_for_each(|(why, times)| out.of(&[("port", counts.port), ("reason", why)], *times))
            })
        },
    ),
    counter(
        "log_lines_lost",
        "Lines of this process's log that could not be written: the disk was full, the pipe closed, or nothing read it.",
        |facts, out| out.one(facts.log.lost),
    ),
    counter(
        "log_lines_repeated",
        "Lines of this process's log that were counted in another one (`repeated=N`) and not written themselves.",
        |facts, out| out.one(facts.log.repeated),
    ),
    metric(
        Kind::Counter,
        &["method", "result"],
        "requests",
        "Answered calls of clients; the result is ok, or the reason for which the whole call was refused.",
        |facts, out| facts.requests.iter().try_for_each(|counted| out.results(counted)),
    ),
    metric(
        Kind::Histogram,
        &["method"],
        "request_seconds",
        "From taking a call until its answer may go out; of those that were ok, every 8th of a method and a thread.",
        |facts, out| facts.requests.iter().try_for_each(|counted| out.times(counted)),
    ),
];

impl Metric {
    fn kind(&self) -> MetricType {
        match self.kind {
            Kind::Info => MetricType::Info,
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
            Kind::Histogram => MetricType::Histogram,
        }
    }

    /// The name of the family in OpenMetrics.
    fn family(&self) -> String {
        format!("{PREFIX}_{}", self.name)
    }

    /// The name to use in a query.
    fn full_name(&self) -> String {
        let end = match self.kind {
            Kind::Info => "_info",
            Kind::Counter => "_total",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{}{end}", self.family())
    }
}

#[cfg(test)]
#[path = "metrics_test.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::example;
