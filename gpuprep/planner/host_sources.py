"""What the package manager of a host is told by others, as far as it touches a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuprep.catalog.rules import host_rules
from gpuprep.model.names import matches

if TYPE_CHECKING:
    from gpuprep.catalog import Catalog
    from gpuprep.catalog.tables import System
    from gpuprep.model import Message, Stack
    from gpuprep.observe.observation import HostObservation, PackageRule

_CODES: Final = {"lock": "E_FOREIGN_LOCK", "exclude": "E_FOREIGN_EXCLUDE"}


def forbidden(rule: PackageRule, packages: str) -> Message:
    """Return the refusal of packages that a rule of others forbids."""
    kind, _, repository = rule.pin.partition(" of ")
    code = _CODES.get(kind, "E_FOREIGN_PIN")
    values = {"path": rule.path, "pin": rule.pin, "priority": str(rule.priority)}
    where = f"section {repository} of {rule.path}" if repository else rule.path
    rules = " ".join(rule.names)
    return host_rules().refusal(code, packages=packages, where=where, rule=rules, **values)


def stream_warnings(
    observation: HostObservation, stack: Stack, catalog: Catalog
) -> tuple[Message, ...]:
    """Return what there is to know when another module stream is enabled than the wanted one."""
    if stack.stream is None:
        return ()
    module, _, wanted = stack.stream.partition(":")
    found = observation.package_manager.streams.get(module)
    if found is None or found == wanted:
        return ()
    names = {"found": f"{module}:{found}", "wanted": stack.stream}
    built = matches(found, catalog.driver.built_streams)
    code = "W_STREAM_SWITCH" if built else "W_STREAM_PRECOMPILED"
    return (host_rules().warning(code, **names),)


def builder_obstacle(
    observation: HostObservation, catalog: Catalog, system: System
) -> Message | None:
    """Return that no repository of the host can have what builds the driver's module."""
    manager, rules = observation.package_manager, catalog.repositories
    name, repositories = rules.builder, manager.repositories
    if not repositories or observation.is_installed(name):
        return None
    excludes = (r for r in manager.rules if r.pin == "exclude" and matches(name, r.names))
    excluding = next(excludes, None)
    if excluding is not None:
        return forbidden(excluding, name)
    giving = [repository for repository, entry in repositories.items() if entry.gives(name)]
    # A repository of the site's own may have it, for all that is known.
    without = (*rules.distributions, *(f"!{pattern}" for pattern in rules.builders))
    if any(not matches(repository, without) for repository in giving):
        return None
    hiding = [repository for repository in repositories if matches(repository, rules.builders)]
    if hiding:
        values = {"repository": hiding[0], "path": repositories[hiding[0]].path}
        return host_rules().refusal("E_DKMS_DISABLED", **values)
    # Some systems have a package, planned with the driver, that names the repository.
    return None if system.dkms_from else host_rules().refusal("E_DKMS_SOURCE", os=system.name)
