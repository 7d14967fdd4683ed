"""What an engineer asks for first when a GPU host does not work: logs, states, versions.

Read-only, bounded in time and size. Nothing of users is looked at: no environment, no processes'
arguments, no home directory.
"""

import glob
import os
import re
import shlex

from . import base, kernel_log

SECONDS = 20.0  # per command
LOG_BYTES = 200000  # of the end of a log file
OUTPUT_CHARACTERS = 200000
KERNEL_WORDS = re.compile(rb"NVRM|nvidia|nouveau|Xid|AER:|pcieport|DMAR|iommu", re.I)

COMMANDS = (
    "uname -a",
    "uptime",
    "df -h",
    "lsmod",
    "lspci -nnk -d 10de:",
    "modinfo nvidia",
    "dkms status",
    "mokutil --sb-state",
    "nvidia-smi -q",
    "nvidia-smi topo -m",
    "nvidia-smi nvlink --status",
    "dpkg-query -W -f '${Status} ${Package} ${Version}\n' '*nvidia*' '*cuda*' '*cudnn*'",
    "dpkg-query -W -f '${Status} ${Package} ${Version}\n' 'linux-image-*' 'linux-headers-*'",
    "apt-mark showhold",
    "apt-cache policy",
    "rpm -qa --qf '%{NAME} %{EVR}.%{ARCH}\n' '*nvidia*' '*cuda*' '*cudnn*' libnvsdm nvlink5",
    "rpm -qa --qf '%{NAME} %{EVR}.%{ARCH}\n' 'kernel*' dkms gcc 'gcc-toolset*' '*epel-release*'",
    "rpm -V kmod-nvidia-open-dkms kmod-nvidia-latest-dkms nvidia-kmod-common",
    "dnf -C -q repolist --all",
    "dnf -C -q history",
    "grubby --info=ALL",
    "getenforce",
    "update-alternatives --display cuda",
    "systemctl list-units --all --no-pager '*nvidia*'",
    "journalctl -b --no-pager -n 2000 -u 'nvidia-*'",
    "journalctl -k -b -1 --no-pager -n 5000",
)
FILES = (
    "/etc/os-release",
    "/proc/cmdline",
    "/proc/driver/nvidia/version",
    "/proc/driver/nvidia/params",
    "/etc/modprobe.d/*.conf",
    "/etc/modules-load.d/*.conf",
    "/etc/apt/preferences",
    "/etc/apt/preferences.d/*",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*",
    "/run/reboot-required.pkgs",
    "/etc/yum.repos.d/*",
    "/etc/dnf/dnf.conf",
    "/etc/dnf/modules.d/nvidia-driver.module",
    "/etc/dnf/plugins/versionlock.conf",
    "/etc/dnf/plugins/versionlock.list",
    "/etc/sysconfig/kernel",
    "/etc/dkms/*.conf",
    "/etc/dkms/framework.conf.d/*.conf",
    "/var/lib/dkms/nvidia*/*/build/make.log",
    "/var/lib/dkms/nvidia*/*/*/*/log/make.log",
    "/var/lib/gpuprep/proof.json",
)
LOGS = (
    "/var/log/dpkg.log",
    "/var/log/apt/history.log",
    "/var/log/apt/term.log",
    "/var/log/dnf.log",
    "/var/log/dnf.rpm.log",
    "/var/log/unattended-upgrades/*.log",
    "/var/log/fabricmanager.log",
    "/var/log/nvidia-installer.log",
)


def collect():
    """Return ``commands`` and ``files``; programs and files that a host lacks are left out."""
    environment = dict(os.environ, LC_ALL="C", SYSTEMD_PAGER="", PAGER="")
    commands = [
        base.command(argv, SECONDS, environment=environment, limit=OUTPUT_CHARACTERS)
        for argv in map(shlex.split, COMMANDS)
        if _there(argv[0])
    ]
    files = {}
    for pattern in FILES + LOGS:
        for path in sorted(glob.glob(pattern)):
            text = tail(path)
            if text is not None:
                files[path] = text
    nodes = sorted(glob.glob("/dev/nvidia*"))
    return {
        "schema": 1,
        "commands": commands,
        "files": files,
        "kernel_log": kernel_lines(),
        "device_nodes": ["%s %o" % (node, os.stat(node).st_mode) for node in nodes],
    }


def _there(program):
    folders = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/bin", "/usr/local/sbin")
    return any(os.access(os.path.join(folder, program), os.X_OK) for folder in folders)


def tail(path):
    """Return the end of a file; None when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size  # 0 for files of /proc
            if size > LOG_BYTES:
                stream.seek(size - LOG_BYTES)
            return stream.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def kernel_lines(path="/dev/kmsg"):
    """Return the kernel's lines that have to do with GPUs and their bus."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return ["not readable: %s" % error]
    try:
        records = list(kernel_log.records(descriptor))
    except OSError as error:
        return ["not readable: %s" % error]
    finally:
        os.close(descriptor)
    lines = [line for line in records if KERNEL_WORDS.search(line)]
    return [line.decode("utf-8", "replace") for line in lines[-5000:]]
