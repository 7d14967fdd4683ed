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

    task = {"timeout": 0, "become": None, "become_method": None, "become_user": "root"}
    context = SimpleNamespace(timeout=10, become=True, become_method="sudo", become_user="other")
    action = SimpleNamespace(_task=SimpleNamespace(dump_attrs=task.copy), _play_context=context)
    yield Fleet(action, {})
    for name in [one for one in sys.modules if one.startswith("ansible_collections")]:
        del sys.modules[name]


def test_connection_has_its_own_timeout(fleet: Any) -> None:
    """A task without a time limit (0) must not leave two seconds for sudo to answer."""
    assert fleet._task_keys()["timeout"] == 10


def test_become_comes_from_the_play_where_the_task_says_nothing(fleet: Any) -> None:
    keys = fleet._task_keys()
    assert (keys["become"], keys["become_method"], keys["become_user"]) == (True, "sudo", "root")
