"""The real playbooks, actions and lookups over hosts and roles that are only pretended."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpuprep
from gpuprep.layout import collection_root
from gpuprep.run import directory as rundir
from gpuprep.run import environment as engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from gpuprep.model import FleetResult

PRETENDED = Path(__file__).parent / "fleet_rig_parts"
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}


@dataclass(frozen=True)
class Played:
    """How plain ansible-playbook ended: exit status, output, and per host what its recap counts."""

    code: int
    text: str
    recap: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Rig:
    """A collection of real and pretended parts.

    Attributes:
        root: collections path that holds it.
        folder: where its parts write down what they do.

    """

    root: Path
    folder: Path

    def run(self, verb: str, inventory: Any, **options: Any) -> FleetResult:
        """Run a verb; hosts of an inventory structure are local."""
        if isinstance(inventory, dict):
            hosts = {name: {**LOCAL, **(given or {})} for name, given in inventory.items()}
            inventory = {"all": {"hosts": hosts}}
        variables: Mapping[str, Any] = options.pop("variables", {})
        common = {"rig": str(self.folder)}
        run = getattr(gpuprep, verb)
        result: FleetResult = run(inventory, variables={**variables, **common}, **options)
        return result

    def play(self, playbook: str, hosts: Mapping[str, Any] | Path, *options: str) -> Played:
        """Run a playbook, or a verb's, by plain ansible-playbook; hosts of a mapping are local."""
        if isinstance(hosts, Path):
            path = hosts
        else:
            path = self.folder / "hosts.json"
            common = {**LOCAL, "rig": str(self.folder)}
            given = {name: {**common, **more} for name, more in hosts.items()}
            path.write_text(json.dumps({"all": {"hosts": given}}))
        if "/" not in playbook:
            playbook = f"gpuprep.core.{playbook}"
        command = ["playbook", "-i", str(path), *options, playbook]
        done = subprocess.run(
            [sys.executable, "-m", "ansible", *command],
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(self.root)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = re.findall(r"^(\S+) +: (ok=.*)$", done.stdout, re.MULTILINE)
        recap = {
            name: {key: int(number) for key, number in (pair.split("=") for pair in pairs.split())}
            for name, pairs in lines
        }
        return Played(done.returncode, done.stdout + done.stderr, recap)

    def log(self, *kinds: str) -> list[str]:
        """Return what the pretended parts wrote down, in order; of these kinds only."""
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not kinds or line.split()[0] in kinds]


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *parts: str) -> Rig:
    """Put the collection together, with these of the pretended parts.

    With ``alone`` and ``reboot`` the roles are real.
    """
    core = tmp_path / "collections/ansible_collections/gpuprep/core"
    core.mkdir(parents=True)
    real = collection_root()
    for name in ("galaxy.yml", "meta", "playbooks"):
        (core / name).symlink_to(real / name)
    shutil.copytree(real / "plugins", core / "plugins")
    utils = core / "plugins/plugin_utils"
    (utils / "_road.py").rename(utils / "_real_road.py")
    if "alone" in parts:
        (utils / "_converge.py").rename(utils / "_real_converge.py")
    for part in parts:
        shutil.copytree(PRETENDED / part, core / "plugins", dirs_exist_ok=True)
    with_roles = {"alone", "reboot"}.intersection(parts)
    shutil.copytree(real / "roles" if with_roles else PRETENDED / "roles", core / "roles")
    folder = tmp_path / "rig"
    folder.mkdir()
    monkeypatch.setattr(engine, "collections_root", lambda: core.parents[2])
    monkeypatch.setattr(rundir, "base_directory", lambda: tmp_path)
    monkeypatch.setenv("FLEET_RIG", str(folder))
    monkeypatch.setenv("ANSIBLE_HOME", str(tmp_path / "ansible-home"))
    return Rig(core.parents[2], folder)
