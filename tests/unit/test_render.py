from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from gpuprep.cli.progress import PlainProgress, line_of, progress
from gpuprep.errors import ExitCode
from gpuprep.model import (
    CheckResult,
    CheckStatus,
    CondaInstaller,
    CudaToolkit,
    Done,
    Family,
    FileDiff,
    FleetResult,
    HostResult,
    HostStatus,
    Message,
    Stack,
    Step,
    StepStatus,
)
from gpuprep.report import terminal
from gpuprep.report.outcome import explain_exit_code
from gpuprep.report.terminal import render
from gpuprep.report.text import checks_in_words
from gpuprep.run.events import Event, EventKind

STACK = Stack(
    family=Family.DEB,
    branch="580",
    flavour="open",
    cuda=(CudaToolkit("13.0", "x"), CudaToolkit("12.9", "y")),
    cudnn="9",
    conda=CondaInstaller("26.7.2-0", "u", "s"),
)
STEP = Step("conda.file.c", "conda", "file", "/c", "change", "differs", "old", "new")


def shown(result: FleetResult) -> str:
    stream = io.StringIO()
    render(result, result.exit_code, stream)
    return stream.getvalue()


def one(**more: object) -> FleetResult:
    host = HostResult(**{"name": "gpu1", "state": HostStatus.READY, **more})  # type: ignore[arg-type]
    return FleetResult("apply", {"gpu1": host})


def test_a_table_says_what_is_wanted_and_found_of_each_component() -> None:
    text = shown(one(stack=STACK, versions={"driver": "580.95.05", "conda": "26.7.2-0"}))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["gpu1"] == ["gpu1", "ready"]
    assert rows["component"] == ["component", "wanted", "found", "state"]
    assert rows["driver"] == ["driver", "580", "open", "580.95.05", "up", "to", "date"]
    assert rows["cuda"][1:4] == ["13.0,", "12.9", "-"]
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (StepStatus.PLANNED, "~ conda: change file /c (old -> new): differs"),
        (StepStatus.DONE, "+ conda: change file /c (old -> new): differs"),
        (StepStatus.FAILED, "! conda: change file /c (old -> new): differs"),
        (StepStatus.UNKNOWN, "? conda: change file /c (old -> new): differs"),
    ],
)
def test_steps_are_marked_by_their_outcome(status: StepStatus, line: str) -> None:
    step = Step(**{**{k: getattr(STEP, k) for k in STEP.__struct_fields__}, "status": status})
    text = shown(one(stack=STACK, steps=(step,)))
    assert f"  {line}" in text
    assert f"1 {status.value}" in text


def test_what_needs_attention_is_told_with_its_remedy() -> None:
    failed = CheckResult("cuda.run", CheckStatus.FAILED, "no kernel ran", remedy="reboot")
    passed = CheckResult("pci.device", CheckStatus.PASSED, "all there")
    text = shown(
        one(
            state=HostStatus.FAILED,
            code="E_RUNFILE",
            error="first\nsecond [bold]",
            checks=(failed, passed),
            warnings=(Message("W_EOL", "ends soon"),),
            reboot_required=True,
        )
    )
    for part in (
        "[E_RUNFILE]",
        "second [bold]",
        "failed: cuda.run: no kernel ran",
        "remedy: reboot",
        "W_EOL: ends soon",
        "a reboot is required",
    ):
        assert part in text
    assert "all there" not in text


def test_what_files_become_is_shown_line_by_line_and_unwrapped() -> None:
    long = "x" * 150
    diff = FileDiff("/etc/a", "kept\nold [b]\n", f"kept\n{long}\n")
    lines = shown(one(diffs=(diff, FileDiff("/etc/new", "", "all\n")))).splitlines()
    expected = ["--- /etc/a", "+++ /etc/a", "@@ -1,2 +1,2 @@", " kept", "-old [b]"]
    start = lines.index("  --- /etc/a")
    assert lines[start - 1] == ""
    assert lines[start : start + 5] == [f"  {line}" for line in expected]
    assert lines[start + 5] == f"  +{long}"
    assert lines[start + 6 : start + 8] == ["  --- /dev/null", "  +++ /etc/new"]


def test_what_a_host_did_is_told_with_its_times_when_all_is_told() -> None:
    done = Done("gpu_driver", "packages", "installed 3 packages", changed=True, seconds=12.34)
    result = one(operations=(done,))
    assert "12.3 s" not in shown(result)
    stream = io.StringIO()
    render(result, ExitCode.OK, stream, fold=False)
    assert "  * gpu_driver: installed 3 packages (12.3 s)" in stream.getvalue().splitlines()


def test_checks_are_all_told_with_their_times_when_all_is_told() -> None:
    checks = (
        CheckResult("nvml.answers", CheckStatus.PASSED, "8 GPUs", seconds=0.41),
        CheckResult("pci.device", CheckStatus.WARNED, "odd", seconds=0.001),
        CheckResult("burn.peer", CheckStatus.SKIPPED, "not tried"),
    )
    stream = io.StringIO()
    render(one(checks=checks), ExitCode.OK, stream, fold=False)
    lines = stream.getvalue().splitlines()
    assert "  passed: nvml.answers: 8 GPUs (0.4 s)" in lines
    assert "  warned: pci.device: odd (1 ms)" in lines
    assert not [line for line in lines if "burn.peer" in line]
    assert "  warned: pci.device: odd" in shown(one(checks=checks)).splitlines()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ((), "nothing had to be changed"),
        ("ab", "2 of 3 hosts changed, 1 was up to date"),
        ("a", "1 of 3 hosts changed, 2 were up to date"),
        ("abc", "3 of 3 hosts changed"),
    ],
)
def test_apply_tells_of_hosts_that_were_up_to_date(changed: str, words: str) -> None:
    hosts = {n: HostResult(n, HostStatus.READY, changed=n in changed) for n in "abc"}
    assert shown(FleetResult("apply", hosts)).splitlines()[-1] == f"exit code 0: 3 ready; {words}"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_reason_stands_before_everything_else_of_a_host() -> None:
    failed = CheckResult("cuda.run", CheckStatus.FAILED, "no kernel ran", remedy="reboot")
    bad = one(state=HostStatus.FAILED, error="it broke", stack=STACK, checks=(failed,))
    lines = [line.strip() for line in shown(bad).splitlines() if line.strip()]
    assert lines[1:4] == ["it broke", "failed: cuda.run: no kernel ran", "remedy: reboot"]
    assert lines[4].startswith("ladder:")


def test_the_last_line_is_wrapped_between_words_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"gpu-{number:02}.example" for number in range(5)]
    hosts = {name: HostResult(name, HostStatus.FAILED) for name in names}
    stream = Terminal()
    result = FleetResult("verify", hosts, warnings=("word " * 30,))
    render(result, ExitCode.ALL_HOSTS_FAILED, stream)
    lines = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    last = lines.index(next(line for line in lines if line.startswith("exit code 4")))
    assert all(line.startswith("      ") for line in lines[last + 1 :])
    for name in names:
        assert name in "".join(lines)
    assert shown(result).splitlines()[-1].endswith("gpu-04.example)")


def test_what_tags_left_out_is_said_at_the_end() -> None:
    left = one(state=HostStatus.DRIFTED, steps=(STEP, replace(STEP, status=StepStatus.DONE)))
    left = replace(left, tags=("install",))
    assert left.exit_code is ExitCode.OK
    assert shown(left).splitlines()[-1] == (
        "exit code 0: done in part, as the tags say, on 1 of 1 hosts"
    )
    assert replace(left, tags=()).exit_code is ExitCode.NOT_PROVEN
    planned = FleetResult("plan", {"a": HostResult("a", HostStatus.DRIFTED)}, tags=("install",))
    assert shown(planned).splitlines()[-1] == (
        "exit code 0: nothing to change by these tags on 1 host"
    )


def steps(role: str, *kinds: str, status: StepStatus = StepStatus.PLANNED) -> tuple[Step, ...]:
    return tuple(
        Step(f"{role}.{kind}.{n}", role, kind, f"/{kind}{n}", "create", "differs", status=status)
        for n, kind in enumerate(kinds)
    )


def test_what_a_role_does_in_many_steps_takes_one_line() -> None:
    planned = steps("gpu_driver", "key", "repository", "package", "package", "repository")
    lines = shown(one(steps=(*planned, STEP))).splitlines()
    folded = "  ~ gpu_driver: 5 steps: create key, 2 repositories, 2 packages"
    assert folded in lines
    assert "  ~ conda: change file /c (old -> new): differs" in lines
    assert not [line for line in lines if "/key0" in line]
    assert "Steps are summed up; -v tells each." in lines
    assert "-v tells" not in shown(one(steps=(STEP,)))
    stream = io.StringIO()
    render(one(steps=planned), ExitCode.OK, stream, fold=False)
    assert "  ~ gpu_driver: create key /key0: differs" in stream.getvalue().splitlines()


@pytest.mark.parametrize("status", [StepStatus.FAILED, StepStatus.UNKNOWN])
def test_steps_that_went_wrong_are_told_one_by_one(status: StepStatus) -> None:
    wrong = steps("conda", "a", "b", "c", "d", "e", status=status)
    text = shown(one(steps=(*steps("conda", "v", "w", "x", "y", status=StepStatus.DONE), *wrong)))
    assert "+ conda: 4 steps" in text
    assert text.count(f"{'!' if status is StepStatus.FAILED else '?'} conda: create") == 5


def test_hosts_with_the_same_story_are_told_together() -> None:
    same = {"state": HostStatus.DRIFTED, "stack": STACK, "steps": (STEP,)}
    hosts = {
        name: HostResult(name, **same)  # type: ignore[arg-type]
        for name in ("a", "c")
    }
    hosts["b"] = HostResult("b", HostStatus.DRIFTED, stack=STACK, steps=steps("conda", "x"))
    text = shown(FleetResult("plan", hosts))
    assert [line for line in text.splitlines() if line.endswith("drifted")] == [
        "a, c  drifted",
        "b  drifted",
    ]
    assert text.count("change file /c") == 1
    many = {f"h{n}": HostResult(f"h{n}", **same) for n in range(40)}  # type: ignore[arg-type]
    text = shown(FleetResult("plan", many))
    assert "h0, h1, h2, h3, h4, h5, h6, h7 and 32 more  drifted" in text.splitlines()
    assert text.count("change file /c") == 1


def test_what_does_not_fit_goes_on_further_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_WIDTH", 40)
    long = Step(
        "a", "conda", "file", "/a/long/path", "change", "it has another content than wished"
    )
    other = Step("b", "conda", "file", "/b", "change", "so")
    warning = Message("W_EOL", "the branch ends before the machine does, so plan ahead")
    lines = shown(one(steps=(long, other), warnings=(warning,))).splitlines()
    assert lines[1:6] == [
        "  ~ conda: change file /a/long/path: it",
        "      has another content than wished",
        "  ~ conda: change file /b: so",
        "  W_EOL: the branch ends before the",
        "      machine does, so plan ahead",
    ]


CLIMBED = (
    CheckResult("pci.device", CheckStatus.PASSED, "all there"),
    CheckResult("module.loaded", CheckStatus.SKIPPED, "no driver"),
    CheckResult("nvml.answers", CheckStatus.SKIPPED, "no driver"),
    CheckResult("burn.peer", CheckStatus.SKIPPED, "one GPU has no peer"),
)
BROKEN = CheckResult("xid.clean", CheckStatus.FAILED, "Xid 79")
WARNED = CheckResult("pcie.link", CheckStatus.WARNED, "8 of 16 lanes")


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        (CLIMBED[:3], "1 passed, 2 not tried (no driver), 0 failed"),
        (CLIMBED, "1 passed, 3 not tried (mostly: no driver), 0 failed"),
        ((CLIMBED[0], WARNED, BROKEN), "1 passed, 1 warned, 1 failed"),
        (CLIMBED[1:2], "0 passed, 1 not tried (no driver), 0 failed"),
    ],
)
def test_how_far_the_ladder_was_climbed_is_told_in_counts(
    checks: tuple[CheckResult, ...], words: str
) -> None:
    result = FleetResult("verify", {"gpu1": HostResult("gpu1", HostStatus.READY, checks=checks)})
    assert f"  ladder: {words}" in shown(result).splitlines()
    told = {"checks": [vars_of(check) for check in checks], "state": "prepared"}
    assert next(iter(checks_in_words("gpu1", told))) == f"gpu1: prepared; ladder: {words}"


def vars_of(check: CheckResult) -> dict[str, object]:
    return {name: getattr(check, name) for name in check.__struct_fields__}


def test_of_a_large_fleet_the_ladder_is_a_table() -> None:
    hosts = {f"h{n}": HostResult(f"h{n}", HostStatus.READY, checks=CLIMBED) for n in range(20)}
    hosts["h7"] = HostResult("h7", HostStatus.FAILED, checks=(*CLIMBED, BROKEN))
    text = shown(FleetResult("verify", hosts))
    rows = [line.split() for line in text.splitlines() if line.strip()]
    assert rows.count(["h3", "ready", "-", "-", "-", "-", "1", "3", "0"]) == 1, text
    assert ["h7", "failed", "-", "-", "-", "-", "1", "3", "1"] in rows
    assert "  ladder: 1 passed, 3 not tried (mostly: no driver), 1 failed" in text.splitlines()


def lines_on_terminal(
    result: FleetResult, columns: int, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    render(result, result.exit_code, stream)
    return re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue()).splitlines()


VERSIONS = {"driver": "580.95.05", "cuda": "13.0.2", "cudnn": "9.10.2.21", "conda": "26.7.2-0"}
OCI_NAME = "gpu-{:02}.sub123456.trainingvcn.oraclevcn.com"
LONG_NAME = "instance-2026-{:02}.sub0423151832.training-vcn-prod.oraclevcn.com"


def large(name: str, **more: str) -> FleetResult:
    """Return a fleet of which one host has failed, one is refused and one has another driver."""
    names = [name.format(number) for number in range(20)]
    good = {"versions": VERSIONS | more, "checks": CLIMBED}
    hosts = {each: HostResult(each, HostStatus.READY, **good) for each in names}  # type: ignore[arg-type]
    checks = (*CLIMBED, BROKEN)
    hosts[names[3]] = replace(hosts[names[3]], state=HostStatus.FAILED, checks=checks)
    hosts[names[5]] = HostResult(names[5], HostStatus.REFUSED, code="E_RUNFILE", error="a runfile")
    older = VERSIONS | more | {"driver": "570.211.01"}
    hosts[names[7]] = replace(hosts[names[7]], versions=older)
    return FleetResult("verify", hosts)


@pytest.mark.parametrize("more", [{}, {"faceswap": "0123456789ab"}])
@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("name", ["gpu-{:02}", "gpu-{:02}.fra.example", OCI_NAME, LONG_NAME])
def test_of_a_large_fleet_every_name_and_version_is_whole(
    name: str, columns: int, more: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = large(name, **more)
    lines = lines_on_terminal(result, columns, monkeypatch)
    words = " ".join(lines).replace(",", " ").split()
    for host in result.hosts.values():
        assert words.count(host.name) >= 1, lines
        assert set(host.versions.values()) <= set(words), lines
    assert "…" not in "".join(lines)
    assert all(len(line) <= columns for line in lines if ".oraclevcn" not in line), lines


def test_hosts_of_a_large_fleet_are_grouped_where_their_rows_are_too_wide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = lines_on_terminal(large(OCI_NAME), 80, monkeypatch)
    start = lines.index("17 hosts  ready")
    assert lines[start + 1 : start + 3] == [
        "  driver 580.95.05, cuda 13.0.2, cudnn 9.10.2.21, conda 26.7.2-0",
        "  1 passed, 3 not tried, 0 failed",
    ]
    good = [number for number in range(20) if number not in {3, 5, 7}]
    assert lines[start + 3 : start + 21] == [*(f"    {OCI_NAME.format(n)}" for n in good), ""]
    older = lines.index(f"{OCI_NAME.format(7)}  ready")
    assert lines[older + 1].startswith("  driver 570.211.01, cuda 13.0.2")
    refused = [n for n, line in enumerate(lines) if line == f"{OCI_NAME.format(5)}  refused"]
    assert lines[refused[0] + 1] == "", "it was left alone: there is nothing to tell"

    wide = lines_on_terminal(large("gpu-{:02}.fra.example"), 80, monkeypatch)
    start = wide.index("17 hosts  ready")
    assert [line.split() for line in wide[start + 3 : start + 5]] == [
        [f"gpu-{number:02}.fra.example" for number in row] for row in ((0, 9, 15), (1, 10, 16))
    ]
    applied = replace(large(OCI_NAME), verb="apply")
    assert "  not changed" in lines_on_terminal(applied, 80, monkeypatch)


def test_of_a_large_fleet_a_row_is_never_cut_in_a_file() -> None:
    result = large(LONG_NAME, faceswap="0123456789ab")
    rows = [line.split() for line in shown(result).splitlines()]
    for host in result.hosts.values():
        if host.versions:
            counts = ["1", "3", "1" if host.state is HostStatus.FAILED else "0"]
            assert [host.name, host.state.value, *host.versions.values(), *counts] in rows


def test_components_are_told_in_lines_where_their_table_is_too_wide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = one(stack=STACK, versions=VERSIONS)
    rows = [line.split() for line in lines_on_terminal(result, 80, monkeypatch)]
    assert ["driver", "580", "open", "580.95.05", "up", "to", "date"] in rows
    lines = lines_on_terminal(result, 40, monkeypatch)
    start = lines.index("  driver: wanted 580 open; found")
    assert lines[start + 1] == "      580.95.05; up to date"
    assert "component" not in "".join(lines)


def test_a_name_is_not_broken_at_its_hyphens(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"inst-train-gpu-cluster-h100-frankfurt-{number:02}" for number in range(5)]
    hosts = {name: HostResult(name, HostStatus.FAILED) for name in names}
    lines = lines_on_terminal(FleetResult("verify", hosts), 80, monkeypatch)
    last = lines.index(next(line for line in lines if line.startswith("exit code")))
    told = " ".join(lines[last:])
    assert all(name in told for name in names)


def test_a_refused_host_shows_its_reason_and_no_checks_that_it_could_not_pass() -> None:
    failed = CheckResult("module.on_disk", CheckStatus.FAILED, "no module", remedy="build it")
    lines = shown(
        one(state=HostStatus.REFUSED, code="E_RUNFILE", error="a runfile", checks=(failed,))
    ).splitlines()
    assert lines[:2] == ["gpu1  refused  [E_RUNFILE]", "  a runfile"]
    assert not [line for line in lines if "module" in line or "component" in line]


def test_a_large_fleet_is_a_summary_and_the_hosts_that_need_attention() -> None:
    hosts = {f"h{n}": HostResult(f"h{n}", HostStatus.READY) for n in range(40)}
    hosts["h7"] = HostResult("h7", HostStatus.FAILED, error="disk full")
    text = shown(FleetResult("apply", hosts))
    assert "disk full" in text
    assert sum(line.startswith(" h") for line in text.splitlines()) == 41  # and the heading
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize(
    ("states", "verb", "words"),
    [
        (["ready", "prepared"], "apply", "0: 1 prepared, 1 ready; nothing had to be changed"),
        (["ready", "refused"], "apply", "3: of 2 hosts, 1 refused (h1); 1 ready"),
        (
            ["prepared", "ready", "failed"],
            "verify",
            "3: of 3 hosts, 1 failed (h2); 1 prepared, 1 r",
        ),
        (["prepared", "failed"], "verify", "3: of 2 hosts, 1 failed (h1); 1 prepared, none proven"),
        (["prepared", "prepared"], "verify", "0: 2 prepared, none proven on a GPU"),
        (["prepared", "prepared"], "apply", "0: 2 prepared, none proven on a GPU; nothing had to"),
        (["ready", "ready"], "status", "0: 2 ready"),
        (["prepared", "drifted"], "apply", "5: not proven: 1 drifted (h1); 1 prepared, none prov"),
        (
            ["prepared", "refused"],
            "plan",
            "3: of 2 hosts, 1 refused (h1); nothing to change on the others",
        ),
        (["drifted", "refused"], "plan", "3: of 2 hosts, 1 refused (h1); changes are pending on 1"),
        (["prepared", "ready"], "plan", "0: nothing to change on 2 hosts"),
        (["failed", "unreachable"], "apply", "4: no host is ok: 1 failed (h0), 1 un"),
        (["drifted"], "apply", "5: not proven: 1 drifted (h0)"),
        (["drifted"], "plan", "0: nothing was touched; changes are pending on 1 of 1"),
    ],
)
def test_the_exit_code_in_words(states: list[str], verb: str, words: str) -> None:
    hosts = {
        f"h{index}": HostResult(
            f"h{index}", HostStatus(state), steps=(STEP,) if state == "drifted" else ()
        )
        for index, state in enumerate(states)
    }
    result = FleetResult(verb, hosts)
    assert explain_exit_code(result, result.exit_code).startswith(f"exit code {words}")


@pytest.mark.parametrize("code", list(ExitCode))
def test_every_exit_code_has_words(code: ExitCode) -> None:
    assert explain_exit_code(FleetResult("plan", {}), code).startswith(f"exit code {int(code)}: ")


# --- progress -----------------------------------------------------------------------------------


def event(kind: EventKind, text: str = "", **more: str) -> Event:
    return Event(kind, "2026-01-01T00:00:00Z", text=text, **more)


def test_a_play_without_hosts_is_not_told() -> None:
    stream = io.StringIO()
    with progress(stream) as show:
        show(event(EventKind.PLAY, "Observe"))
        show(event(EventKind.TASK, "Look"))
        show(event(EventKind.PLAY, "Converge"))
        show(event(EventKind.PLAY, "Report"))
        show(event(EventKind.FAILED, "no", host="b", task="Say"))
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines == ["== Observe", "== Report", "b: Say: FAILED: no"]


def test_plain_lines_tell_what_matters_and_skip_the_rest() -> None:
    stream = io.StringIO()
    with progress(stream) as show:
        show(event(EventKind.PLAY, "Converge"))
        show(event(EventKind.OK, host="a", task="Look"))
        show(event(EventKind.CHANGED, host="a", role="conda", task="Install"))
        show(event(EventKind.FAILED, "disk full", host="b", task="Copy"))
        show(event(EventKind.OUTPUT, "changed: [a]"))
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines == ["== Converge", "a: conda: Install: changed", "b: Copy: FAILED: disk full"]


def test_verbose_shows_the_output_of_ansible_instead() -> None:
    stream = io.StringIO()
    with progress(stream, verbosity=1) as show:
        show(event(EventKind.PLAY, "Converge"))
        show(event(EventKind.OUTPUT, "PLAY [Converge]"))
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == ["PLAY [Converge]"]


def test_quiet_shows_nothing() -> None:
    stream = io.StringIO()
    with progress(stream, quiet=True) as show:
        show(event(EventKind.FAILED, "disk full"))
    assert stream.getvalue() == ""


def test_a_long_silence_gets_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    plain = PlainProgress(stream)
    plain.show(event(EventKind.TASK, "Install packages"))
    plain.still_running()
    assert stream.getvalue() == ""
    monkeypatch.setattr("gpuprep.cli.progress._HEARTBEAT", -1.0)
    plain.still_running()
    assert "still running: Install packages" in stream.getvalue()


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_of_event_can_be_shown(kind: EventKind) -> None:
    line = line_of(event(kind, "text", host="a"))
    assert line is None or "text" in line or "changed" in line
