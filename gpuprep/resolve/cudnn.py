"""cuDNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.model import Package
from gpuprep.model.value import Value
from gpuprep.model.versions import at_most, nearest
from gpuprep.resolve.case import Case, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuprep.catalog.tables import CudnnSeries


class Cudnn(Value, frozen=True):
    """A series for one CUDA major, and its exact release; None where the newest is right."""

    series: CudnnSeries
    major: int
    release: str | None

    @property
    def label(self) -> str:
        """The release where it is fixed, else the series."""
        return self.release or self.series.name


def choose_cudnn(case: Case, majors: Sequence[int]) -> Cudnn:
    """Return the cuDNN for the first of the CUDA majors, that of the default toolkit.

    A host has one cuDNN: packages for two CUDA majors own the same files.

    Raises:
        Refused: no release fits GPUs, CUDA and setting.

    """
    major, *others = dict.fromkeys(majors)
    if others:
        case.warn("W_CUDNN_ONE_MAJOR", major=major, others=", ".join(map(str, others)))
    setting = case.desired.cudnn
    name = case.catalog.default_cudnn if setting == "auto" else setting.split(".")[0]
    series = _series(case, name)
    if setting in {"auto", series.name}:
        return _newest_fitting(case, series, major)
    return _asked_for(case, series, setting, major)


def cudnn_packages(case: Case, cudnn: Cudnn) -> tuple[Package, ...]:
    """Return runtime and headers, at one version."""
    names = cudnn.series.names[case.system.family]
    release, major = cudnn.release, cudnn.major
    version = names.version[major].format(v=release) if release else None
    templates = names.packages if release else names.newest + names.packages
    return tuple(Package(t.format(M=major), "cudnn", version) for t in templates)


def _series(case: Case, name: str) -> CudnnSeries:
    series = case.catalog.cudnn.get(name)
    if series is None:
        raise _unknown(case)
    return series


def _unknown(case: Case) -> Refused:
    setting = case.desired.cudnn
    releases = (release for series in case.catalog.cudnn.values() for release in series.releases)
    known = ", ".join(nearest(setting, releases))
    return Refused("E_CUDNN_UNKNOWN", "cudnn", cudnn=setting, known=known)


def _asked_for(case: Case, series: CudnnSeries, setting: str, major: int) -> Cudnn:
    matching = [r for r in series.releases if r == setting or r.startswith(setting + ".")]
    if not matching:
        raise _unknown(case)
    release = matching[-1]
    _check_gpus(case, release)
    if release not in series.cuda.get(major, ()):
        raise Refused("E_CUDNN_CUDA", "cudnn", cudnn=release, major=major)
    case.because("cudnn", release, "asked for")
    return Cudnn(series, major, release)


def _newest_fitting(case: Case, series: CudnnSeries, major: int) -> Cudnn:
    for_gpus = [r for r in series.releases if all(r in gpu.arch.cudnn for gpu in case.gpus)]
    if not for_gpus:
        _check_gpus(case, series.releases[-1])
    built = [r for r in for_gpus if r in series.cuda.get(major, ())]
    if not built:
        raise Refused("E_CUDNN_CUDA", "cudnn", cudnn=series.name, major=major)
    newest = built[-1]
    is_free = not series.pinned and newest == series.releases[-1]
    cudnn = Cudnn(series, major, None if is_free else newest)
    case.because("cudnn", cudnn.label, _why(case, cudnn), "cudnn")
    return cudnn


def _why(case: Case, cudnn: Cudnn) -> str:
    series, release = cudnn.series, cudnn.release
    if release is None:
        return f"newest of series {series.name} in the repository"
    for gpu in case.gpus:
        if gpu.arch.cudnn.last == release:
            return f"last release with kernels for {gpu.arch.name.capitalize()}"
    if series.cuda[cudnn.major].last == release:
        return f"last release built for CUDA {cudnn.major}"
    return f"last release of series {series.name}"


def _check_gpus(case: Case, release: str) -> None:
    for gpu in case.gpus:
        span = gpu.arch.cudnn
        if release not in span:
            late = not at_most(release, span.last)
            hint = f"the last is {span.last}" if late else f"the first is {span.first}"
            raise Refused(
                "E_CUDNN_ARCH",
                "cudnn",
                cudnn=release,
                gpu=gpu.name,
                arch=gpu.arch.name,
                hint=hint,
            )
