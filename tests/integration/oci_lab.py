"""A tenancy on loopback, and ways to list it; shared by the OCI tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gpuprep.oci import Listing, Options, list_hosts
from gpuprep.run.environment import collections_root
from sandbox.oci import keys
from sandbox.oci.server import Emulator, Knobs
from sandbox.oci.tenancy import REGION, Tenancy, fleet

ROOT = Path(__file__).resolve().parents[2]
H100 = "BM.GPU.H100.8"
A10 = "VM.GPU.A10.1"
OLD_CORE = ROOT / ".cache/ansible-2.18/bin"
CORES = {"this": Path(sys.executable).parent}
if (OLD_CORE / "ansible-inventory").exists():
    CORES["2.18"] = OLD_CORE


@dataclass
class Lab:
    """An emulator and what its user has: key, configuration, inventory files."""

    folder: Path
    credentials: keys.Credentials
    emulator: Emulator
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def tenancy(self) -> Tenancy:
        return self.emulator.api.tenancy

    def options(self, **given: Any) -> Options:
        return Options.from_mapping(
            {
                "config_file": str(self.credentials.config),
                "service_endpoint": self.emulator.url,
                **self.extra,
                **given,
            }
        )

    def list(self, **given: Any) -> Listing:
        return list_hosts(self.options(**given))

    def file(self, **given: Any) -> Path:
        """Write an inventory file (JSON is YAML)."""
        path = self.folder / "gpus.oci.yml"
        content = {
            "plugin": "gpuprep.core.oci",
            "config_file": str(self.credentials.config),
            "service_endpoint": self.emulator.url,
            **given,
        }
        path.write_text(json.dumps(content))
        return path

    def inventory(
        self, path: Path, *arguments: str, core: str = "this", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ansible-inventory --list as a user would."""
        options = ("-i", str(path), "--list", *arguments)
        return self.run("ansible-inventory", *options, core=core, **environment)

    def run(
        self, program: str, *arguments: str | Path, core: str = "this", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Ansible's programs with no configuration but our own."""
        return subprocess.run(
            [CORES[core] / program, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "ANSIBLE_COLLECTIONS_PATH": str(collections_root()),
                "LC_ALL": "C.UTF-8",
                **environment,
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def hosts(self, path: Path, core: str = "this", **environment: str) -> dict[str, Any]:
        """Give the host variables that ansible-inventory prints."""
        done = self.inventory(path, core=core, **environment)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return {**found.get("_meta", {}).get("hostvars", {}), "_groups": found}


class Starter(Protocol):
    """The fixture ``lab``: starts an emulator for a tenancy."""

    def __call__(self, tenancy: Tenancy, **knobs: float) -> Lab: ...


def small(count: int = 6) -> Tenancy:
    return fleet(count, H100, 8)


def compartment(tenancy: Tenancy, name: str) -> str:
    return next(str(one["id"]) for one in tenancy.compartments if one["name"] == name)


def names(listing: Listing) -> list[str]:
    return [host.name for host in listing.hosts]


def addresses(listing: Listing) -> dict[str, str | None]:
    return {host.name: host.variables.get("ansible_host") for host in listing.hosts}


def start(folder: Path, credentials: keys.Credentials, tenancy: Tenancy, **knobs: float) -> Lab:
    emulator = Emulator(tenancy, {credentials.key_id: credentials.public_key}, Knobs(**knobs))  # type: ignore[arg-type]
    emulator.start()
    return Lab(folder, credentials, emulator)


def new_credentials(folder: Path) -> keys.Credentials:
    return keys.create(folder, Tenancy().ocid, REGION)
