"""Units that must not run are stopped and disabled, and left alone where that holds already."""

from __future__ import annotations

import pytest
from converge_rig import CONTEXT, LOOKING, Commands

from gpuprep.on_host.converge import services
from gpuprep.on_host.converge.base import OperationError, Outcome


@pytest.mark.parametrize(
    ("runs", "active", "enabled", "verbs"),
    [
        (True, "active", "enabled", ["stop", "disable"]),
        (True, "inactive", "enabled", ["disable"]),
        (True, "active", "disabled", ["stop"]),
        (True, "inactive", "disabled", []),
        (True, "inactive", "", []),  # no such unit
        (False, "", "enabled", ["disable"]),
        (False, "", "disabled", []),
        (False, "", "", []),
    ],
)
def test_a_unit_that_is_not_wanted(
    monkeypatch: pytest.MonkeyPatch, *, runs: bool, active: str, enabled: str, verbs: list[str]
) -> None:
    shown = f"LoadState=loaded\nUnitFileState={enabled}\nActiveState={active}\n"
    commands = Commands({"systemctl show": shown, "systemctl is-enabled": f"{enabled}\n"})
    monkeypatch.setattr(services, "command", commands)
    monkeypatch.setattr(services, "systemd_runs", lambda: runs)
    asked = {"units": [], "unwanted": ["u"]}
    assert services.services(asked, LOOKING)["changed"] is bool(verbs)
    made = services.services(asked, CONTEXT)
    assert made["items"] == [f"{verb} u" for verb in verbs]
    done = [line for line in commands.lines if line.startswith("systemctl --no-ask-password")]
    assert done == [f"systemctl --no-ask-password {verb} -- u" for verb in verbs]


def test_a_systemd_that_does_not_answer_is_not_a_unit_that_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands = Commands({"systemctl show": Outcome(1, "", "Failed to get properties: timed out")})
    monkeypatch.setattr(services, "command", commands)
    monkeypatch.setattr(services, "systemd_runs", lambda: True)
    for asked in ({"units": ["u"]}, {"units": [], "unwanted": ["u"]}):
        with pytest.raises(OperationError, match=r"u: systemd does not answer: .*timed out"):
            services.services(asked, CONTEXT)
    assert not any("--no-ask-password" in line for line in commands.lines)
