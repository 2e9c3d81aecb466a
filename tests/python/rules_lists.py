"""Section 12: lists."""

import world as things
from page import expect, expect_equal, rule
from rules_objects import begin, call_refusal
from rules_removals import SLOW, slow_keys
from understudy.v1 import common_pb2, metadata_pb2


def names(keys):
    return [info.key for info in keys]


@rule("L1")
def list_has_what_was_asked_for(world):
    k = things.key()
    there, written, other = k + b"/a", k + b"/b", k + b"c"
    world.put_all([there, other])
    put_id = begin(world.home, written)
    found = world.listed(k + b"/")
    expect_equal(
        {key: (info.complete, info.replicas, info.size) for key, info in found.items()},
        {there: (True, 1, 1), written: (False, 0, 100)},
        "the keys that begin with the prefix",
    )
    request = metadata_pb2.ListKeysRequest(prefix=k, regex="/[^b]$|c$")
    expect_equal(
        sorted(names(world.home.call("ListKeys", request).keys)), sorted([there, other]), "both given"
    )
    world.home.change("PutRevoke", things.revoke(written, put_id))

    many = [b"%s/%d" % (k, at) for at in range(1001)]
    world.put_all(many)
    counts = [
        len(world.home.call("ListKeys", metadata_pb2.ListKeysRequest(prefix=k, limit=limit)).keys)
        for limit in (0, 1, 10_000)
    ]
    expect_equal(counts, [1000, 1, len(many) + 2], "keys of a page with limits of 0, 1 and 10,000")
    in_order = list(world.listed(k))
    expect(in_order != sorted(in_order), "a thousand keys come in their order")
    over = call_refusal(world.home.call, "ListKeys", metadata_pb2.ListKeysRequest(limit=10_001))
    expect_equal(over, "INVALID_ARGUMENT", "a limit of 10,001")
    world.remove_matching(f"^{k.decode()}")


@rule("L2")
def pages_list_what_is_there_all_the_while_once(world):
    k, wires = things.key(), [world.primary_wire(), world.standby_wire()]
    kept, going = ([b"%s/%s/%d" % (k, kind, at) for at in range(300)] for kind in (b"kept", b"going"))
    world.put_all(kept + going)
    seen, token, pages = [], b"", 0
    standby = common_pb2.StandbyRead(min_position=world.put(k + b"/last").position)
    while pages == 0 or token:
        request = metadata_pb2.ListKeysRequest(prefix=k, limit=50, page_token=token, standby=standby)
        page = wires[pages % 2].call("ListKeys", request)
        expect_equal(page.from_standby, pages % 2 == 1, "who answers")
        expect(len(page.keys) <= 50, f"a page of {len(page.keys)} keys")
        seen += names(page.keys)
        token, pages = page.next_page_token, pages + 1
        # Some go and some come while it is listed.
        world.home.change("Remove", metadata_pb2.RemoveRequest(keys=going[pages * 20 : pages * 20 + 20]))
        world.put(b"%s/coming/%d" % (k, pages))
    expect(pages > 10, f"{pages} pages")
    times = {seen.count(key) for key in kept}
    expect_equal(times, {1}, "how often each is listed that is there all the while")
    world.remove_matching(f"^{k.decode()}")

    world.put_all(slow_keys(20))
    counts, token = [], b""
    while not counts or token:
        page = world.home.call("ListKeys", metadata_pb2.ListKeysRequest(regex=SLOW, page_token=token))
        counts.append(len(page.keys))
        token = page.next_page_token
    expect(
        len(counts) > 1 and set(counts) == {0}, f"keys of the pages with a pattern that takes long: {counts}"
    )
    request = metadata_pb2.ListKeysRequest(prefix=b"slow/", limit=20)
    page = world.home.call("ListKeys", request)
    expect_equal(len(page.keys), 20, "keys of a page that has room for just as many")
    if page.next_page_token:
        request.page_token = page.next_page_token
        page = world.home.call("ListKeys", request)
        expect_equal((len(page.keys), page.next_page_token), (0, b""), "the page after the last key")
    world.remove_matching("^slow/")


@rule("L3")
def segments_are_those_of_all_clients(world):
    client, namesake = world.client(), things.segment(name=world.home_segments[0].name)
    client.change("RemountSegments", metadata_pb2.RemountSegmentsRequest(segments=[namesake]))

    def segments(**which):
        request = metadata_pb2.ListSegmentsRequest(**which)
        return {status.segment.id for status in world.home.call("ListSegments", request).segments}

    first, second = (segment.id for segment in world.home_segments)
    expect(segments() >= {first, second, namesake.id}, "the segments of all clients")
    expect_equal(segments(client_id=world.home.id), {first, second}, "those of one client")
    expect_equal(segments(name=namesake.name), {first, namesake.id}, "those of one name")
    expect_equal(segments(client_id=client.id, name=namesake.name), {namesake.id}, "those of both")
    client.change("UnmountSegment", metadata_pb2.UnmountSegmentRequest(segment_ids=[namesake.id]))
