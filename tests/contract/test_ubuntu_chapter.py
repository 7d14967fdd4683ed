"""Every code that concerns Ubuntu is brought about on a host by some test, and named in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gpuprep import codes

HERE = Path(__file__).resolve().parents[1] / "integration"
# The two sources, what apt and dpkg refuse, kernels and their modules, Secure Boot, locks.
CHAPTER = frozenset({
    *("E_BRANCH_SYSTEM", "E_OS_UNSUPPORTED", "E_DISTRO_BRANCH", "E_DISTRO_FABRIC"),
    *("E_DISTRO_SOURCE", "E_SECURE_BOOT_UNSIGNED", "E_FABRIC_MODULE", "E_REBOOT_FIRST"),
    *("E_FOREIGN_PIN", "E_FOREIGN_SOURCE", "E_MODULE_BLOCKED", "E_PACKAGES_BROKEN"),
    *("E_KEY", "E_KERNEL_CHANGE", "E_MODULE_BUILD", "E_PACKAGES", "E_PACKAGES_LOCKED"),
    *("E_PACKAGE_INDEX", "E_DRIVER_VERSION", "E_LOCK_DIFFERS", "E_LOCK_MISSING"),
    *("W_CUDA_UNSEEN", "W_DISTRO_BRANCH_BECAME", "W_DRIVER_REPLACED", "W_HOST_GCC"),
    *("W_HOST_GLIBC", "W_KERNEL_GCC", "W_NO_SUCH_PIN", "E_FOREIGN_PACKAGES", "E_FIRST_BOOT"),
    *("E_READY_MODULES", "E_NEXT_KERNEL", "E_DRIVER_KERNEL", "W_NEXT_KERNEL_MODULES"),
    *("W_DRIVER_KERNEL", "W_FIRST_BOOT", "W_PACKAGES_LOCKED"),
})  # fmt: skip


def test_the_chapter_names_codes_that_exist() -> None:
    assert set(codes.table()) >= CHAPTER


def test_every_code_of_the_archives_and_of_secure_boot_is_in_the_chapter() -> None:
    own = {code for code in codes.table() if "_DISTRO_" in code or "SECURE_BOOT" in code}
    assert own <= CHAPTER


@pytest.mark.parametrize("code", sorted(CHAPTER))
def test_a_code_is_seen_on_a_host(code: str) -> None:
    files = [*HERE.glob("test_ubuntu_*.py"), HERE / "test_kernel_ceilings.py"]
    whole = re.compile(rf'"{code}(?![A-Z_])')
    assert [path.name for path in files if whole.search(path.read_text())]
