"""``gpuprep env``: how plain ansible-playbook finds the collection inside this package."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from gpuprep.run.environment import playbook_user_environment


@click.command()
def env() -> None:
    """Print the variables that plain ansible-playbook needs to find gpuprep.

    \b
    eval "$(gpuprep env)"
    ansible-playbook -i INVENTORY gpuprep.core.apply
    """  # noqa: D301 - \b is click's mark: these lines stay as they are
    for name, value in playbook_user_environment(os.environ, Path.cwd()).items():
        click.echo(f"export {name}={shlex.quote(value)}")
