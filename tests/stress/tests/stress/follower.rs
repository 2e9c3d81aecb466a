//! Members without a network: one that follows the node's tail from the first entry on, and one
//! that joins in the middle, from images that are captured while all clients write.
//!
//! Invariant: at the end each of them has the node's digest, by the log alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use master::Node;
use metadata::Metadata;
use oplog::{Entry, Position, Rebuild, ReplicatedState};

/// Entries taken from the tail at once.
const BATCH: usize = 4096;
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Follower {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Metadata>,
}

impl Follower {
    /// From the first entry on. The tail keeps what it has not seen.
    pub(crate) fn start(node: &Arc<Node>, empty: Metadata) -> Follower {
        node.tail().set_floor(Some(empty.applied().seq + 1));
        let stop = Arc::new(AtomicBool::new(false));
        let (node, asked) = (Arc::clone(node), Arc::clone(&stop));
        let follow = move || {
            while !asked.load(Ordering::Acquire) {
                catch_up(&node, &empty);
                thread::sleep(PAUSE);
            }
            catch_up(&node, &empty);
            empty
        };
        let thread = thread::Builder::new().name("follower".to_owned()).spawn(follow).expect("a thread can be started");
        Follower { stop, thread }
    }

    /// Returns the state with all that is in the log by now.
    pub(crate) fn finish(self) -> Metadata {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap_or_else(|_| panic!("the follower could not follow"))
    }
}

fn entries_after(node: &Node, after: Position) -> Vec<Entry> {
    let frames = node.tail().entries_since(after.seq, BATCH, usize::MAX);
    let frames = frames.unwrap_or_else(|why| panic!("the tail has lost what is needed: {why}"));
    frames.iter().map(|frame| frame.decode().expect("it was encoded in this process")).collect()
}

fn catch_up(node: &Node, state: &Metadata) {
    loop {
        let entries = entries_after(node, state.applied());
        for entry in &entries {
            state.apply(entry).unwrap_or_else(|why| panic!("entry {} cannot be followed: {why}", entry.position()));
        }
        node.tail().set_floor(Some(state.applied().seq + 1));
        if entries.is_empty() {
            return;
        }
    }
}

/// A full sync while the node works. The tail is large enough for the log since the oldest image.
pub(crate) fn join_now(node: &Node) -> Metadata {
    let state = node.state();
    let mut rebuild = state.rebuild();
    let images: Vec<_> = (0..state.shards()).map(|shard| state.capture(shard)).collect();
    for image in &images {
        rebuild.install(image).unwrap_or_else(|why| panic!("the image of shard {} is refused: {why}", image.shard));
    }
    let (mut at, newest) = (images[0].at, images[images.len() - 1].at);
    while at < newest {
        for entry in entries_after(node, at) {
            rebuild.apply(&entry).unwrap_or_else(|why| panic!("entry {} does not fit: {why}", entry.position()));
            at = entry.position();
        }
    }
    rebuild.finish().unwrap_or_else(|why| panic!("the images do not make a state: {why}"))
}
