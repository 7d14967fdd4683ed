"""A lease on the host, so that two runs do not work on it at once."""

import fcntl
import json
import os
import time

from . import files, folders
from .base import done

NAME = "lease.json"
GUARD = "lease.lock"  # serialises takers on this host
DAY = 24 * 3600


def current(path):
    """Return the lease that is there; None when there is none or it is no lease."""
    data = files.current(path)[0]
    try:
        lease = json.loads((data or b"").decode("utf-8"))
        run, holder, expires = lease["run"], lease["holder"], lease["expires"]
    except (ValueError, KeyError, TypeError):
        return None
    # The clock may have been wrong when it was taken.
    if not isinstance(expires, (int, float)) or expires > time.time() + DAY:
        return None
    return {"run": run, "holder": holder, "expires": expires}


def lease(operation, context):
    """Take the lease, or give it back; who has it instead is ``held_by``."""
    if context.check:
        return done("nothing is to be changed, so nothing is locked")
    directory = folders.run_directory()
    path = os.path.join(directory, NAME)
    with open(os.path.join(directory, GUARD), "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        held = current(path)
        mine = held is not None and held["run"] == operation["run"]
        if operation["state"] == "absent":
            if mine:
                files.keep_replaced()  # no later run takes back what this one leaves
                os.unlink(path)
            return done("gave the lease back" if mine else "had no lease")
        stale = held is None or held["expires"] < time.time()
        if not (mine or stale or held["run"] == operation.get("take_over")):
            return dict(done("held by %s" % held["holder"]), held_by=held)
        new = {
            "run": operation["run"],
            "holder": operation["holder"],
            "expires": time.time() + operation["seconds"],
        }
        data = json.dumps(new).encode("utf-8")
        files.write(path, data, 0o600, (os.geteuid(), os.getegid()))
    return done("holds the lease")
