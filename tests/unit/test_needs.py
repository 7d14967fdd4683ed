"""Tests that need a program of the machine: skipped without it, failed where all must run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import bootstrap

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__)
CONFTEST = HERE.parents[1] / "conftest.py"
CASES = """
import pytest

@pytest.fixture
def built():
    raise FileNotFoundError("no-such-compiler")

@pytest.mark.needs("no-such-compiler", "sh")
def test_absent(built):
    pass

@pytest.mark.needs("sh")
def test_present():
    pass
"""


@pytest.mark.parametrize(
    ("setting", "code", "told"),
    [({}, 0, "1 passed, 1 skipped"), ({"TESTS_SKIP_NO_PROGRAM": "1"}, 1, "1 passed, 1 error")],
)
def test_a_missing_program(setting: dict[str, str], code: int, told: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").symlink_to(CONFTEST)
    (tmp_path / "test_cases.py").write_text(CASES)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "ignore",
            str(tmp_path),
        ],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if "TEST" not in name} | setting,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, told in done.stdout) == (code, True), done.stdout
    assert "not on this machine: no-such-compiler" in done.stdout or code == 0


def test_a_whole_run_installs_all_of_them() -> None:
    tests = CONFTEST.parent.rglob("test_*.py")
    marks = re.findall(r"^(?:@|\w+ = )pytest\.mark\.needs\((.+)\)$", read(tests), re.MULTILINE)
    wanted = {name for mark in marks for name in re.findall(r'"([^"]+)"', mark)}
    assert "chromium" in wanted
    named = {"dpkg-deb": "dpkg", "modinfo": "kmod", "systemd-analyze": "systemd"}
    named |= dict.fromkeys(("ssh", "ssh-add", "ssh-agent", "ssh-keygen"), "openssh-client")
    packages = {named.get(name, name) for name in wanted}
    assert packages <= {*bootstrap.PACKAGES, *bootstrap.FOR_TESTS, "dpkg"}


def read(paths: Iterable[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.name != HERE.name)
