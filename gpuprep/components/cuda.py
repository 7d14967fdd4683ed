"""CUDA toolkits side by side, one of them the default."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gpuprep.components.base import REPOSITORY, Component, Situation, Written
from gpuprep.components.differences import (
    Differences,
    VersionLock,
    diff_files,
    diff_packages,
    diff_sources,
)
from gpuprep.components.state import RoleState
from gpuprep.model import ManagedFile, Stack, StepKind
from gpuprep.packages.family import HEADER
from gpuprep.resolve.cuda import (
    choose_toolkits,
    toolkit_packages,
    toolkits_of,
    warn_about_toolkits,
)

if TYPE_CHECKING:
    from gpuprep.observe import HostObservation
    from gpuprep.resolve.case import Case

LINK = "/usr/local/cuda"
PROFILE = "/etc/profile.d/gpuprep-cuda.sh"
LINKER = "/etc/ld.so.conf.d/gpuprep-cuda.conf"
# CUDA's names of machines, below <toolkit>/targets.
_MACHINES = {"x86_64": "x86_64", "aarch64": "sbsa"}
_PROFILE = f"""{HEADER}export CUDA_HOME={LINK}
case ":${{PATH}}:" in
  *:{LINK}/bin:*) ;;
  *) PATH={LINK}/bin:$PATH ;;
esac
"""


def resolve(case: Case, stack: Stack) -> Stack:
    """Return the stack with the toolkits, default first.

    Raises:
        Refused: no toolkit fits the GPUs, the driver and the settings.

    """
    toolkits = choose_toolkits(case, case.driver)
    warn_about_toolkits(case, toolkits)
    packages = toolkit_packages(case, toolkits, case.driver)
    return replace(stack, cuda=toolkits_of(case, toolkits), packages=stack.packages + packages)


def plan(differences: Differences, situation: Situation) -> RoleState:
    """Return the desired state: packages, default link, shell profile, linker path."""
    observation, stack, family = situation.observation, situation.stack, situation.family
    if not stack.cuda:
        return RoleState(differences.role)
    files = (*family.repository_files(stack), *_files(observation.arch))
    foreign = diff_sources(differences, observation, stack.repository, family.paths)
    diff_files(differences, observation, files)
    main = diff_packages(
        differences,
        observation.packages,
        [p for p in stack.packages if p.component == "cuda"],
        tuple(pattern for toolkit in stack.cuda for pattern in toolkit.names),
        family,
        VersionLock(exact=stack.exact),
    )
    value = f"{LINK}-{stack.cuda[0].version}"
    _diff_link(differences, observation, value)
    return RoleState(
        differences.role,
        files=files,
        foreign=foreign,
        packages=main.wanted,
        default_link=value,
        linker=True,
    )


def current(observation: HostObservation) -> str | None:
    """Return the versions of the toolkits that have a compiler."""
    return ", ".join(t.line for t in observation.cuda.toolkits if t.nvcc) or None


def desired(stack: Stack) -> str:
    """Return the versions of the toolkits, default first."""
    return ", ".join(toolkit.version for toolkit in stack.cuda) or "-"


def _files(arch: str) -> tuple[ManagedFile, ...]:
    libraries = f"{HEADER}{LINK}/targets/{_MACHINES.get(arch, arch)}-linux/lib\n"
    return (
        ManagedFile(PROFILE, StepKind.PROFILE, _PROFILE),
        ManagedFile(LINKER, StepKind.LINKER, libraries),
    )


def _diff_link(differences: Differences, observation: HostObservation, value: str) -> None:
    cuda = observation.cuda
    link = cuda.alternative
    if link.value == value and link.mode == "manual" and cuda.default == value:
        return
    reason = f"{LINK} is not fixed to {value}"
    before = f"{cuda.default} ({link.mode})" if cuda.default else None
    differences.add(StepKind.ALTERNATIVE, "cuda", "set", reason, before, f"{value} (manual)")


COMPONENT = Component(
    name="cuda",
    title="CUDA",
    role="cuda_toolkit",
    decided_by=("driver",),
    wanted=lambda values: "none" not in values["cuda_toolkit_versions"],
    resolve=resolve,
    plan=plan,
    current=current,
    desired=desired,
    paths=lambda _settings: (PROFILE, LINKER),
    space_mb={"/usr": 6500, "/var": 3500},
    checks=("toolkit.present", "toolkit.default", "toolkit.compiles"),
    exports={"cuda_toolkit_installed_versions": "versions on the host"},
    writes=(
        REPOSITORY,
        Written("toolkits", f"{LINK}-X.Y (packages)"),
        Written("default toolkit", f"{LINK} (alternatives, manual mode)"),
        Written("PATH and CUDA_HOME of login shells", PROFILE),
        Written("the dynamic linker's path", LINKER),
    ),
)
