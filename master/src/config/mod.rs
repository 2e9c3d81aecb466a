//! All settings: a struct for each component, each setting with its unit in its name and its
//! default beside it.
//!
//! Values come from the file of `--config`, then from `UNDERSTUDY_*` variables, then from flags; a
//! later source wins. `load` reads them, `validate` refuses values that do not fit together and
//! names the rule, `pages` writes the reference page and the sample file.
//!
//! Invariant: a [`Config`] that came from [`Flags::load`] is valid.
//!
//! Deliberately absent: bounds of the wire contract. They are in `proto::limits` and cannot be set.

mod address;
mod component;
mod differences;
mod load;
mod pages;
mod validate;

use std::net::{Ipv4Addr, SocketAddr};

pub use address::{check_host_port, check_url};
use component::component;

pub use load::{ConfigError, CoordinatorFlags, Flags, read_password, refuse_secrets};
pub use pages::{page_markdown, sample_toml};
pub use validate::check_name;

/// How the segments of a put are chosen, after those that the client prefers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementStrategy {
    Random,
    FreeRatioFirst,
}

/// The format of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    Text,
    Json,
}

component! {
    /// Serving
    Serving, ServingFlags {
        /// Address and port on which gRPC is served. Port 0: any free port, which is printed at the
        /// start.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)), "UNDERSTUDY_LISTEN";
        /// Name of this member in all that it says, another one for each of a cluster. Empty: the
        /// name of the host.
        node_name: String = String::new(), "UNDERSTUDY_NODE_NAME";
        /// Threads that serve calls. 0: one for each CPU.
        worker_threads: usize = 0, "UNDERSTUDY_WORKER_THREADS";
        /// Calls that may run for longer than a millisecond (removals by pattern, lists, very large
        /// batches) at the same time; more are refused as OVERLOADED. One connection may have half
        /// of them, one address three quarters.
        long_calls_max: usize = 16, "UNDERSTUDY_LONG_CALLS_MAX";
        /// Connections at the same time. A new one takes the place of the oldest one that has said
        /// nothing yet; where there is none, its calls are refused as OVERLOADED and it is closed.
        /// Fewer, with a warning, where the host allows the process fewer open files.
        connections_max: usize = 4096, "UNDERSTUDY_CONNECTIONS_MAX";
        /// Connections of one address (one /64 network with IPv6) at the same time, likewise.
        /// Clients behind one proxy share its address.
        connections_per_address_max: usize = 1024, "UNDERSTUDY_CONNECTIONS_PER_ADDRESS_MAX";
        /// Milliseconds that a new connection has to say that it speaks HTTP/2; then it is closed.
        first_bytes_ms_max: u64 = 5000, "UNDERSTUDY_FIRST_BYTES_MS_MAX";
        /// Calls and sessions of one connection at the same time; a client waits with more.
        connection_streams_max: u32 = 1024, "UNDERSTUDY_CONNECTION_STREAMS_MAX";
        /// Bytes that a client may send on one call or session before they are read.
        stream_window_bytes: u32 = 1 << 20, "UNDERSTUDY_STREAM_WINDOW_BYTES";
        /// Bytes that a client may send on one connection before they are read.
        connection_window_bytes: u32 = 4 << 20, "UNDERSTUDY_CONNECTION_WINDOW_BYTES";
        /// Bytes of all requests together that have arrived in part, or are large and being worked
        /// on; more are refused as OVERLOADED.
        request_bytes_max: usize = 512 << 20, "UNDERSTUDY_REQUEST_BYTES_MAX";
        /// Bytes of the requests of one connection among these; more are refused likewise.
        connection_request_bytes_max: usize = 64 << 20, "UNDERSTUDY_CONNECTION_REQUEST_BYTES_MAX";
        /// Milliseconds from the first byte of a request to its last; after that it is refused, and
        /// a session ends.
        request_ms_max: u64 = 30_000, "UNDERSTUDY_REQUEST_MS_MAX";
        /// Bytes of all answers together that their clients have not read yet. Where there is no
        /// room for another one, the connections that do not read are closed, or else the one that
        /// holds the most.
        unread_bytes_max: usize = 512 << 20, "UNDERSTUDY_UNREAD_BYTES_MAX";
        /// Bytes of the unread answers of one connection, or of one answer alone; more are refused
        /// as OVERLOADED, or as OUTCOME_UNKNOWN where the call has changed something.
        connection_unread_bytes_max: usize = 64 << 20, "UNDERSTUDY_CONNECTION_UNREAD_BYTES_MAX";
        /// Milliseconds for which a client may read nothing of an answer; then its connection is
        /// closed.
        unread_ms_max: u64 = 30_000, "UNDERSTUDY_UNREAD_MS_MAX";
        /// Milliseconds that one call may spend on matching keys with its pattern. A list ends its
        /// page then, a removal is refused.
        pattern_ms_max: u64 = 10_000, "UNDERSTUDY_PATTERN_MS_MAX";
        /// Answers of one session that wait for their commit; at the bound the session is not read
        /// any further.
        session_answers_max: usize = 4096, "UNDERSTUDY_SESSION_ANSWERS_MAX";
        /// Bytes of those answers, likewise.
        session_answer_bytes_max: usize = 8 << 20, "UNDERSTUDY_SESSION_ANSWER_BYTES_MAX";
        /// Milliseconds of silence on a connection after which the client is asked whether it is
        /// still there.
        keepalive_interval_ms: u64 = 30_000, "UNDERSTUDY_KEEPALIVE_INTERVAL_MS";
        /// Milliseconds that it has to answer before the connection is closed.
        keepalive_timeout_ms: u64 = 10_000, "UNDERSTUDY_KEEPALIVE_TIMEOUT_MS";
        /// Milliseconds after a stop was asked for in which new calls are still refused with a
        /// clear answer; then connections are closed.
        stop_linger_ms: u64 = 250, "UNDERSTUDY_STOP_LINGER_MS";
        /// Milliseconds after which a stop no longer waits for calls under way.
        stop_timeout_ms: u64 = 4000, "UNDERSTUDY_STOP_TIMEOUT_MS";
    }
}

component! {
    /// Admin HTTP
    AdminHttp, AdminHttpFlags {
        /// Address and port for `/metrics`, `/livez`, `/readyz`, `/promotable`, `/status` and a
        /// page for people. Port 0: any free port, which is printed at the start. Empty: none of
        /// that is served. Any process that can connect can read all of it.
        admin_listen: String = String::new(), "UNDERSTUDY_ADMIN_LISTEN";
    }
}

component! {
    /// Log of this process
    Logging, LoggingFlags {
        /// What is logged: error, warn, info, debug or trace, also by module (`info,master=debug`).
        log_level: String = "info".to_owned(), "UNDERSTUDY_LOG_LEVEL";
        /// Lines for people (text) or for programs (json).
        log_format: LogFormat = LogFormat::Text, "UNDERSTUDY_LOG_FORMAT";
    }
}

/// What happens to a cluster once every member that held anything is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum UncleanStart {
    /// Stay down.
    Wait,
    /// Begin with nothing.
    Cold,
}

/// Members of a directory check several times within this whether they can be seen.
const FILE_SEEN_AGAIN_MS: u64 = 500;

/// Whether a member may found a cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FoundCluster {
    /// If no present member holds anything.
    Auto,
    /// Not this member.
    Never,
}

component! {
    /// Cluster: primary and standbys
    Cluster, ClusterFlags {
        /// Who keeps the record of roles: `file:DIR` (members on one host),
        /// `etcd:http://HOST:PORT,...`, or empty: this node is alone.
        coordinator: String = String::new(), "UNDERSTUDY_COORDINATOR";
        /// Which cluster, where a coordinator serves several.
        cluster_name: String = "default".to_owned(), "UNDERSTUDY_CLUSTER_NAME";
        /// `host:port` at which clients find this member. Empty: the address that it listens on.
        advertise: String = String::new(), "UNDERSTUDY_ADVERTISE";
        /// Address and port for other members. 0.0.0.0 stands for the address of `listen`; port 0:
        /// any free port, which others learn from the coordinator.
        peer_listen: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0), "UNDERSTUDY_PEER_LISTEN";
        /// `host:port` at which other members find this one. Empty: the address that it listens on
        /// for them.
        peer_advertise: String = String::new(), "UNDERSTUDY_PEER_ADVERTISE";
        /// Milliseconds that the coordinator has for one answer.
        coordinator_timeout_ms: u64 = 1000, "UNDERSTUDY_COORDINATOR_TIMEOUT_MS";
        /// User at etcd. Empty: none.
        etcd_user: String = String::new(), "UNDERSTUDY_ETCD_USER";
        /// Its password, in the settings' file or the environment. On the command line it is
        /// refused: other users of the host could read it there.
        etcd_password: String = String::new(), "UNDERSTUDY_ETCD_PASSWORD", (hide = true);
        /// File whose first line is that password. Empty: none.
        etcd_password_file: String = String::new(), "UNDERSTUDY_ETCD_PASSWORD_FILE";
        /// File with the certificates (PEM) that etcd's is checked against. Empty: no TLS.
        etcd_ca_file: String = String::new(), "UNDERSTUDY_ETCD_CA_FILE";
        /// File with this member's own certificate (PEM) for etcd. Empty: none.
        etcd_cert_file: String = String::new(), "UNDERSTUDY_ETCD_CERT_FILE";
        /// File with its key (PEM).
        etcd_key_file: String = String::new(), "UNDERSTUDY_ETCD_KEY_FILE";
        /// Seconds after which etcd forgets a member that has fallen silent.
        etcd_lease_ttl_s: u64 = 5, "UNDERSTUDY_ETCD_LEASE_TTL_S";
        /// What happens once every member that held anything has provably ended: `cold` (another
        /// one begins with nothing) or `wait` (until an operator decides).
        unclean: UncleanStart = UncleanStart::Cold, "UNDERSTUDY_UNCLEAN";
        /// Whether this member may begin a cluster where the coordinator has no record: `auto`
        /// (once no member that was present held anything for `found_after_ms`) or `never` (the
        /// coordinator has lost its data: the operator is asked). `never` is for members that are
        /// always the same ones, after the first start.
        found: FoundCluster = FoundCluster::Auto, "UNDERSTUDY_FOUND";
        /// Milliseconds for which a member looks for others that hold something, before it begins a
        /// cluster, or a later epoch with nothing. A member that lives, and was lost from sight
        /// with the coordinator's data, needs some time to be seen again. 0: `etcd_lease_ttl_s`, or
        /// 500 ms with `file:`.
        found_after_ms: u64 = 0, "UNDERSTUDY_FOUND_AFTER_MS";
        /// Milliseconds without a primary after which, under `cold` and with etcd, another member
        /// begins with nothing also without proof that the members of the set have ended. In return
        /// a primary makes way when etcd has not confirmed it for `etcd_lease_ttl_s`, and no member
        /// serves while etcd is away. 0: on proof only, and the members go on without etcd.
        cold_after_ms: u64 = 0, "UNDERSTUDY_COLD_AFTER_MS";
        /// Run this member under a tiny parent that tells the others when its process has ended, so
        /// that they need not wait for the tenure. With `file:` as the coordinator the others see
        /// that by themselves.
        guarded: bool = false, "UNDERSTUDY_GUARDED", (num_args = 0..=1, require_equals = true, default_missing_value = "true");
        /// Milliseconds for which the primary may answer after it sent the newest message that each
        /// in-sync peer has answered. After a failure without proof of death, a takeover waits
        /// about this long.
        tenure_ms: u64 = 500, "UNDERSTUDY_TENURE_MS";
        /// Milliseconds between two messages of the primary to each peer, at most.
        beacon_ms: u64 = 50, "UNDERSTUDY_BEACON_MS";
        /// Milliseconds of silence after which a peer is to leave the in-sync set.
        drop_after_ms: u64 = 300, "UNDERSTUDY_DROP_AFTER_MS";
        /// Milliseconds that a peer has to come back after its connection broke, before it is to
        /// leave the in-sync set.
        reconnect_within_ms: u64 = 100, "UNDERSTUDY_RECONNECT_WITHIN_MS";
        /// Milliseconds of silence after which a standby suspects its primary.
        silence_ms: u64 = 200, "UNDERSTUDY_SILENCE_MS";
        /// Milliseconds between two questions to a coordinator or a peer that has not helped.
        ask_again_ms: u64 = 50, "UNDERSTUDY_ASK_AGAIN_MS";
        /// Milliseconds after which the primary looks whether the coordinator still has the record
        /// that it leads under.
        look_every_ms: u64 = 1000, "UNDERSTUDY_LOOK_EVERY_MS";
        /// Entries that a peer may not have received, and entries that it may still have to apply,
        /// when it is to join the in-sync set.
        join_lag_ops: u64 = 1000, "UNDERSTUDY_JOIN_LAG_OPS";
        /// Entries by which a peer may lag before it leaves the in-sync set.
        lag_ops_max: u64 = 100_000, "UNDERSTUDY_LAG_OPS_MAX";
        /// Milliseconds for which it may lack an entry before it leaves the in-sync set.
        lag_ms_max: u64 = 1000, "UNDERSTUDY_LAG_MS_MAX";
        /// Milliseconds for which a peer that was too slow is not let in again.
        slow_pause_ms: u64 = 2000, "UNDERSTUDY_SLOW_PAUSE_MS";
        /// Milliseconds for which a primary that has just begun to lead, or has just tried to give
        /// its place away, refuses `understudy transfer` as OVERLOADED: each transfer is a pause
        /// for all clients. A member that is stopped hands over at once. 0: none.
        transfer_pause_ms: u64 = 2000, "UNDERSTUDY_TRANSFER_PAUSE_MS";
        /// Milliseconds that a new primary waits before it serves. No promise rests on it; it is
        /// for operators who want the rule of one lease.
        safety_window_ms: u64 = 0, "UNDERSTUDY_SAFETY_WINDOW_MS";
        /// Milliseconds that a read may wait on a standby for the position that it asks for. After
        /// that it is refused.
        standby_read_wait_ms: u64 = 100, "UNDERSTUDY_STANDBY_READ_WAIT_MS";
        /// Entries of one message to a peer.
        batch_entries: usize = 2048, "UNDERSTUDY_BATCH_ENTRIES";
        /// Bytes of one message to a peer, unless a single entry is larger.
        batch_bytes: usize = 1 << 20, "UNDERSTUDY_BATCH_BYTES";
        /// Entries on their way to a peer that it has not confirmed, at most.
        window_entries: u64 = 8192, "UNDERSTUDY_WINDOW_ENTRIES";
        /// Bytes on their way to a peer that it has not confirmed, at most, and one message more.
        /// Also of a full sync.
        window_bytes: usize = 16 << 20, "UNDERSTUDY_WINDOW_BYTES";
        /// Bytes per second of a full sync. 0: as fast as it goes.
        full_sync_bytes_per_s: u64 = 0, "UNDERSTUDY_FULL_SYNC_BYTES_PER_S";
    }
}

component! {
    /// Tail of the op log, in memory
    TailSettings, TailFlags {
        /// Entries kept at most.
        tail_entries: usize = 1_000_000, "UNDERSTUDY_TAIL_ENTRIES";
        /// Bytes kept at most, with 112 bytes for each entry counted in.
        tail_bytes: usize = 256 << 20, "UNDERSTUDY_TAIL_BYTES";
        /// Calls that wait for their commit at the same time.
        tail_waiters: usize = 1_000_000, "UNDERSTUDY_TAIL_WAITERS";
    }
}

component! {
    /// Objects, segments, clients
    StateSettings, StateFlags {
        /// How segments are chosen, after those that the caller prefers: `random`, or
        /// `free-ratio-first` (of a few at random, the emptiest).
        placement_strategy: PlacementStrategy = PlacementStrategy::Random, "UNDERSTUDY_PLACEMENT_STRATEGY";
        /// Seed of that choice. 0: another one at each start.
        placement_seed: u64 = 0, "UNDERSTUDY_PLACEMENT_SEED";
        /// Milliseconds of silence after which a client is expired: its segments and unfinished
        /// puts go.
        client_ttl_ms: u64 = 10_000, "UNDERSTUDY_CLIENT_TTL_MS";
        /// Milliseconds for which a lookup or an existence check keeps an object where it is.
        object_lease_ms: u64 = 10_000, "UNDERSTUDY_OBJECT_LEASE_MS";
        /// Milliseconds that a soft pin lasts where the caller does not say.
        soft_pin_ttl_ms: u32 = 30 * 60_000, "UNDERSTUDY_SOFT_PIN_TTL_MS";
        /// Milliseconds after which a put or a transfer that has not ended is discarded.
        put_start_timeout_ms: u64 = 30_000, "UNDERSTUDY_PUT_START_TIMEOUT_MS";
        /// Milliseconds after a discard before the space is used again: its writer may still be
        /// writing.
        put_release_timeout_ms: u64 = 10 * 60_000, "UNDERSTUDY_PUT_RELEASE_TIMEOUT_MS";
        /// Milliseconds after which a task that a client has fetched and not completed waits for a
        /// client again.
        task_timeout_ms: u64 = 5 * 60_000, "UNDERSTUDY_TASK_TIMEOUT_MS";
        /// Share of the memory at which eviction starts.
        eviction_high_watermark: f64 = 0.90, "UNDERSTUDY_EVICTION_HIGH_WATERMARK";
        /// Share of the memory that an eviction makes free below the watermark.
        eviction_ratio: f64 = 0.05, "UNDERSTUDY_EVICTION_RATIO";
        /// Answers kept for one client, in case it asks again.
        client_answers_max: usize = 4096, "UNDERSTUDY_CLIENT_ANSWERS_MAX";
        /// Bytes of those answers; the newest is kept whatever its size. A new request of a client
        /// that says which answers it has is refused as OVERLOADED rather than evicting an answer
        /// the client may still need.
        client_answer_bytes_max: usize = 64 << 20, "UNDERSTUDY_CLIENT_ANSWER_BYTES_MAX";
        /// Bytes of the answers kept for all clients together; beyond it those of the client with
        /// the most go first.
        answer_bytes_total_max: usize = 256 << 20, "UNDERSTUDY_ANSWER_BYTES_TOTAL_MAX";
        /// Objects at most.
        objects_max: u64 = 100_000_000, "UNDERSTUDY_OBJECTS_MAX";
        /// Pieces of space that were dropped and wait for `put_release_timeout_ms` or
        /// `object_lease_ms` before they are used again, at most (32 bytes of memory each). At the
        /// bound puts, copies and moves are refused as OVERLOADED until some are free; removals are
        /// not.
        retired_extents_max: u64 = 4_000_000, "UNDERSTUDY_RETIRED_EXTENTS_MAX";
        /// Pieces of space at most that are of puts, copies and moves which clients of one address
        /// have begun: what they may be writing, and what they gave up and still waits for
        /// `put_release_timeout_ms`; as far as this primary has seen them begun. Never more than
        /// half of `retired_extents_max`. At the bound (looked at once for 256 items) puts, copies
        /// and moves of that address are refused as OVERLOADED.
        extents_per_address_max: u64 = 2_000_000, "UNDERSTUDY_EXTENTS_PER_ADDRESS_MAX";
        /// Clients at most.
        clients_max: usize = 65_536, "UNDERSTUDY_CLIENTS_MAX";
        /// Clients of one address (one /64 network with IPv6) at most, as far as this primary has
        /// heard them itself. Clients behind one proxy share its address.
        clients_per_address_max: usize = 4096, "UNDERSTUDY_CLIENTS_PER_ADDRESS_MAX";
        /// Puts, copies and moves of one client that are under way, at most.
        client_puts_max: usize = 100_000, "UNDERSTUDY_CLIENT_PUTS_MAX";
        /// Segments at most: mounted ones, and those that are going.
        segments_max: usize = 65_536, "UNDERSTUDY_SEGMENTS_MAX";
        /// Segments at most that were mounted from one address, as far as this primary has seen
        /// them mounted.
        segments_per_address_max: usize = 16_384, "UNDERSTUDY_SEGMENTS_PER_ADDRESS_MAX";
        /// Segments of one client at most.
        client_segments_max: usize = 1024, "UNDERSTUDY_CLIENT_SEGMENTS_MAX";
        /// Bytes of all segments of one client together. Those of all clients have room in 16 EiB.
        client_segment_bytes_max: u64 = 1 << 50, "UNDERSTUDY_CLIENT_SEGMENT_BYTES_MAX";
        /// Tenants at most, the default one counted in. At the bound an empty one without a quota
        /// makes room for a new one.
        tenants_max: usize = 4096, "UNDERSTUDY_TENANTS_MAX";
        /// Tenants at most that clients of one address have made and that are not empty, as far as
        /// this primary has seen them made.
        tenants_per_address_max: usize = 1024, "UNDERSTUDY_TENANTS_PER_ADDRESS_MAX";
        /// Tasks at most.
        tasks_max: usize = 100_000, "UNDERSTUDY_TASKS_MAX";
        /// Finished tasks among them that can still be listed.
        finished_tasks_max: usize = 10_000, "UNDERSTUDY_FINISHED_TASKS_MAX";
        /// Clients that are gone and whose last request number is still remembered, at most.
        tombstones_max: usize = 65_536, "UNDERSTUDY_TOMBSTONES_MAX";
    }
}

component! {
    /// What the node does by itself
    Upkeep, UpkeepFlags {
        /// Milliseconds between two rounds of expiry, unmounts and eviction.
        upkeep_interval_ms: u64 = 50, "UNDERSTUDY_UPKEEP_INTERVAL_MS";
        /// Milliseconds that a round may be late. Beyond that this process stood still, and every
        /// time-out is extended by the rest.
        stall_ms: u64 = 500, "UNDERSTUDY_STALL_MS";
        /// Share of one CPU that bulk work takes while clients call: eviction, expiry, unmounts,
        /// lists of keys, removals by pattern and of all, the scrub. Without calls, and where puts
        /// wait for space, it takes all it needs.
        background_cpu_ratio: f64 = 0.25, "UNDERSTUDY_BACKGROUND_CPU_RATIO";
    }
}

component! {
    /// Verification: whether a standby is the same as its primary
    Verification, VerificationFlags {
        /// Milliseconds between two comparisons of everything, by digests, at the same seq. 0:
        /// none.
        digest_interval_ms: u64 = 1000, "UNDERSTUDY_DIGEST_INTERVAL_MS";
        /// Milliseconds between two rounds in which a standby has samples of its records compared.
        /// 0: none.
        verify_interval_ms: u64 = 30_000, "UNDERSTUDY_VERIFY_INTERVAL_MS";
        /// Share of the shards that one round samples: all have had their turn after 1 /
        /// `sample_ratio` rounds.
        sample_ratio: f64 = 0.1, "UNDERSTUDY_SAMPLE_RATIO";
        /// Records of a shard in one sample, at most.
        entries_per_shard: usize = 100, "UNDERSTUDY_ENTRIES_PER_SHARD";
        /// Records that are repaired one by one; more that differ are a full sync.
        repair_max: usize = 10, "UNDERSTUDY_REPAIR_MAX";
        /// Entries by which a standby may lag for a sample of it to be compared.
        seq_gap_max: u64 = 8192, "UNDERSTUDY_SEQ_GAP_MAX";
        /// Milliseconds in which every member looks at all of its own records once, to find what
        /// has changed without an entry. 0: never.
        scrub_cycle_ms: u64 = 300_000, "UNDERSTUDY_SCRUB_CYCLE_MS";
    }
}

/// All settings of a node.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Config {
    pub serving: Serving,
    pub admin: AdminHttp,
    pub cluster: Cluster,
    pub logging: Logging,
    pub tail: TailSettings,
    pub state: StateSettings,
    pub upkeep: Upkeep,
    pub verification: Verification,
}

impl AdminHttp {
    /// `None`: nothing is served, or the value is no address, which `validate` refuses.
    pub fn address(&self) -> Option<SocketAddr> {
        self.admin_listen.parse().ok()
    }
}

impl Cluster {
    /// Whether there are, or may be, other members.
    pub fn is_on(&self) -> bool {
        !self.coordinator.is_empty()
    }

    /// How long the coordinator may still show a member that has ended. `None`: it knows at once.
    pub(crate) fn lease_outlives_process(&self) -> Option<std::time::Duration> {
        self.coordinator.starts_with("etcd:").then(|| std::time::Duration::from_secs(self.etcd_lease_ttl_s))
    }

    pub(crate) fn founding(&self) -> election::Founding {
        let lease_ms = self.lease_outlives_process().map_or(FILE_SEEN_AGAIN_MS, |lease| lease.as_millis() as u64);
        let after_ms = if self.found_after_ms == 0 { lease_ms } else { self.found_after_ms };
        election::Founding { allowed: self.found == FoundCluster::Auto, after_ms }
    }

    pub(crate) fn unclean(&self) -> election::Unclean {
        let after_ms = self.cold_after_ms;
        match self.unclean {
            UncleanStart::Wait => election::Unclean::Wait,
            UncleanStart::Cold if after_ms == 0 => election::Unclean::Cold,
            UncleanStart::Cold => {
                election::Unclean::ColdAfter { after_ms, confirm_within_ms: self.etcd_lease_ttl_s.saturating_mul(1000) }
            }
        }
    }

    pub(crate) fn start(&self) -> election::Start {
        let pace = election::Pace { ask_again_ms: self.ask_again_ms, look_every_ms: self.look_every_ms };
        election::Start { timing: self.timing(), pace, unclean: self.unclean(), founding: self.founding() }
    }

    pub(crate) fn timing(&self) -> election::Timing {
        election::Timing {
            tenure_ms: self.tenure_ms,
            beacon_ms: self.beacon_ms,
            drop_after_ms: self.drop_after_ms,
            reconnect_within_ms: self.reconnect_within_ms,
            silence_ms: self.silence_ms,
            join_lag_ops: self.join_lag_ops,
            lag_ops_max: self.lag_ops_max,
            lag_ms_max: self.lag_ms_max,
            slow_pause_ms: self.slow_pause_ms,
        }
    }
}

impl Config {
    /// For a member whose state has this many shards.
    pub(crate) fn to_member(&self, shards: u32) -> member::Settings {
        let (cluster, verification) = (&self.cluster, &self.verification);
        member::Settings {
            ask_again_ms: cluster.ask_again_ms,
            transfer_pause_ms: cluster.transfer_pause_ms,
            window_entries: cluster.window_entries,
            window_bytes: cluster.window_bytes,
            batch: replication::BatchLimits { entries: cluster.batch_entries, bytes: cluster.batch_bytes },
            full_sync_bytes_per_s: cluster.full_sync_bytes_per_s,
            digest_interval_ms: verification.digest_interval_ms,
            verify_interval_ms: verification.verify_interval_ms,
            sample_ratio: verification.sample_ratio,
            sample_records: verification.entries_per_shard,
            repair_records_max: verification.repair_max,
            seq_gap_max: verification.seq_gap_max,
            shards,
            buckets: metadata::SHARD_BUCKETS as u32,
        }
    }
}

impl TailSettings {
    pub(crate) fn to_oplog(&self) -> oplog::TailConfig {
        let TailSettings { tail_entries, tail_bytes, tail_waiters } = *self;
        oplog::TailConfig { entries_max: tail_entries, bytes_max: tail_bytes, waiters_max: tail_waiters }
    }
}

impl StateSettings {
    /// Except the seed, if none is set, and the clock.
    pub(crate) fn to_metadata(&self) -> metadata::Config {
        metadata::Config {
            strategy: match self.placement_strategy {
                PlacementStrategy::Random => metadata::Strategy::Random,
                PlacementStrategy::FreeRatioFirst => metadata::Strategy::FreeRatioFirst,
            },
            settings: metadata::Settings {
                client_ttl_ms: self.client_ttl_ms,
                object_lease_ms: self.object_lease_ms,
                soft_pin_ttl_ms: self.soft_pin_ttl_ms,
                put_start_timeout_ms: self.put_start_timeout_ms,
                put_release_timeout_ms: self.put_release_timeout_ms,
                task_timeout_ms: self.task_timeout_ms,
                eviction_high_watermark: self.eviction_high_watermark,
                eviction_ratio: self.eviction_ratio,
                tombstones_max: self.tombstones_max,
            },
            answers_max: self.client_answers_max,
            answer_bytes_max: self.client_answer_bytes_max,
            answer_bytes_total_max: self.answer_bytes_total_max,
            objects_max: self.objects_max,
            retired_extents_max: self.retired_extents_max,
            extents_per_address_max: self.extents_per_address_max,
            clients_max: self.clients_max,
            clients_per_address_max: self.clients_per_address_max,
            client_puts_max: self.client_puts_max,
            segments_max: self.segments_max,
            segments_per_address_max: self.segments_per_address_max,
            client_segments_max: self.client_segments_max,
            client_segment_bytes_max: self.client_segment_bytes_max,
            tenants_max: self.tenants_max,
            tenants_per_address_max: self.tenants_per_address_max,
            tasks_max: self.tasks_max,
            finished_tasks_max: self.finished_tasks_max,
            seed: self.placement_seed,
            ..metadata::Config::default()
        }
    }
}
