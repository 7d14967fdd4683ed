"""The package transaction: its decisions against a scripted family, deb's commands and words."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import pytest
from converge_rig import CONTEXT, LOOKING, Commands

from gpuprep.catalog import load
from gpuprep.catalog.rules import host_rules
from gpuprep.model import states
from gpuprep.model.names import matches
from gpuprep.on_host.converge import base, deb, family, files, locks, operations, packages
from gpuprep.on_host.converge.base import OperationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = "dpkg-query -W -f ${Package}\\t${Architecture}\\t"
LOCKED = {"patterns": ["libx*", "x-*", "!x-tools"], "version": "2.0-*"}


def look(**values: Any) -> Any:
    """Return a preview; without values, of a transaction that does nothing."""
    nothing = {
        "ok": True,
        "missing": False,
        "installs": {},
        "removes": [],
        "pending": [],
        "text": "",
    }
    return base.Preview(**{**nothing, **values})


def index(**values: Any) -> Any:
    """Return how reading the index went; without values, well."""
    return base.Refreshed(ok=True, transient=False, text="")._replace(**values)


class Family(types.SimpleNamespace):
    """A package family in memory: what it was asked is in ``calls``."""

    NAMES: dict[str, str]

    def __init__(self, **values: Any) -> None:
        super().__init__(
            NAMES={"manager": "pm", "database": "db"},
            calls=[],
            there={},
            offers={},
            depends={},
            lacks=(),
            left={},
            locks=[],
            previews=[look()],
            refreshes=[index()],
            code=0,
            stale=False,
            holds=(),
        )
        self.__dict__.update(values)

    def lock_holder(self) -> Any:
        return self.locks.pop(0) if self.locks else None

    def installed(self) -> dict[str, str]:
        return dict(self.there)

    def unfinished(self) -> dict[str, str]:
        return dict(self.left)

    def finish(self) -> Any:
        self.calls.append("finish")
        return base.Outcome(self.code, "", "cannot" if self.code else "")

    def available(self, names: list[str]) -> dict[str, set[str]]:
        return {name: set(self.offers[name]) for name in names if name in self.offers}

    def newest(self, versions: list[str]) -> str:
        return max(versions)

    def counterpart(self, version: str, versions: Any) -> str | None:
        return version if version in versions else None

    def needed(self, exact: Any, version: str) -> dict[str, str]:
        found = {n for name in exact for n in self.depends.get((name, version), ())}
        return {**exact, **dict.fromkeys(found, version)}

    def awaited(self, names: list[str]) -> list[str]:
        return [name for name in names if name in self.lacks]

    def refresh(self) -> Any:
        self.calls.append("refresh")
        return self.refreshes.pop(0) if len(self.refreshes) > 1 else self.refreshes[0]

    def preview(self, transaction: Any) -> Any:
        self.calls.append(("preview", transaction))
        return self.previews.pop(0) if len(self.previews) > 1 else self.previews[0]

    may_become_possible = staticmethod(deb.may_become_possible)

    def carry_out(self, transaction: Any) -> Any:
        self.calls.append(("carry_out", transaction))
        return base.Outcome(self.code, "", "it broke" if self.code else "")

    def has_moved_on(self, outcome: Any) -> bool:
        return bool(outcome.code) and self.stale

    def held(self) -> set[str]:
        return set(self.holds)

    def leftovers(self, names: list[str]) -> list[str]:
        return [name for name in names if name in self.there]

    def prepare(self, operation: Any, check: bool) -> None:  # noqa: FBT001 - the port's form
        del operation, check

    def retreat(self) -> list[str]:
        return []

    def unheld(self, operation: Any) -> list[str]:
        patterns = operation["patterns"]
        return [name for name in self.installed() if matches(name, patterns)]

    def hold(self, _operation: Any, names: list[str]) -> Any:
        self.calls.append(("hold", names))
        return base.Outcome(0, "", "")

    def explain(self, *_: Any) -> str:
        return ""

    def repair(self, *_: Any) -> list[str]:
        return ["pm repair"]

    def build_logs(self) -> list[str]:
        return []

    is_kernel = staticmethod(deb.is_kernel)


def use(monkeypatch: pytest.MonkeyPatch, **values: Any) -> Family:
    backend = Family(**values)
    monkeypatch.setattr(family, "backend", lambda _name: backend)
    monkeypatch.setattr(packages, "REFRESH_PAUSE", 0)
    monkeypatch.setattr(files, "take_back", list)
    monkeypatch.setattr(files, "keep_replaced", lambda: None)
    return backend


def request(*names: str, **more: Any) -> dict[str, Any]:
    wanted = [dict(zip(("name", "version"), name.split("="), strict=False)) for name in names]
    return {"install": wanted, "remove": [], "locked": None, "refresh": False, **more}


def preview(**installs: str) -> Any:
    return look(installs={k.replace("_", "-"): v for k, v in installs.items()})


def made(backend: Family) -> list[Any]:
    return [call[1] for call in backend.calls if call[0] == "carry_out"]


def test_what_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = use(monkeypatch, there={"a": "1.0-1"})
    answer = packages.packages(request("a=1.0-*"), CONTEXT)
    assert (answer["changed"], backend.calls) == (False, [])


def test_a_transaction_is_looked_at_and_made(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = use(monkeypatch, previews=[preview(a="2")])
    answer = packages.packages(request("a", remove=["b"]), CONTEXT)
    assert made(backend) == [{"install": {"a": None}, "remove": ["b"]}]
    assert (answer["changed"], answer["items"]) == (True, ["a 2"])


def test_check_mode_only_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = use(monkeypatch, previews=[preview(a="2")], left={"z": "unpacked"})
    assert packages.packages(request("a", refresh=True), LOOKING)["changed"]
    assert [call[0] for call in backend.calls] == ["preview"]


def test_all_members_of_the_set_move_together(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = use(
        monkeypatch,
        there={"libx1": "1.0-1", "x-old": "1.0-1", "x-tools": "9", "stranger": "1.0-1"},
        offers={"x-new": ["2.0-1", "2.0-2", "3.0-1"], "libx1": ["2.0-2"], "stranger": ["2.0-2"]},
        depends={("x-new", "2.0-2"): ["libx2"]},
        previews=[preview(x_new="2.0-2")],
    )
    packages.packages(request("x-new", locked=LOCKED), CONTEXT)
    exact = dict.fromkeys(("libx1", "libx2", "stranger", "x-new"), "2.0-2")
    # The pattern misses the stranger, but it is of the set's release.
    assert made(backend) == [{"install": exact, "remove": ["x-old"]}]


def test_a_missing_version_is_looked_for_in_a_fresh_index(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = look(ok=False, missing=True, text="E: Unable to locate package a")
    backend = use(monkeypatch, previews=[missing, preview(a="1")])
    packages.packages(request("a"), CONTEXT)
    assert [c if isinstance(c, str) else c[0] for c in backend.calls] == [
        "preview", "refresh", "preview", "carry_out"
    ]  # fmt: skip


def test_what_cannot_be_made_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = use(monkeypatch, previews=[look(ok=False, text="E: broken")])
    with pytest.raises(OperationError, match="not started: E: broken"):
        packages.packages(request("a"), CONTEXT)
    assert made(backend) == []


@pytest.mark.parametrize(
    ("installs", "removes"), [({"linux-image-6.1.0": "1"}, []), ({}, ["linux-modules-6.1.0"])]
)
def test_a_kernel_is_never_changed_unasked(
    monkeypatch: pytest.MonkeyPatch, installs: dict[str, str], removes: list[str]
) -> None:
    backend = use(monkeypatch, previews=[look(installs=installs, removes=removes)])
    with pytest.raises(OperationError) as raised:
        packages.packages(request("a"), CONTEXT)
    assert (raised.value.code, made(backend)) == ("E_KERNEL_CHANGE", [])


def test_packages_of_others_are_not_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    own = list(host_rules().own_packages)
    going = ["nvidia-utils-570", "libcuda1:i386", "cuda-toolkit-12-9", "render-farm:amd64"]
    backend = use(monkeypatch, previews=[look(installs={"a": "1"}, removes=going)])
    with pytest.raises(OperationError, match="would take away render-farm: in the way") as raised:
        packages.packages(request("a", own=own), CONTEXT)
    assert (raised.value.code, made(backend)) == ("E_FOREIGN_PACKAGES", [])
    # What the plan itself removes was told in it.
    packages.packages(request("a", own=own, remove=["render-farm"]), CONTEXT)
    assert len(made(backend)) == 1


def test_the_whole_driver_may_give_way_to_another() -> None:
    catalog = load()
    archives = [archive.closure for archive in catalog.archives.values()]
    sets = [catalog.driver.closure[states.Family.DEB], *archives]
    patterns = [pattern for patterns in sets for pattern in patterns if pattern[0] != "!"]
    assert len(patterns) > 50
    names = [pattern.replace("*", "x") for pattern in patterns]
    assert [name for name in names if not matches(name, host_rules().own_packages)] == []
    assert not matches("nvidia-container-toolkit", host_rules().own_packages)


def test_locks_are_waited_for_and_their_holder_named(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = {"path": "/lock", "pid": "7", "command": "unattended-upgr"}
    use(monkeypatch, locks=[holder] * 2, there={"a": "1"})
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert not packages.packages(request("a"), CONTEXT)["changed"]
    use(monkeypatch, locks=[holder] * 9)
    with pytest.raises(OperationError, match=r"unattended-upgr \(pid 7\)"):
        packages.packages(request("a"), CONTEXT._replace(lock_timeout=0))


def test_interrupted_work_is_finished_first(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = use(monkeypatch, there={"a": "1"}, left={"b": "half-configured"})
    assert packages.packages(request("a"), CONTEXT)["changed"]
    assert backend.calls == ["finish"]
    use(monkeypatch, left={"b": "half-installed"}, code=1)
    with pytest.raises(OperationError, match="cannot be finished: cannot"):
        packages.packages(request("a"), CONTEXT)


def test_an_index_in_the_middle_of_a_sync_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    unsettled = index(ok=False, transient=True, text="Mirror sync in progress?")
    backend = use(
        monkeypatch,
        refreshes=[unsettled, index()],
        previews=[preview(a="1")],
    )
    packages.packages(request("a", refresh=True), CONTEXT)
    assert backend.calls[:2] == ["refresh", "refresh"]


def test_a_repository_that_cannot_be_used_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, refreshes=[index(ok=False, text="E: Conflicting values")])
    monkeypatch.setattr(files, "take_back", lambda: ["/etc/x.sources"])
    with pytest.raises(OperationError, match=r"Conflicting values Taken back.*/etc/x\.sources"):
        packages.packages(request("a", refresh=True), CONTEXT)


def test_an_index_that_another_program_keeps_locked_leaves_nothing_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = use(monkeypatch)

    def locked_out() -> None:
        raise OperationError("E_PACKAGES_LOCKED", "locked by apt")

    monkeypatch.setattr(backend, "refresh", locked_out)
    monkeypatch.setattr(files, "take_back", lambda: ["/etc/x.sources"])
    with pytest.raises(OperationError, match=r"locked by apt Taken back.*x\.sources") as raised:
        packages.packages(request("a", refresh=True), CONTEXT)
    assert raised.value.code == "E_PACKAGES_LOCKED"


def test_what_worked_is_never_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    for asked, context, expected in (
        (request("a"), LOOKING, []),
        (request("a", rest=request("b")), CONTEXT, []),  # the rest may need the index yet
        (request("a"), CONTEXT, ["kept"]),
    ):
        use(monkeypatch, previews=[preview(a="1")])
        monkeypatch.setattr(files, "keep_replaced", lambda: kept.append("kept"))
        packages.packages(asked, context)
        assert kept == expected
    use(monkeypatch, previews=[preview(a="1")], code=100)
    monkeypatch.setattr(files, "keep_replaced", lambda: kept.append("no"))
    with pytest.raises(OperationError):
        packages.packages(request("a"), CONTEXT)
    assert kept == ["kept"]


def test_an_index_that_is_older_than_the_archive_is_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = use(monkeypatch, previews=[preview(a="1"), preview(a="2")], stale=True, code=100)
    carry_out = backend.carry_out

    def once(transaction: Any) -> Any:
        outcome = carry_out(transaction)
        backend.code = 0
        return outcome

    monkeypatch.setattr(backend, "carry_out", once)
    done = packages.packages(request("a"), CONTEXT)
    assert done["items"] == ["a 2"]
    assert [c if isinstance(c, str) else c[0] for c in backend.calls] == [
        "preview", "carry_out", "refresh", "preview", "carry_out"
    ]  # fmt: skip
    # Once is enough: an archive that lacks what its own index names is told.
    backend = use(monkeypatch, previews=[preview(a="1")], stale=True, code=100)
    with pytest.raises(OperationError, match="it broke"):
        packages.packages(request("a"), CONTEXT)
    assert len(made(backend)) == 2


def test_what_others_hold_does_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    own = list(host_rules().own_packages)
    coming = preview(nvidia_utils_580="580.1", libssl3="2", dkms="3", zlib1g="1")
    holds = ("nvidia-utils-580", "libssl3", "dkms")
    backend = use(monkeypatch, previews=[coming], holds=holds)
    # The driver's own packages are held by an earlier run, and what is asked for was told.
    with pytest.raises(OperationError, match="would change libssl3: held") as raised:
        packages.packages(request("nvidia-utils-580", "dkms", own=own), CONTEXT)
    assert (raised.value.code, made(backend)) == ("E_HELD_PACKAGES", [])
    use(monkeypatch, previews=[look(installs={"libssl3:i386": "2"})], holds=("libssl3",))
    with pytest.raises(OperationError, match="would change libssl3: held"):
        packages.packages(request("nvidia-utils-580", own=own), LOOKING)
    backend = use(monkeypatch, previews=[coming], holds=("bash",))
    assert packages.packages(request("dkms", own=own), CONTEXT)["changed"]


LOCKED_OUT = [
    "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)\nE: Unable",
    "dpkg: error: dpkg frontend lock was locked by another process with pid 7\nE: Are you root?",
    "dpkg: error: dpkg status database is locked by another process",
]


@pytest.mark.parametrize("said", LOCKED_OUT)
@pytest.mark.parametrize(
    "ask",
    [
        deb.refresh,
        lambda: deb.carry_out({"install": {"a": None}, "remove": []}),
        lambda: deb.hold({}, ["a"]),
        lambda: deb.purge(["a"]),
        deb.finish,
    ],
)
def test_another_program_that_works_on_packages_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Any], said: str
) -> None:
    busy = base.Outcome(100, "", said)
    queue = [busy, busy]
    answer = lambda _: queue.pop() if queue else base.Outcome(0, "", "")  # noqa: E731
    commands = Commands({"": answer})
    monkeypatch.setattr(deb, "command", commands)
    monkeypatch.setattr(locks, "PAUSE", 0)
    monkeypatch.setattr(base.Patience, "seconds", 5)
    ask()
    assert len(commands.lines) == 3
    monkeypatch.setattr(base.Patience, "seconds", 0)
    queue += [busy] * 2
    with pytest.raises(OperationError, match="still locked after 0 s") as raised:
        ask()
    assert raised.value.code == "E_PACKAGES_LOCKED"


def test_a_failure_of_another_kind_is_not_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["E: Unable to acquire the dpkg frontend lock, are you root?", "E: broken", ""]
    monkeypatch.setattr(base.Patience, "seconds", 5)
    for text in texts:
        commands = Commands({"": base.Outcome(100, "", text)})
        monkeypatch.setattr(deb, "command", commands)
        assert deb.hold({}, ["a"]).code == 100
        assert len(commands.lines) == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "E: Failed to fetch http://m/pool/d/dkms_3.0-1_all.deb  404  Not Found [IP: ::1 80]",
            True,
        ),
        ("E: Failed to fetch file:/srv/d/dkms_3.0-1_all.deb  File not found - /srv", True),
        ("E: Failed to fetch http://m/dkms.deb  Hash Sum mismatch\n   Hashes of expected", True),
        ("E: Failed to fetch http://m/d.deb  File has unexpected size (9 != 8).", True),
        ("E: Failed to fetch http://m/404/d.deb  Could not connect to m:80 (::1)", False),
        ("E: Failed to fetch http://m/d.deb  503  Busy [IP: ::1 80]", False),
        ("E: Sub-process /usr/bin/dpkg returned an error code (1)", False),
    ],
)
def test_what_an_index_names_that_the_archive_no_longer_has(said: str, *, expected: bool) -> None:
    assert deb.has_moved_on(base.Outcome(100, "", f"W: x\n{said}\nE: Unable to fetch")) == expected


def test_a_failure_is_explained_and_the_rest_held(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = use(monkeypatch, previews=[preview(a="1")], code=100, there={"x-1": "1"})
    asked = {
        "schema": 1, "family": "deb", "lock_timeout": 1, "check": False,
        "operations": [
            {"op": "packages", **request("a")},
            {"op": "services", "units": ["never"]},
            {"op": "hold", "patterns": ["x-*"]},
        ],
    }  # fmt: skip
    left = lambda: {"a": "unpacked"} if made(backend) else {}  # noqa: E731
    monkeypatch.setattr(backend, "unfinished", left)
    answer = operations.carry_out(asked)
    assert answer["failed"]["code"] == "E_PACKAGES"
    assert "it broke" in answer["failed"]["message"]
    assert "Commands: pm repair" in answer["failed"]["diagnosis"]
    assert [result["op"] for result in answer["operations"]] == ["hold"]
    assert backend.calls[-1] == ("hold", ["x-1"])


def test_a_failing_hold_does_not_hide_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = use(monkeypatch, previews=[preview(a="1")], code=100)

    def stumble() -> dict[str, str]:
        raise RuntimeError("no database")

    monkeypatch.setattr(backend, "build_logs", stumble)
    monkeypatch.setattr(backend, "unheld", stumble)
    steps = [{"op": "packages", **request("a")}, {"op": "hold", "patterns": ["*"]}]
    asked = {"schema": 1, "family": "deb", "lock_timeout": 1, "check": False, "operations": steps}
    failed = operations.carry_out(asked)["failed"]
    assert "it broke" in failed["message"]
    assert "no database" in failed["diagnosis"]


def test_an_unknown_operation_and_a_surprise_are_failures_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(operations.OPERATIONS, "odd", lambda *_: 1 // 0)
    for name, words in (("nothing", "unknown operation"), ("odd", "ZeroDivisionError")):
        asked = {
            "schema": 1, "family": "deb", "lock_timeout": 1, "check": False,
            "operations": [{"op": name}],
        }  # fmt: skip
        failed = operations.carry_out(asked)["failed"]
        assert (failed["code"], words in failed["message"]) == ("E_INTERNAL", True)


# --- the module build -----------------------------------------------------------------------------


def test_a_build_that_fails_without_a_word_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    backend = use(monkeypatch)
    backend.build_module = lambda *_: base.Outcome(0, "skipped", "")
    monkeypatch.setattr(packages.module_files, "__defaults__", (str(tmp_path),))
    with pytest.raises(OperationError, match=r"no module nvidia was built for kernel 6\.1"):
        packages.module({"kernel": "6.1"}, CONTEXT)
    built = tmp_path / "6.1/updates/nvidia.ko.zst"
    built.parent.mkdir(parents=True)
    built.write_bytes(b"")
    assert packages.module({"kernel": "6.1"}, CONTEXT)["changed"]


# --- deb ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("linux-image-6.8.0-1029-oracle", True),
        ("linux-modules-extra-6.8.0-1029-oracle", True),
        ("linux-generic", True),
        ("linux-oracle", True),
        ("linux-headers-6.8.0-1029-oracle", False),
        ("linux-modules-nvidia-580-server-open-6.8.0-1029-oracle", False),
        ("linux-objects-nvidia-580-server-6.8.0-1029-oracle", False),
        ("linux-signatures-nvidia-6.8.0-1029-oracle", False),
        ("linux-libc-dev", False),
    ],
)
def test_what_is_a_kernel(name: str, *, is_one: bool) -> None:
    assert deb.is_kernel(name) is is_one


def test_no_package_of_the_catalog_is_taken_for_a_kernel() -> None:
    names = [p for patterns in load().driver.closure.values() for p in patterns if p[0] != "!"]
    assert names
    assert [name for name in names if deb.is_kernel(name)] == []


SIMULATED = """\
Inst libx [1.0-1] (2.0-1 NVIDIA:r [amd64])
Inst x (2.0-1 NVIDIA:r [amd64]) []
Remv old [1.0-1]
Purg older [1.0-1]
Conf libx (2.0-1 NVIDIA:r [amd64])
"""


def test_a_simulation_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands({"apt-get install": SIMULATED})
    monkeypatch.setattr(deb, "command", commands)
    found = deb.preview({"install": {"x": "2.*", "y": None}, "remove": ["old"]})
    assert (found.ok, found.installs) == (True, {"libx": "2.0-1", "x": "2.0-1"})
    assert (found.removes, found.pending) == (["old", "older"], ["libx"])
    assert commands.lines[0].endswith("-s -- x=2.* y old-")


def test_a_package_that_is_not_in_the_index_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = base.Outcome(100, "", "E: Version '9*' for 'x' was not found")
    monkeypatch.setattr(
        deb, "command", Commands({"apt-get": outcome, "apt-cache madison": "x | 1 | u"})
    )
    found = deb.preview({"install": {"x": "9*"}, "remove": []})
    assert (found.ok, found.missing) == (False, True)
    assert deb.explain(found.text, {"install": {"x": "9*"}}) == ("The repositories offer x in: 1.")


def test_headers_that_are_gone_are_explained() -> None:
    text = "E: Unable to locate package linux-headers-6.1.0-1"
    assert "no longer has linux-headers-6.1.0-1: upgrade the kernel" in deb.explain(
        text, {"install": {}}
    )


def test_states_of_packages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {
        f"{ROWS}${{db:Status-Status}}\\t${{Version}}": "a\tall\tinstalled\t1\n",
        f"{ROWS}${{db:Status-Status}}\\n": (
            "a\tall\tinstalled\nb\tamd64\thalf-configured\nc\tamd64\tconfig-files\n"
        ),
        f"{ROWS}${{db:Status-Want}}": "a\tall\thold\nb\tamd64\tinstall\n",
    }
    monkeypatch.setattr(deb, "command", Commands(tables))
    assert deb.installed() == {"a": "1"}
    assert deb.leftovers(["a", "c", "d"]) == ["a", "c"]
    assert deb.unfinished() == {"b": "half-configured"}
    assert deb.held() == {"a"}


def test_a_package_of_another_architecture_has_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states = (
        "libcuda1\tamd64\tinstalled\nlibcuda1\ti386\tconfig-files\n"
        "libx1\tamd64\tinstalled\nlibx1\ti386\tinstalled\npin\tall\tinstalled\n"
        "dpkg\tamd64\tinstalled\ngone\t\tnot-installed\n"
    )
    tables = {
        f"{ROWS}${{db:Status-Status}}\\t": states.replace("\n", "\t2\n"),
        f"{ROWS}${{db:Status-Status}}\\n": states,
        f"{ROWS}${{db:Status-Want}}": "libx1\tamd64\thold\nlibx1\ti386\tinstall\ndpkg\tamd64\tx\n",
    }
    monkeypatch.setattr(deb, "command", Commands(tables))
    there = dict.fromkeys(["libcuda1", "libx1", "libx1:i386", "pin", "dpkg"], "2")
    assert deb.installed() == there
    assert deb.leftovers(["libcuda1", "gone"]) == ["libcuda1"]
    assert deb.unheld({"patterns": ["libx1"]}) == ["libx1:i386"]


@pytest.mark.parametrize("offered", [True, False])
def test_a_twin_of_another_architecture_moves_with_the_set(
    monkeypatch: pytest.MonkeyPatch, *, offered: bool
) -> None:
    """Where apt is told of the host's own only, it takes the others away to move down."""
    twin, names = {"libx1:i386": ["2.0-1"]} if offered else {}, ("x-meta", "x-a", "x-b")
    backend = use(
        monkeypatch,
        there=dict.fromkeys(names, "1.0-1") | {"libx1": "0.9-1", "libx1:i386": "0.9-1"},
        offers={name: ["2.0-1"] for name in (*names, "libx1")} | twin,
        previews=[preview(libx1="2.0-1")],
    )
    # Names, no patterns with a star: those would fit whatever follows.
    locked = {"patterns": ["libx1", *names], "version": "2.0-*"}
    packages.packages(request("x-meta", locked=locked), CONTEXT)
    (transaction,) = made(backend)
    assert transaction["install"].get("libx1:i386") == ("2.0-1" if offered else None)
    assert transaction["remove"] == ([] if offered else ["libx1:i386"])


def test_names_with_an_architecture_are_told_by_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "Remv libold:i386 [1]\n"
        "Inst libx1:i386 [1] (2.0-1 l [i386]) [libx1:amd64 on libx1:i386] [libx1:amd64 ]\n"
    )
    rows = {
        f"{ROWS}${{db:Status-Want}}": "y\tamd64\thold\nz\ti386\thold\n",
        f"{ROWS}${{db:Status-Status}}": "y\tamd64\tinstalled\t\tlibx1\n",
    }
    monkeypatch.setattr(deb, "command", Commands({"apt-get": lines, **rows}))
    found = packages.looked_at(deb, {"install": {"x": None}, "remove": [], "own": ["libold"]})
    assert (found.installs, found.removes) == ({"libx1:i386": "2.0-1"}, ["libold:i386"])
    assert deb.awaited(["libx1:i386", "z:i386"]) == ["libx1:i386"]
    assert deb.is_kernel("linux-image-generic:i386")
    assert deb.is_kernel("linux-generic:i386")


CONF = """\
PACKAGE_NAME="%s"
PACKAGE_VERSION="%s"
  BUILT_MODULE_NAME[0]="nvidia"
%s
BUILT_MODULE_NAME[1]="nvidia-uvm"
"""
RENAMED = 'DEST_MODULE_NAME[0]="$PACKAGE_NAME"\nDEST_MODULE_NAME[1]="${PACKAGE_NAME}-uvm"'
UNKNOWN = "PACKAGE_NAME=lustre\nPACKAGE_VERSION=2.15\nBUILT_MODULE_NAME[0]=lnet\n"
OWNED = "nvidia-kernel-source-580, also: "


def sources_of(
    monkeypatch: pytest.MonkeyPatch, root: Path, confs: dict[str, str], owned: set[str]
) -> Commands:
    """Pretend sources of DKMS modules, some of them of packages."""
    for folder, text in {"lustre-2.15": UNKNOWN, **confs}.items():
        (root / folder).mkdir()
        (root / folder / "dkms.conf").write_text(text)
    monkeypatch.setattr(deb, "SOURCES", f"{root}/*/dkms.conf")
    monkeypatch.setattr(deb, "MODULES", str(root / "modules"))
    told = "".join(f"{OWNED}{root}/{folder}/dkms.conf\n" for folder in {*owned, "lustre-2.15"})
    commands = Commands({"dpkg-query -S": base.Outcome(1, told, "no path found")})
    monkeypatch.setattr(deb, "command", commands)
    return commands


@pytest.mark.parametrize(
    "names",
    [("nvidia", "nvidia", ""), ("nvidia-srv", "nvidia", ""), ("nvidia-current",) * 2 + (RENAMED,)],
)
@pytest.mark.parametrize(
    ("status", "first"),
    [
        ("lustre/2.15: added\n%s/580.1, 6.1.0, x86_64: installed\n", []),  # for another kernel
        ("lustre, 2.15: added\n%s, 580.1: added\n", []),  # version 2
        ("lustre, 2.15: added\n%s, 580.1, 6.1, x86_64: installed\n", ["uninstall {} -k 6.1"]),
        ("%s/580.1, 6.1, x86_64: installed (WARNING! x)\n", ["uninstall {} -k 6.1"]),
        ("lustre/2.15: added\n%s/580.10: added\n", ["add {}"]),
    ],
)
def test_only_the_drivers_module_is_built(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    names: tuple[str, str, str],
    status: str,
    first: list[str],
) -> None:
    """Another one, which does not compile for this kernel, is none of the driver's."""
    source, name, renamed = names
    folder = f"{source}-580.1"
    left = {f"{source}-570.1": CONF % (source, "570.1", renamed)}  # of no package
    confs = {folder: CONF % (source, "580.1", renamed), **left}
    commands = sources_of(monkeypatch, tmp_path, confs, {folder})
    commands.answers["dkms status"] = status % source
    commands.answers["dkms install"] = base.Outcome(10, "", "bad exit status")
    assert deb.build_module("6.1", name).code == 10
    words = f"-m {source} -v 580.1"
    assert [line for line in commands.lines if line.startswith("dkms")] == [
        f"dkms {line.format(words)}" for line in ("status", *first, "install {} -k 6.1 --force")
    ]


@pytest.mark.parametrize(
    ("confs", "owned"),
    [
        ({}, set()),
        ({"nvidia-580.1": CONF % ("nvidia", "580.1", "")}, set()),
        ({"nvidia-580.1": CONF % ("nvidia", "$VERSION", "")}, {"nvidia-580.1"}),
        (
            {n: CONF % ("nvidia", n[7:], "") for n in ("nvidia-1", "nvidia-2")},
            {"nvidia-1", "nvidia-2"},
        ),
    ],
)
def test_where_the_drivers_sources_are_not_told_its_files_judge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, confs: dict[str, str], owned: set[str]
) -> None:
    commands = sources_of(monkeypatch, tmp_path, confs, owned)
    built = tmp_path / "modules/6.1/updates/dkms/nvidia.ko.zst"

    def all_but_lustre(_argv: list[str]) -> Any:
        built.parent.mkdir(parents=True)
        built.touch()
        return base.Outcome(11, "", "lustre does not build")

    commands.answers["dkms autoinstall -k 6.1"] = base.Outcome(11, "", "nothing builds")
    assert deb.build_module("6.1", "nvidia").code == 11
    commands.answers["dkms autoinstall -k 6.1"] = all_but_lustre
    assert deb.build_module("6.1", "nvidia").code == 0
    commands.answers["dkms autoinstall -k 6.1"] = base.Outcome(11, "", "nothing builds")
    assert deb.build_module("6.1", "nvidia").code == 11  # what was there before is no success


def test_a_default_link_counts_when_it_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = "Name: cuda\nLink: /usr/local/cuda\nStatus: %s\nBest: /b\nValue: /v\n"
    for status, value in (("manual", "/v"), ("auto", None)):
        monkeypatch.setattr(deb, "command", Commands({"update-alternatives": shown % status}))
        assert deb.default_link("cuda") == value


def test_needed_packages_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {
        "apt-cache show -- a=2": "Depends: b (= 2), libc6 (>= 2.3)\nPre-Depends: c (= 2)\n",
        "apt-cache show -- b=2": "Depends: d:any (= 2), e (= 1)\n",
    }
    monkeypatch.setattr(deb, "command", Commands(shown))
    assert deb.needed({"a": "2"}, "2") == dict.fromkeys("abcd", "2")


@pytest.mark.parametrize(
    "text",
    [
        "E: Package 'libcuda1' has no installation candidate",
        "x : Depends: libc6 (>= 9) but 8 is there Depends: libcuda1 but it is not installable",
        "x : Depends: libcuda1 but it is not going to be installed",
    ],
)
def test_a_pin_that_forbids_a_dependency_is_named(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    answers = {
        "apt-cache policy libcuda1": "libcuda1:\n  Version table:\n     1-1 -1\n",
        "grep": "/etc/apt/preferences.d/x\n",
    }
    monkeypatch.setattr(deb, "command", Commands(answers))
    told = "A pin forbids libcuda1 (/etc/apt/preferences.d/x)."
    assert deb.explain(text, {"install": {}}) == told


def test_pins_are_not_installed_for_what_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = look(ok=False, missing=True, text="E: Unable to locate package headers")
    backend = use(monkeypatch, previews=[missing])
    rest = request("headers=*")
    with pytest.raises(OperationError, match="not started: E: Unable to locate package headers"):
        packages.packages(request("pin", rest=rest), CONTEXT)
    seen = [c if isinstance(c, str) else c[0] for c in backend.calls]
    assert seen == ["preview", "refresh", "preview"]
    ahead = {"install": {"headers": "*", "pin": None}, "remove": [], "main": rest}
    assert backend.calls[0][1] == ahead


def test_what_only_the_pin_makes_possible_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    unfit = look(ok=False, text="E: unmet dependencies")
    backend = use(monkeypatch, previews=[unfit, preview(pin="1")])
    packages.packages(request("pin", rest=request("driver")), CONTEXT)
    assert made(backend) == [{"install": {"pin": None}, "remove": [], "is_first": True}]


def test_a_set_that_a_missing_pin_hides_is_looked_at_by_its_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unmet = look(ok=False, text="E: unmet dependencies")
    whole = {"pin": "1", "x-meta": "2.0-1", "libx1": "2.0-1"}
    there = {
        "offers": {"x-meta": ["2.0-1", "3.0-1"], "libx1": ["2.0-1", "3.0-1"]},
        "depends": {("x-meta", "2.0-1"): ["libx1"]},
    }
    rest = request("x-meta", locked=LOCKED, own=["*x*"])
    backend = use(monkeypatch, **there, previews=[look(installs=whole), unmet])
    packages.packages(request("pin", rest=rest), CONTEXT)
    assert made(backend) == [{"install": {"pin": None}, "remove": [], "is_first": True}]
    looks = [call[1] for call in backend.calls if call[0] == "preview"]
    exact = {"x-meta": "2.0-1", "libx1": "2.0-1", "pin": None}
    assert [one["install"] for one in looks] == [exact]
    # What it would take away is seen before the pin is there.
    going = look(installs=whole, removes=["render-farm"])
    backend = use(monkeypatch, **there, previews=[going, unmet])
    with pytest.raises(OperationError, match="render-farm") as raised:
        packages.packages(request("pin", rest=rest), CONTEXT)
    assert (raised.value.code, made(backend)) == ("E_FOREIGN_PACKAGES", [])


NEW = {"pin": "1", "x-meta": "2.0-1", "libx1": "2.0-1", "toolkit": "13"}
OFFERS = {"offers": {"x-meta": ["2.0-1", "3.0-1"], "libx1": ["2.0-1", "3.0-1"]},
          "depends": {("x-meta", "2.0-1"): ["libx1"]}}  # fmt: skip


def test_a_new_driver_found_at_its_version_without_pins_comes_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One look and one transaction instead of three and two."""
    rest = request("x-meta", locked=LOCKED, together=[{"name": "toolkit"}])
    context = CONTEXT._replace(made=[])
    backend = use(
        monkeypatch, **OFFERS, previews=[look(installs=NEW, pending=["pin"]), look(ok=False)]
    )
    first = packages.packages(request("pin", rest=rest, pins=True), context)
    exact = {"x-meta": "2.0-1", "libx1": "2.0-1", "toolkit": None, "pin": None}
    assert [one["install"] for one in made(backend)] == [exact]
    assert sum(call[0] == "preview" for call in backend.calls) == 1
    assert set(first["items"]) == {f"{name} {version}" for name, version in NEW.items()}
    then = packages.packages(rest, context)
    assert (then["changed"], "together with its pins" in then["detail"]) == (False, True)
    assert len(made(backend)) == 1


@pytest.mark.parametrize(
    ("found", "there"),
    [
        (NEW | {"libx1": "3.0-1"}, {}),  # a pin would decide
        (NEW, {"x-old": "1.0-1"}),  # a driver is replaced: by the steps of a change of branches
        (NEW | {"linux-image-6.1": "1"}, {}),  # told as the kernel's change
    ],
    ids=["another version", "another driver", "a kernel"],
)
def test_pins_come_first_where_they_may_decide(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str], there: dict[str, str]
) -> None:
    rest = request("x-meta", locked=LOCKED)
    context = CONTEXT._replace(made=[])
    previews = [look(installs=found), preview(pin="1")]
    backend = use(monkeypatch, **OFFERS, there=there, previews=previews)
    packages.packages(request("pin", rest=rest, pins=True), context)
    assert made(backend) == [{"install": {"pin": None}, "remove": [], "is_first": True}]
    assert context.made == []


def test_a_transaction_that_failed_counts_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = request("x-meta", locked=LOCKED)
    context = CONTEXT._replace(made=[])
    use(monkeypatch, **OFFERS, previews=[look(installs=NEW)], code=100)
    with pytest.raises(OperationError, match="it broke"):
        packages.packages(request("pin", rest=rest, pins=True), context)
    assert context.made == []


def test_a_pin_comes_with_the_rest_where_that_mends_what_stops_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unmet = look(ok=False, text="E: Unmet dependencies")
    both = preview(pin="1", x_meta="2.0-1", libx1="2.0-1")
    backend = use(
        monkeypatch,
        there={"x-driver": "2.0-1", "libx1": "1.0-1"},
        offers={"x-meta": ["2.0-1"], "x-driver": ["2.0-1"], "libx1": ["1.0-1", "2.0-1"]},
        lacks=("libx1",),
        previews=[unmet, both, unmet, both],
    )
    rest = request("x-meta", locked=LOCKED, together=[{"name": "toolkit"}])
    packages.packages(request("pin", rest=rest), CONTEXT)
    # The library, which is what is broken, is named at the version of the others.
    exact = {"x-meta": "2.0-1", "libx1": "2.0-1", "toolkit": None, "pin": None}
    assert made(backend) == [{"install": exact, "remove": []}]


def test_why_a_pin_alone_cannot_be_made_is_told_where_the_rest_does_not_help(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unmet = look(ok=False, text="E: of the pin")
    previews = [look(ok=False, text="E: ahead"), unmet, look(ok=False, text="E: of the rest")]
    backend = use(monkeypatch, previews=previews)
    with pytest.raises(OperationError, match="not started: E: of the pin"):
        packages.packages(request("pin", rest=request("driver")), CONTEXT)
    assert made(backend) == []


@pytest.mark.parametrize("lacks", [(), ("driver",)])
def test_a_pin_is_looked_at_alone_unless_nothing_waits_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, lacks: tuple[str, ...]
) -> None:
    both = preview(pin="1", driver="2")
    previews = [both, *([look(ok=False, text="E: unmet"), both] if lacks else [])]
    backend = use(monkeypatch, previews=previews, lacks=lacks)
    packages.packages(request("pin", rest=request("driver")), CONTEXT)
    alone = {"install": {"pin": None}, "remove": [], "is_first": True}
    together = {"install": {"pin": None, "driver": None}, "remove": []}
    assert made(backend) == [together if lacks else alone]


def test_what_installed_packages_depend_on_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "a\tall\tinstalled\tdebconf\tlibx1 (= 2.0-1), aa | bb:any\n"
    rows += "b\tall\tconfig-files\t\tgone\n"
    monkeypatch.setattr(deb, "command", Commands({"dpkg-query": rows}))
    asked = ["aa", "bb", "debconf", "gone", "libx", "libx1"]
    assert deb.awaited(asked) == ["aa", "bb", "debconf", "libx1"]


def test_versions_that_are_offered_are_told_with_the_pin_that_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deb, "command", Commands({"apt-cache madison": "x | 2 | u\ny | 9 | u"}))
    text = "E: Unable to locate package pin-7"
    told = deb.explain(text, {"install": {"pin-7": None, "x": "7*", "y": "9*"}})
    assert told == "The repositories offer x in: 2."


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (base.Outcome(-9, "", ""), "(killed by SIGKILL)"),
        (base.Outcome(-15, "", "W: slow\nE: broken\n"), "W: slow E: broken (killed by SIGTERM)"),
        (base.Outcome(137, "", ""), "(killed by SIGKILL)"),
        (base.Outcome(100, "", ""), "it said nothing (exit 100)"),
        (base.Outcome(255, "", "no"), "no"),
        (base.Outcome(-99, "", ""), "(killed by signal 99)"),
    ],
)
def test_what_ended_a_command_is_told(
    monkeypatch: pytest.MonkeyPatch, outcome: Any, told: str
) -> None:
    monkeypatch.setattr(deb, "command", lambda *_, **__: outcome)
    assert deb.refresh().text == told
    assert base.last_lines(outcome) == told


def test_an_index_that_is_never_read_to_its_end_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once one port of an address refuses, apt 2.6 waits forever for its others."""
    commands = Commands({"timeout": base.Outcome(124, "Err:1 http://h:9 noble InRelease\n", "")})
    monkeypatch.setattr(deb, "command", commands)
    answer = deb.refresh()
    assert (answer.ok, answer.transient) == (False, False)
    assert answer.text.startswith("apt-get update had not ended after 1800 s. Err:1 http://h:9")
