"""Build the substitutes of what cannot be reached from here, and serve them to the sandbox's hosts.

    python -m sandbox.servers ensure [--gateway ADDRESS]
    python -m sandbox.servers stop
    python -m sandbox.servers log

State lives in `.sandbox/` only: `www` is served, `run` tells where and by which process.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox import bootstrap
from sandbox.conda import build as conda
from sandbox.el.systems import SYSTEMS
from sandbox.hosts import gateway as bridge_address
from sandbox.nvrepo import build as nvrepo
from sandbox.paths import STATE, SandboxError
from sandbox.ubuntu.systems import SYSTEMS as UBUNTU

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PORT = 8642
"""The port tried first; a free one is taken when another program has it."""
TOOLS = ("apt-utils", "dpkg-dev", "gcc", "gnupg", "libc6-dev")
"""Packages whose programs build the substitutes."""


@dataclass(frozen=True, slots=True)
class State:
    """The files below a state directory that this module owns."""

    root: Path

    @property
    def www(self) -> Path:
        """What is served."""
        return self.root / "www"

    @property
    def run(self) -> Path:
        """Where the server's address, process id and log are."""
        return self.root / "run"

    @property
    def server(self) -> Path:
        """The fields of `Server`, written by the server when it listens."""
        return self.run / "servers.json"

    @property
    def access_log(self) -> Path:
        """One JSON object per request: time, client, method, path, status, bytes."""
        return self.run / "access.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second builder waiting until the first is done."""
        self.run.mkdir(parents=True, exist_ok=True)
        with (self.run / "servers.lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True, slots=True)
class Server:
    """The process that serves, and where."""

    pid: int
    gateway: str
    port: int

    @property
    def base(self) -> str:
        """The URL of the web root."""
        return f"http://{self.gateway}:{self.port}"


def ensure(
    gateway: str | None = None, root: Path = STATE, *, real_cudnn: bool = False
) -> dict[str, object]:
    """Build what is missing, serve it on `gateway`, return the variables that lead hosts to it.

    `gateway` is an address the hosts reach, by default that of the sandbox's bridge; `root` is the
    state directory; with `real_cudnn` the packages of cuDNN hold NVIDIA's own library.

    Raises:
        SandboxError: a tool cannot be installed, a wheel not be fetched, the server not be started.

    """
    state = State(root.resolve())
    shop = _workshop(state, real_cudnn=real_cudnn)
    with state.locked():
        bootstrap.install(TOOLS)
        url = _serve(state, gateway or bridge_address()).base
        fingerprint = nvrepo.build(shop, url)
        installer = conda.build(shop.www, shop.cache)
    return {
        "gpuprep_mirror": f"{url}/{nvrepo.REPOS}",
        "gpuprep_mirror_fingerprint": fingerprint,
        "conda_mirror": f"{url}/{conda.RELEASES}",
        "conda_installer_sha256": installer,
        "conda_channel_alias": url,
        "headers_source": nvrepo.headers_source(shop, url),
    }


def distributions(
    systems: Iterable[str], gateway: str | None = None, root: Path = STATE, archive: str = "now"
) -> dict[str, dict[str, str]]:
    """Build and serve the repositories of systems that are not Debian, NVIDIA's among them.

    `archive` is the state of Ubuntu's, see `sandbox.ubuntu.archive`.

    Returns the files that lead a host to its distribution's, by system and path.

    Raises:
        SandboxError: a tool or a package of Debian cannot be had, or the server not be started.

    """
    wanted = set(systems)
    state = State(root.resolve())
    with state.locked():
        bootstrap.install(TOOLS)
        url = _serve(state, gateway or bridge_address()).base
        shop = _workshop(state)
        files: dict[str, dict[str, str]] = {}
        if wanted & set(SYSTEMS):
            from sandbox.el import build as enterprise  # noqa: PLC0415 - most hosts need none

            files |= enterprise.build(shop, url, wanted & set(SYSTEMS))
        if wanted & set(UBUNTU):
            from sandbox.ubuntu import build as ubuntu  # noqa: PLC0415

            files |= ubuntu.build(shop, url, wanted & set(UBUNTU), archive)
        return files


def base(root: Path = STATE) -> str:
    """Return the URL of the web root.

    Raises:
        SandboxError: nothing is served.

    """
    running = _running(State(root.resolve()))
    if running is None:
        raise SandboxError("the sandbox's web server does not run")
    return running.base


def _workshop(state: State, *, real_cudnn: bool = False) -> nvrepo.Workshop:
    return nvrepo.Workshop(
        state.root / "cache", state.www, state.root / "keys" / "nvrepo", real_cudnn
    )


def stop(root: Path = STATE) -> bool:
    """Stop the server; return whether one was running."""
    state = State(root.resolve())
    running = _running(state)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGTERM)
    for _ in range(100):
        if _ended(running.pid):
            break
        time.sleep(0.05)
    state.server.unlink(missing_ok=True)
    return True


def requests(root: Path = STATE) -> list[dict[str, object]]:
    """Return what was asked of the server so far, oldest first."""
    log = State(root.resolve()).access_log
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines()]


def _serve(state: State, gateway: str) -> Server:
    """Start the server unless it runs."""
    running = _running(state)
    if running is not None and running.gateway == gateway:
        return running
    stop(state.root)
    state.www.mkdir(parents=True, exist_ok=True)
    with (state.run / "servers.err").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox.httpd", str(state.root), gateway, str(PORT)],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            start_new_session=True,
            cwd=Path(__file__).parent.parent,
        )
    for _ in range(100):
        running = _running(state)
        if running is not None and running.pid == process.pid:
            return running
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise SandboxError(
        f"the sandbox's web server did not start on {gateway}: "
        f"{(state.run / 'servers.err').read_text().strip() or 'no message'}"
    )


def _running(state: State) -> Server | None:
    try:
        server = Server(**json.loads(state.server.read_text()))
    except FileNotFoundError:
        return None
    return server if _alive(state, server.pid) else None


def _ended(pid: int) -> bool:
    """Return whether a process is gone with its sockets; its command line goes before them."""
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return state == "Z" and len(list((process / "task").iterdir())) == 1
    except OSError:
        return True


def _alive(state: State, pid: int) -> bool:
    """Return whether `pid` is our server for this directory, not a later process."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"sandbox.httpd" in arguments and str(state.root).encode() in arguments


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.servers", description=__doc__)
    parser.add_argument("command", choices=("ensure", "stop", "log"))
    parser.add_argument("--gateway", help="address to serve on; default: the sandbox's bridge")
    parser.add_argument("--root", type=Path, default=STATE, help="state directory")
    parser.add_argument("--real-cudnn", action="store_true", help="pack NVIDIA's own cuDNN")
    options = parser.parse_args(arguments)
    if options.command == "ensure":
        print(
            json.dumps(
                ensure(options.gateway, options.root, real_cudnn=options.real_cudnn), indent=2
            )
        )
    elif options.command == "stop":
        print("stopped" if stop(options.root) else "was not running")
    else:
        for request in requests(options.root):
            print(json.dumps(request))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SandboxError as problem:
        sys.exit(f"sandbox: {problem}")
