"""From Ansible variables to settings: defaults from one home, contradictions named."""

from dataclasses import replace
from typing import Any

import pytest

from gpuprep.components import COMPONENTS, NAMES
from gpuprep.errors import ConfigError
from gpuprep.model import DesiredStack, Environment, Settings
from gpuprep.planner.settings import (
    all_options,
    environment_files,
    settings_from,
    unknown_variables,
)


def test_who_sets_nothing_gets_everything_automatically() -> None:
    made = settings_from({})
    assert replace(made, values={}, stack=replace(made.stack, components=None)) == Settings()
    assert made.stack.components == NAMES
    assert Settings().stack == DesiredStack()


@pytest.mark.parametrize(
    ("variable", "value", "field", "becomes"),
    [
        ("gpu_driver_branch", "570", "branch", "570"),
        ("gpu_driver_version", "580.95.05", "version", "580.95.05"),
        ("gpu_driver_flavour", "open", "flavour", "open"),
        ("gpu_driver_source", "distro", "source", "distro"),
        ("gpu_driver_profile", "compute", "profile", "compute"),
        ("gpuprep_channel", "pb", "channel", "pb"),
        ("cuda_toolkit_versions", ["12.9", "13.0"], "cuda", ("12.9", "13.0")),
        ("cuda_toolkit_versions", ["auto"], "cuda", ()),
        ("cuda_toolkit_default", "12.9", "cuda_default", "12.9"),
        ("cuda_toolkit_forward_compat", True, "forward_compat", True),
        ("cudnn_version", "8", "cudnn", "8"),
        ("conda_installer_version", "25.1.0-0", "conda_version", "25.1.0-0"),
        ("conda_installer_sha256", "ab", "conda_sha256", "ab"),
        ("conda_mirror", "http://m", "conda_mirror", "http://m"),
        ("gpuprep_mirror", "http://m", "mirror", "http://m"),
        ("gpuprep_mirror_fingerprint", "ab cd", "mirror_fingerprint", "ABCD"),
        ("gpuprep_allow_unknown_gpu", True, "allow_unknown_gpu", True),
        ("gpuprep_as_of", "2030-01-01", "as_of", "2030-01-01"),
    ],
)
def test_each_variable_reaches_the_resolver(
    variable: str, value: Any, field: str, becomes: Any
) -> None:
    assert variable in all_options()
    assert getattr(settings_from({variable: value}).stack, field) == becomes
    assert getattr(DesiredStack(), field) != becomes or variable == "cuda_toolkit_versions"


@pytest.mark.parametrize(
    ("variable", "value", "field", "becomes"),
    [
        ("gpu_driver_kernel", "6.1.0-40-amd64", "kernel", "6.1.0-40-amd64"),
        ("gpu_driver_kernel", "running", "kernel", None),
        ("gpu_driver_branch", "keep", "keep_driver", True),
        ("gpu_driver_persistence", False, "persistence", False),
        ("gpu_driver_reboot_allowed", True, "reboot_allowed", True),
        ("gpuprep_short_cut", False, "short_cut", False),
        ("conda_prefix", "/srv/conda", "conda_prefix", "/srv/conda"),
        ("conda_channels", ["bioconda"], "conda_channels", ("bioconda",)),
        ("conda_channel_alias", "http://m", "conda_channel_alias", "http://m"),
        ("oci_shape", "VM.X", "shape", "VM.X"),
    ],
)
def test_each_variable_reaches_the_planner(
    variable: str, value: Any, field: str, becomes: Any
) -> None:
    assert getattr(settings_from({variable: value}), field) == becomes


@pytest.mark.parametrize(
    ("variable", "value", "component"),
    [
        ("gpu_driver_branch", "none", "driver"),
        ("cuda_toolkit_versions", ["none"], "cuda"),
        ("cudnn_version", "none", "cudnn"),
        ("conda_installer_version", "none", "conda"),
    ],
)
def test_none_takes_a_component_out(variable: str, value: Any, component: str) -> None:
    assert set(NAMES) - set(settings_from({variable: value}).stack.components or ()) == {component}


# --- environments -------------------------------------------------------------------------------


def test_the_three_kinds_of_environments() -> None:
    entries = [
        {"name": "a", "packages": ["python=3.12", "numpy"]},
        {"name": "b", "file": "env.yml"},
        {"name": "c", "lock": "lock.txt"},
    ]
    variables = {"conda_environments": entries}
    assert environment_files(variables) == ["env.yml", "lock.txt"]
    files = {"env.yml": "dependencies: [numpy]\n", "lock.txt": "@EXPLICIT\n"}
    assert settings_from(variables, files=files).environments == (
        Environment("a", "packages", "python=3.12\nnumpy"),
        Environment("b", "yaml", "dependencies: [numpy]\n"),
        Environment("c", "explicit", "@EXPLICIT\n"),
    )


def test_a_digest_tells_specifications_apart() -> None:
    one = Environment("a", "packages", "numpy")
    assert one.digest == Environment("b", "packages", "numpy").digest
    assert one.digest != Environment("a", "packages", "numpy=2").digest
    assert one.digest != Environment("a", "yaml", "numpy").digest


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"name": "a"}, "none of them"),
        ({"name": "a", "packages": ["x"], "lock": "l"}, "packages and lock"),
        ({"name": "a", "file": "gone.yml"}, "'gone.yml' of 'a' is not there"),
    ],
)
def test_an_environment_needs_exactly_one_specification(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings_from({"conda_environments": [entry]})


def test_anacondas_defaults_need_the_terms_accepted() -> None:
    channels = {"conda_channels": ["conda-forge", "defaults"]}
    with pytest.raises(ConfigError, match="conda_accept_anaconda_terms"):
        settings_from(channels)
    accepted = settings_from({**channels, "conda_accept_anaconda_terms": True})
    assert accepted.conda_channels == ("conda-forge", "defaults")


# --- slips of the pen -----------------------------------------------------------------------------


def test_facts_that_roles_leave_are_no_misspelt_variables() -> None:
    facts = [fact for component in COMPONENTS for fact in component.exports]
    assert "gpu_driver_reboot_required" in facts
    assert len(facts) > len(NAMES)
    assert unknown_variables(facts) == {}


def test_a_misspelt_variable_is_named_with_the_likely_one() -> None:
    names = ["gpu_driver_brnch", "conda_whatever_else_x", "gpu_driver_branch", "unrelated"]
    assert unknown_variables(names) == {
        "gpu_driver_brnch": "gpu_driver_branch",
        "conda_whatever_else_x": None,
    }
