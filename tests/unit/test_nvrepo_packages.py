"""The substitute repository's packages have NVIDIA's names, relations and habits."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from gpuprep import catalog
from sandbox.nvrepo import content, cuda, cudnn, driver, fabric, headers
from sandbox.nvrepo.deb import Deb, Entry, build_all

# Libraries and modules are compiled, packages are packed.
pytestmark = pytest.mark.needs("gcc", "dpkg-deb")

OLD, FIRST_580, LAST_580, NEW = content.DRIVERS
FROM_DEBIAN = {"dkms", "libc6", "init-system-helpers", "kmod", "build-essential"}

Repository = dict[str, list[Deb]]


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    work = tmp_path_factory.mktemp("driver")
    return by_name(
        deb
        for version in content.DRIVERS
        for deb in (*driver.packages(version, work), *fabric.packages(version, work))
    )


@pytest.fixture(scope="module")
def toolkits() -> Repository:
    """Everything of CUDA but the payload, which would need NVIDIA's wheels."""
    releases = [deb for kit in content.TOOLKITS for deb in (*cuda._config(kit), *cuda._metas(kit))]
    return by_name([*releases, *cuda.newest_metas(content.TOOLKITS)])


def by_name(packages: Iterable[Deb]) -> Repository:
    found: Repository = {}
    for package in packages:
        found.setdefault(package.name, []).append(package)
    return found


def needs(package: Deb) -> dict[str, str]:
    """Names a package depends on, with the relation if there is one."""
    relations = [
        re.fullmatch(r"(\S+)(?: \((.+)\))?", d) for d in package.relations.get("Depends", ())
    ]
    return {match[1]: match[2] or "" for match in relations if match}


def closure(repository: Repository, *names: str) -> set[str]:
    """All packages that come along with `names`."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name in found or name not in repository:
            continue
        found.add(name)
        pending += [need for deb in repository[name] for need in needs(deb)]
    return found


def test_every_dependency_inside_the_driver_is_bound_to_its_own_version(
    drivers: Repository,
) -> None:
    inside = 0
    for debs in drivers.values():
        for deb in debs:
            for name, relation in needs(deb).items():
                if name in FROM_DEBIAN:
                    continue
                assert relation == f"= {deb.version}", f"{deb.name} {deb.version}: {name}"
                assert deb.version in {other.version for other in drivers[name]}
                inside += 1
    assert inside > 100


@pytest.mark.parametrize("flavour", driver.FLAVOURS)
@pytest.mark.parametrize("version", content.DRIVERS, ids=lambda version: version.version)
def test_a_metapackage_brings_module_libraries_tools_and_daemon(
    drivers: Repository, version: driver.Driver, flavour: driver.Flavour
) -> None:
    meta = {"open": "nvidia-open", "proprietary": "cuda-drivers"}[flavour]
    other = driver.FLAVOURS[driver.FLAVOURS[0] == flavour]
    brought = closure(drivers, f"{meta}-{version.version}")
    assert {driver.DKMS[flavour], "libcuda1", "libnvidia-ml1", "nvidia-driver-cuda"} <= brought
    assert {"nvidia-persistenced", "firmware-nvidia-gsp", "nvidia-modprobe"} <= brought
    assert driver.DKMS[other] not in brought


def test_the_branch_left_the_names_at_590(drivers: Repository) -> None:
    assert {deb.version for deb in drivers["nvidia-open-580"]} == {
        FIRST_580.package_version,
        LAST_580.package_version,
    }
    assert "cuda-drivers-570" in drivers
    assert f"nvidia-open-{NEW.branch}" not in drivers
    assert NEW.package_version in {deb.version for deb in drivers["nvidia-open"]}


def test_the_branch_left_the_fabric_managers_name_at_580(drivers: Repository) -> None:
    for stem in ("nvidia-fabricmanager", "nvidia-imex", "libnvidia-nscq"):
        assert [deb.version for deb in drivers[f"{stem}-570"]] == [OLD.package_version]
        assert OLD.package_version not in {deb.version for deb in drivers[stem]}
        assert FIRST_580.package_version in {deb.version for deb in drivers[stem]}
        assert f"{stem}-580" not in drivers


def test_the_two_flavours_exclude_each_other(drivers: Repository) -> None:
    for flavour, other in (driver.FLAVOURS, driver.FLAVOURS[::-1]):
        for deb in drivers[driver.DKMS[flavour]]:
            assert deb.relations["Conflicts"] == (driver.DKMS[other],)


def test_pins_cover_sources_and_exclude_each_other() -> None:
    branch, full = driver.branch_pin(580), driver.full_pin(LAST_580)
    text = branch.files["etc/apt/preferences.d/nvidia-driver-pinning-580"].text
    assert text is not None
    assert "Package: src:*nvidia*:any src:cuda-drivers:any" in text
    assert "Pin: version 580.*\nPin-Priority: 1000\n" in text
    assert full.name == f"nvidia-driver-pinning-{LAST_580.version}"
    assert list(full.files) == [f"etc/apt/preferences.d/{full.name}.pref"]
    assert branch.relations["Conflicts"] == full.relations["Provides"]
    assert branch.conffiles == ["/etc/apt/preferences.d/nvidia-driver-pinning-580"]


def test_what_the_pin_must_reach_has_a_source_that_it_names(drivers: Repository) -> None:
    for name in closure(drivers, "nvidia-open", "cuda-drivers", "nvidia-fabricmanager"):
        for deb in drivers[name]:
            source = deb.source or deb.name
            assert "nvidia" in source or source in {"cuda-drivers", "libnvsdm"}, name


def test_a_module_has_room_for_the_hosts_vermagic(tmp_path: Path) -> None:
    (dkms,) = (
        deb for deb in driver.packages(LAST_580, tmp_path) if deb.name == driver.DKMS["proprietary"]
    )
    home = f"usr/src/nvidia-{LAST_580.version}"
    module, builder = dkms.files[f"{home}/nvidia.ko"].source, dkms.files[f"{home}/dkms-substitute"]
    assert module is not None
    assert builder.text is not None
    content_ = module.read_bytes()
    offset = driver.vermagic_offset(module)
    assert f"nvidia:{offset}" in builder.text
    assert content_[offset - 9 : offset] == b"vermagic="
    assert content_[offset : offset + 150].rstrip(b"\0") == b"@VERMAGIC@"
    for field in (b"license=NVIDIA", b"name=nvidia", f"version={LAST_580.version}".encode()):
        assert b"\0" + field + b"\0" in b"\0" + content_


def test_a_module_without_the_mark_is_refused(tmp_path: Path) -> None:
    odd = tmp_path / "odd.ko"
    odd.write_bytes(b"vermagic=something")
    with pytest.raises(ValueError, match="exactly once"):
        driver.vermagic_offset(odd)


def test_the_toolkit_brings_no_driver_but_cuda_does(toolkits: Repository) -> None:
    for kit in content.TOOLKITS:
        toolkit, whole = kit.named("cuda-toolkit"), kit.named("cuda")
        asked = {n for name in closure(toolkits, toolkit) for d in toolkits[name] for n in needs(d)}
        assert not {name for name in asked if "driver" in name or "nvidia" in name}
        asked = {n for name in closure(toolkits, whole) for d in toolkits[name] for n in needs(d)}
        assert "cuda-drivers" in asked


def test_the_newest_toolkit_wins_the_alternative(toolkits: Repository) -> None:
    priorities = {}
    for kit in content.TOOLKITS:
        (config,) = toolkits[f"cuda-toolkit-{kit.dashed}-config-common"]
        link = re.search(r"--install /usr/local/cuda cuda (\S+) (\d+)", config.scripts["postinst"])
        assert link
        priorities[link[1]] = int(link[2])
    ordered = sorted(content.TOOLKITS, key=lambda kit: tuple(map(int, kit.release.split("."))))
    assert sorted(priorities, key=lambda home: priorities[home]) == [
        f"/usr/local/cuda-{kit.short}" for kit in ordered
    ]


@pytest.mark.parametrize(
    ("version", "number", "name"),
    [
        ("9.10.2.21", 91002, "libcudnn9-dev-cuda-12"),
        ("8.9.7.29", 8907, "libcudnn8-dev"),
    ],
)
def test_cudnn_counts_and_names_by_series(version: str, number: int, name: str) -> None:
    release = cudnn.Cudnn(version, cuda="12", built="12.2")
    assert release.number == number
    assert release.named("-dev") == name


def test_cudnns_packages_are_of_one_version_and_one_cuda_major(tmp_path: Path) -> None:
    release = cudnn.Cudnn("9.10.2.21", cuda="12", built="12.9")
    packages = by_name(cudnn.packages(release, {"13"}, tmp_path))
    assert set(packages) == {
        *("cudnn9-cuda-12", "libcudnn9-cuda-12", "libcudnn9-dev-cuda-12"),
        "libcudnn9-headers-cuda-12",
    }
    (dev,) = packages["libcudnn9-dev-cuda-12"]
    assert set(needs(dev).values()) == {"= 9.10.2.21-1"}
    assert dev.relations["Conflicts"] == ("libcudnn9-dev-cuda-13",)


def test_headers_are_named_after_the_kernel_and_wake_the_builders() -> None:
    deb = headers.package("6.1.0-Test_1")
    assert deb.name == "linux-headers-6.1.0-test-1"
    assert deb.version == "6.1.0-1"
    assert deb.files["usr/lib/modules/6.1.0-Test_1/build"].link
    assert "header_postinst.d" in deb.scripts["postinst"]
    with pytest.raises(ValueError, match="does not begin with a version"):
        headers.package("oracle")


def test_a_deb_is_what_its_description_says(tmp_path: Path) -> None:
    deb = Deb(
        name="probe",
        version="1:2.0-1",
        description="a probe",
        source="origin",
        relations={"Depends": ("libc6", "kmod (>= 1)"), "Conflicts": ()},
        files={
            "etc/probe.conf": Entry(text="x\n"),
            "usr/bin/probe": Entry(text="#!/bin/sh\n", mode=0o755),
            "usr/bin/also": Entry(link="probe"),
        },
        scripts={"postinst": "true\n"},
        triggers=("activate-noawait ldconfig",),
    )
    (path,) = build_all([deb], tmp_path)
    assert path.name == "probe_2.0-1_amd64.deb"

    def ask(*arguments: str) -> str:
        command = ["dpkg-deb", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert ask("--field", str(path), "Source", "Depends", "Version").splitlines() == [
        "Source: origin",
        "Depends: libc6, kmod (>= 1)",
        "Version: 1:2.0-1",
    ]
    assert ask("--info", str(path), "conffiles") == "/etc/probe.conf\n"
    assert ask("--info", str(path), "postinst") == "#!/bin/sh\nset -e\ntrue\n"
    listing = ask("--contents", str(path))
    assert "root/root" in listing
    assert "./usr/bin/also -> probe" in listing
    first = path.read_bytes()
    assert build_all([deb], tmp_path)[0].read_bytes() == first


def test_two_packages_of_one_file_name_are_refused(tmp_path: Path) -> None:
    deb = Deb(name="twin", version="1", description="a twin")
    with pytest.raises(ValueError, match=r"described twice: twin_1_amd64\.deb"):
        build_all([deb, deb], tmp_path)


def test_the_repository_has_what_the_catalog_chooses() -> None:
    known = catalog.load()
    channels = {branch for choices in known.channels.values() for branch in choices}
    built = {str(version.branch): version.version for version in content.DRIVERS}
    for branch in channels:
        assert built[branch] == known.branches[branch].latest
        assert known.branches[branch].native_cuda in {kit.short for kit in content.TOOLKITS}
    released = {version for series in known.cudnn.values() for version in series.releases}
    assert {release.version for release in content.CUDNN} <= released
    assert set(content.distributions()) == {"debian12", "debian13"}
