"""A host at its first boot, and one that is closed for others: seen, waited for, told."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import bare, carried_out, observed
from verify_cases import healthy, stack

from gpuprep.catalog import load
from gpuprep.on_host.converge import base, packages
from gpuprep.on_host.observe import firewall, system
from gpuprep.planner import HostPlan, observation_request, plan_host, settings_from

if TYPE_CHECKING:
    from pathlib import Path

CATALOG = load()


def status(folder: Path, stage: str | None) -> None:
    (folder / "status.json").write_text(json.dumps({"v1": {"stage": stage}}))


# --- cloud-init -----------------------------------------------------------------------------------


def test_a_first_boot_is_seen_until_its_result_is_written(tmp_path: Path) -> None:
    def look() -> str | None:
        found: str | None = system.first_boot(str(tmp_path))
        return found

    assert look() is None  # no cloud-init
    status(tmp_path, "modules-final")
    assert look() == "modules-final"
    status(tmp_path, None)
    assert look() == "between two stages"
    (tmp_path / "result.json").write_text("{}")
    assert look() is None


@pytest.mark.parametrize(
    ("state", "waits"),
    [("inactive", True), ("activating", True), ("active", False), ("failed", False)],
)
def test_one_that_broke_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, state: str, waits: bool
) -> None:
    said = f"ActiveState={state}\n"
    monkeypatch.setattr(system, "properties", lambda *_: [{"ActiveState": state}])
    monkeypatch.setattr(packages, "command", lambda _argv: base.Outcome(0, said, ""))
    status(tmp_path, "modules-final")
    assert (system.first_boot(str(tmp_path)) is not None) == bool(waits)
    operation = {"op": "first_boot", "folder": str(tmp_path)}
    if waits:
        with pytest.raises(base.OperationError):
            packages.first_boot(operation, context())
    else:
        assert "broke" in packages.first_boot(operation, context())["detail"]


@pytest.mark.parametrize("text", ["", "[", "[]", "3", '{"v1": 3}', '{"v1": {"stage": [1]}}'])
def test_whatever_its_file_holds_harms_nobody(tmp_path: Path, text: str) -> None:
    (tmp_path / "status.json").write_text(text)
    found = system.first_boot(str(tmp_path))
    assert found is None or isinstance(found, str)


def test_what_cloud_init_itself_started_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status(tmp_path, "modules-final")
    parents = {os.getpid(): ("python3", 12), 12: ("sh", 7), 7: ("cloud-init", 1)}

    def told(path: str, *_: Any) -> str:
        if path.startswith("/proc/"):
            name, parent = parents[int(path.split("/")[2])]
            return f"Name:\t{name}\nUmask:\t0022\nPPid:\t{parent}\n"
        return (tmp_path / "status.json").read_text()

    monkeypatch.setattr(system, "read", told)
    assert system.first_boot(str(tmp_path)) is None
    parents[7] = ("sshd", 1)
    assert system.first_boot(str(tmp_path)) == "modules-final"


def plan(**changes: Any) -> HostPlan:
    settings = settings_from({"gpuprep_components": ["driver"], "gpuprep_lock_timeout": 90})
    return plan_host(observed(bare(**changes)), settings, CATALOG)


def test_packages_wait_for_the_first_boot_with_a_word() -> None:
    made = plan(first_boot="modules-config")
    (warning,) = [w for w in made.warnings if w.code == "W_FIRST_BOOT"]
    assert "modules-config" in warning.message
    assert "90 s" in warning.message
    stages = made.roles["gpu_driver"].to_dict()["operations"]
    assert stages["packages"][0] == {"op": "first_boot", "folder": "/run/cloud-init"}
    assert "first_boot" not in str(plan().roles["gpu_driver"].to_dict()["operations"])


def test_a_host_that_lacks_nothing_waits_for_nothing() -> None:
    settings = settings_from({"gpuprep_components": ["driver"]})
    seen = carried_out(bare(), plan_host(observed(bare()), settings, CATALOG))
    made = plan_host(observed({**seen, "first_boot": "init"}), settings, CATALOG)
    assert not made.steps
    assert "W_FIRST_BOOT" not in {w.code for w in made.warnings}


def test_who_is_at_work_on_packages_is_told() -> None:
    manager = bare()["package_manager"]
    holder = {"path": "/var/lib/dpkg/lock", "pid": 42, "command": "unattended-upgr"}
    made = plan(package_manager={**manager, "locks": [holder]})
    (warning,) = [w for w in made.warnings if w.code == "W_PACKAGES_LOCKED"]
    assert "unattended-upgr (pid 42)" in warning.message


def context(*, seconds: int = 0, check: bool = False) -> base.Context:
    return base.Context("deb", seconds, check)


def test_the_wait_ends_with_the_first_boot_or_in_a_coded_failure(tmp_path: Path) -> None:
    operation = {"op": "first_boot", "folder": str(tmp_path)}
    with pytest.raises(base.OperationError) as failed:
        packages.first_boot(operation, context())
    assert failed.value.code == "E_FIRST_BOOT"
    assert "cloud-init status --long" in failed.value.message
    assert packages.first_boot(operation, context(check=True))["changed"] is False
    (tmp_path / "result.json").touch()
    assert packages.first_boot(operation, context())["changed"] is False
    gone = {"op": "first_boot", "folder": str(tmp_path / "none")}
    assert packages.first_boot(gone, context())["changed"] is False


# --- packet filter --------------------------------------------------------------------------------

# As OCI's images of Ubuntu have it in /etc/iptables/rules.v4, in the words of iptables-save.
IMAGE = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [463:49013]
:InstanceServices - [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p udp -m udp --sport 123 -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
{before}-A INPUT -j REJECT --reject-with icmp-host-prohibited
{behind}-A FORWARD -j REJECT --reject-with icmp-host-prohibited
-A OUTPUT -d 169.254.0.0/16 -j InstanceServices
-A InstanceServices -d 169.254.0.2/32 -p tcp -m owner --uid-owner 0 -j ACCEPT
COMMIT
"""
REJECTS = "-A INPUT -j REJECT --reject-with icmp-host-prohibited"
UFW = """\
*filter
:INPUT DROP [0:0]
-A INPUT -j ufw-user-input
-A ufw-user-input -s 10.1.0.0/24 -j ACCEPT
COMMIT
"""
SUBNET = "-A INPUT -s 10.0.0.0/16 -j ACCEPT\n"


@pytest.mark.parametrize(
    ("text", "rule", "networks"),
    [
        (IMAGE.format(before="", behind=""), REJECTS, []),
        (IMAGE.format(before=SUBNET, behind=""), REJECTS, ["10.0.0.0/16"]),
        (IMAGE.format(before="", behind=SUBNET), REJECTS, []),
        (IMAGE.format(before="-A INPUT -j ACCEPT\n", behind=""), None, []),
        (
            IMAGE.format(before="-A INPUT -s 10.0.0.9/32 -p tcp --dport 80 -j ACCEPT\n", behind=""),
            REJECTS,
            [],
        ),
        ("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n", None, []),
        (
            UFW,
            "policy DROP of INPUT",
            ["10.1.0.0/24"],
        ),
    ],
)
def test_rules_are_read_as_a_packet_meets_them(
    text: str, rule: str | None, networks: list[str]
) -> None:
    assert firewall.read_rules(text) == {"rule": rule, "accepts": networks}


def verdict(shape: str | None, rule: str | None, *accepts: str) -> str:
    found = {"rule": rule, "accepts": list(accepts)}
    checks = healthy({"observation.firewall": found}, shape).checks(stack())
    return checks["network.firewall"].status


def test_it_matters_where_hosts_work_together() -> None:
    assert verdict("BM.GPU.H100.8", REJECTS) == "warned"
    assert verdict("BM.GPU.H100.8", REJECTS, "10.0.0.0/16") == "passed"
    assert verdict("BM.GPU.H100.8", None) == "passed"
    assert verdict("VM.GPU.A10.1", REJECTS) == "skipped"
    assert verdict(None, REJECTS) == "skipped"


@pytest.mark.parametrize(
    ("shape", "asked"),
    [("BM.GPU.H100.8", True), ("BM.GPU.GB200.4", True), ("VM.GPU.A10.1", False), (None, False)],
)
def test_only_there_it_is_looked_at(shape: str | None, *, asked: bool) -> None:
    settings = settings_from({"oci_shape": shape} if shape else {})
    assert observation_request(CATALOG, settings)["firewall"] is asked
