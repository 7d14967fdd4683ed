"""One run of ansible-playbook: start, watch, stop, collect."""

from __future__ import annotations

import gc
from typing import Final

_NEW_OBJECTS: Final = 20_000


def collect_seldom() -> None:
    """Let Python look for circles among its objects more seldom, in the whole process.

    Programs that start, work and end make many objects and keep them: by default a twentieth of
    their time goes into looking for garbage among those.
    """
    gc.set_threshold(_NEW_OBJECTS)
