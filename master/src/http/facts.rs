//! What there is to be seen of a node, taken at one time: for `/status`, `/metrics` and the page for people.
//!
//! Names and units are those of `understudy status --json`. What is not known, or not freshly, is `None`: never 0.
//!
//! Deliberately absent: how any of it is written down.

use std::sync::atomic::Ordering;

use member::Peer;
use proto::v1::{self, ClusterStatus, MemberStatus, Position, StatusResponse, VerificationStatus};
use serde::Serialize;

use crate::grpc::admin;
use crate::health::{self, Asked, Health, InCluster, Reason, Said, judge};
use crate::http::probes::{self, Verdict};
use crate::listen::{self, Links};
use crate::logging;
use crate::metrics::{Counted, Role};
use crate::node::Node;
use crate::pair::Pair;

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) status: Status,
    pub(crate) role: Role,
    pub(crate) appended: u64,
    pub(crate) limits: Limits,
    /// As the primary: nothing for others.
    pub(crate) reign: Option<Reign>,
    /// `None`: this node is alone.
    pub(crate) mine: Option<Mine>,
    /// How much faster than this node's clock those of other members run, in millionths, by their names.
    pub(crate) rate_errors: Vec<(String, i64)>,
    pub(crate) requests: Vec<Counted>,
    pub(crate) log: logging::Counts,
}

/// What is in use of what is bounded, and the bounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) tail_entries_max: u64,
    pub(crate) tail_bytes_max: u64,
    pub(crate) window_entries_max: u64,
    pub(crate) window_bytes_max: u64,
    pub(crate) long_calls: u64,
    pub(crate) long_calls_max: u64,
    pub(crate) request_bytes: u64,
    pub(crate) request_bytes_max: u64,
    pub(crate) unread_bytes: u64,
    pub(crate) unread_bytes_max: u64,
    pub(crate) ports: Vec<listen::Counts>,
}

/// What only the primary knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reign {
    /// This member counted in.
    pub(crate) insync: u64,
    pub(crate) peers: Vec<Member>,
    /// Of the peers that are connected.
    pub(crate) windows: Vec<PeerWindow>,
}

/// What is on its way to a peer: sent, and not confirmed.
#[derive(Clone, Debug)]
pub(crate) struct PeerWindow {
    pub(crate) peer: String,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// What a member of a cluster knows of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mine {
    pub(crate) lag_ops: Option<u64>,
    /// Of a full sync that it receives: shards done, and all.
    pub(crate) sync: Option<(u32, u32)>,
    pub(crate) lost_data: u64,
}

/// `/status`, whole. Whether it is promotable stands outside of the cluster: a node that is alone is, too.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Status {
    /// By what this member alone knows; `understudy health` asks all.
    pub(crate) health: HealthOf,
    pub(crate) node: String,
    pub(crate) version: String,
    pub(crate) role: String,
    pub(crate) ready: bool,
    pub(crate) not_ready: Option<String>,
    pub(crate) promotable: bool,
    pub(crate) not_promotable: Option<String>,
    pub(crate) position: Place,
    pub(crate) committed_seq: u64,
    /// What is shown is committed; see the contract.
    pub(crate) committed: bool,
    pub(crate) uptime_ms: u64,
    pub(crate) objects: u64,
    pub(crate) objects_unfinished: u64,
    pub(crate) segments: u64,
    pub(crate) clients: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) used_bytes: u64,
    pub(crate) retired_bytes: u64,
    pub(crate) retired_extents: u64,
    pub(crate) full: Vec<String>,
    pub(crate) tenants: u64,
    pub(crate) tasks: u64,
    pub(crate) evicted_total: u64,
    pub(crate) tail_first_seq: u64,
    pub(crate) tail_entries: u64,
    pub(crate) tail_bytes: u64,
    /// In hex.
    pub(crate) digest: String,
    pub(crate) lock_held_us_max: u64,
    pub(crate) memory_resident_bytes: u64,
    pub(crate) verification: Verification,
    pub(crate) settings: Vec<Setting>,
    pub(crate) cluster: Option<Cluster>,
}

/// What all members go by.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// Nothing: this member does not know it yet.
    pub(crate) value: Option<String>,
    pub(crate) started_with: String,
    /// Kept for what was promised before.
    pub(crate) still_kept: Option<String>,
}

/// Whether this member is what its log says.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verification {
    pub(crate) condition: String,
    pub(crate) what: String,
    pub(crate) verified: Option<u64>,
    pub(crate) compared: u64,
    pub(crate) differed: u64,
    pub(crate) samples: u64,
    pub(crate) checksum_mismatches: u64,
    pub(crate) keys_not_found: u64,
    pub(crate) extra_keys: u64,
    pub(crate) repaired: u64,
    pub(crate) full_syncs: u64,
    pub(crate) rotten: u64,
    pub(crate) alarms: u64,
    pub(crate) scrub_cycles: u64,
    pub(crate) scrubbed_shards: u64,
    pub(crate) scrub_skipped: u64,
    pub(crate) findings: Vec<Finding>,
}

/// The verdict of [`crate::health`].
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct HealthOf {
    pub(crate) verdict: &'static str,
    #[serde(skip)]
    pub(crate) title: &'static str,
    pub(crate) reasons: Vec<Reason>,
    /// What is no reason for a worse verdict, and should be known.
    pub(crate) notes: Vec<Reason>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) wall_ms: u64,
    pub(crate) what: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cluster {
    /// In hex; empty as long as no record was seen.
    pub(crate) id: String,
    pub(crate) epoch: u64,
    pub(crate) primary: String,
    /// Of the newest record that this member knows of; 0: it has seen none.
    pub(crate) version: u64,
    pub(crate) revision: u64,
    /// What the coordinator has lost, for all that this member knows.
    pub(crate) lost_data: Option<String>,
    pub(crate) tenure_left_ms: Option<u64>,
    pub(crate) takeovers: u64,
    pub(crate) full_syncs: u64,
    pub(crate) coordinator_errors: u64,
    pub(crate) coordinator_trouble: Option<String>,
    pub(crate) has_primary: bool,
    /// The epoch in which the cluster began with no objects.
    pub(crate) born: u64,
    pub(crate) members: Vec<Member>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) role: String,
    pub(crate) in_sync: bool,
    pub(crate) state: String,
    pub(crate) received: Option<u64>,
    pub(crate) applied: Option<u64>,
    pub(crate) lag_ops: Option<u64>,
    pub(crate) lag_ms: Option<u64>,
    pub(crate) apply_lag_ops: Option<u64>,
    pub(crate) sync_shards_done: Option<u32>,
    pub(crate) sync_shards: Option<u32>,
    pub(crate) verified: Option<u64>,
    pub(crate) sound: bool,
}

impl Facts {
    /// Takes locks of the state: for threads that may wait.
    pub(crate) fn of(node: &Node) -> Facts {
        let status = status(admin::look(node), probes::ready(node), probes::promotable(node));
        let pair = node.pair();
        let myself = status.cluster.iter().flat_map(|cluster| &cluster.members).find(|member| member.name == node.name);
        Facts {
            role: Role::of(&node.gate().standing()),
            appended: node.tail().appended().get(),
            limits: limits(node),
            reign: pair.as_deref().and_then(|pair| reign(pair, &node.name, &status)),
            mine: pair.as_deref().map(|pair| Mine {
                lag_ops: myself.and_then(|member| member.lag_ops),
                sync: myself.and_then(|member| member.sync_shards_done.zip(member.sync_shards)),
                lost_data: pair.seat.counts.lost_data.load(Ordering::Relaxed),
            }),
            rate_errors: pair.as_deref().map(rate_errors).unwrap_or_default(),
            requests: node.requests.counted(),
            log: logging::counts(),
            status,
        }
    }
}

fn limits(node: &Node) -> Limits {
    let config = node.config();
    Limits {
        tail_entries_max: config.tail.tail_entries as u64,
        tail_bytes_max: config.tail.tail_bytes as u64,
        window_entries_max: config.cluster.window_entries,
        window_bytes_max: config.cluster.window_bytes as u64,
        long_calls: node.long_calls.taken() as u64,
        long_calls_max: config.serving.long_calls_max as u64,
        request_bytes: node.request_bytes() as u64,
        request_bytes_max: config.serving.request_bytes_max as u64,
        unread_bytes: node.unread_bytes() as u64,
        unread_bytes_max: config.serving.unread_bytes_max as u64,
        ports: node.ports.all().map(Links::counts).into(),
    }
}

fn rate_errors(pair: &Pair) -> Vec<(String, i64)> {
    let members = pair.members();
    let name = |who| members.iter().find(|info| info.who == who).map(|info| info.name.clone());
    pair.seat.look(|member, _| member.rate_errors().filter_map(|(who, error)| Some((name(who)?, error.ppm))).collect())
}

fn reign(pair: &Pair, me: &str, status: &Status) -> Option<Reign> {
    let window = |peer: &Peer| PeerWindow {
        peer: peer.name.clone(),
        entries: peer.sent.saturating_sub(peer.received),
        bytes: peer.in_flight_bytes() as u64,
    };
    let (insync, windows) = pair.seat.look(|member, _| {
        let record = &member.election().record()?.record;
        Some((record.insync.len() as u64, member.peers().map(window).collect()))
    })?;
    let members = status.cluster.iter().flat_map(|cluster| &cluster.members);
    Some(Reign { insync, peers: members.filter(|member| member.name != me).cloned().collect(), windows })
}

/// Whatever is added to the contract has to be decided about here.
fn status(told: StatusResponse, ready: Verdict, promotable: Verdict) -> Status {
    let StatusResponse {
        node,
        version,
        role,
        applied,
        committed_seq,
        committed,
        uptime_ms,
        objects,
        objects_unfinished,
        segments,
        clients,
        capacity_bytes,
        used_bytes,
        retired_bytes,
        retired_extents,
        full,
        tenants,
        tasks,
        evicted_total,
        tail_first_seq,
        tail_entries,
        tail_bytes,
        digest,
        lock_held_us_max,
        memory_resident_bytes,
        cluster,
        verification,
        settings,
    } = told;
    let Position { epoch, seq } = applied.unwrap_or_default();
    let cluster = cluster.map(self::cluster);
    let verification = verification.map(self::verification).unwrap_or_default();
    let settings: Vec<Setting> = settings.into_iter().map(setting).collect();
    let own = Own { full: full.clone(), verification: &verification, settings: &settings };
    let health = health(&node, &role, own, cluster.as_ref(), &promotable);
    Status {
        health,
        node,
        version,
        role,
        ready: ready.is_ok(),
        not_ready: ready.err(),
        promotable: promotable.is_ok(),
        not_promotable: promotable.err(),
        position: Place { epoch, seq },
        committed_seq,
        committed,
        uptime_ms,
        objects,
        objects_unfinished,
        segments,
        clients,
        capacity_bytes,
        used_bytes,
        retired_bytes,
        retired_extents,
        full,
        tenants,
        tasks,
        evicted_total,
        tail_first_seq,
        tail_entries,
        tail_bytes,
        digest: hex(&digest),
        lock_held_us_max,
        memory_resident_bytes,
        cluster,
        verification,
        settings,
    }
}

impl Setting {
    /// This member was started with another value than the cluster goes by.
    pub(crate) fn differs(&self) -> bool {
        self.value.as_ref().is_some_and(|value| *value != self.started_with)
    }

    /// The same in words.
    pub(crate) fn difference(&self) -> Option<String> {
        let Setting { name, value, started_with, .. } = self;
        value.as_ref().filter(|_| self.differs()).map(|value| health::difference(name, value, started_with))
    }
}

fn setting(told: v1::Setting) -> Setting {
    let v1::Setting { name, value, started_with, owed } = told;
    let value = Some(value).filter(|value| !value.is_empty());
    Setting { name, value, started_with, still_kept: Some(owed).filter(|owed| !owed.is_empty()) }
}

/// What a member says of itself alone.
struct Own<'a> {
    full: Vec<String>,
    verification: &'a Verification,
    settings: &'a [Setting],
}

/// The verdict by the word of this member, and by what it hears of its primary.
fn health(
    node: &str,
    role: &str,
    Own { full, verification, settings }: Own<'_>,
    cluster: Option<&Cluster>,
    promotable: &Verdict,
) -> HealthOf {
    let leads = role == "primary";
    let has_primary = cluster.is_none_or(|cluster| cluster.has_primary);
    let unsound = match verification.condition.as_str() {
        "sound" | "" => String::new(),
        condition => format!("{condition}: {}", verification.what),
    };
    let peer = |member: &Member| {
        let Member { name, in_sync, state, sound, .. } = member.clone();
        health::Peer { name, in_sync, state, sound }
    };
    let own = cluster.map(|cluster| InCluster {
        id: cluster.id.clone(),
        epoch: cluster.epoch,
        born: cluster.born,
        primary: cluster.primary.clone(),
        lost_data: cluster.lost_data.clone(),
        coordinator_trouble: cluster.coordinator_trouble.clone().unwrap_or_default(),
        not_promotable: promotable.as_ref().err().cloned().unwrap_or_default(),
        members: cluster.members.iter().map(peer).collect(),
    });
    let started_otherwise = settings.iter().filter_map(Setting::difference).collect();
    let said = Said { leads, is_mute: leads && !has_primary, cluster: own, full, unsound, started_otherwise };
    let mut asked = vec![Asked::said(node, said)];
    if let Some(cluster) = cluster.filter(|_| !leads && has_primary) {
        // It was heard, and was not asked.
        asked.push(Asked::said(&cluster.primary, Said { leads: true, ..Said::default() }));
    }
    let Health { verdict, reasons, notes } = judge(&asked);
    HealthOf { verdict: verdict.name(), title: verdict.title(), reasons, notes }
}

fn verification(told: VerificationStatus) -> Verification {
    let VerificationStatus {
        condition,
        what,
        verified,
        compared,
        differed,
        samples,
        checksum_mismatches,
        keys_not_found,
        extra_keys,
        repaired,
        full_syncs,
        rotten,
        alarms,
        scrub_cycles,
        scrubbed_shards,
        scrub_skipped,
        findings,
    } = told;
    let findings = findings.into_iter().map(|v1::Finding { wall_ms, what }| Finding { wall_ms, what }).collect();
    Verification {
        condition,
        what,
        verified,
        compared,
        differed,
        samples,
        checksum_mismatches,
        keys_not_found,
        extra_keys,
        repaired,
        full_syncs,
        rotten,
        alarms,
        scrub_cycles,
        scrubbed_shards,
        scrub_skipped,
        findings,
    }
}

fn cluster(told: ClusterStatus) -> Cluster {
    let ClusterStatus {
        cluster_id,
        epoch,
        primary,
        revision,
        tenure_left_ms,
        promotable: _,
        not_promotable: _,
        members,
        takeovers,
        full_syncs,
        coordinator_errors,
        lost_data,
        version,
        coordinator_trouble,
        has_primary,
        born,
    } = told;
    let lost_data = Some(lost_data).filter(|lost| !lost.is_empty());
    let mut members: Vec<Member> = members.into_iter().map(member).collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let id = hex(&cluster_id);
    Cluster {
        id,
        epoch,
        primary,
        version,
        revision,
        tenure_left_ms,
        takeovers,
        full_syncs,
        coordinator_errors,
        lost_data,
        coordinator_trouble: Some(coordinator_trouble).filter(|why| !why.is_empty()),
        has_primary,
        born,
        members,
    }
}

fn member(told: MemberStatus) -> Member {
    let MemberStatus {
        name,
        address,
        role,
        in_sync,
        state,
        received,
        applied,
        lag_ops,
        lag_ms,
        sync_shards_done,
        sync_shards,
        verified,
        unsound,
    } = told;
    let sync = Some((sync_shards_done, sync_shards)).filter(|(_, shards)| *shards > 0);
    Member {
        name,
        address,
        role,
        in_sync,
        state,
        received,
        applied,
        lag_ops,
        lag_ms,
        apply_lag_ops: received.zip(applied).map(|(received, applied)| received.saturating_sub(applied)),
        sync_shards_done: sync.map(|(done, _)| done),
        sync_shards: sync.map(|(_, shards)| shards),
        verified,
        sound: !unsound,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
