//! Keys, a client with space, and many calls in flight.

use std::future::Future;

use anyhow::Result;
use client::{Client, Options, Segment, Transport};
use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use oplog::Rng;

pub(crate) const OBJECT_BYTES: u64 = 4096;

/// 40 bytes, all different.
pub(crate) fn key(prefix: &str, at: usize) -> String {
    format!("{prefix:_<20}{at:020}")
}

/// The numbers below `count` in an order that defeats caches, the same in every run.
pub(crate) fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut rng = Rng::new(0);
    for at in (1..count).rev() {
        order.swap(at, rng.below(at + 1));
    }
    order
}

pub(crate) async fn connect(address: &str, transport: Transport) -> Result<Client> {
    let mut options = Options::new([address]);
    options.transport = transport;
    Ok(Client::connect(options).await?)
}

/// Offers space for this many objects.
pub(crate) async fn mount(client: &Client, name: &str, objects: usize) -> Result<()> {
    let bytes = objects as u64 * OBJECT_BYTES * 5 / 4 + (1 << 20);
    client.mount_segment(&Segment::memory(name, 1 << 40, bytes, "127.0.0.1:1")).await?;
    Ok(())
}

/// Runs all of `calls`, at most `width` at a time.
pub(crate) async fn run_all<F: Future<Output = Result<()>>>(
    width: usize,
    calls: impl Iterator<Item = F>,
) -> Result<()> {
    futures_util::stream::iter(calls).map(Ok).try_for_each_concurrent(width, |call| call).await
}
