"""Private: observe and plan hosts from within an Ansible action."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.playbook.play_context import PlayContext
from ansible.utils.display import Display
from ansible_collections.gpuprep.core.plugins.plugin_utils import _hosts
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

ensure_package()

from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.errors import ConfigError
from gpuprep.fleet.counters import OBSERVATION
from gpuprep.fleet.failures import Failure, failure_code, failure_message
from gpuprep.fleet.policy import HOSTS, VARIABLES, default_of, observe_seconds, one_value, policy_of
from gpuprep.fleet.verdicts import is_foreign, judges, report_of
from gpuprep.ladder.evaluate import evaluate
from gpuprep.ladder.expect import expectation
from gpuprep.model import PlanState, Tier
from gpuprep.model.text import clean
from gpuprep.observe.probe import source
from gpuprep.planner import HostPlan, observation_request, plan_host, settings_from
from gpuprep.planner.settings import all_options, environment_files, unknown_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible._internal._templating._engine import TemplateEngine
    from ansible.plugins.action import ActionBase

    from gpuprep.fleet.policy import Policy
    from gpuprep.fleet.report import HostReport
    from gpuprep.fleet.verdicts import Verb
    from gpuprep.lock.lockfile import LockFile
    from gpuprep.model import CheckResult
    from gpuprep.observe import HostObservation
    from gpuprep.planner import Settings
    from gpuprep.planner.plan import Resolver

SPARE_SECONDS = 15  # the controller's patience beyond the host's own limit
TIER_SECONDS = {
    Tier.QUICK: 0,
    Tier.FULL: 900,
    Tier.BURN_IN: 3600,
}  # what a tier may take beyond looking
MOST_CHARACTERS = 1000  # of an error's text
FAILED = "__gpuprep_failed"  # the variable that the rescue of apply.yml sets on a host


def read_values(variables: Mapping[str, Any], templar: TemplateEngine) -> dict[str, Any]:
    """Return the values of our variables that a host has, of the types that they must have.

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
    return values


def read_settings(
    variables: Mapping[str, Any],
    templar: TemplateEngine,
    loader: Any,
) -> Settings:
    """Return the settings in a host's variables.

    Raises:
        ConfigError: see :func:`read_values`; or the settings contradict each other.

    """
    return _settings(read_values(variables, templar), loader)


def _settings(values: Mapping[str, Any], loader: Any) -> Settings:
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
    probe = source(tier, _capabilities()) if tier else ""
    marker = observe.new_marker()
    script = observe.script(request, probe, tier or Tier.QUICK, marker)
    limit = seconds + TIER_SECONDS[tier or Tier.QUICK]
    answer = _hosts.run_script(target, script, limit, OBSERVATION)
    try:
        seen = observe.read(answer, marker)
    except observe.ObservationError as error:
        raise _hosts.HostUnusableError("E_OBSERVE", str(error)) from error
    if seen.uid != 0:
        raise _hosts.HostUnusableError(
            "E_NOT_ROOT", "the host was reached without root rights; set become: true"
        )
    return seen


@lru_cache
def _capabilities() -> dict[str, str]:
    """Return the compute capability by PCI id: what programs are compiled for."""
    return {pci: gpu.cc for pci, gpu in load().gpus.items()}


def failed_plan(error: BaseException) -> HostPlan:
    """Return the plan of a host that could not be planned, whatever the reason."""
    text = clean(str(error), MOST_CHARACTERS)
    if isinstance(error, _hosts.HostUnreachableError):
        return HostPlan(PlanState.UNREACHABLE, "E_UNREACHABLE", text)
    if isinstance(error, _hosts.HostUnusableError):
        return HostPlan(PlanState.FAILED, error.code, text)
    if isinstance(error, ConfigError):
        return HostPlan(PlanState.REFUSED, "E_CONFIG", text)
    if isinstance(error, AnsibleError):
        return HostPlan(PlanState.FAILED, "E_ANSIBLE", text)
    return HostPlan(PlanState.FAILED, "E_INTERNAL", f"{type(error).__name__}: {text}")


class Fleet:
    """The hosts of a play, observed and planned together; a fault of one is its own result.

    Attributes:
        plans: plan per host.
        seen: observation per host that answered.
        settings: settings per host that have any.
        failures: per host, why its role failed before it was observed.

    """

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any], verb: Verb) -> None:
        self._action = action
        self._hostvars = task_vars["hostvars"]
        self._verb: Verb = verb
        self._seconds: dict[str, int] = {}
        self._values: dict[str, Mapping[str, Any]] = {}
        self._targets: dict[str, _hosts.Target] = {}
        self._tier: Tier = Tier.QUICK
        self.plans: dict[str, HostPlan] = {}
        self.seen: dict[str, HostObservation] = {}
        self.settings: dict[str, Settings] = {}
        self.failures: dict[str, Failure] = {}

    # --- what is wanted -------------------------------------------------------------------

    def choose(self, names: list[str]) -> list[str]:
        """Return those of the play's hosts that ``gpuprep_hosts`` means.

        Raises:
            ConfigError: the hosts disagree about it, or it means none of them.

        """
        patterns = {}
        for name in names:
            try:
                variables, templar = self._variables(name)
                patterns[name] = templar.template(variables.get(HOSTS, default_of(HOSTS)))
            except Exception as error:  # noqa: BLE001 - is told as the host's own, in read
                Display().vvv(f"{name}: {HOSTS}: {error}")
        pattern = one_value(HOSTS, patterns)
        if pattern == default_of(HOSTS):
            return names
        meant = {host.name for host in self._hostvars._inventory.get_hosts(pattern)}
        chosen = [name for name in names if name in meant]
        if not chosen:
            raise ConfigError(f"{HOSTS}: no host of this run matches the pattern {pattern}")
        return chosen

    def read(self, names: list[str]) -> None:
        """Read the settings of hosts and how they are reached; nothing is touched yet."""
        context = self._play_context()
        keys = self._task_keys(context)
        for name in names:
            try:
                variables, templar = self._variables(name)
                values = read_values(variables, templar)
                self._seconds[name] = observe_seconds(values)
                self.settings[name] = _settings(values, self._action._loader)
                self._targets[name] = _hosts.make_target(name, variables, templar, context, keys)
                _hosts.CHILDREN[name] = str(templar.template(variables.get("ansible_host", name)))
                self._values[name] = values
                if variables.get(FAILED):
                    self.failures[name] = _failure(variables)
            except Exception as error:  # noqa: BLE001 - any fault of a host is that host's result
                self._fail(name, error)

    def policy(self) -> Policy:
        """Return the policy of the run, from the hosts whose settings can be read.

        Raises:
            ConfigError: the hosts disagree, or a value makes no sense.

        """
        return policy_of(
            {
                name: {key: values[key] for key in VARIABLES if key in values}
                for name, values in self._values.items()
            }
        )

    # --- what there is ----------------------------------------------------------------------

    def observe(self, names: list[str], tier: Tier = Tier.QUICK) -> None:
        """Observe and plan hosts that were read, climbing the ladder as far as the tier says."""
        self._tier = tier = Tier(tier)
        extra = TIER_SECONDS[tier] + SPARE_SECONDS
        reachable = [name for name in names if name in self._values]
        limits = {name: self._seconds[name] + extra for name in reachable}
        parallel = min(C.DEFAULT_FORKS, 50)
        for name, value in _hosts.for_all(reachable, self._plan, parallel, limits).items():
            if isinstance(value, HostPlan):
                self.plans[name] = value
            else:
                self._fail(name, value)
        self.plans = {name: self.plans[name] for name in names}

    def report(self, name: str) -> HostReport:
        """Return what is told of a host; a fault in the judgement is the host's own too."""
        plan, failure = self.plans[name], self.failures.get(name)
        try:
            return report_of(
                plan,
                self._checks(name),
                self._verb,
                foreign=self._is_foreign(name),
                failure=failure,
            )
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(name, error)
            return report_of(self.plans[name], (), self._verb, failure=failure)

    def _checks(self, name: str) -> tuple[CheckResult, ...]:
        """Return the rungs tried on a host; none when it did not answer."""
        seen = self.seen.get(name)
        if seen is None:
            return ()
        family = seen.package_manager.family
        expected = expectation(load(), family, self.settings[name].shape)
        nobodys = judges(self._verb) and self._is_foreign(name)
        stack = None if nobodys else self.plans[name].stack
        return evaluate(seen, stack, self._tier, expected)

    def _is_foreign(self, name: str) -> bool:
        seen = self.seen.get(name)
        return seen is not None and is_foreign(self.plans[name].versions, seen.files)

    def _plan(self, name: str) -> HostPlan:
        settings = self.settings[name]
        seen = observe_host(self._targets[name], settings, self._seconds[name], self._tier)
        self.seen[name] = seen
        resolver = resolver_for(settings, self._action._loader)
        return plan_host(seen, settings, load(), resolver)

    def _fail(self, name: str, error: BaseException) -> None:
        self.plans[name] = failed_plan(error)
        if self.plans[name].code == "E_INTERNAL":
            Display().vvv(f"{name}: {error!r}", host=name)

    # --- Ansible's side -----------------------------------------------------------------------

    def _variables(self, name: str) -> tuple[dict[str, Any], Any]:
        """Return a host's variables, those of its play included, and what templates them.

        Those of the task are not among them: they are the controller's.
        """
        inventory, manager = self._hostvars._inventory, self._hostvars._variable_manager
        variables = manager.get_vars(
            host=inventory.get_host(name), play=self._action._task.get_play()
        )
        return variables, self._action._templar.copy_with_new_env(available_variables=variables)

    def _play_context(self) -> PlayContext:
        """Return the connection settings of the command line, without those of any host."""
        given = self._action._play_context
        passwords = {"conn_pass": given.password, "become_pass": given.become_pass}
        return PlayContext(self._action._task.get_play(), passwords, given.connection_lockfd)

    def _task_keys(self, context: PlayContext) -> dict[str, Any]:
        """Return the plugin options that come from the play and the command line."""
        task = self._action._task
        keys: dict[str, Any] = task.dump_attrs()
        # ansible-core 2.21 writes the connection of the task there, and that is the controller's.
        keys["connection"] = task.get_play().connection
        del keys["retries"]  # of the task, not of the connection
        keys["timeout"] = context.timeout  # the task's own timeout would cut connections short
        for key in ("password", "become_pass"):
            if value := getattr(context, key):
                keys[key] = value
        return keys


def _failure(variables: Mapping[str, Any]) -> Failure:
    """Return why a host's role failed, from the variables that Ansible sets for a rescue."""
    task, result = variables["ansible_failed_task"], variables["ansible_failed_result"]
    message = failure_message(result)
    return Failure(message, task.get("name"), code=failure_code(result, message))
