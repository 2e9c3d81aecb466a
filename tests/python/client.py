"""A client as docs/clients.md has it: the labels in the comments are those of the page.

It is written to be read beside the page, not to be fast. The calls of `Wire` are single attempts;
`Client.call` is the loop around them.
"""

import secrets
import threading
import time

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from understudy.v1 import common_pb2, metadata_pb2_grpc

NOT_PRIMARY = "NOT_PRIMARY"
OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
# E5
NOTHING_RAN = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
# C3, C4
OPTIONS = [
    ("grpc.max_receive_message_length", 16 << 20),
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
]
ATTEMPT_S = 1.0


class Refused(Exception):
    """A call failed as a whole, for a reason that no further attempt helps with."""

    def __init__(self, error, code):
        super().__init__(
            f"{code.name}: {reason(error) if error else 'no trailer'}: {error.message if error else ''}"
        )
        self.error, self.code = error, code


def reason(error):
    """Of a CallError or a Refusal, by its name."""
    return common_pb2.Reason.Name(error.reason)


def call_error(failed):
    """E2: the CallError of a failed call by our own trailer. None: no member made this status."""
    for name, value in failed.trailing_metadata() or ():
        if name == "understudy-error-bin":
            return common_pb2.CallError.FromString(value)
    return None


def history_in(metadata):
    """C6: the history that the answer is of. None: it does not say."""
    return next((value for name, value in metadata or () if name == "understudy-history"), None)


class Details:
    """E2: what the standard trailer says, decoded by grpcio-status."""

    def __init__(self, failed):
        self.status = rpc_status.from_call(failed)
        self.info = self._of(error_details_pb2.ErrorInfo)
        self.retry = self._of(error_details_pb2.RetryInfo)
        self.error = self._of(common_pb2.CallError)

    def _of(self, kind):
        for detail in self.status.details if self.status else ():
            found = kind()
            if detail.Unpack(found):
                return found
        return None


class Wire:
    """One member's port."""

    def __init__(self, address, options=OPTIONS, compression=None):
        self.address = address
        self.channel = grpc.insecure_channel(address, options=options, compression=compression)
        self.metadata = metadata_pb2_grpc.MetadataStub(self.channel)

    def call(self, method, request, timeout=ATTEMPT_S):
        return self.call_with_head(method, request, timeout)[0]

    def call_with_head(self, method, request, timeout=ATTEMPT_S):
        """The answer, and its initial metadata."""
        answer, call = getattr(self.metadata, method).with_call(request, timeout=timeout)
        return answer, call.initial_metadata()

    def refusal(self, method, request):
        """The status of a call that must fail."""
        try:
            answer = self.call(method, request)
        except grpc.RpcError as failed:
            return failed
        raise AssertionError(f"{method} at {self.address} was answered: {answer}")

    def close(self):
        self.channel.close()


class Numbers:
    """N2, N6, N7: numbers that are open, and below which one all are closed."""

    SPAN_MAX = 4096

    def __init__(self):
        self._next, self._open, self._changed = 1, set(), threading.Condition()

    def open(self):
        with self._changed:
            self._changed.wait_for(lambda: not self._open or self._next - min(self._open) < self.SPAN_MAX)
            number, self._next = self._next, self._next + 1
            self._open.add(number)
            return number, min(self._open)

    def go_on_above(self, number):
        """N9"""
        with self._changed:
            self._next = max(self._next, number + 1)

    def close(self, number):
        with self._changed:
            self._open.discard(number)
            self._changed.notify_all()


class Way:
    """C1, C2, C6: where the primary is thought to be. Shared by the threads of a client."""

    def __init__(self, addresses):
        self.addresses, self.epoch_seen, self.history = list(addresses), 0, None
        # Asked since a member of another history was met; None: none was met since our own has answered.
        self._asked = None
        self._at, self._excursion, self._lock = 0, None, threading.Lock()

    def target(self):
        with self._lock:
            return self._excursion or self.addresses[self._at % len(self.addresses)]

    def on_answer(self, epoch):
        """False: it is of an epoch that is over, and does not count."""
        with self._lock:
            if epoch < self.epoch_seen:
                return False
            self.epoch_seen = epoch
            if self._excursion:
                self._stay(self._excursion)
            return True

    def meets(self, asked, history):
        """False: it is of another history than this client's, and what it says does not count."""
        with self._lock:
            if history is None:
                return True
            self.history = self.history or history
            if history == self.history:
                self._asked = None
                return True
            self._asked = (self._asked or set()) | {asked}
            if not self._asked.issuperset(self.addresses):
                return False
            self.history, self.epoch_seen, self._asked = history, 0, None
            return True

    def begin_at(self, address):
        """Asked first from here on, until it fails."""
        with self._lock:
            self._stay(address)

    def _stay(self, address):
        if address not in self.addresses:
            self.addresses.append(address)
        self._at, self._excursion = self.addresses.index(address), None

    def on_failure(self, asked):
        with self._lock:
            if self._asked is not None:
                self._asked.add(asked)
            if asked == self._excursion:
                self._excursion = None
            if asked == self.addresses[self._at % len(self.addresses)]:
                self._at += 1

    def on_redirect(self, asked, address, epoch):
        """True: it is followed."""
        self.on_failure(asked)
        with self._lock:
            follows = bool(address) and epoch >= self.epoch_seen
            self.epoch_seen = max(self.epoch_seen, epoch)
            self._excursion = address if follows else None
            return follows


class Client:
    def __init__(self, addresses):
        # N1
        self.id = secrets.token_bytes(16)
        self.way, self.numbers = Way(addresses), Numbers()
        self._wires, self._lock = {}, threading.Lock()

    def caller(self, number=0, answered_below=0, tenant=""):
        return common_pb2.Caller(
            client_id=self.id, request_number=number, answered_below=answered_below, tenant=tenant
        )

    def wire(self, address):
        with self._lock:
            if address not in self._wires:
                self._wires[address] = Wire(address)
            return self._wires[address]

    def change(self, method, request, deadline_s=20.0, tenant=""):
        """A call that changes something: under a number of its own, however many attempts it takes."""
        number, below = self.numbers.open()
        try:
            request.caller.CopyFrom(self.caller(number, below, tenant))
            return self.call(method, request, deadline_s)
        finally:
            self.numbers.close(number)

    def call(self, method, request, deadline_s=20.0):
        """E4, E5: the same bytes until there is an answer."""
        until, seen = time.monotonic() + deadline_s, "nothing"
        while time.monotonic() < until:
            address = self.way.target()
            try:
                answer, head = self.wire(address).call_with_head(method, request)
            except grpc.RpcError as failed:
                seen = f"{failed.code().name} of {address}: {failed.details()}"
                self._on_failure(address, failed)
                continue
            history = history_in(head)
            if self.way.meets(address, history) and self.way.on_answer(answer.position.epoch):
                return answer
            seen = f"an answer of epoch {answer.position.epoch} of {address}, of history {history}"
            self.way.on_failure(address)
        raise TimeoutError(f"{method}: no answer within {deadline_s} s; seen last: {seen}")

    def _on_failure(self, address, failed):
        """Comes back where another attempt is worth it."""
        if not self.way.meets(address, history_in(failed.trailing_metadata())):
            self.way.on_failure(address)
            return
        error = call_error(failed)
        if error is None and failed.code() in NOTHING_RAN:
            raise Refused(error, failed.code())
        why = reason(error) if error else OUTCOME_UNKNOWN
        if why == NOT_PRIMARY:
            if not self.way.on_redirect(address, error.primary_address, error.epoch):
                time.sleep(0.005)
        elif why == "OVERLOADED":
            time.sleep(error.retry_after_ms / 1000)
        elif why in ("SHUTTING_DOWN", OUTCOME_UNKNOWN):
            self.way.on_failure(address)
            time.sleep(0.005)
        else:
            raise Refused(error, failed.code())

    def close(self):
        for wire in self._wires.values():
            wire.close()
