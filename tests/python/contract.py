"""Follows docs/clients.md, rule by rule, against a pair of real members, and prints a line for each rule.

`./x test python` runs it: that brings the packages of requirements.txt into target/python, builds the server,
takes free ports and hands them in. It ends with 0, or with 1 at the first rule that is not kept: then it says
what was promised and what was seen, and the members' logs stay.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PORTS = 7


def arguments():
    parser = argparse.ArgumentParser(description="Follows docs/clients.md against a pair of members.")
    parser.add_argument("--server", required=True, help="the program `understudy`")
    parser.add_argument("--ports", required=True, help=f"{PORTS} free ports, with commas between them")
    parsed = parser.parse_args()
    parsed.ports = [int(port) for port in parsed.ports.split(",")]
    if len(parsed.ports) != PORTS:
        parser.error(f"--ports: {len(parsed.ports)} ports, {PORTS} are needed")
    return parsed


def make_stubs(directory):
    """The page's .proto files, as Python."""
    import grpc_tools
    from grpc_tools import protoc

    protos = os.path.join(ROOT, "proto", "proto")
    # descriptor.proto, which our options extend.
    standard = os.path.join(os.path.dirname(grpc_tools.__file__), "_proto")
    files = [
        os.path.join("understudy", "v1", name)
        for name in ("options.proto", "common.proto", "metadata.proto", "replication.proto", "admin.proto")
    ]
    into = [f"--python_out={directory}", f"--grpc_python_out={directory}"]
    if protoc.main(["protoc", f"-I{protos}", f"-I{standard}", *into, *files]) != 0:
        raise SystemExit("the .proto files cannot be compiled")
    sys.path.insert(0, directory)


def main():
    asked, began = arguments(), time.monotonic()
    directory = tempfile.mkdtemp(prefix="understudy-contract-")
    make_stubs(directory)

    # These need the stubs.
    import page
    from cluster import Cluster
    from world import World
    import rules_bounds, rules_calls, rules_failover, rules_lists, rules_numbers  # noqa: F401, E401
    import rules_objects, rules_removals, rules_segments, rules_transfers  # noqa: F401, E401

    cluster = Cluster(asked.server, asked.ports, directory)
    kept = False
    try:
        rules = page.read(os.path.join(ROOT, "docs", "clients.md"))
        cluster.start()
        world = World(cluster)
        kept = page.follow(rules, world)
        world.close()
    finally:
        cluster.end()
        if kept:
            shutil.rmtree(directory)
            print(f"{len(rules)} rules of docs/clients.md were followed in {time.monotonic() - began:.1f} s")
        else:
            print(f"the members' logs are in {directory}", file=sys.stderr)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
