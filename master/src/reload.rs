//! SIGHUP: settings are read again from their sources, and those that can change in a running
//! process do.
//!
//! Invariant: SIGHUP ends nothing. Settings that cannot be read, or do not fit each other, change
//! nothing.
//!
//! Deliberately absent: flags and variables. A process keeps those that it was started with, and
//! they win over the file.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::cluster_settings;
use crate::config::{Config, Flags};
use crate::logging;

/// Settings that a running process takes over.
const LIVE: [&str; 1] = ["log_level"];

/// From now on, on a thread of its own, for as long as the process lives. `config`: the result of
/// `flags` at the start.
pub fn start(flags: Flags, mut config: Config) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut hangups = {
        let _inside = runtime.enter();
        signal(SignalKind::hangup())?
    };
    let listen = move || {
        runtime.block_on(async {
            while hangups.recv().await.is_some() {
                match flags.load() {
                    Ok(read) => take_over(&mut config, &read),
                    Err(error) => tracing::warn!("SIGHUP: nothing has changed: {error}"),
                }
            }
        });
    };
    std::thread::Builder::new().name("understudy-hup".to_owned()).spawn(listen)?;
    Ok(())
}

fn take_over(config: &mut Config, read: &Config) {
    let changed = config.differences(read);
    if let Err(error) = logging::set_level(&read.logging.log_level) {
        return tracing::warn!("SIGHUP: the log level cannot be changed: {error}");
    }
    config.logging.log_level.clone_from(&read.logging.log_level);
    let (live, rest): (Vec<_>, Vec<_>) = changed.into_iter().partition(|change| LIVE.contains(&change.name));
    for change in &live {
        tracing::info!("SIGHUP: {} is {} from now on, it was {}", change.name, change.to, change.from);
    }
    if live.is_empty() && rest.is_empty() {
        tracing::info!("SIGHUP: the settings are read again, nothing has changed");
    }
    for change in rest {
        let (name, to) = (change.name, change.to);
        if cluster_settings::is_named(name) {
            tracing::warn!(
                "SIGHUP: {name} is {to} in the settings now, but belongs to the cluster: see `understudy config`"
            );
            continue;
        }
        tracing::warn!("SIGHUP: {name} is {to} in the settings now; that holds once this member is started again");
    }
}
