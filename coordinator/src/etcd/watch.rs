//! When something below this cluster's prefix may have changed: a watch, which is opened again
//! whenever it ends, fails or falls silent.
//!
//! Invariants: the hint changes once each time a watch is open again, so that no change in between
//! is missed (a new watch begins with the changes after it); a watch that does not answer a request
//! for its progress is dead.
//!
//! Deliberately absent: the content of the events. A caller that wants to know reads.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, WatchOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::link::{Link, Target};

/// A watch that has been silent for so long is asked for its progress, and has as long to answer.
const QUIET: Duration = Duration::from_secs(3);
/// The pause before a watch is opened again, after one that worked. It doubles after each one that
/// did not,
const PAUSE: Duration = Duration::from_millis(200);
/// up to this.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The oldest releases without two faults that would hurt a member: lost watch events, and leases
/// that come back.
const GOOD: [(u32, u32, u32); 2] = [(3, 5, 28), (3, 6, 9)];

#[derive(Debug)]
pub(super) struct Hint {
    receiver: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Hint {
    pub(super) fn start(target: Arc<Target>) -> Hint {
        let (changes, receiver) = watch::channel(0);
        let task = tokio::spawn(follow(Link::new(target), changes));
        Hint { receiver, task }
    }

    pub(super) fn receiver(&self) -> watch::Receiver<u64> {
        self.receiver.clone()
    }
}

impl Drop for Hint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(link: Link, changes: watch::Sender<u64>) {
    let (mut pause, mut version_known) = (PAUSE, false);
    loop {
        let before = *changes.borrow();
        let Err(why) = watch_once(&link, &changes, &mut version_known).await;
        tracing::debug!(place = link.target.place, why, "the watch has ended");
        link.forget();
        let worked = *changes.borrow() != before;
        pause = if worked { PAUSE } else { (pause * 2).min(PAUSE_MAX) };
        tokio::time::sleep(pause).await;
    }
}

/// Returns when the watch is of no more use, with the reason.
async fn watch_once(
    link: &Link,
    changes: &watch::Sender<u64>,
    version_known: &mut bool,
) -> Result<std::convert::Infallible, String> {
    let limit = link.target.options.timeout();
    let silent = |_| "no answer".to_owned();
    let open = async {
        let mut client = link.client().await?;
        let options = WatchOptions::new().with_prefix();
        let stream = client.watch(link.target.options.prefix(), Some(options)).await?;
        Ok::<_, etcd_client::Error>((client, stream))
    };
    let (client, mut stream) = timeout(limit, open).await.map_err(silent)?.map_err(|error| error.to_string())?;
    let mut asked = false;
    loop {
        match timeout(QUIET, stream.message()).await {
            Ok(Ok(Some(message))) if message.canceled() => {
                return Err(format!("canceled: {}, compacted {}", message.cancel_reason(), message.compact_revision()));
            }
            Ok(Ok(Some(message))) => {
                asked = false;
                if message.created() || !message.events().is_empty() {
                    changes.send_modify(|count| *count += 1);
                }
            }
            Ok(Ok(None)) => return Err("the stream has ended".to_owned()),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) if asked => return Err(format!("silent for {:?}", 2 * QUIET)),
            Err(_) => {
                asked = true;
                timeout(limit, stream.request_progress()).await.map_err(silent)?.map_err(|error| error.to_string())?;
            }
        }
        if !*version_known {
            *version_known = warn_if_old(client.clone(), limit).await;
        }
    }
}

/// Whether the server has told its version.
async fn warn_if_old(mut client: Client, limit: Duration) -> bool {
    let Ok(Ok(status)) = timeout(limit, client.status()).await else { return false };
    if let Some(better) = better_than(status.version()) {
        tracing::warn!(
            version = status.version(),
            "this etcd has known faults with leases and watches: it works, and {better} or later is better"
        );
    }
    true
}

/// The release that an operator with this version should install.
fn better_than(version: &str) -> Option<String> {
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse::<u32>().ok());
    let mut next = || numbers.next().flatten();
    let (Some(major), Some(minor), Some(patch)) = (next(), next(), next()) else { return None };
    let name = |(major, minor, patch): (u32, u32, u32)| format!("{major}.{minor}.{patch}");
    let line = GOOD.into_iter().find(|good| (good.0, good.1) >= (major, minor))?;
    ((major, minor, patch) < line).then(|| name(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_told_which_one_is_better() {
        for (version, better) in [
            ("2.3.8", Some("3.5.28")),
            ("3.4.23", Some("3.5.28")),
            ("3.5.27", Some("3.5.28")),
            ("3.5.28", None),
            ("3.6.0-rc.1", Some("3.6.9")),
            ("3.6.8", Some("3.6.9")),
            ("3.6.9", None),
            ("3.7.0", None),
            ("4.0.0-alpha", None),
            ("something else", None),
        ] {
            assert_eq!(better_than(version).as_deref(), better, "{version}");
        }
    }
}
