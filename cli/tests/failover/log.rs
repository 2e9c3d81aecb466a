//! A log that cannot be written ends no member and costs no client an answer. A log that can be
//! written names members, and warns when redundancy is lost.

use std::time::Duration;

use crate::check::check;
use crate::cluster::{Cluster, Spec};
use crate::load::Load;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;

/// One full disk for the logs of all members: none of them ends, and roles change as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pair_whose_disk_is_full_under_its_logs_goes_on() {
    let mut cluster = Cluster::empty(Spec::default());
    for name in ["a", "b"] {
        cluster.plan(name, &[]);
        cluster.restart_on_full_disk(name);
    }
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    for _ in 0..2 {
        let (primary, epoch) = cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        cluster.kill(&primary);
        load.goes_on_after(epoch).await;
        cluster.restart_on_full_disk(&primary);
    }
    let (primary, _) = cluster.in_sync().await;
    let to = cluster.names_but(&primary).remove(0);
    cluster.transfer(&primary, &to).await.expect("both are in sync");
    cluster.in_sync().await;
    load.runs(CHANGES_BETWEEN).await;
    let history = load.stop().await;
    check(&cluster, &history).await;
}

/// Rust's debug output, which means nothing to a reader who does not know the code.
fn is_debug(line: &str) -> bool {
    ["Some(", "None)", "=None", " None,", "Ok(", "Err(", "Incarnation", "MemberId"].iter().any(|word| line.contains(word))
        // A struct: a name in capitals, and fields in braces.
        || line.split(" { ").skip(1).any(|rest| rest.split('}').next().is_some_and(|fields| fields.contains(": ")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redundancy_that_is_lost_is_a_warning_that_names_the_member_and_its_return_is_news() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let (primary, epoch) = cluster.in_sync().await;
    let other = cluster.names_but(&primary).remove(0);
    let named = format!("{other} ({})", cluster.address(&other));
    cluster.kill(&other);
    let left = format!("{named}: no longer in the in-sync set (it is not connected). This member alone holds");
    let line = cluster.says(&primary, &left).await;
    assert!(line.contains(" WARN ") && line.contains("start the one that is down"), "{line}");
    cluster.restart(&other);
    cluster.in_sync().await;
    let line =
        cluster.says(&primary, &format!("{named}: in the in-sync set now. Acknowledged writes are held by a (")).await;
    assert!(line.contains(" INFO ") && line.contains("), b ("), "{line}");
    // A member that takes over alone says the same.
    cluster.kill(&primary);
    cluster.led_by_one_of(std::slice::from_ref(&other)).await;
    assert!(cluster.says(&other, "no standby is in sync with this member yet").await.contains(" WARN "));
    cluster.restart(&primary);
    let (_, later) = cluster.in_sync().await;
    assert!(later > epoch);
    cluster.transfer(&other, &primary).await.expect("both are in sync");
    cluster.in_sync().await;
    let logs = cluster.logs();
    assert!(logs.len() >= 4, "each process has one");
    for (file, log) in logs {
        let start = log.lines().find(|line| line.contains(" starts, pid "));
        let start = start.unwrap_or_else(|| panic!("{file} does not say what was started: {log}"));
        assert!(start.contains(&format!("understudy {}", env!("CARGO_PKG_VERSION"))), "{start}");
        assert!(
            start.contains("settings that differ from the defaults: ") && start.contains("found_after_ms = 200"),
            "{start}"
        );
        let debug: Vec<&str> = log.lines().filter(|line| is_debug(line)).collect();
        assert!(debug.is_empty(), "{file}: {debug:#?}");
    }
}
