"""Section 10: the primary is killed while clients write."""

import threading
import time

import grpc

import world as things
from client import call_error, reason
from cluster import SETTINGS, wait_until
from page import expect, expect_equal, rule
from rules_calls import Session
from rules_transfers import LateWork
from understudy.v1 import metadata_pb2

CLIENTS, PUTS, KILLED_AFTER = 6, 25, 60


class Writer:
    """A client that puts one key after the other, numbered by itself, and keeps all that it was told."""

    def __init__(self, world):
        self.client, self.told, self.acknowledged = world.client(), [], []
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.failed = None

    def begin(self):
        self._thread.start()

    def _write(self):
        try:
            for number in range(1, 2 * PUTS, 2):
                self._put(number)
        except Exception as failed:  # noqa: BLE001 (told by the test)
            self.failed = failed

    def _put(self, number):
        k = things.key()
        started = self._change("PutStart", things.start(k, caller=self.client.caller(number)))
        ended = self._change("PutEnd", things.end(k, started[0].put_id, self.client.caller(number + 1)))
        expect(not ended[0].HasField("refusal"), f"PutEnd of {k}: {ended[0].refusal}")
        self.acknowledged.append(k)

    def _change(self, method, request):
        results = self.client.call(method, request).results
        self.told.append((method, request, results))
        return results

    def join(self):
        self._thread.join(60)
        if self.failed:
            raise self.failed


@rule("F1")
def numbered_retries_run_once(world):
    primary = world.cluster.primary()
    world.epoch_before = world.home.call("ListKeys", metadata_pb2.ListKeysRequest()).position.epoch
    writers = [Writer(world) for _ in range(CLIENTS)]
    session, by_session = Session(world.primary_wire()), world.client()
    for writer in writers:
        writer.begin()
    wait_until(
        lambda: sum(len(w.acknowledged) for w in writers) >= KILLED_AFTER, "some puts are acknowledged"
    )
    requests = [things.start(things.key(), caller=by_session.caller(number)) for number in range(1, 31)]
    asked = [session.ask(put_start=request) for request in requests]
    primary.kill()
    for writer in writers:
        writer.join()
    expect(session.ended.wait(10), "a session with a killed member does not end")
    expect(session.end != grpc.StatusCode.OK, "it ended with OK")
    expect_equal(
        sum(len(w.acknowledged) for w in writers), CLIENTS * PUTS, "puts that were acknowledged in the end"
    )
    world.writers = writers

    # Each once more, with its number: what has run says what it said.
    for writer in writers:
        for method, request, results in writer.told:
            expect_equal(writer.client.call(method, request).results, results, f"{method} once more")
    ids = set()
    for one, request in zip(asked, requests):
        result = by_session.call("PutStart", request).results[0]
        expect_equal(
            by_session.call("PutStart", request).results[0], result, "a request of the session, twice more"
        )
        if one in session.answers:
            expect_equal(
                result, session.answers[one].put_start.results[0], "a request that the session answered"
            )
        ids.add(result.put_id)
    expect_equal(len(ids), len(requests), "puts that the session's requests have begun")


@rule("F2")
def nothing_acknowledged_is_missing(world):
    keys = [k for writer in world.writers for k in writer.acknowledged]
    found = world.home.call("GetReplicas", things.lookup(*keys)).results
    missing = [k for k, result in zip(keys, found) if result.HasField("refusal")]
    expect_equal(missing, [], "acknowledged puts that cannot be read")
    places = {(result.replicas[0].segment, result.replicas[0].address) for result in found}
    expect_equal(len(places), len(keys), "places of so many objects")


@rule("F3")
def later_epoch_is_told_by_all(world):
    epoch = world.home.call("ListKeys", metadata_pb2.ListKeysRequest()).position.epoch
    expect(epoch > world.epoch_before, f"epoch {epoch} after {world.epoch_before}")
    killed = next(member for member in world.cluster.members if not member.is_running())
    killed.start()
    wait_until(lambda: killed.ready() == (200, "standby"), "the killed one is back", killed.ready)
    error = call_error(world.standby_wire().refusal("ListKeys", metadata_pb2.ListKeysRequest()))
    promised = ("NOT_PRIMARY", world.cluster.primary().address, epoch)
    expect_equal((reason(error), error.primary_address, error.epoch), promised, "what it says")
    expect_equal(
        set(world.heart.states),
        {metadata_pb2.HeartbeatResponse.OK},
        "heartbeats of a client that never remounted",
    )


@rule("F4")
def everything_counts_as_leased_after_a_takeover(world):
    lease_s = SETTINGS["object_lease_ms"] / 1000
    for _ in range(5):
        k = things.key()
        world.put(k)
        began = time.monotonic()
        world.transfer()
        result = world.home.change("Remove", metadata_pb2.RemoveRequest(keys=[k])).results[0]
        if time.monotonic() - began < lease_s:
            break
    else:
        raise AssertionError(f"no transfer and Remove within {lease_s} s")
    expect(
        result.HasField("refusal") and reason(result.refusal) == "LEASED",
        f"Remove after a takeover: {result}",
    )

    def is_removed():
        result = world.home.change("Remove", metadata_pb2.RemoveRequest(keys=[k])).results[0]
        return not result.HasField("refusal")

    # For X3 and T3: no takeover comes after this one.
    world.late_work = LateWork(world)
    wait_until(is_removed, "it can be removed after that", patience_s=5 * lease_s)
