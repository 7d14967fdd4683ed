"""Puts the collection into the wheel; hatchling calls it."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PLACE = "gpuprep/_collections/ansible_collections/gpuprep/core"


class CollectionHook(BuildHookInterface):  # type: ignore[type-arg]  # of any builder's configuration
    """Adds what the links below ``gpuprep/_collections`` show in a checkout.

    An editable installation has the checkout and its links; a copy beside it would go stale.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add."""
        if version == "standard":
            for part in self.config["parts"]:
                build_data["force_include"][part] = f"{_PLACE}/{part}"
