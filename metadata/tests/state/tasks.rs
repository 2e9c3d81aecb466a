//! Tasks: made by anyone, fetched and completed by the client that holds the source.

use oplog::ClientId;
use understudy_metadata::{
    Bound, Call, Config, Refusal, Settings, TaskDone, TaskId, TaskInfo, TaskSpec, TaskState, TransferItem, TransferKind,
};

use crate::support::{Primary, bound_of, client, config, field_of, memory, one, placed, refusal};

fn spec<'a>(key: &'a str, targets: &[&'a str]) -> TaskSpec<'a> {
    let transfer = TransferItem { key: key.as_bytes(), source: "m1", targets: targets.to_vec() };
    TaskSpec { kind: TransferKind::Copy, transfer }
}

fn create(primary: &Primary, key: &str) -> Result<TaskId, Refusal> {
    one(primary.state.create_tasks(&primary.call(9), &[spec(key, &["m2"])]))
}

fn fetch(primary: &Primary, who: u8, limit: u32) -> Vec<TaskInfo> {
    primary.state.fetch_tasks(&primary.call(who), limit).unwrap().results
}

fn complete(primary: &Primary, who: u8, id: TaskId, failed: bool) -> Result<(), Refusal> {
    one(primary.state.complete_tasks(&primary.call(who), &[TaskDone { id, failed, message: "it is so" }]))
}

fn state_of(primary: &Primary, id: TaskId) -> Option<TaskState> {
    primary.state.tasks(&[id]).results.first().map(|info| info.task.state)
}

/// "a" and "b" lie in "m1" of client 1.
fn two_objects(config: Config) -> Primary {
    let primary = Primary::with(config);
    primary.state.remount(&primary.call(1), &[memory(1, "m1", 65536)]).unwrap();
    primary.state.remount(&primary.call(2), &[memory(2, "m2", 65536)]).unwrap();
    for key in ["a", "b"] {
        let mut how = placed(1, 0);
        how.placement.preferred = vec!["m1"];
        primary.put_as(2, &how, key, 64);
    }
    primary
}

#[test]
fn a_task_goes_to_the_client_that_holds_the_source_and_is_done_once() {
    let primary = two_objects(config());
    let id = create(&primary, "a").unwrap();
    assert_eq!(fetch(&primary, 2, 10).len(), 0);
    let tasks = fetch(&primary, 1, 10);
    assert_eq!(tasks.len(), 1);
    let task = &tasks[0].task;
    assert_eq!((task.id, &task.key[..], task.source_name.as_str()), (id, &b"a"[..], "m1"));
    assert_eq!((task.assignee(), task.state), (client(1), TaskState::Assigned));
    assert_eq!(fetch(&primary, 1, 10).len(), 0, "it has been fetched");
    assert_eq!(complete(&primary, 2, id, false), Err(Refusal::TaskNotFound));
    assert_eq!(complete(&primary, 1, id, false), Ok(()));
    assert_eq!(complete(&primary, 1, id, false), Err(Refusal::TaskNotFound));
    assert_eq!(state_of(&primary, id), Some(TaskState::Done));
}

/// Nothing waits: that is not the same as no ids being named.
#[test]
fn a_fetch_with_nothing_waiting_gives_nothing() {
    let primary = two_objects(config());
    let id = create(&primary, "a").unwrap();
    assert_eq!(fetch(&primary, 7, 10).len(), 0);
    fetch(&primary, 1, 10);
    complete(&primary, 1, id, false).unwrap();
    assert_eq!(fetch(&primary, 1, 10).len(), 0);
    assert_eq!(primary.state.tasks(&[]).results.len(), 1);
}

#[test]
fn a_fetch_is_bounded_and_in_order() {
    let primary = two_objects(config());
    let ids: Vec<TaskId> = (0..5).map(|_| create(&primary, "a").unwrap()).collect();
    let fetched: Vec<Vec<TaskId>> =
        (0..3).map(|_| fetch(&primary, 1, 2).iter().map(|info| info.task.id).collect()).collect();
    assert_eq!(fetched, [ids[..2].to_vec(), ids[2..4].to_vec(), ids[4..].to_vec()]);
    assert_eq!(field_of(primary.state.fetch_tasks(&primary.call(1), 10_001)), "limit");
}

#[test]
fn a_fetch_that_is_sent_again_gives_the_same_tasks() {
    let primary = two_objects(config());
    create(&primary, "a").unwrap();
    let ids = |primary: &Primary, number| -> Vec<TaskId> {
        let answer = primary.state.fetch_tasks(&primary.numbered(1, number), 10).unwrap();
        answer.results.iter().map(|info| info.task.id).collect()
    };
    let first = ids(&primary, 1);
    create(&primary, "b").unwrap();
    assert_eq!((ids(&primary, 1), first.len()), (first.clone(), 1));
    assert_eq!(ids(&primary.fail_over(), 1), first);
    assert_eq!(ids(&primary, 2).len(), 1);
    assert_eq!(ids(&primary, 3).len(), 0);
}

#[test]
fn a_heartbeat_tells_of_tasks_that_wait_and_only_of_those() {
    let primary = two_objects(config());
    let waiting = |who| primary.state.heartbeat(&primary.call(who), "").unwrap().tasks_waiting;
    assert!(!waiting(1));
    create(&primary, "a").unwrap();
    assert_eq!([waiting(1), waiting(2)], [true, false]);
    fetch(&primary, 1, 10);
    assert!(!waiting(1), "it has them all");
}

#[test]
fn a_task_for_what_is_not_there_is_refused() {
    let primary = two_objects(config());
    assert_eq!(refusal(create(&primary, "c")), Refusal::NotFound);
    let refused = |spec: TaskSpec<'_>| refusal(one(primary.state.create_tasks(&primary.call(9), &[spec])));
    assert_eq!(refused(spec("a", &["nowhere"])), Refusal::SegmentNotFound);
    let mut elsewhere = spec("a", &["m1"]);
    elsewhere.transfer.source = "m2";
    assert_eq!(refused(elsewhere), Refusal::ReplicaNotFound);
    let other = Call { tenant: "other", ..primary.call(9) };
    assert_eq!(refusal(one(primary.state.create_tasks(&other, &[spec("a", &["m2"])]))), Refusal::NotFound);
}

/// Two segments may share a name; the transfer goes to the one that has nothing of the object.
#[test]
fn a_task_whose_targets_hold_the_object_already_is_refused() {
    let primary = two_objects(config());
    let before = primary.digest();
    let created = |kind, targets: &[&str]| {
        let item = TaskSpec { kind, ..spec("a", targets) };
        one(primary.state.create_tasks(&primary.call(9), &[item])).map(drop)
    };
    assert_eq!(created(TransferKind::Copy, &["m1"]), Err(Refusal::ReplicaExists));
    assert_eq!(created(TransferKind::Copy, &["m2", "m1"]), Err(Refusal::ReplicaExists));
    assert_eq!(created(TransferKind::Move, &["m1"]), Err(Refusal::ReplicaExists));
    assert_eq!((primary.digest(), primary.state.tasks(&[]).results.len()), (before, 0));
    let copy = primary.transfer(2, TransferKind::Copy, "a", "m1", &["m2"]).unwrap();
    assert_eq!(created(TransferKind::Copy, &["m2"]), Ok(()), "it is not whole there yet");
    primary.end_transfer(2, TransferKind::Copy, "a", copy.id).unwrap();
    assert_eq!(created(TransferKind::Copy, &["m2"]), Err(Refusal::ReplicaExists));
    primary.mount(2, memory(3, "m2", 65536)).unwrap();
    assert_eq!(created(TransferKind::Copy, &["m2"]), Ok(()));
}

#[test]
fn a_task_that_takes_too_long_waits_again() {
    let primary = two_objects(config());
    let id = create(&primary, "a").unwrap();
    primary.pass(1_000_000);
    assert_eq!(primary.step().tasks_updated, 0, "one that waits may wait");
    fetch(&primary, 1, 10);
    primary.pass(299_999);
    assert_eq!(primary.step().tasks_updated, 0);
    primary.pass(1);
    assert_eq!(primary.step().tasks_updated, 1);
    assert_eq!(state_of(&primary, id), Some(TaskState::Waiting));
    assert_eq!(complete(&primary, 1, id, false), Err(Refusal::TaskNotFound));
    assert_eq!(fetch(&primary, 1, 10).len(), 1);
    assert_eq!(complete(&primary, 1, id, true), Ok(()));
    let info = &primary.state.tasks(&[id]).results[0];
    assert_eq!((info.task.state, info.task.message.as_str()), (TaskState::Failed, "it is so"));
}

#[test]
fn a_copy_of_a_fetch_that_found_nothing_finds_nothing_however_late_it_comes() {
    let primary = two_objects(config());
    let call = primary.numbered(1, 1);
    assert!(primary.state.fetch_tasks(&call, 10).unwrap().results.is_empty());
    let id = create(&primary, "a").unwrap();
    assert!(primary.state.fetch_tasks(&call, 10).unwrap().results.is_empty(), "nobody would know of what it is given");
    assert_eq!(state_of(&primary, id), Some(TaskState::Waiting));
    assert_eq!(primary.state.fetch_tasks(&primary.numbered(1, 2), 10).unwrap().results.len(), 1);
}

#[test]
fn a_fetch_without_a_number_that_finds_nothing_leaves_no_trace() {
    let primary = two_objects(config());
    let before = (primary.digest(), primary.state.position());
    assert!(fetch(&primary, 1, 10).is_empty());
    assert_eq!((primary.digest(), primary.state.position()), before);
}

#[test]
fn a_list_of_tasks_names_each_once_and_comes_in_pages() {
    let primary = two_objects(config());
    let ids: Vec<TaskId> = (0..600).map(|_| create(&primary, "a").unwrap()).collect();
    let named =
        |ids: &[TaskId]| -> Vec<TaskId> { primary.state.tasks(ids).results.iter().map(|info| info.task.id).collect() };
    assert_eq!(named(&[ids[7], ids[3], ids[7], 1 << 40, ids[7]]), [ids[3], ids[7]]);
    for asked in [&[][..], &ids] {
        let (mut after, mut seen, mut pages) = (0, Vec::new(), 0);
        loop {
            let page = primary.state.list_tasks(asked, after, 20_000).results;
            seen.extend(page.tasks.iter().map(|info| info.task.id));
            pages += 1;
            match page.next_after {
                Some(last) => after = last,
                None => break,
            }
        }
        assert!(seen == ids && pages > 3, "{pages} pages");
    }
    assert_eq!(primary.state.list_tasks(&[], 0, 0).results.tasks.len(), 1, "one has room in any page");
}

#[test]
fn tasks_of_a_client_that_is_gone_fail() {
    let primary = two_objects(Config { settings: Settings { client_ttl_ms: 10_000, ..config().settings }, ..config() });
    let ids: Vec<TaskId> = (0..600).map(|_| create(&primary, "a").unwrap()).collect();
    fetch(&primary, 1, 300);
    primary.pass(10_000);
    primary.heartbeat(2);
    let done = primary.step();
    assert_eq!((done.clients_expired, done.tasks_updated), (1, 600));
    assert!(ids.iter().all(|id| state_of(&primary, *id) == Some(TaskState::Failed)));
    primary.pass(10_000);
    primary.heartbeat(2);
    primary.step();
    assert_eq!(primary.state.totals().clients, 1, "once its segments have gone");
    assert_eq!(primary.state.tasks(&ids[..1]).results[0].task.message, "the client that held the source is gone");
}

#[test]
fn finished_tasks_are_forgotten_oldest_first() {
    let primary = two_objects(Config { tasks_max: 5, finished_tasks_max: 2, ..config() });
    let ids: Vec<TaskId> = (0..5).map(|_| create(&primary, "a").unwrap()).collect();
    assert_eq!(bound_of(refusal(create(&primary, "b"))), Bound::Tasks);
    fetch(&primary, 1, 10);
    for id in [ids[3], ids[0], ids[4], ids[1]] {
        complete(&primary, 1, id, false).unwrap();
    }
    primary.step();
    let left: Vec<TaskId> = primary.state.tasks(&[]).results.iter().map(|info| info.task.id).collect();
    assert_eq!(left, [ids[1], ids[2], ids[4]]);
    assert!(create(&primary, "b").unwrap() > ids[4], "ids are never used again");
    assert_eq!(primary.rebuilt().tasks(&[]).results.len(), 4);
}

#[test]
fn limits_of_tasks_name_their_field() {
    let primary = two_objects(config());
    let before = primary.digest();
    let create = |spec: TaskSpec<'_>| field_of(primary.state.create_tasks(&primary.call(9), &[spec]));
    assert_eq!(create(spec("a", &[])), "items[0].target_segments");
    assert_eq!(create(spec("", &["m2"])), "items[0].key");
    let mut two_moves = spec("a", &["m1", "m2"]);
    two_moves.kind = TransferKind::Move;
    assert_eq!(create(two_moves), "items[0].target_segments");
    let long = "x".repeat(1025);
    assert_eq!(create(spec("a", &[long.as_str()])), "items[0].target_segments");
    let done = TaskDone { id: 1, failed: true, message: &long };
    assert_eq!(field_of(primary.state.complete_tasks(&primary.call(1), &[done])), "items[0].message");
    assert_eq!(primary.digest(), before);
}

#[test]
fn a_task_names_its_tenant() {
    let primary = two_objects(config());
    let call = Call { tenant: "blue", ..primary.call(9) };
    let mut how = placed(1, 0);
    how.placement.preferred = vec!["m1"];
    let item = understudy_metadata::PutStartItem { key: b"a", size: 64 };
    let put = one(primary.state.put_start(&call, &how, &[item])).unwrap().put;
    let end = understudy_metadata::PutEndItem { key: b"a", put, checksum: None };
    one(primary.state.put_end(&call, understudy_metadata::Scope::All, &[end])).unwrap();
    let id = one(primary.state.create_tasks(&call, &[spec("a", &["m2"])])).unwrap();
    let info = &fetch(&primary, 1, 10)[0];
    assert_eq!((info.task.id, info.tenant.as_str()), (id, "blue"));
    assert_ne!(info.task.assignee(), ClientId::default());
}
