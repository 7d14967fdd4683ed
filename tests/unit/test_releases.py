"""Which releases of Ansible the whole run tries, and with which Python."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from tools import releases

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_all_supported_releases_are_tried() -> None:
    here = ".".join(version("ansible-core").split(".")[:2])
    assert {*releases.supported(), here} == {f"2.{minor}" for minor in releases.PYTHONS}


def test_a_machine_without_a_python_for_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(releases, "ROOT", tmp_path)
    assert releases.make("2.21") == "left out: this machine has no Python 3.12, 3.13, 3.14"


def test_a_name_that_is_another_python_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version managers put a program for every name, and it fails."""
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert releases.python_for("2.20") is None
