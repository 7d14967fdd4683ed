"""A host that was broken behind gpuprep's back is always seen, for the reason it was broken by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gpuprep import observe
from gpuprep.catalog import load
from gpuprep.ladder.evaluate import evaluate, state_of
from gpuprep.ladder.expect import expectation
from gpuprep.model import CheckResult, CheckStatus, HostStatus, Tier
from gpuprep.observe.probe import source
from gpuprep.planner import observation_request, plan_host, settings_from
from sandbox import hosts

if TYPE_CHECKING:
    from lab import Lab, Restore

pytestmark = pytest.mark.sandbox
HOST = "t-a10"


def climb(lab: Lab, name: str, tier: str) -> tuple[dict[str, CheckResult], HostStatus]:
    """Observe, plan and judge one host without Ansible: the same texts, the same rules."""
    spec = hosts.find(name).spec
    settings = settings_from({**lab._variables, **spec.vars, "oci_shape": spec.shape})
    capabilities = {pci: gpu.cc for pci, gpu in load().gpus.items()}
    probe = source(Tier(tier), capabilities)
    script = observe.script(observation_request(load(), settings), probe, tier)
    seen = observe.read(lab.run(name, "python3", "-S", "-E", "-", stdin=script))
    plan = plan_host(seen, settings, load())
    expected = expectation(load(), seen.package_manager.family, spec.shape)
    checks = evaluate(seen, plan.stack, Tier(tier), expected)
    return {c.id: c for c in checks}, state_of(checks, plan_is_empty=not plan.steps)


def failed(checks: dict[str, CheckResult]) -> set[str]:
    return {name for name, check in checks.items() if check.status is CheckStatus.FAILED}


def test_a_converged_host_climbs_to_the_rungs_that_need_a_gpu(lab: Lab, restore: Restore) -> None:
    checks, state = climb(lab, restore(HOST), "full")
    assert failed(checks) == set()
    assert state is HostStatus.PREPARED  # the GPU is a simulated one
    assert checks["toolkit.compiles"].status is CheckStatus.PASSED
    assert "8.6" in checks["toolkit.compiles"].detail
    assert checks["cudnn.runtime"].status is CheckStatus.PASSED
    assert checks["kernel.runs"].status is CheckStatus.SKIPPED


BREAKS = {
    "toolkit.default": "ln -sfn /nowhere /usr/local/cuda",
    "cudnn.agree": "cd /usr/lib/*-linux-gnu; cp libcudnn.so.9.*.* libcudnn.so.9.99.9",
    "module.on_disk": "find /lib/modules -name 'nvidia*.ko*' -delete",
    "version.packages": """
        name=$(dpkg-query -W -f '${Package}\\n' 'libnvidia-*' | head -1)
        sed -i "/^Package: $name\\$/,/^\\$/s/^Version: .*/Version: 999.1.2-1/" /var/lib/dpkg/status
    """,
    "conda.present": "rm /opt/conda/conda-meta/conda-[0-9]*.json",
}


@pytest.mark.parametrize("check", list(BREAKS))
def test_what_was_broken_is_named(lab: Lab, restore: Restore, check: str) -> None:
    name = restore(HOST)
    lab.sh(name, BREAKS[check])
    checks, state = climb(lab, name, "quick")
    assert check in failed(checks)
    assert failed(checks) <= {check, "module.next_boot"}
    assert state in {HostStatus.DRIFTED, HostStatus.FAILED}


def test_a_compiler_that_cannot_compile_is_named_with_its_words(lab: Lab, restore: Restore) -> None:
    name = restore(HOST)
    lab.sh(name, 'mv "$(readlink -f /usr/bin/g++)" /root/away; rm -f /usr/bin/g++')
    checks, _ = climb(lab, name, "full")
    assert "toolkit.compiles" in failed(checks)
    assert "nvcc" in str(checks["toolkit.compiles"].evidence)
