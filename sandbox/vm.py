"""A virtual machine as a host: it has a kernel of its own, loads modules and really reboots.

Emulated by qemu without KVM, which a machine can have without running guests: those of a cloud
often cannot. There is no boot loader: a keeper process starts qemu again after each reboot, with
the newest kernel and initramfs that it finds in /boot of the machine's disk, as a boot loader
would. So an upgraded kernel and a rebuilt initramfs take effect.

A host with ``selinux`` has Debian's policy and enforces it from the first boot on: its disk is
labelled when it is made.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox import bootstrap, firstboot, images, mirror, pci
from sandbox.paths import REPOSITORY, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sandbox.register import Host

PACKAGES: Final = (*images.PACKAGES, "linux-image-amd64", "udev", "zstd")
# A full initramfs takes an emulated processor many minutes to make; this one has what boots here.
CUSTOMIZE: Final = f"""\
{images.CUSTOMIZE}
cd "$1/etc/initramfs-tools"
printf 'MODULES=list\\nCOMPRESS=zstd\\nCOMPRESSLEVEL=1\\n' >conf.d/sandbox
printf 'virtio_pci\\nvirtio_blk\\next4\\ncrc32c_generic\\n' >>modules
chroot "$1" update-initramfs -u
"""
# SELinux as Debian has it: policy, its tools, and the daemon that writes denials down.
SELINUX_PACKAGES: Final = ("selinux-policy-default", "selinux-utils", "policycoreutils", "auditd")
SELINUX: Final = "selinux"  # argument of the keeper
SELINUX_POLICY: Final = "default"
_SELINUX_CONFIG: Final = f"SELINUX=enforcing\nSELINUXTYPE={SELINUX_POLICY}\n"
HOST_PACKAGES: Final = ("qemu-system-x86", "e2fsprogs")
MEMORY_MB: Final = 2048
DISK_SIZE: Final = "12G"  # sparse
_FAILED_AT_ONCE: Final = 5.0  # seconds; no kernel shuts down that soon
_UNCORRECTED: Final = 4  # exit status of e2fsck from which on errors are left
_NETWORK: Final = """\
[Match]
Type=ether
[Network]
DHCP=ipv4
"""
_RESOLVER: Final = "nameserver 10.0.2.3\n"  # qemu's own, always there
_PCI_HOME: Final = "var/lib/sandbox/pci"
# After udev has found the machine's real devices, before anybody can log in.
_PCI_UNIT: Final = f"""\
[Unit]
Description=Simulated PCI bus
After=systemd-udev-trigger.service
Before=ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount --bind /{_PCI_HOME} /sys/bus/pci
[Install]
WantedBy=multi-user.target
"""


def free_port() -> int:
    """TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def launch(host: Host) -> None:
    """Make the disk of a virtual machine if it has none, and start it unless it runs.

    Raises:
        SandboxError: qemu cannot be installed or the disk cannot be made.

    """
    if alive(host.folder):
        return
    bootstrap.install(HOST_PACKAGES)
    if not _disk(host.folder).exists():
        _make_disk(host)
    options = [SELINUX] if host.spec.selinux else []
    with (host.folder / "keeper.log").open("a") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "sandbox.vm", str(host.folder), str(host.port), *options],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _pid_file(host.folder).write_text(str(keeper.pid))


def alive(folder: Path) -> bool:
    """Return whether the keeper of the machine in ``folder`` runs."""
    try:
        pid = _pid_file(folder).read_text()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"sandbox.vm" in arguments and str(folder).encode() in arguments


def kill(folder: Path) -> None:
    """End a virtual machine at once, like pulling its plug; no error when it does not run."""
    if alive(folder):
        group = int(_pid_file(folder).read_text())  # the keeper leads a session: qemu is in it
        os.killpg(group, signal.SIGKILL)
        while _group_lives(group):
            time.sleep(0.05)


def _group_lives(group: int) -> bool:
    """Return whether a process of the group is left that has not ended, waited for or not."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, leader = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended while we looked
        if int(leader) == group and state not in {"Z", "X"}:
            return True
    return False


def _disk(folder: Path) -> Path:
    return folder / "disk.img"


def _pid_file(folder: Path) -> Path:
    return folder / "keeper.pid"


# --- the disk -----------------------------------------------------------------------------------


def _make_disk(host: Host) -> None:
    suite = images.suite_of(host.spec.image)
    found, options = mirror.of_this_machine()
    packages = (*PACKAGES, *(SELINUX_PACKAGES if host.spec.selinux else ()))
    recipe = replace(images.recipe(suite, found, options, packages), customize=CUSTOMIZE)
    tarball = images.tarball(recipe)
    with tempfile.TemporaryDirectory(dir=host.folder) as folder:
        root = Path(folder) / "root"
        root.mkdir()
        subprocess.run(["tar", "-xf", tarball, "-C", root, "--numeric-owner"], check=True)
        _furnish(root, host)
        if host.spec.selinux:
            (root / "etc/selinux/config").write_text(_SELINUX_CONFIG)
            _label(root)
        partial = Path(folder) / "disk.img"
        make = ["mkfs.ext4", "-q", "-L", "root", "-d", str(root), str(partial), DISK_SIZE]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
        partial.rename(_disk(host.folder))


def _furnish(root: Path, host: Host) -> None:
    unpack = ["tar", "-xf", "-", "-C", str(root), "--numeric-owner"]
    subprocess.run(unpack, input=firstboot.archive_of(host), check=True)
    pci.write_tree(root / _PCI_HOME, pci.devices(host.spec.gpus, host.spec.nvswitches))
    for path, text in {
        "etc/hostname": f"{host.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n",
        "etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
        "etc/resolv.conf": _RESOLVER,
        "etc/systemd/network/10-ether.network": _NETWORK,
        "etc/systemd/system/sandbox-pci.service": _PCI_UNIT,
    }.items():
        (root / path).unlink(missing_ok=True)  # resolv.conf may be a link out of the tree
        (root / path).write_text(text)
    enable = ["systemctl", f"--root={root}", "--quiet", "enable"]
    subprocess.run([*enable, "systemd-networkd", "sandbox-pci"], check=True)


def _label(root: Path) -> None:
    """Give every file the label that the policy has for it, as an installer does.

    This machine's kernel need not know SELinux: to it, labels are extended attributes.
    """
    contexts = f"/etc/selinux/{SELINUX_POLICY}/contexts/files/file_contexts"
    # libselinux wants /proc, which goes again with the namespace.
    script = 'mount -t proc proc "$1/proc" && exec chroot "$1" setfiles -F -m -e /proc "$2" /'
    label = ["unshare", "--mount", "sh", "-euc", script, "sh", str(root), contexts]
    done = subprocess.run(label, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SandboxError(f"the disk cannot be labelled: {done.stderr.strip()[-500:]}")


# --- the keeper ---------------------------------------------------------------------------------


def newest_kernel(names: Iterable[str]) -> str | None:
    """Newest kernel release with both a kernel and an initramfs among the names in /boot."""
    present = set(names)
    releases = [name.removeprefix("vmlinuz-") for name in present if name.startswith("vmlinuz-")]
    complete = [release for release in releases if f"initrd.img-{release}" in present]
    return max(complete, key=_version_key, default=None)


def _version_key(release: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.findall(r"\d+|\D+", release)
    ]


def _debugfs(disk: Path, command: str) -> str:
    done = subprocess.run(
        ["debugfs", "-R", command, str(disk)], capture_output=True, text=True, check=True
    )
    return done.stdout


def _fetch_kernel(folder: Path) -> str:
    """Copy the newest kernel and its initramfs out of the disk; gives the kernel's release."""
    disk = _disk(folder)
    # One entry a line: /inode/mode/uid/gid/name/size/
    lines = _debugfs(disk, "ls -p /boot").splitlines()
    names = [line.split("/")[5] for line in lines if line.count("/") > 5]  # noqa: PLR2004
    release = newest_kernel(names)
    if release is None:
        raise SandboxError(f"no kernel with an initramfs in /boot of {disk}: {names}")
    for name, target in ((f"vmlinuz-{release}", "vmlinuz"), (f"initrd.img-{release}", "initrd")):
        _debugfs(disk, f"dump /boot/{name} {folder / target}")
    return release


def _check_disk(disk: Path) -> None:
    """Replay the journal, so that what the guest wrote last can be read from here."""
    done = subprocess.run(["e2fsck", "-p", str(disk)], check=False, capture_output=True, text=True)
    if done.returncode >= _UNCORRECTED:
        raise SandboxError(f"the disk {disk} is damaged: {done.stdout.strip()}")


def qemu_command(folder: Path, port: int, *, selinux: bool = False) -> list[str]:
    """Command that runs the machine until its first reboot or power-off.

    The processor model matters: with qemu's largest one, systemd's units fail in the guest.
    """
    kernel = "root=LABEL=root rw console=ttyS0 net.ifnames=0"
    kernel += " security=selinux selinux=1" if selinux else ""
    return [
        "qemu-system-x86_64",
        *("-machine", "q35,accel=tcg", "-cpu", "Nehalem", "-smp", "2", "-m", str(MEMORY_MB)),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-serial", f"file:{folder / 'console.log'}"),
        *("-drive", f"file={_disk(folder)},format=raw,if=virtio,cache=unsafe"),
        *("-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
        *("-kernel", str(folder / "vmlinuz"), "-initrd", str(folder / "initrd")),
        *("-append", kernel),
    ]


def keep(folder: Path, port: int, *, selinux: bool = False) -> None:
    """Run the machine and boot it again whenever it goes down, until this process is killed.

    Raises:
        SandboxError: qemu ended too soon to have been a running machine.

    """
    while True:
        release = _fetch_kernel(folder)
        started = time.monotonic()
        print(f"{time.strftime('%H:%M:%S')} boots {release}", flush=True)
        done = subprocess.run(qemu_command(folder, port, selinux=selinux), check=False)
        lasted = time.monotonic() - started
        if done.returncode or lasted < _FAILED_AT_ONCE:
            raise SandboxError(f"qemu ended after {lasted:.1f} s with exit {done.returncode}")
        _check_disk(_disk(folder))


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]), selinux=SELINUX in sys.argv[3:])
