"""What is to be run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gpuprep.run.events import Event
    from gpuprep.run.redact import Redactor

Alone = Literal["never", "first", "only"]


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        playbook: path or full name.
        run_dir: the run's private directory.
        directory: working directory; where the user's relative paths start.
        arguments: further arguments of ansible-playbook; nothing secret.
        variables: extra variables that win over all others.
        passwords: answers by prompt (regular expression).
        environment: variables added to the inherited environment; nothing secret.
        alone: whether a child process carries out the first task, without ansible-playbook;
            ``first``: that is started afterwards for the hosts that differ, if any do.
        not_alone: why not, where something that the user has set needs ansible-playbook.
        keep_connections: leave ssh's connections to the next run.
        timeout: seconds, None = no limit.
        cancelled: asked about once a second whether to stop.
        on_event: told about every event.
        redactor: masks what events and messages show.

    """

    playbook: str
    run_dir: Path
    directory: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    redactor: Redactor
    variables: Mapping[str, Any] = field(default_factory=dict)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    alone: Alone = "never"
    not_alone: str | None = None
    keep_connections: bool = False
    timeout: float | None = None
    cancelled: Callable[[], bool] = lambda: False
    on_event: Callable[[Event], None] = lambda _event: None
