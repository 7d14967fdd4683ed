"""Which set of Python packages Faceswap gets on a host: by GPU, driver, machine, C library."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from gpuprep.layout import package_root
from gpuprep.model import Faceswap
from gpuprep.model.capabilities import supports
from gpuprep.model.value import Value
from gpuprep.model.versions import at_least, at_most, key
from gpuprep.resolve.case import Refused
from gpuprep.workloads.python_lock import digest_of

if TYPE_CHECKING:
    from gpuprep.catalog.tables import FaceswapRules, FaceswapVariant
    from gpuprep.resolve.case import Case

NAME: Final = "faceswap"


class _Driver(Value, frozen=True):
    """The driver that a host gets or has: a full version, or the newest of a branch."""

    version: str
    newest_of_branch: bool = False

    def meets(self, floor: str) -> bool:
        """Return whether it is this version or newer."""
        if self.newest_of_branch:
            return key(self.version)[0] >= key(floor)[0]
        return at_least(self.version, floor)


def choose(case: Case) -> Faceswap:
    """Return Faceswap as it fits a host.

    Raises:
        Refused: it does not run there: too little memory, a C library or Python that it has no
            packages for, no packages for the GPU, no driver for the packages.

    """
    rules = case.catalog.faceswap
    _check_host(case, rules)
    backend = _backend(case)
    variant = _variant(case, rules, backend)
    commit = rules.commit
    if case.desired.faceswap_commit not in {"auto", rules.commit}:
        commit = case.desired.faceswap_commit
        case.warn("W_FS_COMMIT", commit=commit, known=rules.commit)
    why = "the release whose packages are locked" if commit == rules.commit else "asked for"
    case.because(NAME, commit[:12], why, NAME)
    python = _python(case, rules)
    return Faceswap(
        variant=variant.name,
        backend=backend,
        torch=variant.torch.version,
        python=python,
        repository=rules.repository,
        commit=commit,
        lock=digest_of(lock_text(variant.name)),
    )


@cache
def lock_text(variant: str) -> str:
    """Return the lock of a variant's Python packages, as pip reads it."""
    path = package_root() / "workloads" / NAME / "locks" / f"{variant}.txt"
    return path.read_text(encoding="utf-8")


def _check_host(case: Case, rules: FaceswapRules) -> None:
    memory, glibc = case.facts.memory_mb, case.system.glibc
    if memory is not None and memory < rules.memory_mb:
        raise Refused("E_FS_MEMORY", "components", have=memory, need=rules.memory_mb)
    if glibc is not None and not at_least(glibc, rules.glibc):
        raise Refused("E_FS_GLIBC", "components", os=case.facts.os, have=glibc, need=rules.glibc)


def _python(case: Case, rules: FaceswapRules) -> str:
    wanted = case.desired.faceswap_python
    if wanted == "auto":
        case.because("Python", rules.python, "the release that Faceswap was run with", NAME)
        return rules.python
    first, last = rules.pythons.first, rules.pythons.last
    if not at_least(wanted, first) or not at_most(wanted, last):
        known = f"{first} to {last}"
        raise Refused("E_FS_PYTHON", "faceswap_python", python=wanted, known=known)
    case.because("Python", wanted, "asked for", NAME)
    return wanted


def _backend(case: Case) -> Literal["nvidia", "cpu"]:
    wanted = case.desired.faceswap_backend
    if wanted == "auto":
        found = "the host has an NVIDIA GPU" if case.gpus else "the host has no NVIDIA GPU"
        backend: Literal["nvidia", "cpu"] = "nvidia" if case.gpus else "cpu"
        case.because("backend", backend, found)
        return backend
    if wanted == "nvidia" and not case.gpus:
        raise Refused("E_FS_NO_GPU", "faceswap_backend")
    case.because("backend", wanted, "asked for")
    return wanted


def _variant(case: Case, rules: FaceswapRules, backend: str) -> FaceswapVariant:
    wanted = case.desired.faceswap_variant
    variants = [v for v in rules.variants if wanted in {"auto", v.name}]
    if not variants:
        known = ", ".join(v.name for v in rules.variants)
        expected = f"it must be auto or one of {known}"
        setting = "faceswap_variant"
        raise Refused("E_SETTING", setting, setting=setting, value=wanted, expected=expected)
    if backend == "cpu":
        chosen = variants[0]
        case.because("variant", chosen.name, f"torch {chosen.torch.version}, without a GPU", NAME)
        return chosen
    fitting = [v for v in variants if not _unfit(case, v)]
    if not fitting:
        raise _no_code(case, variants)
    driver = _driver(case)
    for variant in fitting:
        if driver is not None and driver.meets(variant.torch.min_driver):
            _tell(case, rules, variant, driver)
            return variant
    need = min((v.torch.min_driver for v in fitting), key=key)
    have = driver.version if driver else "none"
    values = {"variant": "/".join(v.name for v in fitting), "need": need, "have": have}
    raise Refused("E_FS_DRIVER", "faceswap_variant", "branch", "version", "keep_driver", **values)


def _unfit(case: Case, variant: FaceswapVariant) -> list[str]:
    """Return the GPUs, in words, that a variant has no code for on this machine."""
    runs = case.facts.arch in variant.machines
    return [
        f"{gpu.name} ({gpu.cc})"
        for gpu in case.gpus
        if not runs or not supports(variant.torch.arches, gpu.cc)
    ]


def _no_code(case: Case, variants: list[FaceswapVariant]) -> Refused:
    gpus = dict.fromkeys(name for variant in variants for name in _unfit(case, variant))
    known = "; ".join(
        f"{variant.name} (torch {variant.torch.version}): {', '.join(variant.torch.arches)}"
        f" on {', '.join(variant.machines)}"
        for variant in variants
    )
    values = {"gpu": ", ".join(gpus), "arch": case.facts.arch, "known": known}
    return Refused("E_FS_ARCH", "faceswap_variant", **values)


def _driver(case: Case) -> _Driver | None:
    """Return the driver that the host gets, or else has."""
    if case.driver is not None:
        exact = case.driver.exact
        return _Driver(exact or case.driver.version, newest_of_branch=exact is None)
    return _Driver(case.facts.driver) if case.facts.driver else None


def _tell(case: Case, rules: FaceswapRules, variant: FaceswapVariant, driver: _Driver) -> None:
    gpus = ", ".join(dict.fromkeys(f"{gpu.name} ({gpu.cc})" for gpu in case.gpus))
    torch = variant.torch
    why = f"torch {torch.version} (CUDA {torch.cuda}) has code for {gpus}"
    passed_over = rules.variants[: rules.variants.index(variant)]
    if case.desired.faceswap_variant != "auto":
        why = f"asked for; {why}"
    for other in passed_over if case.desired.faceswap_variant == "auto" else ():
        lacks = "has not" if _unfit(case, other) else f"needs driver {other.torch.min_driver}"
        why += f"; {other.name} {lacks}"
    case.because("variant", variant.name, f"{why}; driver {driver.version}", "frameworks")
