"""What variables may hold: every one refuses what it cannot mean, in words that name it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from gpuprep.errors import ConfigError
from gpuprep.planner.inputs import checked
from gpuprep.planner.settings import all_options

OPTIONS = all_options()
# Of a wrong type for each type of an argument specification.
NONSENSE: dict[str, tuple[Any, ...]] = {
    "str": (
        None,
        [],
        ["x"],
        {},
        {"a": 1},
        True,
        1.5,
        b"x",
        object(),
        "a\nb",
        "a\x00",
        "a\x1b[2J",
        "\x85",
    ),
    "path": (None, [], {}, False, 3, "a\nb", "a\x00b"),
    "bool": (None, "", "maybe", [], {}, 2, -1, 1.0, "truee"),
    "int": (None, "", "x", "1.5", 1.5, 60.0, True, [], [1], {}, -1, "-1", 10**30, "9" * 5000),
    "list": (None, {}, {"a": 1}, True, [None], [[]], [{}], [True], 7.5j),
    "raw": (None,),
}
NUMBERS_WILL_DO = {  # a version without its quotes
    "gpu_driver_branch",
    "gpu_driver_version",
    "cuda_toolkit_default",
    "cudnn_version",
    "conda_installer_version",
}


def cases() -> list[tuple[str, Any]]:
    return [
        (name, value)
        for name, option in OPTIONS.items()
        for value in NONSENSE[option["type"]]
        if not (isinstance(value, float) and name in NUMBERS_WILL_DO)
    ]


@pytest.mark.parametrize(
    ("name", "value"), cases(), ids=lambda value: repr(value).partition(" at 0x")[0][:30]
)
def test_nonsense_is_told_for_every_variable(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        checked({name: value})
    assert str(caught.value).startswith(name)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_every_default_is_accepted_as_it_is() -> None:
    defaults = {name: option["default"] for name, option in OPTIONS.items()}
    assert checked(defaults) == defaults


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("conda_prefix", path)
            for path in (
                "", "/", "//", "opt/conda", "../x", "/srv/../etc", "/srv/./x", "~/conda", "/opt",
                "/etc/", "//usr", "/proc/self", "/dev/shm/x", "/opt/my conda", "/opt/{{ x }}",
                "/opt/$(id)", "/opt/ü",
            )
        ),
        *(
            (name, url)
            for name in ("gpuprep_mirror", "conda_mirror", "conda_channel_alias")
            for url in (
                "mirror", "//mirror/x", "ftp://h/x", "http://", "http:///x", "http://h/a b",
                "http://h/\tx", "http://h:port/", "http://h/?x=1", "http://h/#x", "http://[::1/x",
                "javascript:x", "http://h/\u2028x", "http://hö/x", 'http://h/"x', "-http://h",
                "http://bot:a%20b@h/", "http://bot:a%0Ab@h/",
            )
        ),
        ("gpuprep_mirror", "file:///srv/mirror"),
        ("gpuprep_mirror_fingerprint", "A" * 39),
        ("gpuprep_mirror_fingerprint", "G" * 40),
        ("gpuprep_as_of", "2026-13-01"),
        ("gpuprep_as_of", "yesterday"),
        ("gpuprep_hosts", " "),
        ("gpuprep_components", ["driver", "drivr"]),
        ("gpuprep_components", "driver,nccl"),
        ("gpuprep_channel", "LTS"),
        ("gpuprep_verify_tier", ""),
        ("gpuprep_max_fail_percentage", 101),
        ("gpuprep_observe_timeout", 0),
        ("gpuprep_observe_timeout", 86401),
        ("gpu_driver_reboot_timeout", 0),
        ("gpu_driver_branch", "580.95"),
        ("gpu_driver_branch", "latest"),
        ("gpu_driver_branch", 580.5),
        ("gpu_driver_version", "580"),
        ("gpu_driver_version", "580.95.05 "),
        ("gpu_driver_version", "580.*"),
        ("gpu_driver_kernel", ""),
        ("gpu_driver_kernel", ".."),
        ("gpu_driver_kernel", "../6.1"),
        ("gpu_driver_kernel", "-6.1"),
        ("gpu_driver_boot_time_command", ""),
        ("cuda_toolkit_versions", []),
        ("cuda_toolkit_versions", ""),
        ("cuda_toolkit_versions", ["none", "12.8"]),
        ("cuda_toolkit_versions", ["12.8", "auto"]),
        ("cuda_toolkit_versions", ["12-8"]),
        ("cuda_toolkit_default", ""),
        ("cuda_toolkit_default", float("nan")),
        ("cudnn_version", "9.x"),
        ("conda_installer_version", "../x"),
        ("conda_installer_sha256", "ab"),
        ("conda_channels", []),
        ("conda_channels", ["-c"]),
        ("conda_channels", ["conda forge"]),
        ("conda_channels", [""]),
        ("conda_channels", ["x:"]),
        ("conda_channels", ["&x"]),
        ("oci_shape", ["VM.GPU"]),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_values_that_a_variable_cannot_mean(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}: "):
        checked({name: value})


@pytest.mark.parametrize(
    "entries",
    [
        *(
            [{"name": name, "packages": ["numpy"]}]
            for name in (
                "../../../srv/x", "", "/abs", "-p", "base", "root", "Base", "..", ".hidden", "a/b",
                "a b", "a:b", "ä", "x" * 101, 3, None, ["a"],
            )
        ),
        [{"name": "a", "packages": ["x"]}, {"name": "a", "file": "e.yml"}],
        [{"packages": ["x"]}],
        [{"name": "a", "packages": "python=3.12"}],
        [{"name": "a", "packages": []}],
        [{"name": "a", "packages": [3.12]}],
        [{"name": "a", "packages": [""]}],
        [{"name": "a", "packages": ["--file=/etc/shadow"]}],
        [{"name": "a", "packages": ["numpy\nscipy"]}],
        [{"name": "a", "pakages": ["x"]}],
        [{"name": "a", "file": 3}],
        [{"name": "a", "lock": ["x"]}],
        ["a"],
        "a",
        {"name": "a"},
    ],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_environments_that_cannot_be(entries: Any) -> None:
    with pytest.raises(ConfigError, match=r"^conda_environments"):
        checked({"conda_environments": entries})


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("gpu_driver_branch", 580, "580"),
        ("cuda_toolkit_versions", [12.8, "13.0"], ["12.8", "13.0"]),
        ("cuda_toolkit_versions", 12.8, ["12.8"]),
        ("cuda_toolkit_versions", "12.8, 13.0", ["12.8", "13.0"]),
        ("cuda_toolkit_default", 13.0, "13.0"),
        ("cudnn_version", 9, "9"),
        ("gpuprep_as_of", date(2026, 11, 20), "2026-11-20"),
        ("gpuprep_mirror_fingerprint", "ABCD " * 10, "ABCD " * 10),
        ("gpuprep_short_cut", "No", False),
        ("gpuprep_short_cut", 1, True),
        ("gpuprep_lock_timeout", "30", 30),
        ("gpuprep_components", "driver,cuda", ["driver", "cuda"]),
        ("gpuprep_components", "", []),
        ("conda_prefix", "/opt//conda/", "/opt/conda"),
        ("conda_mirror", "http://bot:X@mirror:8080/conda", "http://bot:X@mirror:8080/conda"),
        ("conda_channel_alias", "file:///srv/channels", "file:///srv/channels"),
        ("conda_channels", ["a", "https://h/t/x/b", "/srv/c"], ["a", "https://h/t/x/b", "/srv/c"]),
        (
            "conda_environments",
            [{"name": "a", "packages": ["numpy>=1,<2", "conda-forge::x"]}],
            [
                {
                    "name": "a",
                    "packages": ["numpy>=1,<2", "conda-forge::x"],
                    "file": None,
                    "lock": None,
                }
            ],
        ),
    ],
)
def test_what_ansible_and_yaml_make_of_a_good_value_is_understood(
    name: str, value: Any, becomes: Any
) -> None:
    assert checked({name: value}) == {name: becomes}


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"conda_prefix: .*; gpu_driver_branch: "):
        checked({"conda_prefix": 3, "gpuprep_channel": "pb", "gpu_driver_branch": []})


def test_a_value_that_may_hold_a_password_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        checked({"gpuprep_mirror": "ftp://bot:Sesame@mirror", "conda_channels": ["x y Sesame"]})
    assert "Sesame" not in str(caught.value)
