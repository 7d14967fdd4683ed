"""Whether a host may be rebooted: one that would not boot again is left as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gpuprep.catalog.rules import host_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpuprep.model import Refusal
    from gpuprep.observe.observation import Denial, HostObservation

_SHOWN: Final = 3


def reboot_obstacle(observation: HostObservation) -> Refusal | None:
    """Return what forbids to reboot a host that was observed just now, None when nothing does.

    SELinux may deny something to a program that makes the initramfs, which then ends well all the
    same: without the modules of the disk, on which the system is.
    """
    selinux = observation.selinux
    found = [denial for denial in selinux.denials if denial.initramfs]
    if selinux.mode != "enforcing" or not found:
        return None
    return host_rules().refusal("E_INITRAMFS_DENIED", denials=words_of(found))


def words_of(denials: Sequence[Denial]) -> str:
    """Return the words for what SELinux denied: the first few, and how many there are more."""
    shown = [
        f"{denial.program}, {denial.permission} of {denial.target} ({denial.kind})"
        for denial in denials[:_SHOWN]
    ]
    more = len(denials) - len(shown)
    return "; ".join([*shown, f"{more} more"] if more else shown)
