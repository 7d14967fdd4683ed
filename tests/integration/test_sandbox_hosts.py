"""The sandbox's hosts are what they claim to be: booted systemd, real ssh, sudo, a PCI bus."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import bootstrap, hosts, inventory, register
from sandbox.fleet import File, HostSpec
from sandbox.nvrepo.headers import RELEASES
from sandbox.paths import HOSTS, KNOWN_HOSTS, LOGIN_KEY, SandboxError
from sandbox.podman import podman
from sandbox.register import Host

pytestmark = pytest.mark.sandbox

Pair = tuple[Host, ...]
SPECS = (
    HostSpec(
        "self-12",
        gpus=("10de:2236",),
        nvswitches=("10de:22a3",),
        shape="VM.GPU.A10.1",
        vars={"marker": "mine"},
        files={"/usr/local/bin/left-behind": File("#!/bin/sh\necho left\n", "0755")},
    ),
    HostSpec("self-13", "debian-13"),
)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    bootstrap.ensure()
    yield hosts.start_all(SPECS, "self")
    hosts.stop_all(spec.name for spec in SPECS)


def ssh(
    host: Host, *argv: str, known_hosts: Path = KNOWN_HOSTS
) -> subprocess.CompletedProcess[str]:
    command = inventory.ssh_command(host, argv)
    return subprocess.run(
        [part.replace(str(KNOWN_HOSTS), str(known_hosts)) for part in command],
        capture_output=True,
        text=True,
        check=False,
    )


def ansible(path: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        options = ["-i", str(path), "--tree", folder, *arguments]
        command = [sys.executable, "-m", "ansible", "adhoc", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return {answer.name: json.loads(answer.read_text()) for answer in Path(folder).iterdir()}


def test_hosts_are_booted_debian_of_the_release_asked_for(pair: Pair) -> None:
    for host, release in zip(pair, ("bookworm", "trixie"), strict=True):
        assert hosts.system_state(host.name) == "running"
        assert (
            f"VERSION_CODENAME={release}" in hosts.run(host.name, ["cat", "/etc/os-release"]).stdout
        )
        assert hosts.run(host.name, ["cat", "/proc/1/comm"]).stdout.strip() == "systemd"
        assert hosts.run(host.name, ["which", "gcc"]).returncode != 0  # bare


def test_the_kernel_is_one_of_the_hosts_own_system_whatever_the_machine_runs(pair: Pair) -> None:
    for host in pair:
        release = RELEASES[host.spec.image]
        assert os.uname().release != release
        assert ssh(host, "uname", "-r").stdout.strip() == release
        told = ssh(host, "sudo", "python3", "-c", "import os; print(os.uname().release)")
        assert told.stdout.strip() == release


def test_login_is_unprivileged_and_sudo_makes_root(pair: Pair) -> None:
    for host in pair:
        command = [*inventory.ssh_command(host, [])[:-2], "id -u; sudo id -u"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["1000", "0"]


def test_a_host_with_another_key_is_not_talked_to(pair: Pair, tmp_path: Path) -> None:
    first, second = pair
    swapped = tmp_path / "known_hosts"
    keys = {
        first.name: (second.folder / "ssh_host_ed25519_key.pub").read_text(),
        second.name: (first.folder / "ssh_host_ed25519_key.pub").read_text(),
    }
    swapped.write_text(register.known_hosts(pair, keys))
    done = ssh(first, "true", known_hosts=swapped)
    assert done.returncode == 255
    assert "Host key verification failed" in done.stderr
    assert ssh(first, "true").returncode == 0


def test_the_bus_shows_the_devices_asked_for_and_no_other_gpu(pair: Pair) -> None:
    with_gpu, without = pair
    shown = hosts.run(with_gpu.name, ["lspci", "-n"]).stdout.splitlines()
    nvidia = sorted(line.split(maxsplit=1)[1] for line in shown if "10de:" in line)
    assert nvidia == ["0302: 10de:2236 (rev a1)", "0680: 10de:22a3 (rev a1)"]
    assert "10de:" not in hosts.run(without.name, ["lspci", "-n"]).stdout
    read_only = hosts.run(with_gpu.name, ["touch", "/sys/bus/pci/devices/x"])
    assert "Read-only file system" in read_only.stderr


@pytest.mark.usefixtures("pair")
def test_files_asked_for_are_there_and_no_package_owns_them() -> None:
    done = hosts.run("self-12", ["/usr/local/bin/left-behind"])
    assert (done.returncode, done.stdout) == (0, "left\n")
    assert hosts.run("self-12", ["dpkg", "-S", "/usr/local/bin/left-behind"]).returncode != 0


def test_ansible_reaches_them_by_the_written_inventory(pair: Pair, tmp_path: Path) -> None:
    path = hosts.write_inventory(pair, {"everywhere": "yes"}, tmp_path / "inv" / "hosts.yml")
    answers = ansible(
        path,
        *("all", "-m", "ansible.builtin.debug"),
        *("-a", "msg={{ oci_shape | default('-') }}/{{ marker | default('-') }}/{{ everywhere }}"),
    )
    assert answers["self-12"]["msg"] == "VM.GPU.A10.1/mine/yes"
    assert answers["self-13"]["msg"] == "-/-/yes"
    answers = ansible(path, "self", "-m", "ansible.builtin.command", "-a", "id -un")
    assert {name: answer["stdout"] for name, answer in answers.items()} == {
        "self-12": "root",
        "self-13": "root",
    }


def test_apt_installs_from_the_mirror(pair: Pair) -> None:
    for host in pair:
        script = "apt-get -qq update && apt-get -qq install -y --no-install-recommends tree"
        done = hosts.run(host.name, ["sh", "-c", script])
        assert done.returncode == 0, done.stderr
        assert hosts.run(host.name, ["tree", "--version"]).returncode == 0


@pytest.mark.usefixtures("pair")
def test_an_apt_source_is_written_once_and_can_be_taken_away() -> None:
    path = "/etc/apt/sources.list.d/extra.sources"
    modified = ["stat", "-c", "%y %a", path]
    text = "Types: deb\nURIs: http://example.invalid/\nSuites: /\n"
    hosts.add_apt_source("self-12", "extra", text)
    first = hosts.run("self-12", modified).stdout
    assert hosts.run("self-12", ["cat", path]).stdout == text
    assert first.endswith(" 644\n")
    hosts.add_apt_source("self-12", "extra", text)
    assert hosts.run("self-12", modified).stdout == first
    hosts.add_apt_source("self-12", "extra", "")
    assert hosts.run("self-12", ["test", "-e", path]).returncode == 1


def test_a_host_comes_back_by_itself_after_reboot_with_its_address_key_and_files(
    pair: Pair,
) -> None:
    host = pair[0]
    started = ["awk", "{print $22}", "/proc/1/stat"]
    before = hosts.run(host.name, started).stdout
    hosts.run(host.name, ["touch", "/etc/kept"])
    ssh(host, "systemctl", "reboot")
    deadline = time.monotonic() + 30
    while hosts.run(host.name, started).stdout in {before, ""} and time.monotonic() < deadline:
        time.sleep(0.2)
    hosts.wait_ready(host.name)
    assert hosts.run(host.name, started).stdout != before
    assert ssh(host, "test", "-e", "/etc/kept").returncode == 0
    assert ssh(host, "uname", "-r").stdout.strip() == RELEASES["debian-12"]


def test_a_snapshot_brings_the_host_back_as_it_was(pair: Pair) -> None:
    host = pair[0]
    hosts.run(host.name, ["sh", "-c", "echo one >/etc/state"])
    image = hosts.snapshot(host.name, "test")
    hosts.run(host.name, ["sh", "-c", "echo two >/etc/state"])
    try:
        hosts.restore(host.name, "test")
        hosts.wait_ready(host.name)
        assert ssh(host, "cat", "/etc/state").stdout == "one\n"
        twin = hosts.start(HostSpec("self-twin", image))
        hosts.wait_ready(twin.name)
        assert ssh(twin, "cat", "/etc/state").stdout == "one\n"
        assert ssh(twin, "hostname").stdout == "self-twin\n"
        assert ssh(twin, "uname", "-r").stdout.strip() == RELEASES["debian-12"]
    finally:
        hosts.stop("self-twin")
        hosts.stop(host.name)
        podman("rmi", image)
        hosts.start_all(SPECS[:1], "self")


def test_starting_again_changes_nothing_and_another_specification_is_refused(pair: Pair) -> None:
    running = podman(
        "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", pair[1].container
    ).stdout
    assert hosts.start_all(SPECS[1:], "self") == pair[1:]
    again = podman("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", pair[1].container).stdout
    assert again == running
    with pytest.raises(SandboxError, match="exists and differs"):
        hosts.start(HostSpec("self-13", "debian-12"))


def test_a_stopped_host_is_started_again_with_its_files(pair: Pair) -> None:
    hosts.run("self-13", ["touch", "/etc/kept"])
    podman("stop", "--time", "0", pair[1].container)
    hosts.start_all(SPECS[1:], "self")
    assert hosts.run("self-13", ["test", "-e", "/etc/kept"]).returncode == 0


def test_stop_leaves_nothing_of_the_host() -> None:
    host = hosts.start(HostSpec("self-gone"))
    hosts.wait_ready(host.name)
    assert host.address in KNOWN_HOSTS.read_text()
    hosts.stop(host.name)
    hosts.stop(host.name)  # twice is no error
    assert podman("container", "exists", host.container, check=False).returncode == 1
    assert f"{host.address} " not in KNOWN_HOSTS.read_text()
    assert not (HOSTS / host.name).exists()
    mounts = subprocess.run(
        ["findmnt", "-rno", "TARGET"], capture_output=True, text=True, check=True
    )
    assert str(HOSTS / host.name) not in mounts.stdout
    with pytest.raises(SandboxError, match="no host 'self-gone'"):
        hosts.run(host.name, ["true"])


def test_the_command_line_starts_shows_and_stops_one_host(tmp_path: Path) -> None:
    def sandbox(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sandbox", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    path = tmp_path / "hosts.yml"
    up = sandbox("host-up", "self-cli", "--gpu", "2x10de:2330", "--inventory", str(path))
    try:
        assert up.returncode == 0, up.stderr
        assert "self-cli" in path.read_text()
        assert "2x10de:2330\trunning" in sandbox("status").stdout
        shown = sandbox("exec", "self-cli", "--", "sh", "-c", "hostname; exit 7")
        assert (shown.stdout, shown.returncode) == ("self-cli\n", 7)
    finally:
        sandbox("host-down", "self-cli")
    assert "self-cli" not in sandbox("status").stdout
    missing = sandbox("exec", "self-cli", "--", "true")
    assert missing.returncode == 1
    assert missing.stderr.startswith("sandbox: no host 'self-cli'")


def test_private_keys_are_for_root_only(pair: Pair) -> None:
    for key in (LOGIN_KEY, pair[0].folder / "ssh_host_ed25519_key"):
        assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_virtual_machine_reboots_for_real_into_its_newest_kernel(tmp_path: Path) -> None:
    host = hosts.start_vm(HostSpec("self-vm", gpus=("10de:2236",)))
    try:
        hosts.wait_ready(host.name)
        boot_id = ["cat", "/proc/sys/kernel/random/boot_id"]
        first = hosts.run(host.name, boot_id).stdout
        assert "10de:2236" in hosts.run(host.name, ["lspci", "-n"]).stdout
        # What the next boot runs is what update-initramfs left on the disk.
        hosts.run(host.name, ["sh", "-c", "echo dummy >>/etc/initramfs-tools/modules"])
        assert hosts.run(host.name, ["update-initramfs", "-u"], timeout=1800).returncode == 0
        assert "dummy" not in hosts.run(host.name, ["lsmod"]).stdout
        path = hosts.write_inventory([host], {}, tmp_path / "hosts.yml")
        ansible(path, "self-vm", "-m", "ansible.builtin.reboot")
        assert hosts.run(host.name, boot_id).stdout != first
        assert "dummy" in hosts.run(host.name, ["lsmod"]).stdout
        hosts.wait_ready(host.name)
        assert hosts.system_state(host.name) == "running"
    finally:
        hosts.stop(host.name)
    assert not (HOSTS / "self-vm").exists()
