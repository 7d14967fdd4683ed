"""The rpms of the substitute repository have NVIDIA's names, epochs, relations and habits."""

import gzip
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import rpm_rs
import yaml

from gpuprep import catalog
from sandbox.el.systems import SYSTEMS
from sandbox.nvrepo import content, cuda, cudnn, fabric, rpm, rpm_cuda, rpm_driver, rpm_publish
from sandbox.nvrepo.deb import Deb, Entry
from sandbox.nvrepo.publish import SigningKey
from sandbox.nvrepo.rpm import Rpm

OLD, FIRST_580, LAST_580, NEW, NEWEST = content.EL_DRIVERS
REPO = "{http://linux.duke.edu/metadata/repo}"
COMMON = "{http://linux.duke.edu/metadata/common}"


def of(version: Any, el: int = 9, payload: Mapping[str, Any] | None = None) -> dict[str, Rpm]:
    return {one.name: one for one in rpm_driver.packages(version, el, payload or {})}


def converted(debs: Iterable[Deb]) -> dict[str, Rpm]:
    return {one.name: one for one in map(rpm_cuda.converted, debs)}


def requires(package: Rpm) -> tuple[str, ...]:
    return package.relations.get("requires", ())


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.ensure(tmp_path_factory.mktemp("keys") / "gnupg")


@pytest.fixture(scope="module")
def signer(key: SigningKey) -> rpm_rs.Signer:
    return rpm_rs.Signer(key.secret())


# --- the driver -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", content.EL_DRIVERS, ids=lambda one: one.version)
def test_the_driver_has_epoch_3_and_its_add_ons_none_until_they_are_built_with_it(
    version: Any,
) -> None:
    found = of(version)
    without = {name for name, package in found.items() if package.epoch == 0}
    assert {package.epoch for package in found.values()} == {0, 3}
    assert len(without) == (len(rpm_driver.ADD_ONS) if version.branch < 590 else 1)
    assert all("fabric" in n or n.startswith(("libnv", "nvidia-imex", "nvlink5")) for n in without)
    # Only what is built with the driver names the system.
    assert {found[name].release for name in without} == {"1"}
    assert {found[name].release for name in found if name not in without} == {"1.el9"}
    assert {package.version for package in found.values()} == {version.version}


@pytest.mark.parametrize("version", content.EL_DRIVERS, ids=lambda one: one.version)
def test_every_relation_inside_the_driver_names_epoch_and_version_but_modprobes(
    version: Any,
) -> None:
    found = of(version)
    loose = set()
    for package in found.values():
        for text in requires(package):
            if text.startswith("("):
                assert text == "(nvidia-driver-selinux if selinux-policy-targeted)"
                continue
            name, _, bound = text.partition(" ")
            if name.removesuffix("(x86-64)") in found and not bound:
                loose.add((package.name, name))
            elif bound:
                assert bound == f"= 3:{version.version}"
                assert name.removesuffix("(x86-64)") in {*found, "nvidia-kmod"}
    assert loose == {("nvidia-kmod-common", "nvidia-modprobe")}


def test_names_of_the_add_ons_lost_their_branch_at_580() -> None:
    assert {one for one in of(OLD) if one.endswith("-570") or "fabric" in one} == {
        *("nvidia-fabric-manager", "nvidia-imex-570", "libnvidia-nscq-570", "libnvsdm-570"),
        "nvlink5-570",
    }
    for version in (FIRST_580, NEW):
        assert set(rpm_driver.ADD_ONS) <= set(of(version))


def test_from_610_on_one_package_has_the_libraries_and_takes_the_place_of_the_others() -> None:
    found = of(NEWEST)
    gone = {"libnvidia-ml", "libnvidia-cfg", "libnvidia-gpucomp"}
    assert gone <= set(of(NEW))
    assert not (gone | {"xorg-x11-nvidia", "nvidia-xconfig"}) & set(found)
    common = found["nvidia-driver-common"].relations["obsoletes"]
    assert {one.split()[0] for one in common} == gone
    assert "egl-wayland2" in requires(found["nvidia-driver-libs"])
    assert "egl-wayland2" not in requires(of(NEW)["nvidia-driver-libs"])
    payload = {"libnvidia-ml1": {"usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1": Entry(link="x")}}
    assert set(of(NEWEST, 9, payload)["nvidia-driver-common"].files) == {
        "usr/lib64/libnvidia-ml.so.1"
    }


def test_from_615_on_there_are_open_modules_only() -> None:
    found = of(NEWEST)
    assert not {"kmod-nvidia-latest-dkms", "cuda-drivers"} & set(found)
    assert found["nvidia-open"].relations["provides"] == ("cuda-drivers = 3:615.71.09",)
    assert "conflicts" not in found["nvidia-open"].relations


def test_the_policy_package_has_a_version_of_its_own_and_comes_where_there_is_a_policy() -> None:
    wanted = "(nvidia-driver-selinux if selinux-policy-targeted)"
    assert wanted in requires(of(NEWEST)["nvidia-kmod-common"])
    assert wanted not in requires(of(NEW)["nvidia-kmod-common"])
    package = rpm_driver.policy(9)
    assert (package.nevra, package.epoch) == ("nvidia-driver-selinux-0:0.1-2.el9.noarch", 0)


def test_both_flavours_provide_the_modules_and_exclude_each_other() -> None:
    found = of(LAST_580)
    for name, other in (
        ("kmod-nvidia-open-dkms", "kmod-nvidia-latest-dkms"),
        ("kmod-nvidia-latest-dkms", "kmod-nvidia-open-dkms"),
    ):
        assert found[name].relations["provides"] == ("nvidia-kmod = 3:580.178.04",)
        assert found[name].relations["conflicts"] == (other,)
    assert found["nvidia-open"].relations["conflicts"] == ("cuda-drivers",)


def test_the_modules_scriptlets_swallow_whatever_dkms_says(tmp_path: Path) -> None:
    script = of(LAST_580)["kmod-nvidia-open-dkms"].scripts["post"]
    (tmp_path / "dkms").write_text("#!/bin/sh\necho bad >&2\nexit 10\n")
    (tmp_path / "dkms").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", script],
        env={"PATH": f"{tmp_path}:/bin"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "bad\n" * 3)


def test_the_modules_sources_hold_version_and_licence_and_one_file_a_module() -> None:
    for name, licence in (
        ("kmod-nvidia-open-dkms", "Dual MIT/GPL"),
        ("kmod-nvidia-latest-dkms", "NVIDIA"),
    ):
        files = of(LAST_580)[name].files
        home = "usr/src/nvidia-580.178.04"
        makefile = files[f"{home}/Makefile"].text or ""
        assert 'VERSION=\\"580.178.04\\"' in makefile
        assert f'LICENSE="{licence}"' in makefile
        assert "@" not in makefile.replace("$@", "")
        conf = files[f"{home}/dkms.conf"].text or ""
        assert 'MAKE[0]="make KERNEL_UNAME=${kernelver} modules"' in conf
        for module in ("nvidia", "nvidia-uvm", "nvidia-modeset", "nvidia-drm"):
            assert f"{home}/{module}.c" in files
            assert f'="{module}"' in conf


def test_only_from_10_on_the_modules_come_by_recommendation() -> None:
    assert of(LAST_580, 9)["nvidia-kmod-common"].relations["recommends"] == ()
    assert of(LAST_580, 10)["nvidia-kmod-common"].relations["recommends"] == (
        "kmod-nvidia-open-dkms = 3:580.178.04",
    )
    assert {one.release for one in of(LAST_580, 10).values()} == {"1.el10", "1"}


def test_files_are_those_of_the_debian_packages_in_the_familys_places(tmp_path: Path) -> None:
    found = of(LAST_580, payload=rpm_driver.payloads(LAST_580, tmp_path))
    assert "usr/lib64/libcuda.so.1" in found["nvidia-driver-cuda-libs"].files
    assert "usr/lib64/libnvidia-ml.so.580.178.04" in found["libnvidia-ml"].files
    assert "usr/bin/nvidia-smi" in found["nvidia-driver-cuda"].files
    assert "usr/bin/nv-fabricmanager" in found["nvidia-fabricmanager"].files
    assert "ldconfig" in found["libnvidia-ml"].scripts["posttrans"]
    # What is of this version alone goes with the package.
    firmware = "usr/lib/firmware/nvidia/580.178.04"
    assert found["nvidia-kmod-common"].directories == (firmware,)
    # Not enabled at installation, unlike Debian's.
    assert "enable" not in "".join(found["nvidia-persistenced"].scripts.values())


def test_add_ons_of_an_old_branch_have_their_files_too() -> None:
    marks = {name: {f"usr/bin/{name}": Entry(text="")} for name in rpm_driver.ADD_ONS}
    found = of(OLD, payload=marks)
    assert "usr/bin/nvidia-fabricmanager" in found["nvidia-fabric-manager"].files
    assert "usr/bin/libnvidia-nscq" in found["libnvidia-nscq-570"].files


# --- module streams -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def streams() -> dict[str, Any]:
    text = rpm_driver.streams(one for version in content.EL_DRIVERS for one in of(version).values())
    assert "&id" not in text  # libmodulemd knows no aliases
    documents = list(yaml.safe_load_all(text))
    assert documents[-1]["document"] == "modulemd-defaults"
    assert documents[-1]["data"]["stream"] == "open-dkms"
    return {one["data"]["stream"]: one["data"] for one in documents[:-1]}


def test_there_is_a_stream_for_each_branch_and_flavour_and_two_that_move(
    streams: dict[str, Any],
) -> None:
    assert set(streams) == {
        *(f"{branch}-{kind}" for branch in (570, 580, 595) for kind in ("open", "dkms")),
        *("open-dkms", "latest-dkms", "615-open"),
    }
    assert streams["open-dkms"]["artifacts"] == streams["615-open"]["artifacts"]
    assert streams["latest-dkms"]["artifacts"] == streams["595-dkms"]["artifacts"]


def test_a_stream_holds_all_of_its_branch_and_flavour_and_no_add_on(
    streams: dict[str, Any],
) -> None:
    rpms = streams["580-open"]["artifacts"]["rpms"]
    assert "nvidia-driver-3:580.95.05-1.el9.x86_64" in rpms
    assert "nvidia-driver-3:580.178.04-1.el9.x86_64" in rpms
    assert "nvidia-fabricmanager-0:580.178.04-1.x86_64" in rpms
    assert not [one for one in rpms if "latest-dkms" in one or "cuda-drivers" in one]
    for stream in streams.values():
        everything = " ".join(stream["artifacts"]["rpms"])
        for name in ("libnvidia-nscq", "libnvsdm", "nvidia-imex", "nvlink5"):
            assert name not in everything


def test_the_fabric_manager_is_in_the_profile_that_asks_for_it(streams: dict[str, Any]) -> None:
    for stream, name in (
        ("570-open", "nvidia-fabric-manager"),
        ("580-dkms", "nvidia-fabricmanager"),
    ):
        profiles = streams[stream]["profiles"]
        assert set(profiles["fm"]["rpms"]) - set(profiles["default"]["rpms"]) == {name}


# --- CUDA and cuDNN -------------------------------------------------------------------------------


def test_cuda_packages_have_the_familys_names_and_drag_the_drivers_epoch_along() -> None:
    kit = content.TOOLKITS[2]
    found = converted(cuda._metas(kit))
    assert "cuda-libraries-devel-13-0" in found
    assert "cuda-libraries-devel-13-0" in requires(found["cuda-toolkit-13-0"])
    assert f"cuda-drivers >= 3:{kit.driver}" in requires(found["cuda-runtime-13-0"])
    assert (found["cuda-13-0"].version, found["cuda-13-0"].release) == ("13.0.2", "1")
    config = converted(cuda._config(kit))
    script = config["cuda-toolkit-13-0-config-common"].scripts
    assert script["post"].startswith("set -- configure\n")
    assert "update-alternatives --remove" in script["preun"]


def test_cudnn_packages_are_bound_to_each_other_under_the_familys_names(tmp_path: Path) -> None:
    nine, eight = content.CUDNN[-1], content.CUDNN[0]
    found = {
        one.name: one for one in map(rpm_cuda.converted, cudnn.packages(nine, {"12"}, tmp_path))
    }
    assert set(found) == {
        *("libcudnn9-cuda-13", "libcudnn9-devel-cuda-13", "libcudnn9-headers-cuda-13"),
        "cudnn9-cuda-13",
    }
    assert set(requires(found["libcudnn9-devel-cuda-13"])) == {
        f"libcudnn9-cuda-13 = {nine.version}-1",
        f"libcudnn9-headers-cuda-13 = {nine.version}-1",
    }
    assert found["libcudnn9-devel-cuda-13"].relations["conflicts"] == ("libcudnn9-devel-cuda-12",)
    assert "usr/lib64/libcudnn.so.9" in found["libcudnn9-cuda-13"].files
    assert "usr/include/cudnn_v9.h" in found["libcudnn9-headers-cuda-13"].files
    assert "x86_64-linux-gnu" not in found["libcudnn9-devel-cuda-13"].scripts["post"]
    old = {
        one.name: one for one in map(rpm_cuda.converted, cudnn.packages(eight, {"13"}, tmp_path))
    }
    assert (old["libcudnn8"].version, old["libcudnn8"].release) == ("8.9.7.29", "1.cuda12.2")


def test_a_converted_script_runs_when_the_last_one_goes_and_not_at_an_upgrade(
    tmp_path: Path,
) -> None:
    (deb,) = (one for one in cuda._config(content.TOOLKITS[2]) if one.scripts)
    script = rpm_cuda.converted(deb).scripts["preun"]
    (tmp_path / "update-alternatives").write_text("#!/bin/sh\necho called\n")
    (tmp_path / "update-alternatives").chmod(0o755)
    for count, said in (("0", 2), ("1", 0)):
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", script, "preun", count],
            env={"PATH": str(tmp_path)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert done.stdout.count("called") == said


def test_the_subnet_manager_has_a_version_of_its_own(tmp_path: Path) -> None:
    found = rpm_cuda.converted(fabric.nvlsm(tmp_path))
    assert (found.name, found.version, requires(found)) == ("nvlsm", "2025.06.11", ())


# --- the packages as files ------------------------------------------------------------------------


def test_a_package_is_signed_and_says_what_it_was_described_as(
    tmp_path: Path, key: SigningKey, signer: rpm_rs.Signer
) -> None:
    described = Rpm(
        "some-thing",
        "1.0",
        "2.el9",
        "A thing",
        epoch=3,
        relations={
            "requires": ("plain", "bound >= 3:1.0", "(kernel-devel-matched if kernel-core)"),
            "conflicts": ("other",),
        },
        files={
            "usr/bin/thing": Entry(text="#!/bin/sh\n", mode=0o755),
            "etc/thing.conf": Entry(text="a=1\n"),
            "usr/lib64/thing.so": Entry(link="thing.so.1"),
        },
        directories=("usr/src/thing",),
        scripts={"post": "echo done\n"},
    )
    (path,) = rpm.build_all([described], tmp_path, signer)
    assert path.name == "some-thing-1.0-2.el9.x86_64.rpm"
    assert rpm.read(path).nevra == described.nevra == "some-thing-3:1.0-2.el9.x86_64"
    assert described.evr == "3:1.0-2.el9"
    package = rpm_rs.Package.open(str(path))
    package.verify_signature(rpm_rs.Verifier(key.public().encode()))
    header = package.metadata
    needs = {one.name: (one.version, int(one.flags)) for one in header.requires()}
    assert needs["plain"][0] == ""
    assert needs["bound"] == ("3:1.0", 12)  # greater or equal
    assert "(kernel-devel-matched if kernel-core)" in needs
    assert {"some-thing", "some-thing(x86-64)"} <= {one.name for one in header.provides()}
    found = {str(one.path): one for one in header.file_entries()}
    assert set(found) == {
        "/usr/bin/thing",
        "/etc/thing.conf",
        "/usr/lib64/thing.so",
        "/usr/src/thing",
    }


def test_two_packages_of_one_file_name_are_refused(tmp_path: Path, signer: rpm_rs.Signer) -> None:
    twice = [Rpm("a", "1", "1", "A"), Rpm("a", "1", "1", "B", epoch=3)]
    with pytest.raises(ValueError, match=r"described twice: a-1-1\.x86_64\.rpm"):
        rpm.build_all(twice, tmp_path, signer)
    assert not list(tmp_path.iterdir())


def test_a_repository_is_indexed_signed_and_carries_its_streams(
    tmp_path: Path, key: SigningKey, signer: rpm_rs.Signer
) -> None:
    described = [one for version in content.EL_DRIVERS for one in of(version).values()]
    rpms = rpm.build_all(described, tmp_path / "rpms", signer)
    assert len(rpms) > 80
    home = tmp_path / "www" / "rhel9"
    home.parent.mkdir()
    text = rpm_driver.streams(map(rpm.read, rpms))
    rpm_publish.repository(home, rpms, key, "D42D0685.pub", text)
    index = home / "repodata" / "repomd.xml"
    verify = ["gpg", "--homedir", str(key.home), "--verify", f"{index}.asc", str(index)]
    assert subprocess.run(verify, check=False, capture_output=True).returncode == 0
    assert (home / "D42D0685.pub").read_text() == key.public()
    places = {
        data.get("type"): home / str(data.find(f"{REPO}location").get("href"))  # type: ignore[union-attr]
        for data in ET.parse(index).getroot().findall(f"{REPO}data")  # noqa: S314 - made here
    }
    assert gzip.decompress(places["modules"].read_bytes()).decode() == text
    primary = ET.fromstring(gzip.decompress(places["primary"].read_bytes()))  # noqa: S314
    listed = {
        (one.findtext(f"{COMMON}name"), one.find(f"{COMMON}version").get("epoch"))  # type: ignore[union-attr]
        for one in primary
    }
    assert listed == {(one.name, str(one.epoch)) for one in described}
    # A second time it is replaced as a whole.
    rpm_publish.repository(home, rpms[:1], key, "D42D0685.pub")
    assert len(list(home.glob("*.rpm"))) == 1
    assert not list((home / "repodata").glob("*modules*"))


def test_each_key_is_published_under_the_name_that_the_catalog_has_for_it() -> None:
    systems = catalog.load().systems
    for system in SYSTEMS.values():
        assert systems[system.name].distro == system.distro
        assert systems[system.name].key.file.endswith(".pub")
