//! A standby's questions to its primary, over gRPC: samples of its records now and then, and a
//! repair if something differs.
//!
//! Rules of the shell: a repair has the turn, so nothing else is applied meanwhile; an answer must
//! come within `ANSWER_WITHIN`; entries come in and are confirmed all the time, so no commit waits
//! for a repair.
//!
//! Deliberately absent: what is sampled and repaired when (`member::Questions`), and what follows
//! from a finding (`verification`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use member::{Doing, Ended, Questions, Sampled};
use oplog::Tail;
use proto::v1::VerifyRequest;
use proto::v1::replication_client::ReplicationClient;
use proto::v1::verify_response::Answer;
use tokio::task::{block_in_place, yield_now};
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use verification::Event;

use crate::clock::now_ms;
use crate::pair::Pair;

/// The limit on the wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two checks whether a repair takes too long.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// One connection to the primary of one epoch.
pub(crate) struct Verifying {
    pub(crate) pair: Arc<Pair>,
    pub(crate) calls: ReplicationClient<Channel>,
    pub(crate) questions: Questions,
}

impl Verifying {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let pair = Arc::clone(&self.pair);
        let mut doubts = pair.node.findings.doubts();
        // Held during a repair.
        let mut turn = None;
        loop {
            doubts.mark_unchanged();
            let held = pair.node.held();
            let mut next = || {
                let on_applied = |entry: &_| pair.on_applied(&held.state, entry);
                self.questions.next(&*pair.seat, (&*held.state, &*held.tail), on_applied)
            };
            let doing = if turn.is_some() { block_in_place(next) } else { next() };
            match doing {
                Doing::Still => turn = Some(pair.node.findings.turn().await),
                Doing::Ask(request) => {
                    let answer = self.ask(request).await;
                    self.questions.on_answer(answer);
                }
                Doing::WaitForCommit(seq) => wait_for_commit(&held.tail, seq).await,
                Doing::More | Doing::WaitForAnswer => yield_now().await,
                Doing::Sampled(shard, sampled) => self.tell_sample(shard, sampled),
                Doing::Ended(ended) => {
                    self.tell_repair(&ended);
                    turn = None;
                }
                Doing::Rest { until_ms } => tokio::select! {
                    biased;
                    changed = doubts.changed() => if changed.is_err() { return },
                    () = sleep(Duration::from_millis(until_ms.saturating_sub(now_ms()))) => {}
                },
            }
        }
    }

    async fn ask(&mut self, request: VerifyRequest) -> Result<Answer, String> {
        let answer = timeout(ANSWER_WITHIN, self.calls.verify(request)).await.map_err(|_| "no answer came in time")?;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner().answer;
        Ok(answer.ok_or("an answer without content")?)
    }

    fn tell_sample(&self, shard: u32, sampled: Result<Sampled, String>) {
        let findings = &self.pair.node.findings;
        let sampled = match sampled {
            Ok(sampled) => sampled,
            Err(why) => return tracing::debug!("a sample was not compared: {why}"),
        };
        findings.counts.samples.fetch_add(1, Ordering::Relaxed);
        if sampled.differs {
            sampled.mismatches.iter().for_each(|kind| findings.count(*kind));
            let text = format!("a sample of shard {shard} differs: {} records", sampled.mismatches.len());
            tracing::error!("this member is not the same as its primary: {text}");
            findings.note(text);
        }
    }

    fn tell_repair(&self, Ended { event, repaired, why }: &Ended) {
        self.pair.node.findings.found(repaired);
        match (event, why) {
            (Event::NotRepaired, Some(why)) => tracing::warn!("a repair failed, and is tried again: {why}"),
            (_, Some(why)) => tracing::error!("{why}"),
            (_, None) => {}
        }
    }
}

/// Or until it is time to check whether the repair takes too long.
async fn wait_for_commit(tail: &Tail, seq: u64) {
    if let Ok(Err(_)) = timeout(LOOK_AGAIN, tail.committed().wait(seq)).await {
        // It is closed, and the stream ends for the same reason.
        sleep(LOOK_AGAIN).await;
    }
}
