"""One run of one verb: arguments in, ansible-playbook in the middle, a result out."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuprep.errors import ConfigError, EngineError, GpuprepError
from gpuprep.fleet.counters import PREFIX, Counts, counts_of
from gpuprep.model import FleetResult, PlanState, RunInfo
from gpuprep.run import environment as engine
from gpuprep.run import transports
from gpuprep.run.ansible_errors import (
    encrypted_error,
    engine_error,
    no_hosts_error,
    plan_error,
)
from gpuprep.run.arguments import check_arguments
from gpuprep.run.directory import run_directory
from gpuprep.run.events import Event, EventKind
from gpuprep.run.inventories import describe, files_of, inventory_arguments, names_of
from gpuprep.run.options import (
    MOST_FORKS,
    Access,
    access_arguments,
    cancel_check,
    check_prompts,
    extra_variables,
    limit_arguments,
    limit_pattern,
    named_hosts,
    prompt_answers,
    tags_environment,
    tags_in,
    variables_arguments,
)
from gpuprep.run.own_words import own_words
from gpuprep.run.redact import Redactor, secrets_in, secrets_in_file
from gpuprep.run.request import Alone, Request
from gpuprep.run.results import host_results, read_reports, refuse_settings
from gpuprep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gpuprep.fleet.report import HostReport
    from gpuprep.run.inventories import Source
    from gpuprep.run.options import Cancel, EventCallback, Limit, RunOptions, Variables, Verb
    from gpuprep.run.runner import Outcome

PLAN_FILE: Final = "plan.json"  # written by the plan action into the run's directory
PROOF_FILES: Final = "proof*.json"  # written by the closing action, one per batch of hosts
# Of the playbooks whose first task observes and plans: whether others follow that change hosts.
_ALONE: Final[Mapping[str, Alone]] = {
    "apply": "first",
    "plan": "only",
    "status": "only",
    "verify": "only",
}
_SHOWN: Final = 5  # hosts in a warning
_AFTER_TASK: Final = frozenset({EventKind.OK, EventKind.CHANGED})
_PLAN_WORDS: Final = {PlanState.DRIFTED: "to change", PlanState.CONVERGED: "up to date"}


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one verb; the attributes are those of :func:`gpuprep.api.apply`.

    Attributes:
        settings: variables that the verb itself sets.

    Raises:
        ConfigError: an argument is of another kind.

    """

    verb: Verb
    inventory: Source | None
    limit: Limit | None
    variables: Variables | None
    on_event: EventCallback | None
    cancel: Cancel | None
    options: RunOptions
    check: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the kinds of what was given."""
        check_arguments(
            inventory=self.inventory,
            limit=self.limit,
            on_event=self.on_event,
            cancel=self.cancel,
            check=self.check,
            **self.options,
        )
        extra_variables(self.variables)

    def execute(self) -> FleetResult:
        """Run to the end, or to the first request to stop; leave nothing behind."""
        from gpuprep.run.runner import run_playbook  # noqa: PLC0415 - keeps the start-up short

        started, clock = datetime.now(UTC), time.monotonic()
        with run_directory() as run_dir:
            request = self._request(run_dir)
            outcome = run_playbook(request)
            complete = outcome.stopped is None and outcome.transcript.complete
            documents = _Documents.read(run_dir, request.redactor, strict=complete)
        result = self._result(outcome, documents)
        return replace(
            result,
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - clock, 3),
            run=self._info(request.redactor),
        )

    def _info(self, redactor: Redactor) -> RunInfo:
        """Return what tells this run from others; documented variables only, secrets masked."""
        extra = extra_variables(self.variables)
        given: dict[str, Any] = {}
        for part in (*extra, self.settings):
            given |= part if isinstance(part, Mapping) else {}
        return RunInfo(
            id=uuid.uuid4().hex,
            by=f"{_user()}@{socket.gethostname()}",
            gpuprep=__version__,
            ansible_core=engine.ansible_core(),
            inventory=tuple(redactor.data(names_of(self.inventory))),
            limit=limit_pattern(self.limit),
            settings=redactor.data(_documented(given)),
            variable_files=tuple(str(part) for part in extra if isinstance(part, Path)),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _request(self, run_dir: Path) -> Request:
        directory = _working_directory()
        access = self.options.get("access") or Access()
        check_prompts(access, engine.asking(os.environ, directory))
        extra = extra_variables(self.variables)
        # What files become, only their hosts can tell: the roles ask them, in check mode.
        shows = self.verb == "plan" and bool(self.options.get("diff"))
        playbook = "apply" if shows else self.verb
        needs = engine.needs_playbook(os.environ, directory)
        secrets = self._secrets(extra, access)
        arguments = [
            *self._inventory_arguments(run_dir, directory),
            *variables_arguments(extra, run_dir),
            *access_arguments(access),
            *limit_arguments(self.limit, run_dir),
            *(["--check"] if self.check or shows else []),
            *(["--diff"] if self.options.get("diff") else []),
            *["-v"] * (self.options.get("verbosity") or 0),
            f"--forks={self.options.get('forks') or MOST_FORKS}",
        ]
        return Request(
            playbook=engine.playbook(playbook),
            run_dir=run_dir,
            directory=directory,
            arguments=tuple(arguments),
            environment={
                **engine.engine_environment(os.environ, directory, run_dir),
                **tags_environment(self.verb, self.options),
            },
            redactor=Redactor(secrets, spared=own_words() if secrets else ()),
            variables={
                **self.settings,
                **self._transport(),
                "gpuprep_run_dir": str(run_dir),
                "__gpuprep_named": named_hosts(self.limit),
            },
            passwords=prompt_answers(access),
            alone="never" if needs else _ALONE.get(playbook, "never"),
            not_alone=needs,
            keep_connections=self.options.get("keep_connections") is not False,
            timeout=self.options.get("timeout"),
            cancelled=cancel_check(self.cancel),
            on_event=_announcing_plan(self.on_event or _ignore, run_dir),
        )

    def _transport(self) -> Mapping[str, str]:
        """Return the variable that says by which program hosts are reached, if it was asked for."""
        name = self.options.get("transport")
        if name is None:
            return {}
        transports.check(name)
        return {transports.VARIABLE: name}

    def _inventory_arguments(self, run_dir: Path, directory: Path) -> list[str]:
        if self.inventory is None:
            if not engine.has_inventory(os.environ, directory):
                raise ConfigError(
                    "no inventory: name one (a file, a directory, or localhost for this machine)"
                )
            return []
        values = inventory_arguments(self.inventory, run_dir)
        return [part for value in values for part in ("--inventory", value)]

    def _secrets(self, extra: Sequence[Mapping[str, Any] | Path], access: Access) -> list[str]:
        """Collect what must not be shown, from everything that this process can see."""
        passwords = (
            access.connection_password,
            access.become_password,
            *access.vault_passwords.values(),
        )
        named = [part for part in extra if isinstance(part, Mapping)]
        files = [part for part in extra if isinstance(part, Path)] + [*files_of(self.inventory)]
        return [
            *(password for password in passwords if password),
            *secrets_in([*named, dict(os.environ)]),
            *(secrets_in(self.inventory) if isinstance(self.inventory, Mapping) else ()),
            *(secret for file in files for secret in secrets_in_file(file)),
        ]

    def _result(self, outcome: Outcome, documents: _Documents) -> FleetResult:
        if documents.plan is None and outcome.stopped is None:
            raise self._error(outcome)
        plan = read_reports(() if documents.plan is None else (documents.plan,))
        refuse_settings(plan)
        hosts = host_results(
            plan,
            _with_roles(read_reports(documents.proofs), outcome.transcript.failed_roles),
            outcome.transcript.failures,
            outcome.transcript.changed,
            verb=self.verb,
            check=self.check,
            interruption=_interruption(outcome, limit_pattern(self.limit)) or documents.stop,
        )
        done = outcome.transcript.operations if not self.check and self.verb == "apply" else {}
        diffs = outcome.transcript.diffs if self.options.get("diff") else {}
        hosts = {
            name: replace(
                host, operations=tuple(done.get(name, ())), diffs=tuple(diffs.get(name, ()))
            )
            for name, host in hosts.items()
        }
        tags, skip_tags = tags_in(self.options)
        return FleetResult(
            verb=self.verb,
            hosts=hosts,
            tags=tags,
            skip_tags=skip_tags,
            check=self.check,
            cancelled=outcome.stopped is not None,
            stopped=documents.stop is not None,
            warnings=(*documents.warnings, *_left_out(plan)),
            counts={
                "host_tasks": outcome.transcript.host_tasks,
                "round_trips": documents.counts.round_trips,
                "observations": documents.counts.observations,
            },
        )

    def _error(self, outcome: Outcome) -> GpuprepError:
        """Return the error that says why there is no plan at all."""
        transcript = outcome.transcript
        for failure in transcript.failures.values():
            return plan_error(failure)
        if outcome.code:
            error = engine_error(outcome.code, transcript.output, limit_pattern(self.limit))
            given = [part for part in extra_variables(self.variables) if isinstance(part, Path)]
            return encrypted_error(error, (*given, *files_of(self.inventory)))
        return no_hosts_error(describe(self.inventory), transcript.output)


@dataclass(frozen=True, slots=True)
class _Documents:
    """What the action plugins left in the run's directory, secrets masked."""

    plan: Mapping[str, Any] | None
    proofs: tuple[Mapping[str, Any], ...]
    counts: Counts

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the plan says of the run as a whole: patterns that mean nobody."""
        unmatched = (self.plan or {}).get("unmatched", ())
        return (
            *(f"limit: no host of the inventory matches {pattern}" for pattern in unmatched),
            *_by_ssh([self.plan or {}, *self.proofs]),
        )

    @property
    def stop(self) -> str | None:
        """Why waves of hosts were not begun, None when all were."""
        reasons = (proof.get("stop") for proof in self.proofs)
        return next((str(reason) for reason in reasons if reason), None)

    @classmethod
    def read(cls, run_dir: Path, redactor: Redactor, *, strict: bool) -> _Documents:
        """Read the documents; of a run that was stopped, one may be written by half."""
        read = [
            (path, data)
            for path in [*run_dir.glob(PLAN_FILE), *sorted(run_dir.glob(PROOF_FILES))]
            if (data := _read_json(path, redactor.parsed, strict=strict)) is not None
        ]
        plans = [data for path, data in read if path.name == PLAN_FILE]
        return cls(
            plan=plans[0] if plans else None,
            proofs=tuple(data for path, data in read if path.name != PLAN_FILE),
            counts=counts_of(path.read_text() for path in run_dir.glob(f"{PREFIX}*")),
        )


def _announcing_plan(on_event: EventCallback, run_dir: Path) -> EventCallback:
    """Tell the observer, once, that the fleet's plan is made."""
    announced = False

    def observe(event: Event) -> None:
        nonlocal announced
        on_event(event)
        if not announced and event.kind in _AFTER_TASK and (run_dir / PLAN_FILE).exists():
            announced = True
            hosts = (_read_json(run_dir / PLAN_FILE) or {}).get("hosts", {})
            on_event(Event(EventKind.PLAN, event.time, text=_plan_summary(hosts)))

    return observe


def _left_out(plan: Mapping[str, HostReport]) -> Iterator[str]:
    """Return what is to be known of the steps that the tags leave to another run."""
    left = [len(report.left_out) for report in plan.values() if report.left_out]
    if left:
        hosts = f"{len(left)} host{'s' * (len(left) > 1)}"
        yield f"the tags leave {sum(left)} step{'s' * (sum(left) > 1)} of {hosts} to another run"


def _with_roles(proof: Mapping[str, HostReport], roles: Mapping[str, str]) -> dict[str, HostReport]:
    """Return the proof with the role of each failed task; Ansible does not tell a rescue of it."""
    return {
        name: replace(report, failure=replace(report.failure, role=roles.get(name)))
        if report.failure
        else report
        for name, report in proof.items()
    }


def _by_ssh(documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Return why hosts were reached by ssh that should have been by another program."""
    reasons: dict[str, dict[str, None]] = {}
    for document in documents:
        for name, reason in document.get("by_ssh", {}).items():
            reasons.setdefault(reason, {})[name] = None
    for reason, names in sorted(reasons.items()):
        shown = ", ".join(sorted(names)[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
        hosts = f"{len(names)} host{'s' * (len(names) > 1)}"
        yield f"transport: {hosts} ({shown}) by ssh, not by asyncssh: {reason}"


def _plan_summary(hosts: Mapping[str, Mapping[str, Any]]) -> str:
    counts = Counter(str(host.get("state")) for host in hosts.values())
    order = dict.fromkeys([*_PLAN_WORDS, *PlanState])
    parts = [f"{counts[s]} {_PLAN_WORDS.get(s, s.value)}" for s in order if counts[s]]
    return f"{len(hosts)} host{'s' * (len(hosts) != 1)}: {', '.join(parts)}"


def _interruption(outcome: Outcome, limit: str | None) -> str | None:
    if outcome.stopped == "timeout":
        return "not finished: the time limit was reached; run again to go on"
    if outcome.stopped == "cancelled":
        return "not finished: the run was cancelled; run again to go on"
    if not outcome.transcript.complete:
        return str(engine_error(outcome.code, outcome.transcript.output, limit))
    return None


def _read_json(
    path: Path, parsed: Callable[[str], Any] = json.loads, *, strict: bool = True
) -> dict[str, Any] | None:
    """Read a JSON object; None for a damaged one, if that may be.

    Args:
        path: its file.
        parsed: gives the data of a text.
        strict: whether a damaged one is an error.

    Raises:
        EngineError: it is damaged.

    """
    try:
        data = parsed(path.read_text(encoding="utf-8"))
    except ValueError as error:
        if strict:
            raise EngineError(f"{path.name} is damaged: {error}") from error
        return None
    if not isinstance(data, dict):
        raise EngineError(f"{path.name} is damaged: expected an object")
    return data


def _documented(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that gpuprep reads."""
    if not given:
        return {}
    from gpuprep.planner.settings import all_options  # noqa: PLC0415 - keeps the start-up short

    return {name: value for name, value in given.items() if name in all_options()}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return f"uid {os.getuid()}"


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "the working directory does not exist any more: change to another"
        ) from None


def _ignore(_event: Event) -> None:
    """Observe nothing."""
