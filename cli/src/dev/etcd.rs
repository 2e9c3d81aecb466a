//! An etcd of `dev`'s own: one process, its data beside the logs, gone when `dev` ends.
//!
//! Deliberately absent: durability. What it keeps is worth nothing without the members, and they end with it.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::dev::ports;
use crate::dev::tied::tied_command;

const UP_WITHIN: Duration = Duration::from_secs(15);

pub(super) struct Etcd {
    process: Ended,
    address: SocketAddr,
}

fn is_installed() -> anyhow::Result<()> {
    let mut command = Command::new("etcd");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().map(drop).context(
        "etcd cannot be started. Install it (Debian: apt-get install etcd-server), or leave --etcd out: then a directory \
         coordinates",
    )
}

/// Ends it also on a fault; the kernel does, where this process is killed.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // An error: it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Etcd {
    pub(super) async fn start(dir: &Path) -> anyhow::Result<Etcd> {
        let (addresses, _) = ports::choose(ports::first_of_etcd().as_slice(), 2).await?;
        let (clients, peers) = (addresses[0], addresses[1]);
        let log: PathBuf = dir.join("etcd.log");
        let out = File::create(&log).context("no log file for etcd")?;
        let url = |address: SocketAddr| format!("http://{address}");
        is_installed()?;
        let mut command = tied_command("etcd")?;
        command
            .arg("--data-dir")
            .arg(dir.join("etcd"))
            .args(["--listen-client-urls", &url(clients), "--advertise-client-urls", &url(clients)])
            .args(["--listen-peer-urls", &url(peers), "--initial-advertise-peer-urls", &url(peers)])
            .args(["--initial-cluster", &format!("default={}", url(peers))])
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0);
        let child = command.spawn().context("etcd cannot be started")?;
        let mut etcd = Etcd { process: Ended(child), address: clients };
        etcd.wait_until_up(&log).await?;
        Ok(etcd)
    }

    async fn wait_until_up(&mut self, log: &Path) -> anyhow::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(status) = self.process.0.try_wait()? {
                bail!("etcd has ended ({status}): {}", std::fs::read_to_string(log).unwrap_or_default());
            }
            if began.elapsed() > UP_WITHIN {
                bail!("etcd does not listen after {} s", UP_WITHIN.as_secs());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(super) fn coordinator(&self) -> String {
        format!("etcd:http://{}", self.address)
    }

    pub(super) async fn stop(self) {
        drop(self.process);
    }
}
