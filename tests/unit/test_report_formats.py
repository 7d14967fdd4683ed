"""Every format says what the result says, whatever the result holds."""

from __future__ import annotations

import base64
import copy
import dataclasses
import hashlib
import html.parser
import json
import re
from typing import Any

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from report_cases import fleet

from gpuprep import codes, model
from gpuprep.components import NAMES
from gpuprep.errors import ConfigError
from gpuprep.ladder.checks import CHECKS
from gpuprep.layout import package_root
from gpuprep.report.formats import FORMATS, render, validate
from gpuprep.report.schema import schema
from gpuprep.report.view import counts_of, headline, hosts_of, sentence

FLEET = fleet(60, seed=3)
NASTY = "</script><img src=x onerror=alert(1)>|`*_\x00\x1b[31m\u2028 @DATA@ @SCRIPT@"


def one(**changes: Any) -> dict[str, Any]:
    """Give a fleet of one host, changed."""
    result = fleet(1)
    next(iter(result["hosts"].values())).update(changes)
    return result


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found.group(1))  # type: ignore[no-any-return]


def test_the_sample_has_every_state() -> None:
    big = fleet(400, seed=5)
    assert set(counts_of(hosts_of(big))) >= {
        "failed",
        "unreachable",
        "refused",
        "drifted",
        "ready",
    }


# --- JSON and its schema ------------------------------------------------------------------------
def test_results_fit_the_schema() -> None:
    validate(FLEET)
    validate(json.loads(render(FLEET, "json")))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("host", model.HostResult),
        ("step", model.Step),
        ("check", model.CheckResult),
        ("message", model.Message),
        ("reason", model.Reason),
        ("run", model.RunInfo),
    ],
)
def test_schema_names_every_field_of_the_model(name: str, kind: type) -> None:
    described = set(schema()["$defs"][name]["properties"])
    assert described == {field.name for field in dataclasses.fields(kind)}


def test_schema_and_model_know_the_same_states() -> None:
    defs = schema()["$defs"]
    assert set(defs["host"]["properties"]["state"]["enum"]) == set(model.HostStatus)
    assert set(defs["check"]["properties"]["status"]["enum"]) == set(model.CheckStatus)
    assert set(defs["step"]["properties"]["status"]["enum"]) == set(model.StepStatus)
    fields = {field.name for field in dataclasses.fields(model.FleetResult)}
    added = {"schema", "exit_code", "against", "changes"}
    assert set(schema()["properties"]) == fields | added


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("schema",), 2, "schema"),
        (("verb",), "destroy", "verb"),
        (("hosts",), [], "hosts"),
        (("seconds",), -1, "seconds"),
    ],
)
def test_wrong_results_are_told_where(path: tuple[str, ...], value: object, says: str) -> None:
    wrong = copy.deepcopy(FLEET)
    wrong[path[0]] = value
    with pytest.raises(ConfigError, match=f"at {says}"):
        validate(wrong)


@pytest.mark.parametrize("fmt", ["html", "markdown", "junit"])
@pytest.mark.parametrize("wrong", [{}, {"hosts": 3}, {"hosts": {"a": {"checks": [{"id": "x"}]}}}])
def test_reports_of_something_else_say_so(fmt: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not a result of gpuprep"):
        render(wrong, fmt)


def test_unknown_format_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="html, markdown, junit, json"):
        render(FLEET, "pdf")


@pytest.mark.parametrize("fmt", FORMATS)
def test_unknown_keys_and_checks_of_a_newer_version_are_survived(fmt: str) -> None:
    newer = one(moon="full")
    newer["phase"] = {"of": "the moon"}
    host = next(iter(newer["hosts"].values()))
    host["checks"].append({"id": "quantum.entangled", "status": "passed", "detail": "yes", "x": 1})
    validate(newer)
    # Markdown and Prometheus name the checks that failed only.
    assert "quantum.entangled" in render(newer, fmt) or fmt in {"markdown", "prometheus"}


@pytest.mark.parametrize("fmt", FORMATS)
def test_an_empty_fleet_has_a_report(fmt: str) -> None:
    assert render({**FLEET, "hosts": {}}, fmt)


# --- headline and sentence ----------------------------------------------------------------------
def states(*names: str) -> dict[str, Any]:
    hosts = {f"h{i}": {"name": f"h{i}", "state": name} for i, name in enumerate(names)}
    return {"schema": 1, "verb": "verify", "hosts": hosts}


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((), "No hosts"),
        (("ready",), "h0 ready"),
        (("ready", "ready"), "All 2 hosts ready"),
        (("ready", "failed", "ready"), "2 of 3 hosts ready"),
        (("prepared", "failed"), "1 of 2 hosts prepared, none proven"),
        (("prepared", "prepared"), "All 2 hosts prepared"),
    ],
)
def test_headline(names: tuple[str, ...], says: str) -> None:
    assert headline(states(*names)) == says


def test_worst_hosts_come_first() -> None:
    found = [host["state"] for host in hosts_of(states("ready", "drifted", "failed", "prepared"))]
    assert found == ["failed", "drifted", "prepared", "ready"]


def test_sentence_is_the_error_or_the_worst_check() -> None:
    check = {"id": "xid.clean", "status": "failed", "detail": "Xid 79"}
    warned = {"id": "pcie.link", "status": "warned", "detail": "8 of 16 lanes"}
    assert sentence({"error": "no route", "code": "E_X", "checks": [check]}) == "E_X: no route"
    assert sentence({"checks": [warned, check]}).endswith("Xid 79 (and 1 more)")
    assert sentence({"steps": [{"status": "planned"}]}) == "1 step to do"
    assert sentence({"state": "ready"}) == ""


REFUSED = {
    "name": "r",
    "state": "refused",
    "code": "E_RUNFILE_PRESENT",
    "error": "a runfile-installed driver was found",
    "stack": {"family": "deb"},
    "checks": [{"id": "module.on_disk", "status": "failed", "detail": "no module"}],
}


def test_of_a_refused_host_only_the_reason_is_a_problem() -> None:
    result = {**states(), "verb": "apply", "hosts": {"r": REFUSED, "s": {**REFUSED, "name": "s"}}}
    data = data_of(render(result, "html"))
    assert [problem[0] for problem in data["problems"]] == ["E_RUNFILE_PRESENT"]
    assert [(host["planned"], len(host["checks"])) for host in data["hosts"]] == [(False, 1)] * 2
    text = render(result, "markdown")
    assert "runfile" in text
    assert "no module" not in text


# --- what is wrong, in words -------------------------------------------------------------------
def host(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "state": "failed", **more}


def of(*hosts: dict[str, Any]) -> dict[str, Any]:
    return {**states(), "verb": "apply", "hosts": {each["name"]: each for each in hosts}}


def problems(result: dict[str, Any]) -> dict[str, str]:
    return {number: title for number, title, *_ in data_of(render(result, "html"))["problems"]}


@pytest.mark.parametrize("status", ["failed", "warned"])
def test_a_check_that_does_not_hold_is_told_as_what_is_wrong(status: str) -> None:
    for check in CHECKS:
        entry = {"id": check.id, "status": status, "detail": "so"}
        result = of(host("a", checks=[entry]), host("b", checks=[entry]))
        assert problems(result) == {check.id: check.failure}
        assert sentence(result["hosts"]["a"]) == f"{check.failure}: so"
        text = render(result, "markdown").replace("\\", "")
        assert f"- {check.failure}: 2 hosts" in text
        assert f"**{check.title}**" not in text
    texts = [text for check in CHECKS for text in (check.title, check.failure)]
    assert len(set(texts)) == len(texts)


def test_names_of_junit_cases_do_not_change_with_the_outcome() -> None:
    for status in ("passed", "failed"):
        checks = [{"id": "xid.clean", "status": status, "detail": "so"}]
        text = render(of(host("a", checks=checks)), "junit")
        assert "xid.clean (No driver errors (Xid) in the kernel log)" in text


def test_hosts_with_warnings_stand_before_those_that_are_just_ready() -> None:
    warned = [{"id": "xid.clean", "status": "warned", "detail": "so"}]
    hosts = [host("a"), host("b", checks=warned), host("c", state="drifted"), host("d")]
    named = {each["name"]: {"state": "ready", **each} for each in hosts}
    for name in "abd":
        named[name]["state"] = "ready"
    assert [each["name"] for each in hosts_of({"hosts": named})] == ["c", "b", "a", "d"]


def test_codes_are_problems_in_words() -> None:
    same = [host(name, code="E_DISK_X", error="7 MiB free\nin /opt") for name in "ab"]
    assert problems(of(*same)) == {"E_DISK_X": "7 MiB free in /opt"}
    settings = [host(name, code="E_CONFIG", error=f"{name} is wrong") for name in "ab"]
    assert problems(of(*settings)) == {"E_CONFIG": codes.table()["E_CONFIG"].remedy}
    branches = [host(name, code="E_BRANCH_UNKNOWN", error=f"branch {name}") for name in "ab"]
    assert problems(of(*branches)) == {
        "E_BRANCH_UNKNOWN": "driver branch … is not in the catalog; known: …"
    }
    odd = [host(name, code="E_NEWER", error=f"{name}") for name in "ab"]
    assert problems(of(*odd)) == {"E_NEWER": "E_NEWER"}


def test_no_code_is_told_with_places_that_are_not_filled() -> None:
    for code in codes.table():
        result = of(host("a", code=code, error="x"), host("b", code=code, error="y"))
        (title,) = problems(result).values()
        assert "{" not in title
        assert len(re.findall("[a-z]+", title)) > 2


def test_warnings_are_in_the_row_and_among_the_problems() -> None:
    warning = {"code": "W_HOST_GLIBC", "message": "nvcc compiles nothing", "nearest": None}
    well = {**host("a", warnings=[warning]), "state": "prepared"}
    result = of(well, host("b", code="E_X", error="no", warnings=[warning]))
    assert problems(result) == {"E_X": "no", "W_HOST_GLIBC": "nvcc compiles nothing"}
    rows = {row["name"]: row["say"] for row in data_of(render(result, "html"))["hosts"]}
    assert rows == {"a": "W_HOST_GLIBC: nvcc compiles nothing", "b": "E_X: no"}
    text = render(result, "markdown").replace("\\", "")
    assert "- nvcc compiles nothing (W_HOST_GLIBC): 2 hosts" in text
    assert "W_HOST_GLIBC" in next(line for line in text.splitlines() if line.startswith("| a"))


RUN = {
    "id": "5f0c",
    "by": "ops@bastion",
    "gpuprep": "9.8.7",
    "ansible_core": "2.19.14",
    "inventory": ["/srv/gpus.oci.yml"],
    "limit": "gpu_h100",
    "settings": {"gpuprep_verify_tier": "full", "gpu_driver_persistence": False},
    "variable_files": ["/srv/more.yml"],
    "finished": "2026-11-21T02:01:26+00:00",
}


@pytest.mark.parametrize("fmt", ["html", "markdown", "junit"])
def test_every_report_tells_what_was_run(fmt: str) -> None:
    text = render({**of(host("a")), "run": RUN}, fmt).replace("\\", "")
    for word in (
        "5f0c",
        "ops@bastion",
        "9.8.7",
        "2.19.14",
        "/srv/gpus.oci.yml",
        "gpu_h100",
        "full",
    ):
        assert word in text, word
    older = render(of(host("a")), fmt)
    assert "ops@bastion" not in older


def test_problems_are_told_before_warnings() -> None:
    warning = {"code": "W_HOST_GLIBC", "message": "no", "nearest": None}
    slow = {"id": "pcie.link", "status": "warned", "detail": "8 of 16 lanes"}
    hosts = [host(name, warnings=[warning], checks=[slow]) for name in "abc"]
    assert list(problems(of(*hosts, host("d", code="E_X", error="no")))) == [
        "E_X",
        "pcie.link",
        "W_HOST_GLIBC",
    ]


def test_how_the_checks_went_is_in_the_table() -> None:
    checks = [{"id": "xid.clean", "status": each, "detail": "x"} for each in ("passed", "skipped")]
    row = next(
        line
        for line in render(of(host("a", checks=checks)), "markdown").splitlines()
        if line.startswith("| a")
    )
    assert "1 passed, 1 not tried" in row


# --- JUnit --------------------------------------------------------------------------------------
def test_junit_is_read_by_a_stock_parser_with_the_right_counts() -> None:
    suites = list(JUnitXml.fromstring(render(FLEET, "junit").encode()))
    assert [suite.name for suite in suites] == ["hosts", "ladder"]
    states_suite, ladder = suites
    hosts = FLEET["hosts"].values()
    checks = [check for host in hosts for check in host["checks"]]
    assert states_suite.tests == len(hosts)
    assert states_suite.failures + states_suite.errors == sum(
        host["state"] not in {"ready", "prepared"} for host in hosts
    )
    assert ladder.tests == len(checks)
    assert ladder.failures == sum(check["status"] == "failed" for check in checks) > 0
    assert ladder.skipped == sum(check["status"] == "skipped" for check in checks) > 0
    kinds = {type(entry) for suite in suites for case in suite for entry in case.result}
    assert kinds >= {Failure, Skipped}


def test_junit_unreachable_is_an_error_and_plan_counts_drift_as_fine() -> None:
    result = states("unreachable", "drifted")
    cases = list(next(iter(JUnitXml.fromstring(render(result, "junit").encode()))))
    assert [type(entry) for case in cases for entry in case.result] == [Error, Failure]
    planned = {**result, "verb": "plan"}
    cases = list(next(iter(JUnitXml.fromstring(render(planned, "junit").encode()))))
    assert [type(entry) for case in cases for entry in case.result] == [Error]


def test_junit_holds_what_xml_cannot() -> None:
    check = {"id": "xid.clean", "status": "failed", "detail": NASTY, "evidence": "\x07\ud800"}
    suites = list(JUnitXml.fromstring(render(one(checks=[check]), "junit").encode()))
    message = next(iter(suites[1])).result[0].message
    assert "</script><img src=x onerror=alert(1)>" in message
    assert "\N{REPLACEMENT CHARACTER}" in message


# --- Markdown -----------------------------------------------------------------------------------
def test_markdown_says_counts_problems_and_remedies() -> None:
    text = render(FLEET, "markdown")
    assert headline(FLEET) in text.splitlines()[0]
    for one_host in hosts_of(FLEET):
        assert str(one_host["name"]) in text
        if one_host["state"] == "failed":
            assert f"## {one_host['name']}: failed" in text


def test_markdown_cells_cannot_be_broken_out_of() -> None:
    row = next(
        line
        for line in render(one(name=NASTY, error="a|b\nc"), "markdown").splitlines()
        if "a\\|b" in line and line.startswith("|")
    )
    assert row.count("|") - row.count("\\|") == 6 + len(NAMES)
    assert "\\<img" in row


def test_markdowns_title_takes_no_markup_from_the_name_of_its_one_host() -> None:
    title = render(one(name="gpu_[1](http://x)<b>"), "markdown").splitlines()[0]
    assert "gpu\\_\\[1\\](http://x)\\<b\\> " in title


def test_markdown_of_a_big_fleet_stays_small() -> None:
    assert len(render(fleet(400), "markdown")) < 200_000


# --- the page -----------------------------------------------------------------------------------
class Outside(html.parser.HTMLParser):
    """Collect everything on a page that could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "action", "data"} and value != "data:,":
                self.found.append(f"{tag} {name}={value}")


def test_page_holds_the_whole_result() -> None:
    data = data_of(render(FLEET, "html"))
    assert len(data["hosts"]) == len(FLEET["hosts"])
    for host in data["hosts"]:
        told = FLEET["hosts"][host["name"]]
        assert host["state"] == told["state"]
        for check, (number, status, detail, *_, seconds) in zip(
            told["checks"], host["checks"], strict=True
        ):
            assert data["checks"][number]["id"] == check["id"]
            assert ["passed", "failed", "warned", "skipped"][status] == check["status"]
            assert data["strings"][detail] == check["detail"]
            assert seconds == check["seconds"]


def test_page_loads_nothing_and_forbids_it() -> None:
    page = render(FLEET, "html")
    outside = Outside()
    outside.feed(page)
    assert outside.found == []
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy.group(1).startswith("default-src 'none'")
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert body is not None
        digest = base64.b64encode(hashlib.sha256(body.group(1).encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy.group(1)


def test_hostile_texts_stay_texts() -> None:
    check = {"id": "xid.clean", "status": "failed", "detail": NASTY, "evidence": NASTY}
    page = render(one(name=NASTY, error=NASTY, checks=[check]), "html")
    outside = Outside()
    outside.feed(page)
    assert outside.tags.count("script") == 2
    assert "img" not in outside.tags
    data = data_of(page)
    assert data["hosts"][0]["name"] == NASTY
    assert NASTY in data["strings"]


def test_page_of_a_thousand_hosts_is_small() -> None:
    assert len(render(fleet(1000), "html").encode()) < 4_000_000


def test_page_explains_gpus_and_sources() -> None:
    data = data_of(render(fleet(2), "html"))
    assert data["hosts"][1]["gpus"] == "8 \N{MULTIPLICATION SIGN} H100 SXM5 80GB"
    assert any("Supported Drivers" in text for text in data["strings"])


# --- to be read -------------------------------------------------------------------------------
GROUNDS, NO_TEXT = {"paper", "card", "quiet"}, {"line", "skipped"}


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_stands_out_from_every_ground(scheme: int) -> None:
    """As WCAG 2 asks of ordinary text, level AA."""
    style = (package_root() / "report/page.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    assert colours.keys() > GROUNDS | NO_TEXT
    for text in colours.keys() - GROUNDS - NO_TEXT:
        for ground in GROUNDS:
            dark, light = sorted(luminance(colours[name]) for name in (text, ground))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)
