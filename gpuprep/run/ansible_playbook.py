"""Start ansible-playbook with this very interpreter and this very gpuprep.

Run as a script: ``python -P .../gpuprep/run/ansible_playbook.py ARGUMENTS``. Whatever PATH holds,
the plugins then import the gpuprep that started them, also from a checkout that was never
installed. ``-P`` keeps a directory named ``ansible`` in the user's project from shadowing Ansible.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


def main() -> None:
    """Hand the arguments to ansible-playbook; does not return."""
    home = str(Path(__file__).resolve().parents[2])
    if home not in sys.path:
        sys.path.append(home)
    from ansible.cli.playbook import main as ansible_playbook  # noqa: PLC0415 - needs the path

    arguments = sys.argv[1:]
    sys.argv[0] = program() or sys.argv[0]
    ansible_playbook(["ansible-playbook", *arguments])


def program() -> str | None:
    """Return where ansible-playbook is installed, None when that cannot be told.

    The ssh plugin looks there for the program that hands a password to ssh; the programs of a
    virtual environment are rarely on PATH.
    """
    for scheme in (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")):
        folder = Path(sysconfig.get_path("scripts", scheme))
        if os.access(folder / "ansible", os.X_OK):
            return str(folder / "ansible-playbook")
    return None


if __name__ == "__main__":
    main()
