"""The components of a stack: one object in one file each, found by looking into this package.

A component is added by a file here with an object ``COMPONENT``, and a role of the collection.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from gpuprep.resolve import resolver

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.catalog import Catalog
    from gpuprep.components.base import Component
    from gpuprep.model import DesiredStack, HostFacts, Refusal, Stack


def _found() -> Iterable[Component]:
    """Return the components of this package's modules, each after those that decide it.

    Components that stand alone come last, and after them those that need others on the host.
    """
    modules = (
        importlib.import_module(f"{__name__}.{module.name}")
        for module in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name)
    )
    by_name = {
        component.name: component
        for module in modules
        if (component := getattr(module, "COMPONENT", None)) is not None
    }
    graph = {name: component.decided_by for name, component in by_name.items()}
    order = list(TopologicalSorter(graph).static_order())
    decide = {name for names in graph.values() for name in names}
    late = [name for name in order if by_name[name].after]
    alone = [n for n in order if n not in decide and not graph[n] and n not in late]
    first = [name for name in order if name not in alone and name not in late]
    return [by_name[name] for name in (*first, *alone, *late)]


COMPONENTS: tuple[Component, ...] = tuple(_found())
BY_NAME = {component.name: component for component in COMPONENTS}
BY_ROLE = {component.role: component for component in COMPONENTS}
KNOWN = tuple(BY_NAME)
NAMES = tuple(component.name for component in COMPONENTS if not component.opt_in)
"""Those that a host gets where nothing else is said; the others are named to be had."""
ROLES = tuple(BY_ROLE)


class _Answers:
    """What the resolver said of hosts that are alike, as those of a fleet are: asked once each."""

    MOST = 512

    def __init__(self) -> None:
        self._known: tuple[object, dict[str, Stack | Refusal]] = (None, {})

    def of(self, catalog: Catalog) -> dict[str, Stack | Refusal]:
        """Return the answers from a catalog; those from another one are forgotten."""
        catalog_known, answers = self._known
        if catalog_known is not catalog or len(answers) >= self.MOST:
            answers = {}
            self._known = (catalog, answers)
        return answers


_ANSWERS = _Answers()
_STEPS = {component.name: component.resolve for component in COMPONENTS}


def resolve(facts: HostFacts, desired: DesiredStack, catalog: Catalog) -> Stack | Refusal:
    """Return the stack that fits a host, or the refusal; see :mod:`gpuprep.resolve.resolver`.

    It is pure and its answer frozen, so hosts with the same facts and wishes share one.
    """
    if desired.components is None:
        desired = replace(desired, components=NAMES)
    answers = _ANSWERS.of(catalog)
    question = repr((facts, desired))  # all that counts, also what cannot be hashed
    if question not in answers:
        answers[question] = resolver.resolve(facts, desired, catalog, _STEPS)
    return answers[question]


__all__ = ["BY_NAME", "BY_ROLE", "COMPONENTS", "KNOWN", "NAMES", "ROLES", "resolve"]
