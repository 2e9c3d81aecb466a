//! How far a standby lags behind puts that come in batches at a steady rate.
//!
//! The lag is what the primary says of its peer: for how long at most it has lacked an entry. So it
//! is never too low, and includes the way back of the receipt.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::Transport;
use hdrhistogram::Histogram;

use crate::load::{connect, mount};
use crate::members::{Members, both_in_sync, wait_for};
use crate::pair::{Writer, print};

const LOOK_EVERY: Duration = Duration::from_millis(3);

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Objects put per second, in batches of 50.
    #[arg(long, default_value_t = 50_000)]
    writes_per_s: usize,
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Further arguments of both servers.
    #[arg(last = true)]
    server: Vec<String>,
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let members = Members::new(&args.server)?;
    let (first, _second) = (members.start("a")?, members.start("b")?);
    let client = connect(&first.address(), Transport::Session).await?;
    wait_for(&client, "both in sync", both_in_sync).await?;
    mount(&client, "bench", args.writes_per_s * (args.seconds as usize + 2)).await?;
    let writer = Writer::start(connect(&first.address(), Transport::Session).await?, args.writes_per_s, "lag").await;
    let lasting = Duration::from_secs(args.seconds);
    let (began, mut lag_ms, mut lag_ops) = (Instant::now(), Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    let mut looks = 0_u64;
    while began.elapsed() < lasting {
        let cluster = client.status().await?.cluster;
        let members = cluster.into_iter().flat_map(|cluster| cluster.members);
        for peer in members.filter(|member| member.role == "standby") {
            looks += 1;
            // Without a value nothing recent was known. Such looks show in the counts.
            peer.lag.into_iter().try_for_each(|lag| lag_ms.record(lag.as_millis() as u64))?;
            peer.lag_ops.into_iter().try_for_each(|ops| lag_ops.record(ops))?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let calls = writer.take();
    writer.stop().await?;
    ensure!(!lag_ms.is_empty(), "the primary never knew how far behind its standby is");
    let per_s = calls.len() as f64 * 50.0 / lasting.as_secs_f64();
    println!("{per_s:.0} puts/s (start + end) in batches of 50");
    print("their calls", &calls);
    for (what, histogram) in [("lag, ms", &lag_ms), ("lag, entries", &lag_ops)] {
        let (p50, p99) = (histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99));
        println!(
            "{what:<30} {:>6} of {looks} looks   p50 {p50}   p99 {p99}   max {}",
            histogram.len(),
            histogram.max()
        );
    }
    Ok(())
}
