"""What dnf, rpm and dkms are asked on a host, and how what they say is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import rpm_rs
from converge_rig import CONTEXT, LOOKING, Commands

from gpuprep.on_host.converge import (
    base,
    family,
    files,
    locks,
    packages,
    rpm,
    rpm_locks,
    rpm_table,
)
from gpuprep.on_host.converge.base import OperationError, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ON_EL = CONTEXT._replace(family="rpm")
DNF = " ".join(rpm.DNF)
UEK = "6.12.0-100.28.2.2.el9uek.x86_64"

TABLE = """\
Last metadata expiration check: 0:00:09 ago on Sat Nov 28 22:18:35 2026.
Dependencies resolved.
================================================================================
 Package                   Arch    Version                   Repository     Size
================================================================================
Installing:
 dkms                      x86_64  3.0.10-1.el9              ol9_EPEL       45 k
 nvidia-driver-cuda-with-a-name-that-is-longer-than-its-column
                           x86_64  3:580.95.05-1.el9         cuda           11 k
Installing dependencies:
 kernel-core               x86_64  5.14.0-611.5.1.0.1.el9_7  ol9_baseos     8.7 k
Upgrading:
 nvlink5                   x86_64  580.95.05-1.el9           cuda           8.7 k
Removing:
 nvidia-driver             x86_64  3:570.211.01-1.el9        @cuda          0
     replacing  something.x86_64 1.0-1.el9
Removing dependent packages:
 nvidia-open               noarch  3:570.211.01-1.el9        @cuda          0

Transaction Summary
================================================================================
Install  2 Packages
"""
ABSENT = Outcome(1, "No match for argument: x\n", "Error: Unable to find a match: x\n")
ABORTED = Outcome(1, TABLE, "Operation aborted.\nError: Operation aborted.\n")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Let the family ask scripted commands, and forget what earlier tests prepared."""
    scripted = Commands()
    monkeypatch.setattr(rpm, "command", scripted)
    monkeypatch.setattr(rpm, "PREPARED", type(rpm.PREPARED)())
    monkeypatch.setattr(locks, "PAUSE", 0)
    monkeypatch.setattr(base.Patience, "seconds", 5)
    return scripted


@pytest.fixture
def etc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the version lock's list and the streams below a directory of the test."""
    monkeypatch.setattr(rpm_locks, "CONFIGURATION", str(tmp_path / "versionlock.conf"))
    monkeypatch.setattr(rpm_locks, "LIST", str(tmp_path / "versionlock.list"))
    monkeypatch.setattr(rpm, "STREAMS", f"{tmp_path}/%s.module")
    for module in (rpm_locks, rpm):
        monkeypatch.setattr(module, "write", lambda path, data, *_: _write(path, data))
    return tmp_path


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as stream:  # noqa: PTH123
        stream.write(data)


def rows(**versions: str) -> str:
    """Return what rpm says of installed packages."""
    lines = []
    for key, evr in versions.items():
        name = key.replace("_", "-")
        lines.append(f"{name}\t{evr}\t{name}-{evr.rpartition(':')[2]}.x86_64\n")
    return "".join(lines)


def test_the_table_is_read_with_its_broken_lines() -> None:
    assert rpm_table.read(TABLE) == (
        {
            "dkms": "3.0.10-1.el9",
            "nvidia-driver-cuda-with-a-name-that-is-longer-than-its-column": "3:580.95.05-1.el9",
            "kernel-core": "5.14.0-611.5.1.0.1.el9_7",
            "nvlink5": "580.95.05-1.el9",
        },
        ["nvidia-driver", "nvidia-open"],
    )


def test_kernel_trees_are_known_by_their_release_too(commands: Commands) -> None:
    commands.answers["rpm -qa"] = rows(kernel_uek_devel="6.12.0-100.28.2.2.el9uek", dkms="3.0-1")
    assert set(rpm.installed()) == {"kernel-uek-devel", f"kernel-uek-devel-{UEK}", "dkms"}


@pytest.mark.parametrize("twin_is_last", [False, True])
def test_a_twin_for_32_bit_programs_decides_no_version(
    commands: Commands, etc: Path, *, twin_is_last: bool
) -> None:
    native = rows(nvidia_libs="3:580.95.05-1.el9")
    twin = rows(nvidia_libs="3:580.99.01-1.el9", only32="1-1").replace("x86_64", "i686")
    commands.answers["rpm -qa"] = native + twin if twin_is_last else twin + native
    offered = "nvidia-libs\t3:580.95.05-1.el9\tx86_64\nnvidia-libs\t3:580.99.01-1.el9\ti686\n"
    commands.answers[f"{DNF} -qy repoquery"] = offered
    assert rpm.installed() == {"nvidia-libs": "3:580.95.05-1.el9"}
    assert rpm.available(["nvidia-libs"]) == {"nvidia-libs": {"3:580.95.05-1.el9"}}
    # One line, for every architecture.
    lines = rpm.unheld({"owner": "gpu_driver", "patterns": ["nvidia-*", "only32"]})
    assert lines == ["nvidia-libs-3:580.95.05-1.el9.*"]
    assert etc.is_dir()


def test_both_directions_are_one_transaction(commands: Commands) -> None:
    commands.answers["rpm -qa"] = rows(nvidia_fabricmanager="580.95.05-1.el9")
    scripts: list[str] = []

    def shell(argv: list[str]) -> Outcome:
        with open(argv[-1]) as stream:  # noqa: PTH123
            scripts.append(stream.read())
        return Outcome(0, "", "")

    commands.answers[f"{DNF} -y shell"] = shell
    commands.answers["rpm -q --whatprovides"] = Outcome(0, "", "")
    install = {"nvidia-open": "3:570.211.01-1.el9", "dkms": None}
    rpm.carry_out({"install": install, "remove": ["nvidia-fabricmanager", "gone"]})
    assert scripts == [
        "install nvidia-open-3:570.211.01-1.el9 dkms\nremove nvidia-fabricmanager\nrun\n"
    ]


def test_what_is_there_is_not_upgraded_on_the_way(commands: Commands) -> None:
    commands.answers["rpm -qa"] = rows(gcc="11.5.0-1.el9", nvidia_open="3:580.95.05-1.el9")
    rpm.carry_out({"install": {"gcc": None, "nvidia-open": "3:580.95.05-1.el9"}, "remove": []})
    assert commands.lines[1].endswith("-y install -- nvidia-open-3:580.95.05-1.el9")
    commands.lines.clear()
    assert rpm.preview({"install": {"gcc": None}, "remove": []}) == rpm_table.NOTHING
    assert not any("install --" in line for line in commands.lines)


@pytest.mark.parametrize(
    ("outcome", "ok", "missing"),
    [
        (ABORTED, True, False),
        (Outcome(0, "Nothing to do.\n", ""), True, False),
        (ABSENT, False, True),
        # dnf's shell goes on without what it does not find, and ends well.
        (ABSENT._replace(code=0), False, True),
        (Outcome(1, "", "Error: \n Problem: nothing provides dkms needed by x\n"), False, False),
    ],
)  # fmt: skip
def test_a_transaction_that_cannot_be_made_is_seen(
    commands: Commands, outcome: Outcome, *, ok: bool, missing: bool
) -> None:
    commands.answers["dnf --setopt"] = outcome
    found = rpm.preview({"install": {"x": None}, "remove": []})
    assert (found.ok, found.missing) == (ok, missing)


def test_dkms_brings_the_tree_of_a_kernel_that_is_there_and_no_kernel(commands: Commands) -> None:
    commands.answers["rpm -qa"] = rows(kernel_core="5.14.0-570.12.1.0.1.el9_6")
    releases = ("570.12.1.0.1.el9_6", "611")
    offered = "".join(f"kernel-devel-matched\t5.14.0-{r}\tx86_64\n" for r in releases)
    without = TABLE.replace("kernel-core ", "kernel-devel")

    def look(argv: list[str]) -> Outcome:
        named = "kernel-devel-matched-5.14.0-570.12.1.0.1.el9_6" in argv
        return ABORTED._replace(out=without if named else TABLE)

    commands.answers |= {f"{DNF} --assumeno": look, f"{DNF} -qy repoquery": offered}
    transaction: dict[str, Any] = {"install": {"nvidia-open": None}, "remove": []}
    found = rpm.preview(transaction)
    assert not any(map(rpm.is_kernel, found.installs))
    assert transaction["install"]["kernel-devel-matched"] == "5.14.0-570.12.1.0.1.el9_6"


def test_what_conflicts_with_what_comes_goes_and_is_told(commands: Commands) -> None:
    conflict = Outcome(1, "", "Error: \n Problem: x conflicts with y provided by y-1.0\n")
    erasing = f"{DNF} --allowerasing --assumeno"
    commands.answers |= {f"{DNF} --assumeno": conflict, erasing: ABORTED}
    transaction: dict[str, Any] = {"install": {"x": None}, "remove": []}
    assert "nvidia-driver" in rpm.preview(transaction).removes
    commands.answers["rpm -q --whatprovides"] = Outcome(0, "", "")
    rpm.carry_out(transaction)
    assert f"{DNF} -y --allowerasing install -- x" in commands.lines
    # What came with a package that goes stays: it may be somebody's.
    assert "clean_requirements_on_remove=0" in DNF


def test_packages_of_others_are_not_taken_away(commands: Commands) -> None:
    commands.answers[f"{DNF} --assumeno"] = ABORTED
    transaction: dict[str, Any] = {"install": {"x": None}, "remove": [], "own": ["*nvidia*"]}
    assert packages.looked_at(rpm, transaction).removes == ["nvidia-driver", "nvidia-open"]
    with pytest.raises(OperationError, match="would take away nvidia-open") as refused:
        packages.looked_at(rpm, {**transaction, "own": ["nvidia-driver"]})
    assert refused.value.code == "E_FOREIGN_PACKAGES"
    assert "was not started" in refused.value.message
    # What the plan itself removes was told in it.
    packages.looked_at(
        rpm, {**transaction, "own": ["x"], "remove": ["nvidia-driver", "nvidia-open"]}
    )


@pytest.mark.parametrize("name", ["kernel", "kernel-core", "kernel-uek-modules-core", "kernel-rt"])
def test_kernels_are_known(name: str) -> None:
    assert rpm.is_kernel(name)


@pytest.mark.parametrize(
    "name", ["kernel-devel", "kernel-uek-devel", "kernel-devel-matched", "kernel-headers", "kmod"]
)
def test_what_modules_are_built_with_is_no_kernel(name: str) -> None:
    assert not rpm.is_kernel(name)


def test_a_transaction_that_ended_well_without_its_packages_is_a_failure(
    commands: Commands,
) -> None:
    commands.answers["rpm -q --whatprovides"] = Outcome(1, "", "")
    done = rpm.carry_out({"install": {"x": "1.0-1"}, "remove": []})
    assert done.code != 0
    assert "not installed: x" in done.err


def test_another_dnf_is_waited_for(commands: Commands) -> None:
    answers = iter([Outcome(rpm.WORKS_ELSEWHERE, "", ""), Outcome(0, "", "")])
    commands.answers["dnf"] = lambda _argv: next(answers)
    commands.answers["rpm -qa"] = rows(x="1.0-1")
    assert rpm.carry_out({"install": {"x": "1.0-1"}, "remove": []}).code == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda: rpm.available(["x"]),
        lambda: rpm.needed({"x": "1.0-1"}, "1.0-1"),
        lambda: rpm.preview({"install": {"x": None}, "remove": []}),
        rpm.refresh,
        lambda: rpm.purge(["x"]),
        rpm.finish,
    ],
)
def test_that_another_dnf_is_at_work_is_no_answer(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any]
) -> None:
    busy = Outcome(rpm.WORKS_ELSEWHERE, "", "metadata already locked by 4242")
    queue = [busy, busy]
    answered = "x\t1.0-1\n" + TABLE
    commands.answers["dnf"] = lambda _: queue.pop() if queue else ABORTED._replace(out=answered)
    waited = ask()
    assert not queue
    assert not any(rpm.ERASING in line for line in commands.lines)
    assert waited == ask()
    monkeypatch.setattr(base.Patience, "seconds", 0)
    commands.answers["dnf"] = busy
    with pytest.raises(OperationError, match="locked after 0 s: metadata already locked by 4242"):
        ask()


def test_what_an_index_names_that_the_archive_no_longer_has() -> None:
    gone = (
        "[MIRROR] x-1.0-1.noarch.rpm: Status code: 404 for http://m/x-1.0-1.noarch.rpm (IP: ::1)\n"
        "[FAILED] x-1.0-1.noarch.rpm: No more mirrors to try - All mirrors were already tried"
        " without success\n"
    )
    error = "Error: Error downloading packages:\n  x-1.0-1.noarch: Cannot download, all mirrors"
    assert rpm.has_moved_on(Outcome(1, gone, error))
    assert not rpm.has_moved_on(Outcome(0, gone, ""))
    assert not rpm.has_moved_on(Outcome(1, gone.replace("404", "503"), error))


def test_add_ons_follow_in_their_own_full_version(commands: Commands) -> None:
    whole = "3:580.95.05-1.el9"
    assert rpm.counterpart(whole, {"580.95.05-2", "580.178.04-1.el9"}) == "580.95.05-2"
    assert rpm.counterpart(whole, {"580.178.04-1.el9"}) is None
    commands.answers["dnf"] = (
        "\n@@nvidia-open\t3:580.95.05-1.el9\nnvidia-kmod-common = 3:580.95.05\n"
        "\n@@nvidia-kmod-common\t3:580.95.05-1.el9\nnvidia-modprobe\n/bin/sh\n"
        "\n@@nvidia-modprobe\t3:580.95.05-1.el9\n\n@@nvlink5\t0:580.95.05-1.el9\nlibx(x86-64)\n"
    )
    assert rpm.needed({"nvidia-open": whole}, whole) == dict.fromkeys(
        ("nvidia-open", "nvidia-kmod-common", "nvidia-modprobe"), whole
    )
    assert commands.lines[-1].endswith("*-580.95.05-*")


def test_the_newest_is_what_rpm_calls_so(commands: Commands) -> None:
    asked: list[str] = []

    def vercmp(argv: list[str]) -> str:
        asked.append(argv[-1])
        left, right = map(rpm_rs.Evr.parse, re.findall(r"'([^']*)'", argv[-1]))
        return str((left > right) - (left < right))

    commands.answers["rpm --eval"] = vercmp
    assert rpm.newest(["580.95.05-1", "580.178.04-1", "580.178.04-1~rc"]) == "580.178.04-1"
    assert rpm.newest(["3:1.0-1", "9.0-1"]) == "3:1.0-1"
    # A repository's words are not the host's code.
    rpm.newest(["1.0')..os.exit()..print('-1", "1.1-1"])
    assert asked[-1] == "%{lua:print(rpm.vercmp('1.1', '1.0..os.exit..print'))}"


# --- version locks and streams --------------------------------------------------------------------


def test_only_our_block_of_the_lock_list_changes(etc: Path, commands: Commands) -> None:
    del commands
    path = etc / "versionlock.list"
    path.write_text("# of others\nkernel-0:5.14.0-570.*\n")
    operation = {"owner": "gpu_driver", "patterns": ["nvidia-*"], "lines": ["nvidia-open-3:580.*"]}
    lines = rpm.unheld(operation)
    rpm.hold(operation, lines)
    assert path.read_text() == (
        "# of others\nkernel-0:5.14.0-570.*\n# gpuprep: gpu_driver\nnvidia-open-3:580.*\n"
        "# gpuprep: end of gpu_driver\n"
    )
    assert rpm.unheld(operation) == []
    assert rpm.unheld({**operation, "lines": ["nvidia-open-3:595.*"]}) == ["nvidia-open-3:595.*"]
    # After a failure the block that fits what is installed stays.
    assert rpm.unheld({**operation, "lines": ["nvidia-open-3:595.*"], "keep": True}) == []


def test_after_a_transaction_the_lock_keeps_what_it_installed(
    etc: Path, commands: Commands
) -> None:
    del etc
    commands.answers["rpm -qa"] = rows(
        nvidia_open="3:580.95.05-1.el9",
        nvidia_modprobe="3:580.178.04-1.el9",  # one that strayed
        nvidia_driver="3:580.95.05-1.el9",
        bash="5.1.8-1",
    )
    lines = ["nvidia-open*-3:580.*", "nvlink5*-0:580.*", "nvlink5*-3:580.*"]
    operation = {"owner": "gpu_driver", "patterns": ["nvidia-*"], "lines": lines}
    exact = ["nvidia-open*-3:580.95.05", "nvlink5*-0:580.95.05", "nvlink5*-3:580.95.05"]
    assert rpm.unheld(operation) == exact
    # What only one release of the branch is left by, and what is of another branch, is as asked.
    as_asked = ["nvidia-open*-3:580.178.04", "nvidia-open*-3:595.*"]
    assert rpm.unheld({**operation, "lines": as_asked}) == as_asked
    # A failure after the transaction: the block that made room for it must not stay.
    rpm_locks.put("gpu_driver", lines)
    assert rpm.unheld({**operation, "keep": True}) == exact
    rpm_locks.put("gpu_driver", exact)
    assert rpm.unheld({**operation, "keep": True}) == []


def test_without_lines_what_is_installed_is_locked_as_it_is(etc: Path, commands: Commands) -> None:
    del etc
    commands.answers["rpm -qa"] = rows(libcudnn9="9.10.2.21-1", nvlink5="3:580.1-1.el9", x="1-1")
    operation = {"owner": "cudnn", "patterns": ["libcudnn9*", "nvlink5"], "lines": []}
    assert rpm.unheld(operation) == ["libcudnn9-0:9.10.2.21-1.*", "nvlink5-3:580.1-1.el9.*"]


def test_a_block_of_the_lock_list_stays_where_it_is(etc: Path) -> None:
    rpm_locks.put("gpu_driver", ["nvidia-open-3:580.*"])
    rpm_locks.put("cudnn", ["libcudnn9-0:9.*"])
    path = etc / "versionlock.list"
    path.write_text(path.read_text() + "# of others\nkernel-0:5.14.0-570.*\n")
    rpm_locks.put("gpu_driver", ["nvidia-open-3:580.95.05"])
    assert path.read_text() == (
        "# gpuprep: gpu_driver\nnvidia-open-3:580.95.05\n# gpuprep: end of gpu_driver\n"
        "# gpuprep: cudnn\nlibcudnn9-0:9.*\n# gpuprep: end of cudnn\n"
        "# of others\nkernel-0:5.14.0-570.*\n"
    )
    rpm_locks.put("gpu_driver", [])
    assert path.read_text().startswith("# gpuprep: cudnn\n")


def test_lines_of_others_stay_whatever_they_are_written_in(etc: Path) -> None:
    real, link = etc / "kept" / "real.list", etc / "versionlock.list"
    real.parent.mkdir()
    real.write_bytes(b"# pour l'\xe9t\xe9\nkernel-uek-0:5.15.0-300*.*\n")
    link.symlink_to(real)
    rpm_locks.put("gpu_driver", ["nvidia-open-3:580.95.05"])
    assert link.is_symlink()
    assert real.read_bytes() == (
        b"# pour l'\xe9t\xe9\nkernel-uek-0:5.15.0-300*.*\n"
        b"# gpuprep: gpu_driver\nnvidia-open-3:580.95.05\n# gpuprep: end of gpu_driver\n"
    )
    assert rpm_locks.block("gpu_driver") == ["nvidia-open-3:580.95.05"]
    real.write_bytes(b"#" * (files.MAX_FILE + 1))
    with pytest.raises(OperationError, match=r"real\.list is no file of at most") as refused:
        rpm_locks.put("gpu_driver", [])
    assert (refused.value.code, real.stat().st_size) == ("E_FILE", files.MAX_FILE + 1)


def test_the_list_is_where_the_plugin_says(etc: Path) -> None:
    (etc / "versionlock.conf").write_text(f"[main]\nenabled = 1\nlocklist = {etc}/elsewhere\n")
    rpm_locks.put("cudnn", ["x-0:1.*"])
    assert (etc / "elsewhere").exists()


def test_a_transaction_that_is_not_made_leaves_locks_and_streams(
    etc: Path, commands: Commands
) -> None:
    (etc / "nvidia-driver.module").write_text(
        "[nvidia-driver]\nname=nvidia-driver\nstream=570-open\nprofiles=\nstate=enabled\n"
    )
    rpm_locks.put("gpu_driver", ["nvidia-open-3:570.*"])
    before = {path.name: path.read_text() for path in etc.iterdir()}

    def enable(_argv: list[str]) -> Outcome:
        (etc / "nvidia-driver.module").write_text("[nvidia-driver]\nstream=580-open\nstate=enabled")
        return Outcome(0, "", "")

    commands.answers[f"{DNF} -qy module"] = enable
    answer = packages.stream({"stream": "nvidia-driver:580-open"}, ON_EL)
    assert answer["detail"] == "enabled stream nvidia-driver:580-open instead of 570-open"
    assert [line.split("-qy ")[1] for line in commands.lines if "module" in line] == [
        "module reset nvidia-driver",
        "module enable nvidia-driver:580-open",
    ]
    rpm.prepare({"owner": "gpu_driver", "locks": ["nvidia-open-3:580.*"]}, check=False)
    assert rpm_locks.block("gpu_driver") == ["nvidia-open-3:580.*"]
    assert len(rpm.retreat()) == 2
    assert {path.name: path.read_text() for path in etc.iterdir()} == before
    assert rpm.retreat() == []


MAIN = {"owner": "gpu_driver", "locks": ["nvidia-open-3:580.*"], "remove": [], "own": ["*nvidia*"]}
BEFORE = {
    "install": [{"name": "kernel-headers"}],
    "rest": {**MAIN, "install": [{"name": "nvidia-open"}]},
}


def test_what_comes_first_leaves_stream_and_lock_to_be_taken_back(
    etc: Path, commands: Commands
) -> None:
    module = etc / "nvidia-driver.module"
    module.write_text("[nvidia-driver]\nstream=570-open\nstate=enabled\n")

    def enable(_argv: list[str]) -> Outcome:
        module.write_text("[nvidia-driver]\nstream=580-open\nstate=enabled\n")
        return Outcome(0, "", "")

    commands.answers[f"{DNF} -qy module enable"] = enable
    rpm.enable_stream("nvidia-driver", "580-open", False)  # noqa: FBT003 - the port's form
    found = ABORTED._replace(out=TABLE.replace("kernel-core ", "kernel-devel"))
    commands.answers |= {f"{DNF} --assumeno": found, "rpm -q --whatprovides": Outcome(0, "", "")}
    packages.packages(BEFORE, ON_EL)
    assert f"{DNF} -y install -- kernel-headers" in commands.lines
    assert rpm.retreat() == [str(module)]  # what follows failed
    assert "570-open" in module.read_text()


@pytest.mark.parametrize(
    ("whole", "code"),
    [
        (Outcome(1, "", "Error: \n Problem: x conflicts with y provided by y-1\n"), "E_PACKAGES"),
        (ABSENT, "E_PACKAGES"),
        (ABORTED._replace(out=TABLE.replace("nvidia-driver ", "somebodys-tool")), None),
        (Outcome(1, "", "Error: \n Problem: nothing provides dkms needed by x\n"), ""),
    ],
)
def test_what_will_be_refused_is_refused_before_what_comes_first(
    etc: Path, commands: Commands, whole: Outcome, code: str | None
) -> None:
    del etc
    expected = "E_FOREIGN_PACKAGES" if code is None else code

    def look(argv: list[str]) -> Outcome:
        if "nvidia-open" in argv:
            return whole
        return ABORTED._replace(out="")

    commands.answers |= {f"{DNF} --assumeno": look, f"{DNF} --allowerasing --assumeno": look}
    if not expected:
        packages.packages(BEFORE, ON_EL)  # EPEL, which has dkms, may come with the first
        return
    with pytest.raises(OperationError) as refused:
        packages.packages(BEFORE, ON_EL)
    assert refused.value.code == expected
    assert not [line for line in commands.lines if f"{DNF} -y" in line]


@pytest.mark.parametrize(
    ("first", "there", "absent", "may"),
    [
        ("oracle-epel-release-el9", {}, "dkms", True),
        ("oracle-epel-release-el9", {"oracle-epel-release-el9": "1.0-1"}, "dkms", False),
        ("kernel-headers", {}, "dkms", False),
        ("epel-release", {}, "nvidia-open-3:595.1.1", False),  # NVIDIA's repository is read already
    ],
)
def test_what_a_repository_may_bring_is_no_reason_to_refuse(
    commands: Commands, first: str, there: dict[str, str], absent: str, *, may: bool
) -> None:
    commands.answers["rpm -qa"] = rows(**there)
    locked = {"patterns": ["nvidia-open*"], "version": None}
    ahead = {"install": {first: None, absent: None}, "remove": [], "main": {"locked": locked}}
    text = f"No match for argument: {absent} Error: Unable to find a match: {absent}"
    found = base.Preview(False, True, {}, [], [], text)  # noqa: FBT003 - a failed look
    assert rpm.may_become_possible(found, ahead) is may


def test_a_lock_of_ours_that_will_make_room_refuses_nothing(etc: Path, commands: Commands) -> None:
    del etc
    commands.answers[f"{DNF} --assumeno"] = ABORTED
    commands.answers[f"{DNF} --disableplugin=versionlock --assumeno"] = ABORTED
    for there, ignored in ((["nvidia-open-3:570.*"], True), (MAIN["locks"], False)):
        rpm_locks.put("gpu_driver", there)
        commands.lines.clear()
        rpm.preview({"install": {"x": None}, "remove": [], "main": MAIN})
        assert any("--disableplugin=versionlock" in line for line in commands.lines) is ignored


def test_looking_changes_neither_locks_nor_streams(etc: Path, commands: Commands) -> None:
    rpm_locks.put("gpu_driver", ["nvidia-open-3:570.*"])
    answer = packages.stream({"stream": "nvidia-driver:580-open"}, LOOKING._replace(family="rpm"))
    assert answer["changed"]
    rpm.prepare({"owner": "gpu_driver", "locks": ["nvidia-open-3:580.*"]}, check=True)
    assert rpm_locks.block("gpu_driver") == ["nvidia-open-3:570.*"]
    assert list(etc.glob("*.module")) == []
    rpm.preview({"install": {"x": None}, "remove": []})
    assert "--setopt=gpuprep-nvidia.module_hotfixes=1" in commands.lines[-1]
    assert not any("module enable" in line for line in commands.lines)


def test_a_stream_that_is_not_offered_is_told(
    etc: Path, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    del etc
    monkeypatch.setattr(files, "keep_replaced", lambda: None)
    text = "Error: Problems in request:\nmissing groups or modules: nvidia-driver:999-open\n"
    commands.answers[f"{DNF} -qy module enable"] = Outcome(1, "", text)
    with pytest.raises(OperationError, match="999-open cannot be enabled") as caught:
        packages.stream({"stream": "nvidia-driver:999-open"}, ON_EL)
    assert caught.value.code == "E_PACKAGES"
    assert f"{DNF} -qy makecache --refresh" in commands.lines  # it may be new


# --- modules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "built"),
    [
        (f"nvidia/580.95.05, {UEK}, x86_64: installed\n", True),
        (f"nvidia, 580.95.05, {UEK}, x86_64: installed (original_module exists)\n", True),
        ("nvidia/580.95.05: added\n", False),
        (f"nvidia/580.95.05, {UEK}, x86_64: built\n", False),
        (f"nvidia/570.211.01, {UEK}, x86_64: installed\n", False),
        ("nvidia/580.95.05, 5.14.0-570.el9.x86_64, x86_64: installed\n", False),
    ],
)
def test_a_module_is_built_when_dkms_has_installed_this_version(
    commands: Commands, status: str, *, built: bool
) -> None:
    commands.answers |= {"rpm -q --whatprovides nvidia-kmod": "580.95.05\n", "dkms status": status}
    assert rpm.is_built(UEK, "nvidia") is built


def test_a_build_that_nobody_told_of_is_a_failure(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "module_files", lambda *_: [])
    commands.answers |= {
        "rpm -q --whatprovides nvidia-kmod": "580.95.05\n",
        "dkms status": "nvidia/580.95.05: added\n",
        "dkms install": Outcome(10, "", "Error! Bad return status for module build"),
    }
    with pytest.raises(OperationError, match="no module nvidia was built") as caught:
        packages.module({"kernel": UEK, "verify": True}, ON_EL)
    assert caught.value.code == "E_MODULE_BUILD"
    assert f"dkms install -m nvidia -v 580.95.05 -k {UEK} --force" in commands.lines
    assert not any(line.startswith("dkms add") for line in commands.lines)


def test_a_driver_that_dkms_has_forgotten_is_added_again(commands: Commands) -> None:
    commands.answers["rpm -q --whatprovides nvidia-kmod"] = "580.95.05\n"
    assert rpm.build_module(UEK, "nvidia").code == 0
    assert "dkms add -m nvidia -v 580.95.05" in commands.lines
    commands.answers["rpm -q --whatprovides nvidia-kmod"] = Outcome(1, "", "")
    assert rpm.build_module(UEK, "nvidia").code != 0


# --- states ---------------------------------------------------------------------------------------


TWICE = (
    "nvidia-open.noarch\t3:580.95.05-1.el9\tnvidia-open \n"
    "nvidia-open.noarch\t3:580.178.04-1.el9\tnvidia-open \n"
    "kernel-devel.x86_64\t5.14-1\tinstallonlypkg(kernel) \n"
    "kernel-devel.x86_64\t5.14-2\tkernel-devel \n"
    "glibc.x86_64\t2.34-1\tglibc \nglibc.i686\t2.34-1\tglibc \n"
)


def test_a_package_that_is_there_twice_is_unfinished(commands: Commands) -> None:
    commands.answers["rpm -qa"] = TWICE
    assert rpm.unfinished() == {"nvidia-open": "duplicated"}


def test_of_two_the_older_goes_also_where_dnf_cannot_remove_it(commands: Commands) -> None:
    """It installs the newer one again first: no repository may offer that any more."""
    older = {"580.95.05": "-1", "580.178.04": "1"}  # as rpm compares the first with the second
    commands.answers |= {
        "rpm -qa": TWICE,
        "rpm --eval": lambda argv: older[re.findall(r"'([^']*)'", argv[-1])[0]],
    }
    commands.answers["dnf"] = Outcome(1, "", "Error: Installed package not available.\n")
    assert rpm.finish().code == 0
    assert commands.lines[-1] == "rpm -e --nodeps nvidia-open-580.95.05-1.el9.noarch"
    commands.answers["rpm -qa"] = TWICE.splitlines()[0]
    assert rpm.finish().code != 0
    assert "rpm -e" not in commands.lines[-1]


def test_who_works_is_known_by_the_file_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "metadata_lock.pid"
    file.write_text("1")
    found = locks.named_holder([str(tmp_path / "none"), str(file)])
    assert found is not None
    assert (found["path"], found["pid"]) == (str(file), "1")
    file.write_text("4194999")  # nobody's
    assert locks.named_holder([str(file)]) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("All matches were filtered out by modular filtering for argument: x", "module stream"),
        ("All matches were filtered out by exclude filtering for argument: x", "version lock"),
        ("nothing provides dkms needed by kmod-nvidia-open-dkms", "EPEL"),
        ("No match for argument: kernel-devel-5.14.0-1.el9", "upgrade the kernel"),
    ],
)
def test_what_helps_is_said(commands: Commands, etc: Path, text: str, told: str) -> None:
    del commands, etc
    assert told in rpm.explain(text, {"install": {"x": None}, "remove": []})


def test_the_default_toolkit_is_read_from_the_alternatives(
    commands: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rpm, "ALTERNATIVES", f"{tmp_path}/%s")
    (tmp_path / "cuda").write_text("auto\n/usr/local/cuda\n")
    assert rpm.default_link("cuda") is None
    assert rpm.set_default_link("cuda", "/usr/local/cuda-13.0").code == 0
    assert commands.lines == ["alternatives --set cuda /usr/local/cuda-13.0"]


def test_the_family_has_all_that_the_other_has() -> None:
    port = [
        *("NAMES", "lock_holder", "installed", "unfinished", "finish", "available", "newest"),
        *("counterpart", "needed", "refresh", "prepare", "retreat", "preview", "carry_out"),
        *("leftovers", "purge", "unheld", "hold", "is_kernel", "is_built", "build_module"),
        *("rebuild_initramfs", "default_link", "set_default_link", "build_logs", "explain"),
        *("repair", "may_become_possible"),
    ]
    for name in port:
        assert hasattr(family.backend("rpm"), name), name
        assert hasattr(family.backend("deb"), name), name
    assert base.Outcome is Outcome
