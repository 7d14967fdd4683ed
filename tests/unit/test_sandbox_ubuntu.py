"""What Ubuntu's hosts and its archive are made of: names, relations, pockets, signatures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from gpuprep.catalog import load
from sandbox import images
from sandbox.fleet import HostSpec
from sandbox.nvrepo import compiled, content
from sandbox.nvrepo.driver import Driver
from sandbox.paths import SandboxError
from sandbox.ubuntu import archive, build, driver, kernels, modules
from sandbox.ubuntu.systems import SYSTEMS, System

if TYPE_CHECKING:
    from sandbox.nvrepo.deb import Deb

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc compiles the substitutes")

NOBLE = SYSTEMS["ubuntu-24.04"]
LTS = next(one for one in content.DRIVERS if one.version == "580.178.04")
NEW = next(one for one in content.DRIVERS if one.branch >= 590)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def key(work: Path) -> modules.ModuleKey:
    return modules.ModuleKey(work / "key")


def named(debs: list[Deb]) -> dict[str, Deb]:
    return {deb.name: deb for deb in debs}


def depends(deb: Deb) -> str:
    return ", ".join(deb.relations.get("Depends", ()))


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_a_system_is_one_of_the_catalogs_with_the_archives_of_the_catalog(system: System) -> None:
    catalog = load()
    assert catalog.systems[system.name].distro == system.distro
    assert catalog.systems[system.name].gcc == system.gcc
    branches = {version.partition(".")[0] for version in system.drivers}
    assert branches == set(catalog.archives[system.name].branches)
    assert system.newer.abi > system.kernel.abi


def test_a_host_may_be_of_ubuntu() -> None:
    spec = HostSpec.from_dict("a", {"image": "ubuntu-24.04", "secure_boot": True})
    assert spec.secure_boot
    assert HostSpec.from_dict("a", spec.to_dict()) == spec
    assert images.os_of("ubuntu-24.04") == "ubuntu-24.04"
    with pytest.raises(SandboxError, match=r"ubuntu-22\.04"):
        images.check("ubuntu-18.04")


def test_names_are_those_that_the_catalog_plans(work: Path, key: modules.ModuleKey) -> None:
    catalog = load()
    nvidia = {deb.name for one in (LTS, NEW) for deb in driver.nvidia_packages(one, work)}
    for one in (LTS, NEW):
        rules = catalog.driver.names["ubuntu"]
        rule = next(rule for rule in rules if str(one.branch) in rule.branches)
        for names in rule.packages.values():
            assert {name.format(b=one.branch) for name in names} <= nvidia
    ours = catalog.archives[NOBLE.name]
    release = {deb.name for deb in archive.group(NOBLE, "now", "release", key, work)}
    for name, branch in ours.branches.items():
        for names in branch.packages.values():
            assert {one.format(b=name) for one in names} <= release
        for form in (
            *ours.signed.values(),
            *(f for all_ in ours.signed_parts.values() for f in all_),
        ):
            assert form.format(b=name, kernel=NOBLE.kernel.uname) in release
        for form in ours.dkms.values():
            assert form.format(b=name) in release


def test_a_transitional_branch_brings_the_one_that_the_catalog_says(
    work: Path, key: modules.ModuleKey
) -> None:
    release = named(archive.group(NOBLE, "now", "release", key, work))
    became = load().archives[NOBLE.name].became
    for old in ("535", "570", "590"):
        name = f"nvidia-driver-{old}-server-open"
        assert depends(release[name]) == f"nvidia-driver-{became[old]}-server-open"


def test_modules_and_userspace_are_bound_within_a_release(
    work: Path, key: modules.ModuleKey
) -> None:
    cut = driver.of_archive(Driver("580.173.02", cuda=13000), NOBLE.version)
    debs = named(modules.packages(NOBLE.kernel, [cut], key, work))
    kernel = NOBLE.kernel.uname
    whole = debs[f"linux-modules-nvidia-580-server-open-{kernel}"]
    assert "nvidia-kernel-common-580-server (<= 580.173.02-1)" in depends(whole)
    assert "nvidia-kernel-common-580-server (>= 580.173.02)" in depends(whole)
    meta = debs["linux-modules-nvidia-580-server-open-oracle"]
    assert whole.name in depends(meta)


@pytest.mark.needs("modinfo")
def test_a_module_joined_of_its_parts_tells_its_signer(
    tmp_path: Path, key: modules.ModuleKey
) -> None:
    macros = {"NAME": "nvidia", "DEPENDS": "", "VERSION": "1", "LICENSE": "GPL"}
    part = compiled.relocatable("module.c", tmp_path / "nvidia.o", macros)
    joined = tmp_path / "nvidia.ko"
    joined.write_bytes(part.read_bytes() + key.signature(part.read_bytes()))

    def told(field: str) -> str:
        command = ["modinfo", "-F", field, str(joined)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert told("signer") == modules.SIGNER == load().archives[NOBLE.name].signer
    assert told("sig_hashalgo") == "sha512"


def test_a_signature_is_a_true_one(tmp_path: Path, key: modules.ModuleKey) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl judges")
    data, signature, certificate = (tmp_path / name for name in ("data", "sig", "pem"))
    data.write_bytes(b"module")
    certificate.write_bytes(key.certificate.public_bytes(serialization.Encoding.PEM))
    appended = key.signature(b"module")
    length = int.from_bytes(appended[-len(b"~Module signature appended~\n") - 4 :][:4], "big")
    signature.write_bytes(appended[:length])
    verify = ["openssl", "cms", "-verify", "-inform", "DER", "-in", str(signature), "-binary"]
    verify += ["-content", str(data), "-certfile", str(certificate), "-noverify"]
    assert subprocess.run(verify, check=False, capture_output=True).returncode == 0
    data.write_bytes(b"other")
    assert subprocess.run(verify, check=False, capture_output=True).returncode != 0


def test_a_kernel_that_comes_first_has_no_modules_of_the_driver(
    work: Path, key: modules.ModuleKey
) -> None:
    first = named(archive.group(NOBLE, "kernel-first", "security", key, work))
    assert f"linux-image-{NOBLE.newer.uname}" in first
    assert not any("nvidia" in name for name in first)
    later = named(archive.group(NOBLE, "later", "security", key, work))
    assert f"linux-modules-nvidia-580-server-open-{NOBLE.newer.uname}" in later
    assert depends(later["linux-image-oracle"]) == f"linux-image-{NOBLE.newer.uname}"


def test_updates_of_the_driver_are_phased(work: Path, key: modules.ModuleKey) -> None:
    (share,) = {
        deb.relations["Phased-Update-Percentage"]
        for deb in archive.group(NOBLE, "later", "phased", key, work)
    }
    assert share == ("0",)
    assert archive.POCKETS["later"]["-security"] == ("security",)


def test_extra_modules_are_those_that_the_fabric_needs(work: Path) -> None:
    extra = named(kernels.all_packages(NOBLE.kernel, work))
    files = extra[f"linux-modules-extra-{NOBLE.kernel.uname}"].files
    there = {Path(path).stem for path in files}
    assert there == set(load().fabrics["fm+nvlsm"].kernel_modules)


def test_a_source_names_all_pockets_and_the_key() -> None:
    text = build.sources("http://here", NOBLE, "later")
    assert "Suites: noble noble-updates\n" in text
    assert "Suites: noble-security\n" in text
    assert text.count(f"Signed-By: /{archive.KEYRING}\n") == 2
