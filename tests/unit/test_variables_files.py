"""Files of variables that are none: told by their name, as what is wrong with what was typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import gpuprep
from gpuprep.errors import ConfigError
from gpuprep.run import environment as engine
from gpuprep.run.ansible_errors import engine_error

STUB = Path(__file__).parent / "runner_stub"


@pytest.fixture(autouse=True)
def stub_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "collections_root", lambda: STUB)


EMPTY = ("", "---\n", "# later\n", "---\n# later\n\n")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        *((text, "nothing: the file is empty") for text in EMPTY),
        ("- a\n", "a list"),
        ("[a]\n", "a list"),
        ("just text\n", "something else"),
    ],
)
def test_a_file_of_variables_that_is_no_mapping_is_named(
    content: str, found: str, tmp_path: Path
) -> None:
    """Ansible refuses it too, an empty one among them, but blames the inventory."""
    path = tmp_path / "v.yml"
    path.write_text(content)
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    with pytest.raises(ConfigError) as told:
        gpuprep.plan({"all": {"hosts": {"a": local}}}, variables=[path])
    assert str(told.value) == (
        f"variables file {path}: expected a mapping (name: value), found {found}"
    )


def test_it_is_told_from_an_inventory_in_the_words_of_every_ansible() -> None:
    output = (
        "[WARNING]:  * Failed to parse /i/hosts with auto plugin: Invalid extra vars data\n"
        "supplied. '@/v.yml' could not be made into a dictionary\n"
        "ERROR! Completely failed to parse inventory source /i/hosts\n"
    )
    for code in (1, 4, 5):
        error = engine_error(code, output, None)
        assert type(error) is ConfigError
        assert "variables file /v.yml: expected a mapping" in str(error)
