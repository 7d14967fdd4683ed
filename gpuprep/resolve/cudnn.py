"""cuDNN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuprep.model import Package
from gpuprep.model.versions import at_most
from gpuprep.resolve.case import Case, Refused

if TYPE_CHECKING:
    from gpuprep.catalog.tables import CudnnSeries


@dataclass(frozen=True, slots=True)
class Cudnn:
    """A series, and the exact release by CUDA major; None where the newest is right."""

    series: CudnnSeries
    releases: dict[int, str | None]

    @property
    def label(self) -> str:
        """The release when it is one for all CUDA majors, else the series."""
        kinds = set(self.releases.values())
        only = kinds.pop() if len(kinds) == 1 else None
        return only or self.series.name


def choose_cudnn(case: Case, majors: tuple[int, ...]) -> Cudnn:
    """Choose cuDNN for the CUDA majors on the host.

    Raises:
        Refused: no release fits GPUs, CUDA and setting.

    """
    setting = case.desired.cudnn
    series = _series(
        case, case.catalog.default_cudnn if setting == "auto" else setting.split(".")[0]
    )
    if setting in {"auto", series.name}:
        chosen = _newest_fitting(case, series, majors)
    else:
        chosen = _asked_for(case, series, setting, majors)
    if series.pinned and len(majors) > 1:
        raise Refused(
            "E_CUDNN_MAJORS",
            "cudnn",
            "cuda",
            cudnn=series.name,
            majors=", ".join(map(str, sorted(majors))),
        )
    return chosen


def cudnn_packages(case: Case, cudnn: Cudnn) -> tuple[Package, ...]:
    """Give runtime and headers, at one version, for every CUDA major."""
    names = cudnn.series.names[case.system.family]
    packages = []
    for major, release in sorted(cudnn.releases.items()):
        version = names.version[major].format(v=release) if release else None
        templates = names.packages if release else names.newest + names.packages
        packages += [Package(t.format(M=major), "cudnn", version) for t in templates]
    return tuple(packages)


def _series(case: Case, name: str) -> CudnnSeries:
    series = case.catalog.cudnn.get(name)
    if series is None:
        raise Refused("E_CUDNN_UNKNOWN", "cudnn", cudnn=case.desired.cudnn)
    return series


def _asked_for(case: Case, series: CudnnSeries, setting: str, majors: tuple[int, ...]) -> Cudnn:
    matching = [r for r in series.releases if r == setting or r.startswith(setting + ".")]
    if not matching:
        raise Refused("E_CUDNN_UNKNOWN", "cudnn", cudnn=setting)
    release = matching[-1]
    _check_gpus(case, release)
    for major in majors:
        if release not in series.cuda.get(major, ()):
            raise Refused("E_CUDNN_CUDA", "cudnn", cudnn=release, major=major)
    case.because("cudnn", release, "asked for")
    return Cudnn(series, dict.fromkeys(majors, release))


def _newest_fitting(case: Case, series: CudnnSeries, majors: tuple[int, ...]) -> Cudnn:
    for_gpus = [r for r in series.releases if all(r in gpu.arch.cudnn for gpu in case.gpus)]
    if not for_gpus:
        _check_gpus(case, series.releases[-1])
    newest = {}
    for major in majors:
        built = [r for r in for_gpus if r in series.cuda.get(major, ())]
        if not built:
            raise Refused("E_CUDNN_CUDA", "cudnn", cudnn=series.name, major=major)
        newest[major] = built[-1]
    oldest = min(newest.values(), key=series.releases.index)
    if all(oldest in series.cuda[major] for major in majors):
        newest = dict.fromkeys(majors, oldest)
    free = not series.pinned
    releases = {m: None if free and r == series.releases[-1] else r for m, r in newest.items()}
    cudnn = Cudnn(series, releases)
    case.because("cudnn", cudnn.label, _why(case, series, releases), "cudnn")
    return cudnn


def _why(case: Case, series: CudnnSeries, releases: dict[int, str | None]) -> str:
    pinned = next((r for r in releases.values() if r), None)
    if pinned is None:
        return f"newest of series {series.name} in the repository"
    for gpu in case.gpus:
        if gpu.arch.cudnn.last == pinned:
            return f"last release with kernels for {gpu.arch.name.capitalize()}"
    for major in releases:
        if series.cuda[major].last == pinned:
            return f"last release built for CUDA {major}"
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
