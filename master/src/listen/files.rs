//! The open files of this process: as many as its host allows, and the connections must fit.
//!
//! Invariant: after this, no port admits a connection for which there is no file. If a setting does
//! not fit, a warning says so, with both values, and with the value that is used instead.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::listen::{ADMIN_CONNECTIONS_MAX, PEER_CONNECTIONS_MAX};

/// Besides connections: listeners, the log, the coordinator and other members, and connections that
/// have just been cut off.
const OTHER_FILES: usize = 256;
/// A member is useless with fewer connections than this.
const CONNECTIONS_MIN: usize = 16;

/// Raises the soft limit to the hard one, and lowers `connections_max` if it does not fit.
pub(crate) fn fit_open_files(config: &mut Config) -> anyhow::Result<()> {
    let serving = &mut config.serving;
    let files_max = raise();
    let connections_max = fitting(files_max);
    anyhow::ensure!(
        connections_max >= CONNECTIONS_MIN,
        "this process may open {files_max} files, and needs at least {}: raise the hard limit of open files (ulimit -Hn)",
        CONNECTIONS_MIN + beside_clients()
    );
    if serving.connections_max > connections_max {
        tracing::warn!(
            "connections_max is {}, but this process may open only {files_max} files, {} of which are for other things: {} \
             connections are let in. Raise the hard limit of open files (ulimit -Hn), or lower connections_max",
            serving.connections_max,
            beside_clients(),
            connections_max
        );
        serving.connections_max = connections_max;
    }
    Ok(())
}

const fn beside_clients() -> usize {
    PEER_CONNECTIONS_MAX + ADMIN_CONNECTIONS_MAX + OTHER_FILES
}

fn fitting(files_max: usize) -> usize {
    files_max.saturating_sub(beside_clients())
}

/// Returns how many files this process may open.
fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(why) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        let shown = |limit: Option<u64>| limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        let (current, maximum) = (shown(current), shown(maximum));
        tracing::warn!("the limit of open files stays at {current}, it cannot be raised to {maximum}: {why}");
    }
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limit_is_raised_to_the_hard_one() {
        raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }

    #[test]
    fn connections_fit_into_files() {
        assert_eq!(fitting(beside_clients() + 100), 100);
        assert_eq!(fitting(10), 0);
    }
}
