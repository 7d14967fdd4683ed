"""Write again what is generated from data: ``python -m tools.docs [--check]``.

A page is generated as a whole, or holds a generated part between two marks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuprep.catalog import load
from gpuprep.components import COMPONENTS, ROLES
from gpuprep.ladder.checks import BY_ID
from gpuprep.packages import FAMILIES
from gpuprep.packages.support import Support, supported
from gpuprep.planner.settings import fleet_options, role_options
from tools.catalog_pages import pages as catalog_pages
from tools.check_pages import page as checks_page
from tools.code_pages import page as codes_page
from tools.survey import survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuprep.components.base import Component

ROOT: Final = Path(__file__).resolve().parent.parent
_BEGIN: Final = "<!-- begin of what `make docs` writes -->\n"
_END: Final = "<!-- end of what `make docs` writes -->\n"


def texts() -> dict[Path, str]:
    """Return the text that every generated file must have, by path.

    Raises:
        ValueError: a file has lost the marks of its generated part.

    """
    pages = catalog_pages(load())
    written = {ROOT / "docs" / name: text for name, text in pages.items()}
    written[ROOT / "docs" / "checks.md"] = checks_page()
    written[ROOT / "docs" / "codes.md"] = codes_page()
    written[ROOT / "docs" / "awx" / "survey.json"] = survey(_prose)
    for component in COMPONENTS:
        path = ROOT / "roles" / component.role / "README.md"
        written[path] = _with_part(path, _role_part(component))
    page = ROOT / "README.md"
    written[page] = _with_part(page, _systems())
    page = ROOT / "docs" / "variables.md"
    written[page] = _with_part(page, _variables())
    return written


def _systems() -> str:
    """Return how far gpuprep goes on which systems."""
    rows = [f"| {level} | {supported(load(), level)} | {level.meaning} |" for level in Support]
    return "\n".join(("| gpuprep | Systems | Meaning |", "|---|---|---|", *rows, ""))


def _variables() -> str:
    parts = [f"## Fleet-wide\n\n{options_table(fleet_options())}"]
    parts += [f"## Role `{role}`\n\n{options_table(role_options(role))}" for role in ROLES]
    return "\n".join(parts)


def _role_part(component: Component) -> str:
    """Return the generated part of a role's README: inputs, what it writes, its checks."""
    written = ["| What | Where |", "|---|---|"]
    shared = ", ".join(f"{path}" for family in FAMILIES.values() for path in family.paths)
    written += [f"| {item.what} | {item.where or shared} |" for item in component.writes]
    checks = [f"- `{name}`: {BY_ID[name].title}" for name in component.checks]
    space = ", ".join(f"{size} MiB in {path}" for path, size in component.space_mb.items())
    parts = [
        options_table(role_options(component.role)),
        "## What it installs and writes\n",
        "\n".join(written) + "\n",
        f"A bare host needs about {space} for it. What lies on one file system adds up, over all"
        " components.\n"
        if space
        else "",
        "## Facts it leaves for other tasks\n",
        "\n".join(f"- `{name}`: {meaning}" for name, meaning in component.exports.items()) + "\n",
        "## Checks it brings\n",
        "\n".join(checks) + "\n",
    ]
    return "\n".join(part for part in parts if part)


def _with_part(path: Path, part: str) -> str:
    """Put a generated part between the marks of a file."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path}: the lines {_BEGIN.strip()!r} and {_END.strip()!r} are missing")
    return f"{before}{_BEGIN}\n{part}\n{_END}{after}"


def options_table(options: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the options of an argument specification as a Markdown table."""
    rows = ["| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
    rows += [f"| {' | '.join(cells)} |" for cells in _rows(options, "")]
    return "\n".join(rows) + "\n"


def _rows(options: Mapping[str, Mapping[str, Any]], parent: str) -> Iterator[tuple[str, ...]]:
    for name, option in options.items():
        kind = option["type"]
        if "elements" in option:
            kind += f" of {option['elements']}"
        default = "required" if option.get("required") else _value(option.get("default"))
        meaning = _prose(option["description"])
        if "choices" in option:
            meaning += " One of " + ", ".join(_value(one) for one in option["choices"]) + "."
        yield (f"`{parent}{name}`", kind, default, meaning)
        yield from _rows(option.get("options", {}), f"{parent}{name}.")


def _value(value: object) -> str:
    if value is None:
        return ""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def _prose(description: str | list[str]) -> str:
    """Turn Ansible's markup, such as ``C(...)``, into Markdown for a table cell."""
    text = description if isinstance(description, str) else " ".join(description)
    for mark in ("RV(", "C(", "O(", "V("):
        while (start := text.find(mark)) >= 0:
            inner, rest = _to_closing(text[start + len(mark) :])
            text = f"{text[:start]}`{inner}`{rest}"
    return text.replace("|", "\\|").replace("\n", " ")


def _to_closing(text: str) -> tuple[str, str]:
    """Split at the parenthesis that closes one opened before the text."""
    depth = 1
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[:position], text[position + 1 :]
    raise ValueError(f"no closing parenthesis in {text!r}")


def stale() -> list[Path]:
    """Return the files whose text is not what it must be."""
    return [
        path
        for path, text in texts().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str]) -> int:
    """Write what is stale, or with ``--check`` only name it (status 1)."""
    files = stale()
    for path in files:
        if "--check" not in arguments:
            path.write_text(texts()[path], encoding="utf-8")
        print(path.relative_to(ROOT))
    return 1 if files and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
