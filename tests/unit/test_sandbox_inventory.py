"""The inventory that the sandbox writes."""

import shlex
from pathlib import Path

import yaml

from sandbox import inventory, register
from sandbox.fleet import HostSpec
from sandbox.register import Host

A10 = Host(
    "gpu-a10",
    "10.187.0.2",
    "gpuprep-x-gpu-a10",
    HostSpec("gpu-a10", shape="SHAPE.1", vars={"gpu_driver_branch": "580"}),
    "demo",
)
PLAIN = Host("plain", "127.0.0.1", "", HostSpec("plain"), "", 2222)


def test_hosts_carry_address_shape_and_their_own_variables() -> None:
    hosts = inventory.document([A10, PLAIN])["all"]["hosts"]
    assert hosts["gpu-a10"] == {
        "ansible_host": "10.187.0.2",
        "sandbox_container": "gpuprep-x-gpu-a10",
        "oci_shape": "SHAPE.1",
        "gpu_driver_branch": "580",
    }
    assert hosts["plain"] == {
        "ansible_host": "127.0.0.1",
        "ansible_port": 2222,
        "ansible_timeout": 60,  # it is a virtual machine
    }


def test_each_fleet_is_a_group() -> None:
    assert inventory.document([A10, PLAIN])["all"]["children"] == {
        "demo": {"hosts": {"gpu-a10": None}}
    }


def test_connection_is_strict_about_host_keys_and_logs_in_unprivileged() -> None:
    variables = inventory.connection()
    options = shlex.split(variables["ansible_ssh_common_args"])
    assert "StrictHostKeyChecking=yes" in options
    assert any(option.startswith("UserKnownHostsFile=/") for option in options)
    assert variables["ansible_user"] == "ops"
    assert variables["ansible_become"] is True


def test_written_files_are_yaml_and_the_contributed_variables_are_beside_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "inventory" / "hosts.yml"
    inventory.write([A10], {"gpuprep_mirror": "http://10.187.0.1/repos"}, path)
    assert yaml.safe_load(path.read_text()) == inventory.document([A10])
    group_vars = yaml.safe_load((tmp_path / "inventory/group_vars/all.yml").read_text())
    assert group_vars == {"gpuprep_mirror": "http://10.187.0.1/repos"}


def test_known_hosts_names_the_port_where_it_is_not_sshs_own() -> None:
    keys = {"gpu-a10": "ssh-ed25519 AAAA1 root@x\n", "plain": "ssh-ed25519 AAAA2 root@y\n"}
    assert register.known_hosts([A10, PLAIN], keys) == (
        "10.187.0.2 ssh-ed25519 AAAA1\n[127.0.0.1]:2222 ssh-ed25519 AAAA2\n"
    )


def test_a_command_over_ssh_keeps_its_words_apart() -> None:
    command = inventory.ssh_command(PLAIN, ["sh", "-c", "echo 'a b'; id"])
    assert command[-2] == "sudo"
    assert shlex.split(command[-1]) == ["sh", "-c", "echo 'a b'; id"]
