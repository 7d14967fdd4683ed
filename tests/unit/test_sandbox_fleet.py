"""Fleets, and the decisions about this machine that need no machine."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import fleet, hosts, podman, register, vm
from sandbox.paths import SandboxError


def test_the_demo_shows_every_case_once() -> None:
    specs = {spec.name: spec for spec in fleet.load("demo")}
    others = {"gpu-ol9", "gpu-ubuntu", "gpu-runfile"}
    assert set(specs) == {"gpu-a10", "gpu-v100", "gpu-h100", *others}
    assert specs["gpu-ubuntu"].image == "ubuntu-24.04"
    assert specs["gpu-v100"].image == "debian-13"
    assert specs["gpu-h100"].gpus == ("10de:2330",) * 8
    assert specs["gpu-h100"].nvswitches == ("10de:22a3",) * 4
    leftovers = specs["gpu-runfile"].files
    assert set(leftovers) == {"/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer"}
    assert all(int(file.mode, 8) & 0o111 for file in leftovers.values())


def test_every_fleet_of_the_file_can_be_loaded() -> None:
    for name in yaml.safe_load(fleet.FLEETS_FILE.read_text()):
        assert fleet.load(name)


def test_a_bench_fleet_has_the_number_of_hosts_asked_for_with_names_of_their_own() -> None:
    specs = fleet.load("bench-37")
    assert len({spec.name for spec in specs}) == 37
    assert specs[0].name == "bench-001"


def test_templates_are_taken_in_turn() -> None:
    templates = [{"image": "debian-12"}, {"image": "debian-13"}]
    specs = fleet.load("mixed-3", {"mixed": {"templates": templates}})
    assert [spec.image for spec in specs] == ["debian-12", "debian-13", "debian-12"]


@pytest.mark.parametrize("name", ["nosuch", "demo-3", "bench-x"])
def test_an_unknown_fleet_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(SandboxError, match="there are demo"):
        fleet.load(name)


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("a_b", {}, "host name 'a_b'"),
        ("a", {"gpu": ["10de:2236"]}, "unknown keys gpu"),
        ("a", {"image": "debian-11"}, "no image 'debian-11'"),
        ("a", {"gpus": ["A10"]}, "PCI id 'A10'"),
    ],
)
def test_a_malformed_host_is_refused_by_what_is_wrong(
    name: str, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(SandboxError, match=message):
        fleet.HostSpec.from_dict(name, entry)


def test_a_specification_survives_the_register() -> None:
    for spec in fleet.load("demo"):
        assert fleet.HostSpec.from_dict(spec.name, spec.to_dict()) == spec


def test_the_network_keeps_clear_of_routes_and_nameservers() -> None:
    first, second, third = podman.SUBNETS[:3]
    taken = [str(first.network_address + 7), f"{second.network_address}/12"]
    assert podman.free_subnet(taken) == third
    with pytest.raises(SandboxError, match="no free subnet"):
        podman.free_subnet(["0.0.0.0/0"])


def test_addresses_for_foreign_containers_are_not_the_registers() -> None:
    subnet = IPv4Network("10.187.0.0/22")
    assert next(podman.host_addresses(subnet)) == IPv4Address("10.187.1.1")
    assert len(set(podman.host_addresses(subnet))) > 500
    assert podman.gateway_of(subnet) == IPv4Address("10.187.0.1")


def test_podman_asks_for_no_more_than_this_machine_allows() -> None:
    assert '"nofile=4096:4096", "nproc=100:100"' in podman.configuration(4096, 100)
    assert '"nofile=20000:20000", "nproc=32768:32768"' in podman.configuration(-1, 10**6)


def test_hardware_addresses_follow_the_ip_address() -> None:
    assert hosts.mac_of("10.187.0.2") == "02:47:0a:bb:00:02"


def test_a_machine_boots_the_newest_kernel_that_has_an_initramfs() -> None:
    names = [
        "vmlinuz-6.1.0-9-amd64",
        "initrd.img-6.1.0-9-amd64",
        "vmlinuz-6.1.0-56-amd64",
        "initrd.img-6.1.0-56-amd64",
        "vmlinuz-6.12.0-1-amd64",
        "config-6.12.0-1-amd64",
    ]
    assert vm.newest_kernel(names) == "6.1.0-56-amd64"
    assert vm.newest_kernel(["vmlinuz-6.1.0-9-amd64"]) is None


@pytest.mark.parametrize("on", [True, False])
def test_a_hosts_firmware_says_whether_secure_boot_is_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, on: bool
) -> None:
    monkeypatch.setattr(register, "HOSTS", tmp_path)
    spec = fleet.HostSpec.from_dict("a", {"secure_boot": on})
    host = register.Host("a", "10.0.0.2", "c", spec)
    options = hosts._firmware(host)
    assert "unmask=/sys/firmware" in options
    (variable,) = (tmp_path / "a" / "firmware" / "efi" / "efivars").glob("SecureBoot-*")
    assert variable.read_bytes() == bytes((6, 0, 0, 0, on))
    none = register.Host("b", "10.0.0.2", "c", fleet.HostSpec.from_dict("b", {}))
    assert hosts._firmware(none) == ()


def test_only_a_virtual_machines_kernel_enforces_a_policy(tmp_path: Path) -> None:
    spec = fleet.HostSpec.from_dict("vm", {"selinux": True})
    assert fleet.HostSpec.from_dict("vm", spec.to_dict()) == spec
    with pytest.raises(SandboxError, match="only a virtual machine"):
        hosts.start(spec)
    with_policy = vm.qemu_command(tmp_path, 22, selinux=True)
    assert "security=selinux selinux=1" in with_policy[with_policy.index("-append") + 1]
    assert "selinux" not in " ".join(vm.qemu_command(Path("/a"), 22))
