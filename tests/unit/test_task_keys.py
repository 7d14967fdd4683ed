"""Options of a connection that come from play and task, as Ansible's own executor sets them."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.run.environment import collections_root

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sys, "path", [str(collections_root()), *sys.path])
    from ansible_collections.gpuprep.core.plugins.plugin_utils._road import Fleet  # noqa: PLC0415

    # As ansible-core 2.21 has it while the task runs: its own connection, to the controller.
    own = {"connection": "ansible.builtin.local"}
    task = {"timeout": 0, "retries": 3, "become": True, "become_user": "root", **own}
    play = SimpleNamespace(connection="ssh")
    action = SimpleNamespace(_task=SimpleNamespace(dump_attrs=task.copy, get_play=lambda: play))
    yield Fleet(action, {"hostvars": None}, "plan")
    for name in [one for one in sys.modules if one.startswith("ansible_collections")]:
        del sys.modules[name]


CONTEXT = SimpleNamespace(timeout=10, password="login", become_pass="")  # noqa: S106


def test_connection_has_its_own_timeout_and_retries(fleet: Any) -> None:
    """A task without a time limit (0) must not leave two seconds for sudo to answer."""
    keys = fleet._task_keys(CONTEXT)
    assert {"timeout", "retries"} & set(keys) == set()


def test_hosts_are_not_reached_as_the_task_reaches_the_controller(fleet: Any) -> None:
    """Else a host without ansible_connection is taken for the controller, and changed there."""
    assert fleet._task_keys(CONTEXT)["connection"] == "ssh"


def test_what_the_play_says_and_the_passwords_that_were_asked_for_count(fleet: Any) -> None:
    keys = fleet._task_keys(CONTEXT)
    assert (keys["become"], keys["become_user"], keys["password"]) == (True, "root", "login")
    assert "become_pass" not in keys
