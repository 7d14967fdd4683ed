"""Proposing changes to the data file. Facts only: rules are for people to change."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuprep.model.versions import key, newest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gpuprep.catalog.tables import Catalog
    from gpuprep.catalog.upkeep.feeds import Seen


@dataclass(frozen=True, slots=True)
class Change:
    """A fact that a source knows better.

    Attributes:
        place: where in the data file.
        old: the value there; None where something is added.
        new: the value to be.
        source: who says so.

    """

    place: tuple[str | int, ...]
    old: Any
    new: Any
    source: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Changes that can be made as they are, and findings that need a person."""

    changes: tuple[Change, ...]
    findings: tuple[str, ...]


def propose(catalog: Catalog, seen: Seen) -> Proposal:
    """Compare what the sources name with what the catalog says."""
    changes = [*_branches(catalog, seen), *_pins(catalog, seen)]
    changes += [*_toolkits(catalog, seen), *_cudnn(catalog, seen)]
    return Proposal(tuple(changes), tuple(_findings(catalog, seen)))


def patched(text: str, changes: Sequence[Change]) -> str:
    """Make the changes in the text of a data file, leaving everything else as it is."""
    import yaml  # noqa: PLC0415  (slow to import, needed here only)

    root = yaml.compose(text, yaml.SafeLoader)
    edits: dict[int, tuple[int, str]] = {}
    for change in changes:
        node = _node(root, change.place)
        if change.old is None and isinstance(change.new, tuple):
            at = node.value[-1].end_mark.index
            edits[at] = (at, "".join(f", {json.dumps(item)}" for item in change.new))
        else:
            edits[node.start_mark.index] = (node.end_mark.index, json.dumps(change.new))
    for start in sorted(edits, reverse=True):
        end, new = edits[start]
        text = text[:start] + new + text[end:]
    return text


def as_patch(path: Path, text: str, changes: Sequence[Change]) -> str:
    """Return the changes as a unified diff; empty when there are none."""
    before, after = text.splitlines(keepends=True), patched(text, changes).splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}", n=1))


def _node(root: Any, place: Sequence[str | int]) -> Any:  # noqa: ANN401  (yaml nodes)
    for step in place:
        root = (
            root.value[step]
            if isinstance(step, int)
            else next(value for name, value in root.value if name.value == step)
        )
    return root


def _of_branch(versions: Sequence[str], branch: str) -> tuple[str, ...]:
    return tuple(version for version in versions if version.startswith(f"{branch}."))


def _branches(catalog: Catalog, seen: Seen) -> Iterator[Change]:
    for name, branch in catalog.branches.items():
        place = ("branches", "items", name)
        known = _of_branch(tuple(seen.drivers), name)
        if known and key(newest(known)) > key(branch.latest):
            latest = newest(known)
            yield Change((*place, "latest"), branch.latest, latest, seen.drivers[latest])
        kind, source = seen.kinds.get(name, (branch.kind, ""))
        if kind != branch.kind:
            yield Change((*place, "kind"), branch.kind, kind, source)


def _pins(catalog: Catalog, seen: Seen) -> Iterator[Change]:
    for name, source in seen.pins.items():
        branch = catalog.branches.get(name)
        if branch is not None and not branch.pin:
            yield Change(("branches", "items", name, "pin"), old=False, new=True, source=source)


def _toolkits(catalog: Catalog, seen: Seen) -> Iterator[Change]:
    for name, line in catalog.toolkits.items():
        yield from _added(("cuda", "items", name, "releases"), line.releases, name, seen.toolkits)


def _cudnn(catalog: Catalog, seen: Seen) -> Iterator[Change]:
    for name, series in catalog.cudnn.items():
        if not series.pinned:
            place = ("cudnn", "series", name, "releases")
            yield from _added(place, series.releases, name, seen.cudnn)


def _added(
    place: tuple[str, ...], known: tuple[str, ...], line: str, seen: dict[str, str]
) -> Iterator[Change]:
    later = [v for v in _of_branch(tuple(seen), line) if key(v) > key(known[-1])]
    if later:
        releases = tuple(sorted(later, key=key))
        yield Change(place, None, releases, seen[releases[-1]])


def _findings(catalog: Catalog, seen: Seen) -> Iterator[str]:
    """Return what is new in kind: rules hang on it, so a person must add it."""
    lines = {version.split(".", maxsplit=1)[0]: source for version, source in seen.drivers.items()}
    last_branch = max(catalog.branches, key=key)
    for branch, source in sorted(lines.items()):
        if branch not in catalog.branches and key(branch) > key(last_branch):
            yield f"driver branch {branch} is new ({source}): add kind, end of life, native CUDA"
    last_toolkit = list(catalog.toolkits)[-1]
    for release, source in sorted(seen.toolkits.items()):
        line = ".".join(release.split(".")[:2])
        if line not in catalog.toolkits and key(line) > key(last_toolkit):
            yield f"CUDA {line} is new ({source}): add it and check which GPUs it still supports"
    for release, source in sorted(seen.cudnn.items()):
        if release.split(".", maxsplit=1)[0] not in catalog.cudnn:
            yield f"cuDNN {release} is of a new series ({source}): add it"
