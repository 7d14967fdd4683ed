"""Keeps two steps off one GPU."""

import fcntl
import os
import time

from .steps import uses_gpu

AGAIN_SECONDS = 0.5


class StoppedError(Exception):
    """Somebody asked for a stop."""


class Locks:
    """Holds the GPUs of a job, so that no two steps use one at a time."""

    def __init__(self, runner, step):
        self._runner = runner
        self._step = step
        self._held = []

    def __enter__(self):
        """Wait until the GPUs are free of other jobs."""
        place = self._runner.place
        names = ["gpu-%d" % gpu for gpu in sorted(place.job["train"]["gpus"])]
        for name in names if uses_gpu(place) else ["cpu"]:
            path = os.path.join(place.installed["root"], name + ".lock")
            handle = open(path, "a")  # held until the step ends
            self._held.append(handle)
            told = False
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if not told:
                        waits = "waits until another job leaves %s" % name
                        self._runner.tell("waiting", self._step.name, waits)
                        self._runner.say(waits)
                        told = True
                    if self._runner.stopping:
                        self.__exit__()
                        raise StoppedError from None
                    time.sleep(AGAIN_SECONDS)
        return self

    def __exit__(self, *_ignored):
        """Leave the GPUs to others."""
        for handle in self._held:
            handle.close()
        self._held = []
