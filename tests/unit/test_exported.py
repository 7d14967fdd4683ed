"""The package's public face."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types

import pytest

import gpuprep
from gpuprep.layout import package_root


def test_all_names_everything_public_sorted() -> None:
    placed = [name for names in gpuprep._PLACES.values() for name in names]
    assert sorted([*placed, "__version__"]) == gpuprep.__all__ == sorted(gpuprep.__all__)
    assert set(gpuprep.__all__) <= set(dir(gpuprep))
    for name in gpuprep.__all__:
        assert not isinstance(getattr(gpuprep, name), types.ModuleType)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        gpuprep.nonsense  # noqa: B018 - it is asked for


def test_the_verb_verify_is_not_hidden_by_the_package_of_its_name() -> None:
    program = (
        "import gpuprep, gpuprep.ladder.checks; from gpuprep.ladder import evaluate; "
        "assert callable(gpuprep.verify) and callable(evaluate.evaluate)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_exported_class_and_function_is_documented() -> None:
    for name in gpuprep.__all__:
        value = getattr(gpuprep, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name


def test_verbs_take_the_promised_arguments() -> None:
    shared = ["inventory", "limit", "variables", "on_event", "cancel", "options"]
    promised = {
        "plan": shared,
        "status": shared,
        "apply": ["inventory", "limit", "check", "variables", "on_event", "cancel", "options"],
        "verify": ["inventory", "tier", "sample", *shared[1:]],
    }
    for verb, arguments in promised.items():
        assert list(inspect.signature(getattr(gpuprep, verb)).parameters) == arguments


def test_only_the_runner_imports_ansible_runner() -> None:
    importers = {
        path.name
        for path in package_root().rglob("*.py")
        if "_collections" not in path.parts
        and any(
            line.strip().startswith(("import ansible_runner", "from ansible_runner"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    }
    assert importers == {"runner.py"}
