"""JUnit XML: what CI systems show. A suite for the states, one for the ladder."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from gpuprep.report.view import hosts_of, is_good, sentence, title_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# Characters that XML 1.0 cannot hold at all; drivers and compilers print them.
_UNSPEAKABLE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_LOOKED_AT: Final = ("unreachable", "unknown")


def junit(result: Mapping[str, Any]) -> str:
    """Write a result as JUnit XML.

    ``hosts`` has one case per host: a failure when its state is not good, an error when it could
    not be looked at. ``ladder`` has one case per host and check: failed, skipped (with the
    reason) or passed; warnings pass and are told in ``system-out``.
    """
    hosts = hosts_of(result)
    root = ET.Element("testsuites", name=f"gpuprep {result.get('verb')}")
    states = _suite(root, "hosts", result)
    _properties(states, result.get("run") or {})
    ladder = _suite(root, "ladder", result)
    for host in hosts:
        _state_case(states, host, good=is_good(host, result))
        for check in host.get("checks") or ():
            _check_case(ladder, str(host.get("name")), check)
    if not len(ladder):
        root.remove(ladder)
    for suite in root:
        _count(suite)
    _count(root)
    root.set("time", str(result.get("seconds") or 0))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, name: str, result: Mapping[str, Any]) -> ET.Element:
    suite = ET.SubElement(root, "testsuite", name=name)
    if result.get("started"):
        suite.set("timestamp", str(result["started"]).removesuffix("Z").split("+")[0])
    return suite


def _properties(suite: ET.Element, run: Mapping[str, Any]) -> None:
    """Write down what was run; CI systems show it beside the cases."""
    if run:
        element = ET.SubElement(suite, "properties")
        for name, value in run.items():
            said = value if isinstance(value, str) else json.dumps(value)
            ET.SubElement(element, "property", name=_text(name), value=_text(said))


def _text(value: object) -> str:
    return _UNSPEAKABLE.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _case(suite: ET.Element, classname: str, name: str, seconds: object = None) -> ET.Element:
    return ET.SubElement(
        suite,
        "testcase",
        classname=_text(classname),
        name=_text(name),
        time=str(seconds or 0),
    )


def _state_case(suite: ET.Element, host: Mapping[str, Any], *, good: bool) -> None:
    state = str(host.get("state"))
    case = _case(suite, "state", str(host.get("name")))
    if not good:
        tag = "error" if state in _NOT_LOOKED_AT else "failure"
        told = ET.SubElement(case, tag, type=state, message=_text(sentence(host) or state))
        told.text = _text(
            "\n".join(
                f"{step.get('id')}: {step.get('reason')} [{step.get('status')}]"
                for step in host.get("steps") or ()
            )
        )


def _check_case(suite: ET.Element, host: str, check: Mapping[str, Any]) -> None:
    # A case keeps its name whatever its outcome: CI systems follow it from run to run.
    title = title_of({"id": check.get("id")})
    case = _case(suite, host, f"{check.get('id')} ({title})", check.get("seconds"))
    detail = _text(check.get("detail"))
    if check.get("status") == "failed":
        failure = ET.SubElement(case, "failure", type=str(check.get("id")), message=detail)
        failure.text = _text(_story(check))
    elif check.get("status") == "skipped":
        ET.SubElement(case, "skipped", message=detail)
    elif check.get("status") == "warned":
        ET.SubElement(case, "system-out").text = _text(f"warning: {_story(check)}")


def _story(check: Mapping[str, Any]) -> str:
    parts = ("detail", "expected", "observed", "evidence", "remedy")
    return "\n".join(f"{part}: {check[part]}" for part in parts if check.get(part))


def _count(element: ET.Element) -> None:
    cases = list(element.iter("testcase"))
    element.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(tag) is not None for case in cases)))
