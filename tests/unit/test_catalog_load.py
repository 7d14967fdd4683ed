"""The data file: what it must hold, and how a wrong one is refused."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import jsonschema
import pytest

from gpuprep.catalog import load
from gpuprep.catalog.load import DATA_FILE, SCHEMA_FILE, read
from gpuprep.catalog.upkeep.freshness import complaints
from gpuprep.errors import CatalogError, ExitCode

if TYPE_CHECKING:
    from pathlib import Path

TEXT = DATA_FILE.read_text()
CATALOG = load()


def test_the_shipped_data_follows_the_schema() -> None:
    read(DATA_FILE, check=True)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"7.5": {cuda:', '"7.5": {bogus: 1, cuda:', ("line", "capabilities.items.7.5", "bogus")),
        ('cc: "8.6"', "cc: 8.6", ("gpus.items", "cc", "8.6")),
        ("cdf6ba43: {sha256: a", "cdf6ba43: {sha256: x", ("repositories.keys.cdf6ba43", "sha256")),
        ("cdf6ba43: {sha256: ", "cdf6ba43: {sha: ", ("line", "repositories.keys.cdf6ba43")),
        ('date: "2026-09-09"', "date: soon", ("sources.drv615.date", "soon")),
        ("arch: pascal", "arch: pascall", ("pascall", "not defined")),
        ("source: [drv615,", "source: [drv6155,", ("branches.source", "drv6155")),
        ('  checked: "2026-11-20"\n', "", ("architectures", "checked")),
        ("  source: [spackcuda, archmatrix]\n", "", ("capabilities", "source")),
        ("schema_version: 1", "schema_version: [", ("not YAML", "line")),
        ("schema_version: 1", "schema_version: 2", ("line", "schema_version")),
        ("default_channel: lts", "default_channel: xts", ("default_channel", "xts")),
    ],
)
def test_wrong_data_is_refused_with_place_and_reason(
    tmp_path: Path, old: str, new: str, words: tuple[str, ...]
) -> None:
    assert old in TEXT
    path = tmp_path / "catalog.yml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(CatalogError) as caught:
        load(path)
    assert [word for word in words if word not in str(caught.value)] == []
    assert caught.value.exit_code is ExitCode.USAGE


def test_the_line_is_that_of_the_mistake(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yml"
    path.write_text(TEXT.replace("memory_gb: 141", 'memory_gb: "141"', 1))
    line = next(i for i, text in enumerate(TEXT.splitlines(), 1) if "memory_gb: 141" in text)
    with pytest.raises(CatalogError, match=f"line {line}: gpus.items.10de:2335.memory_gb"):
        load(path)


@pytest.mark.parametrize("content", ["- a list", "\xff"])
def test_no_catalog_at_all(tmp_path: Path, content: str) -> None:
    path = tmp_path / "catalog.yml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CatalogError):
        load(path)
    with pytest.raises(CatalogError, match="cannot be read"):
        load(tmp_path / "missing.yml")


def test_the_schema_is_one_itself() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA_FILE.read_text()))


def test_every_block_of_facts_names_sources_and_a_date() -> None:
    data = read(DATA_FILE, check=False)
    bare = {"schema_version", "data_as_of", "sources", "messages"}
    assert set(data) - bare == set(CATALOG.blocks)
    used = {source for block in CATALOG.blocks.values() for source in block.sources}
    assert used <= set(CATALOG.sources)


def test_it_covers_what_oracle_offers() -> None:
    names = " ".join(shape.gpu_name for shape in CATALOG.shapes.values())
    models = "P100 V100 A10 A100 L40S H100 H200 B200 GB200 B300 GB300 6000 MI300X"
    for model in models.split():
        assert model in names
    assert {shape.vendor for shape in CATALOG.shapes.values()} == {"nvidia", "amd"}


def test_the_facts_agree_with_each_other() -> None:
    for branch in CATALOG.branches.values():
        assert branch.native_cuda in CATALOG.toolkits
        assert int(branch.native_cuda.split(".")[0]) <= branch.max_major
        assert branch.latest.startswith(f"{branch.name}.")
    for shape in CATALOG.shapes.values():
        if shape.gpu:
            gpu = CATALOG.gpus[shape.gpu]
            assert shape.arch == (gpu.host_arch or shape.arch)
            assert shape.gpu_memory_gb == gpu.memory_gb
    for toolkit in CATALOG.toolkits.values():
        assert all(release.startswith(f"{toolkit.version}.") for release in toolkit.releases)
        assert int(toolkit.version.split(".")[0]) in CATALOG.cuda.driver_floor


def test_freshness_names_ended_branches_and_old_blocks() -> None:
    found = list(complaints(CATALOG, dt.date(2026, 11, 25), 90))
    assert any("570" in complaint for complaint in found)
    assert not any("580" in complaint or "last checked" in complaint for complaint in found)
    later = list(complaints(CATALOG, dt.date(2028, 7, 1), 90))
    assert any("channel lts: driver branch 580" in complaint for complaint in later)
    assert any(complaint.startswith("gpus: last checked") for complaint in later)
