"""The command line of the resolver: explain and catalog."""

from __future__ import annotations

import gzip
import json
import re
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner
from test_resolver_golden import CASES, violations

from gpuprep.catalog import load
from gpuprep.catalog.load import DATA_FILE
from gpuprep.cli import run
from gpuprep.cli.catalog import catalog_group
from gpuprep.cli.explain import explain
from gpuprep.components import KNOWN, resolve
from gpuprep.errors import ConfigError, ExitCode, FactsError
from gpuprep.planner.facts_file import parse_facts

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {
    *("branch", "flavour", "cuda", "cudnn", "stream", "version_locks", "repo", "packages", "holds"),
    *("dkms_toolset", "warnings", "support", "kernels"),
}


A10 = ("BM.GPU.A10.4", "--os", "ol-9")


def said(*arguments: str) -> str:
    result = CliRunner().invoke(explain, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_golden_case_by_command_line(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps({"as_of": "2026-11-20", **case["in"]}))
    got = json.loads(said("--facts", str(path), "--output", "json"))
    assert violations(got, case["expect"]) == []
    assert set(got) == ({"refusal"} if "refuse" in case["expect"] else KEYS)


def test_a_shape_in_words() -> None:
    text = said(
        "BM.GPU.H100.8",
        *("--os", "ol-9", "--kernel", "6.12.0-100.28.2.2.el9uek.x86_64"),
        *("--channel", "pb", "--cuda", "12.8", "--cudnn", "9"),
    )
    for words in (
        *("8 x H100 SXM5 80GB", "595", "open", "12.8", "nvidia-fabricmanager"),
        *("kernel-uek-devel-6.12.0-100.28.2.2.el9uek.x86_64", "nvidia-driver:595-open"),
        *("[drv615]", "Held: "),
    ):
        assert words in text


def test_how_far_gpuprep_goes_on_the_system_is_told() -> None:
    for system, level in (
        ("debian-12", "installed and proven"),
        ("ubuntu-24.04", "installed and proven"),
        ("ubuntu-20.04", "installed, not yet proven"),
        ("rhel-9", "installed, not yet proven"),
        ("amzn-2023", "explained only"),
    ):
        assert f"\n{system}, {level}: " in said("BM.GPU.A10.4", "--os", system)
        answer = json.loads(said("BM.GPU.A10.4", "--os", system, "-o", "json"))
        assert answer["support"] == level
    arm = said("--gpu", "10de:2342", "--os", "debian-13", "--arch", "aarch64")
    assert "installed, not yet proven" in arm


@pytest.mark.parametrize(("version", "locked"), [(None, "580.*"), ("580.95.05", "580.95.05")])
def test_what_a_version_lock_leaves_is_told_with_the_packages(
    version: str | None, locked: str
) -> None:
    settings = ("--driver-version", version) if version else ()
    text = said("BM.GPU.H100.8", "--os", "ol-9", *settings)
    for name in ("nvidia-open", "nvidia-fabricmanager", "libnvidia-nscq"):
        assert f"\n  {name}-{locked}\n" in text
    assert "\n  cuda-toolkit-13-0\n" in text
    then = "" if version else ", then what is installed of it"
    assert f"\nVersion lock, {locked}{then}: nvidia-driver, " in text
    assert "Version lock" not in said("BM.GPU.H100.8", "--os", "debian-12")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("BM.GPU.H100", "BM.GPU.H100.8"),
        ("bm.gpu.h100.8", "BM.GPU.H100.8"),
        ("VM.GPU.A10.4", "VM.GPU.A10."),
        ("nonsense", "known: "),
    ],
)
def test_a_shape_that_is_misspelt_is_told_with_what_was_meant(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(meant)) as told:
        said(typed, "--os", "debian-12")
    assert ("BM.GPU4.8" in str(told.value)) is (meant == "known: ")


@pytest.mark.parametrize("typed", ["ubuntu24.04", "ubuntu-2404", "Ubuntu-24.04"])
def test_a_system_that_is_misspelt_is_told_with_what_was_meant(typed: str) -> None:
    text = said("BM.GPU.A10.4", "--os", typed)
    assert "E_OS_UNSUPPORTED" in text
    assert "did you mean ubuntu-24.04" in text


def test_known_values_are_completed_and_checked() -> None:
    options = {parameter.name: parameter for parameter in explain.params}
    context = click.Context(explain)
    found = {
        name: [item.value for item in options[name].shell_complete(context, begun)]
        for name, begun in (("shape", "BM.GPU.H100"), ("os", "debian"), ("only", ""))
    }
    assert found == {
        "shape": ["BM.GPU.H100.8"],
        "os": ["debian-12", "debian-13"],
        "only": list(KNOWN),
    }
    assert run(["explain", "BM.GPU.A10.4", "--os", "debian-12", "--only", "cudda"]) == 64


def test_versions_are_of_the_program_or_of_the_driver(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "BM.GPU.A10.4", "--os", "debian-12", "--version", "580.1"]) == 64
    capsys.readouterr()
    asked = ["explain", "BM.GPU.A10.4", "--os", "debian-12", "--driver-version", "580.95.05"]
    assert run(asked) == 0
    assert "580.95.05" in capsys.readouterr().out


def test_a_refusal_in_words_with_the_nearest_stack() -> None:
    text = said("BM.GPU3.8", "--os", "ubuntu-22.04", "--cuda", "13.0")
    assert "E_CUDA_ARCH" in text
    assert "Clashing cuda_toolkit_versions (cuda here)" in text
    pasted = (
        """Would work: -e '{"cuda_toolkit_versions": ["auto"]}', giving driver 580 (proprietary"""
    )
    assert pasted in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("BM.GPU.H100.8", "--os", "debian-12"), ExitCode.OK),
        (("BM.GPU.H100.8", "--os", "debian-12", "--output", "json"), ExitCode.OK),
        (("--matrix",), ExitCode.OK),
        (("BM.GPU.MI300X.8", "--os", "debian-12"), ExitCode.ALL_HOSTS_FAILED),
        (("BM.GPU.H100.8", "--os", "debian-12", "--cuda", "99"), ExitCode.ALL_HOSTS_FAILED),
        (("BM.GPU3.8", "--os", "debian-12", "--cuda", "13.0"), ExitCode.ALL_HOSTS_FAILED),
        (("BM.GPU.MI300X.8", "--os", "debian-12", "-o", "json"), ExitCode.ALL_HOSTS_FAILED),
        (("BM.GPU.MI300X.8", "--os", "ol-9"), ExitCode.ALL_HOSTS_FAILED),
    ],
)
def test_scripts_see_a_refusal_by_the_exit_code(
    arguments: tuple[str, ...], code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", *arguments]) is code, capsys.readouterr().err
    assert ("refus" in capsys.readouterr().out.lower()) is (code is not ExitCode.OK)


def test_options_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.yml"
    path.write_text("{gpus: ['10de:2236'], os: debian-12, channel: lts, cuda: '12.9'}")
    got = json.loads(said("--facts", str(path), "--channel", "pb", "--output", "json"))
    assert (got["branch"], got["cuda"]) == ("595", "12.9")


def test_an_amd_shape_is_refused_by_name() -> None:
    assert "E_AMD_SHAPE" in said("BM.GPU.MI300X.8", "--os", "ol-9")
    assert "E_AMD_SHAPE" in said("BM.GPU.MI999X.8", "--os", "ol-9")


def test_the_matrix_has_a_row_for_every_gpu_and_system() -> None:
    catalog = load()
    text = said("--matrix")
    tables = json.loads(said("--matrix", "--output", "json"))
    gpus, systems = tables.values()
    assert {row["PCI id"] for row in gpus} == set(catalog.gpus)
    assert {row["System"] for row in systems} == set(catalog.systems)
    assert all(row["PCI id"] in text for row in gpus)
    assert not any("E_" in cell for row in gpus + systems for cell in row.values())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "SHAPE"),
        (("BM.GPU.H100.8",), "--os"),
        (("BM.GPU.NONE.8", "--os", "ol-9"), "not in the catalog"),
        (("--gpu", "A10", "--os", "ol-9"), "--gpu: 'A10' is not possible; it must be a PCI id"),
        ((*A10, "--as-of", "soon"), "--as-of: 'soon' is not possible; it must be a date "),
        ((*A10, "--as-of", "2026-13-45"), "--as-of: '2026-13-45'"),
        (
            (*A10, "--kernel", "foo"),
            "--kernel: 'foo' is not possible; it must be a release as `uname -r` prints it",
        ),
        ((*A10, "--kernel", ""), "--kernel: ''"),
        ((*A10, "--kernel-cc", "foo"), "--kernel-cc: 'foo'"),
        ((*A10, "--system-gcc", "0"), "--system-gcc: 0"),
        ((*A10, "--branch", "580.95"), "--branch: '580.95' is not possible; it must be a number"),
        ((*A10, "--driver-version", "580"), "--driver-version: '580'"),
        ((*A10, "--keep-driver", "580"), "--keep-driver: '580'"),
        ((*A10, "--cuda", "13.0", "--cuda", "none"), "--cuda: '13.0', 'none'"),
        ((*A10, "--cudnn", "9."), "--cudnn: '9.'"),
        (("BM.GPU.A10.4", "--os", ""), "--os: ''"),
        ((*A10, "--arch", ""), "--arch: ''"),
        (
            ("BM.GPU.A10.4", "--workload", "faceswap", "--arch", "foo"),
            "arch 'foo': .* known: aarch64, x86_64",
        ),
        ((*A10, "--workload", "faceswap", "--only", "conda"), "--only leaves faceswap out"),
    ],
)
def test_wrong_questions_are_configuration_errors(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CliRunner().invoke(explain, arguments, catch_exceptions=False)


@pytest.mark.parametrize("kernel", ["3.10.0-1160.el7.x86_64", "2.6.32"])
def test_a_kernel_too_old_for_open_modules_is_told_as_the_reason(kernel: str) -> None:
    text = said("BM.GPU.A10.4", "--os", "debian-12", "--kernel", kernel)
    (line,) = [line for line in text.splitlines() if line.startswith("  flavour")]
    need = load().driver.open_kernel_min
    assert line.split()[1] == "proprietary"
    assert f"open kernel modules need kernel {need} or newer; this host runs {kernel}" in line


def test_a_driver_too_old_for_open_modules_is_told_as_the_reason() -> None:
    text = said("VM.GPU.A100.40G.1", "--os", "ubuntu-22.04", "--branch", "470")
    (line,) = [line for line in text.splitlines() if line.startswith("  flavour")]
    assert line.split()[1] == "proprietary"
    assert "the open kernel modules of driver 470." in line


@pytest.mark.parametrize(("word", "cuda"), [("auto", "13.0"), ("none", None)])
def test_the_words_of_the_variable_are_those_of_the_option(word: str, cuda: str | None) -> None:
    assert json.loads(said(*A10, "--cuda", word, "-o", "json")).get("cuda") == cuda


def test_an_empty_key_of_a_facts_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "facts.yml"
    path.write_text("{shape: VM.GPU.A10.1, gpus: null, kernel: null, os: debian-12}")
    assert "1 x A10; debian-12" in said("--facts", str(path))
    path.write_text("{shape: VM.GPU.A10.1, os: null}")
    with pytest.raises(ConfigError, match="needs --os"):
        said("--facts", str(path))


def test_a_wrong_facts_file_ends_the_process_with_64(tmp_path: Path) -> None:
    path = tmp_path / "facts.yml"
    path.write_text("{gpus: ['10de:2236'], os: debian-12, cuda: 13.0}")
    done = process("explain", "--facts", str(path))
    assert done.returncode == 64
    assert str(path) in done.stderr
    assert "cuda must be" in done.stderr
    with pytest.raises(FactsError):
        CliRunner().invoke(explain, ["--facts", str(path)], catch_exceptions=False)


def test_a_wrong_catalog_ends_the_process_with_64(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yml"
    path.write_text(DATA_FILE.read_text().replace('cc: "8.6"', "cc: 8.6", 1))
    done = process("explain", "BM.GPU.A10.4", "--os", "debian-12", "--catalog", str(path))
    assert done.returncode == 64
    assert f"{path}, line" in done.stderr


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpuprep", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_answer_takes_less_than_half_a_second_of_processor_time() -> None:
    command = [sys.executable, "-m", "gpuprep", "explain", "BM.GPU.H100.8", "--os", "ol-9"]
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=-3);"
        "u = resource.getrusage(resource.RUSAGE_CHILDREN); print(u.ru_utime + u.ru_stime)"
    )
    seconds = min(
        float(subprocess.check_output([sys.executable, "-c", script, *command], text=True))
        for _ in range(3)
    )
    print(f"explain: {seconds:.2f} s of processor time")  # noqa: T201  (pytest -s shows it)
    assert seconds < 0.5


def test_resolving_takes_less_than_a_millisecond() -> None:
    catalog = load()
    questions = [parse_facts({"as_of": "2026-11-20", **case["in"]}) for case in CASES]
    times = []
    for _ in range(5):
        for facts, desired in questions:
            start = time.process_time()
            resolve(facts, desired, catalog)
            times.append(time.process_time() - start)
    print(f"resolve: median {statistics.median(times) * 1000:.2f} ms of processor time")  # noqa: T201  (pytest -s shows it)
    assert statistics.median(times) < 0.001


@pytest.mark.parametrize(
    ("option", "asked", "known"),
    [
        ("--cuda", "13.0.9", ["13.0.0", "13.0.1", "13.0.2"]),
        ("--cuda", "12.7", ["12.4", "12.5", "12.6", "12.8", "12.9", "13.0"]),
        ("--cuda", "99", list(load().toolkits)[-6:]),
        ("--cuda", "1", list(load().toolkits)[:6]),
        ("--cudnn", "9.10.9", ["9.10.0.56", "9.10.1.4", "9.10.2.21"]),
        ("--cudnn", "99", list(load().cudnn["9"].releases[-6:])),
        ("--branch", "581", list(load().branches)),
    ],
)
def test_a_version_that_is_not_known_is_told_with_those_that_are(
    option: str, asked: str, known: list[str]
) -> None:
    text = said(*A10, option, asked)
    (line,) = [line for line in text.splitlines() if line.startswith("Refused, E_")]
    told = line.rpartition(": ")[2].split(", ")
    assert [version for version in told if version in known] == known
    assert len(told) <= max(6, len(known))


# --- catalog list --------------------------------------------------------------------------------


def listed(*arguments: str) -> str:
    result = CliRunner().invoke(catalog_group, ["list", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_catalog_lists_branches_toolkits_and_cudnn() -> None:
    catalog = load()
    branches, toolkits, cudnn = json.loads(listed("-o", "json", "--as-of", "2026-11-20")).values()
    assert [row["branch"] for row in branches] == list(catalog.branches)
    assert [row["CUDA"] for row in toolkits] == list(catalog.toolkits)
    assert [row["release"] for row in cudnn] == [
        release for series in catalog.cudnn.values() for release in series.releases
    ]
    by_name = {row["branch"]: row for row in branches}
    assert by_name["580"] == {
        "branch": "580",
        "kind": "lts",
        "state": "supported",
        "end of life": catalog.branches["580"].eol,
        "newest release": catalog.branches["580"].latest,
        "channel": "lts",
        "native CUDA": "13.0",
    }
    assert by_name["470"]["state"] == "ended"
    assert by_name["615"]["end of life"] == "not announced"
    assert by_name["620"]["newest release"] == "none seen"
    built = {row["release"]: row["built for CUDA"] for row in cudnn}
    assert (built["9.10.2.21"], built["9.11.0.98"], built["9.12.0.46"]) == (
        "11, 12",
        "12",
        "12, 13",
    )
    assert "13.0.0, 13.0.1, 13.0.2" in [row["releases"] for row in toolkits]


def test_the_list_of_the_catalog_is_for_people_and_judged_by_a_date() -> None:
    lines = listed().splitlines()
    assert {"Driver branches", "CUDA toolkits", "cuDNN"} <= set(lines)
    assert max(map(len, lines)) <= 80

    def state(day: str) -> str:
        (line,) = [n for n in listed("--as-of", day).splitlines() if n.startswith("580 ")]
        return line.split()[2]

    assert (state("2028-06-30"), state("2028-07-01")) == ("supported", "ended")


# --- catalog refresh and check ---------------------------------------------------------------


PACKAGES = """\
Package: nvidia-open-580
Version: 580.200.05-1

Package: cuda-drivers
Version: 630.10.01-1

Package: nvidia-driver-pinning-570
Version: 570.300.01-1

Package: cuda-toolkit-13-0
Version: 13.0.9-1

Package: libcudnn9-cuda-13
Version: 9.99.0.1-1

Package: unrelated
Version: 999.1-1
"""
PRIMARY = """\
<?xml version="1.0"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" packages="1">
  <package type="rpm"><name>cuda-drivers</name><arch>x86_64</arch>
    <version epoch="3" ver="595.200.01" rel="1"/></package>
</metadata>
"""
REPOMD = """\
<?xml version="1.0"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo">
  <data type="primary"><location href="repodata/abc-primary.xml.gz"/></data>
</repomd>
"""
RELEASES = {
    "610": {"type": "production branch", "driver_info": [{"release_version": "610.99.01"}]},
    "580": {"type": "lts branch", "driver_info": [{"release_version": "580.65.06"}]},
}


def refreshed(*sources: Path) -> tuple[str, str]:
    arguments = ["refresh", *(part for path in sources for part in ("--from", str(path)))]
    result = CliRunner().invoke(catalog_group, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout, result.stderr


def changed_lines(patch: str) -> str:
    return "\n".join(line for line in patch.splitlines() if line.startswith("+ "))


def test_an_apt_index_proposes_facts_and_leaves_rules_to_people(tmp_path: Path) -> None:
    (tmp_path / "Packages.gz").write_bytes(gzip.compress(PACKAGES.encode()))
    patch, notes = refreshed(tmp_path / "Packages.gz")
    added = changed_lines(patch)
    for words in ('latest: "580.200.05"', '"13.0.9"]', '"9.99.0.1"]'):
        assert words in added
    assert [line for line in added.splitlines() if '"570"' in line and "pin: true" in line]
    assert "630" not in added
    assert "driver branch 630 is new" in notes
    assert "999" not in patch + notes


@pytest.mark.needs("patch")
def test_the_patch_applies_and_the_result_is_a_valid_catalog(tmp_path: Path) -> None:
    (tmp_path / "Packages").write_text(PACKAGES)
    copy = tmp_path / "gpuprep/catalog/nvidia.yml"
    copy.parent.mkdir(parents=True)
    copy.write_text(DATA_FILE.read_text())
    patch, _ = refreshed(tmp_path / "Packages")
    subprocess.run(
        ["patch", "-p1"], input=patch, text=True, cwd=tmp_path, check=True, capture_output=True
    )
    catalog = load(copy)
    assert catalog.branches["580"].latest == "580.200.05"
    assert catalog.branches["570"].pin
    assert catalog.toolkits["13.0"].releases[-1] == "13.0.9"


def test_an_rpm_repository_is_read_through_its_index(tmp_path: Path) -> None:
    folder = tmp_path / "repodata"
    folder.mkdir()
    (folder / "repomd.xml").write_text(REPOMD)
    (folder / "abc-primary.xml.gz").write_bytes(gzip.compress(PRIMARY.encode()))
    patch, _ = refreshed(folder / "repomd.xml")
    assert 'latest: "595.200.01"' in changed_lines(patch)


def test_nvidias_list_of_releases_gives_versions_and_kinds(tmp_path: Path) -> None:
    (tmp_path / "releases.json").write_text(json.dumps(RELEASES))
    added = changed_lines(refreshed(tmp_path / "releases.json")[0])
    assert '"610": {kind: "pb"' in added
    assert 'latest: "610.99.01"' in added
    assert '"580"' not in added


def test_nothing_new_is_an_empty_patch(tmp_path: Path) -> None:
    (tmp_path / "Packages").write_text("Package: nvidia-open-580\nVersion: 580.65.06-1\n")
    assert refreshed(tmp_path / "Packages") == ("", "")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("Packages", "hello", "no Packages index"),
        ("releases.json", '{"580": {}}', "cannot be understood"),
        ("primary.xml", "<metadata", "cannot be understood"),
        ("repomd.xml", '<repomd xmlns="http://linux.duke.edu/metadata/repo"/>', "primary"),
    ],
)
def test_a_wrong_source_is_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=words):
        refreshed(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot be read"):
        refreshed(tmp_path / "missing")


def test_check_warns_of_ended_branches_and_old_data() -> None:
    arguments = ["check", "--as-of", "2027-06-01", "--max-age", "30"]
    result = CliRunner().invoke(catalog_group, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "channel pb: driver branch 595 reached end of life on 2027-03-31" in result.stdout
    assert "gpus: last checked" in result.stdout
