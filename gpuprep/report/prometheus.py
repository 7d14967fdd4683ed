"""Prometheus' text format, for the textfile collector of its node exporter."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gpuprep.model import CheckStatus, HostStatus
from gpuprep.report.view import hosts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    # Labels and value of one series.
    Series = tuple[Mapping[str, object], float]

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_PROVES: Final = ("apply", "verify", "status")


def prometheus(result: Mapping[str, Any]) -> str:
    """Write a result as gauges: states, checks, versions, and when hosts were last proven.

    Ages are left to the server (``time() - gpuprep_host_proven_timestamp_seconds``): a file that
    tells an age goes stale, one that tells a time does not.
    """
    hosts = hosts_of(result)
    ended = _ended(result)
    proof = ended if result.get("verb") in _PROVES and not result.get("check") else None
    gauges: dict[str, tuple[str, Iterable[Series]]] = {
        "run_exit_code": (
            "Exit code of the run.",
            [({"verb": result.get("verb")}, int(result.get("exit_code") or 0))],
        ),
        "run_timestamp_seconds": (
            "When the run ended.",
            [] if ended is None else [({"verb": result.get("verb")}, ended)],
        ),
        "host_state": (
            "1 for the state that the host is in, 0 for all others.",
            (
                ({"host": host.get("name"), "state": state}, host.get("state") == state)
                for host in hosts
                for state in HostStatus
            ),
        ),
        "host_checks": (
            "Checks of the verification ladder by outcome.",
            (
                ({"host": host.get("name"), "status": status}, outcomes[status])
                for host in hosts
                for outcomes in [_outcomes(host)]
                for status in CheckStatus
            ),
        ),
        "host_check_failed": (
            "1 for each check that failed.",
            (
                ({"host": host.get("name"), "check": check.get("id")}, 1)
                for host in hosts
                for check in host.get("checks") or ()
                if check.get("status") == CheckStatus.FAILED
            ),
        ),
        "host_version_info": (
            "1 for each component with the version found.",
            (
                ({"host": host.get("name"), "component": component, "version": version}, 1)
                for host in hosts
                for component, version in (host.get("versions") or {}).items()
            ),
        ),
        "host_reboot_required": (
            "1 when the host has to be rebooted.",
            (({"host": host.get("name")}, bool(host.get("reboot_required"))) for host in hosts),
        ),
        "host_proven_timestamp_seconds": (
            "When a kernel last ran on the host's GPUs; absent while the host is not ready.",
            (
                ({"host": host.get("name")}, proof)
                for host in hosts
                if proof is not None and host.get("state") == HostStatus.READY
            ),
        ),
    }
    return "".join(_gauge(f"gpuprep_{name}", *gauge) for name, gauge in gauges.items())


def _ended(result: Mapping[str, Any]) -> float | None:
    """Return when the run ended, in seconds since 1970; None when the result does not say."""
    try:
        started = datetime.fromisoformat(str(result.get("started")))
    except ValueError:
        return None
    if started.tzinfo is None:
        started = started.replace(tzinfo=UTC)
    return started.timestamp() + float(result.get("seconds") or 0)


def _outcomes(host: Mapping[str, Any]) -> Counter[str]:
    return Counter(str(check.get("status")) for check in host.get("checks") or ())


def _gauge(name: str, meaning: str, series: Iterable[Series]) -> str:
    rows = [f"{name}{{{_labels(labels)}}} {float(value):.15g}\n" for labels, value in series]
    if not rows:
        return ""
    return f"# HELP {name} {meaning}\n# TYPE {name} gauge\n{''.join(rows)}"


def _labels(labels: Mapping[str, object]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: object) -> str:
    text = (
        str(value).encode("utf-8", "replace").decode()
    )  # what no file can hold is a question mark
    return text.translate(_ESCAPES)
