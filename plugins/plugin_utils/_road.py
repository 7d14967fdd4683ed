"""Private: observe and plan hosts from within an Ansible action."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep.ladder.shipped import source

from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.errors import ConfigError
from gpuprep.ladder.evaluate import evaluate, state_of
from gpuprep.ladder.expect import expectation
from gpuprep.model import CheckStatus, PlanState
from gpuprep.planner import HostPlan, observation_request, plan_host, settings_from
from gpuprep.planner.settings import all_options, environment_files, unknown_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible._internal._templating._engine import TemplateEngine
    from ansible.plugins.action import ActionBase

    from gpuprep.ladder.checks import Tier
    from gpuprep.lock.lockfile import LockFile
    from gpuprep.model import CheckResult
    from gpuprep.observe import HostObservation
    from gpuprep.planner import Settings
    from gpuprep.planner.plan import Resolver

OBSERVE_SECONDS = 60  # a host's time for looking, unless gpuprep_observe_timeout says otherwise
SPARE_SECONDS = 15  # the controller's patience beyond the host's own limit
TIER_SECONDS = {"quick": 0, "full": 900, "burn-in": 3600}  # what a tier may take beyond looking


def read_settings(
    variables: Mapping[str, Any],
    templar: TemplateEngine,
    loader: Any,
) -> Settings:
    """Return the settings in a host's variables.

    Raises:
        ConfigError: a variable has the wrong type, a value that is no choice, or looks misspelt.

    """
    options = all_options()
    given = {
        name: templar.template(variables[name])
        for name in (*options, "oci_shape")
        if name in variables
    }
    misspelt = {name: near for name, near in unknown_variables(variables).items() if near}
    if misspelt:
        lines = (f"{name}: did you mean {near}?" for name, near in sorted(misspelt.items()))
        raise ConfigError("unknown variable " + "; ".join(lines))
    # The validator would change what it is given; it sees copies of plain values.
    checked = ArgumentSpecValidator(options).validate(
        {k: v for k, v in given.items() if k in options}
    )
    if checked.error_messages:
        raise ConfigError("; ".join(checked.error_messages))
    values = {name: checked.validated_parameters[name] for name in given if name in options}
    if "oci_shape" in given:
        values["oci_shape"] = given["oci_shape"]
    files = {}
    for name in environment_files(values):
        path = Path(loader.path_dwim(name))
        if path.is_file():
            files[name] = path.read_text(encoding="utf-8")
    return settings_from(values, files=files)


def resolver_for(settings: Settings, loader: Any) -> Resolver:
    """Return what decides a host's stack: the catalog alone, or a lock file with it.

    Raises:
        ConfigError: the lock file cannot be read.

    """
    name = settings.values["gpuprep_lock_file"]
    if not name:
        return resolve
    from gpuprep.lock.lockfile import resolve_locked  # noqa: PLC0415 - few runs need it

    return partial(resolve_locked, lock=_read_lock(Path(loader.path_dwim(name))))


@lru_cache
def _read_lock(path: Path) -> LockFile:
    from gpuprep.lock.lockfile import read_lock  # noqa: PLC0415 - few runs need it

    return read_lock(path)


def observe_host(
    target: _hosts.Target, settings: Settings, seconds: int, tier: Tier | None = None
) -> HostObservation:
    """Make the one round trip to a host; with a tier, its part of the ladder is climbed in it.

    Raises:
        HostUnreachableError, HostUnusableError: see :mod:`_hosts`.

    """
    request = observation_request(load(), settings)
    probe = source(tier) if tier else ""
    marker = observe.new_marker()
    script = observe.script(request, probe, tier or "quick", marker)
    answer = _hosts.run_script(target, script, seconds + TIER_SECONDS.get(tier or "quick", 0))
    try:
        seen = observe.read(answer, marker)
    except observe.ObservationError as error:
        raise _hosts.HostUnusableError("E_OBSERVE", str(error)) from error
    if seen.uid != 0:
        raise _hosts.HostUnusableError(
            "E_NOT_ROOT", "the host was reached without root rights; set become: true"
        )
    return seen


def failed_plan(error: BaseException) -> HostPlan:
    """Return the plan of a host that could not be planned."""
    if isinstance(error, _hosts.HostUnreachableError):
        return HostPlan(PlanState.UNREACHABLE, "E_UNREACHABLE", str(error))
    if isinstance(error, _hosts.HostUnusableError):
        return HostPlan(PlanState.FAILED, error.code, str(error))
    if isinstance(error, ConfigError):
        return HostPlan(PlanState.REFUSED, "E_CONFIG", str(error))
    if isinstance(error, AnsibleError):
        return HostPlan(PlanState.FAILED, "E_ANSIBLE", str(error))
    raise error


class Fleet:
    """The hosts of a play, observed and planned together.

    Attributes:
        plans: plan per host.
        seen: observation per host that answered.
        settings: settings per host that have any.
        round_trips: number of connections made for observations.

    """

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any]) -> None:
        self._action = action
        self._task_vars = task_vars
        self.plans: dict[str, HostPlan] = {}
        self.seen: dict[str, HostObservation] = {}
        self.settings: dict[str, Settings] = {}
        self.round_trips = 0
        self.tier: Tier = "quick"

    def run(self, names: list[str], tier: Tier = "quick") -> None:
        """Observe and plan the hosts, climbing the ladder as far as the tier says."""
        self.tier = tier
        hostvars = self._task_vars["hostvars"]
        # Play and task variables are not part of a host's own variables.
        targets: dict[str, _hosts.Target] = {}
        seconds = OBSERVE_SECONDS
        for name in names:
            variables = hostvars.raw_get(name)
            templar = self._action._templar.copy_with_new_env(available_variables=variables)
            try:
                self.settings[name] = read_settings(variables, templar, self._action._loader)
                targets[name] = _hosts.make_target(
                    name, variables, templar, self._action._play_context, self._task_keys()
                )
                _hosts.CHILDREN[name] = str(templar.template(variables.get("ansible_host", name)))
                seconds = int(templar.template(variables.get("gpuprep_observe_timeout", seconds)))
            except (AnsibleError, ConfigError) as error:
                self.plans[name] = failed_plan(error)
        work = partial(self._plan, targets, seconds)
        parallel = min(C.DEFAULT_FORKS, 50)
        for name, value in _hosts.for_all(
            list(targets), work, parallel, seconds + TIER_SECONDS[tier] + SPARE_SECONDS
        ).items():
            self.plans[name] = value if isinstance(value, HostPlan) else failed_plan(value)
        self.plans = {name: self.plans[name] for name in names}

    def report(self, name: str, *, judge: bool = False) -> dict[str, Any]:
        """Return what is told of a host outside the run: plan and checks as JSON types.

        Args:
            name: the host.
            judge: say whether the host works; one that gpuprep never prepared does not have to
                look as if it had.

        """
        plan = self.plans[name]
        checks = self.checks(name, judge=judge)
        told = plan.to_dict() | {"checks": [asdict(check) for check in checks]}
        if judge and self._foreign(name):
            told |= {"state": "converged", "steps": [], "code": None, "error": None}
        if told["state"] in {"converged", "drifted"}:
            told["host_status"] = state_of(checks, plan_is_empty=told["state"] == "converged")
        return told

    def verdict(self, name: str) -> str:
        """Return why a host is not proven; empty when it is as far as it can be."""
        plan = self.plans[name]
        if not plan.ok:
            return f"{plan.state} [{plan.code}]: {plan.error}"
        if plan.steps and not self._foreign(name):
            return "differs: " + "; ".join(f"{s.id} ({s.reason})" for s in plan.steps)
        failed = [check for check in self.checks(name) if check.status is CheckStatus.FAILED]
        return "; ".join(f"{c.id}: {c.detail}. {c.remedy or ''}".strip() for c in failed)

    def checks(self, name: str, *, judge: bool = False) -> tuple[CheckResult, ...]:
        """Return the rungs tried on a host; none when it did not answer."""
        seen = self.seen.get(name)
        if seen is None:
            return ()
        family = seen.package_manager.family
        expected = expectation(load(), family, self.settings[name].shape)
        stack = None if judge and self._foreign(name) else self.plans[name].stack
        return evaluate(seen, seen.probe, stack, self.tier, expected)

    def _foreign(self, name: str) -> bool:
        """Whether a host has a driver that somebody else installed."""
        seen = self.seen.get(name)
        has_driver = "driver" in self.plans[name].versions
        return seen is not None and has_driver and not any(seen.files.values())

    def _task_keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = self._action._task.dump_attrs()
        context = self._action._play_context
        keys["become"] = keys.get("become") or context.become
        keys["become_method"] = keys.get("become_method") or context.become_method
        keys["become_user"] = keys.get("become_user") or context.become_user
        keys["timeout"] = context.timeout  # the task's own timeout would cut connections short
        return keys

    def _plan(self, targets: Mapping[str, _hosts.Target], seconds: int, name: str) -> HostPlan:
        settings = self.settings[name]
        self.round_trips += 1
        seen = observe_host(targets[name], settings, seconds, self.tier)
        self.seen[name] = seen
        resolver = resolver_for(settings, self._action._loader)
        return plan_host(seen, settings, load(), resolver)
