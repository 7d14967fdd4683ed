"""The list of the version lock: blocks of ours among the lines of others."""

import os
import re

from .base import OperationError
from .files import MAX_FILE, current, write

CONFIGURATION = "/etc/dnf/plugins/versionlock.conf"
LIST = "/etc/dnf/plugins/versionlock.list"
BEGIN = "# gpuprep: %s"
END = "# gpuprep: end of %s"


def path():
    """Return where the list is; a link to it stays one."""
    text = (current(CONFIGURATION)[0] or b"").decode("utf-8", "replace")
    named = re.search(r"^\s*locklist\s*=\s*(/\S+)", text, re.M)
    return os.path.realpath(named.group(1) if named else LIST)


def _text():
    data = current(path())[0]
    if data is None and os.path.lexists(path()):
        raise OperationError(
            "E_FILE",
            "%s is no file of at most %d bytes, so its lines, which others may need, cannot be kept"
            % (path(), MAX_FILE),
        )
    return (data or b"").decode("utf-8", "surrogateescape").splitlines()


def block(owner):
    """Return the lines of an owner's block."""
    return _divided(owner)[1]


def _divided(owner):
    """Return the lines outside and inside of an owner's block, and where that is or would be."""
    outside, inside, within, place = [], [], False, None
    for line in _text():
        if line.strip() == BEGIN % owner:
            within, place = True, len(outside)
        elif line.strip() == END % owner:
            within = False
        else:
            (inside if within else outside).append(line)
    return outside, inside, len(outside) if place is None else place


def put(owner, wanted):
    """Make these lines the owner's block, where it is; without any, it goes. Others' lines stay."""
    outside, _, place = _divided(owner)
    ours = [BEGIN % owner, *wanted, END % owner] if wanted else []
    data = "".join(line + "\n" for line in [*outside[:place], *ours, *outside[place:]])
    write(path(), data.encode("utf-8", "surrogateescape"), 0o644, (0, 0))


def stands_for(owner, wanted):
    """Return whether an owner's block is there and is another than is wanted."""
    there = block(owner)
    return bool(there) and there != list(wanted)


def at_version(line, version):
    """Return a line that leaves any version of a branch as one that leaves a version of it.

    Others are returned as they are, and so is that of a branch that the version is not of.
    """
    form = re.match(r"^(.+-\d+:)([\d.]+\.)\*$", line)
    return form.group(1) + version if form and version.startswith(form.group(2)) else line


def line_of(name, version):
    """Return the line that locks a package at a version, for every architecture."""
    return "%s-%s.*" % (name, version if ":" in version else "0:" + version)
