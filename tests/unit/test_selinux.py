"""SELinux: labels as the policy has them, and denials told; with a policy and attributes of ours.

The real ones are in ``tests/integration/test_selinux.py``.
"""

from __future__ import annotations

import copy
import errno
import importlib
import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from converge_rig import CONTEXT, LOOKING, Commands
from planner_cases import bare, carried_out, observed

from gpuprep.catalog import load
from gpuprep.on_host import labels
from gpuprep.on_host.converge import conda, files, folders, job, operations
from gpuprep.on_host.converge.base import OperationError, Outcome
from gpuprep.on_host.observe import conda as conda_observed
from gpuprep.on_host.observe import files as files_observed
from gpuprep.on_host.observe import selinux
from gpuprep.planner import HostPlan, plan_host, settings_from
from gpuprep.planner.rebooting import reboot_obstacle
from gpuprep.run.environment import collections_root

if TYPE_CHECKING:
    from collections.abc import Iterator

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="files of root's need root")
ETC, TMP, OPT = (f"system_u:object_r:{kind}:s0" for kind in ("etc_t", "user_tmp_t", "usr_t"))
BIN = "system_u:object_r:bin_t:s0"
BY_HAND = "system_u:object_r:public_content_t:s0"


class Attributes:
    """Extended attributes as a file system with labels keeps them: new files have their folder's.

    Attributes:
        of: label by inode.
        error: what setting one fails with; 0 = it works.

    """

    def __init__(self) -> None:
        self.of: dict[int, bytes] = {}
        self.error = 0

    def get(self, target: Any, name: str, *, follow_symlinks: bool = True) -> bytes:
        assert name == labels.ATTRIBUTE
        inode = os.stat(target, follow_symlinks=follow_symlinks).st_ino  # noqa: PTH116
        return self.of.get(inode, TMP.encode() + b"\0")

    def set(self, target: Any, name: str, value: bytes) -> None:
        assert name == labels.ATTRIBUTE
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        self.of[os.stat(target).st_ino] = value  # noqa: PTH116 - a descriptor

    def label(self, path: Path) -> str:
        return self.get(path, labels.ATTRIBUTE, follow_symlinks=False).rstrip(b"\0").decode()


class Policy:
    """Stands for the policy: labels by the end of a path."""

    def __init__(self, by_end: dict[str, str]) -> None:
        self.by_end = by_end
        self.asked: list[tuple[str, int]] = []

    def wanted(self, path: str, file_mode: int) -> str | None:
        self.asked.append((path, file_mode))
        return next((label for end, label in self.by_end.items() if path.endswith(end)), None)

    @staticmethod
    def is_customizable(label: str) -> bool:
        return label == BY_HAND


@pytest.fixture
def attributes(monkeypatch: pytest.MonkeyPatch) -> Attributes:
    """Have the attributes of every file faked."""
    made = Attributes()
    monkeypatch.setattr(os, "getxattr", made.get)
    monkeypatch.setattr(os, "setxattr", made.set)
    return made


@pytest.fixture
def policy(attributes: Attributes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Policy:
    """Have SELinux on, on a file system that keeps labels."""
    del attributes
    made = Policy({"/profile.sh": ETC, "/made": OPT, "/bin": BIN, "/tree": OPT})
    monkeypatch.setattr(labels, "_LOADED", [made])
    (tmp_path / "mounts").write_text("/dev/a / ext4 rw,seclabel,relatime 0 0\n")
    monkeypatch.setattr(labels, "MOUNTS", str(tmp_path / "mounts"))
    return made


def setting(path: Path, content: str = "new\n") -> dict[str, Any]:
    return {"path": str(path), "kind": "profile", "content": content, "mode": "0644"}


def converge(*settings: dict[str, Any], context: Any = CONTEXT) -> Any:
    return files.files({"files": list(settings)}, context)


# --- what the kernel says -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enforce", "mode"), [("1", "enforcing"), ("0", "permissive"), (None, "disabled")]
)
def test_the_mode_is_the_kernels(
    enforce: str | None, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "MOUNT", str(tmp_path))
    monkeypatch.setattr(labels, "CONFIGURATION", str(tmp_path / "config"))
    (tmp_path / "config").write_text("# SELINUXTYPE=mls\nSELINUX=enforcing\nSELINUXTYPE=targeted\n")
    if enforce is not None:
        (tmp_path / "enforce").write_text(enforce)
    assert labels.mode() == mode
    told = selinux.selinux("/opt/conda")
    assert told["mode"] == mode
    assert told.get("policy") == (None if mode == "disabled" else "targeted")


def test_without_selinux_no_label_is_looked_at(
    attributes: Attributes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attributes.error = errno.EACCES
    monkeypatch.setattr(labels, "_LOADED", [])
    monkeypatch.setattr(labels, "MOUNT", str(tmp_path / "absent"))
    path = tmp_path / "profile.sh"
    path.write_text("")
    assert labels.wrong(str(path)) is None
    with path.open("rb") as handle:
        labels.give(handle.fileno(), str(path))
    assert "wrong_label" not in (files_observed.describe(str(path)) or {})


def test_a_system_without_the_library_has_no_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "enforce").write_text("1")
    monkeypatch.setattr(labels, "_LOADED", [])
    monkeypatch.setattr(labels, "MOUNT", str(tmp_path))
    monkeypatch.setattr(labels, "LIBRARY", "libabsent.so.1")
    assert labels.policy() is None


# --- files ----------------------------------------------------------------------------------------


@AS_ROOT
def test_a_written_file_has_the_policys_label_before_it_has_its_name(
    policy: Policy, attributes: Attributes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made" / "profile.sh"
    seen = []
    rename = os.rename

    def watched(source: str, place: str, **options: Any) -> None:
        seen.append(attributes.label(path.parent / source))
        rename(source, place, **options)

    monkeypatch.setattr(os, "rename", watched)
    assert converge(setting(path))["changed"]
    assert seen == [ETC]
    assert attributes.label(path) == ETC
    assert attributes.label(path.parent) == OPT  # a directory of ours, too
    assert (str(path), stat.S_IFREG) in [(p, stat.S_IFMT(m)) for p, m in policy.asked]
    assert not converge(setting(path))["changed"]


@AS_ROOT
def test_a_wrong_label_is_a_difference_and_only_it_is_changed(
    policy: Policy, attributes: Attributes, tmp_path: Path
) -> None:
    path = tmp_path / "profile.sh"
    converge(setting(path))
    attributes.of[path.stat().st_ino] = TMP.encode()
    inode = path.stat().st_ino
    told = files_observed.describe(str(path))
    assert told is not None
    assert told["wrong_label"] == {"label": TMP, "wanted": ETC}

    looked = converge(setting(path), context=LOOKING)
    assert looked["changed"]
    assert attributes.label(path) == TMP
    done = converge(setting(path))
    assert done["changed"]
    assert f"label {TMP}" in done["diff"][0]["before"]
    assert f"label {ETC}" in done["diff"][0]["after"]
    assert attributes.label(path) == ETC
    assert path.stat().st_ino == inode  # the same file
    assert "wrong_label" not in (files_observed.describe(str(path)) or {})
    del policy


@AS_ROOT
@pytest.mark.parametrize("why", ["by hand", "no policy", "unlabelled", "other user"])
def test_what_restorecon_leaves_is_left(
    why: str, policy: Policy, attributes: Attributes, tmp_path: Path
) -> None:
    path = tmp_path / "profile.sh"
    path.write_text("new\n")
    path.chmod(0o644)
    there = {"by hand": BY_HAND, "other user": ETC.replace("system_u", "staff_u")}.get(why, TMP)
    attributes.of[path.stat().st_ino] = there.encode()
    if why == "no policy":
        policy.by_end.clear()
    if why == "unlabelled":
        Path(labels.MOUNTS).write_text(
            f"/dev/a / ext4 rw,seclabel 0 0\nnfs:/x {tmp_path} nfs4 rw 0 0\n"
        )
    assert labels.wrong(str(path)) is None
    assert not converge(setting(path))["changed"]
    assert attributes.label(path) == there


@AS_ROOT
def test_a_label_that_may_not_be_given_fails_and_leaves_the_file(
    policy: Policy, attributes: Attributes, tmp_path: Path
) -> None:
    path = tmp_path / "profile.sh"
    path.write_text("old\n")
    attributes.error = errno.EACCES
    with pytest.raises(OperationError, match=r"SELinux label cannot become .*etc_t") as caught:
        converge(setting(path))
    assert caught.value.code == "E_FILE"
    assert path.read_text() == "old\n"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mounts", "profile.sh"]
    attributes.error = errno.ENOTSUP  # a file system that only looks as if it kept labels
    assert converge(setting(path))["changed"]
    del policy


def test_of_two_mounts_the_deeper_and_later_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mounts").write_text(
        "a / ext4 rw,seclabel 0 0\nb /opt nfs4 rw 0 0\nc /data\\040x xfs rw 0 0\n"
        "d /data\\040x xfs rw,seclabel 0 0\n"
    )
    monkeypatch.setattr(labels, "MOUNTS", str(tmp_path / "mounts"))
    found = {path: labels.keeps_labels(path) for path in ("/", "/etc", "/opt/a", "/optional")}
    assert found == {"/": True, "/etc": True, "/opt/a": False, "/optional": True}
    assert labels.keeps_labels("/data x/y")
    (tmp_path / "mounts").write_text("")
    assert not labels.keeps_labels("/etc")


# --- trees ----------------------------------------------------------------------------------------


@AS_ROOT
def test_trees_are_labelled_by_restorecon_without_condas_cache(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = Commands()
    monkeypatch.setattr(folders, "command", commands)
    prefix = tmp_path / "tree"
    prefix.mkdir()
    operation = {"op": "labels", "paths": [str(prefix)], "without": [f"{prefix}/pkgs"]}
    labels_below = cast("Any", operations.OPERATIONS["labels"])
    done = labels_below(operation, LOOKING)
    assert done["changed"]
    assert commands.lines == []
    labels_below(operation, CONTEXT)
    conda._restore_labels(str(prefix))
    assert commands.lines == [f"restorecon -R -e {prefix}/pkgs -- {prefix}"] * 2

    commands.answers["restorecon"] = Outcome(127, "", "restorecon is not installed")
    with pytest.raises(OperationError, match="restorecon is not installed"):
        labels_below(operation, CONTEXT)
    labels._LOADED[:] = [None]
    commands.lines.clear()
    folders.restore_labels(str(prefix))
    assert commands.lines == []
    del policy


@pytest.mark.usefixtures("policy")
def test_a_tree_shows_its_labels_by_few_directories(attributes: Attributes, tmp_path: Path) -> None:
    prefix = tmp_path / "tree"
    for name in ("bin", "conda-meta"):
        (prefix / name).mkdir(parents=True)
    attributes.of[prefix.stat().st_ino] = OPT.encode()
    found = conda_observed.wrong_labels([str(prefix)])
    assert found == {f"{prefix}/bin": {"label": TMP, "wanted": BIN}}


# --- the unit in which packages are installed -----------------------------------------------------

ADMINISTRATOR = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023"
AS_STARTED = ["--property=Type=exec", f"--property=SELinuxContext={ADMINISTRATOR}"]


@pytest.mark.parametrize(
    ("mode", "policy", "own", "needed"),
    [
        ("enforcing", "default", ADMINISTRATOR, ADMINISTRATOR),
        ("permissive", "default", ADMINISTRATOR, ADMINISTRATOR),
        ("enforcing", "mls", "root:sysadm_r:sysadm_t:s15", "root:sysadm_r:sysadm_t:s15"),
        ("enforcing", "refpolicy", "root:sysadm_r:sysadm_t", "root:sysadm_r:sysadm_t"),
        ("enforcing", "", ADMINISTRATOR, ADMINISTRATOR),
        ("enforcing", "targeted", ADMINISTRATOR, None),
        ("disabled", "default", ADMINISTRATOR, None),
        ("enforcing", "default", "", None),
        ("enforcing", "default", "kernel", None),
        ("enforcing", "default", f"{ADMINISTRATOR} x", None),
    ],
)
def test_a_unit_has_its_starters_context_where_the_policy_would_confine_it(
    mode: str, policy: str, own: str, needed: str | None
) -> None:
    assert job.context_of_unit(mode, policy, own) == needed


@pytest.mark.parametrize(("policy", "asked"), [("default", AS_STARTED), ("targeted", [])])
def test_systemd_is_asked_for_the_context_and_whether_it_could_give_it(
    policy: str, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path, text in (
        ("MOUNT", "fs", None),
        ("CONFIGURATION", "config", f"SELINUXTYPE={policy}\n"),
        ("OWN", "own", f"{ADMINISTRATOR}\0"),
    ):
        monkeypatch.setattr(labels, name, str(tmp_path / path))
        if text:
            (tmp_path / path).write_text(text)
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs/enforce").write_text("1")
    commands = Commands()
    monkeypatch.setattr(job, "command", commands)
    assert job._start_unit("x.service")
    (line,) = commands.lines
    options = line.partition(" -- ")[0].split()
    assert [one for one in options if one.startswith("--property")] == asked
    commands.answers["systemd-run"] = Outcome(1, "", "Failed to set up SELinux context")
    assert not job._start_unit("x.service")  # a process of the caller's own does the work


# --- denials --------------------------------------------------------------------------------------

LOG = """\
type=AVC msg=audit(90.1:1): avc:  denied  { read } for  pid=1 comm="nvidia-smi" name="old" \
scontext=a tcontext=b tclass=file permissive=0
type=AVC msg=audit(101.123:7): avc:  denied  { map execute } for  pid=9 comm="nvidia-persiste" \
path="/opt/lib x.so" dev="vda1" ino=2 scontext=u:r:t:s0 tcontext=u:object_r:usr_t:s0 tclass=file
type=AVC msg=audit(102.123:8): avc:  denied  { map execute } for  pid=9 comm="nvidia-persiste" \
path="/opt/lib x.so" dev="vda1" ino=2 scontext=u:r:t:s0 tcontext=u:object_r:usr_t:s0 tclass=file
type=AVC msg=audit(103.1:9): avc:  denied  { open } for  pid=9 comm="httpd" \
path="/opt/conda/bin/python" scontext=a tcontext=b tclass=file permissive=1
type=AVC msg=audit(104.1:9): avc:  denied  { open } for  pid=9 comm="httpd" \
path="/opt/condaonium" scontext=a tcontext=b tclass=file permissive=1
type=AVC msg=audit(105.1:9): avc:  denied  { module_load } for  pid=9 comm="modprobe" \
path="/usr/lib/modules/6/nvidia.ko" scontext=a tcontext=b tclass=system permissive=0
type=SYSCALL msg=audit(105.1:9): arch=c000003e comm="nvidia-smi"
type=AVC msg=audit(x): avc:  denied
"""


def test_denials_of_the_stack_since_the_boot_are_told() -> None:
    found = selinux.denials(LOG, 100, "/opt/conda")
    words = [(d["program"], d["permission"], d["target"], d["count"]) for d in found]
    assert words == [
        ("httpd", "open", "/opt/conda/bin/python", 1),
        ("modprobe", "module_load", "/usr/lib/modules/6/nvidia.ko", 1),
        ("nvidia-persiste", "map execute", "/opt/lib x.so", 2),
    ]
    many = "".join(LOG.splitlines(keepends=True)[1].replace("lib x", str(n)) for n in range(99))
    assert len(selinux.denials(many, 100, None)) == selinux.MOST


MAKING = """\
type=AVC msg=audit(101.1:1): avc:  denied  { search } for  pid=1 comm="depmod" \
name="mkinitramfs_aB3xYz" dev="vda" ino=1 scontext=u:r:kmod_t:s0 tcontext=u:r:initrc_tmp_t:s0 \
tclass=dir permissive=0
type=AVC msg=audit(102.1:2): avc:  denied  { write } for  pid=1 comm="cpio" \
path="/var/tmp/dracut.x1y2/initramfs/usr" dev="vda" ino=1 scontext=a tcontext=b tclass=dir
type=AVC msg=audit(103.1:3): avc:  denied  { open } for  pid=1 comm="modprobe" \
path="/usr/lib/modules/6.1.0-1/modules.dep.bin" dev="vda" ino=1 scontext=a tcontext=b tclass=file
type=AVC msg=audit(104.1:4): avc:  denied  { search } for  pid=1 comm="modprobe" \
name="events" dev="tracefs" ino=1 scontext=a tcontext=b tclass=dir
type=AVC msg=audit(105.1:5): avc:  denied  { execute } for  pid=1 comm="update-initramf" \
name="sh" dev="vda" ino=1 scontext=a tcontext=b tclass=file
type=AVC msg=audit(106.1:6): avc:  denied  { read } for  pid=1 comm="agetty" \
name="kmod" dev="vda" ino=1 scontext=a tcontext=b tclass=file
"""


def test_what_may_spoil_the_initramfs_is_told_first_as_such() -> None:
    found = [(d["program"], d["initramfs"]) for d in selinux.denials(MAKING, 100, None)]
    making = ["cpio", "depmod", "modprobe", "update-initramf"]
    assert found == [*((name, True) for name in making), ("modprobe", False)]
    many = "".join(
        MAKING.splitlines(keepends=True)[3].replace("events", f"a{n}") for n in range(99)
    )
    assert [d["initramfs"] for d in selinux.denials(many + MAKING, 100, None)][:5] == [
        *[True] * 4,
        False,
    ]
    assert not any(d["initramfs"] for d in selinux.denials(LOG, 100, "/opt/conda"))


# --- the reboot -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "log", "refused"),
    [
        ("enforcing", MAKING, True),
        ("permissive", MAKING, False),  # nothing was kept from them
        ("enforcing", LOG, False),
        ("enforcing", "", False),
    ],
)
def test_a_host_whose_initramfs_may_be_incomplete_is_not_rebooted(
    mode: str, log: str, *, refused: bool
) -> None:
    told = {"mode": mode, "policy": "default", "context": ADMINISTRATOR}
    told["denials"] = selinux.denials(log, 100, None)
    obstacle = reboot_obstacle(observed(bare(selinux=told)))
    assert (obstacle is not None) is refused
    if obstacle is not None:
        assert obstacle.code == "E_INITRAMFS_DENIED"
        assert "depmod, search of mkinitramfs_aB3xYz (dir)" in obstacle.message


@pytest.fixture
def rebooting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give the module of the action that reboots."""
    monkeypatch.setattr(sys, "path", [str(collections_root()), *sys.path])
    yield importlib.import_module("ansible_collections.gpuprep.core.plugins.action.reboot")
    for name in [one for one in sys.modules if one.startswith("ansible_collections")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("enforce", "log", "code"),
    [
        ("1", MAKING, "E_INITRAMFS_DENIED"),
        ("1", "", None),
        ("0", MAKING, None),
        ("", MAKING, None),
    ],
)
def test_the_action_looks_at_the_host_before_it_reboots_it(
    enforce: str,
    log: str,
    code: str | None,
    rebooting: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[str] = []

    def command(_: Any, line: str) -> tuple[int, str]:
        ran.append(line)
        if line == rebooting.ENFORCING:
            return (0, enforce) if enforce else (1, "No such file or directory")
        boots = sum("systemctl reboot" in one for one in ran)
        return (0, f"boot {boots}") if line.startswith("cat ") else (0, "")

    denials = selinux.denials(log, 100, None)
    told = {"mode": "enforcing", "policy": "default", "context": "", "denials": denials}
    seen = observed(bare(selinux=told))
    monkeypatch.setattr(rebooting.ActionModule, "_command", command)
    monkeypatch.setattr(rebooting, "observe_host", lambda *_: seen)
    monkeypatch.setattr(rebooting, "redactor_for", lambda *_: SimpleNamespace(text=str))
    monkeypatch.setattr(rebooting, "read_settings", lambda *_: settings_from({}))
    monkeypatch.setattr(rebooting._hosts, "own_target", lambda *_: None)
    monkeypatch.setattr(rebooting, "PAUSE_SECONDS", 0)
    task = SimpleNamespace(args={}, async_val=0)
    action = rebooting.ActionModule(task, SimpleNamespace(), None, None, None, None)
    done = action._reboot(60, f"cat {rebooting.BOOT_ID}", "why", {})
    assert done.get("code") == code
    assert any("systemctl reboot" in line for line in ran) is (code is None)
    assert bool(done.get("rebooted")) is (code is None)


# --- the plan -------------------------------------------------------------------------------------


def planned(seen: dict[str, Any], **variables: Any) -> HostPlan:
    values = {"gpuprep_components": ["driver", "conda"], **variables}
    return plan_host(observed(seen), settings_from(values), load())


def prepared() -> dict[str, Any]:
    first = bare()
    seen = carried_out(first, planned(first))
    assert not planned(seen).steps
    return seen


def test_each_managed_file_with_a_wrong_label_is_one_step_that_writes_it() -> None:
    seen = prepared()
    seen["selinux"] = {"mode": "enforcing", "policy": "targeted", "context": "", "denials": []}
    paths = list(seen["files"])
    assert len(paths) > 4
    for path in paths:
        other = copy.deepcopy(seen)
        other["files"][path]["wrong_label"] = {"label": TMP, "wanted": ETC}
        plan = planned(other)
        (step,) = plan.steps
        assert step.target == path
        assert (step.before, step.after) == (TMP, ETC)
        written = [
            file["path"]
            for role in plan.roles.values()
            for stage in role.to_dict()["operations"].values()
            for operation in stage
            if operation["op"] == "files"
            for file in operation["files"]
        ]
        assert path in written


def test_a_mislabelled_prefix_is_relabelled_and_not_installed_again() -> None:
    seen = prepared()
    seen["conda"]["wrong_labels"] = {"/opt/conda/bin": {"label": TMP, "wanted": BIN}}
    plan = planned(seen)
    assert [step.id for step in plan.steps] == ["conda.label./opt/conda"]
    operations_ = plan.roles["conda"].to_dict()["operations"]
    assert operations_ == {
        "configure": [{"op": "labels", "paths": ["/opt/conda"], "without": ["/opt/conda/pkgs"]}]
    }


@pytest.mark.parametrize(
    ("mode", "words"), [("enforcing", "has denied"), ("permissive", "would have denied")]
)
def test_denials_are_a_warning(mode: str, words: str) -> None:
    denial = {"program": "nvidia-smi", "permission": "open", "kind": "file", "target": "/x"}
    others = [dict(denial, target=f"/{n}") for n in range(4)]
    told = {"mode": mode, "policy": "targeted", "context": "", "denials": [denial, *others]}
    plan = planned({**prepared(), "selinux": told})
    assert not plan.steps
    (warning,) = [w for w in plan.warnings if w.code == "W_SELINUX_DENIED"]
    assert words in warning.message
    assert "nvidia-smi, open of /x (file)" in warning.message
    assert "; 2 more" in warning.message
    quiet = planned({**prepared(), "selinux": {**told, "denials": []}})
    assert all(w.code != "W_SELINUX_DENIED" for w in quiet.warnings)


@pytest.mark.parametrize(
    ("mode", "context", "refused"),
    [
        ("enforcing", "user_u:user_r:user_t:s0", True),
        ("enforcing", "staff_u:staff_r:staff_t:s0", True),
        ("enforcing", "staff_u:sysadm_r:sysadm_t:s0", False),
        ("enforcing", "unconfined_u:unconfined_r:unconfined_t:s0", False),
        ("enforcing", "system_u:system_r:initrc_t:s0", False),
        ("permissive", "user_u:user_r:user_t:s0", False),
        ("enforcing", "", False),
    ],
)
def test_a_confined_login_is_refused_before_anything_is_touched(
    mode: str, context: str, *, refused: bool
) -> None:
    told = {"mode": mode, "policy": "targeted", "context": context, "denials": []}
    plan = planned(bare(selinux=told))
    assert (plan.code == "E_SELINUX_CONFINED") is refused
    assert not refused or context in (plan.error or "")
    assert planned({**prepared(), "selinux": told}).ok  # nothing to do needs no rights
