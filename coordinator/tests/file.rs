//! The `file` coordinator: the promises, and what can go wrong on one host. Members are processes
//! here: this test binary starts itself again as a member, and kills or stops it.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use election::{ConfigRecord, Versioned};
use rustix::process::{Pid, Signal, kill_process};
use understudy_coordinator::conformance::{self, eventually, info, who};
use understudy_coordinator::{Coordinator as _, Error, FileCoordinator, Swap};

/// The limit of every call. A call waits for the disk only.
const TIMEOUT: Duration = Duration::from_secs(5);

fn open(dir: &Path) -> FileCoordinator {
    FileCoordinator::open(dir, TIMEOUT).expect("opened")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_the_promises() {
    let dir = tempfile::tempdir().expect("a directory");
    conformance::run(async |place| open(&dir.path().join("not/there/yet").join(place))).await;
}

/// A process that is member 1, or repeats some call as fast as it can. It is killed when this is
/// dropped.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(dir: &Path, role: &str) -> Process {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--ignored", "--exact", "--nocapture", "process"])
            .env("COORDINATOR_TEST_DIR", dir)
            .env("COORDINATOR_TEST_ROLE", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut process = Process { child, lines };
        assert!(process.lines.any(|line| line.expect("a line").contains("READY")), "it ended before it was ready");
        process
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("not 0");
        kill_process(pid, signal).expect("sent");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what [`Process`] runs. It ends when its standard input does.
#[tokio::test]
#[ignore = "started by other tests, as a process of its own"]
async fn process() {
    let (Some(dir), Ok(role)) = (std::env::var_os("COORDINATOR_TEST_DIR"), std::env::var("COORDINATOR_TEST_ROLE"))
    else {
        return;
    };
    let dir = Path::new(&dir);
    let coordinator = open(dir);
    let mut presence = None;
    match &*role {
        "member" => presence = Some(coordinator.join(info(1, 5)).await.expect("joined")),
        "everything" => do_everything_for_ever(&coordinator).await,
        _ => swap_for_ever(&coordinator).await,
    }
    println!("\nREADY");
    let _ = std::io::stdin().lines().count();
    drop(presence);
}

/// As member 1, beside other processes that do the same as other members.
async fn do_everything_for_ever(coordinator: &FileCoordinator) {
    println!("\nREADY");
    for number in 5.. {
        let presence = coordinator.join(info(1, number)).await.expect("it is free");
        let found = coordinator.read().await.expect("read").record;
        let record =
            found.as_ref().map_or(ConfigRecord::first(9, who(1, 1), 1), |found| found.record.promoted(who(1, 1)));
        // It is refused if another process was faster. A process that was stopped here may get an
        // unknown outcome.
        let _ = coordinator.swap(found, record).await;
        let _ = presence.announce(number).await;
        coordinator.members().await.expect("members");
        coordinator.is_dead(who(2, number)).await.expect("answered");
    }
}

async fn swap_for_ever(coordinator: &FileCoordinator) {
    let mut expect = coordinator.read().await.expect("read").record;
    let first = || ConfigRecord::first(9, who(1, 1), 1);
    let mut record = expect.as_ref().map_or_else(first, |found| found.record.promoted(who(1, 1)));
    println!("\nREADY");
    while let Swap::Done { revision } = coordinator.swap(expect, record.clone()).await.expect("answered") {
        println!("{revision}");
        expect = Some(Versioned { record: record.clone(), revision });
        // Records of many lengths: a torn write shows when a short record replaces a long one.
        let others = (2..2 + revision % 40).map(|member| who(member, revision));
        record = record.promoted(who(1, 1));
        record.insync.extend(others);
    }
    panic!("refused, and no other process swaps");
}

#[tokio::test]
async fn a_writer_that_is_killed_leaves_a_whole_record_and_loses_none_that_was_answered() {
    let dir = tempfile::tempdir().expect("a directory");
    let coordinator = open(dir.path());
    for round in 0..15 {
        let mut process = Process::start(dir.path(), "swaps");
        let answered = process.lines.nth(round).expect("it goes on").expect("a line");
        std::thread::sleep(Duration::from_micros(150 * round as u64));
        process.child.kill().expect("killed");
        process.child.wait().expect("ended");
        let last = process.lines.by_ref().map(|line| line.expect("a line")).last().unwrap_or(answered);
        let last: u64 = last.trim().parse().expect("a revision");
        let found = coordinator.read().await.expect("whole").record.expect("there");
        assert!(found.revision == last || found.revision == last + 1, "{last} was answered, {} found", found.revision);
        assert_eq!(found.record.epoch, found.revision, "each swap was one epoch");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_living_incarnation_is_never_called_dead_while_others_come_and_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let place = Arc::new(open(dir.path()));
    let alive = Arc::new(AtomicU64::new(0));
    let mut probes = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (place, alive) = (open(dir.path()), Arc::clone(&alive));
        probes.spawn(async move {
            let mut asked = 0;
            loop {
                let number = alive.load(Ordering::SeqCst);
                if number == u64::MAX {
                    return asked;
                }
                let dead = place.is_dead(who(1, number)).await.expect("answered");
                let next_dead = place.is_dead(who(1, number + 1)).await.expect("answered");
                // Counts only if it was here all the time.
                if number != 0 && alive.load(Ordering::SeqCst) == number {
                    assert!(!dead, "{number} lives");
                    assert!(!next_dead, "{} has not begun", number + 1);
                }
                asked += 1;
            }
        });
    }
    for number in 1..=60 {
        // At the first try: a check of the lock by another process is not in the way.
        let presence = place.join(info(1, number)).await.expect("it is free");
        alive.store(number, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(place.is_dead(who(1, number - 1)).await.expect("answered") || number == 1, "its lock went on");
        alive.store(0, Ordering::SeqCst);
        drop(presence);
    }
    alive.store(u64::MAX, Ordering::SeqCst);
    assert!(probes.join_all().await.into_iter().all(|asked| asked > 10));
}

#[tokio::test]
async fn a_killed_member_is_dead_and_a_stopped_one_is_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let coordinator = open(dir.path());
    let mut process = Process::start(dir.path(), "member");
    assert_eq!(coordinator.members().await.expect("members"), [info(1, 5)]);

    process.signal(Signal::STOP);
    for _ in 0..50 {
        assert!(!coordinator.is_dead(who(1, 5)).await.expect("answered"), "it is stopped, and may go on");
        assert!(matches!(coordinator.join(info(1, 6)).await, Err(Error::NameInUse { .. })));
    }
    assert_eq!(coordinator.members().await.expect("members"), [info(1, 5)]);

    let mut changes = coordinator.changes();
    changes.mark_unchanged();
    process.child.kill().expect("killed");
    eventually("the kernel says so", async || coordinator.is_dead(who(1, 5)).await.expect("answered")).await;
    tokio::time::timeout(TIMEOUT, changes.changed()).await.expect("told of").expect("there");
    assert_eq!(coordinator.members().await.expect("members"), []);
    let _next = coordinator.join(info(1, 6)).await.expect("it is free");
    assert!(coordinator.is_dead(who(1, 5)).await.expect("answered"));
    assert!(!coordinator.is_dead(who(1, 6)).await.expect("answered"));
}

#[tokio::test]
async fn a_process_that_is_stopped_in_whatever_it_does_delays_no_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let coordinator = FileCoordinator::open(dir.path(), Duration::from_secs(2)).expect("opened");
    let process = Process::start(dir.path(), "everything");
    for round in 1..=60 {
        std::thread::sleep(Duration::from_micros(137 * (round % 23)));
        process.signal(Signal::STOP);
        let found = coordinator.read().await.expect("read").record;
        let first = || ConfigRecord::first(9, who(2, 1), 1);
        let record = found.as_ref().map_or_else(first, |found| found.record.clone());
        // A stop takes effect a little later than it is sent: the other process may have swapped
        // once more.
        let mut swap = coordinator.swap(found, record.clone()).await.expect("answered");
        if swap == Swap::Refused {
            let found = coordinator.read().await.expect("read").record;
            swap = coordinator.swap(found, record).await.expect("answered");
        }
        assert!(matches!(swap, Swap::Done { .. }), "round {round}: {swap:?}");
        let presence = coordinator.join(info(2, round)).await.expect("it is free");
        presence.announce(1_000_000 + round).await.expect("announced");
        assert_eq!(coordinator.announced().await.expect("announced"), Some((1_000_000 + round, info(2, round))));
        assert!(!coordinator.is_dead(who(2, round)).await.expect("answered"));
        let here = coordinator.members().await.expect("members");
        assert!(here.contains(&info(2, round)), "round {round}: {here:?}");
        process.signal(Signal::CONT);
    }
}

#[tokio::test]
async fn a_damaged_record_is_named_and_never_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let coordinator = open(dir.path());
    let record = ConfigRecord::first(9, who(1, 1), 1);
    coordinator.swap(None, record.clone()).await.expect("answered");
    let path = dir.path().join("record/1");
    let whole = std::fs::read(&path).expect("read");
    let known = Versioned { record: record.clone(), revision: 1 };
    for torn in [&whole[..0], &whole[..whole.len() / 2], b"{\"format\":7}"] {
        std::fs::write(&path, torn).expect("written");
        let name = path.display().to_string();
        for error in [coordinator.read().await.err(), coordinator.swap(None, record.clone()).await.err()] {
            assert!(matches!(&error, Some(Error::Damaged { place, .. }) if *place == name), "{error:?}");
        }
        assert_eq!(std::fs::read(&path).expect("read"), torn, "it is left as it was found");
    }
    std::fs::write(&path, &whole).expect("written");
    assert_eq!(coordinator.swap(Some(known), record).await.expect("whole again"), Swap::Done { revision: 2 });
}

#[tokio::test]
async fn what_a_crashed_writer_left_aside_is_not_the_record() {
    let dir = tempfile::tempdir().expect("a directory");
    let coordinator = open(dir.path());
    for number in 0..9 {
        let aside = format!("record/aside-{}-{number}", std::process::id());
        std::fs::write(dir.path().join(aside), "{\"format\":1,\"clust").expect("written");
    }
    assert_eq!(coordinator.read().await.expect("read").record, None);
    let swap = coordinator.swap(None, ConfigRecord::first(9, who(1, 1), 1)).await.expect("answered");
    assert_eq!(swap, Swap::Done { revision: 1 });
}

#[tokio::test]
async fn a_removed_directory_is_no_empty_one() {
    let parent = tempfile::tempdir().expect("a directory");
    let dir = parent.path().join("cluster");
    let coordinator = open(&dir);
    coordinator.swap(None, ConfigRecord::first(9, who(1, 1), 1)).await.expect("answered");
    let mut presence = coordinator.join(info(1, 1)).await.expect("joined");
    std::fs::remove_dir_all(&dir).expect("removed");

    let read = coordinator.read().await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    let swap = coordinator.swap(None, ConfigRecord::first(9, who(2, 1), 1)).await;
    assert!(matches!(swap, Err(Error::Unavailable { .. })), "{swap:?}");
    let dead = coordinator.is_dead(who(1, 1)).await;
    assert!(matches!(dead, Err(Error::Unavailable { .. })), "{dead:?}");
    tokio::time::timeout(TIMEOUT, presence.lost()).await.expect("it cannot be seen any more");
    let announce = presence.announce(1).await;
    assert!(matches!(announce, Err(Error::Unavailable { .. })), "{announce:?}");

    // A new directory at the same path is a new place: the old presence does not exist there.
    let other = open(&dir);
    assert_eq!(other.members().await.expect("members"), []);
    assert!(!other.is_dead(who(1, 1)).await.expect("answered"), "its process lives");
    let _again = other.join(info(1, 1)).await.expect("nobody is here");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").expect("written");
    for path in [file.clone(), file.join("below")] {
        let error = FileCoordinator::open(&path, TIMEOUT).expect_err("there is a file");
        assert!(matches!(&error, Error::Denied { place, .. } if place.contains("file")), "{error}");
    }
}
