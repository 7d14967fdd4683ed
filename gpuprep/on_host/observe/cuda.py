"""CUDA toolkits, the default link, cuDNN."""

import glob
import json
import os
import re

from .base import read


def alternative(folder, name):
    """Return mode and value of a link group; ``folder`` holds the state of link groups."""
    mode = read(os.path.join(folder, name)).split("\n", 1)[0] or None
    try:
        value = os.readlink("/etc/alternatives/" + name)
    except OSError:
        value = None
    return {"mode": mode, "value": value}


def cuda(alternatives):
    """Return the toolkits under /usr/local and where the default link leads.

    alternatives: directory in which the family keeps the state of link groups.
    """
    toolkits = []
    for path in sorted(glob.glob("/usr/local/cuda-[0-9]*.[0-9]*")):
        text = read(path + "/version.json")
        try:
            version = json.loads(text)["cuda"]["version"]
        except (ValueError, KeyError, TypeError, RecursionError):
            version = None
        toolkits.append(
            {
                "path": path,
                "version": str(version) if version else None,
                "nvcc": os.path.exists(path + "/bin/nvcc"),
            }
        )
    link = "/usr/local/cuda"
    return {
        "toolkits": toolkits,
        "default": os.path.realpath(link) if os.path.exists(link) else None,
        "alternative": alternative(alternatives, "cuda"),
    }


def cudnn():
    """Return the version in the header and in the names of the installed libraries."""
    header = None
    for path in glob.glob("/usr/include/cudnn_version*.h") + glob.glob(
        "/usr/include/*-linux-gnu/cudnn_version*.h"
    ):
        text = read(path)
        parts = re.findall(r"#define CUDNN_(?:MAJOR|MINOR|PATCHLEVEL)\s+(\d+)", text)
        if len(parts) >= 3:
            header = ".".join(parts[:3])
            break
    names = set()
    for folder in ("/usr/lib/*-linux-gnu", "/usr/lib64"):
        for path in glob.glob(folder + "/libcudnn.so.*.*.*"):
            names.add(os.path.basename(path)[len("libcudnn.so.") :])
    return {"header_version": header, "library_versions": sorted(names)}
