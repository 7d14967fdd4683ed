"""``gpuprep bundle`` through Ansible, against this machine: answers arrive, secrets do not."""

from __future__ import annotations

import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from gpuprep import cli

if TYPE_CHECKING:
    from pathlib import Path

MARKER = "s3cret-marker-7731"


@pytest.mark.skipif(os.getuid() != 0, reason="become needs no password for root alone")
def test_bundle_of_this_machine_holds_its_state_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "all:\n  hosts:\n    here:\n      ansible_connection: local\n"
        f"      ansible_become_password: {MARKER}\n      my_api_token: {MARKER}\n"
    )
    monkeypatch.setenv("GPUPREP_TEST_TOKEN", MARKER)
    assert cli.run(["bundle", "here", "-i", str(inventory), "--to", str(tmp_path)]) == 0
    (archive,) = tmp_path.glob("gpuprep-here-*.tar.gz")
    out, err = capsys.readouterr()
    assert out.strip() == str(archive)
    with tarfile.open(archive) as opened:
        texts = {
            member.name.split("/", 1)[1]: opened.extractfile(member).read()  # type: ignore[union-attr]
            for member in opened
        }
    assert os.uname().release.encode() in texts["commands/00-uname-a.txt"]
    assert b'"hosts"' in texts["report.json"]
    assert "files/etc/os-release" in texts
    everything = b"".join(texts.values()) + out.encode() + err.encode()
    assert MARKER.encode() not in everything
