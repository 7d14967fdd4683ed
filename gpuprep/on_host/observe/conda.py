"""The conda installation and its environments."""

import glob
import json
import os
import re

from .. import labels
from .base import read
from .files import wrong_label


def conda_packages(prefix):
    """Return the packages of a conda environment by name: ``version-build``."""
    found = {}
    for path in glob.glob(prefix + "/conda-meta/*-*-*.json"):
        name, version, build = os.path.basename(path)[: -len(".json")].rsplit("-", 2)
        found[name] = version + "-" + build
    return found


def python_packages(env):
    """Return the Python packages of an environment by name: version."""
    found = {}
    for path in glob.glob(env + "/lib/python3*/site-packages/*.dist-info"):
        name, _, version = os.path.basename(path)[: -len(".dist-info")].partition("-")
        if os.path.isfile(path + "/METADATA"):
            found[re.sub(r"[-_.]+", "-", name).lower()] = version
    return found


def marker(path):
    """Return the content of a JSON file that gpuprep left, or None."""
    try:
        return json.loads(read(path, 1 << 20))
    except (ValueError, RecursionError):
        return None


def conda(prefix):
    """Return the conda installation at a prefix and its environments."""
    if not prefix or not os.path.isdir(prefix):
        return {"prefix": prefix, "exists": False, "complete": False, "envs": {}}
    envs = {}
    broken = []
    for env in sorted(glob.glob(prefix + "/envs/*")):
        if not os.path.isfile(env + "/conda-meta/history"):  # what conda goes by
            broken.append(os.path.basename(env))
            continue
        locked = marker(env + "/conda-meta/gpuprep-python")
        envs[os.path.basename(env)] = {
            "path": env,
            "packages": conda_packages(env),
            "marker": marker(env + "/conda-meta/gpuprep"),
            "python_packages": python_packages(env) if locked is not None else {},
            "python_marker": locked,
        }
    packages = conda_packages(prefix)
    return {
        "prefix": prefix,
        "exists": True,
        "complete": os.path.exists(prefix + "/bin/conda") and "conda" in packages,
        "version": packages.get("conda", "").rsplit("-", 1)[0] or None,
        "packages": packages,
        "marker": marker(prefix + "/conda-meta/gpuprep"),
        "envs": envs,
        "broken": broken,
        "wrong_labels": wrong_labels([prefix] + [env["path"] for env in envs.values()]),
    }


def wrong_labels(trees):
    """Return labels by path that are not SELinux's policy's, of what shows it for whole trees."""
    found = {}
    for tree in map(os.path.realpath, trees):
        for path in (tree, tree + "/bin", tree + "/lib", tree + "/conda-meta"):
            wrong = labels.wrong(path)
            if wrong:
                found[path] = wrong_label(wrong)
    return found
