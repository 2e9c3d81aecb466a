//! Benchmarks of Understudy. Each prints CPU time per operation, since wall time on a shared
//! machine says little. docs/benchmarks.md has the figures, and the commands that reproduce them.

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
mod verification_cost;

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
    /// The state alone, in this process, without network and encoding.
    State(state::Args),
    /// A real server: CPU time of its process per call, alone, over a session and in batches.
    Server(server::Args),
    /// A pair: the cost of a standby, a full sync under writes, a kill.
    Pair(pair::Args),
    /// A pair: how far the standby lags behind puts at a steady rate.
    Lag(lag::Args),
    /// A pair whose primary is killed again and again, with few objects and with many.
    Promotion(promotion::Args),
    /// The cost of verification: two pairs, one with it and one without.
    Verify(verification_cost::Args),
    /// What a client that calls at a steady rate notices of bulk work.
    Polite(polite::Args),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().what {
        What::State(args) => state::run(&args),
        What::Server(args) => runtime()?.block_on(server::run(&args)),
        What::Pair(args) => runtime()?.block_on(pair::run(&args)),
        What::Lag(args) => runtime()?.block_on(lag::run(&args)),
        What::Promotion(args) => runtime()?.block_on(promotion::run(&args)),
        What::Verify(args) => runtime()?.block_on(verification_cost::run(&args)),
        What::Polite(args) => runtime()?.block_on(polite::run(&args)),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}
