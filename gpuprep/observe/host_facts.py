"""What the resolver must know of a host, taken from its observation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.model import HostFacts, HostState

if TYPE_CHECKING:
    from gpuprep.observe.observation import HostObservation

# Distributions whose minor version does not change what packages are called.
_MAJOR_ONLY = {"ol", "rhel", "rocky", "almalinux", "centos"}


def facts(observation: HostObservation, shape: str | None = None) -> HostFacts:
    """Return what the resolver must know of a host.

    Args:
        observation: what the host said.
        shape: OCI shape from the inventory, None outside OCI.

    """
    os_id, version = observation.os.id, observation.os.version_id
    if os_id in _MAJOR_ONLY:
        version = version.split(".")[0]
    kernel = observation.kernel
    return HostFacts(
        gpus=tuple(device.id for device in observation.gpus),
        nvswitches=len(observation.nvswitches),
        os=f"{os_id}-{version}",
        arch=observation.arch,
        kernel=kernel.target,
        kernel_headers=kernel.shown.get(kernel.target),
        kernel_cc=kernel.compiler,
        system_gcc=observation.system_gcc,
        shape=shape,
        ready_modules=observation.package_manager.ready,
        memory_mb=observation.memory_mb,
        state=HostState(
            runfile=observation.runfile,
            secure_boot=observation.secure_boot,
            mok_enrolled=observation.mok_enrolled,
            newest_kernel=kernel.next_boot if kernel.is_running else None,
            newest_headers=kernel.shown.get(kernel.waiting or "") if kernel.is_running else None,
        ),
    )
