"""One host's case while it is being decided: what is known, what was noted, how to refuse."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuprep import codes
from gpuprep.model import Reason
from gpuprep.model.value import Value

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Branch, Catalog, Gpu, System
    from gpuprep.model import DesiredStack, Flavour, HostFacts, Message


class Refused(Exception):  # noqa: N818  (a decision, not an error)
    """A rule forbids the case.

    Attributes:
        code: stable code.
        settings: names of the settings that clash with the rule; empty when the host itself does.
        values: what the message template names.

    """

    def __init__(self, code: str, *settings: str, **values: object) -> None:
        super().__init__(code)
        self.code = code
        self.settings = settings
        self.values = values


class Driver(Value, frozen=True):
    """The driver a host gets or keeps.

    Attributes:
        branch: its branch.
        version: the newest version it can be, or the exact one.
        exact: the exact version when one was asked for or is kept.
        flavour: None for a kept driver: it stays as it is.

    """

    branch: Branch
    version: str
    exact: str | None
    flavour: Flavour | None


@dataclass(slots=True)
class Case:
    """A host, its settings and the notes taken on the way to a stack.

    ``builds_modules``: modules are built on the host although its archive has ready ones.
    """

    facts: HostFacts
    desired: DesiredStack
    catalog: Catalog
    system: System
    gpus: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    builds_modules: bool = False
    reasons: list[Reason] = field(default_factory=list)
    warnings: list[Message] = field(default_factory=list)

    def wants(self, component: str) -> bool:
        """Return whether a component is wanted at all."""
        chosen = self.desired.components
        return chosen is None or component in chosen

    @property
    def manages_driver(self) -> bool:
        """Whether gpuprep is to install the driver."""
        return self.wants("driver") and self.desired.keep_driver is None

    @property
    def needs_repository(self) -> bool:
        """Whether anything comes from NVIDIA's repository."""
        from_nvidia = self.manages_driver and self.desired.source == "nvidia"
        return from_nvidia or self.wants("cuda") or self.wants("cudnn")

    def because(self, choice: str, value: str, why: str, block: str | None = None) -> None:
        """Note why a value was chosen, and by which block of the data."""
        source = self.catalog.cite(block) if block else None
        self.reasons.append(Reason(choice, value, why, source))

    def warn(self, code: str, **values: object) -> None:
        """Note a coded warning."""
        warning = codes.warning(code, **values)
        if warning not in self.warnings:
            self.warnings.append(warning)
