"""Build the PTX of our kernels, for hosts without a compiler: ``python -m tools.ptx``.

The texts are kept in the repository, beside their sources. Each is written for the oldest GPU and
the oldest driver that can run it; ptxas confirms that nothing in it asks for more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gpuprep.errors import ConfigError

FOLDER = Path(__file__).resolve().parents[1] / "gpuprep/on_host/programs"


@dataclass(frozen=True, slots=True)
class Level:
    """What a PTX text asks for.

    Attributes:
        name: of source and text.
        compile_for: compute capability that nvcc compiles for; CUDA 13 knows none below 75.
        target: oldest compute capability, as PTX spells it.
        version: PTX version; 6.0 is understood from driver 384 on, 6.3 from 418, 7.0 from 450.

    """

    name: str
    compile_for: str
    target: str
    version: str


LEVELS = (
    Level("kernels", "75", "sm_60", "6.0"),
    Level("tensor_fp16", "75", "sm_70", "6.3"),
    Level("tensor_bf16", "80", "sm_80", "7.0"),
)


def tool(name: str) -> str:
    """Find a program of the CUDA toolkit.

    Raises:
        ConfigError: there is none.

    """
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    found = shutil.which(name) or shutil.which(name, path=f"{home}/bin")
    if found is None:
        raise ConfigError(f"{name} not found on the PATH or in {home}/bin; set CUDA_HOME")
    return found


def build(level: Level) -> str:
    """Compile one source and lower it to its level.

    Raises:
        ConfigError: nvcc or ptxas refuse it; with what they say.

    """
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "out.ptx")
        source = FOLDER / f"{level.name}.cu"
        _run([tool("nvcc"), "-ptx", f"-arch=compute_{level.compile_for}", str(source), "-o", text])
        lowered = lower(text.read_text(), level)
        text.write_text(lowered)
        _run([tool("ptxas"), f"-arch=sm_{level.compile_for}", str(text), "-o", os.devnull])
    return lowered


def lower(text: str, level: Level) -> str:
    """Write version and target of a level into a PTX text; drop the compiler's remarks."""
    text = re.sub(r"^\.version .*$", f".version {level.version}", text, flags=re.MULTILINE)
    text = re.sub(r"^\.target .*$", f".target {level.target}", text, flags=re.MULTILINE)
    lines = (line.rstrip() for line in text.splitlines() if not line.lstrip().startswith("//"))
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    origin = f"{level.name}.cu by tools.ptx with CUDA {release()}"
    return f"// Made from {origin}; do not edit.\n{body}\n"


def release() -> str:
    """Return the CUDA release of nvcc: ``13.0``; another release may write other PTX."""
    done = subprocess.run([tool("nvcc"), "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"release (\d+\.\d+)", done.stdout)
    if found is None:
        raise ConfigError("nvcc does not say its release")
    return found.group(1)


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{command[0]} failed: {done.stderr.strip()[:1000]}")


def main() -> int:
    """Write the texts, or with ``--check`` say whether they are fresh."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when one is stale")
    check = parser.parse_args().check
    stale = 0
    for level in LEVELS:
        path, text = FOLDER / f"{level.name}.ptx", build(level)
        if path.exists() and path.read_text() == text:
            continue
        stale += 1
        print(f"{path.name}: {'stale' if check else 'written'}", file=sys.stderr)
        if not check:
            path.write_text(text)
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
