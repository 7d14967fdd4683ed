"""The table that dnf shows before a transaction."""

import re
from typing import NamedTuple

from .base import Preview

INSTALLS = re.compile(r"^(Installing|Upgrading|Downgrading|Reinstalling)\b.*:$")
REMOVES = re.compile(r"^Removing\b.*:$")
VERSION = re.compile(r"^(\d+:)?[\w.+~^]+-[\w.+~^]+$")


NOTHING = Preview(ok=True, missing=False, installs={}, removes=[], pending=[], text="")


class Table(NamedTuple):
    """Packages that a transaction brings, name to version, and those that it takes away."""

    installs: dict
    removes: list


def _whole_rows(text):
    """Return headings and rows; a row that is too long for the screen goes on in the next line."""
    rows = []
    for line in text.splitlines():
        if line.startswith("  ") and rows and rows[-1].startswith(" "):
            rows[-1] += line
        else:
            rows.append(line)
    return rows


def read(text):
    """Return what the table says."""
    found = Table({}, [])
    section = None
    for row in _whole_rows(text):
        if not row.startswith(" "):
            section = "in" if INSTALLS.match(row) else "out" if REMOVES.match(row) else None
            continue
        words = row.split()
        if section is None or len(words) < 4 or not VERSION.match(words[2]):
            continue
        if section == "in":
            found.installs[words[0]] = words[2]
        else:
            found.removes.append(words[0])
    return found
