//! The cost of verification: two pairs in one run, one without it and one with its default
//! settings, or others.
//!
//! Not included: keeping the digests, which cannot be switched off. `perf` over `server` shows
//! their share of a put.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::{Client, PutOptions, Transport};

use crate::load::{connect, key, mount, run_all, shuffled};
use crate::members::{Members, both_in_sync, wait_for};
use crate::pair::{Writer, print};
use crate::process::Server;
use crate::server::put_many;

const NONE: [&str; 6] = ["--digest-interval-ms", "0", "--verify-interval-ms", "0", "--scrub-cycle-ms", "0"];
const BATCH: usize = 500;
const ROUNDS: usize = 6;
/// Objects of each round, and of the writer per second.
const ROUND_OBJECTS: usize = 50_000;
const WRITES_PER_S: usize = 5000;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Objects that exist.
    #[arg(long, default_value_t = 1_000_000)]
    objects: usize,
    /// How long the members rest, and how long the writers write.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Further arguments of the servers with verification.
    #[arg(last = true)]
    server: Vec<String>,
}

struct Pair {
    name: &'static str,
    client: Client,
    servers: [Server; 2],
    /// Dropped last, since the members need its directory.
    _members: Members,
}

impl Pair {
    async fn start(name: &'static str, args: &[String], objects: usize) -> Result<Pair> {
        let members = Members::new(args)?;
        let servers = [members.start("a")?, members.start("b")?];
        let client = connect(&servers[0].address(), Transport::Session).await?;
        wait_for(&client, "both in sync", both_in_sync).await?;
        mount(&client, "bench", 2 * objects + 5_000_000).await?;
        Ok(Pair { name, client, servers, _members: members })
    }

    /// CPU time of the primary and of its standby.
    fn cpu_ns(&self) -> Result<[u64; 2]> {
        let [first, second] = &self.servers;
        Ok([first.process().cpu_ns()?, second.process().cpu_ns()?])
    }

    async fn put(&self, prefix: &str, objects: usize) -> Result<()> {
        let order = shuffled(objects);
        let puts = order.chunks(BATCH).map(|chunk| {
            let keys = chunk.iter().map(|at| key(prefix, *at)).collect();
            put_many(&self.client, keys, PutOptions::default())
        });
        run_all(4, puts).await
    }
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let without = NONE.map(str::to_owned);
    let pairs = [
        Pair::start("without", &without, args.objects).await?,
        Pair::start("with verification", &args.server, args.objects).await?,
    ];
    for pair in &pairs {
        pair.put("fill", args.objects).await?;
    }
    at_rest(&pairs, Duration::from_secs(args.seconds)).await?;
    in_batches(&pairs).await?;
    at_a_rate(&pairs, Duration::from_secs(args.seconds)).await?;
    // A figure is worthless if nothing ran.
    let [_, with] = &pairs;
    let standby = connect(&with.servers[1].address(), Transport::Unary).await?.status().await?;
    let done = standby.verification;
    println!("the standby made {} comparisons and {} samples", done.compared, done.samples);
    ensure!(done.compared > 0, "nothing was compared");
    Ok(())
}

async fn at_rest(pairs: &[Pair; 2], lasting: Duration) -> Result<()> {
    let before = pairs.iter().map(Pair::cpu_ns).collect::<Result<Vec<_>>>()?;
    let began = Instant::now();
    tokio::time::sleep(lasting).await;
    let wall_ns = began.elapsed().as_nanos() as f64;
    for (pair, before) in pairs.iter().zip(before) {
        let after = pair.cpu_ns()?;
        let percent = |at: usize| (after[at] - before[at]) as f64 * 100.0 / wall_ns;
        println!("at rest, {:<20} primary {:>5.2} % of a CPU   standby {:>5.2} %", pair.name, percent(0), percent(1));
    }
    Ok(())
}

/// In turn, so that other load on the machine affects both.
async fn in_batches(pairs: &[Pair; 2]) -> Result<()> {
    let mut spent = [[0; 2]; 2];
    for round in 0..ROUNDS {
        for at in [round % 2, 1 - round % 2] {
            let before = pairs[at].cpu_ns()?;
            pairs[at].put(&format!("round{round}"), ROUND_OBJECTS).await?;
            let after = pairs[at].cpu_ns()?;
            (0..2).for_each(|member| spent[at][member] += after[member] - before[member]);
        }
    }
    for (pair, spent) in pairs.iter().zip(spent) {
        let per_op = |member: usize| spent[member] as f64 / (ROUNDS * ROUND_OBJECTS) as f64 / 1000.0;
        let (primary, standby) = (per_op(0), per_op(1));
        println!("put, batches, {:<20} primary {primary:.3} µs CPU/op   standby {standby:.3} µs", pair.name);
    }
    Ok(())
}

async fn at_a_rate(pairs: &[Pair; 2], lasting: Duration) -> Result<()> {
    let [without, with] = pairs;
    let writers = [
        Writer::start(without.client.clone(), WRITES_PER_S, "without").await,
        Writer::start(with.client.clone(), WRITES_PER_S, "with").await,
    ];
    tokio::time::sleep(lasting).await;
    for (pair, writer) in pairs.iter().zip(writers) {
        print(&format!("writes, {}", pair.name), &writer.take());
        writer.stop().await?;
    }
    Ok(())
}
