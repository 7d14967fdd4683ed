"""Random hosts and settings for property tests, drawn from the catalog and a little beyond."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from gpuprep.catalog import load
from gpuprep.components import NAMES
from gpuprep.model import DesiredStack, HostFacts, HostState, KernelHeaders

if TYPE_CHECKING:
    from collections.abc import Callable

CATALOG = load()
AS_OF = CATALOG.as_of

KERNELS = [
    None,
    "6.8.0-1035-oracle",
    "6.1.0-56-amd64",
    "4.4.0-142-generic",
    "4.18.0-553.el8_10.x86_64",
    "5.14.0-570.12.1.el9_6.x86_64",
    "5.14.0-570.12.1.el9_6.aarch64+64k",
    "6.12.0-100.28.2.2.el9uek.x86_64",
    "6.8.0-1068-oracle",
    "6.12.118+deb13-amd64",
    "6.17.8",
    "7.0.0-1017-oracle",
    "7.2.6+deb13-amd64",
    "7.9.1",
]
HEADERS = st.none() | st.builds(
    KernelHeaders,
    st.sampled_from([None, "6.1.192", "6.12.118"]),
    st.dictionaries(
        st.sampled_from([c.name for c in CATALOG.kernels.changes.values() if c.look]),
        st.booleans(),
        max_size=3,
    ),
)
COMPILERS = [
    None,
    "gcc (GCC) 14.2.1 20250110 (Red Hat 14.2.1-7)",
    "x86_64-linux-gnu-gcc-12 (Ubuntu 12.3.0-1ubuntu1~22.04) 12.3.0",
    "clang version 19.1.0",
]

gpus = st.lists(
    st.sampled_from([*CATALOG.gpus, *CATALOG.gpus, "10de:ffff", "1002:74a1"]), max_size=3
).map(tuple)

states = st.builds(
    HostState,
    runfile=st.sampled_from([False, False, False, True]),
    secure_boot=st.sampled_from([False, False, True]),
    mok_enrolled=st.booleans(),
    newest_kernel=st.sampled_from([None, None, "6.12.0-200.el9uek.x86_64", "7.1.2"]),
    newest_headers=HEADERS,
)

wild_hosts = st.builds(
    HostFacts,
    gpus=gpus,
    os=st.sampled_from([*CATALOG.systems, "plan9-4"]),
    arch=st.sampled_from(["x86_64", "x86_64", "aarch64", "riscv64"]),
    kernel=st.sampled_from(KERNELS),
    kernel_headers=HEADERS,
    kernel_cc=st.sampled_from(COMPILERS),
    system_gcc=st.sampled_from([None, 9, 11, 14, 16]),
    shape=st.sampled_from([None, None, *CATALOG.shapes, "BM.GPU.MI999X.8", "BM.GPU.NEW.1"]),
    nvswitches=st.sampled_from([None, 0, 4]),
    state=states,
)

cuda_settings = st.lists(
    st.sampled_from([*CATALOG.toolkits, "12.7", "13.0.2", "12", "99.1", "x"]),
    max_size=2,
    unique=True,
).map(tuple)
cudnn_settings = st.sampled_from(
    [
        "auto",
        "auto",
        "8",
        "9",
        "9.10",
        "9.10.2.21",
        "9.28.0.42",
        "8.9.7.29",
        "9.5.1.17",
        "7",
        "9.99",
    ]
)
versions = ["auto", "auto", "auto", "580.95.05", "595.91.07", "535.104.05", "999.1", "nonsense"]

SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "components": st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
    "source": st.just("distro"),
    "channel": st.sampled_from(list(CATALOG.channels)),
    "branch": st.sampled_from([*CATALOG.branches, "999", "abc"]),
    "version": st.sampled_from(
        [
            *("580.95.05", "580.126.09", "580.142", "595.91.07", "535.104.05", "470.256.02"),
            *("999.1", "nonsense"),
        ]
    ),
    "flavour": st.sampled_from(["open", "proprietary"]),
    "profile": st.just("compute"),
    "keep_driver": st.sampled_from(["535.288.01", "580.42.01", "470.82.01", "525.60", "999.1"]),
    "cuda": cuda_settings,
    "cuda_default": st.sampled_from(["12.9", "13.0"]),
    "cudnn": cudnn_settings,
    "forward_compat": st.just(value=True),
    "allow_eol": st.just(value=False),
    "allow_unknown_gpu": st.just(value=True),
    "as_of": st.sampled_from([AS_OF, "2029-01-01"]),
    "mirror": st.just("http://mirror.example/cuda/"),
    "conda_version": st.sampled_from([*CATALOG.conda.releases, "1.2.3-4"]),
    "conda_sha256": st.just("0" * 64),
    "locked": st.just({}),
}
SETTING_NAMES = {field.name for field in fields(DesiredStack)}


@st.composite
def likely_hosts(draw: Callable[[st.SearchStrategy[Any]], Any]) -> HostFacts:
    """Hosts that exist: GPUs of one machine, a system NVIDIA has packages for."""
    arch = draw(st.sampled_from(["x86_64", "x86_64", "x86_64", "aarch64"]))
    fitting = [g.id for g in CATALOG.gpus.values() if g.host_arch in {None, arch}]
    systems = [s.name for s in CATALOG.systems.values() if arch in s.arches]
    return HostFacts(
        gpus=tuple(draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=2))),
        os=draw(st.sampled_from(systems)),
        arch=arch,
        kernel=draw(st.sampled_from(KERNELS)),
        kernel_headers=draw(HEADERS),
        kernel_cc=draw(st.sampled_from(COMPILERS)),
        system_gcc=draw(st.sampled_from([None, 11, 14])),
        state=HostState(secure_boot=draw(st.sampled_from([False] * 5 + [True]))),
    )


@st.composite
def some_settings(draw: Callable[[st.SearchStrategy[Any]], Any], most: int) -> DesiredStack:
    """A few settings; the others are left to the catalog."""
    names = draw(st.lists(st.sampled_from(sorted(SETTINGS)), unique=True, max_size=most))
    return DesiredStack(**{"as_of": AS_OF, **{name: draw(SETTINGS[name]) for name in names}})


cases = st.one_of(
    st.tuples(likely_hosts(), some_settings(3)),
    st.tuples(likely_hosts(), some_settings(6)),
    st.tuples(wild_hosts, some_settings(3)),
)
