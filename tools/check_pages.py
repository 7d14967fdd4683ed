"""The page ``docs/checks.md``, made from the list of checks."""

from __future__ import annotations

from gpuprep.ladder.checks import CHECKS, Check
from gpuprep.ladder.rules_burn import BANDWIDTH_SHARE, MATRIX_SHARE, SIBLING_SHARE
from gpuprep.model import Tier

_HEADINGS = {
    "quick": "Tier `quick`: files, versions, driver",
    "full": "Tier `full`: programs",
    "burn-in": "Tier `burn-in`: under load",
}
_PROOF = ", ".join(f"`{check.id}`" for check in CHECKS if check.proof)
_INTRODUCTION = f"""<!-- Written by `make docs` from gpuprep/ladder/checks.py; do not edit. -->
# The checks

`gpuprep verify` climbs one ladder of checks on every host, in one round trip per host and tier.
A tier tries its own checks and those of the tiers before it. Ids are stable.

- **quick** (seconds): reads; makes no CUDA context, writes nothing.
- **full** (a minute or two): compiles and runs programs, and stores what they showed in
  `/var/lib/gpuprep/proof.json` on the host. The quick tier takes that proof over as long as it was
  made in this boot, with this driver and these GPUs.
- **burn-in** (a few minutes): loads all GPUs at the same time.

A host is `ready` only when these have passed: {_PROOF}. Without a
GPU, or where no driver is asked for and none is loaded, it can be `prepared` at best, and the
report says which checks were not tried, and why.

A check marked *warning* is told but does not fail the host. Of the others, those marked *fixed by
apply* leave the host `drifted` as long as there is something to apply; all others make it
`failed`.

## How the answers are got

- The management library (NVML) and the CUDA driver library are asked through their C interfaces, in
  a child process with a deadline: a driver that hangs is cut off and reported, not waited for.
- Programs are small sources of ours in `gpuprep/on_host/programs`. Their inputs are multiples of
  1/8, so that sums are exact in any order: results are compared bit by bit with the CPU.
- Kernels also run from PTX shipped with gpuprep, so that no compiler is needed for them.
- An environment's framework is tried with the environment's own Python, as the user who owns the
  environment, never as root on what a user can write.

## Pass bars of the burn-in

Shares of the data-sheet figure in the catalog: at least {BANDWIDTH_SHARE:.0%} of the memory
bandwidth, at least {MATRIX_SHARE:.0%} of the dense tensor rate (with cuBLAS; without it the rate is
told and not judged). Every GPU must also reach {SIBLING_SHARE:.0%} of the median of its siblings.
"""


def page() -> str:
    """Return the text of the page."""
    parts = [_INTRODUCTION]
    for tier in Tier:
        parts.append(f"\n## {_HEADINGS[tier]}\n")
        parts += [_entry(check) for check in CHECKS if check.tier == tier]
    return "\n".join(parts)


def _entry(check: Check) -> str:
    marks = [
        mark
        for mark, holds in (
            ("needs a GPU", check.needs_gpu),
            ("warning", check.severity == "warning"),
            ("fixed by apply", check.fixed_by_apply),
        )
        if holds
    ]
    marked = f" *({', '.join(marks)})*" if marks else ""
    return (
        f"### `{check.id}`\n\n"
        f"**{check.title}.** {check.proves}{marked}\n\n"
        f"If it fails ({check.failure}): {check.remedy}\n"
    )
