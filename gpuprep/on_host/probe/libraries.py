"""Versions of the CUDA driver library and the fabric manager, asked from themselves."""

import ctypes
import os
import re

from . import base, nvml


def cuda_driver(library):
    """Load libcuda and ask which CUDA it supports; makes no context. Runs in a child process."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError as error:
        return {"error": str(error), "missing": True}
    version = ctypes.c_int()
    answer = {"library": nvml.loaded_path(library)}
    status = cuda.cuDriverGetVersion(ctypes.byref(version))
    if status:
        answer["error"] = "cuDriverGetVersion: %d" % status
    else:
        answer["version"] = version.value
    return answer


def fabric_manager(seconds, path="/usr/bin/nv-fabricmanager"):
    """Ask the fabric manager for its version; None where there is none."""
    if not os.path.exists(path):
        return None
    answer = base.command([path, "--version"], seconds)
    found = re.search(r"\d{3}\.\d+(\.\d+)?", answer["output"])
    return {"version": found.group(0) if found else None, "command": answer}


def modules_by_kernel(root="/lib/modules"):
    """Names of NVIDIA modules that modprobe would find, by kernel release."""
    found = {}
    try:
        releases = os.listdir(root)
    except OSError:
        return found
    for release in releases:
        text = base.read_text("%s/%s/modules.dep" % (root, release), limit=1 << 23) or ""
        names = set(re.findall(r"(nvidia[\w-]*)\.ko[.\w]*:", text))
        if names:
            found[release] = sorted(names)
    return found
