"""Sections 16 and 17: tenants, quotas, space, limits, and refusals at bounds."""

import grpc

import world as things
from client import call_error, reason
from cluster import SETTINGS, wait_until
from filling import OBJECT_BYTES, PATTERN, PREFIX
from page import expect, expect_equal, rule
from rules_objects import call_refusal, refusal
from rules_segments import mount, remount, unmount
from rules_transfers import finish_by, start_copy, start_move
from understudy.v1 import admin_pb2, common_pb2, metadata_pb2

REPLACE = metadata_pb2.REPLACE


def remove_in(world, tenant, *keys, force=False):
    request = metadata_pb2.RemoveRequest(keys=keys, force=force)
    return [refusal(result) for result in world.home.change("Remove", request, tenant=tenant).results]


def put_start(world, tenant, k, **more):
    return refusal(world.home.change("PutStart", things.start(k, **more), tenant=tenant).results[0])


def exists(world, tenant, *keys):
    request = metadata_pb2.ExistsRequest(caller=common_pb2.Caller(tenant=tenant), keys=keys)
    return list(world.home.call("Exists", request).exists)


@rule("Q1")
def key_belongs_to_its_tenant(world):
    k, one, other, absent = things.key(), "one", "t" * 256, "absent"
    for tenant, size in (("", 1), (one, 2), (other, 3)):
        world.put(k, size=size, tenant=tenant)
    sizes = [world.listed(k, tenant)[k].size for tenant in ("", one, other)]
    expect_equal(sizes, [1, 2, 3], "the object of the same key in three tenants")
    answer = world.home.call("GetReplicas", things.lookup(k, caller=common_pb2.Caller(tenant=other)))
    expect(answer.segments[0].id in {s.id for s in world.home_segments}, "it is in a segment of its own")
    expect_equal(remove_in(world, one, k), [None], "Remove in one of them")
    seen = [exists(world, tenant, k) for tenant in ("", one, other)]
    expect_equal(seen, [[True], [False], [True]], "Exists after that")
    expect_equal(
        (exists(world, absent, k), world.listed(b"", absent), remove_in(world, absent, k)),
        ([False], {}, ["NOT_FOUND"]),
        "a tenant that is not there",
    )
    over = call_refusal(put_start, world, "t" * 257, k)
    expect_equal(over, "INVALID_ARGUMENT", "a tenant of 257 bytes")
    remove_in(world, other, k, force=True)


@rule("Q2")
def quota_counts_replicas_from_their_start(world):
    """100 bytes count as 128: there is room for two."""
    tenant, admin = "quota", world.admin(world.cluster.primary())
    first, second = (segment.name for segment in world.home_segments)

    def quota(quota_bytes):
        request = admin_pb2.SetTenantQuotaRequest(tenant=tenant, quota_bytes=quota_bytes)
        admin.SetTenantQuota(request, timeout=5)

    quota(256)
    k, other, third = (things.key() for _ in range(3))
    world.put(k, tenant=tenant)
    over = put_start(world, tenant, other, size=129)
    seen = over, put_start(world, tenant, other), put_start(world, tenant, third, size=1)
    expect_equal(seen, ("QUOTA_EXCEEDED", None, "QUOTA_EXCEEDED"), "129 bytes more, 100, and then 1")
    expect_equal(remove_in(world, tenant, other, force=True), [None], "Remove of what is written")
    expect_equal(put_start(world, tenant, third), None, "a put once that is removed, whose space waits")

    # It is leased, so a replacement takes space beside it.
    exists(world, tenant, k)
    expect_equal(put_start(world, tenant, k, if_exists=REPLACE), "QUOTA_EXCEEDED", "a replacement")
    copied = refusal(start_copy(world.home, k, "", first, tenant=tenant)[1])
    moved = refusal(start_move(world.home, k, "", second, tenant=tenant)[1])
    expect_equal({copied, moved}, {"QUOTA_EXCEEDED"}, "a copy, and a move")
    remove_in(world, tenant, third, force=True)
    there = world.home.call(
        "GetReplicas", things.lookup(k, caller=common_pb2.Caller(tenant=tenant))
    ).segments[0]
    target = second if there.name == first else first
    _, started = start_move(world.home, k, "", target, tenant=tenant)
    seen = [refusal(started), put_start(world, tenant, other)]
    seen.append(finish_by("MoveEnd", world.home, k, started.transfer_id, tenant=tenant))
    seen.append(put_start(world, tenant, other))
    expect_equal(
        seen, [None, "QUOTA_EXCEEDED", None, None], "a move, a put meanwhile, its end, and a put after it"
    )
    remove_in(world, tenant, k, other, force=True)
    quota(0)


@rule("Q3")
def put_has_all_its_replicas_or_none(world):
    k, sixteen = things.key(), metadata_pb2.Placement(replicas=16)
    expect_equal(put_start(world, "", k, placement=sixteen), "NO_SPACE", "a put of 16 replicas")
    expect_equal(world.listed(k), {}, "what is there after it")
    sixteen.best_effort = True
    answer = world.home.change("PutStart", things.start(k, placement=sixteen))
    segments = [answer.segments[replica.segment].id for replica in answer.results[0].replicas]
    expect(
        set(segments) >= {segment.id for segment in world.home_segments},
        "best_effort takes not all there are",
    )
    expect_equal(len(set(segments)), len(segments), "segments of so many replicas")
    larger = 2 * things.SEGMENT_BYTES
    seen = put_start(world, "", things.key(), size=larger, placement=metadata_pb2.Placement(best_effort=True))
    expect_equal(seen, "NO_SPACE", "a put that is larger than any segment, with best_effort")

    keys = [PREFIX + b"%d" % at for at in range(40)]
    results = world.home.change("PutStart", things.start(*keys, size=OBJECT_BYTES)).results
    expect_equal({refusal(result) for result in results}, {None, "NO_SPACE"}, "puts of more than there is")
    begun = [(k, result.put_id) for k, result in zip(keys, results, strict=True) if result.put_id]
    items = [metadata_pb2.PutEndItem(key=k, put_id=put_id) for k, put_id in begun]
    world.home.change("PutEnd", metadata_pb2.PutEndRequest(items=items))
    wait_until(
        lambda: put_start(world, "", PREFIX, size=OBJECT_BYTES) is None, "a put has room", patience_s=5
    )
    world.remove_matching(PATTERN, force=True)


@rule("U1")
def what_breaks_a_limit_does_not_run(world):
    good, wire, client = things.key(), world.primary_wire(), world.client()
    many = [b"%s/%d" % (good, at) for at in range(10_001)]
    asked = [
        (things.start(good, b""), "items[1].key", "1 byte"),
        (things.start(good, b"k" * 4097), "items[1].key", "4096"),
        (things.start(good, size=0), "items[0].size", "from 1 to"),
        (things.start(good, size=(1 << 50) + 1), "items[0].size", str(1 << 50)),
        (things.start(*many, size=1), "items", "10000"),
    ]
    for request, field, limit in asked:
        request.caller.CopyFrom(client.caller(1))
        error = call_error(wire.refusal("PutStart", request))
        expect_equal(reason(error), "INVALID_ARGUMENT", f"a call against the limit of {field}")
        expect(error.message.startswith(f"{field}: ") and limit in error.message, error.message)
    lookup = call_error(wire.refusal("Exists", metadata_pb2.ExistsRequest(keys=many)))
    expect_equal(reason(lookup), "INVALID_ARGUMENT", "a read of 10,001 keys")
    expect_equal(world.listed(good), {}, "what has run")
    long = good + bytes(4096 - len(good))
    results = wire.call(
        "PutStart", things.start(long, *many[:9_998], long, size=1, caller=client.caller(1))
    ).results
    seen = [refusal(result) for result in results]
    expect_equal(seen, [None] * 9_999 + ["WRITE_IN_PROGRESS"], "10,000 items, of which two are the same")
    remove_in(world, "", long, *many[:9_998], force=True)


@rule("U2")
def answers_are_bounded_too(world):
    client, wire, placement = world.client(), world.primary_wire(), metadata_pb2.Placement(disk_replicas=16)
    disks = [things.segment() for _ in range(16)]
    for at, disk in enumerate(disks):
        disk.kind, disk.base, disk.path = common_pb2.DISK, 0, "/" + "d" * 990 + str(at)
    expect_equal([refusal(result) for result in remount(client, *disks)], [None] * 16, "RemountSegments")
    # With its 16 paths each item takes some 16 KiB of an answer.
    many = [b"%s/%d" % (things.key(), at) for at in range(1100)]
    request = things.start(*many, caller=client.caller(100), placement=placement)
    error = call_error(wire.refusal("PutStart", request))
    expect_equal(reason(error), "INVALID_ARGUMENT", "a PutStart that could not be answered")
    expect_equal(world.listed(many[0]), {}, "what has run")
    k = things.key()
    world.put(k, client, placement=placement)
    error = call_error(wire.refusal("GetReplicas", things.lookup(*[k] * 1100)))
    expect_equal(reason(error), "INVALID_ARGUMENT", "a GetReplicas that could not be answered")
    expect_equal(len(wire.call("GetReplicas", things.lookup(*[k] * 100)).results), 100, "for less at a time")
    unmount(client, *disks)

    # Keys of more than 16 MiB, in two calls.
    prefix = things.key()
    keys = [b"%s/%04d/" % (prefix, at) + bytes(4000) for at in range(4400)]
    world.put_all(keys[:2200])
    world.put_all(keys[2200:])
    request = metadata_pb2.ListKeysRequest(prefix=prefix, limit=10_000)
    pages = [wire.call("ListKeys", request, timeout=5)]
    while pages[-1].next_page_token:
        request.page_token = pages[-1].next_page_token
        pages.append(wire.call("ListKeys", request, timeout=5))
    expect(sorted(info.key for page in pages for info in page.keys) == keys, "the pages have other keys")
    expect(len(pages) > 1, f"{len(keys)} keys of 4 KiB come on one page")
    world.remove_matching(f"^{prefix.decode()}/")


@rule("U3")
def overloaded_names_the_setting_and_both_figures(world):
    wire, client, k = world.primary_wire(), world.client(), things.key()
    tenants_max = SETTINGS["tenants_max"]
    full = None
    for at in range(1, tenants_max + 1):
        request = things.start(k, caller=client.caller(at, tenant=f"full-{at}"))
        try:
            wire.call("PutStart", request)
        except grpc.RpcError as failed:
            full = call_error(failed)
            break
    expect(full, f"{tenants_max} tenants beside the default one are taken")
    expect_equal(reason(full), "OVERLOADED", "the reason")
    expect(
        full.message.startswith("tenants_max: ") and full.message.count(str(tenants_max)) == 2, full.message
    )
    expect(full.retry_after_ms > 0, full)
    expect_equal(remove_in(world, "full-1", k, force=True), [None], "Remove of what is in one of them")
    expect_equal(
        refusal(wire.call("PutStart", request).results[0]), None, "the same number, once there is room"
    )
    for at in range(2, tenants_max + 1):
        remove_in(world, f"full-{at}", k, force=True)

    client, crowd = world.client(), [things.segment(size=64) for _ in range(1025)]
    results = remount(client, *crowd)
    expect_equal({refusal(result) for result in results[:-1]}, {None}, "1024 segments")
    full = results[-1].refusal
    expect_equal(reason(full), "OVERLOADED", "one segment more")
    expect(full.message.startswith("client_segments_max: ") and full.message.count("1024") == 2, full.message)
    unmount(client, crowd[0])
    wait_until(
        lambda: refusal(mount(client, crowd[-1])[0]) is None,
        "once one is gone, the last one under a new number",
    )
    unmount(client, *crowd[1:])
