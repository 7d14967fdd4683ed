"""The resolver's answer in words, for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gpuprep.model.names import matches
from gpuprep.model.variables import variable_of
from gpuprep.resolve.answer import package_spec

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Catalog
    from gpuprep.model import HostFacts, Package, Pin, Refusal, Stack

_LABELS = {"dkms_toolset": "compiler", "cudnn": "cuDNN", "cuda": "CUDA"}


def stack_in_words(host: HostFacts, stack: Stack, catalog: Catalog) -> str:
    """Return what would be installed, why, and what to watch for."""
    lines = [_headline(host, catalog), ""]
    lines += _choices(stack)
    if stack.packages:
        lines += ["", "Packages"]
        lines += [f"  {_spec(package, stack)}" for package in stack.packages]
    if stack.stream:
        lines += ["", f"Module stream: {stack.stream}"]
    if stack.version_locks:
        names = dict.fromkeys(line.rpartition("-")[0] for line in stack.version_locks)
        then = "" if stack.driver_version else ", then what is installed of it"
        lines += ["", f"Version lock, {_locked_at(stack)}{then}: {', '.join(names)}"]
    if stack.holds:
        lines += ["", f"Held: {', '.join(stack.holds)}"]
    if stack.pins:
        lines += ["", "Pinned", *(f"  {_pin(pin)}" for pin in stack.pins)]
    if stack.services:
        lines += ["", f"Services: {', '.join(stack.services)}"]
    lines += _warnings(stack)
    return "\n".join(lines)


def _spec(package: Package, stack: Stack) -> str:
    """Return a package as its manager is asked for it, with the version that a lock leaves it."""
    spec = package_spec(package, stack.family)
    bound = stack.version_locks and matches(package.name, stack.version_locked)
    return f"{spec}-{_locked_at(stack)}" if bound and package.version is None else spec


def _locked_at(stack: Stack) -> str:
    return stack.driver_version or f"{stack.branch}.*"


def _pin(pin: Pin) -> str:
    where = f"version {pin.version}" if pin.version else f"branch {pin.branch}"
    where = f"packages of {pin.origin}" if pin.origin else where
    return f"{where if pin.prefer else f'never {where}'}: {' '.join(pin.names)}"


def refusal_in_words(host: HostFacts, refusal: Refusal, catalog: Catalog) -> str:
    """Return why a host is refused, and which settings are to blame."""
    lines = [_headline(host, catalog), "", f"Refused, {refusal.code}: {refusal.message}"]
    if refusal.settings:
        named = (f"{variable_of(name)} ({name} here)" for name in refusal.settings)
        lines.append(f"Clashing {', '.join(named)}")
    return "\n".join(lines)


def _headline(host: HostFacts, catalog: Catalog) -> str:
    gpus = ", ".join(
        f"{count} x {catalog.gpus[pci].name if pci in catalog.gpus else pci}"
        for pci, count in Counter(host.gpus).items()
    )
    where = f"{host.os} {host.arch}" + (f", kernel {host.kernel}" if host.kernel else "")
    return f"{host.shape + ': ' if host.shape else ''}{gpus or 'no NVIDIA GPU'}; {where}"


def _choices(stack: Stack) -> list[str]:
    rows = [(_LABELS.get(r.choice, r.choice), r.value, r.why, r.source) for r in stack.reasons]
    if not rows:
        return []
    name_width = max(len(row[0]) for row in rows)
    value_width = max(len(row[1]) for row in rows if not row[1].startswith("https"))
    return [
        f"  {name:<{name_width}}  {value:<{value_width}}  {why}"
        + (f" [{source}]" if source else "")
        for name, value, why, source in rows
    ]


def _warnings(stack: Stack) -> list[str]:
    if not stack.warnings:
        return []
    return ["", "Watch for", *(f"  {w.code}: {w.message}" for w in stack.warnings)]
