//! A real etcd, alone or as a cluster: its processes, ports and data. It can be stopped, started
//! again, and inspected.
//!
//! Deliberately absent: members of etcd that join or leave.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;
use test_ports::Port;
use tokio::time::sleep;

use crate::cluster::PATIENCE;
use crate::process::Process;

#[derive(Debug)]
pub struct Etcd {
    name: String,
    process: Option<Process>,
    clients: Port,
    peers: Port,
    args: Vec<String>,
    /// Dropped last, since etcd writes into it.
    dir: TempDir,
}

impl Etcd {
    pub async fn start() -> Etcd {
        Etcd::start_with(&[]).await
    }

    /// `args`: for etcd itself.
    pub async fn start_with(args: &[&str]) -> Etcd {
        let mut etcd = Etcd::new("one");
        etcd.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        etcd.restart().await;
        etcd
    }

    /// An instance that does not run yet.
    fn new(name: &str) -> Etcd {
        let dir = tempfile::Builder::new().prefix("understudy-etcd-").tempdir().expect("there is room");
        let (clients, peers) = (test_ports::free_port(), test_ports::free_port());
        Etcd { name: name.to_owned(), process: None, clients, peers, args: Vec::new(), dir }
    }

    /// Restarts it with its previous data.
    pub async fn restart(&mut self) {
        let alone = self.peer();
        self.begin(&alone);
        self.is_up().await;
    }

    /// Its name for the initial cluster.
    fn peer(&self) -> String {
        format!("{}=http://{}", self.name, self.peers.addr())
    }

    /// `cluster`: all instances. etcd reads it only if it has no data yet.
    fn begin(&mut self, cluster: &str) {
        let mut command = Command::new("etcd");
        let (clients, peers) = (self.url(), format!("http://{}", self.peers.addr()));
        command.env_clear().arg("--data-dir").arg(self.data());
        command.args(["--name", &self.name, "--initial-cluster", cluster]);
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(&self.args);
        self.process = Some(Process::start(command, &self.log_path()));
    }

    async fn is_up(&self) {
        let began = Instant::now();
        while !self.is_healthy() {
            assert!(began.elapsed() < PATIENCE, "etcd does not start:\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Deletes its data. It must not run.
    pub fn forget_all(&mut self) {
        assert!(self.process.is_none(), "etcd runs");
        std::fs::remove_dir_all(self.data()).expect("it has run before");
    }

    /// Copies its data, and replaces an earlier copy. It must not run.
    pub fn back_up(&self) {
        assert!(self.process.is_none(), "etcd runs");
        if self.has_backup() {
            std::fs::remove_dir_all(self.backup()).expect("it is ours");
        }
        copy(&self.data(), &self.backup());
    }

    pub fn has_backup(&self) -> bool {
        self.backup().exists()
    }

    fn backup(&self) -> PathBuf {
        self.dir.path().join("backup")
    }

    /// Restores the data of the copy. It must not run.
    pub fn restore(&mut self) {
        self.forget_all();
        copy(&self.backup(), &self.data());
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn signal(&self, signal: Signal) {
        self.process.as_ref().expect("it runs").signal(signal);
    }

    pub fn address(&self) -> SocketAddr {
        self.clients.addr()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.clients.addr())
    }

    pub fn coordinator(&self) -> String {
        format!("etcd:{}", self.url())
    }

    /// The output of `etcdctl`. `None`: it failed.
    pub fn ctl(&self, words: &[&str]) -> Option<String> {
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

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp can be started");
    assert!(copied.success(), "{} could not be copied", from.display());
}

/// Three instances, one of which may be away.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Etcd>,
}

impl EtcdCluster {
    pub async fn start() -> EtcdCluster {
        let mut cluster = EtcdCluster { members: ["one", "two", "three"].map(Etcd::new).into() };
        let all = cluster.peers();
        cluster.members.iter_mut().for_each(|etcd| etcd.begin(&all));
        for etcd in &cluster.members {
            etcd.is_up().await;
        }
        cluster
    }

    fn peers(&self) -> String {
        self.members.iter().map(Etcd::peer).collect::<Vec<_>>().join(",")
    }

    pub fn coordinator(&self) -> String {
        let urls: Vec<_> = self.members.iter().map(Etcd::url).collect();
        format!("etcd:{}", urls.join(","))
    }

    /// The leader, which each running instance knows.
    pub async fn leader(&self) -> usize {
        let began = Instant::now();
        loop {
            let leads = |etcd: &Etcd| etcd.process.is_some() && etcd.says_it_leads();
            if let Some(at) = self.members.iter().position(leads) {
                return at;
            }
            assert!(began.elapsed() < PATIENCE, "nobody leads the etcd cluster");
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn member(&mut self, at: usize) -> &mut Etcd {
        &mut self.members[at]
    }

    /// Starts one that was killed, with its data.
    pub async fn restart(&mut self, at: usize) {
        let all = self.peers();
        self.members[at].begin(&all);
        self.members[at].is_up().await;
    }
}

impl Etcd {
    fn says_it_leads(&self) -> bool {
        let status = self.ctl(&["endpoint", "status", "-w", "json"]);
        let status: Option<serde_json::Value> = status.and_then(|text| serde_json::from_str(&text).ok());
        status.is_some_and(|status| {
            let status = &status[0]["Status"];
            status["leader"].is_u64() && status["leader"] == status["header"]["member_id"]
        })
    }
}
