"""Facts files: every key, and what is wrong with a wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuprep.components import NAMES
from gpuprep.errors import ExitCode, FactsError
from gpuprep.model import DesiredStack, HostFacts, KernelHeaders
from gpuprep.planner.facts_file import parse_facts, read_mapping

if TYPE_CHECKING:
    from pathlib import Path

LEAST = {"gpus": ["10de:2236"], "os": "debian-12"}


def test_the_least() -> None:
    assert parse_facts(LEAST) == (
        HostFacts(("10de:2236",), "debian-12"),
        DesiredStack(components=NAMES),
    )


def test_every_key() -> None:
    facts, desired = parse_facts(
        {
            "gpus": ["10DE:2236"],
            "os": "ol-9",
            "arch": "x86_64",
            "kernel": "6.12",
            "kernel_headers": {"version": "6.12.118", "changes": {"follow_pfn": True}},
            "kernel_cc": "gcc 14.2.1",
            "system_gcc": 11,
            "shape": "BM.GPU.A10.4",
            "nvswitches": 2,
            "channel": "pb",
            "profile": "compute",
            "branch": "595",
            "version": "595.71.05",
            "flavour": "open",
            "cuda": ["13.0", "12.9"],
            "cuda_default": "12.9",
            "cudnn": "9.10.2.21",
            "keep_driver": None,
            "forward_compat": True,
            "allow_eol": False,
            "allow_unknown_gpu": True,
            "as_of": "2026-11-20",
            "source": "distro",
            "components": ["driver", "cuda"],
            "conda_version": "26.3.2-3",
            "state": {
                "runfile": True,
                "secure_boot": True,
                "mok_enrolled": True,
                "newest_kernel": "7.0",
                "newest_headers": {},
            },
        }
    )
    assert facts.gpus == ("10de:2236",)
    assert (facts.system_gcc, facts.nvswitches, facts.state.newest_kernel) == (11, 2, "7.0")
    assert facts.kernel_headers == KernelHeaders("6.12.118", {"follow_pfn": True})
    assert facts.state.newest_headers == KernelHeaders()
    assert facts.state.runfile
    assert facts.state.mok_enrolled
    assert (desired.cuda, desired.cuda_default) == (("13.0", "12.9"), "12.9")
    assert (desired.channel, desired.profile, desired.version) == ("pb", "compute", "595.71.05")
    assert desired.components == ("driver", "cuda")
    assert (desired.allow_eol, desired.forward_compat, desired.as_of) == (False, True, "2026-11-20")


@pytest.mark.parametrize(
    ("setting", "components", "cuda"),
    [
        ({"cuda": "13.0"}, NAMES, ("13.0",)),
        ({"cuda": "auto"}, NAMES, ()),
        ({"cuda": "none"}, ("driver", "cudnn", "conda"), ()),
        ({"cuda": ["auto"]}, NAMES, ()),
        ({"cuda": ["none"]}, ("driver", "cudnn", "conda"), ()),
        ({"cudnn": "none"}, ("driver", "cuda", "conda"), ()),
    ],
)
def test_auto_and_none(
    setting: dict[str, Any], components: tuple[str, ...], cuda: tuple[str, ...]
) -> None:
    _, desired = parse_facts({**LEAST, **setting})
    assert (desired.components, desired.cuda, desired.cudnn) == (components, cuda, "auto")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], ("mapping",)),
        ({"os": "debian-12"}, ("gpus", "must be given")),
        ({"gpus": []}, ("os", "must be given")),
        ({**LEAST, "gpu": "x"}, ("unknown key 'gpu'", "gpus")),
        ({**LEAST, "gpus": "10de:2236"}, ("gpus", "list of PCI ids")),
        ({**LEAST, "gpus": ["A10"]}, ("gpus", "PCI ids")),
        ({**LEAST, "cuda": 13.0}, ("cuda", "in quotes", "13.0")),
        ({**LEAST, "branch": 580}, ("branch", "in quotes")),
        ({**LEAST, "system_gcc": "11"}, ("system_gcc", "whole number")),
        ({**LEAST, "forward_compat": "yes"}, ("forward_compat", "true or false")),
        ({**LEAST, "as_of": "today"}, ("as_of", "date")),
        ({**LEAST, "keep_driver": "new"}, ("keep_driver", "version")),
        ({**LEAST, "state": {"runfil": True}}, ("state", "runfil")),
        ({**LEAST, "state": [1]}, ("state", "mapping")),
        ({**LEAST, "kernel_headers": [1]}, ("kernel_headers", "changes")),
        ({**LEAST, "kernel_headers": {"version": 6.1}}, ("kernel_headers", "version")),
        ({**LEAST, "kernel_headers": {"changes": {"x": 1}}}, ("kernel_headers", "true or false")),
        ({**LEAST, "state": {"newest_headers": {"x": {}}}}, ("state", "newest_headers")),
        ({**LEAST, "mirror_fingerprint": "abc"}, ("mirror_fingerprint", "40 hex")),
        ({**LEAST, "mirror": "mirror.example"}, ("mirror", "a URL")),
        ({**LEAST, "os": None}, ("os must be given",)),
        ({"gpus": None, "os": "debian-12"}, ("gpus must be given",)),
        ({**LEAST, "kernel": "foo"}, ("kernel", "uname -r", "'foo'")),
        ({**LEAST, "kernel": "6"}, ("kernel", "uname -r")),
        ({**LEAST, "kernel": "6.1.0 x"}, ("kernel", "uname -r")),
        ({**LEAST, "state": {"newest_kernel": "new"}}, ("newest_kernel", "uname -r")),
        ({**LEAST, "kernel_cc": "foo"}, ("kernel_cc", "compiler")),
        ({**LEAST, "system_gcc": 0}, ("system_gcc", "1 or more")),
        ({**LEAST, "branch": "580.95"}, ("branch", "a number")),
        ({**LEAST, "version": "580"}, ("version", "a full version")),
        ({**LEAST, "keep_driver": "580"}, ("keep_driver", "a full version")),
        ({**LEAST, "cuda": ["13.0", "none"]}, ("cuda", "none")),
        ({**LEAST, "as_of": "2026-02-31"}, ("as_of", "date")),
    ],
)
def test_wrong_facts_are_named(data: object, words: tuple[str, ...]) -> None:
    with pytest.raises(FactsError) as caught:
        parse_facts(data, "some.yml")
    assert [w for w in ("some.yml", *words) if w not in str(caught.value)] == []
    assert caught.value.exit_code is ExitCode.USAGE


def test_an_automatic_default_toolkit_is_the_default() -> None:
    assert parse_facts({**LEAST, "cuda_default": "auto"}) == parse_facts(LEAST)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text('{"gpus": ["10de:2236"], "os": "debian-12"}')
    assert parse_facts(read_mapping(path)) == parse_facts(LEAST)
    path.write_text("{")
    with pytest.raises(FactsError, match="neither JSON nor YAML"):
        read_mapping(path)
    with pytest.raises(FactsError, match="cannot be read"):
        read_mapping(tmp_path / "none")
