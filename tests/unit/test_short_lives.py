"""Programs that start, work and end: what they do not do twice, and not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.run.first_task import _use_bytecode

if TYPE_CHECKING:
    from pathlib import Path

LEAVING = """
import atexit, sys, threading, time
from gpuprep.run import leave
class Made:
    def __del__(self):
        print("taken apart")
made = Made()
atexit.register(print, "what was registered")
threading.Thread(target=time.sleep, args=(60,)).start()
print("said", end=" ")
print("told", file=sys.stderr)
leave(3)
"""


def test_a_program_ends_at_once_with_all_that_it_said() -> None:
    """Neither what it made nor a thread that hangs is waited for."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVING], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        3,
        "said what was registered\n",
        "told\n",
    )


def test_a_program_whose_reader_is_gone_ends_all_the_same() -> None:
    program = "from gpuprep.run import leave; print('said', end=''); leave(3)"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(30) == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")  # noqa: PTH110
def test_a_full_disk_is_no_bug_of_ours() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "gpuprep", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "No space left on device; make room" in done.stderr
    assert "bug" not in done.stderr


class Loader:
    """Loads as Ansible's collection loader does: compiles each time."""

    compiled = 0

    def __init__(self, name: str, path: str | None) -> None:
        self._fullname, self._source_code_path = name, path

    def get_code(self, fullname: str) -> Any:
        type(self).compiled += 1
        return compile(f"loaded = {fullname!r}", "<string>", "exec")


def test_pythons_of_collections_are_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(Loader, "compiled", 0)
    monkeypatch.setattr(Loader, "get_code", Loader.get_code)
    _use_bytecode(SimpleNamespace(_AnsibleCollectionPkgLoaderBase=Loader))
    path = tmp_path / "one.py"

    def loaded(text: str) -> Any:
        path.write_text(text)
        found: dict[str, Any] = {"__name__": "a.one"}
        exec(Loader("a.one", str(path)).get_code("a.one"), found)  # noqa: S102 - as loaders do
        return found["value"], found["where"].__code__.co_filename

    assert loaded("value = 1\ndef where(): ...\n") == (1, str(path))
    assert [kept.suffix for kept in (tmp_path / "__pycache__").iterdir()] == [".pyc"]
    assert loaded("value = 234\ndef where(): ...\n") == (234, str(path))
    assert Loader.compiled == 0
    # What is made up, and what has another name, is none of Python's business.
    for loader, name in ((Loader("a", None), "a"), (Loader("a.one", str(path)), "a.two")):
        loader.get_code(name)
    assert Loader.compiled == 2


def test_an_ansible_that_loads_otherwise_is_left_alone() -> None:
    _use_bytecode(SimpleNamespace())
    _use_bytecode(SimpleNamespace(_AnsibleCollectionPkgLoaderBase=object))
    with pytest.raises(AttributeError):
        _ = object.get_code  # type: ignore[attr-defined]
