"""The probe, run as on a host: its text fed to a bare interpreter, against substitute drivers."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pythons import interpreter
from verify_cases import CATALOG, healthy

from gpuprep.ladder.expect import expectation
from gpuprep.model import CheckStatus, Family, Tier
from gpuprep.observe import probe as shipped
from gpuprep.on_host.probe import base, burn, compiled, cuda, frameworks, kernel_log, matrices
from tools import ptx

FIXTURES = Path(__file__).parents[1] / "fixtures" / "verify"
TARGET = Path(base.__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")
SMALL = {"seconds": 0.3, "size": 128, "copy_bytes": 1 << 20, "peer_bytes": 1 << 16}
SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin") or sys.executable
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler for the substitute")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    library = tmp_path_factory.mktemp("driver") / "libsubstitute.so"
    source = FIXTURES / "substitute_driver.c"
    command = [str(COMPILER), "-shared", "-fPIC", "-O2", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    (library.parent / "libcublas.so.13").symlink_to(library)
    return str(library)


def probe(
    driver: str,
    tmp_path: Path,
    tier: Tier = Tier.QUICK,
    python: str = sys.executable,
    **more: object,
) -> dict[str, Any]:
    """Run the probe in an interpreter of its own; upper-case names set the substitute."""
    settings = {f"SUBSTITUTE_{k}": str(v) for k, v in more.items() if k.isupper()}
    options = {
        "nvml_library": driver,
        "cuda_library": driver,
        "proof": str(tmp_path / "proof.json"),
        "conda_prefixes": [str(tmp_path / "no-conda")],
        "toolkits": [str(tmp_path / "no-toolkit")],
        "burn": SMALL,
        "matrix_size": 64,
        **{key: value for key, value in more.items() if key.islower()},
    }
    text = shipped.standalone(Tier(tier), options)
    done = subprocess.run(
        [python, "-S", "-E", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, **settings},
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_what_a_killed_probe_left_goes_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "FOLDERS", (str(tmp_path),))
    for name in ("gpuprep-verify-old", "gpuprep-verify-new", "somebodys"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "program").touch()
    for name in ("gpuprep-verify-old", "somebodys"):
        os.utime(tmp_path / name, (0, 0))
    made = compiled.workspace()
    names = {"gpuprep-verify-new", "somebodys", Path(made).name}
    assert {path.name for path in tmp_path.iterdir()} == names


def judged(answers: dict[str, Any], tier: str) -> dict[str, Any]:
    """Judge the substitute's two GPUs as if PCI showed them."""
    slots = ["0000:0f:00.0", "0000:10:00.0"]
    device = {"vendor": "10de", "device": "2330", "pci_class": "030200"}
    change = {
        "observation.pci": [{"slot": slot, **device} for slot in slots],
        "observation.modules": {"loaded": {"nvidia": "580.95.05"}},
        "observation.driver": {},
    }
    assert expectation(CATALOG, Family.DEB).gpus["10de:2330"].cc == "9.0"
    return replace(healthy(change), probe=answers).checks(None, tier)


# --- quick ----------------------------------------------------------------------------------------
@needs_compiler
def test_nvml_values_arrive_as_the_library_gave_them(driver: str, tmp_path: Path) -> None:
    nvml = probe(driver, tmp_path, ECC=1)["nvml"]
    assert nvml["driver"] == "580.95.05"
    assert nvml["library"] == driver
    first, second = nvml["gpus"]
    assert (first["uuid"], second["slot"]) == ("GPU-00000000", "0000:10:00.0")
    assert first["pci_id"] == "10de:2330"
    assert second["ecc"] == {
        "on": True,
        "pending": True,
        "corrected": 100,
        "uncorrected": 110,
        "uncorrected_ever": 111,
    }
    assert first["rows"] == {"corrected": 4, "uncorrected": 3, "pending": 2, "failed": 1}
    assert first["throttle"] == 0x8000000000000004  # 64 bits wide
    assert first["pcie"]["width"] == 8
    assert first["pcie"]["generation"] is None  # the library lacks the function
    assert first["mig"] == {"on": False, "pending": False, "instances": []}
    assert second["mig"]["instances"] == ["3g.40448mib"]
    assert first["fabric"] == {"state": 3, "status": 0}


@needs_compiler
@pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlDeviceGetEccMode"])
def test_hanging_driver_is_cut_off_and_reported(driver: str, tmp_path: Path, call: str) -> None:
    began = time.monotonic()
    answers = probe(driver, tmp_path, HANG=call, deadlines={"nvml": 0.5})
    assert time.monotonic() - began < 4  # the session does not wait for the stuck child
    assert answers["nvml"]["timed_out"] is True
    checks = judged(answers, Tier.QUICK)
    assert checks["nvml.answers"].status is CheckStatus.FAILED
    assert "cut off" in checks["nvml.answers"].detail
    assert checks["ecc.clean"].status is CheckStatus.SKIPPED


@needs_compiler
def test_crashing_driver_is_reported(driver: str, tmp_path: Path) -> None:
    answers = probe(driver, tmp_path, CRASH="nvmlDeviceGetCount_v2")
    assert answers["nvml"]["error"] == "crashed with signal 11"
    assert answers["libcuda"]["version"] == 13000  # the rest of the probe went on


@needs_compiler
def test_version_mismatch_is_nvmls_own_words(driver: str, tmp_path: Path) -> None:
    answers = probe(driver, tmp_path, FAIL="nvmlInitWithFlags=18")
    assert answers["nvml"]["error"] == "Driver/library version mismatch (18)"
    checks = judged(answers, Tier.QUICK)
    assert checks["version.userspace"].status is CheckStatus.FAILED
    assert checks["nvml.answers"].status is CheckStatus.SKIPPED


@needs_compiler
def test_a_lost_gpu_does_not_hide_the_others(driver: str, tmp_path: Path) -> None:
    answers = probe(driver, tmp_path, FAIL="nvmlDeviceGetHandleByIndex_v2=15")
    assert [gpu["error"] for gpu in answers["nvml"]["gpus"]] == ["Substitute error (15)"] * 2
    assert judged(answers, Tier.QUICK)["nvml.count"].status is CheckStatus.FAILED


def test_host_without_driver_answers_too(tmp_path: Path) -> None:
    answers = probe(str(tmp_path / "libnone.so"), tmp_path)
    assert answers["nvml"]["missing"] is True
    assert not (tmp_path / "proof.json").exists()  # quick is read-only


def test_quick_probe_costs_little(tmp_path: Path) -> None:
    """At most 100 ms of CPU beyond the interpreter that the observation starts anyway."""

    def cpu(text: str) -> float:
        before = os.times()
        subprocess.run(
            [sys.executable, "-S", "-E", "-"],
            input=text.encode(),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = os.times()
        spent = after.children_user + after.children_system
        return spent - before.children_user - before.children_system

    text = shipped.standalone(Tier.QUICK, {"proof": str(tmp_path / "none")})
    least = min(cpu(text) for _ in range(5)) - min(cpu("pass") for _ in range(5))
    assert least <= 0.1


# --- full -----------------------------------------------------------------------------------------
@needs_compiler
def test_full_tier_proves_kernels_and_leaves_a_proof(driver: str, tmp_path: Path) -> None:
    answers = probe(driver, tmp_path, Tier.FULL)
    checks = judged(answers, Tier.FULL)
    assert checks["kernel.runs"].status is CheckStatus.PASSED
    assert checks["gemm.correct"].status is CheckStatus.PASSED
    assert "prebuilt PTX" in checks["kernel.runs"].evidence
    record = json.loads((tmp_path / "proof.json").read_text())
    assert record["mig"] == {"GPU-00000001": ["3g.40448mib"]}
    again = judged(probe(driver, tmp_path), Tier.QUICK)
    assert again["kernel.runs"].status is CheckStatus.PASSED
    assert "proven" in again["kernel.runs"].detail


@needs_compiler
@pytest.mark.parametrize(
    ("wrong", "broken"),
    [
        ("vector_add", "kernel.runs"),
        ("gemm_fp32", "gemm.correct"),
        ("gemm_fp16", "gemm.correct"),
        ("gemm_bf16", "gemm.correct"),
    ],
)
def test_one_wrong_element_is_found(driver: str, tmp_path: Path, wrong: str, broken: str) -> None:
    checks = judged(probe(driver, tmp_path, Tier.FULL, WRONG=wrong), Tier.FULL)
    failing = {
        name
        for name in ("kernel.runs", "gemm.correct")
        if checks[name].status is CheckStatus.FAILED
    }
    assert failing == {broken}


@needs_compiler
def test_hanging_kernel_is_cut_off(driver: str, tmp_path: Path) -> None:
    answers = probe(driver, tmp_path, Tier.FULL, HANG="cuCtxSynchronize", deadlines={"gpu": 1.0})
    checks = judged(answers, Tier.FULL)
    assert checks["kernel.runs"].status is CheckStatus.FAILED
    assert "cut off" in checks["kernel.runs"].detail


@needs_compiler
def test_cuda_error_is_named(driver: str, tmp_path: Path) -> None:
    checks = judged(probe(driver, tmp_path, Tier.FULL, FAIL="cuInit=802"), Tier.FULL)
    assert "cuInit: CUDA_ERROR_SUBSTITUTE (802)" in checks["kernel.runs"].detail


@needs_compiler
@pytest.mark.parametrize(
    ("capability", "skipped"), [("60", {"fp16", "bf16"}), ("75", {"bf16"}), ("90", set())]
)
def test_old_gpus_skip_what_they_lack(
    driver: str, tmp_path: Path, capability: str, skipped: set[str]
) -> None:
    answers = probe(driver, tmp_path, Tier.FULL, CAPABILITY=capability)
    gemm = answers["programs"]["gpus"][0]["gemm"]
    assert {kind for kind, result in gemm.items() if "skipped" in result} == skipped
    assert judged(answers, Tier.FULL)["gemm.correct"].status is CheckStatus.PASSED


# --- burn-in --------------------------------------------------------------------------------------
@needs_compiler
@pytest.mark.parametrize("method", ["own", "cublas"])
def test_burn_in_measures_and_compares(driver: str, tmp_path: Path, method: str) -> None:
    folders = [str(Path(driver).parent)] if method == "cublas" else []
    answers = probe(driver, tmp_path, Tier.BURN_IN, library_folders=folders)
    load = answers["burn"]["gpus"][1]
    assert load["matrix"]["method"] == method
    assert load["matrix"]["wrong_samples"] == 0
    assert load["matrix"]["repeats"] >= 10
    assert (load["after"]["temperature_c"], load["after"]["ecc"]["uncorrected"]) == (41, 0)
    pairs = answers["burn"]["peers"]["pairs"]
    assert [(pair["from"], pair["to"]) for pair in pairs] == [(0, 1), (1, 0)]
    checks = judged(answers, Tier.BURN_IN)
    assert checks["burn.stable"].status is CheckStatus.PASSED
    # a CPU is far below the data sheet: the bar is a real one
    assert checks["burn.bandwidth"].status is CheckStatus.FAILED
    assert checks["burn.peer"].status is CheckStatus.PASSED


@needs_compiler
@pytest.mark.parametrize("wrong", ["later", "copy"])
def test_burn_in_sees_changing_results(driver: str, tmp_path: Path, wrong: str) -> None:
    checks = judged(probe(driver, tmp_path, Tier.BURN_IN, WRONG=wrong), Tier.BURN_IN)
    assert checks["burn.stable"].status is CheckStatus.FAILED


def test_no_cublas_found_means_none(tmp_path: Path) -> None:
    settings = {"toolkits": [str(tmp_path)], "library_folders": [str(tmp_path / "gone")]}
    found = burn.find_cublas(settings)
    assert found is None or found.startswith("/usr/local/cuda")


# --- frameworks -----------------------------------------------------------------------------------
TORCH = """
import os
__version__ = "2.9.0 uid %d" % os.getuid()
class version: cuda = "13.0"
class cuda:
    get_arch_list = staticmethod(lambda: [])
    is_available = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 0)
class _C: _cuda_getArchFlags = staticmethod(lambda: "sm_75 sm_90")
class backends:
    class cudnn: version = staticmethod(lambda: 91300)
"""


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """Make an environment with a substitute torch and a torchvision that does not fit it."""
    prefix = tmp_path / "conda" / "envs" / "train"
    version = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    site = prefix / "lib" / f"python{version}" / "site-packages"
    (site / "torch").mkdir(parents=True)
    (site / "torch" / "__init__.py").write_text(TORCH)
    (site / "torchvision").mkdir()
    (site / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    (prefix / "pyvenv.cfg").write_text(f"home = {Path(SYSTEM_PYTHON).parent}\n")
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python").symlink_to(SYSTEM_PYTHON)
    return tmp_path / "conda"


def test_framework_is_tried_with_the_environments_own_python(conda: Path, tmp_path: Path) -> None:
    answers = probe("libnone.so", tmp_path, Tier.FULL, conda_prefixes=[str(conda)])
    env = answers["frameworks"]["envs"][0]
    found = env["frameworks"][0]
    assert (found["framework"], found["cuda"]) == ("torch", "13.0")
    checks = judged(answers, Tier.FULL)
    assert "torchvision::nms" in checks["framework.extensions"].detail
    assert checks["framework.arch"].status is CheckStatus.PASSED
    assert "sees no GPU" in checks["framework.kernel"].detail


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("part", ["bin", "lib/python3*/site-packages"])
def test_a_users_environment_is_never_run_as_root(conda: Path, tmp_path: Path, part: str) -> None:
    (owned,) = (conda / "envs" / "train").glob(part)
    os.chown(owned, 65534, 65534)
    for folder in [tmp_path, *tmp_path.parents[:3]]:
        folder.chmod(folder.stat().st_mode | 0o055)
    answers = probe("libnone.so", tmp_path, Tier.FULL, conda_prefixes=[str(conda)])
    env = answers["frameworks"]["envs"][0]
    assert env["frameworks"], env["command"]["output"]
    assert env["frameworks"][0]["version"] == "2.9.0 uid 65534"


# --- parts ----------------------------------------------------------------------------------------
def test_temporary_files_of_programs_are_where_nobody_else_can_foresee_them(
    tmp_path: Path,
) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nstat -c "%a %u %n" "$TMPDIR"\n')
    program.chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir(mode=0o700)
    step = compiled._compile(str(program), str(folder), "a.cu", "a", [], [])
    assert step["output"].split() == ["700", str(os.getuid()), str(folder)]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(program)
    tried = frameworks._tried(str(tmp_path / "bin/python"), 10)
    mode, user, place = tried["command"]["output"].split()
    assert (mode, user) == ("700", str(os.getuid()))
    assert not Path(place).exists()


def test_xid_lines() -> None:
    head = "4,1234,56789,-;NVRM: Xid (PCI:0000:2d:00): 79, "
    new = head + "pid='<unknown>', GPU has fallen off the bus."
    assert kernel_log.parse(new) == {
        "code": 79,
        "slot": "0000:2d:00",
        "text": "pid='<unknown>', GPU has fallen off the bus.",
    }
    old = kernel_log.parse("NVRM: Xid (0000:03:00): 14, Channel 00000001")
    assert old is not None
    assert old["code"] == 14
    assert kernel_log.parse("NVRM: loading NVIDIA UNIX Open Kernel Module") is None


def test_kernel_log_from_a_file(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text("".join(f"4,{i},1,-;NVRM: Xid (PCI:0000:2d:00): 31, x\n" for i in range(60)))
    found = kernel_log.collect(str(log))
    assert found["total"] == 60
    assert len(found["events"]) == kernel_log.LIMIT
    missing = kernel_log.collect(str(tmp_path / "none"))
    assert missing["readable"] is False


def test_generated_inputs_spread_over_all_values() -> None:
    seen = {cuda.value(i, matrices.SEED_A) for i in range(1000)}
    assert seen == set(range(-8, 9))


def test_compare_finds_a_single_wrong_element() -> None:
    n = 32
    a = [cuda.value(i, matrices.SEED_A) for i in range(n * n)]
    b = [cuda.value(i, matrices.SEED_B) for i in range(n * n)]
    product = [
        sum(a[i * n + k] * b[k * n + j] for k in range(n)) / 64 for i in range(n) for j in range(n)
    ]
    assert matrices.compare(product, n)["wrong_rows"] == 0
    product[n + 7] += 1 / 64
    assert matrices.compare(product, n)["wrong_rows"] == 1


def test_command_is_cut_off_with_everything_it_started() -> None:
    began = time.monotonic()
    step = base.command(["sh", "-c", "echo begun; sleep 60 & sleep 60"], 0.3)
    assert time.monotonic() - began < 3
    assert step["timed_out"] is True
    assert step["rc"] is None
    assert "begun" in step["output"]


# --- what is shipped ------------------------------------------------------------------------------
@pytest.mark.parametrize("path", sorted(TARGET.glob("*.py")), ids=lambda path: path.name)
def test_target_code_is_python_3_6_and_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 6))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert all(name.name.split(".")[0] in sys.stdlib_module_names for name in node.names)
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert str(node.module).split(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("minor", range(6, 14))
@pytest.mark.parametrize("tier", [Tier.QUICK, Tier.FULL])
def test_shipped_text_runs_on_every_python(minor: int, tier: Tier, tmp_path: Path) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"no Python 3.{minor} on this machine")
    answers = probe("libnone.so", tmp_path, tier, python=python)
    assert answers["nvml"]["missing"] is True
    assert ("programs" in answers) == (tier == Tier.FULL)


def test_every_module_of_the_probe_is_shipped() -> None:
    names = {path.stem for path in TARGET.glob("*.py")} - {"__init__"}
    assert names == {*shipped.QUICK, *shipped.FULL, "main", "diagnose"}


def test_no_program_is_compiled_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = tmp_path / "calls"
    for release in ("12.8", "13.0"):
        home = tmp_path / f"cuda-{release}"
        (home / "bin").mkdir(parents=True)
        (home / "include").mkdir()
        (home / "include/cudnn.h").touch()
        nvcc = home / "bin/nvcc"
        nvcc.write_text(
            f'#!/bin/sh\necho "$0" "$2" >> {calls}\nprintf "#!/bin/sh" > "$4"; chmod +x "$4"\n'
        )
        nvcc.chmod(0o755)
    (tmp_path / "cuda-13").symlink_to("cuda-13.0")  # as NVIDIA's packages leave it
    (tmp_path / "cuda").symlink_to("cuda-13")
    found = compiled.toolkits({}, str(tmp_path / "cuda"))
    monkeypatch.setattr(compiled, "FOLDERS", (str(tmp_path),))
    sources = {"vector_add.cu": "", "convolution.cu": ""}
    answer = compiled.collect({"toolkits": found, "sources": sources}, ["8.6"])
    lines = calls.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 3  # the sum with each toolkit, the convolution with one
    assert [step["toolkit"] for step in answer["compile"]] == found
    assert [os.path.basename(path) for path in found] == ["cuda-13.0", "cuda-12.8"]  # noqa: PTH119


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no CUDA compiler")
@pytest.mark.parametrize("level", ptx.LEVELS, ids=lambda level: level.name)
def test_ptx_is_fresh_and_asks_for_no_more_than_its_level(level: ptx.Level) -> None:
    kept = (ptx.FOLDER / f"{level.name}.ptx").read_text()
    if f"CUDA {ptx.release()};" not in kept.splitlines()[0]:
        pytest.skip("the kept PTX was made by another CUDA release")
    assert kept == ptx.build(level)


def test_ptx_has_every_kernel() -> None:
    kernels = {name for text in shipped.ptx().values() for name in cuda.kernels_of(text)}
    assert kernels == {
        "fill_fp32",
        "fill_fp16",
        "fill_bf16",
        "vector_add",
        "copy",
        "differ",
        "gemm_fp32",
        "gemm_fp16",
        "gemm_bf16",
    }
