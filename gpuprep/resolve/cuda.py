"""CUDA toolkits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.catalog.tables import Range
from gpuprep.model import CudaToolkit, Package
from gpuprep.model.value import Value
from gpuprep.model.variables import variable_of
from gpuprep.model.versions import at_least, at_most, key, nearest
from gpuprep.resolve.case import Case, Driver, Refused

if TYPE_CHECKING:
    from gpuprep.catalog.tables import Toolkit


class Choice(Value, frozen=True):
    """A toolkit line, and its exact release when one was asked for."""

    line: Toolkit
    release: str | None

    @property
    def major(self) -> int:
        """CUDA major version."""
        return key(self.line.version)[0]


def choose_toolkits(case: Case, driver: Driver | None) -> tuple[Choice, ...]:
    """Choose the toolkits, default first.

    Raises:
        Refused: a setting is unknown, or does not fit the GPUs or the driver.

    """
    wanted = case.desired.cuda
    if not wanted:
        automatic = _automatic(case, driver)
        return _default_first(case, {automatic.line.version: automatic})
    chosen = {choice.line.version: choice for choice in (_find(case, w, driver) for w in wanted)}
    for choice in chosen.values():
        _check_gpus(case, choice)
        if driver is not None:
            _check_driver(case, choice, driver, "cuda")
        case.because("cuda", choice.release or choice.line.version, "asked for")
    return _default_first(case, chosen)


def warn_about_toolkits(case: Case, toolkits: tuple[Choice, ...]) -> None:
    """Warn of a gcc or a glibc too new for nvcc, and of a toolkit NVIDIA's directory may lack."""
    gcc = case.facts.system_gcc
    for choice in toolkits:
        version = choice.line.version
        newest = case.catalog.cuda.newest_gcc(version)
        if gcc is not None and newest is not None and gcc > newest:
            case.warn("W_HOST_GCC", cuda=version, max=newest, gcc=gcc)
        _warn_about_glibc(case, version)
        # What a mirror holds is its owner's business.
        if version not in case.system.cuda and case.desired.mirror is None:
            case.warn("W_CUDA_UNSEEN", cuda=version, os=case.facts.os, seen=case.system.cuda)


def _warn_about_glibc(case: Case, cuda: str) -> None:
    glibc, rules = case.system.glibc, case.catalog.cuda
    if glibc is None or at_most(glibc, rules.newest_glibc(cuda)):
        return
    good = (v for v in case.catalog.toolkits if at_most(glibc, rules.newest_glibc(v)))
    case.warn(
        "W_HOST_GLIBC",
        cuda=cuda,
        os=case.facts.os,
        max=rules.newest_glibc(cuda),
        glibc=glibc,
        good=str(Range(next(good, "to come"), None)),
    )


def toolkits_of(case: Case, choices: tuple[Choice, ...]) -> tuple[CudaToolkit, ...]:
    """Return the toolkits as the stack names them."""
    rules = case.catalog.cuda
    return tuple(
        CudaToolkit(
            version=choice.line.version,
            package=_fill(rules.package, choice.line.version),
            names=tuple(_fill(pattern, choice.line.version) for pattern in rules.closure),
        )
        for choice in choices
    )


def toolkit_packages(
    case: Case, choices: tuple[Choice, ...], driver: Driver | None
) -> tuple[Package, ...]:
    """Return the packages of the toolkits, with cuda-compat where it was allowed and is needed."""
    rules = case.catalog.cuda
    form = rules.version_form[case.system.family]
    packages = []
    for choice in choices:
        exact = form.format(v=choice.release) if choice.release else None
        packages.append(Package(_fill(rules.package, choice.line.version), "cuda", exact))
        if driver is not None and choice.major > driver.branch.max_major:
            packages.append(Package(_fill(rules.compat_package, choice.line.version), "cuda"))
    return tuple(packages)


def _fill(template: str, version: str) -> str:
    major, minor = key(version)
    return template.format(M=major, m=minor)


def _automatic(case: Case, driver: Driver | None) -> Choice:
    catalog = case.catalog
    if driver is not None:
        branch = driver.branch
    else:
        branch = catalog.branches[catalog.channels[case.desired.channel][0]]
    for_gpus = [
        line
        for line in catalog.toolkits.values()
        if all(line.version in gpu.cuda for gpu in case.gpus)
    ]
    if not for_gpus:
        gpu = min(case.gpus, key=lambda gpu: key(gpu.cuda.last or "999"))
        raise Refused(
            "E_CUDA_ARCH", cuda=branch.native_cuda, gpu=gpu.name, cc=gpu.cc, range=str(gpu.cuda)
        )
    runs = [line for line in for_gpus if driver is None or _runs_on(case, line, driver)]
    native = [line for line in runs if at_most(line.version, branch.native_cuda)]
    choice = Choice((native or runs or for_gpus)[-1 if native else 0], None)
    _explain_automatic(case, choice, branch.name, branch.native_cuda)
    if driver is not None:
        _check_driver(case, choice, driver, "keep_driver", "version", "branch")
    return choice


def _runs_on(case: Case, line: Toolkit, driver: Driver) -> bool:
    major = key(line.version)[0]
    floor = case.catalog.cuda.driver_floor.get(major)
    return major <= driver.branch.max_major and at_least(driver.version, floor)


def _explain_automatic(case: Case, choice: Choice, branch: str, native: str) -> None:
    version = choice.line.version
    limits = [gpu for gpu in case.gpus if native not in gpu.cuda]
    if limits:
        why = f"{limits[0].name} (compute capability {limits[0].cc}) takes {limits[0].cuda}"
        case.because("cuda", version, why, "capabilities")
    else:
        case.because("cuda", version, f"native to driver branch {branch}", "branches")


def _find(case: Case, setting: str, driver: Driver | None) -> Choice:
    toolkits = case.catalog.toolkits
    line = toolkits.get(setting)
    if line is not None:
        return Choice(line, None)
    for candidate in toolkits.values():
        if setting in candidate.releases:
            return Choice(candidate, setting)
    of_major = [line for line in toolkits.values() if line.version.split(".")[0] == setting]
    if not of_major:
        raise Refused("E_CUDA_UNKNOWN", "cuda", cuda=setting, known=_nearest(case, setting))
    fitting = [line for line in of_major if all(line.version in gpu.cuda for gpu in case.gpus)]
    native = driver.branch.native_cuda if driver else None
    best = [line for line in fitting if at_most(line.version, native)] or fitting or of_major
    return Choice(best[-1], None)


def _nearest(case: Case, setting: str) -> str:
    """Return what may have been meant: the releases of that line, or the lines around it."""
    toolkits = case.catalog.toolkits
    line = toolkits.get(".".join(setting.split(".")[:2]))
    return ", ".join(line.releases if line else nearest(setting, toolkits))


def _default_first(case: Case, chosen: dict[str, Choice]) -> tuple[Choice, ...]:
    newest_first = sorted(chosen, key=key, reverse=True)
    default = case.desired.cuda_default
    if default is None:
        return tuple(chosen[version] for version in newest_first)
    line = next((v for v in newest_first if default in {v, chosen[v].release}), None)
    if line is None:
        raise Refused(
            "E_SETTING",
            "cuda_default",
            setting=variable_of("cuda_default"),
            value=default,
            expected=f"it must be one of {', '.join(newest_first)}",
        )
    return (chosen[line], *(chosen[v] for v in newest_first if v != line))


def _check_gpus(case: Case, choice: Choice) -> None:
    for gpu in case.gpus:
        if choice.line.version not in gpu.cuda:
            raise Refused(
                "E_CUDA_ARCH",
                "cuda",
                cuda=choice.line.version,
                gpu=gpu.name,
                cc=gpu.cc,
                range=str(gpu.cuda),
            )


def _check_driver(case: Case, choice: Choice, driver: Driver, *settings: str) -> None:
    version, branch = choice.line.version, driver.branch
    floor = case.catalog.cuda.driver_floor.get(choice.major)
    if choice.major > branch.max_major:
        if not case.desired.forward_compat:
            raise Refused(
                "E_CUDA_DRIVER_MAJOR",
                *settings,
                cuda=version,
                need=floor,
                b=branch.name,
                max=branch.max_major,
            )
        case.warn("W_FORWARD_COMPAT", cuda=version, pkg=version.replace(".", "-"))
        return
    if not at_least(driver.version, floor):
        raise Refused("E_CUDA_DRIVER_OLD", *settings, cuda=version, need=floor, have=driver.version)
    if not at_most(version, branch.native_cuda):
        case.warn("W_MINOR_COMPAT", cuda=version, b=branch.name, native=branch.native_cuda)
