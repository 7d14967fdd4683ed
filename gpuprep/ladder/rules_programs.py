"""Rules on programs that ran: vector sum, matrix products, cuDNN, frameworks."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from gpuprep.ladder.answers import duration, items, longest, mapping, number, texts, whole
from gpuprep.ladder.findings import command_text, failed, passed, skipped
from gpuprep.ladder.registry import judges
from gpuprep.model.capabilities import supports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gpuprep.ladder.evidence import Evidence
    from gpuprep.ladder.findings import Finding

NOT_TRIED = "not tried: gpuprep verify --tier full"
_MOMENT = re.compile(r"[0-9]{1,11}")  # seconds since 1970


# nvcc, and a host compiler, on declarations that differ; nvcc breaks lines anywhere.
EXCEPTION_CLASH = re.compile(r"exception\s+specifi(?:cation|er)\b")
NVCC_HEADER = "crt/math_functions.h"
HEADER_MEND = (
    f"The toolkit's own {NVCC_HEADER} contradicts this system's C library: no .cu file compiles "
    "with it, with any host compiler. W_HOST_GLIBC (gpuprep explain, docs/codes.md) tells which "
    "CUDA has a repaired header and what else helps. Compiled programs and frameworks run."
)


def _since(moment: str | None) -> str:
    """Return when a proof was made that is taken from the host's record."""
    if moment is None or not _MOMENT.fullmatch(moment):
        return ""
    text = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(int(moment)))
    return f"; proven {text}, in this boot and with this driver"


@judges("toolkit.compiles")
def toolkit_compiles(host: Evidence) -> Finding:  # noqa: PLR0911 - one per way it can end
    """Judge: nvcc of every toolkit makes a program for the GPU's architecture."""
    block, moment = host.tried("programs")
    if not block:
        return skipped(NOT_TRIED)
    steps = items(block, "compile")
    if host.stack is not None:
        wanted = tuple(f"-{toolkit.version}" for toolkit in host.stack.cuda)
        if not wanted:
            return skipped("no CUDA toolkit is wanted on this host")
        steps = [step for step in steps if str(step.get("toolkit")).endswith(wanted)]
    else:
        steps = steps[:1]  # others may be there on purpose and too new, or too old, for the GPU
    missing = texts(block, "missing")
    if missing:
        return failed(f"no compiler at {', '.join(missing)}", expected=", ".join(missing))
    if block.get("error"):
        return failed(str(block["error"]))
    if not steps:
        return skipped(str(block.get("skipped") or "no CUDA compiler on this host"))
    evidence = "\n".join(command_text(step) for step in steps)
    seconds = sum(number(step, "seconds") for step in steps)
    bad = [step for step in steps if step.get("rc") != 0]
    targets = ", ".join(texts(steps[0], "architectures")) or "the default"
    facts: dict[str, Any] = {"evidence": evidence, "seconds": seconds}
    if bad:
        why = f"{next(iter(texts(bad[0], 'argv')), 'nvcc')} cannot compile for {targets}"
        return failed(why, remedy=_compiler_remedy(bad[0]), **facts)
    return passed(f"compiled for {targets}{_since(moment)}", **facts)


def _compiler_remedy(step: Mapping[str, Any]) -> str | None:
    """Return the remedy that the compiler's message shows; None = the check's own."""
    said = str(step.get("output"))
    return HEADER_MEND if EXCEPTION_CLASH.search(said) and NVCC_HEADER in said else None


def _vector_sums(block: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Return every GPU's vector sum with the road it took: compiled program or prebuilt PTX."""
    for step in items(block, "run"):
        results = items(step, "results")
        if not results:
            yield {"error": command_text(step)}, "compiled program"
        for result in results:
            yield result, "compiled program"
    for gpu in items(block, "gpus"):
        if gpu.get("error"):
            yield gpu, "prebuilt PTX"
        else:
            yield {**mapping(gpu.get("vector_add")), "slot": gpu.get("slot")}, "prebuilt PTX"


@judges("kernel.runs")
def kernel_runs(host: Evidence) -> Finding:
    """Judge: the vector sum is right on every GPU."""
    block, moment = host.tried("programs")
    if not block:
        return skipped(NOT_TRIED)
    sums = list(_vector_sums(block))
    if not sums:
        return failed("no GPU could be used", expected=f"{len(host.gpus)} GPUs", observed="0")
    lines = [
        f"{result.get('slot') or 'GPU'} by {road}: "
        + (
            f"error: {result['error']}"
            if result.get("error")
            else f"{result.get('elements')} elements, {result.get('wrong')} wrong"
        )
        for result, road in sums
    ]
    evidence = "\n".join(lines)
    bad = [line for (result, _), line in zip(sums, lines, strict=True) if _wrong(result)]
    good = {str(result.get("slot"))[-10:].lower() for result, _ in sums if not _wrong(result)}
    facts: dict[str, Any] = {
        "expected": f"{len(host.gpus)} GPUs, 0 elements wrong",
        "observed": f"{len(good)} GPUs right",
        "evidence": evidence,
        "seconds": _spent(block, "vector_add_seconds"),
    }
    if bad:
        return failed(bad[0][:300], **facts)
    if len(good) < len(host.gpus):
        return failed(f"a program ran on {len(good)} of {len(host.gpus)} GPUs", **facts)
    return passed(f"vector sum right on {len(good)} GPUs{_since(moment)}", **facts)


def _spent(block: Mapping[str, Any], key: str) -> float | None:
    """Return the time of what ran on the GPUs side by side, compiled programs one after another."""
    spent = [longest(items(block, "gpus"), key)]
    if key == "vector_add_seconds":
        spent.append(duration(*items(block, "run")))
    known = [seconds for seconds in spent if seconds is not None]
    return round(sum(known), 4) if known else None


def _wrong(result: Mapping[str, Any]) -> bool:
    return bool(result.get("error")) or result.get("wrong") != 0 or not result.get("elements")


@judges("gemm.correct")
def gemm_correct(host: Evidence) -> Finding:
    """Judge: the matrix products are exact."""
    block, moment = host.tried("programs")
    if not block:
        return skipped(NOT_TRIED)
    gpus = items(block, "gpus")
    if not gpus:
        return failed("no GPU could be used", expected=f"{len(host.gpus)} GPUs", observed="0")
    complaints, lines = [], []
    for gpu in gpus:
        if gpu.get("error"):
            complaints.append(f"{gpu.get('slot') or 'GPU'}: {gpu['error']}")
            continue
        products = mapping(gpu.get("gemm"))
        for kind in products:
            product = mapping(products[kind])
            text = ", ".join(f"{name} {value}" for name, value in product.items())
            lines.append(f"{gpu.get('slot')} {kind}: {text}")
            counts = (product.get("wrong_rows"), product.get("wrong_samples"))
            wrong = any(count != 0 for count in counts) or product.get("differs_from_fp32")
            if wrong and "skipped" not in product:
                complaints.append(f"{gpu.get('slot')}: {kind} product is wrong ({text})")
    evidence = "\n".join(lines) or None
    seconds = _spent(block, "gemm_seconds")
    if complaints:
        told = "\n".join(complaints)
        return failed(complaints[0], evidence=told, observed=evidence, seconds=seconds)
    if not lines:
        return failed("no product was made", evidence=str(gpus), seconds=seconds)
    return passed(f"exact on {len(gpus)} GPUs{_since(moment)}", evidence=evidence, seconds=seconds)


def _cudnn(host: Evidence) -> tuple[Mapping[str, Any], str | None, Finding | None]:
    """Return cuDNN's block and, when nothing can be judged, the finding that says why."""
    block, moment = host.tried("programs")
    if not block:
        return {}, None, skipped(NOT_TRIED)
    if host.stack is not None and host.stack.cudnn is None and not block.get("cudnn"):
        return {}, None, skipped("no cuDNN is wanted on this host")
    cudnn = mapping(block.get("cudnn"))
    if not cudnn or cudnn.get("skipped"):
        why = cudnn.get("skipped") or block.get("skipped") or "no CUDA compiler on this host"
        return {}, None, skipped(str(why))
    return cudnn, moment, None


def dotted_cudnn(number: int) -> str:
    """Write cuDNN's version number as it is spoken: 91002 -> 9.10.2, 8907 -> 8.9.7."""
    base = 10000 if number >= 10000 else 1000  # noqa: PLR2004 - cuDNN 9 widened the number
    return f"{number // base}.{number % base // 100}.{number % 100}"


@judges("cudnn.runtime")
def cudnn_runtime(host: Evidence) -> Finding:
    """Judge: a program compiled with the header loads the library of the same version."""
    cudnn, moment, nothing = _cudnn(host)
    if nothing is not None:
        return nothing
    step = mapping(cudnn.get("compile"))
    if step.get("rc") != 0:
        return failed(
            "a program with cudnn.h does not compile",
            seconds=duration(step),
            evidence=command_text(step),
            remedy=_compiler_remedy(step),
        )
    run = mapping(cudnn.get("version"))
    seconds = duration(step, run)
    answer = next(iter(items(run, "results")), {})
    compiled, loaded = whole(answer, "header"), whole(answer, "runtime")
    if not compiled or loaded is None:
        evidence = command_text(run)
        return failed("the compiled program does not start", evidence=evidence, seconds=seconds)
    header, runtime = dotted_cudnn(compiled), dotted_cudnn(loaded)
    facts: dict[str, Any] = {
        "expected": header,
        "observed": runtime,
        "evidence": command_text(run),
        "seconds": seconds,
    }
    if header != runtime:
        return failed(f"compiled for {header}, loaded {runtime}", **facts)
    return passed(f"{runtime}{_since(moment)}", **facts)


@judges("cudnn.convolution")
def cudnn_convolution(host: Evidence) -> Finding:
    """Judge: the convolution matches the CPU."""
    cudnn, moment, nothing = _cudnn(host)
    if nothing is not None:
        return nothing
    run = mapping(cudnn.get("run"))
    if not run:
        return skipped("the program could not be compiled")
    answer = next(iter(items(run, "results")), {})
    facts: dict[str, Any] = {"evidence": command_text(run), "seconds": duration(run)}
    if run.get("rc") != 0 or _wrong(answer):
        why = answer.get("error") or f"{answer.get('wrong')} elements wrong"
        return failed(str(why), expected="0 elements wrong", **facts)
    return passed(f"{answer.get('elements')} elements right{_since(moment)}", **facts)


def _found_frameworks(
    block: Mapping[str, Any],
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Return environment, framework and command of everything that was found."""
    for env in items(block, "envs"):
        for framework in items(env, "frameworks"):
            name = f"{env.get('python')}: {framework.get('framework')} {framework.get('version')}"
            yield name, framework, mapping(env.get("command"))


def _silent(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Environments that should have said something and did not."""
    return [env for env in items(block, "envs") if not env.get("frameworks")]


def _capabilities(host: Evidence, framework: Mapping[str, Any]) -> set[str]:
    """Compute capabilities that the framework must serve: as it sees them, else the catalog's."""
    seen = {
        str(gpu["compute_capability"])
        for gpu in items(framework, "gpus")
        if gpu.get("compute_capability")
    }
    return seen or {gpu.cc for gpu in host.known_gpus}


@judges("framework.arch")
def framework_arch(host: Evidence) -> Finding:
    """Judge: every framework's architecture list contains the GPU's."""
    block, moment = host.tried("frameworks")
    if not block:
        return skipped(NOT_TRIED)
    complaints, lines = [], []
    for name, framework, _ in _found_frameworks(block):
        architectures = texts(framework, "architectures")
        if not architectures:
            continue
        lines.append(f"{name} (CUDA {framework.get('cuda')}): {', '.join(architectures)}")
        complaints += [
            f"{name} has no code for compute capability {capability}"
            for capability in sorted(_capabilities(host, framework))
            if not supports(architectures, capability)
        ]
    evidence = "\n".join(lines) or None
    facts: dict[str, Any] = {"evidence": evidence, "seconds": _in_environments(block)}
    if complaints:
        return failed("; ".join(complaints), **facts)
    if not lines:
        return skipped("no environment with a framework that lists its architectures")
    return passed(f"{len(lines)} environments{_since(moment)}", **facts)


def _in_environments(block: Mapping[str, Any]) -> float | None:
    """Return the time of the programs in the environments; one serves all of their checks."""
    return duration(*(mapping(env.get("command")) for env in items(block, "envs")))


@judges("framework.kernel")
def framework_kernel(host: Evidence) -> Finding:
    """Judge: a kernel ran in every environment, on every GPU, with the right result."""
    block, moment = host.tried("frameworks")
    if not block:
        return skipped(NOT_TRIED)
    complaints = [
        f"{env.get('python')} said nothing: {command_text(mapping(env.get('command')))}"
        for env in _silent(block)
    ]
    lines = []
    for name, framework, _ in _found_frameworks(block):
        gpus = items(framework, "gpus")
        if framework.get("error") or not gpus:
            why = framework.get("error") or framework.get("unavailable") or "sees no GPU"
            complaints.append(f"{name}: {why}")
        for gpu in gpus:
            text = f"{name} on {gpu.get('name')}: {gpu.get('error') or gpu.get('wrong')}"
            lines.append(text if gpu.get("error") else f"{text} wrong")
            if gpu.get("error") or gpu.get("wrong") != 0:
                complaints.append(text)
    seconds = _in_environments(block)
    if complaints:
        evidence = "\n".join(complaints + lines)
        return failed(complaints[0][:400], evidence=evidence, seconds=seconds)
    if not lines:
        return skipped("no environment with a framework")
    evidence = "\n".join(lines)
    return passed(f"{len(lines)} times right{_since(moment)}", evidence=evidence, seconds=seconds)


@judges("framework.extensions")
def framework_extensions(host: Evidence) -> Finding:
    """Judge: extension modules load and their operators are there."""
    block, moment = host.tried("frameworks")
    if not block:
        return skipped(NOT_TRIED)
    complaints, lines = [], []
    for name, framework, _ in _found_frameworks(block):
        for extension, error in mapping(framework.get("extensions")).items():
            lines.append(f"{name}: {extension} {error or 'loads'}")
            if error:
                complaints.append(f"{extension}: {error}")
    facts: dict[str, Any] = {
        "evidence": "\n".join(lines) or None,
        "seconds": _in_environments(block),
    }
    if complaints:
        return failed("; ".join(complaints)[:400], **facts)
    if not lines:
        return skipped("no compiled extension beside a framework")
    return passed(f"{len(lines)} load{_since(moment)}", **facts)
