"""What a role has to establish on a host, as data that its tasks carry out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpuprep.model import CondaInstaller, SigningKey
    from gpuprep.planner.settings import Environment

HEADER = "# Managed by gpuprep; changes are overwritten.\n"


@dataclass(frozen=True, slots=True)
class ManagedFile:
    """A file that must be there with this content (or hold this key), mode and owner.

    Attributes:
        path: absolute path.
        kind: what it is: ``repository``, ``key``, ``pin``, ``blacklist``, ``profile``, ...
        content: text, None for a key.
        key: the repository key it holds; the host fetches it and checks the fingerprint.

    """

    path: str
    kind: str
    content: str | None = None
    key: SigningKey | None = None
    mode: str = "0644"
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True)
class CondaTarget:
    """The wanted conda installation."""

    prefix: str
    installer: CondaInstaller
    marker: str  # content of <prefix>/conda-meta/gpuprep
    fresh: bool  # nothing is at the prefix yet
    environments: tuple[Environment, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleTarget:
    """Everything one role has to establish on one host.

    Attributes:
        files: managed files.
        early: packages of the first transaction (pins), as the package manager is given them.
        packages: packages of the main transaction.
        remove: packages that must go.
        purge: packages whose configuration must go too.
        bound: name patterns of packages that must be at ``version``.
        version: their version as apt is given it: ``580.95.05-*``, ``580.*``.
        hold: fnmatch patterns; installed packages that match are held.
        units: systemd units to enable and start.
        kernel: kernel release that needs the module; None = no module wanted.
        load: kernel module to load; None = nothing to load.
        initramfs: rebuild the initial RAM disk.
        reboot: a reboot is needed.
        alternative: value of the ``cuda`` link group.
        conda: conda installation.

    """

    role: str
    files: tuple[ManagedFile, ...] = ()
    early: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    purge: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    version: str | None = None
    hold: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    kernel: str | None = None
    load: str | None = None
    initramfs: bool = False
    reboot: bool = False
    alternative: str | None = None
    conda: CondaTarget | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give JSON types for the role's tasks."""
        return asdict(self)
