"""What looks from outside like a process of ssh, and is none.

Whoever starts ssh and reads what it says need not know: there are pipes, and an exit status. Until
the host has begun the command, whatever goes another way than well ends in handing the very same
pipes to ssh, which then does as it would have done, and says what it would have said.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOST: Final = 255  # exit status of ssh itself


class StandIn:
    """Stands in for ``subprocess.Popen`` of ssh with three pipes.

    Args:
        command: ssh's command line.
        tell: called with the reason when ssh takes over.

    Attributes:
        args: the command line.
        stdin: of the command on the host.
        stdout: as above.
        stderr: as above, and what there is to say of the connection.
        returncode: exit status, None as long as there is none.

    """

    def __init__(self, command: Sequence[str], tell: Callable[[str], None]) -> None:
        self.args = list(command)
        self.returncode: int | None = None
        self._tell = tell
        source, write_end = os.pipe()
        read_end, output = os.pipe()
        read_error, errors = os.pipe()
        self._descriptors: tuple[int, ...] = (source, output, errors)
        self.stdin: Any = os.fdopen(write_end, "wb")
        self.stdout: Any = os.fdopen(read_end, "rb")
        self.stderr: Any = os.fdopen(read_error, "rb")
        self._lock = threading.Lock()
        self._decided = threading.Event()  # there is an exit status, or a process
        self._process: subprocess.Popen[bytes] | None = None
        self._ended_by = 0

    # --- as a process looks -----------------------------------------------------------------

    def poll(self) -> int | None:
        """Return the exit status, if there is one."""
        if self.returncode is None and self._process is not None:
            self.returncode = self._process.poll()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when there is one.

        Raises:
            subprocess.TimeoutExpired: there is none in time.

        """
        begun = time.monotonic()
        if not self._decided.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        if self.returncode is None and self._process is not None:
            left = None if timeout is None else max(0.0, begun + timeout - time.monotonic())
            self.returncode = self._process.wait(left)
        return LOST if self.returncode is None else self.returncode

    def terminate(self) -> None:
        """End the connection."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the connection."""
        self._end(signal.SIGKILL)

    def _end(self, signum: int) -> None:
        with self._lock:
            process = self._process
            self._ended_by = signum
        if process is not None:
            process.send_signal(signum)
        elif self.returncode is None:
            self._cancel()

    # --- for those that do the work ---------------------------------------------------------

    def _cancel(self) -> None:
        """Let the work end early."""
        raise NotImplementedError

    def _settle(self, code: int) -> None:
        """Give the exit status."""
        self.returncode = code
        self._decided.set()
        self._leave()

    def _leave(self) -> None:
        """Close our ends of the pipes."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = ()

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._descriptors[-1], f"{text}\r\n".encode(errors="replace"))

    def _hand_over(self, reason: str) -> bool:
        """Let ssh go on from here; return whether it does."""
        with self._lock:
            if self._ended_by:
                return False
            for descriptor in self._descriptors:
                os.set_blocking(descriptor, True)
            try:
                source, output, errors = self._descriptors
                self._process = subprocess.Popen(
                    self.args, stdin=source, stdout=output, stderr=errors
                )
            except OSError as error:
                self._say(f"{self.args[0]}: {error.strerror}")
                return False
        self._tell(reason)
        self._leave()
        self._decided.set()
        return True
