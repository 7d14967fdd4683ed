"""Versions, relations, locks and files of the rpm family; rpm's own order is the judge."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import rpm_rs
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpuprep.model import Family, Package, Repository, SigningKey, Stack
from gpuprep.observe.observation import PackageRule
from gpuprep.packages import family_of
from gpuprep.packages.closure import accepts
from gpuprep.packages.family import Requirement
from gpuprep.packages.rpm import RPM, compare_versions, parse_relations, version_key

if TYPE_CHECKING:
    from pathlib import Path

PART = st.from_regex(r"[0-9][0-9a-zA-Z.+~^_]{0,9}", fullmatch=True)
OLDER = "nvidia-open-3:580.95.05"
LIST = "/etc/dnf/plugins/versionlock.list"


@st.composite
def versions(draw: st.DrawFn) -> str:
    epoch = draw(st.none() | st.integers(0, 3))
    text = f"{draw(PART)}-{draw(PART)}"
    return text if epoch is None else f"{epoch}:{text}"


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


@settings(max_examples=500, deadline=None)
@given(versions(), versions())
@example("1.0~rc1-1", "1.0-1")
@example("1.0^git1-1", "1.0-1")
@example("1.0^git1-1", "1.0.1-1")
@example("1.0^-1", "1.0~-1")
@example("1.0~~-1", "1.0~-1")
@example("1.0a-1", "1.0.1-1")
@example("1.05-1", "1.5-1")
@example("3:580.95.05-1.el9", "580.178.04-1.el9")
@example("5.14.0-570.12.1.0.1.el9_6", "5.14.0-570.12.1.el9_6")
def test_versions_are_ordered_as_rpm_orders_them(left: str, right: str) -> None:
    one, other = rpm_rs.Evr.parse(left), rpm_rs.Evr.parse(right)
    assert sign(compare_versions(left, right)) == (one > other) - (one < other)


@given(versions(), versions(), versions())
def test_the_order_is_total(a: str, b: str, c: str) -> None:
    assert compare_versions(a, a) == 0
    assert sign(compare_versions(a, b)) == -sign(compare_versions(b, a))
    first, _, third = sorted((a, b, c), key=version_key)
    assert compare_versions(first, third) <= 0


@pytest.mark.parametrize(
    ("operator", "wanted", "there", "accepted"),
    [
        ("=", "3:580.95.05", "3:580.95.05-1.el9", True),  # any release of it
        ("=", "3:580.95.05", "580.95.05-1.el9", False),
        ("=", "3:580.95.05-2.el9", "3:580.95.05-1.el9", False),
        (">=", "1.0", "1.0~rc1-1", False),
        (">=", "1.0", "1.0^git-1", True),
    ],
)
def test_a_relation_accepts_what_rpm_accepts(
    operator: str, wanted: str, there: str, *, accepted: bool
) -> None:
    assert accepts(Requirement("x", operator, wanted), there, RPM) is accepted


def test_relations_are_those_to_packages() -> None:
    text = (
        "libnvidia-ml(x86-64) = 3:580.95.05, nvidia-modprobe, /bin/sh, libc.so.6()(64bit),"
        " rpmlib(CompressedFileNames) <= 3.0.4-1, (kernel-devel-matched if kernel-core)"
    )
    assert parse_relations(text) == (
        (Requirement("libnvidia-ml", "=", "3:580.95.05"),),
        (Requirement("nvidia-modprobe"),),
    )


def stack(**values: object) -> Stack:
    key = SigningKey("https://mirror/rhel9/x86_64/D42D0685.pub", "A" * 40)
    repository = Repository("https://mirror/rhel9/x86_64/", Family.RPM, key)
    driver = (Package("nvidia-open", "driver"), Package("dkms", "driver", origin="distro"))
    given = {"branch": "580", "packages": driver, "version_locked": ("nvidia-*", "libnvidia-*")}
    return Stack(**{"family": Family.RPM, "repository": repository, **given, **values})  # type: ignore[arg-type]


def rule(*names: str, pin: str = "lock", path: str = LIST) -> PackageRule:
    return PackageRule(path, names, pin, -1)


@pytest.mark.parametrize(
    ("rules", "values", "forbidden"),
    [
        ([], {}, []),
        ([rule("*nvidia*-3:580.*")], {}, []),
        ([rule("*nvidia*-3:570.*")], {}, ["nvidia-open"]),
        ([rule(f"{OLDER}-1.el9.*")], {}, []),
        ([rule(f"{OLDER}-1.el9.*")], {"driver_version": "580.95.05"}, []),
        ([rule(f"{OLDER}-1.el9.*")], {"driver_version": "580.178.04"}, ["nvidia-open"]),
        ([rule(OLDER)], {"driver_version": "580.95.05"}, []),
        # Locks add up: one that allows it is enough.
        ([rule("*nvidia*-3:570.*"), rule("nvidia-open-3:580.*")], {}, []),
        ([rule("kernel-5.14.0-570.el9")], {}, []),
        ([rule("nvidia*", pin="exclude", path="/etc/dnf/dnf.conf")], {}, ["nvidia-open"]),
        ([rule("dkms", pin="exclude", path="/etc/dnf/dnf.conf")], {}, ["dkms"]),
        ([rule(f"{OLDER}-*", pin="exclude")], {"driver_version": "580.178.04"}, []),
        ([rule(f"{OLDER}-*", pin="exclude")], {"driver_version": "580.95.05"}, ["nvidia-open"]),
        ([rule("mft*", "kernel-mft*", pin="exclude")], {}, []),
    ],
)  # fmt: skip
def test_what_others_locked_or_excluded_is_told(
    rules: list[PackageRule], values: dict[str, object], forbidden: list[str]
) -> None:
    found = RPM.forbidding(rules, stack(**values), ["nvidia-open", "dkms"])
    assert [name for _, names in found for name in names] == forbidden


def test_without_a_repository_nothing_of_it_is_forbidden() -> None:
    assert RPM.forbidding([rule("*nvidia*-3:570.*")], stack(repository=None), ["nvidia-open"]) == ()
    assert RPM.repository_files(stack(repository=None)) == ()


def test_the_repository_trusts_one_checked_key_and_leaves_streams_in_force() -> None:
    key, repository = RPM.repository_files(stack())
    assert key.key is not None
    assert repository.content is not None
    lines = repository.content.splitlines()
    assert {"gpgcheck=1", "repo_gpgcheck=1", f"gpgkey=file://{key.path}"} <= set(lines)
    assert "baseurl=https://mirror/rhel9/x86_64/" in lines
    assert not any("module_hotfixes" in line for line in lines)
    assert repository.mode == "0644"


def test_a_login_is_kept_from_everybody_and_out_of_the_address() -> None:
    key = SigningKey("https://mirror/k", "A" * 40)
    secret = Repository("https://us%40er:pass@mirror:8443/x/", Family.RPM, key)
    (_, file) = RPM.repository_files(stack(repository=secret))
    assert file.mode == "0600"
    lines = (file.content or "").splitlines()
    assert {"baseurl=https://mirror:8443/x/", "username=us@er", "password=pass"} <= set(lines)


def test_dkms_is_told_the_compiler_of_kernels_that_need_it() -> None:
    assert RPM.build_files(stack()) == ()
    (file,) = RPM.build_files(stack(dkms_toolset="gcc-toolset-14"))
    assert file.path == "/etc/dkms/nvidia.conf"
    (other,) = RPM.build_files(stack(dkms_toolset="gcc-toolset-15"))
    assert file == other


BASH = shutil.which("bash")
MAKE = "make KERNEL_UNAME=x modules"


@pytest.mark.skipif(BASH is None, reason="DKMS's settings are read by bash")
@pytest.mark.parametrize(
    ("compiler", "toolset"),
    [
        ("gcc (GCC) 14.2.1 20250110 (Red Hat 14.2.1-7)", "14"),
        ("gcc (GCC) 11.2.1 20220127 (Red Hat 11.2.1-9.1.0.6)", None),  # it is not installed
        ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0", None),
        ("clang version 18.1.8", None),
        (None, None),
    ],
)
def test_each_kernel_is_compiled_by_the_compiler_that_made_it(
    tmp_path: Path, compiler: str | None, toolset: str | None
) -> None:
    (file,) = RPM.build_files(stack(dkms_toolset="gcc-toolset-14"))
    text = (file.content or "").replace("/lib/modules/", f"{tmp_path}/")
    text = text.replace("/opt/rh/", f"{tmp_path}/rh/")
    gcc = tmp_path / "rh/gcc-toolset-14/root/usr/bin/gcc"
    gcc.parent.mkdir(parents=True)
    gcc.touch(mode=0o755)
    if compiler:
        config = tmp_path / "6.12/build/.config"
        config.parent.mkdir(parents=True)
        config.write_text(f'CONFIG_X=y\nCONFIG_CC_VERSION_TEXT="{compiler}"\n')
    settings = tmp_path / "nvidia.conf"
    settings.write_text(text)
    script = f'kernelver=6.12; MAKE[0]="{MAKE}"; . {settings}; echo "${{MAKE[0]}}"'
    done = subprocess.run([str(BASH), "-euc", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout == f"{MAKE}{f' CC={gcc}' if toolset else ''}\n"


def test_the_stream_is_chosen_before_the_first_transaction() -> None:
    assert RPM.preparation(stack()) == ()
    wanted = stack(stream="nvidia-driver:580-open")
    assert RPM.preparation(wanted) == ({"op": "stream", "stream": "nvidia-driver:580-open"},)


def test_the_family_is_known_by_its_name() -> None:
    assert family_of(Family.RPM) is RPM
    assert RPM.upstream("3:580.95.05-1.el9") == "580.95.05"
