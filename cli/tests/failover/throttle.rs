//! A standby whose link has become narrow, or is long.
//!
//! Speeds are printed as ratios within one run, and not asserted, since this host has other work.

use std::time::{Duration, Instant};

use test_ports::Port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::check::check;
use crate::linked::Linked;
use crate::load::Load;
use crate::view::{View, count_in_sync, leader};

/// So many, without a pause, that what they have under way at a time takes a narrow link longer
/// than a beacon may.
const WRITERS: usize = 96;
const MEASURED: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// There and back, longer than a beacon interval: far away, and still a member of the set.
const FAR: Duration = Duration::from_millis(20);

fn in_sync_now(view: &View) -> Option<usize> {
    leader(view).map(|(_, status)| count_in_sync(status))
}

/// Changes acknowledged per second.
async fn rate(load: &Load, lasting: Duration) -> f64 {
    let (began, before) = (Instant::now(), load.acknowledged());
    sleep(lasting).await;
    (load.acknowledged() - before) as f64 / began.elapsed().as_secs_f64()
}

/// As [`rate`], and how often the set has changed meanwhile.
async fn rate_and_changes(linked: &Linked, load: &Load, lasting: Duration) -> (f64, usize) {
    let (began, before) = (Instant::now(), load.acknowledged());
    let (mut changes, mut last) = (0, None);
    while began.elapsed() < lasting {
        let now = in_sync_now(&linked.cluster.view().await);
        changes += usize::from(last.is_some_and(|last| last != now));
        last = Some(now);
        sleep(LOOK_EVERY).await;
    }
    ((load.acknowledged() - before) as f64 / began.elapsed().as_secs_f64(), changes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_behind_a_link_of_one_percent_leaves_and_comes_back_by_itself() {
    let mut linked = Linked::start(&["a"], &[]).await;
    let load = Load::start(&linked.cluster.addresses(), WRITERS, Duration::ZERO).await;
    let alone = rate(&load, MEASURED).await;
    linked.add_with("b", &[]).await;
    let (primary, epoch) = linked.cluster.in_sync().await;
    let bytes = linked.peer(&primary).bytes();
    let as_pair = rate(&load, MEASURED).await;
    let bytes_per_s = (linked.peer(&primary).bytes() - bytes) / MEASURED.as_secs();

    let narrowed = Instant::now();
    linked.peer(&primary).narrow((bytes_per_s / 100).max(1));
    linked.cluster.wait_until("the standby has left the set", |view| in_sync_now(view) == Some(1)).await;
    let left = narrowed.elapsed();
    let (throttled, changes) = rate_and_changes(&linked, &load, MEASURED * 2).await;
    let healed = Instant::now();
    linked.heal();
    let later = linked.cluster.in_sync().await;
    let back = healed.elapsed();
    assert_eq!(later, (primary, epoch), "nobody else leads");
    let again = rate(&load, MEASURED).await;
    let history = load.stop().await;
    println!("changes/s: alone {alone:.0}, as a pair {as_pair:.0} ({bytes_per_s} bytes/s to the standby)");
    println!(
        "link at 1 %: left the set after {left:.1?}, longest pause {:.1?}; then {throttled:.0} changes/s, {:.0} % of alone, \
         {changes} changes of the set",
        history.longest_pause(narrowed, healed),
        100.0 * throttled / alone
    );
    println!("healed: back in the set after {back:.1?}, {again:.0} changes/s");
    check(&linked.cluster, &history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_that_is_far_away_stays_in_the_set() {
    let linked = Linked::start(&["a", "b"], &[]).await;
    let (primary, epoch) = linked.cluster.in_sync().await;
    linked.peer(&primary).lengthen(FAR);
    let load = Load::start(&linked.cluster.addresses(), 4, Duration::from_millis(2)).await;
    let (changes_per_s, changes) = rate_and_changes(&linked, &load, MEASURED).await;
    println!("a standby {FAR:?} away: {changes_per_s:.0} changes/s, {changes} changes of the set");
    assert_eq!(linked.cluster.in_sync().await, (primary, epoch));
    assert_eq!(changes, 0, "it left the set");
    check(&linked.cluster, &load.stop().await).await;
}

/// A value from a member's `/metrics`, by the beginning of its line. `None`: it is not there.
pub(crate) async fn metric(admin: &Port, named: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(admin.addr()).await.expect("admin HTTP is served");
    let request = b"GET /metrics HTTP/1.1\r\nhost: member\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is text");
    let line = answer.lines().find(|line| line.starts_with(named))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_over_a_narrow_link_is_bounded_in_bytes() {
    const WINDOW: u64 = 200_000;
    const MESSAGE: u64 = 20_000;
    let args = ["--window-bytes", "200000", "--batch-bytes", "20000"];
    let mut linked = Linked::start(&[], &args).await;
    let admin = test_ports::free_port();
    linked.add_with("a", &["--admin-listen", &admin.addr().to_string()]).await;
    linked.cluster.in_sync().await;
    linked.add_with("b", &[]).await;
    let (primary, _) = linked.cluster.in_sync().await;
    assert_eq!(primary, "a");
    let load = Load::start(&linked.cluster.addresses(), WRITERS, Duration::ZERO).await;
    load.runs(1000).await;
    linked.peer("a").narrow(50_000);
    let (narrowed, mut most) = (Instant::now(), 0);
    while narrowed.elapsed() < MEASURED {
        most = most.max(metric(&admin, "understudy_peer_window_bytes{").await.unwrap_or_default());
        sleep(LOOK_EVERY).await;
    }
    println!("at most {most} bytes were on their way; the window has {WINDOW}");
    assert!(most > WINDOW / 2, "{most} bytes: the link was never full");
    assert!(most < WINDOW + MESSAGE, "{most} bytes, the window has {WINDOW}");
    linked.heal();
    linked.cluster.in_sync().await;
    check(&linked.cluster, &load.stop().await).await;
}
