"""``ansible-test sanity`` over the collection as Galaxy gets it: ``python -m tools.sanity``.

With another release of Ansible: the Python of an environment of ``tools.releases`` runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import SimpleNamespace

from ansible_test._internal.python_requirements import get_venv_packages

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache/sanity"  # ansible-test keeps an environment per test below its home
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
BIN = Path(sys.executable).parent
# ansible-test would fetch this script from a server of its own, to install what Python brings.
BOOTSTRAP = "import ensurepip\n\nensurepip.bootstrap()\n"


def program(name: str) -> str:
    """Return the path of a program of this environment."""
    return str(BIN / name)


def unpack(folder: Path) -> Path:
    """Build the collection and lay it out as Ansible wants it; return its directory."""
    place = folder / "ansible_collections/gpuprep/core"
    place.mkdir(parents=True)
    build = [program("ansible-galaxy"), "collection", "build", "--output-path", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        # Debian 12's Python has no filters yet; the archive was made here.
        opened.extraction_filter = getattr(tarfile, "data_filter", None)
        opened.extractall(place)  # noqa: S202 - as said above
    return place


def environment() -> dict[str, str]:
    """Return the environment of ansible-test: nothing is written to the user's own home."""
    settings = os.environ.get("XDG_CONFIG_HOME", str(Path.home() / ".config"))  # pip's index
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "HOME": str(CACHE), "XDG_CONFIG_HOME": settings, "PATH": path}


def provide_pip() -> None:
    """Put the bootstrap script where ansible-test keeps the one that it fetched."""
    release = get_venv_packages(SimpleNamespace(version=PYTHON))["pip"].replace(".", "_")
    script = CACHE / f".ansible/test/cache/get_pip_{release}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(BOOTSTRAP)


def passes(place: Path, *options: str) -> bool:
    """Return whether these tests find nothing; prints what they say otherwise."""
    command = [program("ansible-test"), "sanity", "--local", "--python", PYTHON, *options]
    done = subprocess.run(
        command,
        cwd=place,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    """Run all tests; the exit status is 1 when one found something."""
    provide_pip()
    # Not below the checkout: ansible-test would ask git for the files, and git ignores them.
    with tempfile.TemporaryDirectory(prefix="gpuprep-sanity-") as folder:
        place = unpack(Path(folder))
        # The package has linters of its own, stricter ones; pylint is asked about the plugins.
        found = [
            passes(place, "--skip-test", "pylint"),
            passes(place, "--test", "pylint", "plugins/"),
        ]
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
