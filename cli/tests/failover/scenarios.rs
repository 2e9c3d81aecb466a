//! Scenarios that users of such a component ask about first, from beginning to end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::{Client, NewTask, Options, PutOptions, Segment, TaskKind, TaskResult, TaskState};
use histories::at_most_once;
use proto::v1::StandbyRead;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::check::check;
use crate::cluster::{Cluster, PATIENCE, Spec};
use crate::linked::Linked;
use crate::load::{Load, key};
use crate::probe::Probe;
use crate::standby_reads::get;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;
/// How often clients send a heartbeat.
const HEARD_EVERY: Duration = Duration::from_secs(1);
/// Clients that have segments and make copies.
const HOLDERS: usize = 2;

/// A client that tries for as long as it takes, so that no outcome is unknown.
async fn patient(cluster: &Cluster) -> Client {
    let options = Options { deadline: PATIENCE, ..Options::new(cluster.addresses()) };
    Client::connect(options).await.expect("a member can be reached")
}

/// Makes tasks until it is told to stop. Returns their ids.
async fn make_tasks(client: Client, stop: Arc<AtomicBool>) -> Vec<u64> {
    let mut made = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let holder = number % HOLDERS;
        let task = NewTask {
            kind: TaskKind::Copy,
            key: format!("job-{holder}").into(),
            source_segment: format!("holder-{holder}"),
            target_segments: vec![format!("holder-{}", (holder + 1) % HOLDERS)],
        };
        let answer = client.create_tasks(&[task]).await.expect("a member accepts it in time");
        made.extend(answer.all().expect("its object is there"));
        sleep(Duration::from_millis(1)).await;
    }
    made
}

/// Fetches tasks until there are none after it was told to stop. Returns all that it was given.
async fn take_tasks(client: Client, stop: Arc<AtomicBool>) -> Vec<u64> {
    let mut given = Vec::new();
    loop {
        let is_over = stop.load(Ordering::Relaxed);
        let tasks = client.fetch_tasks(3).await.expect("a member answers in time").tasks;
        if tasks.is_empty() && is_over {
            return given;
        }
        let done: Vec<_> = tasks.iter().map(|task| TaskResult { task_id: task.task_id, failed: None }).collect();
        given.extend(done.iter().map(|done| done.task_id));
        if !done.is_empty() {
            let answer = client.complete_tasks(&done).await.expect("a member answers in time");
            answer.all().expect("a task is completed once, by the client that has it");
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_that_is_assigned_while_the_primary_is_killed_is_assigned_exactly_once() {
    let mut cluster = Cluster::start(&["a", "b", "c"], Spec::default()).await;
    let (made, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let mut takers = JoinSet::new();
    for holder in 0..HOLDERS {
        let client = patient(&cluster).await;
        let name = format!("holder-{holder}");
        let segment = Segment::memory(&name, (holder as u64 + 1) << 40, 1 << 30, "10.0.0.1:1");
        client.mount_segment(&segment).await.expect("the segment is new");
        let options = PutOptions { preferred_segments: vec![name], ..PutOptions::default() };
        let put = client.put(format!("job-{holder}"), 100, options).await.expect("there is room");
        put.end(None).await.expect("it was begun");
        takers.spawn(take_tasks(client, Arc::clone(&taken)));
    }
    let maker = tokio::spawn(make_tasks(patient(&cluster).await, Arc::clone(&made)));
    for _ in 0..4 {
        let (primary, _) = cluster.in_sync().await;
        sleep(Duration::from_millis(400)).await;
        // Some call is in every state that a call can be in.
        cluster.kill(&primary);
        cluster.led_by_one_of(&cluster.names_but(&primary)).await;
        sleep(Duration::from_millis(100)).await;
        cluster.restart(&primary);
    }
    made.store(true, Ordering::Relaxed);
    let asked = maker.await.expect("it does not panic");
    taken.store(true, Ordering::Relaxed);
    let given: Vec<u64> = takers.join_all().await.into_iter().flatten().collect();
    println!("4 kills; {} tasks were made, {} given", asked.len(), given.len());
    assert_eq!(at_most_once("task", given.iter().map(|id| (*id, "a client"))), Vec::<String>::new());
    assert_eq!(at_most_once("new task", asked.iter().map(|id| (*id, "the maker"))), Vec::<String>::new());
    let (asked, given) = (BTreeSet::from_iter(asked), BTreeSet::from_iter(given));
    assert_eq!(asked.symmetric_difference(&given).collect::<Vec<_>>(), Vec::<&u64>::new(), "made or given, not both");
    let listed = patient(&cluster).await.list_tasks(&[]).await.expect("somebody answers").tasks;
    let open: Vec<_> = listed.iter().filter(|task| task.state != TaskState::Done).collect();
    assert!(open.is_empty() && listed.len() <= asked.len(), "{} tasks are listed; open: {open:?}", listed.len());
    cluster.converged().await;
    cluster.check_logs();
}

/// On which side of the partition the primary is. etcd is always on the side of the three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Primary {
    WithThree,
    WithTwo,
}

/// Five members are split into three that reach etcd, and two that do not.
async fn split(primary_is: Primary) {
    let linked = Linked::start(&["a", "b", "c", "d", "e"], &[]).await;
    let cluster = &linked.cluster;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    load.runs(CHANGES_BETWEEN).await;
    let (primary, epoch) = cluster.in_sync().await;
    let others = cluster.names_but(&primary);
    let two = match primary_is {
        Primary::WithThree => vec![others[0].clone(), others[1].clone()],
        Primary::WithTwo => vec![primary.clone(), others[0].clone()],
    };
    let three: Vec<String> = cluster.names().into_iter().filter(|name| !two.contains(name)).collect();
    let probe = Probe::start(&cluster.address(&two[0]), &key(0, 0), 0).await;
    load.runs(CHANGES_BETWEEN).await;

    for lonely in &two {
        three.iter().for_each(|other| linked.cut_between(lonely, other));
        linked.way_to_etcd(lonely).cut(crate::proxy::Cut::Both);
    }
    if primary_is == Primary::WithTwo {
        load.goes_on_after(epoch).await;
    }
    let leads = cluster.led_by_one_of(&three).await;
    load.runs(CHANGES_BETWEEN).await;
    let served = Instant::now().into_std();
    println!("split, the primary {primary_is:?}: {three:?} go on, led by {leads}");
    sleep(Duration::from_secs(2)).await;
    for lonely in &two {
        let fresh = StandbyRead { min_position: None, max_staleness_ms: Some(1000) };
        for how in [None, Some(fresh)] {
            let answer = get(&cluster.address(lonely), &key(0, 0), how).await;
            assert!(answer.is_err(), "{lonely} answers on the side of the two ({how:?}): {answer:?}");
        }
    }
    load.runs(CHANGES_BETWEEN).await;
    let answers = probe.stop().await;
    if primary_is == Primary::WithTwo {
        answers.check_silent_after(served);
    }
    linked.heal();
    let (_, later) = cluster.in_sync().await;
    assert_eq!(later, if primary_is == Primary::WithTwo { epoch + 1 } else { epoch }, "no other member has led");
    load.runs(CHANGES_BETWEEN).await;
    let history = load.stop().await;
    check(cluster, &history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_split_and_the_primary_is_among_the_three() {
    split(Primary::WithThree).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_members_split_and_the_primary_is_among_the_two() {
    split(Primary::WithTwo).await;
}

/// A cluster of two grows to four and shrinks again, until none of the first members is left. Its
/// primary dies all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_added_and_removed_under_fire_until_all_are_others() {
    let ttl_ms = (3 * HEARD_EVERY.as_millis()).to_string();
    let mut cluster = Cluster::start(&["a", "b"], Spec::with(&["--client-ttl-ms", &ttl_ms])).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    for (comes, goes) in [("c", "a"), ("d", "b")] {
        cluster.plan(comes, &[]);
        cluster.restart(comes);
        // A client that knows only members that are gone finds none. Clients learn of a new one by
        // a heartbeat.
        sleep(HEARD_EVERY * 2).await;
        load.runs(CHANGES_BETWEEN).await;
        let (primary, epoch) = cluster.in_sync().await;
        cluster.kill(&primary);
        load.goes_on_after(epoch).await;
        cluster.restart(&primary);
        cluster.in_sync().await;
        load.runs(CHANGES_BETWEEN).await;
        // If it leads, it hands over.
        cluster.signal(goes, Signal::TERM);
        let status = cluster.ended(goes).await;
        assert_eq!(status.code(), Some(0), "{}", cluster.log(goes));
        cluster.forget(goes);
        load.runs(CHANGES_BETWEEN).await;
    }
    let (primary, epoch) = cluster.in_sync().await;
    assert_eq!(cluster.names(), ["c", "d"]);
    cluster.kill(&primary);
    load.goes_on_after(epoch).await;
    cluster.restart(&primary);
    cluster.in_sync().await;
    let history = load.stop().await;
    check(&cluster, &history).await;
}
