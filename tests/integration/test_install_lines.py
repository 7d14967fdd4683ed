"""The lines by which people install gpuprep, run as they stand on bare Debian systems."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import bootstrap, images, mirror
from sandbox.podman import podman

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = {"README.md": "## Install", "docs/quickstart.md": "## 1. Install"}
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
# A bare system's root has no sudo, and needs none.
AS_ROOT = 'sudo() { "$@"; }\napt-get --quiet update\n'
PROOF = """
gpuprep --version
gpuprep explain VM.GPU.A10.1 --os debian-12
python3 -c 'import oci'
"""


def lines(page: str) -> str:
    """Return the first shell block below a page's heading on installation."""
    text = (REPOSITORY / page).read_text(encoding="utf-8").partition(f"{PAGES[page]}\n")[2]
    found = re.search(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def bare(suite: str) -> str:
    """Return an image with nothing but what Debian itself wants, and certificates."""
    bootstrap.ensure()
    found, options = mirror.of_this_machine()
    made = images.recipe(suite, found, options, ("ca-certificates",))
    return images.build(replace(made, customize="set -eu\n"))


def clone(folder: Path) -> Path:
    """Return a copy of the files that git has, as in a fresh clone."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    for name in filter(None, names.stdout.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target, follow_symlinks=False)
    return folder


def test_pages_agree() -> None:
    plain = [[line.split(" #")[0].rstrip() for line in lines(p).splitlines()] for p in PAGES]
    assert plain[0] == plain[1]


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_a_bare_system_gets_gpuprep_by_the_lines_of_the_readme(suite: str, tmp_path: Path) -> None:
    here = [name for name in ("PIP_INDEX_URL",) if name in os.environ]
    reach = [word for name in here for word in ("--env", name)]
    reach += ["--volume", f"{AUTHORITIES}:{AUTHORITIES}:ro", "--env", f"PIP_CERT={AUTHORITIES}"]
    script = f"set -eux\n{AS_ROOT}cd /clone\n{lines('README.md')}cd /\n{PROOF}"
    done = podman(
        *("run", "--rm", "--network", "host", "--entrypoint", "/bin/bash"),
        *("--volume", f"{clone(tmp_path)}:/clone", *reach),
        *(bare(suite), "-c", script),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r"branch +580", done.stdout)
