"""The probe's way in: ``probe(tier, options)`` gathers the evidence of one tier, in one go."""

import os
import time

from . import base, kernel_log, libraries, nvml, proof

SCHEMA = 1
DEADLINES = {"nvml": 30.0, "libcuda": 10.0, "fabric_manager": 5.0}


def probe(tier, options=None):
    """Gather evidence; never raises for what a host lacks, never waits past its deadlines.

    Options, all optional: ``deadlines`` {name: seconds}, ``nvml_library``, ``cuda_library``,
    ``kmsg``, ``fabric_manager``, ``proof`` (paths), and those of the higher tiers.
    """
    options = options or {}
    began = time.monotonic()
    limits = dict(DEADLINES, **options.get("deadlines", {}))
    answers = {"schema": SCHEMA, "tier": tier}
    answers["nvml"] = base.bounded(
        nvml.collect, limits["nvml"], options.get("nvml_library", "libnvidia-ml.so.1")
    )
    answers["libcuda"] = base.bounded(
        libraries.cuda_driver, limits["libcuda"], options.get("cuda_library", "libcuda.so.1")
    )
    answers["fabric_manager"] = libraries.fabric_manager(
        limits["fabric_manager"], options.get("fabric_manager", "/usr/bin/nv-fabricmanager")
    )
    timings = answers["timings"] = {}
    answers["modules"] = _timed(timings, "modules", libraries.modules_by_kernel)
    record = options.get("proof", proof.PATH)
    before = _timed(timings, "proof", proof.read, record)
    answers["identity"] = proof.identity(answers)
    if tier != "quick":
        from . import programs  # noqa: PLC0415 - the quick tier is shipped without it

        answers.update(programs.collect(tier, options, answers))
        problem = proof.write(answers, before, record) if answers["identity"]["gpus"] else None
        if problem:
            answers["proof_not_stored"] = problem
    answers["proof"] = before
    kmsg = options.get("kmsg", "/dev/kmsg")
    answers["xid"] = _timed(timings, "xid", kernel_log.collect, kmsg)
    spent = os.times()
    answers["cpu_seconds"] = round(sum(spent[:4]), 4)
    answers["seconds"] = round(time.monotonic() - began, 4)
    return answers


def _timed(timings, name, work, *arguments):
    """Return what ``work`` gives; the seconds that it took are kept by its name."""
    began = time.monotonic()
    try:
        return work(*arguments)
    finally:
        timings[name] = round(time.monotonic() - began, 4)
