"""Images of bare hosts with systemd, sshd and an unprivileged login user: Debian's and others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox import mirror
from sandbox.el.systems import SYSTEMS, WITH_DRIVER, System, system_of
from sandbox.paths import CACHE, SANDBOX_ID, STATE, SandboxError, locked
from sandbox.podman import podman
from sandbox.ubuntu.systems import SYSTEMS as UBUNTU

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.el.image import Layer
    from sandbox.ubuntu.systems import System as Ubuntu

LOGIN_USER: Final = "ops"
SUITES: Final = {"debian-12": "bookworm", "debian-13": "trixie"}
REPOSITORY: Final = "localhost/gpuprep-host"
# Bare on purpose: no compiler, no kernel headers, nothing that a role should bring.
PACKAGES: Final = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "ca-certificates",
    "iproute2",
    "kmod",
    "pciutils",
    "procps",
    "gnupg",
    "curl",
)
# What a host of Enterprise Linux has in place of Debian's: its package manager, and what programs
# of its packages are linked with.
EL_PACKAGES: Final = (
    *(name for name in PACKAGES if name != "python3-apt"),
    *("dnf", "dnf-plugins-core", "rpm", "udev", "python3-systemd"),
    *("libelf1", "openssl", "cpio", "patch", "xz-utils", "passwd"),
)
# What Ubuntu's instances have besides; from 25.10 on also another sudo.
UBUNTU_PACKAGES: Final = (*PACKAGES, "lsb-release", "needrestart", "unattended-upgrades")
UBUNTU_SUDO: Final = {"trixie": ("sudo-rs",)}
# Keys of the image would be shared by all hosts: each gets its own.
# Index files are gone but their folder looks new, so that Ansible would think its cache fresh.
CUSTOMIZE: Final = f"""\
set -eu
chroot "$1" useradd --create-home --shell /bin/bash {LOGIN_USER}
echo '{LOGIN_USER} ALL=(ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/{LOGIN_USER}"
chmod 0440 "$1/etc/sudoers.d/{LOGIN_USER}"
install -d -m 0700 -o 1000 -g 1000 "$1/home/{LOGIN_USER}/.ssh"
rm -f "$1"/etc/ssh/ssh_host_*
touch -d @0 "$1/var/lib/apt/lists"
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make one image; equal recipes share a cached image.

    Attributes:
        suite: Debian release (``bookworm``).
        command: mmdebstrap and its arguments up to the target; the target and mirrors follow.
        sources: lines of the image's sources.list; empty = mmdebstrap's defaults.
        customize: shell commands run in the end, with the new root in ``$1``.

    """

    suite: str
    command: tuple[str, ...]
    sources: tuple[str, ...]
    customize: str = CUSTOMIZE

    @property
    def digest(self) -> str:
        """Short name of exactly this recipe."""
        text = "\0".join((self.suite, *self.command, *self.sources, self.customize))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def image(self) -> str:
        """Full image name for podman."""
        return f"{REPOSITORY}:{self.suite}-{self.digest}"

    @property
    def tarball(self) -> Path:
        """The image's file system as a tar file in the cache."""
        return CACHE / f"{self.suite}-{self.digest}.tar"


def suite_of(name: str) -> str:
    """Debian release for an image name: ``debian-12`` or ``bookworm``.

    Raises:
        SandboxError: no such image.

    """
    suite = SUITES.get(name, name)
    if suite not in SUITES.values():
        known = ", ".join(f"{key} ({value})" for key, value in SUITES.items())
        raise SandboxError(f"no image {name!r}: there are {known}")
    return suite


def check(name: str) -> None:
    """Refuse a name that is of no image of a container.

    Raises:
        SandboxError: no such image.

    """
    known = [*SUITES, *SYSTEMS, *WITH_DRIVER, *UBUNTU]
    if name not in known and name not in SUITES.values():
        raise SandboxError(f"no image {name!r}: there are {', '.join(known)}")


def os_of(name: str) -> str | None:
    """Operating system for an image name, as ``debian-12``; None for a snapshot's image."""
    system = system_of(name)
    if system is not None:
        return system.name
    if name in UBUNTU:
        return name
    return next((os for os, suite in SUITES.items() if name in {os, suite}), None)


def recipe(
    suite: str,
    found: mirror.Mirror | None,
    options: Iterable[str],
    packages: Iterable[str] = PACKAGES,
) -> Recipe:
    """Recipe for ``suite`` from the mirror and with the apt options of this machine."""
    apt = ['Acquire::Languages "none"', *options]
    command = (
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(packages)}",
        f"--components={','.join(mirror.COMPONENTS)}",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        *(f"--aptopt={option}" for option in apt),
    )
    return Recipe(suite, command, found.sources(suite) if found else ())


def _run_mmdebstrap(made: Recipe, log: Path) -> None:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        hook = Path(folder) / "customize"
        hook.write_text(f"#!/bin/sh\n{made.customize}")
        hook.chmod(0o755)
        partial = Path(folder) / made.tarball.name
        arguments = [*made.command, f"--customize-hook={hook}", made.suite, str(partial)]
        with log.open("w") as output:
            done = subprocess.run(
                [*arguments, *made.sources],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": folder},
                check=False,
            )
        if done.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-6:])
            raise SandboxError(f"mmdebstrap of {made.suite} failed, whole log in {log}:\n{tail}")
        partial.rename(made.tarball)
    print(f"image {made.suite}: built in {time.monotonic() - started:.0f} s")


def _ensure_tarball(made: Recipe) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    if not made.tarball.exists():
        _run_mmdebstrap(made, CACHE / f"{made.suite}-{made.digest}.log")


def tarball(made: Recipe) -> Path:
    """Tar file of a recipe's file system; built when it is not in the cache."""
    with locked(f"image-{made.suite}"):
        _ensure_tarball(made)
    return made.tarball


def exists(image: str) -> bool:
    """Return whether podman has ``image``."""
    return podman("image", "exists", image, check=False).returncode == 0


def build(made: Recipe) -> str:
    """Return the name of a recipe's podman image; made from the cached tar file, or anew."""
    with locked(f"image-{made.suite}"):
        if exists(made.image):
            return made.image
        _ensure_tarball(made)
        podman(
            "import",
            *("--change", 'CMD ["/sbin/init"]'),
            *("--change", "STOPSIGNAL=SIGRTMIN+3"),
            *("--change", "ENV container=podman"),
            str(made.tarball),
            made.image,
        )
    return made.image


def ensure(names: Iterable[str]) -> dict[str, str]:
    """Podman images by image name, all of them built side by side where missing."""
    found, options = mirror.of_this_machine()

    def made(name: str) -> str:
        if name in SYSTEMS:
            return _of_system(SYSTEMS[name], found, options)
        if name in WITH_DRIVER:
            system, version = WITH_DRIVER[name]
            return _with_driver(name, _of_system(SYSTEMS[system], found, options), version)
        if name in UBUNTU:
            return _of_ubuntu(UBUNTU[name], found, options)
        return build(recipe(suite_of(name), found, options))

    wanted = sorted(set(names))
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        return dict(zip(wanted, pool.map(made, wanted), strict=True))


def of(name: str) -> str:
    """Podman image for an image name; built when it is missing."""
    return ensure([name])[name]


def _of_system(system: System, found: mirror.Mirror | None, options: Iterable[str]) -> str:
    """Return the image of a system of Enterprise Linux, which is made from a Debian root."""
    from sandbox.el import image  # noqa: PLC0415 - heavier than most verbs need

    keys = STATE / "keys"
    base = build(recipe(system.suite, found, options, EL_PACKAGES))
    with locked(f"image-{system.name}"):
        suffix = image.digest(system, keys)
        name = f"{REPOSITORY}:{system.name}-{base.rpartition('-')[2]}-{suffix}"
        if not exists(name):
            started = time.monotonic()
            _layer(base, name, image.SCRIPT, image.layer(system, keys))
            print(f"image {system.name}: built in {time.monotonic() - started:.0f} s")
    return name


def _with_driver(name: str, base: str, version: str) -> str:
    """Return the image `name` of a system that has a driver before gpuprep comes."""
    from sandbox.el import image  # noqa: PLC0415 - heavier than most verbs need

    system = SYSTEMS[WITH_DRIVER[name][0]]
    with locked(f"image-{name}"):
        whole = f"{REPOSITORY}:{name}-{image.driver_digest(base, system, version)}"
        if not exists(whole):
            started = time.monotonic()
            layer = image.driver_layer(system, version, STATE)
            _layer(base, whole, image.DRIVER_SCRIPT, layer)
            print(f"image {name}: built in {time.monotonic() - started:.0f} s")
    return whole


def _of_ubuntu(system: Ubuntu, found: mirror.Mirror | None, options: Iterable[str]) -> str:
    """Return the image of an Ubuntu release, which is made from a Debian root."""
    from sandbox.el.image import Layer  # noqa: PLC0415 - heavier than most verbs need
    from sandbox.ubuntu import image  # noqa: PLC0415

    keys = STATE / "keys"
    packages = (*UBUNTU_PACKAGES, *UBUNTU_SUDO.get(system.suite, ()))
    base = build(recipe(system.suite, found, options, packages))
    with locked(f"image-{system.name}"):
        suffix = image.digest(system, keys)
        name = f"{REPOSITORY}:{system.name}-{base.rpartition('-')[2]}-{suffix}"
        if not exists(name):
            started = time.monotonic()
            _layer(base, name, image.SCRIPT, Layer(*image.layer(system, keys)))
            print(f"image {system.name}: built in {time.monotonic() - started:.0f} s")
    return name


def _layer(base: str, name: str, script: str, layer: Layer) -> None:
    """Unpack a layer over the image `base`, run the script in it, keep the result as `name`."""
    container = f"gpuprep-{SANDBOX_ID}-image-{name.rpartition(':')[2]}"
    variables = [part for pair in layer.environment.items() for part in ("--env", "=".join(pair))]
    podman("rm", "--force", "--ignore", container)
    try:
        podman(
            *("create", "--name", container, "--network", "none", *variables, base),
            *("/bin/sh", "-eu", script),
        )
        podman("cp", "--archive=false", "-", f"{container}:/", stdin=layer.archive)
        done = podman("start", "--attach", container, check=False)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-6:])
            raise SandboxError(f"{script} failed in {base}:\n{tail}")
        podman("commit", "--quiet", "--change", 'CMD ["/sbin/init"]', container, name)
    finally:
        podman("rm", "--force", "--ignore", container)
