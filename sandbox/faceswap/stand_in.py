"""The stand-in for Faceswap served to hosts: its source, packages in name only, their lock.

``python -m sandbox.faceswap.stand_in HOST FILE`` writes the variables that lead hosts to it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from sandbox import hosts, python_index, services
from sandbox.faceswap import checkout
from sandbox.nvrepo.build import REPOS
from sandbox.paths import STATE, replace_text

LOCKED: Final = ("torch", "torchvision", "opencv-python-headless", "tqdm")
REPOSITORY: Final = "stand-in.git"


def bare_repository(place: Path, work: Path) -> str:
    """Make a repository of the stand-in, as a web server without git hands it out.

    Args:
        place: becomes the bare repository; what is there is replaced.
        work: new; becomes the work tree.

    Returns:
        Its commit.

    """
    commit = checkout.make(work)
    shutil.rmtree(place, ignore_errors=True)
    for arguments in (
        ["clone", "--quiet", "--bare", str(work), str(place)],
        ["-C", str(place), "update-server-info"],
    ):
        subprocess.run(["git", *arguments], check=True)
    return commit


def serve(mirror: str, lock: Path) -> dict[str, Any]:
    """Serve it; return the settings that lead to it.

    Args:
        mirror: base URL of the sandbox's web server.
        lock: the lock file is written there.

    """
    www = STATE / "www"
    python_index.build(www)
    lock.write_text(python_index.lock(*LOCKED))
    with tempfile.TemporaryDirectory() as folder:
        commit = bare_repository(www / REPOSITORY, Path(folder) / "work")
    return {
        "faceswap_repository": f"{mirror}/{REPOSITORY}",
        "faceswap_commit": commit,
        "faceswap_index": f"{mirror}/{python_index.INDEX}",
        "faceswap_lock": str(lock),
    }


def main(host: str, file: str) -> int:
    """Serve it to a host that runs, and write the variables that lead there."""
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    served = services.start([hosts.find(host)])
    mirror = str(served["gpuprep_mirror"]).removesuffix(f"/{REPOS}")
    found = serve(mirror, path.parents[1] / "faceswap-lock.txt")
    replace_text(path, json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
