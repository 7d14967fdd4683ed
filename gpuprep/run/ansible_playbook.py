"""Start ansible-playbook with this very interpreter and this very gpuprep.

Run as a script: ``python -P .../gpuprep/ansible_playbook.py ARGUMENTS``. Whatever PATH holds,
the plugins then import the gpuprep that started them, also from a checkout that was never
installed. ``-P`` keeps a directory named ``ansible`` in the user's project from shadowing Ansible.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Hand the arguments to ansible-playbook; does not return."""
    home = str(Path(__file__).resolve().parent.parent)
    if home not in sys.path:
        sys.path.append(home)
    from ansible.cli.playbook import main as ansible_playbook  # noqa: PLC0415 - needs the path

    ansible_playbook(["ansible-playbook", *sys.argv[1:]])


if __name__ == "__main__":
    main()
