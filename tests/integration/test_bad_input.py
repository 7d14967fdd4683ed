"""Bad input and sick hosts: each with a message of its own, the right state and exit code."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from lab import Fresh, Lab, failed_checks

import gpuprep
from gpuprep.errors import ConfigError, ExitCode, InventoryError
from gpuprep.model import FleetResult, HostResult, HostStatus
from gpuprep.run.events import Event, EventKind
from sandbox import hosts
from sandbox.fleet import HostSpec
from sandbox.podman import inspect, podman

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.sandbox

GPU = "10de:2236"
CONDA_ONLY: Mapping[str, Any] = {"gpuprep_components": ["conda"]}
DRIVER_ONLY: Mapping[str, Any] = {"gpuprep_components": ["driver"]}


# --- hosts that cannot be worked on, in one fleet with one that can -------------------------------

SICK: dict[str, tuple[HostStatus, str, str]] = {
    "s-gone": (HostStatus.UNREACHABLE, "E_UNREACHABLE", "No route to host|timed out|refused"),
    "s-frozen": (HostStatus.UNREACHABLE, "E_UNREACHABLE", "timed out|no answer"),
    "s-hangs": (HostStatus.UNREACHABLE, "E_UNREACHABLE", "did not end within 5 s"),
    "s-nosudo": (HostStatus.FAILED, "E_NO_SUDO", "password.*sudoers"),
    "s-nopython": (HostStatus.FAILED, "E_NO_PYTHON", "install python3|ansible_python_interpreter"),
    "s-nogpu": (HostStatus.REFUSED, "E_NO_GPU", "GPU"),
}


@pytest.fixture(scope="module")
def sick(lab: Lab) -> Iterator[FleetResult]:
    """Apply to a fleet of which one host is well."""
    names = ("s-well", *SICK)
    lab.start(*(HostSpec(n, gpus=() if n == "s-nogpu" else (GPU,)) for n in names))
    lab.sh("s-nosudo", "rm /etc/sudoers.d/ops")
    lab.sh("s-nopython", "rm /usr/bin/python3")
    lab.sh("s-hangs", "printf '#!/bin/sh\\nexec sleep 600\\n' >/hang && chmod +x /hang")
    inventory = lab.inventory(*names)
    hosts.stop("s-gone")
    podman("pause", hosts.find("s-frozen").container)
    text = inventory.read_text().replace(
        "s-hangs:\n", "s-hangs:\n      ansible_python_interpreter: /hang\n", 1
    )
    text = text.replace("s-frozen:\n", "s-frozen:\n      ansible_timeout: 3\n", 1)
    inventory.write_text(text)
    settings = {**DRIVER_ONLY, "gpuprep_observe_timeout": 5}
    yield gpuprep.apply(inventory, variables=settings)
    podman("unpause", hosts.find("s-frozen").container)
    hosts.stop_all(names)


@pytest.mark.parametrize("name", SICK)
def test_a_sick_host_is_told_apart(sick: FleetResult, name: str) -> None:
    state, code, words = SICK[name]
    host = sick.hosts[name]
    assert (host.state, host.code) == (state, code), host.error
    assert host.error is not None
    assert re.search(words, host.error), host.error
    assert not host.changed


def test_the_well_host_of_a_sick_fleet_is_prepared(sick: FleetResult) -> None:
    host = sick.hosts["s-well"]
    assert (host.state, failed_checks(host)) == (HostStatus.PREPARED, [])
    assert sick.exit_code is ExitCode.SOME_HOSTS_FAILED
    assert sick.seconds < 300


def test_a_typed_password_satisfies_sudo(sick: FleetResult, lab: Lab) -> None:
    """A real one, that asks; and what it dislikes is told."""
    name, rule = "s-nosudo", "ops ALL=(ALL) ALL"
    assert sick.hosts[name].code == "E_NO_SUDO"  # first in the module's fleet
    lab.sh(name, f"echo ops:right | chpasswd; echo '{rule}' >/etc/sudoers.d/ops")
    inventory = lab.inventory(name)
    typed, mistyped = (gpuprep.Access(become_password=word) for word in ("right", "wrong"))
    refused = gpuprep.status(inventory, access=mistyped).hosts[name]
    assert (refused.code, "password given" in str(refused.error)) == ("E_NO_SUDO", True), refused
    seen = gpuprep.plan(inventory, variables=CONDA_ONLY, access=typed).hosts[name]
    assert seen.state is HostStatus.DRIFTED, seen.error
    lab.sh(name, f"printf '%s\\n' '{rule}' 'Defaults requiretty' >/etc/sudoers.d/ops")
    seen = gpuprep.status(inventory, access=typed).hosts[name]
    assert (seen.code, seen.state) == (None, HostStatus.DRIFTED), seen.error


# --- a setting or a source that is wrong --------------------------------------------------------


def failed(result: FleetResult, name: str) -> HostResult:
    """Assert that the only host failed, and return it."""
    host = result.hosts[name]
    assert host.state is HostStatus.FAILED, host
    assert result.exit_code is ExitCode.ALL_HOSTS_FAILED
    return host


def test_a_wrong_installer_checksum(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="debian-12")
    host = failed(lab.apply(name, **CONDA_ONLY, conda_installer_sha256="0" * 64), name)
    assert "checksum" in (host.error or "").lower()
    assert "0" * 64 in (host.error or "")
    assert lab.sh(name, "ls -A /opt") == ""  # neither conda nor the rejected installer


def test_a_wrong_key_fingerprint(lab: Lab, fresh: Fresh) -> None:
    name = fresh(gpus=[GPU])
    wrong = "0123456789" * 4
    host = failed(lab.apply(name, **DRIVER_ONLY, gpuprep_mirror_fingerprint=wrong), name)
    assert f"expected {wrong}" in (host.error or "")
    assert "not trusted" in (host.error or "")
    left = lab.sh(name, "ls /etc/apt/sources.list.d /usr/share/keyrings")
    assert "gpuprep" not in left


def test_an_unreachable_repository(lab: Lab, fresh: Fresh) -> None:
    name = fresh(gpus=[GPU])
    nowhere = f"http://{hosts.gateway()}:9/repos"
    host = failed(lab.apply(name, **DRIVER_ONLY, gpuprep_mirror=nowhere), name)
    assert re.search(f"{nowhere}/\\S+ cannot be fetched: Connection refused", host.error or "")
    assert "nvidia" not in lab.run(name, "dpkg-query", "-W")


def test_a_disk_that_is_too_small(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="debian-12")
    mount_tmpfs(name, "/opt", "size=100m")
    result = lab.apply(name, **CONDA_ONLY)
    host = result.hosts[name]
    assert (host.state, host.code) == (HostStatus.REFUSED, "E_DISK")
    assert "/opt has 100 MiB free" in (host.error or "")
    assert result.exit_code is ExitCode.ALL_HOSTS_FAILED


def mount_tmpfs(name: str, path: str, options: str) -> None:
    """Mount an empty file system in a host, from outside: the host itself may not."""
    pid = str(inspect("container", "inspect", hosts.find(name).container)[0]["State"]["Pid"])
    command = ["nsenter", "--target", pid, "--mount", "mount", "-t", "tmpfs", "-o", options]
    subprocess.run([*command, "tmpfs", path], check=True)


def test_a_tmp_without_execution_does_not_stop_conda(lab: Lab, fresh: Fresh) -> None:
    name = fresh(image="debian-13")
    for path in ("/tmp", "/var/tmp"):
        mount_tmpfs(name, path, "noexec,mode=1777")
    settings = {"conda_environments": [{"name": "e", "packages": ["numpy"]}]}
    result = lab.apply(name, **CONDA_ONLY, **settings)
    assert result.exit_code is ExitCode.OK, result.hosts[name].error
    shown = lab.run(
        name, "/opt/conda/envs/e/bin/python", "-c", "import numpy; print(numpy.__name__)"
    )
    assert shown.strip() == "numpy"


# --- the package manager's lock -------------------------------------------------------------------

HOLDER = """
import fcntl, os, time
handle = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(handle, fcntl.LOCK_EX)
open("/run/lock-is-held", "w").close()
while not os.path.exists("/run/release-lock"):
    time.sleep(0.1)
"""


WAIT_FOR_WAITER = """
holder=$(systemctl show --value -p MainPID holder)
until ps -C python3 -o pid=,etimes= |
    awk -v holder="$holder" '$1 != holder && $2 >= 2 {found = 1} END {exit !found}'
do sleep 0.2; done
"""


def hold_lock(lab: Lab, name: str) -> None:
    lab.run(name, "tee", "/run/unattended.py", stdin=HOLDER)
    start = "systemd-run -q --unit=holder python3 /run/unattended.py"
    lab.sh(name, f"{start}; until [ -e /run/lock-is-held ]; do sleep 0.1; done")


def test_a_held_package_lock_names_its_holder(lab: Lab, fresh: Fresh) -> None:
    name = fresh(gpus=[GPU])
    hold_lock(lab, name)
    host = failed(lab.apply(name, **DRIVER_ONLY, gpuprep_lock_timeout=2), name)
    pid = lab.run(name, "systemctl", "show", "--value", "-p", "MainPID", "holder").strip()
    assert "/var/lib/dpkg/lock-frontend is held by python3" in (host.error or "")
    assert f"(pid {pid})" in (host.error or "")
    assert "nvidia" not in lab.run(name, "dpkg-query", "-W")


def test_a_package_lock_is_waited_for(lab: Lab, fresh: Fresh) -> None:
    name = fresh(gpus=[GPU])
    hold_lock(lab, name)
    waited = threading.Event()

    def release() -> None:
        """Release the lock once a program of the run has been there for two seconds: it waits."""
        lab.sh(name, WAIT_FOR_WAITER)
        waited.set()
        lab.sh(name, "touch /run/release-lock")

    def watch(event: Event) -> None:
        if event.kind is EventKind.TASK and "installed and held" in event.text:
            threading.Thread(target=release).start()

    result = gpuprep.apply(lab.inventory(name), variables=DRIVER_ONLY, on_event=watch)
    assert waited.is_set()
    assert result.exit_code is ExitCode.OK, result.hosts[name].error


# --- wrong words ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("first_run")
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"gpu_driver_reboot_allowed": "perhaps"}, "gpu_driver_reboot_allowed"),
        ({"gpu_driver_flavour": "closed"}, "gpu_driver_flavour"),
        ({"gpu_driver_brnch": "580"}, "gpu_driver_brnch: did you mean gpu_driver_branch"),
        ({"conda_environments": [{"name": "x"}]}, "exactly one of packages, file, lock"),
        ({"conda_channels": ["defaults"]}, "conda_accept_anaconda_terms"),
    ],
)
def test_a_wrong_variable_stops_the_run_before_anything(
    lab: Lab, variables: dict[str, Any], words: str
) -> None:
    logins = lab.logins("t-v100")
    with pytest.raises(ConfigError, match=words):
        gpuprep.apply(lab.inventory("t-v100"), variables=variables)
    assert lab.logins("t-v100") == logins


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpuprep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_unknown_option_is_a_usage_error() -> None:
    done = cli("apply", "--inventroy", "x")
    assert done.returncode == ExitCode.USAGE
    assert "--inventory" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such|not.*found|does not exist"),
        ("", "no hosts|empty"),
        ("all: [hosts", "cannot be read|parse"),
        ("all:\n  hosts: {}\n", "no hosts|empty"),
    ],
)
def test_an_inventory_that_lists_no_hosts(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "hosts.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InventoryError, match=f"(?i){words}"):
        gpuprep.apply(path)
    done = cli("apply", "-i", str(path))
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("first_run")
def test_a_limit_that_matches_no_host(lab: Lab) -> None:
    with pytest.raises((ConfigError, InventoryError), match="nobody"):
        gpuprep.plan(lab.inventory("t-v100"), limit="nobody")
