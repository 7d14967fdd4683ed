"""What the resolver is told of a host."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the codec reads the annotations

from gpuprep.model.value import Value


class KernelHeaders(Value, frozen=True):
    """What a kernel's headers show.

    Attributes:
        version: upstream version that they are based on: ``6.1.192`` for Debian's 6.1.0-57.
        changes: by name of a kernel's change (``kernel_changes`` of the catalog), whether they
            have it; what they do not tell is left out.

    """

    version: str | None = None
    changes: Mapping[str, bool] = {}


class HostState(Value, frozen=True):
    """Findings on a host that can forbid an installation."""

    runfile: bool = False
    secure_boot: bool = False
    mok_enrolled: bool = False
    newest_kernel: str | None = None  # release that the next boot starts; None = the running one
    newest_headers: KernelHeaders | None = None  # of that kernel; None = not there


class HostFacts(Value, frozen=True):
    """What the resolver must know of a host; the keys of a facts file.

    Attributes:
        gpus: PCI ids, lower case ``vendor:device`` (``10de:2236``), one entry per device.
        os: ``<id>-<version>`` in the catalog's spelling: ``debian-12``, ``ubuntu-24.04``, ``ol-9``.
        arch: machine as ``uname -m`` says: ``x86_64`` or ``aarch64``.
        kernel: release the module is built for (``uname -r``), None when unknown.
        kernel_headers: what the headers of that kernel show; None = they are not there.
        kernel_cc: CONFIG_CC_VERSION_TEXT of that kernel.
        system_gcc: major version of the host's default gcc.
        shape: OCI shape, None outside OCI.
        ready_modules: packages with ready modules for this host's kernels that its package index
            has or that are installed, each with the driver releases that they are of (empty = not
            told); None = no index was looked into.
        driver: version of the driver that is on the host; None = none, or nobody looked.
        memory_mb: MiB of memory; None = nobody looked.
        nvswitches: NVSwitch chips on the PCI bus; None = nobody looked.
        state: what can forbid an installation.

    """

    gpus: tuple[str, ...]
    os: str
    arch: str = "x86_64"
    kernel: str | None = None
    kernel_headers: KernelHeaders | None = None
    kernel_cc: str | None = None
    system_gcc: int | None = None
    shape: str | None = None
    driver: str | None = None
    memory_mb: int | None = None
    nvswitches: int | None = None
    ready_modules: Mapping[str, tuple[str, ...]] | None = None
    state: HostState = HostState()
