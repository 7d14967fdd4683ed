"""Progress on stderr: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TextIO

from gpuprep.run.events import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

_HEARTBEAT: Final = 60.0  # seconds of silence after which a plain log says that it still lives
_MOST_HOSTS: Final = 12  # rows of the live view; the hosts heard of last
_LOUD: Final = frozenset({EventKind.FAILED, EventKind.UNREACHABLE})


@contextlib.contextmanager
def progress(
    stream: TextIO, *, quiet: bool = False, verbosity: int = 0
) -> Iterator[Callable[[Event], None]]:
    """Return an event callback that shows on ``stream`` what happens.

    Args:
        stream: where to; the live view needs a terminal.
        quiet: show nothing.
        verbosity: from 1 on, Ansible's own output is shown as well.

    """
    if quiet:
        yield lambda _event: None
    elif stream.isatty() and not verbosity:
        with _live_view(stream) as view:
            yield view.show
    else:
        with _heartbeat(PlainProgress(stream, verbosity)) as plain:
            yield plain.show


def line_of(event: Event) -> str | None:
    """Return a line that tells someone who waits what happened; None when it is of no interest."""
    place = ": ".join(part for part in (event.host, event.role, event.task) if part)
    match event.kind:
        case EventKind.PLAY:
            return f"== {event.text}"
        case EventKind.PLAN:
            return f"plan made for {event.text}"
        case EventKind.CHANGED:
            return f"{place}: changed"
        case EventKind.FAILED | EventKind.UNREACHABLE:
            return f"{place}: {event.kind.value.upper()}: {event.text}"
        case EventKind.WARNING:
            return event.text
    return None


class PlainProgress:
    """One line for each thing worth knowing, with the time; good for logs."""

    def __init__(self, stream: TextIO, verbosity: int = 0) -> None:
        self._stream = stream
        self._verbosity = verbosity
        self._lock = threading.Lock()
        self._task = ""
        self._play: str | None = None  # begun, but it may have no hosts to work on
        self._last = time.monotonic()

    def show(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        if event.kind is EventKind.TASK:
            self._task = event.text
        if self._verbosity:
            self._write(event.text if event.kind is EventKind.OUTPUT else None)
        elif event.kind is EventKind.PLAY:
            self._play = line_of(event)
        else:
            if event.kind is EventKind.TASK or event.host is not None:
                play, self._play = self._play, None
                self._write(play)
            self._write(line_of(event))

    def still_running(self) -> None:
        """Write a sign of life when nothing else was written for a while."""
        silence = time.monotonic() - self._last
        if silence >= _HEARTBEAT:
            self._write(f"still running: {self._task or 'starting'} ({silence:.0f} s)", beat=True)

    def _write(self, line: str | None, *, beat: bool = False) -> None:
        if line is None:
            return
        with self._lock:
            print(f"{time.strftime('%H:%M:%S')} {line}", file=self._stream, flush=True)
            if not beat:
                self._last = time.monotonic()


@contextlib.contextmanager
def _heartbeat(plain: PlainProgress) -> Iterator[PlainProgress]:
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT):
            plain.still_running()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield plain
    finally:
        ended.set()
        thread.join()


class LiveView:
    """A picture of the run: what goes on now, where, and what has gone wrong so far."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._play = "starting"
        self._plan = ""
        self._doing: dict[str, str] = {}
        self._counts: Counter[EventKind] = Counter()

    def show(self, event: Event) -> None:
        """Take in an event; failures and warnings stay on the screen above the picture."""
        self._counts[event.kind] += 1
        if event.kind is EventKind.PLAY:
            self._play = event.text
            self._doing.clear()
        elif event.kind is EventKind.PLAN:
            self._plan = event.text
        elif event.kind is EventKind.TASK:
            self._play = event.text
        elif event.kind in _LOUD or event.kind is EventKind.WARNING:
            style = "red" if event.kind in _LOUD else "yellow"
            self._console.print(line_of(event), style=style, markup=False, highlight=False)
        if event.host is not None:
            self._doing.pop(event.host, None)  # the host heard of last comes last
            self._doing[event.host] = f"{event.task or ''}: {event.kind.value}"

    def __rich__(self) -> RenderableType:
        from rich.spinner import Spinner  # noqa: PLC0415 - as in _live_view
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        changed, failed = self._counts[EventKind.CHANGED], sum(self._counts[k] for k in _LOUD)
        counts = f"{minutes}:{seconds:02}  {changed} changes  {failed} failures  {self._plan}"
        grid = Table.grid(padding=(0, 1))
        grid.add_row(Spinner("dots"), Text(self._play, style="bold"))
        grid.add_row("", Text(counts, style="dim"))
        for host in list(self._doing)[-_MOST_HOSTS:]:
            grid.add_row(
                "", Text(f"{host}  {self._doing[host]}", overflow="ellipsis", no_wrap=True)
            )
        return grid


@contextlib.contextmanager
def _live_view(stream: TextIO) -> Iterator[LiveView]:
    from rich.console import Console  # noqa: PLC0415 - slow, and only needed on a terminal
    from rich.live import Live  # noqa: PLC0415

    console: Any = Console(file=stream)
    view = LiveView(console)
    with Live(view, console=console, refresh_per_second=8, transient=True):
        yield view
