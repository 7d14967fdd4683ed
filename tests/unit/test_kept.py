"""What YAML means is kept between starts, for this user alone, and never instead of the truth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gpuprep import kept
from gpuprep.layout import collection_root, package_root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT = b"a: 1\nb: [x, y]\n"
MEANT = {"a": 1, "b": ["x", "y"]}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept._folder.cache_clear()
    yield tmp_path / "gpuprep/parsed"
    kept._folder.cache_clear()


class Loader:
    """Parses, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, text: bytes) -> Any:
        self.times += 1
        return yaml.safe_load(text)


def test_a_text_is_parsed_once(cache: Path) -> None:
    load = Loader()
    assert kept.parsed(TEXT, load) == kept.parsed(TEXT, load) == MEANT
    assert load.times == 1
    assert kept.parsed(TEXT.replace(b"1", b"2"), load) == {**MEANT, "a": 2}
    assert load.times == 2
    assert cache.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("left", [b"", b'{"a": ', b"\xff"])
def test_a_damaged_file_is_parsed_anew(cache: Path, left: bytes) -> None:
    load = Loader()
    kept.parsed(TEXT, load)
    (file,) = cache.iterdir()
    file.write_bytes(left)
    assert kept.parsed(TEXT, load) == MEANT
    assert load.times == 2
    assert json.loads(file.read_text()) == MEANT


@pytest.mark.parametrize("text", [b"1: a\n", b"day: 2026-11-30\n", b"set: !!set {a}\n"])
def test_what_json_cannot_say_is_not_kept(cache: Path, text: bytes) -> None:
    load = Loader()
    assert kept.parsed(text, load) == kept.parsed(text, load) == yaml.safe_load(text)
    assert load.times == 2
    assert list(cache.iterdir()) == []


def test_a_directory_that_others_can_enter_is_not_used(cache: Path) -> None:
    cache.mkdir(parents=True, mode=0o755)
    load = Loader()
    assert kept.parsed(TEXT, load) == kept.parsed(TEXT, load) == MEANT
    assert (load.times, list(cache.iterdir())) == (2, [])


def test_the_directory_does_not_grow(cache: Path) -> None:
    for number in range(3 * kept._MOST):
        kept.parsed(b"a: %d\n" % number, Loader())
    assert len(list(cache.iterdir())) <= kept._MOST


def test_all_of_our_own_files_can_be_kept(cache: Path) -> None:
    ours = [
        *(path for path in package_root().rglob("*.yml") if "_collections" not in path.parts),
        *collection_root().glob("roles/*/meta/argument_specs.yml"),
    ]
    assert len(ours) > 8
    for path in ours:
        assert kept.own(path) == yaml.load(path.read_bytes(), yaml.CSafeLoader)
    assert len(list(cache.iterdir())) == len({path.read_bytes() for path in ours})
