"""From bare to converged, and again: what `apply` does, and what it costs when nothing differs."""

from __future__ import annotations

from math import inf

import pytest
from lab import FirstRun, Fresh, Lab, Restore, failed_checks, ids

import gpuprep
from gpuprep.errors import ExitCode
from gpuprep.model import HostStatus, StepStatus

pytestmark = pytest.mark.sandbox

PREPARED = ("t-a10", "t-v100", "t-h100")


@pytest.mark.parametrize("name", PREPARED)
def test_a_bare_host_becomes_prepared(first_run: FirstRun, name: str) -> None:
    host = first_run.applied.hosts[name]
    assert host.state is HostStatus.PREPARED, host.error
    assert host.changed
    assert {step.status for step in host.steps} == {StepStatus.DONE}
    assert failed_checks(host) == []


def test_one_refused_host_makes_exit_code_3(first_run: FirstRun) -> None:
    assert set(first_run.good) == set(PREPARED)
    assert first_run.applied.exit_code is ExitCode.SOME_HOSTS_FAILED


def test_v100_on_debian_13_gets_the_last_stack_for_volta(
    first_run: FirstRun, lab: Lab, restore: Restore
) -> None:
    stack = first_run.applied.hosts["t-v100"].stack
    assert stack is not None
    assert (stack.branch, stack.flavour) == ("580", "proprietary")
    found = first_run.applied.hosts["t-v100"].versions
    assert found["driver"].startswith("580.")
    assert (found["cuda"], found["cudnn"]) == ("12.9", "9.10.2")
    lines = lab.run(restore("t-v100"), "dpkg-query", "-W", "-f", "${Package}=${Version}\\n")
    packages = dict(line.split("=", 1) for line in lines.splitlines())
    assert packages["libcudnn9-cuda-12"].startswith("9.10.2.21")
    assert packages["nvidia-kernel-dkms"].startswith("580.")
    assert "nvidia-kernel-open-dkms" not in packages


def test_a10_gets_the_open_module(first_run: FirstRun, lab: Lab, restore: Restore) -> None:
    stack = first_run.applied.hosts["t-a10"].stack
    assert stack is not None
    assert (stack.branch, stack.flavour, stack.cuda[0].version) == ("580", "open", "13.0")
    kernel = lab.run(restore("t-a10"), "uname", "-r").strip()
    shown = lab.run("t-a10", "modinfo", "-k", kernel, "nvidia")
    facts = dict(line.split(":", 1) for line in shown.splitlines())
    assert facts["license"].strip() == "Dual MIT/GPL"
    assert facts["vermagic"].split()[0] == kernel
    assert facts["version"].strip() == first_run.applied.hosts["t-a10"].versions["driver"]


def test_h100_gets_a_fabric_manager_of_the_drivers_version(
    first_run: FirstRun, lab: Lab, restore: Restore
) -> None:
    assert "gpu_driver.package.nvidia-fabricmanager" in ids(first_run.applied, "t-h100")
    shown = lab.run(
        restore("t-h100"), "dpkg-query", "-W", "-f", "${Version}", "nvidia-fabricmanager"
    )
    assert shown.startswith(f"{first_run.applied.hosts['t-h100'].versions['driver']}-")
    assert lab.run("t-h100", "systemctl", "is-active", "nvidia-fabricmanager").strip() == "active"
    assert "cuda_toolkit" not in {s.role for s in first_run.applied.hosts["t-h100"].steps}


def test_a_first_run_costs_one_transaction_and_few_round_trips(
    first_run: FirstRun, lab: Lab, restore: Restore
) -> None:
    # Looked at and proven once each; the refused host only looked at.
    counts = first_run.applied.counts
    assert counts["observations"] == 2 * len(first_run.good) + 1
    assert counts["round_trips"] <= 14 * len(first_run.good) + 1
    history = lab.sh(restore("t-a10"), "grep ^Commandline: /var/log/apt/history.log").splitlines()
    (words,) = (line.split() for line in history)
    for beginning in ("nvidia-driver-pinning-", "nvidia-open", "cuda-toolkit-", "libcudnn9-"):
        assert any(word.startswith(beginning) for word in words), history
    # The installer ran beside the packages, and conda's own role did not fetch it again.
    fetched = [path for path in lab.requests("t-a10") if path.endswith("-x86_64.sh")]
    assert len(fetched) == 1
    told = [done.detail for done in first_run.applied.hosts["t-a10"].operations]
    assert sum("installed conda" in detail for detail in told) == 1


def test_the_refused_host_is_untouched_and_told_why(first_run: FirstRun, lab: Lab) -> None:
    host = first_run.applied.hosts["t-runfile"]
    assert (host.state, host.code) == (HostStatus.REFUSED, "E_RUNFILE_PRESENT")
    assert "nvidia-uninstall" in (host.error or "")
    assert not host.changed
    again = lab.state("t-runfile", inf)
    assert first_run.bare["t-runfile"].differences(again, without=["/var/cache"]) == set()


def test_the_second_run_changes_nothing_and_costs_one_task_and_one_round_trip_a_host(
    lab: Lab, restore: Restore
) -> None:
    names = ("t-a10", "t-v100")
    for name in names:
        restore(name)
    before = {name: lab.state(name) for name in names}
    asked = {name: len(lab.requests(name)) for name in names}
    logins = {name: lab.logins(name) for name in names}
    commands = {name: lab.commands(name) for name in names}
    again = lab.apply(*names)
    assert again.exit_code is ExitCode.OK
    assert not again.changed
    hosts = len(names)
    assert again.counts == {"host_tasks": 1, "round_trips": hosts, "observations": hosts}
    for name in names:
        assert lab.logins(name) == logins[name] + 1  # as the host itself counts
        assert lab.commands(name) == commands[name] + 1
        # No installer, no index, no key was fetched.
        assert lab.requests(name)[asked[name] :] == []
        assert before[name].differences(lab.state(name)) == set()


def test_all_roles_run_in_full_over_a_converged_host_and_change_nothing(
    lab: Lab, restore: Restore
) -> None:
    names = ("t-a10", "t-v100")
    for name in names:
        restore(name)
    caches = ["/var/lib/apt", "/var/cache/apt"]  # of the transaction's preview
    before = {name: lab.state(name) for name in names}
    asked = {name: len(lab.requests(name)) for name in names}
    full = lab.apply(*names, gpuprep_short_cut=False)
    assert full.exit_code is ExitCode.OK, {n: h.error for n, h in full.hosts.items()}
    assert full.counts["host_tasks"] > 20  # the roles did run
    assert not full.changed, {n: ids(full, n) for n in names}
    for name in names:
        assert lab.requests(name)[asked[name] :] == []
        assert before[name].differences(lab.state(name), without=caches) == set()


def test_a_host_whose_driver_is_not_asked_for_is_prepared(lab: Lab, fresh: Fresh) -> None:
    name = fresh(gpus=["10de:2236"])
    settings = {"gpuprep_components": ["cuda", "cudnn"]}
    host = lab.apply(name, **settings).hosts[name]
    assert (host.state, host.error, failed_checks(host)) == (HostStatus.PREPARED, None, [])
    inventory = lab.inventory(name, variables=settings)
    proven = gpuprep.verify(inventory, tier="full")
    shown = {check.id: check for check in proven.hosts[name].checks}
    assert shown["toolkit.compiles"].status == "passed"
    assert shown["kernel.runs"].status == "skipped"
    assert shown["kernel.runs"].detail == "no driver is asked for"
    assert (proven.exit_code, failed_checks(proven.hosts[name])) == (ExitCode.OK, [])


def test_a_program_compiles_and_one_links_cudnn(lab: Lab, restore: Restore) -> None:
    restore("t-a10")
    lab.sh(
        "t-a10",
        """
        cd $(mktemp -d)
        printf '__global__ void k(int *x){*x=1;}\\nint main(){k<<<1,1>>>(0);return 0;}\\n' >a.cu
        . /etc/profile.d/gpuprep-cuda.sh
        nvcc -arch=sm_86 -o a a.cu
        printf '#include <cudnn.h>\\n#include <stdio.h>\\nint main(void)' >b.c
        printf '{printf("%%zu %%d", cudnnGetVersion(), CUDNN_VERSION);return 0;}\\n' >>b.c
        gcc -I/usr/local/cuda/include b.c -o b -lcudnn
        ./b >version
        """,
    )
    runtime, header = lab.sh("t-a10", "cat /tmp/tmp.*/version").split()
    assert runtime == header
