"""The rules of docs/clients.md, and their tests.

A rule begins with its label: `- **N4.** A number belongs to one request. …`. Each has exactly one test, which
says what it saw where that is something else. So neither the page nor this client says more than the other.
"""

import re
import time

_RULE = re.compile(r"^- \*\*([A-Z]\d+)\.\*\* (.*)$")
_tests = {}


class Broken(Exception):
    """A promise of the page was not kept; says what was seen."""


def rule(label):
    """Marks the test of a rule."""

    def mark(test):
        if label in _tests:
            raise Broken(f"rule {label} has two tests")
        _tests[label] = test
        return test

    return mark


def expect(holds, seen):
    if not holds:
        raise Broken(str(seen))


def expect_equal(seen, promised, what):
    expect(seen == promised, f"{what}: {seen!r}, and not {promised!r}")


def read(path):
    """Labels with what they promise, in the order of the page."""
    rules, label = {}, None
    with open(path, encoding="utf-8") as page:
        for line in page:
            begins = _RULE.match(line)
            if begins:
                label = begins.group(1)
                expect(label not in rules, f"the page has the label {label} twice")
                rules[label] = begins.group(2).strip()
            elif label and line.startswith("  ") and not line.lstrip().startswith("|"):
                rules[label] = f"{rules[label]} {line.strip()}".strip()
            elif line.strip():
                label = None
    return rules


def follow(rules, world):
    """Runs the tests in the order of the page. False: one has failed, and was told of."""
    untested, unknown = rules.keys() - _tests.keys(), _tests.keys() - rules.keys()
    expect(not untested, f"rules of the page without a test: {sorted(untested)}")
    expect(not unknown, f"tests of rules that the page does not have: {sorted(unknown)}")
    for label, promise in rules.items():
        began = time.monotonic()
        try:
            _tests[label](world)
        except Exception as seen:  # noqa: BLE001 (whatever it is, it is not what was promised)
            print(
                f"{label:<4} BROKEN\n  promised: {promise}\n  seen:     {type(seen).__name__}: {seen}",
                flush=True,
            )
            return False
        print(f"{label:<4} ok {time.monotonic() - began:6.2f} s  {_shortened(promise)}", flush=True)
    return True


def _shortened(promise):
    first = re.split(r"(?<=[.:]) ", promise)[0]
    return first if len(first) <= 100 else first[:97] + "..."
