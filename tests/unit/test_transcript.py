from __future__ import annotations

from typing import Any

import pytest

from gpuprep.model import Done, FileDiff
from gpuprep.run.events import Event, EventKind
from gpuprep.run.redact import MASK, Redactor
from gpuprep.run.transcript import Transcript


def transcript(*events: dict[str, Any], seen: list[Event] | None = None) -> Transcript:
    made = Transcript((seen if seen is not None else []).append, Redactor(["the-secret"]))
    for event in events:
        made.add(event)
    return made


def task(verdict: str, host: str = "a", **result: Any) -> dict[str, Any]:
    ignored = result.pop("ignored", False)
    data = {"host": host, "task": "Copy", "role": "gpuprep.core.conda", "res": result}
    return {"event": f"runner_on_{verdict}", "event_data": {**data, "ignore_errors": ignored}}


def stats(**lost: dict[str, int]) -> dict[str, Any]:
    return {"event": "playbook_on_stats", "event_data": lost}


def test_output_is_kept_without_secrets_and_colours() -> None:
    made = transcript({"event": "verbose", "stdout": "\x1b[0;31mERROR! the-secret\x1b[0m"})
    assert made.output == f"ERROR! {MASK}"


def test_a_failure_says_where_and_hides_secrets() -> None:
    seen: list[Event] = []
    made = transcript(
        task("failed", msg="E_DISK: no the-secret"), stats(failures={"a": 1}), seen=seen
    )
    failure = made.failures["a"]
    assert (failure.role, failure.task, failure.code) == ("conda", "Copy", "E_DISK")
    assert failure.message == f"E_DISK: no {MASK}"
    assert [event.text for event in seen if event.kind is EventKind.FAILED] == [failure.message]


def test_what_a_rescue_has_mended_or_the_task_ignores_is_no_failure() -> None:
    rescued = transcript(task("failed", msg="x"), stats(failures={}))
    assert rescued.failures == {}
    ignored = transcript(task("failed", msg="x", ignored=True))
    assert ignored.failures == {}


def test_before_the_end_every_failure_counts() -> None:
    made = transcript(task("failed", msg="x"))
    assert (set(made.failures), made.complete) == ({"a"}, False)


def test_an_unreachable_host_is_told_from_a_failed_one() -> None:
    made = transcript(task("unreachable", msg="no route"), stats(dark={"a": 1}))
    assert made.failures["a"].unreachable
    assert made.exit_code == 4


def test_host_tasks_and_changes_are_counted() -> None:
    made = transcript(
        task("ok", changed=True), task("ok", "b", changed=False), task("skipped", "b")
    )
    assert (made.host_tasks, made.changed) == (3, {"a"})


@pytest.mark.parametrize(
    "event",
    [{}, {"event": "verbose"}, {"event": "runner_on_ok"}, {"event": "new", "event_data": 1}],
)
def test_events_without_data_are_taken(event: dict[str, Any]) -> None:
    assert transcript(event).failures == {}


def converging(**result: Any) -> dict[str, Any]:
    event = task("ok", **result)
    event["event_data"]["task_action"] = "gpuprep.core.converge"
    return event


def test_what_a_host_did_is_kept_with_its_times_and_without_secrets() -> None:
    done = {"op": "files", "changed": True, "detail": "wrote /a the-secret", "seconds": 0.25}
    odd = {"op": "hold", "changed": "yes", "detail": None, "seconds": "long"}
    made = transcript(converging(operations=[done]), converging(operations=[odd]), task("ok"))
    assert made.operations == {
        "a": [
            Done("conda", "files", f"wrote /a {MASK}", changed=True, seconds=0.25),
            Done("conda", "hold", "", changed=False),
        ]
    }


def test_what_files_became_is_kept_without_secrets() -> None:
    change = {"after_header": "/etc/a", "before": "the-secret\n", "after": "\x1b[1mnew\n"}
    made = transcript(converging(diff=[change, change]), task("ok", diff=[change]))
    assert made.diffs == {"a": [FileDiff("/etc/a", f"{MASK}\n", "new\n")]}
