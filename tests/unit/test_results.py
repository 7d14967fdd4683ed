from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.errors import ConfigError, EngineError, ExitCode
from gpuprep.fleet.failures import Failure
from gpuprep.model import FleetResult, HostResult, HostStatus, Step, StepKind, StepStatus
from gpuprep.run.results import host_results, read_reports, refuse_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FILE = Step("conda.file.condarc", "conda", StepKind.CONDARC, "/c/.condarc", "change", "differs")
HOLD = Step("cudnn.hold.libcudnn9", "cudnn", StepKind.HOLD, "libcudnn9", "install", "not held")


def document(**hosts: dict[str, Any]) -> dict[str, Any]:
    return {"schema": 1, "hosts": hosts}


def host(state: str, *steps: Step, **more: str) -> dict[str, Any]:
    return {"state": state, "steps": [asdict(step) for step in steps], **more}


def results(
    plan: dict[str, Any],
    proof: dict[str, Any] | None = None,
    failures: Mapping[str, Failure] | None = None,
    changed: Collection[str] = (),
    *,
    check: bool = False,
) -> dict[str, HostResult]:
    return host_results(
        read_reports((plan,)),
        read_reports(() if proof is None else (proof,)),
        failures or {},
        changed,
        check=check,
    )


def statuses(result: HostResult) -> dict[str, StepStatus]:
    return {step.id: step.status for step in result.steps}


def test_a_converged_host_has_the_state_its_plan_gives_and_is_unchanged() -> None:
    found = results(document(a=host("converged", host_status="ready")))["a"]
    assert (found.state, found.changed, found.steps) == (HostStatus.READY, False, ())


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("refused", HostStatus.REFUSED),
        ("unreachable", HostStatus.UNREACHABLE),
        ("failed", HostStatus.FAILED),
    ],
)
def test_a_lost_host_keeps_its_reason_over_later_failures(state: str, expected: HostStatus) -> None:
    plan = document(a=host(state, code="E_X", error="because"))
    found = results(plan, failures={"a": Failure("the play that reports it failed")})["a"]
    assert (found.state, found.code, found.error) == (expected, "E_X", "because")


def test_steps_that_the_proof_no_longer_plans_are_done() -> None:
    plan = document(a=host("drifted", FILE, HOLD))
    found = results(plan, document(a=host("converged", host_status="prepared")))["a"]
    assert statuses(found) == {FILE.id: StepStatus.DONE, HOLD.id: StepStatus.DONE}
    assert (found.state, found.changed) == (HostStatus.PREPARED, True)


def test_steps_that_the_proof_still_plans_have_failed_and_the_host_is_not_proven() -> None:
    plan = document(a=host("drifted", FILE, HOLD))
    proof = document(a=host("drifted", HOLD, host_status="drifted"))
    found = results(plan, proof)
    assert statuses(found["a"]) == {FILE.id: StepStatus.DONE, HOLD.id: StepStatus.FAILED}
    assert found["a"].state is HostStatus.DRIFTED
    assert FleetResult("apply", found).exit_code is ExitCode.NOT_PROVEN


def test_a_step_that_only_the_proof_plans_has_failed() -> None:
    plan = document(a=host("drifted", FILE))
    found = results(plan, document(a=host("drifted", HOLD)))["a"]
    assert statuses(found) == {FILE.id: StepStatus.DONE, HOLD.id: StepStatus.FAILED}


def test_a_host_that_cannot_be_looked_at_again_has_unknown_steps() -> None:
    plan = document(a=host("drifted", FILE))
    found = results(plan, document(a=host("unreachable", error="gone")))["a"]
    assert statuses(found) == {FILE.id: StepStatus.UNKNOWN}
    assert (found.state, found.error) == (HostStatus.UNREACHABLE, "gone")


def test_a_failed_task_fails_its_host_and_says_where() -> None:
    plan = document(a=host("drifted", FILE))
    failure = Failure("E_LOCKED: run 7", task="Take the lock", role="conda", code="E_LOCKED")
    found = results(plan, failures={"a": failure}, changed={"a"})
    assert found["a"].state is HostStatus.FAILED
    assert found["a"].error == "conda: Take the lock: E_LOCKED: run 7"
    assert found["a"].changed
    assert FleetResult("apply", found).exit_code is ExitCode.LOCKED


def test_what_the_proof_found_counts_more_than_the_task_that_fails_the_host_for_it() -> None:
    plan = document(a=host("drifted", HOLD))
    proof = document(a=host("drifted", HOLD, host_status="drifted"))
    found = results(plan, proof, {"a": Failure("still differs")})["a"]
    assert (found.state, found.error) == (HostStatus.DRIFTED, "still differs")


FAILED_CHECK = {"id": "cuda.run", "status": "failed", "detail": "no kernel ran"}


def test_a_host_that_is_as_planned_but_fails_its_checks_is_not_proven() -> None:
    plan = document(a=host("drifted", FILE))
    proof = document(a={**host("converged", host_status="failed"), "checks": [FAILED_CHECK]})
    found = results(plan, proof, {"a": Failure("cuda.run: no kernel ran")})
    assert (found["a"].state, found["a"].changed) == (HostStatus.FAILED, True)
    assert FleetResult("apply", found).exit_code is ExitCode.NOT_PROVEN


def test_a_host_that_failed_on_the_way_is_not_merely_unproven() -> None:
    plan = document(a={**host("drifted", FILE), "checks": [FAILED_CHECK]})
    found = results(plan, failures={"a": Failure("disk full")})
    assert FleetResult("apply", found).exit_code is ExitCode.ALL_HOSTS_FAILED


@pytest.mark.parametrize("verb", ["verify", "status"])
def test_verify_and_status_give_the_state_that_the_checks_show(verb: str) -> None:
    broken = {**host("drifted", FILE, host_status="failed"), "checks": [FAILED_CHECK]}
    hosts = read_reports((document(a=broken, b=host("drifted", FILE)),))
    found = host_results(hosts, {}, {"a": Failure("told")}, verb=verb)
    assert (found["a"].state, found["b"].state) == (HostStatus.FAILED, HostStatus.DRIFTED)
    assert not found["b"].changed
    assert FleetResult(verb, found).exit_code is ExitCode.NOT_PROVEN


def test_a_plan_is_about_what_apply_would_do_not_about_checks() -> None:
    broken = {**host("drifted", FILE, host_status="failed"), "checks": [FAILED_CHECK]}
    found = host_results(read_reports((document(a=broken),)), {}, {}, verb="plan")
    assert (found["a"].state, found["a"].changed) == (HostStatus.DRIFTED, True)
    assert FleetResult("plan", found).exit_code is ExitCode.OK


def test_a_connection_lost_on_the_way_makes_the_host_unreachable() -> None:
    failures = {"a": Failure("gone", unreachable=True)}
    found = results(document(a=host("drifted", FILE)), failures=failures)["a"]
    assert found.state is HostStatus.UNREACHABLE


def test_a_drifted_host_without_proof_or_failure_is_unknown_and_says_why() -> None:
    plan = document(a=host("drifted", FILE))
    hosts = read_reports((plan,))
    found = host_results(hosts, {}, {}, interruption="cancelled")["a"]
    assert (found.state, found.error) == (HostStatus.UNKNOWN, "cancelled")
    assert statuses(found) == {FILE.id: StepStatus.UNKNOWN}


def test_check_mode_changes_nothing_and_ignores_a_proof() -> None:
    plan = document(a=host("drifted", FILE), b=host("converged", host_status="ready"))
    proof = document(a=host("converged", host_status="ready"))
    found = results(plan, proof, check=True, changed={"b"})
    assert found["a"].state is HostStatus.DRIFTED
    assert statuses(found["a"]) == {FILE.id: StepStatus.PLANNED}
    assert (found["a"].changed, found["b"].changed) == (True, False)
    assert FleetResult("apply", found, check=True).exit_code is ExitCode.OK


def test_hosts_keep_the_order_of_the_plan() -> None:
    plan = document(z=host("converged"), a=host("converged"))
    assert list(results(plan)) == ["z", "a"]


def test_a_host_that_failed_outside_the_plan_is_reported() -> None:
    found = results(document(), failures={"a": Failure("no")})
    assert found["a"].state is HostStatus.FAILED


def test_batches_of_proof_are_merged() -> None:
    merged = read_reports([document(a=host("converged")), document(b=host("drifted"))])
    assert set(merged) == {"a", "b"}


ROLE_FAILED = {"role": "conda", "task": "Install", "message": "[E_DISK] full", "code": "E_DISK"}


def test_a_failed_role_keeps_its_reason_and_its_host_the_checks_of_afterwards() -> None:
    plan = document(
        a={**host("drifted", FILE, HOLD), "checks": [{**FAILED_CHECK, "detail": "old"}]}
    )
    proof = document(
        a={**host("drifted", HOLD), "checks": [FAILED_CHECK], "failure": ROLE_FAILED},
    )
    found = results(plan, proof, {"a": Failure("conda: Install: [E_DISK] full")})["a"]
    assert (found.state, found.code) == (HostStatus.FAILED, "E_DISK")
    assert found.error == "conda: Install: [E_DISK] full"
    assert [check.detail for check in found.checks] == ["no kernel ran"]
    assert statuses(found) == {FILE.id: StepStatus.DONE, HOLD.id: StepStatus.FAILED}


def test_a_host_that_is_lost_after_its_role_failed_tells_both() -> None:
    proof = document(a=host("unreachable", error="no route") | {"failure": ROLE_FAILED})
    found = results(document(a=host("drifted", FILE)), proof)["a"]
    assert found.state is HostStatus.UNREACHABLE
    assert found.error == "conda: Install: [E_DISK] full; then: no route"


def test_a_host_that_was_touched_has_failed_though_it_would_be_refused_now() -> None:
    """Refused means that nothing was changed."""
    proof = document(a=host("refused", code="E_PACKAGES_BROKEN", error="half"))
    found = results(document(a=host("drifted", FILE)), proof)["a"]
    assert (found.state, found.code) == (HostStatus.FAILED, "E_PACKAGES_BROKEN")
    proof["hosts"]["a"]["failure"] = ROLE_FAILED
    found = results(document(a=host("drifted", FILE)), proof)["a"]
    assert (found.state, found.code) == (HostStatus.FAILED, "E_DISK")
    assert found.error == "conda: Install: [E_DISK] full; then: half"


def test_checks_from_before_the_changes_are_not_told_of_a_host_that_nobody_saw_afterwards() -> None:
    plan = document(a={**host("drifted", FILE), "checks": [FAILED_CHECK]})
    found = results(plan, failures={"a": Failure("gone", unreachable=True)})["a"]
    assert found.checks == ()


def test_a_document_of_another_version_is_an_error_that_names_the_key() -> None:
    with pytest.raises(EngineError, match=r"steps: expected a list"):
        read_reports([document(a={"state": "drifted", "steps": "none"})])


def test_settings_that_fit_no_host_are_the_callers_mistake() -> None:
    wrong = {"state": "refused", "code": "E_CONFIG", "error": "conda_version: no such value"}
    right = host("converged")
    with pytest.raises(ConfigError, match="conda_version"):
        refuse_settings(read_reports([document(a=wrong, b=wrong)]))
    refuse_settings(read_reports([document(a=wrong, b=right)]))
    refuse_settings({})
