"""Reading a host's answer: noise around it, odd values in it, text that would harm a terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from verify_cases import healthy

from gpuprep.model.text import LIMIT, clean, clean_line
from gpuprep.observe import ObservationError, new_marker, read, script
from gpuprep.observe.reading import DEPTH_LIMIT, SIZE_LIMIT, marker_line

MARKER = "3f9a"


def answer(change: dict[str, Any] | None = None) -> str:
    return json.dumps(healthy(change).observation)


def marked(text: str) -> str:
    return f"{marker_line(MARKER)}\n{text}\n"


# --- noise ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "noise",
    [
        ("", ""),
        ("Welcome to the host!\n", "bye bye\n"),
        ('{"schema": 7, "greeting": true}', '{"schema": 8}'),
        ("no newline at its end", "}}}]"),
        ("\udcff\x00", "\r\n"),
    ],
)
def test_noise_before_and_after_does_no_harm(noise: tuple[str, str]) -> None:
    before, after = noise
    assert read(before + marked(answer()) + after, MARKER) == read(answer())


def test_the_program_prints_its_marker_and_contains_no_answer_itself() -> None:
    marker = new_marker()
    program = script({}, marker=marker)
    command = [sys.executable, "-S", "-E", "-"]
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=True)
    echoed = program + done.stdout + "Connection closed."
    assert read(echoed, marker) == read(done.stdout)
    assert new_marker() != marker


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no observation but: ''"),
        ("Traceback: boom", "no observation but: 'Traceback: boom'"),
        (answer()[:900], "cut off or mixed up"),
        ('{"schema": 99}', "observation schema 99, expected 1"),
        ('{"schema": ' + "[" * 200_000, "cut off or mixed up"),
        ('{"schema": 1, "x": ' + "[" * 60 + "]" * 60 + "}", f"deeper than {DEPTH_LIMIT} levels"),
        ('{"schema": 1, "uid": 0}', "the key 'os' is missing"),
        (answer({"observation.uid": True}), "uid: expected int, found bool"),
        (answer({"observation.pci.1.slot": 3}), r"pci\[1\].slot: expected str, found int"),
        (answer({"observation.units": []}), "units: expected an object, found list"),
        (answer({"observation.package_manager.family": "apk"}), "family: 'apk' is none of deb"),
        (answer({"observation.uid": 10**30}), "uid: expected int, found null"),
        (answer({"observation.kernel.running": float("nan")}), "running: expected str, found null"),
        ('{"schema"' + " " * SIZE_LIMIT, "longer than 8 MiB"),
    ],
)
def test_what_is_no_observation_is_told(text: str, words: str) -> None:
    with pytest.raises(ObservationError, match=words) as caught:
        read(text)
    assert len(str(caught.value)) < 500


def test_a_marked_answer_needs_its_marker() -> None:
    with pytest.raises(ObservationError, match="no observation but"):
        read(marked(answer()), "other")
    with pytest.raises(ObservationError, match="no object but 3"):
        read(f"{marker_line(MARKER)}\n3", MARKER)


# --- odd values -----------------------------------------------------------------------------------
def test_numbers_that_no_machine_has_read_as_unknown() -> None:
    host = healthy({"probe": {"x": [float("nan"), float("inf"), 10**18, 7]}})
    text = json.dumps({**host.observation, "system_gcc": 123_454_321, "probe": host.probe})
    text = text.replace("Infinity", "1e999").replace("123454321", "9" * 5000)
    seen = read(text)
    assert (seen.system_gcc, seen.probe["x"]) == (None, [None, None, None, 7])


@pytest.mark.parametrize("odd", [3, "x", ["x"], {"a": 1}, {"a": {"b": None}}, {"a": {"b": {}}}])
def test_an_odd_marker_is_no_marker(odd: object) -> None:
    change = {"observation.conda.marker": odd, "observation.conda.envs.train.marker": odd}
    conda = read(answer(change)).conda
    assert (conda.marker, conda.envs["train"].marker) == (None, None)


def test_our_own_markers_are_read() -> None:
    mine: dict[str, Any] = {"digest": "d", "packages": {"numpy": "2.0-0"}}
    change = {
        "observation.conda.marker": {"installer": "26.1", "sha256": "s"},
        "observation.conda.envs.train.marker": mine,
    }
    conda = read(answer(change)).conda
    assert conda.marker == {"installer": "26.1", "sha256": "s"}
    assert conda.envs["train"].marker == mine


# --- text -----------------------------------------------------------------------------------------
HOSTILE = "a\x1b]0;title\x07b\x1b[2Jc\x9b31md\u202ee\x00f\x7fg\x85h\ud800i\u2028j"
HARMLESS = "abcd\ufffde\ufffdf\ufffdg\ufffdh\ufffdi\ufffdj"


def test_control_characters_of_a_host_go_no_further() -> None:
    change = {
        "observation.hostname": HOSTILE,
        "observation.packages": {HOSTILE: {"version": HOSTILE, "status": "installed"}},
    }
    seen = read(answer(change))
    assert seen.hostname == HARMLESS
    assert seen.packages[HARMLESS].version == HARMLESS


def test_clean_text_stays_and_long_text_is_cut() -> None:
    plain = "Grüße\tan\n日本 🖥"
    assert clean(plain) == plain
    assert clean("one\r\ntwo") == "one\ntwo"
    long = clean("x" * (LIMIT + 1))
    assert (len(long), long.endswith(" … (cut)")) == (LIMIT, True)
    assert clean_line("a\n b\t\x1b[1mc") == "a b c"


def test_an_error_names_the_key_without_its_control_characters() -> None:
    change = {"observation.files": {HOSTILE: 3}}
    with pytest.raises(ObservationError, match=f"files.{HARMLESS}: expected an object, found int"):
        read(answer(change))
