//! Answers on their way out, and what one connection may hold of them.
//!
//! ```text
//!   taken from the share ──► Chunk ──► the transport has it, byte by byte ──► given back
//!                              └─ nothing of it moves for `unread_ms_max` ──► the connection is cut off
//! ```
//!
//! Invariants: each byte of an answer counts from its encoding until it is written into the socket; a chunk that the transport
//! does not take for too long ends its connection: the last chunk of an answer is the transport's alone, and no handle is left by
//! which its stream could be reset.
//!
//! Deliberately absent: what an answer says; what is small whatever the request was (headers, trailers, errors).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::{Buf, Bytes};
use metadata::Address;
use proto::v1::CallError;
use tokio::time::sleep;

use crate::budget::{OpenShare, Share, Taken};
use crate::clock::now_ms;
use crate::gate::Effect;
use crate::grpc::caller::From;
use crate::grpc::connection::TurnEnd;
use crate::listen::Link;
use crate::node::Node;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A look that is late by more: this process itself stood still.
const STALL_MS: u64 = 2000;
/// It is told that something has moved this often, at most.
const TELL_EVERY_MS: u64 = 100;

/// What one connection may take: memory for requests and for answers, and turns on a thread; and where it comes from.
#[derive(Debug)]
pub(crate) struct Shares {
    pub(crate) from: From,
    pub(crate) turn_end: Arc<TurnEnd>,
    /// Those that run (`long`).
    pub(crate) long_calls: AtomicUsize,
    pub(crate) requests: OpenShare,
    pub(crate) answers: OpenShare,
}

impl Shares {
    pub(crate) fn open(node: &Node, link: Option<&Arc<Link>>) -> Arc<Shares> {
        let requests = node.request_bytes.open(link.cloned());
        let answers = node.unread_bytes.open(link.cloned());
        let from = link.map(|link| Address::new(link.origin_bits()));
        Arc::new(Shares { from, turn_end: Arc::default(), long_calls: AtomicUsize::new(0), requests, answers })
    }
}

/// Memory for an answer that has run.
pub(crate) fn take(answers: &Arc<Share>, bytes: usize, effect: Effect) -> Result<Taken, CallError> {
    answers.take(bytes).map_err(|full| match effect {
        Effect::Reads | Effect::ReadsStandby => full.refusal(),
        Effect::Mutates => full.unknown(),
    })
}

/// Bytes for the transport.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Bytes,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    taken: Taken,
    watch: u64,
    told_ms: u64,
}

impl Chunk {
    pub(crate) fn new(bytes: Bytes, taken: Taken) -> Chunk {
        let now_ms = now_ms();
        let watch = taken.share().watch(now_ms);
        Chunk { bytes, held: Some(Held { taken, watch, told_ms: now_ms }) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.taken.share().let_go(self.watch);
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.on_moved();
    }

    fn copy_to_bytes(&mut self, count: usize) -> Bytes {
        let bytes = self.bytes.copy_to_bytes(count);
        self.on_moved();
        bytes
    }
}

impl Chunk {
    fn on_moved(&mut self) {
        if self.bytes.is_empty() {
            self.held = None;
            return;
        }
        let Some(Held { taken, watch, told_ms }) = &mut self.held else { return };
        let now_ms = now_ms();
        if now_ms >= *told_ms + TELL_EVERY_MS {
            *told_ms = now_ms;
            taken.share().moved(*watch, now_ms);
        }
    }
}

/// Cuts off the connections that do not read. Does not end.
pub(crate) async fn watch(node: Arc<Node>) {
    let unread_ms_max = node.config.serving.unread_ms_max;
    let (mut looked_ms, mut stalled_until_ms) = (now_ms(), 0);
    loop {
        sleep(LOOK_EVERY).await;
        let now_ms = now_ms();
        if now_ms - looked_ms > STALL_MS {
            // For so long this process took nothing from its sockets either.
            stalled_until_ms = now_ms;
        }
        looked_ms = now_ms;
        if now_ms >= stalled_until_ms + unread_ms_max {
            node.unread_bytes.cut_unmoved(now_ms - unread_ms_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::Reason;

    use super::*;
    use crate::budget::{Bounds, Budget};

    fn budget() -> Budget {
        Budget::new(Bounds { name: "all", bytes_max: 10, connection_name: "own", connection_bytes_max: 10 })
    }

    #[test]
    fn answer_counts_until_the_transport_has_all_of_it() {
        let (budget, bytes) = (budget(), Bytes::from_static(b"12345678"));
        let open = budget.open(None);
        let taken = take(open.share(), bytes.len(), Effect::Reads).expect("there is room");
        let mut chunk = Chunk::new(bytes, taken);
        chunk.advance(7);
        assert_eq!((budget.taken(), chunk.chunk()), (8, &b"8"[..]), "memory comes back in one piece");
        let refused = |effect| take(open.share(), 3, effect).expect_err("there is none").reason();
        assert_eq!((refused(Effect::Reads), refused(Effect::Mutates)), (Reason::Overloaded, Reason::OutcomeUnknown));
        chunk.advance(1);
        assert_eq!(budget.taken(), 0);
    }
}
