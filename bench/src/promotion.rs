//! How long clients wait for a promotion, with few objects and with many: it must not depend on how many there are.
//!
//! The standby has proof of the death at once (`file:`), so that what is measured is the promotion, and no tenure.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use client::{Client, Options, PutOptions, Transport};

use crate::load::{connect, key, mount, run_all};
use crate::members::{Members, both_in_sync, wait_for};
use crate::process::Server;
use crate::server::put_many;

const BATCH: usize = 500;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Objects that are there; one round for each number.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5_000_000])]
    objects: Vec<usize>,
    /// Kills of each round.
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
    let (mut first, mut second) = (members.start("a")?, members.start("b")?);
    let client = of_both(&first, &second).await?;
    wait_for(&client, "both in sync", both_in_sync).await?;
    mount(&client, "bench", objects + 10_000).await?;
    let keys: Vec<usize> = (0..objects).collect();
    let puts = keys
        .chunks(BATCH)
        .map(|chunk| put_many(&client, chunk.iter().map(|at| key("many", *at)).collect(), PutOptions::default()));
    run_all(4, puts).await?;
    let mut waits = Vec::new();
    for kill in 0..args.kills {
        let client = of_both(&first, &second).await?;
        wait_for(&client, "both in sync", both_in_sync).await?;
        if client.status().await?.cluster.is_some_and(|cluster| cluster.primary == "b") {
            std::mem::swap(&mut first, &mut second);
        }
        let name =
            if connect(&first.address(), Transport::Unary).await?.status().await?.node == "a" { "a" } else { "b" };
        put_many(&client, vec![key("before", kill)], PutOptions::default()).await?;
        let began = Instant::now();
        first.kill();
        put_many(&client, vec![key("after", kill)], PutOptions::default()).await?;
        waits.push(began.elapsed());
        ensure!(client.exists_one(key("before", kill)).await?, "an acknowledged write is gone");
        first = members.start(name)?;
    }
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share).round() as usize];
    let ms = |wait: Duration| wait.as_secs_f64() * 1000.0;
    println!(
        "{objects:>9} objects: kill -9 to the next acknowledged write: {} kills, p50 {:.1} ms, shortest {:.1} ms, longest {:.1} ms",
        args.kills,
        ms(at(0.5)),
        ms(at(0.0)),
        ms(at(1.0))
    );
    Ok(())
}

async fn of_both(first: &Server, second: &Server) -> Result<Client> {
    Ok(Client::connect(Options::new([first.address(), second.address()])).await?)
}
