//! `./x chaos`: a run with a report. Ctrl-C ends it after the current round, a second one at once.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use chaos::{Options, Story, run, write_report};
use clap::Parser as _;
use parking_lot::Mutex;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!(
        "chaos: seed {seed}, {} minutes, {} members, {:?}",
        options.minutes,
        options.members,
        options.coordinator()
    );
    // Ctrl-C is for this process only, which ends the others itself.
    harness::process::start_apart();
    let story = Arc::new(Mutex::new(Story::default()));
    let (stop, stopped) = watch::channel(false);
    let mut running = tokio::spawn(run(options.clone(), seed, Arc::clone(&story), stopped));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let ended = tokio::select! {
        ended = &mut running => ended,
        () = either(&mut interrupt, &mut terminate) => {
            eprintln!("\nends with this round; once more: at once");
            stop.send_replace(true);
            tokio::select! {
                ended = &mut running => ended,
                () = either(&mut interrupt, &mut terminate) => {
                    running.abort();
                    running.await
                }
            }
        }
    };
    let mut story = story.lock().clone();
    if let Err(why) = ended {
        let what = if why.is_panic() { "the run broke off; see above" } else { "the run was ended at once" };
        story.broke_off(what);
    }
    write_report(&options, &story)?;
    Ok(if story.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
