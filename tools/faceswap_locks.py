"""Make the locks of Faceswap's Python packages anew, one for each variant of the catalog.

    python -m tools.faceswap_locks SOURCE [--before DATE]

SOURCE is a checkout or bare git repository of Faceswap, or its address. Its requirements are read
at the commit of the catalog, ``torch`` is set to the variant's, and ``opencv-python``, which needs
libraries of a desktop, gives way to ``opencv-python-headless``. ``uv`` resolves them for every
machine and Python that the catalog names; the files hold names, versions and hashes, and nothing of
where packages come from. With the same date two runs give the same files, as long as the package
index tells when its files were uploaded and none of them is withdrawn.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gpuprep.catalog import load
from gpuprep.layout import package_root
from gpuprep.workloads.python_lock import names_of

if TYPE_CHECKING:
    from gpuprep.catalog.tables import FaceswapRules, FaceswapVariant

FOLDER = package_root() / "workloads/faceswap/locks"
BASE = "requirements/_requirements_base.txt"
NVML = "nvidia-ml-py>=12.535,<300"  # of requirements_nvidia_*.txt
PROJECT = """[project]
name = "locks"
version = "0"
requires-python = ">={first},<{end}"
[tool.uv]
environments = [{environments}]
"""


def main() -> int:
    """Write the locks of all variants."""
    parser = argparse.ArgumentParser(prog="python -m tools.faceswap_locks", description=__doc__)
    parser.add_argument("source", help="checkout, bare repository or address of Faceswap")
    parser.add_argument("--before", help="only files uploaded before this date (2026-11-25)")
    options = parser.parse_args()
    rules = load().faceswap
    with tempfile.TemporaryDirectory() as work:
        base = _requirements(options.source, rules.commit, Path(work))
        for variant in rules.variants:
            text = _lock(base, variant, rules, options.before, Path(work))
            names = names_of(text, variant.name)
            (FOLDER / f"{variant.name}.txt").write_text(_head(variant, rules) + text)
            print(f"{variant.name}: {len(names)} packages, torch {variant.torch.version}")
    return 0


def _requirements(source: str, commit: str, work: Path) -> list[str]:
    """Return Faceswap's own requirements at a commit, for hosts without a desktop."""
    if not Path(source).exists():
        clone = work / "source"
        _run("git", "clone", "--quiet", "--bare", "--filter=blob:none", source, str(clone))
        source = str(clone)
    text = _run("git", "-C", source, "show", f"{commit}:{BASE}")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    kept = [line for line in lines if line and "sys_platform" not in line]
    return [re.sub(r"^opencv-python(?=[<>=])", "opencv-python-headless", line) for line in kept]


def _lock(
    base: list[str], variant: FaceswapVariant, rules: FaceswapRules, before: str | None, work: Path
) -> str:
    """Return what uv resolves a variant's requirements to."""
    first, last = str(rules.pythons.first), str(rules.pythons.last)
    end = f"3.{int(last.partition('.')[2]) + 1}"
    machines = sorted({machine for each in rules.variants for machine in each.machines})
    environments = ", ".join(
        f"\"sys_platform == 'linux' and platform_machine == '{machine}'\"" for machine in machines
    )
    project = PROJECT.format(first=first, end=end, environments=environments)
    (work / "pyproject.toml").write_text(project)
    wanted = work / f"{variant.name}.in"
    wanted.write_text("\n".join([*base, NVML, f"torch=={variant.torch.version}", ""]))
    options = ["--universal", "--python-version", first, "--generate-hashes"]
    options += ["--only-binary", ":all:", "--no-header", "--no-annotate", "--no-emit-index-url"]
    if before:
        options += ["--exclude-newer", before]
    uv = str(Path(sys.executable).with_name("uv"))
    return _run(uv, "pip", "compile", "--quiet", *options, wanted.name, cwd=work)


def _head(variant: FaceswapVariant, rules: FaceswapRules) -> str:
    return (
        f"# Python packages of Faceswap {rules.commit[:12]} with torch {variant.torch.version}"
        f" (CUDA {variant.torch.cuda}), made by tools/faceswap_locks.py.\n"
    )


def _run(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{argv[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
