"""cuDNN: runtime and headers at one version, held."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuprep.components.base import REPOSITORY, Component, Situation, Written
from gpuprep.components.differences import (
    Differences,
    VersionLock,
    diff_files,
    diff_holds,
    diff_packages,
    diff_sources,
    shared_version,
)
from gpuprep.components.state import PackageRequest, RoleState
from gpuprep.model import Stack, StepKind
from gpuprep.resolve.cuda import choose_toolkits
from gpuprep.resolve.cudnn import choose_cudnn, cudnn_packages

if TYPE_CHECKING:
    from gpuprep.observe import HostObservation
    from gpuprep.resolve.case import Case


def resolve(case: Case, stack: Stack) -> Stack:
    """Return the stack with cuDNN for the CUDA major of its default toolkit.

    Raises:
        Refused: no release fits the GPUs, CUDA and the settings.

    """
    # Without toolkits of ours: for the one that would be the default.
    toolkits = stack.cuda or choose_toolkits(case, case.driver)
    cudnn = choose_cudnn(case, [toolkit.major for toolkit in toolkits])
    packages = cudnn_packages(case, cudnn)
    return replace(
        stack,
        cudnn=cudnn.label,
        packages=stack.packages + packages,
        holds=tuple(package.name for package in packages),
    )


def plan(differences: Differences, situation: Situation) -> RoleState:
    """Return the desired state: per CUDA major, all packages at one version, held."""
    observation, stack, family = situation.observation, situation.stack, situation.family
    packages = [p for p in stack.packages if p.component == "cudnn"]
    if not packages:
        return RoleState(differences.role)
    files = family.repository_files(stack)
    foreign = diff_sources(differences, observation, stack.repository, family.paths)
    diff_files(differences, observation, files)
    wanted: list[PackageRequest] = []
    for major in sorted({_cuda_major(package.name) for package in packages}):
        names = [name for name in stack.holds if _cuda_major(name) == major]
        roots = [package for package in packages if package.name in names]
        # Installed ones stay where they are, all at one version; new ones are the newest.
        asked = (family.upstream(root.version) for root in roots if root.version)
        version = next(asked, None) or shared_version(observation.packages, names, family)
        lock = VersionLock(version, names)
        found = diff_packages(differences, observation.packages, roots, names, family, lock)
        wanted += found.wanted
    changing = differences.has(StepKind.PACKAGE)
    diff_holds(differences, observation.packages, stack.holds, renew=changing)
    return RoleState(
        differences.role,
        files=files,
        foreign=foreign,
        packages=tuple(wanted),
        hold=stack.holds,
    )


def current(observation: HostObservation) -> str | None:
    """Return the versions of the installed libraries."""
    return ", ".join(observation.cudnn.library_versions) or None


def desired(stack: Stack) -> str:
    """Return the release, or the series where the newest of it is taken."""
    return stack.cudnn or "-"


def _cuda_major(name: str) -> str:
    """Return the CUDA major version in a package's name, empty without one (series 8)."""
    return name.partition("-cuda-")[2]


COMPONENT = Component(
    name="cudnn",
    title="cuDNN",
    role="cudnn",
    decided_by=("driver", "cuda"),
    wanted=lambda values: values["cudnn_version"] != "none",
    resolve=resolve,
    plan=plan,
    current=current,
    desired=desired,
    space_mb={"/usr": 1800, "/var": 900},
    checks=("cudnn.agree", "cudnn.runtime", "cudnn.convolution"),
    exports={"cudnn_installed_version": "versions on the host"},
    writes=(
        REPOSITORY,
        Written("runtime and headers for the default toolkit's CUDA", "packages, held"),
    ),
)
