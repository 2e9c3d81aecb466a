//! Two clients hold half of all objects each. One dies: what do the calls of the other take while it is expired?

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::{Client, Heartbeat, Options, PutOptions, Transport};
use hdrhistogram::Histogram;

use crate::load::{OBJECT_BYTES, connect, key, mount, run_all};
use crate::process::Server;
use crate::server::put_many;

const BATCH: usize = 500;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Objects of each of the two.
    #[arg(long, default_value_t = 1_000_000)]
    objects: usize,
    /// Fails if the p99 of the other's calls is above this.
    #[arg(long, default_value_t = 20.0)]
    p99_ms_max: f64,
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let server = Server::start(&["--client-ttl-ms".into(), "3000".into()])?;
    let living = connect(&server.address(), Transport::Session).await?;
    let mut options = Options::new([server.address()]);
    options.heartbeat = Heartbeat::Auto;
    let dying = Client::connect(options).await?;
    for (client, name) in [(&living, "living"), (&dying, "dying")] {
        mount(client, name, args.objects).await?;
        fill(client, name, args.objects).await?;
    }
    let before = living.status().await?.objects;
    ensure!(before == 2 * args.objects as u64, "{before} objects, {} were put", 2 * args.objects);
    println!("{before} objects; the client of half of them falls silent");
    drop(dying);

    let quiet = observe(&living, Duration::from_secs(1)).await?;
    print("before", &quiet);
    let started = Instant::now();
    let mut during = Histogram::new(3)?;
    while living.status().await?.objects > args.objects as u64 + 1000 {
        during.add(observe(&living, Duration::from_millis(500)).await?)?;
        ensure!(started.elapsed() < Duration::from_secs(120), "not expired after two minutes");
    }
    print("until it is gone", &during);
    println!("all gone after {:?}; longest lock hold {:?}", started.elapsed(), living.status().await?.lock_held_max);
    let p99_ms = during.value_at_quantile(0.99) as f64 / 1000.0;
    ensure!(p99_ms <= args.p99_ms_max, "p99 {p99_ms} ms, at most {} ms allowed", args.p99_ms_max);
    Ok(())
}

async fn fill(client: &Client, name: &str, count: usize) -> Result<()> {
    let options = PutOptions { preferred_segments: vec![name.to_owned()], ..PutOptions::default() };
    let probe = client.put(key("probe", 0) + name, OBJECT_BYTES, options.clone()).await?;
    ensure!(probe.replicas()[0].segment.name == name, "{name} is not preferred");
    probe.revoke().await?;
    let numbers: Vec<usize> = (0..count).collect();
    let calls = numbers.chunks(BATCH).map(|chunk| {
        let keys = chunk.iter().map(|at| key(name, *at)).collect();
        put_many(client, keys, options.clone())
    });
    run_all(4, calls).await
}

/// Writes and reads, one after the other, for this long. In µs.
async fn observe(client: &Client, length: Duration) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new(3)?;
    let end = Instant::now() + length;
    let mut at = 0;
    while Instant::now() < end {
        at += 1;
        let started = Instant::now();
        if at % 2 == 0 {
            client.exists_one(key("living", at)).await?;
        } else {
            let put = client.put(format!("observer {at}"), OBJECT_BYTES, PutOptions::default()).await?;
            put.revoke().await?;
        }
        histogram.record(started.elapsed().as_micros() as u64)?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(histogram)
}

fn print(when: &str, histogram: &Histogram<u64>) {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    let (p50, p99, max) = (ms(0.5), ms(0.99), histogram.max() as f64 / 1000.0);
    println!("{when:<18} {:>6} calls   p50 {p50:.2} ms   p99 {p99:.2} ms   max {max:.2} ms", histogram.len());
}
