"""A simulated PCI bus: the tree that a host sees at /sys/bus/pci."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.paths import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

HOST_BRIDGE: Final = 0x060000
ETHERNET: Final = 0x020000
GPU_3D: Final = 0x030200  # what data-centre GPUs report: 3D controller
NVSWITCH: Final = 0x068000  # bridge, other
_ENTRY: Final = re.compile(r"(?:([1-9]\d*)x)?([0-9a-f]{4}):([0-9a-f]{4})")


@dataclass(frozen=True, slots=True)
class Device:
    """One PCI function: bus address ``0000:0f:00.0``, ids, 24-bit class code."""

    address: str
    vendor: int
    device: int
    class_code: int


def expand(entries: Iterable[str]) -> tuple[str, ...]:
    """Ids one per device from a short list: ``["8x10de:2330"]`` gives that id eight times.

    Raises:
        SandboxError: an entry is not ``vendor:device`` in hexadecimal, lower case.

    """
    ids: list[str] = []
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if not match:
            raise SandboxError(f"PCI id {entry!r}: expected e.g. 10de:2236 or 8x10de:2330")
        count, vendor, device = match.groups()
        ids.extend([f"{vendor}:{device}"] * int(count or 1))
    return tuple(ids)


def devices(gpus: Iterable[str], nvswitches: Iterable[str] = ()) -> Iterator[Device]:
    """Yield the devices of a host: a host bridge, a network card, then those asked for.

    The first two stand for what every machine has besides, so that a search for GPUs must choose.
    """
    yield Device("0000:00:00.0", 0x8086, 0x1237, HOST_BRIDGE)
    yield Device("0000:00:03.0", 0x1AF4, 0x1000, ETHERNET)
    asked = [(text, GPU_3D) for text in gpus] + [(text, NVSWITCH) for text in nvswitches]
    for bus, (text, class_code) in enumerate(asked, start=0x0F):
        vendor, device = (int(part, 16) for part in text.split(":"))
        yield Device(f"0000:{bus:02x}:00.0", vendor, device, class_code)


def attributes(device: Device) -> dict[str, bytes]:
    """Files of a device's sysfs folder, in the kernel's format."""
    vendor, number, code = device.vendor, device.device, device.class_code
    base, sub, interface = code >> 16, code >> 8 & 0xFF, code & 0xFF
    modalias = (
        f"pci:v{vendor:08X}d{number:08X}sv{vendor:08X}sd{number:08X}"
        f"bc{base:02X}sc{sub:02X}i{interface:02X}"
    )
    config = bytearray(256)
    struct.pack_into("<HH", config, 0x00, vendor, number)
    struct.pack_into("<BBBB", config, 0x08, 0xA1, interface, sub, base)
    struct.pack_into("<HH", config, 0x2C, vendor, number)
    text = {
        "vendor": f"0x{vendor:04x}",
        "device": f"0x{number:04x}",
        "class": f"0x{code:06x}",
        "subsystem_vendor": f"0x{vendor:04x}",
        "subsystem_device": f"0x{number:04x}",
        "revision": "0xa1",
        "irq": "0",
        "numa_node": "-1",
        "enable": "1",
        "modalias": modalias,
        "resource": "\n".join(["0x0000000000000000 0x0000000000000000 0x0000000000000000"] * 7),
    }
    files = {name: f"{value}\n".encode() for name, value in text.items()}
    return {**files, "config": bytes(config)}


def write_tree(root: Path, present: Iterable[Device]) -> None:
    """Write the tree to mount over /sys/bus/pci at ``root``."""
    for folder in ("devices", "drivers", "slots"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for device in present:
        home = root / "devices" / device.address
        home.mkdir(exist_ok=True)
        for name, content in attributes(device).items():
            (home / name).write_bytes(content)
