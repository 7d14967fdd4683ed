"""Ansible's table of moved plugins: read once, and the same from then on."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gpuprep.run import routes
from gpuprep.run.connections import LINK

if TYPE_CHECKING:
    from pathlib import Path

PLACE = ("ansible.builtin", "runtime.yml")


class Reader:
    """One that counts what it is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, text: Any, _place: Any) -> Any:
        self.asked += 1
        return yaml.load(text, yaml.CSafeLoader)


def table(size: int = 4000, value: object = "there.too") -> str:
    return yaml.safe_dump({f"plugin{number}": {"redirect": value} for number in range(size)})


def test_a_table_is_read_once_and_another_one_for_itself(tmp_path: Path) -> None:
    reader = Reader()
    for text in (table(), table(), table().encode(), table(4001)):
        assert routes.through(tmp_path, reader)(text, PLACE) == yaml.load(text, yaml.CSafeLoader)
    assert reader.asked == 2
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    "text", [table(3), table(value=dt.date(2026, 1, 1)), table().replace("plugin1:", "1:")]
)
def test_what_is_small_or_would_change_is_not_kept(tmp_path: Path, text: str) -> None:
    assert routes.through(tmp_path, Reader())(text, PLACE) == yaml.load(text, yaml.CSafeLoader)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_one_is_made_anew(tmp_path: Path) -> None:
    routes.through(tmp_path, Reader())(table(), PLACE)
    (path,) = tmp_path.iterdir()
    path.write_text("{")
    reader = Reader()
    routes.through(tmp_path, reader)(table(), PLACE)
    routes.through(tmp_path, reader)(table(), PLACE)
    assert reader.asked == 1


def test_ansibles_collection_loader_reads_by_what_is_put_in_its_place() -> None:
    from ansible.utils.collection_loader import _collection_finder as finder  # noqa: PLC0415

    assert callable(finder._meta_yml_to_dict)
    assert "_meta_yml_to_dict" in finder._AnsibleCollectionPkgLoader._load_module.__code__.co_names


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_only_a_folder_closed_to_others_is_used(tmp_path: Path, mode: int) -> None:
    base, run_dir = tmp_path / "base", tmp_path / "run"
    (base / "ssh").mkdir(parents=True)
    base.chmod(mode)
    run_dir.mkdir()
    reader = Reader()
    finder = SimpleNamespace(_meta_yml_to_dict=reader)
    routes.keep(run_dir, finder)  # of a run that leaves nothing behind
    assert finder._meta_yml_to_dict is reader
    (run_dir / LINK).symlink_to(base / "ssh")
    routes.keep(run_dir, finder)
    assert (finder._meta_yml_to_dict is reader) is (mode != 0o700)
