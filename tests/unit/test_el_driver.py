"""The driver's part of a plan on Enterprise Linux: stream, locks, branch, and its operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_enterprise_linux_plan import UEK, oracle, plan

if TYPE_CHECKING:
    from gpuprep.planner import HostPlan

NAMES = ("nvidia-open", "libnvidia-ml", "nvidia-modprobe")


def prepared(version: str, **changes: Any) -> dict[str, Any]:
    """Return a host that has packages of a driver, its stream and its locks."""
    branch = version.partition(".")[0]
    package = {"version": f"3:{version}-1.el9", "status": "installed", "hold": True}
    bare = plan(oracle(), gpu_driver_branch=branch)
    assert bare.stack is not None
    manager = {
        "streams": {"nvidia-driver": f"{branch}-open"},
        "version_locks": [line.replace(f"{branch}.*", version) for line in locks(bare)],
        **changes,
    }
    host: dict[str, Any] = oracle(package_manager=manager)
    others = [p.name for p in bare.stack.packages if p.origin == "distro"]
    host["packages"] = {
        **{name: {"version": "1.0-1.el9", "status": "installed"} for name in others},
        **{name: dict(package) for name in NAMES},
    }
    return host


def locks(made: HostPlan) -> list[str]:
    assert made.stack is not None
    return list(made.stack.version_locks)


def steps(made: HostPlan) -> dict[str, tuple[str, str | None, str | None]]:
    found = made.roles["gpu_driver"].steps
    return {f"{s.kind}.{s.target}": (s.action, s.before, s.after) for s in found}


def operations(made: HostPlan) -> list[dict[str, Any]]:
    stages = made.roles["gpu_driver"].to_dict()["operations"]
    return [dict(operation) for operation in stages["packages"]]


def test_a_bare_host_gets_its_stream_before_and_its_module_after_the_packages() -> None:
    made = plan(oracle())
    assert steps(made)["stream.nvidia-driver"] == ("enable", None, "580-open")
    found = operations(made)
    assert [o["op"] for o in found] == ["stream", "packages", "packages", "hold", "module"]
    assert found[0]["refresh"]
    assert not any(o.get("refresh") for o in found[1:])
    assert found[3]["lines"] == found[2]["locks"] == locks(made)
    assert found[4] == {"op": "module", "kernel": UEK, "verify": True}


@pytest.mark.parametrize(("there", "wanted"), [("580.178.04", "595"), ("595.91.07", "580")])
def test_another_branch_is_a_change_where_names_carry_none(there: str, wanted: str) -> None:
    made = plan(prepared(there), gpu_driver_branch=wanted)
    found = steps(made)
    change = ("change", f"3:{there}-1.el9", f"{wanted}.*")
    assert found["package.nvidia-open"] == change
    assert found["stream.nvidia-driver"] == ("switch", f"{there[:3]}-open", f"{wanted}-open")
    assert "hold.packages" in found
    (main,) = [o for o in operations(made) if o.get("locked")]
    assert {"name": "nvidia-open", "version": f"{wanted}.*"} in main["install"]
    assert main["owner"] == "gpu_driver"


def test_the_installed_version_of_the_branch_stays() -> None:
    found = steps(plan(prepared("580.95.05")))
    assert not {"package.nvidia-open", "stream.nvidia-driver", "hold.packages"} & set(found)


def test_one_package_that_went_its_own_way_is_brought_back() -> None:
    host = prepared("580.95.05")
    host["packages"]["nvidia-modprobe"]["version"] = "3:580.178.04-1.el9"
    assert steps(plan(host))["package.nvidia-modprobe"] == (
        *("change", "3:580.178.04-1.el9", "580.95.05-*"),
    )


@pytest.mark.parametrize("change", [{"version_locks": []}, {"streams": {}}])
def test_a_lock_or_stream_that_is_gone_is_a_step_alone(change: dict[str, Any]) -> None:
    made = plan(prepared("580.95.05", **change))
    step = "hold.packages" if "version_locks" in change else "stream.nvidia-driver"
    assert step in steps(made)
    assert "package.nvidia-open" not in steps(made)
