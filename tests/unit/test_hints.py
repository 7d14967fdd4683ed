"""Who cannot be reached for a known reason is told what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fleet_rig
import pytest

from gpuprep.fleet.hints import with_hint

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN, CHANGED, DENIED = "docs/cli.md, Host keys", "ssh-keygen -R", "--private-key"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Host key verification failed.", UNKNOWN),
        ("No ED25519 host key is known for 10.0.0.7 and you have requested strict", UNKNOWN),
        ("Server '10.0.0.7' not found in known_hosts", UNKNOWN),
        ("paramiko: The authenticity of host '10.0.0.7' can't be established.", UNKNOWN),
        ("Host key for 10.0.0.7 has changed. Host key verification failed.", CHANGED),
        ("WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!", CHANGED),
        ("ops@10.0.0.7: Permission denied (publickey).", DENIED),
    ],
)
def test_the_reason_keeps_its_words_and_gets_a_cure(said: str, hint: str) -> None:
    told = with_hint(said)
    assert told.startswith(said.rstrip("."))
    assert [each for each in (UNKNOWN, CHANGED, DENIED) if each in told] == [hint]


@pytest.mark.parametrize("said", ["no answer", "Connection refused", "port 22: timed out"])
def test_other_reasons_are_left_as_they_are(said: str) -> None:
    assert with_hint(said) == said


def test_a_run_tells_it_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = fleet_rig.make(tmp_path, monkeypatch, "runs")
    result = rig.run("plan", {"a": {"rig_unreachable": "Host key verification failed."}})
    assert (result.hosts["a"].code, result.exit_code) == ("E_UNREACHABLE", 4)
    assert UNKNOWN in (result.hosts["a"].error or "")
