//! What a real server costs per operation, for each way of calling: one by one, over a session, in
//! batches.

use std::time::Instant;

use anyhow::{Result, ensure};
use client::{Client, PutEndItem, PutOptions, PutStartItem, ReplicaScope, Transport};

use crate::load::{OBJECT_BYTES, connect, key, mount, run_all, shuffled};
use crate::measure::Process;
use crate::process::Server;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Objects that are put in batches, and exist when reads are measured.
    #[arg(long, default_value_t = 1_000_000)]
    objects: usize,
    /// Single calls of each kind.
    #[arg(long, default_value_t = 50_000)]
    singles: usize,
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Single calls in flight at a time.
    #[arg(long, default_value_t = 256)]
    width: usize,
    /// Further arguments of the server.
    #[arg(last = true)]
    server: Vec<String>,
}

struct Bench {
    server: Process,
    width: usize,
}

impl Bench {
    /// Prints the server's cost of one of `operations`.
    async fn measure<F: Future<Output = Result<()>>>(&self, name: &str, operations: usize, work: F) -> Result<()> {
        let (cpu, wall) = (self.server.cpu_ns()?, Instant::now());
        work.await?;
        let (cpu, wall) = (self.server.cpu_ns()? - cpu, wall.elapsed());
        let per_op = cpu as f64 / operations as f64 / 1000.0;
        println!("{name:<36} {per_op:>8.2} µs of server CPU {:>10.0} op/s", operations as f64 / wall.as_secs_f64());
        Ok(())
    }

    async fn singles(&self, way: &str, client: &Client, order: &[usize]) -> Result<()> {
        let keys: Vec<String> = order.iter().map(|at| key(way, *at)).collect();
        let puts = keys.iter().map(|key| put_one(client, key));
        self.measure(&format!("put (start + end), {way}"), keys.len(), run_all(self.width, puts)).await?;
        let reads = keys.iter().map(async |key| {
            ensure!(client.exists_one(key).await?, "{key} is not there");
            Ok(())
        });
        self.measure(&format!("exists, {way}"), keys.len(), run_all(self.width, reads)).await?;
        let reads = keys.iter().map(async |key| {
            ensure!(client.get(key).await?.is_some(), "{key} is not there");
            Ok(())
        });
        self.measure(&format!("lookup, {way}"), keys.len(), run_all(self.width, reads)).await
    }

    async fn batches(&self, client: &Client, order: &[usize], batch: usize) -> Result<()> {
        let chunks = || order.chunks(batch).map(|chunk| chunk.iter().map(|at| key("batch", *at)).collect::<Vec<_>>());
        let before = self.server.resident_bytes()?;
        let puts = chunks().map(|keys| put_many(client, keys, PutOptions::default()));
        self.measure("put (start + end), batches", order.len(), run_all(4, puts)).await?;
        let grown = self.server.resident_bytes()?.saturating_sub(before);
        println!("{:<36} {:>8} bytes per object", "memory, with the log's tail", grown / order.len() as u64);
        let reads = chunks().map(async |keys| {
            let found = client.exists(&keys).await?.exists;
            ensure!(found.iter().all(|found| *found), "a key is not there");
            Ok(())
        });
        self.measure("exists, batches", order.len(), run_all(4, reads)).await?;
        let reads = chunks().map(async |keys| {
            let found = client.get_replicas(&keys).await?.results;
            ensure!(found.iter().all(|found| found.is_ok()), "a key is not there");
            Ok(())
        });
        self.measure("lookup, batches", order.len(), run_all(4, reads)).await
    }
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    let server = Server::start(&args.server)?;
    let bench = Bench { server: server.process(), width: args.width };
    let session = connect(&server.address(), Transport::Session).await?;
    let unary = connect(&server.address(), Transport::Unary).await?;
    mount(&session, "bench", args.objects + 3 * args.singles).await?;
    println!("{} objects, {} single calls, batches of {}", args.objects, args.singles, args.batch);
    let order = shuffled(args.singles);
    bench.singles("unary", &unary, &order).await?;
    bench.singles("session", &session, &order).await?;
    bench.batches(&session, &shuffled(args.objects), args.batch).await?;
    let status = session.status().await?;
    println!("longest lock hold {:?}, {} objects", status.lock_held_max, status.objects);
    Ok(())
}

async fn put_one(client: &Client, key: &str) -> Result<()> {
    let started = client.put_start(&[PutStartItem::new(key, OBJECT_BYTES)], PutOptions::default()).await?;
    let ends = started.results.into_iter().map(|put| Ok(PutEndItem::new(key, put?.put_id, None)));
    let ends: Vec<PutEndItem> = ends.collect::<Result<_, client::Refused>>()?;
    client.put_end(&ends, ReplicaScope::All).await?.all()?;
    Ok(())
}

pub(crate) async fn put_many(client: &Client, keys: Vec<String>, options: PutOptions) -> Result<()> {
    let starts: Vec<PutStartItem> = keys.iter().map(|key| PutStartItem::new(key, OBJECT_BYTES)).collect();
    let started = client.put_start(&starts, options).await?;
    let ends = keys.iter().zip(started.results).map(|(key, put)| Ok(PutEndItem::new(key, put?.put_id, None)));
    let ends: Vec<PutEndItem> = ends.collect::<Result<_, client::Refused>>()?;
    client.put_end(&ends, ReplicaScope::All).await?.all()?;
    Ok(())
}
