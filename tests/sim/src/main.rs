//! Runs seeds, for a night or for one failure again.

use clap::Parser;
use understudy_test_sim::World;

/// Simulate clusters; stops at the first seed that breaks a promise.
#[derive(Parser, Debug)]
#[command(name = "understudy-test-sim")]
struct Args {
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    #[arg(long, default_value_t = 1)]
    from: u64,
}

fn main() {
    let args = Args::parse();
    let (mut takeovers, mut acknowledgements) = (0, 0);
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let named = NameOnPanic(seed);
        let summary = World::new(seed).run();
        std::mem::forget(named);
        takeovers += summary.takeovers;
        acknowledgements += summary.acknowledgements;
    }
    println!("{} seeds from {}: {takeovers} takeovers, {acknowledgements} acknowledged writes", args.seeds, args.from);
}

/// Dropped by a panic only.
struct NameOnPanic(u64);

impl Drop for NameOnPanic {
    fn drop(&mut self) {
        eprintln!("seed {seed} breaks a promise; run it again with: ./x sim --seeds 1 --from {seed}", seed = self.0);
    }
}
