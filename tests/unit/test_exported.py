"""The package's public face."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import inspect
import subprocess
import sys
import types
import typing
from typing import TYPE_CHECKING, Any

import pytest

import gpuprep
from gpuprep.layout import package_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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


FUNCTIONS = [
    value for name in gpuprep.__all__ if inspect.isfunction(value := getattr(gpuprep, name))
]
CLASSES = [value for name in gpuprep.__all__ if inspect.isclass(value := getattr(gpuprep, name))]


def _annotated(public: Any) -> Iterator[Any]:
    """Give what has annotations: a function; a class of ours, its bases and its public methods."""
    if inspect.isfunction(public):
        yield public
        return
    for base in public.__mro__:
        if base.__module__.partition(".")[0] == "gpuprep":
            yield base
            for name, member in vars(base).items():
                found = getattr(member, "fget", None) or getattr(member, "__func__", member)
                if inspect.isfunction(found) and not name.startswith("_"):
                    yield found


def _annotations(annotated: Any) -> Iterable[object]:
    """Give its own annotations, not those of a class above it."""
    known = vars(annotated) if inspect.isclass(annotated) else {}
    own: dict[str, object] = known.get("__annotations__", {})
    return (own if inspect.isclass(annotated) else annotated.__annotations__).values()


def _names_in(annotation: object) -> Iterator[str]:
    text = getattr(annotation, "__forward_arg__", annotation)
    assert isinstance(text, str)
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "gpuprep":
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id


@pytest.mark.parametrize("public", [*FUNCTIONS, *CLASSES], ids=lambda public: public.__name__)
def test_every_type_in_a_public_signature_is_exported_and_can_be_resolved(public: Any) -> None:
    for annotated in _annotated(public):
        typing.get_type_hints(annotated)
        known = vars(sys.modules[annotated.__module__])
        for annotation in _annotations(annotated):
            for name in _names_in(annotation):
                if name in known and name != "gpuprep":
                    ours = getattr(known[name], "__module__", "").partition(".")[0] == "gpuprep"
                    assert not ours or known[name] is getattr(gpuprep, name)
                elif not hasattr(builtins, name) and name != "gpuprep":
                    assert name in gpuprep.__all__
    assert hasattr(gpuprep, public.__name__)


@pytest.mark.parametrize(
    "alias",
    ["Cancel", "EventCallback", "Flavour", "Limit", "Source", "Tags", "Transport", "Variables"],
)
def test_a_type_without_a_name_of_its_own_is_exported_too(alias: str) -> None:
    """Python does not know where such a one is from."""
    used = {
        name
        for public in (*FUNCTIONS, *CLASSES)
        for annotated in _annotated(public)
        for annotation in _annotations(annotated)
        for name in _names_in(annotation)
    }
    assert alias in used
    assert alias in gpuprep.__all__
    standard = {*dir(builtins), *dir(typing), *dir(collections.abc), "Path", "os", "gpuprep"}
    assert used - standard <= set(gpuprep.__all__)


def test_asking_for_hints_is_what_imports_the_cloud_and_nothing_else() -> None:
    program = (
        "import sys, typing, gpuprep; gpuprep.apply; "
        "assert not [name for name in sys.modules if name.startswith('gpuprep.oci')]; "
        "typing.get_type_hints(gpuprep.workshop); assert 'gpuprep.oci' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


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
