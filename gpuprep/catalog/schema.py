"""Holding a data file against the published schema, and saying where it breaks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gpuprep.errors import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def validate(data: dict[str, Any], text: str, path: Path, *, schema: Path) -> None:
    """Check data by the schema.

    Args:
        data: the parsed file.
        text: the file itself, for line numbers.
        path: its name, for the message.
        schema: the file with the schema.

    Raises:
        CatalogError: naming file, line, place and what is wrong there.

    """
    import jsonschema  # noqa: PLC0415  (slow to import, needed for foreign files only)

    rules = json.loads(schema.read_text(encoding="utf-8"))
    errors = jsonschema.Draft202012Validator(rules).iter_errors(data)
    worst = jsonschema.exceptions.best_match(errors)
    if worst is not None:
        place = list(worst.absolute_path)
        where = ".".join(map(str, place)) or "top level"
        raise CatalogError(f"catalog {path}, line {line_of(text, place)}: {where}: {worst.message}")


def line_of(text: str, place: Sequence[str | int]) -> int:
    """Find the line (from 1) where a place of a YAML document stands."""
    import yaml  # noqa: PLC0415  (needed for foreign files only)

    node: Any = yaml.compose(text, yaml.SafeLoader)
    line = 0
    for step in place:
        found = _child(node, step)
        if found is None:
            break
        start, node = found
        line = start.start_mark.line
    return line + 1


def _child(node: Any, step: str | int) -> tuple[Any, Any] | None:  # noqa: ANN401  (yaml nodes)
    if isinstance(node.value, str):
        return None
    pairs: Iterable[tuple[Any, Any]] = (
        ((item, item) for item in node.value)
        if isinstance(step, int)
        else (pair for pair in node.value if pair[0].value == str(step))
    )
    return next(
        (pair for i, pair in enumerate(pairs) if not isinstance(step, int) or i == step), None
    )
