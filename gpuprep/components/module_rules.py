"""What modprobe's configuration and the kernel's command line do to the driver's modules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gpuprep.model import Stack
    from gpuprep.observe.observation import ModuleRule

_FIRMWARE = re.compile(r"\bNVreg_EnableGpuFirmware=[\"']?(\w+)")
_LOADS = re.compile(r"\b(modprobe|insmod)\b.*nvidia")
_KERNEL_WORD = re.compile(r"(?P<rule>module_blacklist|modprobe\.blacklist)=(?P<names>.*)")


def blocking(rules: Iterable[ModuleRule], stack: Stack) -> ModuleRule | None:
    """Return a rule that keeps the driver's module, or that of CUDA, from being loaded."""
    main = {"nvidia", _plain(stack.module)}
    all_modules = main | {f"{name}_uvm" for name in main}
    return next((rule for rule in rules if _blocks(rule.line, main, all_modules)), None)


def _blocks(line: str, main: set[str], all_modules: set[str]) -> bool:
    word = _KERNEL_WORD.fullmatch(line)
    if word:
        names = {_plain(name) for name in word["names"].strip("\"'").split(",")}
        # The kernel's own list stops everything, modprobe's only what the bus asks for.
        return bool(names & (all_modules if word["rule"] == "module_blacklist" else main))
    kind, _, rest = line.partition(" ")
    name, _, value = rest.partition(" ")
    if kind == "blacklist":
        return _plain(name) in main
    if _plain(name) not in all_modules:
        return False
    if kind == "install":
        return not _LOADS.search(value)
    return kind == "alias" and not value.startswith("nvidia")


def firmware_off(rules: Iterable[ModuleRule], stack: Stack) -> ModuleRule | None:
    """Return the rule that keeps the driver from the GPUs' own firmware, None when none does."""
    last, value = None, None
    for rule in rules:
        found = _FIRMWARE.search(rule.line)
        if found and _module_with_options(rule.line) in {"nvidia", _plain(stack.module)}:
            last, value = rule, found[1]
    return last if value is not None and re.fullmatch("0+|0x0+", value) else None


def _module_with_options(line: str) -> str:
    """Return whose options a line or word holds."""
    if line.startswith("options "):
        return _plain(line.split()[1])
    return _plain(line.partition(".")[0])


def _plain(name: str) -> str:
    return name.replace("-", "_")
