//! A log that cannot be written costs no member its life, and no client an answer.

use std::time::Duration;

use crate::check::check;
use crate::cluster::{Cluster, Spec};
use crate::load::Load;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;

/// One disk is full under the logs of all members: none of them ends, and roles change as ever.
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
