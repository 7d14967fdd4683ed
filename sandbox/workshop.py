"""The workshop as a demonstration: a launched host, prepared, and a job of Faceswap to its video.

Stopped on the way and resumed, run again for nothing, terminated; what is expected is checked. OCI
is the emulator; Faceswap the stand-in for it, or itself where FACESWAP_REPOSITORY names its source.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import av
import yaml

from sandbox import hosts, python_index, services
from sandbox.faceswap import drawn, published, stand_in
from sandbox.nvrepo.build import REPOS
from sandbox.oci import keys
from sandbox.oci.machines import FLEET, SandboxHosts
from sandbox.oci.server import Emulator
from sandbox.oci.tenancy import REGION, Tenancy, for_launches
from sandbox.paths import CACHE, REPOSITORY, STATE, SandboxError
from sandbox.podman import ensure_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

FOLDER: Final = REPOSITORY / ".demo" / "workshop"
PREFIX: Final = "workshop-"
MEMBER: Final = "workshop-001"
PACKAGES: Final = ("av", "pillow")  # what the stand-in, and the label, read and write videos with
PYTHON: Final = "3.11"
SERVED: Final = ("faceswap_repository", "faceswap_index")  # settings, by paths below the web root
LONG: Final = 100_000  # iterations: more than anybody waits for
PATIENCE: Final = 600  # seconds
WIDTH: Final = 60  # columns of the names of parts
LOUD: Final = """
*** Faceswap here is a STAND-IN with its command line, files and signals; it
*** learns nothing, and the faces in the video are tinted, not swapped. Hosts
*** are containers, OCI is an emulator. For Faceswap itself on the CPU, name a
*** git repository of it: FACESWAP_REPOSITORY=PATH (3 GB of packages, 12 GB of
*** disk). For everything real: a tenancy, the same two files, and
*** `gpuprep workshop fleet.yml faceswap.yml`.
"""
REAL: Final = """
*** Faceswap is itself, on the CPU; it trains a few iterations, so the faces in
*** the video are a blur. Hosts are containers, OCI is an emulator. For
*** everything real: a tenancy, the same two files, and
*** `gpuprep workshop fleet.yml faceswap.yml`.
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is to do.

    Attributes:
        frames: of each video.
        size: of a face, pixels.
        before_stop: iterations before training is stopped.
        more: iterations after that.
        save_every: iterations between two saves.

    """

    frames: int
    size: int
    before_stop: int
    more: int
    save_every: int


SMALL: Final = Scale(frames=26, size=128, before_stop=40, more=60, save_every=20)
SLOW: Final = Scale(frames=40, size=256, before_stop=2, more=8, save_every=5)  # Faceswap, CPU


def main() -> int:
    """Go the whole road; the exit status is 0 when exactly the expected happened."""
    # What a shell starts in the background ignores it, and so would what is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    source = published.repository()
    print(REAL if source else LOUD, flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    parts = Parts()
    own = keys.create(FOLDER / "oci", Tenancy().ocid, REGION)
    with Emulator(for_launches(str(ensure_network())), {own.key_id: own.public_key}) as emulator:
        emulator.api.compute.machines = SandboxHosts(PREFIX)
        os.environ |= {"OCI_CONFIG_FILE": str(own.config), "GPUPREP_OCI_ENDPOINT": emulator.url}
        try:
            walk(source, parts)
        finally:
            hosts.stop_all(h.name for h in hosts.running(FLEET) if h.name.startswith(PREFIX))
        expect(emulator.stats.verified == emulator.stats.total, "every request was signed")
    print(f"\n{parts.table()}\n\ndemo-workshop: as expected; the video is in {FOLDER / 'out'}")
    return 0


class Parts:
    """The parts of the road, and how long each took."""

    def __init__(self) -> None:
        self._took: list[tuple[str, float]] = []

    @contextmanager
    def part(self, words: str) -> Iterator[None]:
        """Tell which part begins, and take its time."""
        print(f"\ndemo-workshop: {words}", flush=True)
        began = time.monotonic()
        yield
        self._took.append((words, time.monotonic() - began))

    def table(self) -> str:
        """Return the parts with their times, and the sum."""
        rows = [*self._took, ("Together", sum(took for _, took in self._took))]
        lines = [f"{'Part':<{WIDTH}} Seconds", f"{'-' * WIDTH} -------"]
        lines += [f"{words:<{WIDTH}} {took:7.0f}" for words, took in rows]
        return "\n".join(lines)


def walk(source: Path | None, parts: Parts) -> None:
    """Go the road.

    Args:
        source: repository of Faceswap; None = the stand-in for it.
        parts: take down what takes how long.

    Raises:
        SandboxError: something else happened than was expected.

    """
    fleet, jobs = write_fleet(), FOLDER / "faceswap.yml"
    scale = SLOW if source else SMALL
    with parts.part("0. Draw two faces; have Faceswap and its packages at hand"):
        for name, look in (("a", drawn.A), ("b", drawn.B)):
            drawn.draw(FOLDER / f"{name}.mp4", look, scale.frames)
        write_jobs(jobs, scale, LONG)
        asked = supply(source)
    with parts.part("1. Launch a host"):
        gpuprep("provision", "-f", str(fleet), "--yes")
        (host,) = (one for one in hosts.running(FLEET) if one.name.startswith(PREFIX))
        variables = FOLDER / "variables.yml"
        given = settings(host, asked)
        if source:
            given["faceswap_repository"] = published.place_on(host.name, FOLDER / "faceswap.git")
        variables.write_text(yaml.safe_dump(given))
    road = ["workshop", str(fleet), str(jobs), "-e", f"@{variables}", "--yes"]
    inventory = hosts_file(host.address, given)
    with parts.part("2. Prepare it, install Faceswap, extract, begin to train"):
        shown(*road)
        running = subprocess.Popen(command(*road))
        until(lambda: iteration(inventory) > scale.before_stop, running)
        running.send_signal(signal.SIGINT)
        running.wait(PATIENCE)
        gpuprep("status", "-i", str(inventory))
    with parts.part("3. Stop: the job saves, the host sleeps"):
        gpuprep(*road, "--state", "stopped")
    with parts.part("4. Go on to the target, convert, label, bring the video"):
        gpuprep("provision", "-f", str(fleet), "--state", "running", "--yes")
        reached = saved(host.name)
        expect(reached >= scale.before_stop, f"training goes on from iteration {reached}")
        write_jobs(jobs, scale, reached + scale.more)
        gpuprep(*road)
        check_video(scale.frames, reached + scale.more)
    with parts.part("5. Run it again: nothing to do"):
        again = json.loads(gpuprep(*road, "--output", "json", silent=True))
        expect(not again["changed"], "the second run changes nothing")
    with parts.part("6. Terminate the host"):
        gpuprep(*road, "--state", "absent")
        expect(not names(), "the host is gone")


def write_fleet() -> Path:
    """Write a fleet file of one host, and the key that it is reached by."""
    key = FOLDER / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    fleet = {
        "fleet": "workshop",
        "compartment": "gpu",
        "shape": "VM.GPU.A10.1",
        "count": 1,
        "image": {"os": "debian", "version": "12"},
        "network": {"subnet": "hosts"},
        "ssh_public_keys": [f"{key}.pub"],
        "wait": {"minutes": 10, "ssh_user": "ops", "known_hosts": str(FOLDER / "known_hosts")},
    }
    path = FOLDER / "fleet.yml"
    path.write_text(yaml.safe_dump(fleet))
    return path


def write_jobs(path: Path, scale: Scale, target: int) -> None:
    """Write a file of one job on drawn material."""
    job = {
        "name": "demo",
        "consent": {"synthetic": True},
        "a": {"subject": "drawn-a", "sources": ["a.mp4"]},
        "b": {"subject": "drawn-b", "sources": ["b.mp4"]},
        "extract": {"detector": "file", "aligner": "file", "size": scale.size},
        "train": {
            "model": "lightweight",
            "batch": 2,
            "target_iterations": target,
            "save_every": scale.save_every,
        },
        "convert": {"source": "a.mp4"},
        "output": "out/demo.mp4",
    }
    path.write_text(yaml.safe_dump({"faceswap_jobs": [job]}))


def supply(source: Path | None) -> dict[str, Any]:
    """Serve Faceswap's source and packages; return the settings that lead to them.

    Args:
        source: repository of Faceswap, which comes with its own lock; None = the stand-in.

    """
    www = STATE / "www"
    if source:
        published.copy(source, FOLDER / "faceswap.git")
        return {"faceswap_index": python_index.publish(www, published.wheelhouse())}
    place = www / "workshop.git"
    commit = stand_in.bare_repository(place, FOLDER / "stand-in")
    folder = CACHE / "workshop-wheels"
    lock = FOLDER / "lock.txt"
    lock.write_text(wheels(folder))
    return {
        "faceswap_repository": place.name,
        "faceswap_commit": commit,
        "faceswap_index": python_index.publish(www, folder),
        "faceswap_lock": str(lock),
    }


def settings(host: hosts.Host, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the variables that lead a host to the sandbox's repositories, and to what it asks."""
    served = services.start([host])
    mirror = str(served["gpuprep_mirror"]).removesuffix(f"/{REPOS}")
    return {
        **served,
        **asked,
        **{name: f"{mirror}/{asked[name]}" for name in SERVED if name in asked},
        "gpuprep_components": ["driver", "conda", "faceswap"],
        "faceswap_backend": "cpu",
    }


def wheels(folder: Path) -> str:
    """Fetch what reads and writes videos, put small packages beside it, and return their lock."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("av-*.whl")):
        options = ["-qq", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON]
        fetch = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), *PACKAGES]
        subprocess.run(fetch, check=True)
    for wheel in python_index.WHEELS:
        (folder / wheel.filename).write_bytes(wheel.content())
    newest = {path.name.split("-")[0]: path for path in sorted(folder.glob("*.whl"))}
    lines = []
    for name, path in newest.items():
        version = path.name.split("-")[1]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n")
    return "".join(lines)


def hosts_file(address: str, given: dict[str, Any]) -> Path:
    """Write an inventory for looking at the host beside the run."""
    options = f"-o UserKnownHostsFile={FOLDER / 'known_hosts'} -o GlobalKnownHostsFile=/dev/null"
    host = {
        "ansible_host": address,
        "ansible_user": "ops",
        "ansible_ssh_private_key_file": str(FOLDER / "id"),
        "ansible_ssh_common_args": options,
    }
    path = FOLDER / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": {MEMBER: host}, "vars": given}}))
    return path


def iteration(inventory: Path) -> int:
    """Return how far the job is, by ``gpuprep status``."""
    look = command("status", "-i", str(inventory), "--output", "json", "--quiet")
    said = subprocess.run(look, capture_output=True, text=True, check=False)
    try:
        (job,) = json.loads(said.stdout)["hosts"][MEMBER]["jobs"]
    except (ValueError, KeyError):
        return 0
    return int(job["iteration"] or 0)


def saved(name: str) -> int:
    """Return the iterations of the model that is on a host."""
    path = "/var/lib/gpuprep/faceswap/jobs/demo/model/lightweight_state.json"
    return int(json.loads(hosts.run(name, ["cat", path]).stdout)["iterations"])


def names() -> set[str]:
    """Return the names of the hosts that are there."""
    return {one.name for one in hosts.running(FLEET) if one.name.startswith(PREFIX)}


def check_video(expected: int, iterations: int) -> None:
    """Read the video and its sidecar, as anybody's program would."""
    with av.open(str(FOLDER / "out/demo.mp4")) as video:
        codec = video.streams.video[0].codec_context.name
        label = video.metadata.get("synthetic_media")
        frames = sum(1 for _ in video.decode(video=0))
    expect((codec, frames) == ("h264", expected), f"the video is {codec} with {frames} frames")
    expect(label == "true", "the video says that it is synthetic")
    sidecar = json.loads((FOLDER / "out/demo.provenance.json").read_text())
    expect(sidecar["iterations"] == iterations, f"its sidecar tells of {iterations} iterations")


def command(*arguments: str) -> Sequence[str]:
    """Return the command line of gpuprep."""
    return [sys.executable, "-m", "gpuprep", *arguments]


def shown(*arguments: str) -> None:
    """Tell which command is run."""
    print("$ gpuprep", *(one.replace(f"{FOLDER}/", "") for one in arguments), flush=True)


def gpuprep(*arguments: str, silent: bool = False) -> str:
    """Run gpuprep as a user does; return its output if ``silent``, else it goes where ours goes.

    Raises:
        SandboxError: it ended with another exit code than 0.

    """
    shown(*arguments)
    output = subprocess.PIPE if silent else None
    done = subprocess.run(command(*arguments), stdout=output, text=True, check=False)
    if done.returncode:
        print((done.stdout or "")[-3000:], end="", flush=True)
        raise SandboxError(f"gpuprep {arguments[0]} ended with exit code {done.returncode}")
    return done.stdout or ""


def until(happened: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    """Wait for something while a program runs.

    Raises:
        SandboxError: the program ended before, or it takes too long.

    """
    end = time.monotonic() + PATIENCE * 3
    while not happened():
        if running.poll() is not None or time.monotonic() > end:
            running.kill()
            raise SandboxError("gpuprep workshop ended before the job came so far")
        time.sleep(5)


def expect(right: bool, words: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Tell what was checked.

    Raises:
        SandboxError: it is not so.

    """
    print(f"  {'ok' if right else 'NOT SO'}: {words}", flush=True)
    if not right:
        raise SandboxError(f"not so: {words}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SandboxError as problem:
        sys.exit(f"demo-workshop: {problem}")
    except KeyboardInterrupt:
        sys.exit("demo-workshop: stopped; its host is gone")
