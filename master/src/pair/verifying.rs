//! A standby's questions to its primary: samples of its records now and then, and a repair where something differs.
//!
//! ```text
//!   the turn (nothing else applies) ─► buckets of the suspect shards ─► up to there ─► compare
//!                                  ─► records of the buckets that differ ─► up to there ─► repair
//! ```
//!
//! Invariants: nothing is compared before the primary has welcomed this member, nor beside a full sync: until then its state may be
//! another history's, with other entries under the same seqs; what is compared stands at the same seq on both, since this member applies nothing else meanwhile and goes on to just
//! where the answer stands; entries come in and are confirmed all the while, so no commit waits for a repair.
//!
//! Deliberately absent: what follows from a finding. `verification` decides that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use metadata::Metadata;
use oplog::{MismatchKind, Part, Position, ReplicatedState as _, Tail, Verifiable as _};
use proto::v1::VerifyRequest;
use proto::v1::replication_client::ReplicationClient;
use proto::v1::sample_answer::Result as SampleResult;
use proto::v1::sample_mismatch::Kind;
use proto::v1::verify_request::Question;
use proto::v1::verify_response::Answer;
use standby::apply_committed;
use tokio::task::block_in_place;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::transport::Channel;
use verification::{Event, Repair, Rounds, Step, question_sample};

use crate::clock::boot_ms;
use crate::pair::Pair;
use crate::pair::peers::incarnation_to_wire;

/// For all of a repair: meanwhile nothing else is applied.
const REPAIR_WITHIN: Duration = Duration::from_secs(10);
/// For one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After a repair that came to nothing.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const APPLY_ENTRIES: usize = 256;
/// As `metadata` has them; a sample of a bucket that is not there holds nothing, and costs nothing.
const BUCKETS: u32 = 16;

/// One connection to the primary of one epoch.
pub(crate) struct Verifying {
    pub(crate) pair: Arc<Pair>,
    pub(crate) calls: ReplicationClient<Channel>,
    pub(crate) epoch: u64,
}

/// Why a repair came to nothing.
enum Stop {
    /// It may work the next time.
    Again(String),
    Event(Event),
}

impl Verifying {
    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let pair = Arc::clone(&self.pair);
        let verify = &pair.node.verify;
        let settings = &pair.node.config.verification;
        let shards = pair.node.state().shards() - 1;
        let mut rounds = Rounds::new(shards, BUCKETS);
        let mut work = verify.work();
        let every = Duration::from_millis(settings.verify_interval_ms);
        let mut samples = interval(every.max(Duration::from_millis(1)));
        samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
        samples.tick().await;
        loop {
            if !self.is_comparable() {
                sleep(AGAIN_AFTER).await;
                continue;
            }
            if let Some(shards) = verify.take_repair() {
                let event = self.repair(&shards).await;
                let again = event == Event::NotRepaired;
                verify.on(event);
                if again {
                    sleep(AGAIN_AFTER).await;
                }
                continue;
            }
            tokio::select! {
                biased;
                changed = work.changed() => if changed.is_err() { return },
                _ = samples.tick(), if !every.is_zero() => {
                    for (part, around) in rounds.next_round(settings.sample_ratio) {
                        if self.is_comparable() {
                            self.sample(part, around).await;
                        }
                    }
                }
            }
        }
    }

    /// What is held here is a part of that primary's history.
    fn is_comparable(&self) -> bool {
        self.pair.notes.last(boot_ms()).is_some() && self.pair.notes.sync().is_none()
    }

    async fn ask(&mut self, question: Question) -> Result<Answer, String> {
        let known = self.pair.seat.known().ok_or("no record is known")?;
        let request = VerifyRequest {
            who: Some(incarnation_to_wire(self.pair.seat.me)),
            cluster_id: Bytes::copy_from_slice(&known.record.cluster_id.to_be_bytes()),
            epoch: self.epoch,
            question: Some(question),
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
            Ok(_) => return tracing::warn!("the primary answers another question than was asked"),
            Err(why) => return tracing::debug!("a sample was not compared: {why}"),
        };
        if answer.result() == SampleResult::Behind {
            return tracing::debug!("a sample was not compared: this member lags too far");
        }
        verify.counts.samples.fetch_add(1, Ordering::Relaxed);
        match answer.result() {
            SampleResult::Ok | SampleResult::Behind => {}
            SampleResult::Mismatch | SampleResult::NeedFullSync => {
                for mismatch in &answer.mismatches {
                    let kind = match mismatch.kind() {
                        Kind::ChecksumMismatch => MismatchKind::Checksum,
                        Kind::KeyNotFound => MismatchKind::KeyNotFound,
                        Kind::ExtraKey => MismatchKind::ExtraKey,
                    };
                    verify.count(kind);
                }
                let text = format!("a sample of shard {} differs: {} records", part.shard, answer.mismatches.len());
                tracing::error!("this member is not the same as its primary: {text}");
                verify.note(text);
                verify.on(Event::SampleDiffers { shard: part.shard });
            }
        }
    }

    async fn repair(&mut self, shards: &BTreeSet<u32>) -> Event {
        let pair = Arc::clone(&self.pair);
        // From here on nobody else applies anything.
        let _turn = pair.node.verify.turn().await;
        let (state, tail) = (pair.node.state(), pair.node.tail());
        match timeout(REPAIR_WITHIN, self.repaired(&state, &tail, shards)).await {
            Ok(Ok(event) | Err(Stop::Event(event))) => event,
            Ok(Err(Stop::Again(why))) => {
                tracing::warn!("a repair came to nothing, it is tried again: {why}");
                Event::NotRepaired
            }
            Err(_) => {
                tracing::warn!("a repair was not done within {} s, it is tried again", REPAIR_WITHIN.as_secs());
                Event::NotRepaired
            }
        }
    }

    async fn repaired(&mut self, state: &Metadata, tail: &Tail, shards: &BTreeSet<u32>) -> Result<Event, Stop> {
        let pair = Arc::clone(&self.pair);
        let mut repair = Repair::new(shards.clone(), pair.node.config.verification.repair_max);
        loop {
            match block_in_place(|| repair.step(state)) {
                Step::Ask(question) => {
                    let answer = self.ask(question).await.map_err(Stop::Again)?;
                    repair.on_answer(answer).map_err(Stop::Again)?;
                }
                Step::ApplyUpto(at) => self.apply_upto(state, tail, at).await?,
                Step::Again(why) => return Err(Stop::Again(why)),
                Step::Ended { event, repaired, why } => {
                    pair.node.verify.found(&repaired);
                    if let Some(why) = why {
                        tracing::error!("{why}");
                    }
                    return Ok(event);
                }
            }
        }
    }

    /// To just there, and no further.
    async fn apply_upto(&self, state: &Metadata, tail: &Tail, at: Position) -> Result<(), Stop> {
        let verify = &self.pair.node.verify;
        loop {
            let applied = state.applied();
            if applied.seq >= at.seq {
                return Ok(());
            }
            match apply_committed(state, tail, APPLY_ENTRIES, at.seq, verify.applied(state)) {
                Ok(applied) if applied.entries > 0 => tokio::task::yield_now().await,
                Ok(_) => {
                    let committed = tail.committed().wait(applied.seq + 1).await;
                    committed.map_err(|why| Stop::Again(format!("{why:?}")))?;
                }
                Err(error) => {
                    tracing::error!("an entry does not fit this member's state: {error}");
                    return Err(Stop::Event(Event::Broken));
                }
            }
        }
    }
}
