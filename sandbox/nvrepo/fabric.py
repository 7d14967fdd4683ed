"""Packages for NVSwitch and NVLink systems: fabric manager, imex, nscq, nvsdm, nvlsm.

Names lost their branch at 580. Each is bound to the driver by being of its full version, not by a
dependency, which is why a careless upgrade splits them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sandbox.nvrepo import compiled
from sandbox.nvrepo.deb import Deb, Entry
from sandbox.nvrepo.driver import UNIT, Driver, shared_library

if TYPE_CHECKING:
    from pathlib import Path

FABRIC_UNSUFFIXED_SINCE = 580
NVLSM_VERSION = "2025.06.11-1"
TOPOLOGIES = ("dgxa100_hgxa100_topology", "dgxh100_hgxh100_topology")


def packages(driver: Driver, work: Path) -> list[Deb]:
    """Describe the fabric packages of one driver version."""
    found = [
        _daemon(driver, work, "nvidia-fabricmanager", "nv-fabricmanager"),
        _daemon(driver, work, "nvidia-imex", "nvidia-imex"),
        _library(driver, work, "libnvidia-nscq", "libnvidia-nscq.so.2"),
    ]
    if driver.branch >= FABRIC_UNSUFFIXED_SINCE:
        found.append(_library(driver, work, "libnvsdm", "libnvsdm.so.1"))
    return found


def _named(driver: Driver, name: str, description: str, files: dict[str, Entry]) -> Deb:
    """Return a package named as its branch does, with the virtual name the suffixed share."""
    suffixed = driver.branch < FABRIC_UNSUFFIXED_SINCE
    virtual = dict.fromkeys(("Provides", "Conflicts", "Replaces"), (name,)) if suffixed else {}
    return Deb(
        name=f"{name}-{driver.branch}" if suffixed else name,
        version=driver.package_version,
        description=description,
        relations={"Depends": ("libc6 (>= 2.34)",), **virtual},
        files=files,
    )


def _daemon(driver: Driver, work: Path, name: str, command: str) -> Deb:
    """Describe a service that, as NVIDIA's, is installed disabled."""
    greeting = {
        "nvidia-fabricmanager": "Fabric Manager version is : ",
        "nvidia-imex": "IMEX version is: ",
    }[name]
    built = compiled.program(
        "daemon.c",
        work / f"{command}-{driver.version}",
        {"GREETING": greeting, "VERSION": driver.version},
    )
    unit = UNIT.format(
        description=f"NVIDIA {command} service",
        after="After=network-online.target\nWants=network-online.target\n",
        command=f"/usr/bin/{command}",
    )
    files = {
        f"usr/bin/{command}": Entry(source=built, mode=0o755),
        f"usr/lib/systemd/system/{name}.service": Entry(text=unit),
    }
    if name == "nvidia-fabricmanager":
        data = ("fabricmanager.cfg", *TOPOLOGIES)
        files |= {
            f"usr/share/nvidia/nvswitch/{file}": Entry(text=f"# {driver.version}\n")
            for file in data
        }
    else:
        files["etc/nvidia-imex/nodes_config.cfg"] = Entry(text="")
    reload = (
        "[ ! -d /run/systemd/system ] || systemctl --system daemon-reload > /dev/null || true\n"
    )
    stop = (
        'if [ "$1" = remove ] && [ -d /run/systemd/system ]; then\n'
        f"    deb-systemd-invoke stop {name}.service > /dev/null || true\n"
        f"    deb-systemd-helper disable {name}.service > /dev/null || true\n"
        "fi\n"
    )
    deb = _named(driver, name, f"NVIDIA {command} service", files)
    return replace(deb, scripts={"postinst": reload, "prerm": stop, "postrm": reload})


def _library(driver: Driver, work: Path, name: str, soname: str) -> Deb:
    built = compiled.library(
        "plain_library.c",
        work / f"{name}-{driver.version}",
        soname=soname,
        macros={"SONAME": soname, "VERSION": driver.version},
    )
    deb = _named(driver, name, f"library {soname}", shared_library(soname, driver.version, built))
    return replace(deb, triggers=("activate-noawait ldconfig",))


def nvlsm(work: Path) -> Deb:
    """Describe the NVLink subnet manager, which has a version of its own."""
    version = NVLSM_VERSION.partition("-")[0]
    built = compiled.program(
        "daemon.c", work / "nvlsm", {"GREETING": "nvlsm version ", "VERSION": version}
    )
    return Deb(
        name="nvlsm",
        version=NVLSM_VERSION,
        description="NVLink subnet manager",
        relations={"Depends": ("libc6 (>= 2.34)",)},
        files={"opt/nvidia/nvlsm/sbin/nvlsm": Entry(source=built, mode=0o755)},
    )
