//! Members of one cluster, as processes that share a `file:` coordinator.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use client::{Client, Cluster};

use crate::process::Server;

const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) struct Members {
    coordinator: tempfile::TempDir,
    extra: Vec<String>,
}

impl Members {
    /// `extra`: further arguments of each member.
    pub(crate) fn new(extra: &[String]) -> Result<Members> {
        let coordinator = tempfile::tempdir().context("no place for the coordinator's directory")?;
        Ok(Members { coordinator, extra: extra.to_vec() })
    }

    pub(crate) fn start(&self, name: &str) -> Result<Server> {
        let coordinator = format!("file:{}", self.coordinator.path().display());
        let mut arguments = vec!["--coordinator".to_owned(), coordinator, "--node-name".to_owned(), name.to_owned()];
        // Too little log for a million objects, so that a new member needs a full sync.
        arguments.extend(["--tail-bytes".to_owned(), "33554544".to_owned()]);
        arguments.extend(self.extra.iter().cloned());
        Server::start(&arguments)
    }
}

pub(crate) async fn wait_for(client: &Client, what: &str, is_there: impl Fn(&Cluster) -> bool) -> Result<()> {
    let began = Instant::now();
    while !client.status().await?.cluster.is_some_and(|cluster| is_there(&cluster)) {
        ensure!(began.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

pub(crate) fn both_in_sync(cluster: &Cluster) -> bool {
    cluster.members.iter().filter(|member| member.in_sync).count() == 2
}
