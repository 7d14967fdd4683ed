"""Which Python packages Faceswap gets: every shape, every driver, what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from gpuprep.catalog import load
from gpuprep.cli.explain import explain as command
from gpuprep.components import NAMES, resolve
from gpuprep.model import DesiredStack, HostFacts, Refusal, Stack
from gpuprep.model.versions import key
from gpuprep.workloads.faceswap.variant import lock_text
from gpuprep.workloads.python_lock import digest_of, names_of

if TYPE_CHECKING:
    from pathlib import Path

CATALOG = load()
WANTED = ("driver", "conda", "faceswap")
SHAPES = [shape for shape in CATALOG.shapes.values() if shape.gpu]
A10, V100, B200 = "10de:2236", "10de:1db1", "10de:2901"


def ask(*gpus: str, facts: dict[str, Any] | None = None, **desired: Any) -> Stack | Refusal:
    """What a host of Ubuntu 24.04 with these GPUs would get."""
    host = HostFacts(gpus, **{"os": "ubuntu-24.04", **(facts or {})})
    return resolve(host, DesiredStack(**{"components": WANTED, **desired}), CATALOG)


def variant(answer: Stack | Refusal) -> str:
    assert isinstance(answer, Stack), answer
    assert answer.faceswap is not None
    return answer.faceswap.variant


def code(answer: Stack | Refusal) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.code


def expected(capability: str, branch: int) -> str:
    """By hand: PyTorch for CUDA 12.6 ends at Hopper, that for 13.0 begins at Turing."""
    number = key(capability)
    if number < (7, 5):
        return "cu126" if branch >= 525 else "E_FS_DRIVER"
    if branch >= 580:
        return "cu130"
    return "cu126" if number < (10, 0) and branch >= 525 else "E_FS_DRIVER"


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_shape_gets_packages_with_code_for_its_gpu(shape: Any) -> None:
    gpu = CATALOG.gpus[shape.gpu]
    answer = ask(*[shape.gpu] * shape.count, facts={"arch": shape.arch, "shape": shape.name})
    assert isinstance(answer, Stack), answer
    assert answer.branch is not None
    assert variant(answer) == expected(gpu.cc, int(answer.branch))
    assert answer.faceswap is not None
    assert answer.faceswap.backend == "nvidia"


@pytest.mark.parametrize("branch", sorted(CATALOG.branches))
@pytest.mark.parametrize("gpu", sorted({s.gpu for s in SHAPES if s.gpu and s.arch == "x86_64"}))
def test_the_driver_on_the_host_decides_too(gpu: str, branch: str) -> None:
    found = CATALOG.gpus[gpu]
    answer = ask(gpu, facts={"driver": f"{branch}.999.9"}, components=("conda", "faceswap"))
    told = code(answer) if isinstance(answer, Refusal) else variant(answer)
    assert told == expected(found.cc, int(branch))


def test_a_release_of_a_branch_can_be_too_old_for_its_packages() -> None:
    for version, told in (("580.65.06", "cu130"), ("580.65.05", "cu126"), ("525.60.12", None)):
        answer = ask(A10, facts={"driver": version}, components=("conda", "faceswap"))
        assert (code(answer) if told is None else variant(answer)) == (told or "E_FS_DRIVER")


def test_hosts_of_several_gpus_need_packages_for_all_of_them() -> None:
    assert variant(ask(A10, V100)) == "cu126"
    assert variant(ask(A10, B200)) == "cu130"
    answer = ask(V100, B200, facts={"driver": "580.95.05"}, components=("conda", "faceswap"))
    assert code(answer) == "E_FS_ARCH"


def test_packages_for_aarch64_have_cuda_in_one_variant_only() -> None:
    gb200 = CATALOG.shapes["BM.GPU.GB200.4"].gpu or ""
    facts = {"arch": "aarch64"}
    assert variant(ask(gb200, facts=facts)) == "cu130"
    # The driver is new enough for cu126, the GPU is one of its; on x86_64 it would get that.
    old = ask(A10, facts={**facts, "driver": "570.211.01"}, components=("conda", "faceswap"))
    assert code(old) == "E_FS_DRIVER"
    refused = ask(gb200, facts=facts, faceswap_variant="cu126")
    assert code(refused) == "E_FS_ARCH"
    assert isinstance(refused, Refusal)
    assert refused.settings == ("faceswap_variant",)
    assert "Faceswap with cu130" in str(refused.nearest)


def test_a_host_without_gpu_computes_on_its_processor() -> None:
    answer = ask(components=("conda", "faceswap"))
    assert isinstance(answer, Stack)
    assert answer.faceswap is not None
    assert (answer.faceswap.variant, answer.faceswap.backend) == ("cu130", "cpu")
    wanted = ask(components=("conda", "faceswap"), faceswap_backend="nvidia")
    assert code(wanted) == "E_FS_NO_GPU"


def test_a_gpu_that_is_left_alone_needs_no_driver() -> None:
    answer = ask(V100, components=("conda", "faceswap"), faceswap_backend="cpu")
    assert variant(answer) == "cu130"


@pytest.mark.parametrize(
    ("facts", "desired", "told"),
    [
        ({"memory_mb": 984}, {}, "E_FS_MEMORY"),
        ({"memory_mb": 3700}, {}, None),
        ({}, {"faceswap_python": "3.10"}, "E_FS_PYTHON"),
        ({}, {"faceswap_python": "3.14"}, "E_FS_PYTHON"),
        ({}, {"faceswap_python": "3.13"}, None),
        ({}, {"faceswap_variant": "cu118"}, "E_SETTING"),
        ({}, {"faceswap_backend": "rocm"}, "E_SETTING"),
        ({}, {"branch": "470"}, "E_FS_DRIVER"),
    ],
)
def test_what_is_refused(facts: dict[str, Any], desired: dict[str, Any], told: str | None) -> None:
    answer = ask(A10, facts={"kernel": "5.15.0-1", **facts}, **desired)
    assert (answer.code if isinstance(answer, Refusal) else None) == told


def test_an_old_c_library_is_refused() -> None:
    import dataclasses  # noqa: PLC0415

    system = dataclasses.replace(CATALOG.systems["ubuntu-24.04"], glibc="2.27")
    catalog = dataclasses.replace(CATALOG, systems={**CATALOG.systems, "ubuntu-24.04": system})
    host = HostFacts((A10,), "ubuntu-24.04")
    answer = resolve(host, DesiredStack(components=WANTED), catalog)
    assert code(answer) == "E_FS_GLIBC"


def test_nobody_gets_it_who_does_not_name_it() -> None:
    assert "faceswap" not in NAMES
    for components in (None, NAMES):
        answer = ask(A10, components=components)
        assert isinstance(answer, Stack)
        assert answer.faceswap is None


def test_another_commit_is_warned_of() -> None:
    answer = ask(A10, faceswap_commit="0" * 40)
    assert isinstance(answer, Stack)
    assert answer.faceswap is not None
    assert answer.faceswap.commit == "0" * 40
    assert "W_FS_COMMIT" in {warning.code for warning in answer.warnings}


@pytest.mark.parametrize("each", CATALOG.faceswap.variants, ids=lambda each: each.name)
def test_the_locks_are_what_the_catalog_says(each: Any) -> None:
    text = lock_text(each.name)
    names = names_of(text, each.name)
    entries = {line.split("==")[0]: line for line in text.splitlines() if "==" in line}
    assert f"torch=={each.torch.version} " in text
    cudnn = next(line for name, line in entries.items() if name.startswith("nvidia-cudnn"))
    assert f"=={each.torch.cudnn} " in cudnn
    assert {"torchvision", "keras", "av", "opencv-python-headless"} <= set(names)
    assert "opencv-python" not in names
    assert not {"pywin32", "colorama"} & set(names)
    assert "://" not in text
    answer = ask(A10, faceswap_variant=each.name)
    assert isinstance(answer, Stack)
    assert answer.faceswap is not None
    assert answer.faceswap.lock == digest_of(text)


# --- the command ---------------------------------------------------------------------------------


def explain(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(
        command,
        ["--workload", "faceswap", *arguments],
        standalone_mode=False,
        catch_exceptions=False,
    )
    return done.return_value, done.output


def test_explain_shows_the_variant_on_every_system() -> None:
    status, text = explain("VM.GPU3.1", "--output", "json")
    rows = json.loads(text)
    assert status == 0
    assert {row["variant"] for row in rows} == {"cu126"}
    installed = {name for name, system in CATALOG.systems.items() if system.installs}
    assert {row["system"] for row in rows} == installed
    status, text = explain("VM.GPU3.1")
    assert "Faceswap on VM.GPU3.1" in text
    assert "cu130 has not" in text


def test_explain_is_not_content_with_a_refusal() -> None:
    status, text = explain("BM.GPU.B200.8", "--branch", "570")
    assert status == 4
    assert "E_FS_DRIVER" in text
    status, text = explain("BM.GPU.B200.8", "--branch", "570", "--os", "ubuntu-24.04")
    assert status == 4
    assert "Refused, E_FS_DRIVER" in text


def test_explain_knows_hosts_without_a_gpu(tmp_path: Path) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps({"gpus": []}))
    shape = next(shape.name for shape in CATALOG.shapes.values() if shape.gpu)
    status, text = explain(shape, "--os", "debian-12")
    assert status == 0
    assert "torch 2.7.1 (CUDA 12.6)" in text
    status, text = explain("--facts", str(facts), "--output", "json")
    assert status == 0
    assert {row["backend"] for row in json.loads(text)} == {"cpu"}
    facts.write_text(json.dumps({"gpus": [], "memory_mb": 980}))
    status, text = explain("--facts", str(facts))
    assert status == 4
    assert "E_FS_MEMORY" in text
