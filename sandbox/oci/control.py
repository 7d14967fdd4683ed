"""Start and stop the emulator as a process of its own, and write what its users need."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gpuprep.catalog import load
from sandbox.oci import keys, principals
from sandbox.oci.places import GONE
from sandbox.oci.server import Emulator, Knobs
from sandbox.oci.tenancy import REGION, TENANCY, Tenancy, of_hosts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox.oci.compute import Machines
    from sandbox.oci.faults import Fault

KEPT: Final = "tenancy.json"
_START_SECONDS: Final = 15.0
_PATIENT_SECONDS: Final = 24 * 3600.0  # tokens in files are not renewed
_PROGRAM: Final = Path(__file__).resolve().with_name("__main__.py")
_REPOSITORY: Final = _PROGRAM.parents[2]


class EmulatorError(Exception):
    """The emulator does not start; the text says why."""


def ensure(
    hosts: Sequence[Mapping[str, Any]],
    root: Path,
    variables: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Run the emulator for these hosts; quick when it already does.

    Args:
        hosts: mappings with name, address, shape, os and tags, see ``tenancy.of_hosts``.
        root: the sandbox's state folder; all files go to ``root/oci``.
        variables: host variables that the inventory file gives to all hosts.

    Returns:
        ``inventory`` (path of a ready ``*.oci.yml``), ``OCI_CONFIG_FILE`` and
        ``GPUPREP_OCI_ENDPOINT``.

    Raises:
        EmulatorError: it did not start.

    """
    state = Path(root).absolute() / "oci"
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = json.dumps([dict(one) for one in hosts], indent=1)
    listed = state / "hosts.json"
    running = _running(state)
    same = listed.exists() and listed.read_text() == wanted
    # One with launched instances stays: whoever launched them must find them again.
    if running is None or not (same or has_launched(state)):
        end(state)
        listed.write_text(wanted)
        if not same:
            forget(state)
        running = _spawn(state, listed)
    inventory = write_inventory(state, running["url"], variables or {})
    return {
        "inventory": str(inventory),
        "OCI_CONFIG_FILE": str(state / "config"),
        "GPUPREP_OCI_ENDPOINT": running["url"],
    }


def has_launched(state: Path) -> bool:
    """Return whether instances that were launched are alive in what this folder keeps."""
    there = kept(state)
    if there is None:
        return False
    launched = {entry[1] for entry in there.retry_tokens.values()} | {
        row["resources"][0]["identifier"] for row in there.work_requests.values()
    }
    return any(
        ocid in launched and one["lifecycleState"] not in GONE
        for ocid, one in there.instances.items()
    )


def kept(state: Path) -> Tenancy | None:
    """Return the tenancy that a folder keeps; None = none."""
    try:
        return Tenancy.from_dict(json.loads((state / KEPT).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def stop(root: Path) -> None:
    """End the emulator of the sandbox's state folder, if it runs."""
    end(Path(root).absolute() / "oci")


def end(state: Path) -> None:
    """End the emulator that serves from this folder, if one does."""
    running = _running(state)
    if running:
        os.kill(running["pid"], signal.SIGTERM)
        deadline = time.monotonic() + _START_SECONDS
        while _running(state) and time.monotonic() < deadline:
            time.sleep(0.02)


def serve(
    tenancy: Tenancy,
    state: Path,
    knobs: Knobs,
    faults: Sequence[Fault] = (),
    machines: Machines | None = None,
) -> None:
    """Serve in this process until it is told to end; say where in ``endpoint.json``.

    What was launched, made or terminated before is there again, until ``forget``.
    """
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    tenancy = kept(state) or tenancy
    credentials = keys.create(state.absolute(), tenancy.ocid, tenancy.regions[0])
    emulator = Emulator(tenancy, {credentials.key_id: credentials.public_key}, knobs)
    emulator.faults += faults
    emulator.kept = state.absolute() / KEPT
    emulator.api.compute.machines = machines
    emulator.api.compute.recover()
    emulator.authority.lifetime = _PATIENT_SECONDS
    variables = principals.create(state.absolute(), emulator)
    keys.write(state / "principals.env", principals.shell(variables).encode())
    write_inventory(state.absolute(), emulator.url, {})
    _tell(state, {"pid": os.getpid(), "url": emulator.url})
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        emulator.serve()
    except (KeyboardInterrupt, SystemExit):
        emulator.released.set()
    finally:
        (state / "endpoint.json").unlink(missing_ok=True)


def forget(state: Path) -> None:
    """Forget what was launched and made; the next start begins anew."""
    (state / KEPT).unlink(missing_ok=True)


def tenancy_of(hosts: Sequence[Mapping[str, Any]]) -> Tenancy:
    """Present running hosts; GPU counts come from the catalog."""
    return of_hosts(hosts, {name: shape.count for name, shape in load().shapes.items()})


def write_inventory(state: Path, url: str, variables: Mapping[str, Any]) -> Path:
    """Write the inventory file that lists what the emulator shows; gives its path."""
    lines = [
        "---",
        "plugin: gpuprep.core.oci",
        f"config_file: {state / 'config'}",
        f"service_endpoint: {url}",
        f"tenancy: {TENANCY}",
        f"region: {REGION}",
        "resolve_images: true",
    ]
    if variables:
        lines.append("compose:")
        # JSON is a Jinja expression, and quoted once more it is a YAML string.
        lines += [f"  {key}: {json.dumps(json.dumps(one))}" for key, one in variables.items()]
    path = state / "sandbox.oci.yml"
    path.write_text("\n".join(lines) + "\n")
    return path


def _spawn(state: Path, hosts: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "sandbox.oci", "serve", "--hosts", str(hosts)]
    with (state / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--state", str(state)],
            cwd=_REPOSITORY,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        running = _running(state)
        if running and running["pid"] == process.pid:
            return running
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    raise EmulatorError(f"did not start: {(state / 'server.log').read_text()[-2000:]}")


def _running(state: Path) -> dict[str, Any] | None:
    """Return pid and URL of the emulator that serves this state folder."""
    try:
        said: dict[str, Any] = json.loads((state / "endpoint.json").read_text())
        command = Path(f"/proc/{said['pid']}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    ours = b"sandbox.oci" in command or any(
        one.endswith(b"sandbox/oci/__main__.py") for one in command
    )
    return said if ours else None


def _tell(state: Path, what: Mapping[str, Any]) -> None:
    pending = state / ".endpoint.json.new"
    pending.write_text(json.dumps(what))
    pending.rename(state / "endpoint.json")
