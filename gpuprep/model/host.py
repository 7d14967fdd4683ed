"""What the resolver is told of a host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostState:
    """Findings on a host that can forbid an installation."""

    runfile: bool = False
    secure_boot: bool = False
    mok_enrolled: bool = False
    newest_kernel: str | None = None  # release that the next boot starts; None = the running one


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the resolver must know of a host; the keys of a facts file.

    Attributes:
        gpus: PCI ids, lower case ``vendor:device`` (``10de:2236``), one entry per device.
        os: ``<id>-<version>`` in the catalog's spelling: ``debian-12``, ``ubuntu-24.04``, ``ol-9``.
        arch: machine as ``uname -m`` says: ``x86_64`` or ``aarch64``.
        kernel: release the module is built for (``uname -r``), None when unknown.
        kernel_cc: CONFIG_CC_VERSION_TEXT of that kernel.
        system_gcc: major version of the host's default gcc.
        shape: OCI shape, None outside OCI.
        nvswitches: NVSwitch chips on the PCI bus; None = nobody looked.
        state: what can forbid an installation.

    """

    gpus: tuple[str, ...]
    os: str
    arch: str = "x86_64"
    kernel: str | None = None
    kernel_cc: str | None = None
    system_gcc: int | None = None
    shape: str | None = None
    nvswitches: int | None = None
    state: HostState = HostState()
