"""What the substitute repository holds. The only place of its versions."""

from __future__ import annotations

from gpuprep import catalog
from sandbox.nvrepo.cuda import Toolkit
from sandbox.nvrepo.cudnn import Cudnn
from sandbox.nvrepo.driver import Driver

SYSTEMS = ("debian-12", "debian-13")
"""Operating systems the repository serves, by the catalog's names."""


def distributions() -> dict[str, str]:
    """Return the repository's directories and the file name under which each has its key."""
    systems = catalog.load().systems
    return {systems[name].distro: systems[name].key.file for name in SYSTEMS}


DRIVERS = (
    Driver("570.211.01", cuda=12080),
    Driver("580.95.05", cuda=13000),
    Driver("580.178.04", cuda=13000),
    Driver("595.91.07", cuda=13020),
)

PINNED_BRANCHES = (580, 595)
"""Branches with a pinning package; NVIDIA has none for 570."""

TOOLKITS = (
    Toolkit(
        "12.8.1",
        nvcc="12.8.93",
        cudart="12.8.90",
        driver="570.124.06",
        front_end="13.0.88",
        ptx="8.7",
    ),
    Toolkit(
        "12.9.1",
        nvcc="12.9.86",
        cudart="12.9.79",
        driver="575.57.08",
        front_end="13.0.88",
        ptx="8.8",
    ),
    Toolkit("13.0.2", nvcc="13.0.88", cudart="13.0.96", driver="580.95.05"),
    Toolkit("13.2.1", nvcc="13.2.78", cudart="13.2.75", driver="595.58.03"),
)

CUDNN = (
    Cudnn("8.9.7.29", cuda="12", built="12.2"),
    Cudnn("9.10.2.21", cuda="12", built="12.9"),
    Cudnn("9.20.0.48", cuda="12", built="12.9"),
    Cudnn("9.28.0.42", cuda="12", built="12.9"),
    Cudnn("9.20.0.48", cuda="13", built="13.2"),
    Cudnn("9.28.0.42", cuda="13", built="13.2"),
)

REAL_CUDNN = frozenset({("9.10.2.21", "12"), ("9.28.0.42", "13")})
"""Releases that hold NVIDIA's own library when that is asked for: what hosts get by default."""
