"""Faceswap for its own user: pinned source, locked packages, nothing that the user can alter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

USER = "faceswap"
HOME = "/var/lib/gpuprep/faceswap"


@pytest.fixture
def record(host: Host) -> dict[str, Any]:
    """Return what the role notes of its installation."""
    found: dict[str, Any] = json.loads(
        host.file("/opt/gpuprep/faceswap/installed.json").content_string
    )
    return found


def test_it_starts_as_its_user_and_finds_its_packages(host: Host, record: dict[str, Any]) -> None:
    program = f"{record['python']} {record['source']}/faceswap.py extract -h"
    variables = "PYTHONDONTWRITEBYTECODE=1 FACESWAP_BACKEND=cpu KERAS_BACKEND=torch"
    asked = host.run("su -s /bin/sh %s -c %s", USER, f"env {variables} {program}")
    # Its settings go to a copy of the source that each job makes; this one is root's.
    assert "Permission denied" in asked.stderr
    program = "import torch, torchvision, cv2, tkinter; print(torch.__version__)"
    shown = host.run("su -s /bin/sh %s -c %s", USER, f"{record['python']} -c '{program}'")
    assert shown.stdout.strip() == "2.12.1", shown.stderr


def test_its_source_is_the_commit_and_unaltered(host: Host, record: dict[str, Any]) -> None:
    git = f"git -c safe.directory={record['source']} -C {record['source']}"
    assert host.check_output(f"{git} rev-parse HEAD") == record["commit"]
    assert host.check_output(f"{git} status --porcelain") == ""


def test_its_user_has_no_login_and_writes_to_its_home_only(
    host: Host, record: dict[str, Any]
) -> None:
    user = host.user(USER)
    assert (user.shell, user.home) == ("/usr/sbin/nologin", HOME)
    places = f"/opt/gpuprep {record['python'].partition('/bin/')[0]}"
    assert host.run(f"su -s /bin/sh {USER} -c 'find {places} -writable ! -type l'").stdout == ""
    assert host.file(HOME).user == USER
