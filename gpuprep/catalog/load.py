"""Reading the data file. Wrong data ends in a CatalogError that says where."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep import kept
from gpuprep.catalog.build import build
from gpuprep.catalog.schema import validate
from gpuprep.errors import CatalogError

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Catalog

DATA_FILE = Path(__file__).with_name("nvidia.yml")
SCHEMA_FILE = Path(__file__).with_name("catalog.schema.json")


def load(path: Path | None = None) -> Catalog:
    """Load the catalog: gpuprep's own, or the one at ``path`` after checking it by the schema.

    Raises:
        CatalogError: the file cannot be read, breaks the schema or contradicts itself; the
            message names file, line and place.

    """
    return _own() if path is None else build(read(path, check=True))


@lru_cache(maxsize=1)
def _own() -> Catalog:
    # Shipped data is checked by the tests; checking it here would cost more than resolving.
    return build(kept.own(DATA_FILE))


def read(path: Path, *, check: bool) -> dict[str, Any]:
    """Parse a data file, and with ``check`` hold it against the schema.

    Raises:
        CatalogError: as ``load``.

    """
    import yaml  # noqa: PLC0415  (only here; explain starts faster without it elsewhere)

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"catalog {path} cannot be read: {error}") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(text, loader)  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        raise CatalogError(f"catalog {path} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise CatalogError(f"catalog {path}: the top level must be a mapping")
    if check:
        validate(data, text, path, schema=SCHEMA_FILE)
    return data
