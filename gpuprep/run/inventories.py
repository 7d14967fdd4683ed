"""Which hosts: what a caller may give as an inventory, made into what Ansible takes."""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gpuprep.errors import ConfigError, InventoryError
from gpuprep.model.text import clean_line
from gpuprep.run.paths import existing

LOCALHOST: Final = "localhost"
_SYSTEM_PYTHON: Final = Path("/usr/bin/python3")
_VARIABLES_BESIDE: Final = ("group_vars", "host_vars")
LONGEST: Final = 64 * 1024  # characters of an argument; Linux takes 128 KiB
_MOST_FILES: Final = 10_000
_GROUP_KEYS: Final = frozenset({"hosts", "vars", "children"})

Source = str | os.PathLike[str] | Mapping[str, Any] | Sequence[str | os.PathLike[str]]


def inventory_arguments(source: Source, run_dir: Path) -> tuple[str, ...]:
    """Return the values of ``--inventory`` for a source.

    Args:
        source: a file, directory, script or inventory-plugin configuration; several of them;
            ``"host1,host2"``; ``"localhost"`` for this machine; or Ansible's inventory
            structure, by group, which is written into the run's private directory.
        run_dir: the run's private directory.

    Raises:
        InventoryError: a path does not exist or cannot be read.
        ConfigError: the structure is not an inventory, or a name is empty.

    """
    if isinstance(source, Mapping):
        return (_write(checked_structure(source), run_dir),)
    if isinstance(source, str | os.PathLike):
        source = [source]
    if not source:
        raise ConfigError("the list of inventories is empty: name at least one")
    refuse_empty(source)
    return tuple(_argument(item, run_dir) for item in source)


def refuse_empty(names: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse an inventory whose name is empty: Ansible takes that for the working directory.

    Raises:
        ConfigError: says so.

    """
    if not all(os.fspath(name).strip() for name in names):
        raise ConfigError(
            "an inventory is given by an empty name, and names no host: name a file, a directory"
            " or hosts, or leave it out"
        )


def files_of(source: Source | None) -> tuple[Path, ...]:
    """Return the files that Ansible reads for a source's paths, variables beside them included."""
    if source is None or isinstance(source, Mapping):
        return ()
    items = [source] if isinstance(source, str | os.PathLike) else source
    found: list[Path] = []
    for path in filter(None, map(existing, items)):
        beside = [path] if path.is_dir() else [path.parent / name for name in _VARIABLES_BESIDE]
        below = (file for folder in beside for file in folder.rglob("*"))
        found += [path, *itertools.islice(below, _MOST_FILES)]
    return tuple(path for path in dict.fromkeys(found) if path.is_file())


def names_of(source: Source | None) -> tuple[str, ...]:
    """Return a source as a report names it: paths absolute, lists of hosts as they are."""
    if source is None or isinstance(source, Mapping):
        return (describe(source),)
    items = [source] if isinstance(source, str | os.PathLike) else source
    return tuple(_name_of(os.fspath(item)) for item in items)


def _name_of(item: str) -> str:
    path = Path(item).expanduser()
    return str(path.absolute()) if path.exists() else item


def describe(source: Source | None) -> str:
    """Return a source as messages name it."""
    if source is None:
        return "the configured inventory"
    if isinstance(source, Mapping):
        return "the given inventory"
    items = [source] if isinstance(source, str | os.PathLike) else source
    return "inventory " + ", ".join(os.fspath(item) for item in items)


def _argument(item: str | os.PathLike[str], run_dir: Path) -> str:
    text = os.fspath(item)
    path = existing(text)
    if path is None and text == LOCALHOST:
        return _write(this_machine(), run_dir)
    if path is None and "," in text:
        return text if len(text) <= LONGEST else _write_list(text, run_dir)
    if path is None:
        shown = clean_line(text)
        raise InventoryError(
            f"inventory {shown}: no such file or directory. Check the path; a list of host names "
            f'needs a comma ("{shown},"), and "localhost" means this machine.'
        )
    if not os.access(path, os.R_OK):
        raise InventoryError(f"inventory {text}: not readable by this user")
    return str(path.absolute())


def this_machine() -> dict[str, Any]:
    """Inventory of the machine gpuprep runs on: no ssh, sudo only when it is needed.

    The system's own Python is taken where there is one: it has the bindings of the package
    manager, which a virtual environment has not.
    """
    python = str(_SYSTEM_PYTHON) if _SYSTEM_PYTHON.exists() else sys.executable
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": python,
        "ansible_become": os.geteuid() != 0,
    }
    return {"all": {"hosts": {LOCALHOST: variables}}}


def checked_structure(structure: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an inventory structure that Ansible can read.

    Raises:
        ConfigError: it names no group, or a group has another form.

    """
    if not structure:
        raise ConfigError('the inventory is empty: give groups, as in {"all": {"hosts": {...}}}')
    for name, group in structure.items():
        if group is not None and not isinstance(group, Mapping):
            raise ConfigError(
                f"inventory group {name!r}: expected a mapping with hosts, vars or children, "
                f"found {type(group).__name__}"
            )
        unknown = set(group or ()) - _GROUP_KEYS
        if unknown:
            raise ConfigError(
                f"inventory group {name!r}: unknown key {min(unknown)!r}; a group has hosts, "
                'vars and children, e.g. {"all": {"hosts": {"gpu1": {}}}}'
            )
    return structure


def _write(structure: Mapping[str, Any], run_dir: Path) -> str:
    path = run_dir / "inventory.json"
    write_private(path, structure)
    return str(path)


def _write_list(text: str, run_dir: Path) -> str:
    """Write a list of hosts as an inventory, one a line."""
    names = [name for part in text.split(",") if (name := part.strip())]
    odd = next((name for name in names if not name.isprintable() or set(name) & set(" #;=")), None)
    if odd is not None:
        raise ConfigError(f"inventory: {clean_line(odd)!r} in the list is no name of a host")
    with tempfile.NamedTemporaryFile(
        "w", dir=run_dir, prefix="hosts-", delete=False, encoding="utf-8"
    ) as file:
        file.write("\n".join([*names, ""]))
    return file.name


def write_private(path: Path, data: object) -> None:
    """Write JSON that only this user can read.

    Raises:
        ConfigError: the data holds something that JSON cannot.

    """
    try:
        text = json.dumps(data)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"variables must be plain data (text, numbers, lists): {error}"
        ) from error
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
