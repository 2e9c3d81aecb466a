//! Members that reach each other, and etcd, through links of their own.
//!
//! Deliberately absent: links to clients. The SDK's own tests have these.

use std::collections::BTreeMap;

use test_ports::Port;

use crate::cluster::{Cluster, Spec};
use crate::etcd::Etcd;
use crate::proxy::{Cut, Proxy};

/// Members whose links can be cut. Without etcd they keep their record in a directory, to which
/// there is no link.
#[derive(Debug)]
pub struct Linked {
    pub cluster: Cluster,
    pub etcd: Option<Etcd>,
    ways: BTreeMap<String, Ways>,
}

/// The links by which a member is reached, and reaches etcd.
#[derive(Debug)]
struct Ways {
    peer: Proxy,
    etcd: Option<Proxy>,
    _port: Port,
}

impl Linked {
    /// Starts the members with an etcd.
    pub async fn start(names: &[&str], args: &[&str]) -> Linked {
        let mut linked = Linked::empty(Some(Etcd::start().await), Spec::with(args));
        for name in names {
            linked.add_with(name, &[]).await;
            linked.cluster.in_sync().await;
        }
        linked
    }

    pub fn empty(etcd: Option<Etcd>, spec: Spec) -> Linked {
        Linked { cluster: Cluster::empty(spec), etcd, ways: BTreeMap::new() }
    }

    /// Adds a member and starts it. `args`: beyond those of all members.
    pub async fn add_with(&mut self, name: &str, args: &[&str]) {
        let port = test_ports::free_port();
        let peer = Proxy::start(port.addr()).await;
        let (listen, advertise) = (port.addr().to_string(), peer.address());
        let args = [&["--peer-listen", &listen, "--peer-advertise", &advertise], args].concat();
        let etcd = match &self.etcd {
            Some(etcd) => Some(Proxy::start(etcd.address()).await),
            None => None,
        };
        match &etcd {
            Some(way) => self.cluster.plan_with(name, &format!("etcd:http://{}", way.address()), &args),
            None => self.cluster.plan(name, &args),
        }
        self.cluster.restart(name);
        self.ways.insert(name.to_owned(), Ways { peer, etcd, _port: port });
    }

    fn ways(&self, name: &str) -> &Ways {
        self.ways.get(name).unwrap_or_else(|| panic!("there is no member {name:?}"))
    }

    /// The link by which other members reach this one.
    pub fn peer(&self, name: &str) -> &Proxy {
        &self.ways(name).peer
    }

    pub fn way_to_etcd(&self, name: &str) -> &Proxy {
        self.ways(name).etcd.as_ref().expect("there is an etcd")
    }

    /// Cuts the connections between these two members, whichever of them listens.
    pub fn cut_between(&self, one: &str, other: &str) {
        for (listens, connects) in [(one, other), (other, one)] {
            if let Some(pid) = self.cluster.pid(connects) {
                self.peer(listens).cut_from(pid, Cut::Both);
            }
        }
    }

    /// The end of [`Linked::cut_between`].
    pub fn join_between(&self, one: &str, other: &str) {
        for (listens, connects) in [(one, other), (other, one)] {
            if let Some(pid) = self.cluster.pid(connects) {
                self.peer(listens).heal_from(pid);
            }
        }
    }

    /// Heals this member's own links, for all that use them.
    pub fn heal_ways(&self, name: &str) {
        let ways = self.ways(name);
        [Some(&ways.peer), ways.etcd.as_ref()].into_iter().flatten().for_each(Proxy::heal_all_but_cut_from);
    }

    pub fn heal(&self) {
        for Ways { peer, etcd, .. } in self.ways.values() {
            [Some(peer), etcd.as_ref()].into_iter().flatten().for_each(Proxy::heal);
        }
    }
}
