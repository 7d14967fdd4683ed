"""What the driver's error numbers (Xid) mean for a host.

Source: NVIDIA, "XID Errors" (docs.nvidia.com/deploy/xid-errors), catalogue and analysis chapters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# An application's fault as a rule: the GPU works on. They warn, and do not fail the host.
APPLICATION: Mapping[int, str] = {
    13: "graphics engine exception, usually an application's illegal access",
    31: "memory page fault, usually an application's illegal access",
    43: "the GPU stopped an application's work",
    45: "work removed because its application ended",
    68: "video decoder exception",
    69: "graphics engine class error",
}

KNOWN: Mapping[int, str] = {
    **APPLICATION,
    32: "invalid or corrupted push buffer stream (PCIe)",
    38: "driver firmware error",
    48: "double-bit memory error",
    61: "internal micro-controller breakpoint",
    62: "internal micro-controller halt",
    63: "row remapping or page retirement recorded",
    64: "row remapping or page retirement failed",
    74: "NVLink error",
    79: "the GPU has fallen off the bus",
    92: "high rate of corrected memory errors",
    94: "contained memory error",
    95: "uncontained memory error",
    109: "context switch time-out",
    119: "GPU system processor (GSP) does not answer",
    120: "GPU system processor (GSP) error",
    121: "C2C link corrected error",
    136: "NVLink initialisation failed",
    140: "unrecovered memory error",
    143: "GPU initialisation failed",
    145: "NVLink RLW error",
    149: "NVLink error",
}


def meaning(code: object) -> str:
    """Return in words what an Xid means."""
    return KNOWN.get(code if isinstance(code, int) else 0, "see NVIDIA's Xid catalogue")
