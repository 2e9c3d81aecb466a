//! A run: members and clients start, rounds of faults come and are checked, and everything ends.
//!
//! Invariant: however it ends, no process is left, and the story has all that happened until then.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Options as Access, PutOptions, Segment, Transport};
use harness::cluster::{PATIENCE, Spec};
use harness::etcd::Etcd;
use harness::linked::Linked;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::audit::Audit;
use crate::board::{Board, Chapter};
use crate::breaker::Breaker;
use crate::options::{Coordinator, Options};
use crate::plan::Plan;
use crate::probe::{self, Probe};
use crate::report;
use crate::story::Story;
use crate::worker::Worker;

const WORKERS: u32 = 6;
/// Numbers of probes begin here.
const PROBES: u32 = 1000;
const SEGMENT_BYTES: u64 = 1 << 40;
/// Short, so that some calls end without an answer.
const DEADLINE: Duration = Duration::from_secs(2);
/// All that would end or drop something by itself is far away, so that the checkers need not model
/// it. If all members that hold anything are lost, none begins anew: that would be a fault of this
/// harness, and must show.
const ARGS: [&str; 11] = [
    "--until-stdin-ends",
    "--unclean",
    "wait",
    "--client-ttl-ms",
    "90000",
    "--put-start-timeout-ms",
    "3600000",
    "--task-timeout-ms",
    "3600000",
    "--finished-tasks-max",
    "50000",
];

/// A run that is told to end early heals and checks its current round.
pub type Stop = watch::Receiver<bool>;

/// The targets of faults.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) linked: Linked,
    pub(crate) board: Arc<Board>,
    /// Each client hands in one chapter for each round.
    clients: u32,
    tasks: JoinSet<()>,
}

impl Scene {
    /// Starts a member, and a probe for it.
    pub(crate) async fn add(&mut self, name: &str) {
        self.linked.add_with(name, &[]).await;
        let number = PROBES + self.clients;
        let probe = Probe::new(number, name, &self.linked.cluster.address(name), Arc::clone(&self.board));
        self.clients += 1;
        self.tasks.spawn(probe.run());
    }

    async fn start_workers(&mut self, seed: u64) {
        let names: Arc<[String]> = (0..WORKERS).map(|me| format!("segment-{me}")).collect();
        for me in 0..WORKERS {
            let transport = if me == 0 { Transport::Unary } else { Transport::Session };
            let client = connect(&self.linked, transport).await;
            let base = (u64::from(me) + 1) << 44;
            let segment = Segment::memory(&*names[me as usize], base, SEGMENT_BYTES, format!("10.0.0.{me}:1"));
            client.mount_segment(&segment).await.expect("the segment is new");
            let seed = seed.wrapping_add(u64::from(me));
            let worker = Worker::new(me, (client, transport), Arc::clone(&self.board), seed, Arc::clone(&names));
            self.clients += 1;
            self.tasks.spawn(worker.run());
        }
    }
}

fn spec(options: &Options) -> Spec {
    let mut spec = Spec::with(&ARGS);
    spec.args.extend(options.settings.iter().cloned());
    spec
}

async fn connect(linked: &Linked, transport: Transport) -> Client {
    let access = Access { deadline: DEADLINE, transport, ..Access::new(linked.cluster.addresses()) };
    Client::connect(access).await.expect("a member can be reached")
}

/// Panics if the cluster does not become whole again in time. Then `story` has everything up to
/// that point.
pub async fn run(options: Options, seed: u64, story: Arc<Mutex<Story>>, stop: Stop) {
    let (chapters, mut handed_in) = mpsc::channel(256);
    {
        let mut story = story.lock();
        story.seed = seed;
        story.commit = report::commit();
    }
    let board = Arc::new(Board::new(Arc::clone(&story), chapters));
    let etcd = if options.coordinator() == Coordinator::Etcd { Some(Etcd::start().await) } else { None };
    let linked = Linked::empty(etcd, spec(&options));
    let mut scene = Scene { linked, board, clients: 0, tasks: JoinSet::new() };
    for number in 1..=options.members {
        scene.add(&format!("m{number}")).await;
        scene.linked.cluster.in_sync().await;
    }
    let client = connect(&scene.linked, Transport::Session).await.with_deadline(PATIENCE);
    // The workers' segments hold the probed key, too, so they start first.
    scene.start_workers(seed).await;
    let probed = client.put(probe::KEY, 1, PutOptions::default()).await.expect("a healthy cluster takes a put");
    probed.end(None).await.expect("a healthy cluster takes a put");
    let mut rounds = Rounds {
        plan: Plan::new(seed, scene.linked.etcd.is_some()),
        breaker: Breaker::new(options.members.into()),
        audit: Audit::new(client),
        story,
    };
    let upto = scene.board.now() + options.lasting();
    while scene.board.now() < upto && !*stop.borrow() && rounds.story.lock().is_clean() {
        rounds.one(&mut scene, &mut handed_in, options.of_a_round(), &stop).await;
    }
    rounds.story.lock().was_stopped = *stop.borrow();
    rounds.last(scene, &mut handed_in).await;
}

struct Rounds {
    plan: Plan,
    breaker: Breaker,
    audit: Audit,
    story: Arc<Mutex<Story>>,
}

impl Rounds {
    async fn one(&mut self, scene: &mut Scene, chapters: &mut mpsc::Receiver<Chapter>, lasting: Duration, stop: &Stop) {
        let upto = scene.board.now() + lasting;
        self.plan.next_round();
        while scene.board.now() < upto && !*stop.borrow() {
            let fault = self.plan.next();
            self.breaker.rest(scene, fault.after).await;
            self.breaker.begin(scene, fault).await;
            self.tell(scene);
        }
        self.breaker.heal_all(scene).await;
        let healed = scene.board.now();
        scene.linked.cluster.in_sync().await;
        self.story.lock().healed.push(scene.board.now() - healed);
        let round = scene.board.round();
        scene.board.next_round();
        let chapters = collect(chapters, scene.clients).await;
        self.check(scene, round, chapters).await;
    }

    /// The load ends. Then all members must hold the same, including all that was ever
    /// acknowledged.
    async fn last(&mut self, mut scene: Scene, handed_in: &mut mpsc::Receiver<Chapter>) {
        let round = scene.board.round();
        scene.board.stop();
        let chapters = collect(handed_in, scene.clients).await;
        while let Some(ended) = scene.tasks.join_next().await {
            ended.expect("a client does not panic");
        }
        self.check(&mut scene, round, chapters).await;
        let faults = self.audit.last(&scene.board).await;
        scene.linked.cluster.converged().await;
        self.violated(&mut scene, faults, "");
        self.tell(&scene);
    }

    async fn check(&mut self, scene: &mut Scene, round: u64, chapters: Vec<Chapter>) {
        let mut history = String::new();
        let mut faults = self.audit.round(round, chapters, &scene.board, &mut history).await;
        // LOST DATA of etcd is expected here.
        let is_bad = |line: &String| !line.contains(" LOST DATA: the coordinator ");
        faults.extend(scene.linked.cluster.bad_lines().into_iter().filter(is_bad));
        self.violated(scene, faults, &history);
    }

    /// Keeps everything that helps to find the cause.
    fn violated(&mut self, scene: &mut Scene, faults: Vec<String>, history: &str) {
        if faults.is_empty() {
            return;
        }
        let dir = scene.linked.cluster.keep_logs();
        let file = dir.join(format!("history-{}.txt", scene.board.round()));
        if std::fs::write(&file, history).is_err() {
            eprintln!("{} cannot be written", file.display());
        }
        for fault in &faults {
            eprintln!("\nVIOLATION: {fault}");
        }
        self.story.lock().violations.extend(faults);
    }

    /// Prints the state of the run. A terminal shows one line that is overwritten.
    fn tell(&self, scene: &Scene) {
        let mut story = self.story.lock();
        story.lasted = scene.board.now();
        if !std::io::stderr().is_terminal() {
            return;
        }
        let seconds = story.lasted.as_secs();
        let last = story.faults.last().map_or(String::new(), |last| format!("{} {}", last.kind, last.name));
        eprint!(
            "\r\x1b[2K{:>3}:{:02}  round {}, {} faults, {} takeovers; {} changes, {} reads, {} unknown; last: {last}",
            seconds / 60,
            seconds % 60,
            scene.board.round(),
            story.faults.len(),
            story.takeovers(),
            story.changes,
            story.reads,
            story.unknown,
        );
    }
}

/// One chapter of each client. A client has a call under way for at most its deadline, and some
/// retries of the transport.
async fn collect(chapters: &mut mpsc::Receiver<Chapter>, clients: u32) -> Vec<Chapter> {
    let mut collected = Vec::new();
    while collected.len() < clients as usize {
        let next = timeout(PATIENCE, chapters.recv()).await;
        collected.push(next.expect("every client ends its round in time").expect("the board keeps a sender"));
    }
    collected
}
