//! Sessions: order, commits, flow control, malformed requests.

use std::time::Duration;

use bytes::Bytes;
use master::CommitRule;
use proto::v1::session_request::Call;
use proto::v1::*;
use tokio::time::timeout;

use crate::support::process::Master;
use crate::support::requests::{Client, exists, get, list_all, segment};
use crate::support::wire::{Session, answer};
use crate::support::{start, start_with};

const SOON: Duration = Duration::from_millis(300);

/// A list goes over all objects on a thread of its own. Later calls do not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn long_call_is_overtaken() {
    let node = start().await;
    let client = Client::new(1);
    let mut wire = node.session().await;
    answer!(MountSegment, wire.call(client.mount(vec![segment(1, 1 << 30)])));
    for batch in 0..100 {
        let keys: Vec<String> = (0..1000).map(|at| format!("{batch}/{at}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        answer!(PutStart, wire.call(Call::PutStart(client.put_start(&keys, 64))));
    }
    let mut session = Session::open(node.address).await.expect("it is opened");
    let regex = Call::ListKeys(ListKeysRequest { regex: "nothing$".to_owned(), ..ListKeysRequest::default() });
    let long = session.send(regex).await;
    let short = session.send(exists(&["a"])).await;
    let order = [session.next().await, session.next().await];
    let order = order.map(|next| next.expect("it goes on").expect("it goes on").0);
    assert_eq!(order, [short, long]);
}

/// The rule of a pair: an answer to what is not committed waits; the answer to an older read does
/// not.
#[tokio::test(flavor = "multi_thread")]
async fn answers_wait_for_their_commit() {
    let node = start_with(CommitRule::Peers, |_| {}).await;
    let client = Client::new(1);
    let mut session = Session::open(node.address).await.expect("it is opened");
    let tail = node.node.tail();
    let committed = tail.committed();
    let mount = session.send(client.mount(vec![segment(1, 1 << 20)])).await;
    let start = session.send(Call::PutStart(client.put_start(&["k"], 64))).await;
    let read = session.send(exists(&["nobody"])).await;
    let next = timeout(SOON, session.next()).await.expect("a read of what was never written waits for nothing");
    let (id, answer) = next.expect("it goes on").expect("it goes on");
    assert!(answer.is_ok());
    assert_eq!(id, read);
    assert!(timeout(SOON, session.next()).await.is_err(), "nothing is committed yet");
    committed.advance(3);
    assert_eq!(session.next().await.expect("it goes on").expect("it goes on").0, mount);
    // A put that was started and is not committed: a lookup of the key waits like its writer.
    let look = session.send(exists(&["k"])).await;
    assert!(timeout(SOON, session.next()).await.is_err());
    committed.advance(tail.appended().get());
    let first = session.next().await.expect("it goes on").expect("it goes on").0;
    let second = session.next().await.expect("it goes on").expect("it goes on").0;
    assert_eq!([first, second], [start, look]);

    let mut unary = node.unary().await;
    let remove = client.remove(&["k"], true);
    let waits = tokio::spawn(async move { unary.call(remove).await });
    tokio::time::sleep(SOON).await;
    assert!(!waits.is_finished());
    committed.advance(tail.appended().get());
    waits.await.expect("it ends").expect("it is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn session_is_not_read_beyond_the_bound_of_its_answers() {
    let node = start_with(CommitRule::Peers, |config| config.serving.session_answers_max = 10).await;
    let client = Client::new(1);
    let mut session = Session::open(node.address).await.expect("it is opened");
    for number in 0..50 {
        session.send(client.mount(vec![segment(number + 1, 1 << 20)])).await;
    }
    tokio::time::sleep(SOON).await;
    assert_eq!(
        node.node.tail().appended().get(),
        12,
        "after the start of the epoch and the settings: the eleventh waits outside"
    );
    let tail = node.node.tail();
    let committed = tail.committed();
    let mut answered = 0;
    while answered < 50 {
        committed.advance(node.node.tail().appended().get());
        if let Ok(next) = timeout(Duration::from_millis(50), session.next()).await {
            answer_of(next);
            answered += 1;
        }
    }
}

/// What comes next on a session: the id of its request, and the result.
type Next = Result<Option<(u64, Result<session_response::Answer, CallError>)>, CallError>;

fn answer_of(next: Next) {
    next.expect("it goes on").expect("it goes on").1.expect("it is answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_request_is_answered_and_the_session_goes_on() {
    let node = start().await;
    let mut session = Session::open(node.address).await.expect("it is opened");
    session.send_raw(SessionRequest { id: 77, call: None }).await;
    let (id, answer) = session.next().await.expect("it goes on").expect("it goes on");
    assert_eq!((id, answer.expect_err("it asks nothing").message.as_str()), (77, "call: none that this version knows"));
    let id = session.send(get(&[""])).await;
    let (answered, error) = session.next().await.expect("it goes on").expect("it goes on");
    assert_eq!((answered, error.expect_err("the key is empty").reason()), (id, Reason::InvalidArgument));
    session.send(exists(&["k"])).await;
    answer_of(session.next().await);
}

/// Requests for far more than their own size, whose answers are not read: the member stops reading.
#[tokio::test(flavor = "multi_thread")]
async fn slow_reader_does_not_grow_the_memory() {
    let master = Master::start(&[]);
    let client = Client::new(1);
    let mut wire = crate::support::wire::Wire::session(master.address).await;
    answer!(MountSegment, wire.call(client.mount(vec![segment(1, 1 << 20)])));
    let keys: Vec<String> = (0..10_000).map(|at| format!("{at}/{:0200}", 0)).collect();
    for part in keys.chunks(1000) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        answer!(PutStart, wire.call(Call::PutStart(client.put_start(&part, 64))));
    }
    answer!(ListKeys, wire.call(list_all()));
    let before = master.resident_bytes();
    let mut session = Session::open(master.address).await.expect("it is opened");
    // Each answer takes 2 MB and more.
    let page = || Call::ListKeys(ListKeysRequest { limit: 10_000, ..ListKeysRequest::default() });
    let mut sent = 0;
    while sent < 400 {
        match timeout(Duration::from_secs(1), session.send(page())).await {
            Ok(_) => sent += 1,
            Err(_) => break,
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = master.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{sent} requests of 2 MB each have made it grow by {grown} bytes");
    for _ in 0..sent {
        answer_of(timeout(Duration::from_secs(10), session.next()).await.expect("it is answered in time"));
    }
}

/// Clients that go away in the middle of everything leave nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn broken_off_sessions_leave_no_memory_behind() {
    let node = start().await;
    for _ in 0..50 {
        let mut session = Session::open(node.address).await.expect("it is opened");
        let keys = vec![Bytes::from(vec![b'k'; 4096]); 1000];
        session.send(Call::Exists(ExistsRequest { caller: None, keys, standby: None })).await;
        session.send(list_all()).await;
        drop(session.into_answers());
    }
    let settled = async {
        while node.node.request_bytes() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), settled).await.expect("memory for requests is given back");
}
