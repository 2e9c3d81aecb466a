"""Sections 1, 2, 4 and 5: who is asked, what a failure looks like, and sessions."""

import concurrent.futures
import os
import queue
import re
import threading
import time

import grpc
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

import world as things
from client import OPTIONS, Details, Wire, call_error, history_in, reason
from cluster import wait_until
from page import expect, expect_equal, rule
from understudy.v1 import common_pb2, metadata_pb2

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
METADATA, NODE, ADMIN = "understudy.v1.Metadata", "", "understudy.v1.Admin"
ERRORS = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "errors.md")


@rule("C1")
def standby_redirects(world):
    primary, standby = world.cluster.primary(), world.cluster.standby()
    failed = Wire(standby.address).refusal("ListKeys", metadata_pb2.ListKeysRequest())
    error = call_error(failed)
    expect_equal(reason(error), "NOT_PRIMARY", "the standby's refusal")
    expect_equal(error.primary_address, primary.address, "where it points to")
    expect(error.epoch >= 1, error)
    client = world.client()
    client.way.addresses = [standby.address]
    world.put(things.key(), client)
    expect_equal(client.way.target(), primary.address, "where the client has come to")


class Fake:
    """A member that says what it is told to. `asked` counts."""

    def __init__(self, port, answers, history=None):
        self.asked, self._answers, self.history = 0, answers, history
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(
            self._answer,
            request_deserializer=metadata_pb2.ListKeysRequest.FromString,
            response_serializer=metadata_pb2.ListKeysResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(METADATA, {"ListKeys": handler})]
        )
        self.address = f"127.0.0.1:{port}"
        self._server.add_insecure_port(self.address)
        self._server.start()

    def _answer(self, _, context):
        self.asked += 1
        said = self._answers(self)
        if self.history:
            context.send_initial_metadata([("understudy-history", self.history)])
        if isinstance(said, common_pb2.CallError):
            context.set_trailing_metadata([("understudy-error-bin", said.SerializeToString())])
            context.abort(grpc.StatusCode.UNAVAILABLE, said.message)
        return said

    def stop(self):
        self._server.stop(None).wait()


@rule("C2")
def lower_epochs_do_not_count(world):
    before = world.home.call("ListKeys", metadata_pb2.ListKeysRequest()).position.epoch
    epoch = world.transfer()
    expect(epoch > before, f"a transfer led from epoch {before} to {epoch}")
    old = call_error(world.standby_wire().refusal("ListKeys", metadata_pb2.ListKeysRequest()))
    expect_equal(old.epoch, epoch, "the epoch of a redirect by the one that led before")

    def redirects_to_itself(fake):
        return common_pb2.CallError(
            reason=common_pb2.NOT_PRIMARY, primary_address=fake.address, epoch=epoch - 1, message="of old"
        )

    def answers(_):
        return metadata_pb2.ListKeysResponse(position=common_pb2.Position(epoch=epoch - 1, seq=1 << 40))

    for says in (redirects_to_itself, answers):
        fake = Fake(world.cluster.free_port, says)
        client = world.client()
        client.call("ListKeys", metadata_pb2.ListKeysRequest())
        expect_equal(client.way.epoch_seen, epoch, "the highest epoch seen")
        client.way.begin_at(fake.address)
        answer = client.call("ListKeys", metadata_pb2.ListKeysRequest())
        fake.stop()
        client.close()
        expect_equal(
            (fake.asked, answer.position.epoch),
            (1, epoch),
            "attempts at the old one, and the epoch of the answer",
        )


@rule("C3")
def member_that_stands_still_costs_one_attempt(world):
    primary = world.cluster.primary()
    client = world.client()
    world.put(things.key(), client)
    primary.stand_still()
    try:
        began = time.monotonic()
        try:
            client.wire(primary.address).call("ListKeys", metadata_pb2.ListKeysRequest(), timeout=0.3)
            raise AssertionError("a stopped process has answered")
        except grpc.RpcError as failed:
            world.own_deadline = failed
        world.put(things.key(), client)
        took_s = time.monotonic() - began
    finally:
        primary.go_on()
    expect(took_s < 8, f"the next put took {took_s:.1f} s")
    wait_until(
        lambda: primary.ready() == (200, "standby"), "the one that stood still is a standby", primary.ready
    )


@rule("C4")
def messages_are_large_and_not_compressed(world):
    address = world.cluster.primary().address
    squeezed = Wire(address, compression=grpc.Compression.Gzip)
    failed = squeezed.refusal("ListKeys", metadata_pb2.ListKeysRequest(prefix=bytes(4000)))
    expect_equal(failed.code(), grpc.StatusCode.UNIMPLEMENTED, "a compressed request")

    keys = [b"%04d" % number + bytes(2000) for number in range(2500)]
    client = world.client()
    client.change("PutStart", things.start(*keys, size=1))
    list_all = metadata_pb2.ListKeysRequest(limit=10_000)
    answer = Wire(address).call("ListKeys", list_all, timeout=5)
    expect(answer.ByteSize() > 4 << 20, f"an answer of {answer.ByteSize()} bytes")
    untold = Wire(address, options=[("grpc.use_local_subchannel_pool", 1)]).refusal("ListKeys", list_all)
    expect_equal(untold.code(), grpc.StatusCode.RESOURCE_EXHAUSTED, "the same where the library was not told")
    items = [metadata_pb2.PutRevokeItem(key=k) for k in keys]
    client.change("PutRevoke", metadata_pb2.PutRevokeRequest(items=items))

    options = [*OPTIONS[2:], ("grpc.max_send_message_length", -1)]
    over = Wire(address, options=options).refusal(
        "ListKeys", metadata_pb2.ListKeysRequest(prefix=bytes(17 << 20))
    )
    expect_equal(over.code(), grpc.StatusCode.INVALID_ARGUMENT, "a request of 17 MiB")
    expect_equal(reason(call_error(over)), "INVALID_ARGUMENT", "its reason")


@rule("C5")
def heartbeat_names_all_members(world):
    heard = world.home.call("Heartbeat", metadata_pb2.HeartbeatRequest(caller=world.home.caller()))
    expect_equal(sorted(heard.members), sorted(world.cluster.addresses()), "members")


def health(member):
    return health_pb2_grpc.HealthStub(grpc.insecure_channel(member.address, options=OPTIONS))


def check(member, service):
    return health(member).Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status


@rule("C6")
def another_history_counts_only_where_the_own_one_is_gone(world):
    request = metadata_pb2.ListKeysRequest()
    _, head = world.primary_wire().call_with_head("ListKeys", request)
    promised = history_in(head)
    expect(promised is not None and re.fullmatch("[0-9a-f]{32}", promised), head)
    refused = world.standby_wire().refusal("ListKeys", request)
    expect_equal(history_in(refused.trailing_metadata()), promised, "the history in a refusal of the standby")

    def answers(_):
        return metadata_pb2.ListKeysResponse(position=common_pb2.Position(epoch=1, seq=7))

    other = Fake(world.cluster.free_port, answers, "ab" * 16)
    client = world.client()
    epoch = client.call("ListKeys", request).position.epoch
    client.way.begin_at(other.address)
    answer = client.call("ListKeys", request)
    expect_equal((other.asked, answer.position.epoch), (1, epoch), "attempts at the other one, and the answer")
    expect_equal(client.way.history, promised, "the history of the client")
    client.way.addresses = [other.address]
    client.way.begin_at(other.address)
    answer = client.call("ListKeys", request)
    other.stop()
    client.close()
    expect_equal((answer.position.epoch, answer.position.seq), (1, 7), "what is left answers")
    expect_equal((client.way.history, client.way.epoch_seen), ("ab" * 16, 1), "what the client goes by now")


@rule("H1")
def health_answers_three_questions(world):
    def says(member):
        return [check(member, service) for service in (METADATA, NODE, ADMIN)]

    primary, standby = world.cluster.primary(), world.cluster.standby()
    # The service is told within 100 ms of what /readyz says at once.
    for member, promised in [(primary, [SERVING] * 3), (standby, [NOT_SERVING, SERVING, SERVING])]:
        wait_until(
            lambda: says(member) == promised, f"{member.name} says {promised}", lambda: says(member), 2
        )
    # It has left the set by then, and is let in again about a second after it goes on. It tells that by itself: on a busy host a
    # question may come too late.
    watched = {service: watch(standby, service) for service in (METADATA, NODE, ADMIN)}
    firsts = [watched[service].get(timeout=5) for service in (METADATA, NODE, ADMIN)]
    expect_equal(firsts, [NOT_SERVING, SERVING, SERVING], "the first words of the standby")
    standby.stand_still()
    time.sleep(1.2)
    standby.go_on()
    expect_equal(watched[NODE].get(timeout=5), NOT_SERVING, "a standby that could not take over")
    expect_equal(says(primary), [SERVING] * 3, "the primary meanwhile")
    expect_equal(watched[NODE].get(timeout=10), SERVING, "the standby once it could take over again")
    others = [watched[service].empty() for service in (METADATA, ADMIN)]
    expect_equal(others, [True, True], "whether nothing else has changed at the standby")


@rule("H2")
def readyz_says_the_same(world):
    for role in ("primary", "standby"):
        member = world.cluster.primary() if role == "primary" else world.cluster.standby()
        expect_equal(member.ready(), (200, role), "/readyz")
        wait_until(
            lambda: check(member, NODE) == SERVING, f"the {role} is SERVING", lambda: check(member, NODE), 2
        )


def watch(member, service):
    """What the member tells of it, one after the other, and `end`."""
    seen = queue.Queue()

    def follow():
        try:
            for said in health(member).Watch(health_pb2.HealthCheckRequest(service=service)):
                seen.put(said.status)
        except grpc.RpcError as failed:
            seen.put(failed.code())
        seen.put("end")

    threading.Thread(target=follow, daemon=True).start()
    return seen


@rule("H3")
def watch_tells_each_change_and_the_end(world):
    standby = world.cluster.standby()
    seen, refused = watch(standby, NODE), []
    expect_equal(seen.get(timeout=5), SERVING, "the first word")
    wire = Wire(standby.address)
    wire.refusal("ListKeys", metadata_pb2.ListKeysRequest())
    standby.ask_to_stop()

    def is_stopping():
        failed = wire.refusal("ListKeys", metadata_pb2.ListKeysRequest())
        refused.append(failed)
        return reason(call_error(failed) or common_pb2.CallError()) == "SHUTTING_DOWN"

    wait_until(is_stopping, "it says that it stops", lambda: refused[-1])
    world.shutting_down = refused[-1]
    expect_equal(standby.ready()[0], 503, "/readyz of a member that stops")
    expect_equal(seen.get(timeout=5), NOT_SERVING, "the last word")
    expect_equal(seen.get(timeout=5), "end", "what comes after it")
    expect_equal(standby.wait_for_end(), 0, "its exit code")
    standby.start()
    wait_until(lambda: standby.ready() == (200, "standby"), "it is back", standby.ready)


@rule("E1")
def refused_item_does_not_touch_others(world):
    there, new = things.key(), things.key()
    world.put(there)
    results = world.home.change("PutStart", things.start(there, new)).results
    expect_equal(
        [r.HasField("refusal") for r in results], [True, False], "refusals, in the order of the items"
    )
    expect_equal(reason(results[0].refusal), "ALREADY_EXISTS", "the reason")
    expect(results[0].refusal.message, "no message for people")
    world.home.change("PutRevoke", things.revoke(new, results[1].put_id))


@rule("E2")
def both_trailers_say_the_same(world):
    failed = world.standby_wire().refusal("ListKeys", metadata_pb2.ListKeysRequest())
    error, details = call_error(failed), Details(failed)
    expect_equal(details.error, error, "the CallError in both trailers")
    expect_equal((details.info.reason, details.info.domain), ("NOT_PRIMARY", "understudy"), "the ErrorInfo")
    promised = {"primary_address": error.primary_address, "epoch": str(error.epoch)}
    expect_equal(dict(details.info.metadata), promised, "its metadata")
    expect_equal(details.retry, None, "a RetryInfo where no time is said")
    promised = (code_pb2.UNAVAILABLE, failed.details())
    expect_equal((details.status.code, details.status.message), promised, "code and message")

    error, details = call_error(world.overloaded), Details(world.overloaded)
    expect(error.retry_after_ms > 0, error)
    expect_equal(details.retry.retry_delay.ToMilliseconds(), error.retry_after_ms, "the RetryInfo")

    # The longest text that a client can bring about: it must get through libraries that take 8 KiB.
    long = world.primary_wire().refusal("ListKeys", metadata_pb2.ListKeysRequest(regex="ü(" * 300))
    error, details = call_error(long), Details(long)
    expect_equal(details.error, error, "the CallError in both trailers of a long error")
    expect(len(error.message) > 400, f"the long error's text has {len(error.message)} characters")


ANSWERS_MAX = 4096


def answer_many(wire, client):
    """As many numbers as answers are kept for one client."""
    session = Session(wire)
    for number in range(1, ANSWERS_MAX + 1):
        session.ask(unmount_segment=unmount_nothing(client.caller(number)))
    expect_equal(
        (session.close(), len(session.answers)), (grpc.StatusCode.OK, ANSWERS_MAX), "its end, and answers"
    )
    expect(
        all(answer.WhichOneof("answer") == "unmount_segment" for answer in session.answers.values()),
        "one has failed",
    )


def unmount_nothing(caller):
    """A change that is refused, item by item, and so the cheapest one."""
    return metadata_pb2.UnmountSegmentRequest(caller=caller, segment_ids=[bytes(15) + b"1"])


def table_of_reasons():
    with open(ERRORS, encoding="utf-8") as page:
        rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \| `(\w+)` \|", page.read(), re.MULTILINE)
    return {name: (int(number), re.sub(r"(?<!^)(?=[A-Z])", "_", code).upper()) for name, number, code in rows}


@rule("E3")
def every_reason_is_listed(world):
    table = table_of_reasons()
    expect_equal(
        {name: number for name, (number, _) in table.items()}, dict(common_pb2.Reason.items()), "reasons"
    )
    unnamed = things.start(b"k", caller=common_pb2.Caller(client_id=b"short"))
    for failed in (
        world.standby_wire().refusal("ListKeys", metadata_pb2.ListKeysRequest()),
        world.primary_wire().refusal("PutStart", unnamed),
        world.overloaded,
    ):
        name = reason(call_error(failed))
        expect_equal(failed.code().name, table[name][1], f"the gRPC code of {name}")


@rule("E4")
def retry_with_the_same_number_helps(world):
    (client, number), wire, error = world.full, world.primary_wire(), call_error(world.overloaded)
    expect_equal(reason(error), "OVERLOADED", "one number too many, in N7")
    time.sleep(error.retry_after_ms / 1000)
    answer = wire.call("UnmountSegment", unmount_nothing(client.caller(number, number)))
    expect_equal(
        reason(answer.results[0].refusal), "SEGMENT_NOT_FOUND", "the same number, once there is room"
    )

    refused = call_error(
        world.standby_wire().refusal("UnmountSegment", unmount_nothing(client.caller(number + 1)))
    )
    expect_equal(reason(refused), "NOT_PRIMARY", "a change at the standby")
    wire.call("UnmountSegment", unmount_nothing(client.caller(number + 1)))
    expect_equal(reason(call_error(world.shutting_down)), "SHUTTING_DOWN", "a member that was stopping")


@rule("E5")
def status_without_trailers_is_not_of_a_member(world):
    nowhere = Wire(f"127.0.0.1:{world.cluster.free_port}").refusal("ListKeys", metadata_pb2.ListKeysRequest())
    unknown = world.primary_wire().channel.unary_unary(
        f"/{METADATA}/NoSuchCall", request_serializer=bytes, response_deserializer=bytes
    )
    try:
        unknown(b"", timeout=5)
        raise AssertionError("a call that does not exist was answered")
    except grpc.RpcError as failed:
        not_there = failed
    codes = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED]
    for failed, code in zip((nowhere, not_there, world.own_deadline), codes):
        expect_equal(
            (failed.code(), call_error(failed), rpc_status.from_call(failed)),
            (code, None, None),
            "a status of others",
        )


class Session:
    """Requests go in by `ask`; `answers` is what has come, by id."""

    def __init__(self, wire, metadata=None):
        self._requests, self.answers, self.ended = queue.Queue(), {}, threading.Event()
        self.end, self._ids = None, 0
        self._stream = wire.metadata.Session(iter(self._requests.get, None), metadata=metadata)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for response in self._stream:
                expect(response.id not in self.answers, f"two answers to request {response.id}")
                self.answers[response.id] = response
            self.end = grpc.StatusCode.OK
        except grpc.RpcError as failed:
            self.end, self.failed = failed.code(), failed
        self.ended.set()

    def ask(self, **call):
        self._ids += 1
        self._requests.put(metadata_pb2.SessionRequest(id=self._ids, **call))
        return self._ids

    def answer(self, asked, patience_s=10):
        def has_come():
            return asked in self.answers or self.ended.is_set()

        wait_until(has_come, f"an answer to request {asked}", lambda: self.answers.keys(), patience_s)
        return self.answers.get(asked)

    def close(self):
        """Says that no more comes, and waits for the end."""
        self._requests.put(None)
        expect(self.ended.wait(10), "the session does not end")
        return self.end


@rule("S1")
def session_answers_each_request_by_its_id(world):
    session, client = Session(world.primary_wire()), world.client()
    k = things.key()
    put = session.ask(put_start=things.start(k, caller=client.caller(1)))
    wrong = session.ask(put_start=things.start(k, caller=common_pb2.Caller(client_id=b"short")))
    error = session.answer(wrong)
    expect_equal(
        (error.WhichOneof("answer"), reason(error.error)), ("error", "INVALID_ARGUMENT"), "a failed call"
    )
    put_id = session.answer(put).put_start.results[0].put_id
    ended = session.ask(put_end=things.end(k, put_id, client.caller(2)))
    expect_equal(session.answer(ended).WhichOneof("answer"), "put_end", "the answer after a failed call")
    found = session.answer(session.ask(get_replicas=things.lookup(k)))
    expect(not found.get_replicas.results[0].HasField("refusal"), found)
    expect_equal(session.close(), grpc.StatusCode.OK, "how it ends")


@rule("S2")
def session_takes_as_much_as_is_sent(world):
    session, client = Session(world.primary_wire()), world.client()
    asked = [session.ask(unmount_segment=unmount_nothing(client.caller())) for _ in range(1000)]
    asked += [session.ask(exists=metadata_pb2.ExistsRequest(keys=[b"k"] * 100)) for _ in range(1000)]
    expect_equal(session.close(), grpc.StatusCode.OK, "how it ends")
    expect_equal(sorted(session.answers), asked, "the requests that were answered")


@rule("S3")
def session_that_is_closed_answers_what_it_has(world):
    session, client = Session(world.primary_wire()), world.client()
    asked = [
        session.ask(put_start=things.start(things.key(), caller=client.caller(number)))
        for number in range(1, 51)
    ]
    expect_equal(session.close(), grpc.StatusCode.OK, "how it ends")
    kinds = {session.answers[one].WhichOneof("answer") for one in asked}
    expect_equal(kinds, {"put_start"}, "the answers to what was sent before")


@rule("S4")
def session_is_for_the_primary(world):
    refused = Session(world.standby_wire())
    expect(refused.ended.wait(5), "the session at the standby does not end")
    expect_equal(reason(call_error(refused.failed)), "NOT_PRIMARY", "a session at the standby")
    reads = Session(world.standby_wire(), metadata=[("understudy-standby-read", "1")])
    k, client = things.key(), world.client()
    written = world.put(k, client)
    standby = common_pb2.StandbyRead(min_position=written.position)
    found = reads.answer(reads.ask(get_replicas=things.lookup(k, standby=standby))).get_replicas
    expect(found.from_standby, found)
    change = reads.answer(reads.ask(put_start=things.start(things.key(), caller=client.caller())))
    expect_equal(reason(change.error), "NOT_PRIMARY", "a change in a session for reads")
    expect_equal(reads.close(), grpc.StatusCode.OK, "how it ends")

    session = Session(world.primary_wire())
    session.answer(session.ask(get_replicas=things.lookup(k)))
    world.transfer()
    late = session.answer(session.ask(get_replicas=things.lookup(k)))
    expect_equal(reason(late.error), "NOT_PRIMARY", "a session at the one that led before")
    session.close()
