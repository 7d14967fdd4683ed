"""A mirror whose kernel module does not compile: Debian's dkms and gcc fail on it for real."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import mirrors

from sandbox.nvrepo import content
from sandbox.nvrepo.deb import Deb, Entry

MODULE = "nvidia-kernel-open-dkms"
NEWEST = 2  # of the branch that hosts get by default, among content.DRIVERS
# The fault of a driver that met a newer kernel: a function there takes one argument more.
SOURCE = """\
int pci_resize_resource(void *device, int bar, int size, int exclude);
int nv_resize_bar(void *device) { return pci_resize_resource(device, 1, 2); }
"""
COMPILER_ERROR = "too few arguments to function 'pci_resize_resource'"
CONFIGURATION = """\
PACKAGE_NAME="nvidia"
PACKAGE_VERSION="{version}"
BUILT_MODULE_NAME[0]="nvidia"
DEST_MODULE_LOCATION[0]="/updates/dkms"
MAKE[0]="LC_ALL=C cc -c -o nvidia.ko nv-pci.c"
CLEAN="true"
AUTOINSTALL="yes"
"""
POSTINST = """\
[ "$1" = configure ] || exit 0
dkms add -m nvidia -v {version} || [ -d /var/lib/dkms/nvidia/{version} ]
for build in /lib/modules/*/build; do
    kernel=$(basename "$(dirname "$build")")
    dkms build -m nvidia -v {version} -k "$kernel"
    dkms install -m nvidia -v {version} -k "$kernel"
done
"""
PRERM = "dkms remove -m nvidia -v {version} --all || true\n"


def publish(distribution: str) -> str:
    """Publish the mirror for a distribution (``debian12``); return its path below the web root."""
    driver = content.DRIVERS[NEWEST].version
    branch = driver.partition(".")[0]
    debs = mirrors.packages(distribution, f"*_{driver}-1_*.deb")
    debs += mirrors.packages(distribution, f"nvidia-driver-pinning-{branch}_*.deb")
    sound = next(deb for deb in debs if deb.name.startswith(f"{MODULE}_"))
    with tempfile.TemporaryDirectory(dir=mirrors.WEB) as folder:
        broken = _broken(sound).build(Path(folder))
        return mirrors.publish(
            "broken", distribution, [*(deb for deb in debs if deb != sound), broken]
        )


def _broken(original: Path) -> Deb:
    """Describe the package of the same name, version and relations, with a module that fails."""
    command = ["dpkg-deb", "--field", str(original)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", shown, re.MULTILINE))
    version = fields["Version"].rpartition("-")[0]
    relations = {
        name: tuple(fields[name].split(", "))
        for name in ("Depends", "Provides", "Conflicts", "Replaces", "Breaks")
        if name in fields
    }
    relations["Depends"] = (*relations.get("Depends", ()), "dkms")
    home = f"usr/src/nvidia-{version}"
    return Deb(
        name=fields["Package"],
        version=fields["Version"],
        description="Kernel module that does not compile",
        architecture="amd64",
        relations=relations,
        files={
            f"{home}/dkms.conf": Entry(text=CONFIGURATION.format(version=version)),
            f"{home}/nv-pci.c": Entry(text=SOURCE),
        },
        scripts={
            "postinst": POSTINST.format(version=version),
            "prerm": PRERM.format(version=version),
        },
    )
