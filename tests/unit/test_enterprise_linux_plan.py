"""Plans of hosts of Enterprise Linux, from what such hosts say of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import Observation, bare, observed

from gpuprep.catalog import load
from gpuprep.planner import plan_host
from gpuprep.planner.settings import settings_from

if TYPE_CHECKING:
    from gpuprep.planner import HostPlan

UEK = "6.12.0-100.28.2.2.el9uek.x86_64"
RHCK = "5.14.0-570.12.1.0.1.el9_6.x86_64"
GCC_11, GCC_14 = "gcc (GCC) 11.5.0 20240719", "gcc (GCC) 14.2.1 20250110 (Red Hat 14.2.1-7)"


def oracle(**changes: Any) -> Observation:
    """Return a bare Oracle Linux 9 host with an A10 that runs UEK."""
    kernel = {"running": UEK, "target": UEK, "next_boot": UEK, "compiler": GCC_14}
    manager = {"family": "rpm", **changes.pop("package_manager", {})}
    system = {"id": "ol", "version_id": "9.6", "pretty": "Oracle Linux Server 9.6"}
    host = bare(os=system, system_gcc=None, package_manager=manager)
    host["kernel"] = kernel | changes.pop("kernel", {})
    return host | changes


def plan(observation: Observation, **settings: Any) -> HostPlan:
    return plan_host(observed(observation), settings_from(settings), load())


def codes(made: HostPlan) -> set[str]:
    return {warning.code for warning in made.warnings}


# --- kernels --------------------------------------------------------------------------------------


def test_a_host_that_boots_red_hats_kernel_by_choice_is_planned() -> None:
    """With UEK beside it, newer and not the default: it was refused until a reboot, for ever."""
    kernel = {"running": RHCK, "target": RHCK, "next_boot": RHCK}
    made = plan(oracle(kernel={**kernel, "compiler": GCC_11}))
    assert made.state == "drifted"
    assert made.stack
    names = {package.name for package in made.stack.packages}
    assert f"kernel-devel-{RHCK}" in names
    assert not any(name.startswith("kernel-uek-devel") for name in names)


@pytest.mark.parametrize(("running", "following"), [(RHCK, UEK), (UEK, RHCK)])
def test_a_change_of_kernels_is_told_before_the_reboot(running: str, following: str) -> None:
    made = plan(oracle(kernel={"running": running, "target": running, "next_boot": following}))
    assert (made.state, made.code) == ("refused", "E_REBOOT_FIRST")
    assert made.error
    assert running in made.error
    assert f"next boot starts {following}" in made.error


def test_uek_on_arm_is_planned() -> None:
    arm = UEK.replace("x86_64", "aarch64")
    kernel = {"running": arm, "target": arm, "next_boot": arm}
    made = plan(oracle(arch="aarch64", kernel=kernel))
    assert made.state == "drifted"
    assert made.stack
    assert made.stack.repository
    assert made.stack.repository.url.endswith("/rhel9/sbsa/")
    assert f"kernel-uek-devel-{arm}" in {package.name for package in made.stack.packages}


# --- UEK 8 comes in several packages --------------------------------------------------------------


def modules(**others: str) -> dict[str, Any]:
    where = {"video": "kernel-uek-modules", "ib_umad": "kernel-uek-modules-core"}
    return {"loaded": {}, "on_disk": [], "others": others, "packaged": where}


def test_display_modules_that_lack_a_part_of_the_kernel_are_told() -> None:
    made = plan(oracle(modules=modules(video="absent", drm="available")))
    (warning,) = [w for w in made.warnings if w.code == "W_DISPLAY_MODULE"]
    assert "no module video, without which nvidia-modeset" in warning.message
    assert f"kernel-uek-modules-{UEK}" in warning.message


@pytest.mark.parametrize(
    ("there", "settings"),
    [
        (modules(video="available"), {}),
        (modules(video="builtin"), {}),
        (modules(video="absent"), {"gpu_driver_profile": "compute"}),
        (modules(video="absent") | {"packaged": {}}, {}),  # a kernel that never had it
    ],
)
def test_display_modules_are_not_told_of_without_reason(
    there: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert "W_DISPLAY_MODULE" not in codes(plan(oracle(modules=there), **settings))


def test_a_fabric_module_is_refused_with_the_package_that_has_it() -> None:
    b200 = [{"slot": "0", "vendor": "10de", "device": "2901", "pci_class": "030200"}]
    made = plan(oracle(pci=b200, modules=modules(ib_umad="absent", mlx5_ib="available")))
    assert (made.state, made.code) == ("refused", "E_FABRIC_MODULE")
    assert made.error
    assert f"install kernel-uek-modules-core-{UEK}, then run again" in made.error


# --- the version that is held ---------------------------------------------------------------------


def prepared(version: str, *locks: str) -> Observation:
    """Return a host with a driver, and lines of the version lock that are ours."""
    parts = ("nvidia-driver", "nvidia-driver-cuda-libs", "kmod-nvidia-open-dkms")
    stack = plan(oracle()).stack
    assert stack
    roots = [package.name for package in stack.packages if package.component == "driver"]
    package = {"status": "installed", "hold": True, "depends": "", "provides": ""}
    package["version"] = f"3:{version}-1.el9"
    manager = {"streams": {"nvidia-driver": "580-open"}, "version_locks": list(locks)}
    packages = dict.fromkeys((*roots, *parts), package)
    return oracle(packages=packages, package_manager=manager)


def locks_of(made: HostPlan) -> set[str]:
    """Return the versions that the plan's lines of the version lock leave."""
    return {line.rpartition(":")[2] for line in made.roles["gpu_driver"].state.locks}


def test_the_lock_keeps_the_version_that_is_installed() -> None:
    bare_host = plan(oracle())
    assert locks_of(bare_host) == {"580.*"}
    there = prepared("580.95.05")
    assert locks_of(plan(there)) == {"580.95.05"}
    lines = plan(there).roles["gpu_driver"].state.locks
    hold = "gpu_driver.hold.packages"
    assert hold not in {step.id for step in plan(prepared("580.95.05", *lines)).steps}
    # Lines that leave the whole branch, or another release: dnf would move the driver.
    of_branch = [line.replace("580.95.05", "580.*") for line in lines]
    of_another = [line.replace("580.95.05", "580.178.04") for line in lines]
    for others in (of_branch, of_another, lines[1:]):
        assert hold in {step.id for step in plan(prepared("580.95.05", *others)).steps}


def test_a_newer_wish_still_moves_the_driver() -> None:
    lines = plan(prepared("580.95.05")).roles["gpu_driver"].state.locks
    there = prepared("580.95.05", *lines)
    assert locks_of(plan(there, gpu_driver_version="580.178.04")) == {"580.178.04"}
    assert locks_of(plan(there, gpu_driver_branch="595")) == {"595.*"}


# --- what others told the package manager ---------------------------------------------------------

LIST = "/etc/dnf/plugins/versionlock.list"


def rule(path: str, pin: str, *names: str) -> dict[str, Any]:
    return {"path": path, "names": list(names), "pin": pin, "priority": -1}


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        (rule(LIST, "lock", "nvidia-open-3:570.*"), "E_FOREIGN_LOCK", (LIST, "nvidia-open-3:570")),
        (rule(LIST, "lock", "*nvidia*-3:595.*"), "E_FOREIGN_LOCK", (LIST, "nvidia-open")),
        (rule(LIST, "exclude", "nvidia-open-3:580.*"), "E_FOREIGN_EXCLUDE", (LIST,)),
        (
            rule("/etc/dnf/dnf.conf", "exclude", "kernel*", "nvidia*"),
            "E_FOREIGN_EXCLUDE",
            ("/etc/dnf/dnf.conf excludes", "kernel-uek-devel", "nvidia-open", "kernel* nvidia*"),
        ),
        (
            rule("/etc/yum.repos.d/uek.repo", "exclude of ol9_UEKR8", "kernel-uek*"),
            "E_FOREIGN_EXCLUDE",
            ("section ol9_UEKR8 of /etc/yum.repos.d/uek.repo", "kernel-uek-devel"),
        ),
        # What concerns no package of the plan, or its own version, is no matter.
        (rule(LIST, "lock", "*nvidia*-3:580.*"), None, ()),
        (rule(LIST, "lock", "kernel-uek-core-0:6.12.*"), None, ()),
        (rule("/etc/dnf/dnf.conf", "exclude", "mft*", "kernel-mft*"), None, ()),
        (rule("/etc/yum.repos.d/epel.repo", "exclude of epel", "nvidia*", "cuda*"), None, ()),
    ],
)
def test_locks_and_excludes_of_others(
    told: dict[str, Any], code: str | None, words: tuple[str, ...]
) -> None:
    made = plan(oracle(package_manager={"rules": [told]}))
    assert made.code == code
    assert [word for word in words if word not in str(made.error)] == []


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ("570-open", "W_STREAM_SWITCH"),
        ("open-dkms", "W_STREAM_SWITCH"),
        ("580", "W_STREAM_PRECOMPILED"),
        ("latest", "W_STREAM_PRECOMPILED"),
        ("580-open", None),
    ],
)
def test_a_stream_that_somebody_enabled_is_a_switch(found: str, code: str | None) -> None:
    made = plan(oracle(package_manager={"streams": {"nvidia-driver": found, "php": "8.2"}}))
    streams = {step.action for step in made.steps if step.kind == "stream"}
    assert made.state == "drifted"
    assert bool(streams) == (code is not None)
    warned = codes(made) & {"W_STREAM_SWITCH", "W_STREAM_PRECOMPILED"}
    assert warned == ({code} if code else set())
    (text,) = [w.message for w in made.warnings if w.code == code] or [""]
    assert code is None or (f"nvidia-driver:{found}" in text and "nvidia-driver:580-open" in text)


def test_without_streams_there_is_none_to_switch() -> None:
    system = {"id": "ol", "version_id": "10.0", "pretty": "Oracle Linux Server 10.0"}
    made = plan(oracle(os=system, package_manager={"streams": {"nvidia-driver": "570"}}))
    assert not codes(made) & {"W_STREAM_SWITCH", "W_STREAM_PRECOMPILED"}


# --- where DKMS comes from ------------------------------------------------------------------------


def repositories(**enabled: bool) -> dict[str, Any]:
    """Return repositories by id, those of Oracle Linux at their region's addresses."""
    address = "https://yum$ociregion.$ocidomain/repo/OracleLinux/OL9/$basearch/"
    return {
        name: {"path": f"/etc/yum.repos.d/{name}.repo", "enabled": on, "addresses": [address]}
        for name, on in enabled.items()
    }


@pytest.mark.parametrize(
    ("system", "known", "code"),
    [
        ("ol", repositories(ol9_baseos_latest=True), None),  # oracle-epel-release-el9 is planned
        ("ol", repositories(ol9_baseos_latest=True, ol9_developer_EPEL=True), None),
        ("ol", repositories(ol9_baseos_latest=True, ol9_developer_EPEL=False), "E_DKMS_DISABLED"),
        ("ol", repositories(ol9_appstream=True, ol9_developer_EPEL=False, site=True), None),
        ("rocky", repositories(baseos=True, epel=False), "E_DKMS_DISABLED"),
        ("rocky", repositories(baseos=True, appstream=True), None),
        ("rhel", repositories(**{"rhel-9-baseos-rhui-rpms": True}), "E_DKMS_SOURCE"),
        ("rhel", repositories(**{"rhel-9-baseos-rhui-rpms": True, "epel": True}), None),
        ("rhel", repositories(**{"rhel-9-baseos-rhui-rpms": True, "our-mirror": True}), None),
        ("rhel", {}, None),  # nothing is known
    ],
)
def test_dkms_has_a_source(system: str, known: dict[str, Any], code: str | None) -> None:
    told = {"id": system, "version_id": "9.6", "pretty": system}
    made = plan(oracle(os=told, package_manager={"repositories": known}))
    assert made.code == code
    if code == "E_DKMS_DISABLED":
        assert ".repo; enable it, then run again" in str(made.error)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({"excludes": ["dkms*"]}, "E_DKMS_DISABLED"),
        ({"includes": ["htop"]}, "E_DKMS_DISABLED"),
        ({"includes": ["dkms", "htop"]}, None),
        ({"excludes": ["nvidia*"]}, None),
    ],
)
def test_a_repository_that_hides_dkms_does_not_have_it(
    told: dict[str, Any], code: str | None
) -> None:
    known = repositories(ol9_baseos_latest=True, ol9_developer_EPEL=True)
    known["ol9_developer_EPEL"] |= told
    assert plan(oracle(package_manager={"repositories": known})).code == code


def test_dkms_that_is_excluded_everywhere() -> None:
    known = repositories(ol9_baseos_latest=True, ol9_developer_EPEL=True)
    rules = [rule("/etc/dnf/dnf.conf", "exclude", "dkms")]
    made = plan(oracle(package_manager={"repositories": known, "rules": rules}))
    assert (made.code, "/etc/dnf/dnf.conf excludes dkms" in str(made.error)) == (
        "E_FOREIGN_EXCLUDE",
        True,
    )


def test_dkms_that_is_there_needs_no_source() -> None:
    known = repositories(ol9_developer_EPEL=False)
    dkms = {"version": "3.4.3-1.el9", "status": "installed", "hold": False}
    packages = {"dkms": {**dkms, "depends": "", "provides": ""}}
    made = plan(oracle(package_manager={"repositories": known}, packages=packages))
    assert made.code is None


def test_without_a_driver_of_ours_dkms_does_not_matter() -> None:
    known = repositories(ol9_developer_EPEL=False)
    made = plan(oracle(package_manager={"repositories": known}), gpu_driver_branch="none")
    assert made.code is None


# --- Secure Boot ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("enrolled", "code"), [(False, "E_SECURE_BOOT_UNSIGNED"), (True, None)])
def test_secure_boot_needs_an_enrolled_key(enrolled: bool, code: str | None) -> None:  # noqa: FBT001
    assert plan(oracle(secure_boot=True, mok_enrolled=enrolled)).code == code


# --- OCI's own ------------------------------------------------------------------------------------


def test_repositories_of_a_region_are_never_set_aside() -> None:
    known = repositories(ol9_baseos_latest=True, ol9_oci_included=True)
    sources = {entry["path"]: entry["addresses"] for entry in known.values()}
    nvidia = "https://developer.download.nvidia.com/compute/cuda/repos/rhel9/x86_64"
    sources["/etc/yum.repos.d/cuda-rhel9.repo"] = [nvidia]
    made = plan(oracle(package_manager={"sources": sources, "repositories": known}))
    foreign = made.roles["gpu_driver"].state.foreign
    assert foreign == ("/etc/yum.repos.d/cuda-rhel9.repo",)


def gpu_image() -> Observation:
    """Return a host of an image that comes with a driver: NVIDIA's packages, a foreign lock."""
    version, release = "580.95.05", "1.el9"
    names = ("nvidia-driver", "nvidia-driver-cuda-libs", "nvidia-open", "kmod-nvidia-open-dkms")
    package = {"version": f"3:{version}-{release}", "status": "installed", "hold": True}
    rules = [rule(LIST, "lock", f"nvidia-open-3:{version}-{release}.*")]
    known = repositories(ol9_baseos_latest=True, ol9_developer_EPEL=False)
    host = oracle(
        packages={name: {**package, "depends": "", "provides": ""} for name in names},
        package_manager={
            "rules": rules,
            "repositories": known,
            "streams": {"nvidia-driver": "580"},
        },
    )
    host["modules"] = {"loaded": {"nvidia": version}, "on_disk": []}
    host["driver"] = {"proc_version": version, "flavour": "open", "device_nodes": [], "holders": []}
    return host


def test_the_driver_of_an_image_can_stay() -> None:
    made = plan(gpu_image(), gpu_driver_branch="keep")
    assert made.state == "drifted"
    assert made.stack
    assert (made.stack.driver_version, made.stack.manage_driver) == ("580.95.05", False)
    assert not made.roles["gpu_driver"].steps
    assert made.stack.cuda[0].version == "13.0"
    assert not codes(made)


def test_the_driver_of_an_image_under_its_own_lock_is_not_replaced() -> None:
    made = plan(gpu_image(), gpu_driver_version="595.91.07")
    assert (made.state, made.code) == ("refused", "E_FOREIGN_LOCK")


# --- how far it goes ------------------------------------------------------------------------------


def test_a_system_that_was_never_tried_is_explained_and_not_touched() -> None:
    told = {"id": "amzn", "version_id": "2023", "pretty": "Amazon Linux 2023"}
    made = plan(oracle(os=told, kernel={"running": "6.12", "target": "6.12", "next_boot": "6.12"}))
    assert (made.state, made.code) == ("refused", "E_OS_FAMILY")
    assert made.error
    assert "explained only" in made.error
    assert made.stack  # it is told all the same
