"""Every rung passes on a healthy host and fails, for its own reason, on a broken one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from verify_cases import CATALOG, failures, healthy, least, stack

from gpuprep.ladder.checks import BY_ID, CHECKS
from gpuprep.ladder.evaluate import NOT_UNDERSTOOD, evaluate, gpu_proven, state_of
from gpuprep.ladder.evidence import Evidence
from gpuprep.ladder.expect import expectation
from gpuprep.ladder.registry import RULES, judges
from gpuprep.model import CheckResult, CheckStatus, Family, HostStatus, Stack, Tier
from gpuprep.model.capabilities import supports

if TYPE_CHECKING:
    from gpuprep.ladder.findings import Finding

BAD = {CheckStatus.FAILED, CheckStatus.WARNED}
PASSED, SKIPPED = CheckStatus.PASSED, CheckStatus.SKIPPED
CASES = failures()
EXPECTED = expectation(CATALOG, Family.DEB)


def bad(checks: dict[str, CheckResult]) -> set[str]:
    return {name for name, result in checks.items() if result.status in BAD}


def test_healthy_host_passes_every_rung() -> None:
    checks = healthy(shape=None).checks(stack())
    untried = {name for name, result in checks.items() if result.status is SKIPPED}
    assert bad(checks) == set()
    # no shape known (so no cluster network), no Secure Boot, no conda in the stack
    assert untried == {"pci.count", "network.firewall", "module.signed", "conda.present"}
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.READY


def test_every_rung_that_was_tried_tells_how_long_the_host_took_for_it() -> None:
    checks = healthy().checks(stack())
    tried = {name for name, check in checks.items() if check.status is not SKIPPED}
    times = {name: check.seconds for name, check in checks.items() if check.seconds is not None}
    assert times.keys() == tried
    own = {
        "fabric.version": 0.01,
        "toolkit.compiles": 3.1,
        "kernel.runs": 2.6,  # the prebuilt on all GPUs at once, the compiled one after it
        "gemm.correct": 1.0,
        "cudnn.runtime": 4.1,
        "cudnn.convolution": 1.0,
        "framework.kernel": 8.0,
        "burn.bandwidth": 0.9,
        "burn.matrix": 59.1,
        "burn.stable": 66.0,
        "burn.peer": 3.3,
    }
    looked = {
        "pci.device": 0.001,
        "module.loaded": 0.032,
        "version.userspace": 0.43,
        "version.packages": 0.05,
        "nvml.answers": 0.41,
        "xid.clean": 0.008,
        "cuda.driver_api": 0.02,
        "reboot.survived": 0.0002,
    }
    assert {name: times[name] for name in (*own, *looked)} == own | looked


def test_what_an_earlier_run_proved_took_no_time_in_this_one() -> None:
    probe = healthy().probe
    kept = {name: probe[name] for name in ("programs", "frameworks")}
    change = dict.fromkeys((f"probe.{name}" for name in (*kept, "burn")), "__delete__")
    proof = {**probe["identity"], **kept, "at": 1}
    checks = healthy({**change, "probe.proof": proof}).checks(stack(), "quick")
    assert checks["kernel.runs"].status is PASSED
    assert checks["kernel.runs"].seconds is None
    assert checks["nvml.answers"].seconds == 0.41


@pytest.mark.parametrize("odd", ["long", True, -1, float("nan"), {}, None])
def test_odd_times_are_none(odd: object) -> None:
    changed = {"probe.timings.xid": odd, "probe.nvml.seconds": odd, "probe.timings.proof": 1}
    checks = healthy(changed).checks(stack())
    assert checks["xid.clean"].seconds is checks["nvml.answers"].seconds is None
    assert checks["reboot.survived"].seconds == 1


def test_healthy_host_without_stack_passes_too() -> None:
    checks = healthy().checks(None)
    assert bad(checks) == set()
    assert checks["conda.present"].status is PASSED
    assert gpu_proven(checks.values())


@pytest.mark.parametrize("case", CASES, ids=[f"{c['check']}: {c['name']}" for c in CASES])
def test_each_failure_is_seen_for_its_own_reason(case: dict[str, Any]) -> None:
    name = case["check"]
    # a stack without conda skips its rung, so hosts with conda are judged without a stack
    wanted = None if name == "conda.present" or case.get("without_stack") else stack()
    checks = healthy(case["change"], case.get("shape")).checks(wanted)
    result = checks[name]
    assert result.status in BAD
    assert (result.status is CheckStatus.WARNED) == (BY_ID[name].severity == "warning")
    assert case["says"] in result.detail
    assert result.remedy == BY_ID[name].remedy
    others = bad(checks) - {name, *case.get("also", ())}
    consequence = others & {"reboot.survived"}  # repeats what failed since the reboot
    assert others == consequence
    if BY_ID[name].severity == "error":
        assert state_of(checks.values(), plan_is_empty=True) is HostStatus.FAILED


def test_every_check_has_a_failing_fixture_and_a_rule() -> None:
    ids = [check.id for check in CHECKS]
    assert len(ids) == len(set(ids))
    assert {case["check"] for case in CASES} == set(ids)
    assert set(RULES) | {"reboot.survived"} == set(ids)


def test_checks_that_need_the_module_need_a_gpu() -> None:
    assert all(check.needs_gpu for check in CHECKS if check.needs_module)
    assert {check.tier for check in CHECKS} == set(Tier)


# The compiler breaks its lines; the second form is a host compiler's.
HEADER_CLASHES = (
    """/usr/include/x86_64-linux-gnu/bits/mathcalls.h(79): error: exception
  specification is incompatible with that of previous function "cospi"
  (declared at line 2601 of
  /usr/local/cuda-12.9/bin/../targets/x86_64-linux/include/crt/math_functions.h)""",
    """error: declaration of 'void sincospi(double, double*, double*)' has a different exception
specifier /usr/local/cuda-12.8/targets/x86_64-linux/include/crt/math_functions.h:5994""",
)
OTHER_ERRORS = (
    "error: #error -- unsupported GNU version! gcc versions later than 15 are not supported!",
    "mine.h(3): error: exception specification is incompatible with that of previous function",
    "crt/math_functions.h: No such file or directory",
)


@pytest.mark.parametrize("said", HEADER_CLASHES)
@pytest.mark.parametrize("name", ["toolkit.compiles", "cudnn.runtime"])
def test_remedy_of_a_header_that_contradicts_the_c_library_names_it(name: str, said: str) -> None:
    remedy = str(compiler_says(said)[name].remedy)
    assert "crt/math_functions.h" in remedy
    assert "W_HOST_GLIBC" in remedy


@pytest.mark.parametrize("said", OTHER_ERRORS)
def test_other_errors_of_the_compiler_have_the_usual_remedy(said: str) -> None:
    for name in ("toolkit.compiles", "cudnn.runtime"):
        assert compiler_says(said)[name].remedy == BY_ID[name].remedy


def compiler_says(output: str) -> dict[str, CheckResult]:
    step = {"argv": ["nvcc"], "toolkit": "/usr/local/cuda-13.0", "rc": 2, "output": output}
    change = {"probe.programs.compile": [step], "probe.programs.cudnn": {"compile": step}}
    return healthy(change).checks(stack())


def test_failed_check_carries_evidence_and_remedy() -> None:
    checks = healthy({"probe.libcuda.library": "/usr/lib/libcuda.so.580.105.08"}).checks(stack())
    result = checks["version.userspace"]
    assert result.expected == "580.95.05"
    assert "580.105.08" in str(result.observed)
    assert "libcuda.so.580.105.08" in str(result.evidence)
    assert "Reboot" in str(result.remedy)


# --- hosts without a GPU --------------------------------------------------------------------------
NO_GPU: dict[str, Any] = {"observation.pci": []}


def test_no_gpu_is_prepared_and_says_what_was_not_tried() -> None:
    host = healthy(
        {
            **NO_GPU,
            "observation.modules.loaded": {},
            "observation.driver": {"proc_version": None, "device_nodes": []},
            "probe": {
                "tier": "full",
                "nvml": {"error": "missing"},
                "libcuda": {"error": "missing"},
            },
        }
    )
    checks = host.checks(stack(), "full")
    assert bad(checks) == set()
    for check in CHECKS:
        if check.needs_gpu:
            assert checks[check.id].status is SKIPPED, check.id
            assert checks[check.id].detail
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.PREPARED


def test_nothing_without_gpu_ever_claims_ready() -> None:
    no_gpu = {**NO_GPU, "probe.nvml": {"error": "libnvidia-ml.so.1: not found", "missing": True}}
    checks = healthy(no_gpu).checks(stack())  # even when all other evidence looks perfect
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.PREPARED


# --- a GPU, and no driver asked for ---------------------------------------------------------------
NO_DRIVER_WANTED = replace(
    stack(),
    branch=None,
    driver_version=None,
    flavour=None,
    fabric="none",
    services=(),
    version_locked=(),
)
# What the programs say where no driver is loaded: the compiler works, nothing runs.
NOT_LOADED: dict[str, Any] = {
    "observation.modules": {"loaded": {}, "on_disk": []},
    "observation.driver": {"proc_version": None, "device_nodes": []},
    "probe.nvml": {"error": "libnvidia-ml.so.1: not found", "missing": True},
    "probe.libcuda": {"error": "libcuda.so.1: not found", "missing": True},
    "probe.identity.module": None,
    "probe.programs.gpus": [],
    "probe.programs.run.0.rc": 1,
    "probe.programs.run.0.results": [
        {"gpu": -1, "error": "cudaGetDeviceCount: CUDA driver version is insufficient (35)"}
    ],
    "probe.programs.cudnn.run": {"argv": ["convolution"], "rc": 1, "output": "", "results": []},
    "probe.frameworks": {"envs": []},
    "probe.burn": {},
}


def test_no_driver_asked_for_and_none_loaded_is_prepared() -> None:
    checks = healthy(NOT_LOADED).checks(NO_DRIVER_WANTED)
    assert bad(checks) == set()
    assert checks["toolkit.compiles"].status is PASSED
    assert checks["cudnn.runtime"].status is PASSED
    untried = [check.id for check in CHECKS if check.needs_module]
    untried += ["module.loaded", "device.nodes", "device.uvm", "version.userspace"]
    untried += ["fabric.version", "reboot.survived"]
    for name in untried:
        assert (checks[name].status, checks[name].detail) == (SKIPPED, "no driver is asked for")
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.PREPARED


def test_a_driver_that_nobody_asked_for_is_judged_once_it_is_loaded() -> None:
    checks = healthy().checks(NO_DRIVER_WANTED)
    assert bad(checks) == set()
    assert [c.id for c in CHECKS if c.needs_module and checks[c.id].status is not PASSED] == []
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.READY
    wrong = {"probe.programs.run.0.results.1.wrong": 7, "probe.programs.run.0.rc": 1}
    moved = {"probe.libcuda.library": "/usr/lib/libcuda.so.580.105.08"}
    missing = {"observation.driver.device_nodes": ["/dev/nvidiactl"]}
    dead = {"probe.nvml": {"error": "timed out", "timed_out": True}}
    late = {"probe.nvml.gpus.0.fabric": {"state": 2, "status": 0}}
    other = {"probe.fabric_manager.version": "570.1.1"}
    for change, name in (
        *((wrong, "kernel.runs"), (moved, "version.userspace"), (missing, "device.nodes")),
        *((missing, "device.uvm"), (dead, "nvml.answers"), (late, "fabric.running")),
        (other, "fabric.version"),
    ):
        checks = healthy(change).checks(NO_DRIVER_WANTED)
        assert checks[name].status is CheckStatus.FAILED, name
        assert state_of(checks.values(), plan_is_empty=True) is HostStatus.FAILED


@pytest.mark.parametrize("wanted", [stack(), replace(stack(), manage_driver=False), None])
def test_a_driver_that_is_asked_for_and_not_loaded_is_a_failure(wanted: Stack | None) -> None:
    checks = healthy(NOT_LOADED).checks(wanted)
    assert checks["module.loaded"].status is CheckStatus.FAILED
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.FAILED


# --- states ---------------------------------------------------------------------------------------
def test_quick_tier_alone_is_no_proof() -> None:
    host = healthy({"probe.proof": None})
    for key in ("programs", "frameworks", "burn"):
        del host.probe[key]
    checks = host.checks(stack(), "quick")
    assert bad(checks) == set()
    assert checks["kernel.runs"].status is SKIPPED
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.PREPARED


def proven_before(change: dict[str, Any]) -> dict[str, CheckResult]:
    host = healthy()
    host.probe["proof"] = {
        **host.probe["identity"],
        "at": 1763680000,
        "programs": host.probe["programs"],
        "frameworks": host.probe["frameworks"],
        "mig": {},
    }
    for key in ("programs", "frameworks", "burn"):
        del host.probe[key]
    host.probe["proof"].update(change)
    return host.checks(stack(), "quick")


def test_quick_tier_takes_a_proof_of_this_boot_and_says_so() -> None:
    checks = proven_before({})
    assert "proven 2025-11-20 23:06 UTC" in checks["kernel.runs"].detail
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.READY


@pytest.mark.parametrize(
    "change", [{"boot_id": "another"}, {"module": "570.1.1"}, {"gpus": ["GPU-other"]}]
)
def test_proof_of_another_boot_driver_or_gpu_is_worth_nothing(change: dict[str, Any]) -> None:
    checks = proven_before(change)
    assert checks["kernel.runs"].status is SKIPPED
    assert state_of(checks.values(), plan_is_empty=True) is HostStatus.PREPARED


def state(change: dict[str, Any], *, plan_is_empty: bool) -> HostStatus:
    return state_of(healthy(change).checks(stack()).values(), plan_is_empty=plan_is_empty)


def test_states() -> None:
    broken_gpu = {"probe.nvml.gpus.1.ecc.uncorrected": 3}
    moved = {"observation.cuda.default": "/usr/local/cuda-12.9"}
    assert state({}, plan_is_empty=False) is HostStatus.DRIFTED
    assert state(moved, plan_is_empty=False) is HostStatus.DRIFTED
    assert state(moved, plan_is_empty=True) is HostStatus.FAILED
    assert state(broken_gpu, plan_is_empty=False) is HostStatus.FAILED
    assert state(broken_gpu, plan_is_empty=True) is HostStatus.FAILED
    assert state({"probe.nvml.gpus.1.persistence": 0}, plan_is_empty=True) is HostStatus.READY


def test_bare_gpu_host_is_drifted_not_failed() -> None:
    host = healthy(
        {
            "observation.modules": {"loaded": {}, "on_disk": []},
            "observation.driver": {"proc_version": None, "device_nodes": []},
            "observation.packages": {},
            "observation.units": {},
            "observation.cuda": {"toolkits": [], "default": None},
            "observation.cudnn": {"header_version": None, "library_versions": []},
            "probe": {"tier": "quick", "nvml": {"error": "missing", "missing": True}},
        }
    )
    checks = host.checks(stack(), "quick")
    assert "module.loaded" in bad(checks)
    assert state_of(checks.values(), plan_is_empty=False) is HostStatus.DRIFTED


def test_application_xids_warn_nobody() -> None:
    xid = {"code": 31, "slot": "0000:0f:00", "text": "MMU Fault"}
    checks = healthy({"probe.xid": {"readable": True, "total": 1, "events": [xid]}}).checks(stack())
    assert checks["xid.clean"].status is PASSED
    assert "Xid 31" in str(checks["xid.clean"].evidence)


def test_unreadable_kernel_log_is_no_pass() -> None:
    unreadable = {"readable": False, "why": "Permission denied", "events": [], "total": 0}
    checks = healthy({"probe.xid": unreadable}).checks(stack())
    assert checks["xid.clean"].status is SKIPPED
    assert "Permission denied" in checks["xid.clean"].detail


def test_gpu_in_a_container_that_hides_bus_and_modules_is_still_judged() -> None:
    hidden = healthy(
        {
            **NO_GPU,
            "observation.modules": {"loaded": {}, "on_disk": []},
            "observation.driver.proc_version": None,
            "observation.kernel.next_boot": None,
            "probe.nvml.gpus.0.pci_id": "10de:2330",
            "probe.nvml.gpus.1.pci_id": "10de:2330",
        }
    )
    checks = hidden.checks(None)
    assert bad(checks) == set()
    assert checks["kernel.runs"].status is PASSED
    assert "71%" in str(checks["burn.matrix"].observed)  # of an H100's data sheet
    assert gpu_proven(checks.values())


def test_the_least_observation_and_a_senseless_probe_break_nothing() -> None:
    odd: tuple[dict[str, Any], ...] = ({}, {"nvml": []}, {"proof": 3, "identity": "x"})
    for probe in odd:
        checks = least(probe).checks(None)
        assert set(checks) == set(BY_ID)
        assert state_of(checks.values(), plan_is_empty=True) is not HostStatus.READY


def test_a_rule_that_gives_up_fails_its_own_check_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def give_up(_host: Evidence) -> Finding:
        raise KeyError("odd")

    monkeypatch.setitem(RULES, "ecc.clean", give_up)
    results = evaluate(healthy().read(), stack(), Tier.QUICK)
    failed = {result.id: result.detail for result in results if result.status in BAD}
    assert failed == {"ecc.clean": f"{NOT_UNDERSTOOD}: KeyError: 'odd'"}


def test_no_rule_gives_up_on_any_fixture() -> None:
    for case in CASES:
        for wanted in (stack(), None):
            results = healthy(case["change"], case.get("shape")).checks(wanted)
            assert [r.id for r in results.values() if NOT_UNDERSTOOD in r.detail] == []


def test_a_check_has_one_rule() -> None:
    with pytest.raises(ValueError, match=r"ecc\.clean has two rules"):
        judges("ecc.clean")(RULES["ecc.clean"])


# --- which kernel, which fabric -------------------------------------------------------------------
def test_the_module_is_wanted_for_the_target_kernel_and_a_reboot_for_the_newest() -> None:
    named = {"observation.kernel.target": "6.12.1-amd64"}
    checks = healthy(named).checks(stack())
    assert checks["module.on_disk"].detail == "no module for kernel 6.12.1-amd64"
    assert checks["module.next_boot"].status is PASSED
    newest = {"observation.kernel.next_boot": "6.12.1-amd64"}
    assert "next boot starts 6.12.1-amd64" in healthy(newest).checks(stack())[
        "module.next_boot"
    ].detail  # fmt: skip


@pytest.mark.parametrize(
    ("change", "wanted", "kind"),
    [
        ({}, stack(), "fm+nvlsm"),  # its word counts
        ({}, replace(stack(), fabric="none"), "none"),
        ({}, None, "fm"),
        ({"observation.pci.2": "__delete__"}, None, "none"),  # an H100 without a switch
        ({"observation.pci": []}, None, "fm"),  # a container hides the bus, NVML names H100s
    ],
)
def test_fabric(change: dict[str, Any], wanted: Stack | None, kind: str) -> None:
    named = {f"probe.nvml.gpus.{i}.pci_id": "10de:2330" for i in (0, 1)}
    host = Evidence(healthy({**change, **named}).read(), wanted, EXPECTED, Tier.QUICK)
    assert host.fabric == kind


def test_sibling_comparison_needs_no_data_sheet() -> None:
    rates = {f"probe.burn.gpus.{i}.matrix.method": "own" for i in (0, 1)}
    checks = healthy({**rates, "probe.burn.gpus.1.matrix.tflops": 90.0}).checks(stack())
    assert checks["burn.matrix"].status is CheckStatus.FAILED
    assert "siblings" in checks["burn.matrix"].detail
    checks = healthy(rates).checks(stack())
    assert checks["burn.matrix"].status is SKIPPED
    assert "no libcublas" in checks["burn.matrix"].detail


@pytest.mark.parametrize(
    ("architectures", "capability", "fits"),
    [
        (["sm_80", "sm_90"], "8.6", True),
        (["sm_80", "sm_90"], "7.0", False),
        (["sm_75", "compute_75"], "12.0", True),
        (["sm_90a"], "9.0", True),
        (["sm_100a"], "10.3", False),
        (["sm_86"], "8.0", False),
        (["gfx942"], "9.0", False),
        (["sm_120"], "12.0", True),
    ],
)
def test_architecture_lists(architectures: list[str], capability: str, *, fits: bool) -> None:
    assert supports(architectures, capability) is fits
