//! Standbys that answer reads: as fresh as asked, or not at all; never what is not committed, never
//! with a lease.

use std::time::{Duration, Instant};

use bytes::Bytes;
use client::{Client, Force, Options, PutOptions, ReadOptions, Segment};
use proto::v1::metadata_client::MetadataClient;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, Caller, ExistsRequest, GetReplicasRequest, GetReplicasResponse, ListKeysRequest, ListSegmentsRequest,
    Position, Reason, SessionRequest, StandbyRead,
};
use rustix::process::Signal;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

use crate::cluster::{Cluster, PATIENCE, Spec};
use crate::load::connect;

/// A pair whose primary may stand still for longer than a test lasts before the other one takes
/// over.
const SLOW_TAKEOVER: [&str; 2] = ["--tenure-ms", "60000"];
const ASK_EVERY: Duration = Duration::from_millis(20);

pub(crate) fn caller() -> Option<Caller> {
    Some(Caller { client_id: Bytes::from_static(&[7; 16]), ..Caller::default() })
}

pub(crate) fn calls(address: &str) -> MetadataClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is an address");
    MetadataClient::new(endpoint.connect_lazy())
}

/// Reads one key at one member, whatever its role.
pub(crate) async fn get(
    address: &str,
    key: &str,
    standby: Option<StandbyRead>,
) -> Result<GetReplicasResponse, CallError> {
    let request = GetReplicasRequest { caller: caller(), keys: vec![Bytes::copy_from_slice(key.as_bytes())], standby };
    let answer = calls(address).get_replicas(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| proto::status::from_status(&status))
}

/// A pair with its primary, its standby, and a client that has a segment.
async fn pair(args: &[&str]) -> (Cluster, String, String, Client) {
    let cluster = Cluster::start(&["a", "b"], Spec::with(args)).await;
    let (primary, _) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    let client = connect(&cluster.addresses()).await;
    client.mount_segment(&Segment::memory("s", 1 << 40, 1 << 20, "10.0.1.1:1")).await.expect("the segment is new");
    (cluster, primary, standby, client)
}

async fn write(client: &Client, key: &str) -> client::Position {
    let put = client.put(key, 100, PutOptions::default()).await.expect("there is room");
    put.end(None).await.expect("it was started")
}

fn at(position: client::Position) -> Option<StandbyRead> {
    let client::Position { epoch, seq } = position;
    Some(StandbyRead { min_position: Some(Position { epoch, seq }), max_staleness_ms: None })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_answers_what_it_was_asked_for_and_grants_no_lease() {
    let (cluster, primary, standby, client) = pair(&["--object-lease-ms", "1000"]).await;
    let address = cluster.address(&standby);
    for round in 0..50 {
        // No pause between the write and the read: the standby waits for what is asked.
        let key = format!("k{round}");
        let written = write(&client, &key).await;
        let answer = get(&address, &key, at(written)).await.expect("the standby waits for the write");
        assert!(answer.results[0].refusal.is_none(), "round {round}: {answer:#?}");
        assert!(answer.from_standby);
        assert_eq!(answer.lease_ms, 0, "a standby's lease would protect nothing");
        let seen = answer.position.expect("it says what it is true at");
        assert!((seen.epoch, seen.seq) >= (written.epoch, written.seq), "{seen:?} after {written}");
    }
    // Everything counts as leased for a while after a promotion. Reads at the standby do not extend
    // that.
    until(async || {
        get(&address, "k0", at(client::Position::default())).await.expect("it is asked again and again");
        client.remove_one("k0", Force::No).await.ok()
    })
    .await;
    let refused = get(&address, "k1", None).await.expect_err("only the primary answers what is not for a standby");
    assert_eq!((refused.reason(), refused.primary_address), (Reason::NotPrimary, cluster.address(&primary)));
    let from_primary = get(&cluster.address(&primary), "k1", at(client::Position::default())).await.expect("as always");
    assert!(!from_primary.from_standby && from_primary.lease_ms > 0);
    cluster.check_logs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn position_that_the_standby_does_not_reach_is_refused_with_both_sides() {
    let (cluster, _, standby, client) = pair(&[]).await;
    let written = write(&client, "k").await;
    let far = client::Position { seq: written.seq + 1_000_000, ..written };
    let refused = get(&cluster.address(&standby), "k", at(far)).await.expect_err("it is far from there");
    assert_eq!(refused.reason(), Reason::StaleRead);
    assert!(refused.message.starts_with(&format!("applied {}/", written.epoch)), "{}", refused.message);
    assert!(refused.message.ends_with(&format!(", asked {far}")), "{}", refused.message);
    cluster.check_logs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_sessions_are_answered_by_a_standby_too() {
    let (cluster, _, standby, client) = pair(&[]).await;
    let written = write(&client, "k").await;
    let mut calls = calls(&cluster.address(&standby));
    let list = ListKeysRequest { caller: caller(), standby: at(written), ..ListKeysRequest::default() };
    let keys = calls.list_keys(list).await.expect("answered").into_inner();
    assert!(keys.from_standby && keys.keys.len() == 1 && keys.keys[0].complete, "{keys:?}");
    let list = ListSegmentsRequest { standby: at(written), ..ListSegmentsRequest::default() };
    let segments = calls.list_segments(list).await.expect("answered").into_inner();
    assert!(segments.from_standby && segments.segments.len() == 1, "{segments:?}");
    // On a session: a call that it can answer, one that it never can, and one that is not for a
    // standby.
    let far = client::Position { seq: written.seq + 1_000_000, ..written };
    let keys = vec![Bytes::from_static(b"k")];
    let exists = |standby| Some(Call::Exists(ExistsRequest { caller: caller(), keys: keys.clone(), standby }));
    let asked = [at(far), at(written), None];
    let requests = asked.into_iter().zip(0..).map(|(standby, id)| SessionRequest { id, call: exists(standby) });
    let requests: Vec<_> = requests.collect();
    let refused = calls.session(tokio_stream::iter(requests.clone())).await.expect_err("it is not the primary");
    assert_eq!(proto::status::from_status(&refused).reason(), Reason::NotPrimary);
    let mut session = tonic::Request::new(tokio_stream::iter(requests));
    session.metadata_mut().insert(proto::STANDBY_READ_METADATA, tonic::metadata::MetadataValue::from_static("1"));
    let answers = calls.session(session).await.expect("it takes sessions for standbys");
    let mut answers = answers.into_inner();
    let mut told = std::collections::BTreeMap::new();
    while let Some(answer) = answers.message().await.expect("the session ends well") {
        told.insert(answer.id, answer.answer.expect("it is one"));
    }
    assert!(matches!(&told[&0], Answer::Error(error) if error.reason() == Reason::StaleRead), "{told:?}");
    assert!(matches!(&told[&1], Answer::Exists(answer) if answer.from_standby && answer.exists == [true]), "{told:?}");
    assert!(matches!(&told[&2], Answer::Error(error) if error.reason() == Reason::NotPrimary), "{told:?}");
    cluster.check_logs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standby_whose_primary_stands_still_grows_stale_and_says_so() {
    let (mut cluster, primary, standby, client) = pair(&SLOW_TAKEOVER).await;
    let written = write(&client, "k").await;
    let address = cluster.address(&standby);
    let within = |ms| Some(StandbyRead { min_position: None, max_staleness_ms: Some(ms) });
    get(&address, "k", at(written)).await.expect("it is there");
    let fresh = until(async || get(&address, "k", within(1000)).await.ok()).await;
    assert!(fresh.from_standby);
    cluster.signal(&primary, Signal::STOP);
    let refused = until(async || get(&address, "k", within(1000)).await.err()).await;
    assert_eq!(refused.reason(), Reason::StaleRead);
    let age = refused.message.strip_prefix("age ").and_then(|rest| rest.strip_suffix(" ms, asked 1000 ms"));
    assert!(age.is_some_and(|ms| ms.parse::<u64>().is_ok_and(|ms| ms > 1000)), "{}", refused.message);
    let old = get(&address, "k", Some(StandbyRead::default())).await.expect("any age will do");
    assert!(old.from_standby && old.results[0].refusal.is_none());
    cluster.signal(&primary, Signal::CONT);
    let again = until(async || get(&address, "k", within(1000)).await.ok()).await;
    assert!(again.results[0].refusal.is_none());
}

async fn until<T>(mut is_so: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = is_so().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        sleep(ASK_EVERY).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_reads_its_own_writes_at_the_standby_and_at_the_primary_when_there_is_none() {
    let (mut cluster, _, standby, writer) = pair(&[]).await;
    let mut options = Options::new(cluster.addresses());
    options.heartbeat = client::Heartbeat::Off;
    let reader = Client::connect(options).await.expect("they listen");
    for round in 0..20 {
        let key = format!("k{round}");
        let written = write(&writer, &key).await;
        // Until it has heard which member is the primary, a client may take either for a standby.
        let reads = reader.with_reads(ReadOptions { min_position: Some(written), max_staleness: None });
        let found = reads.get(&key).await.expect("answered").expect("it was written");
        assert!(found.position >= written, "{} after {written}", found.position);
        assert!(round == 0 || found.from_standby, "round {round} was not read at the standby");
        assert!(!found.from_standby || found.leased_until <= Instant::now());
    }
    cluster.kill(&standby);
    let written = write(&writer, "last").await;
    let reads = reader.with_reads(ReadOptions { min_position: Some(written), max_staleness: None });
    let found = reads.get("last").await.expect("answered").expect("it was written");
    assert!(!found.from_standby, "the primary answers where no standby can");
}
