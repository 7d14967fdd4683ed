"""``gpuprep catalog``: keeping the data file true."""

from __future__ import annotations

import click


@click.group("catalog")
def catalog_group() -> None:
    """Check the catalog, propose updates from NVIDIA's own lists, write its pages."""
