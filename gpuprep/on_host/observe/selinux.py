"""SELinux: whether it is on, and what it has denied to the driver's programs since the boot."""

import re

from .. import labels
from .base import open_to_read, read
from .family import FAMILIES

LOG = "/var/log/audit/audit.log"
TAIL = 1 << 18  # bytes of it
MOST = 10  # kinds of denials that are told
DENIED = re.compile(
    r"^type=(?:AVC|USER_AVC) msg=audit\((?P<time>\d+)\.\d+:\d+\):.*?avc: +denied +"
    r"\{ (?P<what>[\w ]+) \} for +(?P<rest>.*)"
)
FIELD = re.compile(r"(\w+)=(\"[^\"]*\"|\S+)")
OURS = re.compile(r"nvidia|^(?:nv-|nvlsm)|\bconda\b")
# Of names of processes the kernel keeps 15 characters.
_BUILDER = FAMILIES["deb"].MODULE_BUILDER
_OWN = [name for backend in FAMILIES.values() for name in backend.INITRAMFS_MAKERS]
MODULES = re.compile(r"^(?:modprobe|insmod|kmod|%s)" % _BUILDER)  # they bring the driver's module
MAKERS = re.compile(r"^(?:depmod|%s)" % "|".join(_OWN))  # they make the initramfs
# The directories in which an initramfs is made, and what modprobe reads to tell what belongs there.
MADE = re.compile(r"(?:^|/)(?:%s)[._-]|(?:^|/)modules\.(?:dep|alias|builtin)\b" % "|".join(_OWN))


def selinux(prefix):
    """Return mode, policy, the context we run in, and denials; of conda's those at a prefix."""
    mode = labels.mode()
    if mode == "disabled":
        return {"mode": mode}
    return {
        "mode": mode,
        "policy": labels.policy_name(),
        "context": labels.own_context(),
        "denials": denials(_tail(LOG), _boot_time(), prefix),
    }


def _boot_time():
    found = re.search(r"^btime (\d+)$", read("/proc/stat", 1 << 22), re.M)
    return int(found.group(1)) if found else 0


def _tail(path):
    try:
        with open_to_read(path) as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - TAIL))
            return (handle.read(TAIL) or b"").decode("utf-8", "replace")
    except OSError:
        return ""


def denials(text, since, prefix):
    """Return what an audit log says was denied to programs of the driver, or at a prefix.

    Args:
        text: lines of the log.
        since: seconds since 1970; what is older is passed over.
        prefix: of conda, or None.

    """
    found = {}
    for line in text.splitlines():
        match = DENIED.match(line)
        if not match or int(match.group("time")) < since:
            continue
        fields = {name: value.strip('"') for name, value in FIELD.findall(match.group("rest"))}
        program = fields.get("comm", "")
        target = fields.get("path") or fields.get("name") or fields.get("tcontext", "")
        at_prefix = bool(prefix) and (target + "/").startswith(prefix.rstrip("/") + "/")
        if not at_prefix and not _is_ours(program, target):
            continue
        key = (program, match.group("what"), fields.get("tclass", ""), target)
        found[key] = found.get(key, 0) + 1
    names = ("program", "permission", "kind", "target")
    told = [
        dict(zip(names, key), count=count, initramfs=_of_initramfs(key[0], key[3]))
        for key, count in sorted(found.items())
    ]
    return sorted(told, key=lambda denial: not denial["initramfs"])[:MOST]


def _is_ours(program, target):
    found = OURS.search(program) or OURS.search(target) or MODULES.match(program)
    return bool(found) or _of_initramfs(program, target)


def _of_initramfs(program, target):
    """Return whether an initramfs may lack something for this denial."""
    if MAKERS.match(program):
        return True
    return bool(MADE.search(target))
