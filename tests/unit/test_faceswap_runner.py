"""The runner of a host, with the stand-in for Faceswap: whole, stopped, killed, torn, disturbed."""

from __future__ import annotations

import json
import signal
import time
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import pytest
from faceswap_rig import FRAMES, Rig, end, material, one_job, until, write

from gpuprep.on_host.faceswap import saves
from gpuprep.on_host.faceswap.progress import Lines, Progress, reason
from gpuprep.workloads.faceswap.jobs import load
from sandbox.faceswap import drawn

if TYPE_CHECKING:
    from pathlib import Path

LONG = {"model": "lightweight", "batch": 2, "target_iterations": 5000, "save_every": 10}


def test_a_job_goes_from_faces_to_a_labelled_video_once(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path)
    code, said = rig.run()
    assert code == 0, said
    assert "job demo is done" in said
    assert "\x1b" not in said
    assert "\r" not in said
    status = rig.status()
    assert (status["state"], status["iteration_reached"]) == ("done", 30)
    assert set(status["steps"].values()) == {"done"}
    assert len(list((rig.work / "faces-a").glob("*.png"))) == FRAMES
    video = rig.work / "out/demo.mp4"
    with av.open(str(video)) as made, av.open(str(tmp_path / "a.mp4")) as source:
        assert made.metadata["synthetic_media"] == "true"
        assert made.metadata["digital_source_type"].endswith("compositeWithTrainedAlgorithmicMedia")
        assert "Synthetic media" in made.metadata["comment"]
        assert made.streams.video[0].codec_context.name == "h264"
        pairs = list(zip(made.decode(video=0), source.decode(video=0), strict=True))
    assert len(pairs) == FRAMES
    for new, old in pairs:
        size = new.width * new.height
        grey = zip(new.to_image().convert("L").tobytes(), old.to_image().convert("L").tobytes(),
                   strict=True)  # fmt: skip
        assert sum(abs(x - y) > 12 for x, y in grey) / size > 0.05
    caption = pairs[0][0].to_image().convert("L").crop((250, 295, 320, 320))
    assert {min(caption.tobytes()) < 40, max(caption.tobytes()) > 200} == {True}
    sidecar = json.loads((rig.work / "out/demo.provenance.json").read_text())
    assert sidecar["synthetic_media"] is True
    assert sidecar["label"]["visible_caption"] is True
    assert sidecar["iterations"] == 30
    before = video.stat().st_mtime_ns
    code, said = rig.run()
    assert (code, said) == (0, "nothing to do\n")
    assert video.stat().st_mtime_ns == before


def test_without_a_caption_the_sidecar_says_so(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path, convert={"source": "a.mp4", "caption": False})
    assert rig.run()[0] == 0
    sidecar = json.loads((rig.work / "out/demo.provenance.json").read_text())
    assert sidecar["label"]["visible_caption"] is False
    with av.open(str(rig.work / "out/demo.mp4")) as made:
        assert made.metadata["synthetic_media"] == "true"
        assert sum(1 for _ in made.decode(video=0)) == FRAMES


def test_a_stop_saves_and_the_next_start_goes_on_to_the_target(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path, train=LONG)
    runner = rig.start()
    until(lambda: (rig.status().get("iteration") or 0) >= 15)
    reached = rig.status()["iteration"]
    runner.send_signal(signal.SIGINT)
    said, _ = runner.communicate(timeout=30)
    assert runner.returncode == 0, said
    assert rig.status()["state"] == "stopped"
    stopped_at = rig.iterations()
    assert stopped_at >= reached
    assert saves.whole(str(rig.work / "model"), "lightweight")
    assert not (rig.work / "train.done").exists()
    job = rig.job
    rig.place(replace(job, train=replace(job.train, target_iterations=stopped_at + 5)))
    code, said = rig.run()
    assert code == 0, said
    assert f"[#{stopped_at + 1:05d}]" in said
    assert rig.iterations() == stopped_at + 5


def test_a_stop_before_the_first_iteration_ends_at_once_and_writes_nothing(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path, train=LONG)
    runner = rig.start()
    until(lambda: rig.status().get("step") == "train")
    until(rig.child)
    runner.send_signal(signal.SIGINT)
    said, _ = runner.communicate(timeout=20)
    assert runner.returncode == 0, said
    assert not rig.model(".keras").exists()
    assert "Saving Model" not in said


def test_a_second_stop_does_not_disturb_the_save(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path, train=LONG)
    runner = rig.start()
    until(lambda: (rig.status().get("iteration") or 0) >= 15)
    runner.send_signal(signal.SIGINT)
    time.sleep(0.1)  # an iteration takes 0.02 s, a save 0.2 s
    for signum in (signal.SIGINT, signal.SIGTERM):
        runner.send_signal(signum)
    said, _ = runner.communicate(timeout=30)
    assert runner.returncode == 0, said
    assert "Traceback" not in said
    assert saves.whole(str(rig.work / "model"), "lightweight")


def test_a_killed_runner_goes_on_from_the_last_whole_save(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path, train=LONG)
    runner = rig.start()
    until(lambda: (rig.work / "saves/safe").is_dir() and rig.iterations() >= 10)
    child = rig.child()
    runner.kill()
    end(child)
    runner.wait()
    reached = saves.iterations(str(rig.work / "saves/safe"), "lightweight")
    job = rig.job
    rig.place(replace(job, train=replace(job.train, target_iterations=reached + 30)))
    code, said = rig.run()
    assert code == 0, said
    assert rig.iterations() == reached + 30


@pytest.mark.parametrize("part", ["model", "optimizer", "state"])
def test_a_save_that_was_cut_off_is_replaced_by_the_last_whole_one(
    tmp_path: Path, part: str
) -> None:
    rig = Rig.make(tmp_path)
    assert rig.run()[0] == 0
    good = rig.model(".keras").read_bytes()
    if part == "model":
        rig.model(".keras").write_bytes(good[: len(good) // 2])
    elif part == "optimizer":  # the model is newer than its state
        with zipfile.ZipFile(rig.model(".keras"), "a") as archive:
            archive.writestr("more.pt", "x")
    else:
        rig.model("_state.json").write_text('{"iterations": ')
    job = rig.job
    rig.place(replace(job, train=replace(job.train, target_iterations=35)))
    code, said = rig.run()
    assert code == 0, said
    assert "restored the one of iteration 30" in said
    assert rig.iterations() == 35


def test_a_save_is_copied_once(tmp_path: Path) -> None:
    model, store = tmp_path / "model", tmp_path / "store"
    for place in (model, store):
        place.mkdir()
    copy = store / "safe/lightweight.keras"

    def save(iterations: int) -> bool:
        with zipfile.ZipFile(model / "lightweight.keras", "w") as archive:
            archive.writestr("model.weights.h5", "x" * iterations)
        (model / "lightweight_state.json").write_text(json.dumps({"iterations": iterations}))
        return bool(saves.keep(str(model), "lightweight", str(store)))

    assert save(1)
    first = copy.stat()
    assert saves.keep(str(model), "lightweight", str(store))
    assert saves.settle(str(model), "lightweight", str(store)) == ""
    assert (copy.stat().st_ino, copy.stat().st_ctime_ns) == (first.st_ino, first.st_ctime_ns)
    assert save(2)
    assert copy.stat().st_ino != first.st_ino
    assert saves.iterations(str(store / "safe"), "lightweight") == 2


def test_a_first_save_that_was_cut_off_is_taken_away(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path)
    rig.model(".keras").parent.mkdir(parents=True)
    rig.model(".keras").write_bytes(b"half")
    code, said = rig.run()
    assert code == 0, said
    assert "training begins anew" in said
    assert rig.iterations() == 30


def test_an_altered_input_is_not_used(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path)
    victim = rig.base / "inputs" / rig.job.a.sources[0].sha256
    victim.write_bytes(victim.read_bytes() + b"x")
    code, said = rig.run()
    assert code == 78, said  # the unit does not try that again
    assert "was altered" in said
    assert rig.status()["state"] == "failed"


def test_faces_of_other_sources_do_not_go_into_a_model(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path)
    assert rig.run()[0] == 0
    material(tmp_path, frames=30)
    rig.place(load(write(tmp_path, one_job())).jobs[0])
    code, said = rig.run()
    assert code == 78, said
    assert "other faces" in said


def test_too_few_faces_are_told_at_once_and_more_of_them_begin_a_model(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path)
    landmarks = tmp_path / "b_alignments.json"
    known = json.loads(landmarks.read_text())
    landmarks.write_text(json.dumps(known | {name: [] for name in list(known)[:2]}))
    rig.place(load(write(tmp_path, one_job())).jobs[0])
    code, said = rig.run()
    assert code == 78, said
    assert f"side b has {FRAMES - 2} faces" in rig.status()["message"]
    material(tmp_path, frames=30)
    rig.place(load(write(tmp_path, one_job())).jobs[0])
    code, said = rig.run()
    assert code == 0, said


def test_folders_of_pictures_with_the_same_names_are_trained_on_together(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / f"b{number}"
        folder.mkdir()
        known = {}
        for count in range(20):
            picture, points = drawn.frame(drawn.B, count * number)
            picture.save(folder / f"{count:02d}.png")
            known[f"{count:02d}.png"] = [{"detected": [40, 40, 280, 280], "landmarks_2d": points}]
        (folder / "alignments.json").write_text(json.dumps(known))
    rig = Rig.make(tmp_path, b={"subject": "drawn-b", "sources": ["b1", "b2"]})
    code, said = rig.run()
    assert code == 0, said
    assert len(list((rig.work / "faces-b").glob("*.png"))) == 40


def test_what_faceswap_refuses_is_told_without_the_rest_of_its_log() -> None:
    said = [
        "Setting Faceswap backend from environment variable to CPU",
        "11/29/2026 14:00:54 WARNING  Results are likely to be poor.",
        "11/29/2026 14:00:54 ERROR    Side A contains fewer than 25 images.",
        "11/29/2026 14:00:54 ERROR    Aim for between 500 - 5000 images per side.",
    ]
    assert reason(said) == [
        "Side A contains fewer than 25 images.",
        "Aim for between 500 - 5000 images per side.",
    ]
    crash = [
        "11/29/2026 14:00:54 ERROR    Got Exception on main handler:",
        "Traceback (most recent call last):",
        "ValueError: no such layer",
        "11/29/2026 14:00:55 CRITICAL An unexpected crash has occurred. Crash report written to",
        "something behind it",
    ]
    assert reason(crash) == ["ValueError: no such layer"]
    assert reason(["one", "two", "three", "four"]) == ["two", "three", "four"]
    assert reason([]) == []


def test_a_failing_step_is_told_with_faceswaps_own_words(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path)
    source = rig.base / "source/faceswap.py"
    source.write_text("import no_such_module\n")
    code, said = rig.run()
    assert code == 1
    assert "No module named 'no_such_module'" in rig.status()["message"], said


def test_a_video_that_cannot_be_labelled_is_not_put_out(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path)
    label = rig.base / "runner/gpuprep_on_host/faceswap/label.py"
    label.write_text("import sys; sys.exit('no PyAV')")
    code, said = rig.run()
    assert code == 1, said
    assert "E_FS_LABEL" in rig.status()["message"]
    assert not (rig.work / "out").exists()


def test_two_jobs_of_one_gpu_wait_for_each_other(tmp_path: Path) -> None:
    rig = Rig.make(tmp_path, train=LONG)
    first = rig.start()
    until(lambda: rig.status().get("iteration"))
    second = Rig(rig.base, replace(rig.job, name="other"))
    second.place(second.job)
    waiting = second.start()
    until(lambda: second.status().get("state") == "waiting")
    waiting.send_signal(signal.SIGTERM)
    waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert second.status()["state"] == "stopped"
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=20)
    assert first.returncode == 0


def test_lines_end_in_carriage_returns_too_and_lose_their_escapes() -> None:
    lines = Lines()
    assert lines.feed(b"one\rtw") == ["one"]
    assert lines.feed(b"o\n\x1b[2K\r\x1b[32mgreen\x1b[0m\n") == ["two", "green"]
    assert lines.feed(b"\xff rest") == []
    assert lines.rest() == ["\ufffd rest"]
    assert lines.rest() == []


def test_progress_is_read_from_lines() -> None:
    times = iter(range(100))
    progress = Progress(clock=lambda: float(next(times)))
    assert progress.rate is None
    for number in range(30):
        assert progress.read(f"[10:00:00] [#{number * 2:05d}] Loss A: 0.5, Loss B: 0.25")
    assert (progress.iteration, progress.losses) == (58, [0.5, 0.25])
    assert progress.rate == 2.0
    assert progress.read("Extracting:  50%| 20/40 [00:01<00:01]")
    assert progress.frames == [20, 40]
    assert not progress.read("[Saved model]")
    assert progress.read("[10:00:00] [#00060] Loss A: nan?, Loss B: x")
    assert progress.losses is None
