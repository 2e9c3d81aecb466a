//! A pair of real processes: what a standby costs the primary, how long a full sync takes under
//! writes, and a kill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::{Client, Options, PutOptions, Transport};
use hdrhistogram::Histogram;

use crate::load::{connect, key, mount, run_all, shuffled};
use crate::measure::warm_memory;
use crate::members::{Members, both_in_sync, wait_for};
use crate::process::{Server, apart};
use crate::server::put_many;

/// The thread of a member that sends to its peers and takes their receipts.
const PEERS: &str = "understudy-pair";
/// Objects per call of the writer while it keeps its rate.
const WRITER_BATCH: usize = 50;
const PATIENCE: Duration = Duration::from_secs(300);
/// More than a server needs for an object, and for tables that grow meanwhile.
const MEMORY_PER_OBJECT: usize = 512;
const MEMORY_PER_PHASE: usize = 256 << 20;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Objects that exist when the standby comes.
    #[arg(long, default_value_t = 1_000_000)]
    objects: usize,
    /// Objects put per second meanwhile.
    #[arg(long, default_value_t = 5000)]
    writes_per_s: usize,
    /// Gives the first primary this CPU for itself, and all other processes the rest. Then only its
    /// own work counts, and not that it shares caches with its standby and its clients.
    #[arg(long)]
    primary_cpu: Option<usize>,
    /// Objects per call when costs are compared.
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Calls in flight when costs are compared.
    #[arg(long, default_value_t = 4)]
    width: usize,
    /// Make unary calls when costs are compared, not a session.
    #[arg(long)]
    unary: bool,
    /// Puts per second when costs are compared, so that there are as many with a standby as alone,
    /// though it shares a CPU with the client. 0: no limit.
    #[arg(long, default_value_t = 0)]
    rate: usize,
    /// How often the primary's costs with a standby and alone are compared, in turn.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Further arguments of both servers.
    #[arg(last = true)]
    server: Vec<String>,
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let members = Members::new(&args.server)?;
    let first = apart(args.primary_cpu, || members.start("a"))?;
    let client = connect(&first.address(), Transport::Session).await?;
    wait_for(&client, "a primary", |cluster| cluster.primary == "a").await?;
    mount(&client, "bench", (2 + args.rounds) * args.objects + 5_000_000).await?;
    let filling = Costs { primary: &first, batch: 500, width: 4, rate: 0 };
    filling.print(&client, "alone, filling up", args.objects, "fill").await?;
    let costs = Costs { primary: &first, batch: args.batch, width: args.width, rate: args.rate };
    let transport = if args.unary { Transport::Unary } else { Transport::Session };
    let caller = connect(&first.address(), transport).await?;
    let compared = args.objects / 4;
    let way = if args.unary { "calls of their own" } else { "a session" };
    println!("from here on puts come over {way}: {} in a call, {} calls in flight", args.batch, args.width);
    // Both sides must find as many objects: their number alone causes cache misses.
    costs.print(&caller, "alone, on top of those", compared, "alone").await?;

    let writer = Writer::start(connect(&first.address(), Transport::Session).await?, args.writes_per_s, "writer").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    print("writes, alone", &writer.take());
    let memory = first.process().resident_bytes()?;
    let began = Instant::now();
    let mut second = members.start("b")?;
    wait_for(&client, "a standby in sync", both_in_sync).await?;
    println!("full sync of {} objects and into the set: {:?}", args.objects, began.elapsed());
    print("writes, during the full sync", &writer.take());
    let grown = first.process().resident_bytes()?.saturating_sub(memory);
    println!("the primary's memory grew by {:.1} % meanwhile", grown as f64 * 100.0 / memory as f64);
    tokio::time::sleep(Duration::from_secs(2)).await;
    print("writes, with a standby", &writer.take());
    writer.stop().await?;
    ensure_same(&first, &second).await?;

    for round in 0..args.rounds {
        costs.print(&caller, "with a standby", compared, &format!("with{round}")).await?;
        ensure_same(&first, &second).await?;
        // More objects cost more, too, and that is not the standby's cost.
        second.kill();
        wait_for(&client, "a primary without its standby", |cluster| !both_in_sync(cluster)).await?;
        costs.print(&caller, "alone again", compared, &format!("again{round}")).await?;
        let began = Instant::now();
        second = members.start("b")?;
        wait_for(&client, "a standby in sync", both_in_sync).await?;
        // The kernel, and the host below it, had handed out this memory before.
        println!("full sync again, in memory that was in use before: {:?}", began.elapsed());
    }
    takeover(first, &second).await
}

/// What puts cost the primary.
struct Costs<'a> {
    primary: &'a Server,
    batch: usize,
    width: usize,
    rate: usize,
}

impl Costs<'_> {
    async fn print(&self, client: &Client, name: &str, objects: usize, prefix: &str) -> Result<()> {
        let order = shuffled(objects);
        warm_memory(MEMORY_PER_PHASE + objects * MEMORY_PER_OBJECT)?;
        let spent = || anyhow::Ok((self.primary.process().cpu_ns()?, self.primary.process().cpu_ns_of(PEERS)?));
        let (before, wall) = (spent()?, Instant::now());
        let puts = order.chunks(self.batch).enumerate().map(|(nth, chunk)| {
            let keys = chunk.iter().map(|at| key(prefix, *at)).collect();
            let due = match self.rate {
                0 => wall,
                rate => wall + Duration::from_secs_f64((nth * self.batch) as f64 / rate as f64),
            };
            async move {
                tokio::time::sleep_until(due.into()).await;
                put_many(client, keys, PutOptions::default()).await
            }
        });
        run_all(self.width, puts).await?;
        let (after, wall) = (spent()?, wall.elapsed());
        let per_op = |ns: u64| ns as f64 / objects as f64 / 1000.0;
        println!(
            "put, {name:<30} {:>6.2} µs CPU/op, of which for peers {:.2} {:>9.0} op/s",
            per_op(after.0 - before.0),
            per_op(after.1 - before.1),
            objects as f64 / wall.as_secs_f64()
        );
        Ok(())
    }
}

/// Both must have the same digest at the same seq, once all writes have ended.
async fn ensure_same(first: &Server, second: &Server) -> Result<()> {
    let (first, second) =
        (connect(&first.address(), Transport::Unary).await?, connect(&second.address(), Transport::Unary).await?);
    let began = Instant::now();
    loop {
        let (one, other) = (first.status().await?, second.status().await?);
        if one.applied == other.applied {
            ensure!(one.digest == other.digest, "digests differ at {:?}", one.applied);
            println!("digests are equal at {}/{}", one.applied.epoch, one.applied.seq);
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "never at the same seq: {:?} and {:?}", one.applied, other.applied);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// kill -9, and the time until a write is acknowledged again.
async fn takeover(first: Server, second: &Server) -> Result<()> {
    let client = Client::connect(Options::new([first.address(), second.address()])).await?;
    put_many(&client, vec![key("before", 0)], PutOptions::default()).await?;
    let began = Instant::now();
    first.kill();
    put_many(&client, vec![key("after", 0)], PutOptions::default()).await?;
    println!("kill -9 to the next acknowledged write: {:?}", began.elapsed());
    ensure!(client.exists_one(key("before", 0)).await?, "an acknowledged write is gone");
    Ok(())
}

/// Puts at a steady rate, and records how long each call takes.
pub(crate) struct Writer {
    latencies: Arc<parking_lot::Mutex<Histogram<u64>>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Writer {
    pub(crate) async fn start(client: Client, per_s: usize, prefix: &'static str) -> Writer {
        let latencies = Histogram::new(3).expect("three digits can be kept");
        let latencies = Arc::new(parking_lot::Mutex::new(latencies));
        let stop = Arc::new(AtomicBool::new(false));
        let (noted, stopped) = (Arc::clone(&latencies), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let pause = Duration::from_micros((WRITER_BATCH * 1_000_000 / per_s.max(1)) as u64);
            let mut ticks = tokio::time::interval(pause);
            let mut at = 0;
            while !stopped.load(Ordering::Relaxed) {
                ticks.tick().await;
                let keys = (at..at + WRITER_BATCH).map(|at| key(prefix, at)).collect();
                at += WRITER_BATCH;
                let began = Instant::now();
                put_many(&client, keys, PutOptions::default()).await?;
                noted.lock().record(began.elapsed().as_micros() as u64)?;
            }
            Ok(())
        });
        Writer { latencies, stop, task }
    }

    /// What was recorded since the last time.
    pub(crate) fn take(&self) -> Histogram<u64> {
        let mut latencies = self.latencies.lock();
        let taken = latencies.clone();
        latencies.reset();
        taken
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

pub(crate) fn print(when: &str, histogram: &Histogram<u64>) {
    let ms = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    let (p50, p99, max) = (ms(0.5), ms(0.99), histogram.max() as f64 / 1000.0);
    println!("{when:<30} {:>6} calls   p50 {p50:.2} ms   p99 {p99:.2} ms   max {max:.2} ms", histogram.len());
}
