//! A standby's questions to its primary, as gRPC has them: samples of its records now and then, and a
//! repair where something differs.
//!
//! Rules of the shell: a repair has the turn, so nothing else is applied beside it; an answer has
//! `ANSWER_WITHIN`; entries come in and are confirmed all the while, so no commit waits for a repair.
//!
//! Deliberately absent: what is sampled and repaired when (`member`), and what follows from a finding
//! (`verification`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use member::{Doing, Ended, REPAIR_AGAIN_MS, Repairing, incarnation_to_wire, read_sample};
use oplog::{Part, Tail, Verifiable as _};
use prost::Message as _;
use proto::v1::replication_client::ReplicationClient;
use proto::v1::verify_question::Question;
use proto::v1::verify_response::Answer;
use proto::v1::{VerifyQuestion, VerifyRequest};
use tokio::task::{block_in_place, yield_now};
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use verification::{Event, question_sample};

use crate::clock::now_ms;
use crate::pair::Pair;

/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at what cannot be done yet.
const LOOK_AGAIN: Duration = Duration::from_millis(REPAIR_AGAIN_MS);

/// One connection to the primary of one epoch.
pub(crate) struct Verifying {
    pub(crate) pair: Arc<Pair>,
    pub(crate) calls: ReplicationClient<Channel>,
    /// Of the stream beside which this asks.
    pub(crate) token: Bytes,
    pub(crate) epoch: u64,
}

impl Verifying {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let pair = Arc::clone(&self.pair);
        let mut doubts = pair.node.verify.doubts();
        loop {
            doubts.mark_unchanged();
            if let Some(shards) = pair.seat.with(|member, now| member.take_repair(now)) {
                self.repair(shards).await;
                continue;
            }
            for (part, around) in pair.seat.with(|member, now| member.take_samples(now)) {
                self.sample(part, around).await;
            }
            // What is due and was not given cannot be compared yet.
            let left_ms = pair.seat.look(|member, now| member.doubts_due_ms().saturating_sub(now));
            let left = if left_ms == 0 { LOOK_AGAIN } else { Duration::from_millis(left_ms) };
            tokio::select! {
                biased;
                changed = doubts.changed() => if changed.is_err() { return },
                () = sleep(left) => {}
            }
        }
    }

    async fn ask(&mut self, question: Question) -> Result<Answer, String> {
        let request = VerifyRequest {
            who: Some(incarnation_to_wire(self.pair.seat.me)),
            epoch: self.epoch,
            token: self.token.clone(),
            question: VerifyQuestion { question: Some(question) }.encode_to_vec().into(),
        };
        let answer = timeout(ANSWER_WITHIN, self.calls.verify(request)).await.map_err(|_| "no answer came in time")?;
        let answer = answer.map_err(|status| status.message().to_owned())?.into_inner().answer;
        Ok(answer.ok_or("an answer without content")?)
    }

    async fn sample(&mut self, part: Part, around: u64) {
        let pair = Arc::clone(&self.pair);
        let (verify, settings) = (&pair.node.verify, &pair.node.config.verification);
        let sample = pair.node.state().sample(part, around, settings.entries_per_shard);
        let answer = match self.ask(question_sample(&sample)).await {
            Ok(Answer::Sample(answer)) => answer,
            Ok(Answer::Buckets(_) | Answer::Parts(_)) => {
                return tracing::warn!("the primary answers another question than was asked");
            }
            Err(why) => return tracing::debug!("a sample was not compared: {why}"),
        };
        let Some(sampled) = read_sample(&answer) else {
            return tracing::debug!("a sample was not compared: this member lags too far");
        };
        verify.counts.samples.fetch_add(1, Ordering::Relaxed);
        if sampled.differs {
            sampled.mismatches.iter().for_each(|kind| verify.count(*kind));
            let text = format!("a sample of shard {} differs: {} records", part.shard, sampled.mismatches.len());
            tracing::error!("this member is not the same as its primary: {text}");
            verify.note(text);
            pair.node.doubt(Event::SampleDiffers { shard: part.shard });
        }
    }

    async fn repair(&mut self, shards: BTreeSet<u32>) {
        let pair = Arc::clone(&self.pair);
        // From here on nothing else is applied, until the member knows the end.
        let _turn = pair.node.verify.turn().await;
        let Ended { event, repaired, why } = self.repaired(shards).await;
        pair.node.verify.found(&repaired);
        match (&event, why) {
            (Event::NotRepaired, Some(why)) => {
                tracing::warn!("a repair came to nothing, it is tried again: {why}");
            }
            (_, Some(why)) => tracing::error!("{why}"),
            (_, None) => {}
        }
        pair.node.doubt(event);
    }

    async fn repaired(&mut self, shards: BTreeSet<u32>) -> Ended {
        let pair = Arc::clone(&self.pair);
        let held = pair.node.held();
        let on_applied = |entry: &_| pair.on_applied(&held.state, entry);
        let mut repairing = Repairing::new(shards, pair.node.config.verification.repair_max, now_ms());
        loop {
            match block_in_place(|| repairing.next(&*held.state, &held.tail, now_ms(), on_applied)) {
                Doing::Ask(question) => {
                    if let Err(ended) = repairing.on_answer(self.ask(question).await) {
                        return ended;
                    }
                }
                Doing::WaitForCommit(seq) => wait_for_commit(&held.tail, seq).await,
                Doing::More | Doing::WaitForAnswer => yield_now().await,
                Doing::Ended(ended) => return ended,
            }
        }
    }
}

/// Or until it is time to look whether the repair takes too long.
async fn wait_for_commit(tail: &Tail, seq: u64) {
    if let Ok(Err(_)) = timeout(LOOK_AGAIN, tail.committed().wait(seq)).await {
        // It is closed, and the stream ends for the same reason.
        sleep(LOOK_AGAIN).await;
    }
}
