//! A real etcd of one's own: its process, its ports, its data; stopped, started again, and looked into.
//!
//! Deliberately absent: clusters of etcd.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use test_ports::Port;
use tokio::time::sleep;

use crate::cluster::PATIENCE;
use crate::process::Process;

#[derive(Debug)]
pub(crate) struct Etcd {
    process: Option<Process>,
    clients: Port,
    peers: Port,
    /// Dropped last: etcd writes into it.
    dir: TempDir,
}

impl Etcd {
    pub(crate) async fn start() -> Etcd {
        let dir = tempfile::Builder::new().prefix("understudy-etcd-").tempdir().expect("there is room");
        let mut etcd = Etcd { process: None, clients: test_ports::free_port(), peers: test_ports::free_port(), dir };
        etcd.restart().await;
        etcd
    }

    /// With the data of before.
    pub(crate) async fn restart(&mut self) {
        let mut command = Command::new("etcd");
        let (clients, peers) = (self.url(), format!("http://{}", self.peers.addr()));
        command.env_clear().arg("--data-dir").arg(self.dir.path().join("data"));
        command.args(["--name", "one", "--initial-cluster", &format!("one={peers}")]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        self.process = Some(Process::start(command, &self.log_path()));
        let began = Instant::now();
        while !self.is_healthy() {
            assert!(began.elapsed() < PATIENCE, "etcd does not start:\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.clients.addr()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.clients.addr())
    }

    pub(crate) fn coordinator(&self) -> String {
        format!("etcd:{}", self.url())
    }

    /// What `etcdctl` prints; `None`: it failed.
    pub(crate) fn ctl(&self, words: &[&str]) -> Option<String> {
        let mut command = Command::new("etcdctl");
        command.env_clear().env("ETCDCTL_API", "3").args(["--endpoints", &self.url(), "--dial-timeout", "1s"]);
        let output = command.args(words).output().expect("etcdctl can be started");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn is_healthy(&self) -> bool {
        self.ctl(&["endpoint", "health"]).is_some()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("etcd.log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}
