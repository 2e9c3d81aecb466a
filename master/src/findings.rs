//! What a member reports about its verification: counts, findings, log lines; and its own recent
//! digests.
//!
//! Rule of the shell: a task that applies entries, or repairs, holds the turn.
//!
//! Deliberately absent: what follows from a finding (`member`), the questions to the primary
//! (`pair/verifying`), the check of its own records (`scrub`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use member::Compared;
use oplog::{Digests, Mismatch, MismatchKind, Position};
use parking_lot::Mutex;
use tokio::sync::{Mutex as TurnMutex, MutexGuard as Turn, watch};
use verification::{Action, Condition, Event, Verifier};

use crate::clock;

/// How many findings are kept.
const FINDINGS_MAX: usize = 32;
/// For how many comparisons this member keeps its own digests.
const RECENT_MAX: usize = 16;

/// A finding, for operators.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) wall_ms: u64,
    pub(crate) what: String,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) compared: AtomicU64,
    pub(crate) differed: AtomicU64,
    pub(crate) samples: AtomicU64,
    pub(crate) checksum_mismatches: AtomicU64,
    pub(crate) keys_not_found: AtomicU64,
    pub(crate) extra_keys: AtomicU64,
    pub(crate) repaired: AtomicU64,
    pub(crate) full_syncs: AtomicU64,
    pub(crate) rotten: AtomicU64,
    pub(crate) alarms: AtomicU64,
    pub(crate) scrubbed_shards: AtomicU64,
    pub(crate) scrub_cycles: AtomicU64,
    pub(crate) scrub_skipped: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Findings {
    /// A task that applies entries or repairs holds this, one at a time.
    turn: TurnMutex<()>,
    findings: Mutex<VecDeque<Finding>>,
    recent: Mutex<VecDeque<Digests>>,
    compared_at: watch::Sender<u64>,
    /// Wakes the tasks that repair, or that receive from the primary.
    doubts: watch::Sender<()>,
    pub(crate) counts: Counts,
}

impl Default for Findings {
    fn default() -> Findings {
        Findings {
            turn: TurnMutex::new(()),
            findings: Mutex::default(),
            recent: Mutex::default(),
            compared_at: watch::channel(0).0,
            doubts: watch::channel(()).0,
            counts: Counts::default(),
        }
    }
}

/// "sound", "diverged" or "lost", and the reason.
pub(crate) fn condition(verifier: &Verifier) -> (&'static str, String) {
    let shards: Vec<String> = verifier.suspects().iter().map(u32::to_string).collect();
    let left_alone = verifier.left_alone().len();
    match verifier.condition() {
        Condition::Sound if left_alone == 0 => ("sound", String::new()),
        Condition::Sound => {
            ("sound", format!("the primary is the suspect in {left_alone} shards: an operator must look"))
        }
        Condition::Diverged => {
            ("diverged", format!("its state differs from the primary's in shards {}", shards.join(", ")))
        }
        Condition::Lost => ("lost", "its state is not to be trusted: it waits for a full sync".to_owned()),
    }
}

impl Findings {
    pub(crate) async fn turn(&self) -> Turn<'_, ()> {
        self.turn.lock().await
    }

    /// Changes when there is something new to do about this member's doubts.
    pub(crate) fn doubts(&self) -> watch::Receiver<()> {
        self.doubts.subscribe()
    }

    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.findings.lock().iter().cloned().collect()
    }

    pub(crate) fn note(&self, what: String) {
        let mut findings = self.findings.lock();
        if findings.len() >= FINDINGS_MAX {
            findings.pop_front();
        }
        findings.push_back(Finding { wall_ms: clock::wall_ns() / 1_000_000, what });
    }

    /// This member's own digests at a seq at which the log has those of the primary.
    pub(crate) fn keep(&self, digests: Digests) {
        let seq = digests.at.seq;
        let mut recent = self.recent.lock();
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(digests);
        drop(recent);
        self.compared_at.send_replace(seq);
    }

    /// The state of these digests is not held any more.
    pub(crate) fn forget_digests(&self) {
        self.recent.lock().clear();
    }

    pub(crate) fn has_digests_of(&self, at: Position) -> bool {
        self.recent.lock().iter().any(|digests| digests.at == at)
    }

    /// Waits until this member has reached that seq. `None`: its digests are not known here any
    /// more.
    pub(crate) async fn digests_at(&self, seq: u64) -> Option<Digests> {
        let mut compared_at = self.compared_at.subscribe();
        compared_at.wait_for(|at| *at >= seq).await.ok()?;
        self.recent.lock().iter().find(|digests| digests.at.seq == seq).cloned()
    }

    /// `was_sound`: before this comparison.
    pub(crate) fn on_compared(&self, compared: &Compared, was_sound: bool) {
        self.counts.compared.fetch_add(1, Ordering::Relaxed);
        let Event::Compared { at, difference } = &compared.event else { return };
        if difference.is_empty() {
            return;
        }
        self.counts.differed.fetch_add(1, Ordering::Relaxed);
        let implied = if difference.implied { " and in what follows from them" } else { "" };
        let what = format!("at {at} the digests differ in shards {:?}{implied}", difference.shards);
        if was_sound {
            tracing::error!("this member is not the same as its primary: {what}");
        }
        self.note(what);
    }

    pub(crate) fn found(&self, mismatches: &[Mismatch]) {
        for mismatch in mismatches {
            self.count(mismatch.kind);
            self.counts.repaired.fetch_add(1, Ordering::Relaxed);
            let fields = mismatch.fields.iter().map(|(name, ours, theirs)| format!("{name}: {ours}, now {theirs}"));
            let fields: Vec<String> = fields.collect();
            let what = format!(
                "repaired, shard {} bucket {}: {} {} ({})",
                mismatch.part.shard,
                mismatch.part.bucket,
                mismatch.kind.name(),
                mismatch.record,
                fields.join("; ")
            );
            tracing::warn!("{what}");
            self.note(what);
        }
    }

    pub(crate) fn count(&self, kind: MismatchKind) {
        let counter = match kind {
            MismatchKind::Checksum => &self.counts.checksum_mismatches,
            MismatchKind::KeyNotFound => &self.counts.keys_not_found,
            MismatchKind::ExtraKey => &self.counts.extra_keys,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// This member's own records of a shard do not match its digest.
    pub(crate) fn rotten(&self, shard: u32, what: &str, leads: bool) {
        self.counts.rotten.fetch_add(1, Ordering::Relaxed);
        let text = format!("shard {shard} has changed without an entry: {what}");
        match leads {
            true => {
                tracing::error!(
                    "{text}. This member is the primary: nothing is repaired from it there. If a standby is in sync, \
                     give its place away (`understudy transfer`) and restart it"
                );
            }
            false => tracing::error!("{text}. It is repaired from the primary"),
        }
        self.note(text);
    }

    /// The result of this member's doubts. `verified`: the newest position at which it was sound.
    pub(crate) fn on_doubt(&self, action: &Action, verified: Position) {
        match action {
            Action::Sound(true) => {
                tracing::info!(seq = verified.seq, "this member is sound: it may be promoted again");
            }
            Action::Sound(false) | Action::Repair { .. } => {}
            Action::FullSync => {
                self.counts.full_syncs.fetch_add(1, Ordering::Relaxed);
                tracing::error!("this member's state is not to be trusted any more: it needs a full sync");
                self.note("a full sync is needed".to_owned());
            }
            Action::Alarm { shards } => {
                self.counts.alarms.fetch_add(1, Ordering::Relaxed);
                let text = format!(
                    "the primary's records of shards {shards:?} are not what it keeps of them: nothing is repaired from \
                     there, an operator must decide"
                );
                tracing::error!("{text}");
                self.note(text);
            }
        }
        self.doubts.send_replace(());
    }
}
