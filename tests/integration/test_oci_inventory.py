"""What Ansible makes of an inventory file: wrong options, odd names, expressions that fail."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from oci_lab import CORES, H100, Lab, new_credentials, start

from gpuprep.run.environment import collections_root
from sandbox.oci.faults import Fault
from sandbox.oci.tenancy import Tenancy, fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox.oci.keys import Credentials

A10 = "VM.GPU.A10.1"
Ask = "Callable[..., dict[str, Any]]"


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return new_credentials(tmp_path_factory.mktemp("oci"))


@pytest.fixture(scope="module", params=sorted(CORES))
def ask(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., dict[str, Any]]]:
    """One process of Ansible's for all: starting it takes longer than listing."""
    with subprocess.Popen(
        [CORES[request.param] / "python", Path(__file__).with_name("inventory_worker.py")],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path_factory.mktemp("home")),
            "ANSIBLE_COLLECTIONS_PATH": str(collections_root()),
            "LC_ALL": "C.UTF-8",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def parse(*sources: Path) -> dict[str, Any]:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps([str(one) for one in sources]) + "\n")
            process.stdin.flush()
            found: dict[str, Any] = json.loads(process.stdout.readline())
            found["text"] = " ".join(" ".join(found["told"]).split())
            return found

        yield parse
        process.terminate()


@pytest.fixture
def lab(tmp_path: Path, credentials: Credentials) -> Iterator[Callable[[Tenancy], Lab]]:
    labs: list[Lab] = []

    def begin(tenancy: Tenancy) -> Lab:
        labs.append(start(tmp_path, credentials, tenancy))
        return labs[-1]

    yield begin
    for one in labs:
        one.emulator.stop()


def called(*names: str, **tags: str) -> Tenancy:
    """A tenancy with these instances: the first is an A10, the others are H100."""
    tenancy = Tenancy()
    place = tenancy.compartment("gpu")
    net = tenancy.subnet(place, "net")
    for number, name in enumerate(names):
        ocid = tenancy.instance(
            name, H100 if number else A10, place, gpus=8 if number else 1, freeform_tags=tags
        )
        tenancy.vnic(ocid, net, f"10.0.0.{number + 2}")
    return tenancy


def ending(tenancy: Tenancy, name: str) -> str:
    ocids = [ocid for ocid, one in tenancy.instances.items() if one["displayName"] == name]
    return ocids[0][-6:]


# --- wrong options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"filters": [{"freeform_tags": {"role": "train"}}]}, "filters: needs a mapping, not list"),
        ({"filters": {"freeform_tags": ["role"]}}, "filters: freeform_tags: needs a mapping"),
        ({"filters": {"lifecycle_state": "RUNNING"}}, "is the option lifecycle_states"),
        ({"filters": {"freeform_tags": {"gpu": True}}}, "freeform_tags: gpu: needs a string in"),
        ({"filters": {"display_name": None}}, "filters: display_name: needs a string"),
        ({"auth_type": "session"}, "auth_type: 'session' is not one of auto"),
        ({"workers": "many"}, "workers: needs a whole number, not str"),
        ({"timeout": 1.5}, "timeout: needs a whole number, not float"),
        ({"gpu_only": "maybe"}, "gpu_only: needs true or false, not str"),
        ({"include_subcompartments": "ja"}, "include_subcompartments: needs true or false"),
        ({"fail_command": "no"}, "fail_command: needs true or false"),
        ({"strict": 1}, "strict: needs true or false, not int"),
        ({"on_partial": "ignore"}, "on_partial: 'ignore' is not one of fail, warn"),
        ({"compose": ["x"]}, "compose: needs a mapping, not list"),
        ({"compose": {"port": 22}}, "compose: port: needs an expression in quotes, not 22"),
        ({"groups": {"big": None}}, "groups: big: needs an expression in quotes"),
        ({"keyed_groups": {"key": "x"}}, "keyed_groups: needs a list of mappings, not dict"),
        ({"keyed_groups": ["x"]}, "keyed_groups: needs mappings with a key, not str"),
        ({"keyed_groups": [{"kee": "x"}]}, "keyed_groups: 'kee' is not one of key, prefix"),
        ({"keyed_groups": [{"prefix": "x"}]}, "keyed_groups: key: needs an expression"),
        ({"exclude_filters": {"a": "b"}}, "exclude_filters: needs a list of strings, not dict"),
        ({"exclude_filters": "a in ['x', 'y']"}, "exclude_filters: write the expression as an"),
        ({"cache_timeout": "soon"}, "cache_timeout: needs a whole number"),
        ({"cache": True, "cache_plugin": "nosuch"}, "nosuch"),
        ({"compartments": ["{{ lookup('env', 'X') }}"]}, "templates are not evaluated here"),
        ({"ssh_user": "{{ me }}"}, "ssh_user: templates are not evaluated here"),
        ({"exclude_compartments": [{"compartment_name": "old"}]}, "`- old`; all that lies below"),
        ({"instance_principal_authentication": True}, "here use auth_type: instance_principal"),
        ({"fetch_hosts_from_subcompartments": True}, "here use include_subcompartments"),
    ],
)
def test_a_wrong_option_ends_the_command(
    ask: Callable[..., dict[str, Any]],
    lab: Callable[[Tenancy], Lab],
    given: dict[str, Any],
    words: str,
) -> None:
    here = lab(called("a"))
    found = ask(here.file(**given))
    assert found["failed"]
    assert words in found["text"]
    assert here.emulator.stats.total == 0


def test_a_file_of_another_name_is_told_and_ends_the_command(
    ask: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "gpus.yml"
    path.write_text("plugin: gpuprep.core.oci\n")
    found = ask(path)
    assert found["failed"]
    assert f"the name of {path} must end in .oci.yml" in found["text"]


# --- names chosen by strangers -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["rdma", "all", "ungrouped", "oci_gpu", "tag_role_train", "shape_vm_gpu_a10_1",
     "region_us_ashburn_1", "localhost", "127.0.0.1", "LOCALHOST", "trainers", "job_train",
     "site_east", "everyone"],
)  # fmt: skip
def test_an_instance_called_like_a_group_or_the_controller_is_told_and_renamed(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab], tmp_path: Path, name: str
) -> None:
    """The A10 has the odd name; the H100 must not come into its groups, nor either be lost."""
    first = tmp_path / "0.yml"
    first.write_text("site_east: {hosts: {old: {}}}\neveryone: {children: {site_east: {}}}\n")
    tenancy = called(name, "good-0", role="train")
    path = lab(tenancy).file(
        groups={"trainers": "true"},
        keyed_groups=[{"key": "oci_freeform_tags.role", "prefix": "job"}],
    )
    found = ask(first, path)
    assert found["failed"] is None
    odd = f"{name}_{ending(tenancy, name)}"
    assert found["hosts"].keys() == {odd, "good-0", "old"}
    assert found["groups"]["all"] == sorted([odd, "good-0", "old"])
    assert found["groups"]["gpu_model_a10"] == [odd]
    assert found["groups"]["oci_gpu"] == sorted([odd, "good-0"])
    assert found["groups"]["trainers"] == found["groups"]["job_train"] == sorted([odd, "good-0"])
    assert found["groups"]["everyone"] == ["old"]
    assert found["local"] == "local"
    assert f"last six signs, or the whole of it: {name}" in found["text"]
    assert "Found both group and host" not in found["text"]


def test_an_instance_is_not_taken_for_a_host_of_another_source(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab], tmp_path: Path
) -> None:
    first = tmp_path / "0.yml"
    first.write_text(
        "all:\n  hosts:\n    builder: {ansible_connection: local}\n"
        "    bastion: {ansible_host: 192.0.2.1}\n    gpu-0: {rack: 7}\n"
    )
    tenancy = called("builder", "bastion", "gpu-0")
    path = lab(tenancy).file()
    found = ask(first, path, path)
    assert found["failed"] is None
    hosts = found["hosts"]
    assert hosts.keys() == {
        "builder", "bastion", "gpu-0",
        f"builder_{ending(tenancy, 'builder')}", f"bastion_{ending(tenancy, 'bastion')}",
    }  # fmt: skip
    assert "oci_id" not in hosts["builder"]
    assert hosts["bastion"]["ansible_host"] == "192.0.2.1"
    assert (hosts["gpu-0"]["rack"], hosts["gpu-0"]["ansible_host"]) == (7, "10.0.0.4")


def test_groups_that_repeat_host_names_are_refused(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab]
) -> None:
    keyed = [{"key": "inventory_hostname", "separator": ""}]
    found = ask(lab(called("a", "b")).file(keyed_groups=keyed))
    assert found["failed"]
    assert "itself" in found["text"] or "give the groups" in found["text"]


# --- expressions -------------------------------------------------------------------------------


def test_expressions_that_fail_for_every_host_are_a_warning(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab]
) -> None:
    path = lab(called("a", "b", Environment="dev")).file(
        compose={"where": "fault_domain", "good": "oci_shape"},
        groups={"storage": "shape == 'x'", "big": "oci_gpu.count > 1"},
        keyed_groups=[{"key": "freeform_tags.Environment", "prefix": "env"}],
    )
    found = ask(path)
    assert found["failed"] is None
    warned = [one for one in found["told"] if not one.startswith("-v")]
    for expression, meant in {
        "fault_domain": "oci_fault_domain",
        "shape == 'x'": "oci_shape",
        "freeform_tags.Environment": "oci_freeform_tags",
    }.items():
        (line,) = [one for one in warned if repr(expression) in one]
        assert "fails for 2 of 2 hosts" in line
        assert f"did you mean {meant}?" in line
    assert len(warned) == 3


def test_expressions_that_fail_for_some_hosts_are_told_to_those_who_ask(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab]
) -> None:
    tenancy = called("a", "b")
    next(iter(tenancy.instances.values()))["freeformTags"] = {"team": "red"}
    found = ask(lab(tenancy).file(keyed_groups=[{"key": "oci_freeform_tags.team"}]))
    assert found["groups"]["_red"] == ["a"]
    (line,) = found["told"]
    assert line.startswith("-v")
    assert "'oci_freeform_tags.team' fails for 1 of 2 hosts" in line


def test_untagged_hosts_pass_through_ordinary_expressions(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab]
) -> None:
    tenancy = called("a", "b")
    next(iter(tenancy.instances.values()))["freeformTags"] = {"role": "train"}
    path = lab(tenancy).file(
        include_filters=["oci_freeform_tags.get('role') == 'train'"],
        groups={"trainers": "oci_freeform_tags.get('role') == 'train'"},
        strict=True,
    )
    found = ask(path)
    assert found["failed"] is None
    assert found["groups"]["trainers"] == ["a"] == [*found["hosts"]]


def test_the_official_plugins_expressions_work_without_a_prefix(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab]
) -> None:
    tenancy = called("a", "b", Environment="dev")
    tenancy.vnics.clear()
    for number, one in enumerate(tenancy.instances):
        tenancy.attachments[number]["vnicId"] = "gone"
        tenancy.vnic(one, next(iter(tenancy.subnets)), f"10.0.1.{number}",
                     public_ip=f"203.0.113.{number}")  # fmt: skip
    tenancy.attachments[:] = [one for one in tenancy.attachments if one["vnicId"] != "gone"]
    path = lab(tenancy).file(
        hostvars_prefix="",
        compose={"ansible_host": "public_ip"},
        groups={"storage": "shape.startswith('BM.')"},
        keyed_groups=[
            {"key": "freeform_tags.Environment", "prefix": "env"},
            {"key": "fault_domain", "prefix": "az"},
        ],
    )
    found = ask(path)
    assert found["hosts"]["b"]["ansible_host"] == "203.0.113.1"
    groups = found["groups"]
    assert groups["env_dev"] == groups["az_FAULT_DOMAIN_1"] == ["a", "b"]
    assert groups["storage"] == ["b"]
    assert found["told"] == []


# --- hosts without an address ------------------------------------------------------------------


def cached(folder: Path) -> dict[str, Any]:
    return {
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(folder / "cache"),
    }


@pytest.mark.parametrize("state", [None, "DETACHING"])
def test_a_host_without_a_vnic_can_be_left_out(
    ask: Callable[..., dict[str, Any]],
    lab: Callable[[Tenancy], Lab],
    tmp_path: Path,
    state: str | None,
) -> None:
    tenancy = called("a", "b")
    bare = tenancy.instance("bare", H100, tenancy.compartments[0]["id"], gpus=8)
    if state:
        tenancy.vnic(bare, next(iter(tenancy.subnets)), "10.0.9.9", state=state)
    here = lab(tenancy)
    found = ask(here.file())
    assert found["failed"]
    assert "host bare" in found["text"]
    assert "exclude_filters can leave such hosts out" in found["text"]
    path = here.file(exclude_filters=["oci_display_name == 'bare'"], **cached(tmp_path))
    for _ in range(2):
        found = ask(path)
        assert found["failed"] is None
        assert found["hosts"].keys() == {"a", "b"}
    here.emulator.reset_stats()
    assert ask(here.file(**cached(tmp_path)))["failed"]  # the cache knows that one is missing
    assert here.emulator.stats.total == 0


def test_a_host_whose_vnic_is_refused_can_be_left_out_but_is_not_cached(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab], tmp_path: Path
) -> None:
    tenancy = called("a", "b")
    place, other = tenancy.compartment("other"), tenancy.subnet(tenancy.ocid, "far")
    tenancy.vnic(tenancy.instance("far", H100, place, gpus=8), other, "10.9.0.2")
    here = lab(tenancy)
    here.emulator.faults.append(Fault("vnics", 404))
    assert "vnics/" in ask(here.file())["text"]
    path = here.file(exclude_filters=["oci_display_name == 'far'"], **cached(tmp_path))
    assert ask(path)["hosts"].keys() == {"a", "b"}
    assert not list((tmp_path / "cache").glob("*"))


def test_a_compartment_that_is_refused_cannot_be_filtered_away(
    ask: Callable[..., dict[str, Any]], lab: Callable[[Tenancy], Lab]
) -> None:
    here = lab(fleet(4, H100, 8))
    here.emulator.api.denied.add(here.tenancy.compartments[1]["id"])
    found = ask(here.file(exclude_filters=["true"]))
    assert found["failed"]
    assert "instance-family in compartment team1" in found["text"]
