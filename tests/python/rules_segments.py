"""Section 6: heartbeats and segments."""

import world as things
from client import reason
from cluster import SETTINGS, wait_until
from page import expect, expect_equal, rule
from understudy.v1 import common_pb2, metadata_pb2

OK, NEEDS_REMOUNT = metadata_pb2.HeartbeatResponse.OK, metadata_pb2.HeartbeatResponse.NEEDS_REMOUNT


def beat(client):
    return client.call("Heartbeat", metadata_pb2.HeartbeatRequest(caller=client.caller())).state


def mount(client, *segments):
    return client.change("MountSegment", metadata_pb2.MountSegmentRequest(segments=segments)).results


def remount(client, *segments):
    return client.change("RemountSegments", metadata_pb2.RemountSegmentsRequest(segments=segments)).results


def unmount(client, *segments):
    ids = [segment.id for segment in segments]
    return client.change("UnmountSegment", metadata_pb2.UnmountSegmentRequest(segment_ids=ids)).results


def listed(world, client):
    """What a client has mounted, by the segments' ids."""
    answer = world.home.call("ListSegments", metadata_pb2.ListSegmentsRequest(client_id=client.id))
    return {status.segment.id: status for status in answer.segments}


def put_into(world, client, segment):
    """An object that lies in this segment."""
    k = world.put_in(segment, client)
    expect_equal(where(world, k), segment.name, "the segment that was preferred")
    return k


def where(world, k):
    """The name of its segment. None: it cannot be read."""
    answer = world.home.call("GetReplicas", things.lookup(k))
    result = answer.results[0]
    return None if result.HasField("refusal") else answer.segments[result.replicas[0].segment].name


@rule("M1")
def silent_client_loses_all(world):
    silent = world.silent
    expect_equal(listed(world, silent.client), {}, "segments of the client that was silent in N9")
    ttl_s, put_s = SETTINGS["client_ttl_ms"] / 1000, SETTINGS["put_start_timeout_ms"] / 1000
    seen = (
        f"its put was discarded after {silent.discarded_after_s:.2f} s; it has {ttl_s} s, a put has {put_s} s"
    )
    expect(ttl_s <= silent.discarded_after_s < put_s, seen)
    # It has beaten since before that, under the same time to live.
    expect_equal(
        set(listed(world, world.home)), {s.id for s in world.home_segments}, "segments of one that was not"
    )
    expect_equal(set(world.heart.states), {OK}, "its heartbeats")


@rule("M2")
def needs_remount_until_all_is_told(world):
    client = world.client()
    expect_equal([beat(client), beat(client)], [NEEDS_REMOUNT] * 2, "heartbeats of an unknown client")
    remount(client)
    expect_equal(beat(client), OK, "the heartbeat after an empty list")
    expect_equal(beat(world.silent.client), NEEDS_REMOUNT, "the heartbeat of a client that had expired")


@rule("M3")
def first_mount_is_a_remount(world):
    client, first, further = world.client(), things.segment(), things.segment()
    remount(client, first)
    expect_equal(beat(client), OK, "the first heartbeat after RemountSegments")
    mount(client, further)
    expect_equal(beat(client), OK, "the heartbeat after a further MountSegment")
    unmount(client, first, further)

    other, only = world.client(), things.segment()
    mount(other, only)
    expect_equal(beat(other), NEEDS_REMOUNT, "the first heartbeat after MountSegment alone")
    expect([result.kept for result in remount(other, only)] == [True], "what was mounted is not kept")
    expect_equal(beat(other), OK, "the heartbeat after that")

    # Why a mount is not enough: this one had a segment before it was forgotten.
    expired, lost = world.silent.client, world.silent.segment
    mount(expired, only_new := things.segment())
    expect_equal(
        beat(expired), NEEDS_REMOUNT, "the heartbeat of one that was forgotten and has mounted something new"
    )
    expect_equal([r.kept for r in remount(expired, lost, only_new)], [False, True], "kept at its remount")
    unmount(expired, lost, only_new)
    unmount(other, only)


@rule("M4")
def remount_keeps_what_is_named(world):
    client, kept, dropped, new = world.client(), *(things.segment() for _ in range(3))
    remount(client, kept, dropped)
    in_kept, in_dropped = put_into(world, client, kept), put_into(world, client, dropped)
    results = remount(client, kept, new)
    expect_equal([result.kept for result in results], [True, False], "kept")
    expect_equal(
        (where(world, in_kept), where(world, in_dropped)), (kept.name, None), "where the objects are"
    )
    states = {id: status.state for id, status in listed(world, client).items()}
    expect_equal((states[kept.id], states[new.id]), (common_pb2.MOUNTED,) * 2, "the segments that were named")
    expect(states.get(dropped.id, common_pb2.UNMOUNTING) == common_pb2.UNMOUNTING, states)
    world.mounter = client, kept, in_kept
    unmount(client, new)


@rule("M5")
def segments_do_not_share(world):
    client, kept, _ = world.mounter

    def refusal(segment):
        result = mount(client, segment)[0]
        return reason(result.refusal) if result.HasField("refusal") else f"kept={result.kept}"

    same_id = things.segment()
    same_id.id = kept.id
    overlapping = things.segment(base=kept.base + kept.size // 2)
    expect_equal(
        [refusal(one) for one in (kept, same_id, overlapping)],
        ["kept=True", "SEGMENT_CONFLICT", "SEGMENT_CONFLICT"],
        "the same again, another with its id, another over its range",
    )
    expect_equal(
        refusal(namesake := things.segment(name=kept.name)), "kept=False", "another of the same name"
    )
    unmount(client, namesake)
    foreign = world.client()
    there_too = things.segment(base=kept.base)
    expect_equal(
        [r.HasField("refusal") for r in remount(foreign, there_too)], [False], "the range of another client"
    )
    unmount(foreign, there_too)
    going = things.segment()
    mount(client, going)
    k = put_into(world, client, going)
    unmount(client, going)
    over_it = things.segment(base=going.base)
    expect_equal(
        (refusal(over_it), where(world, k)), ("SEGMENT_BUSY", None), "another over one that is going"
    )
    wait_until(lambda: refusal(going) == "kept=False", "the same one comes back", lambda: refusal(going))
    unmount(client, going)


@rule("M6")
def takeover_needs_no_remount(world):
    client, kept, k = world.mounter
    world.transfer()
    expect_equal(beat(client), OK, "the first heartbeat at the new primary")
    expect_equal([result.kept for result in remount(client, kept)], [True], "kept")
    expect_equal(where(world, k), kept.name, "where its object is")


@rule("M7")
def unmount_is_at_once_and_the_memory_free_later(world):
    client, kept, k = world.mounter
    # For P5. A takeover begins their time anew, so M6 is the last one before.
    world.begin_late_puts()
    expect_equal(where(world, k), kept.name, "where its object is before")
    unmount(client, kept)
    expect_equal(where(world, k), None, "where it is after")
    expect(kept.id in listed(world, client), "the segment is gone, though its object was leased a moment ago")
    wait_until(lambda: kept.id not in listed(world, client), "it is gone", lambda: listed(world, client))
