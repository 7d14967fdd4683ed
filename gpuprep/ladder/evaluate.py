"""From evidence to results: apply every rule, then say what state the host is in. Pure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

# The rules register themselves where they are defined.
from gpuprep.ladder import (  # noqa: F401
    rules_burn,
    rules_driver,
    rules_nvml,
    rules_programs,
    rules_stack,
)
from gpuprep.ladder.checks import BY_ID, CHECKS, Check
from gpuprep.ladder.evidence import Evidence, Expectation
from gpuprep.ladder.findings import Finding, failed, passed, skipped
from gpuprep.ladder.registry import RULES
from gpuprep.ladder.rules_driver import NO_DRIVER
from gpuprep.model import CheckResult, CheckStatus, HostStatus, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gpuprep.model import Stack
    from gpuprep.observe import HostObservation

_log = logging.getLogger(__name__)
REBOOT: Final = "reboot.survived"
NO_MODULE: Final = "the driver module is not loaded"
NO_GPU: Final = "no NVIDIA GPU on this host"
NOT_UNDERSTOOD: Final = "what the host answered cannot be judged"


def evaluate(
    observation: HostObservation,
    stack: Stack | None,
    tier: Tier,
    expect: Expectation | None = None,
) -> tuple[CheckResult, ...]:
    """Return one result per check of the ladder, in its order.

    Args:
        observation: what the host said, with the probe's answer in it when it ran.
        stack: the resolved stack; None on hosts that gpuprep never prepared.
        tier: what was tried.
        expect: catalog knowledge; None = nothing known beyond stack and host.

    Returns:
        Checks that were not tried are skipped, with the reason.

    """
    host = Evidence(observation, stack, expect or Expectation(), tier)
    results = [_result(check, _find(check, host), host) for check in CHECKS if check.id != REBOOT]
    results.append(_result(BY_ID[REBOOT], _survived(host, results), host))
    return tuple(results)


def _find(check: Check, host: Evidence) -> Finding:
    if check.needs_gpu and not host.gpus and not (check.id == "pci.count" and host.expect.shape):
        return skipped(NO_GPU)
    if check.needs_module and host.module_version is None:
        return skipped(NO_MODULE if host.driver_wanted else NO_DRIVER)
    try:
        return RULES[check.id](host)
    except Exception as error:  # noqa: BLE001 - an odd answer is that check's failure, never the run's
        _log.exception("the rule of %s gave up", check.id)
        return failed(f"{NOT_UNDERSTOOD}: {type(error).__name__}: {error}"[:300])


def _result(check: Check, finding: Finding, host: Evidence) -> CheckResult:
    status = {
        "passed": CheckStatus.PASSED,
        "skipped": CheckStatus.SKIPPED,
        "failed": CheckStatus.FAILED if check.severity == "error" else CheckStatus.WARNED,
    }[finding.outcome]
    return CheckResult(
        id=check.id,
        status=status,
        detail=finding.detail,
        expected=finding.expected,
        observed=finding.observed,
        evidence=finding.evidence,
        remedy=(finding.remedy or check.remedy) if finding.outcome == "failed" else None,
        seconds=_seconds(check, finding, host),
    )


def _seconds(check: Check, finding: Finding, host: Evidence) -> float | None:
    """Return how long the host was busy with a check; None where nothing was tried."""
    if check.tier is not Tier.QUICK and host.tier is Tier.QUICK:
        return None  # taken from an earlier run
    if finding.seconds is not None or finding.outcome == "skipped":
        return finding.seconds
    spent = [seconds for part in check.looks_at if (seconds := host.seconds(part)) is not None]
    return round(sum(spent), 4) if spent else None


def _survived(host: Evidence, results: Sequence[CheckResult]) -> Finding:
    """Judge: the same driver was proven in an earlier boot, and all holds in this one."""
    if host.no_driver_to_judge:
        return skipped(NO_DRIVER)
    now = host.answer("identity")
    before = host.proof
    if not before.get("boot_id") or before.get("module") != now.get("module"):
        if before.get("boot_id") and now.get("module") is None:
            return failed(
                f"driver {before.get('module')} was proven before the reboot, none runs now",
                expected=str(before.get("module")),
                observed="no module",
            )
        return skipped("this driver has not been proven in an earlier boot")
    if before.get("boot_id") == now.get("boot_id") and not before.get("earlier_boot"):
        return skipped("not rebooted since this driver was proven")
    broken = [
        result.id
        for result in results
        if result.status is CheckStatus.FAILED and BY_ID[result.id].made_at_boot
    ]
    facts = {"evidence": f"boot {now.get('boot_id')}, proven before in another boot"}
    if broken:
        return failed(f"since the reboot fail: {', '.join(broken)}", **facts)
    return passed(f"driver {now.get('module')} came back after a reboot", **facts)


def gpu_proven(checks: Iterable[CheckResult]) -> bool:
    """Return whether the rungs that prove a GPU were tried and passed, now or by a valid proof."""
    status = {check.id: check.status for check in checks}
    return all(status.get(check.id) is CheckStatus.PASSED for check in CHECKS if check.proof)


def state_of(
    checks: Iterable[CheckResult], *, plan_is_empty: bool, has_gpu_proof: bool | None = None
) -> HostStatus:
    """Return the state that a host is in.

    A broken GPU is ``failed`` even when the plan is not empty: applying cannot fix it. What
    applying can fix makes the host ``drifted`` as long as there is something to apply.

    Args:
        checks: the ladder's results.
        plan_is_empty: whether nothing differs from the desired stack.
        has_gpu_proof: None = judged from the checks.

    """
    results = tuple(checks)
    broken = [check for check in results if check.status is CheckStatus.FAILED]
    if any(not BY_ID[check.id].fixed_by_apply for check in broken if check.id in BY_ID):
        return HostStatus.FAILED
    if not plan_is_empty:
        return HostStatus.DRIFTED
    if broken:
        return HostStatus.FAILED
    proven = gpu_proven(results) if has_gpu_proof is None else has_gpu_proof
    return HostStatus.READY if proven else HostStatus.PREPARED
