//! The primary hands over while all members live: no client sees an error.

use std::time::{Duration, Instant};

use proto::status::from_status;
use proto::v1::Reason;
use rustix::process::Signal;

use crate::check::{check, report};
use crate::cluster::{Cluster, Spec, understudy};
use crate::load::Load;

const WRITERS: usize = 6;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_under_load_show_no_client_an_error() {
    let cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    there_and_back(cluster, 10).await;
}

pub(crate) async fn there_and_back(cluster: Cluster, times: u32) {
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (mut moments, mut took) = (Vec::new(), Vec::new());
    for _ in 0..times {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        let began = Instant::now();
        let to = cluster.names().into_iter().find(|name| *name != primary).expect("there is another one");
        let answer = cluster.transfer(&primary, &to).await.expect("both are in sync");
        assert_eq!((answer.to.as_str(), answer.epoch), (to.as_str(), epoch + 1), "{answer:?}");
        took.push(Duration::from_micros(answer.took_us));
        load.goes_on_after(epoch).await;
        load.runs(CHANGES_BETWEEN / 3).await;
        moments.push((began, Instant::now()));
    }
    let history = load.stop().await;
    report("transfer, by its own word", took);
    let pauses = moments.into_iter().map(|(from, to)| history.longest_pause(from, to)).collect();
    report("longest time without an acknowledged change around a transfer", pauses);
    let troubles: Vec<_> = history.diaries.iter().flat_map(|diary| &diary.troubles).collect();
    assert!(troubles.is_empty(), "a client saw an error: {troubles:?}");
    check(&cluster, &history).await;
}

/// The primary logs digests all the time. An entry that it logged after the heir has compared
/// itself would be on no other member, and the old primary would need a full sync for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfer_costs_the_old_primary_no_full_sync() {
    let cluster = Cluster::start(&["a", "b"], Spec::with(&["--digest-interval-ms", "5"])).await;
    for _ in 0..40 {
        let (primary, _) = cluster.in_sync().await;
        let to = cluster.names().into_iter().find(|name| *name != primary).expect("there is another one");
        cluster.transfer(&primary, &to).await.expect("both are in sync");
    }
    cluster.in_sync().await;
    for name in cluster.names() {
        let log = cluster.log(&name);
        assert!(!log.contains("full sync"), "{name}:\n{log}");
    }
}

/// Repeated requests, to whichever member leads, cost the clients one pause in this time. A member
/// that is stopped does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfer_is_refused_within_a_pause_of_the_last_and_a_stop_is_not() {
    const FOR: Duration = Duration::from_secs(7);
    let mut cluster = Cluster::start(&["a", "b"], Spec::with(&["--transfer-pause-ms", "2000"])).await;
    let (began, mut moved, mut refused) = (Instant::now(), 0, 0);
    while began.elapsed() < FOR {
        let (primary, _) = cluster.in_sync().await;
        let to = cluster.names().into_iter().find(|name| *name != primary).expect("there is another one");
        match cluster.transfer(&primary, &to).await {
            Ok(_) => moved += 1,
            Err(status) => {
                let error = from_status(&status);
                assert_eq!(error.reason(), Reason::Overloaded, "{error:?}");
                assert!(error.message.contains("transfer_pause_ms") && error.message.contains("2000 ms"), "{error:?}");
                assert!((1..=2000).contains(&error.retry_after_ms), "{error:?}");
                refused += 1;
            }
        }
    }
    assert!((2..=4).contains(&moved) && refused > 10, "{moved} moved, {refused} were refused");
    let asked = understudy().args(["transfer", "--address", &cluster.addresses().join(",")]).output().unwrap();
    assert!(asked.status.success(), "the command comes again when it may: {asked:?}");
    let (primary, epoch) = cluster.in_sync().await;
    cluster.signal(&primary, Signal::TERM);
    assert_eq!(cluster.ended(&primary).await.code(), Some(0));
    let log = cluster.log(&primary);
    assert!(log.contains("handed over before the stop"), "{log}");
    let other = cluster.names_but(&primary);
    cluster.led_by_one_of(&other).await;
    assert!(cluster.view().await.values().flatten().any(|status| status.role == "primary"), "after epoch {epoch}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primary_that_is_told_to_end_hands_over() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let mut moments = Vec::new();
    for _ in 0..3 {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        let told = Instant::now();
        cluster.signal(&primary, Signal::TERM);
        load.goes_on_after(epoch).await;
        let status = cluster.ended(&primary).await;
        moments.push((told, epoch));
        assert_eq!(status.code(), Some(0), "{}", cluster.log(&primary));
        let log = cluster.log(&primary);
        let end = log.split("SIGTERM: ").nth(1).expect("it says why it ends");
        assert!(end.contains("handed over before the stop") && !end.contains("WARN"), "{log}");
        cluster.restart(&primary);
    }
    cluster.in_sync().await;
    let history = load.stop().await;
    let outages = moments.iter().map(|(at, epoch)| history.outage(*at, *epoch).expect("it was waited for"));
    report("SIGTERM to the next acknowledged change", outages.collect());
    let troubles: Vec<_> = history.diaries.iter().flat_map(|diary| &diary.troubles).collect();
    assert!(troubles.is_empty(), "a client saw an error: {troubles:?}");
    check(&cluster, &history).await;
}
