"""A fleet file: what is wrong with it is told at once, where it is and what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from provision_rig import BLOB, KEY

from gpuprep.errors import ConfigError
from gpuprep.oci.provision import settings
from gpuprep.oci.provision.desired import Capacity, FleetState

if TYPE_CHECKING:
    from pathlib import Path

    from gpuprep.oci.provision.desired import Desired

GOOD: dict[str, Any] = {
    "fleet": "seed",
    "compartment": "gpu",
    "shape": "VM.GPU.A10.1",
    "count": 2,
    "image": {"os": "debian", "version": "12"},
    "network": {"subnet": "hosts"},
    "ssh_public_keys": [KEY],
}


def read(**given: Any) -> Desired:
    data = {key: one for key, one in {**GOOD, **given}.items() if one is not ...}
    return settings.desired(settings.Source(data))


def problem(**given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(**given)
    return str(caught.value)


def test_the_defaults() -> None:
    fleet = read()
    assert (fleet.state, fleet.boot_volume_gb, fleet.numbers) == (FleetState.PRESENT, 150, (1, 2))
    assert fleet.placement.capacity is Capacity.ON_DEMAND
    assert (fleet.wait.ssh, fleet.wait_seconds) == (True, 900)
    assert read(shape="BM.GPU.H100.8").wait_seconds == 2700
    assert read(wait={"minutes": 1}).wait_seconds == 60
    assert read(count=5, members=[4, 2]).numbers == (2, 4)


@pytest.mark.parametrize(
    ("given", "where", "what"),
    [
        ({"fleet": ...}, "top level", "fleet is missing; it needs 2 to 40 lower-case letters"),
        ({"fleet": "Seed"}, "fleet", "'Seed' does not fit; it needs 2 to 40 lower-case letters"),
        ({"fleet": 7}, "fleet", "7 does not fit"),
        ({"flet": "x"}, "flet", "unknown setting; did you mean fleet?"),
        ({"count": "2"}, "count", "'2' does not fit; it needs a whole number from 0 to 999"),
        ({"count": True}, "count", "True does not fit"),
        ({"count": -1}, "count", "-1 does not fit"),
        ({"count": 1000}, "count", "1000 does not fit"),
        ({"state": "gone"}, "state", "'gone' does not fit; it needs present, running, stopped"),
        ({"members": [3]}, "members.0", "there is no member 3: count is 2"),
        ({"members": []}, "members", "needs a list of different member numbers"),
        ({"members": [1], "prune": True}, "prune", "does not go with members"),
        ({"state": "absent", "prune": True}, "prune", "does not go with state: absent"),
        ({"image": {}}, "image", "needs either os and version, or ocid"),
        ({"image": {"os": "debian"}}, "image", "needs either os and version, or ocid"),
        ({"image": {"os": "debian", "version": 12}}, "image.version", "the version in quotes"),
        ({"image": {"os": "windows", "version": "1"}}, "image.os", "oracle-linux or debian"),
        (
            {"image": {"os": "debian", "version": "12", "ocid": "ocid1.image.oc1..x"}},
            "image", "not both",
        ),
        ({"image": {"ocid": "x"}}, "image.ocid", "the OCID of an image"),
        ({"boot_volume_gb": 46}, "boot_volume_gb", "a whole number from 50 to 32768"),
        ({"boot_volume_vpus": 15}, "boot_volume_vpus", "10, 20, ... 120"),
        ({"network": {}}, "network", "needs either subnet, or create: true"),
        ({"network": {"subnet": "a", "create": True}}, "network", "not both"),
        ({"network": {"subnet": "a", "cidr": "10.0.0.0/24"}}, "network.cidr", "needs create: true"),
        ({"network": {"create": False}}, "network.create", "true, or leave it out"),
        ({"network": {"create": True, "cidr": "10.0.0.1/24"}}, "network.cidr", "host bits set"),
        ({"network": {"create": True, "cidr": "8.8.8.0/24"}}, "network.cidr", "private addresses"),
        ({"network": {"create": True, "cidr": "10.0.0.0/8"}}, "network.cidr", "/16 to /29"),
        (
            {"network": {"create": True, "ssh_from": ["0.0.0.0/0"]}},
            "network.ssh_from.0", "opens ssh to (nearly) the whole world",
        ),
        (
            {"network": {"create": True, "ssh_from": ["10.0.0.0/8", "0.0.0.0/1"]}},
            "network.ssh_from.1", "opens ssh",
        ),
        ({"network": {"create": True, "ssh_from": ["x"]}}, "network.ssh_from.0", "such as 203.0"),
        ({"network": {"create": True, "public_ip": True}}, "network", "nobody could connect"),
        ({"network": {"create": True, "security_groups": []}}, "network.security_groups", "not go"),
        ({"ssh_public_keys": []}, "ssh_public_keys", "a list of public keys"),
        ({"ssh_public_keys": ["/none.pub"]}, "ssh_public_keys.0", "make a key with ssh-keygen"),
        ({"ssh_public_keys": ["ssh-rsa x"]}, "ssh_public_keys.0", "is no public key of OpenSSH"),
        ({"ssh_public_keys": [f"ssh-rsa {BLOB}"]}, "ssh_public_keys.0", "is no public key"),
        ({"user_data": "/none"}, "user_data", "/none: No such file"),
        ({"placement": {"capacity": "spot"}}, "placement.capacity", "on_demand, preemptible, or"),
        ({"placement": {"capacity": {"reservation": "x"}}}, "placement.capacity", "OCID"),
        (
            {"shape": "BM.GPU.H100.8", "placement": {"capacity": "preemptible"}},
            "placement.capacity", "only virtual machines",
        ),
        ({"placement": {"availability_domains": []}}, "placement.availability_domains", "any, or"),
        ({"placement": {"compute_cluster": "x"}}, "placement.compute_cluster", "auto, none, or"),
        ({"tags": {"gpuprep-fleet": "x"}}, "tags", "not beginning with gpuprep-"),
        ({"tags": {"a": 1}}, "tags.a", "text in quotes"),
        ({"tags": {str(n): "x" for n in range(8)}}, "tags", "at most 7"),
        ({"wait": {"minutes": 0}}, "wait.minutes", "a number up to 1440"),
        ({"wait": {"ssh_user": "-oProxy"}}, "wait.ssh_user", "a login name"),
        ({"region": "Ashburn"}, "region", "a region such as"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place_and_what_it_needs(
    given: dict[str, Any], where: str, what: str
) -> None:
    (line,) = problem(**given).splitlines()
    assert line.startswith(f"fleet: {where}: ")
    assert what in line


def test_all_that_is_wrong_is_told_at_once_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text(
        "fleet: seed\ncompartment: gpu\nshape: VM.GPU.A10.1\ncount: two\n"
        "image: {os: debian, version: '12'}\nnetwork:\n  subnet: hosts\n  publik_ip: true\n"
        f"ssh_public_keys: ['{KEY}']\n"
    )
    with pytest.raises(ConfigError) as caught:
        settings.desired(settings.load(path))
    told = str(caught.value).splitlines()
    assert sorted(one.removeprefix(f"{path}, ").split(":")[0] for one in told) == [
        "line 4", "line 8"
    ]  # fmt: skip
    assert any("did you mean public_ip?" in one for one in told)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("fleet: [", "is no YAML"),
        ("fleet: a\nfleet: b\n", "line 2: fleet stands twice"),
        ("", "expected settings"),
        ("- a\n", "expected settings"),
        ("fleet: !!python/object:os.system {}\n", "is no YAML"),
        ("[" * 5000, "is no YAML"),
        ("a: " + "x" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_odd_files_are_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "fleet.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=what):
        settings.desired(settings.load(path))
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory$"):
        settings.load(tmp_path)


def test_keys_come_from_files_and_private_ones_are_refused(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "id.pub").write_text(f"# mine\n{KEY}\n")
    source = settings.Source({**GOOD, "ssh_public_keys": ["id.pub", KEY]}, folder=tmp_path)
    fleet = settings.desired(source)
    assert fleet.ssh_keys == (KEY,)
    assert fleet.key_files == (tmp_path / "id",)
    wrong = settings.Source({**GOOD, "ssh_public_keys": ["id"]}, folder=tmp_path)
    with pytest.raises(ConfigError, match="is a private key; name the public one"):
        settings.desired(wrong)


def test_user_data_holds_no_private_key_and_is_small_enough(tmp_path: Path) -> None:
    def given(content: str) -> Desired:
        (tmp_path / "init").write_text(content)
        return settings.desired(settings.Source({**GOOD, "user_data": "init"}, folder=tmp_path))

    assert given("#cloud-config\n").user_data == "I2Nsb3VkLWNvbmZpZwo="
    with pytest.raises(ConfigError, match="holds a private key"):
        given("-----BEGIN RSA PRIVATE KEY-----")
    with pytest.raises(ConfigError, match="larger than 32,000 bytes"):
        given("x" * 30000)


def test_another_state_can_be_asked_for() -> None:
    source = settings.Source(GOOD)
    assert settings.desired(source.but(state="absent")).state is FleetState.ABSENT
