"""Kernels' headers as distributions lay them out: found wherever they are, one kernel like many."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kernel_headers import CHANGES, NEW, OLD, kernel_tree

from gpuprep.catalog import load
from gpuprep.model import KernelHeaders
from gpuprep.on_host.observe import headers
from gpuprep.resolve.kernels import Kernel, obstacle
from sandbox.ubuntu import kernels
from sandbox.ubuntu.systems import Kernel as Packaged

if TYPE_CHECKING:
    from pathlib import Path

TABLE = load().kernels
WHOLE = dict.fromkeys(CHANGES, True)
DRIVERS = ("535.288.01", "570.211.01", "580.95.05", "580.126.09", "580.178.04", "595.91.07")


def packaged(base: str, abi: int) -> Packaged:
    return Packaged(base, abi, "gcc-12 (Ubuntu 12.3.0) 12.3.0")


KERNELS = [
    *(packaged("6.8.0", abi) for abi in (1063, 1064, 1067)),
    *(packaged("5.15.0", abi) for abi in (1113, 1114)),
    *(packaged("6.17.0", 1020), packaged("7.0.0", 1016)),
]


def lay_out(root: Path, kernel: Packaged) -> dict[str, Any] | None:
    """Unpack the packages of a kernel's headers, and look."""
    for deb in kernels.installed(kernel, root):
        for path, entry in deb.files.items():
            if "headers" in deb.name:
                linked = (entry.link or "").startswith("/")
                target = root / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if linked:
                    target.symlink_to(f"{root}{entry.link}")
                else:
                    entry.write(target)
    found: dict[str, Any] | None = headers.look(kernel.uname, CHANGES, f"{root}/usr/lib/modules/")
    return found


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.uname)
def test_ubuntus_headers_and_numbers_agree(tmp_path: Path, kernel: Packaged) -> None:
    """The part of one configuration leads to the part of all by links of its folders."""
    found = lay_out(tmp_path, kernel)
    assert found is not None
    assert found["version"] == kernel.base
    shown = KernelHeaders(found["version"], found["changes"])
    for driver, flavour in product(DRIVERS, ("open", "proprietary")):
        looked = obstacle(TABLE, Kernel(kernel.uname, shown), driver, flavour)
        numbered = obstacle(TABLE, Kernel(kernel.uname), driver, flavour)
        assert (looked is None) == (numbered is None), (driver, flavour, looked, numbered)


def test_the_part_of_one_configuration_alone_shows_nothing(tmp_path: Path) -> None:
    kernel = packaged("6.8.0", 1067)
    assert lay_out(tmp_path, kernel) is not None
    (common,) = (tmp_path / "usr/src").glob("linux-oracle-headers-*")
    common.rename(tmp_path / "elsewhere")
    assert headers.look(kernel.uname, CHANGES, f"{tmp_path}/usr/lib/modules/") is None


@pytest.mark.parametrize(
    "release",
    [
        "5.14.0-687.12.1.el9_8.x86_64",
        "6.12.0-100.28.2.2.el9uek.x86_64",
        "6.12.0-100.28.2.2.el9uek.aarch64",
        "4.18.0-553.104.1.el8_10.x86_64",
        "5.14.0-570.12.1.0.1.el9_6.aarch64+64k",
    ],
)
def test_enterprise_linux_has_one_tree_by_a_link(tmp_path: Path, release: str) -> None:
    tree = kernel_tree(tmp_path / "usr/src/kernels", NEW, release=release)
    modules = tmp_path / "lib/modules" / release
    modules.mkdir(parents=True)
    (modules / "build").symlink_to(tree)
    (modules / "source").symlink_to("build")
    found = headers.look(release, CHANGES, f"{modules.parent}/")
    assert found == {"version": "6.8.12", "changes": WHOLE}
    tree.rename(tmp_path / "removed")  # the kernel's own package keeps the link
    assert headers.look(release, CHANGES, f"{modules.parent}/") is None


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(st.sampled_from(KERNELS), st.sampled_from([OLD, NEW]), min_size=1))
def test_a_kernel_in_company_is_seen_as_it_is_alone(
    tmp_path_factory: pytest.TempPathFactory, forms: dict[Packaged, int]
) -> None:
    together = tmp_path_factory.mktemp("together")
    for kernel, form in forms.items():
        kernel_tree(together, form, release=kernel.uname)
    for kernel, form in forms.items():
        alone = tmp_path_factory.mktemp("alone")
        kernel_tree(alone, form, release=kernel.uname)
        seen = headers.look(kernel.uname, CHANGES, f"{together}/")
        assert seen == headers.look(kernel.uname, CHANGES, f"{alone}/")
