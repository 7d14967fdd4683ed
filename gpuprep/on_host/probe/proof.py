"""The record that the full tier leaves on the host, so that the quick tier need not repeat it.

It says which programs ran, in which boot and under which driver. It is worth nothing once one of
these has changed; the evaluation decides that. Only root can write it.
"""

import json
import os
import time

from . import base

PATH = "/var/lib/gpuprep/proof.json"
KEPT = ("programs", "frameworks")


def identity(answers):
    """Return what a proof holds for: this boot, this module, these GPUs."""
    gpus = answers.get("nvml", {}).get("gpus") or []
    return {
        "boot_id": (base.read_text("/proc/sys/kernel/random/boot_id") or "").strip(),
        "module": module_version(),
        "gpus": sorted(str(gpu.get("uuid")) for gpu in gpus),
    }


def module_version():
    """Return the version of the loaded module, None without one."""
    text = base.read_text("/sys/module/nvidia/version")
    return text.strip() if text else None


def read(path=PATH):
    """Return the record of the last full run, None when there is none."""
    text = base.read_text(path, limit=1 << 20)
    if text is None:
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def write(answers, before, path=PATH):
    """Store this run's record; gives the reason when it could not be stored."""
    record = dict(identity(answers), at=int(time.time()), tier=answers["tier"])
    record["mig"] = mig_layout(answers)
    for key in KEPT:
        if key in answers:
            record[key] = answers[key]
    record["earlier_boot"] = _earlier_boot(record, before)
    temporary = "%s.%d" % (path, os.getpid())
    try:
        if not os.path.isdir(os.path.dirname(path)):
            os.makedirs(os.path.dirname(path), 0o755)
        with open(temporary, "w") as stream:
            json.dump(record, stream)
        os.rename(temporary, path)
    except OSError as error:
        return str(error)
    return None


def _earlier_boot(record, before):
    """Return the last other boot in which the same driver was proven."""
    if not before or before.get("module") != record["module"]:
        return None
    if before.get("boot_id") != record["boot_id"]:
        return before.get("boot_id")
    return before.get("earlier_boot")


def mig_layout(answers):
    """Return the MIG instances per GPU; empty when no GPU is in MIG mode."""
    gpus = answers.get("nvml", {}).get("gpus") or []
    return {
        str(gpu.get("uuid")): sorted(gpu["mig"]["instances"])
        for gpu in gpus
        if gpu.get("mig", {}).get("on")
    }
