"""NVIDIA devices on the bus, and what their driver says of itself."""

import glob
import os
import re

from .base import read

NVIDIA = "10de"  # PCI vendor


def pci():
    """Return the NVIDIA devices on the PCI bus, from sysfs."""
    paths = sorted(glob.glob("/sys/bus/pci/devices/*"))
    return [
        {
            "slot": os.path.basename(path),
            "vendor": NVIDIA,
            "device": read(path + "/device").strip()[2:],
            "pci_class": read(path + "/class").strip()[2:],
        }
        for path in paths
        if read(path + "/vendor").strip() == "0x" + NVIDIA
    ]


def driver():
    """Return what the loaded driver says of itself, its device nodes and who holds them."""
    text = read("/proc/driver/nvidia/version")
    version = re.search(r"NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)\s", text)
    nodes = sorted(glob.glob("/dev/nvidia*") + glob.glob("/dev/nvidia-caps/*"))
    holders = []
    if nodes:
        for entry in glob.glob("/proc/[0-9]*/fd/*"):
            try:
                target = os.readlink(entry)
            except OSError:
                continue
            if target.startswith("/dev/nvidia"):
                pid = entry.split("/")[2]
                holders.append((int(pid), read("/proc/%s/comm" % pid).strip()))
    return {
        "proc_version": version.group(1) if version else None,
        "flavour": None if not version else ("open" if "Open Kernel" in text else "proprietary"),
        "device_nodes": [n for n in nodes if not os.path.isdir(n)],
        "holders": [{"pid": pid, "command": comm} for pid, comm in sorted(set(holders))],
    }
