//! The calls of operators and orchestrators, and other protocols.

use std::time::Duration;

use proto::v1::admin_client::AdminClient;
use proto::v1::session_request::Call;
use proto::v1::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::requests::{Client, segment};
use crate::support::wire::{answer, channel};
use crate::support::{start, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn status_says_what_there_is() {
    let node = start_with(master::CommitRule::Alone, |config| config.serving.node_name = "n1".to_owned()).await;
    let client = Client::new(1);
    let mut wire = node.session().await;
    answer!(MountSegment, wire.call(client.mount(vec![segment(1, 1 << 20)])));
    answer!(PutStart, wire.call(Call::PutStart(client.put_start(&["a", "b"], 1000))));
    answer!(PutEnd, wire.call(Call::PutEnd(client.put_end(&["a"]))));
    let mut admin = AdminClient::new(channel(node.address).await);
    let status = admin.status(StatusRequest {}).await.expect("it is told").into_inner();
    assert_eq!((status.node.as_str(), status.role.as_str(), status.version.as_str()), ("n1", "primary", "0.1.0"));
    assert_eq!(status.applied, Some(Position { epoch: 1, seq: 5 }));
    assert_eq!((status.committed_seq, status.tail_first_seq, status.tail_entries), (5, 1, 5));
    assert_eq!((status.objects, status.objects_unfinished, status.segments, status.clients), (2, 1, 1, 1));
    assert_eq!((status.capacity_bytes, status.used_bytes, status.retired_bytes), (1 << 20, 2048, 0));
    assert_eq!(status.digest.len(), 16);
    assert!(status.tail_bytes > 0 && status.memory_resident_bytes > 1 << 20 && status.uptime_ms < 60_000);
    assert!(status.lock_held_us_max < 1_000_000);
}

/// What a failover may take back is shown, and marked as such.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_to_operators_says_whether_it_is_committed() {
    let node = start_with(master::CommitRule::Peers, |_| {}).await;
    let tail = node.node.tail();
    tail.committed().advance(tail.appended().get());
    let mut admin = AdminClient::new(channel(node.address).await);
    async fn shown(admin: &mut AdminClient<tonic::transport::Channel>) -> [bool; 2] {
        let status = admin.status(StatusRequest {}).await.expect("it is told").into_inner();
        let parts = vec![Part { shard: 0, bucket: 0 }];
        let records = admin.get_records(PartList { parts }).await.expect("they are told").into_inner();
        [status.committed, records.state.expect("they are of a state").committed]
    }
    assert_eq!(shown(&mut admin).await, [true; 2]);

    let mut unary = node.unary().await;
    let mount: Call = Client::new(1).mount(vec![segment(1, 1 << 20)]);
    // Before the call begins: on another thread it may be as quick as this one.
    let appended = tail.appended().get();
    let waits = tokio::spawn(async move { unary.call(mount).await });
    while tail.appended().get() == appended {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(shown(&mut admin).await, [false; 2], "a segment is shown that no other member has");
    tail.committed().advance(tail.appended().get());
    waits.await.expect("it ends").expect("it is committed");
    assert_eq!(shown(&mut admin).await, [true; 2]);

    node.node.gate().set(master::Standing::NotPrimary { hint: String::new(), epoch: 2 });
    assert_eq!(shown(&mut admin).await, [false; 2], "another member may have decided otherwise");
    let refused = admin.list_tenants(ListTenantsRequest {}).await.expect_err("so it is not told at all");
    assert_eq!(proto::status::from_status(&refused).reason(), Reason::NotPrimary);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_gate() {
    let node = start().await;
    let mut health = HealthClient::new(channel(node.address).await);
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", "understudy.v1.Metadata", "understudy.v1.Admin"] {
        let status = health.check(ask(service)).await.expect("it is known").into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service:?}");
    }
    let unknown = health.check(ask("other")).await.expect_err("it is not known");
    assert_eq!(unknown.code(), tonic::Code::NotFound);
    let mut watch = health.watch(ask("understudy.v1.Metadata")).await.expect("it is known").into_inner();
    let mut next = async || watch.next().await.map(|said| said.expect("it goes on").status());
    assert_eq!(next().await, Some(ServingStatus::Serving));
    node.node.gate().set(master::Standing::NotPrimary { hint: String::new(), epoch: 2 });
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    node.node.gate().set(master::Standing::Serving);
    assert_eq!(next().await, Some(ServingStatus::Serving));
    let stopped = node.stop();
    assert_eq!(next().await, Some(ServingStatus::NotServing));
    assert_eq!(next().await, None, "a watch does not hold the stop up");
    let ended = tokio::time::timeout(Duration::from_secs(1), stopped).await;
    ended.expect("it ends in time").expect("it ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_knows_all_services() {
    let node = start().await;
    let expected = ["grpc.health.v1.Health", "understudy.v1.Admin", "understudy.v1.Metadata"];

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel(node.address).await);
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let ask = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut told = client.server_reflection_info(tokio_stream::once(ask)).await.expect("it is served").into_inner();
    let told = told.next().await.expect("it is answered").expect("it is answered").message_response;
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(services)) = told else {
        panic!("{told:?}");
    };
    let names: Vec<_> = services.service.iter().map(|service| service.name.as_str()).collect();
    assert!(expected.iter().all(|name| names.contains(name)), "{names:?}");

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(node.address).await);
    let symbol = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(expected[2].to_owned());
    let ask = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(symbol) };
    let mut told = client.server_reflection_info(tokio_stream::once(ask)).await.expect("it is served").into_inner();
    let told = told.next().await.expect("it is answered").expect("it is answered").message_response;
    let files = v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse;
    assert!(
        matches!(told, Some(file) if std::mem::discriminant(&file) == std::mem::discriminant(&files(Default::default())))
    );
}

/// Web browsers and old HTTP get an end, not a hang, and the node goes on serving.
#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_are_turned_away() {
    let node = start().await;
    for hello in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5], &[0; 4096]] {
        let mut stream = tokio::net::TcpStream::connect(node.address).await.expect("it listens");
        stream.write_all(hello).await.expect("it is taken");
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest);
        // Closed or reset: either is an end.
        let _ = tokio::time::timeout(Duration::from_secs(2), read).await.expect("the connection is closed");
    }
    let unknown = tonic::client::Grpc::new(channel(node.address).await);
    assert_eq!(unknown_method(unknown).await.code(), tonic::Code::Unimplemented);
    let mut wire = node.unary().await;
    answer!(Exists, wire.call(crate::support::requests::exists(&["k"])));
}

async fn unknown_method(mut grpc: tonic::client::Grpc<tonic::transport::Channel>) -> tonic::Status {
    grpc.ready().await.expect("it is connected");
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/understudy.v1.Metadata/Nothing");
    let codec = tonic_prost::ProstCodec::<ExistsRequest, ExistsResponse>::default();
    grpc.unary(tonic::Request::new(ExistsRequest::default()), path, codec).await.expect_err("there is none")
}
