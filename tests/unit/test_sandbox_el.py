"""What hosts of Enterprise Linux are made of: systems, kernels and their boot entries."""

import hashlib
import lzma
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from gpuprep import catalog
from sandbox import images
from sandbox.el import build, debs, distribution, image, kernels, python, systems
from sandbox.el.systems import SYSTEMS, System
from sandbox.fleet import HostSpec
from sandbox.nvrepo import content
from sandbox.nvrepo.deb import Entry
from sandbox.nvrepo.rpm import Rpm
from sandbox.paths import SandboxError

OCI_FILES = ("oracle-linux-ol9", "uek-ol9", "oci-included-ol9")
OL8, OL9, OL10, ROCKY9 = (SYSTEMS[name] for name in ("ol-8", "ol-9", "ol-10", "rocky-9"))
UEK, RHCK = OL9.kernels


def requires(package: Rpm) -> tuple[str, ...]:
    return package.relations.get("requires", ())


# --- systems --------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_a_system_is_one_of_the_catalogs(system: System) -> None:
    known = catalog.load().systems[system.name]
    assert (known.family, known.distro) == ("rpm", system.distro)
    assert system.name == f"{system.ident}-{system.major}"


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_a_kernel_that_needs_a_toolset_finds_one_in_the_systems_repository(system: System) -> None:
    needing = [one for one in (*system.kernels, *system.offered) if not one.own_compiler]
    assert bool(needing) == bool(system.toolsets)
    for kernel in needing:
        assert kernel.compiler.split()[2].partition(".")[0] == str(system.toolsets[0])


def test_oracle_linux_boots_its_own_kernel_beside_red_hats() -> None:
    for system in (OL8, OL9, OL10):
        assert [one.flavour for one in system.kernels] == ["uek", "rhck"]
    assert [one.flavour for one in ROCKY9.kernels] == ["rhck"]


def test_a_host_may_be_of_a_system_and_an_unknown_one_is_refused_with_all_names() -> None:
    assert HostSpec.from_dict("a", {"image": "ol-9"}).image == "ol-9"
    assert images.os_of("ol-9") == "ol-9"
    with pytest.raises(SandboxError, match=r"no image 'ol-7': there are debian-12, .*ol-8"):
        HostSpec.from_dict("a", {"image": "ol-7"})


def test_an_image_may_have_a_driver_of_its_makers() -> None:
    assert HostSpec.from_dict("a", {"image": "ol-9-gpu"}).image == "ol-9-gpu"
    assert images.os_of("ol-9-gpu") == "ol-9"
    for system, version in systems.WITH_DRIVER.values():
        assert SYSTEMS[system].toolsets
        assert version in {one.version for one in content.EL_DRIVERS}


def test_hosts_of_the_family_are_bare_too_and_have_its_package_manager() -> None:
    packages = set(images.EL_PACKAGES)
    assert {"dnf", "rpm"} <= packages
    assert not {"gcc", "make", "dkms", "python3-apt"} & packages


def test_the_system_says_who_it_is_in_the_files_that_tools_read() -> None:
    files = distribution.identity(OL9).files
    text = files["usr/lib/os-release"].text or ""
    assert {'ID="ol"', 'VERSION_ID="9.6"', 'PLATFORM_ID="platform:el9"'} <= set(text.splitlines())
    assert files["etc/oracle-release"].text == "Oracle Linux Server release 9.6\n"
    assert "Red Hat Enterprise Linux release 9.6" in (files["etc/redhat-release"].text or "")
    assert files["etc/system-release"].link == "oracle-release"
    assert "DEFAULTKERNEL=kernel-uek-core" in (files["etc/sysconfig/kernel"].text or "")
    rocky = distribution.identity(ROCKY9).files
    assert "DEFAULTKERNEL=kernel-core" in (rocky["etc/sysconfig/kernel"].text or "")
    assert "system-release(releasever) = 9" in distribution.identity(OL9).relations["provides"]


def test_epel_comes_by_the_package_that_the_catalog_names() -> None:
    for system in SYSTEMS.values():
        package = distribution.epel_release(system, "http://m/epel")
        assert package.name in catalog.load().systems[system.name].dkms_from
        ((_, entry),) = package.files.items()
        assert "baseurl=http://m/epel\n" in (entry.text or "")
        assert "gpgcheck=1\n" in (entry.text or "")


def test_oracles_repositories_are_named_by_region_and_domain_as_in_its_cloud() -> None:
    files = distribution.repositories(OL9, "http://10.0.0.1:8642")
    assert files["/etc/dnf/vars/ociregion"] == ".eu-frankfurt-1\n"
    assert files["/etc/dnf/vars/ocidomain"] == "oci.oraclecloud.com:8642\n"
    texts = {name: files[f"/etc/yum.repos.d/{name}.repo"] for name in OCI_FILES}
    for text in texts.values():
        assert "baseurl=http://yum$ociregion.$ocidomain/el/ol-9/" in text
        assert "10.0.0.1" not in text
    assert "[ol9_UEKR8]" in texts["uek-ol9"]
    assert "[ol9_codeready_builder]" in texts["oracle-linux-ol9"]
    disabled = texts["oracle-linux-ol9"].partition("[ol9_codeready_builder]")[2]
    assert "enabled=0" in disabled
    plain = distribution.repositories(ROCKY9, "http://10.0.0.1:8642")
    assert (
        "baseurl=http://10.0.0.1:8642/el/rocky-9/baseos\n" in plain["/etc/yum.repos.d/rocky.repo"]
    )
    assert not [path for path in plain if path.startswith("/etc/dnf/vars")]


def test_what_is_published_is_what_the_files_lead_to() -> None:
    described = [
        *kernels.small(UEK, 9),
        *kernels.small(RHCK, 9),
        *distribution.offered(OL9),
    ]
    names = [one.name for one in described]
    places = {name: build.place_of(OL9, name) for name in names}
    assert places["kernel-uek-core"] == "uek"
    assert places["kernel-core"] == "baseos"
    assert places["libmnl-devel"] == "codeready"
    assert places["oci-utils"] == "oci"
    assert {build.place_of(ROCKY9, name) for name in names} == {"baseos", "codeready"}


# --- kernels --------------------------------------------------------------------------------------


def test_packages_of_a_kernel_are_bound_to_its_release() -> None:
    found = {one.name: one for one in kernels.small(RHCK, 9)}
    assert set(found) == {"kernel", "kernel-core", "kernel-modules", "kernel-modules-core"}
    assert f"kernel-core = {RHCK.release}" in requires(found["kernel"])
    assert "installonlypkg(kernel)" in found["kernel-core"].relations["provides"]
    assert f"kernel-uname-r = {RHCK.uname}" in found["kernel-core"].relations["provides"]
    assert "kernel-modules-core" not in {one.name for one in kernels.small(OL8.kernels[1], 8)}
    assert {one.name for one in kernels.small(UEK, 9)} >= {"kernel-uek-core", "kernel-uek-modules"}


def test_the_package_that_dkms_asks_for_binds_kernel_and_tree() -> None:
    package = kernels.matched(RHCK)
    assert package.name == "kernel-devel-matched"
    assert requires(package) == (f"kernel-core = {RHCK.release}", f"kernel-devel = {RHCK.release}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return what Debian's three packages make, in little."""
    own = tmp_path / "usr/src/linux-headers-6.1.0-56-amd64"
    common = tmp_path / "usr/src/linux-headers-6.1.0-56-common"
    programs = tmp_path / "usr/lib/linux-kbuild-6.1"
    option = "INIT_STACK_ALL_ZERO"
    compiler = "gcc-12 (Debian 12.2.0) 12.2.0"
    for path, text in {
        own / "Makefile": "include ../common/Makefile\n",
        own / ".kernelvariables": "override CC = gcc-12\n",
        own / ".config": f'CONFIG_CC_VERSION_TEXT="{compiler}"\nCONFIG_{option}=y\nCONFIG_A=y\n',
        own / "include/config/auto.conf": (
            f"CONFIG_CC_VERSION_TEXT={compiler}\nCONFIG_{option}=y\nCONFIG_A=y\n"
        ),
        own / "include/config/kernel.release": "6.1.0-56-amd64\n",
        own / "include/generated/autoconf.h": (
            f'#define CONFIG_CC_VERSION_TEXT "{compiler}"\n#define CONFIG_{option} 1\n'
        ),
        own / "include/generated/utsrelease.h": '#define UTS_RELEASE "6.1.0-56-amd64"\n',
        common / "Makefile": "VERSION = 6\n",
        programs / "scripts/mod/modpost": "elf",
        programs / "tools/objtool/objtool": "elf",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (own / "scripts").symlink_to("../../lib/linux-kbuild-6.1/scripts")
    return kernels.joined(tmp_path)


def text_of(files: dict[str, Entry], path: str) -> str:
    return files[f"usr/src/kernels/{path}"].text or ""


def test_a_tree_stands_alone_and_says_it_is_of_the_kernel(tree: Path) -> None:
    package = kernels.devel(UEK, tree, compiler="gcc-toolset-14")
    files, home = dict(package.files), UEK.uname
    assert package.name == "kernel-uek-devel"
    assert requires(package) == ("gcc-toolset-14", "make")
    assert f"usr/src/kernels/{home}/scripts/mod/modpost" in files
    assert f"usr/src/kernels/{home}/{kernels.COMMON}/tools/objtool/objtool" in files
    assert f"usr/src/kernels/{home}/.kernelvariables" not in files
    assert f"override KERNELRELEASE = {UEK.uname}\n" in text_of(files, f"{home}/Makefile")
    assert text_of(files, f"{home}/include/config/kernel.release") == f"{UEK.uname}\n"
    assert UEK.uname in text_of(files, f"{home}/include/generated/utsrelease.h")


def test_a_tree_records_the_compiler_as_its_settings_write_it(tree: Path) -> None:
    files, home = dict(kernels.devel(UEK, tree).files), UEK.uname
    quoted = f'CONFIG_CC_VERSION_TEXT="{UEK.compiler}"\n'
    assert quoted in text_of(files, f"{home}/.config")
    bare = f"CONFIG_CC_VERSION_TEXT={UEK.compiler}\n"
    assert bare in text_of(files, f"{home}/include/config/auto.conf")
    assert "INIT_STACK_ALL_ZERO" in text_of(files, f"{home}/.config")


def test_a_tree_for_an_older_compiler_asks_nothing_of_it_that_it_lacks(tree: Path) -> None:
    files, home = dict(kernels.devel(RHCK, tree, older_gcc=True).files), RHCK.uname
    for name in (".config", "include/config/auto.conf", "include/generated/autoconf.h"):
        text = text_of(files, f"{home}/{name}")
        assert "INIT_STACK_ALL_ZERO" not in text
        assert RHCK.compiler in text
    assert "CONFIG_A=y" in text_of(files, f"{home}/.config")


def test_files_and_links_of_a_tree_become_entries_with_their_modes(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_text("x")
    (tmp_path / "bin" / "tool").chmod(0o755)
    (tmp_path / "link").symlink_to("bin/tool")
    found = debs.tree(tmp_path)
    assert set(found) == {"bin/tool", "link"}
    assert (found["bin/tool"].mode, found["link"].link) == (0o755, "bin/tool")


# --- boot entries ---------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root in which the stand-ins for grubby and kernel-install work."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "etc" / "sysconfig").mkdir(parents=True)
    for name in ("grubby", "kernel-install"):
        text = (distribution.SOURCES / name).read_text()
        for folder in ("/boot/", "/etc/", "/usr/lib/kernel/"):
            for before in ("=", " ", "$("):
                text = text.replace(f"{before}{folder}", f"{before}{tmp_path}{folder}")
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "bin" / "depmod").write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/depmod\n')
    (tmp_path / "bin" / "depmod").chmod(0o755)
    files = distribution.identity(OL9).files
    (tmp_path / "etc/os-release").write_text(files["usr/lib/os-release"].text or "")
    (tmp_path / "etc/sysconfig/kernel").write_text(files["etc/sysconfig/kernel"].text or "")
    (tmp_path / "etc/sandbox-boot-id").write_text("abc\n")
    return tmp_path


def call(root: Path, *command: str) -> str:
    env = {"PATH": f"{root}/bin:{os.environ['PATH']}"}
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_new_kernel_of_the_default_flavour_boots_next_another_does_not(root: Path) -> None:
    for kernel in (UEK, RHCK, OL9.offered[1]):
        call(root, "kernel-install", "add", kernel.uname, "/lib/modules/x/vmlinuz")
    assert call(root, "grubby", "--default-kernel").endswith(f"/vmlinuz-{UEK.uname}")
    assert (root / "depmod").read_text().split() == [*(UEK.uname, RHCK.uname, OL9.offered[1].uname)]
    newer = OL9.offered[0].uname
    call(root, "kernel-install", "add", newer, "/lib/modules/x/vmlinuz")
    assert call(root, "grubby", "--default-kernel").endswith(f"/vmlinuz-{newer}")


def test_the_default_can_be_set_and_falls_to_the_newest_when_its_entry_goes(root: Path) -> None:
    for kernel in (UEK, RHCK):
        call(root, "kernel-install", "add", kernel.uname, "/lib/modules/x/vmlinuz")
    call(root, "grubby", f"--set-default=/boot/vmlinuz-{RHCK.uname}")
    assert call(root, "grubby", "--default-kernel").endswith(f"/vmlinuz-{RHCK.uname}")
    assert RHCK.release in call(root, "grubby", "--default-title")
    call(root, "kernel-install", "remove", RHCK.uname)
    assert call(root, "grubby", "--default-kernel").endswith(f"/vmlinuz-{UEK.uname}")
    assert call(root, "grubby", "--info=ALL").count("kernel=") == 1


def test_arguments_of_every_entry_are_changed_once_and_taken_back(root: Path) -> None:
    for kernel in (UEK, RHCK):
        call(root, "kernel-install", "add", kernel.uname, "/lib/modules/x/vmlinuz")
    before = call(root, "grubby", "--info=ALL")
    more = "rd.driver.blacklist=nouveau,nova_core modprobe.blacklist=nouveau,nova_core"
    for _ in range(2):
        call(root, "grubby", "--update-kernel=ALL", f"--args={more}", "--remove-args=nomodeset")
    changed = call(root, "grubby", "--info=ALL")
    assert changed.count(more) == changed.count("modprobe.blacklist=nouveau") == 2
    assert changed.count("ro console=ttyS0") == 2
    call(root, "grubby", "--update-kernel=DEFAULT", "--args=quiet")
    assert " quiet" in call(root, "grubby", "--info=DEFAULT")
    assert " quiet" not in call(root, "grubby", f"--info=/boot/vmlinuz-{RHCK.uname}")
    call(root, "grubby", "--update-kernel=ALL", f"--remove-args={more} quiet")
    assert call(root, "grubby", "--info=ALL") == before


def test_entries_are_counted_from_the_newest(root: Path) -> None:
    for kernel in (UEK, RHCK):
        call(root, "kernel-install", "add", kernel.uname, "/lib/modules/x/vmlinuz")
    assert call(root, "grubby", "--default-index") == "0"
    call(root, "grubby", f"--set-default=/boot/vmlinuz-{RHCK.uname}")
    assert call(root, "grubby", "--default-index") == "1"


def test_a_kernel_that_is_not_there_cannot_be_the_default(root: Path) -> None:
    call(root, "kernel-install", "add", UEK.uname, "/lib/modules/x/vmlinuz")
    done = subprocess.run(
        [root / "bin" / "grubby", "--set-default", "/boot/vmlinuz-9"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "param /boot/vmlinuz-9 is incorrect" in done.stderr


# --- the Python of Enterprise Linux 8 -------------------------------------------------------------


@pytest.fixture
def wheel_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache whose two wheels are small ones with matching checksums."""
    packed = tmp_path / "packed"
    names = (
        *("bin/python3.6", "bin/pip3.6", "lib/libpython3.6m.so.1.0", "lib/python3.6/os.py"),
        *("lib/python3.6/test/test_os.py", "lib/python3.6/site-packages/zmq.py"),
    )
    for name in names:
        (packed / name).parent.mkdir(parents=True, exist_ok=True)
        (packed / name).write_text(name)
    cache, sums = tmp_path / "cache", {}
    for name, version in python._WHEELS:
        home = cache / "wheels" / f"{name}-{version}"
        home.mkdir(parents=True)
        with zipfile.ZipFile(home / "a.whl", "w") as archive:
            if name == "cffi":
                archive.writestr(".libs_cffi_backend/libffi-1.so.6.0.4", "ffi")
            else:
                with tarfile.open(tmp_path / "env.tar.xz", "w:xz") as inner:
                    for one in names:
                        inner.add(packed / one, f"./{one}")
                archive.write(tmp_path / "env.tar.xz", "env.tar.xz")
        sums[name, version] = hashlib.sha256((home / "a.whl").read_bytes()).hexdigest()
    monkeypatch.setattr(python, "_WHEELS", sums)
    return cache


def test_the_python_is_unpacked_without_what_nobody_imports(wheel_of_python: Path) -> None:
    found = {name: path for path, name in python.files(wheel_of_python)}
    assert set(found) == {
        *("bin/python", "bin/python3.6", "lib/libpython3.6m.so.1.0", "lib/libffi.so.6"),
        "lib/python3.6/os.py",
    }
    assert found["lib/libffi.so.6"].read_text() == "ffi"
    assert python.program(wheel_of_python) == found["bin/python"]


def test_a_python_with_another_checksum_is_refused(
    wheel_of_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python, "_WHEELS", dict.fromkeys(python._WHEELS, "0" * 64))
    with pytest.raises(SandboxError, match="not the pinned one"):
        python.home(wheel_of_python)


def test_the_librarys_name_is_found_without_the_loaders_cache() -> None:
    assert image._placed("lib/libffi.so.6") == "usr/lib/libffi.so.6"
    assert image._placed("bin/python3.6") == "opt/sandbox-python/bin/python3.6"


# --- modules of a kernel, and DKMS ----------------------------------------------------------------


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_uek_8_has_its_modules_in_packages_by_use_and_says_which(tmp_path: Path) -> None:
    assert (UEK.split, OL8.kernels[0].split, RHCK.split) == (True, False, False)
    files = kernels.compiled_modules(UEK, tmp_path)
    found = {one.name: one for one in kernels.small(UEK, 9, files)}
    modules = f"usr/lib/modules/{UEK.uname}"
    assert f"{modules}/kernel/drivers/acpi/video.ko.xz" in found["kernel-uek-modules"].files
    umad = f"{modules}/kernel/drivers/infiniband/core/ib_umad.ko.xz"
    assert umad in found["kernel-uek-modules-core"].files
    listed = found["kernel-uek-core"].files[f"{modules}/modules.packages"].text or ""
    assert "video kernel-uek-modules\n" in listed
    assert "iwlwifi kernel-uek-modules-wireless\n" in listed
    needed = {text.split()[0] for text in requires(found["kernel-uek"])}
    assert needed == {"kernel-uek-core", "kernel-uek-modules", "kernel-uek-modules-core"}
    optional = {"kernel-uek-modules-usb", "kernel-uek-modules-extra-netfilter"}
    assert optional <= set(found)
    assert not optional & {one.name for one in kernels.installed(UEK, 9, files)}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_other_kernels_have_the_same_modules_in_fewer_packages(tmp_path: Path) -> None:
    for kernel, major, part in ((RHCK, 9, "modules-core"), (OL8.kernels[1], 8, "modules")):
        found = {
            one.name: one
            for one in kernels.small(kernel, major, kernels.compiled_modules(kernel, tmp_path))
        }
        files = found[f"kernel-{part}"].files
        (entry,) = [one for path, one in files.items() if path.endswith("/video.ko.xz")]
        assert not [path for path in found["kernel-core"].files if "modules.packages" in path]
        content = lzma.decompress((entry.source or tmp_path).read_bytes())
        assert f"vermagic={kernel.uname} SMP".encode() in content
        assert b"name=video" in content


MAKES = """\
readonly dkms_framework_nonsigning_variables="source_tree dkms_tree"
for i in $dkms_framework_nonsigning_variables; do [ "$i" != build_environment ] || known=yes; done
build_environment=$1
make_command="echo made by \\$TOOL"
    the_make_command="${make_command/#make/make -j2}"
eval "$the_make_command"
echo "$known dkms-3.0.10"
"""


def test_a_newer_dkms_reads_the_environment_that_its_settings_name(tmp_path: Path) -> None:
    (tmp_path / "enable").write_text("export TOOL=gcc-14\n")
    text = distribution.dkms_of("3.4.3", MAKES, "3.0.10")
    for file, said in (("enable", "made by gcc-14"), ("none", "made by")):
        command = ["bash", "-c", text, "dkms", str(tmp_path / file)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert done.stdout.splitlines() == [said, "yes dkms-3.4.3"]
    with pytest.raises(ValueError, match="cannot be made"):
        distribution.dkms_of("3.4.3", "echo\n", "3.0.10")


def test_each_system_has_the_dkms_that_is_told_in_its_way() -> None:
    assert OL8.dkms == ("3.0.10",)
    for system in (OL9, OL10, ROCKY9):
        assert [one.startswith("3.4") for one in system.dkms] == [False, True]
