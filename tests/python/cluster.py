"""A pair of real members, on ports that were handed in.

Each process ends with this one: its standard input is a pipe from here.
"""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

PATIENCE_S = 30
# Short, so that a time-out is over in seconds, and long enough for a machine that is busy. The page has the
# defaults. A put has longer than a silent client, so that a put that is gone shows which of the two it was.
SETTINGS = {
    "found_after_ms": 200,
    # The rules move the place as often as they like.
    "transfer_pause_ms": 0,
    "tenure_ms": 1000,
    "client_ttl_ms": 2000,
    "object_lease_ms": 800,
    "put_start_timeout_ms": 3000,
    "put_release_timeout_ms": 1000,
    "task_timeout_ms": 2000,
    "finished_tasks_max": 1000,
    "pattern_ms_max": 50,
    "tenants_max": 6,
}


class Member:
    def __init__(self, server, name, ports, directory):
        self.name = name
        self.address, self.peer, self.admin = (f"127.0.0.1:{port}" for port in ports)
        self.log = os.path.join(directory, f"{name}.log")
        flags = {
            "node-name": name,
            "listen": self.address,
            "peer-listen": self.peer,
            "admin-listen": self.admin,
            "coordinator": f"file:{directory}/coordinator",
            **{setting.replace("_", "-"): value for setting, value in SETTINGS.items()},
        }
        self._command = [server, "serve", "--until-stdin-ends"]
        self._command += [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
        self._process = None

    def start(self):
        # A member reads its settings from the environment, too.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("UNDERSTUDY_")
        }
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
            )

    def kill(self):
        """kill -9, and gone."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()

    def stand_still(self):
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def ask_to_stop(self):
        self._process.terminate()

    def wait_for_end(self):
        code = self._process.wait(PATIENCE_S)
        self._process.stdin.close()
        return code

    def is_running(self):
        return self._process is not None and self._process.poll() is None

    def is_up(self):
        """It serves or follows; one that has ended says why in its log."""
        if not self.is_running():
            with open(self.log, encoding="utf-8") as log:
                raise RuntimeError(f"{self.name} has ended: {log.read().strip()}")
        return self.ready()[0] == 200

    def ready(self):
        """What /readyz says: the HTTP status, and the word or the reason."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}/readyz", timeout=5) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode().strip()
        except OSError as gone:
            return None, str(gone)


class Cluster:
    def __init__(self, server, ports, directory):
        halves, self.free_port = (ports[:3], ports[3:6]), ports[6]
        self.members = [Member(server, name, three, directory) for name, three in zip("ab", halves)]

    def start(self):
        for member in self.members:
            member.start()
            wait_until(lambda: member.is_up(), f"{member.name} is ready", member.ready)

    def addresses(self):
        return [member.address for member in self.members]

    def primary(self):
        return self._which("primary")

    def standby(self):
        return self._which("standby")

    def _which(self, role):
        def found():
            return next((m for m in self.members if m.is_running() and m.ready() == (200, role)), None)

        return wait_until(
            found, f"a member is the {role}", lambda: [(m.name, m.ready()) for m in self.members]
        )

    def end(self):
        for member in self.members:
            if member.is_running():
                member.kill()


def wait_until(holds, what, seen=lambda: "nothing", patience_s=PATIENCE_S):
    """What `holds` says once it is true."""
    until = time.monotonic() + patience_s
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > until:
            raise TimeoutError(f"not within {patience_s} s: {what}; seen last: {seen()}")
        time.sleep(0.01)
