"""Files and repository keys."""

import grp
import hashlib
import os
import pwd
import stat

from .. import labels, openpgp
from .base import open_to_read

HASH_LIMIT = 1 << 20  # bytes; managed files are small


def describe(path):
    """Return kind, mode, owner and hash or link target of a path; None when it is absent."""
    try:
        info = os.lstat(path)
        facts = {"mode": "%04o" % stat.S_IMODE(info.st_mode)}
        facts.update(_owners(info))
        wrong = labels.wrong(path, info)
        if wrong:
            facts["wrong_label"] = wrong_label(wrong)
        if stat.S_ISLNK(info.st_mode):
            facts.update(kind="link", target=os.readlink(path))
        elif stat.S_ISDIR(info.st_mode):
            facts.update(kind="directory")
        elif not stat.S_ISREG(info.st_mode):
            facts.update(kind="special")
        else:
            facts.update(kind="file")
            if info.st_size <= HASH_LIMIT:
                with open_to_read(path) as handle:
                    facts["sha256"] = hashlib.sha256(handle.read() or b"").hexdigest()
    except OSError:
        return None
    return facts


def wrong_label(pair):
    """Return a label and the policy's as the answer has them."""
    return {"label": pair[0], "wanted": pair[1]}


def _owners(info):
    try:
        owner, group = pwd.getpwuid(info.st_uid).pw_name, grp.getgrgid(info.st_gid).gr_name
    except KeyError:
        owner, group = str(info.st_uid), str(info.st_gid)
    return {"owner": owner, "group": group}


def key_fingerprints(paths):
    """Return the fingerprints of the primary keys in each key file that can be read."""
    found = {}
    for path in paths:
        try:
            with open_to_read(path) as handle:
                found[path] = openpgp.fingerprints(handle.read(HASH_LIMIT) or b"")
        except (OSError, ValueError):
            continue
    return found
