"""Plans of hosts that are alike: made once.

Most hosts of a fleet say the same of themselves, but for their names, their boots and the room on
their disks. Their plan is made without the first two, and where nobody asked for the third either,
it is the plan of all of them: a host alone gets what it gets in company.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gpuprep.observe.observation import OfOneHost
from gpuprep.planner.plan import plan_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuprep.catalog import Catalog
    from gpuprep.model import Settings
    from gpuprep.observe.observation import HostObservation
    from gpuprep.planner.plan import HostPlan, Resolver

ROOM = ("space", "initramfs_mb")  # what is asked where something needs room on a host's disks


class _Watched(Mapping[str, Any]):
    """Room on a host's disks, or what takes it, and whether anybody asked for it."""

    def __init__(self, room: Mapping[str, Any]) -> None:
        self._room = room
        self.asked = False

    def __getitem__(self, path: str) -> Any:  # noqa: ANN401 - as it was given
        self.asked = True
        return self._room[path]

    def __iter__(self) -> Iterator[str]:
        self.asked = True
        return iter(self._room)

    def __len__(self) -> int:
        self.asked = True
        return len(self._room)


class AlikePlans:
    """The plans of one run; those of hosts that are alike are one.

    Args:
        catalog: what belongs together.

    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: dict[tuple[str, int], tuple[HostPlan, Settings]] = {}

    def plan(
        self, observation: HostObservation, settings: Settings, resolver: Resolver
    ) -> HostPlan:
        """Return the plan of a host; see :func:`plan_host`.

        Args:
            observation: what the host said of itself.
            settings: what the user wants on it; the same object where the wish is the same.
            resolver: decides the stack; the same for the same settings.

        """
        key = (observation.alike, id(settings))
        if observation.alike and key in self._known:
            return self._known[key][0]
        room = {name: _Watched(getattr(observation, name)) for name in ROOM}
        plan = plan_host(
            replace(observation, **{**OfOneHost().by_name, **room}),
            settings,
            self._catalog,
            resolver,
        )
        if observation.alike and not any(watched.asked for watched in room.values()):
            self._known[key] = plan, settings  # kept, so that no other gets its id
        return plan
