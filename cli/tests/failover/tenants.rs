//! A tenant that was deleted is gone on every member, and a new one with its name is another one.

use client::{Client, Error, Force, Options, PutOptions, Reason, Segment};

use crate::cluster::{Cluster, Spec, understudy};

async fn names(client: &Client) -> Vec<String> {
    client.list_tenants().await.expect("the pair serves").into_iter().map(|tenant| tenant.name).collect()
}

async fn put(client: &Client, key: &str) {
    let put = client.put(key, 4096, PutOptions::default()).await.expect("there is room");
    put.end(None).await.expect("it is its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_tenant_is_gone_for_the_member_that_takes_over() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let client = Client::connect(Options::new(cluster.addresses())).await.expect("the pair serves");
    client.mount_segment(&Segment::memory("s", 1 << 40, 1 << 20, "10.0.0.1:1")).await.expect("it is new");
    let blue = client.with_tenant("blue").expect("it is short");
    client.set_tenant_quota("blue", Some(1 << 16)).await.expect("it is new");
    put(&blue, "old").await;
    let refused = client.delete_tenant("blue").await.expect_err("it holds something");
    assert_eq!(refused.reason(), Some(Reason::TenantNotEmpty), "{refused}");
    blue.remove_all(Force::Yes).await.expect("it can be emptied");
    client.delete_tenant("blue").await.expect("it is empty");
    let (primary, _) = cluster.in_sync().await;
    cluster.kill(&primary);
    cluster.led_by_one_of(&cluster.names_but(&primary)).await;
    assert_eq!(names(&client).await, [""], "it stays deleted");
    let refused = client.delete_tenant("blue").await.expect_err("it is gone");
    assert!(matches!(&refused, Error::Refused(refused) if refused.reason == Reason::TenantNotFound), "{refused}");
    put(&blue, "new").await;
    // The member that comes back has to learn all of it, and becomes the primary again.
    cluster.restart(&primary);
    let (leads, _) = cluster.in_sync().await;
    cluster.transfer(&leads, &primary).await.expect("both are in sync");
    assert_eq!(names(&client).await, ["", "blue"]);
    assert_eq!(client.list_tenants().await.expect("the pair serves")[1].quota_bytes, None, "the quota went with it");
    assert_eq!(blue.exists(&["old", "new"]).await.expect("the pair serves").exists, [false, true]);
    cluster.converged().await;
    let verified =
        understudy().args(["verify", "--full", "--address", &cluster.addresses().join(",")]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
}
