"""The lock of a driver that the distribution's archive gives: what a prepared host has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from planner_cases import bare, observed
from test_ubuntu import A10, KERNEL, LOCKED_DOWN, MODULES, NEWER, SIGNER

from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.errors import ConfigError
from gpuprep.lock.lockfile import LockFile, lock_document, read_lock, resolve_locked
from gpuprep.lock.repository_index import PackageIndex
from gpuprep.model import DesiredStack, HostFacts, HostResult, HostState, HostStatus, Refusal, Stack
from gpuprep.planner import plan_host, settings_from

if TYPE_CHECKING:
    from pathlib import Path

CATALOG = load()
SETTING = DesiredStack(as_of="2026-11-25", components=("driver",))
FACTS = HostFacts((A10,), "ubuntu-24.04", kernel=KERNEL, state=LOCKED_DOWN)
VERSION = "580.173.02-0ubuntu0.24.04.1"
BUILT = "6.8.0-1067.67+1"
THERE = {
    "nvidia-driver-580-server-open": VERSION,
    "nvidia-utils-580-server": VERSION,
    "libnvidia-compute-580-server": VERSION,
    f"{MODULES}{KERNEL}": BUILT,
    f"linux-objects-nvidia-580-server-open-{KERNEL}": BUILT,
    f"linux-signatures-nvidia-{KERNEL}": BUILT,
    # Of a kernel that is not the next boot's, and of nobody's driver.
    f"linux-signatures-nvidia-{NEWER}": BUILT,
    "nvidia-container-toolkit": "1.18.0-1",
}
LOCKED = {name for name in THERE if KERNEL in name or "580" in name}


def result(name: str = "h", **there: str) -> HostResult:
    """Return what a plan says of a host under Secure Boot that has these packages."""
    module = {
        "kernel": KERNEL,
        "name": "nvidia",
        "path": f"/lib/modules/{KERNEL}/kernel/nvidia-580srv-open/nvidia.ko",
        "version": "580.173.02",
        "vermagic": KERNEL,
        "signer": SIGNER,
    }
    seen = bare(
        os={"id": "ubuntu", "version_id": "24.04", "codename": "noble", "pretty": "Ubuntu"},
        secure_boot=True,
        modules={"loaded": {}, "on_disk": [module] if there else []},
        packages={
            package: {"version": version, "status": "installed", "hold": True}
            for package, version in there.items()
        },
    )
    seen["kernel"] |= {"running": KERNEL, "target": KERNEL, "next_boot": KERNEL}
    settings = settings_from({"gpuprep_components": ["driver"], "gpuprep_as_of": "2026-11-25"})
    plan = plan_host(observed(seen), settings, CATALOG)
    facts = replace(FACTS, gpus=plan.facts.gpus)  # type: ignore[union-attr]
    return HostResult(
        name, HostStatus.PREPARED, stack=plan.stack, facts=facts, versions=plan.versions
    )


def written(*hosts: HostResult) -> LockFile:
    return lock_document(hosts, CATALOG, lambda _repository: PackageIndex({}))


def locked(facts: HostFacts = FACTS, lock: LockFile | None = None, **setting: Any) -> Any:
    file = lock or written(result(**THERE))
    (one,) = {c.gpus for c in file.classes}
    return resolve_locked(replace(facts, gpus=one), replace(SETTING, **setting), CATALOG, file)


def test_a_prepared_host_tells_every_package_of_its_driver() -> None:
    (one,) = written(result(**THERE)).classes
    assert (one.driver, one.source, one.branch) == ("580.173.02", "distro", "580")
    assert {**one.packages, **one.requires} == {name: THERE[name] for name in LOCKED}
    assert f"{MODULES}{KERNEL}" in one.packages
    assert f"linux-objects-nvidia-580-server-open-{KERNEL}" in one.requires


def test_the_file_comes_back_as_it_was(tmp_path: Path) -> None:
    lock = written(result(**THERE))
    path = tmp_path / "lock.yml"
    path.write_text(lock.to_text())
    assert read_lock(path) == lock
    path.write_text(lock.to_text().replace("source: distro", "source: elsewhere"))
    with pytest.raises(ConfigError, match="source"):
        read_lock(path)


def test_bare_hosts_alone_are_not_enough() -> None:
    with pytest.raises(ConfigError, match=r"h: the driver comes from the archive of ubuntu-24\.04"):
        written(result())


@pytest.mark.parametrize("prepared_first", [True, False])
def test_one_prepared_host_of_a_class_is_enough(*, prepared_first: bool) -> None:
    hosts = [result("ready", **THERE), result("bare")]
    (one,) = written(*(hosts if prepared_first else reversed(hosts))).classes
    assert set(one.hosts) == {"ready", "bare"}
    assert one.driver == "580.173.02"
    assert one.packages["nvidia-utils-580-server"] == VERSION


def test_another_host_gets_exactly_that() -> None:
    stack = locked()
    assert isinstance(stack, Stack), stack
    assert stack.driver_version == "580.173.02"
    versions = {package.name: package.version for package in stack.packages}
    assert versions == {name: THERE[name] for name in versions}
    assert dict(stack.exact) == {name: THERE[name] for name in LOCKED}


def test_modules_of_a_kernel_that_the_lock_does_not_know_are_bound_to_the_driver_only() -> None:
    stack = locked(replace(FACTS, kernel=NEWER))
    assert isinstance(stack, Stack), stack
    versions = {package.name: package.version for package in stack.packages}
    assert versions[f"{MODULES}{NEWER}"] is None
    assert versions["nvidia-utils-580-server"] == VERSION


def test_a_host_that_would_take_another_source_is_refused() -> None:
    refused = locked(replace(FACTS, state=HostState()))
    assert isinstance(refused, Refusal)
    assert refused.code == "E_LOCK_DIFFERS"
    assert "source is locked at distro, wanted nvidia" in refused.message


def test_a_lock_of_nvidias_driver_is_none_for_the_archives() -> None:
    free = resolve(replace(FACTS, state=HostState()), SETTING, CATALOG)
    assert isinstance(free, Stack)
    names = [p.name for p in free.packages if p.origin == "nvidia"]
    index = PackageIndex(dict.fromkeys(names, ("580.178.04-0ubuntu1",)))
    host = HostResult("n", HostStatus.DRIFTED, stack=free, facts=FACTS)
    refused = resolve_locked(
        FACTS, SETTING, CATALOG, lock_document([host], CATALOG, lambda _repository: index)
    )
    assert isinstance(refused, Refusal)
    assert refused.code == "E_LOCK_DIFFERS"
    assert "wanted distro" in refused.message


@pytest.mark.parametrize("ready", ["580.173.02", "580.178.04"])
def test_a_version_that_is_not_locked_is_refused_whatever_the_archive_has(ready: str) -> None:
    facts = replace(FACTS, ready_modules={f"{MODULES}{KERNEL}": (ready,)})
    refused = locked(facts, version="580.178.04")
    assert isinstance(refused, Refusal)
    assert refused.code == "E_LOCK_DIFFERS"
    assert "driver is locked at 580.173.02, wanted 580.178.04" in refused.message


def test_a_flavour_that_is_not_locked_is_refused() -> None:
    refused = locked(flavour="proprietary")
    assert isinstance(refused, Refusal)
    assert refused.code in {"E_LOCK_DIFFERS", "E_LOCK_MISSING"}
