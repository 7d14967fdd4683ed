"""``tools/setup`` says what it does before it is silent for minutes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

SETUP = Path(__file__).resolve().parents[2] / "tools/setup"
# Stands for Python: everything it is asked for succeeds at once.
PYTHON = """#!/bin/bash
if [[ "$1 $2" == "-m venv" ]]; then
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    printf '#!/bin/sh\\n' > .venv/bin/pip
    chmod +x .venv/bin/pip
fi
if [[ "$1 $2" == "-m pip" ]]; then echo "pip: $*"; fi
if [[ "$1" == --version ]]; then echo "Python 3.11.7"; fi
[[ -e .venv/bin/python || "$2" != "import pip"* ]]
"""


def set_up(folder: Path) -> list[str]:
    (folder / "tools").mkdir(exist_ok=True)
    shutil.copy(SETUP, folder / "tools/setup")
    python = folder / "python3"
    python.write_text(PYTHON)
    python.chmod(0o755)
    done = subprocess.run(
        [str(folder / "tools/setup")],
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_takes_long_is_announced_and_the_end_told(tmp_path: Path) -> None:
    made, installing, upgrade, install, end = set_up(tmp_path)
    assert made == "setup: making .venv with Python 3.11.7"
    assert "minutes" in installing
    assert re.search(r" [0-9.]+ [MG]B on disk", installing)
    assert "--quiet" in upgrade  # nobody watches
    assert "--editable .[oci] --group dev" in install
    assert end.startswith("setup: done in ")
    assert (tmp_path / ".venv/.installed").exists()


def test_an_environment_that_is_there_is_kept(tmp_path: Path) -> None:
    set_up(tmp_path)
    mark = tmp_path / ".venv/mine"
    mark.touch()
    assert not [line for line in set_up(tmp_path) if line.startswith("setup: making")]
    assert mark.exists()
