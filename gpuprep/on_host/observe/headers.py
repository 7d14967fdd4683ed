"""What a kernel's headers show: which interfaces for modules are in their old or new form."""

import os
import re

from .base import read

HEADER_LIMIT = 1 << 20  # bytes; the largest header that is looked into has some 160 KiB
# Where a distribution splits the tree: the common part, and the part of one configuration.
TREES = ("source", "build")
WITNESS = "include/linux/module.h"  # every tree that modules are built against has it
NUMBER = "include/generated/uapi/linux/version.h"


def look(release, changes, base="/lib/modules/"):
    """Return what the headers of a kernel show; None when they are not there.

    changes: by name, the file to look into and the patterns of its old and new form.
    """
    trees = ["%s%s/%s/" % (base, release, tree) for tree in TREES]
    if not _text(trees, WITNESS):
        return None
    texts = {path: _text(trees, path) for path in {c["file"] for c in changes.values()}}
    found = {}
    for name, change in changes.items():
        text = texts[change["file"]]
        if text is not None:
            shown = _is_changed(text, change["unchanged"], change.get("changed"))
            if shown is not None:
                found[name] = shown
    return {"version": _version(_text(trees, NUMBER) or ""), "changes": found}


def _text(trees, path):
    """Return a header; empty when there is none, None when it cannot be read as a whole."""
    for tree in trees:
        if os.path.exists(tree + path):
            text = read(tree + path, HEADER_LIMIT)
            return text if 0 < len(text) < HEADER_LIMIT else None
    return ""


def _is_changed(text, old, new):
    """Return whether a header has a change; None when it has neither form.

    A kernel on its way that has both still takes the old one.
    """
    if re.search(old, text):
        return False
    if new is None or re.search(new, text):
        return True
    return None


def _version(text):
    """Return the upstream version that the tree is based on: a release's name may hide it."""
    code = re.search(r"^#define LINUX_VERSION_CODE (\d{1,9})$", text, re.M)
    if not code:
        return None
    number = int(code.group(1))
    return "%d.%d.%d" % (number >> 16, number >> 8 & 255, number & 255)
