"""Options and profile: checked before anything is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.errors import ConfigError
from gpuprep.oci import Options, profiles
from gpuprep.oci.options import ENVIRONMENT, from_environment, reject_unknown

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workers": 0}, "workers: must be at least 1"),
        ({"workers": True}, "workers: needs a whole number"),
        ({"gpu_only": "no"}, "gpu_only: needs true or false, not str"),
        ({"regions": {"a": 1}}, "regions: needs a list of strings"),
        ({"shapes": [1]}, "shapes: 1 is no string"),
        ({"hostnames": []}, "hostnames: the list is empty"),
        ({"auth_type": "magic"}, "auth_type: 'magic' is not one of auto, api_key"),
        ({"filters": {"tags": {}}}, "filters: 'tags' is not one of display_name"),
        ({"filters": []}, "filters: needs a mapping"),
        ({"lifecycle_states": ["running"]}, "lifecycle_states: 'running' is not one of"),
        ({"hostvars_prefix": "1-"}, "cannot begin a variable name"),
        ({"compartments": [{"compartment_name": "gpu"}]}, "`- gpu`"),
        ({"region_": "x"}, "unknown option region_; did you mean region?"),
        ({"hostname_format": "fqdn"}, "here use hostnames and ansible_host_from"),
    ],
)
def test_wrong_options_are_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Options.from_mapping(given)
    assert words in str(caught.value)


def test_absent_and_null_options_mean_the_default() -> None:
    assert Options.from_mapping({"regions": None, "ssh_user": None}) == Options()


def test_a_single_string_is_a_list_of_one() -> None:
    assert Options.from_mapping({"shapes": "*H100*"}).shapes == ("*H100*",)


def test_all_unknown_options_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"one.*; .*two"):
        reject_unknown({"one": 1, "two": 2})


def test_a_passphrase_is_not_shown() -> None:
    options = Options.from_mapping({"api_user_key_pass_phrase": "MARKER"})
    assert "MARKER" not in repr(options)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, set()),
        ({"ansible_host_from": ["public_ip", "private_ip"]}, {"public_ip"}),
        ({"hostnames": ["ipv6"]}, {"ipv6"}),
        ({"hostnames": ["display_name", "public_ip"]}, set()),
        ({"resolve_public_ips": "always"}, {"public_ip"}),
        ({"hostnames": ["ipv6"], "resolve_ipv6": "never"}, set()),
    ],
)
def test_addresses_are_looked_up_only_when_preferred(
    given: dict[str, Any], wanted: set[str]
) -> None:
    options = Options.from_mapping(given)
    assert {fact for fact in ("public_ip", "ipv6") if options.wants(fact)} == wanted


def test_the_official_collections_variables_come_before_the_clis() -> None:
    environ = {name: name for names in ENVIRONMENT.values() for name in names}
    found = from_environment(environ)
    assert found == {option: names[0] for option, names in ENVIRONMENT.items()}
    assert from_environment({"OCI_CLI_PROFILE": "x"}) == {"config_profile": "x"}


def write(folder: Path, text: str) -> Path:
    path = folder / "config"
    path.write_text(text)
    return path


def test_a_profile_inherits_the_default_and_options_override_it(tmp_path: Path) -> None:
    path = write(tmp_path, "[DEFAULT]\nregion=a\nuser=u\n[GPU]\nregion=b\n")
    options = Options(config_file=str(path), config_profile="GPU", api_user="other")
    profile = profiles.load(options)
    assert (profile.values["region"], profile.values["user"]) == ("b", "other")


def test_an_unknown_profile_lists_those_there(tmp_path: Path) -> None:
    path = write(tmp_path, "[DEFAULT]\nuser=u\n[GPU]\n")
    with pytest.raises(ConfigError, match="no profile CPU; it has: DEFAULT, GPU"):
        profiles.load(Options(config_file=str(path), config_profile="CPU"))


def test_a_broken_file_is_named_and_not_quoted(tmp_path: Path) -> None:
    path = write(tmp_path, "[DEFAULT]\npass_phrase MARKER\nMARKER\n")
    with pytest.raises(ConfigError, match="not in the INI format") as caught:
        profiles.load(Options(config_file=str(path)))
    assert "MARKER" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_percent_signs_are_no_interpolation(tmp_path: Path) -> None:
    path = write(tmp_path, "[DEFAULT]\nkey_file=50%(x)s\n")
    assert profiles.load(Options(config_file=str(path))).values["key_file"] == "50%(x)s"
