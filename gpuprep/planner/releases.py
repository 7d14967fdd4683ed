"""The releases that the catalog knows: driver branches, CUDA toolkits, cuDNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.planner.matrix import Table

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Branch, Catalog


def release_tables(catalog: Catalog, today: str) -> tuple[Table, ...]:
    """Return the tables of ``catalog list``.

    Args:
        catalog: the facts.
        today: date (ISO) that ends of life are judged by.

    """
    return _branches(catalog, today), _toolkits(catalog), _cudnn(catalog)


def _branches(catalog: Catalog, today: str) -> Table:
    columns = ("branch", "kind", "state", "end of life", "newest release", "channel", "native CUDA")
    rows = tuple(
        (
            branch.name,
            branch.kind,
            _state(branch, today),
            branch.eol or "not announced",
            "none seen" if branch.latest == f"{branch.name}.0" else branch.latest,
            ", ".join(name for name, line in catalog.channels.items() if branch.name in line)
            or "-",
            branch.native_cuda,
        )
        for branch in catalog.branches.values()
    )
    return Table("Driver branches", columns, rows)


def _state(branch: Branch, today: str) -> str:
    return "ended" if branch.eol is not None and branch.eol < today else "supported"


def _toolkits(catalog: Catalog) -> Table:
    rows = tuple(
        (
            toolkit.version,
            ", ".join(toolkit.releases),
            catalog.cuda.driver_floor[int(toolkit.version.split(".", maxsplit=1)[0])],
        )
        for toolkit in catalog.toolkits.values()
    )
    return Table("CUDA toolkits", ("CUDA", "releases", "driver from"), rows)


def _cudnn(catalog: Catalog) -> Table:
    rows = tuple(
        (
            release,
            series.name,
            ", ".join(str(major) for major, built in series.cuda.items() if release in built),
        )
        for series in catalog.cudnn.values()
        for release in series.releases
    )
    return Table("cuDNN", ("release", "series", "built for CUDA"), rows)
