"""One tree, three ways to get it: checkout, wheel, collection tarball."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from repository import ROOT, tracked

import gpuprep

if TYPE_CHECKING:
    from collections.abc import Iterable

COLLECTION = "gpuprep/_collections/ansible_collections/gpuprep/core"
PARTS = ("roles", "playbooks", "plugins", "meta", "galaxy.yml")


def collection_files(names: Iterable[str], prefix: str = "") -> set[str]:
    """Those names below a prefix that are files of the collection proper."""
    found = set()
    for name in names:
        path = PurePosixPath(name)
        if not path.is_relative_to(prefix) or name.endswith("/"):
            continue
        relative = path.relative_to(prefix)
        if relative.parts and relative.parts[0] in PARTS:
            found.add(str(relative))
    return found


@pytest.fixture(scope="session")
def checkout() -> set[str]:
    return {str(path.relative_to(ROOT)) for path in tracked(*PARTS)}


def only(built: Path, pattern: str) -> Path:
    (found,) = built.glob(pattern)
    return found


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    return only(built, "*.whl")


@pytest.fixture(scope="session")
def tarball(built: Path) -> Path:
    return only(built, "gpuprep-core-*.tar.gz")


def names_in(archive: Path) -> list[str]:
    if archive.suffix == ".whl":
        return zipfile.ZipFile(archive).namelist()
    with tarfile.open(archive) as opened:
        return [member.name for member in opened if member.isfile()]


def test_versions_are_equal() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"]
    assert project == galaxy == gpuprep.__version__
    assert f"## {project}" in (ROOT / "CHANGELOG.md").read_text()


def test_supported_ansible_is_equal() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (core,) = [one for one in project["dependencies"] if one.startswith("ansible-core")]
    runtime = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]
    lowest = runtime.removeprefix(">=").removesuffix(".0")
    assert core.startswith(f"ansible-core>={lowest},")
    for path in tracked("roles/*/meta/main.yml"):
        assert yaml.safe_load(path.read_text())["galaxy_info"]["min_ansible_version"] == lowest


def test_sanity_overlooks_the_licence_of_plugins_alone_in_every_supported_ansible() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (core,) = [one for one in project["dependencies"] if one.startswith("ansible-core")]
    lowest, above = (int(minor) for minor in re.findall(r"2\.(\d+)", core))
    files = [path.relative_to(ROOT) for path in tracked("tests/sanity/*")]
    assert [str(path) for path in files] == [
        f"tests/sanity/ignore-2.{minor}.txt" for minor in range(lowest, above)
    ]
    plugins = tracked("plugins/inventory/*.py", "plugins/lookup/*.py", "plugins/modules/*.py")
    rule = "validate-modules:missing-gplv3-license # Apache-2.0, see LICENSE"
    overlooked = "".join(f"{path.relative_to(ROOT)} {rule}\n" for path in plugins)
    assert {(ROOT / path).read_text() for path in files} == {overlooked}


def test_package_shows_the_collection_in_the_checkout() -> None:
    inside = ROOT / COLLECTION
    assert {entry.name for entry in inside.iterdir()} == {*PARTS, "README.md"}
    for entry in inside.iterdir():
        assert entry.is_symlink()
        assert entry.resolve() == ROOT / entry.name


def test_sdist_has_the_collection(built: Path, checkout: set[str]) -> None:
    sdist = only(built, f"gpuprep-{gpuprep.__version__}.tar.gz")
    assert collection_files(names_in(sdist), f"gpuprep-{gpuprep.__version__}") == checkout


def test_wheel_has_the_collection(wheel: Path, checkout: set[str]) -> None:
    assert collection_files(names_in(wheel), COLLECTION) == checkout


def test_tarball_has_collection_and_package(tarball: Path, checkout: set[str]) -> None:
    names = names_in(tarball)
    assert collection_files(names) == checkout - {"galaxy.yml"}  # MANIFEST.json takes its place
    package = {str(path.relative_to(ROOT)) for path in tracked("gpuprep/*")}
    package = {name for name in package if not name.startswith("gpuprep/_collections/")}
    assert package
    assert {name for name in names if name.startswith("gpuprep/")} == package
    tops = {name.split("/")[0] for name in names}
    assert tops == {
        *PARTS[:-1],
        *(
            "gpuprep",
            "tests",
            "docs",
            "README.md",
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "LICENSE",
            "requirements.yml",
        ),
        *("MANIFEST.json", "FILES.json"),
    }


LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")


def test_every_link_works_for_who_has_the_tarball(tarball: Path) -> None:
    names = set(names_in(tarball))
    there = names | {str(parent) for name in names for parent in PurePosixPath(name).parents}
    dead = []
    with tarfile.open(tarball) as opened:
        for name in sorted(name for name in names if name.endswith(".md")):
            file = opened.extractfile(name)
            assert file is not None
            for link in LINK.findall(file.read().decode()):
                target = os.path.normpath(PurePosixPath(name).parent / link)
                if "://" not in link and target not in there:
                    dead.append(f"{name}: {link}")
    assert dead == []


def test_the_galaxy_page_needs_nothing_beside_it() -> None:
    """Galaxy shows one page alone; its links lead into the repository."""
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    links = LINK.findall((ROOT / galaxy["readme"]).read_text(encoding="utf-8"))
    assert len(links) > 5
    assert all(link.startswith(f"{galaxy['repository']}/blob/main/") for link in links)


def test_links_into_the_repository_lead_somewhere() -> None:
    place = f"{yaml.safe_load((ROOT / 'galaxy.yml').read_text())['repository']}/blob/main/"
    for page in tracked("*.md"):
        for link in LINK.findall(page.read_text(encoding="utf-8")):
            if link.startswith(place):
                assert (ROOT / link.removeprefix(place)).exists(), f"{page}: {link}"


def test_no_archive_has_anything_generated(built: Path) -> None:
    for archive in built.iterdir():
        for name in names_in(archive):
            assert "__pycache__" not in name, archive.name
            assert not name.endswith((".pyc", ".so", ".deb")), archive.name


# --- they work -------------------------------------------------------------------------------


def libraries() -> list[str]:
    """What gpuprep depends on, without this checkout (which is there by a .pth file only)."""
    return [path for path in sys.path if path.endswith("site-packages")]


def make_environment(place: Path) -> Path:
    """Give the Python of an environment that has our dependencies, but no gpuprep."""
    venv.create(place)
    (found,) = place.glob("lib/python*/site-packages")
    (found / "dependencies.pth").write_text("\n".join(libraries()) + "\n")
    return place / "bin/python"


def run(command: list[str], directory: Path, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env={
            "PATH": f"{Path(command[0]).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inventory of this machine for a plan of nothing: needs no GPU, no root, no network."""
    inventory: dict[str, Any] = {
        "all": {
            "hosts": {
                "localhost": {
                    "ansible_connection": "local",
                    "ansible_become": False,
                    "ansible_python_interpreter": sys.executable,
                    "gpuprep_components": [],
                }
            }
        }
    }
    path = tmp_path_factory.mktemp("inventory") / "hosts.json"
    path.write_text(json.dumps(inventory))
    return path


def test_wheel_works_in_an_environment_of_its_own(wheel: Path, hosts: Path, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "venv")
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(python)]
    run([*pip, "install", "--no-deps", "--no-index", str(wheel)], tmp_path)
    where = run([str(python), "-c", "import gpuprep; print(gpuprep.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)
    program = str(python.parent / "gpuprep")
    assert "apply" in run([program, "--help"], tmp_path)
    out = run([program, "plan", "-i", str(hosts), "--output", "json"], tmp_path)
    assert json.loads(out)["hosts"].keys() == {"localhost"}


def test_tarball_works_without_the_package(tarball: Path, hosts: Path, tmp_path: Path) -> None:
    """Who installs the collection alone has ansible-core and what it brings, and no gpuprep."""
    python = make_environment(tmp_path / "venv")
    (found,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    # As in a bare ansible-core: the libraries that only pip's gpuprep brings are not there.
    (found / "sitecustomize.py").write_text(
        "import sys\n"
        "for name in ('ansible_runner', 'click', 'jsonschema', 'oci', 'rich'):\n"
        "    sys.modules[name] = None\n"
    )
    galaxy = [str(python), "-m", "ansible.cli.galaxy", "collection", "install"]
    run([*galaxy, "--offline", "-p", str(tmp_path / "collections"), str(tarball)], tmp_path)
    out = run(
        [str(python), "-m", "ansible.cli.playbook", "-i", str(hosts), "gpuprep.core.plan", "-v"],
        tmp_path,
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path / "collections"),
    )
    assert "failed=0" in out
    assert "1 converged" in out


def test_checkout_works_for_plain_ansible(hosts: Path) -> None:
    program = str(Path(sys.executable).parent / "ansible-playbook")
    assert "1 converged" in run([program, "-i", str(hosts), "gpuprep.core.plan", "-v"], ROOT)
