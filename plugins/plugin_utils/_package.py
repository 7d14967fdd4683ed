"""Private: makes the Python package gpuprep importable for the collection's plugins."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from ansible.errors import AnsibleError


def ensure_package() -> None:
    """Import gpuprep, from the environment or from beside this collection (a Galaxy tarball).

    Raises:
        AnsibleError: the package is in neither place.

    """
    try:
        importlib.import_module("gpuprep")
    except ImportError:
        root = Path(__file__).resolve().parents[2]
        if not (root / "gpuprep/__init__.py").is_file():
            raise AnsibleError(
                f"the Python package gpuprep is neither installed for {sys.executable} nor in {root}:"
                f" install the collection again, or run '{sys.executable} -m pip install .' in a clone"
                " of gpuprep's repository"
            ) from None
        sys.path.append(str(root))
