"""Rules on load: bandwidth and matrix rate against the data sheet, equal results, GPU to GPU."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from gpuprep.ladder.answers import items, longest, mapping, number
from gpuprep.ladder.findings import failed, passed, skipped, spelled
from gpuprep.ladder.registry import judges

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gpuprep.ladder.evidence import Evidence
    from gpuprep.ladder.findings import Finding

NOT_TRIED = "not tried: gpuprep verify --tier burn-in"
# Pass bars: shares of the data-sheet figure. Healthy GPUs reach about 0.9 of the bandwidth and, on
# random data within their power limit, 0.6 to 0.8 of the dense tensor rate with cuBLAS.
BANDWIDTH_SHARE = 0.7
MATRIX_SHARE = 0.5
SIBLING_SHARE = 0.85  # of the median GPU in the same host: one slow GPU holds up all others


def _loads(host: Evidence) -> tuple[list[Mapping[str, Any]], Finding | None]:
    """Return each GPU's load, or the finding that says why there is none."""
    burn = host.answer("burn")
    if not burn:
        return [], skipped(NOT_TRIED)
    gpus = items(burn, "gpus")
    broken = [gpu for gpu in gpus if gpu.get("error")]
    if broken or not gpus:
        why = "; ".join(str(gpu.get("error")) for gpu in broken) or "no GPU could be used"
        return gpus, failed(why, evidence=str(broken) if broken else None)
    return gpus, None


def _against(
    gpus: list[Mapping[str, Any]],
    rate: Callable[[Mapping[str, Any]], float],
    figure: Callable[[Mapping[str, Any]], float | None],
    share: float,
) -> tuple[list[str], list[str], bool]:
    """Compare each GPU's rate with its data sheet and with its siblings.

    Returns:
        complaints, one line per GPU, and whether any data sheet was known.

    """
    rates = [rate(gpu) for gpu in gpus]
    middle = median(rates)
    complaints, lines, known = [], [], False
    for gpu, found in zip(gpus, rates, strict=True):
        slot, paper = gpu.get("slot"), figure(gpu)
        if paper:
            known = True
            lines.append(f"{slot}: {found:g} of {paper:g} ({found / paper:.0%})")
            if found < share * paper:
                complaints.append(f"{slot} reaches {found / paper:.0%} of its data sheet")
        else:
            lines.append(f"{slot}: {found:g}")
        if 0 <= found < SIBLING_SHARE * middle:
            complaints.append(f"{slot} reaches {found / middle:.0%} of its siblings' median")
    return complaints, lines, known


@judges("burn.bandwidth")
def burn_bandwidth(host: Evidence) -> Finding:
    """Judge: device memory bandwidth in GB/s."""
    gpus, nothing = _loads(host)
    if nothing is not None:
        return nothing

    def paper(gpu: Mapping[str, Any]) -> float | None:
        known = host.knowledge(str(gpu.get("slot")))
        return known.datasheet.bandwidth if known and known.datasheet else None

    complaints, lines, known = _against(
        gpus,
        lambda gpu: number(mapping(gpu.get("bandwidth")), "gbs"),
        paper,
        BANDWIDTH_SHARE,
    )
    facts = {
        "expected": f"at least {BANDWIDTH_SHARE:.0%} of the data sheet",
        "observed": "; ".join(lines),
        "evidence": "GB/s, bytes read and written by a copy kernel\n" + "\n".join(lines),
        "seconds": longest((mapping(gpu.get("bandwidth")) for gpu in gpus), "seconds"),
    }
    if complaints:
        return failed("; ".join(complaints), **facts)
    if not known:
        return skipped(f"no data sheet for this GPU; measured {'; '.join(lines)} GB/s")
    return passed("; ".join(lines) + " GB/s", **facts)


@judges("burn.matrix")
def burn_matrix(host: Evidence) -> Finding:
    """Judge: sustained matrix rate in TFLOP/s. Our own kernel has no bar: it is simple."""
    gpus, nothing = _loads(host)
    if nothing is not None:
        return nothing
    products = [mapping(gpu.get("matrix")) for gpu in gpus]
    methods = {str(product.get("method")) for product in products}

    def paper(gpu: Mapping[str, Any]) -> float | None:
        known = host.knowledge(str(gpu.get("slot")))
        product = mapping(gpu.get("matrix"))
        if known is None or known.datasheet is None or product.get("method") != "cublas":
            return None
        return known.datasheet.bf16

    complaints, lines, known = _against(
        gpus,
        lambda gpu: number(mapping(gpu.get("matrix")), "tflops"),
        paper,
        MATRIX_SHARE,
    )
    kind = products[0].get("kind")
    facts = {
        "expected": f"at least {MATRIX_SHARE:.0%} of the data sheet",
        "observed": "; ".join(lines),
        "evidence": f"TFLOP/s, {kind}, {', '.join(sorted(methods))}\n"
        + "\n".join(spelled(product) for product in products),
        "seconds": max(number(product, "seconds") for product in products),
    }
    if complaints:
        return failed("; ".join(complaints), **facts)
    if not known:
        why = "no libcublas on the host" if "cublas" not in methods else "no data sheet"
        return skipped(f"{why}, so no bar; measured {'; '.join(lines)} TFLOP/s ({kind})")
    return passed("; ".join(lines) + f" TFLOP/s ({kind})", **facts)


@judges("burn.stable")
def burn_stable(host: Evidence) -> Finding:
    """Judge: products repeat bit by bit, copies arrive unchanged."""
    gpus, nothing = _loads(host)
    if nothing is not None:
        return nothing
    complaints, lines = [], []
    for gpu in gpus:
        slot, product = gpu.get("slot"), mapping(gpu.get("matrix"))
        copied = mapping(gpu.get("bandwidth"))
        counts = {
            "elements that changed between products": product.get("differences"),
            "elements wrong": product.get("wrong_samples"),
            "words changed by copying": copied.get("differences"),
        }
        lines.append(f"{slot}: {product.get('repeats')} products in {product.get('seconds')} s")
        complaints += [f"{slot}: {count} {what}" for what, count in counts.items() if count != 0]
        if not product.get("repeats"):
            complaints.append(f"{slot}: no product was repeated")
        after = mapping(gpu.get("after"))
        counted = mapping(after.get("ecc")).get("uncorrected")
        if counted:
            complaints.append(f"{slot}: {counted} uncorrected memory errors after the load")
        lines.append(f"{slot} afterwards: {spelled(after)}")
    facts = {"evidence": "\n".join(lines), "seconds": longest(gpus, "seconds")}
    if complaints:
        return failed("; ".join(complaints), **facts)
    return passed("; ".join(lines), **facts)


@judges("burn.peer")
def burn_peer(host: Evidence) -> Finding:
    """Judge: every pair copies without error, none far slower than the others."""
    burn = host.answer("burn")
    if not burn:
        return skipped(NOT_TRIED)
    if len(host.gpus) < 2:  # noqa: PLR2004 - a pair
        return skipped("one GPU has no peer")
    peers = mapping(burn.get("peers"))
    pairs = items(peers, "pairs")
    if not pairs:
        return failed(str(peers.get("error") or "no pair was tried"), evidence=str(dict(peers)))
    lines = [
        f"{pair.get('from')} -> {pair.get('to')}: {pair.get('gbs')} GB/s, "
        f"{'direct' if pair.get('direct') else 'through the host'}"
        for pair in pairs
    ]
    middle = median(number(pair, "gbs") for pair in pairs)
    complaints = []
    for pair, line in zip(pairs, lines, strict=True):
        if pair.get("differences") != 0:
            complaints.append(f"{line}: {pair.get('differences')} words wrong")
        elif host.fabric != "none" and not pair.get("direct"):
            complaints.append(f"{line}, although an NVSwitch couples them")
        elif host.fabric != "none" and number(pair, "gbs") < SIBLING_SHARE * middle / 2:
            complaints.append(f"{line}, the median is {middle:g}")
    facts = {"evidence": "\n".join(lines), "seconds": longest([peers], "seconds")}
    if complaints:
        return failed("; ".join(complaints[:3]), **facts)
    return passed(f"{len(pairs)} pairs, median {middle:g} GB/s", **facts)
