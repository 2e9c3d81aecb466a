//! The log of this process, on standard error: standard output is for what a command is asked to print.

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, LogFormat, Logging};

/// Once for each process.
pub(crate) fn start(logging: &Logging) -> anyhow::Result<()> {
    let level = &logging.log_level;
    let filter = EnvFilter::try_new(level)
        .map_err(|why| ConfigError::Rule { field: "log_level", rule: format!("{level:?} is not understood: {why}") })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match logging.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("the log cannot be started: {error}"))
}
