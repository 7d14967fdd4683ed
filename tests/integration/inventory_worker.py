"""Parses one inventory after the other in one process; a line of JSON in, a line of JSON out."""

from __future__ import annotations

import json
import sys
from typing import Any

from ansible import constants
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.utils.display import Display

NAME = "gpuprep.core.oci: "


def parse(sources: list[str], told: list[str]) -> dict[str, Any]:
    """Return what Ansible makes of these sources, and what it says of them."""
    constants.INVENTORY_ANY_UNPARSED_IS_FAILED = False
    told.clear()
    try:
        manager = InventoryManager(loader=DataLoader(), sources=sources)
    except Exception as error:  # noqa: BLE001 - the exit status of a program
        return {"failed": str(error), "told": told, "hosts": {}, "groups": {}}
    local = manager.get_host("localhost")
    return {
        "failed": None,
        "told": told,
        "hosts": {host.name: host.vars for host in manager.get_hosts()},
        "groups": {
            name: sorted(host.name for host in group.get_hosts())
            for name, group in manager.groups.items()
        },
        "local": local.vars.get("ansible_connection") if local else None,
    }


def main() -> None:
    """Serve until the input ends."""
    told: list[str] = []
    display = Display()
    display.warning = lambda msg, *_, **__: told.append(msg)
    display.v = lambda msg, *_, **__: told.append(f"-v {msg}") if NAME in msg else None
    display.error_as_warning = lambda msg, exception, **_: told.append(f"{msg} {exception}")
    init_plugin_loader([])
    for line in sys.stdin:
        sys.stdout.write(json.dumps(parse(json.loads(line), told), default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
