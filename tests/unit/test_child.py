"""The process that observes and plans: its events come whole, whatever else is printed."""

from __future__ import annotations

import json
import os
import resource
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import fleet_rig
import pytest

from gpuprep.errors import ConfigError
from gpuprep.model import HostStatus
from gpuprep.run.events import EventKind
from gpuprep.run.first_task import _teller

if TYPE_CHECKING:
    from pathlib import Path

    from fleet_rig import Rig

    from gpuprep.run.events import Event

MANY = 1100  # more than select() can take


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return fleet_rig.make(tmp_path, monkeypatch, "runs")


def printing(text: str, value: object) -> str:
    """Return a template whose program writes to standard error, as one that asks for a password."""
    return f"{{{{ lookup('pipe', \"printf '{text}' >&2; echo {value}\") }}}}"


def test_a_line_that_does_not_end_swallows_no_error(rig: Rig) -> None:
    hosts = {"a": {"gpuprep_batch": printing("Password: ", 1)}, "b": {"gpuprep_batch": "2"}}
    with pytest.raises(ConfigError, match=r'gpuprep_batch has one value .* "1" on a; "2" on b'):
        rig.run("plan", hosts)


def test_a_line_that_does_not_end_swallows_no_event(rig: Rig) -> None:
    events: list[Event] = []
    hosts = {"a": {"rig_fault": printing("Password: ", "")}}
    result = rig.run("plan", hosts, on_event=events.append)
    assert result.hosts["a"].state is HostStatus.DRIFTED
    assert result.counts["host_tasks"] == 1
    output = [event.text for event in events if event.kind is EventKind.OUTPUT]
    assert output == ["Password: "]


def test_what_a_program_prints_is_no_event(rig: Rig) -> None:
    events: list[Event] = []
    forged = json.dumps({"event": "playbook_on_play_start", "event_data": {"name": "forged"}})
    text = forged.replace('"', "\\\\042")
    result = rig.run("plan", {"a": {"rig_fault": printing(text, "")}}, on_event=events.append)
    assert result.hosts["a"].state is HostStatus.DRIFTED
    shown = [event.kind for event in events if "forged" in event.text]
    assert shown == [EventKind.OUTPUT]


def test_programs_that_are_started_get_no_way_to_tell_events() -> None:
    events, its_end = os.pipe()
    with os.fdopen(events, "rb") as stream:
        os.set_inheritable(its_end, True)  # noqa: FBT003 - positional only
        tell: Any = _teller(its_end)
        assert not os.get_inheritable(its_end)
        tell("verbose", "a\nb", {"host": "x"})
        told = json.loads(stream.readline())
    assert told == {"event": "verbose", "stdout": "a\nb", "event_data": {"host": "x"}}


def test_a_program_may_have_many_open_files(rig: Rig) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2 * MANY if hard == resource.RLIM_INFINITY else min(hard, 2 * MANY)
    if most <= MANY:
        pytest.skip("this user may not open as many")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    try:
        with ExitStack() as opened:
            for _number in range(MANY):
                opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
            result = rig.run("plan", {"a": {}})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result.hosts["a"].state is HostStatus.DRIFTED
