"""From the parsed data file to the typed catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuprep.catalog.kernels import kernel_table
from gpuprep.catalog.tables import (
    Architecture,
    Archive,
    ArchiveBranch,
    Block,
    Branch,
    Catalog,
    CudaRules,
    CudnnNames,
    CudnnSeries,
    Datasheet,
    DriverNames,
    DriverRules,
    Fabric,
    FabricNames,
    FaceswapRules,
    FaceswapVariant,
    Framework,
    Gpu,
    HeaderRule,
    Installers,
    Key,
    Mig,
    ModuleIndex,
    Range,
    RepositoryRules,
    Shape,
    Source,
    System,
    Toolkit,
    VersionLockRules,
)
from gpuprep.errors import CatalogError
from gpuprep.model import Family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuprep.catalog.kernels import KernelTable
    from gpuprep.catalog.tables import Profile
    from gpuprep.model import Flavour

Raw = dict[str, Any]
FAMILIES = tuple(Family)
FLAVOURS: tuple[Flavour, ...] = ("open", "proprietary")
PROFILES: tuple[Profile, ...] = ("full", "compute")


def build(data: Raw) -> Catalog:
    """Build the catalog from data that follows the schema.

    Raises:
        CatalogError: a name is used that the data does not define.

    """
    architectures = _architectures(data["architectures"]["items"])
    gpus = _gpus(data, architectures)
    repositories = data["repositories"]
    return Catalog(
        as_of=data["data_as_of"],
        sources={
            name: Source(name, raw["title"], raw["at"], raw["date"])
            for name, raw in data["sources"].items()
        },
        blocks=_blocks(data),
        architectures=architectures,
        gpus=gpus,
        unknown_is_like=_known(data["gpus"]["unknown_is_like"], gpus, "gpus.unknown_is_like"),
        vendors=data["gpus"]["vendors"],
        nvswitches=data["nvswitches"]["items"],
        shapes=_shapes(data["shapes"]["items"], gpus),
        amd_pattern=data["shapes"]["amd_pattern"],
        branches={name: _branch(name, raw) for name, raw in data["branches"]["items"].items()},
        channels={
            name: tuple(
                _known(b, data["branches"]["items"], f"branches.channels.{name}") for b in line
            )
            for name, line in data["branches"]["channels"].items()
        },
        default_channel=_known(
            data["branches"]["default_channel"],
            data["branches"]["channels"],
            "branches.default_channel",
        ),
        releases_url=data["branches"]["refresh"],
        toolkits={
            name: Toolkit(name, tuple(raw["releases"]), raw["driver"])
            for name, raw in data["cuda"]["items"].items()
        },
        cuda=_cuda_rules(data["cuda"]),
        cudnn={name: _cudnn_series(name, raw) for name, raw in data["cudnn"]["series"].items()},
        default_cudnn=_known(
            data["cudnn"]["default_series"], data["cudnn"]["series"], "cudnn.default_series"
        ),
        repositories=_repository_rules(repositories),
        systems={name: _system(name, raw, data) for name, raw in data["systems"]["items"].items()},
        headers={
            name: tuple(HeaderRule(rule["match"], rule["packages"]) for rule in raw)
            for name, raw in data["kernel_headers"].items()
            if isinstance(raw, list) and name != "source"
        },
        kernels=_kernels(data),
        driver=_driver_rules(data),
        fabrics=_fabrics(data["fabrics"]),
        archives={name: _archive(raw, data) for name, raw in data["archives"]["items"].items()},
        conda=_installers(data["conda"]),
        frameworks=_frameworks(data),
        faceswap=_faceswap(data["faceswap"], _frameworks(data)),
    )


def _frameworks(data: Raw) -> tuple[Framework, ...]:
    return tuple(
        Framework(**{"trap": None, **raw, "arches": tuple(raw.get("arches", ()))})
        for raw in data["frameworks"]["items"]
    )


def _faceswap(raw: Raw, frameworks: tuple[Framework, ...]) -> FaceswapRules:
    known = {f.version: f for f in frameworks if f.name == "torch" and f.arches}
    variants = []
    for name, entry in raw["variants"].items():
        torch = _known(entry["torch"], known, f"faceswap.variants.{name}.torch")
        variants.append(FaceswapVariant(name, known[torch], tuple(entry["machines"])))
    return FaceswapRules(
        repository=raw["repository"],
        commit=raw["commit"],
        python=raw["python"],
        pythons=Range(*raw["pythons"]),
        glibc=raw["glibc"],
        memory_mb=raw["memory_mb"],
        space_mb=raw["space_mb"],
        variants=tuple(variants),
    )


def _known(name: str, table: Mapping[str, object], where: str) -> str:
    if name not in table:
        raise CatalogError(f"catalog: {where}: {name!r} is not defined ({', '.join(table)})")
    return name


def _blocks(data: Raw) -> dict[str, Block]:
    blocks = {}
    for name, raw in data.items():
        if isinstance(raw, dict) and "source" in raw:
            for source in raw["source"]:
                _known(source, data["sources"], f"{name}.source")
            blocks[name] = Block(name, tuple(raw["source"]), raw["checked"])
    return blocks


def _architectures(items: Raw) -> dict[str, Architecture]:
    return {
        name: Architecture(
            name, order, tuple(raw["flavours"]), raw["last_branch"], Range(*raw["cudnn"])
        )
        for order, (name, raw) in enumerate(items.items())
    }


def _gpus(data: Raw, architectures: Mapping[str, Architecture]) -> dict[str, Gpu]:
    capabilities = data["capabilities"]["items"]
    gpus = {}
    for pci, raw in data["gpus"]["items"].items():
        where = f"gpus.items.{pci}"
        arch = architectures[_known(raw["arch"], architectures, f"{where}.arch")]
        capability = capabilities[_known(raw["cc"], capabilities, f"{where}.cc")]
        sheet = raw.get("datasheet")
        gpus[pci] = Gpu(
            id=pci,
            name=raw["name"],
            arch=arch,
            cc=raw["cc"],
            cuda=Range(*capability["cuda"]),
            memory_gb=raw["memory_gb"],
            min_driver=raw["min_driver"],
            open_since=raw.get("open_since", raw["min_driver"]),
            flavours=("open",) if raw.get("open_only") else arch.flavours,
            fabric=raw["fabric"],
            mig=Mig(*raw["mig"]) if raw["mig"] else None,
            host_arch=raw.get("host_arch"),
            datasheet=Datasheet(sheet["bandwidth"], sheet["fp32"], sheet.get("bf16"))
            if sheet
            else None,
            guess=raw.get("confidence") == "guess",
        )
    return gpus


def _shapes(items: Raw, gpus: Mapping[str, Gpu]) -> dict[str, Shape]:
    shapes = {}
    for name, raw in items.items():
        gpu = gpus[_known(raw["gpu"], gpus, f"shapes.items.{name}.gpu")] if raw["gpu"] else None
        shapes[name] = Shape(
            name=name,
            gpu=raw["gpu"],
            gpu_name=gpu.name if gpu else raw["gpu_name"],
            count=raw["count"],
            gpu_memory_gb=raw["gpu_memory_gb"],
            arch=raw["arch"],
            fabric=raw.get("fabric") or (gpu.fabric if gpu else "none"),
            rdma=raw["rdma"],
            vendor=raw.get("vendor", "nvidia"),
            guess=raw.get("confidence") == "guess",
        )
    return shapes


def _branch(name: str, raw: Raw) -> Branch:
    return Branch(
        name=name,
        kind=raw["kind"],
        eol=raw["eol"],
        latest=raw["latest"] or f"{name}.0",
        native_cuda=raw["native_cuda"],
        max_major=raw["max_major"],
        proprietary=raw["proprietary"],
        pin=raw["pin"],
        note=raw.get("note"),
    )


def _cuda_rules(raw: Raw) -> CudaRules:
    return CudaRules(
        driver_floor={int(major): floor for major, floor in raw["driver_floor"].items()},
        host_gcc=raw["host_gcc"],
        host_glibc=raw["host_glibc"],
        package=raw["package"],
        compat_package=raw["compat_package"],
        closure=tuple(raw["closure"]),
        version_form=raw["version_form"],
    )


def _cudnn_series(name: str, raw: Raw) -> CudnnSeries:
    return CudnnSeries(
        name=name,
        releases=tuple(raw["releases"]),
        cuda={int(major): Range(*ends) for major, ends in raw["cuda"].items()},
        pinned=raw["pinned"],
        names={
            family: CudnnNames(
                packages=tuple(raw[family]["packages"]),
                newest=tuple(raw.get("newest", {}).get(family, ())),
                version={int(major): form for major, form in raw[family]["version"].items()},
            )
            for family in FAMILIES
        },
    )


def _repository_rules(raw: Raw) -> RepositoryRules:
    return RepositoryRules(
        base=raw["base"],
        directory=raw["directory"],
        key_url=raw["key_url"],
        arch_dir=raw["arch_dir"],
        origin=raw["origin"],
        elsewhere=tuple(raw["elsewhere"]),
        revoked_keys=tuple(raw["revoked_keys"]),
        keyring_file=raw["deb_keyring"]["file"],
        keyring_sha256=raw["deb_keyring"]["sha256"],
        rpm_repo_file=raw["rpm_repo_file"],
        builder=raw["builder"],
        builders=tuple(raw["builders"]),
        distributions=tuple(raw["distributions"]),
    )


def _system(name: str, raw: Raw, data: Raw) -> System:
    where = f"systems.items.{name}"
    keys = data["repositories"]["keys"]
    key = keys[_known(raw["key"], keys, f"{where}.key")]
    return System(
        name=name,
        family=Family(raw["family"]),
        distro=raw["distro"],
        arches=tuple(raw["arches"]),
        key=Key(**key),
        names=_known(raw["names"], data["driver_packages"], f"{where}.names"),
        kernels=_known(raw["kernels"], data["kernel_headers"], f"{where}.kernels"),
        cuda=Range(*raw["cuda"]),
        branches=Range(*raw.get("branches", (None, None))),
        dkms_from=tuple(raw.get("dkms_from", ())),
        gcc=raw.get("gcc"),
        gccs=tuple(raw.get("gccs", ())),
        glibc=raw.get("glibc"),
        installs=raw.get("installs", True),
    )


def _packages(raw: Raw) -> dict[tuple[Flavour, Profile], tuple[str, ...]]:
    return {
        (flavour, profile): tuple(raw[flavour][profile])
        for flavour in FLAVOURS
        if flavour in raw
        for profile in PROFILES
    }


def _driver_rules(data: Raw) -> DriverRules:
    raw = data["driver_packages"]
    rule_sets = {system["names"] for system in data["systems"]["items"].values()}
    return DriverRules(
        names={
            name: tuple(
                DriverNames(
                    Range(rule["from"], rule["to"]), _packages(rule), rule.get("stream", {})
                )
                for rule in raw[name]
            )
            for name in sorted(rule_sets)
        },
        pin_package=raw["deb_pin_package"],
        lock=_version_lock(raw["rpm_lock"]),
        services=tuple(raw["services"]),
        module=raw["module"],
        display_modules=tuple(raw["display_modules"]),
        built_streams=tuple(raw["built_streams"]),
        closure={family: tuple(raw["closure"][family]) for family in FAMILIES},
        open_kernel_min=data["branches"]["open_kernel_min"],
        toolset=data["kernel_headers"]["toolset"],
        extra_modules=data["kernel_headers"]["extra"],
    )


def _version_lock(raw: Raw) -> VersionLockRules:
    names = tuple(
        (name, tuple(group["epochs"])) for group in raw["names"] for name in group["names"]
    )
    return VersionLockRules(raw["package"], raw["line"], names)


def _fabrics(raw: Raw) -> dict[str, Fabric]:
    return {
        name: Fabric(
            name=name,
            services=tuple(fabric["services"]),
            packages={
                family: tuple(
                    FabricNames(Range(rule["from"], rule["to"]), tuple(rule["names"]))
                    for rule in fabric["packages"][family]
                )
                for family in FAMILIES
            },
            from_distro=tuple(fabric.get("from_distro", ())),
            kernel_modules=tuple(fabric.get("kernel_modules", ())),
        )
        for name, fabric in raw.items()
        if name not in {"source", "checked"}
    }


def _kernels(data: Raw) -> KernelTable:
    for name, raw in data["kernel_changes"]["items"].items():
        _known(raw["source"], data["sources"], f"kernel_changes.items.{name}.source")
    return kernel_table(data["kernel_changes"])


def _archive(raw: Raw, data: Raw) -> Archive:
    signed = raw.get("signed_modules", {})
    changes = data["kernel_changes"]["items"]
    return Archive(
        default=_known(raw["default"], raw["branches"], "archives default"),
        prefer=raw["prefer"],
        branches={
            name: ArchiveBranch(
                branch["version"],
                branch["module"],
                _packages(branch),
                tuple(_known(c, changes, "archives mended") for c in branch.get("mended", ())),
            )
            for name, branch in raw["branches"].items()
        },
        closure=tuple(raw["closure"]),
        own=tuple(raw.get("own", ())),
        became={
            old: _known(new, raw["branches"], "archives became")
            for old, new in raw.get("became", {}).items()
        },
        signed=signed.get("packages", {}),
        signed_parts={flavour: tuple(names) for flavour, names in signed.get("parts", {}).items()},
        signed_names=tuple(signed.get("names", ())),
        signer=signed.get("signer"),
        signed_kernels=tuple(signed.get("flavours", ())),
        signed_index=_module_index(signed) if signed else None,
        dkms=raw.get("dkms", {}),
        fabric={kind: tuple(names) for kind, names in raw.get("fabric", {}).items()},
    )


def _module_index(signed: Raw) -> ModuleIndex:
    (prefix,) = {name.partition("{")[0] for name in signed["packages"].values()}
    return ModuleIndex(signed["index"], prefix, signed["driver"])


def _installers(raw: Raw) -> Installers:
    return Installers(
        default=_known(raw["default"], raw["releases"], "conda.default"),
        base=raw["base"],
        url=raw["url"],
        releases=raw["releases"],
    )
