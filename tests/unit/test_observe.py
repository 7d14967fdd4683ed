"""The observation script: here, on trees of files, and what the resolver is told of its answer."""

from __future__ import annotations

import ast
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from planner_cases import bare, observed
from pythons import interpreter

from gpuprep import observe
from gpuprep.model import HostFacts, HostState
from gpuprep.on_host import labels
from gpuprep.on_host.observe import base, conda, deb, family, files, kernel, services, system

SOURCES = sorted((Path(observe.__file__).parents[1] / "on_host/observe").glob("*.py"))
PATHS = ["/etc/hostname", "/etc", "/nowhere", "/proc/self/exe"]
REQUEST = {"packages": "^(bash|dpkg)$", "files": PATHS, "commands": ["sh", "no-such-program"]}


def run(request: dict[str, Any], **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *observe.INTERPRETER_FLAGS.split()]
    script = observe.script(request, **options)
    return subprocess.run(command, input=script, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def seen() -> observe.HostObservation:
    done = run(REQUEST)
    assert done.returncode == 0, done.stderr
    return observe.read(done.stdout)


# --- on this machine ----------------------------------------------------------------------------


def test_it_sees_this_machine(seen: observe.HostObservation) -> None:
    assert seen.kernel.running == os.uname().release
    assert seen.arch == os.uname().machine
    assert seen.uid == os.getuid()
    assert seen.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert seen.machine.id == Path("/etc/machine-id").read_text().strip()
    assert seen.machine.processes == str(Path("/proc/self/ns/pid").readlink())
    assert seen.commands == {"sh": True, "no-such-program": False}


def test_each_part_is_timed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = json.loads(run(REQUEST).stdout)
    parts = {"pci", "kernel", "modules", "driver", "packages", "units", "cuda", "cudnn", "conda"}
    assert answer["timings"].keys() == parts | {"selinux", "jobs"}
    assert 0 < sum(answer["timings"].values()) <= answer["seconds"] + 0.01
    clock = iter([10.0, 10.5, 20.0, 20.25])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    watch = base.Watch()
    assert watch("a", len, "four") == 4
    with pytest.raises(ZeroDivisionError):
        watch("a", lambda: 1 / 0)
    assert watch.seconds == {"a": 0.75}


def test_a_machine_is_itself_under_any_name(seen: observe.HostObservation) -> None:
    again = observe.read(run(REQUEST).stdout)
    assert again.identity == seen.identity
    assert seen.identity is not None


@pytest.mark.parametrize(
    "change",
    [
        {"boot_id": "another"},  # the same disk, started twice
        {"hostname": "another"},  # a copy of a machine with its memory, renamed
        {"machine": {"hardware": "another"}},  # such a copy, elsewhere
        {"machine": {"processes": "another"}},  # two containers on one machine
        {"machine": {"id": "another"}},
    ],
)
def test_copies_and_containers_are_machines_of_their_own(change: dict[str, Any]) -> None:
    one = bare(machine={"id": "i", "processes": "p", "hardware": "h"})
    machine = {**one["machine"], **change.get("machine", {})}
    other = {**one, **change, "machine": machine}
    assert observed(one).identity != observed(other).identity
    assert observed(one).identity == observed({**one, "uid": 0}).identity
    assert observed(bare(boot_id="")).identity is None


def test_it_describes_files_links_directories_and_gaps(seen: observe.HostObservation) -> None:
    kinds = {path: facts and facts.kind for path, facts in seen.files.items()}
    assert kinds == dict(zip(PATHS, ["file", "directory", None, "link"], strict=True))
    digest = subprocess.run(["sha256sum", PATHS[0]], check=True, capture_output=True, text=True)
    hostname = seen.files[PATHS[0]]
    assert hostname
    assert hostname.sha256 == digest.stdout.split()[0]
    assert hostname.owner == "root"


@pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="dpkg judges here")
def test_packages_are_as_dpkg_says(seen: observe.HostObservation) -> None:
    form = "${Package} ${Version} ${db:Status-Status}\\n"
    command = ["dpkg-query", "-W", "-f", form, "bash", "dpkg"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.splitlines() == [
        f"{name} {seen.packages[name].version} {seen.packages[name].status}"
        for name in ("bash", "dpkg")
    ]
    assert set(seen.packages) == {"bash", "dpkg"}


def test_free_space_is_as_statvfs_says(seen: observe.HostObservation) -> None:
    info = os.statvfs("/usr")
    assert abs(seen.space["/usr"].free_mb - (info.f_bavail * info.f_frsize >> 20)) < 2000


def test_paths_on_one_file_system_are_told_as_such(seen: observe.HostObservation) -> None:
    assert set(seen.space) == {"/usr", "/var", "/opt", "/boot", "/tmp"}
    for path, space in seen.space.items():
        assert space.device == (Path(path) if Path(path).exists() else Path("/")).stat().st_dev
    absent = system.space("/proc/self/no/such/folder")
    assert absent["device"] == Path("/proc").stat().st_dev


def test_the_size_of_an_initial_ram_disk_is_rounded_up(tmp_path: Path) -> None:
    sizes = {"initrd.img-6.1": 0, "initramfs-6.1.img": (20 << 20) + 1, "initrd-6.2": 1}
    for name, size in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    (tmp_path / "initrd-6.1.gone").symlink_to("nowhere")
    found = kernel.initramfs_mb("6.1", str(tmp_path))
    assert {Path(path).name: size for path, size in found.items()} == {
        "initrd.img-6.1": 0,
        "initramfs-6.1.img": 21,
    }


def test_it_writes_nothing_and_needs_no_site_packages(tmp_path: Path) -> None:
    modes = [
        call.args[1].value
        for source in SOURCES
        for call in ast.walk(ast.parse(source.read_text()))
        if isinstance(call, ast.Call)
        and getattr(call.func, "id", "") == "open"
        and len(call.args) > 1
        and isinstance(call.args[1], ast.Constant)
    ]
    assert set(modes) == {"rb"}
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": os.environ["PATH"]}
    command = [sys.executable, *observe.INTERPRETER_FLAGS.split()]
    subprocess.run(
        command, input=observe.script(REQUEST), env=environment, check=True, text=True,
        capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_odd_text_in_a_request_arrives_unharmed() -> None:
    odd = "/tmp/a'b\"c\\n\u00fc\n{}"
    assert list(observe.read(run({"files": [odd]}).stdout).files) == [odd]


def test_a_probe_is_asked_in_the_same_trip() -> None:
    probe = "def probe(tier, options): return {'tier': tier}"
    done = run({}, probe=probe, tier="full")
    assert observe.read(done.stdout).probe == {"tier": "full"}


@pytest.mark.parametrize("minor", range(6, 14))
def test_the_program_runs_on_every_python(minor: int) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} on this machine")
    command = [python, *observe.INTERPRETER_FLAGS.split()]
    program = observe.script(REQUEST, marker="word")
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=True)
    assert observe.read(done.stdout, "word").kernel.running == os.uname().release


# --- on files -------------------------------------------------------------------------------------


def elf(pairs: dict[str, str]) -> bytes:
    """Return the smallest kernel module that has a .modinfo section (ELF-64, gABI chapter 4)."""
    names = b"\0.modinfo\0.shstrtab\0"
    body = b"\0".join(f"{k}={v}".encode() for k, v in pairs.items()) + b"\0"
    body_at, names_at = 64, 64 + len(body)
    table_at = names_at + len(names)

    def section(name: int, offset: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 1, 0)

    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, table_at, 0, 64, 0, 0, 64, 3, 2)
    sections = section(0, 0, 0) + section(1, body_at, len(body))
    return header + body + names + sections + section(10, names_at, len(names))


def test_modinfo_is_read_from_the_file(tmp_path: Path) -> None:
    wanted = {"license": "Dual MIT/GPL", "vermagic": "6.1.0 SMP mod_unload", "version": "580.1"}
    path = tmp_path / "nvidia.ko"
    path.write_bytes(elf(wanted))
    assert kernel.modinfo(str(path)) == wanted
    path.write_bytes(b"no module")
    assert kernel.modinfo(str(path)) == {}


def test_modules_on_disk_are_found_with_a_cut_file_among_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "updates/dkms"
    folder.mkdir(parents=True)
    good = elf({"version": "580.1", "vermagic": "6.1 SMP", "license": "NVIDIA"})
    (folder / "nvidia-current.ko").write_bytes(good)
    (folder / "nvidia-uvm.ko").write_bytes(good[:70])
    (folder / "other.ko").write_bytes(good)
    original = os.walk
    monkeypatch.setattr(
        os, "walk", lambda top: original(top.replace("/lib/modules/6.1", str(tmp_path)))
    )
    found = {m["name"]: (m["version"], m["vermagic"]) for m in kernel.modules_on_disk("6.1")}
    assert found == {"nvidia-current": ("580.1", "6.1"), "nvidia-uvm": (None, None)}


def test_who_signed_the_main_module_is_asked_of_signed_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def answer(argv: list[str]) -> str:
        asked.append(argv[-1])
        return "Some Signer\n"

    monkeypatch.setattr(kernel, "output", answer)
    plain, signed, side = (tmp_path / name for name in ("nvidia.ko", "signed.ko", "nvidia-uvm.ko"))
    plain.write_bytes(elf({"version": "1"}))
    for path in (signed, side):
        path.write_bytes(elf({"version": "1"}) + b"x" + kernel.SIGNED)
    signer: Any = kernel._signer
    assert signer("nvidia", str(plain)) is None
    assert signer("nvidia-uvm", str(side)) is None
    assert signer("nvidia", str(tmp_path / "gone.ko")) is None
    assert signer("nvidia", str(signed)) == "Some Signer"
    assert asked == [str(signed)]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("5.15.0-1049-oracle", "initrd.img-{}"),
        ("6.4.0-150600.23-default", "initrd-{}"),
        ("6.12.0-100.28.2.2.el9uek.x86_64", "initramfs-{}.img"),
    ],
)
def test_only_what_a_kernel_boots_is_its_initial_ram_disk(
    tmp_path: Path, release: str, name: str
) -> None:
    boots = tmp_path / name.format(release)
    kept = [f"{boots}{end}" for end in (".bak", ".old-dkms", ".dpkg-bak", "-kdump", ".old")]
    kept += [f"{tmp_path}/{odd}" for odd in (f"initramfs-{release}kdump.img", "initrd.img")]
    kept += [f"{tmp_path}/{name.format(release + end)}" for end in ("0", "-debug")]
    rule, later = tmp_path / "nouveau.conf", tmp_path / "later.conf"
    for seconds, paths in enumerate((map(Path, kept), [rule], [boots], [later])):
        for path in paths:
            path.touch()
            os.utime(path, (seconds, seconds + 1))
    files = [str(rule), str(later)]
    assert kernel.initramfs(release, files, str(tmp_path)) == {str(boots): [str(later)]}
    boots.unlink()
    assert kernel.initramfs(release, files, str(tmp_path)) == {}


def test_of_two_initial_ram_disks_the_one_that_grub_takes_counts(tmp_path: Path) -> None:
    rule, taken, other = (tmp_path / n for n in ("x.conf", "initrd.img-6.1", "initramfs-6.1.img"))
    for path, seconds in ((other, 1), (rule, 2), (taken, 3)):
        path.touch()
        os.utime(path, (seconds, seconds))
    assert kernel.initramfs("6.1", [str(rule)], str(tmp_path)) == {str(taken): []}


STATUS = """\
Package: nvidia-open-580
Status: install ok installed
Version: 580.95.05-1
Pre-Depends: dpkg
Depends: libcuda1 (= 580.95.05-1)

Package: libcuda1
Status: hold ok installed
Version: 580.95.05-1
Provides: libcuda.so.1
Description: a
 Status: is no field here

Package: exim4
Status: install ok half-configured
Version: 4

Package: gone
Status: deinstall ok config-files
Version: 1
"""


NATIVE = """\
Package: libcuda1
Status: hold ok installed
Architecture: amd64
Version: 580.95.05-1
Depends: libc6
"""
TWIN = """\
Package: libcuda1
Status: %s
Architecture: i386
Version: 570.1-1
"""
OTHERS = """\
Package: pin
Status: hold ok installed
Architecture: all
Version: 1

Package: only32
Status: install ok installed
Architecture: i386
Version: 1

Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1
"""


@pytest.mark.parametrize("twin_is_last", [False, True])
@pytest.mark.parametrize(
    ("state", "held"),
    [
        ("install ok installed", False),
        ("hold ok installed", True),
        ("deinstall ok config-files", True),
    ],
)
def test_a_twin_of_another_architecture_hides_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, *, held: bool, twin_is_last: bool
) -> None:
    stanzas = [TWIN % state, NATIVE, OTHERS]
    path = tmp_path / "status"
    path.write_text("\n".join(reversed(stanzas) if twin_is_last else stanzas))
    monkeypatch.setattr(deb, "open", lambda _path, **how: path.open(**how), raising=False)
    packages, broken = deb.packages(lambda _name: True)
    assert packages["libcuda1"] == {
        "version": "580.95.05-1",
        "status": "installed",
        "hold": held,
        "depends": "libc6",
        "provides": "",
    }
    assert (set(packages), broken) == ({"libcuda1", "pin", "dpkg"}, [])


def test_dpkgs_database_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status"
    path.write_text(STATUS)
    monkeypatch.setattr(deb, "open", lambda _path, **how: path.open(**how), raising=False)
    packages, broken = deb.packages(lambda name: name != "exim4")
    assert broken == [{"name": "exim4", "status": "half-configured"}]
    assert packages["nvidia-open-580"] == {
        "version": "580.95.05-1",
        "status": "installed",
        "hold": False,
        "depends": "dpkg, libcuda1 (= 580.95.05-1)",
        "provides": "",
    }
    assert packages["libcuda1"]["hold"]
    assert packages["libcuda1"]["provides"] == "libcuda.so.1"
    assert packages["gone"]["status"] == "config-files"


def test_kernel_releases_are_ordered_by_number() -> None:
    releases = ["6.1.0-9-amd64", "6.1.0-40-amd64", "6.12.1-amd64", "5.10.0-1"]
    ordered = sorted(releases, key=base.natural)
    assert ordered == ["5.10.0-1", "6.1.0-9-amd64", "6.1.0-40-amd64", "6.12.1-amd64"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ID": "debian"}, "deb"),
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "deb"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "deb"),
        ({"ID": "ol", "ID_LIKE": "fedora"}, "rpm"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "rpm"),
        ({"ID": "eurolinux", "ID_LIKE": "rhel"}, "rpm"),
        ({}, "deb"),  # the controller refuses systems that it does not know
    ],
)
def test_the_family_is_told_by_os_release(fields: dict[str, str], expected: str) -> None:
    assert family.family_of(fields) == expected


def test_what_a_user_puts_in_the_way_neither_hangs_nor_breaks(tmp_path: Path) -> None:
    pipe, deep, gone = tmp_path / "pipe", tmp_path / "deep", tmp_path / "gone"
    os.mkfifo(pipe)
    deep.write_text("[" * 200_000)
    assert conda.marker(str(pipe)) is None
    assert conda.marker(str(deep)) is None
    assert files.describe(str(gone)) is None
    described = files.describe(str(pipe))
    assert (described["kind"], "sha256" in described) == ("special", False)
    assert files.key_fingerprints([str(pipe), str(deep), str(gone)]) == {}


def test_what_a_command_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert base.output(["echo", "x"]) == "x\n"
    assert base.output(["no-such-program"]) == ""
    assert base.run(["sh", "-c", "echo y >&2; exit 3"]) == (3, "", "y\n")
    monkeypatch.setattr(base, "COMMAND_SECONDS", 0.2)
    with pytest.raises(SystemExit):
        base.output(["sleep", "30"])


# --- what the controller makes of the answer ------------------------------------------------------


HEALTHY: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "fixtures/verify/healthy.json").read_text()
)["observation"]


def answer(**changes: Any) -> str:
    return json.dumps({**HEALTHY, **changes})


def facts(**changes: Any) -> HostFacts:
    return observe.facts(observe.read(answer(**changes)), "BM.X")


def test_facts_for_the_resolver() -> None:
    kernel = {**HEALTHY["kernel"], "compiler": None}
    assert facts(runfile=True, kernel=kernel) == HostFacts(
        gpus=("10de:2330", "10de:2330"),
        os="debian-12",
        kernel="6.1.0-40-amd64",
        system_gcc=12,
        shape="BM.X",
        nvswitches=1,
        state=HostState(runfile=True, newest_kernel="6.1.0-40-amd64"),
    )


def test_bridges_and_other_controllers_of_nvidia_are_neither_gpu_nor_switch() -> None:
    bus = [
        {"slot": str(n), "vendor": "10DE", "device": device, "pci_class": kind}
        for n, (device, kind) in enumerate(
            [("2330", "030200"), ("2236", "030000"), ("1a2b", "060400"), ("10f0", "040300")]
        )
    ]
    seen = facts(pci=bus)
    assert (seen.gpus, seen.nvswitches) == (("10de:2330", "10de:2236"), 0)


def test_minor_releases_of_enterprise_linux_are_one() -> None:
    assert facts(os={"id": "ol", "version_id": "9.5"}).os == "ol-9"
    assert facts(os={"id": "ubuntu", "version_id": "24.04"}).os == "ubuntu-24.04"


def test_a_named_kernel_is_not_compared_with_the_newest() -> None:
    kernel = {"target": "6.9", "running": "6.1", "next_boot": "6.10", "compiler": None}
    assert facts(kernel=kernel).state.newest_kernel is None
    assert facts(kernel=kernel).kernel == "6.9"


def test_the_loaded_driver_is_told_by_itself_or_by_sysfs() -> None:
    modules = {"loaded": {"nvidia": "580.2"}}
    for told, expected in (("580.1", "580.1"), (None, "580.2"), ("odd", "580.2")):
        seen = observe.read(answer(driver={"proc_version": told}, modules=modules))
        assert seen.running_driver == expected


def test_environments_are_what_conda_takes_for_them(tmp_path: Path) -> None:
    for name, history in (("whole", True), ("half", False), ("bare", False)):
        (tmp_path / "envs" / name / "conda-meta").mkdir(parents=True)
        if history:
            (tmp_path / "envs" / name / "conda-meta/history").touch()
    (tmp_path / "envs/file").touch()
    seen = conda.conda(str(tmp_path))
    assert set(seen["envs"]) == {"whole"}
    assert seen["broken"] == ["bare", "file", "half"]


def test_other_modules_are_found_where_the_kernel_has_them(tmp_path: Path) -> None:
    (tmp_path / "6.1").mkdir()
    (tmp_path / "6.1/modules.dep").write_text("kernel/ib-umad.ko.xz: kernel/a.ko\nx/mlx5_ib.ko:\n")
    (tmp_path / "6.1/modules.builtin").write_text("kernel/fs/ext4.ko\n")
    names = ["ib_umad", "mlx5-ib", "ext4", "nowhere"]
    found = kernel.other_modules(names, "6.1", f"{tmp_path}/")
    assert list(found.values()) == ["available", "available", "builtin", "absent"]
    assert kernel.other_modules(["ib_umad"], "6.2", f"{tmp_path}/") == {"ib_umad": None}


# --- what does not answer ------------------------------------------------------------------------


def systemctl_that(says: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\n{says}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("exec sleep 60", "did not answer within 1 s"),
        ("echo Failed to get properties: Connection timed out >&2; exit 1", "Connection timed out"),
        ("exit 1", "failed: exit 1"),
    ],
)
def test_a_unit_is_not_taken_for_missing_when_systemd_does_not_answer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    says: str,
    told: str,
) -> None:
    systemctl_that(says, tmp_path, monkeypatch)
    monkeypatch.setattr(base, "COMMAND_SECONDS", 1)
    monkeypatch.setattr(services, "BOOTED", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        services.units(["nvidia-persistenced.service"])
    assert ended.value.code == base.UNANSWERED
    said = capsys.readouterr().err
    assert said.startswith("systemctl show ")
    assert told in said


@pytest.mark.parametrize(
    ("mode", "context", "ends"),
    [
        ("enforcing", "user_u:user_r:user_t:s0", False),
        ("permissive", "user_u:user_r:user_t:s0", True),
        ("enforcing", "unconfined_u:unconfined_r:unconfined_t:s0", True),
        ("disabled", "", True),
    ],
)
def test_whom_selinux_lets_ask_nothing_is_told_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, context: str, *, ends: bool
) -> None:
    """By its own refusal, which a plan comes to once the observation goes on."""
    systemctl_that("echo Access denied >&2; exit 1", tmp_path, monkeypatch)
    monkeypatch.setattr(services, "BOOTED", str(tmp_path))
    monkeypatch.setattr(labels, "mode", lambda: mode)
    monkeypatch.setattr(labels, "own_context", lambda: context)
    if ends:
        with pytest.raises(SystemExit):
            services.units(["a.service"])
    else:
        assert services.units(["a.service"])["a.service"]["active"] is False


def test_where_systemd_does_not_run_there_are_no_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl_that("exit 1", tmp_path, monkeypatch)
    monkeypatch.setattr(services, "BOOTED", str(tmp_path / "none"))
    assert services.units(["a.service"])["a.service"]["exists"] is False
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert services.units(["a.service"])["a.service"]["exists"] is False


@pytest.mark.parametrize("look", [lambda: base.output(["rpm", "-qa"]), lambda: base.run(["rpm"])])
def test_no_program_that_hangs_has_said_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Any
) -> None:
    program = tmp_path / "rpm"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(base, "COMMAND_SECONDS", 1)
    with pytest.raises(SystemExit):
        look()
