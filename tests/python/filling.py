"""Fills the memory, so that the primary evicts."""

import world as things
from cluster import wait_until
from page import expect, expect_equal
from rules_objects import finish, refusal

PREFIX, OBJECT_BYTES = b"filling/", 64 << 10
PATTERN = f"^{PREFIX.decode()}"


class Filling:
    """Objects of a thirtieth of the memory, one after the other."""

    def __init__(self, world):
        self._world, self._count = world, 0

    def put(self, **how):
        """One more, once an eviction has made room for it: its key."""
        self._count += 1
        k, home = PREFIX + b"%d" % self._count, self._world.home

        def begun():
            result = home.change("PutStart", things.start(k, size=OBJECT_BYTES, **how)).results[0]
            expect(refusal(result) in (None, "NO_SPACE"), result)
            return result.put_id

        expect_equal(finish(home, k, wait_until(begun, "there is room")), None, f"PutEnd of {k}")
        return k

    def put_until_gone(self, keys, **how):
        """More of them, until none of these is there: those that are."""
        for _ in range(300):
            self.put(**how)
            there = set(self._world.listed(PREFIX))
            if not there & set(keys):
                return there
        raise AssertionError(f"not evicted: {there & set(keys)}")

    def end(self):
        self._world.remove_matching(PATTERN, force=True)
