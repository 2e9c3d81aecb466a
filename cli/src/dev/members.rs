//! The members of `dev`: processes of this program, each with a log file, started anew when they end.
//!
//! Invariant: they end with this process, however it ends: each of them watches a pipe that only this process holds.
//!
//! Deliberately absent: who is the primary. They decide that among themselves.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use client::{Client, Heartbeat, Options, Status, Transport};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::dev::PATIENCE;
use crate::words;

/// Long enough to look at a cluster that lacks a member.
pub(super) const RESTART_AFTER: Duration = Duration::from_secs(3);
const WHOLE_WITHIN: Duration = Duration::from_secs(30);
const STOP_WITHIN: Duration = Duration::from_secs(6);
const ASK: Duration = Duration::from_millis(300);

pub(super) struct Members {
    dir: PathBuf,
    coordinator: String,
    members: Vec<Member>,
}

struct Member {
    name: String,
    address: SocketAddr,
    /// None: it has ended, and is started anew at `again_at`.
    child: Option<Child>,
    again_at: Instant,
    /// To ask how it is.
    client: Option<Client>,
}

impl Members {
    pub(super) fn start(dir: &Path, coordinator: &str, addresses: &[SocketAddr]) -> anyhow::Result<Members> {
        let mut members = Members { dir: dir.to_owned(), coordinator: coordinator.to_owned(), members: Vec::new() };
        for (&address, name) in addresses.iter().zip('a'..='z') {
            let name = name.to_string();
            let child = Some(members.spawn(&name, address)?);
            members.members.push(Member { name, address, child, again_at: Instant::now(), client: None });
        }
        Ok(members)
    }

    fn spawn(&self, name: &str, address: SocketAddr) -> anyhow::Result<Child> {
        let log = File::options().create(true).append(true).open(self.log(name)).context("no log file")?;
        let program = std::env::current_exe().context("this program cannot find itself")?;
        let patience_ms = PATIENCE.as_millis().to_string();
        let mut command = Command::new(program);
        // Settings that were meant for something else.
        let ours = std::env::vars_os().map(|(name, _)| name);
        ours.filter(|name| name.to_string_lossy().starts_with("UNDERSTUDY_")).for_each(|name| {
            command.env_remove(name);
        });
        command
            .args(["serve", "--until-stdin-ends", "--node-name", name, "--listen", &address.to_string()])
            // Its coordinator is new with it: no member can hold anything yet.
            .args(["--coordinator", &self.coordinator, "--found-after-ms", "200"])
            .args(["--client-ttl-ms", &patience_ms, "--put-start-timeout-ms", &patience_ms])
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for this process; it stops them.
            .process_group(0);
        command.spawn().with_context(|| format!("member {name} cannot be started"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.members.iter().map(|member| member.address.to_string()).collect()
    }

    /// `127.0.0.1:7400 (a, pid 4711), ...`.
    pub(super) fn list(&self) -> String {
        let one = |member: &Member| {
            let pid = member.child.as_ref().map_or(0, Child::id);
            format!("{} ({}, pid {pid})", member.address, member.name)
        };
        self.members.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    pub(super) fn document(&self) -> Value {
        let one = |member: &Member| {
            let pid = member.child.as_ref().map(Child::id);
            json!({ "name": member.name, "address": member.address.to_string(), "pid": pid })
        };
        self.members.iter().map(one).collect()
    }

    /// The pid of the member that leads; none when that is not clear.
    pub(super) async fn primary_pid(&mut self) -> Option<u32> {
        let leads = |status: &Option<Status>| status.as_ref().is_some_and(|status| status.role == "primary");
        let at = self.statuses().await.iter().position(leads)?;
        self.members[at].child.as_ref().map(Child::id)
    }

    /// One of them is the primary, and all the others are in sync with it.
    pub(super) async fn wait_until_whole(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while !self.is_whole().await {
            for member in &mut self.members {
                let Some(child) = &mut member.child else { continue };
                if let Some(status) = child.try_wait()? {
                    let log =
                        std::fs::read_to_string(self.dir.join(format!("{}.log", member.name))).unwrap_or_default();
                    bail!("member {} has ended ({status}):\n{}", member.name, words::plain(log.trim_end()));
                }
            }
            if began.elapsed() > WHOLE_WITHIN {
                bail!("the members have not found together within {} s", WHOLE_WITHIN.as_secs());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn is_whole(&mut self) -> bool {
        let count = self.members.len();
        let in_sync = |status: &Status| {
            let cluster = status.cluster.as_ref();
            cluster.is_some_and(|cluster| cluster.members.iter().filter(|member| member.in_sync).count() == count)
        };
        // The first one started first, and leads, unless it was slow.
        self.statuses().await.iter().flatten().any(|status| status.role == "primary" && in_sync(status))
    }

    async fn statuses(&mut self) -> Vec<Option<Status>> {
        let mut statuses = Vec::new();
        for member in &mut self.members {
            statuses.push(member.status().await);
        }
        statuses
    }

    /// Starts anew what has ended long enough ago. What is to be said of it.
    pub(super) fn look_after(&mut self) -> anyhow::Result<Vec<String>> {
        let mut said = Vec::new();
        for at in 0..self.members.len() {
            let member = &mut self.members[at];
            match &mut member.child {
                Some(child) => {
                    let Some(status) = child.try_wait()? else { continue };
                    said.push(format!("member {} has ended ({status})", member.name));
                    (member.child, member.client) = (None, None);
                    member.again_at = Instant::now() + RESTART_AFTER;
                }
                None if Instant::now() >= member.again_at => {
                    let (name, address) = (member.name.clone(), member.address);
                    let child = self.spawn(&name, address)?;
                    said.push(format!("member {name} is started anew, pid {}", child.id()));
                    self.members[at].child = Some(child);
                }
                None => {}
            }
        }
        Ok(said)
    }

    /// Who is what, and how much there is.
    pub(super) async fn state_line(&mut self) -> String {
        let statuses = self.statuses().await;
        let mut parts = Vec::new();
        for (member, status) in self.members.iter().zip(&statuses) {
            let what = match (status, &member.child) {
                (_, None) => "ended".to_owned(),
                (None, Some(_)) => "silent".to_owned(),
                (Some(status), _) => status.role.clone(),
            };
            parts.push(format!("{} {what}", member.name));
        }
        let primary = statuses.iter().flatten().find(|status| status.role == "primary");
        if let Some(status) = primary {
            parts.push(format!(
                "epoch {}, {} objects, {} segments, {} clients, {} of {} used, seq {}",
                status.applied.epoch,
                words::count(status.objects),
                words::count(status.segments),
                words::count(status.clients),
                words::percent(status.used_bytes, status.capacity_bytes),
                words::size(status.capacity_bytes),
                status.applied.seq
            ));
        }
        parts.join(" | ")
    }

    /// Asks them to stop, and waits until they have.
    pub(super) async fn stop(mut self) {
        // Standbys first: so no member takes over just to stop.
        let is_primary = |status: &Option<Status>| status.as_ref().is_some_and(|status| status.role == "primary");
        let last = self.statuses().await.iter().position(is_primary).unwrap_or(0);
        for at in (0..self.members.len()).filter(|at| *at != last).chain([last]) {
            if let Some(child) = &mut self.members[at].child {
                drop(child.stdin.take());
                wait_for(child).await;
            }
        }
    }
}

async fn wait_for(child: &mut Child) {
    let began = Instant::now();
    while began.elapsed() < STOP_WITHIN {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    // It does not listen, so it is ended. An error: it has ended by itself after all.
    let _ = child.kill();
    let _ = child.wait();
}

impl Member {
    async fn status(&mut self) -> Option<Status> {
        self.child.as_ref()?;
        if self.client.is_none() {
            let mut options = Options::new([self.address.to_string()]);
            options.heartbeat = Heartbeat::Off;
            options.transport = Transport::Unary;
            options.deadline = ASK;
            options.connect_deadline = Duration::ZERO;
            self.client = Client::connect(options).await.ok();
        }
        let status = self.client.as_ref()?.status().await.ok();
        if status.is_none() {
            self.client = None;
        }
        status
    }
}
