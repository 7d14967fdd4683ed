"""Jobs of workloads: what their runners say of them. Nothing is looked for where there are none."""

import json
import os
import pwd
import stat

from .base import read
from .services import properties

BASE = "/opt/gpuprep/faceswap"
UNIT = "gpuprep-faceswap@%s.service"
MOST_JOBS = 64
MOST_BYTES = 1 << 16  # of a status; ours have less than one KiB
MOST_TEXT = 300
KEYS = (
    *("state", "step", "message", "iteration", "iteration_reached", "target", "rate", "losses"),
    *("frames", "updated"),
)


def users_status(path, uid):
    """Return the status that a job's user wrote, {} without one: only plain values of known keys.

    A link, or a file of somebody else's, is none: the user must not read by way of root.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    with os.fdopen(handle, "rb") as stream:
        info = os.fstat(stream.fileno())
        if not stat.S_ISREG(info.st_mode) or info.st_uid != uid:
            return {}
        text = stream.read(MOST_BYTES)
    try:
        said = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    found = {key: plain(said.get(key)) for key in KEYS}
    gpu = said.get("gpu")
    used = gpu.get("utilization") if isinstance(gpu, dict) else None
    found["gpu"] = {"utilization": plain(used)} if isinstance(used, list) else None
    return found


def plain(value):
    """Return a value if it is plain, a text cut short; None for anything else."""
    if isinstance(value, list):
        return [plain(one) for one in value[:MOST_JOBS] if not isinstance(one, list)]
    if isinstance(value, str):
        return value[:MOST_TEXT]
    return value if isinstance(value, (int, float)) else None


def units(names):
    """Return the state and result of each job's unit."""
    return dict(zip(names, properties("ActiveState,Result", [UNIT % name for name in names])))


def jobs():
    """Return unit and status of each job, by name."""
    folder = BASE + "/jobs"
    if not os.path.isdir(folder):
        return {}
    try:
        record = json.loads(read(BASE + "/installed.json"))
        uid, root = pwd.getpwnam(record["user"]).pw_uid, record["root"]
        names = sorted(os.listdir(folder))[:MOST_JOBS]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    states = units(names)
    return {
        name: {
            "unit": states.get(name, {}),
            "status": users_status("%s/jobs/%s/status.json" % (root, name), uid),
        }
        for name in names
    }
