"""What modprobe and the kernel are told of the driver's modules: seen, refused or warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import bare, carried_out, observed

from gpuprep.catalog import load
from gpuprep.on_host.observe import kernel
from gpuprep.planner import HostPlan, plan_host, settings_from

if TYPE_CHECKING:
    from pathlib import Path

CATALOG = load()
CONF = "/etc/modprobe.d/old.conf"


def plan(line: str, host: Any = None, path: str = CONF, **settings: Any) -> HostPlan:
    host = host or bare()
    rules = [{"path": path, "line": line}]
    return plan_host(
        observed({**host, "modules": {**host["modules"], "rules": rules}}),
        settings_from(settings),
        CATALOG,
    )


@pytest.mark.parametrize(
    "line",
    [
        "blacklist nvidia",
        "install nvidia /bin/false",
        "install nvidia /sbin/modprobe nouveau",
        "install nvidia-uvm /bin/true",
        "install nvidia_uvm /bin/true",
        "alias nvidia off",
        "alias nvidia nouveau",
        "module_blacklist=nouveau,nvidia",
        "module_blacklist=nvidia-uvm",
        "modprobe.blacklist=nvidia",
    ],
)
def test_what_keeps_the_module_out_is_refused_with_its_file(line: str) -> None:
    made = plan(line)
    assert (made.state, made.code) == ("refused", "E_MODULE_BLOCKED")
    assert made.error
    assert CONF in made.error
    assert line in made.error


@pytest.mark.parametrize(
    "line",
    [
        "blacklist nvidiafb",
        "blacklist nvidia-drm",
        "blacklist nvidia-uvm",
        "install nvidia modprobe -i nvidia-current $CMDLINE_OPTS",
        "install nvidia-modeset /bin/false",
        "install nvidia { /sbin/modprobe --ignore-install nvidia; }",
        "alias nvidia nvidia-current",
        "alias char-major-195-nvidia off",
        "options nvidia NVreg_PreserveVideoMemoryAllocations=1",
        "modprobe.blacklist=nvidiafb,nvidia-uvm",
    ],
)
def test_what_lets_the_module_in_is_no_obstacle(line: str) -> None:
    made = plan(line)
    assert (made.state, made.warnings) == ("drifted", ())


def test_a_line_that_comes_later_is_refused_too() -> None:
    host = carried_out(bare(), plan("options nvidia x=1"))
    assert plan("options nvidia x=1", host).state == "converged"
    assert plan("blacklist nvidia", host).code == "E_MODULE_BLOCKED"


def test_the_archives_own_module_is_looked_at_by_its_name() -> None:
    archive = {"gpu_driver_source": "distro", "gpuprep_components": ["driver"]}
    assert plan("blacklist nvidia-current", **archive).code == "E_MODULE_BLOCKED"
    assert plan("blacklist nvidia-current").code is None


def test_who_gets_no_driver_is_not_refused() -> None:
    assert plan("blacklist nvidia", gpuprep_components=["conda"]).state == "drifted"


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("options nvidia NVreg_EnableGpuFirmware=0", True),
        ("options nvidia NVreg_X=1 NVreg_EnableGpuFirmware=0x00", True),
        ("nvidia.NVreg_EnableGpuFirmware=0", True),
        ("options nvidia NVreg_EnableGpuFirmware=18", False),
        ("options nvidia-drm NVreg_EnableGpuFirmware=0", False),
    ],
)
def test_open_modules_without_firmware_are_warned_of(line: str, warned: bool) -> None:  # noqa: FBT001
    codes = [warning.code for warning in plan(line).warnings]
    assert codes == (["W_GPU_FIRMWARE_OFF"] if warned else [])
    made = plan(line, gpu_driver_flavour="proprietary")
    assert made.warnings == ()


def test_the_last_word_on_the_firmware_counts() -> None:
    rules = [
        {"path": "a", "line": "options nvidia NVreg_EnableGpuFirmware=0"},
        {"path": "b", "line": "options nvidia NVreg_EnableGpuFirmware=1"},
    ]
    host = bare(modules={"loaded": {}, "on_disk": [], "rules": rules})
    made = plan_host(observed(host), settings_from({}), CATALOG)
    assert made.warnings == ()


def test_rules_are_read_as_modprobe_reads_them(tmp_path: Path) -> None:
    for folder in ("etc", "lib"):
        (tmp_path / folder).mkdir()
    (tmp_path / "etc/a.conf").write_text(
        "# blacklist nvidia\n\n  blacklist   nvidia\noptions nvidia \\\n  x=1\noptions nouveau y\n"
    )
    (tmp_path / "lib/a.conf").write_text("alias nvidia off\n")  # hidden
    (tmp_path / "lib/b.conf").write_text("install nvidia /bin/false\nblacklist\n")
    (tmp_path / "lib/c.conf").mkdir()
    (tmp_path / "etc/d.conf.bak").write_text("alias nvidia off\n")
    (tmp_path / "cmdline").write_text("quiet nvproxy.x=1 module_blacklist=nvidia nvidia.x=0\n")
    folders = (str(tmp_path / "etc"), str(tmp_path / "lib"))
    found = kernel.module_rules(folders, str(tmp_path / "cmdline"))
    assert [rule["line"] for rule in found] == [
        "blacklist nvidia",
        "options nvidia x=1",
        "install nvidia /bin/false",
        "module_blacklist=nvidia",
        "nvidia.x=0",
    ]
