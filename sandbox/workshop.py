"""The workshop as a demonstration: a launched host, prepared, and a job of Faceswap to its video.

Stopped on the way and resumed, run again for nothing, terminated; what is expected is checked. OCI
is the emulator, and Faceswap the stand-in for it.
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
from typing import TYPE_CHECKING, Any, Final

import av
import yaml

from sandbox import hosts, python_index, services
from sandbox.faceswap import checkout, drawn
from sandbox.nvrepo.build import REPOS
from sandbox.oci import keys
from sandbox.oci.machines import FLEET, SandboxHosts
from sandbox.oci.server import Emulator
from sandbox.oci.tenancy import REGION, Tenancy, for_launches
from sandbox.paths import CACHE, REPOSITORY, STATE, SandboxError
from sandbox.podman import ensure_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

FOLDER: Final = REPOSITORY / ".demo" / "workshop"
PREFIX: Final = "workshop-"
MEMBER: Final = "workshop-001"
PACKAGES: Final = ("av", "pillow")  # what the stand-in, and the label, read and write videos with
PYTHON: Final = "3.11"
FRAMES: Final = 24
LONG, MORE = 100_000, 60  # iterations: more than anybody waits for; after the stop
BEFORE_STOP: Final = 40
PATIENCE: Final = 600  # seconds
LOUD: Final = """
*** Faceswap here is a STAND-IN with its command line, files and signals; it learns nothing, and the
*** faces in the video are tinted, not swapped. Hosts are containers, OCI is an emulator. For the
*** real ones: a tenancy, the same two files, `gpuprep workshop fleet.yml faceswap.yml`.
"""


def main() -> int:
    """Go the whole road; the exit status is 0 when exactly the expected happened."""
    print(LOUD, flush=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    began = time.monotonic()
    own = keys.create(FOLDER / "oci", Tenancy().ocid, REGION)
    with Emulator(for_launches(str(ensure_network())), {own.key_id: own.public_key}) as emulator:
        emulator.api.compute.machines = SandboxHosts(PREFIX)
        os.environ |= {"OCI_CONFIG_FILE": str(own.config), "GPUPREP_OCI_ENDPOINT": emulator.url}
        try:
            walk()
        finally:
            hosts.stop_all(h.name for h in hosts.running(FLEET) if h.name.startswith(PREFIX))
        expect(emulator.stats.verified == emulator.stats.total, "every request was signed")
    print(f"demo-workshop: as expected, in {time.monotonic() - began:.0f} s: {FOLDER / 'out'}")
    return 0


def walk() -> None:
    """Go the road.

    Raises:
        SandboxError: something else happened than was expected.

    """
    fleet, jobs = write_fleet(), FOLDER / "faceswap.yml"
    for name, look in (("a", drawn.A), ("b", drawn.B)):
        drawn.draw(FOLDER / f"{name}.mp4", look, FRAMES)
    write_jobs(jobs, LONG)
    told("1. Launch a host")
    gpuprep("provision", "-f", str(fleet), "--yes")
    (host,) = (one for one in hosts.running(FLEET) if one.name.startswith(PREFIX))
    variables = FOLDER / "variables.yml"
    variables.write_text(yaml.safe_dump(settings(host)))
    road = ["workshop", str(fleet), str(jobs), "-e", f"@{variables}", "--yes"]
    told("2. Prepare it, install Faceswap, extract, begin to train")
    inventory = hosts_file(host.address)
    running = subprocess.Popen(command(*road))
    until(lambda: iteration(inventory) > BEFORE_STOP, running)
    gpuprep("status", "-i", str(inventory), expected=(0, 5))
    running.send_signal(signal.SIGINT)
    running.wait(PATIENCE)
    told("3. Stop: the job saves, the host sleeps")
    gpuprep(*road, "--state", "stopped")
    told("4. Go on to the target, convert, label, bring the video")
    gpuprep("provision", "-f", str(fleet), "--state", "running", "--yes")
    reached = saved(host.name)
    expect(reached >= BEFORE_STOP, f"training went on from iteration {reached}")
    write_jobs(jobs, reached + MORE)
    gpuprep(*road)
    check_video(reached + MORE)
    told("5. Run it again: nothing to do")
    again = json.loads(gpuprep(*road, "--output", "json"))
    expect(not again["changed"], "the second run changes nothing")
    told("6. Terminate the host")
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


def write_jobs(path: Path, target: int) -> None:
    """Write a file of one job on drawn material."""
    job = {
        "name": "demo",
        "consent": {"synthetic": True},
        "a": {"subject": "drawn-a", "sources": ["a.mp4"]},
        "b": {"subject": "drawn-b", "sources": ["b.mp4"]},
        "extract": {"detector": "file", "aligner": "file", "size": 128},
        "train": {
            "model": "lightweight",
            "batch": 2,
            "target_iterations": target,
            "save_every": 20,
        },
        "convert": {"source": "a.mp4"},
        "output": "out/demo.mp4",
    }
    path.write_text(yaml.safe_dump({"faceswap_jobs": [job]}))


def settings(host: hosts.Host) -> dict[str, Any]:
    """Return the variables that lead a host to the sandbox's repositories, and to the stand-in."""
    served = services.start([host])
    mirror = str(served["gpuprep_mirror"]).removesuffix(f"/{REPOS}")
    www = STATE / "www"
    work = FOLDER / "stand-in"
    commit = checkout.make(work)
    place = www / "workshop.git"
    shutil.rmtree(place, ignore_errors=True)
    for arguments in (
        ["clone", "--quiet", "--bare", str(work), str(place)],
        ["-C", str(place), "update-server-info"],
    ):
        subprocess.run(["git", *arguments], check=True)
    folder = CACHE / "workshop-wheels"
    lock = FOLDER / "lock.txt"
    lock.write_text(wheels(folder))
    return {
        **served,
        "gpuprep_components": ["driver", "conda", "faceswap"],
        "faceswap_repository": f"{mirror}/{place.name}",
        "faceswap_commit": commit,
        "faceswap_backend": "cpu",
        "faceswap_index": f"{mirror}/{python_index.publish(www, folder)}",
        "faceswap_lock": str(lock),
    }


def wheels(folder: Path) -> str:
    """Fetch what reads and writes videos, put small packages beside it, and return their lock."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("av-*.whl")):
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON]
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


def hosts_file(address: str) -> Path:
    """Write an inventory for looking at the host beside the run."""
    options = f"-o UserKnownHostsFile={FOLDER / 'known_hosts'} -o GlobalKnownHostsFile=/dev/null"
    host = {
        "ansible_host": address,
        "ansible_user": "ops",
        "ansible_ssh_private_key_file": str(FOLDER / "id"),
        "ansible_ssh_common_args": options,
    }
    path = FOLDER / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": {MEMBER: host}}}))
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


def check_video(iterations: int) -> None:
    """Read the video and its sidecar, as anybody's program would."""
    with av.open(str(FOLDER / "out/demo.mp4")) as video:
        codec = video.streams.video[0].codec_context.name
        label = video.metadata.get("synthetic_media")
        frames = sum(1 for _ in video.decode(video=0))
    expect((codec, frames) == ("h264", FRAMES), f"the video is {codec} with {frames} frames")
    expect(label == "true", "the video says that it is synthetic")
    sidecar = json.loads((FOLDER / "out/demo.provenance.json").read_text())
    expect(sidecar["iterations"] == iterations, f"its sidecar tells of {iterations} iterations")


def command(*arguments: str) -> Sequence[str]:
    """Return the command line of gpuprep."""
    return [sys.executable, "-m", "gpuprep", *arguments]


def gpuprep(*arguments: str, expected: Sequence[int] = (0,)) -> str:
    """Run gpuprep as a user does, and return its output.

    Raises:
        SandboxError: it ended otherwise than expected.

    """
    shown = [one.replace(f"{FOLDER}/", "") for one in arguments]
    print("$ gpuprep", *shown, flush=True)
    done = subprocess.run(command(*arguments), stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout[-3000:], flush=True)
    if done.returncode not in expected:
        raise SandboxError(f"gpuprep {arguments[0]} ended with exit code {done.returncode}")
    return done.stdout


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
        time.sleep(3)


def expect(right: bool, words: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Tell what was checked.

    Raises:
        SandboxError: it is not so.

    """
    print(f"  {'ok' if right else 'NOT SO'}: {words}", flush=True)
    if not right:
        raise SandboxError(f"not so: {words}")


def told(words: str) -> None:
    """Tell which part begins."""
    print(f"\ndemo-workshop: {words}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SandboxError as problem:
        sys.exit(f"demo-workshop: {problem}")
