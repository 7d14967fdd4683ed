"""A tenancy on loopback in which fleets are launched, and ways to look at what came of it."""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gpuprep.oci import Options
from gpuprep.oci.provision import settings
from gpuprep.oci.provision.fleet import provision
from gpuprep.oci.provision.reach import Answer, Reached
from gpuprep.oci.provision.tools import Tools

if TYPE_CHECKING:
    from pathlib import Path

    from gpuprep.oci.provision.reach import Login
    from gpuprep.oci.provision.result import ProvisionResult
    from sandbox.oci import keys
    from sandbox.oci.server import Emulator
    from sandbox.oci.tenancy import Tenancy

A10 = "VM.GPU.A10.1"
H100 = "BM.GPU.H100.8"
BLOB = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"k" * 32).decode()
KEY = f"ssh-ed25519 {BLOB} me@here"


@dataclass
class World:
    """An emulator, the user's files, and a fleet."""

    folder: Path
    credentials: keys.Credentials
    emulator: Emulator
    answers: list[Answer] = field(default_factory=list)  # of logging in
    usual: Answer = field(default_factory=lambda: Answer(Reached.YES))  # when those are used up
    logins: list[Login] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    @property
    def tenancy(self) -> Tenancy:
        return self.emulator.api.tenancy

    @property
    def place(self) -> str:
        return str(self.tenancy.compartments[0]["id"])

    def fleet(self, **given: Any) -> dict[str, Any]:
        wait = {"known_hosts": str(self.folder / "known_hosts"), "cloud_init": True}
        return {
            "fleet": "seed",
            "compartment": self.place,
            "shape": A10,
            "count": 2,
            "image": {"os": "debian", "version": "12"},
            "network": {"subnet": "hosts"},
            "ssh_public_keys": [KEY],
            "wait": wait,
            **given,
        }

    def options(self, **given: Any) -> Options:
        return Options.from_mapping(
            {
                "config_file": str(self.credentials.config),
                "service_endpoint": self.emulator.url,
                **given,
            }
        )

    def run(self, *, check: bool = False, **given: Any) -> ProvisionResult:
        return self.go(self.fleet(**given), check=check)

    def go(self, fleet: dict[str, Any], *, check: bool = False) -> ProvisionResult:
        desired = settings.desired(settings.Source(fleet, folder=self.folder))
        return provision(desired, self.options(), check=check, tools=self.tools())

    def tools(self) -> Tools:
        lock = threading.Lock()

        def reach(
            login: Login, *, cloud_init: bool, timeout: float, ended: threading.Event
        ) -> Answer:
            del cloud_init, timeout, ended
            with lock:
                self.logins.append(login)
                return self.answers.pop(0) if self.answers else self.usual

        return Tools(sleep=self.slept.append, reach=reach, tell=self.told.append, poll=0.01)

    def alive(self) -> list[dict[str, Any]]:
        gone = {"TERMINATING", "TERMINATED"}
        rows = self.tenancy.instances.values()
        return [one for one in rows if one["lifecycleState"] not in gone]

    def asked(self) -> dict[str, int]:
        return dict(self.emulator.reset_stats().routes)

    def launches(self) -> int:
        return self.asked().get("POST /instances", 0)
