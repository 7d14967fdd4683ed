"""The components of a stack: one object in one file each, found by looking into this package.

A component is added by a file here with an object ``COMPONENT``, and a role of the collection.
"""

from __future__ import annotations

import importlib
import pkgutil
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

    Components that stand alone come last.
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
    alone = [name for name in order if name not in decide and not graph[name]]
    return [by_name[name] for name in order if name not in alone] + [by_name[n] for n in alone]


COMPONENTS: tuple[Component, ...] = tuple(_found())
BY_NAME = {component.name: component for component in COMPONENTS}
BY_ROLE = {component.role: component for component in COMPONENTS}
NAMES = tuple(BY_NAME)
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
    answers = _ANSWERS.of(catalog)
    question = repr((facts, desired))  # all that counts, also what cannot be hashed
    if question not in answers:
        answers[question] = resolver.resolve(facts, desired, catalog, _STEPS)
    return answers[question]


__all__ = ["BY_NAME", "BY_ROLE", "COMPONENTS", "NAMES", "ROLES", "resolve"]
