"""Sections 7, 8 and 9: puts, reads, positions."""

import time

import grpc

import world as things
from client import Refused, call_error, reason
from cluster import SETTINGS, wait_until
from page import expect, expect_equal, rule
from understudy.v1 import admin_pb2, common_pb2, metadata_pb2


def refusal(result):
    return reason(result.refusal) if result.HasField("refusal") else None


def call_refusal(call, *arguments, **more):
    """The reason for which the whole call is refused. None: it is answered."""
    try:
        call(*arguments, **more)
    except Refused as refused:
        return reason(refused.error)
    return None


def begin(client, k, **more):
    """The put's id; it must not be refused."""
    result = client.change("PutStart", things.start(k, **more)).results[0]
    expect(not result.HasField("refusal"), f"PutStart of {k}: {result.refusal}")
    return result.put_id


def finish(client, k, put_id=0, **more):
    return refusal(client.change("PutEnd", things.end(k, put_id, **more)).results[0])


def read(world, k):
    """The answer, and its one result."""
    answer = world.home.call("GetReplicas", things.lookup(k))
    return answer, answer.results[0]


def is_readable(world, k):
    return refusal(read(world, k)[1]) is None


def remove(world, k, force=False):
    return refusal(world.home.change("Remove", metadata_pb2.RemoveRequest(keys=[k], force=force)).results[0])


@rule("P1")
def put_start_hands_out_buffers(world):
    k = things.key()
    answer = world.home.change("PutStart", things.start(k, placement=metadata_pb2.Placement(replicas=2)))
    result = answer.results[0]
    expect(result.put_id > 0 and len(result.replicas) == 2, result)
    names = {answer.segments[replica.segment].name for replica in result.replicas}
    expect_equal(len(names), 2, "segments of two replicas")
    expect_equal(answer.put_start_timeout_ms, SETTINGS["put_start_timeout_ms"], "the time that it has")
    expect_equal(refusal(read(world, k)[1]), "NOT_FOUND", "a read before PutEnd")
    exists = world.home.call("Exists", metadata_pb2.ExistsRequest(keys=[k])).exists
    expect_equal(list(exists), [False], "Exists before PutEnd")
    world.begun = k, answer


@rule("P2")
def buffers_are_in_segments_that_clients_mounted(world):
    k, answer = world.begun
    mounted = {segment.id: segment for segment in world.home_segments}
    for replica in answer.results[0].replicas:
        named = answer.segments[replica.segment]
        segment = mounted[named.id]
        expect_equal(
            (named.endpoint, named.protocol), (segment.endpoint, segment.protocol), "how to reach it"
        )
        inside = segment.base <= replica.address <= segment.base + segment.size - 100
        expect(inside and not replica.complete, f"{replica} of {segment}")


@rule("P3")
def put_end_makes_it_readable(world):
    k, answer = world.begun
    put_id = answer.results[0].put_id
    expect_equal(finish(world.home, k, put_id, checksum=42), None, "PutEnd")
    _, result = read(world, k)
    expect_equal((result.size, result.checksum), (100, 42), "size and checksum")
    promised = sorted(replica.address for replica in answer.results[0].replicas)
    expect_equal(sorted(replica.address for replica in result.replicas), promised, "where the bytes are")
    expect(all(replica.complete for replica in result.replicas), result.replicas)


@rule("P4")
def revoke_gives_up(world):
    k, client = things.key(), world.client()
    put_id = begin(client, k)
    client.change("PutRevoke", things.revoke(k, put_id))
    expect_equal(finish(client, k, put_id), "NOT_FOUND", "PutEnd after a revoke")
    world.put(k, client)
    expect(is_readable(world, k), "an older version cannot be read")
    put_id = begin(client, k, if_exists=metadata_pb2.REPLACE)
    client.change("PutRevoke", things.revoke(k, put_id))
    expect_equal(finish(client, k, put_id), "NOT_WRITING", "PutEnd after a revoke, beside an older version")
    expect(is_readable(world, k), "the older version is gone")


@rule("P5")
def put_in_time_or_never(world):
    """The puts were begun in M7."""
    late, other = world.late_puts, world.client()
    _, own, foreign = late

    def shown():
        page = world.home.call("ListKeys", metadata_pb2.ListKeysRequest(limit=10_000))
        return {info.key for info in page.keys} & set(late)

    wait_until(lambda: not shown(), "they are discarded", shown)
    waited_ms = (time.monotonic() - world.late_puts_since) * 1000
    expect(waited_ms >= SETTINGS["put_start_timeout_ms"], f"they were discarded after {waited_ms:.0f} ms")
    begin(world.home, own)
    begin(other, foreign)
    seen = [finish(world.home, k, put_id) for k, put_id in late.items()]
    expect_equal(seen, ["NOT_FOUND", "STALE_PUT", "NOT_OWNER"], "PutEnd when it is too late")


@rule("P6")
def one_client_writes_a_key(world):
    client, other, k = world.client(), world.client(), things.key()
    put_id = begin(client, k)
    second = other.change("PutStart", things.start(k)).results[0]
    expect_equal(refusal(second), "WRITE_IN_PROGRESS", "PutStart of another client")
    expect_equal(finish(other, k, put_id), "NOT_OWNER", "its PutEnd")
    expect_equal(finish(client, k, put_id), None, "PutEnd of the one that began")


@rule("P7")
def replace_keeps_leased_bytes(world):
    k = things.key()
    world.put(k)
    again = world.home.change("PutStart", things.start(k)).results[0]
    expect_equal(refusal(again), "ALREADY_EXISTS", "a put of a key that can be read")
    _, before = read(world, k)
    put_id = begin(world.home, k, if_exists=metadata_pb2.REPLACE)
    _, during = read(world, k)
    expect_equal(during, before, "a leased object while it is replaced")
    expect_equal(finish(world.home, k, put_id), None, "its PutEnd")
    _, after = read(world, k)
    expect(after.replicas[0].address != before.replicas[0].address, "leased bytes were written over")

    time.sleep(SETTINGS["object_lease_ms"] / 1000 + 0.05)
    put_id = begin(world.home, k, if_exists=metadata_pb2.REPLACE)
    expect(not is_readable(world, k), "an object that is replaced in place can be read")
    expect_equal(finish(world.home, k, put_id), None, "its PutEnd")
    expect(is_readable(world, k), "the new version cannot be read")


@rule("P8")
def repeated_put_start_names_the_same_buffers(world):
    client, wire, k = world.client(), world.primary_wire(), things.key()
    request = things.start(k, caller=client.caller(1))
    # The client hears nothing of this attempt, and it may or may not run.
    wire.metadata.PutStart.future(request, timeout=5).cancel()
    first = wire.call("PutStart", request).results[0]
    again = wire.call("PutStart", request).results[0]
    expect_equal(again, first, "the buffers")
    ended = things.end(k, first.put_id, client.caller(2))
    expect_equal(
        [refusal(wire.call("PutEnd", ended).results[0]) for _ in range(2)], [None] * 2, "a repeated PutEnd"
    )
    revoked = things.revoke(k, first.put_id, client.caller(3))
    seen = [refusal(wire.call("PutRevoke", revoked).results[0]) for _ in range(2)]
    expect_equal(seen, ["NOT_WRITING"] * 2, "a repeated PutRevoke")


@rule("R1")
def reads_need_no_number(world):
    k = things.key()
    world.put(k)
    wire = world.primary_wire()
    found = wire.call("GetReplicas", metadata_pb2.GetReplicasRequest(keys=[k, b"not there"]))
    expect_equal(
        [refusal(result) for result in found.results], [None, "NOT_FOUND"], "GetReplicas without a caller"
    )
    exists = wire.call("Exists", metadata_pb2.ExistsRequest(keys=[k, b"not there"]))
    expect_equal(list(exists.exists), [True, False], "Exists without a caller")
    elsewhere = common_pb2.Caller(tenant="another")
    found = wire.call("GetReplicas", metadata_pb2.GetReplicasRequest(caller=elsewhere, keys=[k]))
    expect_equal(refusal(found.results[0]), "NOT_FOUND", "the key in another tenant")


@rule("R2")
def lease_keeps_the_bytes(world):
    lease_ms, k = SETTINGS["object_lease_ms"], things.key()
    world.put(k)
    asked = time.monotonic()
    answer, result = read(world, k)
    expect_equal(answer.lease_ms, lease_ms, "lease_ms")
    expect_equal(remove(world, k), "LEASED", "Remove of what was just read")
    wait_until(lambda: remove(world, k) is None, "it can be removed", patience_s=lease_ms / 1000 * 3)
    kept_s = time.monotonic() - asked
    expect(kept_s * 1000 >= lease_ms, f"it was removed {kept_s:.3f} s after the read was sent")

    world.put(k)
    world.home.call("ListKeys", metadata_pb2.ListKeysRequest(limit=10_000))
    expect_equal(remove(world, k), None, "Remove of what was only written and listed")
    world.put(k)
    _, result = read(world, k)
    expect_equal(remove(world, k, force=True), None, "Remove with force of what is leased")
    retired = world.home.call("ListSegments", metadata_pb2.ListSegmentsRequest()).segments
    expect(sum(status.retired_bytes for status in retired) >= 100, "its space waits for nothing")


@rule("R3")
def reads_wait_for_the_commit(world):
    """While the standby stands still, nothing is committed until it has left the set."""
    primary, standby = world.cluster.primary(), world.cluster.standby()
    wire, admin, client, k = world.primary_wire(), world.admin(primary), world.client(), things.key()
    put_id = begin(client, k)
    # The connection is there before anything is measured by it.
    admin.Status(admin_pb2.StatusRequest(), timeout=5)
    standby.stand_still()
    try:
        under_way = wire.metadata.PutEnd.future(things.end(k, put_id, client.caller(1000)), timeout=10)
        while True:
            try:
                answer = wire.call("GetReplicas", things.lookup(k), timeout=10)
            except grpc.RpcError as failed:
                expect(reason(call_error(failed)) in ("OVERLOADED", "NOT_PRIMARY"), failed.details())
                continue
            committed = admin.Status(admin_pb2.StatusRequest(), timeout=5).committed_seq
            if refusal(answer.results[0]) is None:
                break
        expect(
            committed >= answer.position.seq,
            f"a read at {answer.position.seq} was answered at {committed} committed",
        )
        expect_equal(refusal(under_way.result().results[0]), None, "the PutEnd that it saw")
    finally:
        standby.go_on()
    wait_until(lambda: standby.ready() == (200, "standby"), "the standby is back", standby.ready)


def ask_standby(wire, k, **how):
    return wire.call("GetReplicas", things.lookup(k, standby=common_pb2.StandbyRead(**how)))


def stale(wire, k, **how):
    """The reason for which a standby refuses. None: it has answered."""
    try:
        ask_standby(wire, k, **how)
    except grpc.RpcError as failed:
        return reason(call_error(failed))
    return None


@rule("B1")
def positions_are_ordered(world):
    wire, client = world.standby_wire(), world.client()
    for _ in range(20):
        k = things.key()
        position = world.put(k, client).position
        found = ask_standby(wire, k, min_position=position)
        expect_equal(refusal(found.results[0]), None, f"the object at the standby, at or behind {position}")
        at_least = (position.epoch, position.seq)
        expect(
            (found.position.epoch, found.position.seq) >= at_least, f"{found.position}, asked for {position}"
        )


@rule("B2")
def standby_answers_where_it_is_allowed(world):
    k, wire = things.key(), world.standby_wire()
    position = world.put(k).position
    found = ask_standby(wire, k, min_position=position)
    expect_equal((found.from_standby, found.lease_ms), (True, 0), "from_standby and lease_ms")
    refused = call_error(wire.refusal("GetReplicas", things.lookup(k)))
    expect_equal(reason(refused), "NOT_PRIMARY", "the same without `standby`")
    found = ask_standby(world.primary_wire(), k, min_position=position)
    expect_equal(
        (found.from_standby, found.lease_ms), (False, SETTINGS["object_lease_ms"]), "the primary's answer"
    )


@rule("B3")
def standby_is_as_fresh_as_asked_or_refuses(world):
    k, wire = things.key(), world.standby_wire()
    position = world.put(k).position
    ahead = common_pb2.Position(epoch=position.epoch, seq=position.seq + 1_000_000)
    expect_equal(stale(wire, k, min_position=ahead), "STALE_READ", "a position that no member has come to")
    wait_until(
        lambda: stale(wire, k, max_staleness_ms=5000) is None, "a state of the last five seconds answers"
    )
    wait_until(
        lambda: stale(wire, k, max_staleness_ms=0) == "STALE_READ", "a state of no age at all is refused"
    )
    found = world.primary_wire().call(
        "GetReplicas", things.lookup(k, standby=common_pb2.StandbyRead(max_staleness_ms=0))
    )
    expect_equal(refusal(found.results[0]), None, "the primary, asked the same")


@rule("B4")
def standby_grants_no_lease(world):
    k, client = things.key(), world.client()
    written = world.put(k, client, checksum=7)
    time.sleep(SETTINGS["object_lease_ms"] / 1000 + 0.05)
    found = ask_standby(world.standby_wire(), k, min_position=written.position)
    expect_equal(found.results[0].checksum, 7, "what the bytes are checked by")
    expect_equal(remove(world, k), None, "Remove of what a standby has just shown")
