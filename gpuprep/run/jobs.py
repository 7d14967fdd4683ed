"""Jobs of a workload on hosts: one run of one playbook, and where each job is afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping  # noqa: TC003 - typing.get_type_hints asks for it
from dataclasses import dataclass, field
from typing import Any, Final

from gpuprep.errors import ExitCode
from gpuprep.report.schema import JOBS
from gpuprep.run.ansible_errors import engine_error
from gpuprep.run.directory import run_directory
from gpuprep.run.execution import Run
from gpuprep.run.options import limit_pattern

ANSWERS: Final = "jobs-*.json"  # written by the action into the run's directory


@dataclass(frozen=True, slots=True)
class HostJobs:
    """What became of the jobs of one host.

    Attributes:
        name: inventory name.
        changes: what was done, in words; with ``check``, what would be.
        jobs: where each job is, as JSON types, by name.
        code: stable code of why they were refused or failed.
        error: the same in words.

    """

    name: str
    changes: tuple[str, ...] = ()
    jobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    code: str | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all of them are as they should be."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class JobsResult:
    """What became of jobs, host by host.

    Attributes:
        hosts: the hosts that have jobs, by name.
        cancelled: the run was stopped before its end; the jobs go on.

    """

    hosts: Mapping[str, HostJobs]
    cancelled: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return any(host.changes for host in self.hosts.values())

    @property
    def exit_code(self) -> ExitCode:
        """What the command line exits with."""
        if self.cancelled:
            return ExitCode.CANCELLED
        failed = [host for host in self.hosts.values() if not host.ok]
        if not failed:
            return ExitCode.OK
        every = len(failed) == len(self.hosts)
        return ExitCode.ALL_HOSTS_FAILED if every else ExitCode.SOME_HOSTS_FAILED

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            "schema": 1,
            "verb": JOBS,
            "hosts": {
                name: {
                    "ok": host.ok,
                    "changes": list(host.changes),
                    "jobs": {job: dict(one) for job, one in host.jobs.items()},
                    "code": host.code,
                    "error": host.error,
                }
                for name, host in self.hosts.items()
            },
            "cancelled": self.cancelled,
            "exit_code": int(self.exit_code),
        }


class JobsRun(Run):
    """A run of the playbook of jobs."""

    def carry_out(self) -> JobsResult:
        """Run it.

        Raises:
            ConfigError: no host fits, or an argument is wrong.
            EngineError: Ansible cannot work.

        """
        from gpuprep.run.runner import run_playbook  # noqa: PLC0415 - keeps the start-up short

        with run_directory() as run_dir:
            request = self._request(run_dir)
            outcome = run_playbook(request)
            documents = [json.loads(path.read_text()) for path in sorted(run_dir.glob(ANSWERS))]
        hosts = {}
        for document in documents:
            failed = bool(document.get("failed"))
            hosts[document["host"]] = HostJobs(
                name=document["host"],
                changes=tuple(document["changes"]),
                jobs=document["jobs"],
                code=document.get("code"),
                error=request.redactor.text(document["msg"]) if failed else None,
            )
        for host, failure in outcome.transcript.failures.items():
            if host not in hosts or hosts[host].ok:
                code = failure.code
                hosts[host] = HostJobs(host, code=code, error=failure.message)
        if not hosts and outcome.code and outcome.stopped is None:
            raise engine_error(outcome.code, outcome.transcript.output, limit_pattern(self.limit))
        return JobsResult(dict(sorted(hosts.items())), cancelled=outcome.stopped is not None)
