"""A fixed set of questions that between them touch every fact; answers are in data/answers.txt.

After a deliberate change of data or rules: ``python tests/unit/resolver_matrix.py --write``, and
read the difference.
"""
# ruff: noqa: C901  (loops within loops are the point)

from __future__ import annotations

import hashlib
import sys
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuprep.catalog import load
from gpuprep.catalog.load import DATA_FILE, read
from gpuprep.components import NAMES, resolve
from gpuprep.model import DesiredStack, HostFacts, HostState, KernelHeaders, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuprep.catalog import Catalog
    from gpuprep.model import Stack

ANSWERS = Path(__file__).parent / "data" / "answers.txt"
DATA = read(DATA_FILE, check=False)
GPUS = DATA["gpus"]["items"]
A10, V100, H100, B200 = "10de:2236", "10de:1db1", "10de:2330", "10de:2901"
KERNELS = [
    "6.8.0-1035-oracle",
    "6.8.0-1035-oracle-64k",
    "6.8.0-60-generic",
    "6.12.0-100.28.2.el9uek.x86_64",
    "5.14.0-570.12.1.el9_6.aarch64+64k",
    "5.14.0-570.12.1.el9_6.x86_64",
]
UNSIGNED = "6.8.0-60-lowlatency"  # no signed modules are known for it
Question = tuple[str, HostFacts, DesiredStack]


def ask(
    name: str,
    gpus: str | tuple[str, ...],
    system: str,
    *components: str,
    host: dict[str, Any] | None = None,
    **settings: Any,
) -> Question:
    gpus = (gpus,) if isinstance(gpus, str) else gpus
    facts = HostFacts(gpus, system, **(host or {}))
    parts = {"components": components or NAMES, "as_of": "2026-11-20"}
    return name, facts, DesiredStack(**(parts | settings))


def below(version: str) -> str:
    """A version just below another one."""
    head, _, last = version.rpartition(".")
    return f"{head}.{int(last) - 1:0{len(last)}d}" if int(last) else f"{head[:-1]}0.9"


def questions() -> Iterator[Question]:
    """Every question, in order."""
    yield from _gpus()
    yield from _systems()
    yield from _branches()
    yield from _toolkits()
    yield from _cudnn()
    yield from _archives()
    yield from _shapes()
    yield from _kernels()
    yield from _kernel_changes()
    yield from _rest()


def _gpus() -> Iterator[Question]:
    for pci, gpu in GPUS.items():
        host = {"arch": gpu.get("host_arch", "x86_64")}
        for channel in DATA["branches"]["channels"]:
            yield ask(f"{pci} {channel}", pci, "ubuntu-24.04", host=host, channel=channel)
        yield ask(f"{pci} other machine", pci, "ol-9", host={"arch": "aarch64"})
        for name in ("min_driver", "open_since"):
            if name not in gpu:
                continue
            setting = {"flavour": "open"} if name == "open_since" else {}
            for version in (gpu[name], below(gpu[name])):
                label = f"{pci} {name} {version}"
                yield ask(
                    label, pci, "ubuntu-24.04", "driver", host=host, version=version, **setting
                )


def _systems() -> Iterator[Question]:
    for system, facts in DATA["systems"]["items"].items():
        for arch in ("x86_64", "aarch64"):
            for pci in (V100, H100):
                host = {"arch": arch, "kernel": "6.1.0-1"}
                yield ask(f"{system} {arch} {pci}", pci, system, host=host)
            yield ask(
                f"{system} {arch} cuDNN 8",
                A10,
                system,
                "cudnn",
                host={"arch": arch},
                cudnn="8",
                cuda=("12.2",),
            )
        for gcc in (*facts.get("gccs", ()), 6):
            host = {"kernel_cc": f"gcc-{gcc} (x) {gcc}.2.0"}
            yield ask(f"{system} kernel gcc {gcc}", A10, system, "driver", host=host)


def _branches() -> Iterator[Question]:
    for branch, facts in DATA["branches"]["items"].items():
        for system in ("ubuntu-22.04", "debian-12", "ol-9", "ol-10"):
            for flavour in ("open", "proprietary"):
                for profile in ("full", "compute"):
                    label = f"{branch} {system} {flavour} {profile}"
                    yield ask(
                        label,
                        "10de:20b0",
                        system,
                        "driver",
                        branch=branch,
                        flavour=flavour,
                        profile=profile,
                    )
        for pci in (A10, B200, "10de:2941"):
            for system in ("ubuntu-24.04", "ol-8"):
                host = {"arch": GPUS[pci].get("host_arch", "x86_64")}
                yield ask(
                    f"{branch} {pci} {system}",
                    pci,
                    system,
                    "driver",
                    "cuda",
                    host=host,
                    branch=branch,
                )
        for day in (facts["eol"], f"{facts['eol']}T") if facts["eol"] else ():
            yield ask(f"{branch} on {day}", A10, "ubuntu-24.04", "driver", branch=branch, as_of=day)
        if facts["latest"]:
            yield ask(f"{branch} pinned", A10, "ubuntu-24.04", "driver", version=facts["latest"])
            for pci in (pci for pci, gpu in GPUS.items() if gpu["min_driver"].startswith(branch)):
                host = {"arch": GPUS[pci].get("host_arch", "x86_64")}
                yield ask(
                    f"{branch} newest {pci}",
                    pci,
                    "ubuntu-24.04",
                    "driver",
                    host=host,
                    branch=branch,
                )
        for major in DATA["cuda"]["driver_floor"]:
            yield ask(
                f"{branch} CUDA {major}",
                A10,
                "ubuntu-24.04",
                "driver",
                "cuda",
                branch=branch,
                cuda=(major,),
            )


def _toolkits() -> Iterator[Question]:
    cc = {gpu["cc"]: pci for pci, gpu in GPUS.items()}
    for toolkit, facts in DATA["cuda"]["items"].items():
        for name, pci in cc.items():
            host = {"arch": GPUS[pci].get("host_arch", "x86_64")}
            yield ask(
                f"CUDA {toolkit} cc {name}", pci, "ubuntu-24.04", "cuda", host=host, cuda=(toolkit,)
            )
        for release in facts["releases"]:
            yield ask(f"CUDA {release}", (), "debian-12", "cuda", cuda=(release,))
        for gcc in dict.fromkeys(n for g in DATA["cuda"]["host_gcc"].values() for n in (g, g + 1)):
            host = {"system_gcc": gcc}
            yield ask(
                f"CUDA {toolkit} gcc {gcc}", (), "debian-12", "cuda", cuda=(toolkit,), host=host
            )
        for system in ("debian-13", "ubuntu-26.04"):
            yield ask(f"CUDA {toolkit} {system}", (), system, "cuda", cuda=(toolkit,))
    for major, floor in DATA["cuda"]["driver_floor"].items():
        for version in (floor, below(floor)):
            label = f"CUDA {major} keep {version}"
            yield ask(
                label, A10, "ol-9", "driver", "cuda", keep_driver=version, cuda=(f"{major}.0",)
            )


def _cudnn() -> Iterator[Question]:
    for series in DATA["cudnn"]["series"].values():
        for release in series["releases"]:
            for cuda in ("11.8", "12.9", "13.0"):
                yield ask(
                    f"cuDNN {release} CUDA {cuda}", (), "ol-9", "cudnn", cudnn=release, cuda=(cuda,)
                )
            for pci in ("10de:13f2", "10de:15f9", V100, "10de:1eb8", "10de:26b9", B200):
                yield ask(
                    f"cuDNN {release} {pci}",
                    pci,
                    "ubuntu-22.04",
                    "cudnn",
                    cudnn=release,
                    cuda=("12.9",),
                )
    for several in (
        ("11.8",),
        ("12.9",),
        ("13.0",),
        ("11.8", "12.9"),
        ("11.8", "13.0"),
        ("12.9", "13.0"),
    ):
        for setting in ("auto", "8", "9"):
            for system in ("debian-12", "rocky-8"):
                yield ask(
                    f"cuDNN {setting} CUDA {several} {system}",
                    A10,
                    system,
                    "cudnn",
                    cudnn=setting,
                    cuda=several,
                )


def _archives() -> Iterator[Question]:
    for system, archive in DATA["archives"]["items"].items():
        for branch, facts in archive["branches"].items():
            for pci in (A10, H100, V100):
                for profile in ("full", "compute"):
                    for kernel in (KERNELS[0], UNSIGNED):
                        for flavour in ("auto", "open", "proprietary"):
                            label = f"archive {system} {branch} {pci} {profile} {kernel} {flavour}"
                            yield ask(
                                label,
                                pci,
                                system,
                                "driver",
                                source="distro",
                                branch=branch,
                                profile=profile,
                                flavour=flavour,
                                host={"kernel": kernel},
                            )
            yield ask(
                f"archive {system} {facts['version']}",
                A10,
                system,
                "driver",
                source="distro",
                version=facts["version"],
            )
        yield ask(f"archive {system}", A10, system, source="distro")
        for kernel in (*KERNELS[:3], UNSIGNED):
            host = {"kernel": kernel, "state": HostState(secure_boot=True)}
            yield ask(
                f"archive {system} {kernel} secure boot",
                A10,
                system,
                "driver",
                source="distro",
                host=host,
            )
        for kind in (B200, "10de:2941"):
            host = {"arch": GPUS[kind].get("host_arch", "x86_64")}
            yield ask(
                f"archive {system} {kind}", kind, system, "driver", source="distro", host=host
            )
    yield ask("archive ol-9", A10, "ol-9", "driver", source="distro")


def _shapes() -> Iterator[Question]:
    for shape, facts in DATA["shapes"]["items"].items():
        gpus: tuple[str, ...] = (facts["gpu"],) if facts["gpu"] else ()
        host = {"shape": shape, "arch": facts["arch"]}
        yield ask(shape, gpus, "ubuntu-24.04", "driver", host=host)
    yield ask("AMD shape to come", (), "ubuntu-24.04", host={"shape": "BM.GPU.MI500X.8"})
    yield ask("unknown shape", A10, "ubuntu-24.04", host={"shape": "BM.GPU.NEW.8", "nvswitches": 4})


def _kernels() -> Iterator[Question]:
    for system in ("debian-12", "ol-8", "ol-9", "amzn-2023"):
        for kernel in KERNELS:
            for gcc in (11, 14):
                host = {"kernel": kernel, "kernel_cc": "gcc (GCC) 14.2.1", "system_gcc": gcc}
                yield ask(f"{system} {kernel} gcc {gcc}", A10, system, "driver", host=host)
    for kernel in (DATA["branches"]["open_kernel_min"] + ".0", "4.14.300"):
        yield ask(f"open {kernel}", A10, "ol-8", "driver", flavour="open", host={"kernel": kernel})


def _kernel_changes() -> Iterator[Question]:
    """Each change: on the kernels that have it, by their number and by their headers."""
    changes = DATA["kernel_changes"]["items"]
    for name, facts in changes.items():
        kernels = [facts["kernel"], *(b.replace("*", "") for b in facts.get("backports", ()))]
        before_and_at = dict.fromkeys(v for f in facts["fixed"].values() for v in (below(f), f))
        for flavour in facts.get("flavours", ("open", "proprietary")):
            for version in (*before_and_at, *_first_that_always_builds(facts["since"])):
                for kernel in filter(None, kernels):
                    yield _built(name, version, flavour, {"kernel": kernel})
            for version in dict.fromkeys(filter(None, facts.get("drivers", ()))):
                for one in (version, below(version)):
                    yield _built(f"{name} used", one, flavour, {"kernel": kernels[-1] or "6.18"})
        if "look" in facts:
            kernel = facts["look"].get("since", "5.14")
            for has, release in ((True, kernel), (False, facts["kernel"]), (True, below(kernel))):
                if release is not None:
                    shown = KernelHeaders(None, {name: has})
                    host = {"kernel": release, "kernel_headers": shown}
                    for flavour in facts.get("flavours", ("open", "proprietary")):
                        yield _built(f"{name} shown {has}", "550.54.15", flavour, host)
    newest = max((below(v), v) for v in DATA["kernel_changes"]["built"].values())
    for kernel in newest:
        yield ask(f"untried {kernel}", A10, "debian-13", "driver", host={"kernel": f"{kernel}.1"})


def _first_that_always_builds(branch: str) -> Iterator[str]:
    branches = DATA["branches"]["items"]
    known = [name for name in branches if name >= branch]
    if known and branches[known[0]]["latest"]:
        yield branches[known[0]]["latest"]


def _built(name: str, version: str, flavour: str, host: dict[str, Any]) -> Question:
    label = f"{name} {version} {flavour} {host['kernel']}"
    return ask(label, A10, "rocky-9", "driver", version=version, flavour=flavour, host=host)


def _rest() -> Iterator[Question]:
    states = {
        "runfile": HostState(runfile=True),
        "secure boot": HostState(secure_boot=True),
        "secure boot with MOK": HostState(secure_boot=True, mok_enrolled=True),
        "newer kernel": HostState(newest_kernel="6.9"),
    }
    for name, state in states.items():
        yield ask(name, A10, "debian-12", host={"kernel": "6.8", "state": state})
        yield ask(
            f"{name}, conda only", A10, "debian-12", "conda", host={"kernel": "6.8", "state": state}
        )
    for release in (*DATA["conda"]["releases"], "1.2.3-4"):
        for arch in ("x86_64", "aarch64", "ppc64le"):
            yield ask(
                f"conda {release} {arch}",
                (),
                "debian-13",
                "conda",
                conda_version=release,
                host={"arch": arch},
            )
    yield ask("CUDA release by rpm", (), "ol-9", "cuda", cuda=("13.0.1",))
    yield ask("mixed", (V100, A10), "ubuntu-22.04")
    yield ask("no common flavour", (V100, B200), "ubuntu-22.04")
    yield ask("no GPU", (), "debian-12")
    yield ask("unknown GPU", "10de:ffff", "debian-12")
    yield ask("unknown GPU allowed", "10de:ffff", "debian-12", allow_unknown_gpu=True)
    yield ask("unknown GPU of another vendor", "1002:74a1", "debian-12", allow_unknown_gpu=True)
    yield ask("unknown system", A10, "plan9-4")
    yield ask("end of life refused", A10, "debian-12", branch="570", allow_eol=False)
    yield ask(
        "forward compatibility",
        A10,
        "debian-12",
        keep_driver="535.288.01",
        cuda=("13.0",),
        forward_compat=True,
    )
    yield ask(
        "mirror",
        A10,
        "debian-12",
        mirror="http://m.example/x",
        mirror_fingerprint="A" * 40,
        conda_mirror="http://c.example",
        conda_sha256="b" * 64,
    )
    yield ask(
        "default toolkit", A10, "debian-12", "cuda", cuda=("12.9", "13.0"), cuda_default="12.9"
    )
    yield ask("impossible default", A10, "debian-12", "cuda", cuda=("12.9",), cuda_default="13.0")
    yield ask("wrong branch of version", A10, "debian-12", branch="595", version="580.95.05")
    yield ask("unknown branch", A10, "debian-12", branch="999")
    yield ask("unknown CUDA", A10, "debian-12", cuda=("12.7",))
    yield ask("unknown cuDNN", A10, "debian-12", cudnn="7")
    yield ask("locked", A10, "debian-12", locked={})


def answer_line(outcome: Stack | Refusal) -> str:
    """The gist of an answer, and a digest of all of it."""
    if isinstance(outcome, Refusal):
        gist = [outcome.code, *outcome.settings]
    else:
        gist = [
            *filter(None, (outcome.driver_version or outcome.branch, outcome.flavour)),
            *(f"CUDA {toolkit.version}" for toolkit in outcome.cuda),
            *([f"cuDNN {outcome.cudnn}"] if outcome.cudnn else []),
            *(warning.code for warning in outcome.warnings),
        ]
    return f"{' '.join(gist)} #{digest(outcome)}"


def digest(outcome: Stack | Refusal) -> str:
    everything = {name: v for name, v in lean(outcome).items() if name != "reasons"}
    return hashlib.sha256(repr(everything).encode()).hexdigest()[:8]


def lean(value: Any) -> Any:
    """A value without fields at their defaults, so that a new field changes no recorded answer."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: (getattr(value, f.name), default_of(f)) for f in fields(value)}
        return {name: lean(now) for name, (now, default) in found.items() if now != default}
    return [lean(item) for item in value] if isinstance(value, tuple) else value


def default_of(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def answers(catalog: Catalog) -> Iterator[str]:
    """One line per question."""
    for name, facts, desired in questions():
        yield f"{name}: {answer_line(resolve(facts, desired, catalog))}"


if __name__ == "__main__":
    text = "\n".join(answers(load())) + "\n"
    if "--write" in sys.argv:
        ANSWERS.write_text(text)
    else:
        sys.stdout.write(text)
