//! What is refused before it is read: each refusal names the field and the limit, and nothing
//! changes.

use bytes::Bytes;
use proto::status::from_status;
use proto::v1::session_request::Call;
use proto::v1::*;

use crate::support::requests::{Client, all, bytes, get, list_all, segment};
use crate::support::wire::{Session, answer, metadata};
use crate::support::{Running, start};

async fn refused(node: &Running, call: Call) -> String {
    let mut texts = Vec::new();
    for mut wire in [node.session().await, node.unary().await] {
        let error = wire.call(call.clone()).await.expect_err("it is refused as a whole");
        assert_eq!(error.reason(), Reason::InvalidArgument, "{error:?}");
        assert_eq!(error.code, tonic::Code::InvalidArgument as i32);
        texts.push(error.message);
    }
    assert_eq!(texts[0], texts[1], "the transport makes no difference");
    texts.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_limit_is_named_with_the_limit() {
    let node = start().await;
    let client = Client::new(1);
    let long_key = "k".repeat(4097);
    let keys: Vec<&str> = vec!["k"; 10_001];
    let id = |bytes: usize| Some(Caller { client_id: vec![1; bytes].into(), ..Caller::default() });
    let mount = |segment: Segment| client.mount(vec![segment]);
    let list = |request: ListKeysRequest| Call::ListKeys(request);
    let cases = [
        (get(&["a", &long_key]), "keys[1]: 4097 bytes, the limit is 4096"),
        (get(&["a", ""]), "keys[1]: empty, at least 1 byte is needed"),
        (get(&keys), "keys: more than 10000 items, the limit is 10000"),
        (Call::PutStart(client.put_start(&[&long_key], 1)), "items[0].key: 4097 bytes, the limit is 4096"),
        (Call::PutStart(client.put_start(&keys, 1)), "items: more than 10000 items, the limit is 10000"),
        (Call::PutStart(client.put_start(&["k"], 0)), "items[0].size: 0 bytes, from 1 to 1125899906842624"),
        (Call::PutStart(client.put_start(&["k"], u64::MAX)), "items[0].size: 18446744073709551615 bytes"),
        (
            Call::PutStart(PutStartRequest { caller: None, ..client.put_start(&["k"], 1) }),
            "caller.client_id: 0 bytes, 16 are needed",
        ),
        (
            Call::PutEnd(PutEndRequest { caller: id(17), ..client.put_end(&["k"]) }),
            "caller.client_id: 17 bytes, 16 are needed",
        ),
        (
            Call::PutStart(PutStartRequest { if_exists: 7, ..client.put_start(&["k"], 1) }),
            "if_exists: 7 is no value that this version knows",
        ),
        (
            Call::PutStart(PutStartRequest { pin: 1, soft_pin_ttl_ms: 1 << 40, ..client.put_start(&["k"], 1) }),
            "soft_pin_ttl_ms: 1099511627776, the limit is 4294967295",
        ),
        (
            Call::PutStart(PutStartRequest {
                placement: Some(Placement { replicas: 33, ..Placement::default() }),
                ..client.put_start(&["k"], 1)
            }),
            "placement.replicas: 33 replicas, the limit is",
        ),
        (Call::Pin(PinRequest { caller: client.caller(), keys: all(&["k"]), ..PinRequest::default() }), "pin: NONE"),
        (mount(Segment { id: bytes("short"), ..segment(1, 64) }), "segments[0].id: 5 bytes, 16 are needed"),
        (mount(Segment { kind: 9, ..segment(1, 64) }), "segments[0].kind: 9 is no value"),
        (mount(Segment { name: "n".repeat(257), ..segment(1, 64) }), "segments[0].name: 257 bytes, the limit is 256"),
        (mount(Segment { size: 1, ..segment(1, 64) }), "segments[0].size: 1 bytes, from 64 to"),
        (list(ListKeysRequest { limit: 10_001, ..Default::default() }), "limit: 10001, from 1 to 10000"),
        (list(ListKeysRequest { regex: "(".to_owned(), ..Default::default() }), "regex: regex parse error"),
        (list(ListKeysRequest { page_token: bytes("x"), ..Default::default() }), "page_token: not from an answer"),
        (
            list(ListKeysRequest {
                caller: Some(Caller { tenant: "t".repeat(257), ..Caller::default() }),
                ..Default::default()
            }),
            "caller.tenant: 257 bytes, the limit is 256",
        ),
        (
            Call::RemoveMatching(RemoveMatchingRequest {
                caller: client.caller(),
                regex: "x".repeat(4097),
                force: false,
            }),
            "regex: 4097 bytes, the limit is 1024",
        ),
        (
            Call::RemoveMatching(RemoveMatchingRequest {
                caller: client.caller(),
                regex: "(a{1000}){1000}".to_owned(),
                force: false,
            }),
            "regex: Compiled regex exceeds size limit",
        ),
        (
            Call::FetchTasks(FetchTasksRequest { caller: client.caller(), limit: 10_001 }),
            "limit: 10001 tasks, the limit is 10000",
        ),
    ];
    for (call, text) in cases {
        let have = refused(&node, call).await;
        assert!(have.starts_with(text), "{have}");
    }
    assert_eq!(node.node.tail().appended().get(), 2, "nothing was logged but the start of the epoch and the settings");
}

#[tokio::test(flavor = "multi_thread")]
async fn message_over_16_mib_names_the_limit() {
    let node = start().await;
    let keys = vec![Bytes::from(vec![b'k'; 4096]); 4100];
    let request = ExistsRequest { caller: None, keys, standby: None };
    let status = metadata(node.address).await.exists(request.clone()).await.expect_err("it is too large");
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    let error = from_status(&status);
    assert_eq!(error.reason(), Reason::InvalidArgument);
    assert!(error.message.ends_with("bytes, the limit is 16777216"), "{}", error.message);

    // The request's id cannot be read, so it ends the session, with the reason.
    let mut session = Session::open(node.address).await.expect("it is opened");
    session.send(Call::Exists(request)).await;
    let error = session.next().await.expect_err("the session ends");
    assert_eq!(error.reason(), Reason::InvalidArgument);
    assert!(error.message.ends_with("bytes, the limit is 16777216"), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_request_is_taken() {
    let node = start().await;
    let keys = vec![Bytes::from(vec![b'k'; 4096]); 4090];
    for mut wire in [node.session().await, node.unary().await] {
        let call = Call::Exists(ExistsRequest { caller: None, keys: keys.clone(), standby: None });
        assert_eq!(answer!(Exists, wire.call(call)).exists, [false; 4090]);
    }
}

/// 5000 keys of 4 KiB are more than a message takes: pages end early, and nothing is missing or
/// doubled.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_long_keys_end_early() {
    let node = start().await;
    let client = Client::new(1);
    let mut wire = node.session().await;
    answer!(MountSegment, wire.call(client.mount(vec![segment(1, 1 << 20)])));
    let keys: Vec<String> = (0..5000).map(|at| format!("{at:04096}")).collect();
    for keys in keys.chunks(1000) {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let started = answer!(PutStart, wire.call(Call::PutStart(client.put_start(&keys, 64))));
        assert!(started.results.iter().all(|result| result.refusal.is_none()));
    }
    let mut listed = Vec::new();
    let mut page_token = Bytes::new();
    let mut pages = 0;
    loop {
        let request = ListKeysRequest { limit: 10_000, page_token, ..ListKeysRequest::default() };
        let page = answer!(ListKeys, wire.call(Call::ListKeys(request)));
        pages += 1;
        listed.extend(page.keys.into_iter().map(|info| info.key));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, 2);
    listed.sort();
    assert!(listed.iter().eq(keys.iter().map(|key| key.as_bytes())), "{} listed", listed.len());
    assert_eq!(answer!(ListKeys, wire.call(list_all())).keys.len(), 1000);
}
