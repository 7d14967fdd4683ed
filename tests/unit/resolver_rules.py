"""The rules a stack must obey, said a second time: straight from the raw data, no resolver code."""
# ruff: noqa: ARG001, C901, SIM102  (each rule takes the whole case; one branch per fact reads best)

from __future__ import annotations

import itertools
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from gpuprep.catalog.load import DATA_FILE, read
from gpuprep.components import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuprep.model import DesiredStack, HostFacts, Stack

DATA = read(DATA_FILE, check=False)
BOTH = ("open", "proprietary")


def wanted_names(desired: DesiredStack) -> tuple[str, ...]:
    """Names of the components that are asked for."""
    return NAMES if desired.components is None else desired.components


def numbers(version: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", version)]


def between(version: str, ends: list[str | None]) -> bool:
    first, last = ends
    above = first is None or numbers(version) >= numbers(first)
    return above and (last is None or numbers(version) <= numbers(last))


def gpus_of(facts: HostFacts) -> list[dict[str, Any]]:
    items = DATA["gpus"]["items"]
    return [items.get(pci, items[DATA["gpus"]["unknown_is_like"]]) for pci in set(facts.gpus)]


def broken_rules(facts: HostFacts, desired: DesiredStack, stack: Stack) -> list[str]:
    """Every rule of the data that a stack breaks."""
    return [problem for rule in RULES for problem in rule(facts, desired, stack)]


def _driver(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    if stack.branch is None:
        return
    branch = DATA["branches"]["items"][stack.branch]
    version = stack.driver_version or branch["latest"] or f"{stack.branch}.0"
    if stack.source == "distro" and stack.manage_driver:
        version = DATA["archives"]["items"][facts.os]["branches"][stack.branch]["version"]
    for gpu in gpus_of(facts):
        last = DATA["architectures"]["items"][gpu["arch"]]["last_branch"]
        if last and int(stack.branch) > int(last):
            yield f"{gpu['name']} ended at {last}"
        if numbers(version) < numbers(gpu["min_driver"]):
            yield f"{gpu['name']} needs {gpu['min_driver']}, gets {version}"
        if gpu.get("host_arch", facts.arch) != facts.arch:
            yield f"{gpu['name']} in {facts.arch}"
        open_since = gpu.get("open_since", gpu["min_driver"])
        if stack.flavour == "open" and numbers(version) < numbers(open_since):
            yield f"open modules of {version} do not know {gpu['name']}"
    if stack.driver_version and not stack.driver_version.startswith(stack.branch + "."):
        yield f"{stack.driver_version} is not of branch {stack.branch}"


def _flavour(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    if not stack.manage_driver or stack.branch is None:
        return
    for gpu in gpus_of(facts):
        allowed = DATA["architectures"]["items"][gpu["arch"]]["flavours"]
        if stack.flavour not in (["open"] if gpu.get("open_only") else allowed):
            yield f"{stack.flavour} modules for {gpu['name']}"
    packaged = DATA["branches"]["items"][stack.branch]["proprietary"]
    if stack.flavour == "proprietary" and not packaged:
        yield f"proprietary modules of {stack.branch}"
    floor = DATA["branches"]["open_kernel_min"]
    if stack.flavour == "open" and facts.kernel and numbers(facts.kernel) < numbers(floor):
        yield f"open modules on {facts.kernel}"


def _kernel(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    if not stack.manage_driver or stack.branch is None or facts.kernel is None:
        return
    archive = DATA["archives"]["items"].get(facts.os, {}) if stack.source == "distro" else {}
    if any(facts.kernel.endswith(f"-{end}") for end in _signed(archive)):
        return
    entry = archive.get("branches", {}).get(stack.branch, {})
    latest = DATA["branches"]["items"][stack.branch]["latest"] or f"{stack.branch}.0"
    version = stack.driver_version or entry.get("version") or latest
    for name, change in DATA["kernel_changes"]["items"].items():
        if name in entry.get("mended", ()) or stack.flavour not in change.get("flavours", BOTH):
            continue
        first = change["fixed"].get(stack.branch)
        builds = numbers(version) >= numbers(first) if first else stack.branch >= change["since"]
        unused = not between(version, change.get("drivers", [None, None]))
        if not builds and not unused and _has(name, change, facts):
            yield f"{version} {stack.flavour} on {facts.kernel}: {name}"


def _signed(archive: dict[str, Any]) -> list[str]:
    found: list[str] = archive.get("signed_modules", {}).get("flavours", [])
    return found


def _has(name: str, change: dict[str, Any], facts: HostFacts) -> bool:
    release, headers = str(facts.kernel), facts.kernel_headers
    dotted = re.match(r"[\d.]*\d", release)
    own = numbers(dotted.group() if dotted else "0")
    if headers and name in headers.changes:
        if own >= numbers(change["look"].get("since", "0")):
            return headers.changes[name]
    known = [own, *([numbers(headers.version)] if headers and headers.version else [])]
    if change["kernel"] and any(each >= numbers(change["kernel"]) for each in known):
        return True
    for backport in change.get("backports", ()):
        base, _, rest = backport.partition("-")
        if not rest:
            same = [each for each in known if each[:2] == numbers(base)[:2]]
            if any(each >= numbers(base) for each in same):
                return True
            continue
        least, _, pattern = rest.partition("-")
        it = re.fullmatch(rf"{re.escape(base)}-(\d+)[-.](.*)", release)
        if it and int(it[1]) >= int(least) and fnmatchcase(it[2], pattern):
            return True
    return False


def _cuda(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    for toolkit in stack.cuda:
        if toolkit.version not in DATA["cuda"]["items"]:
            yield f"CUDA {toolkit.version} does not exist"
        for gpu in gpus_of(facts):
            if not between(toolkit.version, DATA["capabilities"]["items"][gpu["cc"]]["cuda"]):
                yield f"CUDA {toolkit.version} for cc {gpu['cc']}"
        if stack.branch is None:
            continue
        too_new = toolkit.major > DATA["branches"]["items"][stack.branch]["max_major"]
        compat = f"cuda-compat-{toolkit.version.replace('.', '-')}"
        has_compat = any(p.name == compat for p in stack.packages)
        if too_new != has_compat or (too_new and not desired.forward_compat):
            yield f"CUDA {toolkit.version} on {stack.branch}, compat {has_compat}"
        native = DATA["branches"]["items"][stack.branch]["native_cuda"]
        newer = numbers(toolkit.version) > numbers(native) and not too_new
        if newer != any(f"CUDA {toolkit.version} is newer" in w.message for w in stack.warnings):
            yield f"minor compatibility of {toolkit.version} on {stack.branch} and its warning"


def _glibc(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    here = DATA["systems"]["items"][facts.os].get("glibc")
    for toolkit in stack.cuda:
        limits = [
            numbers(glibc)
            for upto, glibc in DATA["cuda"]["host_glibc"].items()
            if numbers(toolkit.version) <= numbers(upto)
        ]
        clash = bool(here and limits and numbers(here) > min(limits))
        told = [w.message for w in stack.warnings if w.code == "W_HOST_GLIBC"]
        if clash != any(f"nvcc of CUDA {toolkit.version} " in message for message in told):
            yield f"CUDA {toolkit.version} on glibc {here}, told {told}"


def _cudnn(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    found: dict[int, str] = {}
    for package in stack.packages:
        if package.component != "cudnn" or package.version is None:
            continue
        number = re.match(r"[\d.]+", package.version)
        major = re.search(r"cuda-?(\d+)", f"{package.name} {package.version}")
        if number and major:
            found[int(major.group(1))] = number.group()
    for cuda, release in found.items():
        series = DATA["cudnn"]["series"][release.split(".", maxsplit=1)[0]]
        if release not in series["releases"]:
            yield f"cuDNN {release} does not exist"
        if not between(release, series["cuda"].get(str(cuda), ["999", None])):
            yield f"cuDNN {release} for CUDA {cuda}"
        for gpu in gpus_of(facts):
            if not between(release, DATA["architectures"]["items"][gpu["arch"]]["cudnn"]):
                yield f"cuDNN {release} for {gpu['name']}"
    capped = any(DATA["architectures"]["items"][g["arch"]]["cudnn"][1] for g in gpus_of(facts))
    if stack.cudnn and capped and not found:
        yield "cuDNN not pinned for an old GPU"
    cudnn = {p.name: p.version for p in stack.packages if p.component == "cudnn"}
    if set(stack.holds) != set(cudnn):
        yield f"holds {stack.holds}"
    if len({v for v in cudnn.values() if v}) > len(found):
        yield f"runtime and headers differ: {cudnn}"


def _names(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    names = [p.name for p in stack.packages]
    if len(names) != len(set(names)):
        yield f"named twice: {names}"
    for name in names:
        if name in {"cuda", "nvidia-driver-latest-dkms", "libcudnn9"} or "{" in name:
            yield f"package {name}"
        suffix = re.search(r"-(\d{3})(?=$|-server|-open|-driver|-kernel|-smi|-cuda1)", name)
        if suffix and suffix.group(1) != stack.branch:
            yield f"{name} is not of branch {stack.branch}"
        if stack.source == "nvidia" and suffix and int(suffix.group(1)) >= 590:
            if not fnmatchcase(name, "nvidia-driver-pinning-*"):
                yield f"{name}: names have no suffix from 590 on"
    driver = [p for p in stack.packages if p.component == "driver"]
    if bool(driver) != bool(stack.manage_driver and stack.branch):
        yield f"driver packages {driver}"
    if any(
        later.pre_install and not earlier.pre_install
        for earlier, later in itertools.pairwise(driver)
    ):
        yield "a pinning package after others"
    header = facts.kernel and stack.manage_driver and stack.branch
    release = (facts.kernel or "").split("+")[0]
    if header and not any(release in f"{p.name} {p.version}" for p in driver):
        yield "no headers of the running kernel"


def _origin(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    system = DATA["systems"]["items"][facts.os]
    if stack.family != system["family"]:
        yield f"family {stack.family}"
    if stack.repository:
        arch = DATA["repositories"]["arch_dir"][facts.arch]
        base = (desired.mirror or DATA["repositories"]["base"]).rstrip("/")
        if stack.repository.url != f"{base}/{system['distro']}/{arch}/":
            yield f"repository {stack.repository.url}"
        key = DATA["repositories"]["keys"][system["key"]]
        known = key.get("fingerprint") or f"sha256:{key['sha256']}"
        if stack.repository.key.identity != (desired.mirror_fingerprint or known):
            yield f"key {stack.repository.key.identity}"
    from_nvidia = any(p.component in {"cuda", "cudnn"} for p in stack.packages)
    managed = stack.manage_driver and stack.branch is not None
    if (from_nvidia or (managed and stack.source == "nvidia")) and stack.repository is None:
        yield "packages without a repository"
    if managed and stack.family == "deb" and stack.source == "nvidia":
        pinned = any(p.pre_install for p in stack.packages)
        if pinned == bool(stack.pins) or pinned != DATA["branches"]["items"][stack.branch]["pin"]:
            yield "not pinned exactly once"
    locked = bool(stack.version_locks) and all(
        f":{stack.driver_version or f'{stack.branch}.*'}" in line for line in stack.version_locks
    )
    if managed and (stack.family == "rpm") != locked:
        yield f"version locks {stack.version_locks}"
    modular = system["names"] == "rpm_modular"
    if managed and (stack.stream is not None) != modular:
        yield f"stream {stack.stream}"


def _end_of_life(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    if stack.branch is None:
        return
    eol = DATA["branches"]["items"][stack.branch]["eol"]
    over = eol is not None and eol < (desired.as_of or "")
    warned = any(w.code == "W_BRANCH_EOL" for w in stack.warnings)
    if over != warned or (over and not desired.allow_eol):
        yield f"end of life {eol}, warned {warned}"


def _conda(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    if (stack.conda is not None) != ("conda" in wanted_names(desired)):
        yield "conda"
    if stack.conda and not desired.conda_sha256:
        if stack.conda.sha256 != DATA["conda"]["releases"][stack.conda.version][facts.arch]:
            yield f"checksum {stack.conda.sha256}"
        if stack.conda.version not in stack.conda.url or facts.arch not in stack.conda.url:
            yield f"url {stack.conda.url}"


def _settings(facts: HostFacts, desired: DesiredStack, stack: Stack) -> Iterator[str]:
    managed = stack.manage_driver and stack.branch is not None
    if managed and desired.flavour not in {"auto", stack.flavour}:
        yield f"flavour {stack.flavour}, wanted {desired.flavour}"
    became = DATA["archives"]["items"].get(facts.os, {}).get("became", {})
    renamed = stack.source == "distro" and desired.branch in became
    wanted_branch = became[desired.branch] if renamed else desired.branch
    if managed and desired.version == "auto" and wanted_branch not in {"auto", stack.branch}:
        yield f"branch {stack.branch}, wanted {wanted_branch}"
    told = any(warning.code == "W_DISTRO_BRANCH_BECAME" for warning in stack.warnings)
    if managed and desired.version == "auto" and renamed != told:
        yield f"branch {desired.branch} became {wanted_branch}, told {told}"
    if managed and desired.version not in {"auto", stack.driver_version}:
        yield f"version {stack.driver_version}, wanted {desired.version}"
    if desired.keep_driver and "driver" in wanted_names(desired):
        if stack.manage_driver or stack.driver_version != desired.keep_driver:
            yield f"driver {stack.driver_version} instead of the kept one"
    if desired.cuda and "cuda" in wanted_names(desired):
        got = {t.version for t in stack.cuda}
        for setting in desired.cuda:
            if not any(
                setting == v or setting.startswith(v + ".") or v.startswith(setting + ".")
                for v in got
            ):
                yield f"CUDA {got}, wanted {setting}"
    if desired.cudnn != "auto" and stack.cudnn and "cudnn" in wanted_names(desired):
        if not (stack.cudnn + ".").startswith(desired.cudnn.split(".")[0] + "."):
            yield f"cuDNN {stack.cudnn}, wanted {desired.cudnn}"
    wanted = {p.component for p in stack.packages}
    if not wanted <= set(wanted_names(desired)):
        yield f"components {wanted}"


RULES = (
    *(_driver, _flavour, _kernel, _cuda, _glibc, _cudnn, _names, _origin, _end_of_life, _conda),
    _settings,
)
