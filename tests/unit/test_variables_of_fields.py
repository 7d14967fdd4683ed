"""Messages name the variable that really sets a field."""

from dataclasses import fields
from typing import Any

import pytest

from gpuprep.model import DesiredStack
from gpuprep.model.variables import VARIABLE_OF, variable_of
from gpuprep.planner.settings import all_options, settings_from

EXAMPLES: dict[str, Any] = {
    "components": ["cuda"],
    "source": "distro",
    "channel": "pb",
    "branch": "570",
    "version": "580.95.05",
    "flavour": "open",
    "profile": "compute",
    "cuda": ["12.8"],
    "cuda_default": "12.8",
    "cudnn": "9",
    "forward_compat": True,
    "allow_unknown_gpu": True,
    "as_of": "2026-01-01",
    "mirror": "https://mirror.example",
    "mirror_fingerprint": "A" * 40,
    "conda_version": "25.1.1-0",
    "conda_mirror": "https://conda.example",
    "conda_sha256": "a" * 64,
    "faceswap_variant": "cu126",
    "faceswap_backend": "cpu",
    "faceswap_python": "3.12",
    "faceswap_commit": "a" * 40,
}
FILLED_IN_LATER = {"keep_driver", "locked"}  # from the observation, from the lock file
WITHOUT_VARIABLE = {"allow_eol"}


def test_every_field_has_its_variable_or_its_reason() -> None:
    names = {field.name for field in fields(DesiredStack)}
    assert names == {*VARIABLE_OF, *WITHOUT_VARIABLE}
    assert names == {*EXAMPLES, *FILLED_IN_LATER, *WITHOUT_VARIABLE}
    assert set(VARIABLE_OF.values()) <= set(all_options())
    assert variable_of("allow_eol") == "allow_eol"


@pytest.mark.parametrize("field", EXAMPLES)
def test_the_variable_sets_this_field_and_no_other(field: str) -> None:
    before = settings_from({}).stack
    after = settings_from({VARIABLE_OF[field]: EXAMPLES[field]}).stack
    changed = {
        one.name for one in fields(before) if getattr(before, one.name) != getattr(after, one.name)
    }
    assert changed == {field}


@pytest.mark.parametrize("value", ["keep"])
def test_keep_is_a_branch(value: str) -> None:
    assert settings_from({VARIABLE_OF["keep_driver"]: value}).keep_driver
