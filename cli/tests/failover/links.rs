//! Links are cut while all members live: between primary and standby, and between a member and
//! etcd.
//!
//! The assertions hold in all of these: nothing acknowledged is lost, one member leads, and the
//! cluster heals by itself. Which member leads in between depends on the link.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::check::check;
use crate::linked::Linked;
use crate::load::Load;
use crate::proxy::Cut;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;
/// Cuts one after the other, each of this length.
#[derive(Clone, Copy, Debug)]
struct Cuts {
    times: usize,
    lasting: Duration,
}

/// Several tenures, so that everything that follows in the pair happens.
const TWICE: Cuts = Cuts { times: 2, lasting: Duration::from_secs(3) };
/// Longer than leases in etcd: a member that is cut off from it is no longer shown.
const BEYOND_LEASES: Cuts = Cuts { times: 1, lasting: Duration::from_secs(8) };

/// Whether changes are acknowledged again before the links heal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meanwhile {
    GoesOn,
    NobodyMay,
}

/// Cuts what `cut` cuts of a primary and its standby for a while, and then heals it.
async fn cut_and_heal(what: &str, planned: Cuts, meanwhile: Meanwhile, cut: impl Fn(&Linked, &str, &str)) {
    let linked = Linked::start(&["a", "b"], &[]).await;
    let load = Load::start(&linked.cluster.addresses(), WRITERS, PAUSE).await;
    let mut cuts = Vec::new();
    for _ in 0..planned.times {
        let (primary, epoch) = linked.cluster.in_sync().await;
        let standby = linked.cluster.names_but(&primary).remove(0);
        load.runs(CHANGES_BETWEEN).await;
        let from = Instant::now();
        cut(&linked, &primary, &standby);
        sleep(planned.lasting / 2).await;
        let before = load.acknowledged();
        sleep(planned.lasting / 2).await;
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
    let cut = |linked: &Linked, primary: &str, _: &str| linked.peer(primary).cut(Cut::Both);
    cut_and_heal("primary - standby", TWICE, Meanwhile::GoesOn, cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_between_the_members_cut_from_the_primary_to_the_standby() {
    let cut = |linked: &Linked, primary: &str, _: &str| linked.peer(primary).cut(Cut::Answers);
    cut_and_heal("primary -> standby", TWICE, Meanwhile::GoesOn, cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_between_the_members_cut_from_the_standby_to_the_primary() {
    let cut = |linked: &Linked, primary: &str, _: &str| linked.peer(primary).cut(Cut::Requests);
    cut_and_heal("standby -> primary", TWICE, Meanwhile::GoesOn, cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_of_the_primary_to_etcd_cut() {
    let cut = |linked: &Linked, primary: &str, _: &str| linked.way_to_etcd(primary).cut(Cut::Both);
    cut_and_heal("primary - etcd", BEYOND_LEASES, Meanwhile::GoesOn, cut).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link_of_the_standby_to_etcd_cut() {
    let cut = |linked: &Linked, _: &str, standby: &str| linked.way_to_etcd(standby).cut(Cut::Both);
    cut_and_heal("standby - etcd", BEYOND_LEASES, Meanwhile::GoesOn, cut).await;
}

fn primary_alone(linked: &Linked, primary: &str, _: &str) {
    linked.peer(primary).cut(Cut::Both);
    linked.way_to_etcd(primary).cut(Cut::Both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_cut_off_from_its_standby_and_from_etcd() {
    cut_and_heal("primary - everybody", TWICE, Meanwhile::GoesOn, primary_alone).await;
}

/// etcd hears the primary, but the primary does not hear etcd: the record must not change unseen.
fn primary_hears_nobody(linked: &Linked, primary: &str, _: &str) {
    linked.peer(primary).cut(Cut::Both);
    linked.way_to_etcd(primary).cut(Cut::Answers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_cut_off_from_its_standby_and_from_the_answers_of_etcd() {
    cut_and_heal("primary <- nobody", TWICE, Meanwhile::GoesOn, primary_hears_nobody).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_cut_off_from_everybody_for_longer_than_its_lease() {
    cut_and_heal("primary - everybody, long", BEYOND_LEASES, Meanwhile::GoesOn, primary_alone).await;
}

fn standby_alone(linked: &Linked, primary: &str, standby: &str) {
    linked.peer(primary).cut(Cut::Both);
    linked.way_to_etcd(standby).cut(Cut::Both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_cut_off_from_its_primary_and_from_etcd() {
    cut_and_heal("standby - everybody", TWICE, Meanwhile::GoesOn, standby_alone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_cut_off_from_everybody_for_longer_than_its_lease() {
    cut_and_heal("standby - everybody, long", BEYOND_LEASES, Meanwhile::GoesOn, standby_alone).await;
}

fn everybody_alone(linked: &Linked, primary: &str, standby: &str) {
    linked.peer(primary).cut(Cut::Both);
    linked.way_to_etcd(primary).cut(Cut::Both);
    linked.way_to_etcd(standby).cut(Cut::Both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_links_cut() {
    cut_and_heal("everybody - everybody", TWICE, Meanwhile::NobodyMay, everybody_alone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_links_cut_for_longer_than_leases_last() {
    cut_and_heal("everybody - everybody, long", BEYOND_LEASES, Meanwhile::NobodyMay, everybody_alone).await;
}
