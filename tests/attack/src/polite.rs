//! A client that makes one call after the other: over a connection of its own, and each second over
//! a new one.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proto::v1::ExistsRequest;
use tokio::time::sleep;

use crate::target::Target;

const PAUSE: Duration = Duration::from_millis(4);
const NEW_EVERY: Duration = Duration::from_secs(1);

/// What it noticed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Noticed {
    pub(crate) took: Vec<Duration>,
    pub(crate) failed: Vec<String>,
    /// The longest time between two answers.
    pub(crate) gap_max: Duration,
}

pub(crate) async fn ask(target: &Target, until: Instant) -> Noticed {
    let mut noticed = Noticed::default();
    let mut client = None;
    let (mut answered, mut opened) = (Instant::now(), Instant::now());
    while Instant::now() < until {
        let began = Instant::now();
        if client.is_none() || opened.elapsed() >= NEW_EVERY {
            opened = began;
            match target.dial().await {
                Ok(new) => client = Some(new),
                Err(why) => {
                    noticed.failed.push(why.to_string());
                    continue;
                }
            }
        }
        let calls = client.as_mut().expect("it was just made");
        let keys = vec![Bytes::from_static(b"k")];
        match calls.exists(ExistsRequest { keys, ..ExistsRequest::default() }).await {
            Ok(_) => {
                noticed.took.push(began.elapsed());
                noticed.gap_max = noticed.gap_max.max(answered.elapsed());
                answered = Instant::now();
            }
            Err(status) => {
                noticed.failed.push(status.to_string());
                client = None;
            }
        }
        sleep(PAUSE).await;
    }
    noticed
}
