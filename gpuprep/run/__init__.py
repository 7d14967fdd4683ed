"""One run of ansible-playbook: start, watch, stop, collect."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from typing import Final, NoReturn

_NEW_OBJECTS: Final = 20_000


def collect_seldom() -> None:
    """Let Python look for circles among its objects more seldom, in the whole process.

    Programs that start, work and end make many objects and keep them: by default a twentieth of
    their time goes into looking for garbage among those.
    """
    gc.set_threshold(_NEW_OBJECTS)


def leave(code: int) -> NoReturn:
    """End this process, and do not take apart first what it has made.

    Python would free every object by itself, a tenth of the time of a start. Files are closed, and
    memory given back, by the kernel; what was registered for the end is done.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing does
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
