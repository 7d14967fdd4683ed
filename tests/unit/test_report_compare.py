"""Two results side by side: what is different, and nothing else."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from report_cases import fleet

from gpuprep import cli
from gpuprep.report.compare import against, change_in_words
from gpuprep.report.schema import validate

if TYPE_CHECKING:
    from pathlib import Path


def result(**hosts: dict[str, Any]) -> dict[str, Any]:
    named = {name: {"name": name, "state": "ready", **more} for name, more in hosts.items()}
    return {"schema": 1, "verb": "verify", "started": "2026-11-20T02:00:00+00:00", "hosts": named}


def changed(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    compared = against(new, old)
    validate(compared)
    return [change_in_words(change) for change in compared["changes"]]


def check(status: str) -> dict[str, Any]:
    return {"checks": [{"id": "xid.clean", "status": status, "detail": "x"}]}


def facts(*gpus: str) -> dict[str, Any]:
    return {"facts": {"gpus": list(gpus), "os": "o"}}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({}, {}, []),
        ({}, {"state": "failed"}, ["a: state ready → failed"]),
        ({"code": "E_X"}, {"code": "E_Y"}, ["a: code E_X → E_Y"]),
        ({"versions": {"driver": "570"}}, {"versions": {"driver": "580"}}, ["a: driver 570 → 580"]),
        ({"versions": {"cuda": "13.0"}}, {}, ["a: cuda 13.0 → none"]),
        (check("passed"), check("failed"), ["a: xid.clean passed → failed"]),
        (check("warned"), check("passed"), ["a: xid.clean warned → passed"]),
        (check("skipped"), check("passed"), []),
        (
            {"facts": {"gpus": ["g", "g"], "os": "o"}},
            {"facts": {"gpus": ["g"], "os": "o"}},
            ["a: gpus g, g → g"],
        ),
        ({"facts": {"gpus": ["g"], "os": "o"}}, {"facts": None}, []),
    ],
)
def test_what_changed_on_a_host(old: dict[str, Any], new: dict[str, Any], told: list[str]) -> None:
    assert changed(result(a=new), result(a=old)) == told


def test_hosts_come_and_go_in_the_order_of_the_new_result() -> None:
    told = changed(result(c={}, a={"state": "failed"}), result(a={}, b={"state": "refused"}))
    assert told == ["c: host none → ready", "a: state ready → failed", "b: host refused → none"]


def test_what_was_run_differently_comes_first() -> None:
    old, new = result(a={}), result(a={"state": "failed"})
    old["run"] = {"id": "1", "gpuprep": "0.1.0", "settings": {"gpuprep_channel": "lts"}}
    new["run"] = {"id": "2", "gpuprep": "0.2.0", "settings": {"gpuprep_batch": 2}}
    assert changed(new, old) == [
        "gpuprep 0.1.0 → 0.2.0",
        "gpuprep_channel lts → none",
        "gpuprep_batch none → 2",
        "a: state ready → failed",
    ]


@pytest.mark.parametrize(("ending", "begins"), [("html", "<!doctype"), ("md", "# gpuprep")])
def test_a_report_against_another_says_what_changed(
    tmp_path: Path, ending: str, begins: str
) -> None:
    old = fleet(5)
    new = copy.deepcopy(old)
    first = next(iter(new["hosts"].values()))
    first["versions"]["driver"] = "599.1.2"
    for name, data in (("old", old), ("new", new)):
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    target = tmp_path / f"out.{ending}"
    command = ["report", str(tmp_path / "new.json"), "--to", str(target)]
    assert cli.run([*command, "--against", str(tmp_path / "old.json")]) == 0
    text = target.read_text().replace("\\", "")
    assert text.startswith(begins)
    assert "Changes since 2026-11-21 02:00 UTC" in text
    assert f"{first['name']}: driver 580.95.05 → 599.1.2" in text
    assert cli.run(command) == 0
    assert "Changes since" not in target.read_text()


def test_against_something_else_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = fleet(1)
    (tmp_path / "new.json").write_text(json.dumps(new))
    broken = result(**{next(iter(new["hosts"])): {"checks": [{"x": 1}]}})
    for name, text in (
        ("no.json", None),
        ("list.json", "[]"),
        ("other.json", '{"hosts": 3}'),
        ("checks.json", json.dumps(broken)),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        command = ["report", str(tmp_path / "new.json"), "--against", str(tmp_path / name)]
        assert cli.run(command) == 64
        assert "gpuprep: " in capsys.readouterr().err
