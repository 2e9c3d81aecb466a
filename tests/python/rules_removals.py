"""Sections 11 and 13: removals, and pins."""

import random
import time

import world as things
from client import call_error, reason
from cluster import SETTINGS, wait_until
from filling import PATTERN, PREFIX, Filling
from page import expect, expect_equal, rule
from rules_objects import begin, call_refusal, finish, is_readable, read, refusal, remove
from rules_transfers import copy_under_way, finish_by, retired
from understudy.v1 import common_pb2, metadata_pb2

NONE, SOFT, HARD = common_pb2.NONE, common_pb2.SOFT, common_pb2.HARD


def pin(client, k, kind, ttl_ms=0):
    request = metadata_pb2.PinRequest(keys=[k], pin=kind, soft_pin_ttl_ms=ttl_ms)
    return refusal(client.change("Pin", request).results[0])


def unpin(client, k):
    return refusal(client.change("Unpin", metadata_pb2.UnpinRequest(keys=[k])).results[0])


@rule("D1")
def remove_takes_what_is_not_in_use(world):
    there, leased, pinned, written = (things.key() for _ in range(4))
    for k in (there, leased, pinned):
        world.put(k)
    read(world, leased)
    pin(world.home, pinned, HARD)
    put_id, (copied, copy_id) = begin(world.home, written), copy_under_way(world)
    keys = [there, leased, pinned, written, copied, b"not there"]
    results = world.client().change("Remove", metadata_pb2.RemoveRequest(keys=keys)).results
    promised = [None, "LEASED", "PINNED", "WRITE_IN_PROGRESS", "WRITE_IN_PROGRESS", "NOT_FOUND"]
    expect_equal([refusal(result) for result in results], promised, "Remove by a client that has put nothing")
    expect(not is_readable(world, there), "it can be read after it was removed")
    expect_equal(finish(world.home, there, begin(world.home, there)), None, "another put of its key")
    expect_equal(finish(world.home, written, put_id), None, "the end of the put that was under way")
    ended = finish_by("CopyEnd", world.home, copied, copy_id)
    expect_equal(ended, None, "the end of the copy that was under way")


@rule("D2")
def force_takes_all_and_its_space_waits(world):
    worker, pinned, written = things.Worker(world), things.key(), things.key()
    world.put(pinned, pin=HARD)
    name = worker.segment.name
    preferred = metadata_pb2.Placement(preferred_segments=[name])
    put_id, (copied, copy_id) = begin(world.home, written, placement=preferred), copy_under_way(world)
    asked = time.monotonic()
    seen = [remove(world, k, force=True) for k in (pinned, written, copied)]
    expect_equal(seen, [None] * 3, "Remove with force")
    expect_equal(finish(world.home, written, put_id), "NOT_FOUND", "the end of the put")
    expect_equal(finish_by("CopyEnd", world.home, copied, copy_id), "NOT_FOUND", "the end of the copy")
    expect(retired(world, name) >= 100, "the space of the put waits for no writer")
    wait_until(lambda: retired(world, name) == 0, "it is used again", lambda: retired(world, name))
    waited_ms = (time.monotonic() - asked) * 1000
    expect(waited_ms >= SETTINGS["put_release_timeout_ms"], f"its space waited for {waited_ms:.0f} ms")
    worker.end()


@rule("D3")
def removal_of_many_goes_on_where_it_was_cut_off(world):
    tenant, client, k = "removals", world.client(), things.key()
    first, second, other = k + b"/a", k + b"/b", things.key()
    world.put(first)
    world.put_all([first, second, other], tenant=tenant)
    caller = common_pb2.Caller(tenant=tenant)
    world.home.call("Exists", metadata_pb2.ExistsRequest(caller=caller, keys=[second]))
    request = metadata_pb2.RemoveMatchingRequest(regex=f"^{k.decode()}/")
    told = client.change("RemoveMatching", request, tenant=tenant)
    expect_equal((told.removed, told.refused), (1, 1), "RemoveMatching of two, of which one is leased")
    expect_equal(world.listed(b"", tenant).keys(), {second, other}, "what is left")
    told = client.change("RemoveAll", metadata_pb2.RemoveAllRequest(force=True), tenant=tenant)
    expect_equal((told.removed, told.refused), (2, 0), "RemoveAll with force")
    expect(is_readable(world, first), "the same key in another tenant is gone")

    wire, keys = world.primary_wire(), [b"%s/%d" % (k, at) for at in range(5000)]
    world.put(other, tenant=tenant, pin=HARD)

    def cut_off(number, after_s):
        """The request, and how many are left when its caller has gone."""
        world.put_all(keys, tenant=tenant)
        request = metadata_pb2.RemoveAllRequest(caller=client.caller(number, tenant=tenant))
        attempt = wire.metadata.RemoveAll.future(request, timeout=10)
        time.sleep(after_s)
        attempt.cancel()
        left = len(world.listed(k, tenant))
        told = wire.call("RemoveAll", request, timeout=10)
        seen = f"the answer, where the first attempt left {left}"
        expect_equal((told.removed, told.refused), (len(keys), 1), seen)
        return request, left

    for attempt in range(20):
        request, left = cut_off(1000 + attempt, 0.003 * (attempt % 10 + 1))
        if 0 < left < len(keys):
            break
    else:
        raise AssertionError("no removal was cut off")
    world.put(first, tenant=tenant)
    told = wire.call("RemoveAll", request, timeout=10)
    expect_equal((told.removed, told.refused), (len(keys), 1), "the answer to a retry after it was through")
    expect_equal(world.listed(b"", tenant).keys(), {first, other}, "what is there then")
    client.numbers.go_on_above(2000)
    client.change("RemoveAll", metadata_pb2.RemoveAllRequest(force=True), tenant=tenant)


def slow_keys(count):
    """For `a[ab]{900}c` each takes some 10 ms."""
    drawn = random.Random(1)
    return [b"slow/%d/" % at + bytes(drawn.choices(b"ab", k=4000)) for at in range(count)]


SLOW = "a[ab]{900}c"


@rule("D4")
def patterns_are_bounded(world):
    def refused(regex):
        """RemoveMatching and ListKeys."""
        caller = world.home.caller()
        removal = metadata_pb2.RemoveMatchingRequest(caller=caller, regex=regex)
        listing = metadata_pb2.ListKeysRequest(caller=caller, regex=regex)
        return [
            call_refusal(world.home.call, "RemoveMatching", removal),
            call_refusal(world.home.call, "ListKeys", listing),
        ]

    for wrong in ("(", "a" * 1025, r"\w{1000}"):
        expect_equal(refused(wrong), ["INVALID_ARGUMENT"] * 2, f"the pattern {wrong[:20]}")
    expect_equal(refused(""), ["INVALID_ARGUMENT", None], "no pattern")
    expect_equal(refused("never" + "[a]" * 339 + "aa"), [None] * 2, "a pattern of 1024 bytes")

    # Three characters, and three bytes that are no text.
    k = things.key()
    text, other = k + "äöü".encode(), k + b"\xff\x00\xfe"
    world.put_all([text, other])
    asked = [(k[1:].decode(), [text, other]), (f"^{k.decode()}...$", [text]), (r"(?-u)\xff", [other])]
    for regex, finds in asked:
        request = metadata_pb2.ListKeysRequest(prefix=k, regex=regex)
        found = [info.key for info in world.home.call("ListKeys", request).keys]
        expect_equal(sorted(found), sorted(finds), f"what {regex} finds")

    slow, quick = slow_keys(30), [b"quick/%d" % at for at in range(2000)]
    world.put_all(slow)
    expect_equal(refused(SLOW), ["INVALID_ARGUMENT", None], "a removal and a list whose pattern takes long")
    world.put_all(quick)
    request = metadata_pb2.RemoveMatchingRequest(caller=world.home.caller(), regex=f"^quick/|{SLOW}")
    for _ in range(5):
        why = reason(call_error(world.primary_wire().refusal("RemoveMatching", request)))
        left = len(world.listed(b"quick/"))
        expect(left > 0, "it took no longer with others")
        expect_equal(why, "OUTCOME_UNKNOWN" if left < len(quick) else "INVALID_ARGUMENT", f"with {left} left")
        if left < len(quick):
            break
    else:
        raise AssertionError("nothing was removed before its time was over")
    world.remove_matching("^(slow|quick)/")


@rule("K1")
def any_client_may_pin(world):
    k, other = things.key(), world.client()

    def shown():
        return world.listed(k)[k].pin

    put_id = begin(world.home, k, pin=SOFT)
    expect_equal(shown(), SOFT, "the pin of PutStart")
    expect_equal(pin(other, k, HARD), None, "Pin by another client, while it is written")
    finish(world.home, k, put_id)
    expect_equal(shown(), HARD, "the later pin")
    expect_equal(remove(world, k), "PINNED", "Remove of it")
    expect_equal((pin(other, k, SOFT), shown()), (None, SOFT), "Pin, softly")
    expect_equal((unpin(other, k), shown()), (None, NONE), "Unpin by another client")
    expect_equal(
        [pin(other, b"not there", HARD), unpin(other, b"not there")], ["NOT_FOUND"] * 2, "of no object"
    )
    expect_equal(remove(world, k), None, "Remove of one without a pin")


@rule("K2")
def pins_count_where_memory_runs_low(world):
    worker, filling = things.Worker(world), Filling(world)
    unmounted = world.put_in(worker.segment, pin=HARD)
    worker.end()
    expect(not is_readable(world, unmounted), "an object is there, and its segment is not")

    hard = [filling.put(pin=HARD) for _ in range(3)]
    soft = [filling.put(pin=SOFT) for _ in range(3)]
    over = [filling.put(pin=SOFT, soft_pin_ttl_ms=1) for _ in range(3)]
    there = filling.put_until_gone(over)
    expect(there >= {*hard, *soft}, f"of {hard} and {soft} there are {there} where others may go")
    world.remove_matching(PATTERN)
    soft = [filling.put(pin=SOFT) for _ in range(3)]
    there = filling.put_until_gone(soft, pin=SOFT)
    expect(there >= set(hard), f"of {hard} there are {there} where soft pins go")
    expect_equal([remove(world, k) for k in hard], ["PINNED"] * len(hard), "Remove without force")
    filling.end()
    expect_equal(world.listed(PREFIX), {}, "what force leaves")


@rule("K3")
def pin_belongs_to_one_version(world):
    k = things.key()
    world.put(k, pin=HARD)
    put_id = begin(world.home, k, size=200, if_exists=metadata_pb2.REPLACE)
    expect_equal(world.listed(k)[k].pin, HARD, "the pin of the old version, beside the new one")
    finish(world.home, k, put_id)
    expect_equal(world.listed(k)[k].pin, NONE, "the pin of a version that was put without one")
    world.put(k, pin=SOFT, if_exists=metadata_pb2.REPLACE)
    expect_equal(world.listed(k)[k].pin, SOFT, "the pin that the next version brings")
