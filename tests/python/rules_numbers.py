"""Section 3: request numbers."""

import secrets
import time

import grpc

import world as things
from client import call_error, reason
from cluster import wait_until
from page import expect, expect_equal, rule
from rules_calls import ANSWERS_MAX, answer_many, unmount_nothing
from understudy.v1 import common_pb2, metadata_pb2


def refused_as(wire, method, request):
    return reason(call_error(wire.refusal(method, request)))


@rule("N1")
def client_id_has_16_bytes(world):
    wire = world.primary_wire()
    for wrong in (b"", bytes(16), secrets.token_bytes(15), secrets.token_bytes(17)):
        request = things.start(things.key(), caller=common_pb2.Caller(client_id=wrong))
        error = call_error(wire.refusal("PutStart", request))
        expect_equal(reason(error), "INVALID_ARGUMENT", f"client_id {wrong!r}")
        expect("caller.client_id" in error.message, error.message)


@rule("N2")
def retry_gets_the_answer_of_the_run(world):
    client, k = world.client(), things.key()
    request = things.start(k, caller=client.caller(1))
    first = world.primary_wire().call("PutStart", request)
    again = world.primary_wire().call("PutStart", request)
    expect_equal(again.results, first.results, "the answer to the retry")
    world.transfer()
    later = world.primary_wire().call("PutStart", request)
    expect_equal(later.results, first.results, "the answer of the next primary")
    expect(
        (later.position.epoch, later.position.seq) > (first.position.epoch, first.position.seq),
        later.position,
    )


@rule("N3")
def numbers_may_have_gaps_and_any_order(world):
    client, wire = world.client(), world.primary_wire()
    numbers, ids = [7, 3, 50, 4, 1], []
    for number in numbers:
        result = wire.call("PutStart", things.start(things.key(), caller=client.caller(number))).results[0]
        expect(not result.HasField("refusal"), f"number {number}: {result}")
        ids.append(result.put_id)
    expect_equal(len(set(ids)), len(numbers), "puts that have begun")
    several = [
        client.wire(wire.address).metadata.UnmountSegment.future(unmount_nothing(client.caller(n)))
        for n in (9, 8)
    ]
    for one in several:
        expect_equal(reason(one.result(timeout=5).results[0].refusal), "SEGMENT_NOT_FOUND", "two at a time")


@rule("N4")
def number_belongs_to_one_request(world):
    client, wire = world.client(), world.primary_wire()
    k, other = things.key(), things.key()
    started = wire.call("PutStart", things.start(k, caller=client.caller(1))).results[0]
    for method, request in [
        ("PutStart", things.start(other, caller=client.caller(1))),
        ("PutStart", things.start(k, size=101, caller=client.caller(1))),
        ("PutStart", things.start(k, caller=client.caller(1, tenant="t"))),
        ("PutEnd", things.end(k, started.put_id, client.caller(1))),
    ]:
        expect_equal(refused_as(wire, method, request), "REQUEST_REUSED", f"{method} under the same number")
    expect_equal(
        reason(wire.call("GetReplicas", things.lookup(k)).results[0].refusal),
        "NOT_FOUND",
        "what the PutEnd did",
    )
    same = wire.call("PutStart", things.start(k, caller=client.caller(1, 1))).results[0]
    expect_equal(same, started, "the retry with another answered_below")


@rule("N5")
def refusal_is_an_answer(world):
    client, wire, k = world.client(), world.primary_wire(), things.key()
    world.put(k)
    request = things.start(k, caller=client.caller(1))
    expect_equal(
        reason(wire.call("PutStart", request).results[0].refusal), "ALREADY_EXISTS", "the first attempt"
    )
    world.home.change("Remove", metadata_pb2.RemoveRequest(keys=[k], force=True))
    expect_equal(reason(wire.call("PutStart", request).results[0].refusal), "ALREADY_EXISTS", "the retry")
    anew = wire.call("PutStart", things.start(k, caller=client.caller(2))).results[0]
    expect(not anew.HasField("refusal"), f"a new number: {anew.refusal}")

    wrong = things.start(b"", caller=client.caller(3))
    expect_equal(refused_as(wire, "PutStart", wrong), "INVALID_ARGUMENT", "an empty key")
    right = wire.call("PutStart", things.start(things.key(), caller=client.caller(3))).results[0]
    expect(not right.HasField("refusal"), f"the number of a call that did not run: {right.refusal}")


@rule("N6")
def answered_below_forgets(world):
    client, wire = world.client(), world.primary_wire()
    for number in (2, 5):
        wire.call("UnmountSegment", unmount_nothing(client.caller(number)))
    # As far as its own number: 6 itself is kept.
    wire.call("UnmountSegment", unmount_nothing(client.caller(6, 100)))
    wire.call("UnmountSegment", unmount_nothing(client.caller(6, 100)))
    for number in (2, 3, 5):
        k = things.key()
        late = things.start(k, caller=client.caller(number))
        expect_equal(
            refused_as(wire, "PutStart", late), "REQUEST_EXPIRED", f"number {number} after answered_below"
        )
    answer = wire.call("UnmountSegment", unmount_nothing(client.caller(7, 0)))
    expect_equal(reason(answer.results[0].refusal), "SEGMENT_NOT_FOUND", "the next number")


@rule("N7")
def bound_of_answers(world):
    wire, client, number = world.primary_wire(), world.client(), ANSWERS_MAX + 1
    answer_many(wire, client)
    refused = wire.refusal("UnmountSegment", unmount_nothing(client.caller(number, 1)))
    expect_equal(
        reason(call_error(refused)), "OVERLOADED", "one number more, where all answers are waited for"
    )
    retry = wire.call("UnmountSegment", unmount_nothing(client.caller(1)))
    expect_equal(reason(retry.results[0].refusal), "SEGMENT_NOT_FOUND", "the oldest number after that")

    wire.call("UnmountSegment", unmount_nothing(client.caller(number)))
    oldest = refused_as(wire, "UnmountSegment", unmount_nothing(client.caller(1)))
    expect_equal(oldest, "REQUEST_EXPIRED", "the oldest number, once one more has come that says nothing")

    world.full = client, number + 1
    world.overloaded = wire.refusal("UnmountSegment", unmount_nothing(client.caller(number + 1, 2)))


@rule("N8")
def number_0_runs_each_time(world):
    client, wire, k = world.client(), world.primary_wire(), things.key()
    request = things.start(k, caller=client.caller(0))
    expect(not wire.call("PutStart", request).results[0].HasField("refusal"), "the first was refused")
    again = wire.call("PutStart", request).results[0]
    expect_equal(reason(again.refusal), "WRITE_IN_PROGRESS", "the same once more, which ran once more")


@rule("N9")
def numbers_of_an_expired_client_are_over(world):
    """What else becomes of this client is looked at in section 6."""
    silent, wire = Silent(world), world.primary_wire()
    client, world.silent = silent.client, silent

    def is_forgotten():
        try:
            wire.call("PutStart", silent.last)
        except grpc.RpcError as failed:
            return reason(call_error(failed)) == "REQUEST_EXPIRED"
        return False

    silent.wait_until_discarded(world)
    # Until nothing of it is left its answers are still there, and a retry brings no client back.
    wait_until(is_forgotten, "its numbers are over")
    for number in (1, 10, 11, 12):
        seen = refused_as(wire, "UnmountSegment", unmount_nothing(client.caller(number)))
        expect_equal(seen, "REQUEST_EXPIRED", f"number {number}")
    answer = wire.call("UnmountSegment", unmount_nothing(client.caller(13)))
    expect_equal(reason(answer.results[0].refusal), "SEGMENT_NOT_FOUND", "a higher number")
    client.numbers.go_on_above(13)


class Silent:
    """A client with a segment and a put under way that falls silent."""

    def __init__(self, world):
        wire, self.client = world.primary_wire(), world.client()
        self.segment, self.key = things.segment(), things.key()
        request = metadata_pb2.RemountSegmentsRequest(caller=self.client.caller(10), segments=[self.segment])
        wire.call("RemountSegments", request)
        self.last = things.start(self.key, caller=self.client.caller(12))
        wire.call("PutStart", self.last)
        heard = wire.call("Heartbeat", metadata_pb2.HeartbeatRequest(caller=self.client.caller()))
        expect_equal(heard.state, metadata_pb2.HeartbeatResponse.OK, "its last heartbeat")
        self._since, self.discarded_after_s = time.monotonic(), None

    def wait_until_discarded(self, world):
        def is_gone():
            return not world.home.call("ListKeys", metadata_pb2.ListKeysRequest(prefix=self.key)).keys

        wait_until(is_gone, "its put under way is discarded")
        self.discarded_after_s = time.monotonic() - self._since
