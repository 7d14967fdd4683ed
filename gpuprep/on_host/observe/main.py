"""Observe a GPU host: everything in one answer.

Runs on the host itself, fed to ``python3 -S -E -`` on standard input, so nothing is written there.
Keys of the request:

    packages   regular expression of package names to report
    files      paths to describe
    keys       paths of repository keys to fingerprint
    units      systemd units to describe
    modules    kernel modules beside NVIDIA's to look for
    changes    what to look for in kernels' headers: {name: {file, unchanged, changed}}
    ready      where packages with ready modules are listed: {index, prefix, driver}
    firewall   whether to look at the packet filter
    kernel     kernel release the driver is built for, or null for the running one
    conda      conda prefix
    commands   programs whose presence matters
    accounts   users to describe
    checkouts  directories with a checkout of a workload's source
"""

import json
import os
import re
import time

from . import (
    conda,
    cuda,
    files,
    firewall,
    hardware,
    headers,
    jobs,
    kernel,
    packages,
    selinux,
    services,
    system,
    workload,
)
from .base import Watch, read
from .family import FAMILIES, family_of

SPACE = ("/usr", "/var", "/opt", "/boot", "/tmp")
# What even hosts that are equal in all else do not have in common.
OWN = (
    "hostname",
    "boot_id",
    "machine",
    "space",
    "initramfs_mb",
    "jobs",
    "probe",
    "timings",
    "seconds",
)
MODPROBE = "/etc/modprobe.d/"  # what is read when an initial RAM disk is made
UNINSTALLERS = ("/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")


def observe(request):
    """Return everything that is asked for; see the module's text for the request."""
    started = time.time()
    watch = Watch()
    release = system.os_release()
    family = family_of(release)
    backend = FAMILIES[family]
    asked = re.compile(request.get("packages") or r"(?!)").match
    found, broken = watch("packages", backend.packages, asked)
    enabled, enrolled = system.secure_boot(backend.SIGNING_KEYS)
    kernels = watch("kernel", kernel.kernels, request.get("kernel"))
    others = request.get("modules") or []
    changes = request.get("changes") or {}
    releases = {kernels[name] for name in ("running", "target", "next_boot")} - {None}
    shown = {release: watch("kernel", headers.look, release, changes) for release in releases}
    index = request.get("ready")
    look = backend.ready_modules
    ready = watch("packages", look, index, releases, found) if index else None
    paths = request.get("files") or []
    return {
        "schema": 1,
        "uid": os.getuid(),
        "hostname": os.uname().nodename,
        "boot_id": read("/proc/sys/kernel/random/boot_id").strip(),
        "machine": system.machine(),
        "os": system.distribution(release),
        "arch": os.uname().machine,
        "kernel": dict(kernels, shown={r: told for r, told in shown.items() if told}),
        "system_gcc": system.system_gcc(),
        "pci": watch("pci", hardware.pci),
        "modules": {
            "loaded": watch("modules", kernel.modules_loaded),
            "on_disk": watch("modules", kernel.modules_on_disk, kernels["target"]),
            "others": watch("modules", kernel.other_modules, others, kernels["target"]),
            "packaged": watch("modules", kernel.packaged_modules, others, kernels["target"]),
            "rules": watch("modules", kernel.module_rules),
        },
        "driver": watch("driver", hardware.driver),
        "package_manager": dict(packages.manager(family, backend, broken), ready=ready),
        "packages": found,
        "files": {path: files.describe(path) for path in paths},
        "keys": files.key_fingerprints(request.get("keys") or []),
        "units": watch("units", services.units, request.get("units") or []),
        "cuda": watch("cuda", cuda.cuda, backend.ALTERNATIVES),
        "cudnn": watch("cudnn", cuda.cudnn),
        "conda": watch("conda", conda.conda, request.get("conda")),
        "selinux": watch("selinux", selinux.selinux, request.get("conda")),
        "jobs": watch("jobs", jobs.jobs),
        "secure_boot": enabled,
        "mok_enrolled": enrolled,
        "first_boot": system.first_boot(),
        "firewall": watch("firewall", firewall.incoming) if request.get("firewall") else None,
        "runfile": any(map(os.path.exists, UNINSTALLERS)),
        "space": {path: system.space(path) for path in SPACE},
        "commands": system.commands(request.get("commands") or []),
        "memory_mb": system.memory_mb(),
        "accounts": {name: workload.account(name) for name in request.get("accounts") or []},
        "checkouts": {
            path: watch("checkouts", workload.checkout, path)
            for path in request.get("checkouts") or []
        },
        "initramfs": kernel.initramfs(
            kernels["target"], [path for path in paths if path.startswith(MODPROBE)]
        ),
        "initramfs_mb": kernel.initramfs_mb(kernels["target"]),
        "timings": watch.seconds,
        "seconds": round(time.time() - started, 4),
    }


def told(answer):
    """Return an observation as it is printed.

    All that it may share with other hosts is one text, the same character for character where it
    is the same: whoever reads many hosts reads that once.
    """
    own = {"schema": answer["schema"]}
    own.update((key, answer[key]) for key in OWN if key in answer)
    alike = {key: value for key, value in answer.items() if key not in own}
    return json.dumps(dict(own, alike=json.dumps(alike, sort_keys=True)))
