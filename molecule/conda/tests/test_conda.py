"""conda for all users: a whole installation, free channels, an environment that imports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from testinfra.host import Host

PREFIX = "/opt/conda"


@pytest.mark.proves("conda.present")
def test_conda_answers_for_an_ordinary_user(host: Host) -> None:
    shown = host.check_output("su - ops -c 'bash -lc \"conda --version\"'")
    version = shown.split()[-1]
    assert host.run(f"ls {PREFIX}/conda-meta/conda-{version}-*.json").rc == 0


def test_only_free_channels_are_configured(host: Host) -> None:
    settings = json.loads(host.check_output(f"{PREFIX}/bin/conda config --show --json"))
    assert [channel.rsplit("/")[-1] for channel in settings["channels"]] == ["conda-forge"]
    condarc = host.file(f"{PREFIX}/.condarc")
    assert (condarc.mode, condarc.user) == (0o644, "root")
    assert "defaults" not in condarc.content_string


def test_the_environment_imports_its_packages(host: Host) -> None:
    python = f"{PREFIX}/envs/tools/bin/python"
    shown = host.check_output(f"{python} -c 'import numpy, requests; print(numpy.__file__)'")
    assert shown.startswith(f"{PREFIX}/envs/tools/")


def test_an_ordinary_user_cannot_alter_it(host: Host) -> None:
    for path in (PREFIX, f"{PREFIX}/envs/tools", f"{PREFIX}/envs/tools/bin"):
        assert host.run("su - ops -c 'test -w %s'", path).rc != 0


def test_nothing_of_the_installation_is_left_behind(host: Host) -> None:
    # The sandbox keeps things of its own there on hosts of Enterprise Linux.
    assert host.check_output("ls -A /opt | grep -v ^sandbox-") == "conda"
    found = host.check_output("find /tmp /var/tmp -name '*iniforge*' -o -name '*conda*'")
    assert found == ""
