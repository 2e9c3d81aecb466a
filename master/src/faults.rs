//! Faults that tests inject into a member, and must see found: into its state (`metadata::Fault`),
//! into how it applies the log, or into what it acknowledges. Only with the feature `faults`, which
//! no released binary has.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use metadata::{Fault, Metadata};
use oplog::{DomainId, Entry, ReplicatedState as _, Tail};

use crate::node::Node;

/// What comes next.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// How many of the next entries of the state's own domain are affected.
    entries: AtomicU8,
    /// The last step of a full sync takes as long as with very many objects.
    lingers: AtomicBool,
    /// From now on every answer goes out before its changes are committed.
    answers_early: AtomicBool,
}

impl Pending {
    /// `wait_seq`: what an answer is about to wait for.
    pub(crate) fn answer_early(&self, wait_seq: &mut u64) {
        if self.answers_early.load(Ordering::Relaxed) {
            *wait_seq = 0;
        }
    }

    /// Waits at the end of a full sync.
    pub(crate) fn linger(&self) {
        if self.lingers.swap(false, Ordering::SeqCst) {
            std::thread::sleep(LINGERS);
        }
    }
}

/// Longer than a peer may be silent.
const LINGERS: Duration = Duration::from_secs(7);

const SKIP: u8 = 1;
const TWICE: u8 = 2;
const SWAP: u8 = 3;

/// What was done, or will be. `None`: nothing.
pub(crate) fn inflict(node: &Node, name: &str) -> Option<String> {
    let next = match name {
        "SkipEntry" => SKIP,
        "ApplyTwice" => TWICE,
        "SwapEntries" => SWAP,
        "LongSync" => {
            node.pending_fault.lingers.store(true, Ordering::SeqCst);
            return Some(format!("{name}, with the next full sync"));
        }
        "AnswersEarly" => {
            node.pending_fault.answers_early.store(true, Ordering::SeqCst);
            return Some(format!("{name}, from now on"));
        }
        _ => return Fault::from_name(name).and_then(|fault| node.state().inflict(fault)),
    };
    node.pending_fault.entries.store(next, Ordering::SeqCst);
    Some(format!("{name}, with what comes next"))
}

/// The log line for this. Entries of other calls may come in between, correctly applied, so a test
/// looks for this line.
const DONE_WRONGLY: &str = "entries were applied in the wrong way, as was asked for";

/// What happens to the next entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrongly {
    /// They are applied correctly.
    No,
    Done,
    /// One entry is there, and two are needed.
    Waits,
}

/// Applies the next committed entries wrongly, if a test asked for it.
pub(crate) fn apply_wrongly(pending: &Pending, state: &Metadata, tail: &Tail) -> Wrongly {
    let fault = pending.entries.load(Ordering::SeqCst);
    if fault == 0 {
        return Wrongly::No;
    }
    let from = state.applied().seq;
    let wanted = if fault == SWAP { 2 } else { 1 };
    let entries = committed(tail, from, wanted);
    if entries.is_empty() || entries.iter().any(|entry| entry.domain != DomainId::METADATA) {
        return Wrongly::No;
    }
    if entries.len() < wanted {
        return Wrongly::Waits;
    }
    pending.entries.store(0, Ordering::SeqCst);
    let last = entries[entries.len() - 1].position();
    // Whatever the state answers: the fault is found, or not.
    match fault {
        SKIP => {}
        TWICE => {
            let _ = state.apply(&entries[0]);
            state.skip_to(oplog::Position { seq: from, ..last });
            let _ = state.apply(&entries[0]);
        }
        _ => {
            let _ = state.apply(&Entry { seq: entries[0].seq, ..entries[1].clone() });
            let _ = state.apply(&Entry { seq: entries[1].seq, ..entries[0].clone() });
        }
    }
    tracing::info!(upto = %last, "{DONE_WRONGLY}");
    state.skip_to(last);
    tail.set_floor(Some(last.seq + 1));
    Wrongly::Done
}

/// Returns at most `count` entries.
fn committed(tail: &Tail, from: u64, count: usize) -> Vec<Entry> {
    let count = count.min(tail.committed().get().saturating_sub(from) as usize);
    let frames = tail.entries_since(from, count, usize::MAX).unwrap_or_default();
    frames.iter().filter_map(|frame| frame.decode().ok()).collect()
}
