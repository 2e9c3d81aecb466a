//! What a test can learn of the record from outside: without it, no member could be killed safely.

use harness::record;

use crate::cluster::{Cluster, Spec};
use crate::etcd::Etcd;

/// All members of the set are running processes. One that was killed and started again is another
/// one.
async fn tells_who_is_in_sync(mut cluster: Cluster, etcd: Option<&Etcd>) {
    let (primary, epoch) = cluster.in_sync().await;
    let read = |cluster: &Cluster| record::read(etcd, cluster.dir()).expect("there is a record");
    let processes = |cluster: &Cluster| cluster.names().iter().filter_map(|name| cluster.pid(name)).collect();
    let before = read(&cluster);
    assert_eq!((before.epoch, before.members, &before.insync), (epoch, 2, &processes(&cluster)));
    cluster.kill(&primary);
    cluster.led_by_one_of(&cluster.names_but(&primary)).await;
    let alone = read(&cluster);
    assert_eq!((alone.epoch, alone.members, &alone.insync), (epoch + 1, 1, &processes(&cluster)));
    cluster.restart(&primary);
    cluster.in_sync().await;
    let after = read(&cluster);
    assert_eq!((after.members, &after.insync), (2, &processes(&cluster)));
    assert_ne!(after.insync, before.insync);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_in_a_directory_tells_which_processes_hold_everything() {
    tells_who_is_in_sync(Cluster::start(&["a", "b"], Spec::default()).await, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn record_in_etcd_tells_which_processes_hold_everything() {
    let etcd = Etcd::start().await;
    let spec = Spec { coordinator: etcd.coordinator(), ..Spec::default() };
    tells_who_is_in_sync(Cluster::start(&["a", "b"], spec).await, Some(&etcd)).await;
}
