"""What rpm and dnf have on record, read from files as Enterprise Linux has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpuprep.on_host.observe import packages, rpm

NVIDIA = "/etc/dnf/plugins/versionlock.list"


@dataclass
class Host:
    """Files in place of a host's own."""

    root: Path

    def write(self, path: str, text: str) -> str:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return str(place)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    for name in (
        *("SOURCES", "OVERRIDES", "SETTINGS", "PID_FILES"),
        *("MODULES", "LOCK_SETTINGS", "LOCK_LIST", "LOCK_TABLE"),
    ):
        value = getattr(rpm, name)
        moved = tuple(f"{tmp_path}{v}" for v in value) if isinstance(value, tuple) else None
        monkeypatch.setattr(rpm, name, moved or f"{tmp_path}{value}")
    return Host(tmp_path)


def installed(monkeypatch: pytest.MonkeyPatch, rows: str) -> None:
    lines = [row for row in rows.splitlines() if row]
    names = "\n".join(row.split("\t")[0] for row in lines)

    def output(argv: list[str]) -> str:
        return names if "-qa" in argv else "\n".join(lines)

    monkeypatch.setattr(rpm, "output", output)


# --- holds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "held"),
    [
        (["nvidia-driver-cuda-3:580.*"], False),  # another package, whose name this one begins
        (["nvidia-driver-3:580.*"], True),
        (["*nvidia*-3:580.*"], True),
        (["nvidia-driver-3:595.*"], False),
        (["nvidia-driver-0:580.*"], False),  # another epoch
        (["nvidia-driver-580.95.05"], True),  # any epoch
        (["nvidia-driver-3:580.95.05-1.el9"], True),
        (["nvidia-driver-3:580.95.05-1.el9.x86_64"], True),
        (["nvidia-driver-3:580.95.05-1.el9.*"], True),
        (["nvidia-driver-3:580.95.05-1.el9.aarch64"], False),
        (["nvidia-driver"], False),  # no version: none is forbidden
        (["*nvidia*580*"], True),
        ([], False),
    ],
)
def test_a_hold_is_a_line_about_this_version(lines: list[str], *, held: bool) -> None:
    assert rpm.is_locked("nvidia-driver", "3:580.95.05-1.el9", "x86_64", lines) == held


def test_add_ons_have_no_epoch() -> None:
    assert rpm.is_locked("libnvsdm", "580.95.05-1", "x86_64", ["libnvsdm*-0:580.*"])
    assert not rpm.is_locked("libnvsdm", "580.95.05-1", "x86_64", ["libnvsdm*-3:580.*"])


def test_lines_of_the_version_lock(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    path = host.write(
        NVIDIA,
        "# Added lock on Mon Nov 23 2026\nnvidia-settings-3:570.*\n\n"
        "# gpuprep: gpu_driver\nnvidia-driver-3:580.*\n# gpuprep: end of gpu_driver\n!dkms-3.*\n",
    )
    assert rpm.locks() == ["nvidia-settings-3:570.*", "nvidia-driver-3:580.*", "!dkms-3.*"]
    assert rpm.rules() == [
        {"path": path, "names": ["nvidia-settings-3:570.*"], "pin": "lock", "priority": -1},
        {"path": path, "names": ["dkms-3.*"], "pin": "exclude", "priority": -1},
    ]
    installed(
        monkeypatch,
        "nvidia-driver\t3:580.95.05-1.el9\tx86_64\t\t\ndkms\t3.0-1\tnoarch\t\t\n"
        "nvidia-settings\t3:580.95.05-1.el9\tx86_64\t\t\n",
    )
    found, broken = rpm.packages(lambda _name: True)
    held = [name for name, package in found.items() if package["hold"]]
    assert held == ["nvidia-driver"]  # a name in a line is none, nor is an exclude
    assert broken == []


def test_a_lock_that_nothing_heeds_holds_nothing(host: Host) -> None:
    host.write(NVIDIA, "nvidia-driver-3:580.*\n")
    host.write("/etc/dnf/plugins/versionlock.conf", "[main]\nenabled = 0\n")
    assert rpm.locks() == []


def test_the_lock_may_be_elsewhere(host: Host) -> None:
    place = host.write("/srv/locks", "nvidia-driver-3:580.*\n")
    host.write("/etc/dnf/plugins/versionlock.conf", f"[main]\nenabled\nenabled=1\nlocklist={place}")
    assert rpm.locks() == ["nvidia-driver-3:580.*"]


def test_the_table_of_dnf_5(host: Host) -> None:
    host.write(
        "/etc/dnf/versionlock.toml",
        'version = "1.0"\n[[packages]]\nname = "nvidia-driver"\n[[packages.conditions]]\n'
        'key = "evr"\ncomparator = "="\nvalue = "3:580.95.05-1.fc43"\n',
    )
    assert rpm.locks() == ["nvidia-driver-3:580.95.05-1.fc43"]
    assert rpm.is_locked("nvidia-driver", "3:580.95.05-1.fc43", "x86_64", rpm.locks())


# --- packages -------------------------------------------------------------------------------------


def test_several_versions_of_a_kernels_tree(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        "kernel-uek-devel\t6.12.0-100.28.2.2.el9uek\tx86_64\t\tinstallonlypkg(kernel), \n"
        "kernel-uek-devel\t6.12.0-99.1.el9uek\tx86_64\t\tinstallonlypkg(kernel), \n"
        "kernel-core\t5.14.0-570.12.1.0.1.el9_6\tx86_64\t\t\n"
    )
    installed(monkeypatch, rows)
    found, broken = rpm.packages(lambda _name: True)
    assert broken == []
    assert found["kernel-uek-devel"]["version"] == "6.12.0-100.28.2.2.el9uek"
    assert found["kernel-uek-devel-6.12.0-99.1.el9uek.x86_64"]["status"] == "installed"
    assert "kernel-core-5.14.0-570.12.1.0.1.el9_6.x86_64" not in found
    assert host.root.is_dir()


def test_a_package_that_is_there_twice(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        "nvidia-driver\t3:580.95.05-1.el9\tx86_64\t\t\n"
        "nvidia-driver\t3:580.178.04-1.el9\tx86_64\t\t\n"
        "nvidia-driver-libs\t3:580.95.05-1.el9\tx86_64\t\t\n"
        "nvidia-driver-libs\t3:580.95.05-1.el9\ti686\t\t\n"
    )
    installed(monkeypatch, rows)
    found, broken = rpm.packages(lambda _name: True)
    assert found["nvidia-driver"]["version"] == "3:580.178.04-1.el9"
    assert broken == [{"name": "nvidia-driver", "status": "duplicated"}]
    assert host.root.is_dir()


@pytest.mark.parametrize("twin_is_last", [False, True])
def test_a_twin_for_32_bit_programs_hides_no_package(
    host: Host, monkeypatch: pytest.MonkeyPatch, *, twin_is_last: bool
) -> None:
    native = "libglvnd\t1:1.3.4-1.el9\tx86_64\tlibglvnd-egl(x86-64) = 1:1.3.4, \tlibglvnd(x86-64)\n"
    twin = "libglvnd\t1:1.3.4-2.el9\ti686\tlibglvnd-egl(x86-32) = 1:1.3.4, \tlibglvnd(x86-32)\n"
    alone = "only32\t1-1\ti686\t\t\n"
    installed(monkeypatch, alone + (native + twin if twin_is_last else twin + native))
    found, broken = rpm.packages(lambda _name: True)
    assert (set(found), broken) == ({"libglvnd"}, [])
    assert found["libglvnd"]["version"] == "1:1.3.4-1.el9"
    assert found["libglvnd"]["depends"] == "libglvnd-egl(x86-64) = 1:1.3.4"
    assert found["libglvnd"]["provides"] == "libglvnd(x86-64)"
    assert host.root.is_dir()


def test_relations_without_files_symbols_and_conditions(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(
        monkeypatch,
        "nvidia-driver-cuda\t3:580.95.05-1.el9\tx86_64\t"
        "libnvidia-ml(x86-64) = 3:580.95.05, nvidia-modprobe, /bin/sh, libc.so.6()(64bit), "
        "rpmlib(PayloadIsXz) <= 5.2-1, (kernel-devel-matched if kernel-core), \t"
        "nvidia-driver-cuda = 3:580.95.05-1.el9, ksym(nv_open) = 0x1, \n",
    )
    found, _ = rpm.packages(lambda _name: True)
    package = found["nvidia-driver-cuda"]
    assert package["depends"] == "libnvidia-ml(x86-64) = 3:580.95.05, nvidia-modprobe"
    assert package["provides"] == "nvidia-driver-cuda = 3:580.95.05-1.el9"
    assert host.root.is_dir()


def test_a_database_that_cannot_be_read_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing at all, or fewer packages than names.
    for names, rows in (("", ""), ("dkms\nnvidia-open\n", "dkms\t3.0-1\tnoarch\t\t\n")):
        told = {"-qa": names, "-q": rows}
        monkeypatch.setattr(rpm, "output", lambda argv, told=told: told[argv[1]])
        found, broken = rpm.packages(lambda _name: True)
        assert found == {}
        assert broken == [{"name": "rpm", "status": "its database cannot be read"}]


# --- streams, repositories, rules -----------------------------------------------------------------


def test_only_enabled_streams(host: Host) -> None:
    host.write(
        "/etc/dnf/modules.d/nvidia-driver.module",
        "[nvidia-driver]\nname=nvidia-driver\nprofiles=\nstate=enabled\nstream=570-open\n",
    )
    host.write("/etc/dnf/modules.d/php.module", "[php]\nname=php\nstate=disabled\nstream=\n")
    host.write("/etc/dnf/modules.d/perl.module", "[perl]\nstate\nstream\n")
    host.write("/etc/dnf/modules.d/broken.module", "no section\n")
    assert rpm.streams() == {"nvidia-driver": "570-open"}


OCI = """\
[ol9_baseos_latest]
name=Oracle Linux 9 BaseOS Latest ($basearch)
baseurl=https://yum$ociregion.$ocidomain/repo/OracleLinux/OL9/baseos/latest/$basearch/
enabled=1
exclude=kernel-uek*, dkms
[ol9_developer_EPEL]
baseurl=https://yum$ociregion.$ocidomain/repo/OracleLinux/OL9/developer/EPEL/$basearch/
enabled=0
"""


def test_repositories_with_state_address_and_excludes(host: Host) -> None:
    path = host.write("/etc/yum.repos.d/oracle-linux-ol9.repo", OCI)
    host.write("/etc/yum.repos.d/broken.repo", "no section\n")
    host.write(
        "/etc/dnf/repos.override.d/99-x.repo",
        "[ol9_developer_EPEL]\nexcludepkgs=nvidia*\nincludepkgs=htop,\n jq\n",
    )
    host.write(
        "/etc/yum.repos.d/rocky.repo", "[baseos]\nmirrorlist=https://m/?a=b\nenabled = True\n"
    )
    found = rpm.repositories()
    assert found["ol9_developer_EPEL"]["enabled"] is False
    assert found["ol9_developer_EPEL"]["excludes"] == ["nvidia*"]
    assert found["ol9_developer_EPEL"]["includes"] == ["htop", "jq"]
    assert found["ol9_baseos_latest"]["excludes"] == ["kernel-uek*", "dkms"]
    assert found["baseos"] == {
        "path": str(host.root / "etc/yum.repos.d/rocky.repo"),
        "enabled": True,
        "addresses": ["https://m/?a=b"],
        "excludes": [],
        "includes": [],
    }
    assert list(rpm.sources()) == [path, found["baseos"]["path"]]
    assert "$ociregion" in rpm.sources()[path][0]
    rules: list[dict[str, Any]] = rpm.rules()  # an exclude of what is off forbids nothing
    assert rules == [
        {
            "path": path,
            "names": ["kernel-uek*", "dkms"],
            "pin": "exclude of ol9_baseos_latest",
            "priority": -1,
        }
    ]


def test_excludes_of_the_settings(host: Host) -> None:
    path = host.write("/etc/dnf/dnf.conf", "[main]\ngpgcheck=1\nbest=True\nexcludepkgs=kernel* a\n")
    expected = {"path": path, "names": ["kernel*", "a"], "pin": "exclude", "priority": -1}
    assert rpm.rules() == [expected]


# --- who works on packages ------------------------------------------------------------------------


def test_a_process_that_noted_its_number_holds_the_lock(host: Host) -> None:
    path = host.write("/var/cache/dnf/metadata_lock.pid", "1")
    host.write("/var/lib/dnf/rpmdb_lock.pid", "99999999\n")  # ended without taking it away
    host.write("/var/lib/dnf/odd.pid", "no number")
    (holder,) = packages.noted_holders(rpm.PID_FILES)
    assert (holder["path"], holder["pid"]) == (path, 1)
    assert holder["command"] == Path("/proc/1/comm").read_text().strip()
