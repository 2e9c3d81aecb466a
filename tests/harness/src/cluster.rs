//! Members of one cluster as processes on this host, in a directory that is kept when something
//! fails.
//!
//! Invariants: members are known by their name; a member that is started again keeps its address
//! and begins a new log file; when this is dropped, no process is left.
//!
//! Deliberately absent: clients, and verdicts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use proto::v1::admin_client::AdminClient;
use proto::v1::{StatusRequest, StatusResponse, TransferRequest, TransferResponse};
use rustix::process::Signal;
use tempfile::TempDir;
use test_ports::Port;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

use crate::process::Process;
use crate::view::{View, count_in_sync, epoch, leader, says_in_sync};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A member that does not report its status within this time counts as unable to.
const STATUS_WITHIN: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How the members of a cluster are started.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// `etcd:http://...`; empty: `file:`, in the directory of the cluster.
    pub coordinator: String,
    /// Arguments of every member.
    pub args: Vec<String>,
}

impl Spec {
    pub fn with(args: &[&str]) -> Spec {
        Spec { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Spec::default() }
    }
}

#[derive(Debug)]
struct MemberSlot {
    port: Port,
    /// Arguments beyond those of the spec.
    args: Vec<String>,
    admin: AdminClient<Channel>,
    process: Option<Process>,
    starts: u32,
}

#[derive(Debug)]
pub struct Cluster {
    members: BTreeMap<String, MemberSlot>,
    /// Clients that know their addresses must find no other process there.
    gone: Vec<MemberSlot>,
    spec: Spec,
    /// Dropped last, since the members write into it.
    dir: Dir,
}

/// Clusters of tests begin with an empty coordinator, so most need not wait for members that may
/// hold something. A flag overrides this.
const FOUND_AFTER_MS: &str = "200";

impl Cluster {
    /// Starts the members one after the other, and waits until all are in sync.
    pub async fn start(names: &[&str], spec: Spec) -> Cluster {
        let mut cluster = Cluster::empty(spec);
        for name in names {
            cluster.add(name, &[]);
            cluster.wait_until("it is in sync", |view| says_in_sync(view, name)).await;
        }
        cluster.in_sync().await;
        cluster
    }

    pub fn empty(spec: Spec) -> Cluster {
        Cluster { members: BTreeMap::new(), gone: Vec::new(), spec, dir: Dir::new() }
    }

    /// Starts a new member.
    fn add(&mut self, name: &str, args: &[&str]) {
        self.plan(name, args);
        self.restart(name);
    }

    /// A member that can be started later. Clients may know its address before.
    pub fn plan(&mut self, name: &str, args: &[&str]) {
        let coordinator = self.coordinator();
        self.plan_with(name, &coordinator, args);
    }

    /// As [`Cluster::plan`], with a link of its own to the coordinator.
    pub fn plan_with(&mut self, name: &str, coordinator: &str, args: &[&str]) {
        let port = test_ports::free_port();
        let endpoint = Endpoint::from_shared(format!("http://{}", port.addr())).expect("it is an address");
        let admin = AdminClient::new(endpoint.connect_timeout(STATUS_WITHIN).connect_lazy());
        let args = ["--coordinator", coordinator].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        self.members.insert(name.to_owned(), MemberSlot { port, args, admin, process: None, starts: 0 });
    }

    /// Starts a member that has ended, or was planned.
    pub fn restart(&mut self, name: &str) {
        self.restart_by(name, Process::start);
    }

    /// The same, on a disk without room for its log.
    pub fn restart_on_full_disk(&mut self, name: &str) {
        self.restart_by(name, Process::start_on_full_disk);
    }

    fn restart_by(&mut self, name: &str, start: fn(Command, &Path) -> Process) {
        let command = self.command(name);
        let member = self.member_mut(name);
        member.starts += 1;
        let log = format!("{name}.{}.log", member.starts);
        let process = start(command, &self.dir.path.join(log));
        self.member_mut(name).process = Some(process);
    }

    /// The command that starts a member.
    fn command(&self, name: &str) -> Command {
        let member = self.member(name);
        let mut command = understudy();
        command.args(["serve", "--node-name", name, "--listen", &member.port.addr().to_string()]);
        command.args(&self.spec.args).args(&member.args);
        command.env("UNDERSTUDY_FOUND_AFTER_MS", FOUND_AFTER_MS);
        // Tests transfer as often as they like. The pause has a test of its own.
        command.env("UNDERSTUDY_TRANSFER_PAUSE_MS", "0");
        command
    }

    /// A second copy of a member, at another address.
    pub fn copy(&self, name: &str, port: &Port) -> Process {
        let mut command = understudy();
        command.args(["serve", "--node-name", name, "--listen", &port.addr().to_string()]);
        command.args(["--coordinator", &self.coordinator()]);
        Process::start(command, &self.dir.path.join(format!("{name}.copy.log")))
    }

    fn coordinator(&self) -> String {
        match self.spec.coordinator.as_str() {
            "" => format!("file:{}", self.dir.path.join("coordinator").display()),
            coordinator => coordinator.to_owned(),
        }
    }

    fn member(&self, name: &str) -> &MemberSlot {
        self.members.get(name).unwrap_or_else(|| panic!("there is no member {name:?}"))
    }

    fn member_mut(&mut self, name: &str) -> &mut MemberSlot {
        self.members.get_mut(name).unwrap_or_else(|| panic!("there is no member {name:?}"))
    }

    fn process(&mut self, name: &str) -> &mut Process {
        let process = self.member_mut(name).process.as_mut();
        process.unwrap_or_else(|| panic!("member {name:?} was killed before"))
    }

    pub fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    pub fn names_but(&self, not: &str) -> Vec<String> {
        self.members.keys().filter(|name| *name != not).cloned().collect()
    }

    pub fn address(&self, name: &str) -> String {
        self.member(name).port.addr().to_string()
    }

    pub fn addresses(&self) -> Vec<String> {
        self.members.keys().map(|name| self.address(name)).collect()
    }

    /// A member that has ended, and does not come back.
    pub fn forget(&mut self, name: &str) {
        self.gone.extend(self.members.remove(name));
    }

    /// `None`: it does not run.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.member(name).process.as_ref().map(Process::pid)
    }

    pub fn dir(&self) -> &Path {
        &self.dir.path
    }

    /// Keeps the logs, and returns where they are.
    pub fn keep_logs(&mut self) -> PathBuf {
        self.dir.keep()
    }

    /// kill -9, and waits until it has ended.
    pub fn kill(&mut self, name: &str) {
        self.process(name).kill();
        self.member_mut(name).process = None;
    }

    /// kill -9 of the one process that this member has started.
    pub fn kill_child(&mut self, name: &str) {
        self.process(name).kill_child();
    }

    pub fn signal(&mut self, name: &str, signal: Signal) {
        self.process(name).signal(signal);
    }

    pub async fn ended(&mut self, name: &str) -> ExitStatus {
        let status = self.process(name).ended_within(PATIENCE).await;
        self.member_mut(name).process = None;
        status
    }

    pub async fn status(&self, name: &str) -> Option<StatusResponse> {
        let mut admin = self.member(name).admin.clone();
        let answer = timeout(STATUS_WITHIN, admin.status(StatusRequest {})).await;
        answer.ok()?.ok().map(tonic::Response::into_inner)
    }

    pub async fn transfer(&self, from: &str, to: &str) -> Result<TransferResponse, tonic::Status> {
        let mut admin = self.member(from).admin.clone();
        admin.transfer(TransferRequest { to: to.to_owned() }).await.map(tonic::Response::into_inner)
    }

    pub async fn view(&self) -> View {
        let mut view = View::new();
        for (name, member) in &self.members {
            let status = if member.process.is_some() { self.status(name).await } else { None };
            view.insert(name.clone(), status);
        }
        view
    }

    /// Until the members that run say so.
    pub async fn wait_until(&self, what: &str, is_so: impl Fn(&View) -> bool) -> View {
        let began = Instant::now();
        loop {
            let view = self.view().await;
            if is_so(&view) {
                return view;
            }
            self.check_alive();
            assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {view:#?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// No member has ended by itself.
    fn check_alive(&self) {
        for (name, member) in &self.members {
            let ended = member.process.as_ref().filter(|process| process.has_ended());
            assert!(ended.is_none(), "member {name:?} has ended by itself; its log:\n{}", self.log(name));
        }
    }

    /// Until one member leads and all others that run are in sync with it, also by their own word.
    /// Returns its name and epoch.
    pub async fn in_sync(&self) -> (String, u64) {
        let running = self.members.values().filter(|member| member.process.is_some()).count();
        let all_in_sync = |view: &View| {
            leader(view).is_some_and(|(_, status)| count_in_sync(status) == running)
                && view.keys().all(|name| self.member(name).process.is_none() || says_in_sync(view, name))
        };
        let view = self.wait_until("one leads and all are in sync", all_in_sync).await;
        let (name, status) = leader(&view).expect("that was waited for");
        (name.to_owned(), epoch(status))
    }

    /// Until one of these leads. Other members are not asked, since they may be unable to answer.
    pub async fn led_by_one_of(&self, names: &[String]) -> String {
        let began = Instant::now();
        loop {
            for name in names {
                if self.status(name).await.is_some_and(|status| status.role == "primary") {
                    return name.clone();
                }
            }
            assert!(began.elapsed() < PATIENCE, "none of {names:?} leads within {PATIENCE:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// The newest log of a member.
    pub fn log(&self, name: &str) -> String {
        let file = format!("{name}.{}.log", self.member(name).starts);
        std::fs::read_to_string(self.dir.path.join(file)).expect("it was started")
    }

    /// How often a member has logged something since it was started. A line that was repeated
    /// within a second may still be missing, since the log counts repeats first.
    pub fn said(&self, name: &str, what: &str) -> usize {
        let log = self.log(name);
        let of = |line: &str| -> Option<usize> {
            line.split_whitespace().find_map(|field| field.strip_prefix("repeated=")?.parse().ok())
        };
        log.lines().filter(|line| line.contains(what)).map(|line| of(line).unwrap_or(1)).sum()
    }

    /// The first line of a member's log with this text, once there is one.
    pub async fn says(&self, name: &str, what: &str) -> String {
        let began = Instant::now();
        loop {
            let log = self.log(name);
            if let Some(line) = log.lines().find(|line| line.contains(what)) {
                return line.to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "{name} does not say {what:?}:\n{log}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// All logs, by the name of their file.
    pub fn logs(&self) -> BTreeMap<String, String> {
        let files = std::fs::read_dir(&self.dir.path).expect("it is ours").map(|file| file.expect("it is ours").path());
        let logs = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
        let named = |path: PathBuf| {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("it is ours")).into_owned();
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text)
        };
        logs.map(named).collect()
    }

    /// Lines that an operator must look at.
    pub fn bad_lines(&self) -> Vec<String> {
        let is_bad = |line: &&str| line.contains(" ERROR ") || line.contains("panicked at");
        let of = |(file, log): (String, String)| {
            log.lines().filter(is_bad).map(|line| format!("{file}: {line}")).collect::<Vec<_>>()
        };
        self.logs().into_iter().flat_map(of).collect()
    }

    pub fn check_logs(&self) {
        let bad = self.bad_lines();
        assert!(bad.is_empty(), "{bad:#?}");
    }

    /// One leads, the others follow, and all hold the same at the same seq.
    pub async fn converged(&self) {
        self.in_sync().await;
        let same = |view: &View| {
            let at: Vec<_> = view.values().flatten().map(|status| (status.applied, status.digest.clone())).collect();
            for ((seq, digest), (other_seq, other_digest)) in at.iter().zip(at.iter().skip(1)) {
                assert!(seq != other_seq || digest == other_digest, "at the same seq, other digests: {view:#?}");
            }
            at.windows(2).all(|pair| pair[0] == pair[1])
        };
        let view = self.wait_until("all hold the same", same).await;
        let (name, _) = leader(&view).expect("one leads");
        let others = view.iter().filter(|(other, _)| *other != name).filter_map(|(_, status)| status.as_ref());
        for status in others {
            assert_eq!(status.role, "standby", "{view:#?}");
        }
    }
}

/// The program, without environment variables that it would read.
pub fn understudy() -> Command {
    understudy_at(&program())
}

/// The command [`understudy`] of another build.
pub fn understudy_at(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("UNDERSTUDY_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1");
    command
}

/// The program that was built together with this one: beside it, or, for a test, above.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("this program knows where it is");
    let mut places = own.ancestors().skip(1).take(2).map(|dir| dir.join("understudy"));
    let found = places.find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("there is no understudy beside {}; build it with the same profile", own.display()))
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    temp: Option<TempDir>,
}

impl Dir {
    fn new() -> Dir {
        let temp = tempfile::Builder::new().prefix("understudy-failover-").tempdir().expect("there is room");
        Dir { path: temp.path().to_owned(), temp: Some(temp) }
    }
}

impl Dir {
    fn keep(&mut self) -> PathBuf {
        if let Some(temp) = self.temp.take() {
            eprintln!("logs are kept in {}", temp.keep().display());
        }
        self.path.clone()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep();
        }
    }
}
