"""The repository's own programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools import docs, summary

if TYPE_CHECKING:
    from pathlib import Path

SUITE = (
    '<testsuites><testsuite name="pytest" tests="{tests}" failures="{failures}" '
    'errors="{errors}" skipped="{skipped}" time="{time}"/></testsuites>'
)


def suite(path: Path, **numbers: float) -> str:
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0, "time": 0.5}
    path.write_text(SUITE.format(**(counts | numbers)))
    return str(path)


def test_summary_adds_suites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = suite(tmp_path / "a.xml", tests=10, skipped=2, time=60)
    two = suite(tmp_path / "b.xml", tests=5, time=30)
    assert summary.main(["0", one, two]) == 0
    assert " 13 passed, 2 skipped in 90.00s (0:01:30) " in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["failures", "errors"])
def test_summary_fails_with_a_test(tmp_path: Path, kind: str) -> None:
    assert summary.main(["0", suite(tmp_path / "a.xml", tests=3, **{kind: 1})]) == 1


def test_summary_fails_when_the_run_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary.main(["1", suite(tmp_path / "a.xml", tests=3)]) == 1
    assert "no test did" in capsys.readouterr().err


def test_summary_of_nothing_is_no_success(tmp_path: Path) -> None:
    assert summary.main(["0", str(tmp_path / "missing.xml")]) == 1


def test_options_become_a_table() -> None:
    table = docs.options_table(
        {
            "x_list": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "description": ["Takes C(a|b).", "See RV(x_other)."],
                "options": {"name": {"type": "str", "required": True, "description": "Its name."}},
            },
            "x_kind": {
                "type": "str",
                "choices": ["a", "b"],
                "default": "a",
                "description": "Kind.",
            },
        }
    )
    assert table.splitlines()[2:] == [
        "| `x_list` | list of dict | `[]` | Takes `a\\|b`. See `x_other`. |",
        "| `x_list.name` | str | required | Its name. |",
        "| `x_kind` | str | `a` | Kind. One of `a`, `b`. |",
    ]
