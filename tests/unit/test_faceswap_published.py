"""Faceswap's own source, named by whoever has it: taken at the catalog's commit, or refused."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from gpuprep.catalog import load
from sandbox.faceswap import checkout, published
from sandbox.paths import SandboxError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_repository_is_looked_for_only_where_one_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(published.VARIABLE, raising=False)
    assert published.repository() is None
    monkeypatch.setenv(published.VARIABLE, str(tmp_path))
    assert published.repository() == tmp_path
    monkeypatch.setenv(published.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(SandboxError, match=published.VARIABLE):
        published.repository()


def test_what_is_copied_is_the_catalogs_commit_and_nothing_else_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, place = tmp_path / "source", tmp_path / "copy.git"
    commit = checkout.make(source)
    with pytest.raises(SandboxError, match=load().faceswap.commit):
        published.copy(source, place)
    monkeypatch.setattr(
        published, "load", lambda: SimpleNamespace(faceswap=SimpleNamespace(commit=commit))
    )
    published.copy(source, place)
    shown = subprocess.run(
        ["git", "-C", str(place), "show", f"{commit}:faceswap.py"], capture_output=True, check=True
    )
    assert shown.stdout == (source / "faceswap.py").read_bytes()
