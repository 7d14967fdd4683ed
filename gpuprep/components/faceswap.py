"""Faceswap on a prepared host: user, conda environment, locked Python packages, source."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from gpuprep import codes
from gpuprep.components import driver as gpu_driver
from gpuprep.components.base import Component, Situation, Written
from gpuprep.components.conda import diff_environment
from gpuprep.components.differences import Differences, diff_files
from gpuprep.components.state import EnvironmentState, PackageRequest, RoleState, WorkloadState
from gpuprep.model import Environment, ManagedFile, Stack, StepKind
from gpuprep.model.versions import at_least
from gpuprep.workloads.faceswap.variant import NAME, choose, lock_text
from gpuprep.workloads.python_lock import digest_of, names_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gpuprep.model import Faceswap, Message
    from gpuprep.observe.observation import CondaEnvironment, HostObservation
    from gpuprep.resolve.case import Case

USER: Final = NAME
HOME: Final = "/var/lib/gpuprep/faceswap"
JOBS: Final = f"{HOME}/jobs"
SOURCE: Final = "/opt/gpuprep/faceswap/source"
RECORD: Final = "/opt/gpuprep/faceswap/installed.json"
GIT: Final = "git"
MODE: Final = "0750"  # of the user's folders
# What Faceswap imports first, and a compiled operator: a torchvision that does not fit its torch
# is imported without complaint. Nothing of it needs a GPU or a display.
PROGRAM: Final = """
import cv2, tkinter, torch, torchvision
boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0], [8.0, 8.0, 9.0, 9.0]])
kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)
assert [int(index) for index in kept] == [0, 2], kept
print("torch", torch.__version__, "torchvision", torchvision.__version__, "cv2", cv2.__version__)
"""


def resolve(case: Case, stack: Stack) -> Stack:
    """Return the stack with Faceswap as it fits the host.

    Raises:
        Refused: it does not run there.

    """
    return replace(stack, faceswap=choose(case))


def plan(differences: Differences, situation: Situation) -> RoleState:
    """Return the desired state: user, environment, Python packages, source, record."""
    chosen, settings, observation = (
        situation.stack.faceswap,
        situation.settings,
        situation.observation,
    )
    if chosen is None:
        return RoleState(differences.role)
    lock = settings.python_lock or lock_text(chosen.variant)
    environment = Environment(NAME, "packages", f"python={chosen.python}\npip\ntk")
    env = f"{settings.conda_prefix}/envs/{NAME}"
    packages = () if observation.commands.get(GIT) else (PackageRequest(GIT),)
    if packages:
        reason = "git, which fetches the source, is not there"
        differences.add(StepKind.PACKAGE, GIT, "install", reason)
    _diff_account(differences, observation)
    diff_environment(differences, EnvironmentState(environment), observation.conda)
    is_new = differences.has(StepKind.ENVIRONMENT)
    current_env = None if is_new else observation.conda.envs.get(NAME)
    _diff_packages(differences, current_env, lock, env)
    _diff_checkout(differences, observation, chosen.commit)
    record = ManagedFile(RECORD, StepKind.RECORD, _record(chosen, env, digest_of(lock)))
    diff_files(differences, observation, (record,))
    state = WorkloadState(
        conda_prefix=settings.conda_prefix,
        environment=environment,
        account={"op": "account", "name": USER, "home": HOME, "folders": ["jobs"]},
        python_lock={
            "op": "python_lock",
            "env": env,
            "lock": lock,
            "digest": digest_of(lock),
            "names": list(names_of(lock, "the lock")),
            "index": settings.values["faceswap_index"],
        },
        checkout={
            "op": "checkout",
            "path": SOURCE,
            "repository": settings.values["faceswap_repository"] or chosen.repository,
            "commit": chosen.commit,
        },
        start_test={
            "op": "start_test",
            "user": USER,
            "python": f"{env}/bin/python",
            "program": PROGRAM,
            "directory": HOME,
            "environment": {"FACESWAP_BACKEND": chosen.backend, "KERAS_BACKEND": "torch"},
        },
        record=record,
    )
    return RoleState(differences.role, packages=packages, workload=state)


def obstacle(situation: Situation, roles: Collection[str]) -> Message | None:
    """Return why the host is not prepared for it, None when it is or will be by this plan."""
    chosen, observation = situation.stack.faceswap, situation.observation
    if chosen is None:
        return None
    rules = situation.catalog.faceswap
    if not observation.conda.complete and "conda" not in roles:
        return codes.refusal("E_FS_CONDA", prefix=situation.settings.conda_prefix)
    if chosen.backend == "nvidia" and gpu_driver.COMPONENT.role not in roles:
        have = gpu_driver.current(observation)
        need = next(v.torch.min_driver for v in rules.variants if v.name == chosen.variant)
        if have is None or not at_least(have, need):
            values = {"variant": chosen.variant, "need": need, "have": have or "none"}
            return codes.refusal("E_FS_DRIVER", **values)
    account = observation.accounts.get(USER)
    if account is not None and (account.home != HOME or account.uid == 0):
        return codes.refusal("E_FS_USER", user=USER, home=account.home, expected=HOME)
    for path, size in more_space_mb(situation, (StepKind.PYTHON_PACKAGES,)).items():
        free = observation.space[path].free_mb
        if free < size:
            return codes.refusal("E_FS_DISK", path=path, free=free, need=size)
    return None


def more_space_mb(situation: Situation, kinds: Collection[str]) -> Mapping[str, int]:
    """Return the space that the environment takes where its Python packages are not there yet."""
    env = situation.observation.conda.envs.get(NAME)
    if StepKind.PYTHON_PACKAGES not in kinds or (env is not None and env.python_packages):
        return {}
    path = _nearest(situation.settings.conda_prefix, situation.observation.space)
    return {path: situation.catalog.faceswap.space_mb} if path else {}


def current(observation: HostObservation) -> str | None:
    """Return the commit of the source, shortened, where everything was installed with it."""
    checkout = observation.checkouts.get(SOURCE)
    there = checkout is not None and observation.files.get(RECORD) is not None
    return _short(checkout.commit) if checkout is not None and there else None


def desired(stack: Stack) -> str:
    """Return the commit of the source, shortened."""
    return "-" if stack.faceswap is None else _short(stack.faceswap.commit)


def locks(stack: Stack) -> Mapping[str, str]:
    """Return commit, variant and digest of the Python packages' lock."""
    chosen = stack.faceswap
    return {} if chosen is None else {NAME: f"{chosen.commit} {chosen.variant} {chosen.lock}"}


def _short(commit: str) -> str:
    return commit[:12]


def _nearest(path: str, known: Collection[str]) -> str:
    """Return the longest known directory that a path lies in; empty without one."""
    above = [place for place in known if path == place or path.startswith(f"{place}/")]
    return max(above, key=len, default="")


def _record(chosen: Faceswap, env: str, lock: str) -> str:
    """Return what is told of the installation to those who use it."""
    record: dict[str, Any] = {
        "schema": 1,
        "python": f"{env}/bin/python",
        "source": SOURCE,
        "commit": chosen.commit,
        "lock": lock,
        "variant": chosen.variant,
        "backend": chosen.backend,
        "user": USER,
        "root": HOME,
    }
    return json.dumps(record, indent=1) + "\n"


def _diff_account(differences: Differences, observation: HostObservation) -> None:
    account = observation.accounts.get(USER)
    if account is None:
        differences.add(StepKind.ACCOUNT, USER, "create", f"there is no user {USER}")
        return
    wrong = [path for path in (HOME, JOBS) if account.folders.get(path) != MODE]
    if wrong:
        reason = f"{', '.join(wrong)} is not there, not the user's, or open to others"
        differences.add(StepKind.ACCOUNT, USER, "change", reason)


def _diff_packages(
    differences: Differences, env: CondaEnvironment | None, lock: str, path: str
) -> None:
    """Find that an environment's Python packages are not those of the lock."""
    note = (env.python_marker if env else None) or {}
    if env is None or not note:
        reason = "its Python packages are not installed"
        differences.add(StepKind.PYTHON_PACKAGES, path, "install", reason)
        return
    if note.get("digest") != digest_of(lock):
        reason = "its Python packages were installed from another lock"
        differences.add(StepKind.PYTHON_PACKAGES, path, "change", reason)
        return
    noted = note.get("packages")
    expected = noted if isinstance(noted, dict) else {}
    now = env.python_packages
    wrong = sorted(name for name in {*expected, *now} if expected.get(name) != now.get(name))
    if wrong:
        reason = f"lost, changed or added: {', '.join(wrong)}"
        differences.add(StepKind.PYTHON_PACKAGES, path, "change", reason)


def _diff_checkout(differences: Differences, observation: HostObservation, commit: str) -> None:
    checkout = observation.checkouts.get(SOURCE)
    after = _short(commit)
    if checkout is None:
        reason = f"{SOURCE} is no checkout of Faceswap"
        differences.add(StepKind.CHECKOUT, SOURCE, "create", reason, None, after)
    elif checkout.commit != commit:
        reason = "another commit is checked out"
        before = _short(checkout.commit)
        differences.add(StepKind.CHECKOUT, SOURCE, "change", reason, before, after)
    elif not checkout.intact:
        reason = "files of the checkout were changed, added or removed"
        differences.add(StepKind.CHECKOUT, SOURCE, "change", reason, after, after)


COMPONENT = Component(
    name=NAME,
    title="Faceswap",
    role="faceswap",
    decided_by=("driver",),
    after=("conda",),
    opt_in=True,
    wanted=lambda _values: True,
    resolve=resolve,
    plan=plan,
    obstacle=obstacle,
    more_space_mb=more_space_mb,
    current=current,
    desired=desired,
    locks=locks,
    paths=lambda _settings: (RECORD,),
    accounts=(USER,),
    checkouts=(SOURCE,),
    checks=("framework.arch", "framework.kernel", "framework.extensions"),
    exports={"faceswap_installed_commit": "commit of the source on the host, shortened"},
    writes=(
        Written("environment `faceswap`, its Python packages", "`conda_prefix`/envs/faceswap"),
        Written("source of Faceswap at its commit", SOURCE),
        Written("what is installed", RECORD),
        Written("home of the user `faceswap`", HOME),
    ),
)
