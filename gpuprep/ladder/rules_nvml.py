"""Rules on what the driver says of its GPUs: NVML, kernel log, CUDA driver library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpuprep.ladder.answers import duration, items, mapping, texts, whole
from gpuprep.ladder.findings import failed, passed, skipped, spelled
from gpuprep.ladder.registry import judges
from gpuprep.ladder.rules_driver import NVML_VERSION_MISMATCH
from gpuprep.ladder.xids import APPLICATION, meaning
from gpuprep.model.versions import key

if TYPE_CHECKING:
    from collections.abc import Callable

    from gpuprep.ladder.evidence import Evidence
    from gpuprep.ladder.findings import Finding

SILENT = "NVML did not answer"
# nvml.h, nvmlClocksEventReason*: only those that mean a fault, not idling or a power cap.
THROTTLES: Mapping[int, str] = {
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


def _label(gpu: Mapping[str, object]) -> str:
    return f"GPU {gpu.get('index')} ({gpu.get('slot') or gpu.get('error')})"


@judges("nvml.answers")
def nvml_answers(host: Evidence) -> Finding:
    """Judge: NVML initialises and lists the GPUs in time."""
    answer = host.answer("nvml")
    if not answer:
        return skipped("the probe did not run")
    seconds = duration(answer)
    if answer.get("status") == NVML_VERSION_MISMATCH:
        return skipped("module and libraries differ: see version.userspace")
    if answer.get("error"):
        return failed(
            f"{answer['error']}",
            expected="an answer",
            observed="none" if answer.get("timed_out") else str(answer["error"]),
            evidence=f"nvmlInitWithFlags through {answer.get('library') or 'libnvidia-ml.so.1'}",
            seconds=seconds,
        )
    return passed(
        f"driver {answer.get('driver')}, {len(host.nvml_gpus)} GPUs",
        observed=str(answer.get("driver")),
        evidence=str(answer.get("library")),
        seconds=seconds,
    )


@judges("nvml.count")
def nvml_count(host: Evidence) -> Finding:
    """Judge: NVML can open every GPU that PCI shows."""
    if not host.nvml_gpus and host.answer("nvml").get("error"):
        return skipped(SILENT)
    if not host.answer("nvml"):
        return skipped("the probe did not run")
    broken = [gpu for gpu in host.nvml_gpus if gpu.get("error")]  # listed, cannot be opened
    good = len(host.nvml_gpus) - len(broken)
    facts = {
        "expected": str(len(host.gpus)),
        "observed": str(good),
        "evidence": "\n".join(
            f"{_label(gpu)}: {gpu.get('error') or gpu.get('name')}" for gpu in host.nvml_gpus
        ),
    }
    if broken or good < len(host.gpus):
        return failed(f"{good} of {len(host.gpus)} GPUs answer", **facts)
    return passed(f"all {good} answer", **facts)


def _reported(value: object) -> object:
    return spelled(value) if isinstance(value, Mapping) else value


def _each(
    host: Evidence, name: str, nothing: str, judge: Callable[[Mapping[str, object]], str | None]
) -> Finding:
    """Judge one block of every GPU; ``judge`` gives the complaint or None."""
    if not host.nvml_gpus:
        return skipped(SILENT)
    having = [gpu for gpu in host.nvml_gpus if gpu.get(name) is not None]
    if not having:
        return skipped(nothing)
    complaints = [f"{_label(gpu)}: {complaint}" for gpu in having if (complaint := judge(gpu))]
    evidence = "\n".join(f"{_label(gpu)}: {name} {_reported(gpu[name])}" for gpu in having)
    if complaints:
        return failed("; ".join(complaints), observed="; ".join(complaints), evidence=evidence)
    return passed(f"{len(having)} GPUs", evidence=evidence)


@judges("ecc.clean")
def ecc_clean(host: Evidence) -> Finding:
    """Judge: no uncorrected error since the driver was loaded."""

    def judge(gpu: Mapping[str, object]) -> str | None:
        count = mapping(gpu.get("ecc")).get("uncorrected")
        return f"{count} uncorrected memory errors" if count else None

    return _each(host, "ecc", "these GPUs have no ECC", judge)


@judges("memory.rows")
def memory_rows(host: Evidence) -> Finding:
    """Judge: no failed or pending row remapping."""

    def judge(gpu: Mapping[str, object]) -> str | None:
        rows = mapping(gpu.get("rows"))
        if rows.get("failed"):
            return "row remapping has failed"
        return "row remapping waits for a reset" if rows.get("pending") else None

    return _each(host, "rows", "these GPUs do not remap rows", judge)


@judges("throttle.clean")
def throttle_clean(host: Evidence) -> Finding:
    """Judge: no slowdown for heat or power faults."""

    def judge(gpu: Mapping[str, object]) -> str | None:
        mask = gpu.get("throttle")
        bits = mask if isinstance(mask, int) else 0
        reasons = [name for bit, name in THROTTLES.items() if bits & bit]
        if not reasons:
            return None
        return f"{', '.join(reasons)} at {gpu.get('temperature_c')} degrees Celsius"

    return _each(host, "throttle", "NVML reported no throttle reasons", judge)


@judges("pcie.link")
def pcie_link(host: Evidence) -> Finding:
    """Judge: all lanes in use. Generation is left out: an idle link saves power by lowering it."""

    def judge(gpu: Mapping[str, object]) -> str | None:
        link = mapping(gpu.get("pcie"))
        width, most = link.get("width"), link.get("width_max")
        if isinstance(width, int) and isinstance(most, int) and width < most:
            return f"{width} of {most} lanes"
        return None

    return _each(host, "pcie", "NVML reported no PCIe link", judge)


@judges("persistence.on")
def persistence_on(host: Evidence) -> Finding:
    """Judge: persistence mode of every GPU."""
    if host.stack and host.stack.unwanted_services:
        return skipped(f"{', '.join(host.stack.unwanted_services)} is not wanted")

    def judge(gpu: Mapping[str, object]) -> str | None:
        return None if gpu.get("persistence") else "persistence off"

    return _each(host, "persistence", "NVML reported no persistence mode", judge)


@judges("mig.layout")
def mig_layout(host: Evidence) -> Finding:
    """Judge: no GPU in MIG mode without instances; the layout of the last proof is still there."""
    if not host.nvml_gpus:
        return skipped(SILENT)
    recorded = mapping(host.proof.get("mig"))
    complaints, listing = [], []
    for gpu in host.nvml_gpus:
        mig = mapping(gpu.get("mig"))
        instances = sorted(texts(mig, "instances"))
        before = sorted(texts(recorded, str(gpu.get("uuid"))))
        if mig:
            listing.append(f"{_label(gpu)}: on={mig.get('on')} {', '.join(instances)}")
        if mig.get("on") != mig.get("pending"):
            complaints.append(f"{_label(gpu)}: a change of MIG mode waits for a reset")
        elif before and instances != before:
            complaints.append(f"{_label(gpu)}: had {', '.join(before)}")
        elif mig.get("on") and not instances:
            complaints.append(f"{_label(gpu)}: MIG mode without instances, so no CUDA device")
    if complaints:
        return failed(
            "; ".join(complaints),
            expected=str(dict(recorded)) if recorded else None,
            evidence="\n".join(listing) or None,
        )
    if not listing:
        return skipped("these GPUs have no MIG mode")
    return passed("MIG layout as it was" if recorded else "consistent", evidence="\n".join(listing))


@judges("xid.clean")
def xid_clean(host: Evidence) -> Finding:
    """Judge: no Xid since boot, other than those of faulty applications."""
    answer = host.answer("xid")
    if not answer:
        return skipped("the probe did not run")
    events = items(answer, "events")
    lines = "\n".join(
        f"Xid {e.get('code')} at {e.get('slot')}: {meaning(e.get('code'))}; {e.get('text')}"
        for e in events
    )
    codes = {whole(event, "code") or 0 for event in events}  # 0: an event without a code
    serious = sorted(codes - APPLICATION.keys())
    if serious:
        words = "; ".join(f"Xid {code}: {meaning(code)}" for code in serious)
        return failed(words, expected="none", observed=str(answer.get("total")), evidence=lines)
    if not answer.get("readable"):
        return skipped(f"the kernel log cannot be read: {answer.get('why')}")
    if events:
        return passed(f"{len(events)} Xid of applications, none of the hardware", evidence=lines)
    return passed("none since boot", evidence="/dev/kmsg")


@judges("cuda.driver_api")
def cuda_driver_api(host: Evidence) -> Finding:
    """Judge: libcuda supports the toolkits' major version."""
    answer = host.answer("libcuda")
    if not answer:
        return skipped("the probe did not run")
    if answer.get("error"):
        evidence = str(answer.get("library"))
        return failed(f"libcuda: {answer['error']}", evidence=evidence, seconds=duration(answer))
    version = whole(answer, "version") or 0
    supported = f"{version // 1000}.{version % 1000 // 10}"
    wanted = host.toolkit_versions
    facts: dict[str, Any] = {
        "seconds": duration(answer),
        "expected": ", ".join(wanted) or None,
        "observed": supported,
        "evidence": f"cuDriverGetVersion = {version} in {answer.get('library')}",
    }
    newer = [
        toolkit
        for toolkit in wanted
        if key(toolkit)[:1] > (version // 1000,) and not host.forward_compatible(toolkit)
    ]
    if newer:
        return failed(f"the driver supports CUDA {supported}, not {', '.join(newer)}", **facts)
    return passed(f"CUDA {supported}", **facts)
