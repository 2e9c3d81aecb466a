//! What a member says of itself, and its coordinator, from the settings.
//!
//! Invariant: two starts of one member never have the same incarnation: each counts from the moment
//! at which it began.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use coordinator::{Coordinator, EtcdCoordinator, EtcdOptions, EtcdTls, EtcdUser, FileCoordinator, MemberInfo, Secret};
use election::{Incarnation, MemberId};
use oplog::Appender;
use tokio::net::TcpListener;

use crate::clock;
use crate::config::{Cluster, ConfigError, read_password};
use crate::grpc::server;
use crate::node::Node;
pub use crate::pair::named;
use crate::pair::{Start, random};
use crate::process;

pub(crate) struct Membership {
    coordinator: Arc<dyn Coordinator>,
    listener: TcpListener,
    me: MemberInfo,
}

impl Membership {
    /// `listens`: where clients are served. `number`: the number of this incarnation, if a guard
    /// has chosen it.
    pub(crate) async fn open(node: &Node, listens: SocketAddr, number: Option<u64>) -> anyhow::Result<Membership> {
        let settings = &node.config.cluster;
        let coordinator = open_coordinator(settings).await?;
        let mut address = settings.peer_listen;
        if address.ip().is_unspecified() {
            address.set_ip(listens.ip());
        }
        let listener = server::bind(address).await?;
        let me = MemberInfo {
            who: Incarnation { number: number.unwrap_or_else(clock::wall_ns), ..incarnation(&node.name) },
            name: node.name.clone(),
            address: advertised("--advertise", &settings.advertise, listens)?,
            peer_address: advertised("--peer-advertise", &settings.peer_advertise, listener.local_addr()?)?,
            process: process::identity(),
            seen: None,
            secret: Some(Secret(random())),
        };
        Ok(Membership { coordinator, listener, me })
    }

    pub(crate) fn into_start(self, node: Arc<Node>, log: Appender) -> Start {
        let Membership { coordinator, listener, me } = self;
        Start { node, log, coordinator, listener, me }
    }
}

/// A new incarnation.
pub fn incarnation(name: &str) -> Incarnation {
    Incarnation { member: MemberId(xxhash_rust::xxh3::xxh3_64(name.as_bytes())), number: clock::wall_ns() }
}

fn advertised(flag: &str, said: &str, listens: SocketAddr) -> anyhow::Result<String> {
    if !said.is_empty() {
        return Ok(said.to_owned());
    }
    if listens.ip().is_unspecified() {
        anyhow::bail!(
            "{listens} means every address of this host: set {flag} to the address at which others find this member"
        );
    }
    Ok(listens.to_string())
}

fn etcd_options(settings: &Cluster, endpoints: &str) -> anyhow::Result<EtcdOptions> {
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    let Cluster { etcd_user, etcd_ca_file, etcd_cert_file, etcd_key_file, .. } = settings;
    let user = match etcd_user.is_empty() {
        true => None,
        false => Some(EtcdUser { name: etcd_user.clone(), password: password(settings)? }),
    };
    Ok(EtcdOptions {
        endpoints: endpoints.split(',').map(str::to_owned).collect(),
        cluster: settings.cluster_name.clone(),
        request_timeout_ms: settings.coordinator_timeout_ms,
        lease_ttl_s: u32::try_from(settings.etcd_lease_ttl_s).unwrap_or(u32::MAX),
        user,
        tls: file(etcd_ca_file).map(|ca_file| EtcdTls {
            ca_file,
            cert_file: file(etcd_cert_file),
            key_file: file(etcd_key_file),
            ..EtcdTls::default()
        }),
    })
}

fn password(settings: &Cluster) -> Result<String, ConfigError> {
    match settings.etcd_password_file.as_str() {
        "" => Ok(settings.etcd_password.clone()),
        path => read_password(Path::new(path)).map_err(|rule| ConfigError::Rule { field: "etcd_password_file", rule }),
    }
}

/// Only members create a directory: a command that finds none was given the wrong one.
pub async fn open_what_is_there(settings: &Cluster) -> anyhow::Result<Arc<dyn Coordinator>> {
    if let Some(dir) = file_dir(settings).filter(|dir| !dir.is_dir()) {
        anyhow::bail!(
            "{} is no directory: no member was ever started with it. Check --coordinator and --cluster-name",
            dir.display()
        );
    }
    open_coordinator(settings).await
}

fn file_dir(settings: &Cluster) -> Option<PathBuf> {
    let dir = settings.coordinator.strip_prefix("file:")?;
    Some(Path::new(dir).join(&settings.cluster_name))
}

pub(crate) async fn open_coordinator(settings: &Cluster) -> anyhow::Result<Arc<dyn Coordinator>> {
    let timeout = Duration::from_millis(settings.coordinator_timeout_ms);
    match settings.coordinator.split_once(':') {
        Some(("file", _)) => {
            let dir = file_dir(settings).expect("it begins with that");
            Ok(Arc::new(FileCoordinator::open(&dir, timeout)?))
        }
        Some(("etcd", endpoints)) => Ok(Arc::new(EtcdCoordinator::connect(etcd_options(settings, endpoints)?).await?)),
        _ => anyhow::bail!("coordinator: {:?} names none", settings.coordinator),
    }
}
