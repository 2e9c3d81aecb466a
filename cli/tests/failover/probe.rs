//! A rude client: it asks one member, whatever that says of itself, and never follows a redirect.
//!
//! Deliberately absent: retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::{Caller, GetReplicasRequest, PutStartItem, PutStartRequest};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::cluster::PATIENCE;

const ASK_EVERY: Duration = Duration::from_millis(10);

/// What one member was asked and answered.
#[derive(Clone, Debug)]
struct Answer {
    what: &'static str,
    asked: Instant,
    answered: Instant,
    /// The error, if it refused.
    result: Result<u64, String>,
}

#[derive(Debug)]
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    asking: JoinSet<Vec<Answer>>,
}

#[derive(Debug)]
pub(crate) struct Answers(Vec<Answer>);

impl Probe {
    /// Reads `key` and starts puts, without waiting for earlier answers.
    pub(crate) async fn start(address: &str, key: &str, number: usize) -> Probe {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is an address");
        let calls = MetadataClient::new(endpoint.connect().await.expect("it listens"));
        let (stop, mut asking) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        asking.spawn(ask(calls, key.to_owned(), format!("probe-{number}"), Arc::clone(&stop)));
        Probe { stop, asking }
    }

    pub(crate) async fn stop(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        Answers(self.asking.join_all().await.into_iter().flatten().collect())
    }
}

impl Answers {
    /// Some calls were made before this moment, and answered after it.
    pub(crate) fn check_waited_over(&self, moment: Instant) {
        let waited = self.0.iter().any(|answer| answer.asked < moment && answer.answered >= moment);
        assert!(waited, "the probe did not ask at the right time");
    }

    /// Nothing was acknowledged and nothing read after this moment, although it was asked.
    pub(crate) fn check_silent_after(&self, moment: Instant) {
        let after: Vec<_> = self.0.iter().filter(|answer| answer.answered >= moment).collect();
        let before = self.0.len() - after.len();
        let (waiting, asked) = (after.iter().filter(|answer| answer.asked < moment).count(), after.len());
        println!("probe: {before} answers before, {asked} after, of which {waiting} had been asked before");
        assert!(before > 0 && asked > waiting, "the probe did not ask at the right time");
        let wrong = after.iter().filter_map(|answer| Some((answer.what, answer.result.as_ref().ok()?)));
        let wrong: Vec<_> = wrong.take(5).collect();
        assert!(wrong.is_empty(), "answered by a member that had been deposed, in epochs: {wrong:?}");
    }
}

async fn ask(calls: MetadataClient<Channel>, key: String, name: String, stop: Arc<AtomicBool>) -> Vec<Answer> {
    let mut answers = JoinSet::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        answers.spawn(read(calls.clone(), key.clone()));
        answers.spawn(put(calls.clone(), format!("{name}/{number}")));
        number += 1;
        sleep(ASK_EVERY).await;
    }
    answers.join_all().await
}

fn caller() -> Option<Caller> {
    Some(Caller { client_id: Bytes::from_static(&[7; 16]), ..Caller::default() })
}

async fn read(mut calls: MetadataClient<Channel>, key: String) -> Answer {
    let asked = Instant::now();
    let request = GetReplicasRequest { caller: caller(), keys: vec![Bytes::from(key)], standby: None };
    let answer = timeout(PATIENCE, calls.get_replicas(request)).await.expect("it answers something");
    let epoch = answer.map(|answer| answer.into_inner().position.map_or(0, |at| at.epoch));
    Answer { what: "read", asked, answered: Instant::now(), result: epoch.map_err(|status| status.to_string()) }
}

async fn put(mut calls: MetadataClient<Channel>, key: String) -> Answer {
    let asked = Instant::now();
    let items = vec![PutStartItem { key: Bytes::from(key), size: 1 }];
    let request = PutStartRequest { caller: caller(), items, ..PutStartRequest::default() };
    let answer = timeout(PATIENCE, calls.put_start(request)).await.expect("it answers something");
    let epoch = answer.map(|answer| answer.into_inner().position.map_or(0, |at| at.epoch));
    Answer { what: "put", asked, answered: Instant::now(), result: epoch.map_err(|status| status.to_string()) }
}
