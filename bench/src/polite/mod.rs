//! What a client notices while bulk work goes on beside it: eviction, removal, unmount, expiry,
//! lists, a full sync.
//!
//! Each kind of work gets its own servers, so that none pays for an earlier one. Latencies count
//! from when a call was due, not from when it was sent. An idle probe runs beside it and shows the
//! stalls of the machine itself.

mod client;
mod work;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::ValueEnum as _;
use hdrhistogram::Histogram;

use self::client::Polite;
use self::work::{Bench, Work};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Objects that exist, and that the work is about.
    #[arg(long, default_value_t = 2_000_000)]
    objects: usize,
    /// Calls of the client per second.
    #[arg(long, default_value_t = 2000)]
    rate: u64,
    /// How long work lasts that has no end of its own.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Members of each cluster. Default: first 1, then 2.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    members: Vec<usize>,
    /// Run only these kinds of work. Default: all.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Work>,
    /// Fail if the p99 during any of them is above this, in ms.
    #[arg(long)]
    p99_ms_max: Option<f64>,
    /// Further arguments of the servers.
    #[arg(last = true)]
    server: Vec<String>,
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let only = |work: &Work| args.only.is_empty() || args.only.contains(work);
    println!("{} objects, {} calls/s; latencies in ms", args.objects, args.rate);
    println!(
        "{:<18} {:>7} {:>7}  {:>7} {:>7} {:>7} {:>7}  {:>10} {:>9}  {:>9}  {:>7}",
        "beside", "members", "calls", "p50", "p99", "p99.9", "max", "probe 99.9", "probe max", "lock held", "lasted"
    );
    let mut worst_ms = 0.0_f64;
    for members in &args.members {
        ensure!((1..=2).contains(members), "--members {members}: 1 or 2 are meant");
        for work in
            Work::value_variants().iter().copied().filter(only).filter(|work| *members == 2 || !work.needs_standby())
        {
            worst_ms = worst_ms.max(beside(args, work, *members).await?);
        }
    }
    let allowed_ms = args.p99_ms_max.unwrap_or(f64::INFINITY);
    ensure!(worst_ms <= allowed_ms, "a p99 of {worst_ms} ms, {allowed_ms} ms are allowed");
    Ok(())
}

/// Returns the p99, in ms.
async fn beside(args: &Args, work: Work, members: usize) -> Result<f64> {
    let mut bench = Bench::start(work, args.objects, members, &args.server).await?;
    let polite = Polite::start(bench.address(), args.rate).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    polite.take();
    let began = Instant::now();
    let remark = bench.work(Duration::from_secs(args.seconds)).await?;
    let (lasted, felt) = (began.elapsed(), polite.take());
    let held = bench.lock_held_max().await?;
    polite.stop()?;
    let ms = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    let max_ms = |histogram: &Histogram<u64>| histogram.max() as f64 / 1000.0;
    println!(
        "{:<18} {members:>7} {:>7}  {:>7.2} {:>7.2} {:>7.2} {:>7.2}  {:>10.2} {:>9.2}  {:>9.2}  {:>5.1} s  {remark}{}",
        work.name(),
        felt.calls.len(),
        ms(&felt.calls, 0.5),
        ms(&felt.calls, 0.99),
        ms(&felt.calls, 0.999),
        max_ms(&felt.calls),
        ms(&felt.probe, 0.999),
        max_ms(&felt.probe),
        held.as_secs_f64() * 1000.0,
        lasted.as_secs_f64(),
        if felt.refused > 0 { format!("  {} calls were refused", felt.refused) } else { String::new() },
    );
    Ok(ms(&felt.calls, 0.99))
}
