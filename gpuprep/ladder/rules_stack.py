"""Rules on the files of toolkit, cuDNN and conda."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.ladder.findings import failed, passed, skipped
from gpuprep.ladder.registry import judges
from gpuprep.model.versions import key

if TYPE_CHECKING:
    from gpuprep.ladder.evidence import Evidence
    from gpuprep.ladder.findings import Finding


@judges("toolkit.present")
def toolkit_present(host: Evidence) -> Finding:
    """Judge: the wanted toolkits, or that there is one at all."""
    found = host.toolkits
    listing = "\n".join(f"{path}: {version}" for version, path in found.items())
    if host.stack is None:
        if not found:
            return skipped("no CUDA toolkit on this host")
        return passed(", ".join(found), evidence=listing)
    wanted = [toolkit.version for toolkit in host.stack.cuda]
    if not wanted:
        return skipped("no CUDA toolkit is wanted on this host")
    missing = [version for version in wanted if version not in found]
    facts = {
        "expected": ", ".join(wanted),
        "observed": ", ".join(found) or "none",
        "evidence": listing or None,
    }
    if missing:
        return failed(f"CUDA {', '.join(missing)} is missing", **facts)
    return passed(", ".join(wanted), **facts)


@judges("toolkit.default")
def toolkit_default(host: Evidence) -> Finding:
    """Judge: where /usr/local/cuda leads."""
    found = host.toolkits
    wanted = host.stack.cuda[0].version if host.stack and host.stack.cuda else None
    if wanted is None and not found:
        return skipped("no CUDA toolkit on this host")
    if host.stack is not None and wanted is None:
        return skipped("no CUDA toolkit is wanted on this host")
    target = host.observation.cuda.default or ""
    shown = next((version for version, path in found.items() if path == target), None)
    if shown is None and "-" in target:
        shown = ".".join(target.rsplit("-", 1)[-1].split(".")[:2])
    facts = {"expected": wanted, "observed": shown or "nothing", "evidence": f"-> {target}"}
    if not target:
        return failed("/usr/local/cuda does not exist or leads nowhere", **facts)
    if wanted is not None and shown != wanted:
        return failed(f"/usr/local/cuda shows {shown}, wanted is {wanted}", **facts)
    if wanted is None and shown not in found:
        return failed(f"/usr/local/cuda leads to {target}, which holds no toolkit", **facts)
    return passed(f"{shown}", **facts)


HEADER_PARTS = 3  # the header says major.minor.patch; libraries and packages may add a build


@judges("cudnn.agree")
def cudnn_agree(host: Evidence) -> Finding:  # noqa: PLR0911 - one return per way to be wrong
    """Judge: one cuDNN version in header and libraries, the wanted one."""
    if host.stack is not None and host.stack.cudnn is None:
        return skipped("no cuDNN is wanted on this host")
    header = host.observation.cudnn.header_version or ""
    libraries = host.observation.cudnn.library_versions
    wanted = host.stack.cudnn if host.stack else None
    facts = {
        "expected": wanted,
        "observed": f"header {header or 'none'}; libraries {', '.join(libraries) or 'none'}",
        "evidence": "cudnn_version.h and libcudnn.so.*",
    }
    if not header and not libraries:
        if wanted is None:
            return skipped("no cuDNN on this host")
        return failed("cuDNN is not on the host", **facts)
    versions = {key(v)[:HEADER_PARTS] for v in (*libraries, *([header] if header else []))}
    if len(versions) > 1:
        return failed("header and libraries are of different versions", **facts)
    if not libraries:
        return failed("there is a header but no library", **facts)
    if wanted is not None:
        asked = key(wanted)[:HEADER_PARTS]
        if next(iter(versions))[: len(asked)] != asked:
            return failed(f"another cuDNN than {wanted}", **facts)
    if not header:
        return passed(f"{libraries[0]}, without headers", **facts)
    return passed(header, **facts)


@judges("conda.present")
def conda_present(host: Evidence) -> Finding:
    """Judge: conda at its prefix."""
    conda = host.observation.conda
    version = conda.version
    wanted = host.stack.conda if host.stack else None
    if wanted is None and (host.stack is not None or not version):
        return skipped("no conda is wanted on this host" if host.stack else "no conda found")
    facts = {
        "observed": str(version),
        "evidence": f"{conda.prefix}/conda-meta",
    }
    if not version or not conda.complete:
        return failed(f"conda is not complete at {conda.prefix}", **facts)
    return passed(f"conda {version} at {conda.prefix}", **facts)
