"""Console histories: what an instance has written while it booted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.oci import bodies
from sandbox.oci.places import GONE
from sandbox.oci.refusals import RefusedError
from sandbox.oci.routes import Json, Query, Result, Sent, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.oci.tenancy import Tenancy

_PATH: Final = "/instanceConsoleHistories"
# It moves on whenever somebody looks.
_NEXT: Final = {
    "REQUESTED": "GETTING-HISTORY", "GETTING-HISTORY": "SUCCEEDED", "SUCCEEDED": "SUCCEEDED",
}  # fmt: skip


class Consoles:
    """Captured, read and removed."""

    def __init__(self, tenancy: Tenancy) -> None:
        self._tenancy = tenancy

    def table(self) -> dict[tuple[str, str], tuple[Callable[..., Result], str]]:
        """Return the routes."""
        return {
            ("POST", _PATH): (self._capture, ""),
            ("GET", f"{_PATH}/{{id}}"): (self._history, ""),
            ("DELETE", f"{_PATH}/{{id}}"): (self._forget_history, ""),
            ("GET", f"{_PATH}/{{id}}/data"): (self._content, "offset length"),
        }

    def _capture(self, sent: Sent) -> Result:
        bodies.check(sent.body, "CaptureConsoleHistoryDetails")
        instance = self._tenancy.instances.get(sent.body["instanceId"])
        if instance is None or instance["lifecycleState"] in GONE:
            raise RefusedError(404)
        row = {
            "id": self._tenancy.new_id("consolehistory"), "instanceId": instance["id"],
            "compartmentId": instance["compartmentId"], "displayName": "history",
            "availabilityDomain": instance["availabilityDomain"], "lifecycleState": "REQUESTED",
            "timeCreated": self._tenancy.stamp(), "freeformTags": {}, "definedTags": {},
        }  # fmt: skip
        self._tenancy.histories[row["id"]] = {"row": row, "text": self._console(instance)}
        return Result(row)

    def _console(self, instance: Json) -> str:
        name, keys = instance["displayName"], self._tenancy.host_keys.get(instance["id"], "")
        lines = ["[    0.000000] Command line: console=ttyS0", f"Welcome to {name}"]
        if instance["lifecycleState"] == "RUNNING" and keys:
            # The lines by which cloud-init tells the keys.
            lines += ["-----BEGIN SSH HOST KEY KEYS-----", *keys.splitlines(),
                      "-----END SSH HOST KEY KEYS-----"]  # fmt: skip
        return "\r\n".join([*lines, f"{name} login: "])

    def _history(self, _: str, __: Query, ocid: str) -> Result:
        if ocid not in self._tenancy.histories:
            raise RefusedError(404)
        row = self._tenancy.histories[ocid]["row"]
        row["lifecycleState"] = _NEXT[row["lifecycleState"]]
        return Result(row)

    def _forget_history(self, _: Sent, ocid: str) -> Result:
        if self._tenancy.histories.pop(ocid, None) is None:
            raise RefusedError(404)
        return Result(empty=True)

    def _content(self, _: str, query: Query, ocid: str) -> Result:
        if ocid not in self._tenancy.histories:
            raise RefusedError(404)
        if self._tenancy.histories[ocid]["row"]["lifecycleState"] != "SUCCEEDED":
            raise RefusedError(404)  # it takes a moment
        text: str = self._tenancy.histories[ocid]["text"]
        start = number(query, "offset", 0)
        part = text[start : start + number(query, "length", 10240, least=1)]
        left = max(0, len(text) - start - len(part))
        return Result(text=part, headers={"opc-bytes-remaining": str(left)})
