"""What the tests of the rules share: the pair, and a storage client that stays alive beside them."""

import itertools
import secrets
import threading
import time

from client import Client, Wire
from cluster import wait_until
from understudy.v1 import admin_pb2, admin_pb2_grpc, common_pb2, metadata_pb2

SEGMENT_BYTES = 1 << 20
_bases = itertools.count(1)
_keys = itertools.count(1)


def segment(name=None, base=None, size=SEGMENT_BYTES):
    """A mapping that no other segment shares."""
    return common_pb2.Segment(
        id=secrets.token_bytes(16),
        name=name or f"segment-{secrets.token_hex(4)}",
        kind=common_pb2.MEMORY,
        base=base or next(_bases) << 32,
        size=size,
        endpoint="127.0.0.1:1",
        protocol="tcp",
    )


def key():
    """One that no other test uses."""
    return f"key-{next(_keys)}".encode()


def start(*keys, size=100, caller=None, **more):
    items = [metadata_pb2.PutStartItem(key=k, size=size) for k in keys]
    return metadata_pb2.PutStartRequest(caller=caller, items=items, **more)


def end(k, put_id=0, caller=None, checksum=None):
    item = metadata_pb2.PutEndItem(key=k, put_id=put_id, checksum=checksum)
    return metadata_pb2.PutEndRequest(caller=caller, items=[item])


def revoke(k, put_id=0, caller=None):
    return metadata_pb2.PutRevokeRequest(
        caller=caller, items=[metadata_pb2.PutRevokeItem(key=k, put_id=put_id)]
    )


def lookup(*keys, standby=None, caller=None):
    return metadata_pb2.GetReplicasRequest(caller=caller, keys=keys, standby=standby)


class World:
    def __init__(self, cluster):
        self.cluster = cluster
        # Made by one rule's test, looked at by others'.
        self.overloaded = self.full = self.shutting_down = self.own_deadline = self.silent = None
        self.late_puts = self.late_puts_since = self.late_work = None
        self.begun = self.mounter = self.writers = self.epoch_before = None
        self.home = self.client()
        self.home_segments = [segment() for _ in range(2)]
        request = metadata_pb2.RemountSegmentsRequest(segments=self.home_segments)
        self.home.change("RemountSegments", request)
        self.heart = Heart(self.home)

    def client(self):
        return Client(self.cluster.addresses())

    def primary_wire(self):
        """One that is asked alone, whatever it says."""
        return Wire(self.cluster.primary().address)

    def standby_wire(self):
        return Wire(self.cluster.standby().address)

    def admin(self, member):
        return admin_pb2_grpc.AdminStub(Wire(member.address).channel)

    def transfer(self):
        """The other member leads from here on: its epoch."""
        primary, standby = self.cluster.primary(), self.cluster.standby()
        epoch = self.admin(primary).Transfer(admin_pb2.TransferRequest(to=standby.name), timeout=10).epoch
        wait_until(
            lambda: standby.ready() == (200, "primary"), f"{standby.name} is the primary", standby.ready
        )
        wait_until(
            lambda: primary.ready() == (200, "standby"), f"{primary.name} is the standby", primary.ready
        )
        return epoch

    def put(self, k, client=None, size=100, checksum=None, tenant="", **more):
        """A whole put; the answer of its end."""
        client = client or self.home
        started = client.change("PutStart", start(k, size=size, **more), tenant=tenant).results[0]
        if started.HasField("refusal"):
            raise AssertionError(f"the put of {k} was refused: {started.refusal}")
        return client.change("PutEnd", end(k, started.put_id, checksum=checksum), tenant=tenant)

    def put_in(self, segment, client=None, **more):
        """A whole put into this segment, which has room for it: its key."""
        k = key()
        self.put(k, client, placement=metadata_pb2.Placement(preferred_segments=[segment.name]), **more)
        return k

    def put_all(self, keys, tenant=""):
        """Whole puts of many small ones, in two calls."""
        started = self.home.change("PutStart", start(*keys, size=1), tenant=tenant).results
        refused = [result.refusal for result in started if result.HasField("refusal")]
        if refused:
            raise AssertionError(f"{len(refused)} of {len(keys)} puts were refused: {refused[0]}")
        items = [
            metadata_pb2.PutEndItem(key=k, put_id=result.put_id)
            for k, result in zip(keys, started, strict=True)
        ]
        self.home.change("PutEnd", metadata_pb2.PutEndRequest(items=items), tenant=tenant)

    def listed(self, prefix, tenant=""):
        """What there is, by its keys, up to 10,000 of them; that leases nothing."""
        caller = common_pb2.Caller(tenant=tenant)
        request = metadata_pb2.ListKeysRequest(caller=caller, prefix=prefix, limit=10_000)
        return {info.key: info for info in self.home.call("ListKeys", request).keys}

    def remove_matching(self, regex, force=False):
        request = metadata_pb2.RemoveMatchingRequest(regex=regex, force=force)
        return self.home.change("RemoveMatching", request)

    def begin_late_puts(self):
        """Three that are not ended in time."""
        self.late_puts_since = time.monotonic()
        keys = [key() for _ in range(3)]
        results = self.home.change("PutStart", start(*keys)).results
        self.late_puts = {k: result.put_id for k, result in zip(keys, results, strict=True)}

    def close(self):
        self.heart.stop()
        self.home.close()


class Heart:
    """M1: signs of life of a client, a third of its time to live apart."""

    def __init__(self, client):
        self._client, self._over = client, threading.Event()
        self.states = []
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def _beat(self):
        wait_s = 0.0
        while not self._over.wait(wait_s):
            request = metadata_pb2.HeartbeatRequest(caller=self._client.caller())
            heard = self._client.call("Heartbeat", request)
            self.states.append(heard.state)
            wait_s = heard.client_ttl_ms / 3000

    def stop(self):
        self._over.set()
        self._thread.join()


class Worker:
    """A client with a segment of its own, alive until it is told to end."""

    def __init__(self, world):
        self.client, self.segment = world.client(), segment()
        request = metadata_pb2.RemountSegmentsRequest(segments=[self.segment])
        self.client.change("RemountSegments", request)
        self.heart = Heart(self.client)

    def end(self):
        self.heart.stop()
        request = metadata_pb2.UnmountSegmentRequest(segment_ids=[self.segment.id])
        self.client.change("UnmountSegment", request)
        self.client.close()
