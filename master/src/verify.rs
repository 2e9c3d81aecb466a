//! Whether this member is what its log says: the pure core of the verification behind a lock, what follows at once from what it
//! says, and what is told of it to people.
//!
//! Invariants: from a finding to its end this member is not sound, and the election hears so before anything else happens; whoever
//! applies entries or repairs holds the turn.
//!
//! Deliberately absent: the questions to the primary (`pair/verifying`) and the look at the own records (`scrub`).

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use metadata::Metadata;
use oplog::{
    Digests, Domain, Entry, Mismatch, MismatchKind, OP_DIGEST, Position, ReplicatedState as _, Verifiable as _,
};
use parking_lot::Mutex;
use tokio::sync::{Mutex as TurnMutex, MutexGuard as Turn, watch};
use verification::{Action, Condition, Event, Limits, Verifier};

use crate::clock;
use crate::pair::Seat;

/// Shards that are repaired one by one; a thousandth of all objects each.
const REPAIR_SHARDS_MAX: usize = 16;
const REPAIR_TRIES_MAX: u32 = 5;
/// Findings that are kept for people.
const FINDINGS_MAX: usize = 32;
/// Of how many comparisons this member still knows its own digests.
const RECENT_MAX: usize = 16;

/// Something that a person may want to know.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) wall_ms: u64,
    pub(crate) what: String,
}

/// What is to be done by whoever is connected to the primary.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Work {
    pub(crate) repair: Option<BTreeSet<u32>>,
    /// Nothing that is held is trusted: a full sync is needed.
    pub(crate) lost: bool,
}

/// Since the start.
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
pub(crate) struct Verify {
    core: Mutex<Verifier>,
    seat: OnceLock<Arc<Seat>>,
    work: watch::Sender<Work>,
    /// Who may apply entries and repair, one at a time.
    turn: TurnMutex<()>,
    findings: Mutex<VecDeque<Finding>>,
    recent: Mutex<VecDeque<Digests>>,
    compared_at: watch::Sender<u64>,
    pub(crate) counts: Counts,
}

impl Verify {
    pub(crate) fn new(shards: u32) -> Verify {
        let limits = Limits { shards_max: REPAIR_SHARDS_MAX, tries_max: REPAIR_TRIES_MAX, whole_shard: shards - 1 };
        Verify {
            core: Mutex::new(Verifier::new(limits)),
            seat: OnceLock::new(),
            work: watch::channel(Work::default()).0,
            turn: TurnMutex::new(()),
            findings: Mutex::new(VecDeque::new()),
            recent: Mutex::new(VecDeque::new()),
            compared_at: watch::channel(0).0,
            counts: Counts::default(),
        }
    }

    pub(crate) fn take_seat(&self, seat: Arc<Seat>) {
        assert!(self.seat.set(seat).is_ok(), "a node has one seat");
    }

    pub(crate) async fn turn(&self) -> Turn<'_, ()> {
        self.turn.lock().await
    }

    pub(crate) fn work(&self) -> watch::Receiver<Work> {
        self.work.subscribe()
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.core.lock().is_sound()
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.core.lock().condition() == Condition::Lost
    }

    pub(crate) fn verified(&self) -> Position {
        self.core.lock().verified()
    }

    /// "sound", "diverged", "lost"; and what is the matter.
    pub(crate) fn condition(&self) -> (&'static str, String) {
        let core = self.core.lock();
        let shards: Vec<String> = core.suspects().iter().map(u32::to_string).collect();
        match core.condition() {
            Condition::Sound if core.left_alone().is_empty() => ("sound", String::new()),
            Condition::Sound => (
                "sound",
                format!("the primary is the suspect in {} shards: a person must look", core.left_alone().len()),
            ),
            Condition::Diverged => {
                ("diverged", format!("its state differs from the primary's in shards {}", shards.join(", ")))
            }
            Condition::Lost => ("lost", "its state is not to be trusted: it waits for a full sync".to_owned()),
        }
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

    /// The own digests at a seq at which the log has those of the primary.
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

    /// Waits until this member has come to that seq. `None`: it is not known here any more.
    pub(crate) async fn digests_at(&self, seq: u64) -> Option<Digests> {
        let mut compared_at = self.compared_at.subscribe();
        compared_at.wait_for(|at| *at >= seq).await.ok()?;
        self.recent.lock().iter().find(|digests| digests.at.seq == seq).cloned()
    }

    /// An entry was just applied to the state. If it carries the primary's digests, they are compared.
    pub(crate) fn on_applied(&self, state: &Metadata, entry: &Entry) {
        if entry.domain != Domain::ENGINE || entry.op_type != OP_DIGEST {
            return;
        }
        let theirs = match Digests::decode(entry.position(), &entry.payload) {
            Ok(theirs) => theirs,
            Err(error) => {
                return tracing::error!(at = %entry.position(), "the log's digests are not understood: {error}");
            }
        };
        let ours = state.digests();
        let difference = ours.difference(&theirs);
        self.counts.compared.fetch_add(1, Ordering::Relaxed);
        if !difference.is_empty() {
            self.counts.differed.fetch_add(1, Ordering::Relaxed);
            let what = format!(
                "at {} the digests differ in shards {:?}{}",
                ours.at,
                difference.shards,
                if difference.implied { " and in what they imply" } else { "" }
            );
            if self.is_sound() {
                tracing::error!("this member is not the same as its primary: {what}");
            }
            self.note(what);
        }
        self.on(Event::Compared { at: ours.at, difference });
        self.keep(ours);
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

    /// The own records of a shard are not what is kept of them.
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
        if !leads {
            self.on(Event::Rotten { shard });
        }
    }

    pub(crate) fn on(&self, event: Event) {
        let mut core = self.core.lock();
        let mut actions = Vec::new();
        core.on_event(event, &mut actions);
        for action in actions {
            match action {
                Action::Sound(sound) => {
                    if let Some(seat) = self.seat.get() {
                        seat.event(election::Event::Sound(sound));
                    }
                    if sound {
                        tracing::info!("this member is sound: it may be promoted again");
                    }
                }
                Action::Repair { shards } => {
                    self.work.send_modify(|work| work.repair = Some(shards));
                }
                Action::FullSync => {
                    self.counts.full_syncs.fetch_add(1, Ordering::Relaxed);
                    tracing::error!("this member's state is not to be trusted any more: it takes a full sync");
                    self.note("a full sync is needed".to_owned());
                    self.work.send_modify(|work| *work = Work { repair: None, lost: true });
                }
                Action::Alarm { shards } => {
                    self.counts.alarms.fetch_add(1, Ordering::Relaxed);
                    let text = format!(
                        "the primary's records of shards {shards:?} are not what it keeps of them: nothing is repaired from \
                         there, a person must decide"
                    );
                    tracing::error!("{text}");
                    self.note(text);
                }
            }
        }
        if !core.is_sound() {
            return;
        }
        if *self.work.borrow() != Work::default() {
            self.work.send_replace(Work::default());
        }
    }

    /// What to repair; taken, so that it is done once.
    pub(crate) fn take_repair(&self) -> Option<BTreeSet<u32>> {
        let mut taken = None;
        self.work.send_if_modified(|work| {
            taken = work.repair.take();
            false
        });
        taken
    }

    /// Applies what comes next, up to there. Only for whoever holds the turn.
    pub(crate) fn applied(&self, state: &Metadata) -> impl FnMut(&Entry) {
        move |entry| self.on_applied(state, entry)
    }
}

/// How many shards a state has.
pub(crate) fn shards_of(state: &Metadata) -> u32 {
    state.shards()
}
