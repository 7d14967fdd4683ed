"""What the user wants on one host: the settings, typed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuprep.model.stack import DesiredStack
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Environment:
    """A desired conda environment.

    Attributes:
        name: directory under ``<prefix>/envs``.
        kind: ``packages``, ``yaml`` (environment.yml) or ``explicit`` (lock file).
        content: text of the file, or the specifications, one a line.
        digest: short digest that changes with the specification.

    """

    name: str
    kind: str
    content: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        """Derive the digest; a field, so that the host is given it too."""
        digest = hashlib.sha256(f"{self.kind}\n{self.content}".encode()).hexdigest()[:16]
        object.__setattr__(self, "digest", digest)


class Settings(Value, frozen=True):
    """Everything a user wants on one host.

    Attributes:
        stack: what the resolver decides on; ``keep_driver`` is filled in from the observation.
        values: every variable by its name, validated, with defaults.
        keep_driver: True when a present driver must stay.
        kernel: release to build the module for; None = the running one.
        persistence: nvidia-persistenced wanted.
        short_cut: skip hosts and tasks without a difference.
        reboot_allowed: the role may reboot.
        lock_timeout: seconds to wait for the package manager's locks.
        conda_prefix: where conda lives.
        conda_channels: channels of the system-wide condarc.
        conda_channel_alias: base URL of channel names, or empty.
        environments: desired conda environments.
        python_lock: text of a lock of the user's for the workload's Python packages; None = ours.
        shape: OCI shape from the inventory.

    """

    stack: DesiredStack = DesiredStack()
    values: Mapping[str, Any] = {}
    keep_driver: bool = False
    kernel: str | None = None
    persistence: bool = True
    short_cut: bool = True
    reboot_allowed: bool = False
    lock_timeout: int = 600
    conda_prefix: str = "/opt/conda"
    conda_channels: tuple[str, ...] = ("conda-forge",)
    conda_channel_alias: str = ""
    environments: tuple[Environment, ...] = ()
    python_lock: str | None = None
    shape: str | None = None
