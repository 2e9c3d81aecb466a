//! A history with the digest at each point of it, with which all checks compare.
//!
//! Invariant: `digests[n]` is the digest after the first `n` entries, found by a plain replay.
//!
//! Absent on purpose: the rules themselves.

use crate::entry::{DomainId, Entry, Position};
use crate::state::{Digest, Rebuild, ReplicatedState, ShardImage};

/// From how many points of the history most checks start.
const POINTS: usize = 8;
/// How often a long replay compares the whole state.
const LOOKS: usize = 32;

pub(super) struct Course<'a, S> {
    pub(super) empty: &'a dyn Fn() -> S,
    pub(super) history: &'a [Entry],
    pub(super) known: &'a [(DomainId, u8)],
    digests: Vec<Digest>,
    start: Position,
    pub(super) shards: u32,
}

impl<'a, S: ReplicatedState> Course<'a, S> {
    pub(super) fn new(
        empty: &'a dyn Fn() -> S,
        history: &'a [Entry],
        known: &'a [(DomainId, u8)],
        digests: Vec<Digest>,
    ) -> Self {
        let state = empty();
        Course { empty, history, known, digests, start: state.applied(), shards: state.shards() }
    }

    pub(super) fn len(&self) -> usize {
        self.history.len()
    }

    /// Evenly spread over the history, both ends included.
    pub(super) fn points(&self) -> impl Iterator<Item = usize> {
        let len = self.len();
        (0..POINTS.min(len)).map(move |i| i * len / (POINTS.min(len) - 1))
    }

    /// How many entries of the history a state at this position holds.
    pub(super) fn held_at(&self, at: Position) -> usize {
        (at.seq - self.start.seq) as usize
    }

    pub(super) fn position(&self, held: usize) -> Position {
        if held == 0 { self.start } else { self.history[held - 1].position() }
    }

    /// A fresh state with the first `held` entries.
    pub(super) fn state(&self, held: usize) -> S {
        let state = (self.empty)();
        self.apply(&state, 0, held, "a replay");
        state
    }

    /// Applies entries `from..upto`, none of which may be refused.
    pub(super) fn apply(&self, state: &S, from: usize, upto: usize, what: &str) {
        for entry in &self.history[from..upto] {
            if let Err(why) = state.apply(entry) {
                panic!("conformance: {what} refuses the valid entry {}: {why}", entry.position());
            }
        }
    }

    /// Applies the rest of the history, and compares on the way.
    pub(super) fn follow(&self, state: &S, from: usize, what: &str) {
        let stride = self.len().div_ceil(LOOKS);
        let mut held = from;
        while held < self.len() {
            let upto = (held + stride).min(self.len());
            self.apply(state, held, upto, what);
            self.compare(state, upto, what);
            held = upto;
        }
    }

    /// Position, digest and sum of the shards' digests must be those of a plain replay.
    pub(super) fn compare(&self, state: &S, held: usize, what: &str) {
        let (expected, applied) = (self.position(held), state.applied());
        assert_eq!(applied, expected, "conformance: {what} is at the wrong position");
        let (at, digest) = state.digest();
        assert_eq!(at, expected, "conformance: {what} gives its digest at a position that it is not at");
        assert_eq!(digest, self.digests[held], "conformance: {what} differs from a plain replay at {expected}");
        let sum: Digest = (0..self.shards).map(|shard| self.shard_digest(state, shard, expected, what)).sum();
        assert_eq!(sum, digest, "conformance: {what}: the shard digests do not add up to the digest at {expected}");
    }

    fn shard_digest(&self, state: &S, shard: u32, expected: Position, what: &str) -> Digest {
        let (at, digest) = state.shard_digest(shard);
        assert_eq!(at, expected, "conformance: {what} gives the digest of shard {shard} at a wrong position");
        digest
    }

    /// All shards of a state that does not change meanwhile.
    pub(super) fn capture(&self, state: &S) -> Vec<ShardImage> {
        (0..self.shards).map(|shard| capture_one(state, shard)).collect()
    }

    pub(super) fn install(&self, rebuild: &mut S::Rebuild, images: &[ShardImage], what: &str) {
        for image in images {
            if let Err(why) = rebuild.install(image) {
                panic!("conformance: {what} refuses the image of shard {} at {}: {why}", image.shard, image.at);
            }
        }
    }

    pub(super) fn finish(&self, rebuild: S::Rebuild, what: &str) -> S {
        rebuild.finish().unwrap_or_else(|why| panic!("conformance: {what} cannot be finished: {why}"))
    }
}

/// An image must say of itself what the state says of the shard.
pub(super) fn capture_one<S: ReplicatedState>(state: &S, shard: u32) -> ShardImage {
    let image = state.capture(shard);
    let (at, digest) = state.shard_digest(shard);
    assert_eq!(image.shard, shard, "conformance: an image names another shard");
    assert_eq!(image.at, at, "conformance: the image of shard {shard} is at a wrong position");
    assert_eq!(
        image.digest, digest,
        "conformance: the image of shard {shard} has another digest than the shard at {at}"
    );
    image
}
