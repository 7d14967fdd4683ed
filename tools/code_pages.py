"""The page of ``docs/`` that is written from the table of codes."""

from __future__ import annotations

from gpuprep.codes import CodeKind, table
from gpuprep.planner.matrix import Table, as_markdown

_HEAD = """\
<!-- Written by `make docs` from gpuprep/codes.yml; do not edit. -->
# Codes

Codes are stable: none changes its meaning. Words in braces stand for the values of the case. A \
refusal that a setting causes also names the variables that clash and the nearest stack that would \
work."""

_TITLES = {
    CodeKind.REFUSAL: "Refusals: the host is not touched",
    CodeKind.FAILURE: "Failures: the host could not be observed, or the work on it stopped",
    CodeKind.WARNING: "Warnings: the host is prepared all the same",
}


def page() -> str:
    """Return the text of ``docs/codes.md``."""
    return "\n\n".join([_HEAD, *(as_markdown(_part(kind)) for kind in CodeKind)]) + "\n"


def _part(kind: CodeKind) -> Table:
    rows = ((f"`{c.name}`", c.message, c.remedy) for c in table().values() if c.kind == kind)
    return Table(_TITLES[kind], ("Code", "Meaning", "Remedy"), tuple(rows))
