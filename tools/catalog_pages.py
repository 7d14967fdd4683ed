"""The pages of ``docs/`` that are written from the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.catalog.tables import Range
from gpuprep.model import Family
from gpuprep.model.versions import at_least, key
from gpuprep.planner.matrix import Table, as_markdown, support_tables
from gpuprep.resolve.kernels import carried

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.catalog.tables import Catalog, Gpu
    from gpuprep.resolve.kernels import Carried

_NOTE = "<!-- Written by `make docs` from gpuprep/catalog/nvidia.yml; do not edit. -->"


def pages(catalog: Catalog) -> dict[str, str]:
    """Return the text of each page by its file name below ``docs/``."""
    return {"compatibility.md": _compatibility(catalog)}


def _compatibility(catalog: Catalog) -> str:
    tables = (
        *support_tables(catalog),
        _gpus(catalog),
        _shapes(catalog),
        _branches(catalog),
        _toolkits(catalog),
        _cudnn(catalog),
        _repositories(catalog),
        _details(catalog),
        *_kernels(catalog),
        _compilers(catalog),
        _archives(catalog),
        _installers(catalog),
        _frameworks(catalog),
        *_faceswap(catalog),
        _provenance(catalog),
        _sources(catalog),
    )
    head = (
        f"{_NOTE}\n# What belongs together\n\nState of {catalog.as_of}. "
        "`gpuprep explain` answers for one host; `gpuprep explain --matrix` prints the first two "
        "tables. A row marked (guess) holds something that no document or metadata was seen for."
    )
    return "\n\n".join([head, *map(as_markdown, tables)]) + "\n"


def _gpus(catalog: Catalog) -> Table:
    columns = (
        *("GPU", "PCI id", "architecture", "cc", "memory", "driver from", "open modules from"),
        *("modules", "MIG", "machine", "CUDA", "cuDNN", "GB/s", "fp32 TFLOP/s", "bf16 TFLOP/s"),
    )
    return Table("GPUs", columns, tuple(map(_gpu, catalog.gpus.values())))


def _gpu(gpu: Gpu) -> tuple[str, ...]:
    sheet = gpu.datasheet
    has_open = "open" in gpu.flavours
    return (
        *(
            _marked(gpu.name, guess=gpu.guess),
            gpu.id,
            gpu.arch.name,
            gpu.cc,
            f"{gpu.memory_gb} GB",
            gpu.min_driver,
        ),
        gpu.open_since if has_open else "-",
        ", ".join(gpu.flavours),
        f"{gpu.mig.instances}, driver {gpu.mig.min_driver}" if gpu.mig else "-",
        gpu.host_arch or "any",
        str(gpu.cuda),
        str(gpu.arch.cudnn),
        *((str(sheet.bandwidth), str(sheet.fp32), str(sheet.bf16 or "-")) if sheet else "---"),
    )


def _shapes(catalog: Catalog) -> Table:
    columns = ("Shape", "GPUs", "memory per GPU", "machine", "fabric", "RDMA", "vendor")
    rows = (
        (
            *(
                _marked(s.name, guess=s.guess),
                f"{s.count} x {s.gpu_name}",
                f"{s.gpu_memory_gb} GB",
                s.arch,
                s.fabric,
            ),
            *("yes" if s.rdma else "no", s.vendor),
        )
        for s in catalog.shapes.values()
    )
    return Table("OCI shapes", columns, tuple(rows))


def _branches(catalog: Catalog) -> Table:
    columns = (
        *("Branch", "kind", "end of life", "newest seen", "native CUDA", "CUDA without compat"),
        *("proprietary modules", "pinning package seen", "channel", "last for", "note"),
    )
    rows = (
        (
            *(b.name, b.kind, b.eol or "not announced", b.latest, b.native_cuda),
            f"up to {b.max_major}.x",
            *(_yes(b.proprietary), _yes(b.pin)),
            _listed(c for c, line in catalog.channels.items() if b.name in line),
            _listed(a.name for a in catalog.architectures.values() if a.last_branch == b.name),
            b.note or "-",
        )
        for b in catalog.branches.values()
    )
    return Table("Driver branches", columns, tuple(rows))


def _toolkits(catalog: Catalog) -> Table:
    columns = (
        *("CUDA", "releases", "bundled driver", "driver floor"),
        *("newest host gcc", "newest host glibc"),
    )
    rules = catalog.cuda
    rows = (
        (
            *(t.version, ", ".join(t.releases), t.driver or "none"),
            rules.driver_floor[int(t.version.split(".", maxsplit=1)[0])],
            str(rules.newest_gcc(t.version) or "-"),
            rules.newest_glibc(t.version) or "no limit known",
        )
        for t in catalog.toolkits.values()
    )
    return Table("CUDA toolkits", columns, tuple(rows))


def _cudnn(catalog: Catalog) -> Table:
    columns = ("Series", "CUDA", "releases with a build", "deb packages", "rpm packages")
    rows = (
        (
            *(series.name, str(major), str(span)),
            _packages(series.names[Family.DEB].packages, series.names[Family.DEB].version[major]),
            _packages(series.names[Family.RPM].packages, series.names[Family.RPM].version[major]),
        )
        for series in catalog.cudnn.values()
        for major, span in series.cuda.items()
    )
    return Table("cuDNN", columns, tuple(rows))


def _packages(names: Iterable[str], version: str) -> str:
    return f"{' '.join(f'`{name}`' for name in names)} at `{version}`"


def _repositories(catalog: Catalog) -> Table:
    sums = catalog.repositories.keyring_sha256
    rows = {
        s.distro: (
            s.distro,
            s.family,
            str(s.branches),
            f"`{s.key.fingerprint or s.key.sha256}`",
            s.key.file,
            sums.get(s.distro, "-"),
        )
        for s in catalog.systems.values()
    }
    columns = (
        "Directory",
        "family",
        "driver branches",
        "key (or checksum of its file)",
        "key file",
        "sha256 of the keyring package",
    )
    return Table("NVIDIA's repositories", columns, tuple(rows.values()))


def _details(catalog: Catalog) -> Table:
    rules = catalog.repositories
    rows = (
        ("base of NVIDIA's repositories", rules.base),
        ("keyring package (deb)", rules.keyring_file),
        ("repository file (rpm)", rules.rpm_repo_file.format(distro="<directory>")),
        ("Origin of the deb repositories", rules.origin),
        ("revoked keys", ", ".join(rules.revoked_keys)),
        ("releases by branch, machine-readable", catalog.releases_url),
        *((f"PCI id {pci}", name) for pci, name in catalog.nvswitches.items()),
        *((f"PCI vendor {name}", pci) for name, pci in catalog.vendors.items()),
        ("shapes that carry AMD GPUs", catalog.amd_pattern),
        ("base of Miniforge's releases", catalog.conda.base),
        ("package that builds modules", rules.builder),
        ("repositories that have it (ids)", _listed(f"`{name}`" for name in rules.builders)),
        ("repositories that have not", _listed(f"`{name}`" for name in rules.distributions)),
        (
            "module streams that are built on the host",
            _listed(f"`{name}`" for name in catalog.driver.built_streams),
        ),
        ("modules of the kernel for displays", _listed(catalog.driver.display_modules)),
        *(
            (f"how {system} tells the release of signed modules", f"`{a.signed_index.driver}`")
            for system, a in catalog.archives.items()
            if a.signed_index
        ),
        *((f"further modules ({f})", text) for f, text in catalog.driver.extra_modules.items()),
    )
    return Table("Other facts", ("Fact", "value"), rows)


def _compilers(catalog: Catalog) -> Table:
    rows = (
        (s.name, str(s.gcc or "-"), _listed(map(str, s.gccs)), s.glibc or "-")
        for s in catalog.systems.values()
    )
    columns = ("System", "gcc", "in the archive", "glibc")
    return Table("Compilers and C libraries of the systems", columns, tuple(rows))


def _kernels(catalog: Catalog) -> tuple[Table, Table]:
    columns = ("Driver", "modules", "kernels", "first change it cannot follow", "nor on")
    rows = [
        (version, flavour, told.words, told.change.what if told.change else "-", _shown(told))
        for version in dict.fromkeys((*_newest(catalog), *catalog.kernels.built))
        for flavour in ("open", "proprietary")
        if _is_made(catalog, version, flavour)
        for told in [carried(catalog.kernels, version, flavour)]
    ]
    ceilings = Table("Newest kernels of driver releases", columns, tuple(rows))
    return ceilings, _kernel_changes(catalog)


def _is_made(catalog: Catalog, version: str, flavour: str) -> bool:
    if flavour == "proprietary":
        return catalog.branches[version.split(".", maxsplit=1)[0]].proprietary
    return any(
        at_least(version, gpu.open_since)
        for gpu in catalog.gpus.values()
        if flavour in gpu.flavours
    )


def _newest(catalog: Catalog) -> list[str]:
    """Return the newest release seen of each branch, and what archives have of it."""
    archived = (e.version for a in catalog.archives.values() for e in a.branches.values())
    known = {b.latest for b in catalog.branches.values()} | set(archived)
    return sorted((v for v in known if not v.endswith(".0")), key=key)


def _shown(told: Carried) -> str:
    return _listed(release.replace("*", "") for release in told.except_for)


def _kernel_changes(catalog: Catalog) -> Table:
    columns = (
        *("Change", "what", "kernel", "also in", "modules", "drivers", "builds again from"),
        *("always from branch", "old form in the headers", "new form", "kernels that have it"),
        "source",
    )
    rows = (
        (
            *(_marked(c.name, guess=c.guess), c.what, c.kernel or "-"),
            _listed(f"`{release}`" for release in c.backports),
            _listed(c.flavours),
            str(Range(*c.drivers)),
            _listed(c.fixed.values()),
            c.since,
            f"`{c.look.file}`: `{c.look.unchanged}`" if c.look else "-",
            f"`{c.look.changed}`" if c.look and c.look.changed else "-",
            f"{c.look.since} and newer" if c.look and c.look.since else "all",
            c.source,
        )
        for c in catalog.kernels.changes.values()
    )
    return Table("Changes of kernels that drivers must follow", columns, tuple(rows))


def _archives(catalog: Catalog) -> Table:
    columns = (
        "System",
        "branch",
        "version",
        "module",
        "default",
        "modules",
        "preferred",
        "signed for",
        "as told by",
        "changes of kernels that its patches follow",
    )
    rows = (
        (
            *(system, branch, entry.version, entry.module, _yes(branch == archive.default)),
            _listed(dict.fromkeys(flavour for flavour, _ in entry.packages)),
            archive.prefer,
            _listed(archive.signed_kernels),
            f"`{archive.signed_index.files}`" if archive.signed_index else "-",
            _listed(entry.mended),
        )
        for system, archive in catalog.archives.items()
        for branch, entry in archive.branches.items()
    )
    return Table("Drivers in the distributions' archives", columns, tuple(rows))


def _installers(catalog: Catalog) -> Table:
    rows = (
        (version, machine, f"`{checksum}`", _yes(version == catalog.conda.default))
        for version, sums in catalog.conda.releases.items()
        for machine, checksum in sums.items()
    )
    return Table("Miniforge", ("Release", "machine", "sha256", "default"), tuple(rows))


def _frameworks(catalog: Catalog) -> Table:
    columns = ("Wheel", "version", "CUDA", "cuDNN", "NCCL", "driver from", "built for", "watch for")
    rows = (
        (
            *(f.name, f.version, f.cuda, f.cudnn, f.nccl, f.min_driver),
            *(", ".join(f.arches) or "-", f.trap or "-"),
        )
        for f in catalog.frameworks
    )
    return Table(
        "What framework wheels bundle (the host needs only the driver)", columns, tuple(rows)
    )


def _faceswap(catalog: Catalog) -> tuple[Table, Table]:
    rules = catalog.faceswap
    needs = (
        ("commit", f"`{rules.commit}`"),
        ("Python of its environment", rules.python),
        ("Python that it accepts", str(rules.pythons)),
        ("glibc of the host from", rules.glibc),
        ("memory of the host from", f"{rules.memory_mb} MiB"),
        ("free space for its environment", f"{rules.space_mb} MiB"),
    )
    rows = (
        (
            v.name,
            f"torch {v.torch.version}",
            v.torch.cuda,
            v.torch.min_driver,
            ", ".join(v.machines),
        )
        for v in rules.variants
    )
    of = f"Faceswap {rules.commit[:12]} of {rules.repository}"
    title = f"{of}: its sets of Python packages, the preferred first"
    return (
        Table(title, ("Variant", "framework", "CUDA", "driver from", "CUDA on"), tuple(rows)),
        Table("What Faceswap needs", ("Need", "value"), needs),
    )


def _provenance(catalog: Catalog) -> Table:
    rows = ((b.name, ", ".join(b.sources), b.checked) for b in catalog.blocks.values())
    return Table("Where the facts come from", ("Block", "sources", "last checked"), tuple(rows))


def _sources(catalog: Catalog) -> Table:
    rows = ((s.id, s.title, s.at or "-", s.date) for s in catalog.sources.values())
    return Table("Sources", ("Id", "title", "at", "state of"), tuple(rows))


def _yes(value: bool) -> str:  # noqa: FBT001  (a word for a value)
    return "yes" if value else "no"


def _marked(name: str, *, guess: bool) -> str:
    return f"{name} (guess)" if guess else name


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "-"
