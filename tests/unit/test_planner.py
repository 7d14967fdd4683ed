"""From observation and settings to a plan: every difference is named, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from planner_cases import (
    ARCHIVE,
    DRIVER,
    KERNEL,
    Observation,
    bare,
    carried_out,
    module,
    observed,
    space,
)

from gpuprep.catalog import load
from gpuprep.model import HostFacts, HostState
from gpuprep.planner import HostPlan, observation_request, plan_host, settings_from

CATALOG = load()
KEYRING = "/usr/share/keyrings/gpuprep-nvidia.asc"
REPOSITORY = "/etc/apt/sources.list.d/gpuprep-nvidia.sources"
PREFERENCES = "/etc/apt/preferences.d/gpuprep-nvidia"
BLACKLIST = "/etc/modprobe.d/gpuprep-nouveau.conf"
CUDA_PROFILE = "/etc/profile.d/gpuprep-cuda.sh"
CUDA_LINKER = "/etc/ld.so.conf.d/gpuprep-cuda.conf"
CONDA_PROFILE = "/etc/profile.d/gpuprep-conda.sh"
CONDARC = "/opt/conda/.condarc"
SETTINGS = {"conda_environments": [{"name": "tools", "packages": ["python", "numpy"]}]}
NEWER = "580.126.09"


def plan(observation: Observation, **settings: Any) -> HostPlan:
    return plan_host(observed(observation), settings_from({**SETTINGS, **settings}), CATALOG)


def converged(**settings: Any) -> Observation:
    host = bare()
    return carried_out(host, plan(host, **settings))


def named(observation: Observation, **settings: Any) -> set[str]:
    return {step.id for step in plan(observation, **settings).steps}


# --- the way from bare to converged -------------------------------------------------------------


def test_a_bare_host_needs_everything_each_with_a_reason() -> None:
    made = plan(bare())
    assert made.state == "drifted"
    assert {step.role for step in made.steps} == {"gpu_driver", "cuda_toolkit", "cudnn", "conda"}
    assert all(step.reason for step in made.steps)
    assert len({step.id for step in made.steps}) == len(made.steps)


def test_a_plan_that_is_carried_out_leaves_nothing_to_do() -> None:
    assert plan(converged()).state == "converged"
    assert plan(converged()).steps == ()


def test_the_repository_belongs_to_the_first_role_that_needs_it() -> None:
    steps = plan(bare()).steps
    assert {s.role for s in steps if s.kind in {"key", "repository", "pin"}} == {"gpu_driver"}
    alone = plan_host(observed(bare()), settings_from({}), CATALOG, role="cudnn")
    assert {s.kind for s in alone.steps} >= {"key", "repository", "pin"}


def test_holds_of_two_roles_are_two_steps() -> None:
    holds = {step.id for step in plan(bare()).steps if step.kind == "hold"}
    assert holds == {"gpu_driver.hold.packages", "cudnn.hold.packages"}


def test_unwanted_components_are_not_planned() -> None:
    roles = {s.role for s in plan(bare(), gpuprep_components=["conda"]).steps}
    assert roles == {"conda"}
    assert "gpu_driver" not in {s.role for s in plan(bare(), gpu_driver_branch="none").steps}


def test_conda_alone_needs_no_gpu() -> None:
    made = plan(bare(pci=[]), gpuprep_components=["conda"])
    assert (made.state, made.code) == ("drifted", None)


# --- drift ------------------------------------------------------------------------------------

Alteration = Callable[[Observation], None]


def altered(*path: str, to: Any) -> Alteration:
    def alter(seen: Observation) -> None:
        *way, last = path
        for key in way:
            seen = seen[key]
        if to is None:
            del seen[last]
        else:
            seen[last] = to

    return alter


def package_at(name: str, version: str) -> Alteration:
    return altered("packages", name, "version", to=version)


def several(*alterations: Alteration) -> Alteration:
    def alter(seen: Observation) -> None:
        for one in alterations:
            one(seen)

    return alter


FILES = {
    KEYRING: "gpu_driver.key",
    REPOSITORY: "gpu_driver.repository",
    PREFERENCES: "gpu_driver.pin",
    BLACKLIST: "gpu_driver.blacklist",
    CUDA_PROFILE: "cuda_toolkit.profile",
    CUDA_LINKER: "cuda_toolkit.linker",
    CONDA_PROFILE: "conda.profile",
    CONDARC: "conda.condarc",
}


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize(
    ("what", "value"),
    [("mode", "0600"), ("owner", "ops"), ("group", "ops"), ("kind", "link"), ("kind", "directory")],
)
def test_altered_rights_or_kind_of_a_file_are_named(path: str, what: str, value: str) -> None:
    seen = converged()
    seen["files"][path][what] = value
    assert named(seen) == {f"{FILES[path]}.{path}"}


@pytest.mark.parametrize("path", FILES)
def test_altered_content_or_a_missing_file_is_named(path: str) -> None:
    seen = converged()
    if path == KEYRING:
        seen["keys"][path] = ["0" * 40]
    else:
        seen["files"][path]["sha256"] = "0" * 64
    assert named(seen) == {f"{FILES[path]}.{path}"}
    seen["files"][path] = None
    assert named(seen) == {f"{FILES[path]}.{path}"}


def test_a_second_key_in_the_keyring_is_not_trusted() -> None:
    seen = converged()
    seen["keys"][KEYRING].append("0" * 40)
    assert named(seen) == {f"gpu_driver.key.{KEYRING}"}


def older(name: str, version: str) -> Alteration:
    """An older release of a package, whose dependencies ask for older ones."""

    def alter(seen: Observation) -> None:
        package = seen["packages"][name]
        package["depends"] = package["depends"].replace(package["version"], version)
        package["version"] = version

    return alter


HOLD = "gpu_driver.hold.packages"
DRIFTS: dict[str, tuple[Alteration, set[str]]] = {
    "root removed": (
        altered("packages", "nvidia-open-580", to=None),
        {"gpu_driver.package.nvidia-open-580", HOLD},
    ),
    "root unpacked only": (
        altered("packages", "nvidia-open-580", "status", to="unpacked"),
        {"gpu_driver.package.nvidia-open-580", HOLD},
    ),
    "dependency removed": (
        altered("packages", "libcuda1", to=None),
        {"gpu_driver.package.libcuda1", HOLD},
    ),
    # Not of NVIDIA's, and nothing lacks it before the next kernel comes.
    "builder of the module removed": (
        altered("packages", "dkms", to=None),
        {"gpu_driver.package.dkms", HOLD},
    ),
    "dependency moved": (
        package_at("libcuda1", f"{NEWER}-1"),
        {"gpu_driver.package.libcuda1", HOLD},
    ),
    "inner package older": (
        older("nvidia-driver", "580.65.06-1"),
        {"gpu_driver.package.nvidia-driver", HOLD},
    ),
    "root older": (
        older("nvidia-open-580", "580.65.06-1"),
        {"gpu_driver.package.nvidia-open-580", HOLD},
    ),
    "cudnn headers' user older": (
        older("libcudnn9-dev-cuda-13", "9.10.2.21-1"),
        {"cudnn.package.libcudnn9-dev-cuda-13", "cudnn.hold.packages"},
    ),
    "cudnn newer": (
        package_at("libcudnn9-cuda-13", "9.28.0.42-1"),
        {"cudnn.package.libcudnn9-cuda-13", "cudnn.hold.packages"},
    ),
    "pin removed": (
        altered("packages", "nvidia-driver-pinning-580", to=None),
        {"gpu_driver.package.nvidia-driver-pinning-580", HOLD},
    ),
    "headers removed": (
        altered("packages", f"linux-headers-{KERNEL}", to=None),
        {f"gpu_driver.package.linux-headers-{KERNEL}", HOLD},
    ),
    "hold gone": (altered("packages", "libcuda1", "hold", to=False), {HOLD}),
    "module for another kernel": (
        altered("modules", "on_disk", to=[module("6.1.0-1-amd64")]),
        {f"gpu_driver.module.{KERNEL}"},
    ),
    "module of another version": (
        altered("modules", "on_disk", to=[module(KERNEL, NEWER)]),
        {f"gpu_driver.module.{KERNEL}"},
    ),
    "unit stopped": (
        altered("units", "nvidia-persistenced", "active", to=False),
        {"gpu_driver.unit.nvidia-persistenced"},
    ),
    "unit disabled": (
        altered("units", "nvidia-persistenced", "enabled", to=False),
        {"gpu_driver.unit.nvidia-persistenced"},
    ),
    "unit masked": (
        altered("units", "nvidia-persistenced", "masked", to=True),
        {"gpu_driver.unit.nvidia-persistenced"},
    ),
    "toolkit removed": (
        altered("packages", "cuda-toolkit-13-0", to=None),
        {"cuda_toolkit.package.cuda-toolkit-13-0"},
    ),
    "compiler removed": (
        altered("packages", "cuda-nvcc-13-0", to=None),
        {"cuda_toolkit.package.cuda-nvcc-13-0"},
    ),
    "compiler older": (
        package_at("cuda-nvcc-13-0", "13.0.48-1"),
        {"cuda_toolkit.package.cuda-nvcc-13-0"},
    ),
    "default is another": (
        altered("cuda", "default", to="/usr/local/cuda-12.9"),
        {"cuda_toolkit.alternative.cuda"},
    ),
    "default not fixed": (
        altered("cuda", "alternative", "mode", to="auto"),
        {"cuda_toolkit.alternative.cuda"},
    ),
    "cudnn removed": (
        altered("packages", "libcudnn9-cuda-13", to=None),
        {"cudnn.package.libcudnn9-cuda-13", "cudnn.hold.packages"},
    ),
    "cudnn headers moved": (
        package_at("libcudnn9-headers-cuda-13", "9.10.2.21-1"),
        {"cudnn.package.libcudnn9-headers-cuda-13", "cudnn.hold.packages"},
    ),
    "cudnn hold gone": (
        altered("packages", "libcudnn9-dev-cuda-13", "hold", to=False),
        {"cudnn.hold.packages"},
    ),
    "conda gone": (
        several(
            altered("conda", to={"prefix": "/opt/conda", "exists": False, "complete": False,
                                 "envs": {}, "marker": None}),
        ),
        {"conda.installation./opt/conda", "conda.environment.tools"},
    ),
    "conda of another installer": (
        altered("conda", "marker", to={"installer": "25.1.0-0", "sha256": "0"}),
        {"conda.installation./opt/conda"},
    ),
    "environment gone": (altered("conda", "envs", to={}), {"conda.environment.tools"}),
    "environment lost a package": (
        altered("conda", "envs", "tools", "packages", to={"python": "3.12-0"}),
        {"conda.environment.tools"},
    ),
    "environment's package moved": (
        altered("conda", "envs", "tools", "packages", "numpy", to="1.9-0"),
        {"conda.environment.tools"},
    ),
    "environment without its note": (
        altered("conda", "envs", "tools", "marker", to={}),
        {"conda.environment.tools"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("drift", DRIFTS)
def test_each_drift_is_named_and_nothing_else(drift: str) -> None:
    alter, expected = DRIFTS[drift]
    seen = converged()
    alter(seen)
    assert named(seen) == expected


def test_settings_that_an_installer_of_conda_overwrites_are_written_after_it() -> None:
    seen = converged()
    altered("conda", "marker", to={"installer": "25.1.0-0", "sha256": "0"})(seen)
    stages = plan(seen).roles["conda"].to_dict()["operations"]
    (installation, note) = stages["install"]
    assert (installation["op"], note["op"]) == ("conda_install", "files")
    written = {file["path"] for file in stages["configure"][0]["files"]}
    assert "/opt/conda/.condarc" in written


def test_foreign_packages_that_are_not_of_the_stack_are_no_drift() -> None:
    seen = converged()
    seen["packages"]["nvidia-container-toolkit"] = {
        "version": "1.17-1", "status": "installed", "hold": False, "depends": "", "provides": "",
    }  # fmt: skip
    assert named(seen) == set()


def test_a_package_of_another_branch_is_removed() -> None:
    seen = converged()
    stray = {"version": "570.1-1", "status": "installed", "hold": True, "depends": "",
             "provides": ""}  # fmt: skip
    seen["packages"]["nvidia-open-570"] = stray
    made = plan(seen)
    assert {(s.id, s.action) for s in made.steps} == {
        ("gpu_driver.package.nvidia-open-570", "remove"),
        (HOLD, "set"),
    }
    assert made.roles["gpu_driver"].state.remove == ("nvidia-open-570",)


def test_a_newer_driver_of_the_branch_in_the_repository_is_not_drift() -> None:
    """A pinned host stays where it is: the installed version is the wanted one."""
    seen = converged()
    for name in ARCHIVE:
        if seen["packages"][name]["version"].startswith(DRIVER):
            seen["packages"][name]["version"] = f"{NEWER}-1"
            depends = seen["packages"][name]["depends"].replace(DRIVER, NEWER)
            seen["packages"][name]["depends"] = depends
    seen["modules"]["on_disk"] = [module(KERNEL, NEWER)]
    assert named(seen) == set()


def test_a_full_version_moves_the_driver_there() -> None:
    steps = plan(converged(), gpu_driver_version=NEWER).steps
    moved = {s.target: s.after for s in steps if s.kind == "package"}
    assert moved["nvidia-open-580"] == f"{NEWER}-*"


# --- the package index ------------------------------------------------------------------------


def test_the_index_is_refreshed_once_for_a_new_repository() -> None:
    roles = plan(bare()).roles
    assert [name for name, role in roles.items() if role.refresh] == ["gpu_driver"]


def test_the_index_is_not_refreshed_when_it_is_there_and_the_repository_unchanged() -> None:
    seen = converged()
    url = "developer.download.nvidia.com_compute_cuda_repos_debian12_x86%5f64_Packages"
    seen["package_manager"]["indexes"].append(url)
    del seen["packages"]["cuda-nvcc-13-0"]
    assert not any(role.refresh for role in plan(seen).roles.values())


def test_the_index_is_refreshed_when_the_repositorys_is_not_there() -> None:
    seen = converged()
    del seen["packages"]["cuda-nvcc-13-0"]
    assert plan(seen).roles["cuda_toolkit"].refresh


# --- what the kernel runs -----------------------------------------------------------------------


def loading(loaded: dict[str, str | None], *, initramfs: bool = False) -> Observation:
    seen = converged()
    seen["kernel"]["loads_modules"] = True
    seen["modules"]["loaded"] = loaded
    seen["commands"]["update-initramfs"] = initramfs
    seen["initramfs"] = {"/boot/initrd.img": []} if initramfs else {}
    return seen


def test_a_module_that_is_not_loaded_is_loaded() -> None:
    made = plan(loading({}))
    assert named(loading({})) == {"gpu_driver.load.nvidia"}
    assert not made.reboot_required


def test_the_installed_module_in_the_kernel_needs_nothing() -> None:
    assert named(loading({"nvidia": DRIVER})) == set()


@pytest.mark.parametrize("loaded", [{"nvidia": NEWER}, {"nouveau": None}])
def test_another_module_in_the_kernel_needs_a_reboot(loaded: dict[str, str | None]) -> None:
    made = plan(loading(loaded))
    assert {s.id for s in made.steps} == {"gpu_driver.reboot.host"}
    assert made.reboot_required
    assert "gpu_driver_reboot_allowed" in made.steps[0].reason
    allowed = plan(loading(loaded), gpu_driver_reboot_allowed=True)
    assert "gpu_driver_reboot_allowed" not in allowed.steps[0].reason


def test_an_initial_ram_disk_older_than_the_blacklist_is_rebuilt() -> None:
    seen = loading({"nvidia": DRIVER}, initramfs=True)
    assert named(seen) == set()
    seen["initramfs"]["/boot/initrd.img"] = [BLACKLIST]
    assert named(seen) == {f"gpu_driver.initramfs.{KERNEL}"}


# --- refusals -----------------------------------------------------------------------------------


def refusal(observation: Observation, **settings: Any) -> tuple[str | None, str]:
    made = plan(observation, **settings)
    assert made.state == "refused"
    assert made.steps == ()
    return made.code, made.error or ""


def test_processes_on_the_gpu_forbid_a_driver_change() -> None:
    seen = converged()
    seen["driver"]["holders"] = [{"pid": 7, "command": "python"}]
    assert plan(seen).state == "converged"  # nothing changes, nobody is disturbed
    seen["files"][CUDA_PROFILE] = None
    assert plan(seen).state == "drifted"
    del seen["packages"]["libcuda1"]
    assert refusal(seen)[0] == "E_GPU_BUSY"
    assert "python (7)" in refusal(seen)[1]


def test_the_drivers_own_daemons_do_not_forbid_it() -> None:
    seen = converged()
    seen["driver"]["holders"] = [{"pid": 7, "command": "nvidia-persiste"}]
    del seen["packages"]["libcuda1"]
    assert plan(seen).state == "drifted"


def test_half_installed_strangers_forbid_a_transaction() -> None:
    broken = {"name": "exim4", "status": "half-configured"}
    manager = {**bare()["package_manager"], "broken": [broken]}
    code, error = refusal(bare(package_manager=manager))
    assert (code, "exim4 (half-configured)" in error) == ("E_PACKAGES_BROKEN", True)


def test_a_disk_that_is_too_small_forbids_it_with_figures() -> None:
    code, error = refusal(bare(space=space(usr=1000)))
    assert code == "E_DISK"
    assert error.startswith(
        "/usr has 1000 MiB free, and this plan needs about 9800 MiB there"
        " (1500 for NVIDIA driver, 6500 for CUDA, 1800 for cuDNN); make room"
    )


def test_a_full_folder_for_temporary_files_forbids_updates_too() -> None:
    full = space(tmp=3)
    code, error = refusal(bare(space=full))
    assert (code, "/tmp has 3 MiB free" in error) == ("E_DISK", True)
    moved = {**converged(), "space": full}
    assert plan(moved).state == "converged"
    package_at("libcuda1", f"{NEWER}-1")(moved)
    assert refusal(moved)[0] == "E_DISK"


def test_without_persistence_its_daemon_is_not_expected_to_run_but_stopped() -> None:
    made = plan(bare(), gpu_driver_persistence=False)
    assert made.stack is not None
    assert made.stack.services == ()  # what the ladder expects to run
    units = [step for step in made.steps if step.kind == "unit"]
    assert [(step.target, step.action) for step in units] == [("nvidia-persistenced", "disable")]
    (operation,) = (
        operation
        for operation in made.roles["gpu_driver"].to_dict()["operations"]["configure"]
        if operation["op"] == "services"
    )
    assert (operation["units"], operation["unwanted"]) == ([], ["nvidia-persistenced"])


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        ({"enabled": True}, "enabled"),
        ({"active": True}, "running"),
        ({"enabled": True, "active": True}, "enabled and running"),
        ({}, None),
    ],
)
def test_a_persistence_daemon_that_is_not_wanted_must_not_run(
    unit: dict[str, bool], reason: str | None
) -> None:
    state = {"nvidia-persistenced": {"exists": True, "enabled": False, "active": False, **unit}}
    seen = {**converged(), "units": state}
    steps = plan(seen, gpu_driver_persistence=False).steps
    found = [step.reason for step in steps if step.kind == "unit"]
    assert found == ([f"nvidia-persistenced is {reason}"] if reason else [])


def test_keep_without_a_driver_is_refused() -> None:
    assert refusal(bare(), gpu_driver_branch="keep")[0] == "E_KEEP_NOTHING"


def test_keep_leaves_a_working_driver_alone() -> None:
    seen = bare(modules={"loaded": {"nvidia": "580.65.06"}, "on_disk": []})
    made = plan(seen, gpu_driver_branch="keep")
    assert "gpu_driver" not in {step.role for step in made.steps}
    assert {step.role for step in made.steps} == {"cuda_toolkit", "cudnn", "conda"}


def test_a_runfile_driver_is_refused() -> None:
    assert refusal(bare(runfile=True))[0] == "E_RUNFILE_PRESENT"


def test_no_gpu_is_refused() -> None:
    assert refusal(bare(pci=[]))[0] == "E_NO_GPU"


# --- the request --------------------------------------------------------------------------------


def test_everything_the_plan_manages_is_asked_for() -> None:
    settings = settings_from({**SETTINGS, "gpu_driver_kernel": "6.9", "conda_prefix": "/srv/conda"})
    request = observation_request(CATALOG, settings)
    made = plan_host(observed(bare()), settings, CATALOG)
    managed = {f.path for role in made.roles.values() for f in role.state.files}
    assert managed <= set(request["files"])
    assert KEYRING in request["keys"]
    assert (request["kernel"], request["conda"]) == ("6.9", "/srv/conda")
    units = {unit for role in made.roles.values() for unit in role.state.units}
    assert units <= set(request["units"])


def test_the_facts_for_the_resolver_are_told() -> None:
    assert plan(bare()).facts == HostFacts(
        gpus=("10de:2236",),
        os="debian-12",
        kernel=KERNEL,
        kernel_cc="gcc-12 (Debian 12.2.0-14) 12.2.0",
        system_gcc=12,
        nvswitches=0,
        state=HostState(newest_kernel=KERNEL),
    )


@pytest.mark.parametrize(
    ("status", "locks", "state"),
    [
        ("half-configured", [], "refused"),
        ("unpacked", [], "drifted"),
        (
            "half-configured",
            [{"path": "/var/lib/dpkg/lock", "pid": 1, "command": "dpkg"}],
            "drifted",
        ),
    ],
)
def test_what_an_interrupted_transaction_left_is_finished_not_refused(
    status: str, locks: list[dict[str, Any]], state: str
) -> None:
    host = bare()
    broken = [{"name": "libc-bin", "status": status}]
    host["package_manager"] |= {"broken": broken, "locks": locks}
    assert plan(host).state == state


@pytest.mark.parametrize("name", ["nvidia-persistenced", "libcuda1", "cuda-nvcc-13-0"])
@pytest.mark.parametrize("status", ["half-configured", "half-installed"])
def test_what_an_interrupted_transaction_of_ours_left_is_no_obstacle(
    name: str, status: str
) -> None:
    """Killed while its packages were configured: no command by hand is needed on the host."""
    host = bare()
    host["package_manager"] |= {"broken": [{"name": name, "status": status}]}
    assert plan(host).state == "drifted"


# --- environments and the driver's CUDA ---------------------------------------------------------


def environment_operations(made: HostPlan) -> list[dict[str, Any]]:
    stage = made.roles["conda"].to_dict()["operations"]["configure"]
    (operation,) = (op for op in stage if op["op"] == "conda_environments")
    found: list[dict[str, Any]] = operation["environments"]
    return found


@pytest.mark.parametrize(
    ("settings", "cuda"),
    [
        ({}, "13.0"),
        ({"gpu_driver_branch": "570"}, "12.8"),
        ({"gpu_driver_branch": "none"}, None),
        ({"gpuprep_components": ["conda"]}, None),
    ],
)
def test_environments_are_solved_for_the_drivers_cuda(
    settings: dict[str, Any], cuda: str | None
) -> None:
    made = plan(bare(), **settings)
    assert [env["cuda"] for env in environment_operations(made)] == [cuda]


def test_an_installed_driver_counts_where_none_is_asked_for() -> None:
    host = converged()
    host["conda"] = bare()["conda"]
    made = plan(host, gpuprep_components=["conda"])
    assert [env["cuda"] for env in environment_operations(made)] == ["13.0"]


def test_a_list_of_exact_packages_is_not_solved() -> None:
    entry = {"name": "e", "lock": "e.txt"}
    settings = settings_from({"conda_environments": [entry]}, files={"e.txt": "@EXPLICIT\n"})
    made = plan_host(observed(bare()), settings, CATALOG)
    assert [env["cuda"] for env in environment_operations(made)] == [None]


@pytest.mark.parametrize("noted", ["12.8", None])
def test_an_environment_for_another_cuda_differs(noted: str | None) -> None:
    host = converged()
    marker = host["conda"]["envs"]["tools"]["marker"]
    marker.pop("cuda")
    if noted:
        marker["cuda"] = noted
    (step,) = plan(host).steps
    assert (step.id, step.action) == ("conda.environment.tools", "rebuild")
    assert (step.before, step.after) == (f"for CUDA {noted or 'unknown'}", "for CUDA 13.0")


def test_what_is_no_environment_is_told_before_it_is_set_aside() -> None:
    host = converged()
    host["conda"] |= {"envs": {}, "broken": ["tools", "of-a-user"]}
    (step,) = plan(host).steps
    assert step.id == "conda.environment.tools"
    assert "kept beside it as tools.broken" in step.reason


# --- modules of the fabric ----------------------------------------------------------------------


def board(**others: str | None) -> Observation:
    """Return a host with B200 GPUs that loads modules, its kernel's other modules as given."""
    host = bare(pci=[{"slot": "0", "vendor": "10de", "device": "2901", "pci_class": "030200"}])
    host["kernel"]["loads_modules"] = True
    host["modules"]["others"] = {"ib_umad": "available", "mlx5_ib": "loaded", **others}
    return host


def test_modules_of_the_fabric_are_loaded_before_its_manager_starts() -> None:
    made = plan(board())
    (step,) = [step for step in made.steps if step.id == "gpu_driver.load.ib_umad"]
    assert step.action == "load"
    stage = made.roles["gpu_driver"].to_dict()["operations"]["configure"]
    names = [operation["op"] for operation in stage]
    assert names.index("load") < names.index("services")
    assert stage[names.index("load")]["modules"] == ["ib_umad", "nvidia"]


@pytest.mark.parametrize("there", ["loaded", "builtin"])
def test_modules_in_the_kernel_are_left_alone(there: str) -> None:
    steps = {step.id for step in plan(board(ib_umad=there)).steps}
    assert "gpu_driver.load.ib_umad" not in steps


def test_a_module_that_goes_away_is_drift() -> None:
    host = board(ib_umad="loaded")
    host["modules"]["loaded"] = {"nvidia": DRIVER}
    packages = ("nvidia-fabricmanager", "libnvidia-nscq", "nvlsm", "infiniband-diags")
    there = {
        name: {"version": f"{DRIVER}-1", "status": "installed", "hold": True} for name in packages
    }
    host["packages"] |= there
    host = carried_out(host, plan(host))
    assert plan(host).steps == ()
    host["modules"]["others"]["ib_umad"] = "available"
    assert {step.id for step in plan(host).steps} == {"gpu_driver.load.ib_umad"}


def test_a_kernel_without_the_fabrics_modules_is_refused() -> None:
    made = plan(board(ib_umad="absent", mlx5_ib=None))
    assert (made.state, made.code) == ("refused", "E_FABRIC_MODULE")
    assert made.error
    assert f"linux-modules-extra-{KERNEL}" in made.error
    assert "mlx5_ib" not in made.error
    assert plan(board(ib_umad=None)).state == "drifted"


def test_gpus_without_such_a_fabric_need_no_modules() -> None:
    host = bare()
    host["modules"]["others"] = {"ib_umad": "absent"}
    assert plan(host).state == "drifted"


def test_modules_that_others_need_are_asked_for() -> None:
    asked = observation_request(CATALOG, settings_from({}))["modules"]
    assert asked == ["drm", "drm_kms_helper", "ib_umad", "mlx5_ib", "video"]


LOGIN = "/etc/apt/auth.conf.d/gpuprep-nvidia.conf"

# --- secrets on the host ------------------------------------------------------------------------


def managed(made: HostPlan) -> dict[str, Any]:
    return {file.path: file for role in made.roles.values() for file in role.state.files}


@pytest.mark.parametrize(
    ("login", "words"),
    [
        ("bot:s%40cret", "login bot password s@cret"),
        ("TOKEN", "login TOKEN"),
        ("bot:", "login bot"),
    ],
)
def test_the_login_of_a_mirror_is_for_root_alone(login: str, words: str) -> None:
    files = managed(plan(bare(), gpuprep_mirror=f"https://{login}@mirror:8443/nv"))
    address = "https://mirror:8443/nv/debian12/x86_64/"
    login_file = files["/etc/apt/auth.conf.d/gpuprep-nvidia.conf"]
    assert (login_file.mode, login_file.owner) == ("0600", "root")
    assert f"\nmachine {address} {words}\n" in login_file.content
    assert f"URIs: {address}\n" in files[REPOSITORY].content
    paths = list(files)
    assert paths.index(login_file.path) < paths.index(REPOSITORY)


def test_without_a_login_there_is_no_file_for_it() -> None:
    made = plan(bare(), gpuprep_mirror="http://mirror/nv")
    assert managed(made)[LOGIN].absent
    assert not any(LOGIN in step.id for step in made.steps)


def test_the_login_of_an_earlier_mirror_is_removed() -> None:
    """A mirror that lost its login, or took another's place, leaves none behind."""
    host = converged(gpuprep_mirror="https://bot:pw@mirror/nv")
    made = plan(host, gpuprep_mirror="https://mirror/nv")
    (step,) = [step for step in made.steps if step.target == LOGIN]
    assert (step.action, step.role) == ("remove", "gpu_driver")
    assert "pw" not in step.reason


@pytest.mark.parametrize(
    ("channel", "written"),
    [
        ("true", '"true"'), ("No", '"No"'), ("123", '"123"'), ("1e3", '"1e3"'), ("null", '"null"'),
        (".nan", '".nan"'), ("a:", '"a:"'), ("y", '"y"'), ("conda-forge", "conda-forge"),
        ("https://h/c/", "https://h/c/"), ("/srv/c", "/srv/c"), ("x#y", "x#y"), ("a'b", '"a\'b"'),
    ],
)  # fmt: skip
def test_a_channel_is_a_text_whatever_its_name(channel: str, written: str) -> None:
    """YAML would make a switch or a number of some."""
    condarc = managed(plan(bare(), conda_channels=[channel]))["/opt/conda/.condarc"]
    assert f"\n  - {written}\n" in condarc.content
    assert yaml.safe_load(condarc.content)["channels"] == [channel]


def test_the_index_of_a_mirror_with_a_login_is_known() -> None:
    mirror = "https://bot:pw@mirror/nv"
    host = converged(gpuprep_mirror=mirror)
    host["package_manager"]["indexes"] = ["mirror_nv_debian12_x86%5f64_Packages"]
    del host["packages"]["libcuda1"]
    assert not plan(host, gpuprep_mirror=mirror).roles["gpu_driver"].refresh


@pytest.mark.parametrize(
    ("setting", "mode"),
    [
        ({"conda_channel_alias": "https://conda.example/t/tk-1234/get"}, "0600"),
        ({"conda_channel_alias": "https://bot:pw@conda.example"}, "0600"),
        ({"conda_channels": ["https://tk@conda.example/x"]}, "0600"),
        ({"conda_channels": ["https://conda.example/x?token=tk"]}, "0600"),
        ({"conda_channel_alias": "https://conda.example/team"}, "0644"),
        ({}, "0644"),
    ],
)
def test_a_configuration_of_conda_with_a_secret_is_for_root_alone(
    setting: dict[str, Any], mode: str
) -> None:
    assert managed(plan(bare(), **setting))[CONDARC].mode == mode
