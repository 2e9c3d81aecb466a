//! How long clients wait for a promotion, with few objects and with many: it must not depend on
//! their number.
//!
//! The standby has proof of death at once (`file:`), so the promotion is measured, and not the
//! tenure. How long the kernel takes to end the process is measured beside it: it frees all memory
//! before it closes sockets and gives locks back, and until then no process can know.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::{Client, Options, PutOptions};

use crate::load::{key, mount, run_all};
use crate::members::{Members, both_in_sync, wait_for};
use crate::process::Server;
use crate::server::put_many;

const BATCH: usize = 500;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Numbers of objects. There is one round for each.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5_000_000])]
    objects: Vec<usize>,
    /// Kills in each round.
    #[arg(long, default_value_t = 11)]
    kills: usize,
    /// Further arguments of both servers.
    #[arg(last = true)]
    server: Vec<String>,
}

pub(crate) async fn run(args: &Args) -> Result<()> {
    for objects in &args.objects {
        round(args, *objects).await?;
    }
    Ok(())
}

async fn round(args: &Args, objects: usize) -> Result<()> {
    let members = Members::new(&args.server)?;
    // Each with its name. The first one is the primary when it is killed.
    let (mut first, mut second) = (("a", members.start("a")?), ("b", members.start("b")?));
    let client = of_both(&first.1, &second.1).await?;
    wait_for(&client, "both in sync", both_in_sync).await?;
    mount(&client, "bench", objects + 10_000).await?;
    let keys: Vec<usize> = (0..objects).collect();
    let puts = keys
        .chunks(BATCH)
        .map(|chunk| put_many(&client, chunk.iter().map(|at| key("many", *at)).collect(), PutOptions::default()));
    run_all(4, puts).await?;
    let (mut waits, mut ends) = (Vec::new(), Vec::new());
    for kill in 0..args.kills {
        let client = of_both(&first.1, &second.1).await?;
        wait_for(&client, "both in sync", both_in_sync).await?;
        if client.status().await?.cluster.is_some_and(|cluster| cluster.primary == second.0) {
            std::mem::swap(&mut first, &mut second);
        }
        let (name, primary) = first;
        put_many(&client, vec![key("before", kill)], PutOptions::default()).await?;
        let began = Instant::now();
        primary.kill();
        let ended = began.elapsed();
        put_many(&client, vec![key("after", kill)], PutOptions::default()).await?;
        waits.push(began.elapsed() - ended);
        ends.push(ended);
        ensure!(client.exists_one(key("before", kill)).await?, "an acknowledged write is gone");
        first = (name, members.start(name)?);
    }
    println!("{objects} objects, {} kills", args.kills);
    print("kill -9 to the end of the process", ends);
    print("from there to the next acknowledged write", waits);
    Ok(())
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0;
    println!("  {what:<42} p50 {:>6.1} ms   shortest {:>6.1} ms   longest {:>6.1} ms", at(0.5), at(0.0), at(1.0));
}

async fn of_both(first: &Server, second: &Server) -> Result<Client> {
    Ok(Client::connect(Options::new([first.address(), second.address()])).await?)
}
