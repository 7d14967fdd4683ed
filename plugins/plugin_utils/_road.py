"""Private: observe and plan hosts from within an Ansible action."""

from __future__ import annotations

import json
import multiprocessing
import re
import threading
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.playbook.play_context import PlayContext
from ansible.utils.display import Display
from ansible_collections.gpuprep.core.plugins.plugin_utils import _clients, _hosts
from ansible_collections.gpuprep.core.plugins.plugin_utils._options import Options
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package
from ansible_collections.gpuprep.core.plugins.plugin_utils._places import encrypted_file, place_of
from ansible_collections.gpuprep.core.plugins.plugin_utils._secrets import redactor, secrets_of

ensure_package()

from gpuprep import codes, observe
from gpuprep.catalog import load
from gpuprep.components import resolve
from gpuprep.errors import ConfigError
from gpuprep.fleet.counters import OBSERVATION
from gpuprep.fleet.failures import Failure, failure_code, failure_message, settings_error
from gpuprep.fleet.hints import with_hint
from gpuprep.fleet.patterns import check_pattern
from gpuprep.fleet.policy import (
    HOSTS,
    VARIABLES,
    default_of,
    observe_seconds,
    one_value,
    policy_of,
)
from gpuprep.fleet.tags import Tags
from gpuprep.fleet.twins import twins
from gpuprep.fleet.verdicts import is_foreign, judges, report_of
from gpuprep.ladder.evaluate import evaluate
from gpuprep.ladder.expect import expectation
from gpuprep.model import PlanState, Tier
from gpuprep.model.text import clean, clean_line
from gpuprep.observe.probe import source
from gpuprep.planner import HostPlan, observation_request, settings_from
from gpuprep.planner.alike import AlikePlans
from gpuprep.planner.inputs import SHAPE, checked
from gpuprep.planner.nowhere import fits_nowhere
from gpuprep.planner.settings import all_options, environment_files, unknown_variables
from gpuprep.run.redact import mask_urls

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
    from gpuprep.run.redact import Redactor

SPARE_SECONDS = 15  # the controller's patience beyond the host's own limit
TIER_SECONDS = {
    Tier.QUICK: 0,
    Tier.FULL: 900,
    Tier.BURN_IN: 3600,
}  # what a tier may take beyond looking
# Hosts at once, the second time: sshd as it comes, on a jump host for one, turns some away when ten
# have not logged in yet.
MOST_AGAIN = 8
MANY_KEPT = 8  # open connections; for fewer, ssh's processes cost less than to ask what it would do
FEWER = 4  # times fewer at once than the first time, at least
MOST_CHARACTERS = 1000  # of an error's text
ENCRYPTED = re.compile("vault|decrypt", re.IGNORECASE)
# Threads that wait for hosts are many, and Python lets one work at a time: they would only jostle.
_judging = threading.Lock()
VAULT_CURE = "; give the right password: --vault-password-file, --vault-id or --ask-vault-pass"
FAILED = "__gpuprep_failed"  # the variable that the rescue of apply.yml sets on a host


def read_values(variables: Mapping[str, Any], templar: TemplateEngine) -> dict[str, Any]:
    """Return the values of our variables that a host has, of the types that they must have.

    Raises:
        ConfigError: see :func:`given_values`; or a value has the wrong type, or is no choice.

    """
    return checked(given_values(variables, templar))


def given_values(variables: Mapping[str, Any], templar: TemplateEngine) -> dict[str, Any]:
    """Return the values of our variables that a host has, as they were given.

    Raises:
        ConfigError: a variable cannot be told, or looks misspelt.

    """
    given = {
        name: _templated(name, variables, templar)
        for name in (*all_options(), SHAPE)
        if name in variables
    }
    misspelt = {name: near for name, near in unknown_variables(variables).items() if near}
    if misspelt:
        lines = (f"{name}: did you mean {near}?" for name, near in sorted(misspelt.items()))
        raise ConfigError("unknown variable " + "; ".join(lines))
    return given


def _key(given: Mapping[str, Any]) -> str:
    """Return a text that equal values share, and no others."""
    return json.dumps(given, sort_keys=True, default=lambda value: f"{type(value)} {value!r}")


def _templated(name: str, variables: Mapping[str, Any], templar: TemplateEngine) -> Any:
    """Return the value of a variable.

    Raises:
        ConfigError: its template, or its encryption, cannot be resolved.

    """
    try:
        value = templar.template(variables[name])
        # ansible-core 2.18 decrypts only what is used as text.
        return str(value) if hasattr(value, "__ENCRYPTED__") else value
    except Exception as error:
        raise ConfigError(f"{name}: {clean_line(str(error))}") from error


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
        try:
            files[name] = Path(loader.path_dwim(name)).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue  # told by settings_from
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{name} cannot be read: {error}") from error
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
    marker = observe.new_marker()
    with _judging:
        script, word = _program(settings, tier)
        script = script.replace(word, marker)
    limit = seconds + TIER_SECONDS[tier or Tier.QUICK]
    answer = _hosts.run_script(target, script, limit, OBSERVATION)
    try:
        with _judging:
            seen = observe.read(answer, marker)
    except observe.ObservationError as error:
        raise _hosts.HostUnusableError("E_OBSERVE", str(error)) from error
    if seen.uid != 0:
        raise _hosts.HostUnusableError(
            "E_NOT_ROOT", "the host was reached without root rights; set become: true"
        )
    return seen


_programs: dict[tuple[int, Tier | None], tuple[str, str, Settings]] = {}


def _program(settings: Settings, tier: Tier | None) -> tuple[str, str]:
    """Return the program that observes a host, and the marker in it; made once for one wish."""
    key = (id(settings), tier)
    if key not in _programs:
        request = observation_request(load(), settings)
        probe = source(tier, _capabilities()) if tier else ""
        word = observe.new_marker()
        text = observe.script(request, probe, tier or Tier.QUICK, word)
        _programs[key] = text, word, settings  # kept, so that no other gets its id
    return _programs[key][:2]


@lru_cache
def _capabilities() -> dict[str, str]:
    """Return the compute capability by PCI id: what programs are compiled for."""
    return {pci: gpu.cc for pci, gpu in load().gpus.items()}


def failed_plan(error: BaseException) -> HostPlan:
    """Return the plan of a host that could not be planned, whatever the reason."""
    text = mask_urls(clean(str(error), MOST_CHARACTERS))
    if isinstance(error, _hosts.HostUnreachableError):
        return HostPlan(PlanState.UNREACHABLE, "E_UNREACHABLE", with_hint(text))
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
        unreadable: hosts with a file of variables that cannot be read: Ansible can run no task of
            theirs.
        tags: what the run carries out.

    """

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any], verb: Verb) -> None:
        self._action = action
        self._hostvars = task_vars["hostvars"]
        self._verb: Verb = verb
        self._seconds: dict[str, int] = {}
        self._values: dict[str, Mapping[str, Any]] = {}
        self._known: dict[str, tuple[Mapping[str, Any], Settings]] = {}
        self._of_play: dict[str, Any] | None = None
        self._read: dict[str, dict[str, Any]] = {}
        self._targets: dict[str, _hosts.Target] = {}
        self._tier: Tier = Tier.QUICK
        # Read by the tasks of the roles only, when the host would be touched already.
        self._shell_variables = set(C.config.get_plugin_vars("shell", "sh"))
        self._plans = AlikePlans(load())
        self.plans: dict[str, HostPlan] = {}
        self.seen: dict[str, HostObservation] = {}
        self.settings: dict[str, Settings] = {}
        self.failures: dict[str, Failure] = {}
        self.unreadable: list[str] = []
        self._secrets: set[str] = set()
        self.tags = Tags.of(task_vars)

    # --- what is wanted -------------------------------------------------------------------

    def choose(self, names: list[str]) -> list[str]:
        """Return those of the play's hosts that ``gpuprep_hosts`` means.

        Raises:
            ConfigError: the hosts disagree about it, or it means none of them.

        """
        patterns = {}
        for name in names:
            try:
                if HOSTS not in self._own_variables(name):
                    patterns[name] = default_of(HOSTS)
                    continue
                variables, templar = self._variables(name)
                patterns[name] = templar.template(variables[HOSTS])
            except Exception as error:  # noqa: BLE001 - is told as the host's own, in read
                Display().vvv(f"{name}: {HOSTS}: {error}")
        pattern = one_value(HOSTS, patterns)
        if not isinstance(pattern, str):
            raise ConfigError(f"{HOSTS}: expected a host pattern, found {pattern!r}")
        check_pattern(HOSTS, pattern)
        if pattern == default_of(HOSTS):
            return names
        meant = {host.name for host in self._hostvars._inventory.get_hosts(pattern)}
        chosen = [name for name in names if name in meant]
        if not chosen:
            raise ConfigError(f"{HOSTS}: no host of this run matches the pattern {pattern}")
        return chosen

    def unmatched(self) -> list[str]:
        """Return the patterns of the command line's limit that match no host at all."""
        inventory = self._hostvars._inventory
        given = [p for p in inventory._subset or () if p.strip() and not p.startswith("#")]
        return [
            pattern
            for pattern in given
            if (name := pattern.lstrip("!&")) not in inventory.hosts
            and not inventory.get_hosts(name, ignore_limits=True, ignore_restrictions=True)
        ]

    def read(self, names: list[str]) -> None:
        """Read the settings of hosts and how they are reached; nothing is touched yet."""
        context = self._play_context()
        options = Options(self._task_keys(context))
        for name in names:
            try:
                variables, templar = self._variables(name)
                self._secrets |= secrets_of(variables, templar)
                given = given_values(variables, templar)
                values = self._values[name] = self._checked(given)
                for variable in self._shell_variables & variables.keys():
                    _templated(variable, variables, templar)
                self._seconds[name] = observe_seconds(values)
                self.settings[name] = self._settings_of(given, values)
                self._targets[name] = _hosts.make_target(name, variables, templar, context, options)
                if variables.get(FAILED):
                    self.failures[name] = _failure(variables)
            except AnsibleError as error:
                self._fail(name, self._unreadable(name) or error)
            except Exception as error:  # noqa: BLE001 - any fault of a host is that host's result
                self._fail(name, error)
        self._read.clear()

    def _checked(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return values of the types that they must have: of equal ones, the same."""
        known = self._known.get(_key(given))
        return known[0] if known else checked(given)

    def _settings_of(self, given: Mapping[str, Any], values: Mapping[str, Any]) -> Settings:
        key = _key(given)
        if key not in self._known:
            self._known[key] = values, _settings(values, self._action._loader)
        return self._known[key][1]

    @cached_property
    def hide(self) -> Redactor:
        """What masks the secrets of the hosts that were read, by value."""
        context = self._play_context()
        typed = {str(word) for word in (context.password, context.become_pass) if word}
        made: Redactor = redactor(self._secrets | typed)
        return made

    def policy(self) -> Policy:
        """Return the policy of the run, from the hosts whose settings can be read.

        Raises:
            ConfigError: the hosts disagree, a value makes no sense, or no host has settings.

        """
        if not self._values:
            raise settings_error({name: plan.error or "" for name, plan in self.plans.items()})
        return policy_of(
            {
                name: {key: values[key] for key in VARIABLES if key in values}
                for name, values in self._values.items()
            }
        )

    def _unreadable(self, name: str) -> ConfigError | None:
        """Return what is wrong with a variable by which a host is reached, by its name."""
        try:
            variables, templar = self._variables(name)
        except AnsibleError as error:  # a file of its variables, whole
            self.unreadable.append(name)
            why = clean_line(str(error)).rstrip(".")
            place, vault = place_of(error), ENCRYPTED.search(why)
            if vault and not place:
                host = self._hostvars._inventory.get_host(name)
                place = encrypted_file(host, self._action._loader)
            told = ": ".join(filter(None, ("its variables cannot be read", place, why)))
            return ConfigError(told + (VAULT_CURE if vault else ""))
        for variable in sorted(variables):
            if variable.startswith("ansible_"):
                try:
                    _templated(variable, variables, templar)
                except ConfigError as error:
                    return error
        return None

    # --- what there is ----------------------------------------------------------------------

    def observe(self, names: list[str], tier: Tier = Tier.QUICK) -> None:
        """Observe and plan hosts that were read, climbing the ladder as far as the tier says."""
        self._tier = tier = Tier(tier)
        extra = TIER_SECONDS[tier] + SPARE_SECONDS
        reachable = [name for name in names if name not in self.plans]
        limits = {name: self._seconds[name] + extra for name in reachable}
        for name, value in self._ask(reachable, limits).items():
            if isinstance(value, HostPlan):
                self.plans[name] = value
            else:
                self._fail(name, value)
                self._tell_settings(name)
        for name, others in twins({name: self._identity(name) for name in names}).items():
            refusal = codes.refusal("E_SAME_HOST", twins=", ".join(others))
            self.plans[name] = replace(
                self.plans[name],
                state=PlanState.REFUSED,
                code=refusal.code,
                error=refusal.message,
                stack=None,
                roles={},
            )
        self.plans = {name: self.plans[name] for name in names}

    def _tell_settings(self, name: str) -> None:
        """Add to why a host was not observed what is wrong with its settings all the same."""
        plan = self.plans[name]
        wrong = "; ".join(each.message for each in fits_nowhere(self.settings[name], load()))
        if wrong:
            self.plans[name] = replace(plan, error=f"{plan.error}. Besides: {wrong}")

    def _ask(self, names: list[str], limits: Mapping[str, float]) -> dict[str, Any]:
        """Return each host's plan or fault; who was not reached in the crowd is asked once more."""
        kept = _hosts.connected(self._targets[name] for name in names)
        parallel = _hosts.at_once(len(names) - len(kept), C.DEFAULT_FORKS)
        if len(kept) >= MANY_KEPT:
            for name in kept:
                _clients.share_master(self._targets[name].connection)
        found: dict[str, Any] = _hosts.for_all(names, self._plan, parallel, limits)
        again = [
            name
            for name, value in found.items()
            if isinstance(value, _hosts.NotBegunError)
            # A connection of an earlier run says nothing of how the host is now.
            or (name in kept and isinstance(value, _hosts.HostUnreachableError))
        ]
        for name in again:
            _hosts.be_patient(self._targets[name].connection, found[name])
        limits = {name: limits[name] + _hosts.PATIENCE * SPARE_SECONDS for name in again}
        few = max(1, min(MOST_AGAIN, parallel // FEWER))
        if again:
            found |= _hosts.for_all(again, self._plan, few, limits)
        return found

    @property
    def by_ssh(self) -> dict[str, str]:
        """Return why hosts that answered did so by ssh, where another program was asked for."""
        lost = PlanState.UNREACHABLE
        answered = (n for n, plan in self.plans.items() if plan.state is not lost)
        targets = ((n, self._targets[n]) for n in answered if n in self._targets)
        told = {name: _clients.why_by_ssh(target.connection) for name, target in targets}
        return {name: self.hide.text(reason) for name, reason in told.items() if reason}

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
                tags=self.tags,
                jobs=self.seen[name].job_progress if name in self.seen else (),
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

    def _identity(self, name: str) -> tuple[str, ...] | None:
        seen = self.seen.get(name)
        return seen.identity if seen else None

    def _is_foreign(self, name: str) -> bool:
        seen = self.seen.get(name)
        return seen is not None and is_foreign(self.plans[name].versions, seen.files)

    def _plan(self, name: str) -> HostPlan:
        settings = self.settings[name]
        seen = observe_host(self._targets[name], settings, self._seconds[name], self._tier)
        self.seen[name] = seen
        resolver = resolver_for(settings, self._action._loader)
        with _judging:
            return self._plans.plan(seen, settings, resolver)

    def _fail(self, name: str, error: BaseException) -> None:
        self.plans[name] = failed_plan(error)
        if self.plans[name].code == "E_INTERNAL":
            Display().vvv(f"{name}: {error!r}", host=name)

    # --- Ansible's side -----------------------------------------------------------------------

    def _variables(self, name: str) -> tuple[dict[str, Any], Any]:
        """Return a host's variables, those of its play included, and what templates them.

        Those of the task are not among them: they are the controller's.
        """
        variables = self._own_variables(name)
        return variables, self._action._templar.copy_with_new_env(available_variables=variables)

    def _own_variables(self, name: str) -> dict[str, Any]:
        """Return a host's variables, for as long as hosts are being read."""
        if name not in self._read:
            self._read[name] = self._variables_of(name)
        return self._read[name]

    def _variables_of(self, name: str) -> dict[str, Any]:
        inventory, manager = self._hostvars._inventory, self._hostvars._variable_manager
        host, play = inventory.get_host(name), self._action._task.get_play()
        if play.vars or play.vars_files or play.roles:
            return dict(manager.get_vars(host=host, play=play))
        # What the play adds is the same for all, and holds lists of all: made once.
        own = manager.get_vars(host=host)
        if self._of_play is None:
            whole = manager.get_vars(host=host, play=play)
            self._of_play = {key: value for key, value in whole.items() if key not in own}
        return {**self._of_play, **own}

    def _play_context(self) -> PlayContext:
        """Return the connection settings of the command line, without those of any host.

        The action's own hold what is set for the host that its task is delegated to; those that
        Ansible gave to this process do not.
        """
        own = self._action._play_context
        given = getattr(multiprocessing.current_process(), "_play_context", own)
        passwords = {"conn_pass": given.password, "become_pass": given.become_pass}
        return PlayContext(self._action._task.get_play(), passwords, own.connection_lockfd)

    def _task_keys(self, context: PlayContext) -> dict[str, Any]:
        """Return the plugin options that come from the play and the command line."""
        task = self._action._task
        keys: dict[str, Any] = task.dump_attrs()
        # ansible-core 2.21 writes the connection of the task there, and that is the controller's.
        keys["connection"] = task.get_play().connection
        for key in ("retries", "timeout"):  # of the task, not of the connection
            del keys[key]
        for key in ("password", "become_pass"):
            if value := getattr(context, key):
                keys[key] = value
        return keys


def _failure(variables: Mapping[str, Any]) -> Failure:
    """Return why a host's role failed, from the variables that Ansible sets for a rescue."""
    task, result = variables["ansible_failed_task"], variables["ansible_failed_result"]
    message = failure_message(result)
    return Failure(message, task.get("name"), code=failure_code(result, message))
