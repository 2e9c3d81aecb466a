//! Links are cut while all members live: between primary and standby, and between a member and etcd.
//!
//! What is asserted is what holds in all of them: nothing acknowledged is lost, one leads, and it heals without hands. Who
//! leads in between depends on the link.

use std::time::{Duration, Instant};

use test_ports::Port;
use tokio::time::sleep;

use crate::check::check;
use crate::cluster::{Cluster, Spec};
use crate::etcd::Etcd;
use crate::load::Load;
use crate::proxy::{Cut, Proxy};

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;
/// Several tenures, so that everything that is going to happen does.
const CUT_FOR: Duration = Duration::from_secs(3);

/// A pair whose members reach each other, and etcd, through links that can be cut.
struct Linked {
    cluster: Cluster,
    etcd: Etcd,
    /// To the member of this name.
    peers: Vec<(String, Proxy)>,
    /// From the member of this name to etcd.
    etcds: Vec<(String, Proxy)>,
    _ports: Vec<Port>,
}

impl Linked {
    async fn start() -> Linked {
        let etcd = Etcd::start().await;
        let mut linked = Linked {
            cluster: Cluster::empty(Spec::default()),
            peers: Vec::new(),
            etcds: Vec::new(),
            _ports: Vec::new(),
            etcd,
        };
        for name in ["a", "b"] {
            linked.add(name).await;
            linked.cluster.in_sync().await;
        }
        linked
    }

    async fn add(&mut self, name: &str) {
        let port = test_ports::free_port();
        let peer = Proxy::start(port.addr()).await;
        let etcd = Proxy::start(self.etcd.address()).await;
        let coordinator = format!("etcd:http://{}", etcd.address());
        let args = ["--peer-listen", &port.addr().to_string(), "--peer-advertise", &peer.address()];
        self.cluster.plan_with(name, &coordinator, &args);
        self.cluster.restart(name);
        self.peers.push((name.to_owned(), peer));
        self.etcds.push((name.to_owned(), etcd));
        self._ports.push(port);
    }

    fn peer(&self, name: &str) -> &Proxy {
        &self.peers.iter().find(|(member, _)| member == name).expect("it was added").1
    }

    fn way_to_etcd(&self, name: &str) -> &Proxy {
        &self.etcds.iter().find(|(member, _)| member == name).expect("it was added").1
    }

    fn heal(&self) {
        self.peers.iter().chain(&self.etcds).for_each(|(_, proxy)| proxy.heal());
    }
}

/// Whether changes are acknowledged again before the links heal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meanwhile {
    GoesOn,
    NobodyMay,
}

/// Cuts what `cut` cuts of a primary and its standby, for a while, and lets it heal, twice.
async fn cut_and_heal(what: &str, meanwhile: Meanwhile, cut: impl Fn(&Linked, &str, &str)) {
    let linked = Linked::start().await;
    let load = Load::start(&linked.cluster.addresses(), WRITERS, PAUSE).await;
    let mut cuts = Vec::new();
    for _ in 0..2 {
        let (primary, epoch) = linked.cluster.in_sync().await;
        let standby = linked.cluster.names_but(&primary).remove(0);
        load.runs(CHANGES_BETWEEN).await;
        let from = Instant::now();
        cut(&linked, &primary, &standby);
        sleep(CUT_FOR / 2).await;
        let before = load.acknowledged();
        sleep(CUT_FOR / 2).await;
        let goes_on = load.acknowledged() > before;
        let healed = Instant::now();
        linked.heal();
        load.runs(CHANGES_BETWEEN).await;
        let (leads, later) = linked.cluster.in_sync().await;
        cuts.push((from, healed, Instant::now()));
        println!(
            "{what}: {primary} led in epoch {epoch}, {leads} leads in epoch {later}; went on meanwhile: {goes_on}"
        );
        assert_eq!(goes_on, meanwhile == Meanwhile::GoesOn, "acknowledged changes in the second half of the cut");
    }
    let history = load.stop().await;
    println!("{what}: {}", history.summary());
    for (from, healed, whole) in cuts {
        let (cut, pause) = (healed - from, history.longest_pause(from, whole));
        println!("{what}: cut for {cut:.1?}: longest pause {pause:.1?}, in sync again after {:.1?}", whole - healed);
    }
    check(&linked.cluster, &history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_between_the_members_cut_both_ways() {
    // The standby connects to the primary.
    cut_and_heal("primary - standby", Meanwhile::GoesOn, |linked, primary, _| linked.peer(primary).cut(Cut::Both))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_between_the_members_cut_from_the_primary_to_the_standby() {
    cut_and_heal("primary -> standby", Meanwhile::GoesOn, |linked, primary, _| linked.peer(primary).cut(Cut::Answers))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_between_the_members_cut_from_the_standby_to_the_primary() {
    cut_and_heal("standby -> primary", Meanwhile::GoesOn, |linked, primary, _| linked.peer(primary).cut(Cut::Requests))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_of_the_primary_to_etcd_cut() {
    cut_and_heal("primary - etcd", Meanwhile::GoesOn, |linked, primary, _| linked.way_to_etcd(primary).cut(Cut::Both))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_of_the_standby_to_etcd_cut() {
    cut_and_heal("standby - etcd", Meanwhile::GoesOn, |linked, _, standby| linked.way_to_etcd(standby).cut(Cut::Both))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_cut_off_from_its_standby_and_from_etcd() {
    cut_and_heal("primary - everybody", Meanwhile::GoesOn, |linked, primary, _| {
        linked.peer(primary).cut(Cut::Both);
        linked.way_to_etcd(primary).cut(Cut::Both);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_links_cut() {
    cut_and_heal("everybody - everybody", Meanwhile::NobodyMay, |linked, primary, standby| {
        linked.peer(primary).cut(Cut::Both);
        linked.way_to_etcd(primary).cut(Cut::Both);
        linked.way_to_etcd(standby).cut(Cut::Both);
    })
    .await;
}
