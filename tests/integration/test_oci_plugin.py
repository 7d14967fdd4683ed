"""The plugin inside Ansible, run as users run it, on each supported ansible-core at hand."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from oci_lab import CORES, H100, Lab, Starter, compartment, new_credentials, small, start

from sandbox.oci import ensure, keys, stop
from sandbox.oci.faults import Fault
from sandbox.oci.tenancy import REGION, TENANCY, Tenancy

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSPHRASE = "PASSMARKER"  # noqa: S105 - generated keys only
each_core = pytest.mark.parametrize("core", sorted(CORES))


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> keys.Credentials:
    return new_credentials(tmp_path_factory.mktemp("oci"))


@pytest.fixture
def lab(tmp_path: Path, credentials: keys.Credentials) -> Iterator[Starter]:
    labs: list[Lab] = []

    def begin(tenancy: Tenancy, **knobs: float) -> Lab:
        labs.append(start(tmp_path, credentials, tenancy, **knobs))
        return labs[-1]

    yield begin
    for one in labs:
        one.emulator.stop()


def plain(value: Any) -> Any:
    """Undo the mark that 2.19 puts on composed strings in its output."""
    return value["__ansible_unsafe"] if isinstance(value, dict) else value


def told(text: str) -> str:
    """Undo Ansible's line breaks, which fall into words too."""
    return "".join(text.split())


def names(found: dict[str, Any]) -> list[str]:
    return sorted(name for name in found if name != "_groups")


@each_core
def test_hosts_have_plain_variables_and_groups(lab: Starter, core: str) -> None:
    here = lab(small())
    found = here.hosts(here.file(), core)
    assert len(names(found)) == 6
    host = found["gpu-00001"]
    assert host["ansible_host"] == "10.0.0.3"
    assert host["oci_gpu"]["model"] == "h100"
    assert "__ansible_unsafe" not in json.dumps(found)
    groups = found["_groups"]
    assert groups["oci_gpu"]["children"] == ["shape_bm_gpu_h100_8"]
    assert groups["region_us_ashburn_1"]["children"]
    assert groups["tag_role_train"]["hosts"] == names(found)


@each_core
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"exclude_filters": ["oci_display_name == 'gpu-00001'"]}, "02345"),
        ({"include_filters": ["oci_display_name == 'gpu-00001'"]}, "1"),
        ({"include_filters": ["oci_freeform_tags.role"]}, "012345"),
        ({"include_filters": ["oci_freeform_tags.other is defined"]}, ""),
        (
            {
                "include_filters": ["oci_ad.endswith('-1')", "oci_ad.endswith('-2')"],
                "exclude_filters": ["inventory_hostname == 'gpu-00000'"],
            },
            "134",
        ),
    ],
)
def test_filters_select_the_same_hosts_on_each_core(
    lab: Starter, core: str, filters: dict[str, Any], expected: str
) -> None:
    here = lab(small())
    found = here.hosts(here.file(**filters), core)
    assert names(found) == [f"gpu-0000{number}" for number in expected]


@each_core
def test_a_filter_that_fails_is_an_error_and_widens_nothing(lab: Starter, core: str) -> None:
    here = lab(small())
    done = here.inventory(here.file(exclude_filters=["oci_freeform_tags.team == 'x'"]), core=core)
    assert done.returncode != 0
    assert "oci_freeform_tags.team" in done.stderr
    assert "gpu-00000" in done.stderr


@each_core
def test_constructed_groups_and_variables(lab: Starter, core: str) -> None:
    here = lab(small(2))
    path = here.file(
        compose={"gpus": "oci_gpu.count", "login": "'opc'"},
        groups={"big": "oci_gpu.count >= 8"},
        keyed_groups=[{"key": "oci_freeform_tags.role", "prefix": "job"}],
    )
    found = here.hosts(path, core)
    assert str(found["gpu-00000"]["gpus"]) == "8"  # 2.18 makes strings of what it composes
    assert plain(found["gpu-00000"]["login"]) == "opc"
    assert found["_groups"]["big"]["hosts"] == ["gpu-00000", "gpu-00001"]
    assert found["_groups"]["job_train"]["hosts"] == ["gpu-00000", "gpu-00001"]


@each_core
def test_names_and_tags_are_never_run_as_templates(lab: Starter, core: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    attack = f"{{{{ lookup('pipe', 'touch {mark}') }}}}"
    tenancy = small(1)
    (instance,) = tenancy.instances.values()
    instance["displayName"] = f"a {attack} b"
    instance["freeformTags"] = {"note": attack, "other": "#jinja2: variable_start_string:'<'"}
    here = lab(tenancy)
    found = here.hosts(here.file(compose={"copy": "oci_freeform_tags.note"}), core)
    (name,) = names(found)
    assert not set(name) & set("{}'%#,: ")
    play = tmp_path / "play.yml"
    play.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.debug:\n"
        '        msg: "{{ oci_freeform_tags.note }} {{ copy }} {{ inventory_hostname }}"\n'
    )
    done = here.run("ansible-playbook", "-i", here.file(), str(play), core=core)
    assert not mark.exists(), done.stdout
    assert "lookup" in done.stdout + done.stderr


@each_core
def test_names_that_are_no_group_names_are_made_valid_ones(lab: Starter, core: str) -> None:
    tenancy = small(1)
    (instance,) = tenancy.instances.values()
    instance["displayName"] = "GPU node #1 (spare)"
    instance["freeformTags"] = {"Cost-Center": "42 / ü", "empty": ""}
    instance["definedTags"] = {
        "Oracle-Tags": {"CreatedOn": "2026-01-01T00:00:00Z"},
        "ops": {"tier": "1-a"},
    }
    here = lab(tenancy)
    done = here.inventory(here.file(), core=core)
    groups = json.loads(done.stdout)
    assert names(groups["_meta"]["hostvars"]) == ["GPU-node-1-spare"]
    assert {"tag_cost_center_42___ü", "tag_empty", "dtag_ops_tier_1_a"} <= groups.keys()
    assert not any("createdon" in one for one in groups)
    assert "Invalid characters" not in done.stderr


@each_core
def test_a_partial_list_ends_the_command(lab: Starter, core: str) -> None:
    here = lab(small())
    refused = compartment(here.tenancy, "team1")
    here.emulator.api.denied.add(refused)
    done = here.inventory(here.file(), core=core)
    assert done.returncode != 0
    text = told(done.stderr)
    assert refused in text
    assert "opc-request-id" in text
    assert told("Allow group <group> to read instance-family in compartment team1") in text
    assert "gpu-0000" not in done.stdout


def test_ansibles_own_leniency_can_be_had(lab: Starter) -> None:
    here = lab(small())
    here.emulator.api.denied.add(compartment(here.tenancy, "team1"))
    done = here.inventory(here.file(fail_command=False))
    assert done.returncode == 0
    assert "incomplete" in done.stderr


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ({"exclude_host_filters": ["x"]}, "here use exclude_filters"),
        ({"exclud_filters": ["x"]}, "did you mean exclude_filters?"),
        ({"hostnames": ["public"]}, "'public' is not one of display_name"),
        ({"compartments": [{"compartment_ocid": "o1"}]}, "- o1"),
    ],
)
def test_a_wrong_option_is_an_error_with_advice(
    lab: Starter, option: dict[str, Any], advice: str
) -> None:
    here = lab(small())
    done = here.inventory(here.file(**option))
    assert done.returncode != 0
    assert told(advice) in told(done.stderr)
    assert here.emulator.stats.total == 0


def test_a_missing_sdk_names_the_interpreter(lab: Starter, tmp_path: Path) -> None:
    here = lab(small())
    (tmp_path / "oci.py").write_text("raise ImportError('no oci here')\n")
    done = here.inventory(here.file(), PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert told(f"the OCI SDK is missing for {sys.executable}") in told(done.stderr)


def test_the_package_beside_the_collection_is_enough(lab: Starter, tmp_path: Path) -> None:
    """As after an installation from Galaxy, where gpuprep is no package of this Python."""
    here = lab(small(2))
    root = str(Path(__file__).parents[2])
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.path[:] = [one for one in sys.path if one != {root!r}]\n"
    )
    done = here.run("python", "-c", "import gpuprep", PYTHONPATH=str(tmp_path))
    assert "No module named 'gpuprep'" in done.stderr
    done = here.inventory(here.file(), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "gpu-00001" in done.stdout


# --- cache -------------------------------------------------------------------------------------


def cached(folder: Path, **more: Any) -> dict[str, Any]:
    where = {"cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(folder / "cache")}
    return {"cache": True, **where, **more}


@each_core
def test_a_cache_hit_asks_nothing_and_imports_no_sdk(
    lab: Starter, core: str, tmp_path: Path
) -> None:
    here = lab(small())
    path = here.file(**cached(tmp_path), keyed_groups=[{"key": "oci_state", "prefix": "s"}])
    first = here.hosts(path, core)
    here.emulator.reset_stats()
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "oci.py").write_text("raise ImportError('the SDK was imported')\n")
    second = here.hosts(path, core, PYTHONPATH=str(tmp_path / "trap"))
    assert second == first
    assert here.emulator.stats.total == 0
    (tmp_path / "play.yml").write_text("- hosts: all\n")
    options = ("--list-hosts", "--flush-cache", tmp_path / "play.yml")
    done = here.run("ansible-playbook", "-i", path, *options, core=core)
    assert done.returncode == 0
    assert "gpu-00000" in done.stdout
    assert here.emulator.stats.total == 8


@each_core
def test_cache_files_are_private_and_hold_no_secret(
    lab: Starter, core: str, tmp_path: Path
) -> None:
    here = lab(small())
    for one in here.tenancy.instances.values():
        one["metadata"] = {"user_data": "SECRETMARKER"}
    path = here.file(**cached(tmp_path), api_user_key_pass_phrase=PASSPHRASE)
    here.hosts(path, core)
    (stored,) = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    text = stored.read_text()
    assert "gpu-00000" in text
    for secret in ("SECRETMARKER", PASSPHRASE, "user_data", "ssh_authorized_keys"):
        assert secret not in text


def test_a_partial_list_is_never_cached(lab: Starter, tmp_path: Path) -> None:
    here = lab(small())
    path = here.file(**cached(tmp_path, on_partial="warn"))
    here.emulator.faults.append(Fault("vnicAttachments", 404))
    assert here.hosts(path)["gpu-00000"]["oci_address_missing"] is True
    here.emulator.faults.clear()
    assert here.hosts(path)["gpu-00000"]["ansible_host"] == "10.0.0.2"


def test_other_options_do_not_share_a_cache(lab: Starter, tmp_path: Path) -> None:
    here = lab(small())
    assert len(names(here.hosts(here.file(**cached(tmp_path))))) == 6
    assert names(here.hosts(here.file(**cached(tmp_path, shapes=["*A10*"])))) == []


def test_a_cache_file_of_another_list_is_not_taken_for_this_one(
    lab: Starter, tmp_path: Path
) -> None:
    here = lab(small())
    path = here.file(**cached(tmp_path))
    here.hosts(path)
    (stored,) = (tmp_path / "cache").iterdir()
    text = stored.read_text()
    changed = re.sub(r"(identity\W+)[0-9a-f]{64}", r"\g<1>" + "0" * 64, text)
    assert changed != text
    stored.write_text(changed)
    here.emulator.reset_stats()
    assert len(names(here.hosts(path))) == 6
    assert here.emulator.stats.total == 8


def test_an_old_list_is_used_only_when_wanted_and_says_so(lab: Starter, tmp_path: Path) -> None:
    here = lab(small())
    options = cached(tmp_path, cache_timeout=1, stale_if_error=True)
    here.hosts(here.file(**options))
    (stored,) = (tmp_path / "cache").iterdir()
    os.utime(stored, (1, 1))
    here.emulator.faults.append(Fault(".", 401))
    done = here.inventory(here.file(**options))
    assert done.returncode == 0, done.stderr
    assert "gpu-00000" in done.stdout
    assert "minutes old" in done.stderr
    done = here.inventory(here.file(**{**options, "stale_if_error": False}))
    assert done.returncode != 0


# --- secrets -----------------------------------------------------------------------------------


def test_no_key_token_or_passphrase_is_ever_shown(lab: Starter, tmp_path: Path) -> None:
    here = lab(small())
    secret = keys.create(tmp_path / "enc", TENANCY, REGION, passphrase=PASSPHRASE)
    here.emulator.verifier.keys[secret.key_id] = secret.public_key  # type: ignore[index]
    path = here.file(config_file=str(secret.config), api_user_key_pass_phrase=PASSPHRASE)
    good = here.inventory(path, "-vvvvvv", ANSIBLE_DEBUG="1", OCI_CONFIG_FILE=str(secret.config))
    assert good.returncode == 0, good.stderr[-2000:]
    assert json.loads(good.stdout[good.stdout.index("\n{\n") :].rpartition("}")[0] + "}")
    here.emulator.faults.append(Fault(".", 401))
    bad = here.inventory(path, "-vvvvvv", ANSIBLE_DEBUG="1")
    wrong = here.inventory(
        here.file(config_file=str(secret.config), api_user_key_pass_phrase=PASSPHRASE + "X"),
        "-vvvvvv",
        ANSIBLE_DEBUG="1",
    )
    assert bad.returncode != 0
    assert wrong.returncode != 0
    assert told("the passphrase for the key") in told(wrong.stderr)
    body = secret.key_file.read_text().splitlines()[3]
    for done in (good, bad, wrong):
        for marker in (PASSPHRASE, body, "Signature algorithm", "keyId="):
            assert marker not in done.stdout + done.stderr


def test_a_token_session_signs_and_stays_hidden(lab: Starter, tmp_path: Path) -> None:
    here = lab(small())
    token = tmp_path / "token"
    token.write_text("TOKENMARKER.not.jwt")
    here.emulator.verifier.keys["ST$TOKENMARKER.not.jwt"] = here.credentials.public_key  # type: ignore[index]
    config = tmp_path / "session"
    config.write_text(
        f"[DEFAULT]\ntenancy={TENANCY}\nregion={REGION}\nkey_file={here.credentials.key_file}\n"
        f"security_token_file={token}\nlog_requests=true\n"
    )
    done = here.inventory(here.file(config_file=str(config)), "-vvvvvv", ANSIBLE_DEBUG="1")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "gpu-00005" in done.stdout
    for marker in ("TOKENMARKER", "Signature algorithm", "keyId="):
        assert marker not in done.stdout + done.stderr
    assert here.emulator.stats.verified == 8


def test_hosts_of_the_sandbox_are_listed_through_a_served_file(tmp_path: Path) -> None:
    hosts = [
        {"name": "gpu-a10", "address": "10.88.0.5", "shape": "VM.GPU.A10.1", "os": "debian-12"},
        {"name": "gpu-h100", "address": "10.88.0.6", "shape": H100, "os": "debian-12"},
    ]
    try:
        given = ensure(hosts, tmp_path, {"ansible_user": "ops", "ansible_become": True})
        assert ensure(hosts, tmp_path) == given
        here = Lab(tmp_path, new_credentials(tmp_path / "k"), None)  # type: ignore[arg-type]
        ensure(hosts, tmp_path, {"ansible_user": "ops", "ansible_become": True})
        found = here.hosts(given["inventory"])  # type: ignore[arg-type]
        assert found["gpu-a10"]["ansible_host"] == "10.88.0.5"
        assert plain(found["gpu-a10"]["ansible_user"]) == "ops"
        assert found["gpu-h100"]["ansible_become"] is True
        assert found["gpu-h100"]["oci_gpu"]["count"] == 8
        assert "os_debian_12" in found["_groups"]
    finally:
        stop(tmp_path)
    assert not (tmp_path / "oci" / "endpoint.json").exists()


# --- the command line --------------------------------------------------------------------------


def gpuprep(here: Lab, *arguments: str) -> tuple[int, str, str]:
    done = here.run("python", "-m", "gpuprep", "inventory", *arguments)
    return done.returncode, done.stdout, done.stderr


def test_the_list_is_a_table(lab: Starter) -> None:
    here = lab(small(2))
    code, table, _ = gpuprep(here, "list", "-i", str(here.file(resolve_images=True)))
    assert code == 0
    header, first, second = table.splitlines()
    assert header.split() == ["HOST", "SHAPE", "GPU", "OS", "REGION", "ADDRESS", "GROUPS"]
    assert first.split()[:2] == ["gpu-00000", H100]
    assert "8x h100" in second
    assert "Oracle Linux 9" in second
    assert second.endswith("compartment_team1,tag_role_train")


def test_the_list_of_a_refused_tenancy_exits_69(lab: Starter) -> None:
    here = lab(small(2))
    here.emulator.api.denied.add(compartment(here.tenancy, "team1"))
    code, table, complaint = gpuprep(here, "list", "-i", str(here.file()))
    assert (code, table) == (69, "")
    assert told("Allow group <group> to read instance-family") in told(complaint)


def test_the_doctor_finds_nothing_wrong_with_a_healthy_tenancy(lab: Starter) -> None:
    here = lab(small(2))
    code, text, _ = gpuprep(here, "doctor", str(here.file()))
    assert code == 0
    assert [line.split()[:2] for line in text.splitlines()] == [
        ["ok", step]
        for step in ("configuration", "profile", "sdk", "key", "network", "clock", "permissions",
                     "hosts")
    ]  # fmt: skip


def test_the_doctor_counts_the_hosts_for_which_an_expression_fails(lab: Starter) -> None:
    tenancy = small(2)
    next(iter(tenancy.instances.values()))["freeformTags"]["team"] = "red"
    here = lab(tenancy)
    path = here.file(
        groups={"big": "shape == 'x'"},
        keyed_groups=[{"key": "oci_freeform_tags.team", "prefix": "team"}],
    )
    code, text, complaint = gpuprep(here, "doctor", str(path))
    assert (code, complaint) == (0, "")
    first, second = text.splitlines()[-2:]
    assert " ".join(first.split()) == (
        "warning expressions expression \"shape == 'x'\" fails for 2 of 2 hosts: "
        "shape is undefined; did you mean oci_shape?"
    )
    assert "'oci_freeform_tags.team' fails for 1 of 2 hosts" in second


def test_the_doctor_takes_what_is_encrypted_from_the_environment(
    lab: Starter, tmp_path: Path
) -> None:
    here = lab(small(2))
    secret = keys.create(tmp_path / "enc", TENANCY, REGION, passphrase=PASSPHRASE)
    here.emulator.verifier.keys[secret.key_id] = secret.public_key  # type: ignore[index]
    path = tmp_path / "secret.oci.yml"
    path.write_text(
        f"plugin: gpuprep.core.oci\nconfig_file: {secret.config}\n"
        f"service_endpoint: {here.emulator.url}\n"
        "api_user_key_pass_phrase: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  00\n"
    )
    given = {"OCI_USER_KEY_PASS_PHRASE": PASSPHRASE}
    done = here.run("python", "-m", "gpuprep", "inventory", "doctor", str(path), **given)
    assert done.returncode == 0, done.stdout


def test_the_doctor_prints_the_missing_policies(lab: Starter) -> None:
    here = lab(small(6))
    here.emulator.api.denied.add(compartment(here.tenancy, "team1"))
    code, text, _ = gpuprep(here, "doctor", str(here.file()))
    assert code == 69
    policies = text.partition("Add to a policy of the tenancy:")[2].split("\n  ")[1:]
    assert [one.strip() for one in policies] == [
        "Allow group <group> to read instance-family in compartment team1"
    ]


def test_the_doctor_names_what_is_wrong_and_stops_there(lab: Starter, tmp_path: Path) -> None:
    here = lab(small(2), clock_offset=-3600)
    code, text, _ = gpuprep(here, "doctor", str(here.file()), "-o", "json")
    last = json.loads(text)["findings"][-1]
    assert (code, last["step"], last["verdict"]) == (69, "network", "failed")
    assert "s ahead" in last["detail"]
    code, text, _ = gpuprep(here, "doctor", str(here.file(config_profile="NONE")))
    assert code == 64
    assert text.splitlines()[-1].startswith("failed   profile")
    other = tmp_path / "static.yml"
    other.write_text("all: {}\n")
    code, text, _ = gpuprep(here, "doctor", str(other))
    assert code == 64
    assert "must end in .oci.yml" in text


def test_the_doctor_tells_a_refused_compartment_tree(lab: Starter) -> None:
    here = lab(small(2))
    here.emulator.faults.append(Fault("/compartments", 404))
    code, text, _ = gpuprep(here, "doctor", str(here.file()))
    assert code == 69
    assert "404 NotAuthorizedOrNotFound" in text
    assert text.splitlines()[-1] == "  Allow group <group> to inspect compartments in tenancy"
