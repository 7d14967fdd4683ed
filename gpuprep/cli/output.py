"""Writing: files as a whole, and streams whose reader may go away (``gpuprep ... | head``)."""

from __future__ import annotations

import io
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def abandon(stream: TextIO | io.FileIO) -> None:
    """Let what is still to be written to a stream vanish: its reader has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def write_file(path: Path, text: str, mode: int | None = None) -> None:
    """Write a file as a whole: its reader sees what was there before or all of the new text.

    A link is followed; a pipe or a device is written to as it is.

    Args:
        path: of the file.
        text: all of it.
        mode: its rights; None = as before, else as for any new file.

    Raises:
        OSError: it cannot be written; what was there is as it was.

    """
    import tempfile  # noqa: PLC0415 - slow, and most commands write no file

    data = text.encode("utf-8", "replace")
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    path = path.resolve()
    if mode is None:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~_umask()
    number, name = tempfile.mkstemp(dir=path.parent, prefix=".gpuprep-")
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def ensure_streams() -> None:
    """Make all standard streams fit to print to.

    A process that was started without gets the null device for them: else the next file that is
    opened gets the number of one, and what is printed goes into it. Names that the locale has no
    characters for are escaped: else the first of them ends the run. That a reader goes away ends
    nothing, and changes no exit code: a verb goes on, and nobody reads what it says.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = _patient(sys.stdout, 1)
    sys.stderr = _patient(sys.stderr, 2)


def _patient(former: TextIO | None, number: int) -> TextIO:
    """Return a standard stream that bears what its former does not."""
    if former is not None and not isinstance(former, io.TextIOWrapper):
        return former  # somebody's own
    return io.TextIOWrapper(
        io.BufferedWriter(_Patient(number, "w", closefd=False)),
        encoding="utf-8" if former is None else former.encoding,
        errors="backslashreplace",
        line_buffering=former is not None and former.line_buffering,
        write_through=former is not None and former.write_through,
    )


class _Patient(io.FileIO):
    """A file whose reader may go away."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write data, or drop it when nobody reads any more."""
        try:
            return super().write(data)
        except BrokenPipeError:
            abandon(self)
            return memoryview(data).nbytes
