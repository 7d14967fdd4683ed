"""The Python interface: provision, plan, apply, verify, status, run_jobs, workshop, explain.

Most calls are one run of one playbook, in any thread, and return a
:class:`FleetResult`. What happens to single hosts is part of the result and never raised; errors
are raised only when there is no result to speak of: wrong input, no inventory, no engine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Unpack

# Results that few callers need are annotated as attributes of the package, which imports them when
# somebody asks for the hints.
import gpuprep  # noqa: TC001 - typing.get_type_hints asks for it
from gpuprep.errors import ConfigError, ExitCode
from gpuprep.model import FleetResult, HostFacts, Refusal, Stack, Tier
from gpuprep.run import transports
from gpuprep.run.arguments import check_arguments, checked_options
from gpuprep.run.execution import Run
from gpuprep.run.inventories import Source  # noqa: TC001 - as above
from gpuprep.run.options import (
    Cancel,
    EventCallback,
    Limit,
    RunOptions,
    Variables,
    access_arguments,
    extra_variables,
    kind_of,
    tags_environment,
)


def plan(
    inventory: Source | None = None,
    *,
    limit: Limit | None = None,
    variables: Variables | None = None,
    on_event: EventCallback | None = None,
    cancel: Cancel | None = None,
    **options: Unpack[RunOptions],
) -> FleetResult:
    """Say what :func:`apply` would do, host by host; touch nothing.

    Takes, returns and raises what :func:`apply` does.
    """
    given = checked_options(plan, options)
    run = Run("plan", inventory, limit, variables, on_event, cancel, given)
    return run.execute()


def apply(  # noqa: PLR0913 - the public interface
    inventory: Source | None = None,
    *,
    limit: Limit | None = None,
    check: bool = False,
    variables: Variables | None = None,
    on_event: EventCallback | None = None,
    cancel: Cancel | None = None,
    **options: Unpack[RunOptions],
) -> FleetResult:
    """Bring every host to its desired state and prove it.

    Args:
        inventory: a path (file, directory, script, plugin configuration), several of them,
            ``"host1,host2"``, ``"localhost"`` for this machine, or Ansible's inventory structure.
            None takes the one that Ansible's own configuration names.
        limit: host pattern that narrows the inventory; or a list of hosts, each of which must be
            there. What else matches no host is told in the result's warnings.
        check: only say what would be done.
        variables: settings (role inputs) and other variables that win over the inventory's; a
            mapping, or a sequence of mappings and files of which later ones win.
        on_event: told about what happens, in the calling thread. What it raises is logged.
        cancel: an event, or a callable, that is looked at about once a second; when it is set
            (true), the run is stopped and its processes are ended. Running again goes on.
        options: see :class:`RunOptions`.

    Returns:
        What happened, host by host; also when hosts failed, and when the run was cancelled.

    Raises:
        ConfigError: an argument, a variable or a file is wrong. Nothing was touched.
        InventoryError: the inventory cannot be read or lists no hosts.
        EngineError: Ansible cannot work.

    """
    given = checked_options(apply, options)
    run = Run("apply", inventory, limit, variables, on_event, cancel, given, check=check)
    return run.execute()


def verify(  # noqa: PLR0913 - the public interface
    inventory: Source | None = None,
    *,
    tier: Tier | str = Tier.QUICK,
    sample: int | None = None,
    limit: Limit | None = None,
    variables: Variables | None = None,
    on_event: EventCallback | None = None,
    cancel: Cancel | None = None,
    **options: Unpack[RunOptions],
) -> FleetResult:
    """Climb the verification ladder on every host, prepared by gpuprep or not.

    Args:
        inventory: as for :func:`apply`.
        tier: ``quick`` (seconds, read-only), ``full`` (compiles and runs programs) or
            ``burn-in`` (bounded stress).
        sample: number of hosts, chosen at random, to climb on; None = all.
        limit: as for :func:`apply`.
        variables: as for :func:`apply`.
        on_event: as for :func:`apply`.
        cancel: as for :func:`apply`.
        options: see :class:`RunOptions`.

    """
    if tier not in list(Tier):
        raise ConfigError(f"tier {tier!r}: choose one of {', '.join(Tier)}")
    check_arguments(sample=sample)
    settings: dict[str, Any] = {"gpuprep_verify_tier": Tier(tier).value}
    if sample is not None:
        settings["gpuprep_verify_sample"] = sample
    given = checked_options(verify, options)
    run = Run("verify", inventory, limit, variables, on_event, cancel, given, settings=settings)
    return run.execute()


def status(
    inventory: Source | None = None,
    *,
    limit: Limit | None = None,
    variables: Variables | None = None,
    on_event: EventCallback | None = None,
    cancel: Cancel | None = None,
    **options: Unpack[RunOptions],
) -> FleetResult:
    """Say in what state every host is, by one look at each; touch nothing.

    Takes, returns and raises what :func:`apply` does.
    """
    given = checked_options(status, options)
    run = Run("status", inventory, limit, variables, on_event, cancel, given)
    return run.execute()


def provision(
    fleet: str | os.PathLike[str] | Mapping[str, Any],
    *,
    check: bool = False,
    state: str | None = None,
    options: Mapping[str, Any] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> gpuprep.ProvisionResult:
    """Bring a fleet of hosts on Oracle Cloud Infrastructure to where it should be.

    What is there is known by its tags: running again launches nothing twice.

    Args:
        fleet: path of a fleet file, or what one says.
        check: only say what would be done.
        state: instead of the fleet's own: ``present``, ``running``, ``stopped`` or ``absent``.
        options: how to sign in, with the names of the inventory plugin's options; they win over
            its environment variables.
        on_progress: told what happens, in words, in several threads.

    Returns:
        What became of each member; also when some could not be launched.

    Raises:
        ConfigError: a setting or a file is wrong, or the fleet cannot be made as it is asked for.
            Nothing was made.
        InventoryError: the cloud does not answer, or does not allow it.

    """
    check_arguments(fleet=fleet, check=check, state=state, options=options, on_progress=on_progress)
    return _provision(fleet, check, state, options, on_progress)


def _provision(  # noqa: PLR0913 - as above
    fleet: str | os.PathLike[str] | Mapping[str, Any],
    check: bool,  # noqa: FBT001 - private
    state: str | None,
    options: Mapping[str, Any] | None,
    on_progress: Callable[[str], None] | None,
    *,
    addresses: bool = False,
) -> gpuprep.ProvisionResult:
    """Do what ``provision`` does, looking up addresses of all members that run if wanted."""
    from gpuprep.oci import Options  # noqa: PLC0415 - the other verbs do not need it
    from gpuprep.oci.options import from_environment  # noqa: PLC0415
    from gpuprep.oci.provision import settings  # noqa: PLC0415
    from gpuprep.oci.provision.fleet import provision as carry_out  # noqa: PLC0415
    from gpuprep.oci.provision.tools import Tools  # noqa: PLC0415

    if isinstance(fleet, Mapping):
        given = settings.Source(dict(fleet))
    else:
        given = settings.load(Path(fleet))
    desired = settings.desired(given.but(state=state) if state is not None else given)
    signed = Options.from_mapping({**from_environment(os.environ), **(options or {})})
    tools = Tools(tell=on_progress) if on_progress else Tools()
    return carry_out(desired, signed, check=check, addresses=addresses, tools=tools)


def run_jobs(  # noqa: PLR0913 - the public interface
    file: str | os.PathLike[str],
    inventory: Source | None = None,
    *,
    state: str = "done",
    check: bool = False,
    limit: Limit | None = None,
    variables: Variables | None = None,
    on_event: EventCallback | None = None,
    cancel: Cancel | None = None,
    **options: Unpack[RunOptions],
) -> gpuprep.JobsResult:
    """Run jobs of Faceswap on hosts that have it, and bring their labelled videos back.

    A job that was stopped goes on where it was; what is done is not done again.

    Args:
        file: of jobs, see ``docs/workshop.md``.
        inventory: as for :func:`apply`.
        state: ``done`` waits for the videos, ``started`` does not, ``stopped`` stops the jobs.
        check: only say what would be done.
        limit: as for :func:`apply`.
        variables: as for :func:`apply`.
        on_event: as for :func:`apply`.
        cancel: as for :func:`apply`; the jobs themselves go on.
        options: see :class:`RunOptions`.

    Returns:
        What became of the jobs, host by host; also when some failed.

    Raises:
        JobsError: the jobs are refused: a ConfigError that tells all reasons. Nothing was copied.
        ConfigError: an argument, a variable or a file is wrong. Nothing was touched.
        InventoryError: the inventory cannot be read or lists no hosts.
        EngineError: Ansible cannot work.

    """
    from gpuprep.run.jobs import JobsRun  # noqa: PLC0415 - the other verbs do not need it
    from gpuprep.workloads.faceswap import decide, jobs, problems  # noqa: PLC0415

    if state not in ("done", "started", "stopped"):
        raise ConfigError(f"state {state!r}: choose one of done, started, stopped")
    given = checked_options(run_jobs, options)
    check_arguments(file=file)
    described = jobs.load(Path(file))
    if state != "stopped":
        problems.raise_for(decide.output_problems(described.jobs))
    settings = {
        "gpuprep_faceswap_file": str(Path(file).expanduser().absolute()),
        "gpuprep_faceswap_state": state,
    }
    run = JobsRun(
        "faceswap_jobs", inventory, limit, variables, on_event, cancel, given, check, settings
    )
    return run.carry_out()


def workshop(  # noqa: PLR0911, PLR0913 - the public interface; a part that fails ends it
    fleet: str | os.PathLike[str],
    jobs: str | os.PathLike[str],
    *,
    state: str = "done",
    check: bool = False,
    variables: Variables | None = None,
    oci_options: Mapping[str, Any] | None = None,
    on_progress: Callable[[str], None] | None = None,
    on_event: EventCallback | None = None,
    cancel: Cancel | None = None,
    **options: Unpack[RunOptions],
) -> gpuprep.WorkshopResult:
    """Launch the hosts of a fleet, prepare them, install Faceswap, and run its jobs.

    Every part finds what is there: running again does what is left, and nothing twice.

    Args:
        fleet: path of a fleet file, as for :func:`provision`.
        jobs: path of a file of jobs, as for :func:`run_jobs`. Checked before a host is launched.
        state: ``done``; ``stopped`` stops the jobs, which save, then the hosts, which then cost no
            GPU time; ``absent`` terminates the hosts.
        check: only say what would be done, as far as hosts are there to be asked.
        variables: as for :func:`apply`.
        oci_options: as ``options`` of :func:`provision`.
        on_progress: told in words how provisioning goes, in several threads.
        on_event: as for :func:`apply`.
        cancel: as for :func:`apply`.
        options: see :class:`RunOptions`.

    Returns:
        What became of each part, up to the first one that is not right.

    Raises:
        JobsError: the jobs are refused. Nothing was launched.
        ConfigError: as for :func:`provision` and :func:`apply`.
        InventoryError: as for :func:`provision`.
        EngineError: as for :func:`apply`.

    """
    from gpuprep.oci.provision import settings as fleet_settings  # noqa: PLC0415
    from gpuprep.run.workshop import COMPONENTS, WorkshopResult, inventory_of  # noqa: PLC0415
    from gpuprep.workloads.faceswap import decide, problems  # noqa: PLC0415
    from gpuprep.workloads.faceswap.jobs import load  # noqa: PLC0415

    if state not in ("done", "stopped", "absent"):
        raise ConfigError(f"state {state!r}: choose one of done, stopped, absent")
    given = checked_options(workshop, options)
    check_arguments(
        fleet=fleet,
        jobs=jobs,
        check=check,
        oci_options=oci_options,
        on_progress=on_progress,
        on_event=on_event,
        cancel=cancel,
        **given,
    )
    _check_before_launch(variables, given)
    of_jobs: RunOptions = {**given}
    of_jobs.pop("diff", None)
    desired = fleet_settings.desired(fleet_settings.load(Path(fleet)))
    described = load(Path(jobs))
    if state == "done":
        problems.raise_for(decide.output_problems(described.jobs))
        expected = [f"{desired.fleet}-{number:03d}" for number in range(1, desired.count + 1)]
        described.on("", expected)
    clock = _Clock()
    seconds: dict[str, float] = {}

    def places(state: str | None, *, check: bool = check) -> gpuprep.ProvisionResult:
        return _provision(fleet, check, state, oci_options, on_progress, addresses=True)

    if state == "absent":
        gone = places(state)
        return WorkshopResult(provision=gone, seconds={"provision": clock()})
    there = places(None, check=check or state == "stopped")
    seconds["provision"] = clock()
    inventory = inventory_of(there, desired)
    names = tuple(inventory["all"]["hosts"])
    if state == "stopped" and not names:  # none of them runs
        return WorkshopResult(provision=places("stopped"), seconds=seconds)
    if there.exit_code is not ExitCode.OK or not names:
        return WorkshopResult(provision=there, seconds=seconds)
    if state == "stopped":
        stopped = run_jobs(
            jobs,
            inventory,
            state="stopped",
            check=check,
            variables=variables,
            on_event=on_event,
            cancel=cancel,
            **of_jobs,
        )
        seconds["jobs"] = clock()
        if stopped.exit_code is not ExitCode.OK:
            return WorkshopResult(there, None, stopped, seconds)
        asleep = places("stopped")
        seconds["provision"] += clock()
        return WorkshopResult(asleep, None, stopped, seconds)
    extra = [variables] if isinstance(variables, Mapping) else list(variables or ())
    wanted = [{"gpuprep_components": list(COMPONENTS)}, *extra]
    prepared = apply(
        inventory, check=check, variables=wanted, on_event=on_event, cancel=cancel, **given
    )
    seconds["prepare"] = clock()
    if prepared.exit_code is not ExitCode.OK or check:
        return WorkshopResult(there, prepared, None, seconds)
    done = run_jobs(
        jobs, inventory, variables=variables, on_event=on_event, cancel=cancel, **of_jobs
    )
    seconds["jobs"] = clock()
    return WorkshopResult(there, prepared, done, seconds)


def _check_before_launch(variables: Variables | None, options: RunOptions) -> None:
    """Refuse what the runs would refuse, before there are hosts that cost money."""
    extra_variables(variables)
    access = options.get("access")
    if access is not None:
        access_arguments(access)
    transport = options.get("transport")
    if transport is not None:
        transports.check(transport)
    parts: RunOptions = {**options, "diff": False}  # which the preparation has
    tags_environment("faceswap_jobs", parts)


def explain(
    host: str | HostFacts, *, os: str | None = None, variables: Mapping[str, Any] | None = None
) -> Stack | Refusal:
    """Return the stack that a host would get, with the reason for each choice, or the refusal.

    It is what the command of this name tells. No host is touched, and nothing is asked for.

    Args:
        host: an OCI shape (``"BM.GPU.H100.8"``), or what is known of a host.
        os: the host's system, as the catalog has it (``"debian-12"``); for a shape.
        variables: settings (role inputs), as for :func:`apply`.

    Raises:
        ConfigError: an argument or a variable is wrong, or the shape is not in the catalog.

    """
    from gpuprep.planner.explained import explained  # noqa: PLC0415 - no other verb needs it

    if not isinstance(host, str | HostFacts) or not host:
        raise ConfigError(f"host: expected a shape or gpuprep.HostFacts, found {kind_of(host)}")
    check_arguments(os=os)
    if not isinstance(variables, Mapping | None):
        raise ConfigError(f"variables: expected a mapping, found {kind_of(variables)}")
    return explained(host, os, variables or {})


class _Clock:
    """Tells seconds since it was asked last."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self) -> float:
        began, self._began = self._began, time.monotonic()
        return round(self._began - began, 1)
