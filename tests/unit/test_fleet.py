"""Decisions about a fleet: waves, policy, work, verdicts, counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from gpuprep.errors import ConfigError
from gpuprep.fleet.counters import counts_of
from gpuprep.fleet.failures import Failure, failure_code, failure_message
from gpuprep.fleet.policy import VARIABLES, observe_seconds, one_value, policy_of, stop_reason
from gpuprep.fleet.report import HostReport
from gpuprep.fleet.verdicts import VERBS, Verb, is_foreign, report_of, work_on
from gpuprep.fleet.waves import waves
from gpuprep.ladder.checks import APPLY, CHECKS, OPERATOR
from gpuprep.model import CheckResult, CheckStatus, HostStatus, PlanState, Step, StepKind, Tier
from gpuprep.model.codec import decode
from gpuprep.planner import HostPlan

HOSTS = tuple("abcdefghij")
STEP = Step("conda.file.condarc", "conda", StepKind.CONDARC, "/c/.condarc", "change", "differs")


# --- waves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "sizes"),
    [
        ("100%", [10]),
        ("25%", [2, 2, 2, 2, 2]),
        ("1%", [1] * 10),
        (4, [4, 4, 2]),
        ("4", [4, 4, 2]),
        (0, [10]),
        ([1, 3], [1, 3, 3, 3]),
        (["1", "50%"], [1, 5, 4]),
        ("1,50%", [1, 5, 4]),
        ([2, 0], [2, 8]),
        (99, [10]),
    ],
)
def test_waves_are_as_long_as_the_batch_says_and_hold_every_host_once(
    batch: object, sizes: list[int]
) -> None:
    found = waves(HOSTS, batch)
    assert [len(wave) for wave in found] == sizes
    assert sum(found, ()) == HOSTS


@pytest.mark.parametrize("batch", ["", "many", -1, "-1", "5 hosts", [], [1, "x"], True, None, 1.5])
def test_a_batch_that_makes_no_sense_names_its_variable(batch: object) -> None:
    with pytest.raises(ConfigError, match="gpuprep_batch"):
        waves(HOSTS, batch)


def test_no_hosts_make_no_wave() -> None:
    assert waves((), 3) == ()


# --- policy ---------------------------------------------------------------------------------------


def test_the_policy_of_a_run_is_that_of_all_its_hosts() -> None:
    values = {"gpuprep_batch": 5, "gpuprep_verify_tier": "full", "gpuprep_verify_sample": 2}
    policy = policy_of({"a": values, "b": dict(values)})
    assert (policy.batch, policy.verify_tier, policy.verify_sample) == (5, Tier.FULL, 2)
    assert policy.max_fail_percentage == 100


@pytest.mark.parametrize("variable", VARIABLES)
def test_hosts_that_disagree_are_named_with_their_values(variable: str) -> None:
    with pytest.raises(ConfigError, match=rf'{variable}.*"x" on a, b, c and 1 more; "y" on e'):
        one_value(variable, {**dict.fromkeys("abcd", "x"), "e": "y"})


def test_a_host_that_does_not_say_means_the_default() -> None:
    with pytest.raises(ConfigError, match=r'gpuprep_batch.*1 on a; "100%" on b'):
        policy_of({"a": {"gpuprep_batch": 1}, "b": {}})
    assert policy_of({"a": {"gpuprep_batch": "100%"}, "b": {}}).batch == "100%"


@pytest.mark.parametrize(
    "values",
    [{"gpuprep_max_fail_percentage": 101}, {"gpuprep_verify_sample": -1}, {"gpuprep_batch": "x"}],
)
def test_a_policy_out_of_range_names_its_variable(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        policy_of({"a": values})


def test_a_host_has_at_least_a_second_to_answer() -> None:
    assert observe_seconds({"gpuprep_observe_timeout": 5}) == 5
    with pytest.raises(ConfigError, match="gpuprep_observe_timeout"):
        observe_seconds({"gpuprep_observe_timeout": 0})


@pytest.mark.parametrize(
    ("allowed", "failed", "stops"),
    [(100, "ab", False), (50, "a", False), (49, "a", True), (0, "", False), (0, "a", True)],
)
def test_a_wave_stops_the_run_when_more_than_the_allowed_part_failed(
    allowed: int, failed: str, *, stops: bool
) -> None:
    assert bool(stop_reason(allowed, "ab", failed)) is stops


# --- what is done and told ------------------------------------------------------------------------


def check(status: str = "failed", remedy: str | None = APPLY, name: str = "pci.gpu") -> CheckResult:
    return CheckResult(name, CheckStatus(status), "it is so", remedy=remedy)


@dataclass(frozen=True)
class Part:
    steps: tuple[Step, ...] = ()


def plan(state: PlanState = PlanState.DRIFTED, **more: Any) -> HostPlan:
    parts = {"gpu_driver": Part(), "conda": Part((STEP,) if state is PlanState.DRIFTED else ())}
    return HostPlan(state, roles=parts, **more)  # type: ignore[arg-type]


REFUSED = HostPlan(PlanState.REFUSED, "E_DISK", "no room")


@pytest.mark.parametrize("verb", VERBS)
def test_only_what_differs_is_worked_on(verb: Verb) -> None:
    for state, roles in ((PlanState.DRIFTED, ("conda",)), (PlanState.CONVERGED, ())):
        report = report_of(plan(state), (), verb)
        assert work_on(plan(state), report, verb).roles == roles
    assert work_on(REFUSED, report_of(REFUSED, (), verb), verb).roles == ()


def test_in_full_means_all_roles_but_not_of_a_host_that_is_refused() -> None:
    whole = plan(PlanState.CONVERGED)
    report = report_of(whole, (), "apply")
    assert work_on(whole, report, "apply", in_full=True).roles == ("gpu_driver", "conda")
    refused = report_of(REFUSED, (), "apply")
    assert work_on(REFUSED, refused, "apply", in_full=True).roles == ()


@pytest.mark.parametrize(
    ("verb", "drifted", "broken"),
    [
        ("plan", "", ""),
        ("apply", "", ""),
        ("status", "differs", "pci"),
        ("verify", "differs", "pci"),
    ],
)
def test_verbs_that_judge_fail_hosts_that_differ_or_are_broken(
    verb: Verb, drifted: str, broken: str
) -> None:
    differs = work_on(plan(), report_of(plan(), (), verb), verb).unfit
    assert drifted in differs
    assert bool(differs) is bool(drifted)
    well = plan(PlanState.CONVERGED)
    fails = work_on(well, report_of(well, (check(),), verb), verb).unfit
    assert broken in fails
    assert bool(fails) is bool(broken)
    assert "E_DISK" in work_on(REFUSED, report_of(REFUSED, (), verb), verb).unfit


def test_a_driver_of_somebody_else_is_judged_by_its_checks_only() -> None:
    assert is_foreign({"driver": "570"}, {"/etc/x": None})
    assert not is_foreign({"driver": "570"}, {"/etc/x": {"kind": "file"}})
    assert not is_foreign({}, {})
    for verb, state in (("verify", "converged"), ("status", "converged"), ("plan", "drifted")):
        report = report_of(plan(), (), verb, foreign=True)  # type: ignore[arg-type]
        assert (report.state, bool(report.steps)) == (state, state == "drifted")


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_is_told_to_apply_by_apply_or_beside_a_refusal(verb: Verb) -> None:
    checks = (check(), check(remedy=f"{APPLY} It does more."), check(remedy=OPERATOR))
    for host in (plan(), plan(PlanState.CONVERGED), REFUSED):
        told = [c.remedy for c in report_of(host, checks, verb).checks]
        silent = verb == "apply" or host is REFUSED
        assert told == ([None, None, OPERATOR] if silent else [c.remedy for c in checks])


def test_what_else_helps_is_still_told_where_apply_is_not() -> None:
    checks = [check(remedy=known.remedy) for known in CHECKS]
    told = report_of(REFUSED, checks, "plan").checks
    assert not [c.remedy for c in told if "gpuprep apply" in (c.remedy or "")]
    (link,) = report_of(REFUSED, [check(remedy=f"Set the link. {APPLY}")], "plan").checks
    assert link.remedy == "Set the link."


@pytest.mark.parametrize("state", PlanState)
def test_every_report_has_a_state_and_comes_back_from_its_stored_form(state: PlanState) -> None:
    whole = report_of(
        HostPlan(state, "E_X", "because"), (check("passed", None),), "apply", failure=Failure("no")
    )
    assert whole.host_status is not HostStatus.UNKNOWN
    assert decode(HostReport, whole.to_dict()) == whole


def test_the_verdict_is_the_first_reason_that_there_is() -> None:
    failed = Failure("[E_DISK] full", "Install", "conda", "E_DISK")
    assert report_of(plan(), (), "apply", failure=failed).verdict == "conda: Install: [E_DISK] full"
    assert report_of(REFUSED, (), "apply").verdict == "refused [E_DISK]: no room"
    assert report_of(plan(), (check(),), "apply").verdict.startswith("differs: conda.file")
    converged = plan(PlanState.CONVERGED)
    assert report_of(converged, (check(),), "apply").verdict == "pci.gpu: it is so."
    assert report_of(converged, (check("passed"),), "apply").verdict == ""


def test_the_message_of_a_failed_task_is_clean_and_hides_what_the_task_hides() -> None:
    result = {"msg": "bad \x1b[2J", "code": "E_X"}
    assert failure_message(result) == "bad"
    assert failure_code(result, "") == "E_X"
    assert failure_code({}, "[E_LOCKED] by") == "E_LOCKED"
    assert "hidden" in failure_message({"msg": "secret", "_ansible_no_log": True})


def test_commands_are_counted_line_by_line() -> None:
    counts = counts_of(["observation\nconverge\nlease\n", "observation\n"])
    assert (counts.round_trips, counts.observations) == (4, 2)
