"""Where gpuprep's own files are: in a checkout, in an installed wheel, in a collection tarball."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


@lru_cache
def package_root() -> Path:
    """Return the directory of the Python package."""
    return Path(__file__).resolve().parent


@lru_cache
def collection_root() -> Path:
    """Return the root of the collection ``gpuprep.core`` (holds roles/, plugins/, playbooks/).

    In a checkout and in a wheel it lies inside the package; in a collection tarball the package
    lies inside it.
    """
    inside = package_root() / "_collections/ansible_collections/gpuprep/core"
    return inside if inside.is_dir() else package_root().parent
