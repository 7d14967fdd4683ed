"""``gpuprep lock``: fix what a plan resolved to."""

from __future__ import annotations

import click


@click.group("lock")
def lock_group() -> None:
    """Write and check the lock file."""
