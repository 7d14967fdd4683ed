"""Distribution, compiler, disk space, programs, Secure Boot."""

import glob
import json
import os
import re

from .base import open_to_read, output, read
from .services import properties

# Of cloud-init: inactive before it, activating in it.
LAST_STAGE = ("ActiveState", ["cloud-final.service"])
PROGRAM_FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin")


def os_release():
    """Return the fields of os-release by name."""
    found = {}
    for line in (read("/etc/os-release") or read("/usr/lib/os-release")).splitlines():
        key, _, value = line.partition("=")
        found[key.strip()] = value.strip().strip("\"'")
    return found


def machine():
    """Return what tells this machine, with its name and boot, from copies and containers.

    A copy of a disk has the same id but other hardware and another boot; a container has both of
    the machine that it runs on, but sees processes of its own.
    """
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return {
        "id": read("/etc/machine-id").strip(),
        "processes": processes,
        "hardware": read("/sys/class/dmi/id/product_uuid").strip(),
    }


def distribution(fields):
    """Return id, version, codename and pretty name of the distribution."""
    return {
        "id": fields.get("ID", ""),
        "version_id": fields.get("VERSION_ID", ""),
        "codename": fields.get("VERSION_CODENAME", ""),
        "pretty": fields.get("PRETTY_NAME", ""),
    }


def system_gcc():
    """Return the major version of the default gcc, by its name; None without gcc."""
    link = os.path.realpath("/usr/bin/gcc")
    found = re.search(r"gcc-(\d+)$", link)
    if found:
        return int(found.group(1))
    if not os.path.exists(link):
        return None
    text = output(["gcc", "-dumpversion"])
    return int(text.split(".")[0]) if text[:1].isdigit() else None


def secure_boot(key_files):
    """Return whether Secure Boot is on, and whether a key that modules are signed with is enrolled.

    key_files: where the host may keep the public half of that key.
    """
    enabled = any(
        _bytes(path)[-1:] == b"\x01" for path in glob.glob("/sys/firmware/efi/efivars/SecureBoot-*")
    )
    tables = [_bytes(path) for path in glob.glob("/sys/firmware/efi/efivars/MokListRT-*")]
    keys = [key for key in map(_bytes, key_files) if key]
    return enabled, any(key in table for key in keys for table in tables)


def first_boot(folder="/run/cloud-init"):
    """Return what cloud-init is doing at a first boot that has not ended; None = nothing.

    None also for what cloud-init itself has started: it would wait for its own end.
    """
    try:
        told = json.loads(read(folder + "/status.json")).get("v1") or {}
    except (ValueError, AttributeError):
        return None
    # The result is written at the end of the last stage; between two of them no stage is named.
    if os.path.exists(folder + "/result.json") or _is_of("cloud-init"):
        return None
    if any(facts.get("ActiveState") in ("active", "failed") for facts in properties(*LAST_STAGE)):
        return None  # it broke, and nothing will write a result
    stage = told.get("stage") if isinstance(told, dict) else None
    return str(stage or "between two stages")


def _is_of(command):
    """Return whether a program is among those that led to this process."""
    pid = os.getpid()
    while pid > 1:
        status = read("/proc/%d/status" % pid)
        name = re.search(r"^Name:\s*(\S+)", status, re.M)
        parent = re.search(r"^PPid:\s*(\d+)", status, re.M)
        if name and name.group(1) == command:
            return True
        pid = int(parent.group(1)) if parent else 0
    return False


def _bytes(path):
    try:
        with open_to_read(path) as handle:
            return handle.read(1 << 20) or b""
    except OSError:
        return b""


def space(path):
    """Return free MiB for ordinary writers where a path is or would be, and on which device."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    info = os.statvfs(path)
    free = info.f_bavail * info.f_frsize >> 20
    return {"free_mb": free, "device": os.stat(path).st_dev}


def memory_mb():
    """Return MiB of memory; None where the kernel does not tell."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) >> 10 if found else None


def commands(names):
    """Return which programs there are."""
    return {
        name: any(os.access(os.path.join(folder, name), os.X_OK) for folder in PROGRAM_FOLDERS)
        for name in names
    }
