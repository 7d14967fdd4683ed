"""Somebody's own playbooks, run by plain ansible-playbook."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from gpuprep.run import environment as engine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab import Lab


@dataclass(frozen=True)
class Played:
    """How a playbook ended."""

    code: int
    text: str
    stats: dict[str, int]

    @property
    def changed(self) -> int:
        return self.stats["changed"]


class Stranger:
    """Somebody's own playbooks, run by plain ansible-playbook."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self._folder = folder

    def roles(self, host: str, *roles: str, **variables: Any) -> Played:
        """Run ``roles:`` on a host."""
        play = {
            "name": "My hosts",
            "hosts": "all",
            "gather_facts": False,
            "roles": [f"gpuprep.core.{role}" for role in roles],
            "vars": variables,
        }
        path = self._folder / "site.yml"
        path.write_text(yaml.safe_dump([play]))
        return self.play(str(path), host)

    def play(
        self,
        playbook: str,
        *hosts: str,
        options: tuple[str, ...] = (),
        environ: Mapping[str, str] | None = None,
    ) -> Played:
        """Run a playbook, by path or full name, on hosts."""
        environment = {
            **os.environ,
            **engine.playbook_user_environment(os.environ, self._folder),
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=no",  # nothing of it outlives the playbook
            **(environ or {}),
        }
        inventory = self._lab.inventory(*hosts)
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), *options, playbook],
            cwd=self._folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        recap = done.stdout.rpartition("PLAY RECAP")[2]
        pairs = (word.split("=") for word in recap.split() if "=" in word)
        stats = {key: int(value) for key, value in pairs}
        return Played(done.returncode, done.stdout + done.stderr, stats)
