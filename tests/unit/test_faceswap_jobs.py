"""Files of jobs: all that can be wrong is told at once, by its code, before a host is asked."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import struct
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from faceswap_rig import FRAMES, material, one_job, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpuprep.errors import ConfigError
from gpuprep.on_host.faceswap import steps
from gpuprep.workloads.faceswap import decide, description, program
from gpuprep.workloads.faceswap.jobs import Jobs, load, plugins
from gpuprep.workloads.faceswap.media import MediaError, digest, frames_of
from gpuprep.workloads.faceswap.problems import JobsError

if TYPE_CHECKING:
    from collections.abc import Iterator

TODAY = dt.date(2026, 6, 1)
INSTALLED = {
    "schema": 1, "python": "/e/bin/python", "source": "/s", "commit": "c" * 40, "lock": "0" * 64,
    "variant": "cu130", "backend": "nvidia", "user": "faceswap", "root": "/var/lib/f", "uid": 990,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with drawn material, a consent manifest's statement, weights and oddities."""
    made = tmp_path_factory.mktemp("jobs")
    material(made)
    (made / "statement.pdf").write_bytes(b"I agree.")
    (made / "empty.mp4").touch()
    (made / "text.mp4").write_bytes(b"not a video at all, whatever its name is")
    (made / "cut.mp4").write_bytes((made / "a.mp4").read_bytes()[:-200])
    (made / "bare.mp4").write_bytes((made / "a.mp4").read_bytes())
    (made / "s3fd_torch_v3.pth").write_bytes(b"weights")
    (made / "notes.txt").write_text("x")
    (made / "hollow").mkdir()
    (made / "pictures").mkdir()
    (made / "pictures/1.png").write_bytes(b"png")
    (made / "pictures/alignments.json").write_text("{}")
    return made


def consent(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return a manifest that is right, with changes for its first subject."""
    subjects = [
        {
            "subject": name,
            "statement": {"file": "statement.pdf", "sha256": digest(folder / "statement.pdf")},
            "signer": f"{name} herself",
            "date": dt.date(2026, 1, 1),
            "expires": dt.date(2026, 12, 31),
            "purpose": ["film", "test"],
            "sources": [digest(folder / f"{name[-1]}.mp4")],
        }
        for name in ("drawn-a", "drawn-b")
    ]
    subjects[0] = {k: v for k, v in (subjects[0] | changes).items() if v is not None}
    return {"subjects": subjects}


def codes_of(folder: Path, *jobs: dict[str, Any], **more: Any) -> list[str]:
    return [problem.split("]")[0][1:] for problem in told(folder, *jobs, **more)]


def told(folder: Path, *jobs: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(JobsError) as refused:
        load(write(folder, *jobs, **more), TODAY)
    return [str(problem) for problem in refused.value.problems]


def good(folder: Path, **changes: Any) -> Jobs:
    return load(write(folder, one_job(**changes)), TODAY)


def test_a_right_job_is_read_with_all_that_it_names(folder: Path) -> None:
    (job,) = good(folder).jobs
    assert job.a.sources[0].frames == FRAMES
    assert job.a.sources[0].sha256 == digest(folder / "a.mp4")
    assert job.convert.source == job.a.sources[0]
    assert job.consent.synthetic
    assert job.convert.caption
    assert job.output == folder / "out/demo.mp4"


CONSENT_CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"expires": dt.date(2026, 5, 31)}, "expired on 2026-05-31"),
    "not yet": ({"date": dt.date(2026, 6, 2)}, "is to come"),
    "purpose": ({"purpose": "advertising"}, "the job for 'film'"),
    "other source": ({"sources": ["0" * 64]}, "does not name a.mp4"),
    "altered statement": (
        {"statement": {"file": "statement.pdf", "sha256": "0" * 64}}, "has another digest"),
    "no statement": (
        {"statement": {"file": "gone.pdf", "sha256": "0" * 64}}, "gone.pdf, cannot be read"),
    "other subject": ({"subject": "somebody"}, "no consent of subject drawn-a"),
    "no signer": ({"signer": None}, "signer is missing"),
    "empty signer": ({"signer": " "}, "signer: expected a text"),
    "unknown key": ({"valid": True}, "valid is unknown"),
    "no date": ({"date": "soon"}, "date: expected a date"),
    "no digest": ({"sources": ["abc"]}, "expected a list of SHA-256"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONSENT_CHANGES)
def test_consent_that_does_not_cover_the_job_is_refused(folder: Path, case: str) -> None:
    changes, words = CONSENT_CHANGES[case]
    (folder / "consent.yml").write_text(yaml.safe_dump(consent(folder, **changes)))
    job = one_job(consent="consent.yml", purpose="film")
    problems = told(folder, job)
    assert all("[E_FS_CONSENT]" in problem for problem in problems)
    assert any(words in problem for problem in problems), problems


def test_consent_that_covers_the_job_is_enough(folder: Path) -> None:
    (folder / "consent.yml").write_text(yaml.safe_dump(consent(folder)))
    (job,) = good(folder, consent="consent.yml", purpose="film").jobs
    assert description.describe(job)["consent"] == {
        "synthetic_material": False,
        "manifest_sha256": digest(folder / "consent.yml"),
        "subjects": ["drawn-a", "drawn-b"],
    }


@pytest.mark.parametrize(
    "given_consent",
    [None, False, True, "gone.yml", {}, {"synthetic": False}, {"synthetic": "yes"},
     {"synthetic": True, "subjects": []}, {"required": False}, "notes.txt"],
)  # fmt: skip
def test_nothing_switches_consent_off(folder: Path, given_consent: object) -> None:
    (folder / "consent.yml").write_text(yaml.safe_dump(consent(folder)))
    assert set(codes_of(folder, one_job(consent=given_consent))) == {"E_FS_CONSENT"}


def test_without_a_purpose_no_persons_consent_can_hold(folder: Path) -> None:
    (folder / "consent.yml").write_text(yaml.safe_dump(consent(folder)))
    (problem,) = told(folder, one_job(consent="consent.yml"))
    assert "purpose" in problem


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gone.mp4", "is not there"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "is no MP4 file"),
        ("cut.mp4", "cut off"),
        ("notes.txt", "is no video"),
        ("hollow", "without pictures"),
        ("bare.mp4", "bare_alignments.json is not there"),
        ("a\n.mp4", "control characters"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(folder: Path, source: str, words: str) -> None:
    problems = told(folder, one_job(b={"subject": "drawn-b", "sources": [source]}))
    assert [problem.split("]")[0][1:] for problem in problems] == ["E_FS_SOURCE"]
    assert words in problems[0]


def test_a_folder_of_pictures_is_a_source_but_no_video(folder: Path) -> None:
    b = {"subject": "drawn-b", "sources": ["b.mp4", "pictures"]}
    (job,) = good(folder, b=b).jobs
    assert job.b.sources[1].frames == 1
    lines = f"{hashlib.sha256(b'png').hexdigest()}  1.png\n"
    assert job.b.sources[1].sha256 == hashlib.sha256(lines.encode()).hexdigest()
    a = {"subject": "drawn-a", "sources": ["a.mp4", "pictures"]}
    (problem,) = told(folder, one_job(a=a, convert={"source": "pictures"}))
    assert "no frame rate" in problem


def test_a_source_is_named_once(folder: Path) -> None:
    b = {"subject": "drawn-b", "sources": ["b.mp4", "b.mp4"]}
    (problem,) = told(folder, one_job(b=b))
    assert "job demo cannot use the source b.mp4, which is on side b twice" in problem


@pytest.mark.parametrize(("every_nth", "sides"), [(1, ""), (2, "ab"), (100, "ab")])
def test_a_side_with_fewer_frames_than_are_trained_with_is_refused(
    folder: Path, every_nth: int, sides: str
) -> None:
    job = one_job(extract={"every_nth": every_nth})
    if not sides:
        assert good(folder, extract={"every_nth": every_nth})
        return
    for side, problem in zip(sides, told(folder, job), strict=True):
        assert f"[E_FS_FACES] job demo: side {side} has {-(-FRAMES // every_nth)} fr" in problem


@pytest.mark.parametrize(("detector", "frames"), [("file", "2"), ("s3fd", "1")])
def test_what_is_converted_is_extracted_whole_where_faces_are_looked_for(
    folder: Path, detector: str, frames: str
) -> None:
    weights = [{"file": "s3fd_torch_v3.pth", "sha256": digest(folder / "s3fd_torch_v3.pth")}]
    long = folder / "long"
    long.mkdir(exist_ok=True)
    material(long, 2 * FRAMES)
    job = one_job(
        a={"subject": "drawn-a", "sources": ["long/a.mp4"]},
        b={"subject": "drawn-b", "sources": ["long/b.mp4"]},
        convert={"source": "long/a.mp4"},
        extract={"detector": detector, "aligner": "file", "every_nth": 2},
        weights=weights,
    )
    described = description.describe(load(write(folder, job), TODAY).jobs[0])
    place = steps.Place(described, INSTALLED, "/inputs")
    extracted = [steps.arguments(place, one, "/faces") for one in steps.steps(place)[:2]]
    assert [one[one.index("-N") + 1] for one in extracted] == [frames, "2"]


def test_a_side_whose_frames_are_not_known_is_left_to_the_host(folder: Path) -> None:
    (folder / "odd.mkv").write_bytes(b"x")
    (folder / "odd_alignments.json").write_text("{}")
    assert good(folder, b={"subject": "drawn-b", "sources": ["odd.mkv"]})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"extract": {"detector": "retinaface"}}, "retinaface_v*.pth (release 32"),
        ({"extract": {"detector": "file", "aligner": "hrnet"}}, "hrnet_landmark_v*.pth"),
        ({"convert": {"source": "a.mp4", "mask": "unet-dfl"}}, "DFL_256_sigmoid_v2.pth"),
        ({"weights": [{"file": "s3fd_torch_v3.pth", "sha256": "0" * 64}]}, "another digest"),
        ({"weights": [{"file": "gone.pth", "sha256": "0" * 64}]}, "cannot be read"),
    ],
)  # fmt: skip
def test_weights_must_be_brought_and_be_what_they_were(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    problems = told(folder, one_job(**changes))
    assert {problem.split("]")[0][1:] for problem in problems} == {"E_FS_WEIGHTS"}
    assert any(words in problem for problem in problems)


def test_weights_that_are_brought_are_enough(folder: Path) -> None:
    weights = [{"file": "s3fd_torch_v3.pth", "sha256": digest(folder / "s3fd_torch_v3.pth")}]
    (job,) = good(folder, extract={"detector": "s3fd", "aligner": "file"}, weights=weights).jobs
    assert weights[0]["sha256"] in description.inputs([job])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "Demo"}, "lower-case"),
        ({"name": "../x"}, "lower-case"),
        ({"name": None}, "lower-case"),
        ({"outputs": "x.mp4"}, "outputs: unknown key, did you mean output?"),
        ({"output": "demo.avi"}, ".mp4"),
        ({"output": None}, "output is missing"),
        ({"train": {"model": "lightweight"}}, "target_iterations is missing"),
        ({"train": {"target_iterations": 0}}, "from 1 to"),
        ({"train": {"target_iterations": True}}, "expected a whole number"),
        ({"train": {"target_iterations": 5, "model": "best"}}, "'best' is none of"),
        ({"train": {"target_iterations": 5, "gpus": [0, 0]}}, "different GPU numbers"),
        ({"train": {"target_iterations": 5, "gpus": "0"}}, "list of whole numbers"),
        ({"train": {"target_iterations": 5, "iterations": 5}}, "did you mean target_iterations?"),
        ({"convert": {"source": "b.mp4"}}, "one of the sources of side a"),
        ({"convert": {"source": "a.mp4", "caption": "no"}}, "expected true or false"),
        ({"convert": {"source": "a.mp4", "label": False}}, "label: unknown key"),
        ({"extract": {"every_nth": 1.5}}, "whole number"),
        ({"a": {"subject": "x", "sources": []}}, "list of texts"),
        ({"a": "a.mp4"}, "expected a mapping"),
    ],
)
def test_a_key_that_is_wrong_is_named(folder: Path, changes: dict[str, Any], words: str) -> None:
    problems = told(folder, {k: v for k, v in (one_job() | changes).items() if v is not None})
    assert any(words in problem for problem in problems), problems


@pytest.mark.parametrize("section", ["a", "b", "train", "convert"])
def test_a_section_that_is_missing_is_told_without_its_keys(folder: Path, section: str) -> None:
    problems = [one for one in told(folder, one_job(**{section: None})) if section in one]
    assert len(problems) == 1, problems
    assert f"{section} is missing" in problems[0]


def test_all_that_is_wrong_is_told_at_once(folder: Path) -> None:
    job = one_job(name="X", consent=None, b={"subject": "b", "sources": ["gone.mp4"]}, color=1)
    assert set(codes_of(folder, job)) == {"E_FS_JOB", "E_FS_CONSENT", "E_FS_SOURCE"}


def test_two_jobs_have_names_and_outputs_of_their_own(folder: Path) -> None:
    assert len(codes_of(folder, one_job(), one_job())) == 2
    assert codes_of(folder, one_job(), one_job(name="other")) == ["E_FS_JOB"]


def test_a_job_needs_its_host_only_where_there_are_several(folder: Path) -> None:
    jobs = good(folder)
    assert [job.name for job in jobs.on("g1", ["g1"])] == ["demo"]
    with pytest.raises(JobsError, match="name the host"):
        jobs.on("g1", ["g1", "g2"])
    named = good(folder, host="g2")
    assert named.on("g1", ["g1", "g2"]) == ()
    assert len(named.on("g2", ["g1", "g2"])) == 1
    with pytest.raises(JobsError, match="is no host of this run"):
        named.on("g1", ["g1"])


def test_signing_needs_both_files(folder: Path) -> None:
    more = {"faceswap_c2pa": {"certificate": "statement.pdf", "key": "gone.pem"}}
    (problem,) = told(folder, one_job(), **more)
    assert "gone.pem is not there" in problem


@pytest.mark.parametrize("text", ["", "[]", "a: [", "faceswap_jobs: []", "faceswap_jobs: 3",
                                  "faceswap_jobs: [3]", "x: 1\nx: 2", "\x00"])  # fmt: skip
def test_a_file_that_is_no_file_of_jobs_is_refused(folder: Path, text: str) -> None:
    path = folder / "odd.yml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load(path, TODAY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.dates(),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(key=st.sampled_from([*one_job(), "weights", "purpose", "host"]), value=JSON)
@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_value_does_anything_but_pass_or_be_refused(
    folder: Path, key: str, value: object
) -> None:
    path = folder / "fuzz.yml"
    path.write_text(yaml.safe_dump({"faceswap_jobs": [one_job() | {key: value}]}))
    try:
        made = load(path, TODAY)
    except ConfigError:
        return
    description.describe(made.jobs[0])


@given(data=st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_of_a_video_breaks_the_reader(folder: Path, data: bytes) -> None:
    path = folder / "fuzz.mp4"
    path.write_bytes(struct.pack(">I4s", 16, b"ftyp") + b"isom0000" + data)
    with contextlib.suppress(MediaError):
        assert (frames_of(path) or 0) >= 0


def test_every_plugin_that_downloads_names_its_weights() -> None:
    for kind in ("detectors", "aligners", "masks"):
        for files in plugins()[kind].values():
            assert all(set(one) == {"file", "release"} for one in files)


# --- on the host --------------------------------------------------------------------------------


def seen(jobs: Jobs, /, **changes: Any) -> dict[str, Any]:
    """Return what a host says that has all that the jobs need, and nothing of theirs yet."""
    return {
        "installed": INSTALLED,
        "free_mb": {"base": 50_000, "root": 50_000},
        "memory_mb": 64_000,
        "inputs": [],
        "gpu_processes": [],
        "jobs": {job.name: {"unit": {"ActiveState": "inactive"}} for job in jobs.jobs},
        "placed": {},
    } | changes


def refusals(jobs: Jobs, answer: dict[str, Any]) -> list[str]:
    with pytest.raises(JobsError) as refused:
        decide.work(jobs.jobs, answer, "/usr/bin/python3")
    return [problem.code for problem in refused.value.problems]


def test_everything_is_brought_and_started_at_first_and_nothing_when_it_is_done(
    folder: Path,
) -> None:
    jobs = good(folder)
    answer = seen(jobs)
    first = decide.work(jobs.jobs, answer, "/usr/bin/python3")
    assert set(first.missing) == set(description.inputs(jobs.jobs))
    assert first.start == ("demo",)
    unit = first.files[program.UNIT_FILE]
    assert "{" not in unit.replace("%i", "")
    assert "User=faceswap" in unit
    assert set(first.files) <= set(decide.watched_files(jobs.jobs, None))
    answer |= {
        "inputs": list(first.missing),
        "placed": {p: hashlib.sha256(t.encode()).hexdigest() for p, t in first.files.items()},
    }
    answer["jobs"]["demo"] |= {"status": {"state": "done"}, "output": True}
    assert not decide.work(jobs.jobs, answer, "/usr/bin/python3").anything
    answer["jobs"]["demo"]["output"] = False
    assert decide.work(jobs.jobs, answer, "/usr/bin/python3").start == ("demo",)


def test_a_job_that_runs_is_left_alone_unless_it_was_changed(folder: Path) -> None:
    jobs = good(folder)
    answer = seen(jobs)
    answer["jobs"]["demo"]["unit"]["ActiveState"] = "active"
    changed = decide.work(jobs.jobs, answer, "/usr/bin/python3")
    assert changed.start == changed.anew == ("demo",)
    answer["placed"] = {p: hashlib.sha256(t.encode()).hexdigest() for p, t in changed.files.items()}
    assert decide.work(jobs.jobs, answer, "/usr/bin/python3").start == ()
    assert decide.work(jobs.jobs, answer, "/usr/bin/python3", stop=True).stop == ("demo",)


def model(**changes: Any) -> dict[str, Any]:
    return {"trainer": "lightweight", "iterations": 10, "batches": [2]} | changes


def on_host() -> Iterator[tuple[str, dict[str, Any], str]]:
    yield "no record", {"installed": None}, "E_FS_INSTALL"
    yield "other schema", {"installed": INSTALLED | {"schema": 2}}, "E_FS_INSTALL"
    yield "half a record", {"installed": {"schema": 1, "uid": 1}}, "E_FS_INSTALL"
    yield "no user", {"installed": INSTALLED | {"uid": None}}, "E_FS_INSTALL"
    yield (
        "a line in a path",
        {"installed": INSTALLED | {"root": "/x\nExecStart=/y"}},
        "E_FS_INSTALL",
    )
    yield "a specifier in a path", {"installed": INSTALLED | {"root": "/x%i"}}, "E_FS_INSTALL"
    yield "no room for models", {"free_mb": {"base": 50_000, "root": 800}}, "E_FS_DISK"
    yield "trainer", {"jobs": {"demo": {"model": model(trainer="dfl_sae")}}}, "E_FS_MODEL"
    yield "batch", {"jobs": {"demo": {"model": model(batches=[2, 4])}}}, "E_FS_MODEL"
    begun = {"model": model(), "begun": {"faces": "x"}}
    yield "other faces", {"jobs": {"demo": begun}}, "E_FS_MODEL"
    yield "busy", {"gpu_processes": [[0, 7, "python"]]}, "E_FS_BUSY"


@pytest.mark.parametrize("case", list(on_host()), ids=lambda case: case[0])
def test_what_the_host_cannot_do_is_refused(
    folder: Path, case: tuple[str, dict[str, Any], str]
) -> None:
    jobs = good(folder)
    assert refusals(jobs, seen(jobs, **case[1])) == [case[2]]


def test_a_gpu_that_the_job_does_not_use_may_be_busy(folder: Path) -> None:
    jobs = good(folder)
    assert decide.work(jobs.jobs, seen(jobs, gpu_processes=[[1, 7, "x"]]), "/p").start == ("demo",)


def test_too_little_memory_for_the_limit_is_refused(folder: Path) -> None:
    train = {"target_iterations": 5, "memory_gib": 100}
    assert refusals(good(folder, train=train), seen(good(folder))) == ["E_FS_JOB"]


def test_a_target_that_is_reached_is_warned_of(folder: Path) -> None:
    jobs = good(folder)
    faces = decide.trained_on(description.describe(jobs.jobs[0]))
    there = {"demo": {"model": model(iterations=31), "begun": {"faces": faces}}}
    warned = decide.work(jobs.jobs, seen(jobs, jobs=there), "/p").warnings
    assert [one.code for one in warned] == ["W_FS_TARGET"]


def test_a_file_of_somebody_elses_is_not_overwritten(folder: Path) -> None:
    jobs = good(folder)
    output = jobs.jobs[0].output
    output.parent.mkdir(exist_ok=True)
    assert list(decide.output_problems(jobs.jobs)) == []
    output.write_bytes(b"x")
    assert [one.code for one in decide.output_problems(jobs.jobs)] == ["E_FS_OUTPUT"]
    decide.sidecar_of(output).write_text('{"job": {"name": "demo"}}')
    assert list(decide.output_problems(jobs.jobs)) == []
    output.unlink()


def test_a_bundle_holds_each_file_under_its_digest(folder: Path, tmp_path: Path) -> None:
    files = description.inputs(good(folder).jobs)
    description.bundle(files, list(files), tmp_path / "bundle.tar")
    with tarfile.open(tmp_path / "bundle.tar") as archive:
        for member in archive:
            stream = archive.extractfile(member)
            assert stream is not None
            assert hashlib.sha256(stream.read()).hexdigest() == member.name
    assert Path(tmp_path / "bundle.tar").stat().st_size > 0
