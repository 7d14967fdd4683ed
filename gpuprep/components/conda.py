"""conda (Miniforge) at a prefix, with its configuration and environments."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuprep.components.base import Component, Situation, Written
from gpuprep.components.differences import Differences, diff_files
from gpuprep.components.state import CondaState, EnvironmentState, RoleState
from gpuprep.model import Environment, ManagedFile, Stack, StepKind
from gpuprep.packages.family import HEADER
from gpuprep.resolve.conda import choose_installer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.model import Settings
    from gpuprep.observe.observation import Conda, HostObservation
    from gpuprep.resolve.case import Case

# A login or a token in an address.
SECRET = re.compile(r"://[^/\s@]+@|/t/[^/\s]+|[?&]\w*token=", re.IGNORECASE)
# Texts that YAML takes for texts without quotes, but for words of its own.
PLAIN = re.compile(r"[A-Za-z/][\w./@%+~#:-]*[\w/]", re.ASCII)
YAML_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null"})
PROFILE = "/etc/profile.d/gpuprep-conda.sh"


def resolve(case: Case, stack: Stack) -> Stack:
    """Return the stack with the installer of conda.

    Raises:
        Refused: unknown release without a checksum, or a machine without an installer.

    """
    return replace(stack, conda=choose_installer(case))


def plan(differences: Differences, situation: Situation) -> RoleState:
    """Return the desired state: installation, configuration, profile, environments."""
    settings, installer = situation.settings, situation.stack.conda
    if installer is None:
        return RoleState(differences.role)
    conda = situation.observation.conda
    note = {"installer": installer.version, "sha256": installer.sha256}
    _diff_installation(differences, conda, settings.conda_prefix, note)
    files = _files(settings, json.dumps(note) + "\n")
    diff_files(differences, situation.observation, files)
    environments = tuple(
        EnvironmentState(environment, _cuda_for(environment, situation))
        for environment in settings.environments
    )
    for wanted in environments:
        diff_environment(differences, wanted, conda)
    _diff_labels(differences, conda)
    state = CondaState(settings.conda_prefix, installer, not conda.exists, environments)
    return RoleState(differences.role, files=files, conda=state)


def current(observation: HostObservation) -> str | None:
    """Return the version of a complete installation."""
    return observation.conda.version if observation.conda.complete else None


def desired(stack: Stack) -> str:
    """Return the installer's version."""
    return "-" if stack.conda is None else stack.conda.version


def locks(stack: Stack) -> Mapping[str, str]:
    """Return the installer's version and checksum."""
    installer = stack.conda
    return {} if installer is None else {"conda": f"{installer.version} {installer.sha256}"}


def condarc_path(prefix: str) -> str:
    """Return the path of the system-wide configuration of a conda prefix."""
    return f"{prefix}/.condarc"


def marker_path(prefix: str) -> str:
    """Return the path of the note that tells which installer made a conda prefix.

    Not called ``*.json``: conda takes each such file there for the record of a package.
    """
    return f"{prefix}/conda-meta/gpuprep"


def _diff_installation(
    differences: Differences, conda: Conda, prefix: str, note: Mapping[str, str]
) -> None:
    if not conda.complete:
        reason = (
            "conda is not installed" if not conda.exists else "the installation is not complete"
        )
        version = note["installer"]
        differences.add(StepKind.INSTALLATION, prefix, "install", reason, None, version)
    elif conda.marker != note:
        told = conda.marker.get("installer") if conda.marker else None
        before = str(told) if told else f"conda {conda.version}"
        reason = "conda was installed by another installer"
        after = note["installer"]
        differences.add(StepKind.INSTALLATION, prefix, "upgrade", reason, before, after)


def _cuda_for(environment: Environment, situation: Situation) -> str | None:
    """Return the CUDA to solve an environment for; None where nothing is solved or known."""
    return None if environment.kind == "explicit" else situation.driver_cuda


def diff_environment(differences: Differences, desired: EnvironmentState, conda: Conda) -> None:
    """Find that an environment is absent, made from something else, or lost packages."""
    name = desired.environment.name
    current = conda.envs.get(name)
    if current is None:
        reason = f"environment {name} does not exist"
        if name in conda.broken:
            reason = (
                f"what is there as {name} is no environment; it is kept beside it as {name}.broken"
            )
        differences.add(StepKind.ENVIRONMENT, name, "create", reason)
        return
    note = current.marker or {}
    if note.get("digest") != desired.environment.digest:
        reason = f"the specification of {name} is another than it was made from"
        differences.add(StepKind.ENVIRONMENT, name, "update", reason)
        return
    if note and desired.cuda and note.get("cuda") != desired.cuda:
        before, after = f"for CUDA {note.get('cuda', 'unknown')}", f"for CUDA {desired.cuda}"
        reason = f"{name} was solved for another CUDA than the driver's"
        differences.add(StepKind.ENVIRONMENT, name, "rebuild", reason, before, after)
        return
    noted = note.get("packages")
    expected = noted if isinstance(noted, dict) else {}
    gone = sorted(str(n) for n, v in expected.items() if current.packages.get(n) != v)
    if gone:
        reason = f"{name} lost or changed: {', '.join(gone)}"
        differences.add(StepKind.ENVIRONMENT, name, "update", reason)


def _diff_labels(differences: Differences, conda: Conda) -> None:
    """Find that what is at the prefix has labels with which programs may not use it."""
    if not conda.wrong_labels or conda.prefix is None:
        return
    path, wrong = next(iter(conda.wrong_labels.items()))
    reason = f"{path} has another SELinux label than the policy's"
    before, after = wrong.label, wrong.wanted
    differences.add(StepKind.LABEL, conda.prefix, "change", reason, before, after)


def _files(settings: Settings, marker: str) -> tuple[ManagedFile, ...]:
    prefix = settings.conda_prefix
    channels = (f"  - {_quoted(name)}" for name in settings.conda_channels)
    lines = [HEADER.rstrip(), "channels:", *channels]
    lines += ["auto_activate_base: false", "channel_priority: strict"]
    if settings.conda_channel_alias:
        lines.append(f"channel_alias: {_quoted(settings.conda_channel_alias)}")
    script = f"{prefix}/etc/profile.d/conda.sh"
    text = "\n".join(lines) + "\n"
    mode = "0600" if SECRET.search(text) else "0644"
    return (
        ManagedFile(condarc_path(prefix), StepKind.CONDARC, text, mode=mode),
        ManagedFile(PROFILE, StepKind.PROFILE, f"{HEADER}[ ! -r {script} ] || . {script}\n"),
        ManagedFile(marker_path(prefix), StepKind.MARKER, marker),
    )


def _quoted(text: str) -> str:
    """Return a text as YAML has to have it, so that it makes no number or switch of it."""
    plain = PLAIN.fullmatch(text) and text.lower() not in YAML_WORDS
    return text if plain else json.dumps(text)


def _paths(settings: Settings) -> tuple[str, ...]:
    prefix = settings.conda_prefix
    return (PROFILE, condarc_path(prefix), marker_path(prefix))


COMPONENT = Component(
    name="conda",
    title="conda",
    role="conda",
    wanted=lambda values: values["conda_installer_version"] != "none",
    resolve=resolve,
    plan=plan,
    current=current,
    desired=desired,
    locks=locks,
    paths=_paths,
    uses_packages=False,
    space_mb={"/opt": 1200},
    checks=("conda.present", "framework.arch", "framework.kernel", "framework.extensions"),
    exports={"conda_installed_version": "version on the host"},
    writes=(
        Written("Miniforge", "`conda_prefix`"),
        Written("system-wide configuration", "`conda_prefix`/.condarc"),
        Written("what made the installation", "`conda_prefix`/conda-meta/gpuprep"),
        Written("environments", "`conda_prefix`/envs"),
        Written("conda of login shells", PROFILE),
    ),
)
