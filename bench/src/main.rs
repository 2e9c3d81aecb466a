//! Benchmarks of Understudy. Each prints CPU time per operation, since wall time on a shared
//! machine says little; docs/benchmarks.md holds the figures and the commands that give them again.

mod lag;
mod load;
mod measure;
mod members;
mod pair;
mod polite;
mod process;
mod promotion;
mod server;
mod state;
mod verify;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmarks of Understudy.
#[derive(Parser, Debug)]
#[command(name = "understudy-bench", version)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// The state alone, in this process: no network, no encoding.
    State(state::Args),
    /// A real server: CPU of its process per call, alone, over a session and in batches.
    Server(server::Args),
    /// A pair: what a standby costs, a full sync while writes go on, a kill.
    Pair(pair::Args),
    /// A pair: how far the standby lags behind puts at a steady rate.
    Lag(lag::Args),
    /// A pair that is killed again and again, with few objects and with many.
    Promotion(promotion::Args),
    /// Two pairs, one with verification and one without: what it costs.
    Verify(verify::Args),
    /// What a client that calls at a steady rate feels while bulk work goes on beside it.
    Polite(polite::Args),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().what {
        What::State(args) => state::run(&args),
        What::Server(args) => runtime()?.block_on(server::run(&args)),
        What::Pair(args) => runtime()?.block_on(pair::run(&args)),
        What::Lag(args) => runtime()?.block_on(lag::run(&args)),
        What::Promotion(args) => runtime()?.block_on(promotion::run(&args)),
        What::Verify(args) => runtime()?.block_on(verify::run(&args)),
        What::Polite(args) => runtime()?.block_on(polite::run(&args)),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}
