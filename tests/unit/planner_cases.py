"""Observations for the planner's tests: a bare host, and a host after its plan was carried out."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

from gpuprep.model.names import matches
from gpuprep.observe.reading import decode_observation
from gpuprep.on_host.observe.main import SPACE
from gpuprep.packages.deb import parse_depends

if TYPE_CHECKING:
    from gpuprep.components.state import RoleState
    from gpuprep.observe import HostObservation
    from gpuprep.planner import HostPlan

KERNEL = "6.1.0-40-amd64"
DRIVER = "580.95.05"
Observation = dict[str, Any]

# What a repository offers: version and dependencies, bound as NVIDIA binds them.
ARCHIVE = {
    "nvidia-driver-pinning-580": ("580-1", ""),
    f"linux-headers-{KERNEL}": ("6.1.153-1", ""),
    "nvidia-open-580": (f"{DRIVER}-1", f"nvidia-driver (= {DRIVER}-1)"),
    "nvidia-driver": (
        f"{DRIVER}-1",
        ", ".join(
            f"{name} (= {DRIVER}-1)"
            for name in ("libcuda1", "nvidia-kernel-open-dkms", "nvidia-persistenced")
        ),
    ),
    "libcuda1": (f"{DRIVER}-1", "libc6"),
    "nvidia-kernel-open-dkms": (f"{DRIVER}-1", "dkms (>= 3)"),
    "nvidia-persistenced": (f"{DRIVER}-1", ""),
    "cuda-toolkit-13-0": ("13.0.2-1", "cuda-nvcc-13-0 (>= 13.0.88)"),
    "cuda-nvcc-13-0": ("13.0.88-1", "g++"),
    "cudnn9-cuda-13": ("9.20.0.48-1", "libcudnn9-cuda-13 (>= 9.20.0.48)"),
    "libcudnn9-cuda-13": ("9.20.0.48-1", ""),
    "libcudnn9-dev-cuda-13": ("9.20.0.48-1", "libcudnn9-headers-cuda-13 (= 9.20.0.48-1)"),
    "libcudnn9-headers-cuda-13": ("9.20.0.48-1", ""),
    "libc6": ("2.36-9", ""),
    "dkms": ("3.0.10-8", ""),
    "g++": ("4:12.2.0-3", ""),
}


def space(free: int = 50_000, **apart: int) -> Observation:
    """Return free space on one file system; ``usr=5`` is ``/usr`` with 5 MiB on one of its own."""
    found = {path: {"free_mb": free, "device": 1} for path in SPACE}
    own = enumerate(apart.items(), start=2)
    return found | {f"/{path}": {"free_mb": mb, "device": device} for device, (path, mb) in own}


def bare(**changes: Any) -> Observation:
    """Return a Debian 12 host with an A10 and nothing else; ``changes`` replace top-level keys."""
    return {
        "schema": 1,
        "uid": 0,
        "hostname": "host",
        "boot_id": "b",
        "os": {"id": "debian", "version_id": "12", "codename": "bookworm", "pretty": "Debian 12"},
        "arch": "x86_64",
        "kernel": {
            "running": KERNEL,
            "target": KERNEL,
            "next_boot": KERNEL,
            "headers": [],
            "compiler": "gcc-12 (Debian 12.2.0-14) 12.2.0",
            "loads_modules": False,
        },
        "system_gcc": 12,
        "pci": [{"slot": "0", "vendor": "10de", "device": "2236", "pci_class": "030200"}],
        "modules": {"loaded": {}, "on_disk": []},
        "driver": {"proc_version": None, "flavour": None, "device_nodes": [], "holders": []},
        "package_manager": {
            "family": "deb",
            "broken": [],
            "locks": [],
            "indexes": ["mirror_dists_bookworm_main_binary-amd64_Packages"],
            "sources": {},
            "rules": [],
        },
        "packages": {},
        "files": {},
        "keys": {},
        "units": {},
        "cuda": {"toolkits": [], "default": None, "alternative": {"mode": None, "value": None}},
        "cudnn": {"header_version": None, "library_versions": []},
        "conda": {"prefix": "/opt/conda", "exists": False, "complete": False, "envs": {}},
        "secure_boot": False,
        "mok_enrolled": False,
        "runfile": False,
        "space": space(),
        "initramfs_mb": {},
        "commands": {"update-initramfs": False},
        "initramfs": {},
        **changes,
    }


def observed(seen: Observation) -> HostObservation:
    """Return the typed observation of what a host said."""
    return decode_observation(seen)


def carried_out(observation: Observation, plan: HostPlan) -> Observation:
    """Return what the host looks like when the plan's targets are all established."""
    seen = copy.deepcopy(observation)
    for role in plan.roles.values():
        target = role.state
        for file in (file for file in target.files if not file.absent):
            seen["files"][file.path] = _file(file)
            if file.key:
                fingerprint = file.key.fingerprint or "F" * 40
                seen["keys"][file.path] = [fingerprint]
        _transaction(seen["packages"], target)
        for unit in target.units:
            seen["units"][unit] = dict.fromkeys(("exists", "enabled", "active"), True)
        for unit in target.unwanted_units:
            seen["units"][unit] = {"exists": True, "enabled": False, "active": False}
        if target.kernel and target.packages:
            seen["modules"]["on_disk"] = [module(target.kernel)]
        if target.default_link:
            link = {"mode": "manual", "value": target.default_link}
            seen["cuda"] = {"default": target.default_link, "alternative": link, "toolkits": []}
        if target.conda:
            seen["conda"] = _conda(target.conda)
    return seen


def _transaction(packages: dict[str, Any], target: RoleState) -> None:
    for request in (*target.pre_install, *target.packages):
        _install(packages, request.name)
    for name in target.remove:
        packages.pop(name, None)
    for name, package in packages.items():
        package["hold"] |= matches(name, target.hold)


def module(kernel: str, version: str = DRIVER, name: str = "nvidia") -> dict[str, str]:
    """Return a kernel module on disk."""
    return {"kernel": kernel, "name": name, "path": "", "version": version, "vermagic": kernel}


def _file(file: Any) -> dict[str, Any]:
    digest = hashlib.sha256((file.content or "").encode()).hexdigest()
    digest = (file.key and file.key.sha256) or digest
    rights = {"mode": file.mode, "owner": file.owner, "group": file.group}
    return {"kind": "file", "sha256": digest, **rights}


def _install(packages: dict[str, Any], name: str) -> None:
    if name in packages:
        return
    version, depends = ARCHIVE[name]
    packages[name] = {
        "version": version,
        "status": "installed",
        "hold": False,
        "depends": depends,
        "provides": "",
    }
    for group in parse_depends(depends):
        _install(packages, group[0].name)


def _conda(target: Any) -> dict[str, Any]:
    packages = {"python": "3.12-0", "numpy": "2.0-0"}
    envs = {
        state.environment.name: {
            "packages": dict(packages),
            "marker": {
                "digest": state.environment.digest,
                "packages": dict(packages),
                **({"cuda": state.cuda} if state.cuda else {}),
            },
        }
        for state in target.environments
    }
    return {
        "prefix": target.prefix,
        "exists": True,
        "complete": True,
        "version": "26.1",
        "marker": {"installer": target.installer.version, "sha256": target.installer.sha256},
        "envs": envs,
    }
