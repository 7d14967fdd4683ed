"""A substitute of the distribution's kernel headers, for the kernel a host says it runs.

The archive has headers of its newest kernels only. The package holds what a driver package looks
for, not what a compiler would need.
"""

from __future__ import annotations

import re
from typing import Final

from sandbox.nvrepo.deb import Deb, Entry

# Of hosts by their system. Numbers that Debian's archive has no longer: its own headers are not to
# come in place of ours. Older than the changes of 2026 that keep older drivers from being built.
RELEASES: Final = {"debian-12": "6.1.0-44-amd64", "debian-13": "6.12.73+deb13-amd64"}


def package(release: str) -> Deb:
    """Describe `linux-headers-RELEASE` for the kernel `release`, as `uname -r` prints it."""
    home = f"usr/src/linux-headers-{release}"
    version = re.match(r"[0-9][0-9.]*", release)
    if version is None:
        raise ValueError(f"kernel release {release!r} does not begin with a version")
    return Deb(
        name=f"linux-headers-{release}".lower().replace("_", "-"),
        version=f"{version.group().rstrip('.')}-1",
        description=f"Header files for Linux {release}",
        section="kernel",
        files={
            f"{home}/Makefile": Entry(text=f"KERNELRELEASE = {release}\n"),
            f"{home}/.config": Entry(text="CONFIG_MODULES=y\n"),
            f"{home}/include/config/kernel.release": Entry(text=f"{release}\n"),
            f"{home}/include/generated/utsrelease.h": Entry(
                text=f'#define UTS_RELEASE "{release}"\n'
            ),
            f"usr/lib/modules/{release}/build": Entry(link=f"/{home}"),
        },
        scripts={
            "postinst": (
                'if [ "$1" = configure ] && [ -d /etc/kernel/header_postinst.d ]; then\n'
                f"    run-parts --arg={release} /etc/kernel/header_postinst.d\n"
                "fi\n"
            )
        },
    )
