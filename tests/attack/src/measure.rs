//! One attack: the member's memory, and what the polite client noticed, from its start to its end.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::attacks::Attack;
use crate::polite::{self, Noticed};
use crate::target::Target;

const LOOK_EVERY: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
pub struct Measured {
    pub attack: Attack,
    pub rest_bytes: u64,
    pub peak_bytes: u64,
    pub calls: usize,
    /// The reason of each failed call.
    pub failed: Vec<String>,
    pub p99: Duration,
    /// The longest time between two answers to the polite client.
    pub gap_max: Duration,
    /// What the member logged meanwhile.
    pub log_bytes: u64,
}

pub async fn measure(attack: Attack, target: &Target, lasts: Duration) -> Measured {
    let (rest_bytes, log_before) = (target.resident_bytes(), target.log_bytes());
    let until = Instant::now() + lasts;
    let (noticed, peak_bytes, ()) =
        tokio::join!(polite::ask(target, until), peak(target, until), attack.run(target.address, until));
    let Noticed { mut took, failed, gap_max } = noticed;
    took.sort_unstable();
    let p99 = took.get(took.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
    let log_bytes = target.log_bytes() - log_before;
    Measured { attack, rest_bytes, peak_bytes, calls: took.len(), failed, p99, gap_max, log_bytes }
}

async fn peak(target: &Target, until: Instant) -> u64 {
    let mut peak = 0;
    while Instant::now() < until {
        peak = peak.max(target.resident_bytes());
        sleep(LOOK_EVERY).await;
    }
    peak
}
