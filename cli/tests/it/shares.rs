//! What one client may take of shared resources, over real connections: a refusal names the setting
//! and both values, and others are not refused with it.

use std::net::IpAddr;

use proto::status::from_status;
use proto::v1::admin_client::AdminClient;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::*;
use tonic::transport::{Channel, Endpoint};

use crate::support::requests::{Client, segment};
use crate::support::wire::answer;
use crate::support::{Running, start_with};
use master::CommitRule;

/// Connects as if from another host.
async fn channel_from(node: &Running, from: &str) -> Channel {
    let from: IpAddr = from.parse().expect("it is an address");
    let endpoint = Endpoint::from_shared(format!("http://{}", node.address)).expect("it is an address");
    endpoint.local_address(Some(from)).connect().await.expect("the node listens")
}

async fn introduce(channel: &Channel, who: u8) -> Result<(), CallError> {
    let request = RemountSegmentsRequest { caller: Client::new(who).caller(), segments: Vec::new() };
    let answered = MetadataClient::new(channel.clone()).remount_segments(request).await;
    answered.map(drop).map_err(|status| from_status(&status))
}

async fn put(channel: &Channel, tenant: &str) -> Result<(), CallError> {
    let caller =
        Client::new(1).caller().map(|caller| Caller { tenant: tenant.to_owned(), request_number: 0, ..caller });
    let request = PutStartRequest { caller, ..Client::new(1).put_start(&["k"], 64) };
    let answered = MetadataClient::new(channel.clone()).put_start(request).await;
    answered.map(drop).map_err(|status| from_status(&status))
}

fn is_overloaded(refused: &CallError, what: &str) {
    assert_eq!(refused.reason(), Reason::Overloaded, "{refused:?}");
    assert!(refused.message.starts_with(what) && refused.retry_after_ms > 0, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_all_places_for_clients_however_often_it_connects() {
    let node = start_with(CommitRule::Alone, |config| config.state.clients_per_address_max = 5).await;
    for who in 1..=5 {
        introduce(&channel_from(&node, "127.0.0.1").await, who).await.expect("there is room");
    }
    let here = channel_from(&node, "127.0.0.1").await;
    let refused = introduce(&here, 6).await.expect_err("it is one too many");
    is_overloaded(&refused, "clients_per_address_max: 5 clients of this address are known, the limit is 5");
    introduce(&here, 5).await.expect("it is known");
    introduce(&channel_from(&node, "127.0.0.2").await, 6).await.expect("it comes from elsewhere");
    let mut session = node.session().await;
    let refused = session.call(Client::new(7).mount(vec![segment(7, 4096)])).await.expect_err("over a session, too");
    is_overloaded(&refused, "clients_per_address_max: 5 ");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_cannot_fill_the_sum_of_all_segments() {
    let node = start_with(CommitRule::Alone, |config| {
        config.state.client_segments_max = 2;
        config.state.client_segment_bytes_max = 1 << 20;
    })
    .await;
    let mut wire = node.session().await;
    let (greedy, other) = (Client::new(1), Client::new(2));
    let mounts = greedy.mount(vec![segment(1, 4096), segment(2, 1 << 20), segment(3, 4096), segment(4, 4096)]);
    let told: Vec<_> = answer!(MountSegment, wire.call(mounts)).results;
    let told: Vec<_> = told.into_iter().map(|result| result.refusal.map_or_else(String::new, |r| r.message)).collect();
    let bytes = "client_segment_bytes_max: 1052672 bytes would be in the segments of this client, the limit is 1048576";
    let count = "client_segments_max: 2 segments of this client are there, the limit is 2";
    assert_eq!(told, ["", bytes, "", count]);
    let others = answer!(MountSegment, wire.call(other.mount(vec![segment(5, 1 << 20)]))).results;
    assert!(others[0].refusal.is_none(), "{others:?}");
}

/// Space that is given up waits for minutes: without shares, one caller stops all puts until then.
#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_use_up_the_space_that_may_wait() {
    let node = start_with(CommitRule::Alone, |config| {
        config.state.extents_per_address_max = 2;
        config.state.retired_extents_max = 4;
    })
    .await;
    let (here, there) = (channel_from(&node, "127.0.0.1").await, channel_from(&node, "127.0.0.2").await);
    let mut wire = node.session().await;
    answer!(MountSegment, wire.call(Client::new(1).mount(vec![segment(1, 1 << 20)])));
    let give_up = async |channel: &Channel| {
        put(channel, "").await?;
        let caller = Client::new(1).caller().map(|caller| Caller { request_number: 0, ..caller });
        let remove = RemoveAllRequest { caller, force: true };
        let removed = MetadataClient::new(channel.clone()).remove_all(remove).await;
        removed.map(drop).map_err(|status| from_status(&status))
    };
    give_up(&here).await.expect("there is room");
    give_up(&here).await.expect("there is room");
    is_overloaded(&give_up(&here).await.expect_err("it is one too many"), "extents_per_address_max: 2 ");
    let status = async || AdminClient::new(here.clone()).status(StatusRequest {}).await.expect("it says").into_inner();
    assert_eq!(status().await.full, Vec::<String>::new());
    give_up(&there).await.expect("it comes from elsewhere");
    give_up(&there).await.expect("it comes from elsewhere");
    let elsewhere = channel_from(&node, "127.0.0.3").await;
    is_overloaded(&give_up(&elsewhere).await.expect_err("all are taken"), "retired_extents_max: 4 ");
    let full = status().await.full;
    assert!(full.len() == 1 && full[0].starts_with("retired_extents_max: 4 "), "{full:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_of_one_address_are_bounded_and_an_operator_deletes_one() {
    let node = start_with(CommitRule::Alone, |config| config.state.tenants_per_address_max = 2).await;
    let here = channel_from(&node, "127.0.0.1").await;
    answer!(MountSegment, node.session().await.call(Client::new(1).mount(vec![segment(1, 1 << 20)])));
    put(&here, "blue").await.expect("there is room");
    put(&here, "red").await.expect("there is room");
    let refused = put(&here, "green").await.expect_err("it is one too many");
    is_overloaded(&refused, "tenants_per_address_max: 2 ");
    put(&channel_from(&node, "127.0.0.2").await, "green").await.expect("it comes from elsewhere");
    let mut admin = AdminClient::new(here.clone());
    let delete = || DeleteTenantRequest { caller: Client::new(9).caller(), tenant: "blue".to_owned() };
    let refusal = admin.delete_tenant(delete()).await.expect("it is answered").into_inner().refusal;
    let refusal = refusal.expect("it holds something");
    assert_eq!(refusal.reason(), Reason::TenantNotEmpty, "{refusal:?}");
    assert!(refusal.message.contains("1 objects"), "{refusal:?}");
    let caller =
        Client::new(1).caller().map(|caller| Caller { tenant: "blue".to_owned(), request_number: 0, ..caller });
    MetadataClient::new(here.clone())
        .remove_all(RemoveAllRequest { caller, force: true })
        .await
        .expect("it is emptied");
    let again = DeleteTenantRequest { caller: Client::new(9).numbered(2), ..delete() };
    assert_eq!(admin.delete_tenant(again).await.expect("it is answered").into_inner().refusal, None);
    put(&here, "white").await.expect("there is room again");
    let nobody =
        admin.delete_tenant(DeleteTenantRequest { caller: None, ..delete() }).await.expect_err("it says no client");
    assert_eq!(from_status(&nobody).reason(), Reason::InvalidArgument);
}
