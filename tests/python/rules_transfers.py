"""Sections 14 and 15: copies, moves, and tasks."""

import time

import world as things
from cluster import SETTINGS, wait_until
from filling import Filling
from page import expect, expect_equal, rule
from rules_objects import begin, call_refusal, refusal, remove
from rules_segments import mount, remount, unmount
from understudy.v1 import common_pb2, metadata_pb2

WAITING, ASSIGNED = metadata_pb2.WAITING, metadata_pb2.ASSIGNED
DONE, FAILED = metadata_pb2.DONE, metadata_pb2.FAILED


def start_copy(client, k, source, *targets, tenant=""):
    """The answer, and its one result."""
    item = metadata_pb2.CopyStartItem(key=k, source_segment=source, target_segments=targets)
    answer = client.change("CopyStart", metadata_pb2.CopyStartRequest(items=[item]), tenant=tenant)
    return answer, answer.results[0]


def start_move(client, k, source, target, tenant=""):
    item = metadata_pb2.MoveStartItem(key=k, source_segment=source, target_segment=target)
    answer = client.change("MoveStart", metadata_pb2.MoveStartRequest(items=[item]), tenant=tenant)
    return answer, answer.results[0]


def finish_by(method, client, k, transfer_id=0, tenant=""):
    item = metadata_pb2.TransferFinishItem(key=k, transfer_id=transfer_id)
    request = metadata_pb2.TransferFinishRequest(items=[item])
    return refusal(client.change(method, request, tenant=tenant).results[0])


def names_of(world, k, tenant=""):
    """The segments that readers are told."""
    answer = world.home.call("GetReplicas", things.lookup(k, caller=common_pb2.Caller(tenant=tenant)))
    return sorted(answer.segments[replica.segment].name for replica in answer.results[0].replicas)


def retired(world, name):
    """Bytes of the segment that are not used again yet."""
    request = metadata_pb2.ListSegmentsRequest(name=name)
    return sum(status.retired_bytes for status in world.home.call("ListSegments", request).segments)


def copy_under_way(world, **how):
    """A key, and the id of a copy from the first segment to the second one."""
    k = world.put_in(world.home_segments[0], **how)
    _, result = start_copy(world.home, k, "", world.home_segments[1].name)
    expect(not result.HasField("refusal"), f"CopyStart of {k}: {result.refusal}")
    return k, result.transfer_id


def create(client, k, *targets, source="", kind=metadata_pb2.COPY, tenant=""):
    item = metadata_pb2.CreateTaskItem(kind=kind, key=k, source_segment=source, target_segments=targets)
    return client.change("CreateTask", metadata_pb2.CreateTaskRequest(items=[item]), tenant=tenant).results[0]


def fetch(client, limit=0):
    return list(client.change("FetchTasks", metadata_pb2.FetchTasksRequest(limit=limit)).tasks)


def complete(client, *ids, failed=False, message=""):
    """The refusals."""
    items = [metadata_pb2.CompleteTaskItem(task_id=one, failed=failed, message=message) for one in ids]
    results = client.change("CompleteTask", metadata_pb2.CompleteTaskRequest(items=items)).results
    return [refusal(result) for result in results]


def list_tasks(world, *ids, after=0):
    return world.home.call("ListTasks", metadata_pb2.ListTasksRequest(task_ids=ids, after=after))


def task(world, task_id):
    return list_tasks(world, task_id).tasks[0]


class LateWork:
    """A copy and a task that are begun and not finished, and a task whose client falls silent."""

    def __init__(self, world):
        target = world.home_segments[1].name
        self.since = time.monotonic()
        # Pinned, so that it is there once the copy is not under way any more.
        self.key, self.copy_id = copy_under_way(world, pin=common_pb2.HARD)
        self.task_id = create(world.home, self.key, target).task_id
        self.fetched = [one.task_id for one in fetch(world.home)]
        # Full with one object, so that no other one goes with it.
        silent, segment = world.client(), things.segment(size=128)
        remount(silent, segment)
        self.orphan_id = create(world.home, world.put_in(segment, silent), target).task_id


@rule("X1")
def copy_adds_a_replica_and_move_takes_one(world):
    first, second = (segment.name for segment in world.home_segments)
    bases = {segment.name: segment.base for segment in world.home_segments}
    k = world.put_in(world.home_segments[0])
    answer, result = start_copy(world.home, k, first, second)
    named = [(answer.segments[one.segment].name, one.complete) for one in (result.source, *result.targets)]
    expect_equal(named, [(first, True), (second, False)], "source and targets")
    expect_equal(result.size, 100, "the size")
    inside = bases[second] <= result.targets[0].address < bases[second] + things.SEGMENT_BYTES
    expect(inside, f"{result.targets[0]} of a segment at {bases[second]}")
    expect_equal(names_of(world, k), [first], "what readers are told before CopyEnd")
    expect_equal(finish_by("CopyEnd", world.home, k, result.transfer_id), None, "CopyEnd")
    expect_equal(names_of(world, k), sorted([first, second]), "what readers are told after it")

    k = world.put_in(world.home_segments[0])
    _, result = start_move(world.home, k, "", second)
    expect_equal(finish_by("MoveRevoke", world.home, k, result.transfer_id), None, "MoveRevoke")
    expect_equal(names_of(world, k), [first], "what readers are told after it")
    wait_until(lambda: retired(world, first) == 0, "no space waits there", lambda: retired(world, first))
    _, result = start_move(world.home, k, "", second)
    expect_equal(finish_by("MoveEnd", world.home, k, result.transfer_id), None, "MoveEnd")
    expect_equal(names_of(world, k), [second], "what readers are told after it")
    expect(retired(world, first) >= 100, "the source's space waits for no reader")


@rule("X2")
def transfers_are_refused_for_a_reason(world):
    first, second = (segment.name for segment in world.home_segments)
    full, other = things.Worker(world), world.client()
    world.put_in(full.segment, size=full.segment.size)
    k, busy = world.put_in(world.home_segments[0]), things.key()
    begin(world.home, busy)
    asked = [
        ((b"not there", "", second), "NOT_FOUND"),
        ((busy, "", second), "WRITE_IN_PROGRESS"),
        ((k, second, second), "REPLICA_NOT_FOUND"),
        ((k, "", "no such segment"), "SEGMENT_NOT_FOUND"),
        ((k, "", first), "REPLICA_EXISTS"),
        ((k, "", full.segment.name), "NO_SPACE"),
    ]
    for arguments, promised in asked:
        for start in (start_copy, start_move):
            expect_equal(refusal(start(other, *arguments)[1]), promised, f"{start.__name__} with {arguments}")
    expect_equal(
        refusal(start_copy(other, k, "", second, full.segment.name)[1]),
        "NO_SPACE",
        "a copy to two, and one is full",
    )
    for count in (0, 17):
        over = call_refusal(start_copy, other, k, "", *[second] * count)
        expect_equal(over, "INVALID_ARGUMENT", f"a copy to {count} segments")

    before = start_copy(other, k, "", second)[1].transfer_id
    expect_equal(
        refusal(start_move(other, k, "", second)[1]), "WRITE_IN_PROGRESS", "another transfer meanwhile"
    )
    expect_equal(finish_by("CopyRevoke", other, k, before), None, "CopyRevoke")
    now = start_copy(other, k, "", second)[1].transfer_id
    seen = [
        finish_by("CopyEnd", world.home, k, now),
        finish_by("CopyEnd", other, k, before),
        finish_by("MoveEnd", other, k, now),
        finish_by("CopyEnd", other, k, now),
        finish_by("CopyEnd", other, k, now),
    ]
    promised = ["NOT_OWNER", "STALE_PUT", "NOT_WRITING", None, "NOT_WRITING"]
    expect_equal(
        seen, promised, "by another client, an id of before, as a move, as it should be, and once more"
    )
    full.end()


@rule("X3")
def transfer_keeps_the_object_and_ends_in_time_or_never(world):
    """The copy was begun in F4."""
    late, second = world.late_work, world.home_segments[1].name
    k, copy_id = copy_under_way(world)
    # It was put before all of these.
    filling = Filling(world)
    filling.put_until_gone([filling.put()])
    filling.end()
    expect_equal(names_of(world, k), [world.home_segments[0].name], "what readers are told meanwhile")
    replaced = world.home.change("PutStart", things.start(k, if_exists=metadata_pb2.REPLACE)).results[0]
    expect_equal(
        [remove(world, k), refusal(replaced)], ["WRITE_IN_PROGRESS"] * 2, "Remove and replacement meanwhile"
    )
    expect_equal(finish_by("CopyEnd", world.home, k, copy_id), None, "its CopyEnd")

    def another():
        return start_copy(world.home, late.key, "", second)[1]

    begun = wait_until(
        lambda: (result := another()).transfer_id and result, "the late one is discarded", another
    )
    waited_ms = (time.monotonic() - late.since) * 1000
    expect(waited_ms >= SETTINGS["put_start_timeout_ms"], f"it was discarded after {waited_ms:.0f} ms")
    seen = [finish_by("CopyEnd", world.home, late.key, late.copy_id)]
    seen.append(finish_by("CopyRevoke", world.home, late.key, begun.transfer_id))
    seen.append(finish_by("CopyEnd", world.home, late.key, late.copy_id))
    expect_equal(seen, ["STALE_PUT", None, "NOT_WRITING"], "the late one's CopyEnd, beside another and alone")
    expect_equal(names_of(world, late.key), [world.home_segments[0].name], "what readers are told after it")


@rule("T1")
def task_is_for_the_client_that_has_the_source(world):
    first, second = (segment.name for segment in world.home_segments)
    worker, other = things.Worker(world), world.client()
    source = worker.segment.name
    k, busy, tiny = world.put_in(worker.segment), world.put_in(worker.segment), things.segment(size=64)
    mount(worker.client, tiny)
    start_copy(other, busy, "", first)
    asked = [
        (create(other, b"not there", first), "NOT_FOUND"),
        (create(other, k, first, source=second), "REPLICA_NOT_FOUND"),
        (create(other, k, first, "no such segment"), "SEGMENT_NOT_FOUND"),
        (create(other, k, source), "REPLICA_EXISTS"),
        (create(other, busy, first, kind=metadata_pb2.MOVE), None),
        (create(other, k, tiny.name), None),
        (create(other, k, first, second), None),
    ]
    expect_equal([refusal(result) for result, _ in asked], [promised for _, promised in asked], "CreateTask")
    over = call_refusal(create, other, k, first, second, kind=metadata_pb2.MOVE)
    expect_equal(over, "INVALID_ARGUMENT", "a task that moves to two segments")
    created = task(world, asked[-1][0].task_id)
    expect_equal((created.state, created.assigned_to), (WAITING, worker.client.id), "what it is")
    expect_equal((created.key, created.source_segment), (k, source), "what it is about")
    expect_equal(list(created.target_segments), [first, second], "where it is to go")
    expect_equal(names_of(world, k), [source], "what readers are told")
    ids = [one.task_id for one in fetch(worker.client)]
    expect_equal(ids, [result.task_id for result, promised in asked if promised is None], "what it is handed")
    expect_equal(complete(worker.client, *ids, failed=True), [None] * 3, "CompleteTask")
    unmount(worker.client, tiny)
    worker.end()


@rule("T2")
def tasks_are_fetched_carried_out_and_completed(world):
    tenant, target, worker = "work", world.home_segments[0].name, things.Worker(world)
    client = worker.client

    def waits():
        return client.call("Heartbeat", metadata_pb2.HeartbeatRequest(caller=client.caller())).tasks_waiting

    k = world.put_in(worker.segment, tenant=tenant)
    expect_equal(waits(), False, "tasks_waiting before")
    task_id = create(world.home, k, target, tenant=tenant).task_id
    expect_equal(waits(), True, "tasks_waiting")
    expect_equal(complete(client, task_id), ["TASK_NOT_FOUND"], "CompleteTask before it is fetched")
    expect_equal(fetch(world.client()), [], "tasks of another client")
    fetched = fetch(client)
    expect_equal([(one.task_id, one.state) for one in fetched], [(task_id, ASSIGNED)], "what is handed out")
    expect_equal((waits(), fetch(client)), (False, []), "tasks_waiting, and tasks, after that")
    one = fetched[0]
    _, started = start_copy(client, one.key, one.source_segment, *one.target_segments, tenant=one.tenant)
    expect_equal(refusal(started), None, "CopyStart of what is asked for")
    ended = finish_by("CopyEnd", client, one.key, started.transfer_id, tenant=one.tenant)
    expect_equal(ended, None, "its CopyEnd")
    expect_equal(complete(world.home, task_id), ["TASK_NOT_FOUND"], "CompleteTask by another client")
    seen = complete(client, task_id), complete(client, task_id)
    expect_equal(seen, ([None], ["TASK_NOT_FOUND"]), "CompleteTask, and once more")
    expect_equal(task(world, task_id).state, DONE, "its state")
    expect_equal(names_of(world, k, tenant), sorted([worker.segment.name, target]), "where the object is")

    k = world.put_in(worker.segment)
    ids = [create(world.home, k, target).task_id for _ in range(101)]
    handed = [fetch(client), fetch(client, limit=1)]
    expect_equal(
        [len(tasks) for tasks in handed], [100, 1], "tasks that are handed out without a limit, and one"
    )
    complete(client, *ids, failed=True, message="full")
    failed = task(world, ids[-1])
    expect_equal((failed.state, failed.message), (FAILED, "full"), "a task that has failed")

    item = metadata_pb2.CreateTaskItem(key=k, target_segments=[target])
    created = world.home.change("CreateTask", metadata_pb2.CreateTaskRequest(items=[item] * 800)).results
    ids, handed = [], fetch(client, limit=10_000)
    while handed:
        ids += [one.task_id for one in handed]
        handed = fetch(client, limit=10_000)
    expect_equal(ids, [result.task_id for result in created], "what is handed out until no task comes")
    complete(client, *ids)
    over = call_refusal(fetch, client, limit=10_001)
    expect_equal(over, "INVALID_ARGUMENT", "a limit of 10,001")
    worker.end()


@rule("T3")
def task_waits_again_or_fails(world):
    """The tasks were made in F4."""
    late, home = world.late_work, world.home
    expect_equal(late.fetched, [late.task_id], "what was handed out")
    wait_until(
        lambda: task(world, late.task_id).state == WAITING,
        "the task that was not completed waits",
        lambda: task(world, late.task_id),
    )
    expect_equal(complete(home, late.task_id), ["TASK_NOT_FOUND"], "CompleteTask when it is too late")
    expect_equal([one.task_id for one in fetch(home)], [late.task_id], "what is handed out again")
    expect_equal(complete(home, late.task_id), [None], "CompleteTask")
    wait_until(
        lambda: task(world, late.orphan_id).state == FAILED,
        "the task of a client that has expired is FAILED",
        lambda: task(world, late.orphan_id),
    )


@rule("T4")
def tasks_are_listed_by_their_ids(world):
    worker, target = things.Worker(world), world.home_segments[0].name
    k = world.put_in(worker.segment)
    item = metadata_pb2.CreateTaskItem(key=k, target_segments=[target])
    ids = []
    for count in (100, 10_000):
        request = metadata_pb2.CreateTaskRequest(items=[item] * count)
        ids += [result.task_id for result in world.home.change("CreateTask", request).results]
    first, after = list_tasks(world, after=ids[0] - 1), ids[9_999]
    expect_equal([one.task_id for one in first.tasks], ids[:10_000], "the first of many")
    expect_equal(first.next_after, after, "where it goes on")
    rest = list_tasks(world, after=after)
    expect_equal(([one.task_id for one in rest.tasks], rest.next_after), (ids[10_000:], 0), "the rest")
    some = list_tasks(world, ids[7], ids[3], ids[7], 1 << 60, ids[1], after=ids[1])
    expect_equal([one.task_id for one in some.tasks], [ids[3], ids[7]], "those with ids, after one")

    # Two times, since one answer may have fewer.
    handed = fetch(worker.client, limit=10_000) + fetch(worker.client, limit=10_000)
    done, kept_max = [one.task_id for one in handed], SETTINGS["finished_tasks_max"]
    expect(len(done) > kept_max, f"{len(done)} tasks were handed out")
    complete(worker.client, *done)
    kept = done[-kept_max:]

    def shown():
        return [one.task_id for one in list_tasks(world, *done).tasks]

    wait_until(lambda: shown() == kept, "the last that were finished are kept", shown)
    worker.end()
