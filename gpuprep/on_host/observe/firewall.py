"""What the host's packet filter does with what comes in."""

import re

from .base import output

OPEN = re.compile(r"-A INPUT -j ACCEPT$")
CLOSED = re.compile(r"-A INPUT(?: -m comment --comment \S+)? -j (?:REJECT|DROP)\b(?!.* -[sdip] )")
# A rule that lets everything from a network in, in INPUT or in a chain that it leads to.
FROM_NETWORK = re.compile(
    r"-A (?!OUTPUT |FORWARD )\S+ (?!.*--dports? )(?:.* )?-s ([0-9a-fA-F.:/]+) .*-j ACCEPT$"
)


def incoming():
    """Return which rule closes the host, and for which networks it is open; None = not known.

    ``rule`` is None where nothing that comes in is rejected.
    """
    text = output(["iptables-save", "-t", "filter"])
    return read_rules(text) if "*filter" in text else None


def read_rules(text):
    """Return the same of what ``iptables-save`` printed."""
    lines = [line.strip() for line in text.splitlines()]
    verdicts = [n for n, line in enumerate(lines) if OPEN.match(line) or CLOSED.match(line)]
    rule, last = None, len(lines)
    if verdicts:
        last = verdicts[0]
        rule = lines[last] if CLOSED.match(lines[last]) else None
    elif any(line.startswith(":INPUT DROP") for line in lines):
        rule = "policy DROP of INPUT"
    # What comes behind the verdict in the same chain is never reached.
    read = lines[:last] + [line for line in lines[last:] if not line.startswith("-A INPUT ")]
    networks = sorted({found.group(1) for found in map(FROM_NETWORK.match, read) if found})
    return {"rule": rule, "accepts": networks}
